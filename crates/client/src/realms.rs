//! The realms that a folder trusts: pinned by a fingerprint that a person compared, fetched, renewed, let go.
//!
//! Trusting a realm means believing its names, nothing else. A bundle comes in only if it fits the pin, and an older
//! one never replaces a newer one.

use crate::Client;
use crate::durable::replace;
use crate::folder::Folder;
use crate::limits::{MAX_ANSWER_BYTES, MAX_PINNED_BYTES, MAX_TRUSTED_REALMS};
use crate::protocol::BUNDLE_ROUTE;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use terms::{Code, Problem, RealmName};
use trust::{Bundle, Identity, TrustError, TrustStore};
use wire::{Expect, Pool, Purpose, Target};
use world::World;

/// Fetches the bundle of a realm of which only an address and a fingerprint are known. Whoever answers there must be
/// a server under the root with this fingerprint.
pub async fn fetch_from(address: &str, fingerprint: &[u8; 32], world: &World) -> Result<Bundle, Problem> {
    let pool = Pool::new(world, None, Arc::new(TrustStore::new()));
    fetch(&pool, address, fingerprint, world).await
}

pub(crate) async fn fetch(
    pool: &Pool,
    address: &str,
    fingerprint: &[u8; 32],
    world: &World,
) -> Result<Bundle, Problem> {
    let invalid = |error| Problem::new(Code::Invalid, format!("the address '{address}' is not usable: {error}"));
    let url = format!("https://{address}{BUNDLE_ROUTE}");
    let request = http::Request::get(url).body(wire::body::empty()).map_err(invalid)?;
    let expect = Expect::Root(*fingerprint);
    let target = Target { address: address.to_string(), expect, purpose: Purpose::Control };
    let bytes = answered(pool, &target, request).await?;
    Ok(Bundle::open(&bytes, fingerprint, world.clock.unix())?)
}

pub(crate) async fn answered(
    pool: &Pool,
    target: &Target,
    request: http::Request<wire::Body>,
) -> Result<Bytes, Problem> {
    let answer = pool.request(target, request).await?;
    if !answer.status().is_success() {
        return Err(wire::problem_from(answer).await);
    }
    wire::read_body(answer.into_body(), MAX_ANSWER_BYTES).await
}

/// Pins a realm in a folder: its signed bundle and the fingerprint by which it is believed, which is its newest root's.
pub fn pin(folder: &Folder, bundle: &Bundle) -> Result<(), Problem> {
    let digits: String = bundle.pin().iter().map(|byte| format!("{byte:02x}")).collect();
    let pinned = [format!("{digits}\n").as_bytes(), bundle.encoded()].concat();
    replace(&folder.realm(&bundle.realm), &pinned)
}

/// The files of pinned realms, at most [`MAX_TRUSTED_REALMS`].
fn files(folder: &Folder) -> BTreeMap<RealmName, PathBuf> {
    let entries = fs::read_dir(folder.realms()).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let path = entry.path();
        let name = path.file_name()?.to_str()?.strip_suffix(".bundle")?;
        Some((RealmName::new(name).ok()?, path))
    });
    named.take(MAX_TRUSTED_REALMS).collect()
}

/// Opens all pinned realms of a folder into the store. A damaged one is an error that names its file; of a folder's
/// `own` realm, whose authority is here, it is left out: the node signs it anew when it starts.
pub fn load_realms(
    folder: &Folder,
    own: Option<&RealmName>,
    trust: &TrustStore,
    world: &World,
) -> Result<(), Problem> {
    let signed_here = own.filter(|_| folder.authority().exists());
    for (realm, path) in files(folder) {
        match load_realm(&path, &realm, world) {
            Ok(pinned) => drop(trust.insert(pinned.bundle)),
            Err(unusable) if signed_here == Some(&realm) => {
                tracing::warn!(bundle = %path.display(), why = %unusable, "a bundle of our own cannot be used");
            }
            Err(Unusable::Now(error)) => return Err(error.into()),
            Err(Unusable::Damaged(why)) => {
                let what = format!("{} is damaged: {why}", path.display());
                return Err(Problem::new(Code::Internal, what).next(pinned_anew(folder)));
            }
        }
    }
    Ok(())
}

/// How the owner of this folder comes to a new bundle.
fn pinned_anew(folder: &Folder) -> String {
    if folder.authority().exists() {
        "restore it from a copy".into()
    } else if folder.world().exists() {
        "remove it: `webos up` pins it anew".into()
    } else {
        let identity = folder.identity().join(Identity::FILE);
        format!(
            "restore it from a copy, or remove it and {} and join again with a new invitation",
            identity.display()
        )
    }
}

/// Why a pinned realm is of no use.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    /// The file is wrong.
    #[error("{0}")]
    Damaged(String),
    /// The file is right, and the time is not: too early, or too late.
    #[error(transparent)]
    Now(TrustError),
}

#[allow(clippy::needless_pass_by_value)] // errors come by value
fn damaged(why: impl ToString) -> Unusable {
    Unusable::Damaged(why.to_string())
}

