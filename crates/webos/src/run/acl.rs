//! `acl`: who may do what, and changes of it, for files and for groups.

use super::{Setup, group, reach};
use crate::args::{AclCommand, AclCopy, AclEdit, FileAddress, Listed};
use crate::output::{Failure, Out, Outcome};
use client::Client;
use client::protocol::{AclChange, AclSet, AclView, GroupOrder};
use serde::Serialize;
use terms::{Code, GroupName, Problem, RealmName, Right, Rights, ServiceName, Who};

#[derive(Serialize)]
struct Shown {
    location: String,
    bucket: String,
    entries: Vec<Line>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Line {
    who: String,
    rights: String,
}

/// Chooses among the commands.
pub async fn run(setup: &Setup, out: &mut Out, command: &AclCommand) -> Outcome {
    let client = reach::client(setup)?;
    match command {
        AclCommand::Show { place } => show(&client, out, place).await,
        AclCommand::Grant(edit) => change(&client, out, edit, true).await,
        AclCommand::Revoke(edit) => change(&client, out, edit, false).await,
        AclCommand::Copy(copy) => self::copy(&client, out, copy).await,
    }
}

async fn show(client: &Client, out: &mut Out, place: &Listed) -> Outcome {
    match place {
        Listed::File(place) => {
            let volume = reach::volume(client, place, None).await?;
            let view = volume.acl(&place.location.path).await?;
            print(out, &place.location.to_string(), &view)
        }
        Listed::Group(name) => {
            let (group, home) = group::held(client, name)?;
            print(out, &group.to_string(), &home.group_acl(&group).await?)
        }
        Listed::Service(service) => Err(published(service)),
    }
}

/// A service's list is what its certificate says.
fn published(service: &ServiceName) -> Failure {
    Problem::new(Code::Unsupported, format!("the access list of {service} is part of its certificate"))
        .next("`webos service show` prints it, `webos service publish` changes it")
        .into()
}

async fn change(client: &Client, out: &mut Out, edit: &AclEdit, grant: bool) -> Outcome {
    match &edit.place {
        Listed::File(place) => change_file(client, out, edit, place, grant).await,
        Listed::Group(name) => {
            let (group, home) = group::held(client, name)?;
            let who = who(edit, &group.realm)?;
            if grant && who == Who::Anyone {
                return Err(nothing_for_anyone(&group));
            }
            let reply = home.change_group(&group, GroupOrder::List { who, rights: edit.rights, grant }).await?;
            let missing = || Problem::new(Code::Internal, format!("the home of {group} did not show the new list"));
            print(out, &group.to_string(), &reply.list.ok_or_else(missing)?)
        }
        Listed::Service(service) => Err(published(service)),
    }
}

fn nothing_for_anyone(group: &GroupName) -> Failure {
    Problem::new(Code::Invalid, format!("anyone can hold no right that counts on {group}"))
        .next("give the right a to users or groups by name")
        .into()
}

fn who(edit: &AclEdit, realm: &RealmName) -> Result<Who, Problem> {
    edit.who.within(realm).map_err(|error| Problem::new(Code::Invalid, error.to_string()))
}

async fn change_file(client: &Client, out: &mut Out, edit: &AclEdit, place: &FileAddress, grant: bool) -> Outcome {
    let location = &place.location;
    let who = who(edit, &location.volume.realm)?;
    if grant && who == Who::Anyone {
        consent(out, edit.rights, &below(location, edit.recursive), edit.yes)?;
    }
    let volume = reach::volume(client, place, None).await?;
    let change = AclChange { who, rights: edit.rights, grant, recursive: edit.recursive };
    let view = volume.change_acl(&location.path, &change).await?;
    print(out, &location.to_string(), &view)
}

async fn copy(client: &Client, out: &mut Out, copy: &AclCopy) -> Outcome {
    let (from, to) = (&copy.from.location, &copy.to.location);
    let entries = reach::volume(client, &copy.from, None).await?.acl(&from.path).await?.entries;
    if let Some((_, rights)) = entries.iter().find(|(who, _)| *who == Who::Anyone) {
        consent(out, *rights, &below(to, copy.recursive), copy.yes)?;
    }
    let volume = reach::volume(client, &copy.to, None).await?;
    let view = volume.set_acl(&to.path, &AclSet { entries, recursive: copy.recursive }).await?;
    print(out, &to.to_string(), &view)
}

fn below(location: &terms::Location, recursive: bool) -> String {
    if recursive { format!("{location} and everything below it") } else { location.to_string() }
}

/// Rights for everybody are asked about, and only some can be given at all.
fn consent(out: &Out, rights: Rights, place: &str, yes: bool) -> Result<(), Failure> {
    if !Rights::of(&[Right::Read, Right::Execute]).covers(rights) {
        let problem = Problem::new(Code::Invalid, format!("anyone can hold only r and x, not {rights}"));
        return Err(problem.next("give the other rights to users or groups by name").into());
    }
    let question = format!("everybody, also without a certificate, will hold {rights} on {place};");
    if yes || out.ask(&format!("{question} go on?"), "--yes")? {
        return Ok(());
    }
    out.note("nothing was changed");
    Err(Failure::Exit(1))
}

fn print(out: &mut Out, place: &str, view: &AclView) -> Outcome {
    for note in &view.notes {
        out.note(note);
    }
    let line = |(who, rights): &(Who, Rights)| Line { who: who.to_string(), rights: rights.to_string() };
    let shown = Shown {
        location: place.to_string(),
        bucket: view.bucket.to_string(),
        entries: view.entries.iter().map(line).collect(),
        notes: view.notes.clone(),
    };
    out.result(&shown, |out, shown| {
        if shown.entries.is_empty() {
            return out.line("nobody holds any right");
        }
        shown.entries.iter().try_for_each(|line| out.line(&format!("{:<10} {}", line.rights, line.who)))
    })
}
