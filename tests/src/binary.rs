//! Finds the program under test: `WEBOS_BIN`, or what `cargo build` makes of these sources, asked once a process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The `webos` program.
///
/// # Panics
/// If it cannot be built.
pub fn webos() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| std::env::var_os("WEBOS_BIN").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--package", "webos", "--bin", "webos", "--message-format=json-render-diagnostics"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "webos does not build");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let artifacts = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut found = artifacts.filter_map(|line| {
        let ours = line["target"]["name"] == "webos" && line["target"]["kind"][0] == "bin";
        line["executable"].as_str().filter(|_| ours).map(PathBuf::from)
    });
    found.next_back().expect("cargo names the program that it built")
}
