//! Bearer tokens: what their home makes, keeps and believes, and what decisions make of them.

use crate::support::{HOUR, Lab, lab, place, principal, rights};
use std::path::PathBuf;
use std::time::Duration;
use terms::{Epoch, Principal, RealmName, Right, TransferId, UnixMs, Who};
use webos_trust::limits::{MAX_TOKENS_OF_ONE, TOKEN_LIFETIME};
use webos_trust::{
    AllStand, Asker, AuditRecord, BearerToken, Bucket, Decision, Feed, FeedCopy, FeedLimits, Ground, Head,
    MintToken, NoGroups, Question, Revoked, Standing, TokenGrant, TokenRefusal, Tokens, TrustStore, decide,
};

struct Desk {
    lab: Lab,
    _folder: tempfile::TempDir,
    path: PathBuf,
    tokens: Tokens,
}

fn alice() -> Principal {
    principal("spiffe://lab.example/user/alice")
}

fn desk() -> Desk {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens");
    let tokens = Tokens::open(&path, principal("spiffe://lab.example/server/home")).expect("none yet");
    Desk { lab: lab(), _folder: folder, path, tokens }
}

fn grant(at: &str, what: &str) -> TokenGrant {
    TokenGrant { location: place(at), exact: false, rights: rights(what) }
}

impl Desk {
    fn mint(&self) -> MintToken {
        MintToken {
            subject: alice(),
            certified: self.lab.now(),
            subject_until: self.lab.now().plus(HOUR * 24),
            grants: vec![grant("data.lab.example/in", "r")],
            valid_for: HOUR,
            epoch: Epoch(1),
        }
    }

    fn made(&mut self) -> BearerToken {
        let mint = self.mint();
        self.tokens.mint(mint, &self.lab.world).expect("a token").0
    }

    fn good(&self, token: &BearerToken) -> bool {
        self.tokens.verify(token, self.lab.now(), &AllStand).is_ok()
    }
}

#[test]
fn a_token_is_good_at_its_home_until_it_ends_or_is_revoked() {
    let mut desk = desk();
    let token = desk.made();
    let again = BearerToken::parse(&token.text()).expect("its own text");
    let verified = desk.tokens.verify(&again, desk.lab.now(), &AllStand).expect("good");
    assert_eq!((verified.subject(), verified.audience().name.as_str()), (&alice(), "home"));
    // It is there again after a restart, and the file holds no secret.
    let file = std::fs::read_to_string(&desk.path).expect("a file");
    let secret = token.text().rsplit('.').next().expect("a secret").to_string();
    assert!(!file.contains(&secret[22..]) && file.contains("user/alice"), "{file}");
    desk.tokens = Tokens::open(&desk.path, principal("spiffe://lab.example/server/home")).expect("read");
    assert!(desk.good(&token));
    assert!(desk.tokens.revoke(&token.id().to_string(), desk.lab.now()).expect("revoked"));
    assert!(!desk.good(&token), "revoked");
    let token = desk.made();
    desk.lab.clock.advance(HOUR - Duration::from_millis(1));
    assert!(desk.good(&token));
    desk.lab.clock.advance(Duration::from_millis(1));
    assert!(!desk.good(&token), "over");
    assert!(desk.tokens.list(None, desk.lab.now()).is_empty());
}

