//! What a person may ask of the running world: load, calm, kill, revive. What takes time is begun beside, and its
//! outcome comes back as a note.

use super::super::child::Child;
use super::super::surge::Surge;
use super::{Answer, Armed, Note, Supervisor};
use crate::console::{Action, EventKind};
use std::time::Duration;
use terms::{Code, Label, Problem};

impl Supervisor {
    pub(super) async fn asked(&mut self, action: Action, answer: Answer) {
        let said = match action {
            Action::Kill(name) => self.kill(&name).await,
            Action::Calm => Ok(self.calm().unwrap_or_else(|| "no load is being sent".into())),
            Action::Surge { clients, seconds } => {
                let (arming, note) = ((self.parts.arms)(clients), self.note.clone());
                let length = Duration::from_secs(seconds.into());
                self.begin(
                    async move { drop(note.send(Note::Armed(clients, length, arming.await, answer)).await) },
                );
                return;
            }
            Action::Revive(name) => match self.port_to_revive(&name) {
                Ok(port) => {
                    let (launcher, note) = (self.parts.launcher.clone(), self.note.clone());
                    self.begin(async move {
                        let child = launcher.start_on(&name, port).await;
                        drop(note.send(Note::Revived(name, child, answer)).await);
                    });
                    return;
                }
                Err(problem) => Err(problem),
            },
        };
        let _ = answer.send(said);
    }

    /// Does this beside, until it is done or the world ends.
    fn begin(&self, work: impl Future<Output = ()> + Send + 'static) {
        let gone = self.gone.clone();
        self.parts.tasks.spawn(async move { gone.run_until_cancelled(work).await });
    }

    fn unknown(name: &Label) -> Problem {
        Problem::new(Code::NotFound, format!("there is no node {name}"))
    }

    async fn kill(&mut self, name: &Label) -> Result<String, Problem> {
        let seat = self.seat(name).ok_or_else(|| Self::unknown(name))?;
        let Some(child) = seat.child.as_ref().filter(|_| !seat.killed) else {
            return Err(Problem::new(Code::Conflict, format!("{name} does not run")).next("revive it first"));
        };
        child.kill().await;
        let (pid, is_home) = (child.pid, seat.is_home);
        (seat.killed, seat.silent) = (true, true);
        let text = if is_home {
            format!(
                "{name} (process {pid}) was killed: surrogates go on with what they have cached until their leases \
                 end; nothing can change and nobody is recruited until it is revived"
            )
        } else {
            format!("{name} (process {pid}) was killed: clients go on with another server")
        };
        self.parts.book.record(EventKind::Killed, Some(name), text.clone());
        Ok(text)
    }

    fn port_to_revive(&mut self, name: &Label) -> Result<u16, Problem> {
        let seat = self.seat(name).ok_or_else(|| Self::unknown(name))?;
        if seat.child.is_some() || seat.reviving {
            let state = if seat.killed { "is still ending" } else { "runs or is being started" };
            return Err(Problem::new(Code::Conflict, format!("{name} {state}")).next("try again in a moment"));
        }
        let port = seat.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let port = port.ok_or_else(|| Problem::new(Code::Internal, format!("{} has no port", seat.address)))?;
        seat.reviving = true;
        Ok(port)
    }

    pub(super) fn revived(&mut self, name: &Label, child: Result<Child, Problem>) -> Result<String, Problem> {
        let seat = self.seat(name).ok_or_else(|| Self::unknown(name))?;
        seat.reviving = false;
        match child {
            Ok(child) => {
                let text = format!("{name} is back as process {}", child.pid);
                (seat.child, seat.silent, seat.killed, seat.fell) = (Some(child), false, false, false);
                self.parts.book.record(EventKind::Revived, Some(name), text.clone());
                Ok(text)
            }
            Err(problem) => {
                let text = format!("{name} was not revived: {}", problem.detail);
                self.parts.book.record(EventKind::Error, Some(name), text);
                Err(problem)
            }
        }
    }

    pub(super) fn surge(
        &mut self,
        clients: u32,
        length: Duration,
        (fetchers, files): Armed,
    ) -> Result<String, Problem> {
        if files.is_empty() {
            let what = "the site has no file of a page's size to ask for";
            return Err(Problem::new(Code::NotFound, what).next("add one of 16 KiB to 1 MiB to the folder"));
        }
        self.calm();
        let world = &self.parts.world;
        self.surge = Some(Surge::start(fetchers, files, length, world, &self.parts.tasks));
        let text = format!("{clients} clients send load for {} s", length.as_secs());
        self.parts.book.record(EventKind::Surge, None, text.clone());
        Ok(text)
    }

    pub(super) fn calm(&mut self) -> Option<String> {
        let surge = self.surge.take()?;
        let (sent, failed) = surge.meter.counts();
        self.failed_before += failed;
        let text = format!("the load has ended: {sent} requests sent, {failed} failed");
        self.parts.book.record(EventKind::Calm, None, text.clone());
        Some(text)
    }
}
