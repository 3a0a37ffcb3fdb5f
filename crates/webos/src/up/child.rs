//! One node as a process of its own. A task owns the process: it alone signals and reaps it, so that no signal ever
//! reaches a process that has taken over the number. The node ends when its standard input closes, and so also when
//! this process is killed.

use super::heard::Word;
use super::limits::{END_WITHIN, INBOX, LOG_LINES, MAX_LINE_BYTES, MAX_LOG_BYTES, READY_WITHIN};
use crate::home::cannot;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use terms::{Code, Label, Principal, Problem};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// What to start.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The node's name.
    pub name: Label,
    /// The program and its arguments.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where its standard error goes.
    pub log: PathBuf,
}

/// What a child tells while it lives.
#[derive(Debug)]
pub enum Tale {
    /// It said something.
    Said(Word),
    /// It is no more.
    Ended(ExitStatus),
}

/// A running node. Dropping it ends the process as [`Child::end`] does, without waiting.
#[derive(Debug)]
pub struct Child {
    /// Its process.
    pub pid: u32,
    /// `host:port` where it listens.
    pub address: String,
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
enum Order {
    Kill,
    End(oneshot::Sender<()>),
}

impl Child {
    /// Starts a node and waits until it answers. What it tells later goes to `tales` with its name.
    pub async fn start(
        spec: &Spec,
        expected: &Principal,
        tales: mpsc::Sender<(Label, Tale)>,
        tasks: &TaskTracker,
    ) -> Result<Self, Problem> {
        let log = fresh_log(&spec.log)?;
        let mut command = Command::new(&spec.program);
        command.args(&spec.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        // A group of its own: Ctrl-C is for us, who then end the nodes in order. What is set for this process is
        // not meant for its nodes.
        command.process_group(0);
        for variable in ["WEBOS_HOME", "WEBOS_LISTEN", "WEBOS_ADDRESS", "WEBOS_LINK"] {
            command.env_remove(variable);
        }
        let mut process = command.spawn().map_err(|error| cannot("start", &spec.program, &error))?;
        let pid = process.id().unwrap_or_default();
        let lines = Lines::new(process.stdout.take());
        let (orders, inbox) = mpsc::channel(INBOX);
        let (ready, answer) = oneshot::channel();
        // Held apart: waiting for a process closes the input that it still has.
        let input = process.stdin.take();
        let owner = Owner { name: spec.name.clone(), process, input, lines, tales, ready: Some(ready), inbox };
        tasks.spawn(owner.run());
        let problem = match timeout(READY_WITHIN, answer).await {
            Ok(Ok((principal, address))) if principal == *expected => return Ok(Self { pid, address, orders }),
            Ok(Ok((principal, _))) => format!("it is {principal} instead of {expected}"),
            Ok(Err(_)) => "it ended at once".to_string(),
            Err(_) => format!("it did not answer within {} s", READY_WITHIN.as_secs()),
        };
        Err(not_started(spec, &problem))
    }

    /// Ends the process at once, as `kill -9` does.
    pub async fn kill(&self) {
        // Without its owner it has ended already.
        let _ = self.orders.send(Order::Kill).await;
    }

    /// Asks the process to end, waits, and kills it if it takes too long.
    pub async fn end(self) {
        let (sender, ended) = oneshot::channel();
        if self.orders.send(Order::End(sender)).await.is_ok() {
            let _ = ended.await;
        }
    }
}

fn not_started(spec: &Spec, why: &str) -> Problem {
    let said = last_lines(&spec.log);
    let said = if said.is_empty() { String::new() } else { format!("; its last words: {}", said.join(" | ")) };
    Problem::new(Code::Unavailable, format!("the node {} did not start: {why}{said}", spec.name))
        .next(format!("read {}; `webos up --fresh` starts anew", spec.log.display()))
}

/// The log, empty, to be appended to: a file that is cut short is then written on from its beginning.
fn fresh_log(path: &Path) -> Result<File, Problem> {
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).mode(0o600).open(path);
    let file = file.and_then(|file| file.set_len(0).map(|()| file));
    file.map_err(|error| cannot("write", path, &error))
}

/// Begins a log anew when it has become too long.
pub fn bound_log(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path)?.len() > MAX_LOG_BYTES {
        OpenOptions::new().write(true).open(path)?.set_len(0)?;
    }
    Ok(())
}

