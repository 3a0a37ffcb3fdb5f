//! `fetch`: read a file from a service, from whichever servers can give it, checked block by block.

use super::limits::{ANOTHER_REASON_AFTER, FETCH_PATIENCE, PROGRESS_EVERY};
use super::{Setup, reach};
use crate::args::Fetch;
use crate::home;
use crate::output::{Failure, Out, Outcome, Progress};
use client::Client;
use discovery::smart::{self, FetchEvent, FileStream, ServerCount, SmartClient};
use serde::Serialize;
use std::path::{Path, PathBuf};
use terms::{BootMs, ByteCount, Code, Problem, ServiceName};
use wire::Pool;

/// The folder of cached service certificates within a principal's cache; each file has its service's name.
pub const CACHED_SERVICES: &str = "services";

#[derive(Serialize)]
struct Done {
    event: &'static str,
    file: String,
    size: u64,
    etag: String,
    resumed: u64,
    servers: Vec<Share>,
}

#[derive(Serialize)]
struct Share {
    server: String,
    received: u64,
    discarded: u64,
    blocks: u64,
}

impl From<&ServerCount> for Share {
    fn from(count: &ServerCount) -> Self {
        let ServerCount { server, received, discarded, blocks } = count.clone();
        Self { server, received, discarded, blocks }
    }
}

/// The smart client of a service, speaking through this pool.
pub async fn open(
    setup: &Setup,
    client: &Client,
    pool: Pool,
    service: &ServiceName,
) -> Result<SmartClient, Problem> {
    // Nothing is kept for somebody who has no folder.
    let cache = home::check(setup.folder.path())?
        .then(|| setup.folder.cache().join(CACHED_SERVICES).join(format!("{}.{}", service.name, service.realm)));
    SmartClient::open(&setup.world, pool, client.trust().clone(), service.clone(), cache).await
}

/// Fetches to a file, or to standard output.
pub async fn run(setup: &Setup, out: &mut Out, arguments: &Fetch) -> Outcome {
    let file = arguments.output.as_deref().filter(|file| *file != Path::new("-"));
    if file.is_none() && out.is_json() {
        let problem = Problem::new(Code::Invalid, "with --json the content needs a file of its own");
        return Err(problem.next("say where with -o FILE").into());
    }
    let client = reach::client(setup)?;
    let service = open(setup, &client, client.pool().clone(), &arguments.address.service).await?;
    match file {
        Some(file) => to_file(setup, out, arguments, &service, file).await,
        None => to_stdout(setup, out, arguments, &service).await,
    }
}

/// A pipe cannot be gone on with: what an earlier attempt gave is with whoever read it.
async fn to_stdout(setup: &Setup, out: &mut Out, arguments: &Fetch, service: &SmartClient) -> Outcome {
    let address = &arguments.address;
    let progress = out.progress_beside_output(address.path.as_str());
    let mut teller = Teller::new(setup, out, progress);
    let mut have = 0;
    let mut stream =
        FileStream::open(service, &address.path, FETCH_PATIENCE, &mut |event| teller.tell(event)).await?;
    teller.tell(FetchEvent::Began { size: stream.manifest().size(), have });
    while let Some(block) = stream.next(&mut |event| teller.tell(event)).await? {
        teller.out.bytes(&block)?;
        have += block.len() as u64;
        teller.tell(FetchEvent::Progress { have });
    }
    teller.out.flush()
}

async fn to_file(setup: &Setup, out: &mut Out, arguments: &Fetch, service: &SmartClient, file: &Path) -> Outcome {
    let address = &arguments.address;
    let to = target(file, address.path.name())?;
    let what = smart::Fetch { path: address.path.clone(), to: to.clone(), patience: FETCH_PATIENCE };
    let progress = out.progress(&to.display().to_string(), Some(0));
    let mut teller = Teller::new(setup, out, progress);
    let fetched = service.fetch(&what, &mut |event| teller.tell(event)).await;
    let failed = teller.failed.take();
    drop(teller);
    let fetched = fetched?;
    failed.map_or(Ok(()), Err)?;
    let done = Done {
        event: "done",
        file: to.display().to_string(),
        size: fetched.size,
        etag: fetched.etag.trim_matches('"').to_string(),
        resumed: fetched.resumed,
        servers: fetched.counts.iter().map(Share::from).collect(),
    };
    out.result(&done, people)
}

