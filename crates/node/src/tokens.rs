//! Bearer tokens at the home that mints them: who gets one, who may end one, and which requests one counts for. The
//! rules of a token are [`trust::Tokens`]'s; what it may read or write is decided like everything else.

use crate::gatekeeper::Caller;
use crate::limits::{MAX_WRONG_SOURCES, MAX_WRONG_TOKENS};
use crate::node::State;
use crate::routes::{Route, TOKEN_METHODS};
use base64::Engine as _;
use client::Folder;
use client::protocol::{TokenReply, TokenRequest};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use terms::{BootMs, Code, Principal, Problem, Right};
use trust::limits::{CLOCK_SKEW, MAX_AUTHORIZATION_BYTES};
use trust::{AuditRecord, BearerToken, MintToken, TokenGrant, TokenInfo, TokenRefusal, Tokens};
use world::World;
use zeroize::Zeroizing;

/// The tokens of this home.
pub struct HomeTokens {
    world: World,
    tokens: Mutex<Tokens>,
    wrong: Mutex<Wrong>,
}

/// Wrong tokens of the minute that runs, by source; no source stands for all that were too many.
#[derive(Default)]
struct Wrong {
    minute: u64,
    by_source: HashMap<Option<IpAddr>, u32>,
}

impl Wrong {
    /// Counts one; answers whether it is one too many.
    fn count(&mut self, now: BootMs, from: IpAddr) -> bool {
        let minute = now.0 / 60_000;
        if minute != self.minute {
            (self.minute, self.by_source) = (minute, HashMap::new());
        }
        let network = match from.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            v4 => v4,
        };
        let room = self.by_source.len() < MAX_WRONG_SOURCES || self.by_source.contains_key(&Some(network));
        let count = self.by_source.entry(room.then_some(network)).or_default();
        *count = count.saturating_add(1);
        *count > MAX_WRONG_TOKENS
    }
}

