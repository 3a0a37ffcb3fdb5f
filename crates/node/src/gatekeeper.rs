//! Who asks, and may they: turns a request's peer and transfer certificate into a decision by `trust`, and
//! writes down what must be written down.
//!
//! Relies on [`Groups`] for memberships. Decides nothing itself.

use crate::groups::Groups;
use http::{HeaderMap, HeaderValue};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use terms::{Code, Location, Principal, Problem, Right, UnixMs};
use trust::transfer::HEADER;
use trust::{
    Asker, AuditLog, AuditRecord, Authorised, Bucket, Chain, Decision, Object, ObjectQuestion, Question, Reason,
    TrustStore, VerifiedChain, VerifiedToken, decide, decide_object,
};
use wire::Peer;
use world::World;

/// Who stands behind one request. Made once a request; the chain in it is verified.
pub struct Caller {
    peer: Option<Arc<Peer>>,
    chain: Option<VerifiedChain>,
    token: Option<VerifiedToken>,
    from: SocketAddr,
}

impl Caller {
    /// A caller for itself: a transfer certificate in the request is not for this node to use.
    pub fn of_peer(peer: Option<Arc<Peer>>, from: SocketAddr) -> Self {
        Self { peer, chain: None, token: None, from }
    }

    /// A caller without a certificate who showed a token of this home.
    pub fn of_token(token: VerifiedToken, from: SocketAddr) -> Self {
        Self { peer: None, chain: None, token: Some(token), from }
    }

    /// The peer of the connection, if it showed a certificate.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_deref()
    }

    /// The same caller for a stream that outlives the request.
    pub fn kept(&self) -> Self {
        let (chain, token) = (self.chain.clone(), self.token.clone());
        Self { peer: self.peer.clone(), chain, token, from: self.from }
    }

    /// The peer, or the refusal of somebody without a certificate.
    pub fn require_peer(&self) -> Result<&Peer, Problem> {
        self.peer().ok_or_else(|| {
            Problem::new(Code::Denied, "this address is answered only to peers with a certificate")
                .next("`webos whoami --curl` prints how curl shows one")
        })
    }

    /// On whose behalf the request is made.
    pub fn subject(&self) -> Option<&Principal> {
        match (&self.chain, &self.token) {
            (Some(chain), _) => Some(chain.subject()),
            (None, Some(token)) => Some(token.subject()),
            (None, None) => self.peer().map(|peer| &peer.principal),
        }
    }

    /// The chain under which the peer asks for somebody else.
    pub fn chain(&self) -> Option<&VerifiedChain> {
        self.chain.as_ref()
    }

    /// The token that was shown instead of a certificate.
    pub fn token(&self) -> Option<&VerifiedToken> {
        self.token.as_ref()
    }

    /// Whether the peer asks for itself, as control messages demand.
    pub fn for_itself(&self) -> Result<&Peer, Problem> {
        if self.chain.is_some() {
            return Err(Problem::new(Code::Denied, "a transfer certificate grants nothing at this address"));
        }
        self.require_peer()
    }

    fn asker(&self) -> Asker<'_> {
        Asker { peer: self.peer(), chain: self.chain.as_ref(), token: self.token.as_ref() }
    }

    /// Where the connection comes from.
    pub fn source(&self) -> IpAddr {
        self.from.ip()
    }
}

/// Asks `trust`, and audits.
pub struct Gatekeeper {
    world: World,
    trust: TrustStore,
    groups: Arc<Groups>,
    audit: AuditLog,
}

impl Gatekeeper {
    /// A gatekeeper over these groups and this log.
    pub fn new(world: World, trust: TrustStore, groups: Arc<Groups>, audit: AuditLog) -> Self {
        Self { world, trust, groups, audit }
    }

    /// The realms that are trusted here, and what they have taken back.
    pub fn trust(&self) -> &TrustStore {
        &self.trust
    }

    /// The groups that decisions look into.
    pub fn groups(&self) -> &Arc<Groups> {
        &self.groups
    }

