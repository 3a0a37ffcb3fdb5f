//! The file namespace: finds the object, has the right on it decided, and hands over to `webfs`.
//!
//! Who may not read gets the same refusal whether a thing exists or not; a missing thing is named only to those
//! who may list its parent.

use crate::control::followed;
use crate::gatekeeper::{Caller, Gatekeeper};
use crate::guard;
use crate::limits::UPLOAD_PAUSE;
use client::protocol::{AclChange, AclView};
use http::header::{CONTENT_LOCATION, HeaderValue};
use http::request::Parts;
use http::{Method, Response};
use hyper::body::Incoming;
use std::sync::Arc;
use terms::{Code, Location, OperationId, Principal, Problem, Right, Rights, VolumePath, Who};
use trust::{Bucket, TrustError};
use webfs::limits::MAX_LINKS_FOLLOWED;
use webfs::model::link_target;
use webfs::serve::{Home, ListRights, WriteRights};
use webfs::store::{Lookup, Missing, Store};
use wire::Body;

/// A lookup with the access list that governs the path.
pub struct Found {
    /// What stands there.
    pub lookup: Lookup,
    /// The list.
    pub bucket: Arc<Bucket>,
    /// The path.
    pub location: Location,
}

/// What stands at a path, and who may do what with it.
pub async fn find(store: &Store, path: &VolumePath) -> Result<Found, Problem> {
    let lookup = store.lookup(path).await?;
    let bucket = store.bucket(lookup.bucket()).await?;
    let location = Location { volume: store.name().clone(), path: path.clone() };
    Ok(Found { lookup, bucket, location })
}

/// Answers a request for a file or directory of a volume that lives here.
pub async fn answer(
    home: &Home,
    gate: &Gatekeeper,
    caller: &Caller,
    path: &VolumePath,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    let home = &home.within(parts.extensions.get());
    match parts.method {
        Method::PUT => put(home, gate, caller, path, parts, body).await,
        Method::DELETE => delete(home, gate, caller, path, parts).await,
        _ => get(home, gate, caller, path, parts).await,
    }
}

async fn get(
    home: &Home,
    gate: &Gatekeeper,
    caller: &Caller,
    path: &VolumePath,
    parts: &Parts,
) -> Result<Response<Body>, Problem> {
    // Read before the lookup: the answer takes in at least this change.
    let change = home.store().change();
    let found = follow(home.store(), gate, caller, path).await?;
    let authorised = gate.allow(caller, &found.location, Right::Read, &found.bucket).await?;
    match found.lookup {
        Lookup::Found(object) => {
            let mut response = home.get(&authorised, object, change, parts).await;
            // What links led to: what is signed, is signed of that path.
            let url = format!("/{}/{}", found.location.volume, found.location.path.to_url());
            if let (true, Ok(url)) = (found.location.path != *path, HeaderValue::from_str(&url)) {
                response.headers_mut().insert(CONTENT_LOCATION, url);
            }
            Ok(response)
        }
        Lookup::Missing(missing) => Err(Problem::new(Code::NotFound, format!("there is no {}", found.location))
            .next(nearest(&found.location, &missing))),
    }
}

/// What a path leads to, symbolic links followed: each by somebody who may read it, and none out of the volume.
async fn follow(store: &Store, gate: &Gatekeeper, caller: &Caller, path: &VolumePath) -> Result<Found, Problem> {
    let mut path = path.clone();
    for _ in 0..=MAX_LINKS_FOLLOWED {
        let found = find(store, &path).await?;
        let (at, target) = match &found.lookup {
            Lookup::Found(object) => (path.clone(), object.target().map(str::to_string)),
            Lookup::Missing(missing) => (missing.nearest.clone(), missing.target.clone()),
        };
        let Some(target) = target else { return Ok(found) };
        let link = Location { volume: store.name().clone(), path: at.clone() };
        gate.allow(caller, &link, Right::Read, &found.bucket).await?;
        let rest = path.below(&at).unwrap_or_default();
        let leads_to = link_target(&at, &target).and_then(|target| target.under(&rest).ok());
        path = leads_to.ok_or_else(|| {
            Problem::new(Code::NotFound, format!("the link {link} leads to no place in the volume"))
                .next("remove it and make it anew")
        })?;
    }
    let what = format!("{}/{path} leads through more than {MAX_LINKS_FOLLOWED} links", store.name());
    Err(Problem::new(Code::NotFound, what).next("see whether links lead in a circle: `webos ls -l` shows them"))
}

