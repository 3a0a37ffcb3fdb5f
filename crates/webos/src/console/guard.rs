//! Who may speak to the console: loopback is not a permission, since every page in the owner's browser and every
//! user of the machine can reach it. A pure decision over a request's head; it relies on the port it was made
//! for, and never looks at a body.

use super::limits::TOKEN_BYTES;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{COOKIE, HOST, HeaderName, ORIGIN};
use http::{HeaderMap, Method, Uri};
use std::fmt;
use world::World;

/// The header by which a program, which has no cookie and no Origin, shows the token.
pub(super) const TOKEN_HEADER: HeaderName = HeaderName::from_static("webos-token");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The secret of one start. Not printed by `{:?}`.
#[derive(Clone)]
pub(super) struct Token(String);

impl Token {
    pub(super) fn new(world: &World) -> Self {
        let mut bytes = [0; TOKEN_BYTES];
        world.entropy.fill(&mut bytes);
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` is this token, in a time that depends on its length alone.
    fn is(&self, text: &str) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), text.as_bytes());
        let differences = ours.iter().zip(theirs).fold(0, |all, (a, b)| all | (a ^ b));
        ours.len() == theirs.len() && std::hint::black_box(differences) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why a request was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not exactly one Host, or another than the console's own: a rebound DNS name, say.
    Host,
    /// An Origin that is not the console's own, or a fetch that the browser marks as another site's.
    Foreign,
    /// A request that changes something, from a browser, without Origin.
    OriginMissing,
    /// Neither cookie, link nor header shows the token of this start.
    Token {
        /// The browser came from another site and so kept the strict cookie back: loading again may help.
        again: bool,
    },
}

/// What is to be done with a request that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// Answer it.
    Answer,
    /// It came by the printed link: set the cookie and send the browser to `/`.
    SetCookie,
}

/// The rules of one console: its port and its token.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    port: u16,
    token: Token,
}

impl Guard {
    pub(super) fn new(port: u16, token: Token) -> Self {
        Self { port, token }
    }

    /// The link that lets a browser in.
    pub(super) fn link(&self) -> String {
        format!("http://127.0.0.1:{}/?token={}", self.port, self.token.as_str())
    }

    /// The cookie. Its name holds the port because browsers send a host's cookies to all its ports.
    pub(super) fn cookie(&self) -> String {
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie_name(), self.token.as_str())
    }

    fn cookie_name(&self) -> String {
        format!("webos-console-{}", self.port)
    }

    /// Decides over the head of a request. Host comes first: a rebound name learns nothing, not even a 401.
    pub(super) fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Entry, Refusal> {
        let host = self.own_host(uri, headers).ok_or(Refusal::Host)?;
        let origin = single(headers, &ORIGIN).map_err(|()| Refusal::Foreign)?;
        if origin.is_some_and(|origin| origin.strip_prefix("http://") != Some(host)) {
            return Err(Refusal::Foreign);
        }
        let by_link = uri.path() == "/" && *method == Method::GET;
        let navigates = by_link && headers.get(FETCH_MODE).is_some_and(|mode| mode == "navigate");
        let elsewhere = headers.get(FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none");
        if elsewhere && !navigates {
            return Err(Refusal::Foreign);
        }
        let program = single(headers, &TOKEN_HEADER).ok().flatten().is_some_and(|text| self.token.is(text));
        if by_link && link_token(uri).is_some_and(|text| self.token.is(text)) {
            return Ok(Entry::SetCookie);
        }
        if !program && !self.has_cookie(headers) {
            return Err(Refusal::Token { again: elsewhere });
        }
        let safe = *method == Method::GET || *method == Method::HEAD;
        if !safe && !program && origin.is_none() {
            return Err(Refusal::OriginMissing);
        }
        Ok(Entry::Answer)
    }

    /// The request's host if it is one of the two that are ours.
    fn own_host<'a>(&self, uri: &Uri, headers: &'a HeaderMap) -> Option<&'a str> {
        let host = single(headers, &HOST).ok().flatten()?;
        let name = host.strip_suffix(&format!(":{}", self.port))?;
        let own = matches!(name, "127.0.0.1" | "localhost");
        // An absolute request target (`GET http://elsewhere/ HTTP/1.1`) would override Host.
        (own && uri.authority().is_none()).then_some(host)
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let name = self.cookie_name();
        let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut values = pairs.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        values.any(|(key, value)| key == name && self.token.is(value))
    }
}

fn link_token(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))
}

