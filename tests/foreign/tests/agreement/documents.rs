//! Signed documents that pycose wrote: read if they are of our form, refused if COSE allows it and we do not.

use crate::compared;
use serde_json::json;
use std::collections::BTreeMap;
use trust::signed;
use webos_foreign::{Scene, hexadecimal};

const KIND: &str = "webos-forged-v1";

#[test]
fn documents_signed_by_pycose_are_read() {
    let scene = Scene::new();
    let alice = scene.identity("user/alice");
    let chain: Vec<_> = alice.chain().iter().take(2).map(|der| hexadecimal(der)).collect();
    let content = hexadecimal(&wire::cbor::to_vec(&"said"));
    let given = json!({ "key": *alice.key().to_pem(), "chain": chain, "kind": KIND, "content": content });
    let documents: BTreeMap<String, String> =
        serde_json::from_str(&compared("sign.py", &given)).expect("documents");
    assert_eq!(documents.len(), 8, "{documents:?}");
    for (name, digits) in documents {
        let bytes: Vec<u8> = (0..digits.len() / 2)
            .map(|index| u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).expect("digits"))
            .collect();
        let opened = signed::open::<String>(&bytes, KIND, &scene.store, scene.now);
        match name.as_str() {
            "honest" => {
                let opened = opened.expect("read");
                assert_eq!((opened.value.as_str(), &opened.signer), ("said", alice.principal()));
            }
            _ => assert!(opened.is_err(), "{name}: {opened:?}"),
        }
    }
}
