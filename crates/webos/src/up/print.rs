//! What `webos up` says: that it is ready, the commands to try, what happens, and what came of it. For people, or
//! one JSON object a line.

use super::scan::LeftOut;
use super::supervisor::Summary;
use super::world::Names;
use crate::console::{ConsoleEvent, EventKind};
use crate::output::{Out, Outcome, plural};
use crate::settings::{Origin, Setting};
use serde::Serialize;
use std::path::{Path, PathBuf};
use terms::{ByteCount, Label, UnixMs, VolumePath};

/// One node, as the first line tells.
#[derive(Debug, Clone, Serialize)]
pub struct NodeLine {
    /// Its name.
    pub name: Label,
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    pub url: String,
    /// Its folder: the `WEBOS_HOME` of commands that are to act as this node.
    pub home_folder: PathBuf,
}

/// The first line: a contract that programs rely on.
#[derive(Debug, Clone, Serialize)]
pub struct Ready {
    /// Always `ready`.
    pub event: &'static str,
    /// The console's link with its token.
    pub console: String,
    /// The realm.
    pub realm: String,
    /// The caller's folder: its `WEBOS_HOME`.
    pub home: PathBuf,
    /// The service.
    pub service: String,
    /// Every node, the home first.
    pub nodes: Vec<NodeLine>,
}

#[derive(Serialize)]
struct EventLine<'a> {
    event: EventKind,
    id: u64,
    at: UnixMs,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a Label>,
    text: &'a str,
}

#[derive(Serialize)]
struct SummaryLine {
    event: &'static str,
    #[serde(flatten)]
    summary: Summary,
}

/// What the printed commands need to know.
#[derive(Debug)]
pub struct Stand<'a> {
    /// The names.
    pub names: &'a Names,
    /// The folder that is served.
    pub dir: &'a Path,
    /// Where the person's things are.
    pub home: &'a Setting<PathBuf>,
    /// The files served, with their lengths.
    pub files: &'a [(VolumePath, u64)],
    /// What is not served.
    pub left_out: LeftOut,
    /// The stated link in words.
    pub link: String,
    /// The console's port.
    pub port: u16,
    /// `SSH_CONNECTION`, if this is a remote terminal.
    pub ssh: Option<String>,
    /// The program as it is to be typed.
    pub program: String,
}

/// Says that all is there.
pub fn ready(out: &mut Out, ready: &Ready, stand: &Stand<'_>) -> Outcome {
    if out.is_json() {
        return out.json_line(ready);
    }
    for line in introduction(ready, stand) {
        out.line(&line)?;
    }
    out.flush()
}

fn introduction(ready: &Ready, stand: &Stand<'_>) -> Vec<String> {
    let lent = stand.names.nodes.len() - 1;
    let bytes: u64 = stand.files.iter().map(|(_, size)| size).sum();
    let mut lines = vec![
        format!(
            "The local world {} is up: a home and {}, each its own process",
            ready.realm,
            plural(lent as u64, "lent node")
        ),
        format!(
            "  {} serves {}, {}, from {}",
            ready.service,
            plural(stand.files.len() as u64, "file"),
            ByteCount(bytes),
            stand.dir.display()
        ),
        format!("  every user of this machine can read that folder through the service"),
        format!(
            "  it is copied in and followed: a saved file is served within a second; the folder itself is never written"
        ),
    ];
    if let Some(left_out) = stand.left_out.in_words() {
        lines.push(format!("  left out: {left_out}"));
    }
    lines.push(format!("  each front sends at most {} (--link changes it)", stand.link));
    lines.push(String::new());
    lines.push(format!("Console: {}", ready.console));
    if let Some(line) = tunnel(stand) {
        lines.push(format!("  from your own machine: {line}"));
    }
    lines.push(String::new());
    lines.push("In a second terminal, here:".into());
    lines.extend(commands(stand).into_iter().map(|command| format!("  {command}")));
    lines.push(String::new());
    lines.push("The same on machines of your own, with their names instead of these:".into());
    lines.extend(elsewhere(stand).into_iter().map(|line| format!("  {line}")));
    lines.push(String::new());
    lines
        .push("Ctrl-C ends it all; `webos up` goes on with what is there, `webos down --purge` removes it.".into());
    lines
}

/// The line that brings the console to the machine in front of the person.
fn tunnel(stand: &Stand<'_>) -> Option<String> {
    let mut parts = stand.ssh.as_deref()?.split_whitespace();
    let host = parts.nth(2)?;
    let port = parts.next()?;
    let port = if port == "22" { String::new() } else { format!(" -p {port}") };
    Some(format!("ssh -L {0}:127.0.0.1:{0}{port} {host}", stand.port))
}

