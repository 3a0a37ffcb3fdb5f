//! The documents of discovery as they cross the wire: service certificate, table, right to serve, volume record.
//!
//! These types say nothing about who signed them; [`crate::verified`] opens signed bytes and checks them. All are
//! CBOR maps with field names, and unknown fields are ignored.

use serde::{Deserialize, Serialize};
use std::fmt;
use terms::{
    ChangeNumber, Epoch, Generation, Location, Principal, Serial, ServiceName, Thumbprint, UnixMs, VolumeName,
};
use trust::{Bucket, PublicKey};

/// The kind (external data of the signature) of a [`ServiceCertificate`].
pub const SERVICE_KIND: &str = "webos-service-v1";
/// The kind of a [`Table`].
pub const TABLE_KIND: &str = "webos-table-v1";
/// The kind of a [`RightToServe`].
pub const RIGHT_KIND: &str = "webos-right-v1";
/// The kind of a [`VolumeRecord`].
pub const VOLUME_KIND: &str = "webos-volume-v1";
/// The kind of a signed manifest.
pub const MANIFEST_KIND: &str = "webos-manifest-v1";
/// The media type under which a file's signed manifest is asked for.
pub const MANIFEST_TYPE: &str = "application/vnd.webos.manifest+cbor";

/// A place on the earth, in degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawPlace", into = "RawPlace")]
pub struct Place {
    lat: f64,
    lon: f64,
}

#[derive(Serialize, Deserialize)]
struct RawPlace {
    lat: f64,
    lon: f64,
}

/// Latitude or longitude out of range, or no number.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("lat={lat}, lon={lon} is no place: latitude is -90 to 90 and longitude -180 to 180 degrees")]
pub struct PlaceError {
    /// The latitude as it came.
    pub lat: f64,
    /// The longitude as it came.
    pub lon: f64,
}

impl Place {
    /// A place from degrees.
    pub fn new(lat: f64, lon: f64) -> Result<Self, PlaceError> {
        if (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon) {
            Ok(Self { lat, lon })
        } else {
            Err(PlaceError { lat, lon })
        }
    }

    /// Latitude in degrees, north positive.
    pub fn lat(self) -> f64 {
        self.lat
    }

    /// Longitude in degrees, east positive.
    pub fn lon(self) -> f64 {
        self.lon
    }

    /// The place rounded to so many decimals of a degree (0: about 100 km; 1: about 10 km).
    #[must_use]
    pub fn rounded(self, decimals: u8) -> Self {
        let scale = 10f64.powi(i32::from(decimals.min(6)));
        Self { lat: (self.lat * scale).round() / scale, lon: (self.lon * scale).round() / scale }
    }

    /// The great-circle distance in kilometres (haversine formula, mean radius).
    pub fn distance_km(self, other: Self) -> f64 {
        let (lat1, lat2) = (self.lat.to_radians(), other.lat.to_radians());
        let (dlat, dlon) = (lat2 - lat1, (other.lon - self.lon).to_radians());
        let h = (dlat / 2.0).sin().powi(2) + lat1.cos() * lat2.cos() * (dlon / 2.0).sin().powi(2);
        2.0 * 6371.0 * h.clamp(0.0, 1.0).sqrt().asin()
    }
}

impl TryFrom<RawPlace> for Place {
    type Error = PlaceError;
    fn try_from(raw: RawPlace) -> Result<Self, PlaceError> {
        Self::new(raw.lat, raw.lon)
    }
}

impl From<Place> for RawPlace {
    fn from(place: Place) -> Self {
        Self { lat: place.lat, lon: place.lon }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}, {:.2}", self.lat, self.lon)
    }
}

/// What a server says about its own load. All values are finite and not negative where they were parsed here.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Load {
    /// Time-averaged requests in flight.
    pub inflight: f64,
    /// Requests per second.
    pub rps: f64,
    /// Body bytes sent per second.
    pub bytes_per_s: f64,
    /// Mean response time at the server, milliseconds.
    pub latency_ms: f64,
    /// Requests that wait for their turn at this moment.
    pub waiting: u32,
}

/// A server named by the service certificate: used without a right to serve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerEntry {
    /// The node.
    pub principal: Principal,
    /// The node's public key: TLS connections and signatures are checked against it.
    pub key: PublicKey,
    /// `host:port` of its front.
    pub address: String,
    /// Where it is, if its owner says.
    pub place: Option<Place>,
    /// Estimated power relative to a server of power 1.
    pub power: f64,
    /// Price per hour in the owner's unit; 0 is free.
    pub price: f64,
    /// Whether it holds the service's files: its key signs their manifests.
    pub primary: bool,
    /// Whether it may sign tables and rights to serve.
    pub authority: bool,
}

