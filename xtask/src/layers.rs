//! The stairs: which crate may use which, as `xtask/edges.txt` says, compared with what the `Cargo.toml`s do.
//! A missing or an extra edge fails, so a new one is a line in a review and never an accident.

use crate::metadata::{self, Metadata};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const FILE: &str = "xtask/edges.txt";

/// What the file says, or what the workspace does.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stairs {
    /// Our crates in the order of the file, lowest step first.
    order: Vec<String>,
    /// Crate to the crates of ours that it uses; `dev:NAME` for tests only.
    edges: BTreeMap<String, BTreeSet<String>>,
    /// Foreign crate to the only crates of ours that may use it.
    fences: BTreeMap<String, BTreeSet<String>>,
}

/// Fails with every difference between the file and the workspace, and how to change it on purpose.
pub fn check(root: &Path) -> Result<()> {
    let text = std::fs::read_to_string(root.join(FILE)).with_context(|| format!("read {FILE}"))?;
    let metadata = metadata::members_only(root)?;
    let wrong = differences(&parse(&text)?, &metadata);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "the crates' edges differ from {FILE}:\n  {}\nIf the change is meant, edit {FILE} in the same commit and \
         say why there or in docs/decisions/; otherwise define a trait below and hand the part in from above.",
        wrong.join("\n  ")
    );
}

fn parse(text: &str) -> Result<Stairs> {
    let mut stairs = Stairs::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (name, list) = line.split_once(':').with_context(|| format!("{FILE}:{}: no ':'", number + 1))?;
        let list: BTreeSet<String> = list.split_whitespace().map(str::to_owned).collect();
        match name.strip_prefix("fence ") {
            Some(foreign) => drop(stairs.fences.insert(foreign.trim().to_owned(), list)),
            None => {
                if stairs.edges.insert(name.to_owned(), list).is_some() {
                    bail!("{FILE}:{}: {name} stands twice", number + 1);
                }
                stairs.order.push(name.to_owned());
            }
        }
    }
    Ok(stairs)
}

fn differences(wanted: &Stairs, metadata: &Metadata) -> Vec<String> {
    let (actual, foreign) = edges_of(metadata);
    let mut wrong = Vec::new();
    for (name, uses) in &actual {
        let Some(allowed) = wanted.edges.get(name) else {
            wrong.push(format!("{name} is not in the file: put it on its step"));
            continue;
        };
        wrong.extend(uses.difference(allowed).map(|to| format!("extra edge: {name} -> {to}")));
        wrong.extend(allowed.difference(uses).map(|to| format!("edge that is gone: {name} -> {to}")));
    }
    for name in wanted.order.iter().filter(|name| !actual.contains_key(*name)) {
        wrong.push(format!("{name} is in the file but not in the workspace"));
    }
    wrong.extend(climbs(wanted));
    for (crate_name, users) in &wanted.fences {
        let used_by = foreign.get(crate_name).cloned().unwrap_or_default();
        wrong.extend(used_by.difference(users).map(|user| format!("{user} uses {crate_name}, which is fenced")));
    }
    wrong
}

/// Edges of the file itself that do not lead down; tests may use what stands above them.
fn climbs(wanted: &Stairs) -> Vec<String> {
    let step = |name: &str| wanted.order.iter().position(|n| n == name);
    let mut wrong = Vec::new();
    for (name, uses) in &wanted.edges {
        for to in uses.iter().filter(|to| !to.starts_with("dev:")) {
            if step(to).is_none_or(|below| Some(below) >= step(name)) {
                wrong.push(format!("the file lets {name} use {to}, which is not below it"));
            }
        }
    }
    wrong
}

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Our edges, and for each foreign crate who of ours uses it outside tests.
fn edges_of(metadata: &Metadata) -> (Graph, Graph) {
    let mut ours = Graph::new();
    let mut foreign = Graph::new();
    for package in metadata.members() {
        let name = short(&package.name);
        let edges = ours.entry(name.clone()).or_default();
        for dependency in &package.dependencies {
            let for_tests = dependency.kind.as_deref() == Some("dev");
            match (&dependency.path, for_tests) {
                (Some(_), false) => drop(edges.insert(short(&dependency.name))),
                (Some(_), true) => drop(edges.insert(format!("dev:{}", short(&dependency.name)))),
                (None, false) => drop(foreign.entry(dependency.name.clone()).or_default().insert(name.clone())),
                (None, true) => {}
            }
        }
    }
    (ours, foreign)
}

/// `webos-terms` is `terms` in the file and everywhere in the sources.
fn short(package: &str) -> String {
    package.strip_prefix("webos-").unwrap_or(package).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, uses: &[(&str, Option<&str>, bool)]) -> serde_json::Value {
        let dependencies: Vec<_> = uses
            .iter()
            .map(|(name, kind, own)| serde_json::json!({"name": name, "kind": kind, "path": own.then_some("/x")}))
            .collect();
        serde_json::json!({"id": name, "name": name, "version": "0.1.0", "license": null,
            "dependencies": dependencies})
    }

    fn check(file: &str, packages: &[serde_json::Value], expected: &[&str]) {
        let members: Vec<_> = packages.iter().map(|p| p["id"].clone()).collect();
        let metadata =
            serde_json::from_value(serde_json::json!({"packages": packages, "workspace_members": members}))
                .unwrap();
        assert_eq!(differences(&parse(file).unwrap(), &metadata), expected, "{file}");
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let terms = package("webos-terms", &[]);
        let wire = package("webos-wire", &[("webos-terms", None, true), ("hyper", None, false)]);
        let both = [terms.clone(), wire.clone()];
        check("terms:\nwire: terms", &both, &[]);
        check("terms:\nwire:", &both, &["extra edge: wire -> terms"]);
        check("terms:\nwire: terms\nnode: wire", &both, &["node is in the file but not in the workspace"]);
        check("terms:", &both, &["wire is not in the file: put it on its step"]);
        check("wire: terms\nterms:", &both, &["the file lets wire use terms, which is not below it"]);
        check("terms:\nwire: terms\nfence hyper: terms", &both, &["wire uses hyper, which is fenced"]);
        check("terms:\nwire: terms dev:terms", &both, &["edge that is gone: wire -> dev:terms"]);
        let tested = package("webos-terms", &[("webos-wire", Some("dev"), true), ("hyper", Some("dev"), false)]);
        check("terms: dev:wire\nwire: terms\nfence hyper: wire", &[tested, wire], &[]);
    }

    #[test]
    fn a_crate_may_stand_in_the_file_once() {
        assert!(parse("terms:\nterms:").unwrap_err().to_string().contains("stands twice"));
        assert!(parse("terms").is_err());
    }

    #[test]
    fn the_workspace_keeps_its_stairs() {
        super::check(&metadata::workspace_root()).unwrap();
    }
}
