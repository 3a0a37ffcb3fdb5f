//! Second opinions on audit logs: each node tells another one of its realm where its log ends, once a minute and when
//! it stops, and is told at its start if that does not fit what it says now.
//!
//! The realm's first node witnesses all others; for the first node it is the member that it heard of last. What is
//! kept never goes back: the rules are [`trust::Witnessed`]'s.

use crate::gatekeeper::Caller;
use crate::limits::{LAST_WORD_DEADLINE, MAX_ADDRESS_BYTES, MAX_WITNESSED, MAX_WITNESSED_BYTES, WITNESS_INTERVAL};
use crate::node::{State, off_thread};
use client::protocol::{WitnessReply, WitnessWord};
use client::{Folder, durable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use terms::{Code, Label, Principal, PrincipalKind, Problem};
use trust::{AuditHead, AuditRecord, HEAD_KIND, HeadStatement, Testimony, Witnessed};

/// What is kept of one node, as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessedNode {
    /// Which node.
    pub node: Principal,
    /// Where it listened: there it can be asked to witness in its turn.
    pub address: String,
    /// Its heads.
    #[serde(flatten)]
    pub kept: Witnessed,
}

/// The nodes whose audit logs are witnessed in a folder, the one heard of last first.
pub fn witnessed(folder: &Folder) -> Result<Vec<WitnessedNode>, Problem> {
    let path = folder.witness();
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&path, &error)),
    };
    let mut found = Vec::new();
    for entry in entries.flatten().map(|entry| entry.path()) {
        if entry.extension().is_some_and(|extension| extension == "json") {
            found.push(read(&entry)?);
        }
    }
    found.sort_by_key(|one: &WitnessedNode| std::cmp::Reverse(one.kept.at));
    Ok(found)
}

fn read(path: &PathBuf) -> Result<WitnessedNode, Problem> {
    let length = fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    let parsed = serde_json::from_slice(&bytes).ok().filter(|_| length <= MAX_WITNESSED_BYTES);
    parsed.ok_or_else(|| {
        Problem::new(Code::Internal, format!("{} is damaged: it says nothing of an audit log", path.display()))
            .next("restore it from a copy, or remove it: then this node is told anew, and vouches for less")
    })
}

fn unreadable(path: &std::path::Path, error: &std::io::Error) -> Problem {
    Problem::new(Code::Internal, format!("{} cannot be read: {error}", path.display())).next("check who owns it")
}

/// What this node keeps of others.
pub struct Witness {
    folder: PathBuf,
    nodes: Mutex<BTreeMap<Label, WitnessedNode>>,
}

