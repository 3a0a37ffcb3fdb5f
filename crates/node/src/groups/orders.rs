//! What is done to a group held here, and who may: whoever holds `a` on it. Making one is for the node itself and its
//! owners. A change is on record before it is in force, and what stood on a membership that is gone ends with it.

use super::recheck::expel;
use super::{OwnGroup, Term, own};
use crate::gatekeeper::Caller;
use crate::known;
use crate::node::State;
use client::protocol::{AclView, GroupLine, GroupMessage, GroupOrder, GroupReply, MemberTerm};
use terms::{Code, GroupName, Principal, Problem, Right, Rights, Who};
use trust::{AuditRecord, Bucket, GroupChange, Object};

/// How the names of groups end that belong to services.
const OF_SERVICES: &str = "-serving";

/// A group held here.
pub fn held(state: &State, group: &GroupName) -> Result<OwnGroup, Problem> {
    if !state.gate.groups().holds(group) {
        return Err(Problem::new(Code::NotFound, format!("the list of {group} is not here"))
            .next("the first node of its realm holds it"));
    }
    state.gate.groups().own(group).ok_or_else(|| own::missing(group))
}

/// The groups held here, for any peer of a trusted realm, as their lists are.
pub fn list(state: &State, caller: &Caller) -> Result<Vec<GroupLine>, Problem> {
    caller.require_peer()?;
    let now = state.world.clock.unix();
    let line = |group: OwnGroup| {
        let lasting = group.list.members().values().filter(|until| until.is_none_or(|end| now < end));
        let members = u32::try_from(lasting.count()).unwrap_or(u32::MAX);
        GroupLine { group: group.list.name().clone(), version: group.list.version(), members }
    };
    Ok(state.gate.groups().all().into_iter().map(line).collect())
}

/// Who may change a group, for those who may.
pub async fn show_list(state: &State, caller: &Caller, group: &GroupName) -> Result<AclView, Problem> {
    let own = held(state, group)?;
    caller.for_itself()?;
    may_administer(state, caller, group, &own.bucket).await?;
    Ok(AclView { bucket: own.bucket.hash(), entries: own.bucket.entries().to_vec(), notes: Vec::new() })
}

/// Does what a message asks for.
pub async fn carry_out(
    state: &State,
    caller: &Caller,
    group: &GroupName,
    message: GroupMessage,
) -> Result<GroupReply, Problem> {
    if message.group != *group {
        let detail = format!("the message is about {}, not about {group}", message.group);
        return Err(Problem::new(Code::Invalid, detail));
    }
    match message.order {
        GroupOrder::Create => create(state, caller, group),
        GroupOrder::Delete => delete(state, caller, group).await,
        GroupOrder::Member { member, term } => change_member(state, caller, group, member, term).await,
        GroupOrder::List { who, rights, grant } => amend(state, caller, group, who, rights, grant).await,
    }
}

async fn may_administer(state: &State, caller: &Caller, group: &GroupName, list: &Bucket) -> Result<(), Problem> {
    state.gate.allow_object(caller, &Object::Group(group.clone()), Right::Administer, list).await
}

fn create(state: &State, caller: &Caller, group: &GroupName) -> Result<GroupReply, Problem> {
    let creator = caller.for_itself()?.principal.clone();
    if creator != state.own.principal && !state.owners.contains(&creator) {
        let detail = format!("{creator} may not make groups: it is no owner of the realm's first node");
        let problem = Problem::new(Code::Denied, detail)
            .next(format!("ask an owner of {}, which its file `owner` names", state.own.principal));
        let mut record = AuditRecord::of_refusal(
            state.world.clock.unix(),
            Some(caller.source()),
            &group.to_string(),
            &problem.detail,
        );
        record.peer = Some(creator);
        state.gate.note(&record)?;
        return Err(problem);
    }
    if group.name.as_str().ends_with(OF_SERVICES) {
        let detail = format!("groups whose name ends in {OF_SERVICES} belong to services");
        return Err(Problem::new(Code::Invalid, detail).next("`webos service publish` makes them"));
    }
    if state.gate.groups().own(group).is_some() {
        return Err(Problem::new(Code::Exists, format!("there is a group {group} already")));
    }
    let list = Bucket::new([(Who::Principal(creator.clone()), Rights::of(&[Right::Administer]))])?;
    on_record(state, &creator, group, "makes the group")?;
    state.gate.groups().create(group, list)?;
    reply(state, group, true, Vec::new())
}

