//! The local world of `webos up`, started as people start it and read as programs read it.

use crate::home::Home;
use crate::process::{Event, Talking, send};
use crate::wait::eventually;
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// One node as the ready line names it.
#[derive(Debug, Clone, Deserialize)]
pub struct WorldNode {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    pub url: String,
    /// Its folder.
    pub home_folder: PathBuf,
}

#[derive(Deserialize)]
struct Ready {
    console: String,
    realm: String,
    service: String,
    nodes: Vec<WorldNode>,
}

/// A running local world.
pub struct LocalWorld {
    /// Whose world it is.
    pub home: Home,
    /// The console's link.
    pub console: String,
    /// The realm.
    pub realm: String,
    /// The service.
    pub service: String,
    /// Every node, the home first.
    pub nodes: Vec<WorldNode>,
    process: Option<Talking>,
}

/// How long a world that is dropped may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(20);
/// Lines of a node's log that a failing test shows: count.
const LOG_LINES: usize = 60;

impl LocalWorld {
    /// Starts one with these further arguments.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn start(home: Home, arguments: &[&str]) -> Self {
        let words = ["up", "--json", "--console-port", "0"].iter().chain(arguments);
        let mut process = Talking::start(home.call(words).into_command(), false);
        let ready = process.wait_for("ready", |event| event["event"] == "ready");
        let ready: Ready = serde_json::from_value(ready).expect("the ready line as documented");
        let Ready { console, realm, service, nodes } = ready;
        Self { home, console, realm, service, nodes, process: Some(process) }
    }

    /// A node by its name.
    ///
    /// # Panics
    /// If there is none.
    pub fn node(&self, name: &str) -> &WorldNode {
        self.nodes.iter().find(|node| node.name == name).expect("a node of this world")
    }

    /// Sends a signal to a node that this world named.
    ///
    /// # Panics
    /// If the node does not run.
    pub fn signal(&self, name: &str, signal: Signal) {
        send(self.pid(name).expect("it runs"), signal);
    }

    /// The next event of this kind.
    ///
    /// # Panics
    /// If it does not come in time.
    #[track_caller]
    pub fn wait_for(&mut self, kind: &str) -> Event {
        self.process().wait_for(kind, |event| event["event"] == kind)
    }

    /// Asks something of the console, as a program does: `surge`, `calm`, `nodes/n1/kill`, `nodes/n1/revive`.
    ///
    /// # Panics
    /// If it is refused.
    pub fn act(&self, what: &str, body: Option<&Value>) -> Value {
        let mut words = vec!["--request".to_string(), "POST".into()];
        if let Some(body) = body {
            words.extend(["-H".into(), "Content-Type: application/json".into(), "--data".into(), body.to_string()]);
        }
        self.console_says(&format!("api/{what}"), &words)
    }

    /// Starts a node again that was killed, once its end has been noticed: until then the console says that it is still
    /// ending.
    pub fn revive(&self, name: &str) {
        eventually("its end is noticed", || self.pid(name).is_none().then_some(()));
        self.act(&format!("nodes/{name}/revive"), None);
    }

    /// All that the console knows.
    ///
    /// # Panics
    /// If the console does not answer.
    pub fn state(&self) -> Value {
        self.console_says("api/state", &[])
    }

    #[track_caller]
    fn console_says(&self, path: &str, words: &[String]) -> Value {
        self.ask_console(path, words).unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    fn ask_console(&self, path: &str, words: &[String]) -> Result<Value, String> {
        let (base, token) = self.console.split_once("?token=").ok_or("a link without a token")?;
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--max-time", "60", "-H"])
            .arg(format!("webos-token: {token}"))
            .args(words)
            .arg(format!("{base}{path}"))
            .output()
            .map_err(|error| format!("curl: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(format!("{text} {}", String::from_utf8_lossy(&output.stderr)));
        }
        serde_json::from_str(&text).map_err(|error| format!("no JSON: {error}"))
    }

    /// Names of the nodes in this phase.
    pub fn in_phase(&self, phase: &str) -> Vec<String> {
        let state = self.state();
        let nodes = state["nodes"].as_array().expect("nodes").iter();
        let there = nodes.filter(|node| node["phase"] == phase).filter_map(|node| node["name"].as_str());
        there.map(String::from).collect()
    }

    /// The present process of a node, if it runs.
    pub fn pid(&self, name: &str) -> Option<u32> {
        let state = self.state();
        let node = state["nodes"].as_array()?.iter().find(|node| node["name"] == name)?;
        u32::try_from(node["pid"].as_u64()?).ok()
    }

    /// Sends load until at least so many surrogates serve; gives their names. The load goes on.
    ///
    /// # Panics
    /// If they do not come in time.
    pub fn surge_until(&self, surrogates: usize) -> Vec<String> {
        self.act("surge", Some(&serde_json::json!({"clients": 40, "seconds": 600})));
        eventually("surrogates serve", || {
            let serving = self.in_phase("serving");
            (serving.len() >= surrogates).then_some(serving)
        })
    }

    /// The running process.
    ///
    /// # Panics
    /// If it was stopped.
    pub fn process(&mut self) -> &mut Talking {
        self.process.as_mut().expect("it runs")
    }

    /// Ctrl-C, and waits for an orderly end that leaves no node behind.
    ///
    /// # Panics
    /// If the end is not orderly, or a process is left.
    pub fn stop(&mut self) {
        self.process().signal(Signal::INT);
        assert_eq!(self.process().end(), Some(0), "an orderly end");
        for node in &self.nodes {
            assert!(!runs(node), "{} is left behind", node.name);
        }
        self.process = None;
    }

    /// Stops it and starts it again.
    ///
    /// # Panics
    /// As both.
    pub fn restart(&mut self, arguments: &[&str]) {
        self.stop();
        self.restart_ended(arguments);
    }

    /// Starts it again after it has ended by itself.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn restart_ended(&mut self, arguments: &[&str]) {
        self.process = None;
        let home = std::mem::take(&mut self.home);
        let fresh = Self::start(home, arguments);
        *self = fresh;
    }

    /// For a failing test: what the console tells, and the nodes' logs.
    fn show_logs(&self) {
        if let Ok(state) = self.ask_console("api/state", &[]) {
            let events = state["events"].as_array().cloned().unwrap_or_default();
            eprintln!("--- events");
            for event in &events[events.len().saturating_sub(LOG_LINES)..] {
                eprintln!("{} {}", event["at"], event["text"].as_str().unwrap_or_default());
            }
            eprintln!("--- nodes and totals\n{:#}\n{:#}", state["nodes"], state["totals"]);
        }
        for node in &self.nodes {
            let log = node.home_folder.join("node.log");
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("--- {}\n{}", log.display(), lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"));
        }
    }
}

/// Whether a node's process is there. A process that only waits to be collected is not.
fn runs(node: &WorldNode) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.pid)).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().is_empty() && !rest.trim_start().starts_with('Z'))
}

impl Drop for LocalWorld {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        let Some(process) = &mut self.process else { return };
        process.signal(Signal::INT);
        if !process.ends_within(PATIENCE) {
            process.kill();
            // It could not end its nodes any more; they were named to this test by it.
            self.nodes.iter().filter(|node| runs(node)).for_each(|node| send(node.pid, Signal::KILL));
        }
    }
}
