//! The front of a service on one node: lets requests in while it may serve, has rights decided, adds the state
//! headers, and sends through the stated link.
//!
//! The primary serves from its own store, a surrogate from its replica; everything else is the same.

use crate::gatekeeper::{Caller, Gatekeeper};
use crate::incident;
use crate::limits::{MAX_FRONT_REQUESTS, MAX_SOURCE_REQUESTS, RETRY_AFTER_S, TABLE_EVERY, TABLE_STALE};
use crate::pipe::{Passage, Pipe};
use client::models::{BeatReply, Load, Phase, Ticket};
use client::protocol::FrontStatus;
use discovery::headers::{self, TableSeen};
use discovery::verified::{Certificate, CheckedTable};
use futures_util::future::BoxFuture;
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Response};
use process::model::Report;
use process::rules::{Action, Event, NotServing, Step, Surrogate};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use terms::{Code, Epoch, Location, Problem, Right, VolumePath};
use tokio::sync::Notify;
use trust::{Bucket, Object};
use webfs::model::FileKind;
use webfs::serve::{Face, FileSource};
use wire::{Body, Crowd, Full, Peer, Seat};
use world::World;

/// A file that a front found, with the access list that governs it.
pub struct FrontFile {
    /// Its content.
    pub source: Arc<dyn FileSource>,
    /// Its access list.
    pub bucket: Arc<Bucket>,
}

/// What a front found at a path.
pub enum FrontObject {
    /// A file.
    File(FrontFile),
    /// A directory: its index page is looked for.
    Directory,
    /// Nothing.
    Missing,
}

/// Where a front's files come from.
pub trait FrontFiles: Send + Sync + 'static {
    /// What stands at a path of the volume.
    fn find<'a>(&'a self, path: &'a VolumePath) -> BoxFuture<'a, Result<FrontObject, Problem>>;
}

/// The service's state as this front last heard it.
struct Heard {
    table: CheckedTable,
    header: Option<HeaderValue>,
}

/// The front of one service.
pub struct Front {
    world: World,
    certificate: RwLock<Certificate>,
    files: Box<dyn FrontFiles>,
    own: Arc<Peer>,
    own_address: SocketAddr,
    name: HeaderValue,
    pipe: Arc<Pipe>,
    crowd: Arc<Crowd>,
    heard: RwLock<Option<Heard>>,
    answers: AtomicU64,
    run: Option<Run>,
}

/// A surrogate's run on this front: its machine, and what the machine wants done.
struct Run {
    machine: Mutex<(Surrogate, Vec<Action>)>,
    wake: Notify,
}

/// Why a request is not let in.
enum NoPlace {
    Full(Full),
    NotServing(NotServing),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a front needs to know of its own node.
pub struct FrontSite {
    /// Clocks.
    pub world: World,
    /// The node itself, as it appears to access lists.
    pub own: Arc<Peer>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its stated link: bits per second.
    pub link_bps: Option<u64>,
}

impl Front {
    /// A front; without a run it is the primary's.
    pub fn new(
        site: FrontSite,
        certificate: Certificate,
        files: Box<dyn FrontFiles>,
        run: Option<(Surrogate, Vec<Action>)>,
    ) -> Arc<Self> {
        let name = HeaderValue::from_str(site.own.principal.name.as_str());
        Arc::new(Self {
            pipe: Pipe::new(&site.world, site.link_bps),
            crowd: Arc::new(Crowd::new(MAX_FRONT_REQUESTS, MAX_SOURCE_REQUESTS)),
            world: site.world,
            certificate: RwLock::new(certificate),
            files,
            own: site.own,
            own_address: site.address,
            name: name.unwrap_or(HeaderValue::from_static("-")),
            heard: RwLock::new(None),
            answers: AtomicU64::new(0),
            run: run.map(|machine| Run { machine: Mutex::new(machine), wake: Notify::new() }),
        })
    }

