//! Serving for others: the node's offers, and the runs of services that were started here.
//!
//! A run is owned by one task, which does what its machine asks for; requests and messages only step the
//! machine.

use crate::front::{Front, FrontSite};
use crate::gatekeeper::Caller;
use crate::node::State;
use crate::replica::ReplicaFiles;
use client::limits::ANNOUNCE_INTERVAL;
use client::models::{
    BeatAnswer, BeatRequest, DrainRequest, LendReply, LendRequest, OfferState, Phase, StartAnswer, StartRefusal,
    StartReply, StartRequest,
};
use client::protocol::Announcement;
use discovery::verified::Certificate;
use process::limits::DRAIN_WITHIN;
use process::rules::{Action, Event, Refused, StartFacts, Step, Surrogate, admit};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use terms::{Code, Epoch, Principal, Problem, ServiceName};

#[derive(Default)]
struct Runs {
    running: BTreeMap<ServiceName, Arc<Front>>,
    /// The greatest epoch seen for each service since the node started.
    epochs: BTreeMap<ServiceName, Epoch>,
}

/// The runs of other people's services on this node.
#[derive(Default)]
pub struct Serving(Mutex<Runs>);

impl Serving {
    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The front of a service that runs here.
    pub fn front(&self, service: &ServiceName) -> Option<Arc<Front>> {
        self.runs().running.get(service).cloned()
    }

    /// All fronts of runs.
    pub fn fronts(&self) -> Vec<Arc<Front>> {
        self.runs().running.values().cloned().collect()
    }

    /// To whom the node is lent.
    pub fn offers(&self, state: &State) -> LendReply {
        let offers = state.offers.lock().unwrap_or_else(PoisonError::into_inner);
        let all = offers.all(state.world.clock.unix());
        let runs = self.runs();
        let phase = |service: &ServiceName| runs.running.get(service).map(|front| front.phase());
        LendReply {
            offers: all.map(|offer| OfferState { phase: phase(&offer.service), offer: offer.clone() }).collect(),
        }
    }

    /// Lends the node, or takes an offer back. For its owner alone.
    pub async fn lend(&self, state: &State, caller: &Caller, change: LendRequest) -> Result<LendReply, Problem> {
        let peer = caller.for_itself()?;
        if !state.owners.contains(&peer.principal) {
            let owners = state.settings.folder.owner();
            tracing::info!(caller = %peer.principal, owners = %owners.display(), "somebody else would lend this node");
            return Err(Problem::new(
                Code::Denied,
                format!("{} is not the owner of {}", peer.principal, state.own.principal),
            )
            .next("ask its owner; the node's log says where its owners are named"));
        }
        let failed = |error: process::offers::OffersError| Problem::new(Code::Invalid, error.to_string());
        let withdrawn = {
            let mut offers = state.offers.lock().unwrap_or_else(PoisonError::into_inner);
            match change {
                LendRequest::Lend(offer) => {
                    offers.lend(offer, state.world.clock.unix()).map_err(failed)?;
                    None
                }
                LendRequest::Withdraw(service) => {
                    offers.withdraw(&service).map_err(failed)?;
                    Some(service)
                }
            }
        };
        if let Some(front) = withdrawn.as_ref().and_then(|service| self.front(service)) {
            front.step(Event::Withdrawn { within: DRAIN_WITHIN });
        }
        say_offers(state, withdrawn.as_ref()).await;
        Ok(self.offers(state))
    }

