//! Licences, sources and bans of everything that is built in, read from `cargo metadata` and `Cargo.lock`
//! without a network. The rules stand in `xtask/licences.toml`; security advisories need a network and are not
//! looked at here.

use crate::metadata::{self, Package};
use crate::spdx;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const FILE: &str = "xtask/licences.toml";

/// The rules as checked in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    /// SPDX names that may be linked into the program.
    allow: Vec<String>,
    /// The only places that packages may come from, as `Cargo.lock` writes them.
    sources: Vec<String>,
    /// Crate to the reason why it may not be used.
    ban: BTreeMap<String, String>,
    /// Crates of which one version only may be there: two copies would be two copies of their rules.
    once: Vec<String>,
}

/// The part of `Cargo.lock` that is read.
#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

/// Fails with every dependency that breaks a rule.
pub fn check(root: &Path) -> Result<()> {
    let read = |name: &str| std::fs::read_to_string(root.join(name)).with_context(|| format!("read {name}"));
    let rules: Rules = toml::from_str(&read(FILE)?).with_context(|| format!("read {FILE}"))?;
    let lock: Lock = toml::from_str(&read("Cargo.lock")?).context("read Cargo.lock")?;
    let metadata = metadata::with_dependencies(root)?;
    let members: BTreeSet<String> = metadata.members().map(|package| package.name.clone()).collect();
    let mut wrong = wrong_licences(&rules, &metadata.packages);
    wrong.extend(wrong_in_lock(&rules, &lock, &members));
    wrong.extend(banned(&rules, &metadata::built(root)?));
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("dependencies against {FILE}:\n  {}", wrong.join("\n  "))
}

fn wrong_licences(rules: &Rules, packages: &[Package]) -> Vec<String> {
    let allowed: Vec<&str> = rules.allow.iter().map(String::as_str).collect();
    let mut wrong = Vec::new();
    for package in packages {
        let named = format!("{} {}", package.name, package.version);
        match package.license.as_deref().map(|licence| (licence, spdx::permits(licence, &allowed))) {
            None => wrong.push(format!("{named} states no licence")),
            Some((licence, Ok(false))) => wrong.push(format!("{named} is under {licence}, which is not allowed")),
            Some((_, Err(error))) => wrong.push(format!("{named}: {error}")),
            Some((_, Ok(true))) => {}
        }
    }
    wrong
}

fn wrong_in_lock(rules: &Rules, lock: &Lock, members: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for package in &lock.package {
        let named = format!("{} {}", package.name, package.version);
        *versions.entry(&package.name).or_default() += 1;
        match &package.source {
            None if members.contains(&package.name) => {}
            None => wrong.push(format!("{named} comes from a folder outside the workspace")),
            Some(source) if !rules.sources.contains(source) => wrong.push(format!("{named} comes from {source}")),
            Some(_) if package.checksum.is_none() => wrong.push(format!("{named} has no checksum")),
            Some(_) => {}
        }
    }
    for name in &rules.once {
        let count = versions.get(name.as_str()).copied().unwrap_or_default();
        if count > 1 {
            wrong.push(format!("{name} is there in {count} versions; one is allowed"));
        }
    }
    wrong
}

fn banned(rules: &Rules, built: &BTreeSet<String>) -> Vec<String> {
    let found = rules.ban.iter().filter(|(name, _)| built.contains(*name));
    found.map(|(name, reason)| format!("{name} is banned: {reason}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        allow = ["MIT"]
        sources = ["registry"]
        once = ["rustls"]
        [ban]
        openssl = "two TLS stacks"
    "#;

    fn check_lock(lock: &str, expected: &[&str]) {
        let rules: Rules = toml::from_str(RULES).unwrap();
        let lock: Lock = toml::from_str(lock).unwrap();
        let members = BTreeSet::from(["ours".to_owned()]);
        assert_eq!(wrong_in_lock(&rules, &lock, &members), expected);
    }

    #[test]
    fn sources_and_copies_are_found() {
        let entry = |name: &str, version: &str, rest: &str| {
            format!("[[package]]\nname = '{name}'\nversion = '{version}'\n{rest}\n")
        };
        let good = "source = 'registry'\nchecksum = 'c'";
        check_lock(&(entry("ours", "1", "") + &entry("serde", "1", good)), &[]);
        check_lock(&entry("stray", "1", ""), &["stray 1 comes from a folder outside the workspace"]);
        check_lock(&entry("a", "1", "source = 'git+x'"), &["a 1 comes from git+x"]);
        check_lock(&entry("a", "1", "source = 'registry'"), &["a 1 has no checksum"]);
        let twice = entry("rustls", "1", good) + &entry("rustls", "2", good);
        check_lock(&twice, &["rustls is there in 2 versions; one is allowed"]);
    }

    #[test]
    fn what_is_banned_is_named_with_its_reason() {
        let rules: Rules = toml::from_str(RULES).unwrap();
        let built = BTreeSet::from(["openssl".to_owned(), "serde".to_owned()]);
        assert_eq!(banned(&rules, &built), ["openssl is banned: two TLS stacks"]);
    }

    #[test]
    fn licences_are_asked_of_each_package() {
        let rules: Rules = toml::from_str(RULES).unwrap();
        let package = |licence: Option<&str>| Package {
            id: "a".into(),
            name: "a".into(),
            version: "1".into(),
            license: licence.map(str::to_owned),
            dependencies: Vec::new(),
        };
        let packages = [package(Some("MIT OR X")), package(Some("X")), package(None), package(Some("MIT ("))];
        assert_eq!(
            wrong_licences(&rules, &packages),
            [
                "a 1 is under X, which is not allowed",
                "a 1 states no licence",
                "a 1: licence expression 'MIT (': unexpected '('"
            ]
        );
    }

    #[test]
    fn the_workspace_keeps_its_licence_rules() {
        super::check(&metadata::workspace_root()).unwrap();
    }
}
