//! The node's offers on disk: one TOML file, replaced atomically, read whole at the start. A damaged file is an
//! error that names it, never an empty list: the owner's word must not get lost.

use crate::limits::{MAX_OFFERS, MAX_OFFERS_FILE_BYTES};
use crate::model::{Offer, OfferError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use terms::{ServiceName, UnixMs};

/// Why offers could not be read, changed or kept.
#[derive(Debug, thiserror::Error)]
pub enum OffersError {
    /// The file cannot be read or written.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is not what this program writes.
    #[error("{} is damaged: {detail}; correct it, or remove it and lend again", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A number of the offer is not sensible.
    #[error("the offer is refused")]
    Offer(#[source] OfferError),
    /// There are too many.
    #[error("this node already keeps {MAX_OFFERS} offers; withdraw one first")]
    TooMany,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    #[serde(default)]
    offer: Vec<Offer>,
}

/// The node's offers, at most one for each service.
#[derive(Debug)]
pub struct Offers {
    path: PathBuf,
    offers: BTreeMap<ServiceName, Offer>,
}

impl Offers {
    /// Reads the file; a missing one holds no offers.
    ///
    /// # Errors
    /// [`OffersError::Io`] and [`OffersError::Damaged`].
    pub fn load(path: impl Into<PathBuf>) -> Result<Self, OffersError> {
        let path = path.into();
        let text = match read_bounded(&path) {
            Ok(text) => text,
            Err(source) if source.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) if source.kind() == io::ErrorKind::InvalidData => {
                return Err(OffersError::Damaged { path, detail: source.to_string() });
            }
            Err(source) => return Err(OffersError::Io { operation: "read", path, source }),
        };
        let damaged = |detail: String| OffersError::Damaged { path: path.clone(), detail };
        let content: Content = toml::from_str(&text).map_err(|error| damaged(error.message().to_string()))?;
        let mut offers = BTreeMap::new();
        for offer in content.offer {
            // An offer that is over by its date is no damage.
            offer.validate(UnixMs(0)).or_else(over_is_fine).map_err(|error| damaged(error.to_string()))?;
            offers.insert(offer.service.clone(), offer);
        }
        Ok(Self { path, offers })
    }

    /// The offer to a service, if it is not over.
    pub fn to(&self, service: &ServiceName, now: UnixMs) -> Option<&Offer> {
        self.offers.get(service).filter(|offer| !offer.over(now))
    }

    /// All offers that are not over, in the order of their services.
    pub fn all(&self, now: UnixMs) -> impl Iterator<Item = &Offer> {
        self.offers.values().filter(move |offer| !offer.over(now))
    }

    /// Lends; replaces an earlier offer to the same service. Durable when it returns.
    ///
    /// # Errors
    /// [`OffersError::Offer`], [`OffersError::TooMany`] and [`OffersError::Io`]; then nothing has changed.
    pub fn lend(&mut self, offer: Offer, now: UnixMs) -> Result<(), OffersError> {
        offer.validate(now).map_err(OffersError::Offer)?;
        let mut offers: BTreeMap<_, _> =
            self.all(now).map(|offer| (offer.service.clone(), offer.clone())).collect();
        offers.insert(offer.service.clone(), offer);
        if offers.len() > MAX_OFFERS {
            return Err(OffersError::TooMany);
        }
        self.keep(offers)
    }

    /// Takes an offer back; says whether there was one. Durable when it returns.
    ///
    /// # Errors
    /// [`OffersError::Io`]; then nothing has changed.
    pub fn withdraw(&mut self, service: &ServiceName) -> Result<bool, OffersError> {
        if !self.offers.contains_key(service) {
            return Ok(false);
        }
        let mut offers = self.offers.clone();
        offers.remove(service);
        self.keep(offers).map(|()| true)
    }

    fn keep(&mut self, offers: BTreeMap<ServiceName, Offer>) -> Result<(), OffersError> {
        let content = Content { offer: offers.values().cloned().collect() };
        let text = toml::to_string(&content)
            .map_err(|error| OffersError::Damaged { path: self.path.clone(), detail: error.to_string() })?;
        replace(&self.path, text.as_bytes()).map_err(|source| OffersError::Io {
            operation: "write",
            path: self.path.clone(),
            source,
        })?;
        self.offers = offers;
        Ok(())
    }
}

fn over_is_fine(error: OfferError) -> Result<(), OfferError> {
    if error == OfferError::Over { Ok(()) } else { Err(error) }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let length = fs::metadata(path)?.len();
    if length > MAX_OFFERS_FILE_BYTES {
        let text = format!("it has {length} bytes, more than the {MAX_OFFERS_FILE_BYTES} allowed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    fs::read_to_string(path)
}

/// A new file beside the old one, synced, renamed over it, and the folder synced.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use terms::ByteCount;

    fn offer(name: &str, until: Option<UnixMs>) -> Offer {
        Offer {
            service: format!("service://{name}.lab.example").parse().expect("valid"),
            cpu_milli: 1_500,
            memory_bytes: ByteCount(1 << 30),
            price: 0.25,
            power: 2.0,
            until,
            keep_cache: true,
        }
    }

    #[test]
    fn offers_survive_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("offers.toml");
        let mut offers = Offers::load(&path).expect("none yet");
        offers.lend(offer("site", None), UnixMs(1)).expect("kept");
        offers.lend(offer("chat", Some(UnixMs(50))), UnixMs(1)).expect("kept");
        offers.lend(Offer { price: 1.0, ..offer("site", None) }, UnixMs(1)).expect("replaced");

        let mut again = Offers::load(&path).expect("readable");
        assert_eq!(again.all(UnixMs(2)).map(|offer| offer.price).collect::<Vec<_>>(), [0.25, 1.0]);
        let chat = offer("chat", None).service;
        assert!(again.to(&chat, UnixMs(49)).is_some() && again.to(&chat, UnixMs(50)).is_none());
        assert!(again.withdraw(&offer("site", None).service).expect("kept"));
        assert!(!again.withdraw(&offer("site", None).service).expect("nothing to do"));
        assert_eq!(Offers::load(&path).expect("readable").all(UnixMs(2)).count(), 1);
    }

    #[test]
    fn a_damaged_file_is_named_and_not_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("offers.toml");
        for damage in [
            "[[offer]]\nservice = 3",
            "nonsense",
            "[[offer]]\nservice=\"service://a.b\"\ncpu_milli=1\nmemory_bytes=1\nprice=-1.0",
        ] {
            fs::write(&path, damage).expect("written");
            let error = Offers::load(&path).expect_err(damage);
            assert!(error.to_string().contains("offers.toml is damaged"), "{error}");
        }
        fs::write(&path, vec![b'#'; usize::try_from(MAX_OFFERS_FILE_BYTES).expect("small") + 1]).expect("written");
        assert!(Offers::load(&path).expect_err("too large").to_string().contains("more than"));
        fs::write(&path, "").expect("written");
        assert_eq!(Offers::load(&path).expect("an empty file holds none").all(UnixMs(0)).count(), 0);
    }

    #[test]
    fn what_cannot_be_kept_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut offers = Offers::load(folder.path().join("gone").join("offers.toml")).expect("none yet");
        assert!(matches!(offers.lend(offer("site", None), UnixMs(1)), Err(OffersError::Io { .. })));
        assert_eq!(offers.all(UnixMs(1)).count(), 0);
        let bad = Offer { price: f64::NAN, ..offer("site", None) };
        assert!(matches!(offers.lend(bad, UnixMs(1)), Err(OffersError::Offer(_))));
    }

    #[test]
    fn there_is_a_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut offers = Offers::load(folder.path().join("offers.toml")).expect("none yet");
        for number in 0..MAX_OFFERS {
            offers.lend(offer(&format!("s{number}"), None), UnixMs(1)).expect("kept");
        }
        assert!(matches!(offers.lend(offer("one-more", None), UnixMs(1)), Err(OffersError::TooMany)));
    }
}
