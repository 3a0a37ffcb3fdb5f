//! The disk's own process, and the handle that a test holds on it: commands on its input, answers on its output.

use crate::mount::Shared;
use crate::power::Loss;
use rustix::mount::{UnmountFlags, unmount};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What an answer begins with: a test program has other things to say, too.
const ANSWER: &str = "torn:";

/// Why this machine cannot mount such a disk, if it cannot.
pub fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        Some("it needs root, to mount")
    } else if std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() {
        Some("/dev/fuse cannot be opened")
    } else {
        None
    }
}

/// Mounts an empty disk and does what is asked on standard input until that ends: `arm COUNT`, `crash SEED`,
/// `count`. The body of the process that [`Torn::start`] starts.
pub fn serve(at: &Path) -> io::Result<()> {
    let mut shared = Shared::default();
    let mut session = shared.mount(at)?;
    answer("ready")?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let number = words.get(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
        match words[0] {
            "arm" => {
                shared.lock().arm(number);
                answer("armed")?;
            }
            "crash" => {
                shared.lock().freeze();
                session.umount_and_join()?;
                shared = Shared::new(shared.take().survive(&Loss::new(number)));
                session = shared.mount(at)?;
                answer("back")?;
            }
            "count" => answer(&shared.lock().operations().to_string())?,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, line)),
        }
    }
    shared.lock().freeze();
    session.umount_and_join()
}

fn answer(what: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\n{ANSWER} {what}")?;
    out.flush()
}

/// A mounted disk in a process of its own; unmounted when dropped.
#[derive(Debug)]
pub struct Torn {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    at: PathBuf,
}

impl Torn {
    /// Starts the process, which has to call [`serve`] with this mount point.
    pub fn start(mut command: Command, at: &Path) -> io::Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(commands), Some(out)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("the disk's process has no pipes"));
        };
        let mut torn = Self { process, commands: Some(commands), answers: BufReader::new(out), at: at.into() };
        torn.answer()?;
        Ok(torn)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Lets the power go at the change or sync with this number from now: from then on every call gives EIO.
    pub fn arm(&mut self, operations: u64) -> io::Result<()> {
        self.ask(&format!("arm {operations}")).map(drop)
    }

    /// The power goes, if it is not gone yet, and comes back: the disk holds what this seed leaves of it. No
    /// process may have anything open there.
    pub fn crash(&mut self, seed: u64) -> io::Result<()> {
        self.ask(&format!("crash {seed}")).map(drop)
    }

    /// Changes and syncs since the power came back: count.
    pub fn operations(&mut self) -> io::Result<u64> {
        let answer = self.ask("count")?;
        answer.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, answer))
    }

    fn ask(&mut self, what: &str) -> io::Result<String> {
        if let Some(commands) = &mut self.commands {
            writeln!(commands, "{what}")?;
            commands.flush()?;
        }
        self.answer()
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        while self.answers.read_line(&mut line)? > 0 {
            if let Some(answer) = line.trim().strip_prefix(ANSWER) {
                return Ok(answer.trim().to_owned());
            }
            line.clear();
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the disk's process has ended"))
    }
}

impl Drop for Torn {
    fn drop(&mut self) {
        // It ends by itself with its input, and unmounts. Should it have died before: unmount for it.
        drop(self.commands.take());
        let _ = self.process.wait();
        let _ = unmount(&self.at, UnmountFlags::DETACH);
    }
}