/// What a service says about itself, signed by the service's principal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceCertificate {
    /// The service.
    pub service: ServiceName,
    /// Orders the certificates of this service: the highest valid one counts.
    pub serial: Serial,
    /// The epoch of the server group: tables and rights of a smaller one are refused.
    pub epoch: Epoch,
    /// The servers that never need a right to serve.
    pub servers: Vec<ServerEntry>,
    /// The folder whose files the service serves.
    pub files: Location,
    /// Who may use the service: its access list, which every front checks (`r` is what counts).
    pub readers: Bucket,
    /// The mean latency that the service wants to keep, milliseconds.
    pub goal_ms: u32,
    /// How much a client stays with its last server: 0 (not at all) to 1.
    pub stickiness: f64,
    /// Not valid before this time.
    pub valid_from: UnixMs,
    /// Not valid after this time.
    pub valid_until: UnixMs,
}

/// One server as a [`Table`] shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableEntry {
    /// The node.
    pub server: Principal,
    /// Its key.
    pub key: Thumbprint,
    /// `host:port` of its front.
    pub address: String,
    /// Where it is, if its owner says.
    pub place: Option<Place>,
    /// Its power.
    pub power: f64,
    /// Its load as it reported it.
    pub load: Load,
    /// How old that report was when the table was signed, milliseconds.
    pub load_age_ms: u32,
    /// How long from the signing on the server is guaranteed to serve, milliseconds; 0: do not use.
    pub active_for_ms: u32,
    /// Whether it is a server of the certificate that holds the files.
    pub primary: bool,
}

/// The state of a service's group, signed once a second by an authority of the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The service.
    pub service: ServiceName,
    /// The authority's epoch: a smaller one than seen before is refused.
    pub epoch: Epoch,
    /// Rises with each change of membership.
    pub generation: Generation,
    /// When it was signed, by the authority's clock (the service's time).
    pub signed_at: UnixMs,
    /// The servers.
    pub entries: Vec<TableEntry>,
}

/// Allows one surrogate to serve one service, signed by an authority of the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RightToServe {
    /// The service.
    pub service: ServiceName,
    /// The surrogate.
    pub server: Principal,
    /// The surrogate's key.
    pub key: Thumbprint,
    /// `host:port` where it serves.
    pub address: String,
    /// The authority's epoch.
    pub epoch: Epoch,
    /// Not before this service time.
    pub not_before: UnixMs,
    /// Not after this service time.
    pub not_after: UnixMs,
}

/// The answer to `GET /.webos/name/NAME/state`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateReply {
    /// The newest signed [`Table`].
    #[serde(with = "serde_bytes")]
    pub table: Vec<u8>,
    /// The signed [`RightToServe`] of each surrogate.
    pub rights: Vec<serde_bytes::ByteBuf>,
    /// The service's time when the reply was made.
    pub now: UnixMs,
}

/// Where a volume lives, signed by the first node of its realm: the only one that raises its epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// The volume.
    pub volume: VolumeName,
    /// The home node.
    pub home: Principal,
    /// The home's key: manifests of the volume are signed with it.
    pub key: PublicKey,
    /// `host:port` of the home.
    pub address: String,
    /// Rises when the volume moves to another home, or is restored.
    pub epoch: Epoch,
    /// How it came to this epoch, the earliest first: at most the last [`crate::limits::MAX_RAISES`].
    #[serde(default)]
    pub raises: Vec<Raise>,
}

/// A volume took a new epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raise {
    /// The epoch that began.
    pub epoch: Epoch,
    /// The last change that the new epoch took over: what an earlier one had above it is gone.
    pub change: ChangeNumber,
}

/// The path of a service's certificate on a name server; `name` is the service's label.
pub fn certificate_route(service: &ServiceName) -> String {
    format!("/.webos/name/{}", service.name)
}

/// The path of a group's state on a name server.
pub fn state_route(service: &ServiceName) -> String {
    format!("/.webos/name/{}/state", service.name)
}

/// The path of a volume's record on a name server.
pub fn volume_route(volume: &VolumeName) -> String {
    format!("/.webos/name/{}.volume", volume.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_checked_rounded_and_measured() {
        let (rome, oslo) = (Place::new(41.9, 12.5).expect("valid"), Place::new(59.9, 10.7).expect("valid"));
        let km = rome.distance_km(oslo);
        assert!((1950.0..2050.0).contains(&km), "{km}");
        assert!(rome.distance_km(rome) < 0.001);
        assert_eq!((rome.rounded(0).lat(), rome.rounded(0).lon()), (42.0, 13.0));
        for (lat, lon) in [(91.0, 0.0), (0.0, 181.0), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
            assert!(Place::new(lat, lon).is_err(), "{lat} {lon}");
        }
    }
}
