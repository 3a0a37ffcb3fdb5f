//! Removes a local world: its folders, and what it put into the person's folder. The caller holds the lock.

use super::lock::Lock;
use super::world::{Names, is_of};
use crate::home::{cannot, format};
use crate::run::CACHED_SERVICES;
use client::Folder;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use terms::{Problem, RealmName};
use trust::{Authority, IdentityFile};

/// How the name of what is kept of a volume's place ends, behind the realm.
const RECORD: &str = ".record";

/// Removes everything of the world but its lock, and the person's identity if this world certified it.
pub fn purge(person: &Folder, names: &Names, lock: &Lock) -> Result<(), Problem> {
    let authority = Folder::new(person.world().join(names.home().as_str())).authority();
    let identity = IdentityFile::read(&person.identity()).ok();
    // An identity of somebody else's stays; so does one whose authority is too damaged to tell.
    if let (Ok(authority), Some(identity)) = (Authority::load(&authority), identity)
        && is_of(&identity, &authority)
    {
        purge_cache(person, &names.realm)?;
        remove(&person.realm(&names.realm))?;
        // Other realms may be pinned there: then it stays.
        let _ = fs::remove_dir(person.realms());
        // Last: by it the rest is known as this world's, also by a second attempt.
        remove(&person.identity())?;
    }
    let root = person.world();
    let entries = fs::read_dir(&root).map_err(|error| cannot("read", &root, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| cannot("read", &root, &error))?.path();
        if path != lock.path() {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes the cached certificates of the realm's services, where its volumes live, and the folders that are empty then.
fn purge_cache(person: &Folder, realm: &RealmName) -> Result<(), Problem> {
    let own = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        let rest =
            name.and_then(|name| name.split_once('.')).and_then(|(_, rest)| rest.strip_prefix(realm.as_str()));
        rest.is_some_and(|rest| rest.is_empty() || rest == RECORD || is_draft(rest))
    };
    for folder in [person.cache().join(CACHED_SERVICES), person.records()] {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.map_err(|error| cannot("read", &folder, &error))?.path();
            if own(&path) {
                remove(&path)?;
            }
        }
        let _ = fs::remove_dir(folder);
    }
    let _ = fs::remove_dir(person.cache());
    Ok(())
}

/// Whether a name goes on as that of a file that a process was writing when it died: `.PID.new`.
fn is_draft(rest: &str) -> bool {
    let pid = rest.strip_prefix('.').and_then(|rest| rest.strip_suffix(".new"));
    pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
}

/// As [`purge`], and the lock and the empty folders too.
pub fn purge_all(person: &Folder, names: &Names, lock: Lock) -> Result<(), Problem> {
    purge(person, names, &lock)?;
    lock.remove()?;
    let root = person.world();
    match fs::remove_dir(&root) {
        // Somebody starts a new world already.
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => return Ok(()),
        other => other.map_err(|error| cannot("remove", &root, &error))?,
    }
    // With settings of the person's or things of other realms in it, it stays.
    format::unmark_empty(person.path());
    let _ = fs::remove_dir(person.path());
    Ok(())
}

fn remove(path: &Path) -> Result<(), Problem> {
    let kind = fs::symlink_metadata(path);
    let removed = match kind {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot("remove", path, &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::LocalWorld;
    use super::*;
    use terms::UnixMs;
    use world::World;

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("there").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().expect("ours")).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_that_holds_nothing_else_goes_too() {
        let dir = tempfile::tempdir().expect("a folder");
        let person = Folder::new(dir.path().join("webos"));
        let names = Names::new(0).expect("constant");
        crate::home::make(person.path()).expect("made");
        let lock = Lock::take(&person, UnixMs(1)).expect("free");
        LocalWorld::open(&person, names.clone(), None, &World::real()).expect("made");
        let cached = person.cache().join(CACHED_SERVICES);
        fs::create_dir_all(&cached).expect("made");
        fs::write(cached.join("site.demo.localhost"), "").expect("written");
        purge_all(&person, &names, lock).expect("purged");
        assert!(names_in(dir.path()).is_empty());
    }

    #[test]
    fn a_world_leaves_nothing_and_takes_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let (person, names) = (Folder::new(dir.path()), Names::new(2).expect("constant"));
        fs::write(person.settings(), "").expect("written");
        let cached = person.cache().join(CACHED_SERVICES);
        fs::create_dir_all(&cached).expect("made");
        for name in
            ["site.demo.localhost", "site.demo.localhost.12.new", "site.lab.example", "site.demo.localhost.example"]
        {
            fs::write(cached.join(name), "").expect("written");
        }
        let lock = Lock::take(&person, UnixMs(1)).expect("free");
        let (local, _) = LocalWorld::open(&person, names.clone(), None, &World::real()).expect("made");
        local.pin("127.0.0.1:1").expect("pinned");
        purge(&person, &names, &lock).expect("purged");
        assert_eq!(fs::read_dir(person.world()).expect("there").count(), 1, "the lock stays");
        LocalWorld::open(&person, names.clone(), None, &World::real()).expect("made anew");
        purge_all(&person, &names, lock).expect("purged");
        assert_eq!(names_in(dir.path()), ["cache", "settings.toml"]);
        assert_eq!(names_in(&cached), ["site.demo.localhost.example", "site.lab.example"]);
    }

    #[test]
    fn somebody_elses_identity_stays() {
        let (dir, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (person, names) = (Folder::new(dir.path()), Names::new(0).expect("constant"));
        LocalWorld::open(&Folder::new(other.path()), names.clone(), None, &World::real()).expect("made");
        let lock = Lock::take(&person, UnixMs(1)).expect("free");
        LocalWorld::open(&person, names.clone(), None, &World::real()).expect("made");
        fs::copy(other.path().join("identity/identity.pem"), dir.path().join("identity/identity.pem"))
            .expect("put");
        purge_all(&person, &names, lock).expect("purged");
        assert!(person.identity().join(trust::Identity::FILE).exists());
    }
}
