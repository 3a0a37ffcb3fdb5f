//! The rights of the local world for its console: gathered as the person who owns it, who can see and take back what
//! it gave. Decides nothing: each question and each change is the home's to answer.

use super::limits::{AUDIT_SHOWN, RIGHTS_PATIENCE};
use super::world::Names;
use crate::console::rights::{AuditView, EntryView, GroupView, ListView, Revocation, RightsView, TokenView};
use client::protocol::{AclChange, TokenRequest};
use client::{Client, Folder};
use std::cmp::Reverse;
use terms::{Code, Label, Location, Problem, VolumePath};
use tokio::time::timeout;
use trust::{AuditEntry, Grant, GroupList};

/// What the console's questions about rights need.
pub struct Desk {
    /// The person's client.
    pub client: Client,
    /// What the world is called.
    pub names: Names,
    /// Every node's folder.
    pub folders: Vec<(Label, Folder)>,
}

impl Desk {
    /// Everything that can be asked now. What cannot is said, and the rest is shown.
    pub async fn view(&self) -> Result<RightsView, Problem> {
        let mut view = RightsView { now: self.client.world().clock.unix(), ..RightsView::default() };
        let asked = timeout(RIGHTS_PATIENCE, self.ask(&mut view)).await.unwrap_or_else(|_| {
            Err(Problem::new(Code::Timeout, "the home does not answer").next("revive it on this page"))
        });
        if let Err(problem) = asked {
            view.missing.push(problem.to_string());
        }
        for (name, folder) in &self.folders {
            let path = folder.audit();
            if !path.exists() {
                continue;
            }
            let newest = tokio::task::spawn_blocking(move || trust::newest_audit(&path, AUDIT_SHOWN)).await;
            match newest {
                Ok(Ok(entries)) => view.audit.extend(entries.into_iter().map(|entry| record(name, entry))),
                _ => view.missing.push(format!("the audit log of {name} cannot be read")),
            }
        }
        view.audit.sort_by_key(|record| Reverse((record.at, record.seq)));
        view.audit.truncate(AUDIT_SHOWN);
        Ok(view)
    }

    async fn ask(&self, view: &mut RightsView) -> Result<(), Problem> {
        let volume = self.client.volume(&self.names.volume).await?;
        let root = Location { volume: self.names.volume.clone(), path: VolumePath::root() };
        for place in [&root, &self.names.served] {
            let list = volume.acl(&place.path).await?;
            let entry = |(who, rights): &(terms::Who, terms::Rights)| EntryView {
                who: who.to_string(),
                rights: rights.to_string(),
            };
            view.lists
                .push(ListView { place: place.to_string(), entries: list.entries.iter().map(entry).collect() });
        }
        let home = self.client.first_node(&self.names.realm)?;
        let group = node::serving_group(&self.names.service)?;
        match home.group(&group).await {
            Ok(signed) => {
                let now = self.client.world().clock.unix();
                let (list, _) = GroupList::open(&signed, home.principal(), self.client.trust(), now)?;
                let members = list.members().iter().map(|(who, until)| (who.to_string(), *until)).collect();
                view.groups.push(GroupView { group: group.to_string(), members });
            }
            // Before anybody was recruited there is none.
            Err(problem) if problem.code == Code::NotFound => {}
            Err(problem) => return Err(problem),
        }
        view.tokens = home.tokens().await?.into_iter().map(token).collect();
        Ok(())
    }

    /// Takes something back, as the person.
    pub async fn revoke(&self, revocation: Revocation) -> Result<String, Problem> {
        match revocation {
            Revocation::Entry { place, who, rights } => {
                let (location, who, rights) = Revocation::entry(&place, &who, &rights)?;
                let volume = self.client.volume(&location.volume).await?;
                let text = format!("{who} does not hold {rights} on {location} and below any more");
                let change = AclChange { who, rights, grant: false, recursive: true };
                volume.change_acl(&location.path, &change).await?;
                Ok(text)
            }
            Revocation::Token { id } => {
                let home = self.client.first_node(&self.names.realm)?;
                let ended = home.token(&TokenRequest::Revoke { id }).await?;
                Ok(format!("the token {} is worthless now", ended.info.id))
            }
        }
    }
}

fn token(info: trust::TokenInfo) -> TokenView {
    let grants = info.grants.into_iter().map(|grant| Grant::from(grant).to_string()).collect();
    TokenView { id: info.id, subject: info.subject.to_string(), grants, until: info.until }
}

fn record(node: &Label, entry: AuditEntry) -> AuditView {
    let AuditEntry { seq, record } = entry;
    AuditView {
        node: node.to_string(),
        seq,
        at: record.at,
        outcome: record.outcome,
        who: record.subject.or(record.peer).map(|who| who.to_string()),
        right: record.right,
        resource: record.resource,
        reason: record.reason,
        links: record.chain.into_iter().map(|link| link.id).collect(),
        count: record.count,
    }
}
