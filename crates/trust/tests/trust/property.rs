//! Whatever is asked by whomever: nothing is granted that no entry gives, and a chain only narrows. A second,
//! dumber implementation of the three steps is the judge.

use crate::support::{lab, rights, to_server};
use std::time::Duration;
use terms::{GroupName, Location, Principal, Right, Rights, UnixMs, VolumePath, Who};
use webos_trust::transfer::verify;
use webos_trust::{
    Asker, Bucket, Decision, Grant, GroupList, Groups, Identity, Question, TransferCertificate, VerifiedChain,
    decide,
};
use wire::Peer;
use world::World;

const SEEDS: u64 = 24;
const QUESTIONS: usize = 400;

struct Dice(World);

impl Dice {
    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.0.entropy.number() % bound as u64).expect("small")
    }

    fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn rights(&self) -> Rights {
        Rights::from_bits(u8::try_from(1 + self.below(63)).expect("six bits")).expect("six bits")
    }

    fn path(&self) -> VolumePath {
        let segments: Vec<&str> = (0..self.below(4)).map(|_| *self.pick(&["a", "b", "ab"])).collect();
        VolumePath::new(&segments.join("/")).expect("a path")
    }

    fn location(&self) -> Location {
        let volume = self.pick(&["one.lab.example", "two.lab.example"]).parse().expect("a volume");
        Location { volume, path: self.path() }
    }
}

type Lists = Vec<(GroupName, Vec<(Principal, Option<UnixMs>)>)>;

/// One realm's people, groups and transfers, as a seed made them.
struct Case {
    peers: Vec<Peer>,
    chains: Vec<(VerifiedChain, Principal, Vec<Grant>, UnixMs)>,
    lists: Lists,
    groups: Groups,
    now: UnixMs,
}

fn groups(dice: &Dice, principals: &[Principal], now: UnixMs) -> Lists {
    let member = || {
        let end = match dice.below(3) {
            0 => None,
            minutes => Some(now.plus(Duration::from_secs(60 * minutes as u64))),
        };
        (dice.pick(principals).clone(), end)
    };
    let list = |name: &str| {
        let members: Vec<_> = (0..dice.below(3)).map(|_| member()).collect();
        (format!("spiffe://lab.example/group/{name}").parse().expect("a group"), members)
    };
    vec![list("g"), list("h")]
}

fn case(dice: &Dice) -> Case {
    let lab = lab();
    let identities: Vec<Identity> =
        ["user/alice", "user/bob", "server/n1", "server/n2"].map(|name| lab.identity(name)).into();
    let principals: Vec<_> = identities.iter().map(|identity| identity.principal().clone()).collect();
    let chains = (0..6).map(|_| {
        let (from, to) = (dice.pick(&identities), &identities[2 + dice.below(2)]);
        let grants: Vec<_> = (0..=dice.below(2))
            .map(|_| Grant { location: dice.location(), exact: dice.below(2) == 0, rights: dice.rights() })
            .collect();
        let mut transfer = to_server(to, grants.clone());
        transfer.valid_for = Duration::from_secs(60 * (1 + dice.below(3) as u64));
        let end = lab.now().plus(transfer.valid_for + Duration::from_secs(60));
        let chain = TransferCertificate::create(from, transfer, &lab.world).expect("made");
        let verified = verify(&chain, &lab.peer(to), &lab.store, lab.now()).expect("valid");
        (verified, from.principal().clone(), grants, end)
    });
    let chains = chains.collect();
    let lists = groups(dice, &principals, lab.now());
    let mut known = Groups::new();
    let mut kept = Vec::new();
    for (name, members) in lists {
        let mut list = GroupList::new(name.clone());
        for (principal, until) in members {
            list.put(Who::Principal(principal), until, lab.now()).expect("a member");
        }
        let members = list.members().iter().map(|(who, until)| match who {
            Who::Principal(principal) => (principal.clone(), *until),
            other => panic!("{other} was never put"),
        });
        kept.push((name, members.collect()));
        known.put(list).expect("a list");
    }
    let peers = identities.iter().map(|identity| lab.peer(identity)).collect();
    Case { peers, chains, lists: kept, groups: known, now: lab.now() }
}

