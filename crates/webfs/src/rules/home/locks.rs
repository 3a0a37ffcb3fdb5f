//! The advisory locks of a volume: who holds which, who waits for it, and which changes may be made under it.
//! Waiters are served in the order in which they came. A lock that is lost passes on only when the changes that were
//! admitted under it have ended, so that nobody reads before they are there.

use crate::rules::limits::{
    LOCK_EPOCHS_AT_ONCE, MAX_LOCK_WAIT, MAX_LOCK_WAITERS, MAX_LOCKS, MAX_LOCKS_PER_SESSION,
};
use crate::rules::lock::{LockClaim, LockEpoch, LockRefusal, LockWish};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use terms::{BootMs, Epoch, SessionId, VolumePath};

#[derive(Debug)]
struct HeldLock {
    session: SessionId,
    wish: LockWish,
    /// Changes admitted under it that have not ended.
    publishing: usize,
    /// It passes on when these have.
    lost: bool,
}

#[derive(Debug)]
struct Waiter {
    session: SessionId,
    request: u64,
    wish: LockWish,
    until: BootMs,
}

#[derive(Debug, Default)]
struct OnPath {
    held: BTreeMap<LockEpoch, HeldLock>,
    queue: VecDeque<Waiter>,
}

#[derive(Debug, Default, Clone)]
struct OfSession {
    held: BTreeSet<LockEpoch>,
    /// Requests, and what they are about.
    waiting: BTreeMap<u64, VolumePath>,
}

/// After a restart: the sessions that may still claim what they held.
#[derive(Debug)]
struct Claims {
    until: BootMs,
    sessions: BTreeSet<SessionId>,
}

/// What is to be said to sessions.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    Granted {
        session: SessionId,
        request: u64,
        epoch: LockEpoch,
    },
    Refused {
        session: SessionId,
        request: u64,
        reason: LockRefusal,
    },
    Lost {
        session: SessionId,
        epoch: LockEpoch,
    },
    /// Epochs up to this number are about to be used: to be recorded before what follows.
    Reserve {
        up_to: u64,
    },
}

/// All locks of a volume.
#[derive(Debug)]
pub(super) struct Locks {
    epoch: Epoch,
    last: u64,
    reserved: u64,
    paths: BTreeMap<VolumePath, OnPath>,
    epochs: BTreeMap<LockEpoch, VolumePath>,
    sessions: BTreeMap<SessionId, OfSession>,
    deadlines: BTreeSet<(BootMs, SessionId, u64)>,
    claims: Option<Claims>,
    drains: bool,
}

impl Locks {
    /// No locks; `reserved` are the numbers that an earlier run may have given out. Those who held some may claim
    /// them until then.
    pub(super) fn start(epoch: Epoch, reserved: u64, claims: Option<(BootMs, BTreeSet<SessionId>)>) -> Self {
        let (paths, epochs, sessions, deadlines) = Default::default();
        let claims = claims.map(|(until, sessions)| Claims { until, sessions });
        Self { epoch, last: reserved, reserved, paths, epochs, sessions, deadlines, claims, drains: true }
    }

    /// Lets lost locks pass on at once.
    pub(super) fn without_drain(mut self) -> Self {
        self.drains = false;
        self
    }

    pub(super) fn len(&self) -> usize {
        self.epochs.len()
    }

    pub(super) fn next_deadline(&self) -> Option<BootMs> {
        let wait = self.deadlines.first().map(|(until, ..)| *until);
        wait.into_iter().chain(self.claims.as_ref().map(|claims| claims.until)).min()
    }

    /// Whether nothing is granted yet because somebody may still claim it.
    pub(super) fn awaits_claims(&self) -> bool {
        self.claims.is_some()
    }

    pub(super) fn is_held(&self, epoch: LockEpoch) -> bool {
        self.lock(epoch).is_some_and(|lock| !lock.lost)
    }

    fn lock(&self, epoch: LockEpoch) -> Option<&HeldLock> {
        self.paths.get(self.epochs.get(&epoch)?)?.held.get(&epoch)
    }

    fn lock_mut(&mut self, epoch: LockEpoch) -> Option<&mut HeldLock> {
        self.paths.get_mut(self.epochs.get(&epoch)?)?.held.get_mut(&epoch)
    }

