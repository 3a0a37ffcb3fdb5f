//! The first answer for a file: which version it is, by the home's word, and where its bytes begin to come from.

use super::stream::{ServerCount, Source, count_of};
use super::{Answer, SmartClient};
use crate::director::{Failure, Outcome};
use crate::eligible::Usable;
use crate::headers::{self, field};
use crate::limits::{BODY_DEADLINE, MAX_DOCUMENT_BYTES};
use crate::manifest::Manifest;
use crate::model::MANIFEST_TYPE;
use http::header::{ACCEPT, ETAG, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use terms::{Code, Problem, Thumbprint, VolumePath};
use tokio::time::timeout;

/// What is wanted of a file at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// Its bytes from the start: they come with the first answer.
    Bytes,
    /// What it is: its bytes are asked for later, or never.
    Manifest,
}

/// A file whose version is known.
pub(super) struct Opened {
    pub(super) manifest: Manifest,
    pub(super) fields: HeaderMap,
    /// The body from the file's start, where it was wanted.
    pub(super) source: Option<Source>,
}

/// Asks until a server gives the file's manifest. Servers that give none, a wrong or an older one are excluded.
pub(super) async fn first_answer(
    client: &SmartClient,
    path: &VolumePath,
    first: First,
    excluded: &mut Vec<Thumbprint>,
    counts: &mut Vec<ServerCount>,
) -> Result<Opened, Problem> {
    let mut fields = HeaderMap::new();
    if first == First::Manifest {
        fields.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
    }
    let mut refusal = None;
    loop {
        let answer = match client.request(path, &fields, excluded).await {
            Ok(answer) => answer,
            Err(problem) => return Err(refusal.unwrap_or(problem)),
        };
        let now = client.0.world.clock.boot();
        if answer.response.status() == StatusCode::RANGE_NOT_SATISFIABLE && fields.remove(RANGE).is_some() {
            // An empty file has no first byte.
            client.known().report(now, answer.server.key(), Outcome::Ended);
            continue;
        }
        if !answer.response.status().is_success() {
            client.known().report(now, answer.server.key(), Outcome::Ended);
            let problem = wire::problem_from(answer.response).await;
            if answer.server.certified() {
                return Err(problem);
            }
            // A surrogate cannot prove that there is no such file: a server of the certificate is asked too.
            excluded.push(answer.server.key());
            refusal = Some(problem);
            continue;
        }
        match manifest_of(client, path, &answer).await {
            Ok(manifest) if client.is_behind(path, &manifest) => {
                tracing::debug!(server = %answer.server.principal(), %path, "a server is behind");
                client.failed(&answer.server, Failure::Wrong);
                excluded.push(answer.server.key());
            }
            Ok(manifest) => return Ok(opened(client, answer, manifest, first, counts)),
            Err((failure, problem)) => {
                tracing::warn!(server = %answer.server.principal(), %problem, "a server gives no valid manifest");
                client.failed(&answer.server, failure);
                excluded.push(answer.server.key());
            }
        }
    }
}

fn opened(
    client: &SmartClient,
    answer: Answer,
    manifest: Manifest,
    first: First,
    counts: &mut Vec<ServerCount>,
) -> Opened {
    let now = client.0.world.clock.boot();
    let same = field(answer.response.headers(), ETAG.as_str()) == Some(&manifest.etag());
    let (head, body) = answer.response.into_parts();
    // If it changed between answer and manifest, the body is dropped and asked for again under one version.
    let source = if same && first == First::Bytes && head.status == StatusCode::OK {
        let count = count_of(counts, &answer.server);
        Some(Source { body, server: answer.server, count, last: now })
    } else {
        client.known().report(now, answer.server.key(), Outcome::Dropped);
        None
    };
    Opened { manifest, fields: head.headers, source }
}

/// The manifest that came with an answer, or is asked for beside it, of the same server: who gives a wrong one is
/// then known.
pub(super) async fn manifest_of(
    client: &SmartClient,
    path: &VolumePath,
    answer: &Answer,
) -> Result<Manifest, (Failure, Problem)> {
    let lied = |why: String| (Failure::Lied, Problem::new(Code::Denied, why));
    let certificate = client.certificate();
    if let Some(text) = field(answer.response.headers(), headers::MANIFEST) {
        let bytes = headers::manifest_from_header(text).map_err(|error| lied(error.to_string()))?;
        return certificate.open_manifest(&bytes, path).map_err(|error| lied(error.to_string()));
    }
    let mut fields = HeaderMap::new();
    fields.insert(ACCEPT, HeaderValue::from_static(MANIFEST_TYPE));
    let beside = client.ask(&answer.server, path, &fields).await?;
    if !beside.status().is_success() {
        return Err((Failure::Wrong, wire::problem_from(beside).await));
    }
    let bytes = timeout(BODY_DEADLINE, wire::read_body(beside.into_body(), MAX_DOCUMENT_BYTES)).await;
    let bytes = bytes.map_err(|_| silent(&answer.server))?.map_err(|problem| (Failure::Reset, problem))?;
    certificate.open_manifest(&bytes, path).map_err(|error| lied(error.to_string()))
}

fn silent(server: &Usable) -> (Failure, Problem) {
    let text =
        format!("{} was silent for {} s in the middle of a manifest", server.principal(), BODY_DEADLINE.as_secs());
    (Failure::Stall, Problem::new(Code::Timeout, text))
}
