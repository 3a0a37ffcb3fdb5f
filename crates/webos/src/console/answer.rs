//! The console's answers: every one carries the protecting headers, every refusal says what to do.

use super::assets::Asset;
use super::guard::Refusal;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, REFRESH, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use serde::Serialize;
use std::convert::Infallible;
use terms::{Code, Problem};

pub(super) type Body = BoxBody<Bytes, Infallible>;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'";
const PROTECTION: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Adds what every answer carries.
pub(super) fn protect(headers: &mut HeaderMap) {
    for (name, value) in PROTECTION {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn with_type(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(bytes.into()).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A file of the page.
pub(super) fn asset(asset: Asset) -> Response<Body> {
    with_type(StatusCode::OK, asset.content_type, asset.bytes)
}

/// A JSON answer.
pub(super) fn json<T: Serialize>(value: &T) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(text) => with_type(StatusCode::OK, "application/json", text),
        Err(error) => {
            problem(&Problem::new(Code::Internal, format!("the answer could not be written as JSON: {error}")))
        }
    }
}

/// An event stream.
pub(super) fn stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

/// A problem with the status of its code.
pub(super) fn problem(problem: &Problem) -> Response<Body> {
    let status = StatusCode::from_u16(problem.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    problem_with(status, problem)
}

fn problem_with(status: StatusCode, problem: &Problem) -> Response<Body> {
    // A Problem is two strings and a unit variant: it always has a JSON form.
    let text = serde_json::to_vec(problem).unwrap_or_default();
    with_type(status, "application/problem+json", text)
}

/// 405 with the method that the path does take.
pub(super) fn wrong_method(allowed: &'static str) -> Response<Body> {
    let sentence = format!("this path takes {allowed} only");
    let mut response = problem_with(StatusCode::METHOD_NOT_ALLOWED, &Problem::new(Code::Invalid, sentence));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The cookie, and on to the page.
pub(super) fn enter(cookie: &str) -> Response<Body> {
    let mut response = with_type(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "the console is at /\n");
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
    match HeaderValue::from_str(cookie) {
        Ok(value) => {
            response.headers_mut().insert(SET_COOKIE, value);
            response
        }
        Err(error) => problem(&Problem::new(Code::Internal, format!("the cookie has no header form: {error}"))),
    }
}

/// The answer to a request that was turned away.
pub(super) fn refused(refusal: Refusal, port: u16, page: bool) -> Response<Body> {
    let denied = |sentence: &str, advice: String| Problem::new(Code::Denied, sentence).next(advice);
    match refusal {
        Refusal::Host => problem_with(
            StatusCode::MISDIRECTED_REQUEST,
            &denied(
                "the request names another host than this console's",
                format!("open http://127.0.0.1:{port}/ or http://localhost:{port}/"),
            ),
        ),
        Refusal::Foreign => problem(&denied(
            "the request comes from another site's page",
            format!("only pages of http://127.0.0.1:{port}/ itself may ask this console"),
        )),
        Refusal::OriginMissing => problem(&denied(
            "a request that changes something needs an Origin header",
            "send the console's own origin, or, from a program, the token in the header webos-token".into(),
        )),
        Refusal::Token { again } if page => unknown_visitor(again),
        Refusal::Token { .. } => problem_with(
            StatusCode::UNAUTHORIZED,
            &denied(
                "the token of this start is missing or wrong",
                "open the link that `webos up` printed, or send the token in the header webos-token".into(),
            ),
        ),
    }
}

fn unknown_visitor(again: bool) -> Response<Body> {
    let mut response = with_type(StatusCode::UNAUTHORIZED, "text/html; charset=utf-8", UNKNOWN_VISITOR);
    if again {
        // The browser kept the strict cookie back because the visit began on another site. A refresh is a visit
        // of our own: it shows the cookie if there is one, and is not asked to refresh again if there is none.
        response.headers_mut().insert(REFRESH, HeaderValue::from_static("0; url=/"));
    }
    response
}

const UNKNOWN_VISITOR: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>WebOS console: open it by its link</title>
<h1>Open the console by its link</h1>
<p>This console answers only to the person who started it. Each start makes a new secret,
and this browser has not shown the present one.</p>
<p>In the terminal where <code>webos up</code> runs, find the line that begins with
<code>http://127.0.0.1:</code> and holds <code>?token=</code>, and open that link.
If it has scrolled away, end <code>webos up</code> with Ctrl-C and start it again: it goes on with
what was there, and prints a new link.</p>
</html>
"#;
