//! Transfer certificates as control messages: taking one in, and taking back what was lent. Who may take back what is
//! decided here: a link by its issuer; anything by the owners of the realm's first node.

use crate::feeds;
use crate::gatekeeper::Caller;
use crate::limits::{MAX_PURSE, MAX_PURSE_OF_ONE};
use crate::node::State;
use client::Purse;
use client::protocol::{NameServersReply, NameServersRequest, PurseRequest, RevokeReply, RevokeRequest};
use terms::{Code, Principal, Problem, TransferId};
use trust::{AuditRecord, Chain, Revoked};
use wire::Peer;

/// Takes something back.
pub async fn revoke(state: &State, caller: &Caller, request: RevokeRequest) -> Result<RevokeReply, Problem> {
    let peer = caller.for_itself()?.clone();
    let (source, registrar) = feeds::source(state)?;
    let (done, revoked) = match request {
        RevokeRequest::Chain(bytes) => {
            let (id, end) = own_link(state, &peer, &bytes)?;
            let link = Revoked::Link { issuer: peer.principal.clone(), id };
            (format!("the transfer certificate {id}"), vec![feeds::end_transfer(source, link, Some(end))?])
        }
        RevokeRequest::Transfer(id) => {
            must_be_owner(state, caller, &peer, &format!("the transfer certificate {id}"))?;
            (
                format!("the transfer certificate {id}"),
                vec![feeds::end_transfer(source, Revoked::Transfer { id }, None)?],
            )
        }
        RevokeRequest::Principal(principal) => {
            must_be_owner(state, caller, &peer, &principal.to_string())?;
            may_end(state, &principal)?;
            registrar.revoke(&principal)?;
            (format!("every certificate of {principal} so far"), vec![feeds::end_principal(source, &principal)?])
        }
        RevokeRequest::AllChains => {
            must_be_owner(state, caller, &peer, "every transfer certificate of the realm")?;
            source.change(|feed, now| {
                feed.raise_epoch(now);
                Ok(())
            })?;
            ("every transfer certificate of the realm so far".into(), Vec::<Revoked>::new())
        }
    };
    let now = state.world.clock.unix();
    state.gate.note(&AuditRecord::of_change(now, &peer.principal, &done, "revoked"))?;
    feeds::took_back(state, &revoked, revoked.is_empty()).await;
    feeds::sign_bundle_again(state, registrar);
    Ok(RevokeReply { done, epoch: state.client.trust().epoch(state.realm()) })
}

/// Changes who the realm's further name servers are. For the owners of its first node.
pub fn name_servers(
    state: &State,
    caller: &Caller,
    request: &NameServersRequest,
) -> Result<NameServersReply, Problem> {
    let peer = caller.for_itself()?.clone();
    let registrar = feeds::source(state)?.1;
    must_be_owner(state, caller, &peer, "the realm's name servers")?;
    let reply = registrar.change_name_servers(state.client.trust(), &state.as_name_server(), request)?;
    let now = state.world.clock.unix();
    state.gate.note(&AuditRecord::of_change(now, &peer.principal, "the realm's name servers", &reply.done))?;
    Ok(reply)
}

/// The last link of a chain, if the peer signed it.
fn own_link(state: &State, peer: &Peer, bytes: &[u8]) -> Result<(TransferId, terms::UnixMs), Problem> {
    let chain = Chain::decode(bytes)?;
    let link = trust::transfer::verify_last_signature(&chain, state.client.trust(), state.world.clock.unix())?;
    if link.issuer != peer.principal {
        let what = format!("the transfer certificate {} is from {}, not from you", link.id, link.issuer);
        return Err(Problem::new(Code::Denied, what));
    }
    if link.issuer.realm != *state.realm() {
        let what = format!("what principals of {} lent is taken back in their own realm", link.issuer.realm);
        return Err(Problem::new(Code::Invalid, what));
    }
    Ok((link.id, link.until))
}

fn must_be_owner(state: &State, caller: &Caller, peer: &Peer, resource: &str) -> Result<(), Problem> {
    if state.owners.contains(&peer.principal) {
        return Ok(());
    }
    let why = format!("{} is no owner of the realm's first node", peer.principal);
    let now = state.world.clock.unix();
    let mut record = AuditRecord::of_refusal(now, Some(caller.source()), resource, &why);
    record.peer = Some(peer.principal.clone());
    state.gate.note(&record)?;
    Err(Problem::new(Code::Denied, why).next("ask whoever runs it"))
}

/// Nobody locks the realm out of itself.
fn may_end(state: &State, principal: &Principal) -> Result<(), Problem> {
    if principal.realm != *state.realm() {
        let what = format!("{principal} belongs to another realm");
        return Err(Problem::new(Code::Invalid, what).next(format!(
            "take its rights here with `webos acl revoke`, or ask the owners of {}",
            principal.realm
        )));
    }
    if *principal == state.own.principal {
        let what =
            format!("{principal} is the realm's first node: without it nothing could be taken back any more");
        return Err(
            Problem::new(Code::Invalid, what).next("end every transfer certificate with `webos realm revoke-all`")
        );
    }
    Ok(())
}

/// Takes in a transfer certificate that is for this node, from whoever signed its last link.
pub fn take_in(state: &State, caller: &Caller, request: PurseRequest) -> Result<TransferId, Problem> {
    let peer = caller.for_itself()?;
    let chain = Chain::decode(&request.chain)?;
    let now = state.world.clock.unix();
    let verified = trust::transfer::verify(&chain, &state.own, state.client.trust(), now)?;
    let signer = verified.links().last().map(|link| link.link.issuer.clone());
    if signer.as_ref() != Some(&peer.principal) {
        return Err(Problem::new(Code::Denied, "a transfer certificate is taken from whoever signed it only"));
    }
    let purse = Purse::open(&state.settings.folder);
    purse.drop_ended(now);
    let held = purse.list()?;
    let of_peer = held.iter().filter(|kept| kept.last().issuer == peer.principal).count();
    if held.len() >= MAX_PURSE || of_peer >= MAX_PURSE_OF_ONE {
        let what =
            format!("{} holds {} transfer certificates, {of_peer} of them yours", state.own.principal, held.len());
        return Err(Problem::new(Code::Busy, what).next("wait until some have ended"));
    }
    purse.keep(&chain)?;
    let text = format!("took in the transfer certificate {} for {}", verified.id(), verified.subject());
    state.gate.note(&AuditRecord::of_change(now, &peer.principal, "purse", &text))?;
    Ok(verified.id())
}
