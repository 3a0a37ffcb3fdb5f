//! Control messages: each route's message in, its answer out, both CBOR.

use crate::audit;
use crate::authority::Renewer;
use crate::candidates;
use crate::feeds;
use crate::gatekeeper::Caller;
use crate::handed_on::{is_name_server, only_at_the_first};
use crate::homes;
use crate::lending;
use crate::limits::{MAX_CONTROL_BYTES, MAX_OPEN_BYTES};
use crate::node::{HomeVolume, State};
use crate::operations;
use crate::published;
use crate::recovery;
use crate::rights;
use crate::routes::Route;
use crate::tokens;
use crate::upkeep;
use crate::via;
use client::protocol::{Announcement, JoinRequest, NodeStatus, PublishRequest, RenewRequest, StateUpdate};
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use terms::{Code, Label, Location, OperationId, Problem, Right, Serial, ServiceName, UnixMs, VolumeName};
use webfs::limits::{MAX_BATCH_BYTES, MAX_LOOK_BYTES, MAX_WATCH_BYTES};
use webfs::session::OpenRequest;
use wire::{Body, Envelope, Until, read_body};

/// Answers a control message.
pub async fn answer(
    state: &Arc<State>,
    route: Route,
    caller: &Caller,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    let get = parts.method == Method::GET;
    match route {
        Route::Bundle => bundle(state),
        Route::Certificate(_) | Route::State(_) if is_name_server(state) => {
            Err(only_at_the_first(state, "what services there are"))
        }
        Route::Certificate(name) => Ok(document(state.names.certificate(&name)?.bytes().to_vec())),
        Route::State(name) => Ok(cbor(&state.names.state(&name)?)),
        Route::VolumeRecord(name) => volume_record(state, &name),
        Route::Feed => feed(state, caller, parts).await,
        Route::NameServers => Ok(cbor(&lending::name_servers(state, caller, &message(body).await?.0)?)),
        Route::FeedLost => Ok(cbor(&recovery::recover(state, caller, &message(body).await?.0).await?)),
        Route::Revoke => Ok(cbor(&lending::revoke(state, caller, message(body).await?.0).await?)),
        Route::Purse => Ok(cbor(&lending::take_in(state, caller, message(body).await?.0)?)),
        Route::Join => join(state, body).await,
        Route::Renew => renew(state, caller, parts, body).await,
        Route::Open(volume) => open(state, caller, &volume, body).await,
        Route::Batch(volume) => {
            let until = parts.extensions.get::<Until>();
            let batch = bounded(followed(until, body), MAX_BATCH_BYTES).await?.0;
            let home = home_of(state, &volume)?.home.within(until);
            let answer = operations::batch(&home, &state.gate, caller, batch).await?;
            // What was under way when the home stopped is sent again, under the same numbers, where it goes on.
            state.homes.find(&volume)?;
            Ok(cbor(&answer))
        }
        Route::Look(volume) => {
            let look = bounded(followed(None, body), MAX_LOOK_BYTES).await?.0;
            let here = home_of(state, &volume)?;
            Ok(cbor(&operations::look(&here.home, &state.gate, caller, look).await?))
        }
        Route::Watch(volume) => {
            let watch = bounded(followed(None, body), MAX_WATCH_BYTES).await?.0;
            let here = home_of(state, &volume)?;
            Ok(frames(operations::watch(&here.home, state, caller, watch).await?))
        }
        Route::Acl(..) | Route::Why(..) | Route::Group(_) | Route::GroupAcl(_) | Route::Groups => {
            rights::answer(state, route, caller, parts, body).await
        }
        Route::Via => via::answer(state, caller, parts, message(body).await?.0).await,
        Route::Publish => {
            let (request, _) = message::<PublishRequest>(body).await?;
            Ok(cbor(&published::publish(state, caller, request).await?))
        }
        Route::Update => update(state, caller, message(body).await?.0),
        Route::Announce(name) => announce(state, caller, &name, get, body).await,
        Route::Lend if get => Ok(cbor(&state.serving.offers(state))),
        Route::Lend => Ok(cbor(&state.serving.lend(state, caller, message(body).await?.0).await?)),
        Route::Start => Ok(cbor(&state.serving.start(state, caller, message(body).await?.0).await?)),
        Route::Beat => Ok(cbor(&state.serving.beat(state, caller, message(body).await?.0)?)),
        Route::Drain => Ok(cbor(&state.serving.drain(state, caller, message(body).await?.0)?)),
        Route::Homes => Ok(cbor(&homes::take(state, caller, &message(body).await?.0)?)),
        Route::Move => Ok(cbor(&homes::step(state, caller, message(body).await?.0).await?)),
        Route::Dump => homes::dump(state, caller, message(body).await?.0).await,
        Route::Upkeep => Ok(cbor(&upkeep::answer(state, caller, message(body).await?.0).await?)),
        Route::Status => Ok(cbor(&status(state).await)),
        Route::Witness | Route::Token => operate(state, &route, caller, get, body).await,
        Route::Session(_) | Route::File(..) | Route::Service(_) => {
            Err(Problem::new(Code::Internal, "this route is answered elsewhere"))
        }
    }
}

