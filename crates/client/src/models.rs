//! The documents and messages of the services below, by one name for applications.

pub use discovery::model::*;
/// Times and sizes of lending: leases, renewals, the fence, the life of a right to serve.
pub use process::limits as lending;
pub use process::model::*;
pub use webfs::model::{DirEntry, Entry, FileKind, Listing, ObjectVersion, Policy};
