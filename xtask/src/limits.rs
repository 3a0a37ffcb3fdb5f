//! The tables of `docs/limits.md`, made from every `limits.rs`: a limit is described where it is enforced, and the
//! document says the same. The check compares; `--write` brings the document up to date.

use anyhow::{Context, Result, bail};
use std::fmt::Write;
use std::path::{Path, PathBuf};

const FILE: &str = "docs/limits.md";
const BEGIN: &str = "<!-- tables: made by `cargo xtask limits --write` from the sources -->";
/// Folders in which a file `limits.rs` is looked for.
const FOLDERS: [&str; 3] = ["crates", "apps", "sim"];

/// One named constant.
#[derive(Debug, PartialEq, Eq)]
struct Limit {
    name: String,
    value: String,
    meaning: String,
}

/// Fails if the document does not say what the sources say.
pub fn check(root: &Path) -> Result<()> {
    let (text, wanted) = both(root)?;
    if text != wanted {
        bail!("{FILE} is not what the sources say: run `cargo xtask limits --write`");
    }
    Ok(())
}

/// Writes the tables anew; what stands above them stays.
pub fn write(root: &Path) -> Result<()> {
    let (_, wanted) = both(root)?;
    std::fs::write(root.join(FILE), wanted).with_context(|| format!("write {FILE}"))
}

/// The document as it is and as it should be.
fn both(root: &Path) -> Result<(String, String)> {
    let text = std::fs::read_to_string(root.join(FILE)).with_context(|| format!("read {FILE}"))?;
    let (above, _) = text.split_once(BEGIN).with_context(|| format!("{FILE} has no line '{BEGIN}'"))?;
    let mut wanted = format!("{above}{BEGIN}\n");
    for path in files(root)? {
        let source = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let below = path.strip_prefix(root).unwrap_or(&path);
        let _ = write!(wanted, "\n## `{}`\n\n| limit | value | what it bounds |\n|---|---|---|\n", below.display());
        for limit in parse(&source) {
            let _ = writeln!(wanted, "| `{}` | {} | {} |", limit.name, limit.value, limit.meaning);
        }
    }
    Ok((text, wanted))
}

fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|name| root.join(name)).filter(|f| f.is_dir()).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == "limits.rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Public constants with their documentation; others and assertions are left out.
fn parse(source: &str) -> Vec<Limit> {
    let mut found = Vec::new();
    let mut meaning: Vec<&str> = Vec::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("/// ") {
            meaning.push(text);
            continue;
        }
        if let Some(rest) = line.strip_prefix("pub const ") {
            let mut whole = rest.to_owned();
            while !whole.ends_with(';') {
                let Some(more) = lines.next() else { break };
                whole = format!("{whole} {}", more.trim());
            }
            if let Some((name, value)) = whole.trim_end_matches(';').split_once(" =") {
                let name = name.split(':').next().unwrap_or(name).to_owned();
                let meaning = meaning.join(" ").replace("[`", "`").replace("`]", "`").replace('|', "\\|");
                found.push(Limit { name, value: shown(value.trim()), meaning });
            }
        }
        meaning.clear();
    }
    found
}

/// `Duration::from_secs(10)` as `10 s`, `64 * 1024` as `64 KiB`; anything else as it is written.
fn shown(value: &str) -> String {
    let inner = |prefix: &str| value.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(')'));
    if let Some(seconds) = inner("Duration::from_secs(") {
        return format!("{seconds} s");
    }
    if let Some(milliseconds) = inner("Duration::from_millis(") {
        return format!("{} ms", milliseconds.replace('_', ","));
    }
    for (suffix, unit) in [(" * 1024", "KiB"), (" << 10", "KiB"), (" << 20", "MiB"), (" << 30", "GiB")] {
        if let Some(count) = value.strip_suffix(suffix).filter(|count| count.bytes().all(|b| b.is_ascii_digit())) {
            return format!("{count} {unit}");
        }
    }
    match value.replace('_', ",") {
        number if number.bytes().all(|b| b.is_ascii_digit() || b == b',') => number,
        _ => format!("`{value}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_read_with_their_reasons() {
        let source = "//! Head.\nuse x;\n\n/// One,\n/// see [`B`].\npub const A: usize = 64 * 1024;\nconst C: u8 = 1;\n\
            /// Two.\npub const B: Duration =\n    Duration::from_secs(10);\nconst _: () = assert!(A > 1);\n";
        let limit = |name: &str, value: &str, meaning: &str| Limit {
            name: name.to_owned(),
            value: value.to_owned(),
            meaning: meaning.to_owned(),
        };
        assert_eq!(parse(source), [limit("A", "64 KiB", "One, see `B`."), limit("B", "10 s", "Two.")]);
    }

    #[test]
    fn values_are_shown_with_units() {
        for (value, expected) in [
            ("12_000", "12,000"),
            ("1 << 20", "1 MiB"),
            ("Duration::from_millis(3_333)", "3,333 ms"),
            ("A * 8", "`A * 8`"),
            ("1e11", "`1e11`"),
        ] {
            assert_eq!(shown(value), expected);
        }
    }

    #[test]
    fn the_document_says_what_the_sources_say() {
        super::check(&crate::metadata::workspace_root()).unwrap();
    }
}
