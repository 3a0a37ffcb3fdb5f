//! Opens signed documents and says what is wrong with them. A value of one of these types was checked; nothing
//! else can make one.
//!
//! The service certificate stands on the realm's trust bundle; tables and rights stand on the authorities that it
//! lists; manifests stand on its primary servers. Times are checked where documents are used, in
//! [`crate::eligible`], not here.

use crate::limits::{MAX_ADDRESS_BYTES, MAX_AHEAD, MAX_DOCUMENT_BYTES, MAX_SERVERS, MAX_TABLE_ENTRIES};
use crate::manifest::{Manifest, ManifestError, SignedManifest};
use crate::model::{
    MANIFEST_KIND, RIGHT_KIND, RightToServe, SERVICE_KIND, ServerEntry, ServiceCertificate, TABLE_KIND, Table,
};
use serde::de::DeserializeOwned;
use std::ops::Deref;
use std::sync::Arc;
use terms::{Principal, PrincipalKind, ServiceName, Thumbprint, UnixMs, VolumePath};
use trust::signed::{open, open_with};
use trust::{PublicKey, TrustError, TrustStore};

/// Why a document was refused.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The signature, or the chain behind it, is not valid.
    #[error("the {what} of {service} is not validly signed")]
    Signature {
        /// Which document.
        what: &'static str,
        /// Of which service.
        service: ServiceName,
        /// What `trust` says.
        #[source]
        source: Box<TrustError>,
    },
    /// Nobody who may sign it did.
    #[error("the {what} of {service} is signed by nobody who may")]
    Signer {
        /// Which document.
        what: &'static str,
        /// Of which service.
        service: ServiceName,
    },
    /// It belongs to something else.
    #[error("the {what} is for {found}, not for {expected}")]
    Subject {
        /// Which document.
        what: &'static str,
        /// For what it is.
        found: String,
        /// For what it should be.
        expected: String,
    },
    /// A value in it makes no sense.
    #[error("the {what} of {service} is not usable: {why}")]
    Content {
        /// Which document.
        what: &'static str,
        /// Of which service.
        service: ServiceName,
        /// What makes no sense.
        why: String,
    },
    /// Not valid at this time by this machine's wall clock.
    #[error("the certificate of {service} is valid from {} to {}, and this machine's clock says {}", from.secs(), until.secs(), now.secs())]
    Validity {
        /// The service.
        service: ServiceName,
        /// Valid from.
        from: UnixMs,
        /// Valid until.
        until: UnixMs,
        /// The clock.
        now: UnixMs,
    },
    /// The manifest contradicts itself.
    #[error("the manifest of {path} is not usable")]
    Manifest {
        /// The file.
        path: VolumePath,
        /// What is wrong.
        #[source]
        source: ManifestError,
    },
}

/// A service certificate whose signature, signer, times and values were checked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Certificate(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    value: ServiceCertificate,
    bytes: Vec<u8>,
    keys: Vec<Thumbprint>,
}

/// A table signed by an authority of the certificate.
#[derive(Debug, Clone)]
pub struct CheckedTable(Arc<Table>);

/// A right to serve signed by an authority of the certificate.
#[derive(Debug, Clone)]
pub struct CheckedRight(Arc<RightToServe>);

impl Deref for CheckedTable {
    type Target = Table;
    fn deref(&self) -> &Table {
        &self.0
    }
}

impl Deref for CheckedRight {
    type Target = RightToServe;
    fn deref(&self) -> &RightToServe {
        &self.0
    }
}

impl Certificate {
    /// Opens the certificate of `service`: the signer is the service's own principal, it is valid now, and its
    /// values are usable.
    pub fn open(
        bytes: &[u8],
        service: &ServiceName,
        trust: &TrustStore,
        now: UnixMs,
    ) -> Result<Self, DocumentError> {
        let what = "certificate";
        check_length(bytes, what, service)?;
        let opened = open::<ServiceCertificate>(bytes, SERVICE_KIND, trust, now).map_err(|source| {
            DocumentError::Signature { what, service: service.clone(), source: Box::new(source) }
        })?;
        let signer = Principal::new(service.realm.clone(), PrincipalKind::Service, service.name.clone());
        if opened.signer != signer {
            return Err(DocumentError::Signer { what, service: service.clone() });
        }
        let value = opened.value;
        if value.service != *service {
            return Err(DocumentError::Subject {
                what,
                found: value.service.to_string(),
                expected: service.to_string(),
            });
        }
        check_values(&value, now)?;
        Ok(Self::of(value, bytes.to_vec()))
    }

    fn of(value: ServiceCertificate, bytes: Vec<u8>) -> Self {
        let keys = value.servers.iter().map(|server| server.key.thumbprint()).collect();
        Self(Arc::new(Opened { value, bytes, keys }))
    }

    /// What the certificate says.
    pub fn value(&self) -> &ServiceCertificate {
        &self.0.value
    }

    /// The signed bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The servers with the thumbprints of their keys.
    pub fn servers(&self) -> impl Iterator<Item = (Thumbprint, &ServerEntry)> {
        self.0.keys.iter().copied().zip(&self.0.value.servers)
    }

