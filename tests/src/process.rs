//! Processes that tests start: run to their end under a deadline, or listened to line by line while they run.

use crate::home::Output;
use crate::wait::DEADLINE;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use world::World;

/// Lines that wait for the test: count.
const LINES: usize = 4096;

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what there is to show.
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// Keeps what comes, so that it can be looked at before the end, which other processes may delay.
fn keep(mut from: impl Read + Send + 'static, log: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            log.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..count]);
        }
    });
}

/// Runs a command to its end with this input.
pub(crate) fn run_to_end(mut command: Command, input: Vec<u8>) -> Output {
    let name = shown(&command);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("webos starts");
    let feeding = child.stdin.take().map(|mut stdin| {
        // Whoever does not read all of it has its reasons.
        std::thread::spawn(move || drop(stdin.write_all(&input)))
    });
    let out = collect(child.stdout.take().expect("piped"));
    let err = collect(child.stderr.take().expect("piped"));
    let code = end_of(&mut child, &name);
    drop(feeding.map(JoinHandle::join));
    let stderr = String::from_utf8_lossy(&err.join().expect("read")).into_owned();
    Output { command: name, code, bytes: out.join().expect("read"), stderr }
}

fn end_of(child: &mut Child, name: &str) -> Option<i32> {
    let clock = World::real().clock;
    let end = clock.boot().plus(DEADLINE);
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return status.code();
        }
        if clock.boot() >= end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{name} hangs: it did not end within {} s", DEADLINE.as_secs());
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Sends a signal to one process, which must be one that this test started or was told of by one.
pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // Gone already is what was wanted.
    let _ = kill_process(pid.expect("a process number"), signal);
}

/// One JSON line that a process printed.
pub type Event = Value;

/// A running process that prints JSON lines. Killed when dropped.
pub struct Talking {
    name: String,
    child: Child,
    lines: Receiver<Event>,
    heard: Vec<Event>,
    log: Arc<Mutex<Vec<u8>>>,
}

impl Talking {
    /// Starts it; with `held` its standard input stays open as long as this value lives.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(mut command: Command, held: bool) -> Self {
        let name = shown(&command);
        if held {
            command.stdin(Stdio::piped());
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("webos starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let log = Arc::new(Mutex::new(Vec::new()));
        keep(child.stderr.take().expect("piped"), log.clone());
        let (send, lines) = mpsc::sync_channel(LINES);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                // A test that has heard enough still lets the process talk.
                let _ = send.send(event);
            }
        });
        Self { name, child, lines, heard: Vec::new(), log }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next event that is wanted; those before it are passed over.
    ///
    /// # Panics
    /// If the process ends or the deadline passes first.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let clock = World::real().clock;
        let end = clock.boot().plus(DEADLINE);
        loop {
            match self.lines.recv_timeout(end.since(clock.boot())) {
                Ok(event) => {
                    self.heard.push(event.clone());
                    if wanted(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("{}: no event in time: {what}", self.name),
                Err(RecvTimeoutError::Disconnected) => panic!("{}: ended before the event: {what}", self.name),
            }
        }
    }

    /// All that was waited for or passed over so far.
    pub fn heard(&self) -> &[Event] {
        &self.heard
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for its end; gives its exit code, if it has one.
    ///
    /// # Panics
    /// If it hangs.
    pub fn end(&mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        end_of(&mut self.child, &self.name)
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits a while for its end; false if it still runs then.
    pub(crate) fn ends_within(&mut self, span: Duration) -> bool {
        let clock = World::real().clock;
        let end = clock.boot().plus(span);
        while clock.boot() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        false
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- standard error of {}\n{}", self.name, self.log());
        }
    }
}
