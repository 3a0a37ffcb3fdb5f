//! What realms take back: the list of the own realm where it is kept, and copies of the lists of all trusted realms,
//! followed for as long as the node runs. Each page asked for waits at its source until there is news, so that news takes
//! one round trip. Decides nothing: the trust store does, with what it is given here.

use crate::authority::Registrar;
use crate::gatekeeper::Caller;
use crate::handed_on::is_name_server;
use crate::limits::{FEED_FIRST_WITHIN, FEED_RETRY, MAX_FOLLOWED_REALMS};
use crate::node::State;
use crate::pace::Pace;
use crate::reader::Reader;
use crate::strangers::WaitingReaders;
use client::Folder;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use terms::{Code, Principal, Problem, RealmName, Serial, UnixMs};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use trust::limits::{HEAD_INTERVAL, SERVICE_LIFETIME};
use trust::{Applied, Feed, FeedCopy, Identity, ListHash, Revoked, TrustStore, feed_signer};
use world::World;

struct Kept {
    feed: Feed,
    /// The feed's own key, made at each start and certified by the issuing authority.
    signer: Identity,
    /// The hash that pages state now.
    listed: Option<ListHash>,
}

/// The list of the own realm, on the node that holds its authority.
pub struct Source {
    world: World,
    path: PathBuf,
    trust: TrustStore,
    kept: Mutex<Kept>,
    head: watch::Sender<Serial>,
    readers: WaitingReaders,
}

impl Source {
    /// Reads the list, or begins it, and takes it into the trust store.
    pub fn open(
        folder: &Folder,
        world: &World,
        trust: &TrustStore,
        registrar: &Registrar,
    ) -> Result<Self, Problem> {
        let (path, realm) = (folder.feed(), registrar.realm());
        let feed = match std::fs::read(&path) {
            Ok(bytes) => wire::cbor::from_slice::<Feed>(&bytes).map_err(|problem| {
                Problem::new(Code::Internal, format!("{} is damaged: {}", path.display(), problem.detail)).next(
                    "restore it from a copy; without one, remove it and run `webos realm revoke-all`: what it listed \
                     would be valid again",
                )
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Feed::new(realm.clone(), trust.epoch(&realm), world.clock.unix())
            }
            Err(error) => {
                return Err(Problem::new(Code::Internal, format!("{} cannot be read: {error}", path.display())));
            }
        };
        let feed = feed.resumed(world.clock.unix());
        let signer = registrar.service_identity(&feed_signer(&realm)?, None)?;
        let (head, _) = watch::channel(feed.head());
        let kept = Mutex::new(Kept { feed, signer, listed: None });
        let readers = WaitingReaders::new();
        let source = Self { world: world.clone(), path, trust: trust.clone(), kept, head, readers };
        source.publish(&source.kept());
        Ok(source)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, kept: &Kept) {
        self.trust.set_feed(FeedCopy::from(&kept.feed), true);
        self.head.send_replace(kept.feed.head());
    }

    /// The signed page behind a number; with `wait`, once there is news or a new head is due.
    pub async fn page(
        &self,
        (after, wait): (Serial, bool),
        caller: &Caller,
        registrar: &Registrar,
    ) -> Result<Vec<u8>, Problem> {
        // Whoever finds no seat is answered at once, and asks again.
        let seat = wait.then(|| self.readers.enter(caller.peer().is_some(), caller.source())).flatten();
        if seat.is_some() {
            let mut head = self.head.subscribe();
            let news = head.wait_for(|head| *head > after);
            let _ = tokio::time::timeout(HEAD_INTERVAL, news).await;
        }
        drop(seat);
        let now = self.world.clock.unix();
        let mut kept = self.kept();
        if kept.signer.not_after() < now.plus(SERVICE_LIFETIME / 2) {
            let principal = kept.signer.principal().clone();
            kept.signer = registrar.service_identity(&principal, None)?;
        }
        let listed = kept.listed.filter(|listed| listed.holds(now)).unwrap_or_else(|| kept.feed.listed(now));
        kept.listed = Some(listed);
        Ok(kept.feed.page_stating(&listed, after, &kept.signer, now)?)
    }

    /// Takes something back: on disk before it counts, and known to all that wait before this returns.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Feed, UnixMs) -> Result<T, trust::TrustError>,
    ) -> Result<T, Problem> {
        let mut kept = self.kept();
        let mut feed = kept.feed.clone();
        let changed = change(&mut feed, self.world.clock.unix())?;
        client::durable::replace(&self.path, &wire::cbor::to_vec(&feed))?;
        (kept.feed, kept.listed) = (feed, None);
        self.publish(&kept);
        Ok(changed)
    }
}

