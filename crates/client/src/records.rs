//! Where volumes live: signed by their realm's first node, learned from name servers, kept in memory and in the folder.
//!
//! What the folder keeps spares the first request of a command the way to a name server. It is believed only while the
//! signature holds, for a short time, and if its home is there; it is dropped with the first answer that does not fit.
//! What is dropped leaves its epoch behind: no record of an earlier one is believed.

use crate::limits::{MAX_KEPT_RECORD_BYTES, MAX_RECORDS, RECORD_KEPT, RECORD_LIFE};
use crate::models::{VOLUME_KIND, VolumeRecord, volume_route};
use crate::session::Client;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use terms::{BootMs, Code, Problem, UnixMs, VolumeName};
use wire::Purpose;

/// The records that this process has learned, and when; without a time only the epoch counts.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<HashMap<VolumeName, (VolumeRecord, Option<BootMs>)>>);

impl Records {
    fn all(&self) -> MutexGuard<'_, HashMap<VolumeName, (VolumeRecord, Option<BootMs>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a record, unless a later epoch is known.
    fn put(&self, record: VolumeRecord, now: BootMs) -> Result<(), Problem> {
        let mut records = self.all();
        let volume = record.volume.clone();
        if let Some((known, _)) = records.get(&volume).filter(|(known, _)| record.epoch < known.epoch) {
            let what =
                format!("the record of {volume} has gone back from epoch {} to {}", known.epoch, record.epoch);
            return Err(Problem::new(Code::Denied, what).next("ask the owners of the realm's first node"));
        }
        if records.len() >= MAX_RECORDS {
            records.clear();
        }
        records.insert(volume, (record, Some(now)));
        Ok(())
    }
}

/// A record as it lies in the folder.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    learned: UnixMs,
    #[serde(with = "serde_bytes")]
    signed: Vec<u8>,
}

impl Client {
    /// Where a volume lives: learned from a name server of its realm, kept for [`RECORD_LIFE`].
    pub async fn volume_record(&self, volume: &VolumeName) -> Result<VolumeRecord, Problem> {
        if let Some(record) = self.known_record(volume) {
            return Ok(record);
        }
        let bytes = match self.ask_names(&volume.realm, &volume_route(volume)).await {
            Ok(bytes) => bytes,
            Err(problem) => return Err(self.behind(problem).await),
        };
        let record = self.opened(volume, &bytes)?;
        self.records().put(record.clone(), self.world().clock.boot())?;
        self.keep(volume, &bytes);
        Ok(record)
    }

    /// Asks for a volume's record anew, which is believed no more: somebody said that its home is another one.
    pub async fn volume_record_anew(&self, volume: &VolumeName) -> Result<VolumeRecord, Problem> {
        self.forget_record(volume);
        self.volume_record(volume).await
    }

    /// The same; at first what the folder keeps is believed, if its home is reached.
    pub(crate) async fn record_or_kept(&self, volume: &VolumeName) -> Result<VolumeRecord, Problem> {
        if let Some(record) = self.known_record(volume) {
            return Ok(record);
        }
        let Some(record) = self.kept_record(volume) else { return self.volume_record(volume).await };
        let home = self.node(&record.home, &record.address);
        let there = self.pool().open(&home.target(Purpose::Bulk)).await;
        let believed = match there {
            // Under another key it signs otherwise, and so does what the record says of it.
            Ok(key) if key != Some(record.key.thumbprint()) => Err("it has another key".into()),
            Ok(_) => self.records().put(record.clone(), self.world().clock.boot()).map_err(|p| p.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match believed {
            Ok(()) => Ok(record),
            Err(reason) => {
                tracing::debug!(%volume, reason, "its home is not where it was");
                self.volume_record_anew(volume).await
            }
        }
    }

    /// Asks anew the next time: something did not fit.
    pub(crate) fn forget_record(&self, volume: &VolumeName) {
        if let Some((_, learned)) = self.records().all().get_mut(volume) {
            *learned = None;
        }
        // One that cannot be removed ends by its age.
        let _ = fs::remove_file(self.folder().record(volume));
    }

    fn known_record(&self, volume: &VolumeName) -> Option<VolumeRecord> {
        let records = self.records().all();
        let (record, learned) = records.get(volume)?;
        let age = self.world().clock.boot().since((*learned)?);
        (age < RECORD_LIFE).then(|| record.clone())
    }

    /// The record in these bytes, if the realm's first node signed it.
    fn opened(&self, volume: &VolumeName, bytes: &Bytes) -> Result<VolumeRecord, Problem> {
        let now = self.world().clock.unix();
        let opened = trust::signed::open::<VolumeRecord>(bytes, VOLUME_KIND, self.trust(), now)?;
        let record = opened.value;
        let first = self.first_node(&volume.realm)?;
        if record.volume != *volume || opened.signer != *first.principal() {
            let what =
                format!("the record of {volume} is not signed by {}, its realm's first node", first.principal());
            return Err(Problem::new(Code::Denied, what));
        }
        Ok(record)
    }

    fn kept_record(&self, volume: &VolumeName) -> Option<VolumeRecord> {
        let mut content = Vec::new();
        let file = fs::File::open(self.folder().record(volume)).ok()?;
        file.take(MAX_KEPT_RECORD_BYTES).read_to_end(&mut content).ok()?;
        let kept: Kept = wire::cbor::from_slice(&content).ok()?;
        let now = self.world().clock.unix();
        // What comes from the future was kept by another clock.
        if kept.learned > now || now.since(kept.learned) >= RECORD_KEPT {
            return None;
        }
        self.opened(volume, &kept.signed.into()).ok()
    }

    /// Keeps a record that was just learned. It may be lost: then it is asked for again.
    fn keep(&self, volume: &VolumeName, signed: &[u8]) {
        let kept = Kept { learned: self.world().clock.unix(), signed: signed.to_vec() };
        let path = self.folder().record(volume);
        if let Err(error) = replace(&path, &wire::cbor::to_vec(&kept)) {
            tracing::debug!(path = %path.display(), %error, "a record is not kept");
        }
    }
}

/// Whoever reads meanwhile sees the old content or the new. Not synced: a torn one is not read.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&draft, content)?;
    fs::rename(&draft, path)
}
