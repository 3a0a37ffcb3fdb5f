//! What a node's process says on its standard output, one JSON object a line, and what that means for the console.

use crate::console::EventKind;
use serde::Deserialize;
use terms::Principal;

/// A line that is understood. Other lines are for people, or for later versions.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Word {
    /// The node answers.
    Ready {
        /// Who it is.
        principal: Principal,
        /// `host:port` where it listens.
        address: String,
    },
    /// Its load daemon tells something.
    Notice {
        /// In words.
        text: String,
        /// As data.
        notice: Heard,
    },
}

/// A notice of the load daemon, as far as the console tells it apart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Heard {
    /// Which kind of `rentaserver::notice::Notice`.
    event: String,
    /// The server that it is about.
    pub server: Option<Principal>,
}

/// What a notice is to the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// An event of this kind.
    Event(EventKind),
    /// A renewed lease: an event only if it is the first one of a run.
    Renewal,
    /// Nothing that a person needs.
    Nothing,
}

impl Word {
    /// Reads a line; nothing if it is not understood.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

impl Heard {
    /// Whether a node that was recruited serves now. One that was asked to may still not start.
    pub fn is_recruited(&self) -> bool {
        self.event == "recruited"
    }

    /// What it is to the console.
    pub fn meaning(&self) -> Meaning {
        let kind = match self.event.as_str() {
            "in-charge" | "sized" => EventKind::Note,
            "recruiting" => EventKind::Recruited,
            "recruited" | "adopted" => EventKind::Serving,
            "not-started" => EventKind::Refused,
            "renewed" => return Meaning::Renewal,
            "silent" => EventKind::Down,
            "draining" => EventKind::Draining,
            "drained" => EventKind::Drained,
            "lost" => EventKind::Lease,
            "trouble" => EventKind::Error,
            _ => return Meaning::Nothing,
        };
        Meaning::Event(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rentaserver::notice::{Figures, Notice, Reason};
    use serde_json::json;

    #[test]
    fn every_notice_has_a_meaning() {
        let server: Principal = "spiffe://demo.localhost/server/n2".parse().expect("valid");
        let (who, why) = (server.clone(), "because".to_string());
        let (reason, figures) = (Reason::OverGoal, Figures::default());
        let sized = |change| Notice::Sized { servers: 1, change, full: false, reason, figures };
        let event = |kind| Meaning::Event(kind);
        for (notice, meaning) in [
            (Notice::InCharge { epoch: terms::Epoch(3) }, event(EventKind::Note)),
            (sized(2), event(EventKind::Note)),
            (sized(0), event(EventKind::Note)),
            (Notice::Recruiting { server: who.clone() }, event(EventKind::Recruited)),
            (Notice::Recruited { server: who.clone(), took_ms: 5 }, event(EventKind::Serving)),
            (Notice::Adopted { server: who.clone() }, event(EventKind::Serving)),
            (Notice::NotStarted { server: who.clone(), why: why.clone() }, event(EventKind::Refused)),
            (Notice::Renewed { server: who.clone(), active_for_ms: 9_000 }, Meaning::Renewal),
            (Notice::Silent { server: who.clone(), why: why.clone() }, event(EventKind::Down)),
            (Notice::Draining { server: who.clone(), why: why.clone() }, event(EventKind::Draining)),
            (Notice::Drained { server: who.clone(), took_ms: 5 }, event(EventKind::Drained)),
            (Notice::Lost { server: who, why: why.clone() }, event(EventKind::Lease)),
            (Notice::Trouble { what: why }, event(EventKind::Error)),
        ] {
            let line = json!({ "event": "notice", "at_ms": 1, "text": notice.to_string(), "notice": notice });
            let Some(Word::Notice { text, notice: heard }) = Word::parse(&line.to_string()) else {
                panic!("{line} is not understood")
            };
            assert_eq!((heard.meaning(), text), (meaning, notice.to_string()));
            assert_eq!(heard.server.as_ref(), notice.server());
            assert_eq!(heard.is_recruited(), matches!(notice, Notice::Recruited { .. }));
        }
    }

    #[test]
    fn lines_for_others_are_left_alone() {
        let ready =
            r#"{"event":"ready","name":"n1","principal":"spiffe://a/server/n1","pid":1,"address":"127.0.0.1:9"}"#;
        assert!(matches!(Word::parse(ready), Some(Word::Ready { address, .. }) if address == "127.0.0.1:9"));
        for line in ["", "hello", "{}", r#"{"event":"later"}"#, "[", r#"{"event":"ready"}"#] {
            assert_eq!(Word::parse(line), None, "{line}");
        }
        let later = r#"{"event":"notice","text":"t","notice":{"event":"new-kind"}}"#;
        let Some(Word::Notice { notice, .. }) = Word::parse(later) else { panic!("not understood") };
        assert_eq!(notice.meaning(), Meaning::Nothing);
    }
}
