//! What a realm takes back: the list at its source, on its way, and at a reader; and what decisions make of it.

use crate::support::{DAY, HOUR, Lab, grant, lab, place, principal, rights, to_server, trusted};
use std::time::Duration;
use terms::{Epoch, Right, Serial, UnixMs};
use webos_trust::limits::MAX_REVOKED_TRANSFERS;
use webos_trust::transfer::verify;
use webos_trust::{
    Asker, Bucket, CreateTransfer, Decision, Feed, FeedCopy, FeedEntry, FeedLimits, FeedPage, Ground, Identity,
    NoGroups, Question, Refusal, Revoked, TransferCertificate, TrustError, VerifiedChain, decide, feed_signer,
};
use wire::Peer;

pub(crate) struct Source {
    pub lab: Lab,
    pub feed: Feed,
    signer: Identity,
}

pub(crate) fn source() -> Source {
    let lab = lab();
    let realm = "lab.example".parse().expect("a realm");
    let feed = Feed::new(realm, Epoch(1), lab.now());
    let signer = lab.authority.issue_identity(&feed_signer(feed.realm()).expect("a name"), None, lab.now());
    Source { feed, signer: signer.expect("issued"), lab }
}

impl Source {
    pub fn revoke(&mut self, revoked: Revoked) {
        let now = self.lab.now();
        self.feed.revoke(revoked, Feed::forget_at_last(now), now).expect("listed");
    }

    pub fn page(&self, after: Serial) -> FeedPage {
        let bytes = self.feed.page(after, &self.signer, self.lab.now()).expect("signed");
        FeedPage::open(&bytes, self.feed.realm(), &self.lab.store, self.lab.now()).expect("our own")
    }

    /// A reader that asks until it has all.
    fn read(&self, copy: &mut FeedCopy) {
        loop {
            let applied = copy.apply(&self.page(copy.number()), self.lab.now()).expect("a page");
            if !applied.more {
                self.lab.store.set_feed(copy.clone(), false);
                return;
            }
        }
    }

    /// Sets the wall clock.
    fn at(&self, time: UnixMs) {
        let difference = i128::from(time.0) - i128::from(self.lab.now().0);
        self.lab.clock.jump_wall(i64::try_from(difference).expect("near"));
    }

    pub fn copy(&self) -> FeedCopy {
        FeedCopy::new(self.feed.realm().clone())
    }
}

pub(crate) fn ended(principal_text: &str, until: UnixMs) -> Revoked {
    Revoked::Principal { principal: principal(principal_text), issued_until: until }
}

#[test]
fn a_reader_learns_all_in_pages_and_forgets_in_time() {
    let mut source = source();
    let mut copy = source.copy();
    for index in 0..300 {
        source
            .revoke(Revoked::Transfer { id: terms::TransferId([u8::try_from(index % 256).expect("a byte"); 16]) });
        source.revoke(ended(&format!("spiffe://lab.example/user/u{index}"), source.lab.now()));
        source.lab.clock.advance(Duration::from_secs(1));
    }
    let first = copy.apply(&source.page(copy.number()), source.lab.now()).expect("a page");
    assert!(first.more, "556 entries are no single page");
    assert_eq!(copy.at(), None, "a part says nothing of the whole");
    source.read(&mut copy);
    assert_eq!(copy.at(), Some(source.lab.now()));
    assert!(copy.is_revoked(&principal("spiffe://lab.example/user/u299"), UnixMs(0)));
    // Nothing new: the same list, said again.
    source.lab.clock.advance(Duration::from_secs(20));
    let again = copy.apply(&source.page(copy.number()), source.lab.now()).expect("a page");
    assert!(again.new.is_empty() && !again.more);
    assert_eq!(copy.at(), Some(source.lab.now()));
    // When what was revoked has ended by itself, both sides forget it.
    source.lab.clock.advance(32 * DAY);
    source.renew_signer();
    copy.apply(&source.page(copy.number()), source.lab.now()).expect("a page");
    assert!(!copy.is_revoked(&principal("spiffe://lab.example/user/u299"), UnixMs(0)));
}

impl Source {
    /// Has the feed's key certified anew, as its node does long before it ends.
    pub fn renew_signer(&mut self) {
        let name = feed_signer(self.feed.realm()).expect("a name");
        self.signer = self.lab.authority.issue_identity(&name, None, self.lab.now()).expect("issued");
    }
}