/// The one value of a header, none if it is absent; twice or not text is an error.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| value.to_str().map_err(|_| ())).transpose()?;
    if values.next().is_some() { Err(()) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request in one line: `METHOD TARGET header: value | header: value`, `TOKEN` standing for the token.
    fn check(request: &str) -> Result<Entry, Refusal> {
        let guard = Guard::new(8480, Token("T".repeat(43)));
        let request = request.replace("TOKEN", guard.token.as_str());
        let mut parts = request.splitn(3, ' ');
        let method = parts.next().expect("a method").parse().expect("a method");
        let uri: Uri = parts.next().expect("a target").parse().expect("a target");
        let mut headers = HeaderMap::new();
        for line in parts.next().unwrap_or("").split(" | ").filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").expect("a header");
            let name: HeaderName = name.parse().expect("a header's name");
            headers.append(name, value.parse().expect("a header's value"));
        }
        guard.check(&method, &uri, &headers)
    }

    const OK: Result<Entry, Refusal> = Ok(Entry::Answer);
    const LINK: Result<Entry, Refusal> = Ok(Entry::SetCookie);
    const HOST: Result<Entry, Refusal> = Err(Refusal::Host);
    const FOREIGN: Result<Entry, Refusal> = Err(Refusal::Foreign);
    const NO_ORIGIN: Result<Entry, Refusal> = Err(Refusal::OriginMissing);
    const NO_TOKEN: Result<Entry, Refusal> = Err(Refusal::Token { again: false });

    #[test]
    fn host_is_exact() {
        for (host, expected) in [
            ("host: 127.0.0.1:8480", OK),
            ("host: localhost:8480", OK),
            ("host: 127.0.0.1", HOST),
            ("host: 127.0.0.1:84800", HOST),
            ("host: 127.0.0.1:08480", HOST),
            ("host: evil.example:8480", HOST),
            ("host: localhost.evil.example:8480", HOST),
            ("host: LOCALHOST:8480", HOST),
            ("host: 127.0.0.1:8480.evil.example", HOST),
            ("host: 127.0.0.1:8480@evil.example", HOST),
            ("host: [::1]:8480", HOST),
            ("host: 0.0.0.0:8480", HOST),
            ("host: 127.0.0.1:8480 | host: evil.example", HOST),
            ("x-forwarded-host: 127.0.0.1:8480", HOST),
        ] {
            assert_eq!(check(&format!("GET /api/state {host} | webos-token: TOKEN")), expected, "{host}");
        }
        let absolute = "GET http://evil.example/api/state host: 127.0.0.1:8480 | webos-token: TOKEN";
        assert_eq!(check(absolute), HOST);
    }

    #[test]
    fn a_foreign_origin_is_refused_on_everything() {
        for target in ["GET /", "GET /?token=TOKEN", "GET /api/events", "POST /api/calm", "OPTIONS /api/calm"] {
            for origin in [
                "http://evil.example",
                "null",
                "https://127.0.0.1:8480",
                "http://127.0.0.1:8481",
                "http://localhost:8480",
                "http://127.0.0.1:8480/",
                "http://127.0.0.1:8480 | origin: http://127.0.0.1:8480",
            ] {
                let cookie = "cookie: webos-console-8480=TOKEN | webos-token: TOKEN";
                let request = format!("{target} host: 127.0.0.1:8480 | {cookie} | origin: {origin}");
                assert_eq!(check(&request), FOREIGN, "{request}");
            }
        }
    }

    #[test]
    fn a_fetch_for_another_site_is_refused_and_a_visit_from_there_may_load_again() {
        let with = |rest: &str| check(&format!("GET {rest} | host: 127.0.0.1:8480").replace("{}", "TOKEN"));
        let cookie = "cookie: webos-console-8480={}";
        assert_eq!(with(&format!("/api/state {cookie} | sec-fetch-site: same-site")), FOREIGN);
        assert_eq!(with(&format!("/console.js {cookie} | sec-fetch-site: cross-site")), FOREIGN);
        assert_eq!(with(&format!("/api/state {cookie} | sec-fetch-site: same-origin")), OK);
        assert_eq!(with("/?token={} sec-fetch-site: cross-site | sec-fetch-mode: navigate"), LINK);
        let kept_back = with("/ sec-fetch-site: cross-site | sec-fetch-mode: navigate");
        assert_eq!(kept_back, Err(Refusal::Token { again: true }));
    }

    #[test]
    fn the_token_of_this_start_is_needed() {
        for (request, expected) in [
            ("GET /?token=TOKEN x-a: b", LINK),
            ("GET /?a=b&token=TOKEN x-a: b", LINK),
            ("GET /?token=TOKENx x-a: b", NO_TOKEN),
            ("GET /?token= x-a: b", NO_TOKEN),
            ("GET /?token=tTTT x-a: b", NO_TOKEN),
            ("GET /api/state?token=TOKEN x-a: b", NO_TOKEN),
            ("POST /?token=TOKEN origin: http://127.0.0.1:8480", NO_TOKEN),
            ("GET / x-a: b", NO_TOKEN),
            ("GET / cookie: webos-console-8480=TOKEN", OK),
            ("GET / cookie: a=b; webos-console-8480=TOKEN; c=d", OK),
            ("GET / cookie: webos-console-8481=TOKEN", NO_TOKEN),
            ("GET / cookie: webos-console-8480=", NO_TOKEN),
            ("GET / webos-token: TOKEN", OK),
            ("GET / webos-token: TOKEN | webos-token: TOKEN", NO_TOKEN),
            ("GET / webos-token: TTTT", NO_TOKEN),
        ] {
            assert_eq!(check(&format!("{request} | host: 127.0.0.1:8480")), expected, "{request}");
        }
    }

    #[test]
    fn a_change_needs_the_own_origin_or_the_header() {
        let own = "POST /api/calm host: localhost:8480";
        assert_eq!(check(&format!("{own} | cookie: webos-console-8480=TOKEN")), NO_ORIGIN);
        assert_eq!(check(&format!("{own} | cookie: webos-console-8480=TOKEN | origin: http://localhost:8480")), OK);
        assert_eq!(check(&format!("{own} | webos-token: TOKEN")), OK);
        assert_eq!(check(&format!("{own} | origin: http://localhost:8480")), NO_TOKEN);
    }

    #[test]
    fn the_token_is_long_new_each_start_and_not_printed() {
        let world = World::real();
        let (one, two) = (Token::new(&world), Token::new(&world));
        assert_eq!(one.as_str().len(), 43);
        assert!(!one.is(two.as_str()) && one.is(one.as_str()));
        assert!(!format!("{:?}", Guard::new(1, one.clone())).contains(one.as_str()));
    }
}
