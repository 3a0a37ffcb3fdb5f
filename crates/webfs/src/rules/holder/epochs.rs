//! Which epoch a holder believes: that of the volume's signed record, once it was told of one. What a raise of the
//! epoch has undone is dropped; else the home's older version would be taken for a roll-back for ever.

use super::Holder;
use crate::model::ObjectVersion;
use terms::{ChangeNumber, Epoch, VolumePath};

/// A raise of the volume's epoch, as its signed record states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// The epoch that began.
    pub epoch: Epoch,
    /// The last change that it took over.
    pub change: ChangeNumber,
}

/// What the volume's signed record says of its epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Believed {
    /// The present one.
    pub epoch: Epoch,
    /// How it came to be, the earliest first.
    pub raises: Vec<Raised>,
    /// Whether earlier raises are not listed any more.
    pub shortened: bool,
}

impl Believed {
    /// Whether a version of an earlier epoch may still be part of the volume.
    pub fn keeps(&self, version: ObjectVersion) -> bool {
        let known = !self.shortened || self.raises.first().is_some_and(|first| first.epoch <= version.epoch);
        let mut later = self.raises.iter().filter(|raised| raised.epoch > version.epoch);
        (known || version.epoch >= self.epoch) && later.all(|raised| version.version.0 <= raised.change.0)
    }
}

impl Holder {
    /// Takes the word of the volume's signed record. Gives what it undid of the cache; an older word changes nothing.
    pub fn believe(&mut self, believed: &Believed) -> Vec<VolumePath> {
        if self.believed.is_some_and(|present| believed.epoch < present) || believed.epoch < self.epoch {
            return Vec::new();
        }
        (self.believed, self.unproven) = (Some(believed.epoch), None);
        let undone = self.cached.iter().filter(|(_, cached)| !believed.keeps(cached.seen.max(cached.version)));
        let undone: Vec<VolumePath> = undone.map(|(object, _)| object.clone()).collect();
        for object in &undone {
            self.cached.remove(object);
        }
        // Nor is what was asked for before measured by what is undone.
        self.requests.values_mut().for_each(|request| request.forget_floor(|seen| believed.keeps(seen)));
        undone
    }

    /// The epoch that a home showed and that no signed record has proved yet: nothing more is taken from that home.
    pub fn unproven(&self) -> Option<Epoch> {
        self.unproven
    }

    /// Whether a home with this epoch may be believed.
    pub(super) fn is_proved(&mut self, epoch: Epoch) -> bool {
        let proved = !self.rules.checks.proved_epochs || self.believed.is_none_or(|believed| epoch <= believed);
        if !proved {
            self.unproven = Some(epoch);
        }
        proved
    }
}