    /// Opens a table of this service.
    pub fn open_table(&self, bytes: &[u8]) -> Result<CheckedTable, DocumentError> {
        let table: Table = self.by_authority(bytes, TABLE_KIND, "table")?;
        self.same_service(&table.service, "table")?;
        if table.entries.len() > MAX_TABLE_ENTRIES {
            return Err(self.content("table", format!("{} entries are too many", table.entries.len())));
        }
        if let Some(bad) = table.entries.iter().find(|entry| !usable(&entry.address, entry.power)) {
            return Err(
                self.content("table", format!("the entry of {} has no usable address or power", bad.server))
            );
        }
        Ok(CheckedTable(Arc::new(table)))
    }

    /// Opens a right to serve of this service.
    pub fn open_right(&self, bytes: &[u8]) -> Result<CheckedRight, DocumentError> {
        let right: RightToServe = self.by_authority(bytes, RIGHT_KIND, "right to serve")?;
        self.same_service(&right.service, "right to serve")?;
        Ok(CheckedRight(Arc::new(right)))
    }

    /// Opens the manifest of the file behind `path` of this service: signed by a primary server, of the service's
    /// volume, and of that file or of the index page of that folder.
    pub fn open_manifest(&self, bytes: &[u8], path: &VolumePath) -> Result<Manifest, DocumentError> {
        let what = "manifest";
        check_length(bytes, what, &self.0.value.service)?;
        let primaries = self.0.value.servers.iter().filter(|server| server.primary);
        let statement: SignedManifest = self.by_one_of(primaries, bytes, MANIFEST_KIND, what)?;
        let files = &self.0.value.files;
        let expected = files.path.under(path).map_err(|error| self.content(what, error.to_string()))?;
        let index = expected.join("index.html").ok();
        let right_path = statement.path == expected || Some(&statement.path) == index.as_ref();
        if statement.volume != files.volume || !right_path {
            return Err(DocumentError::Subject {
                what,
                found: format!("{}/{}", statement.volume, statement.path),
                expected: format!("{}/{expected}", files.volume),
            });
        }
        Manifest::check(statement).map_err(|source| DocumentError::Manifest { path: path.clone(), source })
    }

    fn by_authority<T: DeserializeOwned>(
        &self,
        bytes: &[u8],
        kind: &'static str,
        what: &'static str,
    ) -> Result<T, DocumentError> {
        check_length(bytes, what, &self.0.value.service)?;
        self.by_one_of(self.0.value.servers.iter().filter(|server| server.authority), bytes, kind, what)
    }

    fn by_one_of<'a, T: DeserializeOwned>(
        &self,
        mut signers: impl Iterator<Item = &'a ServerEntry>,
        bytes: &[u8],
        kind: &'static str,
        what: &'static str,
    ) -> Result<T, DocumentError> {
        signers
            .find_map(|server| open_with::<T>(bytes, kind, &server.key).ok())
            .ok_or_else(|| DocumentError::Signer { what, service: self.0.value.service.clone() })
    }

    fn same_service(&self, found: &ServiceName, what: &'static str) -> Result<(), DocumentError> {
        if *found == self.0.value.service {
            return Ok(());
        }
        let expected = self.0.value.service.to_string();
        Err(DocumentError::Subject { what, found: found.to_string(), expected })
    }

    fn content(&self, what: &'static str, why: String) -> DocumentError {
        DocumentError::Content { what, service: self.0.value.service.clone(), why }
    }
}

/// Whether an authority's key of the certificate is this one; for servers that check who calls them.
pub fn is_authority(certificate: &Certificate, key: &PublicKey) -> bool {
    certificate.0.value.servers.iter().any(|server| server.authority && server.key == *key)
}

fn check_length(bytes: &[u8], what: &'static str, service: &ServiceName) -> Result<(), DocumentError> {
    if bytes.len() <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    let why = format!("it has {} bytes, the limit is {MAX_DOCUMENT_BYTES}", bytes.len());
    Err(DocumentError::Content { what, service: service.clone(), why })
}

fn usable(address: &str, power: f64) -> bool {
    let shape =
        address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    shape && address.len() <= MAX_ADDRESS_BYTES && power.is_finite() && power > 0.0
}

fn check_values(value: &ServiceCertificate, now: UnixMs) -> Result<(), DocumentError> {
    let (from, until) = (value.valid_from, value.valid_until);
    if now.plus(MAX_AHEAD) < from || until <= now {
        return Err(DocumentError::Validity { service: value.service.clone(), from, until, now });
    }
    let content =
        |why: String| Err(DocumentError::Content { what: "certificate", service: value.service.clone(), why });
    if value.servers.is_empty() || value.servers.len() > MAX_SERVERS {
        return content(format!("it lists {} servers; 1 to {MAX_SERVERS} are allowed", value.servers.len()));
    }
    if let Some(bad) = value.servers.iter().find(|server| !usable(&server.address, server.power)) {
        return content(format!("{} has no usable address or power", bad.principal));
    }
    if !(0.0..=1.0).contains(&value.stickiness) {
        return content(format!("the stickiness {} is not between 0 and 1", value.stickiness));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn certificate(value: ServiceCertificate) -> Certificate {
        Certificate::of(value, Vec::new())
    }

    pub(crate) fn table(value: Table) -> CheckedTable {
        CheckedTable(Arc::new(value))
    }

    pub(crate) fn right(value: RightToServe) -> CheckedRight {
        CheckedRight(Arc::new(value))
    }
}