/// Offers for a service: an authority reads them, whoever may lend posts them.
async fn announce(
    state: &State,
    caller: &Caller,
    name: &Label,
    get: bool,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    let (service, clock) = (service_name(state, name), &state.world.clock);
    if get {
        must_be_authority(state, caller, name)?;
        return Ok(cbor(&state.candidates.of(&service, clock.boot())));
    }
    let (word, _) = message::<Announcement>(body).await?;
    let published = state.names.certificate(name).is_ok();
    let now = (clock.boot(), clock.unix());
    let lenders = state.published.request(&service).map(|request| request.lenders).unwrap_or_default();
    if word.offer.is_some() {
        candidates::must_be_lender(&state.gate, caller, &service, &lenders).await?;
    }
    state.candidates.heard((&service, published), caller.for_itself()?, word, now)?;
    Ok(cbor(&()))
}

/// What the load daemon signed last.
fn update(state: &State, caller: &Caller, update: StateUpdate) -> Result<Response<Body>, Problem> {
    let (service, table) = (update.service.clone(), update.table.clone());
    state.names.update(caller.for_itself()?, update)?;
    if let Some(front) = state.published.front(&service) {
        front.hear(&table)?;
    }
    Ok(cbor(&()))
}

/// Audit heads and bearer tokens.
async fn operate(
    state: &Arc<State>,
    route: &Route,
    caller: &Caller,
    get: bool,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    match (route, get) {
        (Route::Witness, true) => Ok(cbor(&state.witness.kept_of(caller)?)),
        (Route::Witness, false) => Ok(cbor(&audit::hear(state, caller, &message(body).await?.0).await?)),
        (_, true) => Ok(cbor(&state.tokens.of(caller)?)),
        (_, false) => Ok(cbor(&tokens::answer(state, caller, message(body).await?.0).await?)),
    }
}

/// Takes a holder's session stream.
pub async fn session(
    state: &Arc<State>,
    caller: &Caller,
    volume: &VolumeName,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    let up = body.map_err(Into::into).boxed();
    let down = match state.homes.find(volume)? {
        None => state.relays.session(state, caller, volume, up).await?,
        Some(here) => {
            let holder = caller.for_itself()?.principal.clone();
            let (gate, kept) = (state.gate.clone(), caller.kept());
            let may_read = move |location: &Location, bucket: &trust::Bucket| {
                gate.would_allow_now(&kept, location, Right::Read, bucket).is_some()
            };
            here.coherence.stream(holder, Arc::new(may_read), up).await?
        }
    };
    Ok(frames(down))
}

