//! `audit`: the log of this folder's node, read and verified. Everything that others wrote into it is escaped where
//! people see it.

use super::Setup;
use super::limits::WITNESS_PATIENCE;
use super::{reach, running};
use crate::args::{Audit, AuditAcknowledge, AuditCommand, AuditKind, AuditShow, AuditVerify};
use crate::output::{Failure, Out, Outcome, plural, shown, time};
use client::protocol::WitnessReply;
use client::{Client, Node};
use node::witnessed;
use serde::Serialize;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;
use terms::{Code, Problem, UnixMs, Who};
use tokio::time::timeout;
use trust::{
    AuditEntry, AuditFault, AuditHead, AuditLog, AuditOutcome, AuditQuery, AuditRecord, AuditSummary, IdentityFile,
    missing_audit, noted_head, read_audit, verify_audit,
};

/// Chooses among the commands.
pub async fn run(setup: &Setup, out: &mut Out, audit: &Audit) -> Outcome {
    match &audit.command {
        None => show(setup, out, &audit.query),
        Some(AuditCommand::Verify(arguments)) => verify(setup, out, arguments).await,
        Some(AuditCommand::Acknowledge(arguments)) => acknowledge(setup, out, arguments).await,
    }
}

fn must_exist(path: &Path) -> Result<(), Problem> {
    if path.exists() {
        return Ok(());
    }
    Err(Problem::new(Code::NotFound, format!("there is no audit log in {}", path.display()))
        .next("choose the folder of a node with WEBOS_HOME or --home; its log begins when it runs first"))
}

fn query(setup: &Setup, arguments: &AuditShow) -> Result<AuditQuery, Problem> {
    let principal = match &arguments.principal {
        None => None,
        Some(name) => {
            let wrong = |why: String| {
                Problem::new(Code::Invalid, why).next("name a user, a node or a service: user/alice, server/n2")
            };
            let identity = IdentityFile::read(&setup.folder.identity())?;
            match name.within(&identity.principal().realm).map_err(|error| wrong(error.to_string()))? {
                Who::Principal(principal) => Some(principal),
                who => return Err(wrong(format!("{who} is no principal"))),
            }
        }
    };
    Ok(AuditQuery {
        principal,
        resource: arguments.path.clone(),
        transfer: arguments.transfer.clone(),
        since: arguments.since.map(|since| since.before(setup.world.clock.unix())),
        outcome: arguments.outcome.map(|outcome| match outcome {
            AuditKind::Granted => AuditOutcome::Granted,
            AuditKind::Refused => AuditOutcome::Refused,
            AuditKind::Changed => AuditOutcome::Changed,
        }),
    })
}

