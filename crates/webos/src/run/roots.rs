//! `realm renew`, `realm succeed`: what needs the key of a realm's root.

use super::{Setup, passphrase};
use crate::args::{RootUse, Succeed};
use crate::output::{Failure, Out, Outcome, time};
use client::Folder;
use serde::Serialize;
use std::path::{Path, PathBuf};
use terms::{Code, Digest, Problem, UnixMs};
use trust::{Authority, Root};

/// The authority of this folder, or where to look for it.
pub fn authority(folder: &Folder) -> Result<Authority, Problem> {
    if !folder.authority().exists() {
        let problem =
            Problem::new(Code::NotFound, format!("{} holds no realm's authority", folder.path().display()));
        return Err(problem.next("set WEBOS_HOME to the folder of the realm's first node"));
    }
    Ok(Authority::load(&folder.authority())?)
}

/// Opens the root's file, asking for its passphrase if it has one. Answers where it lies, too.
fn open(setup: &Setup, wanted: &RootUse) -> Result<(Root, PathBuf), Failure> {
    let folder = setup.folder.authority();
    let file = wanted.root.clone().or_else(|| Root::file_in(&folder)).ok_or_else(|| {
        Problem::new(Code::NotFound, format!("the root's key is not in {}", folder.display()))
            .next("say where it is: --root FILE")
    })?;
    let passphrase = if Root::is_sealed(&file).map_err(Problem::from)? {
        Some(passphrase::present(wanted.passphrase_file.as_deref(), &file.display().to_string())?)
    } else {
        None
    };
    Ok((Root::open(&file, passphrase.as_ref()).map_err(Problem::from)?, file))
}

#[derive(Serialize)]
struct Renewed {
    realm: String,
    fingerprint: String,
    issuing_until_ms: UnixMs,
    earlier_until_ms: Vec<UnixMs>,
}

/// Makes the next issuing certificate. A node that runs takes it up by itself.
pub fn renew(setup: &Setup, out: &mut Out, wanted: &RootUse) -> Outcome {
    let mut authority = authority(&setup.folder)?;
    let (root, _) = open(setup, wanted)?;
    authority.renew(&root, setup.world.clock.unix()).map_err(Problem::from)?;
    authority.save(&setup.folder.authority()).map_err(Problem::from)?;
    let renewed = Renewed {
        realm: authority.realm().to_string(),
        fingerprint: Digest(authority.fingerprint()).to_string(),
        issuing_until_ms: authority.issuing_end().map_err(Problem::from)?,
        earlier_until_ms: authority.earlier_ends().map_err(Problem::from)?,
    };
    out.result(&renewed, |out, renewed| {
        out.line(&format!(
            "{} issues under a new certificate until {}; what the earlier one signed stays good",
            renewed.realm,
            time(renewed.issuing_until_ms)
        ))
    })
}

#[derive(Serialize)]
struct Succeeded {
    realm: String,
    old: String,
    new: String,
    file: String,
}

/// Makes the next root. The new file is whole before the realm knows of it, and the old one is never overwritten.
pub fn succeed(setup: &Setup, out: &mut Out, wanted: &Succeed) -> Outcome {
    let (now, folder) = (setup.world.clock.unix(), setup.folder.authority());
    let mut authority = authority(&setup.folder)?;
    let (old, old_file) = open(setup, &wanted.present)?;
    if let Some(folder) = wanted.new_root.as_deref().and_then(Path::parent) {
        must_be_there(folder)?;
    }
    let new = Root::create(authority.realm().clone(), now).map_err(Problem::from)?;
    authority.succeed(&old, &new, now).map_err(Problem::from)?;
    let secret = match wanted.unencrypted {
        true => None,
        false => Some(passphrase::new(wanted.new_passphrase_file.as_deref(), "the new root")?),
    };
    let name = if secret.is_some() { Root::SEALED_FILE } else { Root::PLAIN_FILE };
    let inside = wanted.new_root.is_none();
    let file = wanted.new_root.clone().unwrap_or_else(|| folder.join(format!("next-{name}")));
    if file.exists() {
        let problem = Problem::new(Code::Exists, format!("{} is there already", file.display()));
        return Err(problem.next("say --new-root FILE").into());
    }
    new.save(&file, secret.as_ref()).map_err(Problem::from)?;
    authority.save(&folder).map_err(Problem::from)?;
    let file = if inside { put_in_place(&folder, &old, &old_file, &file, name)? } else { file };
    if secret.is_none() {
        out.note(&format!("the new root's key lies in {} without a passphrase", file.display()));
    }
    let made = Succeeded {
        realm: authority.realm().to_string(),
        old: Digest(old.fingerprint()).to_string(),
        new: Digest(new.fingerprint()).to_string(),
        file: file.display().to_string(),
    };
    out.result(&made, |out, made| {
        out.line(&format!("{} has a new root, fingerprint {}, in {}", made.realm, made.new, made.file))?;
        out.line(
            "realms that trust it follow within minutes, those that are off later: give them a day or more, and",
        )?;
        out.line("then issue under the new root with `webos realm renew`")
    })
}

/// A medium that is not there must not become a folder on this disk, with the root's key in it.
fn must_be_there(folder: &Path) -> Result<(), Problem> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let problem = Problem::new(Code::NotFound, format!("there is no folder {}", folder.display()));
    Err(problem.next("see that the medium is there, or make the folder"))
}

/// The old root's file gets a name that tells which one it is; the new one gets the usual name.
fn put_in_place(folder: &Path, old: &Root, old_file: &Path, new: &Path, name: &str) -> Result<PathBuf, Problem> {
    let failed = |path: &Path, error: std::io::Error| crate::home::cannot("rename", path, &error);
    if old_file.parent() == Some(folder) && old_file.file_name().is_some_and(|name| name != "root.pem") {
        let short: String = Digest(old.fingerprint()).to_string().chars().take(8).collect();
        let end = old_file.extension().and_then(|end| end.to_str()).unwrap_or("key");
        let kept = folder.join(format!("root-{short}.{end}"));
        std::fs::rename(old_file, kept).map_err(|error| failed(old_file, error))?;
    }
    let file = folder.join(name);
    std::fs::rename(new, &file).map_err(|error| failed(new, error))?;
    Ok(file)
}
