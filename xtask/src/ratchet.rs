//! Lengths that may only shrink: files up to 400 lines, functions up to 70. What is longer today stands with
//! its length in `xtask/ratchet.txt`; a new one, or a longer one, fails, and a shorter one must be written down.

use crate::scan::{self, Language};
use crate::sources;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::Path;

const FILE: &str = "xtask/ratchet.txt";
/// Lines of a file. The best project that was measured has its 90th percentile at 342.
const FILE_LINES: usize = 400;
/// Lines of a function, from its name to its brace: what fits on a screen.
const FUNCTION_LINES: usize = 70;

/// What is too long: `file PATH` or `fn PATH NAME`, and its lines.
type Lengths = BTreeMap<String, usize>;

/// Fails with each length that is new or has grown, and with each that may now be written lower.
pub fn check(root: &Path) -> Result<()> {
    let text = std::fs::read_to_string(root.join(FILE)).with_context(|| format!("read {FILE}"))?;
    let wrong = compare(&parse(&text)?, &measure(root)?);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("lengths against {FILE}:\n  {}", wrong.join("\n  "))
}

/// Writes down what has shrunk or gone; refuses while something has grown.
pub fn tighten(root: &Path) -> Result<()> {
    let text = std::fs::read_to_string(root.join(FILE)).with_context(|| format!("read {FILE}"))?;
    let (known, now) = (parse(&text)?, measure(root)?);
    let grown: Vec<String> = grown(&known, &now).collect();
    if !grown.is_empty() {
        bail!("nothing written, for there is something longer:\n  {}", grown.join("\n  "));
    }
    let mut lines: Vec<String> = text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect();
    lines.extend(now.iter().map(|(what, length)| format!("{length} {what}")));
    std::fs::write(root.join(FILE), lines.join("\n") + "\n").with_context(|| format!("write {FILE}"))
}

fn parse(text: &str) -> Result<Lengths> {
    let mut lengths = Lengths::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (length, what) = line.split_once(' ').with_context(|| format!("{FILE}: '{line}'"))?;
        let length = length.parse().with_context(|| format!("{FILE}: '{line}'"))?;
        lengths.insert(what.to_owned(), length);
    }
    Ok(lengths)
}

fn grown<'a>(known: &'a Lengths, now: &'a Lengths) -> impl Iterator<Item = String> + 'a {
    now.iter().filter_map(|(what, length)| match known.get(what) {
        None => Some(format!("{what}: {length} lines; split it where it has two subjects")),
        Some(allowed) if length > allowed => Some(format!("{what}: {length} lines, and {allowed} before")),
        Some(_) => None,
    })
}

fn compare(known: &Lengths, now: &Lengths) -> Vec<String> {
    let mut wrong: Vec<String> = grown(known, now).collect();
    for (what, allowed) in known {
        let length = now.get(what).copied().unwrap_or_default();
        if length < *allowed {
            wrong.push(format!("{what} has shrunk from {allowed}: run `cargo xtask ratchet --tighten`"));
        }
    }
    wrong
}

/// Everything of ours that is longer than it should be.
fn measure(root: &Path) -> Result<Lengths> {
    let mut lengths = Lengths::new();
    for (path, source) in sources::read(root, &[".rs", ".mjs", ".js"])? {
        let lines = source.lines().count();
        if lines > FILE_LINES {
            lengths.insert(format!("file {path}"), lines);
        }
        let language = if path.ends_with(".rs") { Language::Rust } else { Language::JavaScript };
        for function in scan::functions(&source, language).iter().filter(|f| f.lines > FUNCTION_LINES) {
            let length = lengths.entry(format!("fn {path} {}", function.name)).or_default();
            *length = function.lines.max(*length);
        }
    }
    Ok(lengths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_may_only_shrink() {
        let lengths =
            |pairs: &[(&str, usize)]| pairs.iter().map(|(w, l)| ((*w).to_owned(), *l)).collect::<Lengths>();
        let known = lengths(&[("file a.rs", 500), ("fn b.rs f", 80)]);
        assert_eq!(compare(&known, &known), Vec::<String>::new());
        let now = lengths(&[("file a.rs", 501), ("file c.rs", 401)]);
        assert_eq!(
            compare(&known, &now),
            [
                "file a.rs: 501 lines, and 500 before",
                "file c.rs: 401 lines; split it where it has two subjects",
                "fn b.rs f has shrunk from 80: run `cargo xtask ratchet --tighten`",
            ]
        );
    }

    #[test]
    fn the_file_is_read_as_it_is_written() {
        let lengths = parse("# why\n\n500 file a.rs\n80 fn b.rs f\n").unwrap();
        assert_eq!(lengths.get("fn b.rs f"), Some(&80));
        assert!(parse("many file a.rs").is_err());
    }

    #[test]
    fn the_workspace_keeps_its_lengths() {
        super::check(&crate::metadata::workspace_root()).unwrap();
    }
}
