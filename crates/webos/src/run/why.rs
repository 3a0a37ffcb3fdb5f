//! `why`: whether somebody may do something, on what ground, and what would change that. The place itself answers.

use super::{Setup, group, reach};
use crate::args::{Listed, Why};
use crate::output::{Out, Outcome};
use client::protocol::{WhyReply, WhyRequest};
use serde::Serialize;
use terms::{Code, Problem, RealmName, Who};

#[derive(Serialize)]
struct Shown {
    granted: bool,
    reason: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    way: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<String>,
    changes: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

/// Asks the place.
pub async fn run(setup: &Setup, out: &mut Out, why: &Why) -> Outcome {
    let client = reach::client(setup)?;
    let reply = match &why.place {
        Listed::File(place) => {
            let volume = reach::volume(&client, place, None).await?;
            volume.why(&place.location.path, &request(why, &place.location.volume.realm)?).await?
        }
        Listed::Group(name) => {
            let (group, home) = group::held(&client, name)?;
            home.why_group(&group, &request(why, &group.realm)?).await?
        }
        Listed::Service(service) => {
            let home = client.first_node(&service.realm)?;
            home.why_service(service, &request(why, &service.realm)?).await?
        }
    };
    print(out, &reply)
}

fn request(why: &Why, realm: &RealmName) -> Result<WhyRequest, Problem> {
    let who = why.who.within(realm).map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
    match who {
        Who::Anyone => Ok(WhyRequest::new(None, why.right)),
        Who::Principal(principal) => Ok(WhyRequest::new(Some(principal), why.right)),
        Who::Authenticated | Who::Group(_) => {
            Err(Problem::new(Code::Invalid, format!("{who} never asks for anything itself"))
                .next("name anyone, a user, a server or a service"))
        }
    }
}

fn print(out: &mut Out, reply: &WhyReply) -> Outcome {
    let line =
        |change: &client::protocol::WhyChange| Line { what: change.what.clone(), command: change.command.clone() };
    let shown = Shown {
        granted: reply.granted,
        reason: reply.reason.clone(),
        way: reply.way.iter().map(ToString::to_string).collect(),
        also: reply.also.iter().map(ToString::to_string).collect(),
        changes: reply.changes.iter().map(line).collect(),
    };
    out.result(&shown, |out, shown| {
        out.line(&format!("{}: {}", if shown.granted { "yes" } else { "no" }, shown.reason))?;
        if shown.way.len() > 1 {
            out.line(&format!("through {}", shown.way.join(", in which is ")))?;
        }
        if !shown.also.is_empty() {
            out.line(&format!("it is given to {} as well", shown.also.join(" and ")))?;
        }
        let answer = if shown.granted { "no" } else { "yes" };
        for (index, line) in shown.changes.iter().enumerate() {
            let begin = match (index, shown.also.is_empty()) {
                (0, _) => format!("it becomes {answer} when"),
                (_, true) => "or when".to_string(),
                (_, false) => "and, or else it stays, when".to_string(),
            };
            out.line(&format!("{begin} {}", line.what))?;
            if let Some(command) = &line.command {
                out.line(&format!("    {command}"))?;
            }
        }
        Ok(())
    })
}
