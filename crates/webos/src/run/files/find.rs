//! `find`: everything below a folder, in as few answers as it fits into.

use crate::args::{Find, Kind};
use crate::output::{Out, Outcome};
use crate::run::{Setup, reach};
use client::Below;
use serde::Serialize;
use terms::{Location, UnixMs};
use webfs::model::FileKind;

#[derive(Serialize)]
struct Line {
    location: String,
    kind: FileKind,
    size: u64,
    modified_ms: UnixMs,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

#[derive(Serialize)]
struct Found {
    objects: Vec<Line>,
    /// Folders that may not be read.
    hidden: Vec<String>,
}

/// Lists everything below a folder that fits.
pub async fn find(setup: &Setup, out: &mut Out, arguments: &Find) -> Outcome {
    let client = reach::acting(setup, &arguments.lent)?;
    let volume = reach::volume(&client, &arguments.place, None).await?;
    let tree = volume.tree(&arguments.place.location.path).await?;
    let name_of = |path| Location { volume: volume.name().clone(), path }.to_string();
    let objects = tree.objects.into_iter().filter(|below| fits(below, arguments));
    let objects = objects.map(|Below { path, entry }| Line {
        location: name_of(path),
        kind: entry.kind,
        size: entry.size,
        modified_ms: entry.modified,
        target: entry.target,
    });
    let hidden = tree.hidden.into_iter().map(|(path, _)| name_of(path));
    let found = Found { objects: objects.collect(), hidden: hidden.collect() };
    for folder in &found.hidden {
        let folder = out.name(folder).into_owned();
        out.note(&format!("{folder} may not be read"));
    }
    out.result(&found, |out, found| {
        found.objects.iter().try_for_each(|line| {
            let name = out.name(&line.location).into_owned();
            out.line(&name)
        })
    })
}

fn fits(below: &Below, arguments: &Find) -> bool {
    let kind = match arguments.kind {
        None => true,
        Some(Kind::F) => below.entry.kind == FileKind::File,
        Some(Kind::D) => below.entry.kind == FileKind::Directory,
        Some(Kind::L) => below.entry.kind == FileKind::Link,
    };
    kind && arguments.name.as_ref().is_none_or(|form| has_form(&below.entry.name, form))
}

/// Whether a name has a form in which `*` stands for any letters and `?` for one. Linear in both but for one look back.
fn has_form(name: &str, form: &str) -> bool {
    let (name, form): (Vec<char>, Vec<char>) = (name.chars().collect(), form.chars().collect());
    let (mut at, mut wanted, mut star) = (0, 0, None);
    while at < name.len() {
        match form.get(wanted) {
            Some('*') => {
                star = Some((wanted, at));
                wanted += 1;
            }
            Some(letter) if *letter == '?' || *letter == name[at] => {
                at += 1;
                wanted += 1;
            }
            _ => {
                let Some((before, from)) = star else { return false };
                star = Some((before, from + 1));
                (wanted, at) = (before + 1, from + 1);
            }
        }
    }
    form[wanted..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::has_form;

    #[test]
    fn forms_of_names() {
        for (name, form, fits) in [
            ("a.html", "*.html", true),
            ("a.htm", "*.html", false),
            ("a.html", "?.html", true),
            ("ab.html", "?.html", false),
            ("", "*", true),
            ("", "", true),
            ("a", "", false),
            ("aaab", "*ab", true),
            ("abab", "a*b", true),
            ("ü", "?", true),
            ("a*b", "a*b", true),
        ] {
            assert_eq!(has_form(name, form), fits, "{name} {form}");
        }
    }
}
