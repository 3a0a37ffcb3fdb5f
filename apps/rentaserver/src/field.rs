//! The world as a load daemon reaches it: nodes, the serving group, the name server and its own state file, all
//! through one client that acts as the authority it runs on.

use crate::limits::MAX_STATE_BYTES;
use crate::model::{Failure, Now, Publication, SavedState, Server};
use crate::shell::{Field, Renewal};
use client::models::{BeatAnswer, BeatRequest, DrainRequest, RightToServe, StartAnswer, StartRequest};
use client::protocol::{GroupOrder, MemberTerm, StateUpdate};
use client::{Client, Node, PutOptions};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;
use terms::{Code, Epoch, GroupName, Location, Principal, Problem, ServiceName, Who};

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem.to_string())
    }
}

/// What was signed last, to be sent along with later calls.
#[derive(Default)]
struct Signed {
    table: Option<Vec<u8>>,
    rights: BTreeMap<Principal, (RightToServe, Vec<u8>)>,
}

/// A [`Field`] over a client. The client's identity must be an authority of the service.
pub struct ClientField {
    client: Client,
    /// The node that holds names, groups and candidates of the service's realm.
    first: Node,
    service: ServiceName,
    group: GroupName,
    /// Where the daemon keeps its state: a WebFS file.
    state: Location,
    certificate: RwLock<Vec<u8>>,
    signed: Mutex<Signed>,
}

impl ClientField {
    /// The field of a service with its signed certificate, its serving group and the daemon's state file.
    pub fn new(
        client: Client,
        service: ServiceName,
        certificate: Vec<u8>,
        group: GroupName,
        state: Location,
    ) -> Result<Self, Problem> {
        let first = client.first_node(&service.realm)?;
        let certificate = RwLock::new(certificate);
        Ok(Self { client, first, service, group, state, certificate, signed: Mutex::default() })
    }

    /// Starts servers under a newer certificate from now on.
    pub fn set_certificate(&self, certificate: Vec<u8>) {
        *self.certificate.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    fn node(&self, server: &Server) -> Node {
        self.client.node(&server.principal, &server.address)
    }

    fn signed(&self) -> std::sync::MutexGuard<'_, Signed> {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The signature of a right; one that was signed before is not signed again.
    fn sign_right(&self, right: &RightToServe) -> Result<Vec<u8>, Problem> {
        let mut signed = self.signed();
        if let Some((present, bytes)) = signed.rights.get(&right.server)
            && present == right
        {
            return Ok(bytes.clone());
        }
        let bytes = self.client.sign_right(right)?;
        signed.rights.insert(right.server.clone(), (right.clone(), bytes.clone()));
        Ok(bytes)
    }

    async fn member(&self, server: &Server, lasting: Option<Duration>) -> Result<(), Failure> {
        let now = self.client.world().clock.unix();
        let term = lasting.map_or(MemberTerm::Out, |lasting| MemberTerm::Until(now.plus(lasting)));
        let member = Who::Principal(server.principal.clone());
        Ok(self.first.change_group(&self.group, GroupOrder::Member { member, term }).await.map(drop)?)
    }
}

fn milliseconds(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

impl Field for ClientField {
    fn now(&self) -> Now {
        let clock = &self.client.world().clock;
        Now { boot: clock.boot(), unix: clock.unix() }
    }

    async fn load(&self) -> Result<Option<SavedState>, Failure> {
        let volume = self.client.volume(&self.state.volume).await?;
        match volume.read(&self.state.path, MAX_STATE_BYTES).await {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| Failure(format!("{}: {error}", self.state))),
            Err(problem) if problem.code == Code::NotFound => Ok(None),
            Err(problem) => Err(problem.into()),
        }
    }

    async fn save(&self, state: SavedState) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(&state).map_err(|error| Failure(error.to_string()))?;
        let volume = self.client.volume(&self.state.volume).await?;
        volume.put_bytes(&self.state.path, PutOptions::default(), bytes).await?;
        Ok(())
    }

    async fn offers(&self) -> Result<Vec<Server>, Failure> {
        let candidates = self.first.candidates(&self.service).await?;
        let lent = candidates.into_iter().filter(|candidate| !candidate.relay);
        Ok(lent
            .map(|candidate| Server {
                principal: candidate.principal,
                key: candidate.key,
                address: candidate.address,
                place: None,
                power: candidate.offer.power,
                price: candidate.offer.price,
            })
            .collect())
    }

    async fn publish(&self, publication: Publication) -> Result<(), Failure> {
        let table = self.client.sign_table(&publication.table)?;
        let mut rights = Vec::with_capacity(publication.rights.len());
        for right in &publication.rights {
            rights.push(self.sign_right(right)?.into());
        }
        {
            let mut signed = self.signed();
            let present = |server: &Principal| publication.rights.iter().any(|right| right.server == *server);
            signed.rights.retain(|server, _| present(server));
            signed.table = Some(table.clone());
        }
        let service = self.service.clone();
        Ok(self.first.update_state(&StateUpdate { service, table, rights }).await?)
    }

    async fn grant(&self, server: &Server, lasting: Duration) -> Result<(), Failure> {
        self.member(server, Some(lasting)).await
    }

    async fn remove(&self, server: &Server) -> Result<(), Failure> {
        self.member(server, None).await
    }

    async fn start(
        &self,
        server: &Server,
        epoch: Epoch,
        lease: Duration,
        right: RightToServe,
    ) -> Result<StartAnswer, Failure> {
        let right = self.sign_right(&right)?;
        let table = self.signed().table.clone().ok_or_else(|| Failure("no table was published yet".into()))?;
        let certificate = self.certificate.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (service, lease_ms) = (self.service.clone(), milliseconds(lease));
        let request = StartRequest { service, epoch, lease_ms, certificate, right, table };
        Ok(self.node(server).start(&request).await?)
    }

    async fn beat(&self, server: &Server, epoch: Epoch, renewal: Option<Renewal>) -> Result<BeatAnswer, Failure> {
        let right = match renewal.as_ref().and_then(|renewal| renewal.right.as_ref()) {
            Some(right) => Some(self.sign_right(right)?),
            None => None,
        };
        let request = BeatRequest {
            service: self.service.clone(),
            epoch,
            ticket: renewal.as_ref().map(|renewal| renewal.ticket),
            lease_ms: renewal.as_ref().map_or(0, |renewal| milliseconds(renewal.lease)),
            right,
            table: self.signed().table.clone(),
        };
        Ok(self.node(server).beat(&request).await?)
    }

    async fn drain(&self, server: &Server, epoch: Epoch, within: Duration) -> Result<BeatAnswer, Failure> {
        let request = DrainRequest { service: self.service.clone(), epoch, within_ms: milliseconds(within) };
        Ok(self.node(server).drain(&request).await?)
    }
}
