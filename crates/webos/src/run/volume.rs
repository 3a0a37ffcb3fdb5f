//! `volume`: the volumes whose home is the node of this folder, and where they move.

use super::{Setup, moving, reach, running, upkeep};
use crate::args::{VolumeCommand, WhoName};
use crate::home::cannot;
use crate::output::{Failure, Out, Outcome};
use client::Standing;
use serde::Serialize;
use terms::{Code, Epoch, Principal, PrincipalKind, Problem, Rights, VolumeName, Who};
use trust::Bucket;
use webfs::store::Store;

/// Chooses among the commands.
pub async fn run(setup: &Setup, out: &mut Out, command: &VolumeCommand) -> Outcome {
    match command {
        VolumeCommand::Create { volume, owner } => create(setup, out, volume, owner.as_ref()),
        VolumeCommand::List => list(setup, out),
        VolumeCommand::Show { volume } => show(setup, out, volume).await,
        VolumeCommand::Fsck { volume } => upkeep::fsck(setup, out, volume).await,
        VolumeCommand::Gc { volume } => upkeep::gc(setup, out, volume).await,
        VolumeCommand::Move { volume, node } => moving::run(setup, out, volume, node).await,
        VolumeCommand::Dump { volume, file } => upkeep::dump(setup, out, volume, file).await,
        VolumeCommand::Restore { file, volume, above } => {
            upkeep::restore(setup, out, file, volume, Epoch(*above)).await
        }
    }
}

#[derive(Serialize)]
struct Created {
    volume: String,
    owner: String,
}

fn create(setup: &Setup, out: &mut Out, volume: &VolumeName, owner: Option<&WhoName>) -> Outcome {
    let me = must_be_home(setup, volume)?;
    let owner = match owner {
        Some(owner) => {
            owner.within(&volume.realm).map_err(|error| Problem::new(Code::Invalid, error.to_string()))?
        }
        None => Who::Principal(me),
    };
    let bucket = Bucket::new([(owner.clone(), Rights::OWNER)]).map_err(Problem::from)?;
    let store = Store::create(&setup.folder.volume(volume), volume, &bucket, setup.world.clone());
    drop(store.map_err(|error| error.for_owner())?);
    if running::look(&setup.folder).is_some() {
        out.note("the node that runs here serves it from its next start on");
    }
    let created = Created { volume: volume.to_string(), owner: owner.to_string() };
    out.result(&created, |out, created| {
        out.line(&format!("made {}; {} holds all rights", created.volume, created.owner))
    })
}

/// The node of this folder, if it may be the home of a volume with this name.
pub(super) fn must_be_home(setup: &Setup, volume: &VolumeName) -> Result<Principal, Failure> {
    let client = reach::client(setup)?;
    let me = client.require_identity()?.principal().clone();
    if me.kind != PrincipalKind::Server {
        let problem = Problem::new(Code::Invalid, format!("{me} is no node, and a volume lives at a node"));
        return Err(problem.next("set WEBOS_HOME to the folder of the node that is to be its home").into());
    }
    if volume.realm != me.realm {
        let problem = Problem::new(Code::Invalid, format!("{volume} is not a volume of the realm {}", me.realm));
        return Err(problem.next(format!("name it {}.{}", volume.name, me.realm)).into());
    }
    Ok(me)
}

#[derive(Serialize)]
struct Listed {
    volumes: Vec<String>,
    /// What lies here and has its home elsewhere.
    away: Vec<Away>,
}

#[derive(Serialize)]
struct Away {
    volume: String,
    why: String,
    home: String,
    epoch: Option<Epoch>,
}

impl Away {
    fn new(volume: &VolumeName, standing: Standing) -> Option<Self> {
        let (why, home, epoch) = match standing {
            Standing::Home => return None,
            Standing::Coming { from } => ("coming", from, None),
            Standing::Going { to, epoch, .. } => ("going", to, Some(epoch)),
            Standing::Superseded { by, epoch, .. } => ("superseded", by, Some(epoch)),
        };
        Some(Self { volume: volume.to_string(), why: why.into(), home: home.to_string(), epoch })
    }

    fn line(&self) -> String {
        let Self { volume, why, home, epoch } = self;
        match (why.as_str(), epoch) {
            ("coming", _) => format!("{volume}  not yet at home here: on its way from {home}"),
            ("going", _) => format!("{volume}  not at home here: on its way to {home}"),
            (_, epoch) => {
                let epoch = epoch.unwrap_or_default();
                format!("{volume}  superseded: its home is {home}, in epoch {epoch}")
            }
        }
    }
}

fn list(setup: &Setup, out: &mut Out) -> Outcome {
    let folder = setup.folder.volumes();
    let mut volumes = Vec::new();
    match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot("read", &folder, &error).into()),
        Ok(entries) => {
            for entry in entries {
                let name = entry.map_err(|error| cannot("read", &folder, &error))?.file_name();
                volumes.extend(name.to_str().and_then(|name| name.parse::<VolumeName>().ok()));
            }
        }
    }
    volumes.sort();
    let mut listed = Listed { volumes: Vec::new(), away: Vec::new() };
    for volume in volumes {
        match Away::new(&volume, Standing::read(&setup.folder.volume(&volume))?) {
            Some(away) => listed.away.push(away),
            None => listed.volumes.push(volume.to_string()),
        }
    }
    out.result(&listed, |out, listed| {
        if listed.volumes.is_empty() && listed.away.is_empty() {
            return out.line("no volume has its home here; `webos volume create` makes one");
        }
        listed.volumes.iter().try_for_each(|volume| out.line(volume))?;
        listed.away.iter().try_for_each(|away| out.line(&away.line()))
    })
}

#[derive(Serialize)]
struct Shown {
    volume: String,
    home: String,
    address: String,
    epoch: Epoch,
    key: String,
}

async fn show(setup: &Setup, out: &mut Out, volume: &VolumeName) -> Outcome {
    let client = reach::client(setup)?;
    let record = client.volume_record(volume).await?;
    let shown = Shown {
        volume: record.volume.to_string(),
        home: record.home.to_string(),
        address: record.address.clone(),
        epoch: record.epoch,
        key: record.key.thumbprint().to_string(),
    };
    out.result(&shown, |out, shown| {
        out.line(&shown.volume)?;
        out.line(&format!("  home   {} at {}", shown.home, shown.address))?;
        out.line(&format!("  epoch  {}", shown.epoch))?;
        out.line(&format!("  key    {}", shown.key))
    })
}