fn target(file: &Path, own: Option<&str>) -> Result<PathBuf, Problem> {
    if !file.is_dir() {
        let kind = std::fs::symlink_metadata(file).map(|found| found.file_type());
        if kind.is_ok_and(|kind| !kind.is_file() && !kind.is_symlink()) {
            let what = format!("{} is no regular file, and would be replaced by one", file.display());
            return Err(Problem::new(Code::Exists, what).next("write to it with `-o - > FILE`"));
        }
        return Ok(file.to_path_buf());
    }
    let name = own.ok_or_else(|| {
        Problem::new(Code::Invalid, format!("{} is a folder", file.display())).next("name a file in it")
    })?;
    Ok(file.join(name))
}

fn people(out: &mut Out, done: &Done) -> Outcome {
    let from: Vec<String> = done
        .servers
        .iter()
        .filter(|share| share.blocks > 0)
        .map(|share| format!("{} ({})", share.server, ByteCount(share.received)))
        .collect();
    let resumed =
        if done.resumed > 0 { format!(", {} of it here before", ByteCount(done.resumed)) } else { String::new() };
    let from = if from.is_empty() { String::new() } else { format!(", from {}", from.join(" and ")) };
    let file = out.name(&done.file).into_owned();
    out.line(&format!("{file}: {}{resumed}{from}", ByteCount(done.size)))
}

/// Tells what happens on the way: a bar and remarks to people, one line an event to programs.
struct Teller<'a> {
    out: &'a mut Out,
    setup: &'a Setup,
    progress: Progress,
    shown: u64,
    said: Option<BootMs>,
    waits: Waits,
    failed: Option<Failure>,
}

impl<'a> Teller<'a> {
    fn new(setup: &'a Setup, out: &'a mut Out, progress: Progress) -> Self {
        Self { out, setup, progress, shown: 0, said: None, waits: Waits::default(), failed: None }
    }

    fn tell(&mut self, event: FetchEvent) {
        let now = self.setup.world.clock.boot();
        match &event {
            FetchEvent::Began { size, have } => {
                self.goes_on(None);
                self.progress.begin(*size, *have);
                self.shown = *have;
            }
            FetchEvent::Progress { have } => {
                self.goes_on(None);
                self.progress.advance(have.saturating_sub(self.shown));
                self.shown = *have;
                if self.said.is_some_and(|said| now.since(said) < PROGRESS_EVERY) {
                    return;
                }
                self.said = Some(now);
            }
            FetchEvent::Joined { server, .. } => self.goes_on(Some(server)),
            FetchEvent::Left { server, why } => self.note(&format!("left {server}: {why}")),
            FetchEvent::Waiting { why } => {
                self.progress.waits(true);
                if !self.waits.is_news(why, now) {
                    return;
                }
                self.note(&format!("waiting: {why}"));
            }
            FetchEvent::Changed => self.note("the file has changed; beginning anew"),
        }
        if self.out.is_json()
            && let Err(failure) = self.out.json_line(&event)
        {
            // The download goes on: the file is what was asked for.
            self.failed.get_or_insert(failure);
        }
    }

    fn note(&self, text: &str) {
        self.progress.beside(|| self.out.note(text));
    }

    fn goes_on(&mut self, server: Option<&str>) {
        if self.waits.end() {
            self.progress.waits(false);
            self.note(&server.map_or("going on".into(), |server| format!("going on, at {server}")));
        }
    }
}

/// What was said of the present wait. The service is asked again and again meanwhile, and gives its reasons each time.
#[derive(Default)]
struct Waits(Option<(String, BootMs)>);

impl Waits {
    /// Whether this is to be said: the first word of a wait at once, another reason after a while.
    fn is_news(&mut self, why: &str, now: BootMs) -> bool {
        let known = |(said, at): &(String, BootMs)| said == why || now.since(*at) < ANOTHER_REASON_AFTER;
        if self.0.as_ref().is_some_and(known) {
            return false;
        }
        self.0 = Some((why.to_string(), now));
        true
    }

    /// The wait is over; whether there was one.
    fn end(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_said_once_and_a_new_reason_after_a_while() {
        let mut waits = Waits::default();
        assert!(!waits.end(), "nothing waits yet");
        for (at, why, news) in [
            (0, "a is away", true),
            (1_000, "a is away", false),
            (2_000, "b is away", false),
            (60_000, "a is away", false),
            (61_000, "b is away", true),
            (62_000, "b is away", false),
        ] {
            assert_eq!(waits.is_news(why, BootMs(at)), news, "{why} at {at}");
        }
        assert!(waits.end() && !waits.end());
        assert!(waits.is_news("b is away", BootMs(63_000)), "a wait of its own");
    }
}
