//! The three-step check as one pure function: times, then the chain, then the access list. Its success is a
//! value that nothing else can make; it reads no clock, waits for nothing and remembers nothing.

use crate::bucket::Bucket;
use crate::entries::{Checked, check_anonymous, check_groups, check_list};
use crate::group::{Membership, earliest};
use crate::reason::{Ground, Reason, Resource};
use crate::standing::{Head, Standing};
use crate::token::VerifiedToken;
use crate::transfer::VerifiedChain;
use terms::{GroupName, Location, Principal, RealmName, Right, ServiceName, UnixMs};
use wire::Peer;

/// Who asks: the peer of the connection, and the chain under which it asks for somebody else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asker<'a> {
    /// The authenticated peer; none is somebody without a certificate.
    pub peer: Option<&'a Peer>,
    /// The transfer certificate that came with the request, verified.
    pub chain: Option<&'a VerifiedChain>,
    /// The bearer token that came with the request instead of a certificate, looked up here.
    pub token: Option<&'a VerifiedToken>,
}

impl<'a> Asker<'a> {
    /// On whose behalf it is asked.
    fn subject(self) -> Option<&'a Principal> {
        let behind = self.chain.map(VerifiedChain::subject).or(self.token.map(VerifiedToken::subject));
        behind.or(self.peer.map(|peer| &peer.principal))
    }
}

/// A question about a file or directory.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The wall clock.
    pub now: UnixMs,
    /// Who asks.
    pub asker: Asker<'a>,
    /// The path where the object stands now.
    pub location: &'a Location,
    /// The right asked for.
    pub right: Right,
    /// The object's access list.
    pub bucket: &'a Bucket,
    /// What is known of groups.
    pub groups: &'a dyn Membership,
    /// What is known of what realms have taken back.
    pub standing: &'a dyn Standing,
}

/// A group or a service as the object of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A group.
    Group(GroupName),
    /// A service.
    Service(ServiceName),
}

/// A question about a group or a service.
#[derive(Clone, Copy)]
pub struct ObjectQuestion<'a> {
    /// The wall clock.
    pub now: UnixMs,
    /// Who asks.
    pub asker: Asker<'a>,
    /// On what.
    pub object: &'a Object,
    /// The right asked for.
    pub right: Right,
    /// The object's access list.
    pub bucket: &'a Bucket,
    /// What is known of groups.
    pub groups: &'a dyn Membership,
    /// What is known of what realms have taken back.
    pub standing: &'a dyn Standing,
}

/// The proof that [`decide`] granted one right on one path to one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorised {
    location: Location,
    right: Right,
    subject: Option<Principal>,
    until: Option<UnixMs>,
    fresh_until: Option<UnixMs>,
}

impl Authorised {
    /// The path.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The right.
    pub fn right(&self) -> Right {
        self.right
    }

    /// For whom; nobody without a certificate.
    pub fn subject(&self) -> Option<&Principal> {
        self.subject.as_ref()
    }

    /// Good until just before this time: the earliest end of all it stands on.
    pub fn until(&self) -> Option<UnixMs> {
        self.until
    }

    /// A new request needs a new decision from this time on: some realm on which it stands has to be heard of again
    /// before. What was begun under it goes on until [`Authorised::until`], or until something is taken back.
    pub fn fresh_until(&self) -> Option<UnixMs> {
        earliest(self.until, self.fresh_until)
    }

    /// Whether it covers this right on this path at this time. Who acts on the proof asks this first.
    pub fn covers(&self, location: &Location, right: Right, now: UnixMs) -> bool {
        self.location == *location && self.right == right && self.until.is_none_or(|end| now < end)
    }
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Granted {
        /// The proof.
        authorised: Authorised,
        /// Why.
        reason: Reason,
    },
    /// No.
    Refused {
        /// Why.
        reason: Reason,
    },
}

impl Decision {
    /// Why.
    pub fn reason(&self) -> &Reason {
        match self {
            Self::Granted { reason, .. } | Self::Refused { reason } => reason,
        }
    }

