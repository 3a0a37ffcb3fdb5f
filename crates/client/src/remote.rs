//! A node that one speaks to: control messages as CBOR, each answered or failed with a problem.

use crate::limits::MAX_ANSWER_BYTES;
use crate::models::{
    BEAT_ROUTE, BeatAnswer, BeatRequest, DRAIN_ROUTE, DrainRequest, LEND_ROUTE, LendReply, LendRequest,
    START_ROUTE, StartAnswer, StartRequest,
};
use crate::protocol::{
    ANNOUNCE_ROUTE, AclView, Announcement, Candidate, DUMP_ROUTE, DumpRequest, FEED_LOST_ROUTE, FeedOffer,
    FeedRecovered, GROUP_ROUTE, GROUPS_ROUTE, GroupLine, GroupMessage, GroupOrder, GroupReply, HOMES_ROUTE,
    HomeEntry, HomeRequest, MOVE_ROUTE, MoveReply, MoveRequest, NAME_SERVERS_ROUTE, NameServersReply,
    NameServersRequest, NodeStatus, PUBLISH_ROUTE, PURSE_ROUTE, PublishReply, PublishRequest, PurseRequest,
    REVOKE_ROUTE, RevokeReply, RevokeRequest, STATE_ROUTE, STATUS_ROUTE, StateUpdate, TOKEN_ROUTE, TokenReply,
    TokenRequest, UPKEEP_ROUTE, UpkeepReply, UpkeepRequest, WITNESS_ROUTE, WitnessReply, WitnessWord,
};
use crate::session::{Client, request};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use terms::{GroupName, Principal, Problem, ServiceName, TransferId};
use trust::Chain;
use wire::{Envelope, Expect, Purpose, Target};

/// A node at an address. Whoever answers there must be that node.
#[derive(Clone)]
pub struct Node {
    client: Client,
    principal: Principal,
    address: String,
}

impl Node {
    pub(crate) fn new(client: Client, principal: Principal, address: String) -> Self {
        Self { client, principal, address }
    }

    /// Which node.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Who speaks to it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where requests for a purpose go.
    pub fn target(&self, purpose: Purpose) -> Target {
        Target { address: self.address.clone(), expect: Expect::Principal(self.principal.clone()), purpose }
    }

    /// What for a request goes that brings and takes little: over the connection for messages if that alone is there,
    /// which spares a handshake, else over the one for content.
    pub(crate) fn for_little(&self) -> Purpose {
        let is_open = |purpose| self.client.pool().is_open(&self.target(purpose));
        if !is_open(Purpose::Bulk) && is_open(Purpose::Control) { Purpose::Control } else { Purpose::Bulk }
    }

    /// What for a message goes: the other way round.
    fn for_message(&self) -> Purpose {
        let is_open = |purpose| self.client.pool().is_open(&self.target(purpose));
        if !is_open(Purpose::Control) && is_open(Purpose::Bulk) { Purpose::Bulk } else { Purpose::Control }
    }

    /// Sends a request; an answer that is no success becomes its problem.
    pub(crate) async fn send(
        &self,
        purpose: Purpose,
        mut request: Request<wire::Body>,
    ) -> Result<Response<Incoming>, Problem> {
        if let Some(chain) = self.client.transfer() {
            request.headers_mut().entry(trust::transfer::HEADER).or_insert_with(|| chain.clone());
        }
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
        let answer = match self.client.pool().request(&self.target(purpose), request).await {
            Ok(answer) => answer,
            Err(error) => {
                let unknown = changes && !error.not_sent();
                let reason = Problem::from(error);
                let problem = Problem::new(reason.code, format!("{}: {}", self.principal, reason.detail));
                let problem = problem.next(match unknown {
                    true => "whether it was carried out is not known: look before you ask again",
                    false => "see that the node runs and is reachable from here",
                });
                return Err(self.client.behind(problem).await);
            }
        };
        let status = answer.status();
        if status.is_success() || status == http::StatusCode::NOT_MODIFIED {
            Ok(answer)
        } else {
            Err(wire::problem_from(answer).await)
        }
    }

