//! The claims of one link as a forger handles them: any value under any name, in the order in which they were put.

use ciborium::Value;
use terms::Thumbprint;
use trust::Identity;

pub(crate) const ISS: i64 = 1;
pub(crate) const SUB: i64 = 2;
pub(crate) const AUD: i64 = 3;
pub(crate) const EXP: i64 = 4;
pub(crate) const NBF: i64 = 5;
pub(crate) const IAT: i64 = 6;
pub(crate) const CTI: i64 = 7;
pub(crate) const CNF: i64 = 8;
pub(crate) const GRANTS: i64 = -70_001;
pub(crate) const DEPTH: i64 = -70_002;
pub(crate) const VIA: i64 = -70_003;
pub(crate) const EPOCH: i64 = -70_004;
pub(crate) const JOB: i64 = -70_005;

/// The claims that every link has.
pub(crate) const REQUIRED: [i64; 11] = [ISS, SUB, AUD, EXP, NBF, IAT, CTI, CNF, GRANTS, DEPTH, EPOCH];

/// Claims in their order.
#[derive(Clone)]
pub(crate) struct Claims(Vec<(Value, Value)>);

impl Claims {
    /// A link from one to the other on behalf of somebody, from now for an hour, of epoch 1, with no grants yet.
    pub fn new(from: &Identity, subject: &str, to: &Identity, now: u64) -> Self {
        let mut claims = Self(Vec::new());
        claims.set(ISS, from.principal().to_string());
        claims.set(SUB, subject);
        claims.set(AUD, to.principal().to_string());
        claims.set(EXP, now + 3600);
        claims.set(NBF, now);
        claims.set(IAT, now);
        claims.set(CTI, Value::Bytes(vec![7; 16]));
        claims.set(CNF, confirmation(to.key().thumbprint()));
        claims.set(DEPTH, 0u64);
        claims.set(EPOCH, 1u64);
        claims
    }

    pub fn set(&mut self, name: i64, value: impl Into<Value>) {
        let value = value.into();
        match self.0.iter_mut().find(|(found, _)| *found == name.into()) {
            Some((_, present)) => *present = value,
            None => self.0.push((name.into(), value)),
        }
    }

    pub fn push(&mut self, name: Value, value: Value) {
        self.0.push((name, value));
    }

    pub fn remove(&mut self, name: i64) {
        self.0.retain(|(found, _)| *found != name.into());
    }

    pub fn has(&self, name: i64) -> bool {
        self.get(name).is_some()
    }

    pub fn get(&self, name: i64) -> Option<Value> {
        self.0.iter().find(|(found, _)| *found == name.into()).map(|(_, value)| value.clone())
    }

    pub fn value(&self) -> Value {
        Value::Map(self.0.clone())
    }
}

/// Confirmation by thumbprint.
pub(crate) fn confirmation(key: Thumbprint) -> Value {
    Value::Map(vec![(3.into(), Value::Bytes(key.0.to_vec()))])
}

/// A grant on a path.
pub(crate) fn grant(volume: &str, path: &[&str], exact: bool, rights: &str) -> Value {
    let path = path.iter().map(|segment| Value::from(*segment)).collect();
    Value::Map(vec![
        ("volume".into(), volume.into()),
        ("path".into(), Value::Array(path)),
        ("exact".into(), exact.into()),
        ("rights".into(), rights.into()),
    ])
}

/// A grant on a group or a service.
pub(crate) fn object(kind: &str, name: &str, rights: &str) -> Value {
    Value::Map(vec![(kind.into(), name.into()), ("rights".into(), rights.into())])
}

/// How a link names its parent: SHA-256 of the parent as it travels.
pub(crate) fn parent_hash(link: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, link).as_ref().to_vec()
}
