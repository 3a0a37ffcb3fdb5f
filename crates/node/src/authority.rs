//! The realm's authority on its first node: lets in who holds an invitation, and hands out the signed bundle.

use client::Folder;
use client::protocol::{JoinReply, JoinRequest, join_proof};
use serde_bytes::ByteBuf;
use std::sync::Mutex;
use terms::{Code, Epoch, Principal, PrincipalKind, Problem};
use trust::{AuditRecord, Authority, Bundle, Invitations, NameServer, TrustStore};
use world::World;

use crate::gatekeeper::Gatekeeper;

/// The authority of the node's own realm, if it holds it.
pub struct Registrar {
    world: World,
    authority: Authority,
    invitations: std::path::PathBuf,
    /// One redemption at a time: an invitation is good for one.
    turn: Mutex<()>,
}

impl Registrar {
    /// The authority in a node's folder, if there is one.
    pub fn open(folder: &Folder, world: &World) -> Result<Option<Self>, Problem> {
        if !folder.authority().exists() {
            return Ok(None);
        }
        let authority = Authority::load(&folder.authority())?;
        let (world, invitations) = (world.clone(), folder.invitations());
        Ok(Some(Self { world, authority, invitations, turn: Mutex::new(()) }))
    }

    /// The realm.
    pub fn realm(&self) -> &terms::RealmName {
        self.authority.realm()
    }

    /// Signs the realm's bundle anew, with this node as its name server, and pins it.
    pub fn sign_bundle(
        &self,
        folder: &Folder,
        trust: &TrustStore,
        node: &Principal,
        address: &str,
    ) -> Result<(), Problem> {
        let now = self.world.clock.unix();
        let servers = vec![NameServer { address: address.to_string(), principal: node.clone() }];
        let epoch = trust.bundle(self.realm()).map_or(Epoch(1), |bundle| bundle.epoch);
        let bytes = self.authority.bundle(servers, epoch, now)?;
        let fingerprint = self.authority.fingerprint();
        let bundle = Bundle::open(&bytes, &fingerprint, now)?;
        client::realms::pin(folder, &bundle, &fingerprint)?;
        trust.insert(bundle);
        Ok(())
    }

    /// Certifies the key of somebody who holds an invitation.
    pub fn join(&self, request: &JoinRequest, bundle: &[u8], gate: &Gatekeeper) -> Result<JoinReply, Problem> {
        let principal = Principal::new(self.realm().clone(), request.kind, request.name.clone());
        if request.kind == PrincipalKind::Service {
            return Err(Problem::new(Code::Invalid, "services are published, not invited"));
        }
        if !request.key.verify(&join_proof(&principal, &request.key), &request.proof) {
            return Err(Problem::new(Code::Denied, "the joining key did not sign the request"));
        }
        let now = self.world.clock.unix();
        {
            // Invitations are made by a command that runs beside this node, so the file is read each time.
            let _turn = self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Invitations::open(&self.invitations)?.redeem(&request.secret, &principal, now)?;
        }
        let chain = self.authority.issue(&principal, &request.key, now)?;
        gate.note(&AuditRecord::of_change(now, &principal, &principal.to_string(), "joined by invitation"))?;
        Ok(JoinReply {
            chain: chain.iter().map(|der| ByteBuf::from(der.to_vec())).collect(),
            bundle: bundle.to_vec(),
        })
    }

    /// Certifies the key of a service that is published here.
    pub fn service_identity(
        &self,
        service: &Principal,
        key: Option<trust::KeyPair>,
    ) -> Result<trust::Identity, Problem> {
        Ok(self.authority.issue_identity(service, key, self.world.clock.unix())?)
    }
}
