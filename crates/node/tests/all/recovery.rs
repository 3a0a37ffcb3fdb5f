//! A realm's first node that comes back from an old backup: what it had taken back since is taken back again, from what
//! readers kept.

use crate::realm::{Realm, hears, principal, seen, until};
use client::protocol::{FeedOffer, RevokeRequest};
use client::register::Register;
use client::{Client, enrol};
use serde_bytes::ByteBuf;
use std::path::Path;
use terms::{Code, Principal, PrincipalKind, Serial, UnixMs};
use trust::{FeedCopy, MemberState};
use webos_node::Node;

fn user(name: &str) -> Principal {
    principal(PrincipalKind::User, name)
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    let mode = std::fs::metadata(from).expect("there").permissions();
    std::fs::set_permissions(to, mode).expect("as it was");
    for entry in std::fs::read_dir(from).expect("readable").flatten() {
        match entry.file_type().expect("known").is_dir() {
            true => copy_folder(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied")),
        }
    }
}

/// Stops the home, keeps a copy of its folder, and starts it again where it was.
async fn back_up(realm: &mut Realm) {
    let home = realm.home.take().expect("runs");
    let address = home.address().to_string();
    home.stop().await;
    copy_folder(realm.folder("home").path(), realm.folder("backup").path());
    realm.start_home(&address).await;
}

/// Stops the home, and starts it from the copy.
async fn restore(realm: &mut Realm) {
    let home = realm.home.take().expect("runs");
    let address = home.address().to_string();
    home.stop().await;
    std::fs::remove_dir_all(realm.folder("home").path()).expect("removed");
    copy_folder(realm.folder("backup").path(), realm.folder("home").path());
    realm.start_home(&address).await;
}

async fn revoke(realm: &Realm, what: RevokeRequest) {
    seen(realm.home().client(), realm.home()).revoke(&what).await.expect("the owner may");
}

fn is_revoked(node: &Node, name: &str) -> bool {
    node.client().trust().feed(&user(name).realm).is_some_and(|feed| feed.is_revoked(&user(name), UnixMs(0)))
}

/// Somebody who knows nothing yet reads the feed until it says this.
async fn a_new_reader_hears(realm: &Realm, says: impl Fn(&FeedCopy) -> bool) {
    let trust = realm.home().client().trust().clone();
    let nobody = Client::with(realm.folder("nobody"), realm.world.clone(), None, trust);
    let mut copy = FeedCopy::new(realm.authority.realm().clone());
    let heard = async {
        while !says(&copy) {
            let page = nobody.feed_page(&copy, copy.number(), copy.number() > Serial(0)).await;
            copy.apply(&page.expect("a page"), realm.world.clock.unix()).expect("in order");
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), heard).await.expect("in time");
}

fn audited(realm: &Realm) -> Vec<String> {
    let log = std::fs::read_to_string(realm.folder("home").audit()).expect("a log");
    log.lines().filter(|line| line.contains("that a restore had lost")).map(str::to_string).collect()
}

async fn renewed(realm: &Realm, name: &str) -> Result<(), Code> {
    let folder = realm.folder(name);
    let client = Client::open(folder, realm.world.clone()).map_err(|problem| problem.code)?;
    client::renewal::renew(&client, false).await.map(drop).map_err(|problem| problem.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_a_restored_first_node_forgot_is_brought_back_by_a_member() {
    let mut realm = Realm::start().await;
    let n2 = realm.join("n2").await;
    for name in ["bob", "carol"] {
        let line = realm.invite(PrincipalKind::User, name);
        enrol::join(&realm.folder(name), &line, PrincipalKind::User, &realm.world).await.expect("joined");
    }
    back_up(&mut realm).await;
    for name in ["bob", "carol"] {
        revoke(&realm, RevokeRequest::Principal(user(name))).await;
    }
    until(|| is_revoked(&n2, "bob") && is_revoked(&n2, "carol")).await;
    // Carol is let in again, with a certificate of a later second.
    let second = realm.world.clock.unix().0 / 1000;
    until(|| realm.world.clock.unix().0 / 1000 > second).await;
    let line = realm.invite(PrincipalKind::User, "carol");
    std::fs::remove_dir_all(realm.folder("carol").path()).expect("removed");
    enrol::join(&realm.folder("carol"), &line, PrincipalKind::User, &realm.world).await.expect("invited again");
    restore(&mut realm).await;
    a_new_reader_hears(&realm, |copy| ["bob", "carol"].iter().all(|name| copy.is_revoked(&user(name), UnixMs(0))))
        .await;
    assert!(is_revoked(realm.home(), "bob"), "the first node itself");
    renewed(&realm, "bob").await.expect_err("refused");
    let told = realm.client("bob").revoked().await.expect("it is why");
    assert!(told.detail.contains("was revoked"), "{told}");
    let register = Register::new(&realm.folder("home"));
    let standing = |name: &str| register.member(&user(name)).expect("readable").expect("known").standing;
    assert!(matches!(standing("bob"), MemberState::Revoked(_)), "{:?}", standing("bob"));
    assert_eq!(renewed(&realm, "carol").await, Ok(()), "who was invited again stays a member");
    assert_eq!(standing("carol"), MemberState::Active);
    let noted = audited(&realm);
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert!(noted[0].contains("took back 2 revocations") && noted[0].contains("server/n2"), "{noted:?}");
    drop(n2);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_realm_and_a_reader_that_slept_bring_back_what_was_lost_and_the_epoch_too() {
    let mut realm = Realm::start().await;
    let other = Realm::named("other.example").await;
    other.trust(&realm, &["home"]);
    realm.trust(&other, &["home"]);
    other.hears(&realm).await;
    back_up(&mut realm).await;
    other.hears(&realm).await;
    revoke(&realm, RevokeRequest::Principal(user("bob"))).await;
    until(|| is_revoked(other.home(), "bob")).await;
    revoke(&realm, RevokeRequest::AllChains).await;
    let epoch = realm.home().client().trust().epoch(realm.authority.realm());
    until(|| other.home().client().trust().epoch(realm.authority.realm()) == epoch).await;
    // The reader sleeps while the source is restored: what proves it lies on its disk.
    let mut other = other;
    let listen = other.home().address().to_string();
    other.home.take().expect("runs").stop().await;
    restore(&mut realm).await;
    assert!(!is_revoked(realm.home(), "bob"), "it has forgotten, else this test shows nothing");
    other.start_home(&listen).await;
    hears(other.home(), &realm).await;
    a_new_reader_hears(&realm, |copy| copy.is_revoked(&user("bob"), UnixMs(0)) && copy.epoch() == epoch).await;
    assert!(is_revoked(realm.home(), "bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_makes_a_realm_take_back_what_it_did_not_sign() {
    let realm = Realm::start().await;
    let foreign = Realm::named("other.example").await;
    let alice = realm.client("alice");
    let home = seen(&alice, realm.home());
    let page_of = |realm: &Realm| {
        let reader = realm.client("alice");
        let copy = FeedCopy::new(realm.authority.realm().clone());
        async move { reader.feed_page(&copy, Serial(0), false).await.expect("a page").bytes().to_vec() }
    };
    revoke(&realm, RevokeRequest::Principal(user("bob"))).await;
    let own = page_of(&realm).await;
    let mut altered = own.clone();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    // A member's own word in the form of a page.
    let identity = alice.require_identity().expect("somebody");
    let list = trust::signed::sign(&identity, "webos-feed-v1", &vec![1u8]).expect("signed");
    for (what, page) in [("altered", altered), ("another realm's", page_of(&foreign).await), ("a member's", list)] {
        let offer = FeedOffer { pages: vec![ByteBuf::from(page)] };
        assert!(home.offer_pages(&offer).await.is_err(), "{what}");
    }
    let many = FeedOffer { pages: vec![ByteBuf::from(own.clone()); 4] };
    assert_eq!(home.offer_pages(&many).await.expect_err("too many").code, Code::TooLarge);
    // What it lists already changes nothing, and is not recorded.
    let same = FeedOffer { pages: vec![ByteBuf::from(own)] };
    let head = realm.home().client().trust().feed(realm.authority.realm()).map(|feed| feed.number());
    assert_eq!(home.offer_pages(&same).await.expect("its own").recovered, 0);
    assert_eq!(realm.home().client().trust().feed(realm.authority.realm()).map(|feed| feed.number()), head);
    assert!(audited(&realm).is_empty());
}