#[test]
fn wrong_tokens_are_refused_alike() {
    let mut desk = desk();
    let token = desk.made();
    let mut elsewhere = self::desk();
    let other = [elsewhere.made(), elsewhere.made()][1].clone();
    let now = desk.lab.now();
    let refusal = |token: &BearerToken| desk.tokens.verify(token, now, &AllStand).err();
    assert_eq!(refusal(&token), None);
    assert_eq!(refusal(&other), Some(TokenRefusal::NotGood { id: other.id() }), "another home's");
    // The right id with a changed secret, and one that was never made.
    let mut text = token.text().to_string();
    let last = if text.ends_with('A') { "B" } else { "A" };
    text.replace_range(text.len() - 3..text.len() - 2, last);
    let changed = BearerToken::parse(&text).expect("the form of one");
    assert_eq!(refusal(&changed), Some(TokenRefusal::NotGood { id: token.id() }));
    let stranger = BearerToken::parse(&format!("webos-token-1.{}", "A".repeat(64))).expect("the form of one");
    assert!(matches!(refusal(&stranger), Some(TokenRefusal::NotGood { .. })));
    // A greater epoch of the subject's realm, or no trust in it any more, ends what was made before.
    assert!(desk.tokens.verify(&token, now, &desk.lab.store).is_ok(), "as its realm stands now");
    assert!(desk.tokens.verify(&token, now, &TrustStore::new()).is_err(), "the realm is not trusted any more");
    let mut feed = Feed::new(alice().realm, Epoch(1), now);
    feed.revoke(Revoked::Transfer { id: token.id() }, Feed::forget_at_last(now), now).expect("listed");
    desk.lab.store.set_feed(FeedCopy::from(&feed), true);
    assert!(desk.tokens.verify(&token, now, &desk.lab.store).is_err(), "its realm took it back");
    let mut feed = Feed::new(alice().realm, Epoch(1), now);
    let issued_until = now.minus(Duration::from_secs(1));
    feed.revoke(Revoked::Principal { principal: alice(), issued_until }, Feed::forget_at_last(now), now)
        .expect("listed");
    desk.lab.store.set_feed(FeedCopy::from(&feed), true);
    assert!(desk.tokens.verify(&token, now, &desk.lab.store).is_ok(), "made under a certificate issued since");
    let old = MintToken { certified: issued_until, ..desk.mint() };
    let old = desk.tokens.mint(old, &desk.lab.world).expect("a token").0;
    let refusal = desk.tokens.verify(&old, now, &desk.lab.store);
    assert!(refusal.is_err(), "made after the revocation, under a certificate from before");
    let mut feed = Feed::new(alice().realm, Epoch(1), now);
    feed.raise_epoch(now);
    desk.lab.store.set_feed(FeedCopy::from(&feed), true);
    assert!(desk.tokens.verify(&token, now, &desk.lab.store).is_err(), "the epoch was raised");
    for bad in ["", "webos-token-1.", "webos-token-1.AAAA", "webos-token-2.x", &format!("{text}A"), "x"] {
        assert!(BearerToken::parse(bad).is_none(), "{bad}");
    }
    assert!(!format!("{token:?}").contains(&text[20..]), "never printed by accident");
}

#[test]
fn what_is_too_much_is_refused_by_name() {
    let mut desk = desk();
    let refused = |desk: &mut Desk, change: &dyn Fn(&mut MintToken)| {
        let mut mint = desk.mint();
        change(&mut mint);
        desk.tokens.mint(mint, &desk.lab.world).expect_err("too much").to_string()
    };
    let too_long = refused(&mut desk, &|mint| mint.valid_for = TOKEN_LIFETIME + Duration::from_secs(1));
    assert!(too_long.contains("at most 12 hours"), "{too_long}");
    for what in ["a", "x", "r+relay", "rwmxa"] {
        let wide = refused(&mut desk, &|mint| mint.grants = vec![grant("data.lab.example/in", what)]);
        assert!(wide.contains("only r, w and m"), "{wide}");
    }
    assert!(refused(&mut desk, &|mint| mint.grants.clear()).contains("must give something"));
    assert!(
        refused(&mut desk, &|mint| mint.grants = vec![grant("data.lab.example/in", "r"); 17])
            .contains("at most 16")
    );
    assert!(refused(&mut desk, &|mint| mint.subject_until = UnixMs(5)).contains("no longer than your certificate"));
    let mut mint = desk.mint();
    mint.subject_until = desk.lab.now().plus(Duration::from_secs(60));
    let (_, info) = desk.tokens.mint(mint, &desk.lab.world).expect("a shorter one");
    assert_eq!(info.until, desk.lab.now().plus(Duration::from_secs(60)), "it ends with the certificate");
    (1..MAX_TOKENS_OF_ONE).for_each(|_| drop(desk.made()));
    assert!(refused(&mut desk, &|_| {}).contains("at most 32"), "so many of one");
    let mut other = desk.mint();
    other.subject = principal("spiffe://lab.example/user/bob");
    assert!(desk.tokens.mint(other, &desk.lab.world).is_ok(), "others are not in its way");
    desk.lab.clock.advance(HOUR);
    desk.made();
}

