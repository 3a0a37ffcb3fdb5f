//! Brings the local world up, step by step: folders, home, the others, files, service. Whatever was begun ends with
//! the value: dropping it ends every process.

use super::child::Tale;
use super::follow::{Follower, Told};
use super::launch::{Launched, Launcher};
use super::limits::INBOX;
use super::mirror::{Mirror, Synced};
use super::sample;
use super::scan::Tree;
use super::seat::Seat;
use super::site::{self, Site};
use super::stage::Book;
use super::world::{LocalWorld, Names};
use crate::console::EventKind;
use crate::home::cannot;
use crate::output::{Out, plural};
use crate::run::Setup;
use client::{Client, Folder, enrol};
use futures_util::future::{join_all, try_join_all};
use std::path::{Path, PathBuf};
use std::time::Duration;
use terms::{Code, Label, PrincipalKind, Problem};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// What tells of the followed folder.
pub type Tell = Box<dyn FnMut(Told) + Send>;

/// A world that is up.
pub struct Started {
    /// The world's folders.
    pub local: LocalWorld,
    /// The folder that is served.
    pub dir: PathBuf,
    /// Asks the nodes, as the caller.
    pub client: Client,
    /// Starts nodes.
    pub launcher: Launcher,
    /// The nodes, the home first.
    pub seats: Vec<Seat>,
    /// What nodes tell.
    pub tales: mpsc::Receiver<(Label, Tale)>,
    /// Follows the folder.
    pub follower: Follower<Site, Tell>,
    /// The site in the volume.
    pub site: Site,
    /// What the first copying did.
    pub synced: Synced,
}

/// The folder to serve: checked before anything is made. `None`: the sample site.
pub fn chosen(dir: Option<&Path>, person: &Folder) -> Result<Option<PathBuf>, Problem> {
    let Some(dir) = dir else { return Ok(None) };
    let real = dir
        .canonicalize()
        .map_err(|error| cannot("serve", dir, &error).next("name a folder with files to serve"))?;
    Tree::open(&real)?;
    let own = person.path().canonicalize().unwrap_or_else(|_| person.path().to_path_buf());
    let hidden =
        |inner: &Path| inner.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."));
    let holds_keys = own.strip_prefix(&real).is_ok_and(|inner| !hidden(inner));
    let sample = person.world().join("sample");
    if holds_keys || (real.starts_with(&own) && !real.starts_with(&sample)) {
        return Err(Problem::new(
            Code::Invalid,
            format!("{} holds your keys ({}): everybody could read them", real.display(), own.display()),
        )
        .next("name another folder, or set WEBOS_HOME to one outside of it"));
    }
    Ok(Some(real))
}

/// Brings it up, with the folder to serve and how long load must be gone before nodes are returned. `book` hears of
/// the followed folder from then on.
pub async fn start(
    setup: &Setup,
    out: &Out,
    (dir, stabilization): (Option<PathBuf>, Option<Duration>),
    book: &Book,
    tasks: &TaskTracker,
) -> Result<Started, Problem> {
    let login = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok();
    let names = Names::new(setup.settings.surrogates.value)
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let (mut local, remarks) = LocalWorld::open(&setup.folder, names, login.as_deref(), &setup.world)?;
    remarks.iter().for_each(|remark| out.note(remark));
    let (tell_tales, tales) = mpsc::channel(INBOX);
    let program = std::env::current_exe()
        .map_err(|error| cannot("find the running program", Path::new("/proc/self/exe"), &error))?;
    let launcher = Launcher::new(program, &local, setup.settings.link.value, tell_tales, tasks.clone());
    let mut seats = vec![start_home(&local, &launcher, out).await?];
    join_new(&local, &seats[0].address, setup).await?;
    // A node that joined just now trusts the home where it is; the others learn it here.
    local.pin(&seats[0].address)?;
    seats.extend(start_lent(&local, &launcher, out).await?);
    let port = |seat: &Seat| Some((seat.name.clone(), seat.address.rsplit_once(':')?.1.parse().ok()?));
    local.keep_ports(seats.iter().filter_map(port))?;
    let client = Client::open(setup.folder.clone(), setup.world.clone())?;
    let (dir, site, follower, synced) = fill(&local, &client, dir, book, out).await?;
    let home = client.node(&seats[0].principal, &seats[0].address);
    site::publish(&home, local.names(), setup.settings.link.value.0, stabilization).await?;
    let nodes = seats[1..].iter().map(|seat| client.node(&seat.principal, &seat.address));
    let nodes: Vec<_> = nodes.collect();
    try_join_all(nodes.iter().map(|node| site::lend(node, local.names()))).await?;
    Ok(Started { local, dir, client, launcher, seats, tales, follower, site, synced })
}

fn seat(local: &LocalWorld, name: &Label, launched: Launched, out: &Out) -> Seat {
    let Launched { child, instead_of } = launched;
    if let Some(taken) = instead_of {
        out.note(&format!("port {taken} of {name} is taken by another program; it is at {} now", child.address));
    }
    let names = local.names();
    Seat::new(name.clone(), names.node(name), name == names.home(), child)
}

