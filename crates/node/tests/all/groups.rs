//! Groups at running nodes: who may make and change them, and groups of another realm inside groups of this one.

use crate::realm::{REALM, Realm, path, principal, seen, volume};
use client::protocol::{AclChange, GroupOrder, MemberTerm, WhyRequest};
use client::{Client, Condition, PutOptions};
use std::time::Duration;
use terms::{Code, GroupName, Label, Principal, PrincipalKind, RealmName, Right, Rights, Who};

const PARENTS: PutOptions = PutOptions { condition: Condition::None, parents: true, operation: None };

/// A second realm; both trust each other.
struct Other(Realm);

impl Other {
    async fn start(realm: &Realm) -> Self {
        let other = Realm::named("other.example").await;
        other.trust(realm, &["home"]);
        realm.trust(&other, &["home"]);
        realm.hears(&other).await;
        other.hears(realm).await;
        Self(other)
    }

    /// A user of the other realm who trusts both.
    fn user(&self, realm: &Realm, name: &str) -> Client {
        self.0.issue(name, PrincipalKind::User);
        self.0.trust(realm, &[name]);
        self.0.client(name)
    }

    async fn order(&self, name: &str, order: GroupOrder) {
        let home = seen(self.0.home().client(), self.0.home());
        home.change_group(&group("other.example", name), order).await.expect("changed");
    }
}

fn someone(kind: PrincipalKind, name: &str) -> Principal {
    Principal::new(RealmName::new("other.example").expect("a realm"), kind, Label::new(name).expect("a label"))
}

fn group(realm: &str, name: &str) -> GroupName {
    format!("spiffe://{realm}/group/{name}").parse().expect("a group")
}

fn put_in(member: Who) -> GroupOrder {
    GroupOrder::Member { member, term: MemberTerm::ForGood }
}

fn user(name: &str) -> Who {
    Who::Principal(principal(PrincipalKind::User, name))
}

async fn order(
    realm: &Realm,
    name: &str,
    order: GroupOrder,
) -> Result<client::protocol::GroupReply, terms::Problem> {
    seen(realm.home().client(), realm.home()).change_group(&group(REALM, name), order).await
}

/// A file that the members of `readers` may read.
async fn file_for_readers(realm: &Realm) {
    let files = realm.files("alice").await;
    files.put_bytes(&path("in/x"), PARENTS, b"for readers".to_vec()).await.expect("put");
    let rights = "r".parse::<Rights>().expect("rights");
    let change = AclChange { who: Who::Group(group(REALM, "readers")), rights, grant: true, recursive: true };
    let view = files.change_acl(&path("in"), &change).await.expect("granted");
    assert!(view.notes.is_empty(), "{:?}", view.notes);
}

async fn reads(client: &Client) -> Result<Vec<u8>, Code> {
    let files = client.volume(&volume()).await.map_err(|problem| problem.code)?;
    files.read(&path("in/x"), 1000).await.map(|bytes| bytes.to_vec()).map_err(|problem| problem.code)
}

