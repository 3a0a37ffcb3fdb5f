//! What a replica does as a holder: it asks the server above, keeps what the rules keep, and answers who waits.

use super::blocks::{Counters, blocking};
use super::file::ReplicaObject;
use super::held::Held;
use super::limits::RETRY_MOST;
use super::link::LinkError;
use super::owner::{Done, Found, Opened, Owner, Waiter};
use super::stream::{connect, drain};
use crate::coherence::Grant;
use crate::rules::{Hello, HolderAction, HolderEvent, ReadFailure, RelayEvent};
use crate::session::{OpenRequest, encode};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use terms::{Problem, VolumePath};
use tokio::time::sleep;

impl Owner {
    pub(super) fn act_above(&mut self, action: HolderAction, answer: Option<&Result<Found, LinkError>>) {
        match action {
            HolderAction::Greet(hello) => self.greet(hello),
            HolderAction::Send { connection, message } => self.send(connection, encode(&message)),
            HolderAction::Close { connection, reason } => {
                if let Some(reason) = reason {
                    let server = self.blocks.link.server();
                    tracing::info!(volume = %self.blocks.volume, %server, %reason, "the session was ended");
                }
                self.close(connection);
            }
            // A relay's rules recall from those below what they are told to drop, and say when it is dropped.
            HolderAction::Drop { .. } => {}
            HolderAction::Locked { waiter, epoch } => self.locks.locked(waiter, epoch),
            HolderAction::NotLocked { waiter, failure } => {
                self.locks.not_locked(waiter, failure, self.blocks.link.home());
            }
            HolderAction::LockLost { epoch } => self.locks.lost(epoch),
            HolderAction::Ask { request, stream, object } => self.ask(request, stream, object),
            HolderAction::ServeCached { waiter, object, .. } => self.serve_cached(waiter, object),
            HolderAction::ServeAnswer { waiter, keep, .. } => {
                let found = match answer {
                    Some(Ok(found)) => Ok((found.held.clone(), keep)),
                    Some(Err(LinkError::Refused(problem))) => Err(problem.clone()),
                    Some(Err(LinkError::Unreachable(_))) | None => Err(self.blocks.cut_off()),
                };
                self.serve(waiter, found);
            }
            HolderAction::Fail { waiter, failure } => {
                let problem = match failure {
                    ReadFailure::Unreachable => self.blocks.cut_off(),
                    ReadFailure::RolledBack { seen, offered } => self.blocks.rolled_back(seen, offered),
                };
                self.serve(waiter, Err(problem));
            }
        }
    }

    fn serve(&mut self, waiter: u64, found: Result<(Arc<Held>, bool), Problem>) {
        if let Some(Waiter { answer, grant }) = self.waiters.remove(&waiter) {
            let opened = found.map(|(held, kept)| {
                let until = self.relay.above().unasked_until(&held.path);
                let object = ReplicaObject::new(&self.blocks, held, (kept, until), self.inbox.clone());
                Opened { object, grant, kept }
            });
            // A reader that has gone away needs nothing.
            let _ = answer.send(opened);
        }
    }

    fn serve_cached(&mut self, waiter: u64, object: VolumePath) {
        let Some(held) = self.held.get(&object).cloned() else {
            // What the rules take for cached is always held; if ever not, asking again is right, and what then comes
            // is used once.
            if let Some(waiter) = self.waiters.get_mut(&waiter) {
                waiter.grant.callback = false;
            }
            self.step(RelayEvent::Above(HolderEvent::Evict { object: object.clone() }));
            return self.step(RelayEvent::Above(HolderEvent::Read { waiter, object }));
        };
        self.sieve.touch(&object);
        self.blocks.cache.touch(&self.blocks.volume, &object);
        Counters::add(&self.blocks.counters.opens_cached, 1);
        self.serve(waiter, Ok((held, true)));
    }

    fn ask(&mut self, request: u64, stream: Option<Hello>, path: VolumePath) {
        let (blocks, key, opens) = (self.blocks.clone(), self.home_key.clone(), self.opens.clone());
        let relays = self.passed;
        self.asked.insert(request, relays);
        self.tasks.spawn(async move {
            let answer = async {
                let _slot = opens.acquire().await.map_err(|_| LinkError::Unreachable(blocks.cut_off()))?;
                let answer = blocks.link.open(OpenRequest { stream, path: path.clone(), relays }).await?;
                let grant = Grant { change: answer.change, callback: answer.callback };
                let held = Held::check(&blocks.volume, &path, answer, &key).map_err(LinkError::Refused)?;
                Ok(Found { held: Arc::new(held), grant })
            };
            Done::Answered { request, answer: answer.await }
        });
    }

    /// Holds what the rules keep, and puts its record on disk.
    pub(super) fn keep(&mut self, held: Arc<Held>) {
        self.sieve.put(held.path.clone(), held.weight());
        self.held.insert(held.path.clone(), held.clone());
        let blocks = self.blocks.clone();
        self.tasks.spawn(async move {
            let record = blocking(move || {
                let manifest = held.has_blocks().then(|| held.manifest()).flatten();
                blocks.cache.keep(&blocks.volume, &held.path, &held.to_record(), manifest)
            });
            if let Err(error) = record.await {
                tracing::warn!(%error, "a record could not be cached");
            }
            Done::Finished
        });
    }

    fn greet(&mut self, hello: Hello) {
        if let Some(stream) = &mut self.stream {
            stream.connection = Some(hello.connection);
            self.send(hello.connection, encode(&hello));
        }
    }

    fn send(&mut self, connection: u64, frame: Bytes) {
        let Some(stream) = self.stream.as_ref().filter(|stream| stream.connection == Some(connection)) else {
            return;
        };
        if stream.up.try_send(frame).is_err() {
            self.stream = None;
            self.step(RelayEvent::Above(HolderEvent::Lost { connection }));
            self.connect_later();
        }
    }

    fn close(&mut self, connection: u64) {
        // Whoever leaves sees to its last stream itself.
        if self.leaving {
            return;
        }
        if let Some(stream) = self.stream.take_if(|stream| stream.connection == Some(connection)) {
            self.tasks.spawn(async move {
                drain(stream).await;
                Done::Finished
            });
            self.connect_later();
        }
    }

    pub(super) fn connect_later(&mut self) {
        if self.leaving {
            return;
        }
        let delay = self.retry.mul_f64(0.5 + self.blocks.world.entropy.fraction());
        self.retry = (self.retry * 2).min(RETRY_MOST);
        self.connect_after(delay);
    }

    pub(super) fn connect_after(&mut self, delay: Duration) {
        let link = self.blocks.link.clone();
        self.tasks.spawn(async move {
            sleep(delay).await;
            let (up, down) = connect(&*link).await;
            Done::Stream { up, down }
        });
    }
}