    /// Verifies what came with a request.
    pub fn caller(
        &self,
        peer: Option<Arc<Peer>>,
        from: SocketAddr,
        headers: &HeaderMap,
        resource: &str,
    ) -> Result<Caller, Problem> {
        let Some(value) = headers.get(HEADER) else { return Ok(Caller::of_peer(peer, from)) };
        let Some(server) = peer.as_deref() else {
            return Err(Problem::new(Code::Denied, "a transfer certificate needs a connection with a certificate"));
        };
        let chain = self.verify(value, server, (server, from.ip()), resource)?;
        Ok(Caller { peer, chain: Some(chain), token: None, from })
    }

    /// Verifies the certificate by which `caller` lends this node its rights.
    pub fn lent_to(&self, own: &Peer, caller: &Caller, resource: &str, value: &HeaderValue) -> Result<(), Problem> {
        let peer = caller.require_peer()?;
        let chain = self.verify(value, own, (peer, caller.source()), resource)?;
        if *chain.subject() == peer.principal {
            return Ok(());
        }
        let why = format!("the transfer certificate is from {}, not from {}", chain.subject(), peer.principal);
        let now = self.world.clock.unix();
        let mut record = AuditRecord::of_refusal(now, Some(caller.source()), resource, &why);
        record.peer = Some(peer.principal.clone());
        self.note(&record)?;
        Err(Problem::new(Code::Denied, why))
    }

    /// Verifies a transfer certificate that `server` is to use; a refusal is recorded, with who showed it.
    fn verify(
        &self,
        value: &HeaderValue,
        server: &Peer,
        (shown_by, from): (&Peer, IpAddr),
        resource: &str,
    ) -> Result<VerifiedChain, Problem> {
        let now = self.world.clock.unix();
        let text =
            value.to_str().map_err(|_| Problem::new(Code::Invalid, format!("the header {HEADER} is not text")))?;
        let chain = Chain::from_header(text);
        let verified = chain.clone().and_then(|chain| trust::transfer::verify(&chain, server, &self.trust, now));
        verified.or_else(|refusal| {
            let claims = chain.and_then(|chain| chain.links()).unwrap_or_default();
            self.note(&AuditRecord::of_chain(now, Some(from), shown_by, resource, (&claims, &refusal)))?;
            Err(refusal.into())
        })
    }

    fn decide(&self, now: UnixMs, caller: &Caller, location: &Location, right: Right, bucket: &Bucket) -> Decision {
        let (asker, groups, standing) = (caller.asker(), &*self.groups, &self.trust);
        decide(&Question { now, asker, location, right, bucket, groups, standing })
    }

    /// The three-step check of a right on a path.
    pub async fn allow(
        &self,
        caller: &Caller,
        location: &Location,
        right: Right,
        bucket: &Bucket,
    ) -> Result<Authorised, Problem> {
        self.groups.prepare(bucket, caller.subject()).await;
        self.allow_now(caller, location, right, bucket)
    }

    /// The same with what is known of groups now, for callers that have prepared.
    pub fn allow_now(
        &self,
        caller: &Caller,
        location: &Location,
        right: Right,
        bucket: &Bucket,
    ) -> Result<Authorised, Problem> {
        let now = self.world.clock.unix();
        let decision = self.decide(now, caller, location, right, bucket);
        if let Some(record) =
            AuditRecord::of_decision(now, Some(caller.source()), caller.asker(), decision.reason())
        {
            self.note(&record)?;
        }
        Ok(decision.into_result()?)
    }

    /// The same, where the answer no is nobody's affront: it is not recorded.
    pub async fn would_allow(
        &self,
        caller: &Caller,
        location: &Location,
        right: Right,
        bucket: &Bucket,
    ) -> Option<Authorised> {
        self.groups.prepare(bucket, caller.subject()).await;
        self.would_allow_now(caller, location, right, bucket)
    }

    /// The same with what is known of groups now.
    pub fn would_allow_now(
        &self,
        caller: &Caller,
        location: &Location,
        right: Right,
        bucket: &Bucket,
    ) -> Option<Authorised> {
        self.decide(self.world.clock.unix(), caller, location, right, bucket).into_result().ok()
    }