impl Witness {
    /// What was kept before.
    pub fn load(folder: &Folder) -> Result<Self, Problem> {
        let nodes = witnessed(folder)?.into_iter().map(|one| (one.node.name.clone(), one)).collect();
        Ok(Self { folder: folder.witness(), nodes: Mutex::new(nodes) })
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<Label, WitnessedNode>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of the caller.
    pub fn kept_of(&self, caller: &Caller) -> Result<WitnessReply, Problem> {
        let peer = caller.for_itself()?;
        let nodes = self.nodes();
        let kept = nodes.get(&peer.principal.name).filter(|one| one.node == peer.principal);
        Ok(WitnessReply { kept: kept.map(|one| one.kept.clone()) })
    }

    /// The node that was heard of last.
    fn newest(&self) -> Option<(Principal, String)> {
        let nodes = self.nodes();
        let newest = nodes.values().max_by_key(|one| one.kept.at)?;
        Some((newest.node.clone(), newest.address.clone()))
    }
}

/// Takes a node's word about its log. A contradiction is recorded here, where that node cannot take it back.
pub async fn hear(state: &Arc<State>, caller: &Caller, word: &WitnessWord) -> Result<(), Problem> {
    let peer = caller.for_itself()?.principal.clone();
    if peer.kind != PrincipalKind::Server || peer.realm != *state.realm() || peer == state.own.principal {
        return Err(Problem::new(Code::Denied, "a node witnesses the audit logs of other nodes of its realm only"));
    }
    if word.address.len() > MAX_ADDRESS_BYTES {
        return Err(Problem::new(Code::TooLarge, "the address of the node is too long"));
    }
    let now = state.world.clock.unix();
    let signed = trust::signed::open::<HeadStatement>(&word.head, HEAD_KIND, state.client.trust(), now)?;
    if signed.signer != peer {
        return Err(Problem::new(Code::Denied, format!("the head is signed by {}, not by {peer}", signed.signer)));
    }
    let (state, address) = (state.clone(), word.address.clone());
    let keep = move || keep(&state, peer, address, &signed.value);
    tokio::task::spawn_blocking(keep)
        .await
        .map_err(|error| Problem::new(Code::Internal, format!("the head was not kept: {error}")))?
}

fn keep(state: &State, node: Principal, address: String, word: &HeadStatement) -> Result<(), Problem> {
    let HeadStatement { head, acknowledged, .. } = word;
    let head: AuditHead = *head;
    let now = state.world.clock.unix();
    let mut nodes = state.witness.nodes();
    let full = nodes.len() >= MAX_WITNESSED;
    let (mut one, testimony) = match nodes.get(&node.name) {
        None if full => {
            let what = format!("the audit logs of {MAX_WITNESSED} nodes are witnessed here, and no more");
            return Err(Problem::new(Code::TooLarge, what));
        }
        None => {
            let kept = Witnessed::new(head, now);
            (WitnessedNode { node: node.clone(), address: address.clone(), kept }, Testimony::Newer)
        }
        Some(known) => {
            let mut one = known.clone();
            let testimony = one.kept.hear(head, now, acknowledged);
            (one, testimony)
        }
    };
    let known = nodes.get(&node.name).unwrap_or(&one).kept.newest.records;
    let moved = std::mem::replace(&mut one.address, address) != one.address;
    let disputes = nodes.get(&node.name).is_none_or(|known| known.kept.disputed != one.kept.disputed);
    if matches!(testimony, Testimony::Newer | Testimony::Acknowledges) || moved || disputes {
        let text = serde_json::to_vec(&one)
            .map_err(|error| Problem::new(Code::Internal, format!("a head cannot be kept: {error}")))?;
        durable::replace(&state.witness.folder.join(format!("{}.json", node.name)), &text)?;
    }
    nodes.insert(node.name.clone(), one);
    drop(nodes);
    match testimony {
        Testimony::Newer | Testimony::Same => return Ok(()),
        Testimony::Acknowledges => return acknowledged_by(state, &node, head, known),
        Testimony::Contradicts => {}
    }
    let what = format!(
        "its audit log contradicts itself: it ends with record {} now ({}), and ended with record {known} before",
        head.records, head.hash
    );
    let mut record = AuditRecord::of_refusal(now, None, "audit log", &what);
    record.peer = Some(node.clone());
    state.gate.note(&record)?;
    tracing::error!(%node, "{what}");
    Err(Problem::new(Code::Conflict, format!("{node}: {what}"))
        .next("find out who was at that node; `webos audit verify` there says what is missing"))
}

/// A log that was restored from a copy, as its node says: recorded here, where that node cannot take it back.
fn acknowledged_by(state: &State, node: &Principal, head: AuditHead, before: u64) -> Result<(), Problem> {
    let what = format!(
        "its audit log was restored, and says so: it ends with record {} now, and ended with record {before} before",
        head.records
    );
    let mut record = AuditRecord::of_change(state.world.clock.unix(), node, "audit log", &what);
    record.peer = Some(node.clone());
    tracing::warn!(%node, "{what}");
    state.gate.note(&record)
}

/// Tells the witness each minute where the log ends; at the start it is asked first what it was told before.
pub async fn tell_witness(state: Arc<State>) {
    let mut compared = false;
    loop {
        let round = async {
            compared = compared || compare(&state).await;
            off_thread(&state, crate::gatekeeper::Gatekeeper::flush).await;
            tell(&state).await;
        };
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = round => {}
        }
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep(WITNESS_INTERVAL) => {}
        }
    }
}

/// The end of the log as it is after a clean stop. Nobody waits long for it.
pub async fn last_word(state: &Arc<State>) {
    if tokio::time::timeout(LAST_WORD_DEADLINE, tell(state)).await.is_err() {
        tracing::info!("the witness of the audit log did not answer in time");
    }
}

fn witness_of(state: &State) -> Option<client::Node> {
    if state.is_first() {
        let (node, address) = state.witness.newest()?;
        return Some(state.client.node(&node, &address));
    }
    state.client.first_node(state.realm()).ok()
}

async fn tell(state: &Arc<State>) {
    let Some(witness) = witness_of(state) else { return };
    let log = state.gate.audit();
    let acknowledged = log.acknowledged().to_vec();
    let statement = HeadStatement { head: log.head(), at: state.world.clock.unix(), acknowledged };
    let signed = state.identity().and_then(|own| Ok(trust::signed::sign(&own, HEAD_KIND, &statement)?));
    let told = match signed {
        Ok(head) => witness.testify(&WitnessWord { head, address: state.advertised.clone() }).await,
        Err(problem) => Err(problem),
    };
    if let Err(problem) = told {
        tracing::warn!(witness = %witness.principal(), %problem, "the end of the audit log was not witnessed");
    }
}

/// Compares the log with what the witness was told before; answers whether there was an answer.
async fn compare(state: &Arc<State>) -> bool {
    let Some(witness) = witness_of(state) else { return true };
    let kept = match witness.witnessed().await {
        Ok(reply) => reply.kept,
        Err(problem) => {
            tracing::info!(witness = %witness.principal(), %problem, "the witness cannot be asked yet");
            return false;
        }
    };
    let Some(kept) = kept else { return true };
    let gate = state.gate.clone();
    let compared = tokio::task::spawn_blocking(move || gate.audit().compare(kept.heads())).await;
    if let Ok(Err(fault)) = compared {
        let found = format!("the audit log is not what {} was told of it: {fault}", witness.principal());
        tracing::error!("{found}; run `webos audit verify`, and find out who was at this node");
        let record = AuditRecord::of_change(state.world.clock.unix(), &state.own.principal, "audit log", &found);
        if let Err(problem) = state.gate.note(&record) {
            tracing::error!(%problem, "and that could not be recorded");
        }
    }
    true
}
