//! `service`: publish a folder, look at what is published.

use super::{Setup, reach};
use crate::args::{Publish, ServiceCommand};
use crate::output::{Failure, Out, Outcome, age, time, time_left};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::Client;
use client::models::{StateReply, certificate_route, state_route};
use client::protocol::PublishRequest;
use discovery::verified::Certificate;
use serde::Serialize;
use std::time::Duration;
use terms::{Code, Problem, ServiceName, UnixMs, Who};

/// Chooses among the commands.
pub async fn run(setup: &Setup, out: &mut Out, command: &ServiceCommand) -> Outcome {
    match command {
        ServiceCommand::Publish(publish) => self::publish(setup, out, publish).await,
        ServiceCommand::Status { service } => status(setup, out, service).await,
        ServiceCommand::Cert { service } => cert(setup, out, service).await,
    }
}

async fn publish(setup: &Setup, out: &mut Out, arguments: &Publish) -> Outcome {
    let (service, files) = (&arguments.service, &arguments.files.location);
    let readers = arguments.readers.iter().map(|who| who.within(&service.realm)).collect::<Result<Vec<_>, _>>();
    let readers = readers.map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
    let lenders = arguments.lenders.iter().map(|who| who.within(&service.realm)).collect::<Result<Vec<_>, _>>();
    let lenders = lenders.map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
    consent(out, arguments, &readers)?;
    let goal_ms = u32::try_from(arguments.goal.as_millis()).ok().filter(|ms| *ms > 0);
    let goal_ms = goal_ms.ok_or_else(|| Problem::new(Code::Invalid, "the goal has to be 1 ms to 49 days"))?;
    let client = reach::client(setup)?;
    let home = client.volume(&files.volume).await?.node();
    let request = PublishRequest {
        service: service.clone(),
        files: files.clone(),
        goal_ms,
        max_servers: arguments.max_servers,
        readers,
        link_bps: arguments.link.0,
        stabilization_ms: None,
        lenders,
    };
    let reply = home.publish(&request).await?;
    show(setup, out, &client, service, &reply.certificate)
}

/// Says in plain words who will be able to read, and asks if that is everybody.
fn consent(out: &Out, arguments: &Publish, readers: &[Who]) -> Outcome {
    let files = &arguments.files.location;
    if !readers.contains(&Who::Anyone) {
        let named: Vec<String> = readers.iter().map(Who::to_string).collect();
        out.note(&format!("{} will be able to read {files} and everything below it", named.join(", ")));
        return Ok(());
    }
    let question =
        format!("everybody, also without a certificate, will be able to read {files} and everything below it;");
    if arguments.yes || out.ask(&format!("{question} go on?"), "--yes")? {
        return Ok(());
    }
    out.note("nothing was published");
    Err(Failure::Exit(1))
}

#[derive(Serialize)]
struct ShownCertificate {
    service: String,
    serial: u64,
    epoch: u64,
    files: String,
    readers: Vec<String>,
    goal_ms: u32,
    valid_from_ms: UnixMs,
    valid_until_ms: UnixMs,
    servers: Vec<ShownServer>,
    /// The signed bytes, base64.
    certificate: String,
}

#[derive(Serialize)]
struct ShownServer {
    server: String,
    address: String,
    key: String,
    primary: bool,
    authority: bool,
    power: f64,
}

async fn cert(setup: &Setup, out: &mut Out, service: &ServiceName) -> Outcome {
    let client = reach::client(setup)?;
    let bytes = client.ask_names(&service.realm, &certificate_route(service)).await?;
    show(setup, out, &client, service, &bytes)
}

fn open(setup: &Setup, client: &Client, service: &ServiceName, bytes: &[u8]) -> Result<Certificate, Problem> {
    Certificate::open(bytes, service, client.trust(), setup.world.clock.unix()).map_err(|error| {
        Problem::new(Code::Denied, format!("the certificate of {service} cannot be believed: {error}"))
            .next("check the clock of this machine; `webos doctor` helps")
    })
}