#[test]
fn what_was_issued_later_is_not_revoked() {
    let mut source = source();
    let mut copy = source.copy();
    let alice = source.lab.identity("user/alice");
    let bob = source.lab.identity("user/bob");
    assert!(source.lab.check(alice.chain()).is_ok());
    source.revoke(ended("spiffe://lab.example/user/alice", source.lab.now()));
    source.read(&mut copy);
    let refusal = source.lab.check(alice.chain()).expect_err("revoked").detail;
    assert!(refusal.contains("has revoked it"), "{refusal}");
    assert!(source.lab.check(bob.chain()).is_ok());
    // Invited again, with a certificate of a later second.
    source.lab.clock.advance(Duration::from_secs(1));
    assert!(source.lab.check(source.lab.identity("user/alice").chain()).is_ok());
    assert!(source.lab.check(alice.chain()).is_err());
}

struct Chained {
    chain: VerifiedChain,
    peer: Peer,
}

/// Alice lends to n1, which passes on to n2.
fn chained(lab: &Lab) -> Chained {
    let (alice, n1, n2) = (lab.identity("user/alice"), lab.identity("server/n1"), lab.identity("server/n2"));
    let first = CreateTransfer { depth: 1, ..to_server(&n1, vec![grant("data.lab.example/in", "rw")]) };
    let first = TransferCertificate::create(&alice, first, &lab.world).expect("made");
    let passed = to_server(&n2, vec![grant("data.lab.example/in", "rw")]);
    let chain = TransferCertificate::pass_on(&first, &n1, passed, &lab.world).expect("passed on");
    let peer = lab.peer(&n2);
    Chained { chain: verify(&chain, &peer, &lab.store, lab.now()).expect("valid"), peer }
}

fn ask(lab: &Lab, chained: &Chained, right: Right) -> Result<(), Ground> {
    let alice = ("spiffe://lab.example/user/alice".parse().expect("a name"), rights("rwmxa"));
    let bucket = Bucket::new([alice]).expect("a list");
    let at = place("data.lab.example/in/x");
    let decision = decide(&Question {
        now: lab.now(),
        asker: Asker { peer: Some(&chained.peer), chain: Some(&chained.chain), token: None },
        location: &at,
        right,
        bucket: &bucket,
        groups: &NoGroups,
        standing: &lab.store,
    });
    match decision {
        Decision::Granted { .. } => Ok(()),
        Decision::Refused { reason } => Err(reason.ground),
    }
}

#[test]
fn a_verified_chain_ends_with_any_of_its_links() {
    for link in 0..2 {
        let mut source = source();
        let mut copy = source.copy();
        let chained = chained(&source.lab);
        source.read(&mut copy);
        assert_eq!(ask(&source.lab, &chained, Right::Read), Ok(()));
        let id = chained.chain.links().nth(link).expect("a link").link.id;
        source.revoke(Revoked::Transfer { id });
        source.read(&mut copy);
        assert_eq!(ask(&source.lab, &chained, Right::Read), Err(Ground::ChainRevoked { id }));
    }
}

#[test]
fn a_chain_ends_with_any_of_its_principals_and_with_the_epoch() {
    for who in ["user/alice", "server/n1", "server/n2"] {
        let mut source = source();
        let mut copy = source.copy();
        let chained = chained(&source.lab);
        source.read(&mut copy);
        let principal = principal(&format!("spiffe://lab.example/{who}"));
        source.revoke(ended(&principal.to_string(), source.lab.now()));
        source.read(&mut copy);
        assert_eq!(ask(&source.lab, &chained, Right::Read), Err(Ground::PrincipalRevoked { principal }));
    }
    let mut source = source();
    let mut copy = source.copy();
    let chained = chained(&source.lab);
    source.feed.raise_epoch(source.lab.now());
    source.read(&mut copy);
    assert!(matches!(ask(&source.lab, &chained, Right::Read), Err(Ground::ChainRevoked { .. })));
}

#[test]
fn a_revoked_link_is_refused_before_anything_is_asked() {
    let mut source = source();
    let mut copy = source.copy();
    let (alice, n1) = (source.lab.identity("user/alice"), source.lab.identity("server/n1"));
    let chain = source.lab.transfer(&alice, &n1, vec![grant("data.lab.example/in", "r")]);
    let peer = source.lab.peer(&n1);
    let shown = |source: &Source| verify(&chain, &peer, &source.lab.store, source.lab.now()).map(drop);
    assert_eq!(shown(&source), Ok(()));
    let id = chain.links().expect("readable")[0].id;
    source.revoke(Revoked::Transfer { id });
    source.read(&mut copy);
    assert_eq!(shown(&source), Err(Refusal::Revoked(id)));
}