    /// The proof, or why there is none.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn into_result(self) -> Result<Authorised, Box<Reason>> {
        match self {
            Self::Granted { authorised, .. } => Ok(authorised),
            Self::Refused { reason } => Err(Box::new(reason)),
        }
    }
}

/// The answer to an [`ObjectQuestion`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDecision {
    /// Why; [`Reason::granted`] says whether.
    pub reason: Reason,
    /// Good until just before this time.
    pub until: Option<UnixMs>,
}

/// Decides. The subject is that of the chain if there is one, else the peer itself, else nobody; with a chain
/// the peer's own rights count for nothing.
pub fn decide(question: &Question<'_>) -> Decision {
    let Question { now, asker, location, right, bucket, groups, standing } = *question;
    let judged = Judge { now, asker, on: On::Path(location), right, bucket, groups, standing }.judge();
    let reason = reason(asker, right, Resource::Path(location.clone()), judged.ground);
    if !reason.granted() {
        return Decision::Refused { reason };
    }
    let (location, subject) = (location.clone(), reason.subject.clone());
    let Judged { until, fresh_until, .. } = judged;
    Decision::Granted { authorised: Authorised { location, right, subject, until, fresh_until }, reason }
}

/// Decides about a group or a service, by the same three steps.
pub fn decide_object(question: &ObjectQuestion<'_>) -> ObjectDecision {
    let ObjectQuestion { now, asker, object, right, bucket, groups, standing } = *question;
    let judged = Judge { now, asker, on: On::Object(object), right, bucket, groups, standing }.judge();
    let resource = match object {
        Object::Group(group) => Resource::Group(group.clone()),
        Object::Service(service) => Resource::Service(service.clone()),
    };
    let until = earliest(judged.until, judged.fresh_until);
    ObjectDecision { reason: reason(asker, right, resource, judged.ground), until }
}

fn reason(asker: Asker<'_>, right: Right, resource: Resource, ground: Ground) -> Reason {
    let subject = asker.subject().cloned();
    let via = asker.chain.map(|chain| {
        let server = asker.peer.map_or_else(|| chain.audience().clone(), |peer| peer.principal.clone());
        (server, chain.id())
    });
    Reason { subject, via, right, resource, ground }
}

struct Judged {
    ground: Ground,
    until: Option<UnixMs>,
    fresh_until: Option<UnixMs>,
}

#[derive(Clone, Copy)]
enum On<'a> {
    Path(&'a Location),
    Object(&'a Object),
}

/// One question of either kind.
#[derive(Clone, Copy)]
struct Judge<'a> {
    now: UnixMs,
    asker: Asker<'a>,
    on: On<'a>,
    right: Right,
    bucket: &'a Bucket,
    groups: &'a dyn Membership,
    standing: &'a dyn Standing,
}

