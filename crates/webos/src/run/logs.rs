//! How the audit logs of the nodes here stand, for `doctor`: whole or not as far as their newest files tell, and when
//! the second node was told last. `webos audit verify` reads all of one.

use super::audit::usual_witnesses;
use super::limits::{TOLD_WITHIN, WITNESS_PATIENCE};
use super::running;
use crate::output::age;
use client::{Client, Folder};
use terms::{Principal, UnixMs};
use tokio::time::timeout;
use trust::{AuditFault, AuditHead, IdentityFile, Witnessed, noted_head, verify_newest_audit};
use world::World;

/// How one log stands. Only of a node that has run for a while somebody else must know where its log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// As it should be.
    Good,
    /// Whole, but nobody else could show that its end was cut.
    Alone,
    /// Not what it was.
    Damaged,
}

/// What is found of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How it stands.
    pub standing: Standing,
    /// Whose it is, and what was found.
    pub detail: String,
    /// What to do.
    pub next: String,
}

/// Looks at the log in a node's folder. Nothing where no node has run.
pub async fn look(folder: &Folder, world: &World) -> Option<Log> {
    let own = IdentityFile::read(&folder.identity()).ok()?.principal().clone();
    let path = folder.audit();
    let noted = noted_head(&path);
    if !path.exists() && matches!(noted, Ok(None)) {
        return None;
    }
    let told = ask(folder, world).await;
    let kept = told.as_ref().map(|(_, kept)| kept.clone());
    let known = kept.iter().flat_map(Witnessed::heads).copied().collect::<Vec<_>>();
    let checked = tokio::task::spawn_blocking(move || {
        let mut known = known;
        known.extend(noted?);
        if !path.exists() {
            return Err(AuditFault::Cut { expected: 1 });
        }
        Ok(verify_newest_audit(&path, &known)?.head)
    });
    let now = world.clock.unix();
    let runs = running::look(folder).is_some_and(|node| now.since(node.started) > TOLD_WITHIN);
    Some(match checked.await.ok()? {
        Ok(head) => whole(&own, head, told, runs, now),
        Err(fault) => Log {
            standing: Standing::Damaged,
            detail: format!("{own}: {fault}"),
            next: format!(
                "keep the files of {} as they are; `webos audit verify` says more",
                folder.path().display()
            ),
        },
    })
}

fn whole(own: &Principal, head: AuditHead, told: Option<(Principal, Witnessed)>, runs: bool, now: UnixMs) -> Log {
    let records = head.records;
    let Some((witness, kept)) = told else {
        let detail = format!("{own}: whole to record {records}; no second node was told of it, or none answers");
        let (standing, next) = match runs {
            true => (
                Standing::Alone,
                "only a second node of the realm can show that its end was cut: see that one runs",
            ),
            false => (Standing::Good, ""),
        };
        return Log { standing, detail, next: next.into() };
    };
    let ago = now.since(kept.at);
    let detail = format!(
        "{own}: whole to record {records}; {witness} was told of record {} {} ago",
        kept.newest.records,
        age(ago)
    );
    if runs && ago > TOLD_WITHIN {
        let next = format!("see whether this node reaches {witness}: it tells it each minute");
        return Log { standing: Standing::Alone, detail, next };
    }
    Log { standing: Standing::Good, detail, next: String::new() }
}

/// What the first witness that answers keeps of this log, asked as the node itself.
async fn ask(folder: &Folder, world: &World) -> Option<(Principal, Witnessed)> {
    let client = Client::open(folder.clone(), world.clone()).ok()?;
    for node in usual_witnesses(&client).ok()? {
        if let Ok(Ok(reply)) = timeout(WITNESS_PATIENCE, node.witnessed()).await
            && let Some(kept) = reply.kept
        {
            return Some((node.principal().clone(), kept));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_node_that_runs_and_tells_nobody_is_noted() {
        let [own, witness] =
            ["spiffe://a/server/n1", "spiffe://a/server/home"].map(|who| who.parse().expect("valid"));
        let (head, now) = (AuditHead { records: 7, hash: terms::Digest([1; 32]) }, UnixMs(1_790_000_000_000));
        let told = |minutes: u64| {
            Some((Principal::clone(&witness), Witnessed::new(head, now.minus(Duration::from_secs(60 * minutes)))))
        };
        for (told, runs, standing, words) in [
            (told(1), true, Standing::Good, "home was told of record 7 1 min 0 s ago"),
            (told(60), true, Standing::Alone, "home was told of record 7 1 h 0 min ago"),
            (told(60), false, Standing::Good, "whole to record 7"),
            (None, true, Standing::Alone, "no second node"),
            (None, false, Standing::Good, "no second node"),
        ] {
            let log = whole(&own, head, told, runs, now);
            assert!(log.standing == standing && log.detail.contains(words), "{log:?}");
        }
    }
}
