//! From a request to its answer: route, deadline, caller, and one arm for each route.

use crate::control;
use crate::files;
use crate::gatekeeper::Caller;
use crate::guard;
use crate::homes;
use crate::incident::{outward, refused};
use crate::limits::REQUEST_DEADLINE;
use crate::node::State;
use crate::routes::{self, Access, Route, SERVICE_METHODS};
use crate::strangers::OpenRequests;
use crate::tokens;
use http::{Request, Response};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;
use terms::{Code, Problem, ServiceName, VolumeName};
use wire::{Body, Handler, HandlerFuture, Peer, problem_response};

/// Answers everything that comes to a node.
pub struct Requests {
    state: Arc<State>,
    open: OpenRequests,
}

impl Requests {
    /// The handler of a node.
    pub fn new(state: Arc<State>) -> Self {
        Self { state, open: OpenRequests::default() }
    }
}

impl Handler for Requests {
    fn handle(&self, request: Request<Incoming>, peer: Option<Arc<Peer>>, from: SocketAddr) -> HandlerFuture {
        let state = self.state.clone();
        if let Some(service) = service_of(&request) {
            return Box::pin(async move {
                let answer = to_service(&state, service, request, peer.clone(), from).await;
                outward(&state, peer.as_deref(), answer)
            });
        }
        let found = routes::find(request.method(), request.uri().path());
        let admitted = match &found {
            Ok((_, Access::Open)) if peer.is_none() => self.open.admit(self.state.world.clock.boot(), from.ip()),
            _ => Ok(()),
        };
        Box::pin(async move {
            let answer = async {
                admitted?;
                let (route, access) = found?;
                to_node(&state, route, access, request, peer.clone(), from).await
            };
            outward(&state, peer.as_deref(), answer.await.unwrap_or_else(refused))
        })
    }
}

/// The service whose name the request's authority carries, if it is one.
fn service_of(request: &Request<Incoming>) -> Option<ServiceName> {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
    let authority = authority.or(host)?;
    let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
    ServiceName::from_authority(name).ok()
}

async fn to_service(
    state: &Arc<State>,
    service: ServiceName,
    request: Request<Incoming>,
    peer: Option<Arc<Peer>>,
    from: SocketAddr,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let front = state.published.front(&service).or_else(|| state.serving.front(&service));
    let Some(front) = front else {
        let problem = Problem::new(Code::Unavailable, format!("{service} is not served here"))
            .next("ask another server of the service");
        let mut response = problem_response(&problem);
        response.headers_mut().insert(discovery::headers::ELSEWHERE, http::HeaderValue::from_static("?1"));
        return response;
    };
    if !SERVICE_METHODS.contains(&parts.method) {
        wire::body::read_off(body).await;
        return problem_response(&Problem::new(
            Code::Unsupported,
            format!("{} is not answered by {service}, only GET and HEAD", parts.method),
        ));
    }
    match state.gate.caller(peer, from, &parts.headers, &service.to_string()) {
        Ok(caller) => guard::answer(&caller, state.gate.trust(), front.answer(&state.gate, &caller, &parts).await),
        Err(problem) => refused(problem),
    }
}

async fn to_node(
    state: &Arc<State>,
    route: Route,
    access: Access,
    request: Request<Incoming>,
    peer: Option<Arc<Peer>>,
    from: SocketAddr,
) -> Result<Response<Body>, Problem> {
    let resource = request.uri().path().chars().take(200).collect::<String>();
    // What a token says counts for files alone, and only from somebody without a certificate.
    let by_token = match &peer {
        None => tokens::caller(state, &route, request.method(), request.headers(), from),
        Some(_) => None,
    };
    let by_token = match by_token {
        Some(Err(problem)) => {
            wire::body::read_off(request.into_body()).await;
            return Err(state.gate.refuse(from, &resource, problem));
        }
        Some(Ok(caller)) => Some(caller),
        None => None,
    };
    if access == Access::Authenticated && peer.is_none() && by_token.is_none() {
        let problem = Problem::new(Code::Denied, "this address is answered only to peers with a certificate")
            .next("`webos whoami --curl` prints how curl shows one");
        wire::body::read_off(request.into_body()).await;
        return Err(state.gate.refuse(from, &resource, problem));
    }
    let (parts, body) = request.into_parts();
    // The node acts for the caller only where the certificate says so; at `via` it goes on to the home.
    let caller = match (by_token, &route) {
        (Some(caller), _) => caller,
        (None, Route::Via) => Caller::of_peer(peer, from),
        (None, _) => state.gate.caller(peer, from, &parts.headers, &resource)?,
    };
    let answer = match route {
        Route::File(volume, path) => match state.homes.find(&volume) {
            Ok(Some(here)) => {
                homes::meet(state, &here, &parts.headers).await?;
                let answer = files::answer(&here.home, &state.gate, &caller, &path, &parts, body).await;
                unless_moved(state, &volume, answer)
            }
            Err(moved) => {
                wire::body::read_off(body).await;
                Err(moved)
            }
            Ok(None) => {
                wire::body::read_off(body).await;
                state.relays.answer(state, &caller, &volume, &path, &parts).await
            }
        },
        Route::Session(volume) => control::session(state, &caller, &volume, body).await,
        route => within_deadline(control::answer(state, route, &caller, &parts, body)).await,
    };
    answer.map(|response| guard::answer(&caller, state.gate.trust(), response))
}

/// What was under way when the volume's home stopped to be moved is told where to go on.
fn unless_moved(
    state: &State,
    volume: &VolumeName,
    answer: Result<Response<Body>, Problem>,
) -> Result<Response<Body>, Problem> {
    let stopped = match &answer {
        Ok(response) => response.status() == http::StatusCode::SERVICE_UNAVAILABLE,
        Err(problem) => problem.code == Code::Unavailable,
    };
    match (stopped, state.homes.find(volume)) {
        (true, Err(moved)) => Err(moved),
        _ => answer,
    }
}

async fn within_deadline(
    answer: impl Future<Output = Result<Response<Body>, Problem>>,
) -> Result<Response<Body>, Problem> {
    tokio::time::timeout(REQUEST_DEADLINE, answer).await.unwrap_or_else(|_| {
        let seconds = REQUEST_DEADLINE.as_secs();
        Err(Problem::new(Code::Timeout, format!("the request was not answered within {seconds} s")))
    })
}
