//! `node install` and `uninstall`: a hardened systemd unit for the node of one folder, with a user of its own. The
//! texts are made by pure functions; below a `--root` nothing but files is written.

use super::unit::{self, Service};
use crate::args::{NodeInstall, NodeUninstall};
use crate::home::{cannot, plain};
use crate::output::{Out, Outcome};
use client::durable;
use rustix::process::geteuid;
use serde::Serialize;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use terms::{Code, Problem};

const UNIT: &str = "webos-node.service";
/// In `sysusers.d` and in `tmpfiles.d`.
const CONF: &str = "webos-node.conf";
/// Where a packaged program lies.
const PACKAGED: &str = "/usr/bin/webos";
/// This folder is there exactly where systemd is the first process (`sd_booted`).
const BOOTED: &str = "/run/systemd/system";

/// Where the files go: packages own `/usr/lib`, administrators `/etc`.
struct Places {
    unit: PathBuf,
    users: PathBuf,
    state: PathBuf,
}

fn places(root: Option<&Path>) -> Places {
    let (base, below) = match root {
        Some(root) => (root.to_path_buf(), "usr/lib"),
        None => (PathBuf::from("/"), "etc"),
    };
    let base = base.join(below);
    Places {
        unit: base.join("systemd/system").join(UNIT),
        users: base.join("sysusers.d").join(CONF),
        state: base.join("tmpfiles.d").join(CONF),
    }
}

#[derive(Serialize)]
struct Installed {
    unit: String,
    files: Vec<String>,
    user: String,
    state: &'static str,
    /// Whether `systemd-analyze verify` found nothing; absent where it is not installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
    started: bool,
}

/// Writes the unit, has it checked, and has systemd run it.
pub fn install(out: &mut Out, arguments: &NodeInstall) -> Outcome {
    let root = arguments.root.as_deref();
    let here = std::env::current_exe()
        .and_then(|path| path.canonicalize())
        .map_err(|error| Problem::new(Code::Internal, format!("this program's own file: {}", plain(&error))))?;
    if root.is_none() {
        must_be_possible("install", "`webos node run` runs the node without it; --root DIR only writes the files")?;
        must_be_safe(&here)?;
    }
    let program = if root.is_some() { Path::new(PACKAGED) } else { &here };
    let service =
        Service { program, user: &arguments.user, listen: arguments.listen, address: arguments.address.as_deref() };
    let places = places(root);
    let mut files = Vec::new();
    if let Some(root) = root {
        let packaged = root.join(PACKAGED.trim_start_matches('/'));
        let folder = packaged.parent().unwrap_or(root);
        fs::create_dir_all(folder).map_err(|error| cannot("make", folder, &error))?;
        fs::copy(&here, &packaged).map_err(|error| cannot("write", &packaged, &error))?;
        files.push(packaged);
    }
    for (path, text) in [
        (&places.users, unit::users(&arguments.user)),
        (&places.state, unit::state(&arguments.user)),
        (&places.unit, unit::text(&service)?),
    ] {
        durable::replace(path, text.as_bytes())?;
        // Everybody may read them: they hold no secret.
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))
            .map_err(|error| cannot("open to readers", path, &error))?;
        files.push(path.clone());
    }
    let verified = verify(&places.unit, root)?;
    if root.is_none() {
        run("systemd-sysusers", &[places.users.as_os_str()])?;
        // Joining a realm comes before the first start, at which systemd itself would make the folder.
        run("systemd-tmpfiles", &["--create".as_ref(), places.state.as_os_str()])?;
        run("systemctl", &["daemon-reload".as_ref()])?;
        run("systemctl", &["enable".as_ref(), "--now".as_ref(), UNIT.as_ref()])?;
    }
    let installed = Installed {
        unit: UNIT.into(),
        files: files.iter().map(|path| path.display().to_string()).collect(),
        user: arguments.user.clone(),
        state: unit::STATE,
        verified,
        started: root.is_none(),
    };
    out.result(&installed, |out, installed| {
        installed.files.iter().try_for_each(|file| out.line(&format!("wrote {file}")))?;
        match installed.verified {
            Some(_) => out.line("systemd-analyze verify finds nothing wrong")?,
            None => out.line("systemd-analyze is not installed here, so the unit is unchecked")?,
        }
        out.line(&format!(
            "the node runs as {} in {}, from its first start after it has joined a realm:",
            installed.user, installed.state
        ))?;
        out.line(&format!("  sudo -u {} WEBOS_HOME={} webos node join < LINE", installed.user, installed.state))?;
        out.line(&format!("  sudo systemctl start {UNIT}"))
    })
}

