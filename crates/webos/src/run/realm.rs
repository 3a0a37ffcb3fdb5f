//! `realm`: make one, read what is trusted, invite.

use super::{Setup, reach, revoke, trusted};
use crate::args::{Invite, RealmCommand};
use crate::home;
use crate::output::{Out, Outcome, age, time, time_left};
use client::{Folder, durable, realms};
use serde::Serialize;
use terms::{Code, Digest, Epoch, Label, Principal, PrincipalKind, Problem, RealmName, UnixMs};
use trust::limits::INVITATION_LIFETIME;
use trust::{Authority, Bundle, Identity, Invitations, NameServer};

/// Chooses among the commands.
pub async fn run(setup: &Setup, out: &mut Out, command: &RealmCommand) -> Outcome {
    match command {
        RealmCommand::Init { realm, node } => init(setup, out, realm, node),
        RealmCommand::Show { realm } => show(setup, out, realm.as_ref()),
        RealmCommand::Trust(wanted) => trusted::trust(setup, out, wanted).await,
        RealmCommand::Distrust { realm } => trusted::distrust(setup, out, realm),
        RealmCommand::Revoke(wanted) => revoke::principal(setup, out, wanted).await,
        RealmCommand::RevokeAll { yes } => revoke::all_chains(setup, out, *yes).await,
        RealmCommand::Invite(invite) => self::invite(setup, out, invite),
    }
}

#[derive(Serialize)]
struct Made {
    realm: String,
    fingerprint: String,
    node: String,
    home: String,
}

/// Makes the authority and the identity of the first node, which is this folder's.
fn init(setup: &Setup, out: &mut Out, realm: &RealmName, node: &Label) -> Outcome {
    let folder = &setup.folder;
    home::make(folder.path())?;
    let taken = [folder.authority(), folder.identity().join(Identity::FILE)];
    if let Some(taken) = taken.iter().find(|path| path.exists()) {
        let problem = Problem::new(Code::Exists, format!("{} is there already", taken.display()));
        return Err(problem
            .next("a realm's first node needs a folder of its own: choose it with WEBOS_HOME")
            .into());
    }
    let now = setup.world.clock.unix();
    let authority = Authority::create(realm.clone(), &setup.world).map_err(Problem::from)?;
    let principal = Principal::new(realm.clone(), PrincipalKind::Server, node.clone());
    let identity = authority.issue_identity(&principal, None, now).map_err(Problem::from)?;
    authority.save(&folder.authority()).map_err(Problem::from)?;
    pin(setup, &authority, &principal)?;
    own(folder, &principal)?;
    // The identity comes last: with it the folder counts as made.
    identity.save(&folder.identity()).map_err(Problem::from)?;
    let made = Made {
        realm: realm.to_string(),
        fingerprint: Digest(authority.fingerprint()).to_string(),
        node: principal.to_string(),
        home: folder.path().display().to_string(),
    };
    out.note(&format!("the root key lies unencrypted in {}", folder.authority().display()));
    out.result(&made, |out, made| {
        out.line(&format!("made the realm {}, fingerprint {}", made.realm, made.fingerprint))?;
        out.line(&format!("its first node is {}: run it with `webos node run`", made.node))
    })
}

/// The bundle names the node's address if that is known; the node signs it anew whenever it starts.
fn pin(setup: &Setup, authority: &Authority, node: &Principal) -> Result<(), Problem> {
    let address = match (setup.settings.address.value.as_str(), setup.settings.listen.value) {
        ("", listen) if listen.port() != 0 && !listen.ip().is_unspecified() => Some(listen.to_string()),
        ("", _) => None,
        (address, _) => Some(address.to_string()),
    };
    let servers = address.map(|address| NameServer { address, principal: node.clone() });
    let now = setup.world.clock.unix();
    let bytes = authority.bundle(servers.into_iter().collect(), Epoch(1), now)?;
    let bundle = Bundle::open(&bytes, &authority.fingerprint(), now)?;
    realms::pin(&setup.folder, &bundle, &authority.fingerprint())
}

/// Whoever holds a node's folder may lend it.
pub fn own(folder: &Folder, node: &Principal) -> Result<(), Problem> {
    if folder.owner().exists() { Ok(()) } else { durable::replace(&folder.owner(), format!("{node}\n").as_bytes()) }
}

#[derive(Serialize)]
struct Realm {
    realm: String,
    epoch: Epoch,
    signed_ms: UnixMs,
    name_servers: Vec<Server>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<Held>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Mine>,
}

#[derive(Serialize)]
struct Server {
    node: String,
    address: String,
}

#[derive(Serialize)]
struct Held {
    fingerprint: String,
    issuing_until_ms: UnixMs,
}

#[derive(Serialize)]
struct Mine {
    principal: String,
    until_ms: UnixMs,
}

