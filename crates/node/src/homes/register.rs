//! The homes of the realm's volumes, as its first node has them entered: one small file each, whole after a crash.
//! A home is replaced by compare-and-set: only who is entered hands a volume on, and only if nothing was entered since
//! it looked. Nobody but an owner of this node, who revokes a lost home, makes room for another one.

use crate::limits::MAX_REALM_VOLUMES;
use client::models::{Raise, VolumeRecord};
use client::protocol::{HomeClaim, HomeEntry, HomeRequest};
use client::{Folder, durable};
use discovery::limits::MAX_RAISES;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use terms::{Code, Label, Principal, PrincipalKind, Problem, VolumeName};

/// What is entered of a volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entered {
    /// What the record says.
    pub record: VolumeRecord,
    /// Rises with each change.
    pub number: u64,
}

impl Entered {
    /// The part that homes are told.
    pub fn shown(&self) -> HomeEntry {
        let VolumeRecord { home, address, epoch, .. } = &self.record;
        HomeEntry { home: home.clone(), address: address.clone(), epoch: *epoch, number: self.number }
    }

    fn of(number: u64, home: &Principal, claim: &HomeClaim, mut raises: Vec<Raise>) -> Self {
        if raises.len() > MAX_RAISES {
            raises.remove(0);
        }
        let HomeClaim { volume, key, address, epoch, .. } = claim.clone();
        Self { record: VolumeRecord { volume, home: home.clone(), key, address, epoch, raises }, number }
    }

    fn next(&self, home: &Principal, claim: &HomeClaim) -> Self {
        let mut raises = self.record.raises.clone();
        if claim.epoch > self.record.epoch {
            raises.push(Raise { epoch: claim.epoch, change: claim.change });
        }
        Self::of(self.number + 1, home, claim, raises)
    }
}

/// What is to be entered after this was asked; nothing if what is there stands. `is_lost` tells whether a home was
/// revoked.
pub fn judge(
    present: Option<&Entered>,
    by: &Principal,
    request: &HomeRequest,
    is_lost: impl Fn(&Principal) -> bool,
) -> Option<Entered> {
    let Some(present) = present else {
        let HomeRequest::Register(claim) = request else { return None };
        let raised = (claim.epoch.0 > 1).then_some(Raise { epoch: claim.epoch, change: claim.change });
        return Some(Entered::of(1, by, claim, raised.into_iter().collect()));
    };
    let (record, own) = (&present.record, present.record.home == *by);
    match request {
        HomeRequest::Register(claim) if own => {
            let differs = (&claim.key, &claim.address, claim.epoch) != (&record.key, &record.address, record.epoch);
            (differs && claim.epoch >= record.epoch).then(|| present.next(by, claim))
        }
        HomeRequest::Register(claim) => {
            (claim.epoch > record.epoch && is_lost(&record.home)).then(|| present.next(by, claim))
        }
        HomeRequest::Hand { number, to, claim } => {
            let fits = own && *number == present.number && claim.epoch > record.epoch;
            fits.then(|| present.next(to, claim))
        }
        HomeRequest::Fence(_) => own.then(|| Entered { number: present.number + 1, ..present.clone() }),
    }
}

/// The volume that a request is about.
pub fn volume_of(request: &HomeRequest) -> &VolumeName {
    match request {
        HomeRequest::Register(claim) | HomeRequest::Hand { claim, .. } => &claim.volume,
        HomeRequest::Fence(volume) => volume,
    }
}

/// The entries of a realm.
pub struct HomeRegister {
    folder: PathBuf,
    entries: Mutex<BTreeMap<Label, Entered>>,
}

