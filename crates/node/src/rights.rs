//! Control messages about rights: access lists, groups, reasons.

use crate::control::{cbor, home_of, message};
use crate::gatekeeper::Caller;
use crate::groups::orders;
use crate::node::State;
use crate::routes::Route;
use crate::{files, known, why};
use client::protocol::{AclChange, AclSet, GroupMessage, WhyRequest};
use http::request::Parts;
use http::{Method, Response};
use hyper::body::Incoming;
use serde_bytes::ByteBuf;
use terms::{Code, GroupName, Label, Problem, VolumeName, VolumePath};
use trust::Bucket;
use wire::Body;

/// Answers a control message about rights.
pub async fn answer(
    state: &State,
    route: Route,
    caller: &Caller,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    match route {
        Route::Acl(volume, path) => access_list(state, caller, &volume, &path, parts, body).await,
        Route::Group(name) if parts.method == Method::GET => group(state, caller, &name),
        Route::Group(name) => {
            let (message, _) = message::<GroupMessage>(body).await?;
            Ok(cbor(&orders::carry_out(state, caller, &group_name(state, &name), message).await?))
        }
        Route::GroupAcl(name) => Ok(cbor(&orders::show_list(state, caller, &group_name(state, &name)).await?)),
        Route::Groups => Ok(cbor(&orders::list(state, caller)?)),
        Route::Why(name, path) => {
            let (request, _) = message::<WhyRequest>(body).await?;
            Ok(cbor(&why::answer(state, caller, &name, &path, &request).await?))
        }
        _ => Err(Problem::new(Code::Internal, "this route is answered elsewhere")),
    }
}

async fn access_list(
    state: &State,
    caller: &Caller,
    volume: &VolumeName,
    path: &VolumePath,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    let here = home_of(state, volume)?;
    let (home, gate) = (&here.home.within(parts.extensions.get()), &state.gate);
    if parts.method == Method::GET {
        return Ok(cbor(&files::show_acl(home, gate, caller, path).await?));
    }
    if parts.method == Method::PUT {
        let (list, operation) = message::<AclSet>(body).await?;
        let edit = files::Edit { recursive: list.recursive, operation };
        return Ok(cbor(&files::replace_acl(home, gate, caller, path, &Bucket::new(list.entries)?, edit).await?));
    }
    let (change, operation) = message::<AclChange>(body).await?;
    let mut view = files::change_acl(home, gate, caller, path, &change, operation).await?;
    view.notes = if change.grant { known::note(state, &change.who).into_iter().collect() } else { Vec::new() };
    Ok(cbor(&view))
}

fn group_name(state: &State, name: &Label) -> GroupName {
    GroupName { realm: state.realm().clone(), name: name.clone() }
}

/// The signed list, for any node of a trusted realm: rights are decided with it.
fn group(state: &State, caller: &Caller, name: &Label) -> Result<Response<Body>, Problem> {
    caller.require_peer()?;
    let own = orders::held(state, &group_name(state, name))?;
    let signed = own.list.sign(&state.identity()?, state.world.clock.unix())?;
    Ok(cbor(&ByteBuf::from(signed)))
}