    /// Starts a service's server here, if the node was lent to it.
    pub async fn start(
        &self,
        state: &Arc<State>,
        caller: &Caller,
        request: StartRequest,
    ) -> Result<StartAnswer, Problem> {
        let peer = caller.for_itself()?.clone();
        let denied = |error: discovery::verified::DocumentError| Problem::new(Code::Denied, error.to_string());
        let now = state.world.clock.unix();
        let certificate =
            Certificate::open(&request.certificate, &request.service, state.client.trust(), now).map_err(denied)?;
        let right = certificate.open_right(&request.right).map_err(denied)?;
        if right.server != state.own.principal || right.key != state.own.key {
            return Err(Problem::new(Code::Denied, format!("the right to serve is for {}", right.server)));
        }
        if let Some(front) = self.same_run(&request, &peer.principal, &certificate) {
            let reply = front.beat_reply(&Step::default());
            return Ok(StartAnswer::Accepted(StartReply { phase: reply.phase, ticket: reply.ticket }));
        }
        let admitted = match self.admitted(state, &request, &peer.principal, &certificate) {
            Ok(admitted) => admitted,
            Err(refusal) => return Ok(StartAnswer::Refused(refusal)),
        };
        let lease = Duration::from_millis(u64::from(request.lease_ms));
        let run = Surrogate::start(state.world.clock.boot(), now, &admitted, lease);
        let purpose = format!("serve-{}", request.service.name);
        let files = Arc::new(ReplicaFiles::new(state, &certificate.value().files, &purpose));
        let site = FrontSite {
            world: state.world.clone(),
            own: state.own.clone(),
            address: state.address,
            link_bps: state.settings.link_bps,
        };
        let front = Front::new(site, certificate, Box::new(files.clone()), Some(run));
        front.hear(&request.table)?;
        let reply = front.beat_reply(&Step::default());
        {
            let mut runs = self.runs();
            // Another start may have come first.
            if runs.running.contains_key(&request.service) {
                return Ok(StartAnswer::Refused(StartRefusal::StillEnding { service: request.service }));
            }
            runs.epochs.insert(request.service.clone(), request.epoch);
            runs.running.insert(request.service.clone(), front.clone());
        }
        state.tasks.spawn(look_after(state.clone(), request.service, front, files));
        Ok(StartAnswer::Accepted(StartReply { phase: reply.phase, ticket: reply.ticket }))
    }

    /// A repeated start finds the run of the first.
    fn same_run(
        &self,
        request: &StartRequest,
        caller: &Principal,
        certificate: &Certificate,
    ) -> Option<Arc<Front>> {
        let listed = certificate.value().servers.iter().any(|s| s.authority && s.principal == *caller);
        let front = self.front(&request.service)?;
        let runs = front.phase() != Phase::Ended;
        (listed && runs && front.epoch() == request.epoch).then_some(front)
    }

    fn admitted(
        &self,
        state: &State,
        request: &StartRequest,
        caller: &Principal,
        certificate: &Certificate,
    ) -> Result<process::rules::Admitted, StartRefusal> {
        let about = certificate.value();
        let authorities: Vec<Principal> =
            about.servers.iter().filter(|server| server.authority).map(|server| server.principal.clone()).collect();
        let now = state.world.clock.unix();
        let offers = state.offers.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = self.runs();
        admit(&StartFacts {
            now,
            caller,
            service: &request.service,
            epoch: request.epoch,
            authorities: &authorities,
            certificate_valid: (about.valid_from, about.valid_until),
            seen: runs.epochs.get(&request.service).copied().unwrap_or_default(),
            offer: offers.to(&request.service, now),
            holds_relay: state.relays.holds(&about.files.volume),
            ending: runs.running.contains_key(&request.service),
            running: runs.running.len(),
        })
    }

    /// Reports, and renews. The primary answers too, without lease.
    pub fn beat(&self, state: &State, caller: &Caller, request: BeatRequest) -> Result<BeatAnswer, Problem> {
        let Some(front) = self.commanded(state, caller, &request.service)? else {
            return Ok(BeatAnswer::NotRunning);
        };
        if let Some(table) = &request.table {
            front.hear(table)?;
        }
        let lease = Duration::from_millis(u64::from(request.lease_ms));
        let step = front.step(Event::Beat { epoch: request.epoch, ticket: request.ticket, lease });
        Ok(self.answer(&front, &request.service, request.epoch, step))
    }