/// Five commands that work as they stand, from the present folder.
pub fn commands(stand: &Stand<'_>) -> Vec<String> {
    let served = &stand.names.served;
    let prefix = match stand.home.origin {
        Origin::Default => String::new(),
        _ => format!("WEBOS_HOME={} ", quoted(&absolute(&stand.home.value).display().to_string())),
    };
    let at = |path: &VolumePath| quoted(&format!("{served}/{path}"));
    let page = stand.files.iter().find(|(path, _)| path.as_str() == "index.html");
    let page = page.or_else(|| stand.files.iter().min_by_key(|(_, size)| *size)).map(|(path, _)| path);
    let large = stand.files.iter().max_by_key(|(_, size)| *size).map(|(path, _)| path);
    let mut commands = vec![format!("ls {served}")];
    if let (Some(page), Some(large)) = (page, large) {
        let last = |path: &VolumePath| quoted(path.name().unwrap_or("copy"));
        let via = stand.names.nodes.get(2).or(stand.names.nodes.get(1));
        let via = via.map_or(String::new(), |node| format!("--via {node} "));
        let url = quoted(&format!("{}/{}", stand.names.service, large.to_url()));
        commands.push(format!("cat {}", at(page)));
        commands.push(format!("fetch {url} -o {}", last(large)));
        commands.push(format!(
            "get {via}{} {}",
            at(page),
            quoted(&format!("copy-of-{}", page.name().unwrap_or("page")))
        ));
    } else {
        commands.push(format!("stat {served}"));
        commands.push(format!("service status {}", stand.names.service));
        commands.push("whoami".into());
    }
    commands.push(format!("acl show {served}"));
    commands.into_iter().map(|command| format!("{prefix}{} {command}", stand.program)).collect()
}

/// What would make the same world of several machines.
fn elsewhere(stand: &Stand<'_>) -> Vec<String> {
    let names = stand.names;
    let (realm, volume, service) = (&names.realm, &names.volume, &names.service);
    let mut lines = vec![
        format!("home$ webos realm init {realm}; webos volume create {volume} --owner user/YOU"),
        format!("home$ webos node run --listen 0.0.0.0:8443 --address HOME:8443"),
        format!(
            "home$ webos realm invite user YOU       # and `realm invite server n1` and so on: a line for each"
        ),
    ];
    if let Some(node) = names.nodes.get(1) {
        lines
            .push(format!("{node}$   webos node join; webos node run --listen 0.0.0.0:8443 --address {node}:8443"));
        lines.push(format!("{node}$   webos node lend --to {service}"));
    }
    lines.push(format!("you$  webos user register; webos put -r DIR {}", names.served));
    lines.push(format!("you$  webos service publish {service} {}", names.served));
    lines
}

/// How the program is called from here: `./webos`, `webos`, or by its full path.
pub fn program(here: &Path, path: Option<&std::ffi::OsStr>, running: &Path) -> String {
    let runs =
        |program: &Path| rustix::fs::access(program, rustix::fs::Access::EXEC_OK).is_ok() && program.is_file();
    if runs(&here.join("webos")) {
        return "./webos".into();
    }
    let folders = path.map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    if folders.iter().any(|folder| folder.is_absolute() && runs(&folder.join("webos"))) {
        return "webos".into();
    }
    quoted(&running.display().to_string())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | ':' | '%' | '+' | '@' | ',');
    if !text.is_empty() && text.chars().all(plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Something happened.
pub fn event(out: &mut Out, event: &ConsoleEvent) -> Outcome {
    if out.is_json() {
        let ConsoleEvent { id, at, kind, node, text } = event;
        return out.json_line(&EventLine { event: *kind, id: *id, at: *at, node: node.as_ref(), text });
    }
    let time = crate::output::time(event.at);
    let clock = time.split(' ').nth(1).unwrap_or(&time).to_string();
    let text = out.name(&event.text).into_owned();
    out.line(&format!("{clock}  {text}"))?;
    out.flush()
}

/// What came of it all.
pub fn summary(out: &mut Out, summary: Summary) -> Outcome {
    if out.is_json() {
        return out.json_line(&SummaryLine { event: "summary", summary });
    }
    let Summary { requests, bytes, recruits, errors, broken } = summary;
    let broken = if broken == 0 { String::new() } else { format!(", {} ended unasked", plural(broken, "node")) };
    out.line(&format!(
        "summary: {} answered, {} sent, {recruits} recruited, {} failed{broken}",
        plural(requests, "request"),
        ByteCount(bytes),
        plural(errors, "request")
    ))?;
    out.flush()
}

#[cfg(test)]
#[path = "print_tests.rs"]
mod tests;