#[test]
fn a_token_gives_no_more_than_grant_and_list_both_do() {
    let mut desk = desk();
    let mut mint = desk.mint();
    mint.grants = vec![grant("data.lab.example/in", "rw")];
    let token = desk.tokens.mint(mint, &desk.lab.world).expect("a token").0;
    let token = desk.tokens.verify(&token, desk.lab.now(), &AllStand).expect("good");
    let all = Bucket::new([(Who::Principal(alice()), terms::Rights::OWNER)]).expect("valid");
    let anyone = Bucket::new([(Who::Anyone, rights("r"))]).expect("valid");
    let asker = Asker { token: Some(&token), ..Asker::default() };
    let ask_under = |at: &str, right, bucket: &Bucket, now, standing: &dyn Standing| {
        let location = place(at);
        let decision =
            decide(&Question { now, asker, location: &location, right, bucket, groups: &NoGroups, standing });
        let until = match &decision {
            Decision::Granted { authorised, .. } => authorised.until(),
            Decision::Refused { .. } => None,
        };
        (decision.reason().clone(), until)
    };
    let ask = |at: &str, right, bucket: &Bucket, now| ask_under(at, right, bucket, now, &AllStand);
    let now = desk.lab.now();
    let (granted, until) = ask("data.lab.example/in/x", Right::Read, &all, now);
    assert!(granted.granted());
    assert_eq!((granted.subject.clone(), until), (Some(alice()), Some(now.plus(HOUR))), "never used after its end");
    for (at, right, bucket, why) in [
        ("data.lab.example/in/x", Right::Modify, &all, "a right that it does not give"),
        ("data.lab.example/inner", Right::Read, &all, "beside it"),
        ("data.lab.example/", Right::Read, &anyone, "what anyone may is not its to use elsewhere"),
        ("other.lab.example/in", Right::Read, &all, "another volume"),
    ] {
        let (reason, _) = ask(at, right, bucket, now);
        assert!(matches!(reason.ground, Ground::NotInToken { .. }), "{why}: {reason}");
    }
    let (reason, _) = ask("data.lab.example/in/x", Right::Read, &Bucket::empty(), now);
    assert_eq!(reason.ground, Ground::NoEntry, "the list decides now, whoever made the token");
    let record = AuditRecord::of_decision(now, None, asker, &reason).expect("recorded");
    let link = record.chain.first().expect("the token as a link");
    assert_eq!((link.id.clone(), link.audience.name.as_str()), (token.id().to_string(), "home"));
    let (reason, _) = ask("data.lab.example/in/x", Right::Read, &all, now.plus(HOUR));
    assert!(matches!(reason.ground, Ground::TokenEnded { .. }), "{reason}");
    // What the subject's realm takes back, or does not speak of for too long, ends the token like any link.
    let under = |taken: Taken| ask_under("data.lab.example/in/x", Right::Read, &all, now, &taken).0.ground;
    assert!(matches!(under(Taken::Principal), Ground::PrincipalRevoked { .. }));
    assert_eq!(under(Taken::Link), Ground::TokenRevoked { id: token.id() });
    assert!(matches!(under(Taken::Silent), Ground::RealmUnheard { .. }));
}

/// What a realm has taken back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Principal,
    Link,
    Silent,
}

impl Standing for Taken {
    fn head(&self, _: &RealmName) -> Head {
        if *self == Self::Silent { Head::Unheard } else { Head::Own }
    }

    fn limits(&self) -> FeedLimits {
        FeedLimits::default()
    }

    fn is_revoked(&self, _: &Principal, _: UnixMs) -> bool {
        *self == Self::Principal
    }

    fn has_ended(&self, _: &Principal, _: TransferId, _: Epoch) -> bool {
        *self == Self::Link
    }
}
