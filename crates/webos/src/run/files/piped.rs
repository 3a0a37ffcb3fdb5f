//! `put` of standard input: what a pipe has given cannot be asked for again, so it is taken down while it is sent, and kept
//! if that fails.

use crate::home::cannot;
use crate::output::Out;
use crate::run::Setup;
use crate::run::limits::{PIECES_AHEAD, PUT_ATTEMPTS};
use bytes::{Bytes, BytesMut};
use client::content::{handed_over, read_from};
use client::limits::READ_BYTES;
use client::models::Entry;
use client::{About, Client, Condition, Draft, PutOptions, Recovery, Volume};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;
use terms::{Code, Location, OperationId, Problem, VolumePath};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What ends sooner needs no remark.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of standard input.
struct TakenDown {
    /// All of it; nothing if it could not be taken down.
    draft: Result<Draft, Problem>,
    /// Whether it was read to its end.
    whole: bool,
}

/// Where standard input goes, and how.
pub struct Piped<'a> {
    pub client: &'a Client,
    pub location: Location,
    pub how: PutOptions,
}

/// Stores standard input, and again if the answer was lost. What fails is kept, also if nobody could be asked.
pub async fn put_piped(
    setup: &Setup,
    out: &Out,
    piped: Piped<'_>,
    volume: Result<Volume, Problem>,
) -> Result<Entry, Problem> {
    let Piped { client, location, how } = piped;
    let operation = client.operation();
    let how = PutOptions { operation: Some(operation), ..how };
    let draft = Recovery::of(&setup.folder, &setup.world).draft();
    let input = standard_input()?;
    let (pieces, taken) = mpsc::channel(PIECES_AHEAD);
    let reading = tokio::task::spawn_blocking(move || take_down(input, draft, &pieces));
    let sent = match &volume {
        Ok(volume) => volume.put(&location.path, how, handed_over(taken)).await,
        Err(problem) => {
            drop(taken);
            Err(problem.clone())
        }
    };
    if sent.is_ok() {
        return sent;
    }
    let draft = match all_of_it(out, reading).await? {
        TakenDown { draft: Ok(draft), whole: true } => draft,
        TakenDown { draft: Ok(_), whole: false } => return sent,
        TakenDown { draft: Err(problem), .. } => {
            out.note(&format!("what was read is not kept: {problem}"));
            return sent;
        }
    };
    let sent = again(&volume, &location.path, how, &draft, sent).await;
    let Err(problem) = sent else { return sent };
    let about = about(location, (how, operation), draft.size(), &problem, setup.world.clock.unix());
    let kept = draft.keep(about)?;
    let next = format!("`webos recover publish {0}` stores what was read, `webos recover drop {0}` not", kept.name);
    let first = if problem.next.is_empty() { String::new() } else { format!("{}; ", problem.next) };
    Err(Problem::new(problem.code, problem.detail).next(format!("{first}{next}")))
}

/// Waits for the end of standard input; says so if that takes long.
async fn all_of_it(out: &Out, mut reading: JoinHandle<TakenDown>) -> Result<TakenDown, Problem> {
    let lost = |error| Problem::new(Code::Internal, format!("standard input could not be read: {error}"));
    if let Ok(taken) = timeout(PATIENCE, &mut reading).await {
        return taken.map_err(lost);
    }
    out.note("it could not be stored; standard input is read to its end, to keep it: Ctrl-C gives it up");
    reading.await.map_err(lost)
}

/// Tries again what may have been cut off by chance.
async fn again(
    volume: &Result<Volume, Problem>,
    path: &VolumePath,
    how: PutOptions,
    draft: &Draft,
    mut sent: Result<Entry, Problem>,
) -> Result<Entry, Problem> {
    let Ok(volume) = volume else { return sent };
    for _ in 1..PUT_ATTEMPTS {
        match &sent {
            Err(problem) if matches!(problem.code, Code::Unavailable | Code::Moved) => {
                let content = tokio::fs::File::from_std(draft.content()?);
                sent = volume.put(path, how, read_from(content)).await;
            }
            _ => break,
        }
    }
    sent
}

fn about(
    location: Location,
    (how, operation): (PutOptions, OperationId),
    size: u64,
    problem: &Problem,
    at: terms::UnixMs,
) -> About {
    let if_match = match how.condition {
        Condition::IfMatch(root) => Some(root),
        _ => None,
    };
    let if_absent = how.condition == Condition::IfAbsent;
    About {
        location,
        if_match,
        if_absent,
        parents: how.parents,
        operation,
        at,
        size,
        reason: problem.detail.clone(),
    }
}

/// Reads to the end, whoever still listens: what is not taken down and not sent would be lost.
fn take_down(
    mut input: File,
    mut draft: Result<Draft, Problem>,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> TakenDown {
    loop {
        let mut piece = BytesMut::zeroed(READ_BYTES);
        let count = match input.read(&mut piece) {
            Ok(0) => return TakenDown { draft, whole: true },
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                // The content must not look whole to the home.
                let _ = pieces.blocking_send(Err(error));
                return TakenDown { draft, whole: false };
            }
        };
        piece.truncate(count);
        if let Ok(open) = &mut draft
            && let Err(problem) = open.write(&piece)
        {
            draft = Err(problem);
        }
        let listened = pieces.blocking_send(Ok(piece.freeze())).is_ok();
        if !listened && draft.is_err() {
            return TakenDown { draft, whole: false };
        }
    }
}

/// Standard input as a file of its own.
pub(super) fn standard_input() -> Result<File, Problem> {
    let handle = io::stdin().as_fd().try_clone_to_owned();
    handle.map(File::from).map_err(|error| cannot("read", Path::new("standard input"), &error))
}