async fn put(
    home: &Home,
    gate: &Gatekeeper,
    caller: &Caller,
    path: &VolumePath,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    match put_rights(home, gate, caller, path).await {
        Ok(rights) => {
            let content = guard::body(
                caller,
                gate.trust(),
                wire::body::paced(followed(parts.extensions.get(), body), UPLOAD_PAUSE),
            );
            Ok(home.put(&rights, path, parts, content).await)
        }
        Err(problem) => {
            wire::body::read_off(body).await;
            Err(problem)
        }
    }
}

/// What the caller may do with a file that is put at a path.
pub async fn put_rights(
    home: &Home,
    gate: &Gatekeeper,
    caller: &Caller,
    path: &VolumePath,
) -> Result<WriteRights, Problem> {
    let found = find(home.store(), path).await?;
    let exists = matches!(found.lookup, Lookup::Found(_));
    let (needed, other) = if exists { (Right::Modify, Right::Write) } else { (Right::Write, Right::Modify) };
    let needed = gate.allow(caller, &found.location, needed, &found.bucket).await?;
    let other = gate.would_allow(caller, &found.location, other, &found.bucket).await;
    let (create, replace) = if exists { (other, Some(needed)) } else { (Some(needed), other) };
    Ok(WriteRights { decided_on: found.lookup.bucket(), create, replace })
}

async fn delete(
    home: &Home,
    gate: &Gatekeeper,
    caller: &Caller,
    path: &VolumePath,
    parts: &Parts,
) -> Result<Response<Body>, Problem> {
    let found = find(home.store(), path).await?;
    let replace = gate.allow(caller, &found.location, Right::Modify, &found.bucket).await?;
    let rights = WriteRights { decided_on: found.lookup.bucket(), create: None, replace: Some(replace) };
    Ok(home.delete(&rights, path, parts).await)
}

/// The list that governs a path, whether there is something or not.
pub async fn list_at(home: &Home, path: &VolumePath) -> Result<Arc<Bucket>, Problem> {
    Ok(find(home.store(), path).await?.bucket)
}

/// Shows an access list to whoever may read the object or administer it.
pub async fn show_acl(
    home: &Home,
    gate: &Gatekeeper,
    caller: &Caller,
    path: &VolumePath,
) -> Result<AclView, Problem> {
    let found = find(home.store(), path).await?;
    if gate.would_allow(caller, &found.location, Right::Administer, &found.bucket).await.is_none() {
        gate.allow(caller, &found.location, Right::Read, &found.bucket).await?;
    }
    must_exist(&found)?;
    Ok(view(&found.bucket, found.lookup.bucket()))
}

/// Grants or revokes in an access list, for whoever may administer the object and all it changes.
pub async fn change_acl(
    home: &Home,
    gate: &Gatekeeper,
    caller: &Caller,
    path: &VolumePath,
    change: &AclChange,
    operation: Option<OperationId>,
) -> Result<AclView, Problem> {
    let (who, rights) = (change.who.clone(), change.rights);
    let verb = if change.grant { "gives" } else { "takes from" };
    let words = format!("{verb} {who} the right {rights}");
    let amended = |list: &Bucket| match change.grant {
        true => list.grant(who.clone(), rights),
        false => Ok(list.revoke(&who, rights)),
    };
    let edit = Edit { recursive: change.recursive, operation };
    amend_acl(home, gate, caller, path, (&words, &amended), edit).await
}

/// How an access list is changed.
#[derive(Debug, Clone, Copy)]
pub struct Edit {
    /// Everything below as well, as one operation.
    pub recursive: bool,
    /// The id under which a repetition is told from a second change.
    pub operation: Option<OperationId>,
}

