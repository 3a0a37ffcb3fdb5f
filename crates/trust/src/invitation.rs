//! Invitations: one line that lets one new member into a realm once, within ten minutes. The inviting side
//! keeps only a hash of the secret, and marks an invitation as used on disk before it says yes.

use crate::codec::{check_size, decode, encode};
use crate::error::TrustError;
use crate::files::{read_private, write_private};
use crate::key::sha256;
use crate::limits::{
    INVITATION_LIFETIME, MAX_ADDRESS_BYTES, MAX_INVITATION_BYTES, MAX_INVITATIONS, MAX_INVITATIONS_FILE_BYTES,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::path::{Path, PathBuf};
use terms::{Code, Digest, Principal, Problem, RealmName, UnixMs};
use zeroize::Zeroizing;

/// How an invitation line begins.
const PREFIX: &str = "webos-invite-1.";
const WHAT: &str = "the invitation";

/// What the invited side proves itself with. Never shown, wiped when dropped, compared in constant time.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    fn random(world: &world::World) -> Self {
        let mut bytes = Zeroizing::new([0u8; 32]);
        world.entropy.fill(bytes.as_mut_slice());
        Self(bytes)
    }

    /// What is stored in its place: 256 random bits need no slow hash.
    fn hash(&self) -> Digest {
        Digest(sha256(self.0.as_slice()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::Bytes::new(self.0.as_slice()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Zeroizing::new(serde_bytes::ByteBuf::deserialize(deserializer)?.into_vec());
        let bytes = bytes.as_slice().try_into().map_err(|_| de::Error::invalid_length(bytes.len(), &"32 bytes"))?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

/// What an invitation line says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// `host:port` of the node that lets in.
    pub address: String,
    /// The realm.
    pub realm: RealmName,
    /// SHA-256 of the realm's root certificate: checked before anything is sent.
    #[serde(with = "serde_bytes")]
    pub fingerprint: [u8; 32],
    /// Proves that this line was handed over.
    pub secret: Secret,
    /// Who the holder will be.
    pub principal: Principal,
    /// The line is worthless from this time on.
    pub expires: UnixMs,
}

impl Invitation {
    /// The line to hand over. It is a secret: show it to one person, read it from standard input.
    ///
    /// # Errors
    /// [`TrustError::TooLarge`] if an address or name is too long for a line.
    pub fn line(&self) -> Result<Zeroizing<String>, TrustError> {
        self.check()?;
        let bytes = Zeroizing::new(encode(WHAT, self)?);
        let line = Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes)));
        check_size(WHAT, line.len(), MAX_INVITATION_BYTES)?;
        Ok(line)
    }

    /// Reads a line; spaces and a line end around it do not matter. Errors never quote it.
    ///
    /// # Errors
    /// [`TrustError::Malformed`], [`TrustError::TooLarge`].
    pub fn parse(line: &str) -> Result<Self, TrustError> {
        let line = line.trim();
        check_size(WHAT, line.len(), MAX_INVITATION_BYTES)?;
        let refuse = || TrustError::malformed(WHAT, format_args!("it must be the whole line, {PREFIX}…"));
        let encoded = line.strip_prefix(PREFIX).ok_or_else(refuse)?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(encoded).map_err(|_| refuse())?);
        // The decoder's own text may quote its input, which is secret.
        let invitation: Self = decode(WHAT, &bytes, MAX_INVITATION_BYTES).map_err(|_| refuse())?;
        invitation.check()?;
        Ok(invitation)
    }

    fn check(&self) -> Result<(), TrustError> {
        check_size("an address", self.address.len(), MAX_ADDRESS_BYTES)?;
        if self.principal.realm != self.realm {
            return Err(TrustError::malformed(WHAT, "its name belongs to another realm"));
        }
        Ok(())
    }

    /// Whether its time is over.
    pub fn is_over(&self, now: UnixMs) -> bool {
        now >= self.expires
    }
}

