//! One question about one access list, beside Cedar with the same policy.

use super::cedar::Cedar;
use super::scene::Scene;
use crate::report::{Goal, Row};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::hint::black_box;
use terms::{Digest, Principal, Right, UnixMs, Who};
use trust::{Bucket, Decisions, Entries, GroupList, Groups};

/// Parameters of these rows.
#[derive(Deserialize)]
pub struct Config {
    entries: usize,
    groups: usize,
    questions: usize,
    short_questions: usize,
    lists: usize,
    short_lists: usize,
    warm_goal_ns: f64,
    cold_goal_ns: f64,
}

/// Somebody whom only a group's entry lets in.
const MEMBER: &str = "spiffe://lab.example/user/p2-1";

/// A list under its name. A resource points to its list by this name, so that nobody has to make it from the list.
struct Named {
    list: Bucket,
    hash: Digest,
}

impl Named {
    fn new(entries: usize, groups: &[String], number: usize) -> Result<Self> {
        let list = list(entries, groups, number)?;
        Ok(Self { hash: list.hash(), list })
    }
}

/// What a question stands on: Alice has an entry of her own, the member a group's.
struct Stage {
    now: UnixMs,
    alice: Principal,
    member: Principal,
    groups: Groups,
    decisions: Decisions,
}

impl Stage {
    /// Asked as a home asks: the list first, then what is kept of groups, then the groups.
    fn ask(&mut self, through_group: bool, on: &Named) -> bool {
        let subject = if through_group { &self.member } else { &self.alice };
        let question = Entries { subject, bucket: &on.list, hash: on.hash, right: Right::Read };
        self.decisions.check(black_box(&question), &self.groups, 0, self.now).ground.is_ok()
    }

    /// So many questions about one list.
    fn warm(&mut self, through_group: bool, on: &Named, questions: usize) -> Result<f64> {
        super::each(questions, || all(questions, || Ok(self.ask(through_group, on))))
    }

    /// One question about each of these lists, none of which was asked about before.
    fn cold(&mut self, through_group: bool, lists: &[Named]) -> Result<f64> {
        self.decisions.clear();
        let mut rest = lists.iter();
        let ask = || rest.next().map(|list| self.ask(through_group, list)).context("a list");
        super::each(lists.len(), || all(lists.len(), ask))
    }
}

/// Warm and cold.
pub fn rows(config: &Config, short: bool, pairs: usize) -> Result<Vec<Row>> {
    let scene = Scene::new()?;
    let (groups, names) = groups(config.groups, scene.now)?;
    let (alice, member) = (scene.alice.principal().clone(), MEMBER.parse()?);
    let list = Named::new(config.entries, &names, 0)?;
    let cedar = Cedar::new(&list.list, &groups, &names)?;
    let mut stage = Stage { now: scene.now, alice, member, groups, decisions: Decisions::new(1) };
    let questions = if short { config.short_questions } else { config.questions };
    let lists = if short { config.short_lists } else { config.lists };
    let mut rows = Vec::new();
    for (through_group, how) in [(false, ""), (true, " through a group")] {
        let subject = if through_group { stage.member.to_string() } else { stage.alice.to_string() };
        // Through groups there is no goal but to be no slower than the peer.
        let goal = |ns: f64| if through_group { Goal::RatioAtMost(1.0) } else { Goal::AtMost(ns) };
        let mut warm = Row::new(format!("decision{how}, warm"), "ns", goal(config.warm_goal_ns));
        let mut cold = Row::new(format!("decision{how}, cold list"), "ns", goal(config.cold_goal_ns));
        for _ in 0..pairs {
            let peer = super::each(questions / 10, || all(questions / 10, || cedar.ask(&subject, "r")))?;
            warm.peer.push(peer);
            cold.peer.push(peer);
            warm.ours.push(stage.warm(through_group, &list, questions)?);
            let fresh = (0..lists).map(|number| Named::new(config.entries, &names, number + 1));
            cold.ours.push(stage.cold(through_group, &fresh.collect::<Result<Vec<_>>>()?)?);
        }
        warm.notes.push("step 3 as a home asks, one question again and again".into());
        warm.notes.push("peer: Cedar in this process, policies and entities parsed before".into());
        cold.notes.push("the same question on lists that were never asked about".into());
        rows.extend([warm, cold]);
    }
    Ok(rows)
}

/// So many questions, all of which must be granted.
fn all(count: usize, mut ask: impl FnMut() -> Result<bool>) -> Result<()> {
    let mut granted = 0;
    for _ in 0..count {
        granted += usize::from(black_box(ask()?));
    }
    if granted == count { Ok(()) } else { bail!("{granted} of {count} were granted") }
}

/// Groups of other people.
fn groups(count: usize, now: UnixMs) -> Result<(Groups, Vec<String>)> {
    let mut groups = Groups::new();
    let names: Vec<_> = (0..count).map(|number| format!("spiffe://lab.example/group/g{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let mut list = GroupList::new(name.parse()?);
        for member in 0..4 {
            list.put(format!("spiffe://lab.example/user/p{number}-{member}").parse()?, None, now)?;
        }
        groups.put(list)?;
    }
    Ok((groups, names))
}

/// A list that gives Alice `r`, others something; each number another list.
pub fn list(entries: usize, groups: &[String], number: usize) -> Result<Bucket> {
    let alice: Who = "spiffe://lab.example/user/alice".parse()?;
    let mut all = vec![(alice, "r".parse()?)];
    for group in groups {
        all.push((group.parse()?, "rw".parse()?));
    }
    for other in all.len()..entries {
        all.push((format!("spiffe://lab.example/user/q{number}-{other}").parse()?, "rwm".parse()?));
    }
    Ok(Bucket::new(all)?)
}
