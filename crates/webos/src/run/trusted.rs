//! `realm trust`, `realm distrust`: whose names are believed here.

use super::Setup;
use crate::args::Trust;
use crate::home;
use crate::output::{Failure, Out, Outcome, time};
use client::limits::MAX_TRUSTED_REALMS;
use client::{Client, realms};
use serde::Serialize;
use terms::{Code, Digest, Problem, RealmName, UnixMs};
use trust::IdentityFile;

#[derive(Serialize)]
struct Trusted {
    realm: String,
    fingerprint: String,
    signed_ms: UnixMs,
    name_servers: Vec<String>,
}

/// Fetches a realm's bundle from whoever proves to stand under the root with this fingerprint, and pins it.
pub async fn trust(setup: &Setup, out: &mut Out, wanted: &Trust) -> Outcome {
    home::make(setup.folder.path())?;
    let fingerprint = wanted.fingerprint.0;
    let bundle = realms::fetch_from(&wanted.url, &fingerprint, &setup.world).await.map_err(advised)?;
    let realm = bundle.realm.clone();
    refuse_another(setup, &realm, &[&fingerprint, bundle.pin()])?;
    let question = format!(
        "from now on a certificate of {realm} is believed to name who it says; that gives nobody any right, access \
         lists do; go on?"
    );
    if !wanted.yes && !out.ask(&question, "--yes")? {
        out.note("nothing was changed");
        return Err(Failure::Exit(1));
    }
    realms::pin(&setup.folder, &bundle)?;
    let trusted = Trusted {
        realm: realm.to_string(),
        fingerprint: wanted.fingerprint.to_string(),
        signed_ms: bundle.issued,
        name_servers: bundle.name_servers.iter().map(|server| server.address.clone()).collect(),
    };
    out.result(&trusted, |out, trusted| {
        out.line(&format!("{} is trusted here, as it signed itself {}", trusted.realm, time(trusted.signed_ms)))?;
        out.line("its names are believed, nothing else: `webos acl grant` gives rights to its people and groups")
    })
}

/// What to do when the one word on the way is that nobody answered.
fn advised(problem: Problem) -> Problem {
    let mute = problem.next.is_empty() && matches!(problem.code, Code::Unavailable | Code::Timeout);
    if mute { problem.next("see that its node runs and that its address is reachable from here") } else { problem }
}

/// A realm is replaced by another of the same name only if its owner says so in two steps. `believed` are the roots by
/// which the new one is believed: the one that was given, and its successor.
fn refuse_another(setup: &Setup, realm: &RealmName, believed: &[&[u8; 32]]) -> Result<(), Problem> {
    let known = Client::nobody(setup.folder.clone(), setup.world.clone())?.trust().realms();
    if !known.contains(realm) && known.len() >= MAX_TRUSTED_REALMS {
        return Err(Problem::new(Code::TooLarge, format!("at most {MAX_TRUSTED_REALMS} realms are trusted"))
            .next("let one go with `webos realm distrust`"));
    }
    match realms::pinned_fingerprint(&setup.folder, realm, &setup.world)? {
        Some(pinned) if !believed.contains(&&pinned) => Err(Problem::new(
            Code::Exists,
            format!("{realm} is trusted here by another root, with the fingerprint {}", Digest(pinned)),
        )
        .next(format!(
            "ask its people which is right; if the new one is: `webos realm distrust {realm}`, and trust it again"
        ))),
        _ => Ok(()),
    }
}

#[derive(Serialize)]
struct Distrusted {
    realm: String,
    was_trusted: bool,
}

/// Believes a realm no longer. The own realm stays: without it nobody would be anybody here.
pub fn distrust(setup: &Setup, out: &mut Out, realm: &RealmName) -> Outcome {
    let own = IdentityFile::read(&setup.folder.identity());
    if own.is_ok_and(|own| own.principal().realm == *realm) {
        let what = format!("{realm} is the realm of this folder's own identity");
        return Err(Problem::new(Code::Invalid, what).next("choose another folder with WEBOS_HOME").into());
    }
    let was_trusted = realms::distrust(&setup.folder, realm)?;
    if !was_trusted {
        return Err(Problem::new(Code::NotFound, format!("the realm {realm} is not trusted here"))
            .next("`webos realm show` lists those that are")
            .into());
    }
    out.result(&Distrusted { realm: realm.to_string(), was_trusted }, |out, gone| {
        out.line(&format!("{} is trusted here no longer", gone.realm))
    })
}
