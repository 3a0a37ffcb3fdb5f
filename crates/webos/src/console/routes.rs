//! What each path of the console does, for a request that the guard let in or turned away. It relies on the
//! [`Theatre`] for every fact and every action.

use super::answer::{self, Body};
use super::assets;
use super::guard::{Entry, Guard, Refusal};
use super::limits::{ACTION_DEADLINE, BODY_DEADLINE, MAX_BODY_BYTES, MAX_STREAMS};
use super::model::{Action, SurgeRequest, Theatre};
use super::stream;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use std::sync::Arc;
use terms::{Code, Label, Problem};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What all connections share.
pub(super) struct Shared {
    pub(super) theatre: Arc<dyn Theatre>,
    pub(super) guard: Guard,
    pub(super) port: u16,
    pub(super) streams: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    State,
    Events,
    Surge,
    Calm,
    Kill(Label),
    Revive(Label),
    Page,
    Rights,
    Revoke,
}

impl Route {
    /// Compares the path as it was sent; nothing is decoded, so `..`, `%2e` and `//` lead nowhere.
    fn of(path: &str) -> Option<Self> {
        match path {
            "/api/state" => return Some(Self::State),
            "/api/events" => return Some(Self::Events),
            "/api/surge" => return Some(Self::Surge),
            "/api/calm" => return Some(Self::Calm),
            "/api/rights" => return Some(Self::Rights),
            "/api/rights/revoke" => return Some(Self::Revoke),
            _ => {}
        }
        let Some(rest) = path.strip_prefix("/api/nodes/") else {
            return assets::find(path).map(|_| Self::Page);
        };
        let (name, verb) = rest.split_once('/')?;
        let name = Label::new(name).ok()?;
        match verb {
            "kill" => Some(Self::Kill(name)),
            "revive" => Some(Self::Revive(name)),
            _ => None,
        }
    }

    fn reads(&self) -> bool {
        matches!(self, Self::State | Self::Events | Self::Page | Self::Rights)
    }
}

/// Answers one request. `connection` is cancelled when the other side stops reading its event stream.
pub(super) async fn answer(
    shared: &Shared,
    request: Request<Incoming>,
    connection: &CancellationToken,
) -> Response<Body> {
    let checked = shared.guard.check(request.method(), request.uri(), request.headers());
    let mut response = match checked {
        Ok(Entry::SetCookie) => answer::enter(&shared.guard.cookie()),
        Ok(Entry::Answer) => admitted(shared, request, connection).await,
        Err(refusal) => {
            let path = request.uri().path();
            let page = matches!(refusal, Refusal::Token { .. }) && path == "/";
            tracing::debug!(?refusal, path, "the console turned a request away");
            answer::refused(refusal, shared.port, page)
        }
    };
    answer::protect(response.headers_mut());
    response
}

async fn admitted(shared: &Shared, request: Request<Incoming>, connection: &CancellationToken) -> Response<Body> {
    let path = request.uri().path();
    let Some(route) = Route::of(path) else {
        return answer::problem(&Problem::new(Code::NotFound, "there is nothing at this path").next("open /"));
    };
    let allowed: &[Method] = if route.reads() { &[Method::GET, Method::HEAD] } else { &[Method::POST] };
    if !allowed.contains(request.method()) {
        return answer::wrong_method(if route.reads() { "GET, HEAD" } else { "POST" });
    }
    match route {
        Route::State => answer::json(&shared.theatre.snapshot().bounded()),
        Route::Events if request.method() == Method::HEAD => answer::wrong_method("GET"),
        Route::Events => events(shared, connection),
        Route::Page => assets::find(path).map_or_else(
            || answer::problem(&Problem::new(Code::NotFound, "there is nothing at this path")),
            answer::asset,
        ),
        Route::Rights => match in_time(shared.theatre.rights()).await {
            Ok(view) => answer::json(&view),
            Err(problem) => answer::problem(&problem),
        },
        Route::Revoke => revoke(shared, request).await,
        Route::Surge => act(shared, request, surge).await,
        Route::Calm => act(shared, request, |_, body| plain(body, Action::Calm)).await,
        Route::Kill(name) => act(shared, request, |_, body| plain(body, Action::Kill(name))).await,
        Route::Revive(name) => act(shared, request, |_, body| plain(body, Action::Revive(name))).await,
    }
}

fn events(shared: &Shared, connection: &CancellationToken) -> Response<Body> {
    let Ok(place) = shared.streams.clone().try_acquire_owned() else {
        let sentence = format!("{MAX_STREAMS} pages of this console are open, which is the limit");
        return answer::problem(&Problem::new(Code::Busy, sentence).next("close one and load this page again"));
    };
    let feed = stream::Feed { theatre: shared.theatre.clone(), place, stop: shared.stop.clone() };
    answer::stream(stream::open(feed, &shared.tasks, connection.clone()))
}

