//! A person or a machine in a test: a `WEBOS_HOME` of its own, and the commands run with it.

use crate::binary::webos;
use crate::node::NodeProcess;
use crate::process::run_to_end;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A folder for one principal, removed at the end.
pub struct Home {
    dir: TempDir,
    path: PathBuf,
}

impl Home {
    /// A new one; its folder does not exist yet, but its parent does, and is this test's alone.
    ///
    /// # Panics
    /// If there is no place for temporary folders.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("webos-test-").tempdir().expect("a temporary folder");
        let path = dir.path().join("home");
        Self { dir, path }
    }

    /// What `WEBOS_HOME` is set to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder beside it for the test's own files; commands run in it.
    pub fn beside(&self) -> &Path {
        self.dir.path()
    }

    /// A command with this home; nothing of the environment of the tests reaches it.
    pub fn call(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Call {
        let mut command = bare(self.beside());
        command.env("WEBOS_HOME", &self.path).args(arguments);
        Call { command, input: Vec::new() }
    }

    /// The same, run to its end and expected to succeed; gives its standard output.
    ///
    /// # Panics
    /// If it fails.
    pub fn ok(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
        self.call(arguments).run().succeeds()
    }

    /// The fingerprint of the realm whose authority lies here.
    ///
    /// # Panics
    /// If none does.
    pub fn fingerprint(&self) -> String {
        let shown = self.call(["realm", "show", "--json"]).run().json();
        let mut realms = shown.as_array().expect("realms").iter();
        let held = realms.find_map(|realm| realm["authority"]["fingerprint"].as_str());
        held.expect("an authority").to_string()
    }

    /// Trusts the realm whose first node this is.
    ///
    /// # Panics
    /// If that fails.
    pub fn trust(&self, first: &NodeProcess) {
        let url = format!("https://{}", first.address);
        self.ok(["realm", "trust", &url, &first.home.fingerprint(), "--yes"]);
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

/// `webos` in this folder with no environment but what programs need.
pub(crate) fn bare(folder: &Path) -> Command {
    let mut command = Command::new(webos());
    command.env_clear().env("HOME", folder).env("LANG", "C.UTF-8").current_dir(folder).stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// One run of a command.
pub struct Call {
    command: Command,
    input: Vec<u8>,
}

impl Call {
    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Unsets one.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Adds a word.
    #[must_use]
    pub fn word(mut self, word: impl AsRef<OsStr>) -> Self {
        self.command.arg(word);
        self
    }

    /// Gives it this on standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self.command.stdin(Stdio::piped());
        self
    }

    /// The command itself, for what is left running.
    pub fn into_command(self) -> Command {
        self.command
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it does not end in time; it is killed then.
    pub fn run(self) -> Output {
        run_to_end(self.command, self.input)
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Output {
    /// Its words, for messages.
    pub command: String,
    /// Its exit code; nothing if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub bytes: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Its standard output as text.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Expects success; gives the standard output.
    ///
    /// # Panics
    /// If it failed.
    #[track_caller]
    pub fn succeeds(&self) -> String {
        self.code_is(0);
        self.stdout()
    }

    /// Expects success and JSON.
    ///
    /// # Panics
    /// If it is something else.
    #[track_caller]
    pub fn json(&self) -> Value {
        let text = self.succeeds();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: no JSON: {error}: {text}", self.command))
    }

    /// Expects this exit code.
    ///
    /// # Panics
    /// If it is another one.
    #[track_caller]
    pub fn code_is(&self, code: i32) -> &Self {
        assert_eq!(
            self.code,
            Some(code),
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.command,
            self.stdout(),
            self.stderr
        );
        self
    }

    /// Expects an exit code and, in the error, each of these texts.
    ///
    /// # Panics
    /// If something is missing.
    #[track_caller]
    pub fn fails(&self, code: i32, texts: &[&str]) -> &Self {
        self.code_is(code);
        assert!(
            self.stderr.starts_with("webos: ") || self.stderr.starts_with('{'),
            "{}: {}",
            self.command,
            self.stderr
        );
        for text in texts {
            assert!(self.stderr.contains(text), "{}: '{text}' is not in: {}", self.command, self.stderr);
        }
        self
    }
}