/// Puts a list in place of the one that is there, for whoever may administer the object and all that gets it.
pub async fn replace_acl(
    home: &Home,
    gate: &Gatekeeper,
    caller: &Caller,
    path: &VolumePath,
    list: &Bucket,
    edit: Edit,
) -> Result<AclView, Problem> {
    amend_acl(home, gate, caller, path, ("puts in another list", &|_| Ok(list.clone())), edit).await
}

/// What becomes of a list, in words and as a function.
type Amended<'a> = (&'a str, &'a (dyn Fn(&Bucket) -> Result<Bucket, TrustError> + Sync));

async fn amend_acl(
    home: &Home,
    gate: &Gatekeeper,
    caller: &Caller,
    path: &VolumePath,
    (words, amended): Amended<'_>,
    edit: Edit,
) -> Result<AclView, Problem> {
    let found = find(home.store(), path).await?;
    let administer = gate.allow(caller, &found.location, Right::Administer, &found.bucket).await?;
    must_exist(&found)?;
    let bucket = amended(&found.bucket)?;
    let mut decided_on = vec![found.lookup.bucket()];
    // Each list below is amended in the same way; what else stands in it is not this change's to touch.
    let mut lists = vec![(found.lookup.bucket(), bucket.clone())];
    if edit.recursive {
        let governing = found.lookup.bucket();
        for hash in home.store().buckets_below(path).await?.into_iter().filter(|hash| *hash != governing) {
            let below = home.store().bucket(hash).await?;
            gate.allow(caller, &found.location, Right::Administer, &below).await?;
            decided_on.push(hash);
            lists.push((hash, amended(&below)?));
        }
    }
    let below = if edit.recursive { ", with all below it" } else { "" };
    let words = format!("{words}{below}; its list was {} and becomes {}", found.lookup.bucket(), bucket.hash());
    gate.note_change(caller, &found.location.to_string(), &words)?;
    let rights = ListRights { decided_on, administer };
    let done = match edit.recursive {
        true => home.amend_lists(&rights, path, lists, edit.operation).await,
        false => home.set_bucket(&rights, path, bucket.clone(), edit.operation).await,
    };
    if let Err(problem) = done {
        gate.note_change(caller, &found.location.to_string(), &format!("did not: {}", problem.detail))?;
        return Err(problem);
    }
    let hash = bucket.hash();
    Ok(view(&bucket, hash))
}

/// Makes a folder in which a node keeps state of a service, unless it is there: the node may write in it.
pub async fn make_state_folder(
    home: &Home,
    gate: &Gatekeeper,
    caller: &Caller,
    path: &VolumePath,
    node: &Principal,
) -> Result<(), Problem> {
    let found = find(home.store(), path).await?;
    if matches!(found.lookup, Lookup::Missing(_)) {
        let create = gate.allow(caller, &found.location, Right::Write, &found.bucket).await?;
        let rights = WriteRights { decided_on: found.lookup.bucket(), create: Some(create), replace: None };
        home.make_directory(&rights, path, true, None).await?;
    }
    let rights = Rights::of(&[Right::Read, Right::Write, Right::Modify]);
    let grant = AclChange { who: Who::Principal(node.clone()), rights, grant: true, recursive: true };
    change_acl(home, gate, caller, path, &grant, None).await.map(drop)
}

fn must_exist(found: &Found) -> Result<(), Problem> {
    match &found.lookup {
        Lookup::Found(_) => Ok(()),
        Lookup::Missing(missing) => Err(Problem::new(Code::NotFound, format!("there is no {}", found.location))
            .next(nearest(&found.location, missing))),
    }
}

fn nearest(wanted: &Location, missing: &Missing) -> String {
    format!("the nearest that exists is {}/{}", wanted.volume, missing.nearest)
}

fn view(bucket: &Bucket, hash: terms::Digest) -> AclView {
    AclView { bucket: hash, entries: bucket.entries().to_vec(), notes: Vec::new() }
}
