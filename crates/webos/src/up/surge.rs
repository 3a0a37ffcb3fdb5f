//! Load on purpose: so many clients, each asking for one file of the site after another, as a browser's user would
//! who never pauses. Bounded in number, time and the size of what it asks for.

use super::limits::{MAX_SURGE_FILES, SURGE_DEADLINE, SURGE_FILE_BYTES, SURGE_REST};
use super::meter::Meter;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use terms::{BootMs, Problem, UnixMs, VolumePath};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use world::World;

/// Reads a whole file of the service and throws it away: the smart client in the product.
pub trait Fetch: Send + Sync + 'static {
    /// Reads it, checked; answers with its length.
    fn fetch<'a>(&'a self, path: &'a VolumePath) -> BoxFuture<'a, Result<u64, Problem>>;
}

/// Load that is being sent. Dropping it ends it.
#[derive(Debug)]
pub struct Surge {
    /// How many clients.
    pub clients: u32,
    /// When it began.
    pub since: UnixMs,
    /// When it ends by itself.
    pub until: UnixMs,
    end: BootMs,
    /// What the clients measure.
    pub meter: Arc<Meter>,
    stop: CancellationToken,
}

impl Drop for Surge {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Surge {
    /// Begins to send load, one fetcher a client.
    pub fn start(
        fetchers: Vec<Arc<dyn Fetch>>,
        files: Vec<VolumePath>,
        length: Duration,
        world: &World,
        tasks: &TaskTracker,
    ) -> Self {
        let (now, boot) = (world.clock.unix(), world.clock.boot());
        let (meter, stop) = (Arc::new(Meter::default()), CancellationToken::new());
        let clients = u32::try_from(fetchers.len()).unwrap_or(u32::MAX);
        let files: Arc<[VolumePath]> = files.into();
        for fetcher in fetchers {
            let (files, meter, world) = (files.clone(), meter.clone(), world.clone());
            let stopped = stop.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = loop_over(fetcher, &files, &meter, &world) => {}
                }
            });
        }
        Self { clients, since: now, until: now.plus(length), end: boot.plus(length), meter, stop }
    }

    /// Whether its time is over.
    pub fn is_over(&self, boot: BootMs) -> bool {
        boot >= self.end
    }
}

async fn loop_over(fetcher: Arc<dyn Fetch>, files: &[VolumePath], meter: &Meter, world: &World) {
    while let Some(file) = pick(files, world) {
        let begun = world.clock.boot();
        match timeout(SURGE_DEADLINE, fetcher.fetch(file)).await {
            Ok(Ok(_)) => meter.answered(world.clock.boot().since(begun)),
            Ok(Err(problem)) => {
                tracing::debug!(%file, %problem, "a client of the surge failed");
                meter.failed();
                sleep(SURGE_REST).await;
            }
            Err(_) => meter.failed(),
        }
    }
}

fn pick<'a>(files: &'a [VolumePath], world: &World) -> Option<&'a VolumePath> {
    let count = u64::try_from(files.len()).ok().filter(|count| *count > 0)?;
    usize::try_from(world.entropy.number() % count).ok().and_then(|index| files.get(index))
}

/// What a surge asks for: files of a page's usual sizes; without any, the largest that is not larger.
pub fn choose(sizes: Vec<(VolumePath, u64)>) -> Vec<VolumePath> {
    let usual = sizes.iter().filter(|(_, size)| SURGE_FILE_BYTES.contains(size));
    let mut files: Vec<VolumePath> = usual.take(MAX_SURGE_FILES).map(|(path, _)| path.clone()).collect();
    if files.is_empty() {
        let small = sizes.into_iter().filter(|(_, size)| size <= SURGE_FILE_BYTES.end());
        files.extend(small.max_by_key(|(_, size)| *size).map(|(path, _)| path));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use terms::Code;
    use tokio::sync::Notify;

    fn path(text: &str) -> VolumePath {
        VolumePath::new(text).expect("valid")
    }

    #[test]
    fn files_of_usual_sizes_are_asked_for() {
        let sizes = |list: &[(&str, u64)]| list.iter().map(|(name, size)| (path(name), *size)).collect::<Vec<_>>();
        for (given, expected) in [
            (sizes(&[("a", 10), ("b", 20_000), ("c", 1 << 20), ("d", 64 << 20)]), vec![path("b"), path("c")]),
            (sizes(&[("a", 10), ("b", 900), ("d", 64 << 20)]), vec![path("b")]),
            (sizes(&[("d", 64 << 20)]), vec![]),
        ] {
            assert_eq!(choose(given), expected);
        }
    }

    /// Answers every second request, and says when ten were made.
    struct Every2nd {
        asked: AtomicU64,
        ten: Notify,
    }

    impl Fetch for Every2nd {
        fn fetch<'a>(&'a self, _: &'a VolumePath) -> BoxFuture<'a, Result<u64, Problem>> {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            if number == 9 {
                self.ten.notify_one();
            }
            let answer =
                if number.is_multiple_of(2) { Ok(1) } else { Err(Problem::new(Code::Unavailable, "away")) };
            Box::pin(async move { answer })
        }
    }

    #[tokio::test]
    async fn clients_ask_until_they_are_stopped() {
        let (world, clock) = World::simulated(7);
        let (tasks, fetcher) =
            (TaskTracker::new(), Arc::new(Every2nd { asked: AtomicU64::new(0), ten: Notify::new() }));
        let fetchers: Vec<Arc<dyn Fetch>> = vec![fetcher.clone(), fetcher.clone()];
        let surge = Surge::start(fetchers, vec![path("a")], Duration::from_secs(60), &world, &tasks);
        assert_eq!((surge.clients, surge.until.since(surge.since)), (2, Duration::from_secs(60)));
        fetcher.ten.notified().await;
        let (sent, failed) = surge.meter.counts();
        assert!(sent >= 8 && failed >= 4, "{sent} {failed}");
        assert!(!surge.is_over(world.clock.boot()));
        clock.advance(Duration::from_secs(60));
        assert!(surge.is_over(world.clock.boot()));
        drop(surge);
        tasks.close();
        tasks.wait().await;
    }
}