    /// The certificate that this front serves under.
    pub fn certificate(&self) -> Certificate {
        self.certificate.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves under a newer certificate from now on.
    pub fn set_certificate(&self, certificate: Certificate) {
        *self.certificate.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    /// Whether this is the primary's front, which no lease ends.
    pub fn primary(&self) -> bool {
        self.run.is_none()
    }

    /// Moves the run on; what it wants done is left for [`Front::next_actions`]. Nothing for the primary.
    pub fn step(&self, event: Event) -> Option<Step> {
        let run = self.run.as_ref()?;
        let mut machine = lock(&run.machine);
        let step = machine.0.step(self.world.clock.boot(), event);
        machine.1.extend(step.actions.iter().copied());
        drop(machine);
        run.wake.notify_one();
        Some(step)
    }

    /// Waits until the run wants something done, or has ended. Nothing left to do: it has ended.
    pub async fn next_actions(&self) -> Option<Vec<Action>> {
        let run = self.run.as_ref()?;
        loop {
            let wakes_at = {
                let mut machine = lock(&run.machine);
                if !machine.1.is_empty() {
                    return Some(std::mem::take(&mut machine.1));
                }
                machine.0.wakes_at()?
            };
            let left = wakes_at.since(self.world.clock.boot());
            if tokio::time::timeout(left, run.wake.notified()).await.is_err() {
                self.step(Event::Tick);
            }
        }
    }

    /// The answer to a beat or a drain.
    pub fn beat_reply(&self, step: &Step) -> BeatReply {
        let report = self.pipe.report();
        match &self.run {
            Some(run) => lock(&run.machine).0.reply(self.world.clock.boot(), step, report),
            None => BeatReply {
                phase: Phase::Serving,
                ticket: Ticket(0),
                renewed: false,
                lease_left_ms: u32::MAX,
                in_flight: u32::try_from(report.inflight.ceil() as i64).unwrap_or(u32::MAX),
                report,
            },
        }
    }

    /// Under which epoch the run stands.
    pub fn epoch(&self) -> Epoch {
        self.run.as_ref().map_or(Epoch(0), |run| lock(&run.machine).0.epoch())
    }

    /// Where the run stands.
    pub fn phase(&self) -> Phase {
        self.run.as_ref().map_or(Phase::Serving, |run| lock(&run.machine).0.phase(self.world.clock.boot()))
    }

    /// The pipe that answers go through.
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }

    /// Takes a table that an authority signed; an older one than the present is ignored.
    pub fn hear(&self, signed: &[u8]) -> Result<(), Problem> {
        let denied = |error: discovery::verified::DocumentError| Problem::new(Code::Denied, error.to_string());
        let table = self.certificate().open_table(signed).map_err(denied)?;
        let mut heard = self.heard.write().unwrap_or_else(PoisonError::into_inner);
        let order = |table: &CheckedTable| (table.epoch, table.generation, table.signed_at);
        if heard.as_ref().is_none_or(|present| order(&table) > order(&present.table)) {
            let header = headers::table_to_header(signed).and_then(|text| HeaderValue::from_str(&text).ok());
            *heard = Some(Heard { table, header });
        }
        Ok(())
    }

    /// Lets a request in, or says why not.
    fn enter(self: &Arc<Self>, seat: Seat) -> Result<Passage, NoPlace> {
        let Some(run) = &self.run else {
            let mut passage = self.pipe.begin();
            passage.on_end(move || drop(seat));
            return Ok(passage);
        };
        lock(&run.machine).0.begin(self.world.clock.boot()).map_err(NoPlace::NotServing)?;
        let mut passage = self.pipe.begin();
        let front = self.clone();
        passage.on_end(move || {
            drop(seat);
            front.step(Event::Finished);
        });
        Ok(passage)
    }

    /// Answers a GET or HEAD.
    pub async fn answer(self: &Arc<Self>, gate: &Gatekeeper, caller: &Caller, parts: &Parts) -> Response<Body> {
        // Also the question about rights takes a place: for it a group's realm may have to be asked.
        let seat = match self.crowd.enter(caller.source()) {
            Ok(seat) => seat,
            Err(full) => return self.turn_away(&NoPlace::Full(full)),
        };
        // Rights come before load: who may not read is none, and never makes the service grow.
        if let Err(problem) = self.may_read(gate, caller).await {
            if self.lost(&problem) {
                return self.elsewhere(&problem.detail);
            }
            let mut response = incident::refused(problem);
            self.add_state(parts, &mut response);
            return response;
        }
        let passage = match self.enter(seat) {
            Ok(passage) => passage,
            Err(why) => return self.turn_away(&why),
        };
        let mut response = match self.serve(gate, parts).await {
            Ok(response) => response,
            Err(problem) if self.lost(&problem) => return self.elsewhere(&problem.detail),
            Err(problem) => incident::refused(problem),
        };
        self.add_state(parts, &mut response);
        let length = headers::field(response.headers(), CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        response.map(|body| passage.send(body, length))
    }

    /// A surrogate that lost its home, or its right to read, is none any more: others can answer.
    fn lost(&self, problem: &Problem) -> bool {
        self.run.is_some() && matches!(problem.code, Code::Unavailable | Code::Timeout)
    }

    /// Whether the caller is among the service's readers.
    async fn may_read(&self, gate: &Gatekeeper, caller: &Caller) -> Result<(), Problem> {
        let certificate = self.certificate();
        let about = certificate.value();
        gate.allow_object(caller, &Object::Service(about.service.clone()), Right::Read, &about.readers).await
    }

    /// Answers one that may read.
    async fn serve(&self, gate: &Gatekeeper, parts: &Parts) -> Result<Response<Body>, Problem> {
        let certificate = self.certificate();
        let about = certificate.value();
        let asked = VolumePath::from_url(parts.uri.path())
            .map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
        let inside = |path: &VolumePath| {
            about.files.path.under(path).map_err(|error| Problem::new(Code::Invalid, error.to_string()))
        };
        let missing = || Problem::new(Code::NotFound, format!("there is no {}/{asked}", about.service));
        let mut path = inside(&asked)?;
        let mut found = self.files.find(&path).await?;
        if matches!(found, FrontObject::Directory) {
            path = path.join("index.html").map_err(|_| missing())?;
            found = self.files.find(&path).await?;
        }
        let FrontObject::File(file) = found else { return Err(missing()) };
        debug_assert_eq!(file.source.entry().kind, FileKind::File);
        // The front reads as its own node, a member of the service's group: what it may not read it cannot serve.
        let location = Location { volume: about.files.volume.clone(), path };
        let own = Caller::of_peer(Some(self.own.clone()), self.own_address);
        let authorised = gate.allow(&own, &location, Right::Read, &file.bucket).await.map_err(|problem| {
            if self.run.is_some() { Problem::new(Code::Unavailable, problem.detail) } else { problem }
        })?;
        let now = self.world.clock.unix();
        Ok(webfs::serve::file(&authorised, file.source, parts, Face::Service, now).await)
    }

    /// Names who would have had to renew a lease, so that a person knows which machine to look at.
    fn why_not(&self, refusal: &NotServing) -> String {
        if !matches!(refusal, NotServing::Fenced | NotServing::Ended) {
            return refusal.to_string();
        }
        let certificate = self.certificate();
        let authorities = certificate.value().servers.iter().filter(|server| server.authority);
        let names: Vec<String> = authorities.map(|server| server.principal.to_string()).collect();
        format!("{refusal} (it is renewed by {})", names.join(" or "))
    }

    /// 503: take another server.
    fn elsewhere(&self, why: &str) -> Response<Body> {
        let problem = Problem::new(Code::Unavailable, format!("not served here: {why}"))
            .next("ask another server of the service");
        let mut response = wire::problem_response(&problem);
        response.headers_mut().insert(headers::ELSEWHERE, HeaderValue::from_static("?1"));
        response.headers_mut().insert(headers::SERVER, self.name.clone());
        response
    }

    fn turn_away(&self, why: &NoPlace) -> Response<Body> {
        match why {
            NoPlace::NotServing(refusal) => self.elsewhere(&self.why_not(refusal)),
            NoPlace::Full(full) => {
                let (taken, whose) = match full {
                    Full::All(all) => (all, ""),
                    Full::Source(share) => (share, " from your address"),
                };
                let mut response = self.elsewhere(&format!(
                    "{taken} requests{whose} are in flight here, and no more are served at once"
                ));
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
                response
            }
        }
    }

    fn add_state(&self, parts: &Parts, response: &mut Response<Body>) {
        let answers = self.answers.fetch_add(1, Ordering::Relaxed);
        let fields = response.headers_mut();
        fields.insert(headers::SERVER, self.name.clone());
        if let Ok(load) = HeaderValue::from_str(&load_of(&self.pipe.report()).to_header()) {
            fields.insert(headers::LOAD, load);
        }
        let heard = self.heard.read().unwrap_or_else(PoisonError::into_inner);
        let Some(heard) = heard.as_ref() else { return };
        let seen =
            headers::field(&parts.headers, headers::TABLE_SEEN).and_then(|text| TableSeen::from_header(text).ok());
        let behind = seen.is_some_and(|seen| {
            seen.generation < heard.table.generation || Duration::from_millis(seen.age_ms) > TABLE_STALE
        });
        if (behind || answers.is_multiple_of(TABLE_EVERY))
            && let Some(header) = &heard.header
        {
            fields.insert(headers::TABLE, header.clone());
        }
    }

    /// How the front stands.
    pub fn status(&self) -> FrontStatus {
        let reply = self.beat_reply(&Step::default());
        FrontStatus {
            service: self.certificate().value().service.clone(),
            primary: self.primary(),
            phase: reply.phase,
            load: load_of(&reply.report),
            lease_left_ms: (!self.primary()).then_some(reply.lease_left_ms),
            requests: reply.report.served,
            bytes: reply.report.sent_bytes,
            sending: self.pipe.sending(),
        }
    }
}

/// A report as clients see it.
pub fn load_of(report: &Report) -> Load {
    Load {
        inflight: report.inflight,
        rps: report.rps,
        bytes_per_s: report.bytes_per_s,
        latency_ms: report.latency_ms,
        waiting: report.waiting,
    }
}
