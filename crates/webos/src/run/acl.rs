//! `acl`: who may do what, and changes of it.

use super::{Setup, reach};
use crate::args::{AclCommand, AclEdit, FileAddress};
use crate::output::{Failure, Out, Outcome};
use client::protocol::{AclChange, AclView};
use serde::Serialize;
use terms::{Code, Location, Problem, Right, Rights, Who};

#[derive(Serialize)]
struct Shown {
    location: String,
    bucket: String,
    entries: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    who: String,
    rights: String,
}

/// Chooses among the commands.
pub async fn run(setup: &Setup, out: &mut Out, command: &AclCommand) -> Outcome {
    match command {
        AclCommand::Show { place } => show(setup, out, place).await,
        AclCommand::Grant(edit) => change(setup, out, edit, true).await,
        AclCommand::Revoke(edit) => change(setup, out, edit, false).await,
    }
}

async fn show(setup: &Setup, out: &mut Out, place: &FileAddress) -> Outcome {
    let client = reach::client(setup)?;
    let volume = reach::volume(&client, place, None).await?;
    let view = volume.acl(&place.location.path).await?;
    print(out, &place.location, &view)
}

async fn change(setup: &Setup, out: &mut Out, edit: &AclEdit, grant: bool) -> Outcome {
    let location = &edit.place.location;
    let who = edit.who.within(&location.volume.realm);
    let who = who.map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
    if grant && who == Who::Anyone {
        consent(out, edit, location)?;
    }
    let client = reach::client(setup)?;
    let volume = reach::volume(&client, &edit.place, None).await?;
    let change = AclChange { who, rights: edit.rights, grant, recursive: edit.recursive };
    let view = volume.change_acl(&location.path, &change).await?;
    print(out, location, &view)
}

/// Rights for everybody are asked about, and only some can be given at all.
fn consent(out: &Out, edit: &AclEdit, location: &Location) -> Result<(), Failure> {
    if !Rights::of(&[Right::Read, Right::Execute]).covers(edit.rights) {
        let problem = Problem::new(Code::Invalid, format!("anyone can hold only r and x, not {}", edit.rights));
        return Err(problem.next("give the other rights to users or groups by name").into());
    }
    let below = if edit.recursive { " and everything below it" } else { "" };
    let question =
        format!("everybody, also without a certificate, will hold {} on {location}{below};", edit.rights);
    if edit.yes || out.ask(&format!("{question} go on?"), "--yes")? {
        return Ok(());
    }
    out.note("nothing was changed");
    Err(Failure::Exit(1))
}

fn print(out: &mut Out, location: &Location, view: &AclView) -> Outcome {
    let line = |(who, rights): &(Who, Rights)| Line { who: who.to_string(), rights: rights.to_string() };
    let shown = Shown {
        location: location.to_string(),
        bucket: view.bucket.to_string(),
        entries: view.entries.iter().map(line).collect(),
    };
    out.result(&shown, |out, shown| {
        if shown.entries.is_empty() {
            return out.line("nobody holds any right");
        }
        shown.entries.iter().try_for_each(|line| out.line(&format!("{:<10} {}", line.rights, line.who)))
    })
}
