//! One request: judge, plan, ask, and on to the next server where that is free or paid for.

use super::SmartClient;
use crate::director::{Ask, Failure, Outcome};
use crate::eligible::Usable;
use crate::headers::{self, field, is_elsewhere};
use crate::limits::{ASK_TABLE_AGE, FIRST_STALL, HEAD_DEADLINE};
use crate::model::Load;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use std::time::Duration;
use terms::{Code, Problem, Thumbprint, VolumePath};
use tokio::time::timeout;
use wire::{CallError, Expect, Purpose, Target};

/// An answer and who gave it.
#[derive(Debug)]
pub struct Answer {
    /// Status, header and body, of which nothing is verified yet.
    pub response: Response<Incoming>,
    /// The server.
    pub server: Usable,
}

enum Attempt {
    Answered(Response<Incoming>),
    Failed(Failure, Problem),
}

impl SmartClient {
    /// Sends a GET for a path of the service to a server that is not among `excluded`. Servers that fail are
    /// added there; when there is nobody left, the last failure is the answer.
    pub async fn request(
        &self,
        path: &VolumePath,
        extra: &HeaderMap,
        excluded: &mut Vec<Thumbprint>,
    ) -> Result<Answer, Problem> {
        self.budget().earn();
        self.freshen().await;
        let mut last = None;
        loop {
            let Some(server) = self.choose(excluded).await else {
                return Err(last.unwrap_or_else(|| self.nobody()));
            };
            let now = self.0.world.clock.boot();
            self.known().report(now, server.key(), Outcome::Began);
            match self.attempt(&server, path, extra).await {
                Attempt::Answered(response) => return Ok(Answer { response, server }),
                Attempt::Failed(failure, problem) => {
                    tracing::debug!(server = %server.principal(), ?failure, %problem, "an attempt failed");
                    self.failed(&server, failure);
                    excluded.push(server.key());
                    last = Some(problem);
                }
            }
        }
    }

    /// Sends one more request to a server that has just answered, as part of the same exchange.
    pub(super) async fn ask(
        &self,
        server: &Usable,
        path: &VolumePath,
        extra: &HeaderMap,
    ) -> Result<Response<Incoming>, (Failure, Problem)> {
        match self.attempt(server, path, extra).await {
            Attempt::Answered(response) => Ok(response),
            Attempt::Failed(failure, problem) => Err((failure, problem)),
        }
    }

    /// Reports that a server failed a request that it had begun.
    pub(super) fn failed(&self, server: &Usable, failure: Failure) {
        let now = self.0.world.clock.boot();
        self.known().report(now, server.key(), Outcome::Failed(failure));
    }

    fn nobody(&self) -> Problem {
        Problem::new(Code::Unavailable, format!("no server of {} can be asked now", self.0.service))
            .next("its home may be away; `webos service status` tells more")
    }

    async fn choose(&self, excluded: &[Thumbprint]) -> Option<Usable> {
        let wants_state = self.known().judge(self.0.world.clock.boot());
        if wants_state {
            self.refresh_state().await;
        }
        let random = [self.0.world.entropy.fraction(), self.0.world.entropy.fraction()];
        let mut known = self.known();
        let now = self.0.world.clock.boot();
        known.judge(now);
        let plan = known.plan(now, Ask { random, excluded });
        plan.attempts.first().and_then(|attempt| known.usable(attempt.server)).cloned()
    }