/// Why an invitation was not accepted. Whoever guesses learns nothing from which it was.
#[derive(Debug, thiserror::Error)]
pub enum InvitationRefusal {
    /// No open invitation has this secret for this name: wrong, used, or over.
    #[error("the invitation is not valid for {principal}: it was used, is older than ten minutes, or never was")]
    NotOpen {
        /// The name asked for.
        principal: Principal,
    },
    /// It could not be marked as used, so it was not accepted.
    #[error("the invitation could not be marked as used")]
    Store(#[source] TrustError),
}

impl From<InvitationRefusal> for Problem {
    fn from(refusal: InvitationRefusal) -> Self {
        let (code, next) = match &refusal {
            InvitationRefusal::NotOpen { .. } => (Code::Denied, "ask for a new invitation"),
            InvitationRefusal::Store(_) => (Code::Internal, "try again"),
        };
        Self::new(code, refusal.to_string()).next(next)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    secret: Digest,
    principal: Principal,
    expires: UnixMs,
}

/// The invitations that are open, kept in a private file.
#[derive(Debug)]
pub struct Invitations {
    path: PathBuf,
    open: Vec<Open>,
}

impl Invitations {
    /// Reads the file, which need not exist yet.
    ///
    /// # Errors
    /// [`TrustError::Io`], [`TrustError::Malformed`].
    pub fn open(path: &Path) -> Result<Self, TrustError> {
        let open = match read_private(path, MAX_INVITATIONS_FILE_BYTES) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let error = TrustError::malformed("the list of invitations", error);
                error.in_file(path, "remove it: the invitations that are open end with it, nothing else")
            })?,
            Err(TrustError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path: path.to_path_buf(), open })
    }

    /// Invites a principal, for ten minutes, once. An older invitation of the same name ends.
    ///
    /// # Errors
    /// [`TrustError::TooLarge`] if too many are open; [`TrustError::Io`].
    pub fn create(
        &mut self,
        principal: Principal,
        address: String,
        fingerprint: [u8; 32],
        world: &world::World,
    ) -> Result<Invitation, TrustError> {
        let now = world.clock.unix();
        let mut open = self.open.clone();
        open.retain(|entry| now < entry.expires && entry.principal != principal);
        check_size("the list of open invitations", open.len() + 1, MAX_INVITATIONS)?;
        let (secret, expires) = (Secret::random(world), now.plus(INVITATION_LIFETIME));
        open.push(Open { secret: secret.hash(), principal: principal.clone(), expires });
        self.replace(open)?;
        Ok(Invitation { address, realm: principal.realm.clone(), fingerprint, secret, principal, expires })
    }

    /// Accepts an invitation; after this answer nobody can use it again, also after a crash. Answers when it was made.
    ///
    /// # Errors
    /// [`InvitationRefusal`].
    pub fn redeem(
        &mut self,
        secret: &Secret,
        principal: &Principal,
        now: UnixMs,
    ) -> Result<UnixMs, InvitationRefusal> {
        let offered = secret.hash();
        // Every entry is compared, each in constant time.
        let matches = |entry: &Open| {
            let same = aws_lc_rs::constant_time::verify_slices_are_equal(&entry.secret.0, &offered.0).is_ok();
            same & (entry.principal == *principal) & (now < entry.expires)
        };
        let (used, mut left): (Vec<_>, Vec<_>) = self.open.clone().into_iter().partition(matches);
        let Some(made) = used.iter().map(|entry| entry.expires.minus(INVITATION_LIFETIME)).max() else {
            return Err(InvitationRefusal::NotOpen { principal: principal.clone() });
        };
        left.retain(|entry| now < entry.expires);
        self.replace(left).map_err(InvitationRefusal::Store)?;
        Ok(made)
    }

    fn replace(&mut self, open: Vec<Open>) -> Result<(), TrustError> {
        let bytes =
            serde_json::to_vec(&open).map_err(|error| TrustError::malformed("the file of invitations", error))?;
        write_private(&self.path, &bytes)?;
        self.open = open;
        Ok(())
    }
}