#[test]
fn a_realm_that_is_not_heard_of_fails_closed() {
    let source = source();
    let chained = chained(&source.lab);
    let asked = |right| ask(&source.lab, &chained, right);
    assert!(matches!(asked(Right::Read), Err(Ground::RealmUnheard { since: None, .. })), "never heard");
    let mut copy = source.copy();
    source.read(&mut copy);
    let heard = source.lab.now();
    for (right, seconds) in [(Right::Write, 60), (Right::Read, 600)] {
        source.at(heard.plus(Duration::from_secs(seconds) - Duration::from_millis(1)));
        assert_eq!(asked(right), Ok(()), "{right}");
        source.at(heard.plus(Duration::from_secs(seconds)));
        assert!(
            matches!(asked(right), Err(Ground::RealmUnheard { since: Some(at), .. }) if at == heard),
            "{right}"
        );
    }
    // A copy of an old head says nothing new.
    source.lab.store.set_feed(copy.clone(), false);
    assert!(asked(Right::Read).is_err());
    source.read(&mut copy);
    assert_eq!(asked(Right::Write), Ok(()));
    // The site's own limits, within bounds.
    let minute = Duration::from_secs(60);
    assert_eq!(FeedLimits::new(minute - Duration::from_secs(1), minute), None);
    assert_eq!(FeedLimits::new(minute, HOUR + Duration::from_secs(1)), None);
    source.lab.store.set_limits(FeedLimits::new(minute, minute).expect("allowed"));
    let heard = source.lab.now();
    source.at(heard.plus(minute));
    assert!(asked(Right::Read).is_err());
}

#[test]
fn any_realm_of_a_chain_fails_closed() {
    let source = source();
    let mut copy = source.copy();
    source.read(&mut copy);
    let other = trusted(&source.lab.world, &source.lab.store, "other.example");
    let s1 = other
        .issue_identity(&principal("spiffe://other.example/server/s1"), None, source.lab.now())
        .expect("issued");
    let alice = source.lab.identity("user/alice");
    let chain = source.lab.transfer(&alice, &s1, vec![grant("data.lab.example/in", "rw")]);
    let peer = source.lab.peer(&s1);
    let chain = verify(&chain, &peer, &source.lab.store, source.lab.now()).expect("valid");
    let refused = ask(&source.lab, &Chained { chain, peer }, Right::Read);
    assert!(matches!(refused, Err(Ground::RealmUnheard { realm, .. }) if realm.as_str() == "other.example"));
}

#[test]
fn a_feed_signed_by_somebody_else() {
    let source = source();
    let now = source.lab.now();
    let realm = source.feed.realm();
    for other in ["server/n1", "user/alice", "service/site"] {
        let identity = source.lab.identity(other);
        assert!(matches!(source.feed.page(Serial(0), &identity, now), Err(TrustError::WrongSigner { .. })));
        let forged = webos_trust::signed::sign(&identity, "webos-feed-v1", &"anything").expect("signed");
        assert!(FeedPage::open(&forged, realm, &source.lab.store, now).is_err());
    }
    let other = trusted(&source.lab.world, &source.lab.store, "other.example");
    let theirs =
        other.issue_identity(&principal("spiffe://other.example/service/feed"), None, now).expect("issued");
    let feed = Feed::new("other.example".parse().expect("a realm"), Epoch(1), now);
    let bytes = feed.page(Serial(0), &theirs, now).expect("signed");
    assert!(matches!(FeedPage::open(&bytes, realm, &source.lab.store, now), Err(TrustError::WrongSigner { .. })));
}

#[test]
fn a_feed_set_back_or_with_a_gap() {
    let mut source = source();
    let mut copy = source.copy();
    let old = source.page(Serial(0));
    source.lab.clock.advance(Duration::from_secs(5));
    source.revoke(Revoked::Transfer { id: terms::TransferId([1; 16]) });
    let gap = source.page(Serial(source.lab.now().0 - 1));
    assert!(copy.apply(&gap, source.lab.now()).expect_err("a gap").to_string().contains("leaves something out"));
    source.read(&mut copy);
    let at = copy.at();
    assert!(copy.apply(&old, source.lab.now()).expect_err("older").to_string().contains("set back"));
    assert_eq!(copy.at(), at);
    // The same head replayed later gives no new time.
    let present = source.page(copy.number());
    source.lab.clock.advance(Duration::from_secs(100));
    copy.apply(&present, source.lab.now()).expect("a page");
    assert_eq!(copy.at(), at);
    let now = source.lab.now();
    let future = source.feed.page(copy.number(), &source.signer, now.plus(Duration::from_secs(61)));
    let opened = FeedPage::open(&future.expect("signed"), source.feed.realm(), &source.lab.store, now);
    assert!(matches!(opened, Err(TrustError::FromTheFuture { .. })));
}

