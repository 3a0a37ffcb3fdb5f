//! Other implementations say the same: a verifier of transfer certificates in Python that shares no code with ours,
//! and Cedar on access lists.

mod chains;
mod documents;
mod rights;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the other implementations are: `xtask/setup.sh test` puts them there.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("agreement")
}

/// Lets a program of the folder compare; its last line counts.
fn compared(program: &str, content: &Value) -> String {
    let python = folder().join(".venv/bin/python");
    assert!(python.exists(), "{} is not there: run `sh xtask/setup.sh test`", python.display());
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("cases.json");
    std::fs::write(&file, content.to_string()).expect("written");
    let output = Command::new(python).arg("-B").arg(folder().join(program)).arg(&file).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} does not agree:\n{said}{errors}");
    said.lines().last().unwrap_or_default().to_owned()
}
