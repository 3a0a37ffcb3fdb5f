//! From what was typed to what is spoken to: the client of this folder, a volume at its home or at another node.

use super::Setup;
use crate::args::{FileAddress, NodeName};
use crate::output::Failure;
use client::{Client, Node, Volume};
use terms::{Code, Principal, Problem};

/// The client of this folder's principal.
pub fn client(setup: &Setup) -> Result<Client, Failure> {
    Ok(Client::open(setup.folder.clone(), setup.world.clone())?)
}

/// The volume that an address names: at the node of its URL or of `--from`, else at its home.
pub async fn volume(client: &Client, place: &FileAddress, from: Option<&NodeName>) -> Result<Volume, Problem> {
    let name = &place.location.volume;
    let node = match (from, &place.node) {
        (Some(from), _) => Some(node(client, &from.within(&name.realm)).await?),
        (None, Some(url)) => Some(match &url.address {
            Some(address) => client.node(&url.principal, address),
            None => node(client, &url.principal).await?,
        }),
        (None, None) => None,
    };
    match node {
        Some(node) => client.volume_at(name, &node).await,
        None => client.volume(name).await,
    }
}

/// A node by its principal: as the realm's first node knows it.
pub async fn node(client: &Client, principal: &Principal) -> Result<Node, Problem> {
    let servers = client.name_servers(&principal.realm)?;
    if let Some(server) = servers.iter().find(|server| server.principal == *principal) {
        return Ok(client.node(principal, &server.address));
    }
    let problem = Problem::new(Code::NotFound, format!("the address of {principal} is not known"));
    Err(problem.next("write its URL, https://NAME.server.REALM:PORT/VOLUME/path"))
}