    /// A GET answered with CBOR.
    pub async fn get<A: DeserializeOwned>(&self, route: &str) -> Result<A, Problem> {
        let answer = self
            .send(self.for_message(), request(Method::GET, &self.principal, route, wire::body::empty())?)
            .await?;
        wire::cbor::from_slice(&wire::read_body(answer.into_body(), MAX_ANSWER_BYTES).await?)
    }

    /// A POST of an envelope, answered with CBOR.
    pub async fn post<Q: Serialize, A: DeserializeOwned>(&self, route: &str, body: &Q) -> Result<A, Problem> {
        self.message(Method::POST, route, body, MAX_ANSWER_BYTES).await
    }

    /// The same with an answer of up to `limit` bytes.
    pub(crate) async fn post_bounded<Q: Serialize, A: DeserializeOwned>(
        &self,
        route: &str,
        body: &Q,
        limit: usize,
    ) -> Result<A, Problem> {
        self.message(Method::POST, route, body, limit).await
    }

    /// A PUT of an envelope, answered with CBOR.
    pub async fn put<Q: Serialize, A: DeserializeOwned>(&self, route: &str, body: &Q) -> Result<A, Problem> {
        self.message(Method::PUT, route, body, MAX_ANSWER_BYTES).await
    }

    async fn message<Q: Serialize, A: DeserializeOwned>(
        &self,
        method: Method,
        route: &str,
        body: &Q,
        limit: usize,
    ) -> Result<A, Problem> {
        let mut envelope = Envelope::new(body);
        envelope.op = Some(self.client.operation());
        let bytes = wire::cbor::to_vec(&envelope);
        let answer = self
            .send(self.for_message(), request(method, &self.principal, route, wire::body::full(bytes))?)
            .await?;
        wire::cbor::from_slice(&wire::read_body(answer.into_body(), limit).await?)
    }

    /// Takes something back, at the first node of the realm whose it is.
    pub async fn revoke(&self, what: &RevokeRequest) -> Result<RevokeReply, Problem> {
        self.post(REVOKE_ROUTE, what).await
    }

    /// Changes who the realm's further name servers are, at its first node. For its owners.
    pub async fn change_name_servers(&self, change: &NameServersRequest) -> Result<NameServersReply, Problem> {
        self.post(NAME_SERVERS_ROUTE, change).await
    }

    /// Gives the node a transfer certificate that is for it, and that this client signed.
    pub async fn give(&self, chain: &Chain) -> Result<TransferId, Problem> {
        self.post(PURSE_ROUTE, &PurseRequest { chain: chain.encode()? }).await
    }

    /// How the node stands.
    pub async fn status(&self) -> Result<NodeStatus, Problem> {
        self.get(STATUS_ROUTE).await
    }

    /// Lends the node, or takes the offer back. For its owner.
    pub async fn lend(&self, change: &LendRequest) -> Result<LendReply, Problem> {
        self.post(LEND_ROUTE, change).await
    }

    /// What the node lends.
    pub async fn offers(&self) -> Result<LendReply, Problem> {
        self.get(LEND_ROUTE).await
    }

    /// Has a volume checked or collected. For the node's owners.
    pub async fn upkeep(&self, request: &UpkeepRequest) -> Result<UpkeepReply, Problem> {
        self.post(UPKEEP_ROUTE, request).await
    }

    /// Tells the realm's first node about the home of a volume: for the homes themselves.
    pub async fn home(&self, request: &HomeRequest) -> Result<HomeEntry, Problem> {
        self.post(HOMES_ROUTE, request).await
    }

    /// A step of a volume's move.
    pub async fn move_step(&self, request: &MoveRequest) -> Result<MoveReply, Problem> {
        self.post(MOVE_ROUTE, request).await
    }