/// A stream of messages.
fn frames(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/cbor-seq"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The message in a body, with the id of the change that it asks for.
pub async fn message<T: DeserializeOwned>(body: Incoming) -> Result<(T, Option<OperationId>), Problem> {
    bounded(followed(None, body), MAX_CONTROL_BYTES).await
}

/// The body of a request, whose end may say until when it may be acted on.
pub fn followed(until: Option<&Until>, body: Incoming) -> Body {
    match until {
        Some(until) => until.follow(body),
        None => body.map_err(Into::into).boxed(),
    }
}

/// The same of a body of at most `limit` bytes.
async fn bounded<T: DeserializeOwned>(body: Body, limit: usize) -> Result<(T, Option<OperationId>), Problem> {
    // As a boxed future, because the compiler loses its way in the bounds of the error otherwise.
    let bytes = read_body(body, limit).boxed().await?;
    let envelope: Envelope<T> = wire::cbor::from_slice(&bytes)?;
    let operation = envelope.op;
    Ok((envelope.into_body()?, operation))
}

/// An answer that is a signed document.
pub fn document(bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(wire::body::full(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/cose"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer in CBOR.
pub fn cbor<T: Serialize>(value: &T) -> Response<Body> {
    let mut response = Response::new(wire::body::full(wire::cbor::to_vec(value)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/cbor"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A volume that lives here.
pub fn home_of(state: &State, volume: &VolumeName) -> Result<Arc<HomeVolume>, Problem> {
    let unknown = || {
        Problem::new(Code::NotFound, format!("{} is not the home of {volume}", state.own.principal))
            .next("the volume's record at the realm's name server names its home")
    };
    let here = state.homes.find(volume)?;
    here.ok_or_else(|| state.relays.only_at_home(volume).unwrap_or_else(unknown))
}

fn bundle(state: &State) -> Result<Response<Body>, Problem> {
    let bundle = state.client.trust().bundle(state.realm());
    let bundle = bundle.ok_or_else(|| Problem::new(Code::Internal, "this node has lost its realm's bundle"))?;
    Ok(document(bundle.encoded().to_vec()))
}

async fn feed(state: &State, caller: &Caller, parts: &Parts) -> Result<Response<Body>, Problem> {
    let (mut after, mut wait) = (Serial(0), false);
    for (name, value) in parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "after" => {
                let number = value.parse().map_err(|_| Problem::new(Code::Invalid, "after must be a number"))?;
                after = Serial(number);
            }
            "wait" => wait = value == "1",
            _ => {}
        }
    }
    let page = tokio::select! {
        page = feeds::page(state, (after, wait), caller) => page?,
        () = state.stop.cancelled() => return Err(Problem::new(Code::Unavailable, "this node is ending")),
    };
    Ok(document(page))
}

fn volume_record(state: &State, name: &Label) -> Result<Response<Body>, Problem> {
    let volume = VolumeName { name: name.clone(), realm: state.realm().clone() };
    if !state.is_first() {
        return Err(only_at_the_first(state, &format!("where {volume} is")));
    }
    let record = homes::record(state, name)?.ok_or_else(|| {
        Problem::new(Code::NotFound, format!("there is no volume {volume}")).next("`webos volume create` makes one")
    })?;
    Ok(document(record))
}

async fn join(state: &State, body: Incoming) -> Result<Response<Body>, Problem> {
    let bytes = read_body(body, MAX_OPEN_BYTES).await?;
    let request: JoinRequest = wire::cbor::from_slice::<Envelope<_>>(&bytes)?.into_body()?;
    let registrar = state.registrar.as_ref().ok_or_else(|| {
        Problem::new(Code::Unsupported, "the realm's authority is not on this node").next("join at its first node")
    })?;
    let bundle = state.client.trust().bundle(state.realm());
    let bundle = bundle.ok_or_else(|| Problem::new(Code::Internal, "this node has lost its realm's bundle"))?;
    Ok(cbor(&registrar.join(&request, bundle.encoded(), &state.gate)?))
}

async fn renew(state: &State, caller: &Caller, parts: &Parts, body: Incoming) -> Result<Response<Body>, Problem> {
    let bytes = read_body(body, MAX_OPEN_BYTES).await?;
    let request: RenewRequest = wire::cbor::from_slice::<Envelope<_>>(&bytes)?.into_body()?;
    let registrar = state.registrar.as_ref().ok_or_else(|| {
        Problem::new(Code::Unsupported, "the realm's authority is not on this node").next("renew at its first node")
    })?;
    let peer = caller.peer().map(|_| caller.for_itself()).transpose()?;
    let asking = Renewer { peer, binding: parts.extensions.get() };
    Ok(cbor(&registrar.renew(&request, &asking, state.client.trust(), &state.gate)?))
}

async fn open(
    state: &Arc<State>,
    caller: &Caller,
    volume: &VolumeName,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    let request: OpenRequest = message(body).await?.0;
    let Some(here) = state.homes.find(volume)? else {
        return Ok(cbor(&Envelope::new(state.relays.open(state, caller, volume, request).await?)));
    };
    let holder = caller.for_itself()?.principal.clone();
    let store = here.home.store();
    // What the decision may need of groups is fetched first, so that the decision itself need not wait.
    let bucket = store.bucket(store.lookup(&request.path).await?.bucket()).await?;
    state.gate.groups().prepare(&bucket, caller.subject()).await;
    let decide =
        |location: &Location, bucket: &trust::Bucket| state.gate.allow_now(caller, location, Right::Read, bucket);
    let opened = webfs::session::open(&here.home, &here.coherence, holder, request, decide).await?;
    Ok(cbor(&Envelope::new(opened)))
}

fn service_name(state: &State, name: &Label) -> ServiceName {
    ServiceName { realm: state.realm().clone(), name: name.clone() }
}

fn must_be_authority(state: &State, caller: &Caller, service: &Label) -> Result<(), Problem> {
    let peer = caller.for_itself()?;
    let certificate = state.names.certificate(service)?;
    let known = certificate.value().servers.iter().any(|s| s.authority && s.principal == peer.principal);
    if known {
        return Ok(());
    }
    Err(Problem::new(Code::Denied, format!("{} is no authority of the service {service}", peer.principal)))
}

async fn status(state: &State) -> NodeStatus {
    let mut fronts: Vec<_> = state.published.fronts().iter().map(|front| front.status()).collect();
    fronts.extend(state.serving.fronts().iter().map(|front| front.status()));
    NodeStatus {
        node: state.own.principal.clone(),
        key: state.own.key,
        realm: state.realm().clone(),
        started: state.started,
        certificate_until: state.client.identity().map_or(UnixMs(0), |identity| identity.not_after()),
        volumes: state.homes.all().iter().map(|here| here.home.store().name().clone()).collect(),
        fronts,
        offers: state.serving.offers(state).offers,
        relays: state.relays.status().await,
        connections: state.client.pool().counts(),
    }
}
