//! Cedar as the peer: one policy for each entry of a list, membership as its own hierarchy of entities.

use anyhow::{Context as _, Result};
use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request};
use serde_json::json;
use terms::{Right, Who};
use trust::{Bucket, Groups};

/// Policies and entities, parsed once.
pub struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
}

impl Cedar {
    /// The same list, the same groups.
    pub fn new(bucket: &Bucket, groups: &Groups, names: &[String]) -> Result<Self> {
        let mut text = String::new();
        for (who, rights) in bucket.entries() {
            let scope = match who {
                Who::Anyone => "principal".to_owned(),
                Who::Authenticated => "principal is Principal".to_owned(),
                Who::Principal(principal) => format!("principal == Principal::\"{principal}\""),
                Who::Group(group) => format!("principal in Group::\"{group}\""),
            };
            let actions: Vec<_> = Right::ALL
                .iter()
                .filter(|right| rights.has(**right))
                .map(|right| format!("Action::\"{right}\""))
                .collect();
            text.push_str(&format!("permit({scope}, action in [{}], resource);\n", actions.join(", ")));
        }
        let mut entities = Vec::new();
        for name in names {
            let list = groups.get(&name.parse()?).context("a list")?;
            let group = json!({ "type": "Group", "id": name });
            entities.push(json!({ "uid": group, "attrs": {}, "parents": [] }));
            entities.extend(list.members().keys().map(|who| {
                json!({ "uid": { "type": "Principal", "id": who.to_string() }, "attrs": {}, "parents": [group] })
            }));
        }
        Ok(Self {
            authorizer: Authorizer::new(),
            policies: text.parse().context("our policies are Cedar")?,
            entities: Entities::from_json_value(entities.into(), None).context("our entities are Cedar's")?,
        })
    }

    /// One question, from names to the answer.
    pub fn ask(&self, subject: &str, right: &str) -> Result<bool> {
        let uid = |kind: &str, id: &str| -> Result<EntityUid> {
            Ok(EntityUid::from_type_name_and_id(kind.parse()?, id.parse()?))
        };
        let (subject, action, resource) = (uid("Principal", subject)?, uid("Action", right)?, uid("Object", "0")?);
        let request = Request::new(subject, action, resource, Context::empty(), None)?;
        let answer = self.authorizer.is_authorized(&request, &self.policies, &self.entities);
        Ok(answer.decision() == Decision::Allow)
    }
}
