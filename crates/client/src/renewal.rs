//! Renewing a certificate at the realm's first node: with the present one while it lasts, with its key over the
//! connection's own secret in the time of grace.
//!
//! What is asked for is stored before it is sent, so that a lost answer is asked for again and never looks like a
//! clone.

use crate::Client;
use crate::durable::replace;
use crate::folder::Folder;
use crate::limits::{MAX_ANSWER_BYTES, MAX_PENDING_BYTES, RETIRED_LIFE};
use crate::protocol::{GraceProof, RENEW_ROUTE, RenewReply, RenewRequest, grace_proof, renew_proof};
use crate::realms::load_realms;
use rustls_pki_types::CertificateDer;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use terms::{Code, Problem, RealmName};
use trust::{Given, Identity, IdentityFile, KeyPair, RenewalId, TrustStore};
use wire::{Envelope, Expect, PeerCheck, Pool, Purpose, Target};
use world::World;
use zeroize::Zeroizing;

/// What a renewal that was begun keeps in place of a key that stays.
const SAME_KEY: &str = "the same key\n";

/// A renewal that was begun: its id, for which certificate, and the key to certify.
struct Pending {
    id: RenewalId,
    key: KeyPair,
}

/// Renews the client's identity, saves it, and goes on under it.
pub async fn renew(client: &Client, new_key: bool) -> Result<Identity, Problem> {
    let (present, world) = (client.require_identity()?, client.world());
    let _lock = lock(client.folder())?;
    let on_disk = IdentityFile::read(&client.folder().identity())?;
    if on_disk.chain() != present.chain() {
        // Another program of the same owner was faster.
        let on_disk = on_disk.open_like(&present)?;
        client.replace_identity(on_disk.clone());
        return Ok(on_disk);
    }
    let renewal = Renewal { folder: client.folder(), trust: client.trust(), world, present: &present };
    let pending = renewal.begin(new_key)?;
    let renewed = renewal.ask(client.pool(), &pending, None).await?;
    renewal.finish(&renewed)?;
    client.replace_identity(renewed.clone());
    Ok(renewed)
}

/// Renews the identity of a folder whose certificate has ended, with a new key.
pub async fn renew_in_grace(folder: &Folder, world: &World) -> Result<Identity, Problem> {
    let _lock = lock(folder)?;
    let present = Identity::load(&folder.identity())?;
    let trust = TrustStore::new();
    load_realms(folder, None, &trust, world)?;
    let renewal = Renewal { folder, trust: &trust, world, present: &present };
    let pending = renewal.begin(true)?;
    let pool = Pool::new(world, None, Arc::new(trust.clone()));
    let binding = pool.binding(&renewal.target()?).await?;
    let signature = present.key().sign(&grace_proof(&binding, pending.id, pending.key.public()))?;
    let chain = present.chain().iter().map(|der| serde_bytes::ByteBuf::from(der.to_vec())).collect();
    let renewed = renewal.ask(&pool, &pending, Some(GraceProof { chain, signature })).await?;
    renewal.finish(&renewed)?;
    Ok(renewed)
}

/// One renewal of a folder at a time: two that begin at once would look like two members with one key.
fn lock(folder: &Folder) -> Result<fs::File, Problem> {
    let path = folder.identity().join("renewal.lock");
    let failed = |error: std::io::Error| Problem::new(Code::Internal, format!("{}: {error}", path.display()));
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(Problem::new(Code::Busy, "another program renews this certificate now")
                .next("try again in a moment"))
        }
        Err(fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

struct Renewal<'a> {
    folder: &'a Folder,
    trust: &'a TrustStore,
    world: &'a World,
    present: &'a Identity,
}

