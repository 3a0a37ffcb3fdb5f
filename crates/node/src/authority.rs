//! The realm's authority on its first node: lets in who holds an invitation, renews the certificates of members, and
//! hands out the signed bundle. Who gets a renewal is `trust`'s rule; what was given is on disk before it is answered.

use crate::further::{Further, changed};
use crate::gatekeeper::Gatekeeper;
use client::Folder;
use client::protocol::{GraceProof, JoinReply, JoinRequest, RenewReply, RenewRequest};
use client::protocol::{NameServersReply, NameServersRequest};
use client::protocol::{grace_proof, join_proof, renew_proof};
use client::register::Register;
use rustls_pki_types::CertificateDer;
use serde_bytes::ByteBuf;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use terms::{Code, Epoch, Principal, PrincipalKind, Problem, RealmName, UnixMs};
use trust::limits::CLOCK_SKEW;
use trust::{
    AuditRecord, Authority, Bundle, Given, Identity, Invitations, LastRenewal, MemberState, NameServer,
    RealmMember, RenewalAsked, RenewalRefusal, RenewalVerdict, TrustStore, judge_renewal,
};
use wire::{Binding, Peer};
use world::World;

/// What tells one state of the authority's folder from another.
type Mark = (u64, i64, i64);

/// The authority of the node's own realm, if it holds it.
pub struct Registrar {
    world: World,
    folder: Folder,
    authority: RwLock<(Arc<Authority>, Mark)>,
    register: Register,
    further: Further,
    /// One change of the members at a time: an invitation is good for one, and a renewal is judged by what was given.
    turn: Mutex<()>,
}

/// Who asks for a renewal, and over what.
pub struct Renewer<'a> {
    /// The peer of the connection, if it showed a certificate.
    pub peer: Option<&'a Peer>,
    /// What binds a signature to the connection.
    pub binding: Option<&'a Binding>,
}

impl Registrar {
    /// The authority in a node's folder, if there is one.
    pub fn open(folder: &Folder, world: &World) -> Result<Option<Self>, Problem> {
        if !folder.authority().exists() {
            return Ok(None);
        }
        let mark = mark(folder)?;
        let authority = Arc::new(Authority::load(&folder.authority())?);
        Ok(Some(Self {
            world: world.clone(),
            folder: folder.clone(),
            authority: RwLock::new((authority, mark)),
            register: Register::new(folder),
            further: Further::new(folder),
            turn: Mutex::new(()),
        }))
    }