/// Prints the records that are asked for. Without a limit each one is printed as it is read; with one, that many are
/// held.
fn show(setup: &Setup, out: &mut Out, arguments: &AuditShow) -> Outcome {
    let path = setup.folder.audit();
    must_exist(&path)?;
    let query = query(setup, arguments)?;
    let newest = arguments.limit.map(|limit| limit as usize);
    let mut held: VecDeque<(AuditEntry, String)> = VecDeque::new();
    let mut said: Outcome = Ok(());
    let unread = read_audit(&path, &query, |entry, line| {
        if let Some(newest) = newest {
            if held.len() == newest {
                held.pop_front();
            }
            held.push_back((entry, line.to_string()));
            return ControlFlow::Continue(());
        }
        said = print(out, &entry, line);
        if said.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let unread = unread.map_err(|fault| unreadable(&fault))?;
    said?;
    held.iter().try_for_each(|(entry, line)| print(out, entry, line))?;
    if unread > 0 {
        out.note(&format!("{} of the log are no records: run `webos audit verify`", plural(unread, "line")));
    }
    Ok(())
}

fn unreadable(fault: &AuditFault) -> Problem {
    let cause = std::error::Error::source(fault).map(|cause| format!(": {cause}")).unwrap_or_default();
    Problem::new(Code::Internal, format!("{fault}{cause}")).next("check who owns the folder, and its disk")
}

/// The line as it stands in the log, which is JSON in ASCII; or for people.
fn print(out: &mut Out, entry: &AuditEntry, line: &str) -> Outcome {
    if out.is_json() {
        return out.line(line);
    }
    sentences(entry).iter().try_for_each(|line| out.line(&shown(line)))
}

/// A record in words: what happened, to whom and why, and each link of the chain that stood behind it.
fn sentences(entry: &AuditEntry) -> Vec<String> {
    let record = &entry.record;
    let outcome = match record.outcome {
        AuditOutcome::Granted => "granted",
        AuditOutcome::Refused => "refused",
        AuditOutcome::Changed => "changed",
    };
    let right = record.right.as_ref().map(|right| format!("{right} on ")).unwrap_or_default();
    let times = if record.count > 1 { format!("  ({} times)", record.count) } else { String::new() };
    let first = format!("{}  {:>6}  {outcome}  {right}{}{times}", time(record.at), entry.seq, record.resource);
    let who = match (&record.subject, &record.peer) {
        (Some(subject), Some(peer)) if subject != peer => format!("{peer} for {subject}"),
        (Some(one), _) | (None, Some(one)) => one.to_string(),
        (None, None) => "somebody without a certificate".into(),
    };
    let source = record.source.as_ref().map(|source| format!(", from {source}")).unwrap_or_default();
    let mut lines = vec![first, format!("    {who}{source}"), format!("    {}", record.reason)];
    for (index, link) in record.chain.iter().enumerate() {
        let grants = link.grants.join("; ");
        let what = if record.claimed { "claimed link" } else { "link" };
        let issuer = link.issuer.as_ref().unwrap_or(&link.subject);
        let (number, id, subject, audience) = (index + 1, &link.id, &link.subject, &link.audience);
        lines.push(format!("    {what} {number}: {id} of {issuer} for {subject} to {audience}: {grants}"));
    }
    lines
}

#[derive(Serialize)]
struct Verified {
    whole: bool,
    /// The first record that is still there.
    first: u64,
    /// The last one.
    records: u64,
    hash: String,
    /// The last record before each loss that the log acknowledges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    acknowledged: Vec<u64>,
    /// Who vouches for the end, besides the note in this folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    witness: Option<Vouched>,
}

#[derive(Serialize)]
struct Vouched {
    node: String,
    /// The last record of which it was told.
    records: u64,
    at_ms: UnixMs,
}

#[derive(Serialize)]
struct Damaged {
    whole: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<u64>,
    fault: String,
}

/// Where the log is known to have ended: by the note beside it, and by what the second node was told.
struct Known {
    heads: Vec<AuditHead>,
    witness: Option<(Node, trust::Witnessed)>,
}

async fn known(setup: &Setup, out: &Out, arguments: &AuditVerify) -> Result<Result<Known, AuditFault>, Failure> {
    let path = setup.folder.audit();
    let noted = match noted_head(&path) {
        Ok(noted) => noted,
        Err(fault) => return Ok(Err(fault)),
    };
    if noted.is_none() {
        must_exist(&path)?;
        out.note("no note of where the log ended lies beside it: only a second node can show that the end was cut");
    }
    let witness = if arguments.offline { None } else { ask(setup, out, arguments).await? };
    let mut heads: Vec<AuditHead> = noted.into_iter().collect();
    heads.extend(witness.iter().flat_map(|(_, kept)| kept.heads()));
    Ok(Ok(Known { heads, witness }))
}

/// Checks the whole log against itself, the note beside it, and what the second node was told.
async fn verify(setup: &Setup, out: &mut Out, arguments: &AuditVerify) -> Outcome {
    let path = setup.folder.audit();
    let Known { heads: known, witness } = match known(setup, out, arguments).await? {
        Ok(known) => known,
        Err(fault) => return damaged(out, &fault),
    };
    if !path.exists() {
        return damaged(out, &AuditFault::Cut { expected: 1 });
    }
    let summary = match verify_audit(&path, &known) {
        Ok(summary) => summary,
        Err(fault) => return damaged(out, &fault),
    };
    // A log that begins after what was noted last has lost more than its oldest files.
    if let Some(lost) = known.iter().map(|head| head.records).filter(|records| *records > 0).max()
        && lost < summary.first
    {
        return damaged(out, &AuditFault::Cut { expected: lost });
    }
    if !summary.lost.is_empty() {
        acknowledgements(&path, out)?;
    }
    let vouched = witness.map(|(node, kept)| Vouched {
        node: node.principal().to_string(),
        records: kept.newest.records,
        at_ms: kept.at,
    });
    say(out, summary, vouched)
}

/// What the log says of its own losses.
fn acknowledgements(path: &Path, out: &Out) -> Outcome {
    let all = AuditQuery { outcome: Some(AuditOutcome::Changed), ..AuditQuery::default() };
    let said = read_audit(path, &all, |entry, _| {
        if !entry.record.acknowledged.is_empty() {
            out.note(&shown(&format!("known since record {}: {}", entry.seq, entry.record.reason)));
        }
        ControlFlow::Continue(())
    });
    said.map_err(|fault| unreadable(&fault))?;
    Ok(())
}

#[derive(Serialize)]
struct Acknowledged {
    /// The record that says so; nothing if nothing was missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<u64>,
    /// The last record before each loss.
    lost: Vec<u64>,
    said: String,
}

/// Writes into the log that its loss is known, once it is sure that nothing else is wrong with it.
async fn acknowledge(setup: &Setup, out: &mut Out, arguments: &AuditAcknowledge) -> Outcome {
    let path = setup.folder.audit();
    must_exist(&path)?;
    let _claim = running::claim(&setup.folder)?;
    let asked = AuditVerify { witness: arguments.witness.clone(), offline: false };
    let known = match known(setup, out, &asked).await? {
        Ok(known) => known.heads,
        Err(fault) => return damaged(out, &fault),
    };
    let mut lost = match missing_audit(&path, &known) {
        Ok(lost) => lost,
        Err(fault) => return damaged(out, &fault),
    };
    lost.sort_by_key(|head| head.records);
    lost.dedup();
    let (mut record, mut said) = (None, "nothing is missing that is not acknowledged".to_string());
    if !lost.is_empty() {
        let log = AuditLog::open(&path).map_err(Problem::from)?;
        let identity = IdentityFile::read(&setup.folder.identity()).map_err(Problem::from)?;
        let entry = AuditRecord::of_loss(setup.world.clock.unix(), identity.principal(), log.head(), lost.clone());
        log.record(&entry).and_then(|()| log.finish()).map_err(Problem::from)?;
        (record, said) = (Some(log.head().records), entry.reason);
    }
    let lost = lost.iter().map(|head| head.records).collect();
    out.result(&Acknowledged { record, lost, said }, |out, done| match done.record {
        Some(record) => out.line(&format!("record {record}: {}", shown(&done.said))),
        None => out.line(&done.said),
    })
}

fn say(out: &mut Out, summary: AuditSummary, witness: Option<Vouched>) -> Outcome {
    let AuditSummary { first, head, lost, .. } = summary;
    let (records, hash) = (head.records, head.hash.to_string());
    let acknowledged = lost.iter().map(|head| head.records).collect();
    let verified = Verified { whole: true, first, records, hash, acknowledged, witness };
    out.result(&verified, |out, verified| {
        if verified.records < verified.first {
            out.line("whole: there is no record yet")?;
        } else {
            let Verified { first, records, hash, .. } = verified;
            out.line(&format!("whole: records {first} to {records}, hash {hash}"))?;
        }
        match &verified.witness {
            Some(one) => {
                out.line(&format!("{} was told of record {} at {}", one.node, one.records, time(one.at_ms)))
            }
            None => out.line("no second node vouches for the end"),
        }
    })
}

fn damaged(out: &mut Out, fault: &AuditFault) -> Outcome {
    if matches!(fault, AuditFault::Io { .. }) {
        return Err(unreadable(fault).into());
    }
    let found = Damaged { whole: false, record: fault.record(), fault: fault.to_string() };
    out.result(&found, |out, found| {
        out.line(&format!("DAMAGED: {}", shown(&found.fault)))?;
        out.line("keep the files as they are, compare them with a copy, and find out who was at this machine")
    })?;
    out.flush()?;
    Err(Failure::Exit(1))
}

/// What the second node keeps. That nobody can be asked is said, and no fault of the log.
async fn ask(
    setup: &Setup,
    out: &Out,
    arguments: &AuditVerify,
) -> Result<Option<(Node, trust::Witnessed)>, Failure> {
    let client = match reach::client(setup) {
        Ok(client) => client,
        Err(Failure::Problem(problem)) => {
            out.note(&format!("no second node can be asked: {problem}"));
            return Ok(None);
        }
        Err(failure) => return Err(failure),
    };
    let chosen = arguments.witness.is_some();
    for node in witnesses(&client, arguments)? {
        let answer = timeout(WITNESS_PATIENCE, node.witnessed()).await.unwrap_or_else(|_| {
            Err(Problem::new(Code::Timeout, format!("{} did not answer in time", node.principal())))
        });
        match answer {
            Ok(WitnessReply { kept: Some(kept) }) => return Ok(Some((node, kept))),
            Ok(_) => out.note(&format!("{} was never told of this log", node.principal())),
            Err(problem) if chosen => return Err(problem.into()),
            Err(problem) => out.note(&format!("{}: {problem}", node.principal())),
        }
    }
    Ok(None)
}

/// Whom to ask, in this order: the node that was named; the realm's first node, or at that node the members that it
/// heard of.
fn witnesses(client: &Client, arguments: &AuditVerify) -> Result<Vec<Node>, Problem> {
    let identity = client.require_identity()?;
    let own = identity.principal();
    if let Some(name) = &arguments.witness {
        return Ok(vec![reach::node(client, name, &own.realm)?]);
    }
    usual_witnesses(client)
}

/// Whom the node of this client tells where its log ends.
pub fn usual_witnesses(client: &Client) -> Result<Vec<Node>, Problem> {
    if client.folder().authority().exists() {
        let known = witnessed(client.folder())?;
        return Ok(known.iter().take(3).map(|one| client.node(&one.node, &one.address)).collect());
    }
    let identity = client.require_identity()?;
    let own = identity.principal();
    Ok(client.first_node(&own.realm).into_iter().filter(|node| node.principal() != own).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_hostile_names_is_shown_on_its_own_lines() {
        let line = r#"{"seq":7,"prev":"x","at":0,"outcome":"refused","subject":"spiffe://a/user/bob","right":"r",
            "resource":"d.a/x\n2026-01-01 granted\u001b[2K\u202e","reason":"no\rgranted","count":3,
            "chain":[{"id":"ab","subject":"spiffe://a/user/bob","audience":"spiffe://a/server/n","grants":["r on \u2028"]}]}"#;
        let entry: AuditEntry = serde_json::from_str(line).expect("a record");
        let lines: Vec<String> = sentences(&entry).iter().map(|line| shown(line).into_owned()).collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert_eq!(
            lines[0],
            "1970-01-01 00:00:00Z       7  refused  r on d.a/x\\n2026-01-01 granted\\u{1b}[2K\\u{202e}  (3 times)"
        );
        assert_eq!(lines[2], "    no\\rgranted");
        let told =
            "    link 1: ab of spiffe://a/user/bob for spiffe://a/user/bob to spiffe://a/server/n: r on \\u{2028}";
        assert_eq!(lines[3], told);
    }
}
