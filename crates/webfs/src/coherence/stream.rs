//! One session stream at a server of holders, be it the home or a relay: frames up to the owner, what the owner wants
//! said down to the holder. It ends with its body, with the first frame that breaks the protocol, and after a goodbye.

use crate::rules::{ByeReason, Down, Hello, LockRefusal, Up};
use crate::session::limits::{HELLO_DEADLINE, STOP_DEADLINE, STREAM_QUEUE};
use crate::session::{FrameError, FrameReader, encode};
use bytes::Bytes;
use std::convert::Infallible;
use terms::{ChangeNumber, Principal, VolumePath};
use tokio::sync::mpsc;
use tokio::time::timeout;
use wire::Body;

/// What a server of holders looks up for one of them: the home in its store, a relay in what it holds.
pub(crate) trait Holdings: Send + Sync + 'static {
    /// What a registration is compared by.
    type Compared: Send + 'static;
    /// Those that are current, and that the holder may read.
    fn current(&self, compared: Self::Compared) -> impl Future<Output = Vec<VolumePath>> + Send;
    /// Whether the holder may lock a path.
    fn may_lock(&self, path: &VolumePath) -> impl Future<Output = bool> + Send;
}

/// What the owner wants done on a stream.
#[derive(Debug)]
pub(crate) enum Say<C> {
    /// Send this.
    Frame(Down),
    /// Compare these, and send which are current.
    Compare { request: u64, change: ChangeNumber, compared: C },
}

/// What a stream brings its owner.
pub(crate) enum Heard<C> {
    /// Its first frame.
    Hello { hello: Hello, holder: Principal, say: mpsc::Sender<Say<C>> },
    /// A later one.
    Told { stream: Hello, message: Up },
}

/// A stream and what it needs.
pub(crate) struct Stream<H, O> {
    pub(crate) holder: Principal,
    pub(crate) up: Body,
    pub(crate) down: mpsc::Sender<Bytes>,
    pub(crate) holdings: H,
    /// Weak, so that streams do not keep a server running that everybody else has left.
    pub(crate) owner: mpsc::WeakSender<O>,
}

/// The body of the answer to a session request, and the end into which frames for it are put.
pub(crate) fn down_body() -> (mpsc::Sender<Bytes>, Body) {
    let (down, mut frames) = mpsc::channel::<Bytes>(STREAM_QUEUE);
    let frames = futures_util::stream::poll_fn(move |context| {
        frames.poll_recv(context).map(|frame| frame.map(Ok::<_, Infallible>))
    });
    (down, wire::body::stream(frames))
}

impl<H: Holdings, O: From<Heard<H::Compared>> + Send + 'static> Stream<H, O> {
    pub(crate) async fn run(self) {
        let Self { holder, up, down, holdings, owner } = self;
        let mut frames = FrameReader::new(up);
        let hello = match timeout(HELLO_DEADLINE, frames.next::<Hello>()).await {
            Ok(Ok(Some(hello))) => hello,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(error)) => return refuse(&down, &holder, &error).await,
        };
        let (say, mut to_say) = mpsc::channel(STREAM_QUEUE);
        if tell(&owner, Heard::Hello { hello, holder: holder.clone(), say }).await.is_err() {
            return;
        }
        loop {
            tokio::select! {
                wanted = to_say.recv() => match wanted {
                    // A goodbye was said: the holder may still take its leave.
                    None => return last_words(hello, frames, &owner).await,
                    Some(Say::Compare { request, change, compared }) => {
                        let current = holdings.current(compared).await;
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
                    Ok(Some(Up::Lock { request, ref wish, .. })) if !holdings.may_lock(&wish.path).await => {
                        let reason = LockRefusal::Denied;
                        if send(&down, Down::NotLocked { request, reason }).await.is_err() {
                            return;
                        }
                    }
                    Ok(Some(message)) => {
                        let last = message == Up::Leave;
                        if tell(&owner, Heard::Told { stream: hello, message }).await.is_err() {
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
async fn last_words<C, O: From<Heard<C>>>(stream: Hello, mut frames: FrameReader, owner: &mpsc::WeakSender<O>) {
    let hear = async {
        while let Ok(Some(message)) = frames.next::<Up>().await {
            if tell(owner, Heard::Told { stream, message }).await.is_err() {
                return;
            }
        }
    };
    // Whoever says nothing more is waited for by its lease, not here.
    let _ = timeout(STOP_DEADLINE, hear).await;
}

async fn tell<C, O: From<Heard<C>>>(owner: &mpsc::WeakSender<O>, heard: Heard<C>) -> Result<(), ()> {
    owner.upgrade().ok_or(())?.send(heard.into()).await.map_err(|_| ())
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