    fn authority(&self) -> Arc<Authority> {
        self.authority.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Takes what a command beside this node made of the authority. Answers whether there was anything.
    pub fn look(&self) -> Result<bool, Problem> {
        let mark = mark(&self.folder)?;
        if self.authority.read().unwrap_or_else(PoisonError::into_inner).1 == mark {
            return Ok(false);
        }
        let authority = Arc::new(Authority::load(&self.folder.authority())?);
        *self.authority.write().unwrap_or_else(PoisonError::into_inner) = (authority, mark);
        Ok(true)
    }

    /// The realm.
    pub fn realm(&self) -> RealmName {
        self.authority().realm().clone()
    }

    /// Signs the realm's bundle anew and pins it: this node comes first of its name servers, then the further ones. Its
    /// epoch is that of the feed, if that is later than the last bundle's.
    pub fn sign_bundle(&self, trust: &TrustStore, first: &NameServer) -> Result<(), Problem> {
        let _turn = self.take_turn();
        self.sign(trust, first, &self.further.load()?)
    }

    /// Signs the bundle anew if what was revoked concerns it: a name server, or the epoch. A cordoned server is named no more
    /// either.
    pub fn keep_up(&self, trust: &TrustStore, first: &NameServer) -> Result<(), Problem> {
        let _turn = self.take_turn();
        let (realm, mut further) = (self.realm(), self.further.load()?);
        let before = further.len();
        let stands =
            |server: &NameServer| matches!(self.standing(&server.principal), None | Some(MemberState::Active));
        further.retain(stands);
        if further.len() < before {
            self.further.put(&further)?;
        }
        let behind = trust.bundle(&realm).is_none_or(|bundle| bundle.epoch < trust.epoch(&realm));
        if further.len() < before || behind { self.sign(trust, first, &further) } else { Ok(()) }
    }

    /// Changes who the further name servers are, and signs the bundle anew. Answers what was done, and the list.
    pub fn change_name_servers(
        &self,
        trust: &TrustStore,
        first: &NameServer,
        request: &NameServersRequest,
    ) -> Result<NameServersReply, Problem> {
        let _turn = self.take_turn();
        let (further, done) = changed(self.further.load()?, first, request)?;
        if let NameServersRequest::Add(added) = request {
            self.must_be_active(&added.principal)?;
        }
        self.further.put(&further)?;
        self.sign(trust, first, &further)?;
        let name_servers = std::iter::once(first.clone()).chain(further).collect();
        Ok(NameServersReply { done, name_servers })
    }

    fn must_be_active(&self, principal: &Principal) -> Result<(), Problem> {
        let how = match self.register.member(principal)?.map(|member| member.standing) {
            Some(MemberState::Active) => return Ok(()),
            Some(MemberState::Cordoned(_)) => "is cordoned as a suspected clone",
            Some(MemberState::Revoked(_)) => "was revoked",
            None => "is no member of the realm",
        };
        Err(Problem::new(Code::Invalid, format!("{principal} {how}"))
            .next("`webos realm show` lists the members; `webos realm invite server NAME` invites one"))
    }

    fn sign(&self, trust: &TrustStore, first: &NameServer, further: &[NameServer]) -> Result<(), Problem> {
        let (now, authority) = (self.world.clock.unix(), self.authority());
        let last = trust.bundle(authority.realm());
        // Two bundles of one moment differ in their time, so that every reader sees which is newer. A time far ahead comes
        // from a clock that was wrong.
        let next = last.as_ref().map(|last| last.issued.plus(Duration::from_millis(1)));
        let issued = next.filter(|next| *next < now.plus(CLOCK_SKEW)).map_or(now, |next| next.max(now));
        let epoch = trust.epoch(authority.realm()).max(Epoch(1));
        let servers = std::iter::once(first).chain(further).cloned().collect();
        let bytes = authority.bundle(servers, epoch, issued)?;
        let bundle = Bundle::open(&bytes, &authority.fingerprint(), now)?;
        client::realms::pin(&self.folder, &bundle)?;
        trust.insert(bundle);
        Ok(())
    }

    fn take_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Certifies the key of somebody who holds an invitation.
    pub fn join(&self, request: &JoinRequest, bundle: &[u8], gate: &Gatekeeper) -> Result<JoinReply, Problem> {
        let principal = Principal::new(self.realm(), request.kind, request.name.clone());
        if request.kind == PrincipalKind::Service {
            return Err(Problem::new(Code::Invalid, "services are published, not invited"));
        }
        if !request.key.verify(&join_proof(&principal, &request.key), &request.proof) {
            return Err(Problem::new(Code::Denied, "the joining key did not sign the request"));
        }
        let now = self.world.clock.unix();
        let _turn = self.take_turn();
        // Invitations are made by a command that runs beside this node, so the file is read each time.
        let made = Invitations::open(&self.folder.invitations())?.redeem(&request.secret, &principal, now)?;
        if let Some(member) = self.register.member(&principal)? {
            member.may_join(made)?;
        }
        let chain = self.authority().issue(&principal, &request.key, now)?;
        self.register.put(&RealmMember::new(given(&chain)?))?;
        gate.note(&AuditRecord::of_change(now, &principal, &principal.to_string(), "joined by invitation"))?;
        Ok(JoinReply { chain: in_der(&chain), bundle: bundle.to_vec() })
    }

    /// Gives a member its next certificate, the same one for the same id. A certificate that was renewed under another
    /// id before shows that there are two of this member: then neither gets one.
    pub fn renew(
        &self,
        request: &RenewRequest,
        asking: &Renewer<'_>,
        trust: &TrustStore,
        gate: &Gatekeeper,
    ) -> Result<RenewReply, Problem> {
        let shown = self.shown(request, asking, trust)?;
        let principal = &shown.principal;
        if !request.key.verify(&renew_proof(principal, request.id, &request.key), &request.proof) {
            return Err(Problem::new(Code::Denied, "the key to certify did not sign the request"));
        }
        let now = self.world.clock.unix();
        let _turn = self.take_turn();
        let member = self.register.member(principal)?;
        let changed = (request.key.thumbprint() != shown.key).then_some(shown.key);
        let former = changed.or(member.as_ref().and_then(|member| member.former));
        let asked = RenewalAsked { shown: &shown, id: request.id, key: &request.key };
        let note = |what: &str| gate.note(&AuditRecord::of_change(now, principal, &principal.to_string(), what));
        let by_grace = match judge_renewal(member.as_ref(), &asked, now) {
            Ok(RenewalVerdict::Again(chain)) => return Ok(RenewReply { chain }),
            Ok(RenewalVerdict::Issue { by_grace }) => by_grace,
            Err(refusal) => {
                if let (RenewalRefusal::Cloned { .. }, Some(member)) = (&refusal, member) {
                    self.register.put(&RealmMember { standing: MemberState::Cordoned(now), ..member })?;
                    note("cordoned: its certificate was renewed under two ids, so it has a clone")?;
                }
                return Err(refusal.into());
            }
        };
        let chain = self.authority().issue(principal, &request.key, now)?;
        let renewal = Some(LastRenewal { id: request.id, chain: in_der(&chain) });
        self.register.put(&RealmMember { former, renewal, by_grace, ..RealmMember::new(given(&chain)?) })?;
        note(if by_grace { "renewed in grace, with a new key" } else { "renewed" })?;
        Ok(RenewReply { chain: in_der(&chain) })
    }

    /// The certificate that is to be renewed: what TLS showed, or an ended one whose key signed over this connection.
    fn shown(&self, request: &RenewRequest, asking: &Renewer<'_>, trust: &TrustStore) -> Result<Given, Problem> {
        let shown = match (asking.peer, &request.grace, asking.binding) {
            (Some(peer), None, _) => given(&peer.chain)?,
            (None, Some(proof), Some(binding)) => graced(request, proof, binding, trust)?,
            _ => {
                return Err(Problem::new(Code::Denied, "a renewal shows the present certificate")
                    .next("when it has ended, its key signs over the connection"));
            }
        };
        if shown.principal.realm != self.realm() || shown.principal.kind == PrincipalKind::Service {
            let what = format!("{} is not a member of {}", shown.principal, self.realm());
            return Err(Problem::new(Code::Denied, what).next("renew at the first node of its own realm"));
        }
        Ok(shown)
    }

    /// Renews this member no more, and lets it join only on an invitation made from now on. Services hold no invitation.
    pub fn revoke(&self, principal: &Principal) -> Result<(), Problem> {
        if principal.kind != PrincipalKind::Service {
            let _turn = self.take_turn();
            self.register.revoke(principal, self.world.clock.unix())?;
        }
        Ok(())
    }

    /// The same for a revocation that was forgotten and is known again. Whoever was certified after it stays a member.
    pub fn revoke_again(&self, principal: &Principal, issued_until: UnixMs) -> Result<(), Problem> {
        if principal.kind != PrincipalKind::Service {
            let _turn = self.take_turn();
            self.register.revoke_again(principal, issued_until)?;
        }
        Ok(())
    }

    /// How a member of the realm stands, if the register has it.
    pub fn standing(&self, principal: &Principal) -> Option<MemberState> {
        Some(self.register.member(principal).ok()??.standing)
    }

    /// Certifies this node's own key again, or a new one: it holds the authority.
    pub fn renew_own(&self, present: &Identity, new_key: bool) -> Result<Identity, Problem> {
        let _turn = self.take_turn();
        let key = (!new_key).then(|| present.key().clone());
        let renewed = self.authority().issue_identity(present.principal(), key, self.world.clock.unix())?;
        let renewed = renewed.kept_like(present);
        self.register.note(given(renewed.chain())?)?;
        client::renewal::succeed(&self.folder, present, &renewed, &self.world)?;
        Ok(renewed)
    }

    /// Whether this identity stands under another issuing certificate than the newest.
    pub fn has_moved_on(&self, identity: &Identity) -> bool {
        identity.chain().get(1).is_some_and(|issuing| issuing != self.authority().issuing())
    }

    /// Certifies the key of a service that is published here.
    pub fn service_identity(
        &self,
        service: &Principal,
        key: Option<trust::KeyPair>,
    ) -> Result<trust::Identity, Problem> {
        Ok(self.authority().issue_identity(service, key, self.world.clock.unix())?)
    }
}

/// Issuing certificates are replaced by renaming a file: another file is another authority.
fn mark(folder: &Folder) -> Result<Mark, Problem> {
    let file = folder.authority().join(Authority::ISSUING_FILE);
    let found = std::fs::metadata(&file).map_err(|error| {
        Problem::new(Code::Internal, format!("the authority's {} cannot be read: {error}", file.display()))
            .next("restore it from a copy: without it nobody can join the realm, and no certificate is renewed")
    })?;
    Ok((found.ino(), found.mtime(), found.mtime_nsec()))
}

fn given(chain: &[CertificateDer<'_>]) -> Result<Given, Problem> {
    let leaf = chain.first().ok_or_else(|| Problem::new(Code::Invalid, "there is no certificate"))?;
    Ok(Given::read(leaf)?)
}

fn in_der(chain: &[CertificateDer<'_>]) -> Vec<ByteBuf> {
    chain.iter().map(|der| ByteBuf::from(der.to_vec())).collect()
}

/// A certificate that has ended counts here as what it was at its end, if its key signed over this very connection.
fn graced(
    request: &RenewRequest,
    proof: &GraceProof,
    binding: &Binding,
    trust: &TrustStore,
) -> Result<Given, Problem> {
    let chain: Vec<_> = proof.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let (given, key) = Given::as_it_ended(&chain, trust)?;
    if !key.verify(&grace_proof(binding, request.id, &request.key), &proof.signature) {
        return Err(Problem::new(Code::Denied, "the ended certificate's key did not sign over this connection"));
    }
    Ok(given)
}
