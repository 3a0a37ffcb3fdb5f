//! What a second node keeps of a node's audit log: its newest head, and the first one that was contradicted. Whoever
//! cuts or rewrites the log cannot change these. Pure: who sends, stores and asks stands in `node`.

use super::chain::AuditHead;
use crate::limits::MAX_LOST_HEADS;
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
    /// Ends of the log that were lost, and that its newest files acknowledge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acknowledged: Vec<AuditHead>,
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
    /// Heads that were told once, and then acknowledged as lost: kept for good, so that the log has to say so for good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<AuditHead>,
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
    /// It cannot follow what was kept, and acknowledges that that was lost: it is kept in its place.
    Acknowledges,
}

impl Witnessed {
    /// The first word of a node.
    pub fn new(head: AuditHead, at: UnixMs) -> Self {
        Self { newest: head, at, disputed: None, lost: Vec::new() }
    }

    /// Takes a later word: one with a smaller number, or with another hash for the same number, contradicts what the
    /// node said before, unless the log acknowledges that that was lost.
    pub fn hear(&mut self, head: AuditHead, at: UnixMs, acknowledged: &[AuditHead]) -> Testimony {
        if head == self.newest {
            self.at = at;
            return Testimony::Same;
        }
        if head.records <= self.newest.records {
            if acknowledged.contains(&self.newest) && self.lost.len() < MAX_LOST_HEADS {
                self.lost.push(self.newest);
                (self.newest, self.at) = (head, at);
                return Testimony::Acknowledges;
            }
            self.disputed.get_or_insert(self.newest);
            return Testimony::Contradicts;
        }
        (self.newest, self.at) = (head, at);
        Testimony::Newer
    }

    /// All heads that the log must contain.
    pub fn heads(&self) -> impl Iterator<Item = &AuditHead> {
        self.disputed.iter().chain(&self.lost).chain([&self.newest])
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
        assert_eq!(kept.hear(head(5, 1), UnixMs(2), &[]), Testimony::Same);
        assert_eq!(kept.hear(head(7, 2), UnixMs(3), &[]), Testimony::Newer);
        for (other, why) in [(head(6, 3), "rolled back"), (head(7, 3), "another hash"), (head(0, 0), "begun anew")]
        {
            assert_eq!(kept.hear(other, UnixMs(4), &[]), Testimony::Contradicts, "{why}");
            assert_eq!(kept.newest, head(7, 2), "{why}");
        }
        // What was contradicted stays known, also once a log that goes on differently is longer.
        assert_eq!(kept.hear(head(9, 4), UnixMs(5), &[]), Testimony::Newer);
        assert_eq!(kept.heads().copied().collect::<Vec<_>>(), [head(7, 2), head(9, 4)]);
    }

    #[test]
    fn what_is_acknowledged_is_lost_for_good_and_the_witness_follows_again() {
        let head = |records, byte| AuditHead { records, hash: Digest([byte; 32]) };
        let mut kept = Witnessed::new(head(9, 1), UnixMs(1));
        assert_eq!(kept.hear(head(5, 2), UnixMs(2), &[head(9, 3)]), Testimony::Contradicts, "another end");
        assert_eq!(kept.hear(head(5, 2), UnixMs(3), &[head(9, 1)]), Testimony::Acknowledges);
        assert_eq!(kept.hear(head(5, 2), UnixMs(4), &[head(9, 1)]), Testimony::Same);
        assert_eq!(kept.hear(head(6, 2), UnixMs(5), &[head(9, 1)]), Testimony::Newer);
        assert_eq!(kept.hear(head(5, 2), UnixMs(6), &[head(9, 1)]), Testimony::Contradicts, "cut again");
        let heads: Vec<_> = kept.heads().copied().collect();
        assert_eq!(heads, [head(9, 1), head(9, 1), head(6, 2)], "a log that does not say so misses it for ever");
        // A log that loses its end again and again is not believed for ever.
        let (mut kept, mut told) = (Witnessed::new(head(1, 0), UnixMs(1)), head(1, 0));
        for byte in 1..=MAX_LOST_HEADS {
            let next = head(1, u8::try_from(byte).expect("few"));
            assert_eq!(kept.hear(next, UnixMs(2), &[told]), Testimony::Acknowledges);
            told = next;
        }
        assert_eq!(kept.hear(head(1, 99), UnixMs(3), &[told]), Testimony::Contradicts);
    }
}
