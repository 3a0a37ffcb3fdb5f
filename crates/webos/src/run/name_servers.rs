//! `realm name-server`: which further servers answer for the realm, as its first node keeps the list.

use super::{Setup, reach};
use crate::args::NameServerCommand;
use crate::output::{Out, Outcome};
use client::Client;
use client::protocol::NameServersRequest;
use serde::Serialize;
use std::time::Duration;
use trust::NameServer;

/// How long a new name server may take to show that it is reachable from here.
const REACHED_WITHIN: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Changed {
    done: String,
    name_servers: Vec<Named>,
}

#[derive(Serialize)]
struct Named {
    node: String,
    address: String,
}

/// Has the first node of this principal's realm name a further server, or name it no more.
pub async fn change(setup: &Setup, out: &mut Out, change: &NameServerCommand) -> Outcome {
    let client = reach::client(setup)?;
    let own = client.require_identity()?;
    let realm = &own.principal().realm;
    let request = match change {
        NameServerCommand::Add { server, address } => {
            NameServersRequest::Add(NameServer { principal: server.within(realm), address: address.clone() })
        }
        NameServerCommand::Remove { server } => NameServersRequest::Remove(server.within(realm)),
    };
    let reply = client.first_node(realm)?.change_name_servers(&request).await?;
    if let NameServersRequest::Add(added) = &request {
        look(&client, out, added).await;
    }
    let named = |server: NameServer| Named { node: server.principal.to_string(), address: server.address };
    let changed = Changed { done: reply.done, name_servers: reply.name_servers.into_iter().map(named).collect() };
    out.result(&changed, |out, changed| {
        out.line(&changed.done)?;
        for server in &changed.name_servers {
            out.line(&format!("  name server  {} at {}", server.node, server.address))?;
        }
        Ok(())
    })
}

/// One that cannot be reached from here may still be from elsewhere, or run later: that is said, and no error.
async fn look(client: &Client, out: &Out, added: &NameServer) {
    let node = client.node(&added.principal, &added.address);
    let why = match tokio::time::timeout(REACHED_WITHIN, node.status()).await {
        Ok(Ok(_)) => return,
        Ok(Err(problem)) => problem.detail,
        Err(_) => "it does not answer in time".into(),
    };
    out.note(&format!("{} is not reached at {} from here: {why}", added.principal, added.address));
}