impl Judge<'_> {
    fn judge(&self) -> Judged {
        self.try_judge().unwrap_or_else(|ground| Judged { ground, until: None, fresh_until: None })
    }

    fn try_judge(&self) -> Result<Judged, Ground> {
        let Self { now, asker, right, bucket, groups, .. } = *self;
        let standing = check_times(asker, now)?;
        let fresh = self.check_standing()?;
        self.check_chain()?;
        let Some(subject) = asker.subject() else {
            return Ok(Judged { ground: check_anonymous(right, bucket), until: standing, fresh_until: None });
        };
        let checked = check_warm(subject, now, right, bucket, groups);
        let (until, known_until) = (checked.until, checked.known_until);
        // Every realm whose group stands on the way may have taken somebody back.
        let unheard = |fresh, realm| Ok(earliest(fresh, self.check_heard(realm)?));
        let heard = checked.realms().iter().try_fold(fresh, unheard);
        let who = checked.entry(bucket)?;
        let (until, fresh_until) = (earliest(standing, until), earliest(heard?, known_until));
        Ok(Judged { ground: Ground::Entry(who), until, fresh_until })
    }

    /// Step 1, the other half: nothing of it was taken back, and every realm that could have done so was heard of lately.
    /// Answers until when that is known.
    fn check_standing(&self) -> Result<Option<UnixMs>, Ground> {
        let mut fresh = None;
        if let Some(peer) = self.asker.peer {
            if self.standing.is_revoked(&peer.principal, peer.issued) {
                return Err(Ground::PrincipalRevoked { principal: peer.principal.clone() });
            }
            fresh = earliest(fresh, self.check_heard(&peer.principal.realm)?);
        }
        if let Some(token) = self.asker.token {
            token.stands(self.standing)?;
            fresh = earliest(fresh, self.check_heard(&token.subject().realm)?);
        }
        let Some(chain) = self.asker.chain else { return Ok(fresh) };
        chain.stands(self.standing)?;
        chain.realms().try_fold(fresh, |fresh, realm| Ok(earliest(fresh, self.check_heard(realm)?)))
    }

    /// Until when the word of this realm is enough.
    fn check_heard(&self, realm: &RealmName) -> Result<Option<UnixMs>, Ground> {
        let since = match self.standing.head(realm) {
            Head::Own => return Ok(None),
            Head::At(at) => Some(at),
            Head::Unheard => None,
        };
        let end = since.map(|at| at.plus(self.standing.limits().of(self.right)));
        match end.filter(|end| self.now < *end) {
            Some(end) => Ok(Some(end)),
            None => Err(Ground::RealmUnheard { realm: realm.clone(), since }),
        }
    }

    /// Step 2. Without a chain or token there is nothing to check: the peer asks for itself.
    fn check_chain(&self) -> Result<(), Ground> {
        if let Some(token) = self.asker.token {
            let covered = match self.on {
                On::Path(location) => token.grants().iter().any(|grant| grant.covers(location, self.right)),
                On::Object(_) => false,
            };
            if !covered {
                return Err(Ground::NotInToken { id: token.id() });
            }
        }
        let Some(chain) = self.asker.chain else { return Ok(()) };
        let peer = self.asker.peer.ok_or(Ground::ChainWithoutPeer)?;
        if &peer.principal != chain.audience() {
            return Err(Ground::NotAudience { audience: chain.audience().clone() });
        }
        if peer.key != chain.audience_key() {
            return Err(Ground::NotKey);
        }
        let covered = chain.grants().iter().any(|grant| match self.on {
            On::Path(location) => grant.covers(location, self.right),
            On::Object(object) => grant.covers_object(object, self.right),
        });
        if covered { Ok(()) } else { Err(Ground::NotInGrants) }
    }
}

/// Step 3, with what is kept of earlier answers.
fn check_warm(subject: &Principal, now: UnixMs, right: Right, bucket: &Bucket, groups: &dyn Membership) -> Checked {
    if let Some(found) = check_list(subject, right, bucket) {
        return found;
    }
    if let Some(found) = groups.warm(subject, right, bucket, now) {
        return found;
    }
    // Read before the answer is looked for: a change meanwhile makes it stale at once.
    let changes = groups.changes();
    let found = check_groups(subject, now, right, bucket, groups);
    groups.keep_warm(subject, right, bucket, &found, changes);
    found
}

/// Step 1. Answers the earliest end of certificate and chain.
fn check_times(asker: Asker<'_>, now: UnixMs) -> Result<Option<UnixMs>, Ground> {
    let peer_end = asker.peer.map(|peer| peer.not_after);
    if let Some(end) = peer_end.filter(|end| now >= *end) {
        return Err(Ground::PeerEnded { end });
    }
    if let Some(chain) = asker.chain {
        if now >= chain.until() {
            return Err(Ground::ChainEnded { end: chain.until() });
        }
        if now < chain.from() {
            return Err(Ground::ChainNotYet { start: chain.from() });
        }
    }
    let token_end = asker.token.map(VerifiedToken::until);
    if let Some(end) = token_end.filter(|end| now >= *end) {
        return Err(Ground::TokenEnded { end });
    }
    Ok(earliest(earliest(peer_end, token_end), asker.chain.map(VerifiedChain::until)))
}