    async fn attempt(&self, server: &Usable, path: &VolumePath, extra: &HeaderMap) -> Attempt {
        let sent = self.0.world.clock.boot();
        let request = match self.build(path, extra) {
            Ok(request) => request,
            Err(problem) => return Attempt::Failed(Failure::Wrong, problem),
        };
        let target = Target {
            address: server.address().to_string(),
            expect: Expect::Key(server.key()),
            purpose: Purpose::Service,
        };
        let answer = match self.patiently(server, self.0.pool.request(&target, request)).await {
            Ok(answer) => answer,
            Err(silence) => {
                let waited = silence.as_millis();
                let text = format!("{} did not answer within {waited} ms", server.principal());
                return Attempt::Failed(Failure::Stall, Problem::new(Code::Timeout, text));
            }
        };
        match answer {
            Ok(response) => self.judge_answer(server, response, self.0.world.clock.boot().since(sent)).await,
            Err(error) => {
                let failure = match &error {
                    CallError::Connect { .. } | CallError::Refused { .. } => Failure::Connect,
                    CallError::Broken { .. } => Failure::Reset,
                    CallError::Deadline { .. } => Failure::Stall,
                };
                let problem = Problem::from(error);
                let text = format!("{}: {}", server.principal(), problem.detail);
                Attempt::Failed(failure, Problem::new(Code::Unavailable, text))
            }
        }
    }

    /// Waits for the head of an answer: for as long as this server usually takes, and longer if the budget cannot
    /// pay for a repetition.
    async fn patiently<T>(&self, server: &Usable, answer: impl Future<Output = T>) -> Result<T, Duration> {
        let patience = self.known().director().head_patience(server.key()).min(HEAD_DEADLINE);
        let mut answer = std::pin::pin!(answer);
        if let Ok(answered) = timeout(patience, answer.as_mut()).await {
            return Ok(answered);
        }
        let alone = self.known().director().shares(self.0.world.clock.boot()).len() < 2;
        if !alone && self.budget().pay() {
            return Err(patience);
        }
        timeout(HEAD_DEADLINE.saturating_sub(patience), answer).await.map_err(|_| HEAD_DEADLINE)
    }

    fn build(&self, path: &VolumePath, extra: &HeaderMap) -> Result<Request<wire::Body>, Problem> {
        let url = format!("https://{}/{}", self.0.service.authority(), path.to_url());
        let mut request = Request::get(url)
            .body(wire::body::empty())
            .map_err(|error| Problem::new(Code::Invalid, format!("'{path}' is no usable path: {error}")))?;
        request.headers_mut().extend(extra.clone());
        let seen = self.known().seen(self.0.world.clock.boot());
        if let Some(seen) = seen
            && let Ok(value) = HeaderValue::from_str(&seen.to_header())
        {
            request.headers_mut().insert(headers::TABLE_SEEN, value);
        }
        Ok(request)
    }

    async fn judge_answer(&self, server: &Usable, response: Response<Incoming>, after: Duration) -> Attempt {
        self.learn(server, response.headers(), after);
        let status = response.status();
        let words =
            |what: &str| Problem::new(Code::Unavailable, format!("{} answered {status}{what}", server.principal()));
        if is_elsewhere(response.headers()) {
            return Attempt::Failed(Failure::Elsewhere, words(": ask another server"));
        }
        if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
            // Its reason is for people; whoever withholds it is not waited for.
            let why = timeout(FIRST_STALL, wire::problem_from(response)).await;
            return Attempt::Failed(Failure::Wrong, words(&why.map_or(String::new(), |why| format!(": {why}"))));
        }
        Attempt::Answered(response)
    }

    /// Takes what the header of an answer says of load and group.
    fn learn(&self, server: &Usable, fields: &HeaderMap, after: Duration) {
        let load = field(fields, headers::LOAD).and_then(|text| Load::from_header(text).ok());
        let table = field(fields, headers::TABLE).and_then(|text| headers::table_from_header(text).ok());
        let mut known = self.known();
        let now = self.0.world.clock.boot();
        known.report(now, server.key(), Outcome::Head(after, load));
        if let Some(bytes) = table {
            match known.certificate.open_table(&bytes) {
                Ok(table) => known.take_table(table),
                Err(error) => tracing::debug!(server = %server.principal(), %error, "a table is refused"),
            }
        }
    }
}

const _: () = assert!(ASK_TABLE_AGE.as_millis() < HEAD_DEADLINE.as_millis());
