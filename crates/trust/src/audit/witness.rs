//! What a second node keeps of a node's audit log: its newest head, and the first one that was contradicted. Whoever
//! cuts or rewrites the log cannot change these. Pure: who sends, stores and asks stands in `node`.

use super::chain::AuditHead;
use serde::{Deserialize, Serialize};
use terms::UnixMs;

/// The kind of document in which a node signs where its log ends.
pub const HEAD_KIND: &str = "webos-audit-head-v1";

/// A node's word about the end of its own log; who signed it is the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadStatement {
    /// Where the log ended.
    pub head: AuditHead,
    /// When, by the node's clock.
    pub at: UnixMs,
}

/// What a witness keeps of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witnessed {
    /// The head with the greatest number that was ever told. It never goes back.
    pub newest: AuditHead,
    /// When it was told, by the witness's clock.
    pub at: UnixMs,
    /// A head that was told once and then contradicted: the first such, kept for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disputed: Option<AuditHead>,
}

/// What a witness makes of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Testimony {
    /// It is newer, and kept.
    Newer,
    /// It is known.
    Same,
    /// It cannot follow what is kept, which stays.
    Contradicts,
}

impl Witnessed {
    /// The first word of a node.
    pub fn new(head: AuditHead, at: UnixMs) -> Self {
        Self { newest: head, at, disputed: None }
    }

    /// Takes a later word: one with a smaller number, or with another hash for the same number, contradicts what the
    /// node said before.
    pub fn hear(&mut self, head: AuditHead, at: UnixMs) -> Testimony {
        if head == self.newest {
            self.at = at;
            return Testimony::Same;
        }
        if head.records <= self.newest.records {
            self.disputed.get_or_insert(self.newest);
            return Testimony::Contradicts;
        }
        (self.newest, self.at) = (head, at);
        Testimony::Newer
    }

    /// All heads that the log must contain.
    pub fn heads(&self) -> impl Iterator<Item = &AuditHead> {
        self.disputed.iter().chain([&self.newest])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use terms::Digest;

    #[test]
    fn a_witness_never_goes_back() {
        let head = |records, byte| AuditHead { records, hash: Digest([byte; 32]) };
        let mut kept = Witnessed::new(head(5, 1), UnixMs(1));
        assert_eq!(kept.hear(head(5, 1), UnixMs(2)), Testimony::Same);
        assert_eq!(kept.hear(head(7, 2), UnixMs(3)), Testimony::Newer);
        for (other, why) in [(head(6, 3), "rolled back"), (head(7, 3), "another hash"), (head(0, 0), "begun anew")]
        {
            assert_eq!(kept.hear(other, UnixMs(4)), Testimony::Contradicts, "{why}");
            assert_eq!(kept.newest, head(7, 2), "{why}");
        }
        // What was contradicted stays known, also once a log that goes on differently is longer.
        assert_eq!(kept.hear(head(9, 4), UnixMs(5)), Testimony::Newer);
        assert_eq!(kept.heads().copied().collect::<Vec<_>>(), [head(7, 2), head(9, 4)]);
    }
}
