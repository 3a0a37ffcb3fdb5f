//! `node`: run this folder's node until it is told to end, lend it.

use super::daemon::Daemons;
use super::running::{self, Running};
use super::{Setup, reach, realm};
use crate::args::{Lend, NodeRun};
use crate::home;
use crate::output::{Failure, Out, Outcome};
use client::Client;
use client::models::{LendReply, LendRequest, Offer, OfferState, certificate_route};
use node::{Node, Settings};
use serde::Serialize;
use std::os::fd::AsFd;
use terms::{Code, Problem, ServiceName};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use trust::FeedLimits;

/// The line that `node run --json` prints when it answers.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    name: String,
    principal: String,
    pid: u32,
    address: String,
    url: String,
    home_folder: String,
}

fn feed_limits(setup: &Setup) -> Result<FeedLimits, Problem> {
    let (acting, reading) = (setup.settings.feed_limit.value.0, setup.settings.feed_limit_read.value.0);
    FeedLimits::new(acting, reading)
        .ok_or_else(|| Problem::new(Code::Invalid, "feed_limit and feed_limit_read lie between 60s and 1h"))
}

/// Runs the node until SIGTERM or Ctrl-C, then ends leases and requests in order.
pub async fn run(setup: &Setup, out: &mut Out, arguments: &NodeRun) -> Outcome {
    home::make(setup.folder.path())?;
    let claim = running::claim(&setup.folder)?;
    // Before the start, so that a signal during it is not lost.
    let mut term = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut int = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let address = Some(setup.settings.address.value.clone()).filter(|address| !address.is_empty());
    let settings = Settings {
        folder: setup.folder.clone(),
        listen: setup.settings.listen.value.to_string(),
        address,
        link_bps: arguments.link.and_then(|link| link.0),
        place: None,
        feed_limits: feed_limits(setup)?,
        group_recheck: node::limits::GROUP_RECHECK,
        relay_via: setup.settings.relay_via.value.0.clone(),
    };
    let node = Node::start(settings, setup.world.clone()).await?;
    let running = Running {
        pid: std::process::id(),
        principal: node.principal().clone(),
        address: node.address().to_string(),
        started: setup.world.clock.unix(),
    };
    claim.announce(&running)?;
    let ready = Ready {
        event: "ready",
        name: running.principal.name.to_string(),
        principal: running.principal.to_string(),
        pid: running.pid,
        url: format!("https://{}:{}", running.principal.dns_twin(), node.address().port()),
        address: running.address,
        home_folder: setup.folder.path().display().to_string(),
    };
    let daemons = Daemons::new(&node, &setup.world);
    let said = out.result(&ready, |out, ready| {
        out.line(&format!(
            "{} answers at {} (process {}); Ctrl-C ends it",
            ready.principal, ready.address, ready.pid
        ))?;
        out.flush()
    });
    let told = async {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            () = standard_input_ends(), if arguments.until_stdin_closes => {}
        }
    };
    let outcome = match said {
        Ok(()) => daemons.run_until(told, out).await,
        failed => failed,
    };
    node.stop().await;
    drop(claim);
    outcome
}

fn no_signals(error: std::io::Error) -> Failure {
    Problem::new(Code::Internal, format!("signals cannot be received: {error}")).into()
}

/// Waits until whoever holds the other end of standard input is gone.
async fn standard_input_ends() {
    let Ok(handle) = std::io::stdin().as_fd().try_clone_to_owned() else { return };
    let mut input = tokio::fs::File::from_std(handle.into());
    let mut ignored = [0; 256];
    while matches!(input.read(&mut ignored).await, Ok(1..)) {}
}

#[derive(Serialize)]
struct Offers<'a> {
    offers: &'a [OfferState],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// An offer may come before the service. But a slip of the pen should show.
async fn doubts(client: &Client, service: &ServiceName) -> Vec<String> {
    match client.ask_names(&service.realm, &certificate_route(service)).await {
        Ok(_) => Vec::new(),
        Err(problem) if problem.code == Code::NotFound => {
            vec![format!("{}: nobody borrows this node until there is one", problem.detail)]
        }
        Err(problem) => vec![format!("whether there is {service} cannot be told: {}", problem.detail)],
    }
}

/// Lends the node that runs in this folder, or takes an offer back.
pub async fn lend(setup: &Setup, out: &mut Out, arguments: &Lend) -> Outcome {
    let client = reach::client(setup)?;
    let running = running::look(&setup.folder).ok_or_else(|| {
        Problem::new(Code::Unavailable, format!("no node runs in {}", setup.folder.path().display()))
            .next("start it with `webos node run`, or choose its folder with WEBOS_HOME")
    })?;
    let now = setup.world.clock.unix();
    let change = if arguments.withdraw {
        LendRequest::Withdraw(arguments.to.clone())
    } else {
        LendRequest::Lend(Offer {
            service: arguments.to.clone(),
            cpu_milli: arguments.cpu,
            memory_bytes: arguments.memory,
            price: arguments.price,
            power: arguments.power,
            until: arguments.duration.map(|duration| now.plus(duration)),
            keep_cache: arguments.keep_cache,
        })
    };
    if let LendRequest::Lend(offer) = &change {
        offer.validate(now).map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
    }
    realm::own(&setup.folder, &running.principal)?;
    let node = client.node(&running.principal, &running.address);
    let LendReply { offers } = node.lend(&change).await?;
    let notes = match &change {
        LendRequest::Lend(offer) => doubts(&client, &offer.service).await,
        LendRequest::Withdraw(_) => Vec::new(),
    };
    for note in &notes {
        out.note(note);
    }
    out.result(&Offers { offers: &offers, notes }, |out, shown| {
        if shown.offers.is_empty() {
            return out.line("this node is lent to nobody");
        }
        shown.offers.iter().try_for_each(|state| out.line(&sentence(state)))
    })
}

fn sentence(state: &OfferState) -> String {
    let offer = &state.offer;
    let cores = f64::from(offer.cpu_milli) / 1000.0;
    let until =
        offer.until.map_or("until withdrawn".to_string(), |until| format!("until {}", crate::output::time(until)));
    let phase = state.phase.map_or("idle".to_string(), |phase| format!("{phase:?}").to_lowercase());
    format!("lent to {}: {cores} cores, {}, {until}; {phase}", offer.service, offer.memory_bytes)
}
