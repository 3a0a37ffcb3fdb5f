//! What `webos why` answers: the reason of a decision, and what would change it. A pure function of the same reason that
//! the audit log and the error message carry; it decides nothing.

use crate::bucket::{Bucket, anonymous_rights};
use crate::entries::{check_anonymous, check_entries};
use crate::group::{Member, Membership};
use crate::reason::{Ground, Reason, Resource, date, plain};
use std::fmt;
use terms::{GroupName, Principal, Problem, Right, UnixMs, Who};

/// One thing that would change an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An entry in the access list.
    Grant(Who),
    /// Membership in a group that has the right.
    Join(GroupName),
    /// An entry less in the access list.
    Revoke(Who),
    /// The member taken out of the last group on the way.
    Leave(GroupName),
    /// Time alone.
    End(UnixMs),
    /// The list of this group at hand.
    Hear(GroupName),
    /// Another certificate, or something else that no access list has to do with.
    Other(String),
}

/// A reason explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The decision, as everywhere.
    pub reason: Reason,
    /// The groups through which the right comes, from that of the access list to the one that names the subject.
    pub way: Vec<GroupName>,
    /// Entries that give the right as well: it stays if only one of all goes.
    pub also: Vec<Who>,
    /// What would change the answer.
    pub changes: Vec<Change>,
}

/// The reason why somebody who was revoked gets nothing, whatever the access list says.
pub fn reason_revoked(principal: &Principal, right: Right, resource: Resource) -> Reason {
    let ground = Ground::PrincipalRevoked { principal: principal.clone() };
    Reason { subject: Some(principal.clone()), via: None, right, resource, ground }
}

/// What the access list alone says about somebody who is not here: certificates and chains are looked at when they come.
pub fn reason_about(
    subject: Option<&Principal>,
    now: UnixMs,
    right: Right,
    resource: Resource,
    bucket: &Bucket,
    groups: &dyn Membership,
) -> Reason {
    let ground = match subject {
        None => check_anonymous(right, bucket),
        Some(subject) => check_entries(subject, now, right, bucket, groups)
            .entry(bucket)
            .map_or_else(|ground| ground, Ground::Entry),
    };
    Reason { subject: subject.cloned(), via: None, right, resource, ground }
}

/// Explains a decision to somebody who may see the access list.
pub fn explain(reason: Reason, now: UnixMs, bucket: &Bucket, groups: &dyn Membership) -> Explanation {
    let right = reason.right;
    let mut explanation = Explanation { reason, way: Vec::new(), also: Vec::new(), changes: Vec::new() };
    let Explanation { reason, way, also, changes } = &mut explanation;
    match &reason.ground {
        Ground::Entry(who) => {
            if let (Who::Group(group), Some(subject)) = (who, &reason.subject) {
                let found = groups.find(group, subject, now);
                if let Member::Yes { until: Some(end) } = found.member {
                    changes.push(Change::End(end));
                }
                *way = found.way;
                changes.extend(way.last().cloned().map(Change::Leave));
            }
            let gives = |entry: &Who| gives(entry, reason.subject.as_ref(), now, right, groups);
            let others = bucket.entries().iter().filter(|(entry, rights)| rights.has(right) && entry != who);
            *also = others.map(|(entry, _)| entry).filter(|entry| gives(entry)).cloned().collect();
            changes.push(Change::Revoke(who.clone()));
            changes.extend(also.iter().cloned().map(Change::Revoke));
        }
        Ground::NoEntry => {
            changes.extend(reason.subject.clone().map(Who::Principal).map(Change::Grant));
            changes.extend(with_right(bucket, right).map(Change::Join));
        }
        Ground::NoEntryForAnyone => {
            changes.push(Change::Grant(Who::Anyone));
            changes.push(Change::Other("come with a certificate of a trusted realm".into()));
        }
        Ground::GroupUnknown { group, .. } => {
            changes.push(Change::Hear(group.clone()));
            changes.extend(reason.subject.clone().map(Who::Principal).map(Change::Grant));
        }
        _ => changes.push(Change::Other(advice(reason))),
    }
    explanation
}

/// Explains a decision to somebody who may not see the access list: no more than the refusal itself says.
pub fn explain_outside(reason: Reason) -> Explanation {
    let changes = if reason.granted() { Vec::new() } else { vec![Change::Other(advice(&reason))] };
    Explanation { reason, way: Vec::new(), also: Vec::new(), changes }
}

fn advice(reason: &Reason) -> String {
    Problem::from(reason.clone()).next
}

fn gives(who: &Who, subject: Option<&Principal>, now: UnixMs, right: Right, groups: &dyn Membership) -> bool {
    match (who, subject) {
        (Who::Anyone, _) => anonymous_rights().has(right),
        (_, None) => false,
        (Who::Authenticated, Some(_)) => true,
        (Who::Principal(principal), Some(subject)) => principal == subject,
        (Who::Group(group), Some(subject)) => matches!(groups.member(group, subject, now), Member::Yes { .. }),
    }
}

fn with_right(bucket: &Bucket, right: Right) -> impl Iterator<Item = GroupName> + '_ {
    bucket.groups().filter(move |(_, rights)| rights.has(right)).map(|(group, _)| group.clone())
}

/// A word of a command line as a shell reads it.
fn quoted(word: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "-_./:@+".contains(c);
    if word.chars().all(bare) { word.to_string() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

impl Explanation {
    /// The command that makes a change, where one does.
    pub fn command(&self, change: &Change) -> Option<String> {
        let Reason { subject, right, resource, .. } = &self.reason;
        let place = match resource {
            Resource::Path(location) => quoted(&location.to_string()),
            Resource::Group(group) => format!("group/{}.{}", group.name, group.realm),
            Resource::Service(_) => return self.publishing(change),
        };
        let group_change = |verb: &str, group: &GroupName| {
            let member = subject.as_ref()?;
            Some(format!("webos group {verb} {}.{} {member}", group.name, group.realm))
        };
        match change {
            Change::Grant(who) => Some(format!("webos acl grant {who} {right} {place}")),
            Change::Revoke(who) => Some(format!("webos acl revoke {who} {right} {place}")),
            Change::Join(group) => group_change("add", group),
            Change::Leave(group) => group_change("remove", group),
            Change::End(_) | Change::Hear(_) | Change::Other(_) => None,
        }
    }

    /// A service's list changes with its publication; groups in it change as everywhere.
    fn publishing(&self, change: &Change) -> Option<String> {
        let member = self.reason.subject.as_ref()?;
        match change {
            Change::Join(group) => Some(format!("webos group add {}.{} {member}", group.name, group.realm)),
            Change::Leave(group) => Some(format!("webos group remove {}.{} {member}", group.name, group.realm)),
            _ => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(who) => write!(f, "the access list gives it to {who}"),
            Self::Join(group) => write!(f, "{group}, which has it, takes this principal in"),
            Self::Revoke(who) => write!(f, "the access list takes it from {who}"),
            Self::Leave(group) => write!(f, "{group} puts this principal out"),
            Self::End(at) => write!(f, "the membership ends {}", date(*at)),
            Self::Hear(group) => write!(f, "the list of {group} can be had from its realm again"),
            Self::Other(text) => f.write_str(&plain(text)),
        }
    }
}
