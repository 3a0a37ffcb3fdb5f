//! What can be checked of the documents: a test that a sentence names exists, a promise names one or says that it
//! has none, a link leads to a file, and every route of a node stands in `docs/protocol.md`.

use crate::scan::{self, Language};
use crate::sources;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::path::Path;

/// Names of tests stand in back quotes after these words, up to the end of the sentence or paragraph.
const HELD: &str = "Held by";
/// The document of promises, and what one says that no test holds.
const PROMISES: &str = "docs/semantics.md";
const NOT_HELD: &str = "No test";
/// The closed table of routes, and the document that describes it.
const ROUTES: &str = "crates/node/src/routes.rs";
const PROTOCOL: &str = "docs/protocol.md";

/// Fails with everything that a document says and that is not so.
pub fn check(root: &Path) -> Result<()> {
    let known = functions(root)?;
    let mut wrong = Vec::new();
    for (path, text) in sources::read(root, &[".md"])? {
        wrong.extend(
            named_tests(&text)
                .into_iter()
                .filter(|name| !known.contains(name))
                .map(|name| format!("{path}: there is no test '{name}'")),
        );
        if path == PROMISES {
            wrong
                .extend(unheld(&text).map(|promise| format!("{path}: neither a test nor '{NOT_HELD}': {promise}")));
        }
        let folder = root.join(&path).parent().map(Path::to_path_buf).unwrap_or_default();
        wrong.extend(
            links(&text)
                .filter(|link| !folder.join(link).exists())
                .map(|link| format!("{path}: the link to {link} leads nowhere")),
        );
    }
    let protocol = std::fs::read_to_string(root.join(PROTOCOL)).with_context(|| format!("read {PROTOCOL}"))?;
    let routes = std::fs::read_to_string(root.join(ROUTES)).with_context(|| format!("read {ROUTES}"))?;
    for route in patterns(&routes).filter(|route| !protocol.contains(&format!("`{route}`"))) {
        wrong.push(format!("{PROTOCOL} does not describe the route {route}"));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("the documents:\n  {}", wrong.join("\n  "))
}

/// Every function of ours, and every title of a JavaScript test.
fn functions(root: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for (path, text) in sources::read(root, &[".rs", ".mjs", ".js"])? {
        let language = if path.ends_with(".rs") { Language::Rust } else { Language::JavaScript };
        names.extend(scan::functions(&text, language).into_iter().map(|function| function.name));
        for quote in ['\'', '"', '`'] {
            let call = format!("test({quote}");
            let titles = text.split(&call).skip(1);
            names.extend(titles.filter_map(|rest| rest.split(quote).next()).map(str::to_owned));
        }
    }
    Ok(names)
}

fn named_tests(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for paragraph in text.split("\n\n") {
        let line = one_line(paragraph);
        for rest in line.split(HELD).skip(1) {
            let end = [rest.find(". "), rest.find(" |")].into_iter().flatten().min().unwrap_or(rest.len());
            names.extend(rest[..end].split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    names
}

/// The first words of each item that names no test and does not say so.
fn unheld(text: &str) -> impl Iterator<Item = String> {
    text.split("\n\n").flat_map(|block| block.split("\n- ")).filter_map(|item| {
        let item = one_line(item);
        let promise = item.trim_start_matches("- ");
        let held = item.contains(HELD) || item.contains(NOT_HELD);
        (promise.starts_with("**") && !held).then(|| promise.chars().take(60).collect())
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Targets of links that are files of ours.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#', ' ']).next())
        .filter(|link| !link.is_empty() && !link.contains("://"))
}

/// The patterns of the table's rows: `("/…", METHODS, Access::…)`.
fn patterns(source: &str) -> impl Iterator<Item = &str> {
    source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\"")?.split_once("\", ").map(|(pattern, _)| pattern))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_links_and_routes_are_found() {
        let text =
            "A promise. Held by `one`, `two`. And `three`. Held\n  by `six`.\n\n| x | Held by `four` | `five` |";
        assert_eq!(named_tests(text), ["one", "two", "six", "four"]);
        let text = "# P\n\n- **One.** Held\n  by `x`.\n- **Two**, aloud.\n- **Three.** No test yet.\n\nMore.";
        assert_eq!(unheld(text).collect::<Vec<_>>(), ["**Two**, aloud."]);
        let text = "[a](docs/a.md) [b](https://b.example) [c](#c) [d](d.md#part)";
        assert_eq!(links(text).collect::<Vec<_>>(), ["docs/a.md", "d.md"]);
        let source = "const T: &[Row] = &[\n    (\"/.webos/bundle\", GET, Access::Open),\n];\nlet x = (\"y\", 1);";
        assert_eq!(patterns(source).collect::<Vec<_>>(), ["/.webos/bundle"]);
    }

    #[test]
    fn the_documents_say_what_is() {
        super::check(&crate::metadata::workspace_root()).unwrap();
    }
}
