//! What a replica does as a server of holders: their session streams, and their opens. Rights are not decided here:
//! a stream comes with the question that is asked for what its holder registers, an open is answered with the list.

use super::blocks::Blocks;
use super::owner::{OpenAnswered, Order, Owner};
use crate::coherence::MayRead;
use crate::coherence::stream::{Heard, Holdings, Say, Stream};
use crate::coherence::streams::Streams;
use crate::rules::limits::MAX_RELAYS_NESTED;
use crate::rules::{HolderEvent, HomeAction, HomeEvent, RelayEvent, Up};
use crate::session::OpenRequest;
use crate::session::limits::MAX_STREAMS;
use bytes::Bytes;
use std::sync::Arc;
use terms::{Code, Location, Principal, Problem, VolumeName, VolumePath};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use trust::Bucket;
use wire::Body;

/// What those below ask of the owner, or the node for them.
pub(super) enum FromBelow {
    Stream { holder: Principal, may_read: MayRead, up: Body, down: mpsc::Sender<Bytes> },
    Heard(Heard<Listed>),
    Open { holder: Principal, request: OpenRequest, answer: OpenAnswered },
    Expel { holder: Principal },
    Holders { answer: oneshot::Sender<Vec<Principal>> },
}

/// Objects with their access lists.
pub(super) type Listed = Vec<(VolumePath, Arc<Bucket>)>;

impl From<Heard<Listed>> for Order {
    fn from(heard: Heard<Listed>) -> Self {
        Self::Below(FromBelow::Heard(heard))
    }
}

/// The streams from below.
#[derive(Default)]
pub(super) struct Below {
    streams: Streams<Listed>,
    pub(super) tasks: JoinSet<()>,
}

/// What one holder may have of what is held here. The rules have seen that it is current.
struct Readable {
    volume: VolumeName,
    may_read: MayRead,
}

impl Holdings for Readable {
    type Compared = Listed;

    async fn current(&self, listed: Listed) -> Vec<VolumePath> {
        let readable = listed.into_iter().filter_map(|(path, bucket)| {
            let location = Location { volume: self.volume.clone(), path };
            (self.may_read)(&location, &bucket).then_some(location.path)
        });
        readable.collect()
    }

    /// A relay's rules refuse locks to everybody, and say why.
    async fn may_lock(&self, _path: &VolumePath) -> bool {
        true
    }
}

impl Owner {
    pub(super) fn hear_below(&mut self, order: FromBelow, inbox: &mpsc::WeakSender<Order>) {
        match order {
            FromBelow::Stream { holder, may_read, up, down } => {
                if self.below.tasks.len() < MAX_STREAMS {
                    let holdings = Readable { volume: self.blocks.volume.clone(), may_read };
                    self.below.tasks.spawn(Stream { holder, up, down, holdings, owner: inbox.clone() }.run());
                }
            }
            FromBelow::Heard(Heard::Hello { hello, holder, say }) => {
                if self.below.streams.greeted(hello, say) {
                    self.step(RelayEvent::Below(HomeEvent::Hello { hello, holder }));
                }
            }
            FromBelow::Heard(Heard::Told { stream, message }) => {
                let last = message == Up::Leave;
                self.step(RelayEvent::Below(HomeEvent::Told { stream, message }));
                if last {
                    self.below.streams.end(stream);
                }
            }
            FromBelow::Open { holder, request, answer } => self.open_below(holder, request, answer),
            FromBelow::Expel { holder } => self.step(RelayEvent::Below(HomeEvent::Expel { holder })),
            FromBelow::Holders { answer } => {
                // Whoever has gone away needs no answer, here and below.
                let _ = answer.send(self.relay.below().holders());
            }
        }
    }

    fn open_below(&mut self, holder: Principal, request: OpenRequest, answer: OpenAnswered) {
        let OpenRequest { relays, stream, path } = request;
        if relays >= MAX_RELAYS_NESTED || self.relay.depth() > MAX_RELAYS_NESTED {
            let _ = answer.send(Err(too_deep(&self.blocks, &path)));
            return;
        }
        let token = self.wait(answer);
        self.passed = relays + 1;
        self.step(match stream {
            Some(stream) => RelayEvent::Below(HomeEvent::Open { token, holder, stream, object: path }),
            // Used once: the rules need not know of it.
            None => RelayEvent::Above(HolderEvent::Read { waiter: token, object: path }),
        });
        self.passed = 0;
    }

    pub(super) fn act_below(&mut self, action: HomeAction) {
        match action {
            HomeAction::Send { stream, message } => self.below.streams.send(stream, message),
            HomeAction::Compare { stream, request, change, objects } => {
                let listed = objects.into_iter().filter_map(|(path, version)| {
                    let held = self.held.get(&path).filter(|held| held.entry.version == version)?;
                    Some((path, held.bucket.clone()))
                });
                let compared = listed.collect();
                self.below.streams.say(stream, Say::Compare { request, change, compared });
            }
            // What stands in a store or changes it: a relay has none, and its rules see to its opens and recalls.
            HomeAction::Record { .. }
            | HomeAction::Forget { .. }
            | HomeAction::ReserveLocks { .. }
            | HomeAction::Granted { .. }
            | HomeAction::Admit { .. }
            | HomeAction::Refuse { .. } => {}
        }
    }
}

fn too_deep(blocks: &Blocks, path: &VolumePath) -> Problem {
    let (volume, server, home) = (&blocks.volume, blocks.link.server(), blocks.link.home());
    let detail = format!(
        "{volume}/{path} is not relayed on from here: this relay asks {server}, and more than {MAX_RELAYS_NESTED} \
         relays would stand before the home {home}"
    );
    Problem::new(Code::Unsupported, detail)
        .next("relay through a node that is nearer to the home, or from the home")
}
