//! Whatever is asked by whomever: nothing is granted that no entry gives, and a chain only narrows. A second,
//! dumber implementation of the three steps is the judge.

use crate::support::{Lab, lab, rights, to_server};
use std::time::Duration;
use terms::{GroupName, Location, Principal, Right, Rights, UnixMs, VolumePath, Who};
use webos_trust::transfer::verify;
use webos_trust::{
    AllStand, Asker, Bucket, CreateTransfer, Decision, Grant, GroupList, Groups, Identity, Question, Resource,
    TransferCertificate, VerifiedChain, decide,
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

    fn grant(&self) -> Grant {
        let (place, rights) = (self.location(), self.rights());
        if self.below(2) == 0 { Grant::exactly(place, rights) } else { Grant::below(place, rights) }
    }

    /// Often something that lies within this grant, and sometimes not.
    fn narrower(&self, grant: &Grant) -> Grant {
        let Resource::Path(location) = &grant.on else { return self.grant() };
        let rights = if self.below(4) > 0 { grant.rights } else { self.rights() };
        let path =
            if self.below(2) == 0 { location.path.clone() } else { location.path.join("a").expect("a path") };
        let place = Location { volume: location.volume.clone(), path };
        if self.below(2) == 0 { Grant::exactly(place, rights) } else { Grant::below(place, rights) }
    }

    fn location(&self) -> Location {
        let volume = self.pick(&["one.lab.example", "two.lab.example"]).parse().expect("a volume");
        Location { volume, path: self.path() }
    }
}

/// A verified chain, whose it is, and what each of its links grants until when.
struct Lent {
    chain: VerifiedChain,
    subject: Principal,
    links: Vec<(Vec<Grant>, UnixMs)>,
}

type Lists = Vec<(GroupName, Vec<(Principal, Option<UnixMs>)>)>;

/// One realm's people, groups and transfers, as a seed made them.
struct Case {
    peers: Vec<Peer>,
    chains: Vec<Lent>,
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
    let chains = (0..8).map(|_| lent(dice, &lab, &identities)).collect();
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

/// A first link, and as many further ones as the dice and the rules allow.
fn lent(dice: &Dice, lab: &Lab, identities: &[Identity]) -> Lent {
    let allowance = Duration::from_secs(60);
    let transfer = |to: &Identity, grants: &[Grant], depth: u8| {
        let valid_for = Duration::from_secs(60 * (1 + dice.below(3) as u64));
        CreateTransfer { valid_for, depth, ..to_server(to, grants.to_vec()) }
    };
    let (from, mut holder) = (dice.pick(identities), &identities[2 + dice.below(2)]);
    let grants: Vec<_> = (0..=dice.below(2)).map(|_| dice.grant()).collect();
    let first = transfer(holder, &grants, u8::try_from(1 + dice.below(3)).expect("small"));
    let mut links = vec![(grants, lab.now().plus(first.valid_for + allowance))];
    let mut chain = TransferCertificate::create(from, first, &lab.world).expect("made");
    for depth in [2, 1, 0] {
        let next = &identities[2 + dice.below(2)];
        let parents = &links.last().expect("a link").0;
        let grants: Vec<_> = (0..=dice.below(2)).map(|_| dice.narrower(dice.pick(parents))).collect();
        let passed = transfer(next, &grants, depth);
        let end = lab.now().plus(passed.valid_for + allowance);
        if let Ok(longer) = TransferCertificate::pass_on(&chain, holder, passed, &lab.world) {
            (chain, holder) = (longer, next);
            links.push((grants, end));
        }
    }
    let chain = verify(&chain, &lab.peer(holder), &lab.store, lab.now()).expect("valid");
    Lent { chain, subject: from.principal().clone(), links }
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

impl Case {
    /// A member more or less, here as in the model.
    fn change_a_group(&mut self, dice: &Dice) {
        let principals: Vec<_> = self.peers.iter().map(|peer| peer.principal.clone()).collect();
        let (index, who) = (dice.below(self.lists.len()), dice.pick(&principals).clone());
        let (name, members) = &mut self.lists[index];
        let mut list = self.groups.get(name).expect("known").clone();
        members.retain(|(member, _)| *member != who);
        list.remove(&Who::Principal(who.clone()));
        if dice.below(2) == 0 {
            members.push((who.clone(), None));
            list.put(Who::Principal(who), None, self.now).expect("a member");
        }
        self.groups.put(list).expect("a list");
    }
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
        Some(Lent { chain, subject, links }) => {
            let Some(peer) = peer else { return false };
            let hers = peer.principal == *chain.audience() && peer.key == chain.audience_key();
            let path: Vec<&str> = at.path.segments().collect();
            let covers = |grant: &Grant| {
                let Resource::Path(location) = &grant.on else { panic!("only paths are granted here") };
                let top: Vec<&str> = location.path.segments().collect();
                let within = if grant.exact { path == top } else { path.starts_with(&top) };
                within && location.volume == at.volume && grant.rights.has(right)
            };
            let every = links.iter().all(|(grants, end)| grants.iter().any(covers) && now < *end);
            if !hers || !every {
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
    let (mut granted, mut refused, mut longest) = (0, 0, 0);
    for seed in 0..SEEDS {
        let dice = Dice(World::simulated(seed).0);
        let mut case = case(&dice);
        longest = case.chains.iter().map(|lent| lent.links.len()).fold(longest, usize::max);
        for _ in 0..QUESTIONS {
            if dice.below(20) == 0 {
                case.change_a_group(&dice);
            }
            let now = case.now.plus(Duration::from_secs(dice.below(300) as u64));
            let peer = (dice.below(5) > 0).then(|| dice.pick(&case.peers));
            let chain = (dice.below(2) > 0).then(|| dice.below(case.chains.len()));
            let (at, right, bucket) = (dice.location(), *dice.pick(&Right::ALL), random_bucket(&dice));
            let asker = Asker { peer, chain: chain.map(|index| &case.chains[index].chain), token: None };
            let question = Question {
                now,
                asker,
                location: &at,
                right,
                bucket: &bucket,
                groups: &case.groups,
                standing: &AllStand,
            };
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
    assert!(longest == 4, "chains of every length are made, {longest}");
    assert!(granted > 500 && refused > 500, "both sides are exercised: {granted} granted, {refused} refused");
}