/// A signed page of the own realm's feed: made here, or handed on.
pub async fn page(state: &State, asked: (Serial, bool), caller: &Caller) -> Result<Vec<u8>, Problem> {
    if is_name_server(state) {
        return Ok(state.handed_on.page(asked, caller).await?.to_vec());
    }
    let (source, registrar) = source(state)?;
    source.page(asked, caller, registrar).await
}

/// The list of the own realm, or the advice where it is kept.
pub fn source(state: &State) -> Result<(&Source, &Registrar), Problem> {
    state.feed.as_ref().zip(state.registrar.as_ref()).ok_or_else(|| {
        Problem::new(Code::Unsupported, "this node does not keep its realm's feed")
            .next("ask the realm's first node, which its bundle names")
    })
}

/// The copies of other realms' lists: loaded at the start, followed by one task each.
pub struct Followed {
    /// Realms whose first answer is still awaited.
    unheard: AtomicUsize,
    heard: tokio::sync::Notify,
}

impl Followed {
    /// Nothing is followed yet.
    pub fn new() -> Self {
        Self { unheard: AtomicUsize::new(0), heard: tokio::sync::Notify::new() }
    }

    fn first_answer(&self) {
        self.unheard.fetch_sub(1, Ordering::AcqRel);
        self.heard.notify_waiters();
    }

    /// Waits until each realm has answered once, for a bounded time: whoever does not answer fails closed.
    async fn all_heard(&self) {
        let all = async {
            loop {
                let heard = self.heard.notified();
                if self.unheard.load(Ordering::Acquire) == 0 {
                    return;
                }
                heard.await;
            }
        };
        let _ = tokio::time::timeout(FEED_FIRST_WITHIN, all).await;
    }
}

/// Begins to follow the feeds of all trusted realms, and waits for their first words.
pub async fn begin(state: &Arc<State>) {
    let mut tasks = BTreeMap::new();
    follow_new(state, &mut tasks, true);
    state.followed.all_heard().await;
    state.tasks.spawn(follow_all(state.clone(), tasks));
}

/// Realms may be trusted, and trusted no more, while the node runs.
async fn follow_all(state: Arc<State>, mut tasks: BTreeMap<RealmName, JoinHandle<()>>) {
    let mut seen = state.client.trust().generation();
    loop {
        tokio::select! {
            () = state.stop.cancelled() => break,
            () = tokio::time::sleep(FEED_RETRY) => follow_new(&state, &mut tasks, false),
        }
        // Also a realm that is trusted no more ends its connections.
        let present = state.client.trust().generation();
        if present != seen {
            seen = present;
            recheck(&state);
        }
    }
    for (_, task) in tasks {
        task.abort();
        // What it holds of the node is given back before the node counts as stopped.
        let _ = task.await;
    }
}

fn follow_new(state: &Arc<State>, tasks: &mut BTreeMap<RealmName, JoinHandle<()>>, first: bool) {
    let trusted = state.client.trust().realms();
    tasks.retain(|realm, task| {
        let kept = trusted.contains(realm) && !task.is_finished();
        if !kept {
            task.abort();
        }
        kept
    });
    for realm in trusted {
        let own = state.feed.is_some() && realm == *state.realm();
        if own || tasks.contains_key(&realm) || tasks.len() >= MAX_FOLLOWED_REALMS {
            continue;
        }
        if first {
            state.followed.unheard.fetch_add(1, Ordering::AcqRel);
        }
        tasks.insert(realm.clone(), tokio::spawn(follow(state.clone(), realm, first)));
    }
}

