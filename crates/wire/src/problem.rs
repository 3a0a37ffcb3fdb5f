//! Problems as HTTP answers and back (RFC 9457).

use crate::body::{Body, full, read_body};
use crate::limits::MAX_PROBLEM_BYTES;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use terms::{Code, Problem};

const TYPE: &str = "application/problem+json";

#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(default)]
    status: u16,
    #[serde(flatten)]
    problem: Problem,
}

/// The answer that carries a problem.
pub fn problem_response(problem: &Problem) -> Response<Body> {
    let status = problem.code.http_status();
    let document = Document { status, problem: problem.clone() };
    let text = serde_json::to_vec(&document).unwrap_or_default();
    let mut response = Response::new(full(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TYPE));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The problem that an answer carries; an answer of another kind becomes one by its status.
pub async fn problem_from(response: Response<Incoming>) -> Problem {
    let status = response.status();
    let is_document =
        response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(TYPE.as_bytes()));
    if is_document
        && let Ok(bytes) = read_body(response.into_body(), MAX_PROBLEM_BYTES).await
        && let Ok(document) = serde_json::from_slice::<Document>(&bytes)
    {
        return document.problem;
    }
    let code = match status.as_u16() {
        401 | 403 => Code::Denied,
        404 => Code::NotFound,
        409 => Code::Exists,
        412 => Code::Conflict,
        413 | 431 => Code::TooLarge,
        421 => Code::Moved,
        423 => Code::LockLost,
        429 => Code::Busy,
        501 => Code::Unsupported,
        503 => Code::Unavailable,
        504 => Code::Timeout,
        507 => Code::NoSpace,
        400..=499 => Code::Invalid,
        _ => Code::Internal,
    };
    Problem::new(code, format!("the server answered {status}"))
}
