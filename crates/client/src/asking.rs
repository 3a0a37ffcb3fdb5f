//! A realm's name servers, asked in turn: the first one has all that the realm says, the further ones have copies of what
//! is signed and public. Which of them answered last is remembered, so that one that is away costs its deadline once.

use crate::limits::{FIRST_AGAIN, LAST_NAME_SERVER_ANSWER, MAX_ANSWER_BYTES, NAME_SERVER_ANSWER};
use crate::protocol::is_copied;
use crate::session::{Client, request};
use bytes::Bytes;
use http::Method;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use terms::{BootMs, Code, Principal, Problem, RealmName};
use tokio::time::timeout;
use trust::NameServer;
use wire::{CallError, Expect, Pool, Purpose, Target};

/// The further name servers that answered while the first did not, and since when.
#[derive(Debug, Default)]
pub(crate) struct Answering(Mutex<HashMap<RealmName, (Principal, BootMs)>>);

impl Answering {
    fn all(&self) -> MutexGuard<'_, HashMap<RealmName, (Principal, BootMs)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which one to ask before the others.
    fn of(&self, realm: &RealmName, now: BootMs) -> Option<Principal> {
        let mut all = self.all();
        if all.get(realm).is_some_and(|(_, since)| now.since(*since) >= FIRST_AGAIN) {
            all.remove(realm);
        }
        all.get(realm).map(|(server, _)| server.clone())
    }

    fn heard(&self, realm: &RealmName, server: &Ranked, now: BootMs) {
        let mut all = self.all();
        let who = &server.server.principal;
        if server.first {
            all.remove(realm);
        } else if all.get(realm).is_none_or(|(present, _)| present != who) {
            all.insert(realm.clone(), (who.clone(), now));
        }
    }
}

/// A name server in the order of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ranked {
    pub server: NameServer,
    /// It is the realm's first: what it says counts, also when it says no.
    pub first: bool,
    /// Nobody is left to be asked after it.
    pub last: bool,
}

/// The order of asking: as the realm has it, but first of all the one that answered last. Nobody asks itself for what
/// it copies.
fn in_order(servers: Vec<NameServer>, own: Option<&Principal>, answered: Option<&Principal>) -> Vec<Ranked> {
    let ranked = servers.into_iter().enumerate();
    let ranked = ranked.map(|(place, server)| Ranked { server, first: place == 0, last: false });
    let mut ranked: Vec<_> =
        ranked.filter(|server| server.first || Some(&server.server.principal) != own).collect();
    ranked.sort_by_key(|server| Some(&server.server.principal) != answered);
    ending(ranked)
}

/// Those that may be asked for what is behind a route. A copy of what the first one signed speaks for itself; what else there
/// is only the first one says: a further name server could name any home for a volume, and sign it.
fn who_may_say(ranked: Vec<Ranked>, route: &str) -> Vec<Ranked> {
    ending(ranked.into_iter().filter(|server| server.first || is_copied(route)).collect())
}

fn ending(mut ranked: Vec<Ranked>) -> Vec<Ranked> {
    if let Some(last) = ranked.last_mut() {
        last.last = true;
    }
    ranked
}

/// Why name servers gave nothing. The first one's word or silence tells most: the others have copies of what is signed,
/// and know of nothing else whether it exists.
#[derive(Debug, Default)]
pub(crate) struct Failed {
    first: Option<Problem>,
    other: Option<Problem>,
}

impl Failed {
    pub(crate) fn add(&mut self, server: &Ranked, problem: Problem) {
        let place = if server.first { &mut self.first } else { &mut self.other };
        *place = Some(problem);
    }

    pub(crate) fn telling(self, realm: &RealmName) -> Problem {
        let nobody = || Problem::new(Code::Unavailable, format!("no name server of {realm} is known"));
        self.first.or(self.other).unwrap_or_else(nobody)
    }
}

/// How a name server failed.
pub(crate) enum Failure {
    /// Nobody is there.
    Silent(Problem),
    /// It was reached, and gave something else than was asked for.
    Refused(Problem),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Silent(problem) | Failure::Refused(problem) => problem,
        }
    }
}

impl Client {
    /// The name servers of a trusted realm, best first.
    pub fn name_servers(&self, realm: &RealmName) -> Result<Vec<NameServer>, Problem> {
        let bundle = self.trust().bundle(realm).ok_or_else(|| {
            Problem::new(Code::NotFound, format!("the realm {realm} is not trusted here"))
                .next("join it with an invitation: `webos user register`, or start a local world with `webos up`")
        })?;
        Ok(bundle.name_servers.clone())
    }