    /// The stream of a volume that has its home there.
    pub async fn dump(&self, what: &DumpRequest) -> Result<Response<Incoming>, Problem> {
        let bytes = wire::cbor::to_vec(&Envelope::new(what));
        let request = request(Method::POST, &self.principal, DUMP_ROUTE, wire::body::full(bytes))?;
        self.send(Purpose::Bulk, request).await
    }

    /// Publishes a folder as a service; the node must be the volume's home.
    pub async fn publish(&self, publication: &PublishRequest) -> Result<PublishReply, Problem> {
        self.post(PUBLISH_ROUTE, publication).await
    }

    /// Starts a service's server there. For the service's authorities.
    pub async fn start(&self, start: &StartRequest) -> Result<StartAnswer, Problem> {
        self.post(START_ROUTE, start).await
    }

    /// Asks for the load, and renews. For the service's authorities.
    pub async fn beat(&self, beat: &BeatRequest) -> Result<BeatAnswer, Problem> {
        self.post(BEAT_ROUTE, beat).await
    }

    /// Ends a service's server there. For the service's authorities.
    pub async fn drain(&self, drain: &DrainRequest) -> Result<BeatAnswer, Problem> {
        self.post(DRAIN_ROUTE, drain).await
    }

    /// Tells an authority of a service that this client's node is lent.
    pub async fn announce(&self, service: &ServiceName, word: &Announcement) -> Result<(), Problem> {
        self.post(&format!("{ANNOUNCE_ROUTE}/{}", service.name), word).await
    }

    /// The nodes that said so. For the service's authorities.
    pub async fn candidates(&self, service: &ServiceName) -> Result<Vec<Candidate>, Problem> {
        self.get(&format!("{ANNOUNCE_ROUTE}/{}", service.name)).await
    }

    /// Changes a group held there.
    pub async fn change_group(&self, group: &GroupName, order: GroupOrder) -> Result<GroupReply, Problem> {
        let message = GroupMessage { group: group.clone(), order };
        self.post(&format!("{GROUP_ROUTE}/{}", group.name), &message).await
    }

    /// The groups whose list is held there.
    pub async fn groups(&self) -> Result<Vec<GroupLine>, Problem> {
        self.get(GROUPS_ROUTE).await
    }

    /// Who may change a group held there.
    pub async fn group_acl(&self, group: &GroupName) -> Result<AclView, Problem> {
        self.get(&format!("{GROUP_ROUTE}/{}/acl", group.name)).await
    }

    /// The signed list of a group held there.
    pub async fn group(&self, group: &GroupName) -> Result<serde_bytes::ByteBuf, Problem> {
        self.get(&format!("{GROUP_ROUTE}/{}", group.name)).await
    }

    /// Gives the name server the newest signed table and rights of a service.
    pub async fn update_state(&self, update: &StateUpdate) -> Result<(), Problem> {
        self.post(STATE_ROUTE, update).await
    }

    /// Tells that node where this client's audit log ends.
    pub async fn testify(&self, word: &WitnessWord) -> Result<(), Problem> {
        self.post(WITNESS_ROUTE, word).await
    }

    /// Brings pages of its realm's feed back to a realm's first node.
    pub async fn offer_pages(&self, offer: &FeedOffer) -> Result<FeedRecovered, Problem> {
        self.post(FEED_LOST_ROUTE, offer).await
    }

    /// What that node keeps of this client's audit log.
    pub async fn witnessed(&self) -> Result<WitnessReply, Problem> {
        self.get(WITNESS_ROUTE).await
    }

    /// Makes or revokes a bearer token for files that live there.
    pub async fn token(&self, request: &TokenRequest) -> Result<TokenReply, Problem> {
        self.post(TOKEN_ROUTE, request).await
    }

    /// This client's tokens there.
    pub async fn tokens(&self) -> Result<Vec<trust::TokenInfo>, Problem> {
        self.get(TOKEN_ROUTE).await
    }
}