/// Asks again until the answer is this one: a copy that says no is asked for again, once a second.
async fn comes_to(client: &Client, expected: Result<Vec<u8>, Code>) {
    let until = async { while reads(client).await != expected {} };
    tokio::time::timeout(Duration::from_secs(20), until).await.unwrap_or_else(|_| panic!("never {expected:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_made_by_owners_and_changed_by_who_administers_them() {
    let mut realm = Realm::start().await;
    let alice_at = |realm: &Realm| seen(&realm.client("alice"), realm.home());
    let readers = group(REALM, "readers");
    let refused = alice_at(&realm).change_group(&readers, GroupOrder::Create).await.expect_err("no owner");
    assert_eq!(refused.code, Code::Denied);
    realm.home.take().expect("it runs").stop().await;
    let owner = format!("{}\n", principal(PrincipalKind::User, "alice"));
    std::fs::write(realm.folder("home").owner(), owner).expect("written");
    realm.start_home("127.0.0.1:0").await;
    let alice = alice_at(&realm);
    alice.change_group(&readers, GroupOrder::Create).await.expect("an owner");
    let again = alice.change_group(&readers, GroupOrder::Create).await.expect_err("once");
    assert_eq!(again.code, Code::Exists);
    let reserved = alice.change_group(&group(REALM, "site-serving"), GroupOrder::Create).await;
    assert_eq!(reserved.expect_err("of a service").code, Code::Invalid);
    realm.issue("bob", PrincipalKind::User);
    let bob = seen(&realm.client("bob"), realm.home());
    for order in [
        put_in(user("bob")),
        GroupOrder::Delete,
        GroupOrder::List { who: user("bob"), rights: "a".parse().expect("rights"), grant: true },
    ] {
        assert_eq!(bob.change_group(&readers, order).await.expect_err("no administrator").code, Code::Denied);
    }
    assert_eq!(bob.group_acl(&readers).await.expect_err("no administrator").code, Code::Denied);
    let reply = alice.change_group(&readers, put_in(user("bob"))).await.expect("its administrator");
    assert_eq!((reply.members, reply.changed), (1, true));
    assert_eq!(bob.groups().await.expect("any peer may see").len(), 1);
    let list = |grant| GroupOrder::List { who: user("alice"), rights: "a".parse().expect("rights"), grant };
    let last = alice.change_group(&readers, list(false)).await.expect_err("the last administrator");
    assert_eq!(last.code, Code::Invalid);
    let within = alice.change_group(&readers, put_in(Who::Group(readers.clone()))).await.expect_err("itself");
    assert!(within.detail.contains("its own member"), "{within}");
    alice.change_group(&readers, GroupOrder::Delete).await.expect("removed");
    assert_eq!(alice.change_group(&readers, GroupOrder::Delete).await.expect_err("gone").code, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_another_realm_decides_here_also_after_its_changes() {
    let realm = Realm::start().await;
    let other = Other::start(&realm).await;
    order(&realm, "readers", GroupOrder::Create).await.expect("made");
    order(&realm, "readers", put_in(Who::Group(group("other.example", "staff")))).await.expect("put in");
    file_for_readers(&realm).await;
    let bob = other.user(&realm, "bob");
    assert_eq!(reads(&bob).await, Err(Code::Denied), "there is no such group yet");
    other.order("staff", GroupOrder::Create).await;
    other.order("team", GroupOrder::Create).await;
    other.order("staff", put_in(Who::Group(group("other.example", "team")))).await;
    other.order("team", put_in(Who::Principal(someone(PrincipalKind::User, "bob")))).await;
    comes_to(&bob, Ok(b"for readers".to_vec())).await;
    let carol = other.user(&realm, "carol");
    assert_eq!(reads(&carol).await, Err(Code::Denied));
    // Groups of both realms that contain each other: refused here at the change only where all lists are here.
    other.order("team", put_in(Who::Group(group(REALM, "readers")))).await;
    comes_to(&carol, Err(Code::Denied)).await;
    assert_eq!(reads(&bob).await, Ok(b"for readers".to_vec()), "bob's own way is straight");
    let note = order(&realm, "readers", put_in("spiffe://third.example/user/eve".parse().expect("a name"))).await;
    let notes = note.expect("put in").notes;
    assert!(notes.iter().any(|note| note.contains("third.example is not trusted here")), "{notes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cycles_within_a_realm_are_refused_at_the_change() {
    let realm = Realm::start().await;
    for name in ["one", "two", "three"] {
        order(&realm, name, GroupOrder::Create).await.expect("made");
    }
    for (outer, inner) in [("one", "two"), ("two", "three")] {
        order(&realm, outer, put_in(Who::Group(group(REALM, inner)))).await.expect("put in");
    }
    let refused = order(&realm, "three", put_in(Who::Group(group(REALM, "one")))).await.expect_err("a circle");
    assert!(refused.detail.contains("contain itself"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_is_on_record_once_and_a_change_before_it_is_in_force() {
    let realm = Realm::start().await;
    order(&realm, "readers", GroupOrder::Create).await.expect("made");
    let until = |seconds| realm.world.clock.unix().plus(Duration::from_secs(seconds));
    for seconds in [100, 200, 300, 400] {
        let term = MemberTerm::Until(until(seconds));
        order(&realm, "readers", GroupOrder::Member { member: user("bob"), term }).await.expect("a member");
    }
    let text = std::fs::read_to_string(realm.folder("home").audit()).expect("a log");
    let about = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(about("puts in spiffe://lab.example/user/bob"), 1, "{text}");
    file_for_readers(&realm).await;
    let text = std::fs::read_to_string(realm.folder("home").audit()).expect("a log");
    let change = "gives spiffe://lab.example/group/readers the right r, with all below it; its list was ";
    assert_eq!(text.lines().filter(|line| line.contains(change)).count(), 1, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_list_is_the_same_bucket() {
    let realm = Realm::start().await;
    order(&realm, "readers", GroupOrder::Create).await.expect("made");
    file_for_readers(&realm).await;
    let files = realm.files("alice").await;
    files.put_bytes(&path("out/y"), PARENTS, b"y".to_vec()).await.expect("put");
    let from = files.acl(&path("in")).await.expect("shown");
    let set = client::protocol::AclSet { entries: from.entries.clone(), recursive: true };
    assert_eq!(files.set_acl(&path("out"), &set).await.expect("copied").bucket, from.bucket);
    assert_eq!(files.acl(&path("out/y")).await.expect("shown").bucket, from.bucket);
    let nobody = client::protocol::AclSet { entries: vec![], recursive: false };
    assert_eq!(files.set_acl(&path("out"), &nobody).await.expect_err("nobody would be left").code, Code::Conflict);
    let text = std::fs::read_to_string(realm.folder("home").audit()).expect("a log");
    assert!(text.contains("did not: after this change nobody could administer"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_tells_everybody_about_themselves_and_administrators_about_all() {
    let realm = Realm::start().await;
    order(&realm, "readers", GroupOrder::Create).await.expect("made");
    file_for_readers(&realm).await;
    realm.issue("bob", PrincipalKind::User);
    let bob = principal(PrincipalKind::User, "bob");
    let (bobs, alices) = (realm.files("bob").await, realm.files("alice").await);
    let about = |who: &Principal, right| WhyRequest::new(Some(who.clone()), right);
    let outside = bobs.why(&path("in/x"), &about(&bob, Right::Read)).await.expect("about himself");
    assert!(!outside.granted, "{outside:?}");
    let missing = bobs.why(&path("in/none"), &about(&bob, Right::Read)).await.expect("about himself");
    assert_eq!(
        (outside.reason.replace("in/x", "in/none"), &outside.changes),
        (missing.reason.clone(), &missing.changes),
        "the same whether it exists or not"
    );
    assert!(!format!("{outside:?}").contains("readers"), "and nothing of the list: {outside:?}");
    let alice = principal(PrincipalKind::User, "alice");
    for who in [Some(alice), None] {
        let refused = bobs.why(&path("in/x"), &WhyRequest::new(who, Right::Read)).await.expect_err("about others");
        assert_eq!(refused.code, Code::Denied);
    }
    let reply = alices.why(&path("in/x"), &about(&bob, Right::Read)).await.expect("she administers it");
    let command = |reply: &client::protocol::WhyReply, at: usize| reply.changes.get(at)?.command.clone();
    let joins = "webos group add readers.lab.example spiffe://lab.example/user/bob";
    assert_eq!(command(&reply, 1).as_deref(), Some(joins), "{reply:?}");
    order(&realm, "readers", put_in(user("bob"))).await.expect("a member");
    let reply = bobs.why(&path("in/x"), &about(&bob, Right::Read)).await.expect("about himself");
    assert!(reply.granted && reply.way == [group(REALM, "readers")], "{reply:?}");
    let home = seen(&realm.client("bob"), realm.home());
    let reply = home.why_group(&group(REALM, "readers"), &about(&bob, Right::Administer)).await.expect("a reason");
    assert!(!reply.granted && reply.reason.contains("group/readers"), "{reply:?}");
    let none = "service://none.lab.example".parse().expect("a service");
    let none = home.why_service(&none, &about(&bob, Right::Read)).await;
    assert_eq!(none.expect_err("there is none").code, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_taken_out_reads_nothing_at_the_next_request_also_through_nesting() {
    let realm = Realm::start().await;
    for name in ["readers", "team"] {
        order(&realm, name, GroupOrder::Create).await.expect("made");
    }
    order(&realm, "readers", put_in(Who::Group(group(REALM, "team")))).await.expect("put in");
    order(&realm, "team", put_in(user("bob"))).await.expect("put in");
    file_for_readers(&realm).await;
    realm.issue("bob", PrincipalKind::User);
    let bob = realm.client("bob");
    assert_eq!(reads(&bob).await, Ok(b"for readers".to_vec()));
    let out = |member| GroupOrder::Member { member, term: MemberTerm::Out };
    order(&realm, "readers", out(Who::Group(group(REALM, "team")))).await.expect("taken out");
    assert_eq!(reads(&bob).await, Err(Code::Denied));
    order(&realm, "readers", put_in(Who::Group(group(REALM, "team")))).await.expect("put in again");
    assert_eq!(reads(&bob).await, Ok(b"for readers".to_vec()));
    order(&realm, "team", GroupOrder::Delete).await.expect("removed");
    assert_eq!(reads(&bob).await, Err(Code::Denied));
}
