//! `token`: bearer tokens for plain HTTP programs, made at the home of the files that they are for.

use super::{Setup, reach};
use crate::args::{FileAddress, TokenCommand, TokenCreate};
use crate::output::{Out, Outcome, plural, time, time_left};
use client::protocol::TokenRequest;
use client::{Client, Node};
use serde::Serialize;
use terms::{Code, Problem, UnixMs};
use trust::{Grant, TokenGrant, TokenInfo};

/// Chooses among the commands.
pub async fn run(setup: &Setup, out: &mut Out, command: &TokenCommand) -> Outcome {
    match command {
        TokenCommand::Create(arguments) => create(setup, out, arguments).await,
        TokenCommand::List(arguments) => {
            let client = reach::client(setup)?;
            let tokens = home(&client, &arguments.place).await?.tokens().await?;
            list(setup, out, tokens)
        }
        TokenCommand::Revoke(arguments) => {
            let client = reach::client(setup)?;
            let request = TokenRequest::Revoke { id: arguments.id.clone() };
            let ended = home(&client, &arguments.place).await?.token(&request).await?;
            out.result(&ended.info, |out, info| out.line(&format!("the token {} is worthless now", info.id)))
        }
    }
}

/// The home of a volume: tokens are for it alone.
async fn home(client: &Client, place: &FileAddress) -> Result<Node, Problem> {
    let record = client.volume_record(&place.location.volume).await?;
    Ok(client.node(&record.home, &record.address))
}

#[derive(Serialize)]
struct Made<'a> {
    /// The only time that it is told.
    token: &'a str,
    #[serde(flatten)]
    info: &'a TokenInfo,
    /// Where plain HTTP programs find the first of the files.
    url: String,
}

async fn create(setup: &Setup, out: &mut Out, arguments: &TokenCreate) -> Outcome {
    let first = arguments.grants.first();
    let first = first.ok_or_else(|| Problem::new(Code::Invalid, "a token must give something"))?;
    let client = reach::client(setup)?;
    client.require_identity()?;
    let node = home(&client, &first.place).await?;
    for grant in &arguments.grants[1..] {
        let other = home(&client, &grant.place).await?;
        if other.principal() != node.principal() {
            let what = format!(
                "{} lives at {}, and {} at {}: a token is for one home",
                first.place.location,
                node.principal(),
                grant.place.location,
                other.principal()
            );
            return Err(Problem::new(Code::Invalid, what).next("make one token for each home").into());
        }
    }
    let grants = arguments.grants.iter().map(|grant| TokenGrant {
        location: grant.place.location.clone(),
        exact: arguments.exact,
        rights: grant.rights,
    });
    let valid_ms = u64::try_from(arguments.duration.as_millis()).unwrap_or(u64::MAX);
    let made = node.token(&TokenRequest::Mint { grants: grants.collect(), valid_ms }).await?;
    let token = made.token.ok_or_else(|| Problem::new(Code::Internal, "the home made no token"))?;
    let port = node.address().rsplit(':').next().unwrap_or_default();
    let url = format!(
        "https://{}:{port}/{}/{}",
        node.principal().dns_twin(),
        first.place.location.volume,
        first.place.location.path.to_url()
    );
    let now = setup.world.clock.unix();
    out.result(&Made { token: &token, info: &made.info, url }, |out, made| {
        out.note(&format!("whoever has this token may, at {} only, {}:", node.principal(), left(made.info, now)));
        made.info.grants.iter().cloned().for_each(|grant| out.note(&format!("  {}", Grant::from(grant))));
        out.note(&format!("it is shown this once; send it over TLS as a Bearer or Basic password to {}", made.url));
        out.line(made.token)
    })
}

fn left(info: &TokenInfo, now: UnixMs) -> String {
    format!("{}, until {}", time_left(now, info.until), time(info.until))
}

#[derive(Serialize)]
struct Listed {
    tokens: Vec<TokenInfo>,
}

fn list(setup: &Setup, out: &mut Out, tokens: Vec<TokenInfo>) -> Outcome {
    let now = setup.world.clock.unix();
    out.result(&Listed { tokens }, |out, listed| {
        if listed.tokens.is_empty() {
            return out.line("you have no token there; `webos token create` makes one");
        }
        for info in &listed.tokens {
            out.line(&format!("{}  {}, {}", info.id, left(info, now), plural(info.grants.len() as u64, "grant")))?;
            for grant in info.grants.iter().cloned() {
                out.line(&format!("  {}", Grant::from(grant)))?;
            }
        }
        Ok(())
    })
}