async fn delete(state: &State, caller: &Caller, group: &GroupName) -> Result<GroupReply, Problem> {
    let actor = caller.for_itself()?.principal.clone();
    let own = held(state, group)?;
    may_administer(state, caller, group, &own.bucket).await?;
    on_record(state, &actor, group, "removes the group")?;
    let below = state.gate.groups().principals_below(&Who::Group(group.clone()));
    state.gate.groups().delete(group)?;
    expel(state, &below).await?;
    Ok(GroupReply { version: own.list.version(), members: 0, changed: true, list: None, notes: Vec::new() })
}

async fn change_member(
    state: &State,
    caller: &Caller,
    group: &GroupName,
    member: Who,
    term: MemberTerm,
) -> Result<GroupReply, Problem> {
    let actor = caller.for_itself()?.principal.clone();
    let own = held(state, group)?;
    let (groups, now) = (state.gate.groups(), state.world.clock.unix());
    let term = match term {
        MemberTerm::Until(end) => Term::Until(end),
        MemberTerm::ForGood => Term::ForGood,
        MemberTerm::Out => Term::Out,
    };
    let object = Object::Group(group.clone());
    // A membership is on record once: that its end moves forward is not worth a record each time.
    let allowed = state.gate.would_allow_object(caller, &object, Right::Administer, &own.bucket).await;
    if !allowed || groups.would_set(group, &member, term, now)? == GroupChange::Changed {
        may_administer(state, caller, group, &own.bucket).await?;
        on_record(state, &actor, group, &in_words(&member, term))?;
    }
    let below = groups.principals_below(&member);
    let shortened = groups.own(group).is_some_and(|own| own.list.members().contains_key(&member));
    let done = groups.set_member(group, &member, term, now)?;
    if done == GroupChange::Changed && shortened {
        expel(state, &below).await?;
    }
    let note = if term == Term::Out { None } else { known::note(state, &member) };
    reply(state, group, done != GroupChange::None, note.into_iter().collect())
}

fn in_words(member: &Who, term: Term) -> String {
    match term {
        Term::Until(end) => format!("puts in {member} until {} ms", end.0),
        Term::ForGood => format!("puts in {member}"),
        Term::Out => format!("takes out {member}"),
    }
}

async fn amend(
    state: &State,
    caller: &Caller,
    group: &GroupName,
    who: Who,
    rights: Rights,
    grant: bool,
) -> Result<GroupReply, Problem> {
    let actor = caller.for_itself()?.principal.clone();
    let own = held(state, group)?;
    may_administer(state, caller, group, &own.bucket).await?;
    let amended = |list: &Bucket| -> Result<Bucket, Problem> {
        let list = if grant { list.grant(who.clone(), rights)? } else { list.revoke(&who, rights) };
        if list.entries().iter().any(|(_, rights)| rights.has(Right::Administer)) {
            return Ok(list);
        }
        Err(Problem::new(Code::Invalid, format!("then nobody would hold the right a on {group}"))
            .next("give it to somebody else first"))
    };
    let new = amended(&own.bucket)?;
    let verb = if grant { "gives" } else { "takes from" };
    on_record(state, &actor, group, &format!("{verb} {who} the right {rights}; the list is now {}", new.hash()))?;
    let after = state.gate.groups().amend(group, amended)?;
    let notes: Vec<_> = if grant { known::note(state, &who).into_iter().collect() } else { Vec::new() };
    let (bucket, entries) = (after.hash(), after.entries().to_vec());
    let list = Some(AclView { bucket, entries, notes: notes.clone() });
    Ok(GroupReply { list, ..reply(state, group, after != own.bucket, notes)? })
}

/// Written before the change: what cannot be recorded is not done.
fn on_record(state: &State, actor: &Principal, group: &GroupName, what: &str) -> Result<(), Problem> {
    state.gate.note_first(&AuditRecord::of_change(state.world.clock.unix(), actor, &group.to_string(), what))
}

fn reply(state: &State, group: &GroupName, changed: bool, notes: Vec<String>) -> Result<GroupReply, Problem> {
    let list = held(state, group)?.list;
    let members = u32::try_from(list.members().len()).unwrap_or(u32::MAX);
    Ok(GroupReply { version: list.version(), members, changed, list: None, notes })
}
