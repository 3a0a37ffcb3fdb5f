//! Sessions end with the memberships that they stand on, also where the list is held by another realm.

use crate::realm::{REALM, Realm, path, principal, seen, volume};
use client::protocol::{AclChange, GroupOrder, MemberTerm};
use client::{Client, PutOptions};
use http::Request;
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::time::Duration;
use terms::{GroupName, Principal, PrincipalKind, Rights, SessionId, Who};
use tokio::sync::mpsc;
use webfs::rules::{ByeReason, Down, Hello, Up};
use webfs::session::{FrameReader, OpenAnswer, OpenRequest, encode};
use wire::{Envelope, Purpose};

/// A holder's session stream, by hand.
struct Holder {
    frames: FrameReader,
    /// Dropped, it ends the stream.
    up: mpsc::Sender<bytes::Bytes>,
}

impl Holder {
    /// Opens a session with the volume, and a file in it with a callback.
    async fn start(client: &Client, realm: &Realm, session: u8) -> Self {
        Self::at(client, realm.home(), session).await
    }

    /// The same at another node.
    async fn at(client: &Client, node: &webos_node::Node, session: u8) -> Self {
        let hello = Hello { session: SessionId([session; 16]), connection: 1 };
        let (up, mut frames) = mpsc::channel(4);
        up.try_send(encode(&hello)).expect("room");
        let frames = futures_util::stream::poll_fn(move |context| {
            frames.poll_recv(context).map(|frame| frame.map(Ok::<_, Infallible>))
        });
        let target = seen(client, node).target(Purpose::Control);
        let to = |what: &str| Request::post(format!("https://{}/.webos/{what}/{}", target.address, volume()));
        let request = to("session").body(wire::body::stream(frames)).expect("a request");
        let answer = client.pool().request(&target, request).await.expect("a stream");
        assert!(answer.status().is_success(), "{answer:?}");
        let mut frames = FrameReader::new(answer.into_body().map_err(Into::into).boxed());
        assert!(matches!(frames.next().await, Ok(Some(Down::Welcome { .. }))));
        let open = Envelope::new(OpenRequest { relays: 0, stream: Some(hello), path: path("in/x") });
        let open = to("open").body(wire::body::full(wire::cbor::to_vec(&open))).expect("a request");
        let answer = client.pool().request(&target, open).await.expect("an answer");
        let bytes = wire::read_body(answer.into_body(), 1 << 20).await.expect("read");
        let answer: Envelope<OpenAnswer> = wire::cbor::from_slice(&bytes).expect("opened");
        assert!(answer.into_body().expect("opened").callback, "it is told of changes");
        Self { frames, up }
    }

    /// Renews the lease; answers why it cannot, if so.
    async fn renews(&mut self, id: u64) -> Option<ByeReason> {
        self.up.send(encode(&Up::Renew { id })).await.ok();
        self.next().await
    }

    async fn next(&mut self) -> Option<ByeReason> {
        let frame = tokio::time::timeout(Duration::from_secs(20), self.frames.next::<Down>()).await;
        match frame.expect("in time").expect("a frame") {
            Some(Down::Bye { reason }) => Some(reason),
            Some(_) => None,
            None => panic!("the stream ended without a goodbye"),
        }
    }
}

/// Two realms: the volume of the first gives `r` on a folder to the group `staff` of the second, in which bob is, and to
/// alice.
struct Bed {
    realm: Realm,
    other: Realm,
    bob: Client,
}

fn staff() -> GroupName {
    "spiffe://other.example/group/staff".parse().expect("a group")
}

impl Bed {
    async fn start() -> Self {
        let (realm, other) = (Realm::start().await, Realm::named("other.example").await);
        other.trust(&realm, &["home"]);
        realm.trust(&other, &["home"]);
        realm.hears(&other).await;
        other.hears(&realm).await;
        let files = realm.files("alice").await;
        let put = PutOptions { parents: true, ..PutOptions::default() };
        files.put_bytes(&path("in/x"), put, b"for the staff".to_vec()).await.expect("put");
        let rights = "r".parse::<Rights>().expect("rights");
        let change = AclChange { who: Who::Group(staff()), rights, grant: true, recursive: true };
        files.change_acl(&path("in"), &change).await.expect("granted");
        other.issue("bob", PrincipalKind::User);
        other.trust(&realm, &["bob"]);
        let bob = other.client("bob");
        let bed = Self { realm, other, bob };
        bed.order(&staff(), GroupOrder::Create).await;
        bed
    }

    async fn order(&self, group: &GroupName, order: GroupOrder) {
        let home = seen(self.other.home().client(), self.other.home());
        home.change_group(group, order).await.expect("changed");
    }

    fn bob(&self) -> Principal {
        self.other.principal(PrincipalKind::User, "bob")
    }