fn random_bucket(dice: &Dice) -> Bucket {
    let names = [
        "anyone",
        "authenticated",
        "spiffe://lab.example/user/alice",
        "spiffe://lab.example/user/bob",
        "spiffe://lab.example/server/n1",
        "spiffe://lab.example/server/n2",
        "spiffe://lab.example/group/g",
        "spiffe://lab.example/group/h",
        "spiffe://lab.example/group/unknown",
    ];
    let entry = || {
        let who: Who = dice.pick(&names).parse().expect("a name");
        let set = if who == Who::Anyone { rights(["r", "x", "rx"][dice.below(3)]) } else { dice.rights() };
        (who, set)
    };
    Bucket::new((0..dice.below(4)).map(|_| entry())).expect("a bucket")
}

/// The three steps again, from the facts and in the plainest way.
fn model(
    case: &Case,
    now: UnixMs,
    peer: Option<&Peer>,
    chain: Option<usize>,
    at: &Location,
    right: Right,
    bucket: &Bucket,
) -> bool {
    let subject = match chain.map(|index| &case.chains[index]) {
        None => peer.map(|peer| peer.principal.clone()),
        Some((verified, subject, grants, end)) => {
            let Some(peer) = peer else { return false };
            let hers = peer.principal == *verified.audience() && peer.key == verified.audience_key();
            let path: Vec<&str> = at.path.segments().collect();
            let covered = grants.iter().any(|grant| {
                let top: Vec<&str> = grant.location.path.segments().collect();
                let within = if grant.exact { path == top } else { path.starts_with(&top) };
                within && grant.location.volume == at.volume && grant.rights.has(right)
            });
            if !hers || !covered || now >= *end {
                return false;
            }
            Some(subject.clone())
        }
    };
    let gives = |who: &Who| match (who, &subject) {
        (Who::Anyone, _) => matches!(right, Right::Read | Right::Execute),
        (_, None) => false,
        (Who::Authenticated, Some(_)) => true,
        (Who::Principal(principal), Some(subject)) => principal == subject,
        (Who::Group(group), Some(subject)) => case.lists.iter().any(|(name, members)| {
            let member =
                |(found, end): &(Principal, Option<UnixMs>)| found == subject && end.is_none_or(|end| now < end);
            name == group && members.iter().any(member)
        }),
    };
    bucket.entries().iter().any(|(who, set)| set.has(right) && gives(who))
}

#[test]
fn decide_grants_what_the_facts_give_and_nothing_else() {
    let (mut granted, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        let dice = Dice(World::simulated(seed).0);
        let case = case(&dice);
        for _ in 0..QUESTIONS {
            let now = case.now.plus(Duration::from_secs(dice.below(300) as u64));
            let peer = (dice.below(5) > 0).then(|| dice.pick(&case.peers));
            let chain = (dice.below(2) > 0).then(|| dice.below(case.chains.len()));
            let (at, right, bucket) = (dice.location(), *dice.pick(&Right::ALL), random_bucket(&dice));
            let asker = Asker { peer, chain: chain.map(|index| &case.chains[index].0), token: None };
            let question = Question { now, asker, location: &at, right, bucket: &bucket, groups: &case.groups };
            let decision = decide(&question);
            let expected = model(&case, now, peer, chain, &at, right, &bucket);
            let facts = format!("seed {seed}: {} {bucket:?} {asker:?}", decision.reason());
            assert_eq!(matches!(decision, Decision::Granted { .. }), expected, "{facts}");
            assert_eq!(decision.reason().granted(), expected, "{facts}");
            let Decision::Granted { authorised, .. } = decision else {
                refused += 1;
                continue;
            };
            granted += 1;
            assert!(authorised.covers(&at, right, now), "{facts}");
            // At its end the same question is answered anew, and just before it is answered the same.
            if let Some(end) = authorised.until() {
                let before = model(&case, UnixMs(end.0 - 1), peer, chain, &at, right, &bucket);
                assert!(before, "{facts}: not good until its end");
            }
        }
    }
    assert!(granted > 500 && refused > 500, "both sides are exercised: {granted} granted, {refused} refused");
}
