//! From what was typed to what is spoken to: the client of this folder, a volume at its home or at another node.

use super::{Setup, running, status};
use crate::args::{FileAddress, NodeName, Under, UrlNode};
use crate::output::Failure;
use client::{Client, Node, Volume};
use terms::{Code, Principal, Problem, RealmName};

/// The client of this folder's principal.
pub fn client(setup: &Setup) -> Result<Client, Failure> {
    let passphrase = setup.keyring.passphrase(&setup.folder)?;
    Ok(Client::unlock(setup.folder.clone(), passphrase.as_ref(), setup.world.clone())?)
}

/// The client of this folder's principal, or of whoever lent to it.
pub fn acting(setup: &Setup, lent: &Under) -> Result<Client, Failure> {
    let client = client(setup)?;
    let Some(id) = &lent.under else { return Ok(client) };
    let kept = client::Purse::open(&setup.folder).find(id)?;
    let own = client.require_identity()?;
    let last = kept.last();
    if last.audience != *own.principal() {
        let what =
            format!("the transfer certificate {} is for {}, not for {}", last.id, last.audience, own.principal());
        return Err(Problem::new(Code::Denied, what)
            .next("`webos transfer list` shows what was lent to you")
            .into());
    }
    Ok(client.holding(last.audience_key)?.under(&kept.chain)?)
}

/// The volume that an address names: at the node of its URL or of `--from`, else at its home.
pub async fn volume(client: &Client, place: &FileAddress, from: Option<&NodeName>) -> Result<Volume, Problem> {
    let name = &place.location.volume;
    let node = match (from, &place.node) {
        (Some(from), _) => Some(node(client, from, &name.realm)?),
        (None, Some(UrlNode { principal, address })) => Some(found(client, principal, address.as_deref())?),
        (None, None) => None,
    };
    match node {
        Some(node) => client.volume_at(name, &node).await,
        None => client.volume(name).await,
    }
}

/// The node that was named, in the realm of the files at hand.
pub fn node(client: &Client, name: &NodeName, realm: &RealmName) -> Result<Node, Problem> {
    found(client, &name.within(realm), name.address.as_deref())
}

/// A node where it was said to be, where its realm says it is, or where it runs under this folder.
fn found(client: &Client, principal: &Principal, address: Option<&str>) -> Result<Node, Problem> {
    if let Some(address) = address {
        return Ok(client.node(principal, address));
    }
    let servers = client.name_servers(&principal.realm)?;
    if let Some(server) = servers.iter().find(|server| server.principal == *principal) {
        return Ok(client.node(principal, &server.address));
    }
    let mut here = status::folders(client.folder()).into_iter().filter_map(|folder| running::look(&folder));
    if let Some(running) = here.find(|running| running.principal == *principal) {
        return Ok(client.node(principal, &running.address));
    }
    let problem = Problem::new(Code::NotFound, format!("where {principal} listens is not known here"));
    Err(problem.next(format!("write its address too: {}@HOST:PORT", principal.name)))
}
