//! One session stream at the home: frames up to the owner, what the owner wants said down to the holder.
//! It ends with its body, with the first frame that breaks the protocol, and after a goodbye.

use super::MayRead;
use super::owner::Order;
use crate::model::ObjectVersion;
use crate::rules::{ByeReason, Down, Hello, LockRefusal, Up};
use crate::session::limits::{HELLO_DEADLINE, STOP_DEADLINE, STREAM_QUEUE};
use crate::session::{FrameError, FrameReader, encode};
use crate::store::{Lookup, Store, StoreError};
use bytes::Bytes;
use terms::{ChangeNumber, Location, Principal, VolumePath};
use tokio::sync::mpsc;
use tokio::time::timeout;
use wire::Body;

/// What the owner wants done on a stream.
#[derive(Debug)]
pub(super) enum Say {
    /// Send this.
    Frame(Down),
    /// Compare these with the store, and send which are current.
    Compare { request: u64, change: ChangeNumber, objects: Vec<(VolumePath, ObjectVersion)> },
}

/// A stream and what it needs.
pub(super) struct Stream {
    pub(super) holder: Principal,
    pub(super) may_read: MayRead,
    pub(super) up: Body,
    pub(super) down: mpsc::Sender<Bytes>,
    pub(super) store: Store,
    /// Weak, so that streams do not keep a home running that everybody else has left.
    pub(super) owner: mpsc::WeakSender<Order>,
}

impl Stream {
    pub(super) async fn run(self) {
        let Self { holder, may_read, up, down, store, owner } = self;
        let mut frames = FrameReader::new(up);
        let hello = match timeout(HELLO_DEADLINE, frames.next::<Hello>()).await {
            Ok(Ok(Some(hello))) => hello,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(error)) => return refuse(&down, &holder, &error).await,
        };
        let (say, mut to_say) = mpsc::channel(STREAM_QUEUE);
        if tell(&owner, Order::Hello { hello, holder: holder.clone(), say }).await.is_err() {
            return;
        }
        loop {
            tokio::select! {
                wanted = to_say.recv() => match wanted {
                    // A goodbye was said: the holder may still take its leave.
                    None => return last_words(hello, frames, &owner).await,
                    Some(Say::Compare { request, change, objects }) => {
                        let current = current(&store, &may_read, objects).await;
                        if send(&down, Down::Registered { request, change, current }).await.is_err() {
                            return;
                        }
                    }
                    Some(Say::Frame(message)) => {
                        if send(&down, message).await.is_err() {
                            return;
                        }
                    }
                },
                frame = frames.next::<Up>() => match frame {
                    Ok(Some(Up::Lock { request, ref wish, .. }))
                        if !may_lock(&store, &may_read, &wish.path).await =>
                    {
                        let reason = LockRefusal::Denied;
                        if send(&down, Down::NotLocked { request, reason }).await.is_err() {
                            return;
                        }
                    }
                    Ok(Some(message)) => {
                        let last = message == Up::Leave;
                        if tell(&owner, Order::Told { stream: hello, message }).await.is_err() {
                            return;
                        }
                        if last {
                            // The stream's end tells the holder that its leave was taken: wait for the owner.
                            let _ = timeout(STOP_DEADLINE, async { while to_say.recv().await.is_some() {} }).await;
                            return;
                        }
                    }
                    Ok(None) => return,
                    Err(error) => return refuse(&down, &holder, &error).await,
                },
            }
        }
    }
}

/// Hears a holder out for a moment.
async fn last_words(stream: Hello, mut frames: FrameReader, owner: &mpsc::WeakSender<Order>) {
    let hear = async {
        while let Ok(Some(message)) = frames.next::<Up>().await {
            if tell(owner, Order::Told { stream, message }).await.is_err() {
                return;
            }
        }
    };
    // Whoever says nothing more is waited for by its lease, not here.
    let _ = timeout(STOP_DEADLINE, hear).await;
}

async fn tell(owner: &mpsc::WeakSender<Order>, order: Order) -> Result<(), ()> {
    owner.upgrade().ok_or(())?.send(order).await.map_err(|_| ())
}

/// A reader that takes nothing any more counts as gone.
async fn send(down: &mpsc::Sender<Bytes>, message: Down) -> Result<(), ()> {
    down.send(encode(&message)).await.map_err(|_| ())
}

async fn refuse(down: &mpsc::Sender<Bytes>, holder: &Principal, error: &FrameError) {
    tracing::debug!(%holder, %error, "a session stream ends");
    if !matches!(error, FrameError::Cut | FrameError::Broken(_)) {
        let _ = send(down, Down::Bye { reason: ByeReason::Malformed }).await;
    }
}

/// Whoever may read an object, or what would lie there, may lock it.
async fn may_lock(store: &Store, may_read: &MayRead, path: &VolumePath) -> bool {
    let Ok(lookup) = store.lookup(path).await else { return false };
    let Ok(bucket) = store.bucket(lookup.bucket()).await else { return false };
    may_read(&Location { volume: store.name().clone(), path: path.clone() }, &bucket)
}

/// Which of these are what the store has now, and the holder may read. What cannot be read is not current.
async fn current(store: &Store, may_read: &MayRead, objects: Vec<(VolumePath, ObjectVersion)>) -> Vec<VolumePath> {
    let mut current = Vec::with_capacity(objects.len());
    for (path, version) in objects {
        match is_current(store, may_read, &path, version).await {
            Ok(true) => current.push(path),
            Ok(false) => {}
            Err(error) => tracing::warn!(?path, %error, "a version could not be compared"),
        }
    }
    current
}

async fn is_current(
    store: &Store,
    may_read: &MayRead,
    path: &VolumePath,
    version: ObjectVersion,
) -> Result<bool, StoreError> {
    let Lookup::Found(object) = store.lookup(path).await? else { return Ok(false) };
    if object.entry.version != version {
        return Ok(false);
    }
    let bucket = store.bucket(object.bucket).await?;
    Ok(may_read(&Location { volume: store.name().clone(), path: path.clone() }, &bucket))
}
