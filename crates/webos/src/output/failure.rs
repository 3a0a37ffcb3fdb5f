//! How a command ends without its result, and how that is said: `webos: what; why; next step`, and an exit code.

use super::text::shown;
use serde::Serialize;
use std::io::{self, ErrorKind, Write};
use terms::{Code, Problem};

/// What a command returns.
pub type Outcome = Result<(), Failure>;

/// Why a command ended early.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// It failed.
    Problem(Problem),
    /// Nobody reads the output any more. That is no failure.
    OutputClosed,
    /// It was told to end (Ctrl-C).
    Interrupted,
    /// It has said itself what is wrong; only the exit code is left.
    Exit(u8),
}

impl Failure {
    /// An error of writing to standard output.
    pub fn of_output(error: io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        Self::Problem(Problem::new(Code::Internal, format!("cannot write to standard output: {error}")))
    }

    /// The exit code: 0 done, 1 failed, 2 usage, 3 denied, 4 not found, 5 unreachable.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Problem(problem) => problem.code.exit_code(),
            Self::OutputClosed => 0,
            Self::Interrupted => 130, // as shells count an end by SIGINT
            Self::Exit(code) => *code,
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

#[derive(Serialize)]
struct Document<'a> {
    error: &'a Problem,
}

/// Says what went wrong on standard error, as JSON if that was wanted, and gives the exit code.
pub fn report(failure: &Failure, json: bool) -> u8 {
    if let Failure::Problem(problem) = failure {
        let text = match serde_json::to_string(&Document { error: problem }) {
            Ok(text) if json => text,
            _ => format!("webos: {}", shown(&problem.to_string())),
        };
        // With nobody to read it the exit code still tells.
        let _ = writeln!(io::stderr(), "{text}");
    }
    failure.exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_code() {
        let problem = |code| Failure::from(Problem::new(code, "x"));
        for (failure, code) in [
            (problem(Code::Internal), 1),
            (problem(Code::Conflict), 1),
            (problem(Code::Invalid), 2),
            (problem(Code::Denied), 3),
            (problem(Code::NotFound), 4),
            (problem(Code::Unavailable), 5),
            (Failure::of_output(ErrorKind::BrokenPipe.into()), 0),
            (Failure::of_output(ErrorKind::StorageFull.into()), 1),
            (Failure::Interrupted, 130),
            (Failure::Exit(1), 1),
        ] {
            assert_eq!(failure.exit_code(), code, "{failure:?}");
        }
    }
}
