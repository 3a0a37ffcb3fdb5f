//! The three-step check as one pure function: times, then the chain, then the access list. Its success is a
//! value that nothing else can make; it reads no clock, waits for nothing and remembers nothing.

use crate::bucket::Bucket;
use crate::entries::{Checked, check_anonymous, check_entries};
use crate::group::{Membership, earliest};
use crate::reason::{Ground, Reason, Resource};
use crate::transfer::VerifiedChain;
use terms::{GroupName, Location, Principal, Right, ServiceName, UnixMs};
use wire::Peer;

/// Who asks: the peer of the connection, and the chain under which it asks for somebody else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asker<'a> {
    /// The authenticated peer; none is somebody without a certificate.
    pub peer: Option<&'a Peer>,
    /// The transfer certificate that came with the request, verified.
    pub chain: Option<&'a VerifiedChain>,
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
}

/// A group or a service as the object of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A group.
    Group(GroupName),
    /// A service.
    Service(ServiceName),
}

/// A question about a group or a service. Transfer certificates of this release grant nothing on these.
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
}

/// The proof that [`decide`] granted one right on one path to one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorised {
    location: Location,
    right: Right,
    subject: Option<Principal>,
    until: Option<UnixMs>,
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
    let Question { now, asker, location, right, bucket, groups } = *question;
    let judged = judge(asker, now, Some(location), right, bucket, groups);
    let reason = reason(asker, right, Resource::Path(location.clone()), judged.ground);
    if !reason.granted() {
        return Decision::Refused { reason };
    }
    let (location, subject, until) = (location.clone(), reason.subject.clone(), judged.until);
    Decision::Granted { authorised: Authorised { location, right, subject, until }, reason }
}

/// Decides about a group or a service, by the same three steps.
pub fn decide_object(question: &ObjectQuestion<'_>) -> ObjectDecision {
    let ObjectQuestion { now, asker, object, right, bucket, groups } = *question;
    let judged = judge(asker, now, None, right, bucket, groups);
    let resource = match object {
        Object::Group(group) => Resource::Group(group.clone()),
        Object::Service(service) => Resource::Service(service.clone()),
    };
    ObjectDecision { reason: reason(asker, right, resource, judged.ground), until: judged.until }
}

fn reason(asker: Asker<'_>, right: Right, resource: Resource, ground: Ground) -> Reason {
    let subject = match asker.chain {
        Some(chain) => Some(chain.subject().clone()),
        None => asker.peer.map(|peer| peer.principal.clone()),
    };
    let via = asker.chain.map(|chain| {
        let server = asker.peer.map_or_else(|| chain.audience().clone(), |peer| peer.principal.clone());
        (server, chain.id())
    });
    Reason { subject, via, right, resource, ground }
}

struct Judged {
    ground: Ground,
    until: Option<UnixMs>,
}

fn judge(
    asker: Asker<'_>,
    now: UnixMs,
    path: Option<&Location>,
    right: Right,
    bucket: &Bucket,
    groups: &dyn Membership,
) -> Judged {
    let refused = |ground| Judged { ground, until: None };
    let standing = match check_times(asker, now) {
        Ok(until) => until,
        Err(ground) => return refused(ground),
    };
    if let Err(ground) = check_chain(asker, path, right) {
        return refused(ground);
    }
    let subject = asker.chain.map(VerifiedChain::subject).or(asker.peer.map(|peer| &peer.principal));
    match subject {
        None => Judged { ground: check_anonymous(right, bucket), until: standing },
        Some(subject) => {
            let Checked { ground, until, .. } = check_entries(subject, now, right, bucket, groups);
            match ground {
                Ok(who) => Judged { ground: Ground::Entry(who), until: earliest(standing, until) },
                Err(ground) => refused(ground),
            }
        }
    }
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
    Ok(earliest(peer_end, asker.chain.map(VerifiedChain::until)))
}

/// Step 2. Without a chain there is nothing to check: the peer asks for itself.
fn check_chain(asker: Asker<'_>, path: Option<&Location>, right: Right) -> Result<(), Ground> {
    let Some(chain) = asker.chain else { return Ok(()) };
    let peer = asker.peer.ok_or(Ground::ChainWithoutPeer)?;
    if &peer.principal != chain.audience() {
        return Err(Ground::NotAudience { audience: chain.audience().clone() });
    }
    if peer.key != chain.audience_key() {
        return Err(Ground::NotKey);
    }
    let covered = path.is_some_and(|path| chain.grants().iter().any(|grant| grant.covers(path, right)));
    if covered { Ok(()) } else { Err(Ground::NotInGrants) }
}
