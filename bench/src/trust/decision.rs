//! One question about one access list, beside Cedar with the same policy.

use super::cedar::Cedar;
use super::scene::Scene;
use crate::report::{Goal, Row};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::hint::black_box;
use terms::{Location, Right, UnixMs, Who};
use trust::{AllStand, Asker, Bucket, Decision, GroupList, Groups, Question, decide};
use wire::Peer;

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

/// What a question stands on.
struct Stage {
    now: UnixMs,
    peer: Peer,
    at: Location,
    groups: Groups,
}

impl Stage {
    fn ask(&self, bucket: &Bucket) -> bool {
        let question = Question {
            now: self.now,
            asker: Asker { peer: Some(&self.peer), chain: None, token: None },
            location: &self.at,
            right: Right::Read,
            bucket,
            groups: &self.groups,
            standing: &AllStand,
        };
        matches!(decide(black_box(&question)), Decision::Granted { .. })
    }
}

/// Warm and cold.
pub fn rows(config: &Config, short: bool, pairs: usize) -> Result<Vec<Row>> {
    let scene = Scene::new()?;
    let (groups, names) = groups(config.groups, scene.now)?;
    let peer = scene.peer(&scene.alice)?;
    let stage = Stage { now: scene.now, peer, at: "data.lab.example/in/a".parse()?, groups };
    let bucket = list(config.entries, &names, 0)?;
    let cedar = Cedar::new(&bucket, &stage.groups, &names)?;
    let subject = stage.peer.principal.to_string();
    if !stage.ask(&bucket) || !cedar.ask(&subject, "r")? {
        bail!("both sides must grant what the list gives");
    }
    let mut warm = Row::new("decision, warm", "ns", Goal::AtMost(config.warm_goal_ns));
    let mut cold = Row::new("decision, cold list", "ns", Goal::AtMost(config.cold_goal_ns));
    let questions = if short { config.short_questions } else { config.questions };
    let lists = if short { config.short_lists } else { config.lists };
    for _ in 0..pairs {
        warm.ours.push(super::each(questions, || all(questions, || Ok(stage.ask(&bucket))))?);
        warm.peer.push(super::each(questions / 10, || all(questions / 10, || cedar.ask(&subject, "r")))?);
        let fresh = (0..lists).map(|number| list(config.entries, &names, number)).collect::<Result<Vec<_>>>()?;
        let mut rest = fresh.iter();
        let ask = || rest.next().map(|list| stage.ask(list)).context("a list");
        cold.ours.push(super::each(lists, || all(lists, ask))?);
    }
    warm.notes.push("peer: Cedar in this process, policies and entities parsed before".into());
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