/// A feed as it is stored.
#[derive(serde::Serialize)]
struct Stored {
    realm: terms::RealmName,
    epoch: Epoch,
    number: Serial,
    entries: Vec<FeedEntry>,
}

#[test]
fn a_list_full_of_transfers_still_takes_principals() {
    let source = source();
    let now = source.lab.now();
    let forget = Feed::forget_at_last(now);
    let transfer = |number: usize| Revoked::Transfer { id: terms::TransferId((number as u128).to_le_bytes()) };
    let entry = |number: usize| FeedEntry { number: Serial(number as u64 + 1), revoked: transfer(number), forget };
    let entries: Vec<_> = (0..MAX_REVOKED_TRANSFERS).map(entry).collect();
    let stored = Stored { realm: source.feed.realm().clone(), epoch: Epoch(1), number: Serial(now.0), entries };
    let mut feed: Feed = wire::cbor::from_slice(&wire::cbor::to_vec(&stored)).expect("as it is stored");
    let one_more = feed.revoke(transfer(MAX_REVOKED_TRANSFERS), forget, now);
    assert!(matches!(one_more, Err(TrustError::TooLarge { .. })), "{one_more:?}");
    feed.revoke(ended("spiffe://lab.example/user/bob", now), forget, now).expect("there is room for him");
}

#[test]
fn a_list_restored_from_a_backup_is_taken_once_it_was_resumed() {
    let mut source = source();
    let mut copy = source.copy();
    let backup = source.feed.clone();
    source.lab.clock.advance(Duration::from_secs(1));
    source.revoke(Revoked::Transfer { id: terms::TransferId([1; 16]) });
    source.read(&mut copy);
    source.feed = backup;
    assert!(copy.apply(&source.page(copy.number()), source.lab.now()).is_err(), "it was set back");
    source.lab.clock.advance(Duration::from_secs(1));
    source.feed = source.feed.clone().resumed(source.lab.now());
    source.read(&mut copy);
    assert_eq!(copy.at(), Some(source.lab.now()));
    assert!(
        copy.has_ended(&principal("spiffe://lab.example/user/bob"), terms::TransferId([1; 16]), Epoch(1)),
        "readers forget nothing before its time"
    );
}

#[test]
fn who_takes_back_an_id_takes_back_nothing_of_another_signer() {
    let mut source = source();
    let (alice, bob) = (principal("spiffe://lab.example/user/alice"), principal("spiffe://lab.example/user/bob"));
    let id = terms::TransferId([7; 16]);
    let mut copy = source.copy();
    source.revoke(Revoked::Link { issuer: bob.clone(), id });
    source.read(&mut copy);
    assert!(copy.has_ended(&bob, id, Epoch(1)));
    assert!(!copy.has_ended(&alice, id, Epoch(1)), "hers has the same id, and stays");
    let stored: FeedCopy = wire::cbor::from_slice(&wire::cbor::to_vec(&copy)).expect("as it is stored");
    assert_eq!(stored, copy);
    source.revoke(Revoked::Transfer { id });
    source.read(&mut copy);
    assert!(copy.has_ended(&alice, id, Epoch(1)), "the owners of the realm end both");
}

#[test]
fn a_list_begun_anew_goes_on_above_the_old_one() {
    let mut source = source();
    let mut copy = source.copy();
    source.revoke(Revoked::Transfer { id: terms::TransferId([1; 16]) });
    source.read(&mut copy);
    source.lab.clock.advance(Duration::from_secs(1));
    source.feed = Feed::new(source.feed.realm().clone(), Epoch(1), source.lab.now());
    source.read(&mut copy);
    assert!(
        copy.has_ended(&principal("spiffe://lab.example/user/bob"), terms::TransferId([1; 16]), Epoch(1)),
        "readers forget nothing before its time"
    );
}
