//! Nodes started one by one, as on machines of their own: a realm with its first node, and more that join.

use crate::home::Home;
use crate::process::Talking;
use rustix::process::Signal;

/// A node's process in its own home.
pub struct NodeProcess {
    /// Its folder.
    pub home: Home,
    /// Where it listened when it was started last: `host:port`.
    pub address: String,
    process: Option<Talking>,
}

impl NodeProcess {
    /// Starts the node whose identity lies in this home; on its former port, if there is one.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn start(home: Home, settings: &[&str]) -> Self {
        let mut node = Self { home, address: String::new(), process: None };
        node.run(settings);
        node
    }

    /// Starts the node of this home on this address, which another node had before.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn start_at(home: Home, address: &str) -> Self {
        let mut node = Self { home, address: address.into(), process: None };
        node.run(&[]);
        node
    }

    /// Starts it again after [`NodeProcess::kill`] or [`NodeProcess::stop`], on the same port.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn run(&mut self, settings: &[&str]) {
        self.run_with(settings, 0);
    }

    /// The same, with a wall clock that is so many days ahead.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn run_on_day(&mut self, days: i64) {
        self.run_with(&[], days);
    }

    fn run_with(&mut self, settings: &[&str], days: i64) {
        assert!(self.process.is_none(), "it runs");
        let mut words = vec!["node", "run", "--json", "--until-stdin-closes"];
        let address = self.address.clone();
        if !address.is_empty() {
            words.extend(["--listen", &address]);
        }
        words.extend(settings);
        let call = self.home.call(words).env("WEBOS_LOG", "info");
        let call = call.env("WEBOS_CLOCK_OFFSET_S", (days * 24 * 3600).to_string());
        let mut process = Talking::start(call.into_command(), true);
        let ready = process.wait_for("ready", |event| event["event"] == "ready");
        self.address = ready["address"].as_str().expect("an address").to_string();
        self.process = Some(process);
    }

    /// The running process.
    ///
    /// # Panics
    /// If it does not run.
    pub fn process(&mut self) -> &mut Talking {
        self.process.as_mut().expect("it runs")
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process().kill();
        self.process = None;
    }

    /// SIGTERM, and waits for an orderly end.
    ///
    /// # Panics
    /// If the end is not orderly.
    pub fn stop(&mut self) {
        self.process().signal(Signal::TERM);
        assert_eq!(self.process().end(), Some(0), "an orderly end");
        self.process = None;
    }
}

impl NodeProcess {
    /// As [`NodeProcess::stop`], and gives all that it wrote to standard error.
    ///
    /// # Panics
    /// If the end is not orderly.
    pub fn stop_and(&mut self, look: impl FnOnce(String)) {
        self.process().signal(Signal::TERM);
        assert_eq!(self.process().end(), Some(0), "an orderly end");
        look(self.process().log());
        self.process = None;
    }
}

/// A realm `test.localhost` with its first node `home`, which holds the volume `data`, and a user `alice`.
pub struct Realm {
    /// The first node.
    pub first: NodeProcess,
    /// Who holds all rights on the volume.
    pub alice: Home,
}

impl Realm {
    /// The volume.
    pub const VOLUME: &'static str = "data.test.localhost";

    /// Makes and starts it.
    ///
    /// # Panics
    /// If one of the commands fails.
    #[must_use]
    pub fn start() -> Self {
        let home = Home::new();
        home.ok(["realm", "init", "test.localhost", "--unencrypted"]);
        home.ok(["volume", "create", Self::VOLUME, "--owner", "user/alice"]);
        let first = NodeProcess::start(home, &[]);
        let alice = Home::new();
        let realm = Self { first, alice };
        realm.enrol("user", "alice", &realm.alice);
        realm
    }

    /// Invites somebody and redeems the invitation in this home.
    ///
    /// # Panics
    /// If one of both fails.
    pub fn enrol(&self, kind: &str, name: &str, home: &Home) {
        let line = self.first.home.ok(["realm", "invite", kind, name]);
        let command = if kind == "user" { ["user", "register"] } else { ["node", "join"] };
        home.call(command).input(line).run().succeeds();
    }

    /// A user of the realm.
    ///
    /// # Panics
    /// If enrolling fails.
    pub fn user(&self, name: &str) -> Home {
        let home = Home::new();
        self.enrol("user", name, &home);
        home
    }

    /// A further node of the realm, running.
    ///
    /// # Panics
    /// If enrolling or starting fails.
    pub fn node(&self, name: &str) -> NodeProcess {
        let home = Home::new();
        self.enrol("server", name, &home);
        NodeProcess::start(home, &[])
    }

    /// A path in the volume.
    pub fn path(&self, path: &str) -> String {
        format!("{}/{path}", Self::VOLUME)
    }

    /// The URL of a path in the volume at a node.
    pub fn url(&self, node: &str, at: &NodeProcess, path: &str) -> String {
        let port = at.address.rsplit(':').next().unwrap_or_default();
        format!("https://{node}.server.test.localhost:{port}/{}", self.path(path))
    }
}
