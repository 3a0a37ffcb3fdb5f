//! Bearer tokens, for plain HTTP programs that can show no certificate: each is minted by one home for that home only,
//! lasts at most twelve hours, and names what it gives as a link of a transfer certificate does. The home keeps a hash
//! of the secret; who may mint, and over which connections a token counts, is the caller's to check.

use crate::codec::check_size;
use crate::error::TrustError;
use crate::files::{read_private, write_private};
use crate::limits::{CLOCK_SKEW, MAX_GRANTS, MAX_TOKENS, MAX_TOKENS_FILE_BYTES, MAX_TOKENS_OF_ONE, TOKEN_LIFETIME};
use crate::reason::{Ground, Resource};
use crate::standing::Standing;
use crate::transfer::Grant;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use terms::{Code, Epoch, Location, Principal, Problem, Right, Rights, TransferId, UnixMs};
use zeroize::Zeroizing;

/// How a token begins, so that people and secret scanners know one.
const PREFIX: &str = "webos-token-1.";
const ID_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;

/// The rights that a token can give: those of files over plain HTTP.
fn grantable() -> Rights {
    Rights::of(&[Right::Read, Right::Write, Right::Modify])
}

/// A token as its holder shows it. Never printed by accident, wiped when dropped.
#[derive(Clone)]
pub struct BearerToken {
    id: TransferId,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BearerToken({}, …)", self.id)
    }
}

impl BearerToken {
    /// Reads a token; errors never quote it.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?);
        let (id, secret) = bytes.split_at_checked(ID_BYTES)?;
        let id = TransferId(id.try_into().ok()?);
        Some(Self { id, secret: Zeroizing::new(secret.try_into().ok()?) })
    }

    /// The text to hand over.
    pub fn text(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new([&self.id.0[..], self.secret.as_slice()].concat());
        Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes)))
    }

    /// Which one it claims to be. The id is no secret.
    pub fn id(&self) -> TransferId {
        self.id
    }

    /// What is stored in the secret's place: 256 random bits need no slow hash.
    fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"webos-token-v1").update(&self.id.0).update(self.secret.as_slice());
        hasher.finalize()
    }
}

/// What is known of a token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// For whom it asks.
    pub subject: Principal,
    /// What it gives.
    pub grants: Vec<TokenGrant>,
    /// Since when.
    pub made: UnixMs,
    /// It is worthless from this time on.
    pub until: UnixMs,
    /// The epoch of the subject's realm when it was made: a greater one ends it.
    pub epoch: Epoch,
    /// When the certificate was issued under which it was made: it ends when that is revoked.
    pub certified: UnixMs,
}

/// One grant of a token as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenGrant {
    /// The place.
    pub location: Location,
    /// Only the place itself, not what is below it.
    pub exact: bool,
    /// The rights.
    pub rights: Rights,
}

impl From<TokenGrant> for Grant {
    fn from(grant: TokenGrant) -> Self {
        Self { on: Resource::Path(grant.location), exact: grant.exact, rights: grant.rights }
    }
}

/// What a new token is to be.
#[derive(Debug, Clone)]
pub struct MintToken {
    /// For whom it asks: who mints it.
    pub subject: Principal,
    /// When the subject's certificate was issued.
    pub certified: UnixMs,
    /// When the subject's certificate ends: the token does at latest then.
    pub subject_until: UnixMs,
    /// What it gives.
    pub grants: Vec<TokenGrant>,
    /// For how long.
    pub valid_for: Duration,
    /// The epoch of the subject's realm.
    pub epoch: Epoch,
}

/// A token that was looked up at its home, with the right secret, in its time.
#[derive(Debug, Clone)]
pub struct VerifiedToken {
    id: TransferId,
    subject: Principal,
    audience: Principal,
    grants: Vec<Grant>,
    until: UnixMs,
    epoch: Epoch,
    certified: UnixMs,
}

impl VerifiedToken {
    /// Its id.
    pub fn id(&self) -> TransferId {
        self.id
    }

    /// For whom it asks.
    pub fn subject(&self) -> &Principal {
        &self.subject
    }

    /// The home that minted it.
    pub fn audience(&self) -> &Principal {
        &self.audience
    }

    /// What it gives.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// It is worthless from this time on.
    pub fn until(&self) -> UnixMs {
        self.until
    }

    /// Whether its subject's realm took back neither it nor the certificate under which it was made.
    ///
    /// # Errors
    /// What was.
    pub fn stands(&self, standing: &dyn Standing) -> Result<(), Ground> {
        if standing.is_revoked(&self.subject, self.certified) {
            return Err(Ground::PrincipalRevoked { principal: self.subject.clone() });
        }
        if standing.has_ended(&self.subject, self.id, self.epoch) {
            return Err(Ground::TokenRevoked { id: self.id });
        }
        Ok(())
    }
}

/// Why a token was not accepted. A guess learns nothing from which it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Not even the form of one.
    #[error("the Authorization header holds no token of this node")]
    NoToken,
    /// Unknown, revoked, of another home, over, or with another secret.
    #[error("the token {id} is not good here: it has ended, was revoked, or is another home's")]
    NotGood {
        /// Which one it claims to be.
        id: TransferId,
    },
}

impl From<TokenRefusal> for Problem {
    fn from(refusal: TokenRefusal) -> Self {
        Self::new(Code::Denied, refusal.to_string())
            .next("`webos token create` makes a new one, for this home only")
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    hash: String,
    info: TokenInfo,
}

/// The tokens of one home, kept in a private file.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    own: Principal,
    stored: Vec<Stored>,
}

