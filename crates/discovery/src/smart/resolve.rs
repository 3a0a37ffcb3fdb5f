//! From a service's name to its documents: name servers, and the disk cache of the certificate.

use super::{Known, SmartClient};
use crate::limits::{
    CERTIFICATE_FRESH, MAX_DOCUMENT_BYTES, MAX_STATE_BYTES, NAME_DEADLINE, OTHER_ANSWERS, STATE_DEADLINE,
    STATE_PAUSE,
};
use crate::model::{StateReply, certificate_route, state_route};
use crate::verified::Certificate;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::Request;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use terms::{BootMs, Code, Problem, ServiceName};
use tokio::time::timeout;
use trust::{NameServer, TrustStore};
use wire::{Expect, Pool, Purpose, Target};
use world::World;

/// Name servers that are asked for one certificate: the highest serial of their answers counts.
const ASKED: usize = 2;

pub(super) fn name_servers(trust: &TrustStore, service: &ServiceName) -> Result<Vec<NameServer>, Problem> {
    let bundle = trust.bundle(&service.realm).ok_or_else(|| {
        Problem::new(Code::NotFound, format!("the realm of {service} is not trusted here"))
            .next("join it with an invitation: `webos user register`, or start a local world with `webos up`")
    })?;
    Ok(bundle.name_servers.clone())
}

async fn ask(
    pool: &Pool,
    server: &NameServer,
    route: &str,
    limit: usize,
    deadline: Duration,
) -> Result<Bytes, Problem> {
    let target = Target {
        address: server.address.clone(),
        expect: Expect::Principal(server.principal.clone()),
        purpose: Purpose::Control,
    };
    let request = Request::get(format!("https://{}{route}", server.principal.dns_twin()))
        .body(wire::body::empty())
        .map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
    let work = async {
        let answer = pool.request(&target, request).await.map_err(|error| {
            let reason = Problem::from(error);
            Problem::new(reason.code, format!("the name server {}: {}", server.principal, reason.detail))
                .next("see that this node runs and is reachable from here")
        })?;
        if !answer.status().is_success() {
            return Err(wire::problem_from(answer).await);
        }
        wire::read_body(answer.into_body(), limit).await
    };
    timeout(deadline, work).await.unwrap_or_else(|_| {
        Err(Problem::new(Code::Timeout, format!("the name server {} did not answer in time", server.principal)))
    })
}

/// The certificate with the highest serial that the name servers have.
pub(super) async fn certificate(
    pool: &Pool,
    trust: &TrustStore,
    world: &World,
    service: &ServiceName,
) -> Result<Certificate, Problem> {
    let servers = name_servers(trust, service)?;
    let route = certificate_route(service);
    let route = &route;
    let asked = servers.iter().take(ASKED).enumerate().map(|(place, server)| async move {
        let bytes = ask(pool, server, route, MAX_DOCUMENT_BYTES, NAME_DEADLINE).await;
        let opened = bytes.and_then(|bytes| {
            Certificate::open(&bytes, service, trust, world.clock.unix())
                .map_err(|error| Problem::new(Code::Denied, error.to_string()))
        });
        (place, opened)
    });
    let mut asked: FuturesUnordered<_> = asked.collect();
    // Once there is an answer, a server that is away keeps nobody waiting for its own.
    let (mut answers, mut patience) = (Vec::new(), NAME_DEADLINE * 2);
    while let Ok(Some((place, answer))) = timeout(patience, asked.next()).await {
        if answer.is_ok() {
            patience = OTHER_ANSWERS;
        }
        answers.push((place, answer));
    }
    answers.sort_by_key(|(place, _)| *place);
    best(answers.into_iter().map(|(_, answer)| answer), service)
}

/// The certificate with the highest serial. Failing that, what the first name server says or that it is silent tells most:
/// the others do not know whether there is such a service.
fn best(
    answers: impl IntoIterator<Item = Result<Certificate, Problem>>,
    service: &ServiceName,
) -> Result<Certificate, Problem> {
    let (mut best, mut telling) = (None::<Certificate>, None);
    for answer in answers {
        match answer {
            Ok(found) => {
                let newer = best.as_ref().is_none_or(|best| found.value().serial > best.value().serial);
                if newer {
                    best = Some(found);
                }
            }
            Err(problem) => drop(telling.get_or_insert(problem)),
        }
    }
    let nobody = || Problem::new(Code::Unavailable, format!("no name server of {} is known", service.realm));
    best.ok_or_else(|| telling.unwrap_or_else(nobody))
}

