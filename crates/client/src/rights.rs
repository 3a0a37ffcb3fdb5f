//! Rights at a volume: its access lists, and reading through a node under a transfer certificate.

use crate::files::{Download, Volume, download};
use crate::protocol::{ACL_ROUTE, AclChange, AclView, VIA_ROUTE, ViaRequest};
use crate::remote::Node;
use crate::session::{Client, request};
use http::{HeaderValue, Method};
use std::time::Duration;
use terms::{Code, Epoch, Location, Problem, Right, Rights, VolumePath};
use trust::{Chain, CreateTransfer, Grant, TransferCertificate};
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
}

impl Client {
    /// Reads a file through a node that acts for this client: under a one-link transfer certificate for exactly
    /// this file, reading, five minutes, not to be passed on.
    pub async fn read_via(&self, node: &Node, location: &Location) -> Result<Download, Problem> {
        let chain = self.transfer_for(node, location).await?;
        self.read_under(node, location, &chain.encode()?).await
    }

    /// The certificate of [`Client::read_via`].
    pub async fn transfer_for(&self, node: &Node, location: &Location) -> Result<Chain, Problem> {
        let status = node.status().await?;
        let grant = Grant { location: location.clone(), exact: true, rights: Rights::of(&[Right::Read]) };
        let identity = self.require_identity()?;
        let epoch = self.trust().bundle(&identity.principal().realm).map_or(Epoch(0), |bundle| bundle.epoch);
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