#[derive(Serialize)]
struct Uninstalled {
    removed: Vec<String>,
    state: &'static str,
}

/// Stops the unit and takes its files away. The node's folder is its owner's to remove.
pub fn uninstall(out: &mut Out, arguments: &NodeUninstall) -> Outcome {
    let root = arguments.root.as_deref();
    let places = places(root);
    if !places.unit.exists() {
        let problem = Problem::new(Code::NotFound, format!("there is no {}", places.unit.display()));
        return Err(problem.next("only what `webos node install` wrote is taken away").into());
    }
    if root.is_none() {
        must_be_possible("uninstall", "end the node by hand, and remove the unit's file")?;
        run("systemctl", &["disable".as_ref(), "--now".as_ref(), UNIT.as_ref()])?;
    }
    let mut paths = vec![places.unit, places.users, places.state];
    paths.extend(root.map(|root| root.join(PACKAGED.trim_start_matches('/'))));
    let mut removed = Vec::new();
    for path in paths.iter().filter(|path| path.exists()) {
        fs::remove_file(path).map_err(|error| cannot("remove", path, &error))?;
        removed.push(path.display().to_string());
    }
    if root.is_none() {
        run("systemctl", &["daemon-reload".as_ref()])?;
    }
    out.result(&Uninstalled { removed, state: unit::STATE }, |out, done| {
        done.removed.iter().try_for_each(|file| out.line(&format!("removed {file}")))?;
        out.line(&format!("keys, volumes and logs stay in {}, and the user stays: remove them by hand", done.state))
    })
}

/// Only where systemd runs, and only for root.
fn must_be_possible(what: &str, otherwise: &str) -> Result<(), Problem> {
    if !Path::new(BOOTED).is_dir() {
        let why = format!("systemd does not run this machine, so there is nothing to {what} the node with");
        return Err(Problem::new(Code::Unsupported, why).next(otherwise));
    }
    if !geteuid().is_root() {
        let why = format!("only root may {what} a system service");
        return Err(Problem::new(Code::Denied, why).next(format!("run: sudo webos node {what} ...")));
    }
    Ok(())
}

/// What root starts at each boot must be nobody else's to change, and where the service can see it.
fn must_be_safe(program: &Path) -> Result<(), Problem> {
    let next = "install it first: sudo install -m 755 webos /usr/local/bin/webos, and run that one";
    let refuse = |why: String| Err(Problem::new(Code::Invalid, why).next(next));
    let shown = program.display();
    if ["/home", "/root", "/tmp", "/var/tmp", "/run/user"].iter().any(|folder| program.starts_with(folder)) {
        return refuse(format!("{shown} lies where the service does not look"));
    }
    for path in program.ancestors() {
        let found = fs::metadata(path).map_err(|error| cannot("look at", path, &error))?;
        if found.uid() != 0 || found.mode() & 0o022 != 0 {
            return refuse(format!("{} can be changed by others than root", path.display()));
        }
    }
    Ok(())
}

/// What systemd itself says of the unit; nothing where it cannot be asked.
fn verify(unit: &Path, root: Option<&Path>) -> Result<Option<bool>, Problem> {
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]).arg(unit);
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot("run", Path::new("systemd-analyze"), &error)),
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Units of the machine that this one pulls in are none of ours; below a root the program is not yet where it will be.
    let elsewhere = |line: &str| root.is_some() && line.contains(PACKAGED) && line.contains("is not executable");
    let ours: Vec<&str> = said.lines().filter(|line| line.contains(UNIT) && !elsewhere(line)).collect();
    if ours.is_empty() {
        return Ok(Some(true));
    }
    Err(Problem::new(
        Code::Internal,
        format!("systemd-analyze finds fault with {}: {}", unit.display(), ours.join("; ")),
    )
    .next("the file is left there to be looked at; nothing was started"))
}

fn run(program: &str, words: &[&std::ffi::OsStr]) -> Result<(), Problem> {
    let failed = |why: String| {
        Problem::new(Code::Internal, format!("{program} did not do it: {why}"))
            .next(format!("see: systemctl status {UNIT}, and take it away again with `webos node uninstall`"))
    };
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(plain(&error)))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_string()))
}
