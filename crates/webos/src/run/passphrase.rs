//! Passphrases as people give them: on a terminal without showing them, on standard input, or in a file. Never among
//! the arguments, never in the environment: others can read those.

use super::hidden::Hidden;
use crate::output::Failure;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use terms::{Code, Problem};
use trust::Passphrase;
use trust::limits::MAX_PASSPHRASE_BYTES;
use zeroize::Zeroizing;

/// The passphrase of something that exists.
pub fn present(file: Option<&Path>, of: &str) -> Result<Passphrase, Failure> {
    match file {
        Some(file) => Ok(in_file(file)?),
        None => checked(ask(&format!("the passphrase of {of}"))?),
    }
}

/// A new passphrase; on a terminal it is asked for twice.
pub fn new(file: Option<&Path>, of: &str) -> Result<Passphrase, Failure> {
    if let Some(file) = file {
        return Ok(in_file(file)?);
    }
    let first = ask(&format!("a passphrase for {of}"))?;
    if io::stdin().is_terminal() {
        same(&first, &ask("the same again")?)?;
    }
    checked(first)
}

/// The passphrase of the person's own key. Standard input may carry data, so that it is typed on the terminal only.
pub fn of_key(file: Option<&Path>, whose: &str) -> Result<Passphrase, Failure> {
    match file {
        Some(file) => Ok(in_file(file)?),
        None => checked(typed(&mut terminal()?, &format!("the passphrase of {whose}"))?),
    }
}

/// The same for a key that is made now: typed twice.
pub fn for_new_key(file: Option<&Path>) -> Result<Passphrase, Failure> {
    if let Some(file) = file {
        return Ok(in_file(file)?);
    }
    let mut terminal = terminal()?;
    let first = typed(&mut terminal, "a passphrase for your key")?;
    same(&first, &typed(&mut terminal, "the same again")?)?;
    checked(first)
}

fn checked(word: Zeroizing<String>) -> Result<Passphrase, Failure> {
    Ok(Passphrase::new(word).map_err(Problem::from)?)
}

fn same(first: &str, second: &str) -> Result<(), Problem> {
    if first == second {
        return Ok(());
    }
    Err(Problem::new(Code::Invalid, "the two passphrases differ").next("try again"))
}

/// Whoever cannot see the question is not asked.
fn terminal() -> Result<File, Problem> {
    let opened = File::options().read(true).write(true).open("/dev/tty");
    opened.ok().filter(|_| io::stderr().is_terminal()).ok_or_else(|| {
        Problem::new(Code::Denied, "your key is under a passphrase, and there is no terminal to ask for it")
            .next("name a file with it: --passphrase-file FILE, or WEBOS_PASSPHRASE_FILE=FILE")
    })
}

fn in_file(path: &Path) -> Result<Passphrase, Problem> {
    let file = File::open(path).map_err(|error| crate::home::cannot("read", path, &error))?;
    Ok(Passphrase::new(line(&mut BufReader::new(file), &path.display().to_string())?)?)
}

fn ask(what: &str) -> Result<Zeroizing<String>, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Ok(line(&mut stdin.lock(), "standard input")?);
    }
    typed(&mut stdin.lock(), what)
}

/// A line from a terminal that shows nothing of it. Its keys raise no signal meanwhile: Ctrl-C ends the command after
/// the terminal is as it was.
fn typed(terminal: &mut (impl Read + AsFd), what: &str) -> Result<Zeroizing<String>, Failure> {
    let mut said = io::stderr();
    // With nobody to read it the terminal waits all the same.
    let _ = writeln!(said, "webos: type {}; it is not shown", what.escape_debug());
    let hidden = Hidden::new(&*terminal)
        .map_err(|error| Problem::new(Code::Internal, format!("the terminal cannot hide it: {error}")))?;
    let mut word = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE_BYTES + 1));
    let end = loop {
        let mut key = [0];
        let end = match terminal.read(&mut key) {
            Ok(0) => Some(Typed::Line),
            Ok(_) => press(&mut word, key[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) => return Err(cannot(format!("the terminal cannot be read: {error}")).into()),
        };
        if let Some(end) = end {
            break end;
        }
    };
    drop(hidden);
    let _ = writeln!(said);
    match end {
        Typed::Stop => Err(Failure::Interrupted),
        Typed::Line if word.is_empty() => Err(cannot("nothing was typed".into()).into()),
        Typed::Line => {
            let text = std::str::from_utf8(&word).map_err(|_| cannot("what was typed is not UTF-8".into()))?;
            Ok(Zeroizing::new(text.to_string()))
        }
    }
}

/// How typing ends.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    /// Enter, or the end of input.
    Line,
    /// Ctrl-C.
    Stop,
}

/// What a key does to the word so far.
fn press(word: &mut Vec<u8>, key: u8) -> Option<Typed> {
    match key {
        b'\n' | b'\r' | 0x04 => return Some(Typed::Line),
        0x03 | 0x1c => return Some(Typed::Stop),
        // Backspace takes a character, which may have several bytes.
        0x08 | 0x7f => while word.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
        0x15 => word.clear(),
        b'\t' | 0x20.. if word.len() <= MAX_PASSPHRASE_BYTES => word.push(key),
        _ => {}
    }
    None
}

fn cannot(what: String) -> Problem {
    Problem::new(Code::Invalid, what)
        .next("give the passphrase on the terminal, as a line of standard input, or with --passphrase-file FILE")
}

fn line(input: &mut impl BufRead, from: &str) -> Result<Zeroizing<String>, Problem> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_PASSPHRASE_BYTES + 2));
    let read = input.take(MAX_PASSPHRASE_BYTES as u64 + 2).read_line(&mut text);
    read.map_err(|error| cannot(format!("no passphrase can be read from {from}: {error}")))?;
    let word = Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_string());
    if word.is_empty() {
        return Err(cannot(format!("there is no passphrase on {from}")));
    }
    Ok(word)
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

    #[test]
    fn keys_make_a_word_and_ctrl_c_ends_it() {
        for (keys, word, end) in [
            ("word\n", "word", Some(Typed::Line)),
            ("wo\u{7f}\u{8}x\r", "x", Some(Typed::Line)),
            ("aé\u{7f}b\n", "ab", Some(Typed::Line)),
            ("ab\u{15}c\u{1b}\u{4}", "c", Some(Typed::Line)),
            ("ab\u{3}", "ab", Some(Typed::Stop)),
            ("\u{7f}a", "a", None),
        ] {
            let mut typed = Vec::new();
            let ended = keys.bytes().find_map(|key| press(&mut typed, key));
            assert_eq!((std::str::from_utf8(&typed), ended), (Ok(word), end), "{keys:?}");
        }
    }
}
