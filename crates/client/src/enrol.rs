//! Enrolment: redeeming an invitation, and the pinned realms of a folder.
//!
//! The key is made here and never leaves; the inviting realm's fingerprint is checked by the TLS handshake,
//! before the secret is sent.

use crate::durable::replace;
use crate::folder::Folder;
use crate::limits::MAX_ANSWER_BYTES;
use crate::protocol::{BUNDLE_ROUTE, JOIN_ROUTE, JoinReply, JoinRequest, join_proof};
use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use terms::{Code, Principal, PrincipalKind, Problem, RealmName};
use trust::{Bundle, Identity, Invitation, KeyPair, TrustError, TrustStore};
use wire::{Envelope, Expect, Pool, Purpose, Target};
use world::World;

/// Redeems an invitation line: makes a key in this folder, has it certified, pins the realm.
pub async fn join(folder: &Folder, line: &str, want: PrincipalKind, world: &World) -> Result<Principal, Problem> {
    let invitation = Invitation::parse(line.trim())?;
    let principal = invitation.principal.clone();
    if principal.kind != want {
        return Err(Problem::new(
            Code::Invalid,
            format!("the invitation is for a {}, not for a {}", principal.kind.as_str(), want.as_str()),
        )
        .next(match principal.kind {
            PrincipalKind::Server => "redeem it with `webos node join`",
            _ => "redeem it with `webos user register`",
        }));
    }
    if folder.identity().join(Identity::FILE).exists() {
        return Err(Problem::new(Code::Exists, format!("{} holds an identity already", folder.path().display()))
            .next("choose another folder with WEBOS_HOME"));
    }
    let key = KeyPair::generate()?;
    let reply = redeem(&invitation, &key, world).await?;
    let bundle = Bundle::open(&reply.bundle, &invitation.fingerprint, world.clock.unix())?;
    let chain = reply.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let identity = Identity::new(chain, key)?;
    if *identity.principal() != principal {
        return Err(Problem::new(
            Code::Denied,
            format!("the realm certified {} instead of {principal}", identity.principal()),
        ));
    }
    pin(folder, &bundle, &invitation.fingerprint)?;
    identity.save(&folder.identity())?;
    Ok(principal)
}

/// First the bundle from any server of the realm with the right fingerprint; then the secret, to nobody but the
/// realm's first node: another server of the realm that listens at the address learns nothing.
async fn redeem(invitation: &Invitation, key: &KeyPair, world: &World) -> Result<JoinReply, Problem> {
    let trust = TrustStore::new();
    let pool = Pool::new(world, None, Arc::new(trust.clone()));
    let target = |expect| Target { address: invitation.address.clone(), expect, purpose: Purpose::Control };
    let invalid = |error| Problem::new(Code::Invalid, format!("the invitation's address is not usable: {error}"));
    let url = |route: &str| format!("https://{}{route}", invitation.address);
    let asked = http::Request::get(url(BUNDLE_ROUTE)).body(wire::body::empty()).map_err(invalid)?;
    let bytes = answered(&pool, &target(Expect::Root(invitation.fingerprint)), asked).await?;
    let bundle = Bundle::open(&bytes, &invitation.fingerprint, world.clock.unix())?;
    let first = bundle.name_servers.first().map(|server| server.principal.clone());
    let first = first.ok_or_else(|| {
        Problem::new(Code::Invalid, format!("the bundle of {} names no server to join at", bundle.realm))
    })?;
    trust.insert(bundle);
    let request = JoinRequest {
        kind: invitation.principal.kind,
        name: invitation.principal.name.clone(),
        secret: invitation.secret.clone(),
        key: key.public().clone(),
        proof: key.sign(&join_proof(&invitation.principal, key.public()))?,
    };
    let body = wire::body::full(wire::cbor::to_vec(&Envelope::new(request)));
    let request = http::Request::post(url(JOIN_ROUTE)).body(body).map_err(invalid)?;
    wire::cbor::from_slice(&answered(&pool, &target(Expect::Principal(first)), request).await?)
}

async fn answered(pool: &Pool, target: &Target, request: http::Request<wire::Body>) -> Result<Bytes, Problem> {
    let answer = pool.request(target, request).await?;
    if !answer.status().is_success() {
        return Err(wire::problem_from(answer).await);
    }
    wire::read_body(answer.into_body(), MAX_ANSWER_BYTES).await
}

/// Pins a realm in a folder: its signed bundle and the fingerprint by which it is believed.
pub fn pin(folder: &Folder, bundle: &Bundle, fingerprint: &[u8; 32]) -> Result<(), Problem> {
    let digits: String = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
    let pinned = [format!("{digits}\n").as_bytes(), bundle.encoded()].concat();
    replace(&folder.realm(&bundle.realm), &pinned)
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
    let Ok(entries) = fs::read_dir(folder.realms()) else { return Ok(()) };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".bundle"));
        let Some(realm) = name.and_then(|name| RealmName::new(name).ok()) else { continue };
        match load_realm(&path, &realm, world) {
            Ok(bundle) => {
                trust.insert(bundle);
            }
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

fn load_realm(path: &Path, realm: &RealmName, world: &World) -> Result<Bundle, Unusable> {
    let content = fs::read(path).map_err(damaged)?;
    let (digits, encoded) = content.split_at_checked(65).ok_or_else(|| damaged("it is too short"))?;
    let digits = std::str::from_utf8(digits).map_err(damaged)?;
    let fingerprint: terms::Digest = digits.trim_end().parse().map_err(damaged)?;
    let opened = Bundle::open(encoded, &fingerprint.0, world.clock.unix());
    let bundle = opened.map_err(|error| match error {
        TrustError::AuthorityEnded { .. } | TrustError::FromTheFuture { .. } => Unusable::Now(error),
        damage => damaged(damage),
    })?;
    if bundle.realm == *realm { Ok(bundle) } else { Err(damaged(format!("it is the bundle of {}", bundle.realm))) }
}