/// What a file pins: the fingerprint that was compared, and the bundle that fits it.
struct Pinned {
    fingerprint: [u8; 32],
    bundle: Bundle,
}

fn load_realm(path: &Path, realm: &RealmName, world: &World) -> Result<Pinned, Unusable> {
    let mut content = Vec::new();
    let file = fs::File::open(path).map_err(damaged)?;
    file.take(MAX_PINNED_BYTES + 1).read_to_end(&mut content).map_err(damaged)?;
    if content.len() as u64 > MAX_PINNED_BYTES {
        return Err(damaged(format!("it is longer than {MAX_PINNED_BYTES} bytes")));
    }
    let (digits, encoded) = content.split_at_checked(65).ok_or_else(|| damaged("it is too short"))?;
    let digits = std::str::from_utf8(digits).map_err(damaged)?;
    let fingerprint: terms::Digest = digits.trim_end().parse().map_err(damaged)?;
    let opened = Bundle::reopen(encoded, &fingerprint.0, world.clock.unix());
    let bundle = opened.map_err(|error| match error {
        TrustError::AuthorityEnded { .. } | TrustError::FromTheFuture { .. } => Unusable::Now(error),
        damage => damaged(damage),
    })?;
    if bundle.realm == *realm {
        Ok(Pinned { fingerprint: fingerprint.0, bundle })
    } else {
        Err(damaged(format!("it is the bundle of {}", bundle.realm)))
    }
}

/// By which fingerprint a realm is believed here, if it is.
pub fn pinned_fingerprint(folder: &Folder, realm: &RealmName, world: &World) -> Result<Option<[u8; 32]>, Problem> {
    let path = folder.realm(realm);
    if !path.exists() {
        return Ok(None);
    }
    match load_realm(&path, realm, world) {
        Ok(pinned) => Ok(Some(pinned.fingerprint)),
        Err(Unusable::Now(error)) => Err(error.into()),
        Err(Unusable::Damaged(why)) => {
            let what = format!("{} is damaged: {why}", path.display());
            Err(Problem::new(Code::Internal, what).next(pinned_anew(folder)))
        }
    }
}

/// Trusts a realm no longer. Answers whether it was trusted.
pub fn distrust(folder: &Folder, realm: &RealmName) -> Result<bool, Problem> {
    let path = folder.realm(realm);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Problem::new(Code::Internal, format!("{} cannot be removed: {error}", path.display()))),
    }
}

/// Asks a trusted realm's name servers for its newest bundle, and pins it. Answers whether it was newer.
pub async fn refresh(client: &Client, realm: &RealmName) -> Result<bool, Problem> {
    let fingerprint = pinned_fingerprint(client.folder(), realm, client.world())?;
    let Some(fingerprint) = fingerprint else { return Ok(false) };
    let bytes = client.ask_names(realm, BUNDLE_ROUTE).await?;
    let bundle = Bundle::open(&bytes, &fingerprint, client.world().clock.unix())?;
    if bundle.realm != *realm {
        return Err(Problem::new(Code::Denied, format!("{realm} answered with the bundle of {}", bundle.realm)));
    }
    let newer = client.trust().bundle(realm).is_none_or(|present| bundle.is_newer_than(&present));
    if newer {
        // While it was asked for, its owner may have distrusted the realm.
        if !client.folder().realm(realm).exists() {
            return Ok(false);
        }
        pin(client.folder(), &bundle)?;
        client.trust().insert(bundle);
    }
    Ok(newer)
}

/// What tells one state of a file from another.
type Mark = (u64, i64, i64, u64);

/// Carries changes of the folder of pinned realms into a running program's store.
#[derive(Debug, Default)]
pub struct Follower {
    seen: BTreeMap<RealmName, Mark>,
}

impl Follower {
    /// Looks once. Realms of which the file is gone are trusted no longer, except `own`; a file that cannot be used
    /// changes nothing, and is named in the log once.
    pub fn look(&mut self, folder: &Folder, own: &RealmName, trust: &TrustStore, world: &World) {
        let files = files(folder);
        for realm in trust.realms().iter().filter(|realm| *realm != own && !files.contains_key(realm)) {
            tracing::info!(%realm, "the realm is trusted no longer");
            trust.remove(realm);
        }
        self.seen.retain(|realm, _| files.contains_key(realm));
        for (realm, path) in files {
            let Ok(found) = fs::metadata(&path) else { continue };
            let mark = (found.ino(), found.mtime(), found.mtime_nsec(), found.len());
            if self.seen.insert(realm.clone(), mark) == Some(mark) {
                continue;
            }
            match load_realm(&path, &realm, world) {
                Ok(pinned) => take(trust, pinned),
                Err(unusable) => tracing::warn!(%realm, why = %unusable, "a changed bundle cannot be used"),
            }
        }
    }
}

/// Another root than before is its owner's decision: what was known under the old one does not count any more.
fn take(trust: &TrustStore, pinned: Pinned) {
    let realm = pinned.bundle.realm.clone();
    if trust.bundle(&realm).is_some_and(|present| !present.has_root(&pinned.fingerprint)) {
        trust.remove(&realm);
    }
    trust.insert(pinned.bundle);
}