/// Follows one realm's feed.
async fn follow(state: Arc<State>, realm: RealmName, first: bool) {
    let mut reader = Reader::load(&state, &realm);
    let mut waits = false;
    let (mut awaited, mut pace) = (first, Pace::default());
    loop {
        tokio::time::sleep(pace.turn(state.world.clock.boot())).await;
        let asked = state.world.clock.boot();
        match reader.ask(&state, waits).await {
            Ok(applied) => {
                // A source that has no place for readers that wait is not asked in a circle.
                let in_vain = waits && applied == Applied::default();
                if in_vain && state.world.clock.boot().since(asked) < FEED_RETRY {
                    tokio::time::sleep(FEED_RETRY).await;
                }
                waits = !applied.more;
                if waits && std::mem::take(&mut awaited) {
                    state.followed.first_answer();
                }
            }
            Err(problem) => {
                tracing::warn!(%realm, %problem, "a realm's feed cannot be followed");
                if std::mem::take(&mut awaited) {
                    state.followed.first_answer();
                }
                waits = false;
                tokio::time::sleep(FEED_RETRY).await;
            }
        }
    }
}

/// What was taken back ends what stands on it: connections both ways, and sessions with their leases.
pub async fn took_back(state: &State, revoked: &[Revoked], epoch_rose: bool) {
    if revoked.is_empty() && !epoch_rose {
        return;
    }
    recheck(state);
    for revoked in revoked {
        let Revoked::Principal { principal, .. } = revoked else { continue };
        tracing::info!(%principal, "revoked: its connections and leases end");
        expel(state, principal).await;
    }
}

/// A revocation may concern what the bundle says. The feed has said it already, so that the bundle can follow at the next
/// start if it cannot now.
pub fn sign_bundle_again(state: &State, registrar: &Registrar) {
    if let Err(problem) = registrar.keep_up(state.client.trust(), &state.as_name_server()) {
        tracing::error!(%problem, "the realm's bundle could not be signed anew");
    }
}

fn recheck(state: &State) {
    state.recheck.all();
    state.client.pool().recheck();
}

async fn expel(state: &State, principal: &Principal) {
    for volume in state.homes.all() {
        if let Err(problem) = volume.coherence.expel(principal.clone()).await {
            tracing::warn!(%principal, %problem, "its leases could not be ended; they run out by themselves");
        }
    }
    state.relays.expel(|holder| holder == principal).await;
}

/// Takes back a transfer certificate that may be valid until `end`.
pub fn end_transfer(source: &Source, revoked: Revoked, end: Option<UnixMs>) -> Result<Revoked, Problem> {
    source.change(|feed, now| {
        let forget = end.map_or(Feed::forget_at_last(now), Feed::forget_after);
        feed.revoke(revoked.clone(), forget, now).map(drop)
    })?;
    Ok(revoked)
}

/// Takes back every certificate of a principal that was issued until now.
pub fn end_principal(source: &Source, principal: &Principal) -> Result<Revoked, Problem> {
    let mut revoked = None;
    source.change(|feed, now| {
        let what = Revoked::Principal { principal: principal.clone(), issued_until: now };
        revoked = Some(what.clone());
        feed.revoke(what, Feed::forget_at_last(now), now).map(drop)
    })?;
    revoked.ok_or_else(|| Problem::new(Code::Internal, "the revocation was not made"))
}

const _: () = assert!(HEAD_INTERVAL.as_secs() < wire::limits::ANSWER_DEADLINE.as_secs());
const _: () = assert!(Duration::as_secs(&HEAD_INTERVAL) < crate::limits::REQUEST_DEADLINE.as_secs());