    pub(super) fn ask(
        &mut self,
        now: BootMs,
        session: SessionId,
        request: u64,
        wish: LockWish,
        wait: Duration,
        words: &mut Vec<Word>,
    ) {
        let on_path = self.paths.get(&wish.path);
        let of_session = self.sessions.get(&session);
        let own = |lock: &HeldLock| lock.session == session && lock.wish.owner == wish.owner && !lock.lost;
        let full = self.epochs.len() + self.deadlines.len() >= MAX_LOCKS
            || of_session.is_some_and(|of| of.held.len() + of.waiting.len() >= MAX_LOCKS_PER_SESSION)
            || on_path.is_some_and(|on_path| on_path.queue.len() >= MAX_LOCK_WAITERS);
        let again = of_session.is_some_and(|of| of.waiting.contains_key(&request));
        let yours =
            on_path.is_some_and(|on_path| on_path.held.values().any(|lock| own(lock) && lock.wish.overlaps(&wish)));
        let refusal = match () {
            () if wish.span.from >= wish.span.to => Some(LockRefusal::Empty),
            () if yours => Some(LockRefusal::Yours),
            () if full || again => Some(LockRefusal::Full),
            () => None,
        };
        if let Some(reason) = refusal {
            return words.push(Word::Refused { session, request, reason });
        }
        let until = now.plus(wait.min(MAX_LOCK_WAIT));
        let path = wish.path.clone();
        self.deadlines.insert((until, session, request));
        self.sessions.entry(session).or_default().waiting.insert(request, path.clone());
        let waiter = Waiter { session, request, wish, until };
        self.paths.entry(path.clone()).or_default().queue.push_back(waiter);
        self.grant(&path, words);
        self.expire(now, words);
    }

    /// The holder wants it no more.
    pub(super) fn unlock(&mut self, session: SessionId, epoch: LockEpoch, words: &mut Vec<Word>) {
        if self.lock(epoch).is_some_and(|lock| lock.session == session) {
            self.lose(epoch, words);
        }
    }

    /// The asker waits no more.
    pub(super) fn cancel(&mut self, session: SessionId, request: u64, words: &mut Vec<Word>) {
        if let Some(path) = self.forget_waiter(session, request) {
            self.grant(&path, words);
        }
    }

    /// A new stream of a session: what it waited for it will ask for again.
    pub(super) fn new_stream(&mut self, session: SessionId, words: &mut Vec<Word>) {
        let waiting = self.sessions.get(&session).map(|of| of.waiting.clone()).unwrap_or_default();
        waiting.into_keys().for_each(|request| self.cancel(session, request, words));
    }

    /// A session says which locks it has. What it does not name it does not know of: that is released. What it had
    /// before a restart of the home is its own again. Returns what it holds.
    pub(super) fn claim(
        &mut self,
        session: SessionId,
        claimed: Vec<LockClaim>,
        words: &mut Vec<Word>,
    ) -> Vec<LockEpoch> {
        let named: BTreeSet<_> = claimed.iter().map(|claim| claim.epoch).collect();
        let held = self.sessions.get(&session).map(|of| of.held.clone()).unwrap_or_default();
        held.difference(&named).for_each(|epoch| self.lose(*epoch, words));
        if self.claims.as_mut().is_some_and(|claims| claims.sessions.remove(&session)) {
            claimed.into_iter().take(MAX_LOCKS_PER_SESSION).for_each(|claim| self.restore(session, claim, words));
            self.end_claims_if_all(words);
        }
        let held = self.sessions.get(&session).map(|of| of.held.clone()).unwrap_or_default();
        held.into_iter().filter(|epoch| self.is_held(*epoch)).collect()
    }

    /// Of two claims that exclude each other the later grant is right.
    fn restore(&mut self, session: SessionId, claim: LockClaim, words: &mut Vec<Word>) {
        let LockClaim { epoch, wish } = claim;
        let ours = epoch.epoch == self.epoch && epoch.number <= self.last && !self.epochs.contains_key(&epoch);
        let held = self.paths.get(&wish.path).into_iter().flat_map(|on_path| &on_path.held);
        let others: Vec<_> = held.filter(|(_, lock)| lock.wish.conflicts(&wish)).map(|(epoch, _)| *epoch).collect();
        if !ours || others.iter().any(|other| *other > epoch) {
            return;
        }
        for other in others {
            let loser = self.lock(other).map(|lock| lock.session);
            self.lose(other, words);
            words.extend(loser.map(|session| Word::Lost { session, epoch: other }));
        }
        self.hold(session, epoch, wish);
    }

    /// The session has ended, and its locks with it.
    pub(super) fn end_session(&mut self, session: SessionId, words: &mut Vec<Word>) {
        let Some(of) = self.sessions.get(&session).cloned() else { return self.no_claim(session, words) };
        of.held.into_iter().for_each(|epoch| self.lose(epoch, words));
        of.waiting.into_keys().for_each(|request| self.cancel(session, request, words));
        self.no_claim(session, words);
    }

    fn no_claim(&mut self, session: SessionId, words: &mut Vec<Word>) {
        if self.claims.as_mut().is_some_and(|claims| claims.sessions.remove(&session)) {
            self.end_claims_if_all(words);
        }
    }