async fn start_home(local: &LocalWorld, launcher: &Launcher, out: &Out) -> Result<Seat, Problem> {
    let name = local.names().home();
    // The bundle of the last start may name another port; until the home listens that does not matter.
    let launched = launcher.start(name, local.port(name)).await?;
    Ok(seat(local, name, launched, out))
}

async fn start_lent(local: &LocalWorld, launcher: &Launcher, out: &Out) -> Result<Vec<Seat>, Problem> {
    let lent = &local.names().nodes[1..];
    let started = join_all(lent.iter().map(|name| launcher.start(name, local.port(name)))).await;
    started.into_iter().zip(lent).map(|(launched, name)| Ok(seat(local, name, launched?, out))).collect()
}

/// Lets the nodes that have no identity yet join, each over the real route with a line of its own.
async fn join_new(local: &LocalWorld, home_address: &str, setup: &Setup) -> Result<(), Problem> {
    for name in local.names().nodes[1..].iter().filter(|name| local.is_new(name)) {
        let line = local.invite(name, home_address)?;
        enrol::join(&local.folder(name), line.as_ref(), PrincipalKind::Server, &setup.world).await?;
    }
    Ok(())
}

/// Copies the folder in, and begins to follow it.
async fn fill(
    local: &LocalWorld,
    client: &Client,
    dir: Option<PathBuf>,
    book: &Book,
    out: &Out,
) -> Result<(PathBuf, Site, Follower<Site, Tell>, Synced), Problem> {
    let dir = match dir {
        Some(dir) => dir,
        None => {
            let folder = local.sample();
            let made = tokio::task::spawn_blocking(move || sample::make(&folder).map(|()| folder)).await;
            let folder = made.map_err(|error| Problem::new(Code::Internal, error.to_string()))??;
            folder.canonicalize().map_err(|error| cannot("read", &folder, &error))?
        }
    };
    let site = Site::open(client, local.names()).await?;
    site.ensure_top().await?;
    let mirror = Mirror::begin(Tree::open(&dir)?, site.clone()).await?;
    let mut follower = Follower::new(mirror, teller(book.clone()));
    let synced = follower.sync_all().await?;
    let (copied, removed) = (synced.copied.len() as u64, synced.removed.len() as u64);
    if copied + removed > 0 {
        let removed = if removed > 0 { format!(", removed {removed}") } else { String::new() };
        out.note(&format!("copied {} into {}{removed}", plural(copied, "file"), local.names().served));
    }
    Ok((dir, site, follower, synced))
}

/// Turns what the follower tells into events.
fn teller(book: Book) -> Tell {
    Box::new(move |told| match told {
        Told::Synced(done) => book.record(EventKind::Changed, None, changed(&done)),
        Told::Failed(problem) => {
            book.record(EventKind::Error, None, format!("the folder cannot be followed now: {}", problem.detail));
        }
        Told::Recovered => book.record(EventKind::Note, None, "the folder is followed again"),
        Told::Unwatched(why) => {
            let text = format!("the system reports no changes ({why}): the folder is looked at once a second");
            book.record(EventKind::Note, None, text);
        }
    })
}

fn changed(done: &Synced) -> String {
    let part = |paths: &[terms::VolumePath], verb: &str| match paths {
        [] => None,
        [one] => Some(format!("{one} was {verb}")),
        more => Some(format!("{} files were {verb}", more.len())),
    };
    let parts = [part(&done.copied, "copied in"), part(&done.removed, "removed")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_with_keys_are_not_served() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().canonicalize().expect("there");
        let person = Folder::new(root.join("a/webos"));
        for folder in ["a/webos/world/home", "a/webos/world/sample", "b"] {
            std::fs::create_dir_all(root.join(folder)).expect("made");
        }
        for (folder, ok) in [
            ("", false),
            ("a", false),
            ("a/webos", false),
            ("a/webos/world/home", false),
            ("a/webos/world/sample", true),
            ("b", true),
        ] {
            assert_eq!(chosen(Some(&root.join(folder)), &person).is_ok(), ok, "{folder}");
        }
        let hidden = Folder::new(root.join(".local/webos"));
        std::fs::create_dir_all(hidden.path()).expect("made");
        assert!(chosen(Some(&root), &hidden).is_ok(), "what begins with a dot is left out anyway");
        let problem = chosen(Some(&root.join("none")), &person).expect_err("wrong");
        assert_eq!(problem.code, Code::NotFound);
        assert!(problem.detail.contains("none") && !problem.next.is_empty(), "{problem}");
    }

    #[test]
    fn changes_in_words() {
        let path = |text: &str| terms::VolumePath::new(text).expect("valid");
        let done = |copied: &[&str], removed: &[&str]| Synced {
            copied: copied.iter().map(|text| path(text)).collect(),
            removed: removed.iter().map(|text| path(text)).collect(),
            ..Synced::default()
        };
        assert_eq!(changed(&done(&["a"], &[])), "a was copied in");
        assert_eq!(changed(&done(&["a", "b"], &["c"])), "2 files were copied in, c was removed");
    }
}