fn show(setup: &Setup, out: &mut Out, only: Option<&RealmName>) -> Outcome {
    let client = reach::client(setup)?;
    let realms: Vec<_> =
        client.trust().realms().into_iter().filter(|realm| only.is_none_or(|o| o == realm)).collect();
    if let (Some(only), true) = (only, realms.is_empty()) {
        let problem = Problem::new(Code::NotFound, format!("the realm {only} is not trusted here"));
        return Err(problem.next("join it with an invitation: `webos user register`").into());
    }
    let mut shown = Vec::new();
    for realm in realms {
        let Some(bundle) = client.trust().bundle(&realm) else { continue };
        let server =
            |server: &NameServer| Server { node: server.principal.to_string(), address: server.address.clone() };
        let mine = client.identity().filter(|identity| identity.principal().realm == realm);
        shown.push(Realm {
            authority: held(&setup.folder, &realm)?,
            identity: mine.map(|id| Mine { principal: id.principal().to_string(), until_ms: id.not_after() }),
            realm: realm.to_string(),
            epoch: bundle.epoch,
            signed_ms: bundle.issued,
            name_servers: bundle.name_servers.iter().map(server).collect(),
        });
    }
    let now = setup.world.clock.unix();
    out.result(&shown, |out, shown| {
        if shown.is_empty() {
            return out.line("no realm is trusted here; `webos up` makes one, `webos user register` joins one");
        }
        shown.iter().try_for_each(|realm| people(out, realm, now))
    })
}

fn held(folder: &Folder, realm: &RealmName) -> Result<Option<Held>, Problem> {
    if !folder.authority().exists() {
        return Ok(None);
    }
    let authority = Authority::load(&folder.authority())?;
    if authority.realm() != realm {
        return Ok(None);
    }
    let fingerprint = Digest(authority.fingerprint()).to_string();
    Ok(Some(Held { fingerprint, issuing_until_ms: authority.issuing_end()? }))
}

fn people(out: &mut Out, realm: &Realm, now: UnixMs) -> Outcome {
    out.line(&format!("{}  (epoch {}, signed {})", realm.realm, realm.epoch, time(realm.signed_ms)))?;
    for server in &realm.name_servers {
        out.line(&format!("  name server  {} at {}", server.node, server.address))?;
    }
    if let Some(held) = &realm.authority {
        out.line(&format!("  authority    held here, fingerprint {}", held.fingerprint))?;
        let until = held.issuing_until_ms;
        out.line(&format!("  issuing CA   valid {}, until {}", time_left(now, until), time(until)))?;
    }
    if let Some(mine) = &realm.identity {
        let until = mine.until_ms;
        out.line(&format!(
            "  you          {}, valid {}, until {}",
            mine.principal,
            time_left(now, until),
            time(until)
        ))?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Invited<'a> {
    principal: String,
    line: &'a str,
    expires_ms: UnixMs,
}

/// Makes an invitation. The node that holds the authority reads it from the folder when it is redeemed.
fn invite(setup: &Setup, out: &mut Out, invite: &Invite) -> Outcome {
    let folder = &setup.folder;
    if !folder.authority().exists() {
        let problem =
            Problem::new(Code::NotFound, format!("{} holds no realm's authority", folder.path().display()));
        return Err(problem.next("set WEBOS_HOME to the folder of the realm's first node").into());
    }
    let authority = Authority::load(&folder.authority()).map_err(Problem::from)?;
    let realm = authority.realm().clone();
    let address = match (&invite.address, super::running::look(folder)) {
        (Some(address), _) => address.clone(),
        (None, running) => known_address(setup, &realm, running)?,
    };
    let principal = Principal::new(realm, invite.kind.into(), invite.name.clone());
    let mut invitations = Invitations::open(&folder.invitations()).map_err(Problem::from)?;
    let invitation = invitations
        .create(principal.clone(), address, authority.fingerprint(), &setup.world)
        .map_err(Problem::from)?;
    let line = invitation.line().map_err(Problem::from)?;
    let command = if principal.kind == PrincipalKind::Server { "webos node join" } else { "webos user register" };
    out.note(&format!(
        "the next line is a secret, good once and for {}: pipe it into `{command}`",
        age(INVITATION_LIFETIME)
    ));
    let shown = Invited { principal: principal.to_string(), line: &line, expires_ms: invitation.expires };
    out.result(&shown, |out, shown| out.line(shown.line))
}

/// Where the realm's first node can be reached: as its bundle says, else where it runs.
fn known_address(
    setup: &Setup,
    realm: &RealmName,
    running: Option<super::running::Running>,
) -> Result<String, Problem> {
    let client = client::Client::open(setup.folder.clone(), setup.world.clone())?;
    let bundle = client.trust().bundle(realm);
    let signed = bundle.and_then(|bundle| bundle.name_servers.first().map(|server| server.address.clone()));
    signed.or(running.map(|running| running.address)).ok_or_else(|| {
        Problem::new(Code::Unavailable, format!("where the first node of {realm} can be reached is not known yet"))
            .next("start it with `webos node run`, or give --address HOST:PORT")
    })
}
