//! Transfer certificates, as two verifiers judge them.

use crate::compared;
use serde_json::json;
use terms::UnixMs;
use trust::Chain;
use trust::transfer::verify;
use webos_foreign::{Case, Scene, cases, hexadecimal};

const CHAINS: usize = 500;

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