impl Tokens {
    /// Reads the file, which need not exist yet.
    ///
    /// # Errors
    /// [`TrustError::Io`], [`TrustError::Damaged`].
    pub fn open(path: &Path, own: Principal) -> Result<Self, TrustError> {
        let stored = match read_private(path, MAX_TOKENS_FILE_BYTES) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let error = TrustError::malformed("the list of tokens", error);
                error.in_file(path, "remove it: the tokens end with it, nothing else")
            })?,
            Err(TrustError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path: path.to_path_buf(), own, stored })
    }

    /// Makes a token. It is on disk before it is handed out; its secret is nowhere but in the answer.
    ///
    /// # Errors
    /// [`TrustError::Rule`] for no grant, a right that tokens do not give, or a time that is too long or over;
    /// [`TrustError::TooLarge`] for too many; [`TrustError::Io`].
    pub fn mint(&mut self, mint: MintToken, world: &world::World) -> Result<(BearerToken, TokenInfo), TrustError> {
        let now = world.clock.unix();
        check_grants(&mint.grants)?;
        if mint.valid_for > TOKEN_LIFETIME {
            let hours = TOKEN_LIFETIME.as_secs() / 3600;
            return Err(TrustError::Rule(format!("a token lasts at most {hours} hours")));
        }
        let until = now.plus(mint.valid_for).min(mint.subject_until);
        if until < now.plus(Duration::from_secs(1)) {
            return Err(TrustError::Rule(
                "a token lasts at least one second, and no longer than your certificate".into(),
            ));
        }
        let mut stored = self.standing(now);
        let own = stored.iter().filter(|stored| stored.info.subject == mint.subject).count();
        check_size("your list of tokens at this home", own + 1, MAX_TOKENS_OF_ONE)?;
        check_size("the list of tokens", stored.len() + 1, MAX_TOKENS)?;
        let mut token = BearerToken { id: TransferId([0; ID_BYTES]), secret: Zeroizing::new([0; SECRET_BYTES]) };
        world.entropy.fill(&mut token.id.0);
        world.entropy.fill(token.secret.as_mut_slice());
        let MintToken { subject, grants, epoch, certified, .. } = mint;
        let info = TokenInfo { id: token.id.to_string(), subject, grants, made: now, until, epoch, certified };
        stored.push(Stored { hash: token.hash().to_hex().to_string(), info: info.clone() });
        self.replace(stored)?;
        Ok((token, info))
    }

    /// The tokens that are good now, of this subject or of all.
    pub fn list(&self, subject: Option<&Principal>, now: UnixMs) -> Vec<TokenInfo> {
        let standing = self.standing(now).into_iter().map(|stored| stored.info);
        standing.filter(|info| subject.is_none_or(|subject| info.subject == *subject)).collect()
    }

    /// Ends a token at once; answers whether it was there.
    ///
    /// # Errors
    /// [`TrustError::Io`]: then it is still good.
    pub fn revoke(&mut self, id: &str, now: UnixMs) -> Result<bool, TrustError> {
        let mut stored = self.standing(now);
        let before = stored.len();
        stored.retain(|stored| stored.info.id != id);
        let found = stored.len() < before;
        if found {
            self.replace(stored)?;
        }
        Ok(found)
    }

    /// Looks a token up.
    ///
    /// # Errors
    /// [`TokenRefusal::NotGood`].
    pub fn verify(
        &self,
        token: &BearerToken,
        now: UnixMs,
        standing: &dyn Standing,
    ) -> Result<VerifiedToken, TokenRefusal> {
        let refused = TokenRefusal::NotGood { id: token.id };
        let id = token.id.to_string();
        let stored = self.stored.iter().find(|stored| stored.info.id == id).ok_or(refused.clone())?;
        // The comparison of blake3::Hash takes the same time wherever the hashes differ.
        let same = blake3::Hash::from_hex(&stored.hash).is_ok_and(|hash| hash == token.hash());
        let info = &stored.info;
        // A wall clock that is set back by more than clocks may be apart brings no token back that was made later.
        let begun = info.made <= now.plus(CLOCK_SKEW);
        let verified = VerifiedToken {
            id: token.id,
            subject: info.subject.clone(),
            audience: self.own.clone(),
            grants: info.grants.iter().cloned().map(Grant::from).collect(),
            until: info.until,
            epoch: info.epoch,
            certified: info.certified,
        };
        if same && begun && now < info.until && verified.stands(standing).is_ok() {
            return Ok(verified);
        }
        Err(refused)
    }

    fn standing(&self, now: UnixMs) -> Vec<Stored> {
        self.stored.iter().filter(|stored| now < stored.info.until).cloned().collect()
    }

    fn replace(&mut self, stored: Vec<Stored>) -> Result<(), TrustError> {
        let bytes =
            serde_json::to_vec(&stored).map_err(|error| TrustError::malformed("the list of tokens", error))?;
        check_size("the file of tokens", bytes.len(), MAX_TOKENS_FILE_BYTES)?;
        write_private(&self.path, &bytes)?;
        self.stored = stored;
        Ok(())
    }
}

fn check_grants(grants: &[TokenGrant]) -> Result<(), TrustError> {
    let rule = |text: &str| Err(TrustError::Rule(text.into()));
    if grants.is_empty() || grants.iter().any(|grant| grant.rights.is_empty()) {
        return rule("a token must give something in each of its grants");
    }
    if grants.iter().any(|grant| !grantable().covers(grant.rights)) {
        return rule("a token can give only r, w and m: what else there is needs a certificate");
    }
    check_size("the list of grants", grants.len(), MAX_GRANTS)
}
