//! The rights of the local world for its console: gathered as the person who owns it, who can see and take back what
//! it gave. Decides nothing: each question and each change is the home's to answer.

use super::kept;
use super::limits::{AUDIT_SHOWN, RIGHTS_PATIENCE};
use super::world::Names;
use crate::console::rights::{AuditView, EntryView, GroupView, ListView, Revocation, RightsView, TokenView};
use client::protocol::{AclChange, RevokeRequest, TokenRequest};
use client::{Client, Folder, Purse};
use std::cmp::Reverse;
use terms::{Code, Label, Location, Principal, Problem, TransferId, VolumePath};
use tokio::time::timeout;
use trust::{AuditEntry, FeedCopy, Grant, GroupList};

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
        self.look(&mut view).await;
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

    /// What lies in the folders of this world, and still holds.
    async fn look(&self, view: &mut RightsView) {
        let taken_back = match timeout(RIGHTS_PATIENCE, self.taken_back()).await {
            Ok(Ok(copy)) => copy,
            _ => {
                view.missing.push("what was revoked cannot be asked: it may be among what is shown".into());
                FeedCopy::new(self.names.realm.clone())
            }
        };
        let (now, folders) = (view.now, self.folders.clone());
        let (own, home) = (self.client.folder().clone(), self.names.node(self.names.home()));
        let person = self.client.identity().map(|identity| identity.principal().clone());
        let looked = tokio::task::spawn_blocking(move || {
            let members = kept::members(&folders, &home, person.as_ref());
            (members, kept::transfers(&own, &folders, &taken_back, now))
        });
        let Ok((members, (transfers, unread))) = looked.await else { return };
        view.missing.extend(unread);
        view.transfers = transfers;
        match members {
            Ok(members) => view.members = members,
            Err(problem) => view.missing.push(format!("the members cannot be shown: {problem}")),
        }
    }

    /// The realm's list of what was taken back, as the home has it now.
    async fn taken_back(&self) -> Result<FeedCopy, Problem> {
        let (client, realm) = (&self.client, &self.names.realm);
        let mut copy = FeedCopy::new(realm.clone());
        loop {
            let known = copy.number();
            let page = client.feed_page(&copy, known, false).await?;
            if !copy.apply(&page, client.world().clock.unix())?.more && copy.number() == known {
                return Ok(copy);
            }
        }
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
            Revocation::Transfer { id } => self.end_transfer(id).await,
            Revocation::Principal { who } => self.end_principal(who).await,
        }
    }

    /// As whoever signed it if that is the person, else as the owner of the realm's first node.
    async fn end_transfer(&self, id: TransferId) -> Result<String, Problem> {
        let own = self.client.require_identity()?;
        let (folder, folders) = (self.client.folder().clone(), self.folders.clone());
        let found = tokio::task::spawn_blocking(move || kept::find(&folder, &folders, id));
        let found = found.await.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        let kept = found.ok_or_else(|| {
            Problem::new(Code::NotFound, format!("no purse of this world holds the transfer certificate {id}"))
                .next("`webos transfer revoke` takes back what lies elsewhere")
        })?;
        let request = if kept.last().issuer == *own.principal() {
            RevokeRequest::Chain(kept.chain.encode()?.into())
        } else {
            RevokeRequest::Transfer(id)
        };
        let done = self.client.first_node(&self.names.realm)?.revoke(&request).await?.done;
        let purse = Purse::open(self.client.folder());
        if purse.find(&id.to_string()).is_ok() {
            purse.remove(id)?;
        }
        Ok(format!("{done} is worthless now"))
    }

    async fn end_principal(&self, who: Principal) -> Result<String, Problem> {
        if *self.client.require_identity()?.principal() == who {
            let what = format!("{who} is you: nobody could take anything back on this console any more");
            return Err(Problem::new(Code::Invalid, what).next("`webos realm revoke` does it, if it is meant"));
        }
        let home = self.client.first_node(&self.names.realm)?;
        Ok(format!("{} ended", home.revoke(&RevokeRequest::Principal(who)).await?.done))
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
