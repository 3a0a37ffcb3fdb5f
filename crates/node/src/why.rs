//! Answers `why`: about oneself for every peer, about others for those who administer the place. It tells no more than a
//! refusal would to those who may not see the access list, and nothing of whether a thing exists.

use crate::gatekeeper::Caller;
use crate::groups::orders;
use crate::node::State;
use crate::{files, published};
use client::protocol::{WhyChange, WhyReply, WhyRequest};
use std::sync::Arc;
use terms::{Code, GroupName, Label, Location, Principal, Problem, Right, ServiceName, VolumeName, VolumePath};
use trust::{
    Bucket, Change, Explanation, MemberState, Object, Resource, explain, explain_outside, reason_about,
    reason_revoked,
};

/// What is asked about, with its access list.
enum Place {
    Path(Location),
    Object(Object),
}

/// The place that a route names: a volume's, or a group or service by the words for them.
pub async fn answer(
    state: &State,
    caller: &Caller,
    name: &str,
    path: &VolumePath,
    request: &WhyRequest,
) -> Result<WhyReply, Problem> {
    let (place, list) = match name {
        "group" => {
            let group = GroupName { realm: state.realm().clone(), name: label(path)? };
            let list = orders::held(state, &group)?.bucket;
            (Place::Object(Object::Group(group)), Arc::new(list))
        }
        "service" => {
            let service = ServiceName { realm: state.realm().clone(), name: label(path)? };
            let list = published::present_list(state, &service)?;
            let list = list.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no {service}")))?;
            (Place::Object(Object::Service(service)), Arc::new(list))
        }
        volume => {
            let volume: VolumeName =
                volume.parse().map_err(|error: terms::NameError| Problem::new(Code::Invalid, error.to_string()))?;
            let here = crate::control::home_of(state, &volume)?;
            (Place::Path(Location { volume, path: path.clone() }), files::list_at(&here.home, path).await?)
        }
    };
    let right = request.right()?;
    let explanation = match &request.who {
        Some(who) if caller.subject() == Some(who) => about_oneself(state, caller, &place, right, &list).await?,
        who => about(state, caller, who.as_ref(), &place, right, &list).await?,
    };
    Ok(reply(&explanation))
}

fn label(path: &VolumePath) -> Result<Label, Problem> {
    Label::new(path.as_str()).map_err(|error| Problem::new(Code::Invalid, error.to_string()))
}

/// The very decision that a request would get, and what stands in the list only to those who may see it.
async fn about_oneself(
    state: &State,
    caller: &Caller,
    place: &Place,
    right: Right,
    list: &Bucket,
) -> Result<Explanation, Problem> {
    let reason = |right: Right| async move {
        state.gate.groups().prepare(list, caller.subject()).await;
        match place {
            Place::Path(location) => state.gate.reason(caller, location, right, list),
            Place::Object(object) => state.gate.reason_on(caller, object, right, list),
        }
    };
    let decided = reason(right).await;
    let sees = match place {
        Place::Path(_) => reason(Right::Read).await.granted() || reason(Right::Administer).await.granted(),
        Place::Object(_) => reason(Right::Administer).await.granted(),
    };
    if !sees {
        return Ok(explain_outside(decided));
    }
    Ok(explain(decided, state.world.clock.unix(), list, &**state.gate.groups()))
}

async fn about(
    state: &State,
    caller: &Caller,
    who: Option<&Principal>,
    place: &Place,
    right: Right,
    list: &Bucket,
) -> Result<Explanation, Problem> {
    let resource = match place {
        Place::Path(location) => {
            state.gate.allow(caller, location, Right::Administer, list).await?;
            Resource::Path(location.clone())
        }
        Place::Object(object) => {
            state.gate.allow_object(caller, object, Right::Administer, list).await?;
            match object {
                Object::Group(group) => Resource::Group(group.clone()),
                Object::Service(service) => Resource::Service(service.clone()),
            }
        }
    };
    let groups = state.gate.groups();
    groups.prepare(list, who).await;
    let now = state.world.clock.unix();
    let reason = match who.filter(|who| is_revoked(state, who)) {
        Some(who) => reason_revoked(who, right, resource),
        None => reason_about(who, now, right, resource, list, &**groups),
    };
    Ok(explain(reason, now, list, &**groups))
}

/// Whether a principal was revoked, and not let in again since as far as is known here: only its own realm's first node
/// knows when its present certificate was issued.
fn is_revoked(state: &State, who: &Principal) -> bool {
    let feed = state.client.trust().feed(&who.realm);
    let readmitted = || {
        let standing = state.registrar.as_ref().and_then(|registrar| registrar.standing(who));
        who.realm == *state.realm() && standing == Some(MemberState::Active)
    };
    feed.is_some_and(|feed| feed.revoked_until(who).is_some()) && !readmitted()
}

fn reply(explanation: &Explanation) -> WhyReply {
    let change = |change: &Change| WhyChange { what: change.to_string(), command: explanation.command(change) };
    WhyReply {
        granted: explanation.reason.granted(),
        reason: explanation.reason.to_string(),
        way: explanation.way.clone(),
        also: explanation.also.clone(),
        changes: explanation.changes.iter().map(change).collect(),
    }
}