    /// The same in the order in which to ask them now.
    pub(crate) fn ranked(&self, realm: &RealmName) -> Result<Vec<Ranked>, Problem> {
        let answered = self.answering().of(realm, self.world().clock.boot());
        let own = self.identity().map(|identity| identity.principal().clone());
        Ok(in_order(self.name_servers(realm)?, own.as_ref(), answered.as_ref()))
    }

    /// Remembers who answered.
    pub(crate) fn answered(&self, realm: &RealmName, server: &Ranked) {
        self.answering().heard(realm, server, self.world().clock.boot());
    }

    /// Asks the realm's name servers in turn for a document; the first that answers counts. Only the realm's first is asked
    /// for what the further ones do not copy.
    pub async fn ask_names(&self, realm: &RealmName, route: &str) -> Result<Bytes, Problem> {
        self.ask_in_turn(self.pool(), realm, route, MAX_ANSWER_BYTES).await
    }

    /// The same for a public document, as nobody: whether that realm trusts ours does not matter. At most `limit` bytes
    /// are read.
    pub async fn ask_openly(&self, realm: &RealmName, route: &str, limit: usize) -> Result<Bytes, Problem> {
        self.ask_in_turn(self.openly(), realm, route, limit).await
    }

    /// Asks one of the realm's name servers for a public document, as nobody.
    pub async fn ask_at(
        &self,
        realm: &RealmName,
        server: &NameServer,
        route: &str,
        limit: usize,
    ) -> Result<Bytes, Problem> {
        let alone = Ranked { server: server.clone(), first: false, last: true };
        let asked = self.ask_one(self.openly(), realm, server, route, limit);
        Ok(within(&alone, NAME_SERVER_ANSWER, asked).await?)
    }

    async fn ask_in_turn(
        &self,
        pool: &Pool,
        realm: &RealmName,
        route: &str,
        limit: usize,
    ) -> Result<Bytes, Problem> {
        let mut failed = Failed::default();
        for server in who_may_say(self.ranked(realm)?, route) {
            let asked = self.ask_one(pool, realm, &server.server, route, limit);
            match within(&server, NAME_SERVER_ANSWER, asked).await {
                Ok(bytes) => {
                    self.answered(realm, &server);
                    return Ok(bytes);
                }
                Err(failure) => failed.add(&server, failure.into()),
            }
        }
        Err(failed.telling(realm))
    }

    /// Asks one name server.
    pub(crate) async fn ask_one(
        &self,
        pool: &Pool,
        realm: &RealmName,
        server: &NameServer,
        route: &str,
        limit: usize,
    ) -> Result<Bytes, Failure> {
        let target = Target {
            address: server.address.clone(),
            expect: Expect::Principal(server.principal.clone()),
            purpose: Purpose::Control,
        };
        let request =
            request(Method::GET, &server.principal, route, wire::body::empty()).map_err(Failure::Refused)?;
        match pool.request(&target, request).await {
            Ok(answer) if answer.status().is_success() => {
                wire::read_body(answer.into_body(), limit).await.map_err(Failure::Refused)
            }
            Ok(answer) => Err(Failure::Refused(wire::problem_from(answer).await)),
            Err(error) => Err(unreached(realm, error)),
        }
    }
}

/// The same within a time; the last that can be asked has longer.
pub(crate) async fn within<T>(
    server: &Ranked,
    time: Duration,
    asked: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let time = if server.last { time.max(LAST_NAME_SERVER_ANSWER) } else { time };
    timeout(time, asked).await.unwrap_or_else(|_| {
        let (who, seconds) = (&server.server.principal, time.as_secs());
        let problem = Problem::new(Code::Timeout, format!("{who} did not answer within {seconds} s"));
        Err(Failure::Silent(problem.next("see that it runs; `webos doctor` tells what is reachable")))
    })
}