impl HomeRegister {
    /// Loads what was entered. A damaged entry is an error: its volume would be anybody's.
    pub fn load(folder: &Folder) -> Result<Self, Problem> {
        let mut entries = BTreeMap::new();
        for file in fs::read_dir(folder.names()).into_iter().flatten().flatten() {
            let path = file.path();
            let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".volume"));
            let Some(name) = name.and_then(|name| Label::new(name).ok()) else { continue };
            let damaged = |why: String| {
                Problem::new(Code::Internal, format!("{} is damaged: {why}", path.display())).next(
                    "restore it from a copy; if it is removed, the next node that says so is the volume's home",
                )
            };
            let bytes = fs::read(&path).map_err(|error| damaged(error.to_string()))?;
            let entered: Entered = wire::cbor::from_slice(&bytes).map_err(|problem| damaged(problem.detail))?;
            entries.insert(name, entered);
        }
        Ok(Self { folder: folder.names(), entries: Mutex::new(entries) })
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Label, Entered>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is entered of a volume.
    pub fn find(&self, name: &Label) -> Option<Entered> {
        self.entries().get(name).cloned()
    }

    /// Takes what a node of the realm says. Answers what is entered then, and whether that is new: on disk if it is.
    pub fn take(
        &self,
        by: &Principal,
        request: &HomeRequest,
        is_lost: impl Fn(&Principal) -> bool,
    ) -> Result<(HomeEntry, bool), Problem> {
        let volume = volume_of(request);
        let to = if let HomeRequest::Hand { to, .. } = request { to } else { by };
        if [by, to].into_iter().any(|who| who.realm != volume.realm || who.kind != PrincipalKind::Server) {
            let what = format!("{to} is no server of {}, and a home of {volume} must be one", volume.realm);
            return Err(Problem::new(Code::Denied, what));
        }
        let mut entries = self.entries();
        let present = entries.get(&volume.name);
        match (judge(present, by, request, is_lost), present) {
            (None, Some(present)) => Ok((present.shown(), false)),
            (None, None) => Err(Problem::new(Code::NotFound, format!("there is no volume {volume}"))),
            (Some(_), None) if entries.len() >= MAX_REALM_VOLUMES => {
                Err(Problem::new(Code::TooLarge, format!("a realm has at most {MAX_REALM_VOLUMES} volumes")))
            }
            (Some(next), _) => {
                durable::replace(&self.folder.join(format!("{}.volume", volume.name)), &wire::cbor::to_vec(&next))?;
                let shown = next.shown();
                entries.insert(volume.name.clone(), next);
                Ok((shown, true))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use terms::{ChangeNumber, Epoch};

    fn server(name: &str) -> Principal {
        format!("spiffe://lab.example/server/{name}").parse().expect("a principal")
    }

    fn claim(epoch: u64, address: &str) -> HomeClaim {
        static KEY: std::sync::OnceLock<trust::PublicKey> = std::sync::OnceLock::new();
        let key = KEY.get_or_init(|| trust::KeyPair::generate().expect("a key").public().clone());
        HomeClaim {
            volume: "data.lab.example".parse().expect("a volume"),
            key: key.clone(),
            address: address.into(),
            epoch: Epoch(epoch),
            change: ChangeNumber(7),
        }
    }

    fn register(epoch: u64) -> HomeRequest {
        HomeRequest::Register(claim(epoch, "a:1"))
    }

    fn hand(number: u64, epoch: u64) -> HomeRequest {
        HomeRequest::Hand { number, to: server("b"), claim: claim(epoch, "b:1") }
    }

    fn entered() -> Entered {
        judge(None, &server("a"), &register(3), |_| false).expect("the first")
    }

    #[test]
    fn the_home_of_a_volume_is_replaced_only_by_compare_and_set() {
        let present = entered();
        assert_eq!((present.number, present.record.epoch, present.record.home.clone()), (1, Epoch(3), server("a")));
        // Who asks, what, whether the present home is lost; then the home, epoch and number that are entered.
        for (by, request, lost, expected) in [
            ("a", register(3), false, None),
            ("a", register(2), false, None),
            ("a", register(4), false, Some(("a", 4, 2))),
            ("b", register(3), false, None),
            ("b", register(9), false, None),
            ("b", register(3), true, None),
            ("b", register(4), true, Some(("b", 4, 2))),
            ("b", hand(1, 4), false, None),
            ("a", hand(0, 4), false, None),
            ("a", hand(1, 3), false, None),
            ("a", hand(1, 4), false, Some(("b", 4, 2))),
            ("a", HomeRequest::Fence(claim(0, "").volume), false, Some(("a", 3, 2))),
            ("b", HomeRequest::Fence(claim(0, "").volume), false, None),
        ] {
            let next = judge(Some(&present), &server(by), &request, |_| lost);
            let shown = next.map(|next| (next.record.home, next.record.epoch, next.number));
            let expected = expected.map(|(home, epoch, number)| (server(home), Epoch(epoch), number));
            assert_eq!(shown, expected, "{by}: {request:?}");
        }
    }

    #[test]
    fn what_was_sent_before_a_fence_does_not_count_any_more() {
        let fence = HomeRequest::Fence(claim(0, "").volume);
        let fenced = judge(Some(&entered()), &server("a"), &fence, |_| false).expect("by its home");
        assert_eq!(judge(Some(&fenced), &server("a"), &hand(1, 4), |_| false), None);
    }

    #[test]
    fn raises_are_remembered_up_to_a_limit() {
        let mut present = entered();
        for epoch in 4..100 {
            present = judge(Some(&present), &server("a"), &register(epoch), |_| false).expect("higher");
        }
        assert_eq!(present.record.raises.len(), MAX_RAISES);
        let last = present.record.raises.last().copied();
        assert_eq!(last, Some(Raise { epoch: Epoch(99), change: ChangeNumber(7) }));
    }
}
