//! What a link allows, and when one grant lies within others: the heart of attenuation. Paths are compared by whole
//! segments, rights one by one; nothing here knows whose rights they are.

use crate::decide::Object;
use crate::reason::Resource;
use serde::{Deserialize, Serialize};
use std::fmt;
use terms::{GroupName, Location, RealmName, Right, Rights, ServiceName, VolumeName, VolumePath};

/// What a link allows at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The place: a path, a group, a service.
    pub on: Resource,
    /// Only the place itself, not what is below it. Groups and services have nothing below them.
    pub exact: bool,
    /// The rights.
    pub rights: Rights,
}

impl Grant {
    /// A grant on a file or directory and all below it.
    pub fn below(location: Location, rights: Rights) -> Self {
        Self { on: Resource::Path(location), exact: false, rights }
    }

    /// A grant on exactly one file or directory.
    pub fn exactly(location: Location, rights: Rights) -> Self {
        Self { on: Resource::Path(location), exact: true, rights }
    }

    /// The realm that owns the place.
    pub fn realm(&self) -> &RealmName {
        match &self.on {
            Resource::Path(location) => &location.volume.realm,
            Resource::Group(group) => &group.realm,
            Resource::Service(service) => &service.realm,
        }
    }

    /// Whether this grant allows this right there.
    pub fn covers(&self, location: &Location, right: Right) -> bool {
        self.rights.has(right) && self.holds(location)
    }

    /// Whether this grant allows this right on a group or a service.
    pub fn covers_object(&self, object: &Object, right: Right) -> bool {
        let same = match (&self.on, object) {
            (Resource::Group(own), Object::Group(group)) => own == group,
            (Resource::Service(own), Object::Service(service)) => own == service,
            _ => false,
        };
        same && self.rights.has(right)
    }

    /// Whether each of its rights is allowed by one of these grants, wherever this grant reaches.
    pub fn within(&self, parents: &[Self]) -> bool {
        Right::ALL
            .iter()
            .filter(|right| self.rights.has(**right))
            .all(|right| parents.iter().any(|parent| parent.rights.has(*right) && parent.reaches(self)))
    }

    fn holds(&self, location: &Location) -> bool {
        let Resource::Path(own) = &self.on else { return false };
        let there = match self.exact {
            true => location.path == own.path,
            false => location.path.is_below(&own.path),
        };
        there && location.volume == own.volume
    }

    /// Whether every place that the other grant reaches is reached by this one.
    fn reaches(&self, other: &Self) -> bool {
        match &other.on {
            Resource::Path(location) => self.holds(location) && (other.exact || !self.exact),
            object => self.on == *object,
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = matches!(self.on, Resource::Path(_)) && !self.exact;
        let below = if whole { " and all below it" } else { "" };
        write!(f, "{} on {}{below}", self.rights, self.on)
    }
}

/// A grant as it travels: a path as its segments, so that there is nothing to normalise. Exactly one of volume, group
/// and service is there.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TravellingGrant {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    volume: Option<VolumeName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exact: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<GroupName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<ServiceName>,
    rights: Rights,
}

impl From<&Grant> for TravellingGrant {
    fn from(grant: &Grant) -> Self {
        let mut own =
            Self { volume: None, path: None, exact: None, group: None, service: None, rights: grant.rights };
        match &grant.on {
            Resource::Path(location) => {
                own.volume = Some(location.volume.clone());
                own.path = Some(location.path.segments().map(String::from).collect());
                own.exact = Some(grant.exact);
            }
            Resource::Group(group) => own.group = Some(group.clone()),
            Resource::Service(service) => own.service = Some(service.clone()),
        }
        own
    }
}

impl TryFrom<TravellingGrant> for Grant {
    type Error = String;
    fn try_from(grant: TravellingGrant) -> Result<Self, String> {
        let rights = grant.rights;
        if rights.is_empty() {
            return Err("one gives nothing".into());
        }
        let TravellingGrant { volume, path, exact, group, service, .. } = grant;
        match (volume, path, exact, group, service) {
            (Some(volume), Some(path), Some(exact), None, None) => {
                let path = path.iter().try_fold(VolumePath::root(), |path, segment| path.join(segment));
                let path = path.map_err(|error| error.to_string())?;
                Ok(Self { on: Resource::Path(Location { volume, path }), exact, rights })
            }
            (None, None, None, Some(group), None) => Ok(Self { on: Resource::Group(group), exact: true, rights }),
            (None, None, None, None, Some(service)) => {
                Ok(Self { on: Resource::Service(service), exact: true, rights })
            }
            _ => Err("one names no place, or several".into()),
        }
    }
}
