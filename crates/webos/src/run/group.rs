//! `group`: made, listed, shown and changed at the first node of their realm.

use super::{Setup, reach};
use crate::args::{GroupAdd, GroupAddress, GroupCommand, WhoName};
use crate::output::{Failure, Out, Outcome, plural, time};
use client::protocol::{GroupOrder, GroupReply, MemberTerm};
use client::{Client, Node};
use serde::Serialize;
use terms::{Code, GroupName, Problem, RealmName, UnixMs, Who};

/// Chooses among the commands.
pub async fn run(setup: &Setup, out: &mut Out, command: &GroupCommand) -> Outcome {
    let client = reach::client(setup)?;
    match command {
        GroupCommand::Create { group } => create(&client, out, group).await,
        GroupCommand::List { realm } => list(&client, out, realm.as_ref()).await,
        GroupCommand::Show { group } => show(setup, &client, out, group).await,
        GroupCommand::Add(add) => self::add(setup, &client, out, add).await,
        GroupCommand::Remove { group, member } => remove(&client, out, group, member).await,
        GroupCommand::Delete { group, yes } => delete(&client, out, group, *yes).await,
    }
}

/// The group that is meant, and the node that holds its list.
pub fn held(client: &Client, group: &GroupAddress) -> Result<(GroupName, Node), Problem> {
    let group = match group {
        GroupAddress::Full(group) => group.clone(),
        GroupAddress::Short(_) => group.within(&client.require_identity()?.principal().realm),
    };
    let home = client.first_node(&group.realm)?;
    Ok((group, home))
}

#[derive(Serialize)]
struct Changed {
    group: String,
    version: u64,
    members: u32,
    changed: bool,
    notes: Vec<String>,
}

fn say(out: &mut Out, group: &GroupName, reply: GroupReply, done: &str) -> Outcome {
    for note in &reply.notes {
        out.note(note);
    }
    let GroupReply { version, members, changed, notes, .. } = reply;
    let changed = Changed { group: group.to_string(), version: version.0, members, changed, notes };
    out.result(&changed, |out, changed| {
        let done = if changed.changed { done } else { "nothing to change" };
        out.line(&format!("{done}: {} now has {}", changed.group, plural(changed.members.into(), "member")))
    })
}

async fn create(client: &Client, out: &mut Out, group: &GroupAddress) -> Outcome {
    let (group, home) = held(client, group)?;
    let reply = home.change_group(&group, GroupOrder::Create).await?;
    say(out, &group, reply, "made")
}

#[derive(Serialize)]
struct Line {
    group: String,
    version: u64,
    members: u32,
}

async fn list(client: &Client, out: &mut Out, realm: Option<&RealmName>) -> Outcome {
    let realm = match realm {
        Some(realm) => realm.clone(),
        None => client.require_identity()?.principal().realm.clone(),
    };
    let groups = client.first_node(&realm)?.groups().await?;
    let line = |line: &client::protocol::GroupLine| Line {
        group: line.group.to_string(),
        version: line.version.0,
        members: line.members,
    };
    let shown: Vec<_> = groups.iter().map(line).collect();
    out.result(&shown, |out, shown| {
        if shown.is_empty() {
            return out.line(&format!("{realm} has no groups; `webos group create NAME` makes one"));
        }
        shown
            .iter()
            .try_for_each(|line| out.line(&format!("{:<40} {}", line.group, plural(line.members.into(), "member"))))
    })
}

#[derive(Serialize)]
struct Shown {
    group: String,
    version: u64,
    signed_ms: UnixMs,
    members: Vec<MemberLine>,
}

#[derive(Serialize)]
struct MemberLine {
    who: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<UnixMs>,
    ended: bool,
}

async fn show(setup: &Setup, client: &Client, out: &mut Out, group: &GroupAddress) -> Outcome {
    let (group, _) = held(client, group)?;
    let signed = client.group_list(&group).await?;
    let now = setup.world.clock.unix();
    let line = |(who, until): (&Who, &Option<UnixMs>)| MemberLine {
        who: who.to_string(),
        until_ms: *until,
        ended: until.is_some_and(|end| end <= now),
    };
    let shown = Shown {
        group: group.to_string(),
        version: signed.list.version().0,
        signed_ms: signed.signed,
        members: signed.list.members().iter().map(line).collect(),
    };
    out.result(&shown, |out, shown| {
        if shown.members.is_empty() {
            return out.line(&format!("nobody belongs to {}", shown.group));
        }
        shown.members.iter().try_for_each(|member| {
            let until = match (member.until_ms, member.ended) {
                (None, _) => String::new(),
                (Some(end), false) => format!("  until {}", time(end)),
                (Some(end), true) => format!("  ended {}", time(end)),
            };
            out.line(&format!("{}{until}", member.who))
        })
    })
}

fn member(name: &WhoName, group: &GroupName) -> Result<Who, Problem> {
    name.within(&group.realm).map_err(|error| Problem::new(Code::Invalid, error.to_string()))
}

async fn add(setup: &Setup, client: &Client, out: &mut Out, add: &GroupAdd) -> Outcome {
    let (group, home) = held(client, &add.group)?;
    let who = member(&add.member, &group)?;
    let lasting = add.lasting.map(|lasting| setup.world.clock.unix().plus(lasting));
    let term = add.until.or(lasting).map_or(MemberTerm::ForGood, MemberTerm::Until);
    let order = GroupOrder::Member { member: who.clone(), term };
    let reply = home.change_group(&group, order).await?;
    say(out, &group, reply, &format!("put in {who}"))
}

async fn remove(client: &Client, out: &mut Out, group: &GroupAddress, name: &WhoName) -> Outcome {
    let (group, home) = held(client, group)?;
    let who = member(name, &group)?;
    let order = GroupOrder::Member { member: who.clone(), term: MemberTerm::Out };
    let reply = home.change_group(&group, order).await?;
    say(out, &group, reply, &format!("took out {who}"))
}

async fn delete(client: &Client, out: &mut Out, group: &GroupAddress, yes: bool) -> Outcome {
    let (group, home) = held(client, group)?;
    if !yes && !out.ask(&format!("nobody will have rights through {group} any more; go on?"), "--yes")? {
        out.note("nothing was changed");
        return Err(Failure::Exit(1));
    }
    let reply = home.change_group(&group, GroupOrder::Delete).await?;
    say(out, &group, reply, "removed")
}
