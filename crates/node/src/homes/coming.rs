//! A move at the new home: fetches the volume in streams, the last of them while nobody serves it, has all of it on
//! disk, and has the old home hand it over. What came does not count before the realm's first node says so.

use super::stream::Arriving;
use super::{Here, away, come_true, must_own, own_claim, serve};
use crate::gatekeeper::Caller;
use crate::limits::{DUMP_PAUSE, DUMP_QUEUE, MAX_MOVES};
use crate::node::State;
use bytes::Bytes;
use client::protocol::{DumpPurpose, DumpRequest, MoveProgress, MoveReply, MoveRequest};
use client::{Node, Standing};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use terms::{ByteCount, Code, Epoch, Principal, Problem, VolumeName};
use tokio::sync::mpsc;
use tokio::time::timeout;
use webfs::store::{Receiving, is_volume};

/// The volumes that come, or came last.
#[derive(Default)]
pub struct Comings(Mutex<BTreeMap<VolumeName, MoveProgress>>);

impl Comings {
    fn all(&self) -> MutexGuard<'_, BTreeMap<VolumeName, MoveProgress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a volume is on its way.
    pub fn is_running(&self, name: &VolumeName) -> bool {
        self.all().get(name).is_some_and(runs)
    }

    fn set(&self, name: &VolumeName, progress: MoveProgress) {
        self.all().insert(name.clone(), progress);
    }

    fn came(&self, name: &VolumeName, count: u64) {
        if let Some(MoveProgress::Copying(bytes) | MoveProgress::Finishing(bytes)) = self.all().get_mut(name) {
            bytes.0 += count;
        }
    }

    fn bytes(&self, name: &VolumeName) -> ByteCount {
        match self.all().get(name) {
            Some(MoveProgress::Copying(bytes) | MoveProgress::Finishing(bytes)) => *bytes,
            _ => ByteCount(0),
        }
    }
}

fn runs(progress: &MoveProgress) -> bool {
    matches!(progress, MoveProgress::Copying(_) | MoveProgress::Finishing(_))
}

/// How a move stands.
pub fn look(state: &State, caller: &Caller, name: &VolumeName) -> Result<MoveReply, Problem> {
    must_own(state, caller, name)?;
    let progress = state.comings.all().get(name).cloned();
    progress.map(MoveReply::Stands).ok_or_else(|| {
        Problem::new(Code::NotFound, format!("{name} is not on its way to {}", state.own.principal))
            .next("the node was started anew, or nobody has moved it: `webos volume move` begins again")
    })
}

/// Begins to fetch a volume, for the owners of this node.
pub async fn take(
    state: &Arc<State>,
    caller: &Caller,
    name: VolumeName,
    (from, address): (Principal, String),
) -> Result<MoveReply, Problem> {
    must_own(state, caller, &name)?;
    if name.realm != *state.realm() || from.realm != *state.realm() {
        let what = format!("{name} can have its home only at a node of its realm");
        return Err(Problem::new(Code::Invalid, what));
    }
    if state.homes.get(&name).is_some() {
        let what = format!("{} has a volume {name} already, which is at home there", state.own.principal);
        return Err(Problem::new(Code::Exists, what).next("`webos volume show` tells what the realm knows of it"));
    }
    {
        let mut all = state.comings.all();
        if let Some(progress) = all.get(&name).filter(|progress| runs(progress)) {
            return Ok(MoveReply::Stands(progress.clone()));
        }
        if all.values().filter(|progress| runs(progress)).count() >= MAX_MOVES {
            let what = format!("{MAX_MOVES} volumes are on their way to {} already", state.own.principal);
            return Err(Problem::new(Code::Busy, what).next("try again when one has come"));
        }
        all.insert(name.clone(), MoveProgress::Copying(ByteCount(0)));
    }
    let what = format!("takes it over from {from}");
    if let Err(problem) = state.gate.note_change(caller, &name.to_string(), &what) {
        state.comings.set(&name, MoveProgress::Failed(problem.clone()));
        return Err(problem);
    }
    let task = (state.clone(), name.clone());
    state.tasks.spawn(async move {
        let (state, name) = task;
        let source = state.client.node(&from, &address);
        let progress = tokio::select! {
            came = fetch(&state, &name, &source) => came.unwrap_or_else(MoveProgress::Failed),
            () = state.stop.cancelled() => {
                MoveProgress::Failed(Problem::new(Code::Unavailable, format!("{} is ending", state.own.principal)))
            }
        };
        state.comings.set(&name, progress);
    });
    Ok(MoveReply::Stands(MoveProgress::Copying(ByteCount(0))))
}