    /// The three-step check of a right on a group or a service.
    pub async fn allow_object(
        &self,
        caller: &Caller,
        object: &Object,
        right: Right,
        bucket: &Bucket,
    ) -> Result<(), Problem> {
        self.groups.prepare(bucket, caller.subject()).await;
        let now = self.world.clock.unix();
        let (asker, groups, standing) = (caller.asker(), &*self.groups, &self.trust);
        let decision = decide_object(&ObjectQuestion { now, asker, object, right, bucket, groups, standing });
        if let Some(record) = AuditRecord::of_decision(now, Some(caller.source()), asker, &decision.reason) {
            self.note(&record)?;
        }
        if decision.reason.granted() { Ok(()) } else { Err(decision.reason.into()) }
    }

    /// The same, where the answer no is nobody's affront: it is not recorded.
    pub async fn would_allow_object(
        &self,
        caller: &Caller,
        object: &Object,
        right: Right,
        bucket: &Bucket,
    ) -> bool {
        self.groups.prepare(bucket, caller.subject()).await;
        let (now, asker) = (self.world.clock.unix(), caller.asker());
        let (groups, standing) = (&*self.groups, &self.trust);
        let question = ObjectQuestion { now, asker, object, right, bucket, groups, standing };
        decide_object(&question).reason.granted()
    }

    /// The reason of what would be decided now, for whoever explains it; nothing is recorded.
    pub fn reason(&self, caller: &Caller, location: &Location, right: Right, bucket: &Bucket) -> Reason {
        self.decide(self.world.clock.unix(), caller, location, right, bucket).reason().clone()
    }

    /// The same for a group or a service.
    pub fn reason_on(&self, caller: &Caller, object: &Object, right: Right, bucket: &Bucket) -> Reason {
        let (now, asker) = (self.world.clock.unix(), caller.asker());
        let (groups, standing) = (&*self.groups, &self.trust);
        decide_object(&ObjectQuestion { now, asker, object, right, bucket, groups, standing }).reason
    }

    /// A refusal that no access list decided.
    pub fn refuse(&self, from: SocketAddr, resource: &str, problem: Problem) -> Problem {
        let record = AuditRecord::of_refusal(self.world.clock.unix(), Some(from.ip()), resource, &problem.detail);
        self.note(&record).err().unwrap_or(problem)
    }

    /// Writes a record; what cannot be recorded is not done.
    pub fn note(&self, record: &AuditRecord) -> Result<(), Problem> {
        self.audit.record(record).map_err(|error| {
            tracing::error!(%error, "the audit log cannot be written");
            Problem::new(Code::Internal, "the audit log of this node cannot be written, so nothing is decided")
        })
    }

    /// The log itself, for whoever compares it with what others keep of it.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// Writes a record and waits until it survives a loss of power: for a change that must not be in force without it.
    pub fn note_first(&self, record: &AuditRecord) -> Result<(), Problem> {
        self.note(record)?;
        self.audit.sync().map_err(|error| {
            tracing::error!(%error, "the audit log cannot be written");
            Problem::new(Code::Internal, "the audit log of this node cannot be written, so nothing is changed")
        })
    }

    /// Puts a change of trust material on record before it is in force.
    pub fn note_change(&self, caller: &Caller, resource: &str, what: &str) -> Result<(), Problem> {
        let peer = &caller.require_peer()?.principal;
        let mut record =
            AuditRecord::of_change(self.world.clock.unix(), caller.subject().unwrap_or(peer), resource, what);
        record.peer = Some(peer.clone());
        self.note_first(&record)
    }

    /// Writes what is still summed up, at a clean stop.
    pub fn finish(&self) {
        if let Err(error) = self.audit.finish() {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }

    /// Writes the sums of minutes that are over.
    pub fn flush(&self) {
        if let Err(error) = self.audit.flush(self.world.clock.unix()) {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }
}
