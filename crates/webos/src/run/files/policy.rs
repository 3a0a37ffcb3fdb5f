//! `policy`: what is promised of copies.

use super::Shown;
use crate::args::PolicyArgs;
use crate::output::{Out, Outcome};
use crate::run::{Setup, reach};
use terms::{Code, Problem};
use webfs::protocol::Operation;

/// Shows a policy, or gives one.
pub async fn policy(setup: &Setup, out: &mut Out, arguments: &PolicyArgs) -> Outcome {
    let client = reach::acting(setup, &arguments.lent)?;
    let place = &arguments.place;
    let volume = reach::volume(&client, place, arguments.source.from.as_ref()).await?;
    let path = place.location.path.clone();
    let entry = match arguments.policy {
        None => volume.stat(&path).await?,
        Some(policy) => {
            let operation = Operation::Policy { path, policy, recursive: arguments.recursive };
            let missing = || Problem::new(Code::Internal, "the home did not say what it changed");
            volume.perform_one(operation).await?.entry.ok_or_else(missing)?
        }
    };
    out.result(&Shown::new(&place.location, &entry), |out, _| out.line(&entry.policy.to_string()))
}
