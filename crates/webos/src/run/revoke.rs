//! Taking back at the realm's first node: a transfer certificate, a principal, every chain.

use super::{Setup, reach};
use crate::args::RevokePrincipal;
use crate::output::{Failure, Out, Outcome};
use client::Client;
use client::protocol::RevokeRequest;
use serde::Serialize;
use terms::{Code, Problem, Who};

#[derive(Serialize)]
struct Revoked {
    revoked: String,
    realm: String,
    epoch: terms::Epoch,
}

/// Has the first node of this principal's realm take something back, and says what.
pub async fn send(client: &Client, out: &mut Out, request: &RevokeRequest) -> Outcome {
    let own = client.require_identity()?;
    let realm = &own.principal().realm;
    let reply = client.first_node(realm)?.revoke(request).await?;
    let revoked = Revoked { revoked: reply.done, realm: realm.to_string(), epoch: reply.epoch };
    out.result(&revoked, |out, revoked| out.line(&format!("revoked {}", revoked.revoked)))
}

/// Ends every certificate of a principal.
pub async fn principal(setup: &Setup, out: &mut Out, wanted: &RevokePrincipal) -> Outcome {
    let client = reach::client(setup)?;
    let own = client.require_identity()?;
    let realm = &own.principal().realm;
    let who = wanted.who.within(realm).map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
    let Who::Principal(principal) = who else {
        let problem = Problem::new(Code::Invalid, format!("{who} has no certificates"));
        return Err(problem.next("name a user or a server; `webos acl revoke` takes rights from others").into());
    };
    let what =
        format!("every certificate of {principal} ends, with its connections and leases and whatever it lent");
    consent(out, &what, wanted.yes)?;
    send(&client, out, &RevokeRequest::Principal(principal)).await
}

/// Ends every chain of the realm.
pub async fn all_chains(setup: &Setup, out: &mut Out, yes: bool) -> Outcome {
    let client = reach::client(setup)?;
    let own = client.require_identity()?;
    let realm = &own.principal().realm;
    consent(out, &format!("every transfer certificate that principals of {realm} signed until now ends"), yes)?;
    send(&client, out, &RevokeRequest::AllChains).await
}

fn consent(out: &Out, what: &str, yes: bool) -> Result<(), Failure> {
    if yes || out.ask(&format!("{what}; go on?"), "--yes")? {
        return Ok(());
    }
    out.note("nothing was revoked");
    Err(Failure::Exit(1))
}
