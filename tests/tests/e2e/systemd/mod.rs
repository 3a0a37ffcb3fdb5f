//! The installed node under a real systemd: one that is booted for the test, in namespaces of its own.

use serde_json::Value;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;
use webos_tests::{eventually, webos};

const BOOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/systemd/boot.sh");
const STATE: &str = "/var/lib/webos";

/// A machine with a systemd of its own. It ends with this value.
struct Machine {
    unshare: Child,
    init: String,
    _folder: TempDir,
}

impl Machine {
    /// Boots; or says why that cannot be done here.
    fn boot() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root may boot a systemd".into());
        }
        for program in ["/usr/lib/systemd/systemd", "/usr/bin/nsenter", "/usr/bin/systemd-tmpfiles"] {
            fs::metadata(program).map_err(|_| format!("{program} is not installed"))?;
        }
        let folder = TempDir::new().map_err(|error| error.to_string())?;
        let said = fs::File::create(folder.path().join("said")).map_err(|error| error.to_string())?;
        let base = folder.path().join("base");
        fs::create_dir(&base).map_err(|error| error.to_string())?;
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount", "--uts", "--ipc", "--cgroup", "--net", "--kill-child"]);
        command.args(["sh", BOOT]).arg(&base).arg(webos());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).process_group(0);
        let mut unshare = command.spawn().map_err(|error| error.to_string())?;
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let init = eventually("the machine has a systemd as its first process, or has failed", || {
            if unshare.try_wait().expect("it can be asked").is_some() {
                let said = fs::read_to_string(folder.path().join("said")).unwrap_or_default();
                return Some(Err(format!("no systemd can be booted here: {}", said.trim())));
            }
            let init = fs::read_to_string(&children).ok()?.trim().to_string();
            let name = fs::read_to_string(format!("/proc/{init}/comm")).ok()?;
            (name.trim() == "systemd").then_some(Ok(init))
        })?;
        let machine = Self { unshare, init, _folder: folder };
        eventually("systemd is up", || {
            let state = text(&machine.run(&["systemctl", "is-system-running"]));
            ["running", "degraded"].contains(&state.trim()).then_some(())
        });
        Ok(machine)
    }

    /// Runs a command inside, as root.
    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "env", "-i", "HOME=/root"]);
        command.arg("PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").args(words).stdin(Stdio::null());
        command.output().expect("nsenter starts")
    }

    /// The same, which has to succeed.
    fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}{}", text(&output), self.journal());
        text(&output)
    }

    fn journal(&self) -> String {
        text(&self.run(&["journalctl", "--no-pager", "--quiet", "--all"]))
    }

    /// A property of the node's unit.
    fn unit(&self, property: &str) -> String {
        self.ok(&["systemctl", "show", "webos-node", "--value", "--property", property]).trim().to_string()
    }

    /// The node's process once it answers, and not as this one.
    fn answers(&self, former: &str) -> String {
        eventually("the node answers", || {
            let pid = self.unit("MainPID");
            let status = as_user(&["webos", "status", "--json"]);
            let output = self.run(&status.iter().map(String::as_str).collect::<Vec<_>>());
            let status: Value = serde_json::from_slice(&output.stdout).ok()?;
            let shown = status.to_string();
            (pid != former && pid != "0" && shown.contains(&pid)).then_some(pid)
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its first process ends with it, and with that all others.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The words of `sudo -u webos WEBOS_HOME=/var/lib/webos ...`, without sudo.
fn as_user(words: &[&str]) -> Vec<String> {
    let before = ["setpriv", "--reuid=webos", "--regid=webos", "--clear-groups", "env"];
    let home = format!("WEBOS_HOME={STATE}");
    before.into_iter().chain([home.as_str()]).chain(words.iter().copied()).map(str::to_owned).collect()
}

#[test]
fn a_real_systemd_runs_the_node_as_the_document_says() {
    let machine = match Machine::boot() {
        Ok(machine) => machine,
        Err(why) => return eprintln!("SKIPPED: a_real_systemd_runs_the_node_as_the_document_says: {why}"),
    };
    // The realm's first node runs beside it.
    let first = ["--home", "/var/first"];
    machine.ok(&[&["webos", "realm", "init", "lab.example", "--unencrypted"], &first[..]].concat());
    let run = ["systemd-run", "--quiet", "--unit=first", "webos", "node", "run", "--listen", "127.0.0.1:4400"];
    machine.ok(&[&run[..], &first[..]].concat());
    let line = eventually("the realm invites", || {
        let invite = [&["webos", "realm", "invite", "server", "n2"], &first[..]].concat();
        let output = machine.run(&invite);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    });
    let install = ["webos", "node", "install", "--listen", "127.0.0.1:4433"];
    machine.ok(&install);
    assert_eq!(machine.unit("ConditionResult"), "no", "before it has joined there is nothing to run");
    let join = as_user(&["sh", "-c", &format!("echo '{line}' | webos node join")]);
    machine.ok(&join.iter().map(String::as_str).collect::<Vec<_>>());
    machine.ok(&["systemctl", "start", "webos-node"]);
    let pid = machine.answers("");
    assert_eq!(machine.unit("User"), "webos");
    machine.ok(&["kill", "-KILL", &pid]);
    let next = machine.answers(&pid);
    assert_eq!(machine.unit("NRestarts"), "1", "systemd brought {pid} back as {next}");
    machine.ok(&["systemctl", "stop", "webos-node"]);
    assert_eq!((machine.unit("ActiveState"), machine.unit("Result")), ("inactive".into(), "success".into()));
    let journal = machine.journal();
    let secret = line.split_whitespace().find(|word| word.len() > 40).expect("the line has a secret");
    assert!(journal.contains("spiffe://lab.example/server/n2 answers at 127.0.0.1:4433"), "{journal}");
    assert!(!journal.contains(secret) && !journal.contains("PRIVATE KEY"), "{journal}");
    machine.ok(&["webos", "node", "uninstall"]);
    assert_eq!(machine.unit("LoadState"), "not-found");
    // A port that needs a privilege; the folder is still there, so it starts at once.
    machine.ok(&["webos", "node", "install", "--listen", "127.0.0.1:443"]);
    machine.answers("");
    assert_eq!(machine.unit("ActiveState"), "active");
    machine.ok(&["webos", "node", "uninstall"]);
}