fn show(setup: &Setup, out: &mut Out, client: &Client, service: &ServiceName, bytes: &[u8]) -> Outcome {
    let certificate = open(setup, client, service, bytes)?;
    let value = certificate.value();
    let server = |(key, server): (terms::Thumbprint, &client::models::ServerEntry)| ShownServer {
        server: server.principal.to_string(),
        address: server.address.clone(),
        key: key.to_string(),
        primary: server.primary,
        authority: server.authority,
        power: server.power,
    };
    let shown = ShownCertificate {
        service: value.service.to_string(),
        serial: value.serial.0,
        epoch: value.epoch.0,
        files: value.files.to_string(),
        readers: value.readers.entries().iter().map(|(who, _)| who.to_string()).collect(),
        goal_ms: value.goal_ms,
        valid_from_ms: value.valid_from,
        valid_until_ms: value.valid_until,
        servers: certificate.servers().map(server).collect(),
        certificate: STANDARD.encode(certificate.bytes()),
    };
    let now = setup.world.clock.unix();
    out.result(&shown, |out, shown| {
        out.line(&format!("{}  (serial {}, epoch {})", shown.service, shown.serial, shown.epoch))?;
        out.line(&format!("  files    {}", shown.files))?;
        out.line(&format!("  readers  {}", shown.readers.join(", ")))?;
        out.line(&format!("  goal     {} ms", shown.goal_ms))?;
        let until = shown.valid_until_ms;
        out.line(&format!("  valid    {}, until {}", time_left(now, until), time(until)))?;
        shown.servers.iter().try_for_each(|server| {
            let role = if server.primary { "primary" } else { "server" };
            out.line(&format!("  {role:<8} {} at {}", server.server, server.address))
        })
    })
}

#[derive(Serialize)]
struct Status {
    service: String,
    epoch: u64,
    generation: u64,
    table_age_ms: u64,
    servers: Vec<Standing>,
}

#[derive(Serialize)]
struct Standing {
    server: String,
    address: String,
    primary: bool,
    active_for_ms: u32,
    inflight: f64,
    rps: f64,
    bytes_per_s: f64,
    latency_ms: f64,
}

async fn status(setup: &Setup, out: &mut Out, service: &ServiceName) -> Outcome {
    let client = reach::client(setup)?;
    let (certificate_at, state_at) = (certificate_route(service), state_route(service));
    let (bytes, state) = futures_util::join!(
        client.ask_names(&service.realm, &certificate_at),
        client.ask_names(&service.realm, &state_at)
    );
    let certificate = open(setup, &client, service, &bytes?)?;
    let state: StateReply = wire::cbor::from_slice(&state?)?;
    let table = certificate.open_table(&state.table).map_err(|error| {
        Problem::new(Code::Denied, format!("the table of {service} cannot be believed: {error}"))
    })?;
    let server = |entry: &client::models::TableEntry| Standing {
        server: entry.server.to_string(),
        address: entry.address.clone(),
        primary: entry.primary,
        active_for_ms: entry.active_for_ms,
        inflight: entry.load.inflight,
        rps: entry.load.rps,
        bytes_per_s: entry.load.bytes_per_s,
        latency_ms: entry.load.latency_ms,
    };
    let age_ms = u64::try_from(state.now.since(table.signed_at).as_millis()).unwrap_or(u64::MAX);
    let shown = Status {
        service: service.to_string(),
        epoch: table.epoch.0,
        generation: table.generation.0,
        table_age_ms: age_ms,
        servers: table.entries.iter().map(server).collect(),
    };
    out.result(&shown, |out, shown| {
        let signed = age(Duration::from_millis(shown.table_age_ms));
        out.line(&format!("{}  (generation {}, {signed} old)", shown.service, shown.generation))?;
        shown.servers.iter().try_for_each(|server| people(out, server))
    })
}

fn people(out: &mut Out, server: &Standing) -> Outcome {
    let role = if server.primary { "primary" } else { "surrogate" };
    let active = match (server.primary, server.active_for_ms) {
        (true, _) => String::new(),
        (false, 0) => ", not to be used".into(),
        (false, ms) => format!(", for {} more", age(Duration::from_millis(ms.into()))),
    };
    out.line(&format!(
        "  {role:<9} {} at {}: {:.1} in flight, {:.1} requests/s, {:.1} MB/s, {:.0} ms{active}",
        server.server,
        server.address,
        server.inflight,
        server.rps,
        server.bytes_per_s / 1e6,
        server.latency_ms,
    ))
}
