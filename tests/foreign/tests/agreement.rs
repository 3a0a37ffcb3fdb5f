//! Other implementations say the same: transfer certificates to a verifier in Python that shares no code with ours.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use terms::UnixMs;
use trust::Chain;
use trust::transfer::verify;
use webos_foreign::{Case, Scene, cases, hexadecimal};

const CHAINS: usize = 500;

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

fn judged(scene: &Scene, case: &Case) -> Result<(), String> {
    let bytes: Vec<u8> = (0..case.chain.len() / 2)
        .map(|index| u8::from_str_radix(&case.chain[2 * index..2 * index + 2], 16).expect("digits"))
        .collect();
    let chain = Chain::decode(&bytes).map_err(|refusal| refusal.to_string())?;
    let peer = scene.peer(case.peer.strip_prefix("spiffe://lab.example/").expect("of the scene"));
    assert_eq!(peer.key.to_string(), case.key);
    let verified = verify(&chain, peer, &scene.store, UnixMs::from_secs(case.now));
    verified.map(drop).map_err(|refusal| refusal.to_string())
}

#[test]
fn python_verifies_the_same_chains() {
    let scene = Scene::new();
    let cases = cases(&scene, CHAINS);
    let mut accepted = 0;
    let mut told = Vec::new();
    for case in &cases {
        let said = judged(&scene, case);
        assert_eq!(said.is_ok(), case.expected, "{}: {said:?}", case.name);
        accepted += usize::from(said.is_ok());
        let mut value = serde_json::to_value(case).expect("a case");
        value["said"] = said.is_ok().into();
        value["why"] = said.err().unwrap_or_else(|| "accepted".into()).into();
        told.push(value);
    }
    assert!(accepted > CHAINS / 20 && accepted < CHAINS / 2, "{accepted} of {CHAINS} are accepted");
    let root = hexadecimal(&scene.above()[1]);
    let realms = json!([{ "name": "lab.example", "roots": [root], "epoch": 1 }]);
    let said = compared("chains.py", &json!({ "realms": realms, "cases": told }));
    assert_eq!(said, format!("chains: {CHAINS} compared, {accepted} accepted, 0 disagreements"));
}
