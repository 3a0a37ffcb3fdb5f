//! Text under a passphrase, in the age format with its scrypt recipient: for keys that lie off line.

use crate::error::TrustError;
use crate::limits::{MAX_PASSPHRASE_BYTES, MIN_PASSPHRASE_BYTES, SCRYPT_LOG_N, SCRYPT_MAX_LOG_N};
use age::scrypt;
use std::fmt;
use zeroize::Zeroizing;

/// How every file in the age format begins.
const MAGIC: &[u8] = b"age-encryption.org/v1\n";

/// What a person knows and nothing stores. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// A passphrase of a sensible length.
    ///
    /// # Errors
    /// [`TrustError::Rule`] if it is too short or too long. The text is never quoted.
    pub fn new(text: Zeroizing<String>) -> Result<Self, TrustError> {
        if (MIN_PASSPHRASE_BYTES..=MAX_PASSPHRASE_BYTES).contains(&text.len()) {
            return Ok(Self(text));
        }
        Err(TrustError::Rule(format!(
            "a passphrase has {MIN_PASSPHRASE_BYTES} to {MAX_PASSPHRASE_BYTES} bytes, this one {}",
            text.len()
        )))
    }

    fn secret(&self) -> age::secrecy::SecretString {
        self.0.as_str().into()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// Whether these bytes are a file under a passphrase.
pub(crate) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

pub(crate) fn seal(text: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, TrustError> {
    let mut recipient = scrypt::Recipient::new(passphrase.secret());
    recipient.set_work_factor(SCRYPT_LOG_N);
    age::encrypt(&recipient, text)
        .map_err(|error| TrustError::Crypto { action: "encrypt a key", why: error.to_string() })
}

pub(crate) fn unseal(bytes: &[u8], passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, TrustError> {
    let mut identity = scrypt::Identity::new(passphrase.secret());
    identity.set_max_work_factor(SCRYPT_MAX_LOG_N);
    match age::decrypt(&identity, bytes) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed) => {
            Err(TrustError::Passphrase)
        }
        Err(error) => Err(TrustError::malformed("the encrypted file", error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.into())).expect("long enough")
    }

    #[test]
    fn only_the_passphrase_opens_and_nothing_shows_it() {
        let right = passphrase("correct horse");
        let sealed = seal(b"text", &right).expect("sealed");
        assert!(is_sealed(&sealed) && !sealed.windows(4).any(|bytes| bytes == b"text"));
        assert_eq!(unseal(&sealed, &right).expect("opened").as_slice(), b"text");
        assert!(matches!(unseal(&sealed, &passphrase("correct house")), Err(TrustError::Passphrase)));
        let mut altered = sealed.clone();
        *altered.last_mut().expect("not empty") ^= 1;
        assert!(unseal(&altered, &right).is_err());
        assert!(unseal(&sealed[..40], &right).is_err());
        assert_eq!(format!("{right:?}"), "Passphrase(…)");
        assert!(Passphrase::new(Zeroizing::new("short".into())).is_err());
    }
}