impl HomeTokens {
    /// Reads them from the folder.
    pub fn open(folder: &Folder, own: &Principal, world: &World) -> Result<Self, Problem> {
        let tokens = Tokens::open(&folder.tokens(), own.clone())?;
        Ok(Self { world: world.clone(), tokens: Mutex::new(tokens), wrong: Mutex::default() })
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a wrong token from there is answered with.
    fn refuse(&self, refusal: TokenRefusal, from: SocketAddr) -> Problem {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.count(self.world.clock.boot(), from.ip()) {
            let what = format!("more than {MAX_WRONG_TOKENS} wrong tokens came from your network in a minute");
            return Problem::new(Code::Busy, what).next("try again in a minute, with a good one");
        }
        refusal.into()
    }

    /// The caller's own.
    pub fn of(&self, caller: &Caller) -> Result<Vec<TokenInfo>, Problem> {
        let peer = caller.for_itself()?;
        Ok(self.tokens().list(Some(&peer.principal), self.world.clock.unix()))
    }
}

/// The token in a request's `Authorization` header: `Bearer TOKEN`, or `Basic` with the token as the password. None if
/// there is no such header; an error never quotes it.
fn shown(headers: &HeaderMap) -> Option<Result<BearerToken, TokenRefusal>> {
    let value = headers.get(AUTHORIZATION)?;
    let token = || {
        let text = value.to_str().ok().filter(|text| text.len() <= MAX_AUTHORIZATION_BYTES)?;
        let (scheme, rest) = text.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return BearerToken::parse(rest.trim());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = Zeroizing::new(base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?);
        let (_, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
        BearerToken::parse(password)
    };
    Some(token().ok_or(TokenRefusal::NoToken))
}

/// The caller whom a token in the request makes, if there is one. It counts for nobody who showed a certificate, for
/// no address but files that live here, and for no method but reading and putting.
pub fn caller(
    state: &State,
    route: &Route,
    method: &Method,
    headers: &HeaderMap,
    from: SocketAddr,
) -> Option<Result<Caller, Problem>> {
    let token = shown(headers)?;
    let Route::File(volume, _) = route else { return None };
    if !TOKEN_METHODS.contains(method) {
        let what = format!("{method} needs a certificate: a token is for GET, HEAD and PUT");
        return Some(Err(Problem::new(Code::Denied, what)));
    }
    let now = state.world.clock.unix();
    let verified = token.and_then(|token| state.tokens.tokens().verify(&token, now, state.client.trust()));
    Some(match verified {
        Ok(token) if state.homes.get(volume).is_some() => Ok(Caller::of_token(token, from)),
        Ok(_) => Err(Problem::new(
            Code::Denied,
            format!("{volume} does not live here, and a token is for its home only"),
        )),
        Err(refusal) => Err(state.tokens.refuse(refusal, from)),
    })
}

/// Makes or ends a token.
pub async fn answer(state: &Arc<State>, caller: &Caller, request: TokenRequest) -> Result<TokenReply, Problem> {
    match request {
        TokenRequest::Mint { grants, valid_ms } => {
            mint(state, caller, grants, Duration::from_millis(valid_ms)).await
        }
        TokenRequest::Revoke { id } => revoke(state, caller, id).await,
    }
}

async fn mint(
    state: &Arc<State>,
    caller: &Caller,
    grants: Vec<TokenGrant>,
    valid_for: Duration,
) -> Result<TokenReply, Problem> {
    let peer = caller.for_itself()?;
    if let Some(grant) = grants.iter().find(|grant| state.homes.get(&grant.location.volume).is_none()) {
        let what = format!("{} does not live here, and a token is for its home only", grant.location.volume);
        return Err(Problem::new(Code::Invalid, what).next("`webos volume show` names the home"));
    }
    let (trust, realm) = (state.client.trust(), &peer.principal.realm);
    if trust.bundle(realm).is_none() {
        return Err(Problem::new(Code::Denied, "your realm is not trusted here any more"));
    }
    let (epoch, certified) = (trust.epoch(realm), peer.issued);
    // The peer's end has the allowance for clocks in it; what is minted here is judged by this clock alone.
    let (subject, subject_until) = (peer.principal.clone(), peer.not_after.minus(CLOCK_SKEW));
    let mint = MintToken { subject: subject.clone(), certified, subject_until, grants, valid_for, epoch };
    let here = state.clone();
    let made = blocking(move || Ok(here.tokens.tokens().mint(mint, &here.world)?)).await;
    let (token, info) = made?;
    let given: Vec<String> =
        info.grants.iter().cloned().map(|grant| trust::Grant::from(grant).to_string()).collect();
    let what = format!("made the token {}: {}", info.id, given.join(", "));
    note(state, caller, &subject, &info, &what)?;
    Ok(TokenReply { token: Some(token.text().to_string()), info })
}

async fn revoke(state: &Arc<State>, caller: &Caller, id: String) -> Result<TokenReply, Problem> {
    let subject = caller.for_itself()?.principal.clone();
    let now = state.world.clock.unix();
    let found = state.tokens.tokens().list(None, now).into_iter().find(|info| info.id == id);
    // Whoever may not end a token is not told whether there is one.
    let unknown = || {
        Problem::new(Code::NotFound, "you have no token with this id here, and administer none")
            .next("`webos token list` names yours at a home")
    };
    let info = found.ok_or_else(unknown)?;
    if info.subject != subject && !administers(state, caller, &info).await? {
        return Err(unknown());
    }
    let here = state.clone();
    blocking(move || Ok(here.tokens.tokens().revoke(&id, now)?)).await?;
    note(state, caller, &subject, &info, &format!("revoked the token {} of {}", info.id, info.subject))?;
    Ok(TokenReply { token: None, info })
}

/// Whether the caller administers all that a token gives something on.
async fn administers(state: &State, caller: &Caller, info: &TokenInfo) -> Result<bool, Problem> {
    for TokenGrant { location, .. } in &info.grants {
        let Some(here) = state.homes.get(&location.volume) else { return Ok(false) };
        let store = here.home.store();
        let bucket = store.bucket(store.lookup(&location.path).await?.bucket()).await?;
        if state.gate.would_allow(caller, location, Right::Administer, &bucket).await.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn note(state: &State, caller: &Caller, by: &Principal, info: &TokenInfo, what: &str) -> Result<(), Problem> {
    let resource = info.grants.first().map(|grant| grant.location.to_string()).unwrap_or_default();
    let mut record = AuditRecord::of_change(state.world.clock.unix(), by, &resource, what);
    record.source = Some(caller.source().to_string());
    record.chain = vec![AuditRecord::link_of_token(info, &state.own.principal)];
    state.gate.note(&record)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem::new(Code::Internal, format!("the tokens were not changed: {error}")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().expect("a header"));
        headers
    }

    #[test]
    fn tokens_come_as_bearer_or_as_basic_password() {
        let token = format!("webos-token-1.{}", "A".repeat(64));
        let basic = |pair: &str| base64::engine::general_purpose::STANDARD.encode(pair);
        assert!(shown(&HeaderMap::new()).is_none());
        for good in [
            format!("Bearer {token}"),
            format!("bearer  {token}"),
            format!("Basic {}", basic(&format!("anybody:{token}"))),
            format!("BASIC {}", basic(&format!(":{token}"))),
        ] {
            assert!(matches!(shown(&header(&good)), Some(Ok(_))), "{good}");
        }
        for bad in [
            String::new(),
            "Bearer".into(),
            token.clone(),
            "Bearer x".into(),
            format!("Digest {token}"),
            format!("Basic {token}"),
            format!("Basic {}", basic(&token)),
            format!("Basic {}", basic(&format!("{token}:anybody"))),
            format!("Bearer {token}{}", " ".repeat(MAX_AUTHORIZATION_BYTES)),
        ] {
            assert!(matches!(shown(&header(&bad)), Some(Err(TokenRefusal::NoToken))), "{bad}");
        }
    }

    #[test]
    fn wrong_tokens_are_counted_by_network_and_minute() {
        let mut wrong = Wrong::default();
        let (one, beside, other) = ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1");
        let mut count = |at: u64, from: &str| wrong.count(BootMs(at), from.parse().expect("an address"));
        assert!((0..MAX_WRONG_TOKENS).all(|_| !count(0, one)));
        assert!(count(0, beside), "the same /64");
        assert!(!count(0, other), "another one");
        assert!(!count(60_000, one), "the next minute");
        // More sources than are told apart share one count, and take no more memory.
        let many = u32::try_from(MAX_WRONG_SOURCES).expect("small") * 2;
        let too_many = (0..many).filter(|n| count(60_000, &std::net::Ipv4Addr::from_bits(*n).to_string())).count();
        assert!(too_many > 0 && wrong.by_source.len() <= MAX_WRONG_SOURCES + 1, "{}", wrong.by_source.len());
    }
}