fn last_lines(path: &Path) -> Vec<String> {
    let Ok(bytes) = std::fs::read(path) else { return Vec::new() };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    lines[from..].iter().map(|line| line.chars().take(400).collect()).collect()
}

/// The lines of a child, each bounded.
struct Lines<R>(Option<BufReader<R>>);

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(reader: Option<R>) -> Self {
        Self(reader.map(BufReader::new))
    }

    /// The next line; one that is too long comes as nothing. For ever pending after the last.
    async fn next(&mut self, buffer: &mut Vec<u8>) -> String {
        loop {
            let Some(reader) = &mut self.0 else { return std::future::pending().await };
            let room = (MAX_LINE_BYTES - buffer.len().min(MAX_LINE_BYTES)) as u64;
            let read = reader.take(room.max(1)).read_until(b'\n', buffer).await;
            if !matches!(read, Ok(1..)) {
                self.0 = None;
            }
            if buffer.last() == Some(&b'\n') {
                let line = String::from_utf8_lossy(buffer).trim().to_string();
                buffer.clear();
                return line;
            }
            if buffer.len() >= MAX_LINE_BYTES {
                // Too long: keep throwing it away until its end.
                buffer.truncate(0);
            }
        }
    }
}

/// The task that owns one process.
struct Owner {
    name: Label,
    process: tokio::process::Child,
    input: Option<ChildStdin>,
    lines: Lines<tokio::process::ChildStdout>,
    tales: mpsc::Sender<(Label, Tale)>,
    ready: Option<oneshot::Sender<(Principal, String)>>,
    inbox: mpsc::Receiver<Order>,
}

impl Owner {
    async fn run(mut self) {
        let mut buffer = Vec::new();
        let (status, waiting) = loop {
            tokio::select! {
                status = self.process.wait() => break (status, None),
                line = self.lines.next(&mut buffer) => self.said(&line).await,
                order = self.inbox.recv() => match order {
                    Some(Order::Kill) => drop(self.process.start_kill()),
                    Some(Order::End(waiting)) => break (self.end().await, Some(waiting)),
                    // Nobody wants it any more.
                    None => break (self.end().await, None),
                },
            }
        };
        let told = match status {
            Ok(status) => self.tales.send((self.name.clone(), Tale::Ended(status))).await.is_ok(),
            Err(error) => {
                tracing::error!(node = %self.name, %error, "a node's end cannot be waited for");
                false
            }
        };
        tracing::debug!(node = %self.name, told, "a node has ended");
        if let Some(waiting) = waiting {
            let _ = waiting.send(());
        }
    }

    async fn said(&mut self, line: &str) {
        match Word::parse(line) {
            Some(Word::Ready { principal, address }) => {
                if let Some(ready) = self.ready.take() {
                    // Whoever started it may have given up.
                    let _ = ready.send((principal, address));
                }
            }
            // Without a listener there is nothing to tell.
            Some(word) => drop(self.tales.send((self.name.clone(), Tale::Said(word))).await),
            None => {}
        }
    }

    /// In order if it can: closed input and SIGTERM; its output is still taken, or it might wait for that.
    async fn end(&mut self) -> io::Result<ExitStatus> {
        drop(self.input.take());
        let pid = self.process.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        if let Some(pid) = pid {
            // It is not reaped before `wait` below, so the number is still its own.
            let _ = kill_process(pid, Signal::TERM);
        }
        let mut buffer = Vec::new();
        let ended = timeout(END_WITHIN, async {
            loop {
                tokio::select! {
                    status = self.process.wait() => return status,
                    _ = self.lines.next(&mut buffer) => {}
                }
            }
        });
        if let Ok(status) = ended.await {
            return status;
        }
        tracing::warn!(node = %self.name, "the node does not end by itself and is killed");
        self.process.kill().await?;
        self.process.wait().await
    }
}

#[cfg(test)]
#[path = "child_tests.rs"]
mod tests;
