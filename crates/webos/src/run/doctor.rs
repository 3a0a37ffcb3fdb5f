//! `doctor`: what this machine can and cannot do, and what would help. It changes nothing.

use super::Setup;
use super::ends::Urgency;
use super::logs::Standing;
use crate::home;
use crate::output::{Failure, Out, Outcome, age, time};
use client::Client;
use client::protocol::BUNDLE_ROUTE;
use futures_util::future::join_all;
use rustix::fs::{Access, access, statvfs};
use serde::Serialize;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use terms::{ByteCount, Problem, RealmName, UnixMs};
use trust::limits::MAX_DOCUMENT_BYTES;
use trust::{Identity, IdentityFile};

/// Less free space than this is worth a word.
const SPARE_BYTES: u64 = 1 << 30;
/// No clock that is right shows an earlier time: this program did not exist then.
const NOT_BEFORE: UnixMs = UnixMs(1_763_000_000_000);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Good,
    /// Works, but is worth knowing.
    Note,
    /// Something will not work.
    Bad,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    detail: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    next: String,
}

fn check(name: &'static str, state: State, detail: impl Into<String>, next: impl Into<String>) -> Check {
    Check { name, state, detail: detail.into(), next: next.into() }
}

fn good(name: &'static str, detail: impl Into<String>) -> Check {
    check(name, State::Good, detail, "")
}

#[derive(Serialize)]
struct Findings {
    good: bool,
    checks: Vec<Check>,
}

/// Looks at everything, prints it, and fails if something is bad.
pub async fn run(setup: &Setup, out: &mut Out) -> Outcome {
    let mut checks = vec![entropy(setup), ports(setup), folder(setup), space(setup)];
    match client(setup) {
        Ok(client) => {
            checks.push(clock(setup, &client));
            checks.extend(ends(setup, &client));
            checks.extend(revoked(&client).await);
            for realm in client.trust().realms() {
                checks.extend(name_servers(&client, &realm).await);
            }
        }
        Err(problem) => checks.push(check("identity", State::Bad, problem.detail, problem.next)),
    }
    checks.extend(audit_logs(setup).await);
    checks.extend([tool("chromium", "the console's tests in a browser"), tool("nginx", "benchmarks beside it")]);
    let findings = Findings { good: checks.iter().all(|check| check.state != State::Bad), checks };
    out.result(&findings, |out, findings| findings.checks.iter().try_for_each(|check| people(out, check)))?;
    out.flush()?;
    if findings.good { Ok(()) } else { Err(Failure::Exit(1)) }
}

/// Nobody is asked for a passphrase only to see how things stand.
fn client(setup: &Setup) -> Result<Client, Problem> {
    let (folder, world) = (setup.folder.clone(), setup.world.clone());
    if IdentityFile::read(&folder.identity()).is_ok_and(|file| file.is_sealed()) {
        return Client::nobody(folder, world);
    }
    Client::open(folder, world)
}

fn people(out: &mut Out, check: &Check) -> Outcome {
    let mark = match check.state {
        State::Good => "good",
        State::Note => "note",
        State::Bad => "BAD ",
    };
    let detail = out.name(&check.detail).into_owned();
    out.line(&format!("{mark}  {:<13} {detail}", check.name))?;
    if check.next.is_empty() { Ok(()) } else { out.line(&format!("      {:<13} -> {}", "", check.next)) }
}

fn entropy(setup: &Setup) -> Check {
    // Two equal 64-bit numbers mean a broken source: by chance that happens once in 10^19 tries.
    if setup.world.entropy.number() == setup.world.entropy.number() {
        return check(
            "entropy",
            State::Bad,
            "the system gives the same random bytes twice",
            "do not make keys here",
        );
    }
    good("entropy", "the system gives random bytes")
}

fn clock(setup: &Setup, client: &Client) -> Check {
    let now = setup.world.clock.unix();
    let newest =
        client.trust().realms().iter().filter_map(|realm| client.trust().bundle(realm)).map(|b| b.issued).max();
    let next = "set the clock: certificates, invitations and rights depend on it";
    if now < NOT_BEFORE {
        return check("clock", State::Bad, format!("it shows {}, which is long past", time(now)), next);
    }
    match newest {
        Some(signed) if now.plus(trust::limits::CLOCK_SKEW) < signed => {
            let behind = age(signed.since(now));
            check(
                "clock",
                State::Bad,
                format!("it shows {}, {behind} before what a trusted realm has signed", time(now)),
                next,
            )
        }
        _ => good("clock", format!("it shows {}", time(now))),
    }
}