fn unreached(realm: &RealmName, error: CallError) -> Failure {
    use std::io::ErrorKind::{ConnectionRefused, TimedOut};
    let silent = match &error {
        CallError::Deadline { .. } => true,
        CallError::Connect { source, .. } => matches!(source.kind(), ConnectionRefused | TimedOut),
        CallError::Refused { .. } | CallError::Broken { .. } => false,
    };
    let reason = Problem::from(error);
    let problem = Problem::new(reason.code, format!("the name server of {realm}: {}", reason.detail))
        .next("see that its node runs; `webos doctor` tells what is reachable");
    if silent { Failure::Silent(problem) } else { Failure::Refused(problem) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{BUNDLE_ROUTE, feed_route};
    use terms::Serial;

    fn server(name: &str) -> NameServer {
        let principal = format!("spiffe://lab.example/server/{name}").parse().expect("a principal");
        NameServer { principal, address: format!("{name}:1") }
    }

    fn ranked(own: Option<&str>, answered: Option<&str>) -> Vec<Ranked> {
        let who = |name: Option<&str>| name.map(|name| server(name).principal);
        in_order(["n1", "n2", "n3"].map(server).into(), who(own).as_ref(), who(answered).as_ref())
    }

    fn names(ranked: &[Ranked]) -> Vec<&str> {
        ranked.iter().map(|ranked| ranked.server.principal.name.as_str()).collect()
    }

    #[test]
    fn whoever_answered_last_is_asked_first_and_nobody_asks_its_own_copy() {
        for (own, answered, order) in [
            (None, None, ["n1", "n2", "n3"].as_slice()),
            (None, Some("n3"), &["n3", "n1", "n2"]),
            (None, Some("gone"), &["n1", "n2", "n3"]),
            (Some("n2"), None, &["n1", "n3"]),
            (Some("n2"), Some("n2"), &["n1", "n3"]),
            (Some("n1"), Some("n2"), &["n2", "n1", "n3"]),
        ] {
            let ranked = ranked(own, answered);
            assert_eq!(names(&ranked), order, "{own:?} {answered:?}");
            assert!(ranked.iter().all(|server| server.first == (server.server.principal.name.as_str() == "n1")));
            assert_eq!(ranked.iter().position(|server| server.last), Some(ranked.len() - 1));
        }
    }

    #[test]
    fn only_the_first_says_what_is_not_copied() {
        let asked = |route| who_may_say(ranked(None, Some("n3")), route);
        let page = feed_route(Serial(7), true);
        for route in [BUNDLE_ROUTE, &page] {
            assert_eq!(names(&asked(route)), ["n3", "n1", "n2"], "{route}");
        }
        for route in ["/.webos/name/data.volume", "/.webos/name/site", "/.webos/feedback", "/.webos/bundle/x"] {
            let asked = asked(route);
            assert_eq!(names(&asked), ["n1"], "{route}");
            assert!(asked[0].last && asked[0].first);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_without_end() {
        for server in ranked(None, None) {
            let most = if server.last { LAST_NAME_SERVER_ANSWER } else { NAME_SERVER_ANSWER };
            let asked = std::future::pending::<Result<(), Failure>>();
            let given = timeout(most + Duration::from_secs(1), within(&server, NAME_SERVER_ANSWER, asked)).await;
            assert!(matches!(given, Ok(Err(Failure::Silent(_)))), "{server:?}");
        }
    }

    #[test]
    fn the_first_is_asked_again_after_a_while() {
        let (answering, realm) = (Answering::default(), "lab.example".parse().expect("a realm"));
        let [n1, n2, n3]: [Ranked; 3] = ranked(None, None).try_into().expect("three");
        let at = |s: u64| BootMs(1000 * s);
        let again = FIRST_AGAIN.as_secs();
        answering.heard(&realm, &n2, at(0));
        assert_eq!(answering.of(&realm, at(1)).as_ref(), Some(&n2.server.principal));
        answering.heard(&realm, &n2, at(again - 1));
        assert_eq!(answering.of(&realm, at(again)), None, "however often it answered");
        answering.heard(&realm, &n2, at(again));
        answering.heard(&realm, &n3, at(again + 1));
        assert_eq!(answering.of(&realm, at(again + 2)).as_ref(), Some(&n3.server.principal));
        answering.heard(&realm, &n1, at(again + 3));
        assert_eq!(answering.of(&realm, at(again + 4)), None);
    }

    #[test]
    fn the_first_ones_word_or_silence_tells_most() {
        let [n1, n2, n3]: [Ranked; 3] = ranked(None, None).try_into().expect("three");
        let realm = "lab.example".parse().expect("a realm");
        let problem = |code| Problem::new(code, "said so");
        for (said, told) in [
            (vec![(&n1, Code::NotFound), (&n2, Code::Unavailable)], Code::NotFound),
            (vec![(&n2, Code::Unavailable), (&n1, Code::NotFound)], Code::NotFound),
            (vec![(&n1, Code::Timeout), (&n2, Code::NotFound), (&n3, Code::Unavailable)], Code::Timeout),
            (vec![(&n1, Code::Unavailable), (&n2, Code::NotFound)], Code::Unavailable),
            (vec![(&n2, Code::Busy)], Code::Busy),
            (vec![], Code::Unavailable),
        ] {
            let mut failed = Failed::default();
            said.into_iter().for_each(|(server, code)| failed.add(server, problem(code)));
            assert_eq!(failed.telling(&realm).code, told);
        }
    }
}
