//! Enrolment: redeeming an invitation.
//!
//! The key is made here and never leaves; the inviting realm's fingerprint is checked by the TLS handshake,
//! before the secret is sent.

use crate::folder::Folder;
use crate::protocol::{JOIN_ROUTE, JoinReply, JoinRequest, join_proof};
use crate::realms::{answered, fetch, pin};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use terms::{Code, Principal, PrincipalKind, Problem};
use trust::{Bundle, Identity, Invitation, KeyPair, Passphrase, TrustStore};
use wire::{Envelope, Expect, Pool, Purpose, Target};
use world::World;

/// Redeems an invitation line: makes a key in this folder, has it certified, pins the realm.
pub async fn join(folder: &Folder, line: &str, want: PrincipalKind, world: &World) -> Result<Principal, Problem> {
    join_under(folder, line, want, None, world).await
}

/// The same with a key that is kept under a passphrase, if there is one.
pub async fn join_under(
    folder: &Folder,
    line: &str,
    want: PrincipalKind,
    passphrase: Option<Passphrase>,
    world: &World,
) -> Result<Principal, Problem> {
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
    let identity = Identity::new(chain, key)?.kept_under(passphrase);
    if *identity.principal() != principal {
        return Err(Problem::new(
            Code::Denied,
            format!("the realm certified {} instead of {principal}", identity.principal()),
        ));
    }
    pin(folder, &bundle)?;
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
    let bundle = fetch(&pool, &invitation.address, &invitation.fingerprint, world).await?;
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
    let request =
        http::Request::post(format!("https://{}{JOIN_ROUTE}", invitation.address)).body(body).map_err(invalid)?;
    wire::cbor::from_slice(&answered(&pool, &target(Expect::Principal(first)), request).await?)
}
