//! `recover`: what was read from a pipe and could not be stored.

use super::{Setup, reach};
use crate::args::{RecoverCommand, Under};
use crate::output::{Out, Outcome, age, plural};
use client::{KeptChange, Recovery};
use serde::Serialize;
use terms::{ByteCount, UnixMs};

#[derive(Serialize)]
struct Line {
    name: String,
    location: String,
    size: u64,
    at_ms: UnixMs,
    reason: String,
    content: String,
}

#[derive(Serialize)]
struct Kept {
    kept: Vec<Line>,
}

/// Says once that something has come to lie in the recovery folder.
pub fn announce(setup: &Setup, out: &Out) {
    // Whoever cannot read the folder is told so by `recover` itself.
    let new = Recovery::of(&setup.folder, &setup.world).news().unwrap_or(0);
    if new > 0 {
        let what = plural(new as u64, "change");
        out.note(&format!("{what} could not be stored and lies here: `webos recover list`"));
    }
}

/// Runs the command.
pub async fn run(setup: &Setup, out: &mut Out, command: &RecoverCommand) -> Outcome {
    let recovery = Recovery::of(&setup.folder, &setup.world);
    match command {
        RecoverCommand::List => list(setup, out, recovery.list()?),
        RecoverCommand::Publish { name, anyway, lent } => {
            publish(setup, out, &recovery, (name, *anyway), lent).await
        }
        RecoverCommand::Drop { names } => {
            let found: Vec<_> = names.iter().map(|name| recovery.find(name)).collect::<Result<_, _>>()?;
            found.iter().try_for_each(|change| recovery.drop_change(change))?;
            Ok(())
        }
    }
}

fn list(setup: &Setup, out: &mut Out, kept: Vec<KeptChange>) -> Outcome {
    let now = setup.world.clock.unix();
    let lines = kept.into_iter().map(|KeptChange { name, about, content }| Line {
        name,
        location: about.location.to_string(),
        size: about.size,
        at_ms: about.at,
        reason: about.reason,
        content: content.display().to_string(),
    });
    out.result(&Kept { kept: lines.collect() }, |out, kept| {
        if kept.kept.is_empty() {
            out.note("nothing is kept here: all that was sent was stored");
        }
        kept.kept.iter().try_for_each(|line| {
            let (location, reason) = (out.name(&line.location).into_owned(), out.name(&line.reason).into_owned());
            let ago = age(now.since(line.at_ms));
            out.line(&format!("{}  {ago}  {}  {location}  {reason}", line.name, ByteCount(line.size)))
        })
    })
}

async fn publish(
    setup: &Setup,
    out: &mut Out,
    recovery: &Recovery,
    (name, anyway): (&str, bool),
    lent: &Under,
) -> Outcome {
    let change = recovery.find(name)?;
    let client = reach::acting(setup, lent)?;
    let volume = client.volume(&change.about.location.volume).await?;
    let entry = recovery.publish(&volume, &change, anyway).await?;
    out.result(&super::files::Shown::new(&change.about.location, &entry), |out, _| {
        let location = out.name(&change.about.location.to_string()).into_owned();
        out.line(&format!("stored {location}"))
    })
}
