//! Who may do what in the world that a console shows, what was decided last, and what a person may take back, as it
//! crosses to the page: JSON, field names as written here. The page asks for it when somebody looks.

use serde::{Deserialize, Serialize};
use terms::{Code, Location, Principal, Problem, Rights, TransferId, UnixMs, Who};

/// `GET /api/rights`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RightsView {
    /// When this was gathered.
    pub now: UnixMs,
    /// Access lists, the volume's own first.
    pub lists: Vec<ListView>,
    /// Groups that stand in them.
    pub groups: Vec<GroupView>,
    /// Members of the realm, by name.
    pub members: Vec<MemberView>,
    /// Transfer certificates that hold now, the one that ends first in front.
    pub transfers: Vec<TransferView>,
    /// Bearer tokens of the person.
    pub tokens: Vec<TokenView>,
    /// The newest audit records of all nodes, newest first.
    pub audit: Vec<AuditView>,
    /// What could not be asked, in a sentence each.
    pub missing: Vec<String>,
}

/// One access list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListView {
    /// Where: `site.demo.localhost/www`.
    pub place: String,
    /// Who holds what.
    pub entries: Vec<EntryView>,
}

/// One entry of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntryView {
    /// Who.
    pub who: String,
    /// Which rights.
    pub rights: String,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupView {
    /// Its name.
    pub group: String,
    /// Its members, each with its end if it has one.
    pub members: Vec<(String, Option<UnixMs>)>,
}

/// One member of the realm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemberView {
    /// Who.
    pub who: String,
    /// The end of its newest certificate.
    pub until: UnixMs,
    /// How it stands.
    pub standing: Standing,
    /// Why it is not revoked here, such as `you`; none if it may be.
    pub kept: Option<&'static str>,
}

/// How a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It gets certificates.
    Active,
    /// Suspected to have a clone.
    Cordoned,
    /// Every certificate of it was taken back.
    Revoked,
}

/// One transfer certificate: what its last link says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransferView {
    /// Its id.
    pub id: String,
    /// Who signed it.
    pub issuer: String,
    /// In whose name it is used.
    pub subject: String,
    /// By whom.
    pub audience: String,
    /// What it allows, in words.
    pub grants: Vec<String>,
    /// Its end.
    pub until: UnixMs,
    /// How many links it has.
    pub links: usize,
    /// Over how many more servers it may be passed on.
    pub depth: u8,
    /// In whose purses it lies: names of nodes, or `you`.
    pub purses: Vec<String>,
}

/// One bearer token, without its secret.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenView {
    /// Its id.
    pub id: String,
    /// For whom it asks.
    pub subject: String,
    /// What it gives, in words.
    pub grants: Vec<String>,
    /// Its end.
    pub until: UnixMs,
}

/// One audit record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditView {
    /// The node that decided.
    pub node: String,
    /// Its number there.
    pub seq: u64,
    /// When.
    pub at: UnixMs,
    /// `granted`, `refused` or `changed`.
    pub outcome: trust::AuditOutcome,
    /// For whom, or who; nobody without a certificate.
    pub who: Option<String>,
    /// The right asked for.
    pub right: Option<String>,
    /// On what.
    pub resource: String,
    /// Why.
    pub reason: String,
    /// The ids of the links that stood behind it.
    pub links: Vec<String>,
    /// For how many alike it stands.
    pub count: u64,
}

/// What a person takes back: `POST /api/rights/revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Revocation {
    /// Rights in an access list, and in those below it.
    Entry {
        /// Where.
        place: String,
        /// Whose.
        who: String,
        /// Which.
        rights: String,
    },
    /// A bearer token.
    Token {
        /// Its id.
        id: String,
    },
    /// A transfer certificate, with all that was lent on under it.
    Transfer {
        /// Its id.
        id: TransferId,
    },
    /// Every certificate of a member.
    Principal {
        /// Whose.
        who: Principal,
    },
}

impl Revocation {
    /// The entry that is meant, if its words are well-formed.
    pub fn entry(place: &str, who: &str, rights: &str) -> Result<(Location, Who, Rights), Problem> {
        let wrong = |error: String| Problem::new(Code::Invalid, error).next("load the page again");
        let place = place.parse().map_err(|error: terms::PathError| wrong(error.to_string()))?;
        let who = who.parse().map_err(|error: terms::NameError| wrong(error.to_string()))?;
        let rights = rights.parse().map_err(|error: terms::RightsError| wrong(error.to_string()))?;
        Ok((place, who, rights))
    }
}
