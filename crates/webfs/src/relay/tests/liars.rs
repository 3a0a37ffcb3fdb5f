//! A relay that lies: what the home has not signed, or has replaced since, is refused by whoever asks it.

use super::chain::{Bend, Under};
use super::world::{HomeWorld, cat, content, filled, open_file, path, volume};
use crate::model::{MANIFEST_KIND, ManifestStatement, SignedManifest};
use crate::relay::HomeLink;
use crate::session::{OpenAnswer, OpenRequest};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use terms::{Code, Version, VolumePath};
use trust::KeyPair;

async fn tree(dir: &std::path::Path) -> (Arc<HomeWorld>, Arc<super::world::TestLink>, Under) {
    let home = HomeWorld::new().await;
    home.put("a", b"one").await;
    home.put("b", b"two").await;
    home.put("large", &filled(1, 1 << 20)).await;
    let link = home.link("n1");
    let relay = home.replica(&link, dir).await;
    relay.connected().await.expect("connects");
    let below = Under::connected(&home, &relay, ("n2", "n1")).await;
    (home, link, below)
}

async fn honest(below: &Under, path: VolumePath) -> OpenAnswer {
    below.link.open(OpenRequest { relays: 0, stream: None, path }).await.expect("opens")
}

/// The same answer, its manifest altered and signed by somebody.
fn signed_anew(answer: &OpenAnswer, home: &KeyPair, by: &KeyPair, alter: fn(&mut ManifestStatement)) -> OpenAnswer {
    let signed = answer.manifest.as_ref().expect("a file");
    let mut statement: ManifestStatement =
        trust::signed::open_with(&signed.0, MANIFEST_KIND, home.public()).expect("the home's");
    alter(&mut statement);
    let bytes = trust::signed::sign_short(by, MANIFEST_KIND, &statement).expect("signed");
    OpenAnswer { manifest: Some(SignedManifest(bytes)), ..answer.clone() }
}

#[tokio::test]
async fn what_the_home_did_not_sign_is_refused_from_a_relay() {
    let dir = tempfile::tempdir().expect("a folder");
    let (home, _, below) = tree(dir.path()).await;
    let (a, b) = (honest(&below, path("a")).await, honest(&below, path("b")).await);
    let forger = KeyPair::generate().expect("a key");
    let always = |answer: OpenAnswer| -> Bend { Box::new(move |_| answer.clone()) };
    let bytes = OpenAnswer { content: Some(b"eno".to_vec()), ..a.clone() };
    let unsigned = OpenAnswer { manifest: None, ..a.clone() };
    let mut other_size = a.clone();
    other_size.entry.size += 1;
    for (what, answer, expected) in [
        ("other bytes", bytes, "does not match its manifest"),
        ("another path's", b, "does not agree with the manifest"),
        ("a foreign signature", signed_anew(&a, &home.key, &forger, |_| ()), "not its own"),
        (
            "a later version of its own making",
            signed_anew(&a, &home.key, &forger, |statement| statement.version = Version(99)),
            "not its own",
        ),
        ("no signature", unsigned, "lacks what it is about"),
        ("other attributes", other_size, "does not agree with the manifest"),
    ] {
        below.link.bend(Some(always(answer)));
        let problem = cat(&below.replica, "a").await.expect_err(what);
        assert!(problem.detail.contains(expected), "{what}: {problem}");
        assert!(problem.detail.contains(&format!("{}/a", volume())), "{what}: {problem}");
        assert_eq!(below.replica.state().await.expect("runs").callbacks, 0, "{what}");
    }
    below.link.bend(None);
    assert_eq!(cat(&below.replica, "a").await, Ok(b"one".to_vec()));
}

#[tokio::test]
async fn an_older_version_is_refused_from_a_relay() {
    let dir = tempfile::tempdir().expect("a folder");
    let (home, _, below) = tree(dir.path()).await;
    let old = honest(&below, path("a")).await;
    home.put("a", b"newer").await;
    assert_eq!(cat(&below.replica, "a").await, Ok(b"newer".to_vec()));
    home.put("a", b"newest").await;
    below.link.bend(Some(Box::new(move |answer| OpenAnswer { change: answer.change, ..old.clone() })));
    let problem = cat(&below.replica, "a").await.expect_err("older than what was seen");
    assert_eq!(problem.code, Code::Internal);
    assert!(problem.detail.contains("server/n1 offered version"), "it names the liar: {problem}");
    below.link.bend(None);
    assert_eq!(cat(&below.replica, "a").await, Ok(b"newest".to_vec()));
}

#[tokio::test]
async fn what_is_altered_above_a_relay_goes_no_further() {
    let dir = tempfile::tempdir().expect("a folder");
    let (_, link, below) = tree(dir.path()).await;
    let large = open_file(&below.replica, "large").await.expect("opens");
    link.lies.store(true, Ordering::SeqCst);
    for refused in [cat(&below.replica, "b").await, content(&large).await] {
        let problem = refused.expect_err("not what was signed");
        assert!(problem.detail.contains("match"), "{problem}");
    }
    link.lies.store(false, Ordering::SeqCst);
    assert_eq!(content(&large).await, Ok(filled(1, 1 << 20)));
    assert_eq!(cat(&below.replica, "b").await, Ok(b"two".to_vec()));
}
