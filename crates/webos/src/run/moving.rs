//! `volume move`: has the old home offer a volume and the new one fetch it, and waits for the end.

use super::{Setup, reach};
use crate::args::NodeName;
use crate::output::{Failure, Out, Outcome};
use crate::run::limits::{MOVE_ASKS, MOVE_LOOK};
use client::protocol::{MoveProgress, MoveReply, MoveRequest};
use client::{Client, Node};
use serde::Serialize;
use terms::{ByteCount, ChangeNumber, Code, Epoch, Problem, VolumeName};

#[derive(Serialize)]
struct Moved {
    volume: String,
    from: String,
    to: String,
    epoch: Epoch,
    change: ChangeNumber,
    bytes: u64,
    stopped_ms: u64,
}

/// Moves a volume.
pub async fn run(setup: &Setup, out: &mut Out, volume: &VolumeName, to: &NodeName) -> Outcome {
    let client = reach::client(setup)?;
    let record = client.volume_record(volume).await?;
    if to.within(&volume.realm) == record.home {
        let what = format!("{volume} has its home at {} already, in epoch {}", record.home, record.epoch);
        return Err(Problem::new(Code::Invalid, what).next("name another node").into());
    }
    let target = reach::node(&client, to, &volume.realm)?;
    let source = client.node(&record.home, &record.address);
    // The new home first: whoever may not use it need not stop anything.
    let known = target.move_step(&MoveRequest::Look(volume.clone())).await;
    let running = match known {
        Ok(MoveReply::Stands(MoveProgress::Copying(_) | MoveProgress::Finishing(_))) => true,
        Ok(_) => false,
        Err(problem) if problem.code == Code::NotFound => false,
        Err(problem) => return Err(problem.into()),
    };
    if !running {
        let offer = MoveRequest::Offer { volume: volume.clone(), to: target.principal().clone() };
        source.move_step(&offer).await?;
        let (from, address) = (record.home.clone(), record.address.clone());
        target.move_step(&MoveRequest::Take { volume: volume.clone(), from, address }).await?;
    }
    let done = wait(&client, out, volume, &target).await?;
    let MoveProgress::Done { epoch, change, bytes, stopped_ms } = done else {
        return Err(Problem::new(Code::Internal, "the new home told of no end").into());
    };
    let (from, to) = (record.home.to_string(), target.principal().to_string());
    let moved = Moved { volume: volume.to_string(), from, to, epoch, change, bytes: bytes.0, stopped_ms };
    out.result(&moved, |out, moved| {
        out.line(&format!(
            "moved {} from {} to {}, in epoch {}: {}, {} ms without a home",
            moved.volume,
            moved.from,
            moved.to,
            moved.epoch,
            ByteCount(moved.bytes),
            moved.stopped_ms
        ))
    })
}

/// Waits for the end at the new home; an answer that is lost is asked for again.
async fn wait(client: &Client, out: &Out, volume: &VolumeName, target: &Node) -> Result<MoveProgress, Failure> {
    let mut bar = out.progress(&volume.to_string(), None);
    let (mut failed, mut shown) = (0, 0);
    loop {
        let answer = target.move_step(&MoveRequest::Look(volume.clone())).await;
        match answer {
            Ok(MoveReply::Stands(MoveProgress::Failed(problem))) => {
                let what = format!("{volume} was not moved: {}", problem.detail);
                return Err(Problem { detail: what, ..problem }.into());
            }
            Ok(MoveReply::Stands(MoveProgress::Copying(bytes) | MoveProgress::Finishing(bytes))) => {
                bar.advance(bytes.0.saturating_sub(shown));
                (failed, shown) = (0, bytes.0);
            }
            Ok(MoveReply::Stands(done)) => return Ok(done),
            Ok(_) => return Err(Problem::new(Code::Internal, "the new home answered something else").into()),
            Err(problem) if failed < MOVE_ASKS && problem.code != Code::NotFound => failed += 1,
            Err(problem) => return Err(unknown(client, volume, target, problem).await.into()),
        }
        tokio::time::sleep(MOVE_LOOK).await;
    }
}

/// The new home does not tell any more: what the realm knows.
async fn unknown(client: &Client, volume: &VolumeName, target: &Node, problem: Problem) -> Problem {
    let (what, next) = match client.volume_record_anew(volume).await {
        Ok(record) if record.home == *target.principal() => (
            format!("{volume} was handed over to {} in epoch {}, which does not answer", record.home, record.epoch),
            format!("start {} again: it is the home of {volume}", record.home),
        ),
        Ok(record) => (
            format!("{volume} was not moved, its home is {}: {}", record.home, problem.detail),
            "move it again when both nodes run".into(),
        ),
        Err(_) => (problem.detail, "`webos volume show` tells where its home is".into()),
    };
    Problem::new(problem.code, what).next(next)
}
