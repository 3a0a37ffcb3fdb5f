//! The settings file: TOML with simple values at the top level. An error names file, line and what to do.

use super::NAMES;
use std::collections::BTreeMap;
use std::path::Path;
use terms::{Code, Problem};
use toml::de::{DeTable, DeValue};

/// Name of a setting, its value as text, and its line, the first being 1.
pub type Entries = BTreeMap<String, (String, usize)>;

/// Reads the text of a settings file; the path is only for messages.
pub fn parse(path: &Path, text: &str) -> Result<Entries, Problem> {
    let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
    let refuse = |line: usize, what: String| {
        Problem::new(Code::Invalid, format!("{}, line {line}: {what}", path.display()))
            .next("correct that line, or remove it: an empty file is fine")
    };
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(span.start));
        refuse(line, error.message().to_string())
    })?;
    let mut entries = Entries::new();
    for (name, value) in table.get_ref() {
        let line = line_of(name.span().start);
        let name = name.get_ref().as_ref();
        if !NAMES.contains(&name) {
            let known = NAMES.join(", ");
            return Err(refuse(line, format!("'{}' is no setting; there are: {known}", name.escape_default())));
        }
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            _ => return Err(refuse(line, format!("{name} must be a number or a text in quotes"))),
        };
        entries.insert(name.to_string(), (text, line));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[(&str, &str, usize)], &str>) {
        let found = parse(Path::new("/h/settings.toml"), text);
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                let found: Vec<_> = found.iter().map(|(n, (v, l))| (n.as_str(), v.as_str(), *l)).collect();
                assert_eq!(found, expected, "{text:?}");
            }
            (Err(problem), Err(expected)) => {
                assert!(problem.detail.starts_with(expected), "{problem}");
                assert!(problem.next.contains("empty file"));
            }
            (found, _) => panic!("{text:?}: {found:?}"),
        }
    }

    #[test]
    fn files_are_read_with_their_lines() {
        check("", Ok(&[]));
        check("\n# nothing\n", Ok(&[]));
        check("# x\nlog = 'debug'\n\nsurrogates = 2", Ok(&[("log", "debug", 2), ("surrogates", "2", 4)]));
    }

    #[test]
    fn damage_is_named() {
        check("log = ", Err("/h/settings.toml, line 1: "));
        check("log = 'a'\n\u{0}\u{1}", Err("/h/settings.toml, line 2: "));
        check("log = 'a'\nlog = 'b'", Err("/h/settings.toml, line 2: "));
        check("logs = 'a'", Err("/h/settings.toml, line 1: 'logs' is no setting; there are: log, "));
        check("surrogates = [1]", Err("/h/settings.toml, line 1: surrogates must be"));
        check("[log]\nx = 1", Err("/h/settings.toml, line 1: log must be"));
    }
}
