//! Audit heads at a witness, and bearer tokens, against nodes and people that lie.

use crate::realm::{Realm, path, principal, seen, volume};
use client::protocol::{TokenRequest, WitnessWord};
use terms::{Code, Digest, Location, PrincipalKind, Rights, UnixMs};
use trust::{AuditHead, HEAD_KIND, HeadStatement, TokenGrant};
use webos_node::witnessed;

fn head(records: u64, byte: u8) -> AuditHead {
    AuditHead { records, hash: Digest([byte; 32]) }
}

/// A word about a log, signed as this member of the realm.
fn word(realm: &Realm, signer: &str, head: AuditHead) -> WitnessWord {
    let client = realm.client(signer);
    let statement = HeadStatement { head, at: UnixMs(0), acknowledged: Vec::new() };
    let signed = trust::signed::sign(&client.require_identity().expect("somebody"), HEAD_KIND, &statement);
    WitnessWord { head: signed.expect("signed"), address: "127.0.0.1:9".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_goes_back_is_recorded_at_the_witness_and_kept() {
    let realm = Realm::start().await;
    realm.issue("n2", PrincipalKind::Server);
    let n2 = realm.client("n2");
    let home = seen(&n2, realm.home());
    assert_eq!(home.witnessed().await.expect("asked").kept, None);
    home.testify(&word(&realm, "n2", head(5, 1))).await.expect("kept");
    home.testify(&word(&realm, "n2", head(9, 2))).await.expect("newer");
    for (liar, why) in [(head(8, 3), "rolled back"), (head(9, 4), "another past"), (head(0, 0), "begun anew")] {
        let refused = home.testify(&word(&realm, "n2", liar)).await.expect_err(why);
        assert_eq!(refused.code, Code::Conflict, "{why}");
        let kept = home.witnessed().await.expect("asked").kept.expect("something");
        assert_eq!((kept.newest, kept.disputed), (head(9, 2), Some(head(9, 2))), "{why}");
    }
    home.testify(&word(&realm, "n2", head(20, 5))).await.expect("longer than before");
    let on_disk = witnessed(&realm.folder("home")).expect("read");
    let kept = &on_disk.iter().find(|one| one.node == principal(PrincipalKind::Server, "n2")).expect("n2").kept;
    assert_eq!(kept.heads().copied().collect::<Vec<_>>(), [head(9, 2), head(20, 5)]);
    let log = std::fs::read_to_string(realm.folder("home").audit()).expect("a log");
    assert_eq!(log.matches("contradicts itself").count(), 3, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_for_another_nodes_log() {
    let realm = Realm::start().await;
    for (name, kind) in [("n2", PrincipalKind::Server), ("n3", PrincipalKind::Server), ("bob", PrincipalKind::User)]
    {
        realm.issue(name, kind);
    }
    let (n3, bob) = (realm.client("n3"), realm.client("bob"));
    let stolen = seen(&n3, realm.home()).testify(&word(&realm, "n2", head(1000, 1))).await;
    assert_eq!(stolen.expect_err("n2's word from n3").code, Code::Denied);
    let user = seen(&bob, realm.home()).testify(&word(&realm, "bob", head(1, 1))).await;
    assert_eq!(user.expect_err("a user has no log").code, Code::Denied);
    let mut altered = word(&realm, "n3", head(1, 1));
    let last = altered.head.len() - 1;
    altered.head[last] ^= 1;
    let forged = seen(&n3, realm.home()).testify(&altered).await;
    assert_eq!(forged.expect_err("altered after signing").code, Code::Denied);
    let long = WitnessWord { address: "x".repeat(1000), ..word(&realm, "n3", head(1, 1)) };
    assert_eq!(seen(&n3, realm.home()).testify(&long).await.expect_err("too long").code, Code::TooLarge);
    assert_eq!(witnessed(&realm.folder("home")).expect("read"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_for_files_that_live_here_and_by_those_who_ask_for_themselves() {
    let realm = Realm::start().await;
    let alice = realm.client("alice");
    let home = seen(&alice, realm.home());
    let grant =
        |location: Location| TokenGrant { location, exact: false, rights: Rights::of(&[terms::Right::Read]) };
    let here = Location { volume: volume(), path: path("in") };
    let mint = |grants| TokenRequest::Mint { grants, valid_ms: 60_000 };
    let made = home.token(&mint(vec![grant(here.clone())])).await.expect("a token");
    assert!(made.token.is_some_and(|token| token.starts_with("webos-token-1.")));
    assert_eq!(home.tokens().await.expect("listed"), std::slice::from_ref(&made.info));
    let elsewhere = Location { volume: "other.lab.example".parse().expect("a volume"), path: path("in") };
    let refused = home.token(&mint(vec![grant(here), grant(elsewhere)])).await.err().expect("not here");
    assert_eq!(refused.code, Code::Invalid);
    assert_eq!(home.token(&mint(Vec::new())).await.err().expect("nothing").code, Code::Invalid);
    let log = std::fs::read_to_string(realm.folder("home").audit()).expect("a log");
    assert!(log.contains(&format!("made the token {}", made.info.id)), "{log}");
    let revoked = home.token(&TokenRequest::Revoke { id: made.info.id.clone() }).await.expect("revoked");
    assert_eq!(revoked.token, None);
    assert!(home.tokens().await.expect("listed").is_empty());
    let log = std::fs::read_to_string(realm.folder("home").audit()).expect("a log");
    assert!(log.contains(&format!("revoked the token {}", made.info.id)), "{log}");
}
