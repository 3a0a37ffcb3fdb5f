//! `transfer`: lend some of one's rights to a server, see what was lent, take it back.

use super::{Setup, reach};
use crate::args::{CreateArgs, PlacedRights, TransferCommand};
use crate::output::{Failure, Out, Outcome, time, time_left};
use client::protocol::RevokeRequest;
use client::{Kept, Purse};
use serde::Serialize;
use terms::{Code, Principal, Problem, TransferId, UnixMs};
use trust::transfer::DEFAULT_LIFETIME;
use trust::{Chain, CreateTransfer, Grant, Link, TransferCertificate};

/// Characters of an id that lists show: enough to tell a purse's certificates apart.
const SHOWN_DIGITS: usize = 12;

/// Chooses among the commands.
pub async fn run(setup: &Setup, out: &mut Out, command: &TransferCommand) -> Outcome {
    match command {
        TransferCommand::Create(create) => self::create(setup, out, create).await,
        TransferCommand::List => list(setup, out),
        TransferCommand::Show { id } => show(setup, out, id),
        TransferCommand::Revoke { id } => revoke(setup, out, id).await,
    }
}

#[derive(Serialize)]
struct Shown {
    id: String,
    issuer: String,
    subject: String,
    audience: String,
    grants: Vec<String>,
    from_ms: UnixMs,
    until_ms: UnixMs,
    depth: u8,
}

impl From<&Link> for Shown {
    fn from(link: &Link) -> Self {
        Self {
            id: link.id.to_string(),
            issuer: link.issuer.to_string(),
            subject: link.subject.to_string(),
            audience: link.audience.to_string(),
            grants: link.grants.iter().map(Grant::to_string).collect(),
            from_ms: link.from,
            until_ms: link.until,
            depth: link.depth,
        }
    }
}

#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    link: Shown,
    given: bool,
}

/// Says what will be allowed, signs it, keeps it, and hands it over.
async fn create(setup: &Setup, out: &mut Out, arguments: &CreateArgs) -> Outcome {
    let client = reach::client(setup)?;
    let own = client.require_identity()?;
    let purse = Purse::open(&setup.folder);
    let parent = arguments.under.as_deref().map(|id| purse.find(id)).transpose()?;
    let node = reach::node(&client, &arguments.to, &own.principal().realm)?;
    let now = setup.world.clock.unix();
    // What is passed on ends with what it stands on: that is said before it is signed.
    let valid_for = match &parent {
        Some(parent) => {
            let left = parent.last().until.since(now);
            arguments.duration.map_or(left, |wanted| wanted.min(left))
        }
        None => arguments.duration.unwrap_or_else(|| DEFAULT_LIFETIME.min(own.not_after().since(now))),
    };
    let wanted = CreateTransfer {
        audience: node.principal().clone(),
        audience_key: node.status().await?.key,
        grants: arguments.grants.iter().map(|PlacedRights(grant)| grant.clone()).collect(),
        valid_for,
        depth: arguments.depth,
        epoch: client.present_epoch().await?,
    };
    words(&wanted, parent.as_ref()).lines().for_each(|line| out.note(line));
    if !arguments.yes && !out.ask("sign it?", "--yes")? {
        out.note("nothing was signed");
        return Err(Failure::Exit(1));
    }
    let chain = match &parent {
        Some(parent) => TransferCertificate::pass_on(&parent.chain, &own, wanted, &setup.world),
        None => TransferCertificate::create(&own, wanted, &setup.world),
    };
    let chain = chain.map_err(Problem::from)?;
    purse.keep(&chain)?;
    if !arguments.keep {
        node.give(&chain).await?;
    }
    let links = chain.links().map_err(Problem::from)?;
    let link =
        links.last().map(Shown::from).ok_or_else(|| Problem::new(Code::Internal, "the chain has no link"))?;
    let given = !arguments.keep;
    out.result(&Created { link, given }, |out, created| {
        out.line(&created.link.id)?;
        if !created.given {
            out.note("it was kept here: whoever is to use it needs it from you");
        }
        Ok(())
    })
}

