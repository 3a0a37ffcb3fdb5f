//! Access lists: what ours decides is what Cedar decides of the same lists, groups and questions.

use crate::compared;
use serde_json::{Value, json};
use std::time::Duration;
use terms::{GroupName, Right, Rights, UnixMs, Who};
use trust::{AllStand, Asker, Bucket, Decision, GroupList, Groups, Question, decide};
use webos_foreign::{Mutator, Scene};

const WORLDS: u64 = 50;
const MOMENTS: usize = 5;
const QUESTIONS: usize = 40;
const GROUPS: usize = 8;
const SUBJECTS: [&str; 4] = ["user/alice", "user/mallory", "server/n1", "service/shop"];

fn group(number: usize) -> GroupName {
    format!("spiffe://lab.example/group/g{number}").parse().expect("a group")
}

/// Somebody or some group; a group only above `from`, so that none contains itself. The last one has no list.
fn who(scene: &Scene, dice: &mut Mutator, from: usize) -> Who {
    match dice.below(2) {
        0 => Who::Principal(scene.identity(SUBJECTS[dice.below(SUBJECTS.len())]).principal().clone()),
        _ => Who::Group(group(from + dice.below(GROUPS + 1 - from))),
    }
}

fn lists(scene: &Scene, dice: &mut Mutator) -> (Groups, Value) {
    let (mut groups, mut told) = (Groups::new(), serde_json::Map::new());
    for number in 0..GROUPS {
        let mut list = GroupList::new(group(number));
        for _ in 0..dice.below(4) {
            let end = (dice.below(3) > 0).then(|| scene.now.plus(Duration::from_secs(1 + dice.below(300) as u64)));
            list.put(who(scene, dice, number + 1), end, scene.now).expect("a member");
        }
        let members: Vec<_> =
            list.members().iter().map(|(who, end)| json!([who.to_string(), end.map(|end| end.0)])).collect();
        told.insert(group(number).to_string(), members.into());
        groups.put(list).expect("no group contains itself");
    }
    (groups, told.into())
}

fn bucket(scene: &Scene, dice: &mut Mutator) -> Bucket {
    let entries: Vec<_> = (0..dice.below(4))
        .map(|_| {
            let rights = Rights::from_bits(u8::try_from(1 + dice.below(63)).expect("six bits")).expect("six bits");
            match dice.below(8) {
                0 => (Who::Anyone, ["r", "x", "rx"][dice.below(3)].parse().expect("rights")),
                1 => (Who::Authenticated, rights),
                _ => (who(scene, dice, 0), rights),
            }
        })
        .collect();
    Bucket::new(entries).expect("a list")
}

#[test]
fn cedar_decides_the_same() {
    let scene = Scene::new();
    let at = "data.lab.example/in".parse().expect("a place");
    let (mut worlds, mut granted) = (Vec::new(), 0);
    for seed in 0..WORLDS {
        let mut dice = Mutator::new(seed);
        let (groups, told) = lists(&scene, &mut dice);
        let mut moments = Vec::new();
        for _ in 0..MOMENTS {
            let now = UnixMs(scene.now.0 + dice.below(320_000) as u64);
            let mut questions = Vec::new();
            for _ in 0..QUESTIONS {
                let peer = SUBJECTS.get(dice.below(SUBJECTS.len() + 1)).map(|name| scene.peer(name));
                let (right, bucket) = (Right::ALL[dice.below(Right::ALL.len())], bucket(&scene, &mut dice));
                let asker = Asker { peer, chain: None, token: None };
                let question = Question {
                    now,
                    asker,
                    location: &at,
                    right,
                    bucket: &bucket,
                    groups: &groups,
                    standing: &AllStand,
                };
                let said = matches!(decide(&question), Decision::Granted { .. });
                granted += usize::from(said);
                questions.push(json!({
                    "subject": peer.map(|peer| peer.principal.to_string()),
                    "right": right.to_string(),
                    "list": bucket.entries().iter().map(|(who, rights)| {
                        let rights = Right::ALL.iter().filter(|right| rights.has(**right));
                        json!([who.to_string(), rights.map(Right::to_string).collect::<Vec<_>>()])
                    }).collect::<Vec<_>>(),
                    "said": said,
                }));
            }
            moments.push(json!({ "now": now.0, "questions": questions }));
        }
        worlds.push(json!({ "seed": seed, "groups": told, "moments": moments }));
    }
    let count = worlds.len() * MOMENTS * QUESTIONS;
    assert!(granted > count / 10 && granted < count / 2, "{granted} of {count} are granted");
    let said = compared("rights.py", &json!({ "worlds": worlds }));
    assert_eq!(said, format!("rights: {count} compared, {granted} granted, 0 disagreements"));
}
