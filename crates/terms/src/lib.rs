//! The vocabulary of WebOS as types: names, rights, paths, times, ids, and the errors that cross the wire.
//!
//! Promise: a value of one of these types is valid; every constructor that takes foreign text checks it and
//! says what is wrong. This crate does no I/O, reads no clock, and knows nothing of HTTP, TLS or files.

mod ids;
mod limits;
mod names;
mod path;
mod principal;
mod problem;
mod rights;
mod size;
mod time;

pub use ids::{
    ChangeNumber, Digest, Epoch, Generation, OperationId, Serial, SessionId, Thumbprint, TransferId, Version,
};
pub use limits::{MAX_LABEL_BYTES, MAX_PATH_BYTES, MAX_PATH_SEGMENTS, MAX_REALM_BYTES, MAX_SEGMENT_BYTES};
pub use names::{Label, NameError, RealmName, ServiceName, VolumeName};
pub use path::{Location, PathError, VolumePath};
pub use principal::{GroupName, Principal, PrincipalKind, Who};
pub use problem::{Code, Problem};
pub use rights::{Right, Rights, RightsError};
pub use size::{ByteCount, SizeError};
pub use time::{BootMs, UnixMs, parse_duration};