/// Reads the body, makes an action of it, and has it done.
async fn act(
    shared: &Shared,
    request: Request<Incoming>,
    parse: impl FnOnce(&HeaderMap, &Bytes) -> Result<Action, Problem>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let outcome = async {
        let body = read(body).await?;
        let action = parse(&head.headers, &body)?;
        in_time(shared.theatre.act(action)).await
    };
    done(outcome.await)
}

/// Reads what is to be taken back, and has it done.
async fn revoke(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let outcome = async {
        must_be_json(&head.headers, "a revocation")?;
        let body = read(body).await?;
        let revocation = serde_json::from_slice(&body).map_err(|error| {
            Problem::new(Code::Invalid, format!("what is to be revoked is not understood: {error}"))
                .next(r#"send {"kind": "token", "id": "…"}"#)
        })?;
        in_time(shared.theatre.revoke(revocation)).await
    };
    done(outcome.await)
}

async fn in_time<T>(work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    let late = |_| {
        let sentence = format!("this took longer than {} s", ACTION_DEADLINE.as_secs());
        Problem::new(Code::Timeout, sentence).next("see from the events whether it still happened")
    };
    timeout(ACTION_DEADLINE, work).await.map_err(late)?
}

fn done(outcome: Result<String, Problem>) -> Response<Body> {
    match outcome {
        Ok(text) => answer::json(&Done { text }),
        Err(problem) => answer::problem(&problem),
    }
}

/// The answer to an action: what was done, in a sentence.
#[derive(serde::Serialize)]
struct Done {
    text: String,
}

async fn read(body: Incoming) -> Result<Bytes, Problem> {
    let late = |_| Problem::new(Code::Timeout, format!("the body took longer than {} s", BODY_DEADLINE.as_secs()));
    match timeout(BODY_DEADLINE, Limited::new(body, MAX_BODY_BYTES).collect()).await.map_err(late)? {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let sentence = format!("the body is larger than {MAX_BODY_BYTES} bytes (MAX_BODY_BYTES)");
            Err(Problem::new(Code::TooLarge, sentence))
        }
        Err(error) => Err(Problem::new(Code::Invalid, format!("the body broke off: {error}"))),
    }
}

fn surge(headers: &HeaderMap, body: &Bytes) -> Result<Action, Problem> {
    must_be_json(headers, "a surge")?;
    let example = r#"send {"clients": 20, "seconds": 60}"#;
    let wish: SurgeRequest = serde_json::from_slice(body).map_err(|error| {
        Problem::new(Code::Invalid, format!("the surge is not understood: {error}")).next(example)
    })?;
    wish.action()
}

/// Pages elsewhere cannot send this type without being asked about it first.
fn must_be_json(headers: &HeaderMap, what: &str) -> Result<(), Problem> {
    if headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json") {
        return Ok(());
    }
    Err(Problem::new(Code::Invalid, format!("{what} is asked for with Content-Type: application/json")))
}

fn plain(body: &Bytes, action: Action) -> Result<Action, Problem> {
    if body.is_empty() { Ok(action) } else { Err(Problem::new(Code::Invalid, "this action takes no body")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_somewhere_only_as_written() {
        let n1 = || Label::new("n1").expect("a label");
        for (path, expected) in [
            ("/", Some(Route::Page)),
            ("/console.js", Some(Route::Page)),
            ("/api/state", Some(Route::State)),
            ("/api/rights", Some(Route::Rights)),
            ("/api/rights/revoke", Some(Route::Revoke)),
            ("/api/rights/", None),
            ("/api/nodes/n1/kill", Some(Route::Kill(n1()))),
            ("/api/nodes/n1/revive", Some(Route::Revive(n1()))),
            ("", None),
            ("//", None),
            ("/./", None),
            ("/index.html", None),
            ("/../console.js", None),
            ("/%2e%2e/console.js", None),
            ("/console.js/", None),
            ("/console.js%00", None),
            ("/api/state/", None),
            ("//api/state", None),
            ("/API/state", None),
            ("/api/nodes/n1", None),
            ("/api/nodes//kill", None),
            ("/api/nodes/../kill", None),
            ("/api/nodes/%6e1/kill", None),
            ("/api/nodes/n1/kill/", None),
            ("/api/nodes/n1/kill/revive", None),
            ("/api/nodes/N1/kill", None),
            ("/api/nodes/n1;x/kill", None),
        ] {
            assert_eq!(Route::of(path), expected, "{path}");
        }
    }
}
