//! Rights at a volume: its access lists, and reading through a node under a transfer certificate.

use crate::files::{Download, Volume, download};
use crate::protocol::{
    ACL_ROUTE, AclChange, AclSet, AclView, VIA_ROUTE, ViaRequest, WHY_ROUTE, WhyReply, WhyRequest,
};
use crate::remote::Node;
use crate::session::{Client, request};
use http::{HeaderValue, Method};
use std::time::Duration;
use terms::{Code, GroupName, Location, Problem, Right, Rights, ServiceName, VolumePath};
use trust::{Chain, CreateTransfer, Grant, SignedList, TransferCertificate};
use wire::{Envelope, Purpose};

/// How long a transfer certificate for one read holds.
const READ_FOR: Duration = Duration::from_secs(300);

impl Volume {
    fn acl_route(&self, path: &VolumePath) -> String {
        format!("{ACL_ROUTE}/{}/{}", self.name(), path.to_url())
    }

    /// Who may do what there.
    pub async fn acl(&self, path: &VolumePath) -> Result<AclView, Problem> {
        self.node().get(&self.acl_route(path)).await
    }

    /// Grants or revokes, and answers with the list that is in force then.
    pub async fn change_acl(&self, path: &VolumePath, change: &AclChange) -> Result<AclView, Problem> {
        self.node().post(&self.acl_route(path), change).await
    }

    /// Whether somebody has a right there, why, and what would change that.
    pub async fn why(&self, path: &VolumePath, request: &WhyRequest) -> Result<WhyReply, Problem> {
        self.node().post(&format!("{WHY_ROUTE}/{}/{}", self.name(), path.to_url()), request).await
    }

    /// Puts a list in place of the one that is there, and answers with it.
    pub async fn set_acl(&self, path: &VolumePath, list: &AclSet) -> Result<AclView, Problem> {
        self.node().put(&self.acl_route(path), list).await
    }
}

impl Node {
    /// The same about a group held there.
    pub async fn why_group(&self, group: &GroupName, request: &WhyRequest) -> Result<WhyReply, Problem> {
        self.post(&format!("{WHY_ROUTE}/group/{}", group.name), request).await
    }

    /// The same about a service published there.
    pub async fn why_service(&self, service: &ServiceName, request: &WhyRequest) -> Result<WhyReply, Problem> {
        self.post(&format!("{WHY_ROUTE}/service/{}", service.name), request).await
    }
}

impl Client {
    /// The list of a group, as the home of its realm's groups signed it now.
    pub async fn group_list(&self, group: &GroupName) -> Result<SignedList, Problem> {
        let home = self.first_node(&group.realm)?;
        let bytes = home.group(group).await?;
        Ok(SignedList::open(&bytes, group, home.principal(), self.trust(), self.world().clock.unix())?)
    }

    /// Reads a file through a node that acts for this client: under a one-link transfer certificate for exactly
    /// this file, reading, five minutes, not to be passed on.
    pub async fn read_via(&self, node: &Node, location: &Location) -> Result<Download, Problem> {
        let chain = self.transfer_for(node, location).await?;
        self.read_under(node, location, &chain.encode()?).await
    }

    /// The certificate of [`Client::read_via`].
    pub async fn transfer_for(&self, node: &Node, location: &Location) -> Result<Chain, Problem> {
        let status = node.status().await?;
        let grant = Grant::exactly(location.clone(), Rights::of(&[Right::Read]));
        let identity = self.require_identity()?;
        let epoch = self.present_epoch().await?;
        let what = CreateTransfer {
            audience: node.principal().clone(),
            audience_key: status.key,
            grants: vec![grant],
            valid_for: READ_FOR,
            depth: 0,
            epoch,
        };
        Ok(TransferCertificate::create(&identity, what, self.world())?)
    }

    /// Reads through a node under an encoded chain, whatever it is worth.
    pub async fn read_under(&self, node: &Node, location: &Location, chain: &[u8]) -> Result<Download, Problem> {
        use base64::Engine as _;
        let body = wire::cbor::to_vec(&Envelope::new(ViaRequest { location: location.clone() }));
        let mut request = request(Method::POST, node.principal(), VIA_ROUTE, wire::body::full(body))?;
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(chain);
        let text =
            HeaderValue::from_str(&text).map_err(|_| Problem::new(Code::Invalid, "the chain is not encodable"))?;
        request.headers_mut().insert(trust::transfer::HEADER, text);
        download(node.send(Purpose::Bulk, request).await?)
    }
}