/// The cached certificate, if it is whole and still valid. A damaged one is removed.
pub(super) fn cached(path: &Path, trust: &TrustStore, world: &World, service: &ServiceName) -> Option<Certificate> {
    let bytes = fs::read(path).ok()?;
    match Certificate::open(&bytes, service, trust, world.clock.unix()) {
        Ok(certificate) => Some(certificate),
        Err(error) => {
            tracing::debug!(%service, %error, "a cached service certificate is dropped");
            let _ = fs::remove_file(path);
            None
        }
    }
}

/// Keeps a certificate for the next start; a cache that cannot be written only costs time.
pub(super) fn keep(path: &Path, certificate: &Certificate) {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    let draft = std::path::PathBuf::from(draft);
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(folder)
        .and_then(|()| fs::File::create(&draft)?.write_all(certificate.bytes()))
        .and_then(|()| fs::rename(&draft, path));
    if let Err(error) = written {
        tracing::debug!(%error, "a service certificate could not be cached");
        let _ = fs::remove_file(&draft);
    }
}

impl SmartClient {
    /// Asks for a newer certificate once the present one has aged. Failing that, the present one goes on.
    pub(super) async fn freshen(&self) {
        let now = self.0.world.clock.boot();
        if now.since(self.known().certificate_at) < CERTIFICATE_FRESH {
            return;
        }
        self.known().certificate_at = now;
        match certificate(&self.0.pool, &self.0.trust, &self.0.world, &self.0.service).await {
            Ok(certificate) => {
                if let Some(path) = &self.0.cache {
                    keep(path, &certificate);
                }
                self.known().take_certificate(certificate, now);
            }
            Err(problem) => tracing::debug!(%problem, "no newer service certificate can be had"),
        }
    }

    /// Asks the name servers for the newest table and rights; at most once in [`STATE_PAUSE`].
    pub(super) async fn refresh_state(&self) {
        let mut turn = self.0.refreshing.lock().await;
        let now = self.0.world.clock.boot();
        if turn.is_some_and(|last: BootMs| now.since(last) < STATE_PAUSE) {
            return;
        }
        *turn = Some(now);
        let Ok(servers) = name_servers(&self.0.trust, &self.0.service) else { return };
        for server in servers.iter().take(ASKED) {
            let sent = self.0.world.clock.boot();
            let asked =
                ask(&self.0.pool, server, &state_route(&self.0.service), MAX_STATE_BYTES, STATE_DEADLINE).await;
            let reply = asked.and_then(|bytes| wire::cbor::from_slice::<StateReply>(&bytes));
            match reply {
                Ok(reply) => {
                    let received = self.0.world.clock.boot();
                    *turn = Some(received);
                    return self.known().take_state(&reply, sent, received);
                }
                Err(problem) => tracing::debug!(%problem, "a name server gives no state"),
            }
        }
        // The pause counts from the end of a failed question too: those who waited for it do not ask again.
        *turn = Some(self.0.world.clock.boot());
    }
}

impl Known {
    fn take_state(&mut self, reply: &StateReply, sent: BootMs, received: BootMs) {
        self.clock.observe(sent, received, reply.now);
        match self.certificate.open_table(&reply.table) {
            Ok(table) => self.take_table(table),
            Err(error) => tracing::debug!(%error, "a table is refused"),
        }
        let open = |right: &serde_bytes::ByteBuf| self.certificate.open_right(right);
        let rights = reply.rights.iter().filter_map(|right| open(right).ok()).collect();
        self.take_rights(rights);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_that_there_is_no_service_by_a_server_that_does_not_know() {
        let service: ServiceName = "service://site.lab.example".parse().expect("a service");
        let said = |code| Err(Problem::new(code, "said so"));
        for (answers, told) in [
            (vec![said(Code::NotFound), said(Code::Unavailable)], Code::NotFound),
            (vec![said(Code::Timeout), said(Code::NotFound)], Code::Timeout),
            (vec![said(Code::Unavailable), said(Code::NotFound)], Code::Unavailable),
            (vec![], Code::Unavailable),
        ] {
            assert_eq!(best(answers, &service).err().map(|problem| problem.code), Some(told));
        }
    }
}
