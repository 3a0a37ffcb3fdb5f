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

/// What a question stands on.
struct Stage {
    now: UnixMs,
    alice: Principal,
    groups: Groups,
    decisions: Decisions,
}

impl Stage {
    fn entries<'a>(&'a self, on: &'a Named) -> Entries<'a> {
        Entries { subject: &self.alice, bucket: &on.list, hash: on.hash, right: Right::Read }
    }

    /// Answered by what is kept; a question that has to be looked for is not granted here.
    fn warm(&self, on: &Named) -> bool {
        let kept = self.decisions.lookup(black_box(&self.entries(on)), 0, self.now);
        kept.is_some_and(|checked| checked.ground.is_ok())
    }

    /// Looked for in the list and kept, unless it is kept already.
    fn any(&mut self, on: &Named) -> bool {
        let question = Entries { subject: &self.alice, bucket: &on.list, hash: on.hash, right: Right::Read };
        self.decisions.check(black_box(&question), &self.groups, 0, self.now).ground.is_ok()
    }
}

/// Warm and cold.
pub fn rows(config: &Config, short: bool, pairs: usize) -> Result<Vec<Row>> {
    let scene = Scene::new()?;
    let (groups, names) = groups(config.groups, scene.now)?;
    let alice = scene.alice.principal().clone();
    let cedar_list = Named::new(config.entries, &names, 0)?;
    let cedar = Cedar::new(&cedar_list.list, &groups, &names)?;
    let mut stage = Stage { now: scene.now, alice, groups, decisions: Decisions::new(1) };
    let subject = stage.alice.to_string();
    if !stage.any(&cedar_list) || !cedar.ask(&subject, "r")? {
        bail!("both sides must grant what the list gives");
    }
    let mut warm = Row::new("decision, warm", "ns", Goal::AtMost(config.warm_goal_ns));
    let mut cold = Row::new("decision, cold list", "ns", Goal::AtMost(config.cold_goal_ns));
    let questions = if short { config.short_questions } else { config.questions };
    let lists = if short { config.short_lists } else { config.lists };
    for _ in 0..pairs {
        if !stage.any(&cedar_list) {
            bail!("the list gives the right");
        }
        warm.ours.push(super::each(questions, || all(questions, || Ok(stage.warm(&cedar_list))))?);
        warm.peer.push(super::each(questions / 10, || all(questions / 10, || cedar.ask(&subject, "r")))?);
        let fresh = (0..lists).map(|number| Named::new(config.entries, &names, number + 1));
        let fresh = fresh.collect::<Result<Vec<_>>>()?;
        stage.decisions.clear();
        if fresh.iter().any(|list| stage.warm(list)) {
            bail!("a cold list is warm");
        }
        let mut rest = fresh.iter();
        let ask = || rest.next().map(|list| stage.any(list)).context("a list");
        cold.ours.push(super::each(lists, || all(lists, ask))?);
    }
    warm.notes.push("step 3 as kept by `trust::Decisions`, one question again and again".into());
    warm.notes.push("peer: Cedar in this process, policies and entities parsed before".into());
    cold.notes.push("the same question on lists that were never asked about: looked for, and kept".into());
    Ok(vec![warm, cold])
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
