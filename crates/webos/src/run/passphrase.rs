//! Passphrases as people give them: on a terminal without showing them, on standard input, or in a file. Never among
//! the arguments, never in the environment: others can read those.

use crate::output::Out;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Stdin};
use std::path::Path;
use terms::{Code, Problem};
use trust::Passphrase;
use trust::limits::MAX_PASSPHRASE_BYTES;
use zeroize::Zeroizing;

/// The passphrase of something that exists.
pub fn present(out: &Out, file: Option<&Path>, of: &str) -> Result<Passphrase, Problem> {
    match file {
        Some(file) => in_file(file),
        None => Ok(Passphrase::new(ask(out, &format!("the passphrase of {of}"))?)?),
    }
}

/// A new passphrase; on a terminal it is asked for twice.
pub fn new(out: &Out, file: Option<&Path>, of: &str) -> Result<Passphrase, Problem> {
    if let Some(file) = file {
        return in_file(file);
    }
    let first = ask(out, &format!("a passphrase for {of}"))?;
    if io::stdin().is_terminal() && ask(out, "the same again")? != first {
        return Err(Problem::new(Code::Invalid, "the two passphrases differ").next("try again"));
    }
    Ok(Passphrase::new(first)?)
}

fn in_file(path: &Path) -> Result<Passphrase, Problem> {
    let file = File::open(path).map_err(|error| crate::home::cannot("read", path, &error))?;
    Ok(Passphrase::new(line(&mut BufReader::new(file), &path.display().to_string())?)?)
}

fn ask(out: &Out, what: &str) -> Result<Zeroizing<String>, Problem> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return line(&mut stdin.lock(), "standard input");
    }
    out.note(&format!("type {what}; it is not shown"));
    let _hidden = Hidden::new(&stdin)?;
    line(&mut stdin.lock(), "the terminal")
}

fn line(input: &mut impl BufRead, from: &str) -> Result<Zeroizing<String>, Problem> {
    let cannot = |what: String| {
        Problem::new(Code::Invalid, what).next(
            "give the passphrase on the terminal, as a line of standard input, or with --passphrase-file FILE",
        )
    };
    let mut text = Zeroizing::new(String::with_capacity(MAX_PASSPHRASE_BYTES + 2));
    let read = input.take(MAX_PASSPHRASE_BYTES as u64 + 2).read_line(&mut text);
    read.map_err(|error| cannot(format!("no passphrase can be read from {from}: {error}")))?;
    let word = Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_string());
    if word.is_empty() {
        return Err(cannot(format!("there is no passphrase on {from}")));
    }
    Ok(word)
}

/// Echo is off while it lives.
struct Hidden<'a> {
    terminal: &'a Stdin,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn new(terminal: &'a Stdin) -> Result<Self, Problem> {
        let failed = |error: rustix::io::Errno| {
            Problem::new(Code::Internal, format!("the terminal cannot hide it: {error}"))
        };
        let before = tcgetattr(terminal).map_err(failed)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(terminal, OptionalActions::Flush, &quiet).map_err(failed)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_without_its_end() {
        for (text, expected) in [("word\n", Some("word")), ("w w \r\nx", Some("w w ")), ("", None), ("\n", None)] {
            let read = line(&mut text.as_bytes(), "a test").ok();
            assert_eq!(read.as_ref().map(|word| word.as_str()), expected, "{text:?}");
        }
    }
}