impl Renewal<'_> {
    fn realm(&self) -> &RealmName {
        &self.present.principal().realm
    }

    fn file(&self) -> PathBuf {
        self.folder.identity().join("renewal")
    }

    fn content(&self) -> Result<terms::Digest, Problem> {
        let leaf = self.present.chain().first();
        let leaf = leaf.ok_or_else(|| Problem::new(Code::Internal, "the identity has no certificate"))?;
        Ok(Given::read(leaf)?.content)
    }

    /// Takes up what was begun for this certificate, or begins anew and stores it.
    fn begin(&self, new_key: bool) -> Result<Pending, Problem> {
        if let Some(pending) =
            self.begun()?.filter(|pending| new_key == (pending.key.public() != self.present.key().public()))
        {
            return Ok(pending);
        }
        let key = if new_key { KeyPair::generate()? } else { self.present.key().clone() };
        let mut id = [0; 16];
        self.world.entropy.fill(&mut id);
        let id = RenewalId(id);
        let digits: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let kept = if new_key { self.present.key_text(&key)? } else { Zeroizing::new(SAME_KEY.to_string()) };
        let text = Zeroizing::new(format!("{}\n{digits}\n{}", self.content()?, kept.as_str()));
        replace(&self.file(), text.as_bytes())?;
        Ok(Pending { id, key })
    }

    /// What is stored, if it is whole and for the present certificate; everything else is begun anew.
    fn begun(&self) -> Result<Option<Pending>, Problem> {
        let path = self.file();
        let failed = |error: std::io::Error| Problem::new(Code::Internal, format!("{}: {error}", path.display()));
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_PENDING_BYTES).read_to_string(&mut text).map_err(failed)?;
        let mut parts = text.splitn(3, '\n');
        let (Some(content), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Ok(None);
        };
        if content != self.content()?.to_string() {
            return Ok(None);
        }
        let bytes = (0..16).map(|at| id.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()));
        let id = bytes.collect::<Option<Vec<u8>>>().and_then(|bytes| bytes.try_into().ok());
        let key = match key {
            SAME_KEY => Some(self.present.key().clone()),
            other => self.present.read_key(other).ok(),
        };
        Ok(id.zip(key).map(|(id, key)| Pending { id: RenewalId(id), key }))
    }

    fn target(&self) -> Result<Target, Problem> {
        let bundle = self.trust.bundle(self.realm());
        let first = bundle.as_ref().and_then(|bundle| bundle.name_servers.first());
        let first = first.ok_or_else(|| {
            Problem::new(Code::Unavailable, format!("no server of {} is known that renews", self.realm()))
        })?;
        let expect = Expect::Principal(first.principal.clone());
        Ok(Target { address: first.address.clone(), expect, purpose: Purpose::Control })
    }

    async fn ask(&self, pool: &Pool, pending: &Pending, grace: Option<GraceProof>) -> Result<Identity, Problem> {
        let target = self.target()?;
        let principal = self.present.principal();
        let proof = pending.key.sign(&renew_proof(principal, pending.id, pending.key.public()))?;
        let request = RenewRequest { id: pending.id, key: pending.key.public().clone(), proof, grace };
        let body = wire::body::full(wire::cbor::to_vec(&Envelope::new(request)));
        let url = format!("https://{}{RENEW_ROUTE}", target.address);
        let request = http::Request::post(url).body(body).map_err(|error| {
            Problem::new(Code::Invalid, format!("the address {} is not usable: {error}", target.address))
        })?;
        let answer = pool.request(&target, request).await?;
        if !answer.status().is_success() {
            return Err(wire::problem_from(answer).await);
        }
        let reply: RenewReply =
            wire::cbor::from_slice(&wire::read_body(answer.into_body(), MAX_ANSWER_BYTES).await?)?;
        let chain = reply.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let renewed = Identity::new(chain, pending.key.clone())?.kept_like(self.present);
        let peer = self.trust.check(&renewed.chain()[0], &renewed.chain()[1..], self.world.clock.unix())?;
        if peer.principal != *principal {
            return Err(Problem::new(Code::Denied, format!("the realm certified {} instead", peer.principal)));
        }
        Ok(renewed)
    }

    /// First the new identity; then what was pending has no use any more. An old key is kept for the chains that
    /// name it.
    fn finish(&self, renewed: &Identity) -> Result<(), Problem> {
        succeed(self.folder, self.present, renewed, self.world)?;
        let _ = fs::remove_file(self.file());
        Ok(())
    }
}

/// Puts an identity in the place of the one that it renews, whose key is kept if it is another.
pub fn succeed(folder: &Folder, present: &Identity, renewed: &Identity, world: &World) -> Result<(), Problem> {
    if renewed.key().public() != present.key().public() {
        retire(folder, present, world)?;
    }
    Ok(renewed.save(&folder.identity())?)
}

/// Keeps an identity beside its successor, until the chains that name its key have ended.
fn retire(folder: &Folder, old: &Identity, world: &World) -> Result<(), Problem> {
    drop(retired(folder, world)?);
    Ok(old.save(&folder.retired().join(old.key().thumbprint().to_string()))?)
}

/// The earlier identities of a folder whose keys chains may still name. Older ones are removed.
pub fn retired(folder: &Folder, world: &World) -> Result<Vec<IdentityFile>, Problem> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.retired()).into_iter().flatten().flatten() {
        let old = IdentityFile::read(&entry.path())?;
        if world.clock.unix() < old.not_after().plus(RETIRED_LIFE) {
            found.push(old);
        } else {
            let removed = fs::remove_dir_all(entry.path());
            removed
                .map_err(|error| Problem::new(Code::Internal, format!("{}: {error}", entry.path().display())))?;
        }
    }
    Ok(found)
}