fn ports(setup: &Setup) -> Check {
    if let Err(error) = TcpListener::bind(("127.0.0.1", 0)) {
        let detail = format!("no port of 127.0.0.1 can be listened on: {}", home::plain(&error));
        return check("ports", State::Bad, detail, "see whether a sandbox or a firewall forbids it");
    }
    let console = SocketAddr::from(([127, 0, 0, 1], setup.settings.console_port.value));
    let proxy = setup.settings.proxy_listen.value;
    let taken: Vec<String> = [("console", console), ("proxy", proxy)]
        .into_iter()
        .filter(|(_, address)| TcpListener::bind(address).is_err())
        .map(|(what, address)| format!("{address} ({what}) is in use"))
        .collect();
    if taken.is_empty() {
        return good("ports", format!("{console} (console) and {proxy} (proxy) are free"));
    }
    check(
        "ports",
        State::Note,
        taken.join(", "),
        "if that is not webos itself: `up` takes another by itself, `proxy --listen` chooses one",
    )
}

fn folder(setup: &Setup) -> Check {
    let path = setup.folder.path();
    let shown = path.display();
    match home::check(path) {
        Err(problem) => check("folder", State::Bad, problem.detail, problem.next),
        Ok(true) if access(path, Access::WRITE_OK | Access::EXEC_OK).is_err() => {
            check("folder", State::Bad, format!("{shown} cannot be written"), "check who owns it")
        }
        Ok(true) => good("folder", format!("{shown} is yours alone to change")),
        Ok(false) => good("folder", format!("{shown} is not there yet; it is made when it is needed")),
    }
}

fn space(setup: &Setup) -> Check {
    let there = setup.folder.path().ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match statvfs(there) {
        Err(error) => check("space", State::Note, format!("free space of {}: {error}", there.display()), ""),
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let detail = format!("{} free at {}", ByteCount(free), there.display());
            if free < SPARE_BYTES {
                check("space", State::Note, detail, "a local world with its sample needs about 1 GiB")
            } else {
                good("space", detail)
            }
        }
    }
}

/// Who this folder is, and what of it and of its realms ends when.
fn ends(setup: &Setup, client: &Client) -> Vec<Check> {
    let mut checks = Vec::new();
    if !setup.folder.identity().join(Identity::FILE).exists() {
        let next = "`webos up` makes one, `webos user register` joins a realm";
        checks.push(check("identity", State::Note, "there is none", next));
    }
    match super::ends::all(setup, client) {
        Ok(ends) => checks.extend(ends.into_iter().map(|end| match end.urgency {
            Urgency::None => good(end.what, end.detail),
            Urgency::Soon => check(end.what, State::Note, end.detail, end.next),
            Urgency::Now => check(end.what, State::Bad, end.detail, end.next),
        })),
        Err(problem) => checks.push(check("certificates", State::Bad, problem.detail, problem.next)),
    }
    checks
}

/// The audit logs of the nodes here.
async fn audit_logs(setup: &Setup) -> Vec<Check> {
    let folders = super::status::folders(&setup.folder);
    let found = join_all(folders.iter().map(|folder| super::logs::look(folder, &setup.world))).await;
    let state = |standing| match standing {
        Standing::Good => State::Good,
        Standing::Alone => State::Note,
        Standing::Damaged => State::Bad,
    };
    found.into_iter().flatten().map(|log| check("audit log", state(log.standing), log.detail, log.next)).collect()
}

async fn revoked(client: &Client) -> Option<Check> {
    client.revoked().await.map(|problem| check("revoked", State::Bad, problem.detail, problem.next))
}

/// Asked as nobody: whether they let us in is another question. Of several one that is silent is no harm yet, unless it
/// is the first.
async fn name_servers(client: &Client, realm: &RealmName) -> Vec<Check> {
    let servers = client.name_servers(realm).unwrap_or_default();
    if servers.len() < 2 {
        return vec![match client.ask_openly(realm, BUNDLE_ROUTE, MAX_DOCUMENT_BYTES).await {
            Ok(_) => good("name server", format!("{realm} answers")),
            Err(problem) => check("name server", State::Bad, problem.detail, problem.next),
        }];
    }
    let asked = servers.iter().enumerate().map(|(place, server)| async move {
        let silent = if place == 0 { State::Bad } else { State::Note };
        match client.ask_at(realm, server, BUNDLE_ROUTE, MAX_DOCUMENT_BYTES).await {
            Ok(_) => good("name server", format!("{} answers for {realm}", server.principal)),
            Err(problem) => check("name server", silent, problem.detail, problem.next),
        }
    });
    join_all(asked).await
}

fn tool(name: &'static str, what_for: &str) -> Check {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Servers lie in sbin, which is not in everybody's PATH.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    match folders.map(|folder| folder.join(name)).find(|file| access(file, Access::EXEC_OK).is_ok()) {
        Some(file) => good(name, format!("{}, for {what_for}", file.display())),
        None => check(name, State::Note, format!("not installed; only {what_for} need it"), ""),
    }
}
