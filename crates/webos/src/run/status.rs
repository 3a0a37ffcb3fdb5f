//! `status`: every node of this folder that runs, and how it stands.

use super::limits::STATUS_PATIENCE;
use super::proxies::{self, ProxyLine};
use super::running::{self, Running};
use super::{Setup, reach};
use crate::output::{Failure, Out, Outcome, age, plural, time_left};
use client::protocol::NodeStatus;
use client::{Client, Folder};
use futures_util::future::join_all;
use serde::Serialize;
use std::time::Duration;
use terms::{Code, Problem, UnixMs};
use tokio::time::timeout;

#[derive(Serialize)]
struct Status {
    home: String,
    identity: Option<String>,
    /// The process of `webos up`, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    world_pid: Option<u32>,
    nodes: Vec<NodeLine>,
    proxies: Vec<ProxyLine>,
}

#[derive(Serialize)]
struct NodeLine {
    name: String,
    principal: String,
    pid: u32,
    address: String,
    home_folder: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<NodeStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// Folders in which nodes of this principal may run: its own, and those of its local world.
pub fn folders(own: &Folder) -> Vec<Folder> {
    let below = std::fs::read_dir(own.world()).into_iter().flatten().flatten();
    let mut folders: Vec<_> = below.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    std::iter::once(own.clone()).chain(folders.into_iter().map(Folder::new)).collect()
}

/// Asks each node that runs here how it stands.
pub async fn show(setup: &Setup, out: &mut Out) -> Outcome {
    let client = reach::client(setup)?;
    let found = folders(&setup.folder).into_iter().filter_map(|folder| Some((running::look(&folder)?, folder)));
    let lines = join_all(found.map(|(running, folder)| line(&client, running, folder))).await;
    let mut nodes = lines;
    // The realm's first node first, the others by name.
    nodes.sort_by_key(|node| (node.status.as_ref().is_none_or(|s| s.volumes.is_empty()), node.name.clone()));
    let status = Status {
        home: setup.folder.path().display().to_string(),
        identity: client.identity().map(|identity| identity.principal().to_string()),
        world_pid: crate::up::running(&setup.folder),
        nodes,
        proxies: proxies::look(&setup.folder),
    };
    let now = setup.world.clock.unix();
    out.result(&status, |out, status| people(out, status, now))?;
    out.flush()?;
    let dead = !status.nodes.is_empty() && status.nodes.iter().all(|node| node.status.is_none());
    if dead { Err(Failure::Exit(Code::Unavailable.exit_code())) } else { Ok(()) }
}

async fn line(client: &Client, running: Running, folder: Folder) -> NodeLine {
    let node = client.node(&running.principal, &running.address);
    let (status, problem) = match timeout(STATUS_PATIENCE, node.status()).await {
        Ok(Ok(status)) => (Some(status), None),
        Ok(Err(problem)) => (None, Some(problem)),
        Err(_) => {
            let what = format!("no answer within {} ms: it hangs, or was stopped", STATUS_PATIENCE.as_millis());
            let next = format!("see what holds process {} up, or end it and start it anew", running.pid);
            (None, Some(Problem::new(Code::Timeout, what).next(next)))
        }
    };
    NodeLine {
        name: running.principal.name.to_string(),
        principal: running.principal.to_string(),
        pid: running.pid,
        address: running.address,
        home_folder: folder.path().display().to_string(),
        status,
        problem,
    }
}

fn people(out: &mut Out, status: &Status, now: UnixMs) -> Outcome {
    match &status.identity {
        Some(identity) => out.line(&format!("you are {identity}, in {}", status.home))?,
        None => out.line(&format!("there is no identity in {}", status.home))?,
    }
    if let Some(pid) = status.world_pid {
        out.line(&format!("the local world runs: `webos up`, process {pid}"))?;
    }
    status.nodes.iter().try_for_each(|node| one(out, node, now))?;
    for proxy in &status.proxies {
        out.line(&format!("a proxy at http://{}, process {}", proxy.address, proxy.pid))?;
    }
    advice(status).map_or(Ok(()), |text| out.line(&text))
}

/// What to do when no node is of use.
fn advice(status: &Status) -> Option<String> {
    let anew = "end what is left with `webos down`, and start anew with `webos up`";
    if status.nodes.iter().any(|node| node.status.is_some()) {
        return None;
    }
    Some(match (status.nodes.len(), status.world_pid) {
        (0, None) => "no node runs here; `webos up` starts a local world, `webos node run` one node".into(),
        (0, Some(pid)) => format!(
            "no node runs, though `webos up` (process {pid}) does: revive them on its console, or {anew}; \
             world/NAME/node.log says why a node ended"
        ),
        (count, Some(_)) => format!("none of {} answers: {anew}", plural(count as u64, "node")),
        (count, None) => format!(
            "none of {} answers: end the processes that hang, and start them anew with `webos node run`",
            plural(count as u64, "node")
        ),
    })
}

fn one(out: &mut Out, node: &NodeLine, now: UnixMs) -> Outcome {
    out.line(&format!("{}  at {}, process {}", node.name, node.address, node.pid))?;
    if let Some(problem) = &node.problem {
        return out.line(&format!("  does not say how it stands: {problem}"));
    }
    let Some(status) = &node.status else { return Ok(()) };
    let until = status.certificate_until;
    out.line(&format!("  up {}, certificate {}", age(now.since(status.started)), time_left(now, until)))?;
    for volume in &status.volumes {
        out.line(&format!("  home of {volume}"))?;
    }
    for front in &status.fronts {
        let lease = front
            .lease_left_ms
            .map_or(String::new(), |ms| format!(", lease for {}", age(Duration::from_millis(ms.into()))));
        let role = if front.primary { "primary" } else { "surrogate" };
        let phase = format!("{:?}", front.phase).to_lowercase();
        let served = front.requests;
        out.line(&format!("  {role} of {}: {phase}, {served} requests served{lease}", front.service))?;
    }
    for offer in &status.offers {
        out.line(&format!("  lent to {}", offer.offer.service))?;
    }
    for (volume, left_ms) in &status.relays {
        let left = age(Duration::from_millis((*left_ms).into()));
        out.line(&format!("  relay of {volume}, lease for {left}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_nothing_answers_it_says_what_to_do() {
        let node = || NodeLine {
            name: "n1".into(),
            principal: "spiffe://a/server/n1".into(),
            pid: 7,
            address: "127.0.0.1:1".into(),
            home_folder: "/h".into(),
            status: None,
            problem: Some(Problem::new(Code::Unavailable, "timed out")),
        };
        for (nodes, world_pid, words) in [
            (vec![], None, ["no node runs here", "webos up"]),
            (vec![], Some(9), ["`webos up` (process 9)", "webos down"]),
            (vec![node()], Some(9), ["none of 1 node answers", "webos down"]),
            (vec![node(), node()], None, ["none of 2 nodes answers", "webos node run"]),
        ] {
            let status = Status { home: "/h".into(), identity: None, world_pid, nodes, proxies: Vec::new() };
            let said = advice(&status).expect("something");
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }
}
