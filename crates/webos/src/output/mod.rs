//! What a command says: results to standard output (for people, or as JSON), everything else to standard error.
//! A reader that went away is success; control characters in foreign names never reach a terminal.

mod failure;
mod progress;
mod text;

pub use failure::{Failure, Outcome, report};
pub use progress::Progress;
pub use text::{age, plural, shown, time, time_left};

use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use terms::{Code, Problem};
use world::World;

/// The outputs of one command.
pub struct Out {
    json: bool,
    terminal: bool,
    stdout: BufWriter<Stdout>,
    world: World,
}

impl Out {
    /// Standard output and error; `json` is the flag.
    pub fn new(json: bool, world: World) -> Self {
        let stdout = io::stdout();
        Self { json, terminal: stdout.is_terminal(), stdout: BufWriter::new(stdout), world }
    }

    /// Whether the result is wanted as JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// The result: one JSON object with `--json`, else what `people` prints.
    pub fn result<T: Serialize>(&mut self, value: &T, people: impl FnOnce(&mut Self, &T) -> Outcome) -> Outcome {
        if self.json { self.json_line(value) } else { people(self, value) }
    }

    /// One line of JSON, flushed: a program may be waiting for it.
    pub fn json_line<T: Serialize>(&mut self, value: &T) -> Outcome {
        let text = serde_json::to_string(value)
            .map_err(|error| Problem::new(Code::Internal, format!("a result is no JSON: {error}")))?;
        self.line(&text)?;
        self.flush()
    }

    /// One line.
    pub fn line(&mut self, text: &str) -> Outcome {
        writeln!(self.stdout, "{text}").map_err(Failure::of_output)
    }

    /// Content, as it is.
    pub fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        self.stdout.write_all(bytes).map_err(Failure::of_output)
    }

    /// Gives everything to the reader.
    pub fn flush(&mut self) -> Outcome {
        self.stdout.flush().map_err(Failure::of_output)
    }

    /// A foreign name for this output: escaped on a terminal, as it is in a pipe.
    pub fn name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if self.terminal { shown(name) } else { Cow::Borrowed(name) }
    }

    /// A remark for people; programs do not get it.
    pub fn note(&self, text: &str) {
        if !self.json {
            // Nobody reads it: then nobody misses it.
            let _ = writeln!(io::stderr(), "webos: {}", shown(text));
        }
    }

    /// Asks a person; with nobody to ask it is an error that names the flag.
    pub fn ask(&self, question: &str, flag: &str) -> Result<bool, Failure> {
        if self.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let problem = Problem::new(Code::Invalid, format!("{question} nobody can be asked here"));
            return Err(problem.next(format!("say {flag} if that is what you want")).into());
        }
        let _ = write!(io::stderr(), "webos: {} [y/N] ", shown(question));
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// A progress bar over so many bytes, shown on a terminal once it has taken a second.
    pub fn progress(&self, what: &str, total: Option<u64>) -> Progress {
        let wanted = !self.json && io::stderr().is_terminal();
        Progress::new(self.world.clone(), wanted, what, total)
    }

    /// The same beside content on standard output, where that is not on the terminal too.
    pub fn progress_beside_output(&self, what: &str) -> Progress {
        let wanted = !self.terminal && io::stderr().is_terminal();
        Progress::new(self.world.clone(), wanted, what, Some(0))
    }
}
