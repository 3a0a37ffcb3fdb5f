//! The console's page: its built form is committed, so that building the program needs no node. This checks its
//! types, runs its tests, builds it again and compares.

use crate::run::must;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

const FOLDER: &str = "web/console";

/// Fails if the page's sources do not hold, or the committed form is not what they give; then the new form is left
/// in its place.
pub fn check(root: &Path) -> Result<()> {
    let folder = root.join(FOLDER);
    let before = built(&folder)?;
    for name in ["check", "test", "build"] {
        must(&mut script(root, name))?;
    }
    if built(&folder)? != before {
        bail!("{FOLDER}/dist was not what its sources give; it has been built anew: look at it and commit it");
    }
    Ok(())
}

/// The page's own tests, for those who add them up.
pub fn tests(root: &Path) -> Command {
    script(root, "test")
}

fn script(root: &Path, name: &str) -> Command {
    let mut npm = Command::new("npm");
    npm.args(["run", "--silent", name]).current_dir(root.join(FOLDER)).stdin(Stdio::null());
    npm
}

fn built(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let dist = folder.join("dist");
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(&dist).with_context(|| format!("read {}", dist.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(name.clone(), std::fs::read(entry.path()).with_context(|| format!("read {name}"))?);
    }
    Ok(files)
}
