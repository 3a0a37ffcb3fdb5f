//! What cargo says of the workspace, as far as the checks need it. Always off-line: a check must not depend
//! on a registry being reachable.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `cargo metadata`, cut down to the fields that are read.
#[derive(Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
    pub workspace_members: Vec<String>,
}

/// One package: ours or foreign.
#[derive(Deserialize)]
pub struct Package {
    pub id: String,
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    pub dependencies: Vec<Dependency>,
}

/// One line of a `Cargo.toml`'s dependencies.
#[derive(Deserialize)]
pub struct Dependency {
    pub name: String,
    pub kind: Option<String>,
    pub path: Option<String>,
}

impl Metadata {
    /// Our own packages.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|p| self.workspace_members.contains(&p.id))
    }
}

/// The folder of the workspace that is worked on. Cargo names it to what it runs; the folder in which this program was
/// built may be another clone's, where two share a target folder.
pub fn workspace_root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&own).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The workspace's own packages only.
pub fn members_only(root: &Path) -> Result<Metadata> {
    read(root, &["--no-deps"])
}

/// All packages that a build on this machine uses, foreign ones included.
pub fn with_dependencies(root: &Path) -> Result<Metadata> {
    let version = Command::new("rustc").arg("-vV").output().context("run rustc -vV")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    read(root, &["--filter-platform", host])
}

/// Names of the packages that a build really compiles for this machine. `Cargo.lock` also lists optional ones
/// that no feature switches on.
pub fn built(root: &Path) -> Result<BTreeSet<String>> {
    let arguments = ["tree", "--workspace", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let tree = String::from_utf8(cargo(root, &arguments)?).context("cargo tree's answer is no text")?;
    Ok(tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn read(root: &Path, arguments: &[&str]) -> Result<Metadata> {
    let answer = cargo(root, &[&["metadata", "--format-version", "1"], arguments].concat())?;
    serde_json::from_slice(&answer).context("read cargo metadata's answer")
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output =
        crate::run::cargo(root, arguments).args(["--offline", "--locked"]).output().context("run cargo")?;
    if !output.status.success() {
        bail!("cargo {} failed:\n{}", arguments[0], String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}