    /// Ends a run in order.
    pub fn drain(&self, state: &State, caller: &Caller, request: DrainRequest) -> Result<BeatAnswer, Problem> {
        let Some(front) = self.commanded(state, caller, &request.service)? else {
            return Ok(BeatAnswer::NotRunning);
        };
        let within = Duration::from_millis(u64::from(request.within_ms));
        let step = front.step(Event::Drain { epoch: request.epoch, within });
        Ok(self.answer(&front, &request.service, request.epoch, step))
    }

    fn answer(&self, front: &Front, service: &ServiceName, epoch: Epoch, step: Option<Step>) -> BeatAnswer {
        let step = step.unwrap_or_default();
        if let Some(Refused::StaleEpoch { seen }) = step.refused {
            return BeatAnswer::StaleEpoch { seen };
        }
        let mut runs = self.runs();
        let seen = runs.epochs.entry(service.clone()).or_default();
        *seen = (*seen).max(epoch);
        BeatAnswer::Running(front.beat_reply(&step))
    }

    /// The front of a service, for a caller that its certificate names as authority.
    fn commanded(
        &self,
        state: &State,
        caller: &Caller,
        service: &ServiceName,
    ) -> Result<Option<Arc<Front>>, Problem> {
        let peer = caller.for_itself()?;
        let Some(front) = self.front(service).or_else(|| state.published.front(service)) else { return Ok(None) };
        let certificate = front.certificate();
        let listed = certificate.value().servers.iter().any(|s| s.authority && s.principal == peer.principal);
        if listed {
            return Ok(Some(front));
        }
        Err(Problem::new(Code::Denied, format!("{} is no authority of {service}", peer.principal)))
    }

    fn forget(&self, service: &ServiceName, front: &Arc<Front>) {
        let mut runs = self.runs();
        if runs.running.get(service).is_some_and(|present| Arc::ptr_eq(present, front)) {
            runs.running.remove(service);
        }
    }
}

/// Does what a run's machine asks for until it has ended.
async fn look_after(state: Arc<State>, service: ServiceName, front: Arc<Front>, files: Arc<ReplicaFiles>) {
    while let Some(actions) = front.next_actions().await {
        for action in actions {
            match action {
                Action::Prepare => {
                    let event = match files.prepare().await {
                        Ok(()) => Event::Healthy,
                        Err(problem) => {
                            tracing::warn!(%service, %problem, "the files of a service cannot be read here");
                            Event::Failed
                        }
                    };
                    front.step(event);
                }
                Action::CutOff => front.pipe().cut_off(),
                Action::ForgetFiles => files.close().await,
                Action::DropCache => files.drop_cache().await,
            }
        }
    }
    state.serving.forget(&service, &front);
    tracing::info!(%service, "a run has ended");
}

/// Says to the services' authorities that the node is lent, again and again.
pub async fn announce(state: Arc<State>) {
    loop {
        say_offers(&state, None).await;
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep(ANNOUNCE_INTERVAL) => {}
        }
    }
}

async fn say_offers(state: &State, withdrawn: Option<&ServiceName>) {
    let now = state.world.clock.unix();
    let mut words: Vec<(ServiceName, Announcement)> = {
        let offers = state.offers.lock().unwrap_or_else(PoisonError::into_inner);
        let word = |offer: &client::models::Offer| Announcement {
            address: state.advertised.clone(),
            offer: Some(offer.clone()),
            relay: state.relays.holds_any(&offer.service.realm),
        };
        offers.all(now).map(|offer| (offer.service.clone(), word(offer))).collect()
    };
    if let Some(service) = withdrawn {
        let word = Announcement { address: state.advertised.clone(), offer: None, relay: false };
        words.push((service.clone(), word));
    }
    for (service, word) in words {
        let said = match state.client.first_node(&service.realm) {
            Ok(first) => first.announce(&service, &word).await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = said {
            tracing::info!(%service, %problem, "an offer could not be announced");
        }
    }
}