async fn fetch(state: &Arc<State>, name: &VolumeName, source: &Node) -> Result<MoveProgress, Problem> {
    let dir = state.settings.folder.volume(name);
    let ask = |purpose| DumpRequest { volume: name.clone(), purpose };
    // The answer tells that the old home serves, and offers it: what an earlier attempt left here will never count.
    let whole = source.dump(&ask(DumpPurpose::Copy)).await?;
    make_room(state, name, &dir)?;
    let coming = Standing::Coming { from: source.principal().clone() };
    coming.write(&dir)?;
    state.homes.set(name, Here::Away(away(name, &coming)));
    let (place, world) = (dir.clone(), state.world.clone());
    let mut receiving = Some(blocking(move || Receiving::begin(&place, world)).await?.map_err(|e| e.for_owner())?);
    let streams = async {
        land(state, name, &mut receiving, whole).await?;
        let more = source.dump(&ask(DumpPurpose::CatchUp)).await?;
        land(state, name, &mut receiving, more).await?;
        let stopped = state.world.clock.boot();
        state.comings.set(name, MoveProgress::Finishing(state.comings.bytes(name)));
        let rest = source.dump(&ask(DumpPurpose::Last)).await?;
        land(state, name, &mut receiving, rest).await?;
        Ok::<_, Problem>(stopped)
    };
    let stopped = match streams.await {
        Ok(stopped) => stopped,
        Err(problem) => {
            if let Some(receiving) = receiving {
                blocking(move || receiving.abandon()).await?;
            }
            Standing::forget(&dir);
            state.homes.forget(name);
            return Err(problem);
        }
    };
    let bytes = state.comings.bytes(name);
    let receiving = receiving.ok_or_else(|| Problem::new(Code::Internal, "a stream was not landed"))?;
    let volume = name.clone();
    let finished = blocking(move || receiving.finish(&volume, Epoch::default())).await?;
    let (store, restored) = finished.map_err(|error| error.for_owner())?;
    let confirmed = source.move_step(&MoveRequest::Confirm(own_claim(state, &store)?)).await;
    match confirmed {
        Ok(_) => serve(state, store).await?,
        // Perhaps it counted all the same: the first node knows.
        Err(problem) => {
            drop(store);
            if !come_true(state, name).await? {
                return Err(problem);
            }
        }
    }
    let stopped_ms = u64::try_from(state.world.clock.boot().since(stopped).as_millis()).unwrap_or(u64::MAX);
    Ok(MoveProgress::Done { epoch: restored.epoch, change: restored.change, bytes, stopped_ms })
}

/// Clears the place: what came before and never counted goes; what was at home here before is put aside.
fn make_room(state: &State, name: &VolumeName, dir: &Path) -> Result<(), Problem> {
    let failed = |error: io::Error| Problem::new(Code::Internal, format!("{}: {error}", dir.display()));
    match Standing::read(dir)? {
        Standing::Superseded { epoch, .. } if is_volume(dir) => {
            let aside = state.settings.folder.superseded();
            std::fs::create_dir_all(&aside).map_err(failed)?;
            let mut to = aside.join(format!("{name}.{epoch}"));
            for number in 1.. {
                if !to.exists() {
                    break;
                }
                to = aside.join(format!("{name}.{epoch}.{number}"));
            }
            tracing::info!(volume = %name, to = %to.display(), "what was here of before is put aside");
            std::fs::rename(dir, to).map_err(failed)
        }
        Standing::Coming { .. } => std::fs::remove_dir_all(dir).map_err(failed),
        _ if dir.exists() => {
            let what = format!("{} holds something of {name} already", dir.display());
            Err(Problem::new(Code::Exists, what).next("move that folder away"))
        }
        _ => Ok(()),
    }
}

async fn land(
    state: &Arc<State>,
    name: &VolumeName,
    receiving: &mut Option<Receiving>,
    stream: Response<Incoming>,
) -> Result<(), Problem> {
    let Some(mut present) = receiving.take() else { return Ok(()) };
    let (pieces, arriving) = mpsc::channel::<io::Result<Bytes>>(DUMP_QUEUE);
    let landing = blocking(move || {
        let taken = present.take(Arriving::new(arriving));
        (present, taken)
    });
    let pump = async move {
        let mut body = stream.into_body();
        loop {
            let piece = match timeout(DUMP_PAUSE, body.frame()).await {
                Ok(None) => return,
                Ok(Some(Ok(frame))) => frame.into_data().map_err(|_| io::Error::other("no data")),
                Ok(Some(Err(error))) => Err(io::Error::other(error.to_string())),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
            state.comings.came(name, piece.as_ref().map_or(0, |piece| piece.len() as u64));
            let last = piece.is_err();
            // Whoever lands it has said why it stopped.
            if pieces.send(piece).await.is_err() || last {
                return;
            }
        }
    };
    let (landed, ()) = tokio::join!(landing, pump);
    let (present, taken) = landed?;
    *receiving = Some(present);
    taken.map_err(|error| error.for_owner())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::new(Code::Internal, error.to_string()))
}