    async fn set(&self, group: &GroupName, member: Who, term: MemberTerm) {
        self.order(group, GroupOrder::Member { member, term }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_its_holder_leaves_a_group_of_another_realm() {
    let bed = Bed::start().await;
    bed.set(&staff(), Who::Principal(bed.bob()), MemberTerm::ForGood).await;
    let mut bob = Holder::start(&bed.bob, &bed.realm, 1).await;
    let mut alice = Holder::start(&bed.realm.client("alice"), &bed.realm, 2).await;
    assert_eq!(bob.renews(1).await, None);
    bed.set(&staff(), Who::Principal(bed.bob()), MemberTerm::Out).await;
    assert_eq!(bob.next().await, Some(ByeReason::RightsChanged));
    assert_eq!(alice.renews(1).await, None, "who does not stand on it stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_nobody_here_knows_ends_nobodys_session() {
    let bed = Bed::start().await;
    let unknown: GroupName = "spiffe://third.example/group/unknown".parse().expect("a group");
    bed.set(&staff(), Who::Principal(bed.bob()), MemberTerm::ForGood).await;
    bed.set(&staff(), Who::Group(unknown.clone()), MemberTerm::ForGood).await;
    let mut bob = Holder::start(&bed.bob, &bed.realm, 1).await;
    let mut alice = Holder::start(&bed.realm.client("alice"), &bed.realm, 2).await;
    // Whoever holds a list elsewhere puts groups in and out as often as it likes.
    bed.set(&staff(), Who::Group(unknown), MemberTerm::Out).await;
    bed.set(&staff(), Who::Principal(bed.bob()), MemberTerm::Out).await;
    assert_eq!(bob.next().await, Some(ByeReason::RightsChanged));
    assert_eq!(alice.renews(1).await, None, "nobody stood on a list that never was here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_a_group_within_the_group_and_with_the_end_of_a_membership() {
    let bed = Bed::start().await;
    let team: GroupName = "spiffe://other.example/group/team".parse().expect("a group");
    bed.order(&team, GroupOrder::Create).await;
    bed.set(&team, Who::Principal(bed.bob()), MemberTerm::ForGood).await;
    bed.set(&staff(), Who::Group(team.clone()), MemberTerm::ForGood).await;
    let mut bob = Holder::start(&bed.bob, &bed.realm, 1).await;
    assert_eq!(bob.renews(1).await, None);
    bed.set(&staff(), Who::Group(team.clone()), MemberTerm::Out).await;
    assert_eq!(bob.next().await, Some(ByeReason::RightsChanged), "the inner group was taken out");
    let soon = bed.realm.world.clock.unix().plus(Duration::from_secs(3));
    bed.set(&staff(), Who::Group(team), MemberTerm::Until(soon)).await;
    // A copy that says no is asked for again, once a second.
    let files = bed.bob.volume(&volume()).await.expect("a volume");
    while files.read(&path("in/x"), 100).await.is_err() {}
    let mut bob = Holder::start(&bed.bob, &bed.realm, 3).await;
    assert_eq!(bob.next().await, Some(ByeReason::RightsChanged), "its time is over, and nobody had to say so");
    assert!(bed.realm.world.clock.unix() >= soon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_the_end_of_a_membership_here() {
    let bed = Bed::start().await;
    let readers: GroupName = format!("spiffe://{REALM}/group/readers").parse().expect("a group");
    let home = seen(bed.realm.home().client(), bed.realm.home());
    home.change_group(&readers, GroupOrder::Create).await.expect("made");
    bed.realm.issue("carol", PrincipalKind::User);
    let member = Who::Principal(principal(PrincipalKind::User, "carol"));
    let soon = bed.realm.world.clock.unix().plus(Duration::from_secs(3));
    let order = GroupOrder::Member { member, term: MemberTerm::Until(soon) };
    home.change_group(&readers, order).await.expect("a member");
    let rights = "r".parse::<Rights>().expect("rights");
    let change = AclChange { who: Who::Group(readers), rights, grant: true, recursive: true };
    bed.realm.files("alice").await.change_acl(&path("in"), &change).await.expect("granted");
    let mut carol = Holder::start(&bed.realm.client("carol"), &bed.realm, 1).await;
    assert_eq!(carol.next().await, Some(ByeReason::RightsChanged));
    assert!(bed.realm.world.clock.unix() >= soon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_at_a_relay_ends_with_the_membership_of_its_holder_and_with_that_of_the_relay() {
    let bed = Bed::start().await;
    let (realm, other) = (&bed.realm, &bed.other);
    realm.issue("r1", PrincipalKind::Server);
    realm.trust(other, &["r1"]);
    let relay = webos_node::Node::start(realm.settings("r1", "127.0.0.1:0"), realm.world.clone()).await;
    let relay = relay.expect("a node");
    crate::realm::hears(&relay, other).await;
    let relays: GroupName = format!("spiffe://{REALM}/group/relays").parse().expect("a group");
    let home = seen(realm.home().client(), realm.home());
    home.change_group(&relays, GroupOrder::Create).await.expect("made");
    let member = |term| GroupOrder::Member { member: Who::Principal(relay.principal().clone()), term };
    home.change_group(&relays, member(MemberTerm::ForGood)).await.expect("a member");
    let files = realm.files("alice").await;
    for (who, rights) in [(Who::Group(relays.clone()), "relay"), (Who::Principal(relay.principal().clone()), "r")] {
        let rights = rights.parse::<Rights>().expect("rights");
        let change = AclChange { who, rights, grant: true, recursive: true };
        files.change_acl(&path(""), &change).await.expect("granted");
    }
    bed.set(&staff(), Who::Principal(bed.bob()), MemberTerm::ForGood).await;

    let mut bob = Holder::at(&bed.bob, &relay, 1).await;
    let mut alice = Holder::at(&realm.client("alice"), &relay, 2).await;
    bed.set(&staff(), Who::Principal(bed.bob()), MemberTerm::Out).await;
    assert_eq!(bob.next().await, Some(ByeReason::RightsChanged));
    assert_eq!(alice.renews(1).await, None, "who does not stand on it stays");

    home.change_group(&relays, member(MemberTerm::Out)).await.expect("taken out");
    while alice.next().await != Some(ByeReason::RightsChanged) {}
    let relayed = realm.client("alice").volume_at(&volume(), &seen(&realm.client("alice"), &relay)).await;
    let refused = relayed.expect("a volume").read(&path("in/x"), 100).await.expect_err("it may not relay any more");
    assert_eq!(refused.code, terms::Code::Denied, "{refused}");
}
