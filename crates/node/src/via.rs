//! Reading for somebody else: the node asks the home under the caller's transfer certificate.
//!
//! The node's own rights never help: without a certificate from this very caller, bound to this node's key, it
//! asks nobody.

use crate::gatekeeper::Caller;
use crate::node::State;
use client::protocol::ViaRequest;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use std::sync::Arc;
use terms::{Code, Problem};
use trust::transfer::HEADER;
use webfs::model::{CHANGE_HEADER, MANIFEST_HEADER, VERSION_HEADER};
use wire::{Body, Purpose};

/// The header fields of the home's answer that the caller gets.
const PASSED_ON: [&str; 8] = [
    "content-length",
    "content-type",
    "etag",
    "last-modified",
    "content-security-policy",
    MANIFEST_HEADER,
    VERSION_HEADER,
    CHANGE_HEADER,
];

/// Answers with what the home answers to the caller's certificate.
pub async fn answer(
    state: &Arc<State>,
    caller: &Caller,
    parts: &Parts,
    request: ViaRequest,
) -> Result<Response<Body>, Problem> {
    let header = parts.headers.get(HEADER).ok_or_else(|| {
        Problem::new(
            Code::Denied,
            format!("{} reads for others only under their transfer certificate", state.own.principal),
        )
        .next("`webos get --via` makes one")
    })?;
    // The home verifies it too, but only against this node, which shows it there: that it comes from this very caller
    // is seen here alone. What cannot be verified here is therefore not used.
    state.gate.lent_to(&state.own, caller, &request.location.to_string(), header)?;
    let volume = &request.location.volume;
    let record = state.client.volume_record(volume).await?;
    let home = state.client.node(&record.home, &record.address);
    let url = format!("https://{}/{volume}/{}", record.home.dns_twin(), request.location.path.to_url());
    let mut asked = Request::builder().method(Method::GET).uri(url).body(wire::body::empty()).map_err(|error| {
        Problem::new(Code::Invalid, format!("{} is no usable address: {error}", request.location))
    })?;
    asked.headers_mut().insert(HEADER, header.clone());
    let answer = state.client.pool().request(&home.target(Purpose::Bulk), asked).await?;
    if !answer.status().is_success() {
        return Err(wire::problem_from(answer).await);
    }
    let (head, body) = answer.into_parts();
    let body = http_body_util::BodyExt::boxed(http_body_util::BodyExt::map_err(body, Into::into));
    let mut response = Response::new(body);
    copy(&head.headers, response.headers_mut());
    Ok(response)
}

fn copy(from: &HeaderMap, to: &mut HeaderMap) {
    for name in PASSED_ON {
        if let (Ok(name), Some(value)) = (http::HeaderName::from_bytes(name.as_bytes()), from.get(name)) {
            to.insert(name, value.clone());
        }
    }
}