/// What is about to be allowed, and in whose name.
fn words(wanted: &CreateTransfer, parent: Option<&Kept>) -> String {
    let text = wanted.to_string();
    match parent {
        None => text,
        Some(parent) => text.replacen("in your name", &format!("in the name of {}", parent.last().subject), 1),
    }
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    link: Shown,
    links: usize,
    usable_here: bool,
}

fn list(setup: &Setup, out: &mut Out) -> Outcome {
    let client = reach::client(setup)?;
    let own = client.require_identity()?.principal().clone();
    let now = setup.world.clock.unix();
    let kept = Purse::open(&setup.folder).list()?;
    let listed: Vec<_> = kept
        .iter()
        .filter(|kept| now < kept.last().until)
        .map(|kept| Listed {
            link: Shown::from(kept.last()),
            links: kept.links.len(),
            usable_here: kept.last().audience == own,
        })
        .collect();
    out.result(&listed, |out, listed| {
        if listed.is_empty() {
            return out.line("nothing is lent by you or to you; `webos transfer create` lends");
        }
        listed.iter().try_for_each(|listed| one_line(out, listed, now))
    })
}

fn one_line(out: &mut Out, listed: &Listed, now: UnixMs) -> Outcome {
    let link = &listed.link;
    let id = link.id.get(..SHOWN_DIGITS).unwrap_or(&link.id);
    let left = time_left(now, link.until_ms);
    let what = link.grants.join("; ");
    let who = if listed.usable_here {
        format!("to you for {}", link.subject)
    } else {
        format!("to {} for {}", link.audience, link.subject)
    };
    let text = format!("{id}  {who}: {what} ({left})");
    let text = out.name(&text).into_owned();
    out.line(&text)
}

fn show(setup: &Setup, out: &mut Out, id: &str) -> Outcome {
    let kept = Purse::open(&setup.folder).find(id)?;
    let now = setup.world.clock.unix();
    let links: Vec<_> = kept.links.iter().map(Shown::from).collect();
    out.result(&links, |out, links| {
        links.iter().enumerate().try_for_each(|(index, link)| one_link(out, index, link, now))
    })
}

fn one_link(out: &mut Out, index: usize, link: &Shown, now: UnixMs) -> Outcome {
    out.line(&format!("link {}  {}", index + 1, link.id))?;
    out.line(&format!("  from     {}", link.issuer))?;
    out.line(&format!("  for      {}", link.subject))?;
    out.line(&format!("  to       {}", link.audience))?;
    for grant in &link.grants {
        let grant = out.name(grant).into_owned();
        out.line(&format!("  allows   {grant}"))?;
    }
    out.line(&format!("  valid    {}, until {}", time_left(now, link.until_ms), time(link.until_ms)))?;
    match link.depth {
        0 => out.line("  further  may not be passed on"),
        depth => out.line(&format!("  further  over at most {depth} servers")),
    }
}

/// Takes back the part of a chain that this principal signed.
async fn revoke(setup: &Setup, out: &mut Out, id: &str) -> Outcome {
    let client = reach::client(setup)?;
    let own = client.require_identity()?.principal().clone();
    let purse = Purse::open(&setup.folder);
    let (request, kept) = match (purse.find(id), id.parse::<TransferId>()) {
        (Ok(kept), _) => {
            let part = signed_by(&kept, &own)?.encode().map_err(Problem::from)?;
            (RevokeRequest::Chain(part.into()), Some(kept))
        }
        (Err(_), Ok(id)) => (RevokeRequest::Transfer(id), None),
        (Err(problem), Err(_)) => return Err(problem.into()),
    };
    super::revoke::send(&client, out, &request).await?;
    kept.map_or(Ok(()), |kept| Ok(purse.remove(kept.last().id)?))
}

/// The chain up to the last link that this principal signed.
fn signed_by(kept: &Kept, own: &Principal) -> Result<Chain, Problem> {
    let own_link = kept.links.iter().rposition(|link| link.issuer == *own);
    let own_link = own_link.ok_or_else(|| {
        let what = format!("you signed no link of the transfer certificate {}", kept.last().id);
        Problem::new(Code::Denied, what).next("only who lent something takes it back")
    })?;
    Ok(kept.chain.up_to(own_link + 1))
}
