//! `fetch`: read a file from a service, from whichever servers can give it, checked block by block.

use super::limits::{FETCH_PATIENCE, PROGRESS_EVERY};
use super::{Setup, reach};
use crate::args::Fetch;
use crate::home;
use crate::output::{Out, Outcome, Progress};
use client::Client;
use discovery::smart::{self, FetchEvent, FileStream, ServerCount, SmartClient};
use serde::Serialize;
use std::path::{Path, PathBuf};
use terms::{BootMs, ByteCount, Code, Problem, ServiceName};
use wire::Pool;

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
        .then(|| setup.folder.cache().join("services").join(format!("{}.{}", service.name, service.realm)));
    SmartClient::open(&setup.world, pool, client.trust().clone(), service.clone(), cache).await
}

/// Fetches to a file, or to standard output.
pub async fn run(setup: &Setup, out: &mut Out, arguments: &Fetch) -> Outcome {
    let client = reach::client(setup)?;
    let service = open(setup, &client, client.pool().clone(), &arguments.address.service).await?;
    match &arguments.output {
        Some(file) => to_file(setup, out, arguments, &service, file).await,
        None if out.is_json() => {
            let problem = Problem::new(Code::Invalid, "with --json the content needs a file of its own");
            Err(problem.next("say where with -o FILE").into())
        }
        None => to_stdout(out, arguments, &service).await,
    }
}

async fn to_stdout(out: &mut Out, arguments: &Fetch, service: &SmartClient) -> Outcome {
    let mut ignore = |event: FetchEvent| tracing::info!(?event, "fetch");
    let mut stream = FileStream::open(service, &arguments.address.path, FETCH_PATIENCE, &mut ignore).await?;
    while let Some(block) = stream.next(&mut ignore).await? {
        out.bytes(&block)?;
    }
    out.flush()
}

async fn to_file(setup: &Setup, out: &mut Out, arguments: &Fetch, service: &SmartClient, file: &Path) -> Outcome {
    let address = &arguments.address;
    let to = target(file, address.path.name())?;
    let what = smart::Fetch { path: address.path.clone(), to: to.clone(), patience: FETCH_PATIENCE };
    let mut teller = Teller {
        progress: out.progress(&to.display().to_string(), Some(0)),
        said: None,
        shown: 0,
        out,
        setup,
        failed: None,
    };
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
    failed: Option<crate::output::Failure>,
}

impl Teller<'_> {
    fn tell(&mut self, event: FetchEvent) {
        match &event {
            FetchEvent::Began { size, have } => {
                self.progress.begin(*size, *have);
                self.shown = *have;
            }
            FetchEvent::Progress { have } => {
                self.progress.advance(have.saturating_sub(self.shown));
                self.shown = *have;
                if !self.is_due() {
                    return;
                }
            }
            FetchEvent::Joined { .. } => {}
            FetchEvent::Left { server, why } => self.out.note(&format!("left {server}: {why}")),
            FetchEvent::Waiting { why } if self.is_due() => self.out.note(&format!("waiting: {why}")),
            FetchEvent::Waiting { .. } => return,
            FetchEvent::Changed => self.out.note("the file has changed; beginning anew"),
        }
        if self.out.is_json()
            && let Err(failure) = self.out.json_line(&event)
        {
            // The download goes on: the file is what was asked for.
            self.failed.get_or_insert(failure);
        }
    }

    /// Whether it is time for the next of many remarks.
    fn is_due(&mut self) -> bool {
        let now = self.setup.world.clock.boot();
        let due = self.said.is_none_or(|said| now.since(said) >= PROGRESS_EVERY);
        if due {
            self.said = Some(now);
        }
        due
    }
}