    fn end_claims_if_all(&mut self, words: &mut Vec<Word>) {
        if self.claims.take_if(|claims| claims.sessions.is_empty()).is_some() {
            self.grant_all(words);
        }
    }

    /// Ends waits and claims whose time is over.
    pub(super) fn expire(&mut self, now: BootMs, words: &mut Vec<Word>) {
        if self.claims.take_if(|claims| claims.until <= now).is_some() {
            self.grant_all(words);
        }
        while let Some((_, session, request)) = self.deadlines.first().filter(|(end, ..)| *end <= now).copied() {
            let reason = LockRefusal::Held;
            words.push(Word::Refused { session, request, reason });
            self.cancel(session, request, words);
        }
    }

    /// A change under this lock is admitted, until [`Locks::published`].
    pub(super) fn publish(&mut self, epoch: LockEpoch) {
        if let Some(lock) = self.lock_mut(epoch) {
            lock.publishing += 1;
        }
    }

    /// A change under this lock has ended.
    pub(super) fn published(&mut self, epoch: LockEpoch, words: &mut Vec<Word>) {
        let Some(lock) = self.lock_mut(epoch) else { return };
        lock.publishing -= 1;
        if lock.lost {
            self.lose(epoch, words);
        }
    }

    fn hold(&mut self, session: SessionId, epoch: LockEpoch, wish: LockWish) {
        self.epochs.insert(epoch, wish.path.clone());
        self.sessions.entry(session).or_default().held.insert(epoch);
        let lock = HeldLock { session, wish, publishing: 0, lost: false };
        self.paths.entry(lock.wish.path.clone()).or_default().held.insert(epoch, lock);
    }

    fn lose(&mut self, epoch: LockEpoch, words: &mut Vec<Word>) {
        let drains = self.drains;
        let Some(lock) = self.lock_mut(epoch) else { return };
        lock.lost = true;
        let (session, path, ended) = (lock.session, lock.wish.path.clone(), lock.publishing == 0 || !drains);
        self.forget_of_session(session, |of| {
            of.held.remove(&epoch);
        });
        if ended {
            self.epochs.remove(&epoch);
            if let Some(on_path) = self.paths.get_mut(&path) {
                on_path.held.remove(&epoch);
            }
            self.grant(&path, words);
        }
    }

    fn forget_of_session(&mut self, session: SessionId, forget: impl FnOnce(&mut OfSession)) {
        let Some(of) = self.sessions.get_mut(&session) else { return };
        forget(of);
        if of.held.is_empty() && of.waiting.is_empty() {
            self.sessions.remove(&session);
        }
    }

    fn forget_waiter(&mut self, session: SessionId, request: u64) -> Option<VolumePath> {
        let path = self.sessions.get(&session)?.waiting.get(&request)?.clone();
        self.forget_of_session(session, |of| drop(of.waiting.remove(&request)));
        let queue = &mut self.paths.get_mut(&path)?.queue;
        let at = queue.iter().position(|waiter| waiter.session == session && waiter.request == request)?;
        let waiter = queue.remove(at)?;
        self.deadlines.remove(&(waiter.until, session, request));
        Some(path)
    }

    fn grant_all(&mut self, words: &mut Vec<Word>) {
        let paths: Vec<_> = self.paths.keys().cloned().collect();
        paths.iter().for_each(|path| self.grant(path, words));
    }

    /// Gives the lock to those whom neither a holder nor somebody before them keeps from it.
    fn grant(&mut self, path: &VolumePath, words: &mut Vec<Word>) {
        if self.claims.is_some() {
            return;
        }
        let mut at = 0;
        while let Some(on_path) = self.paths.get_mut(path) {
            let Some(waiter) = on_path.queue.get(at) else { break };
            let blocked = on_path.held.values().map(|lock| &lock.wish);
            let before = on_path.queue.range(..at).map(|waiter| &waiter.wish);
            if blocked.chain(before).any(|other| other.conflicts(&waiter.wish)) {
                at += 1;
                continue;
            }
            let Some(Waiter { session, request, wish, until }) = on_path.queue.remove(at) else { break };
            self.deadlines.remove(&(until, session, request));
            self.sessions.entry(session).or_default().waiting.remove(&request);
            let epoch = self.next_epoch(words);
            self.hold(session, epoch, wish);
            words.push(Word::Granted { session, request, epoch });
        }
        if self.paths.get(path).is_some_and(|on_path| on_path.held.is_empty() && on_path.queue.is_empty()) {
            self.paths.remove(path);
        }
    }

    fn next_epoch(&mut self, words: &mut Vec<Word>) -> LockEpoch {
        self.last += 1;
        if self.last > self.reserved {
            self.reserved = self.last + LOCK_EPOCHS_AT_ONCE;
            words.push(Word::Reserve { up_to: self.reserved });
        }
        LockEpoch { epoch: self.epoch, number: self.last }
    }
}
