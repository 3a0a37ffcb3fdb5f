//! `realm`: make one, read what is trusted, invite.

use super::{Setup, name_servers, passphrase, reach, revoke, roots, trusted};
use crate::args::{Invite, RealmCommand};
use crate::home;
use crate::output::{Failure, Out, Outcome, age, time, time_left};
use client::register::Register;
use client::{Folder, durable, realms};
use serde::Serialize;
use std::path::Path;
use terms::{Code, Digest, Epoch, Label, Principal, PrincipalKind, Problem, RealmName, UnixMs};
use trust::limits::INVITATION_LIFETIME;
use trust::{Authority, Bundle, Identity, Invitations, MemberState, NameServer, Root};

/// Chooses among the commands.
pub async fn run(setup: &Setup, out: &mut Out, command: &RealmCommand) -> Outcome {
    match command {
        RealmCommand::Init { realm, node, unencrypted, passphrase_file } => {
            let keeping = Keeping { unencrypted: *unencrypted, passphrase_file: passphrase_file.as_deref() };
            init(setup, out, realm, node, &keeping)
        }
        RealmCommand::Renew(wanted) => roots::renew(setup, out, wanted),
        RealmCommand::Succeed(wanted) => roots::succeed(setup, out, wanted),
        RealmCommand::Show { realm } => show(setup, out, realm.as_ref()),
        RealmCommand::Trust(wanted) => trusted::trust(setup, out, wanted).await,
        RealmCommand::Distrust { realm } => trusted::distrust(setup, out, realm),
        RealmCommand::Revoke(wanted) => revoke::principal(setup, out, wanted).await,
        RealmCommand::RevokeAll { yes } => revoke::all_chains(setup, out, *yes).await,
        RealmCommand::NameServer(change) => name_servers::change(setup, out, change).await,
        RealmCommand::Invite(invite) => self::invite(setup, out, invite),
    }
}

#[derive(Serialize)]
struct Made {
    realm: String,
    fingerprint: String,
    node: String,
    home: String,
    root: String,
}

/// How the root's key is to be kept.
struct Keeping<'a> {
    unencrypted: bool,
    passphrase_file: Option<&'a Path>,
}

/// Makes the authority and the identity of the first node, which is this folder's.
fn init(setup: &Setup, out: &mut Out, realm: &RealmName, node: &Label, keeping: &Keeping<'_>) -> Outcome {
    let folder = &setup.folder;
    home::make(folder.path())?;
    let now = setup.world.clock.unix();
    let authority = match begun(folder, realm)? {
        Some(authority) => {
            out.note(&format!("the authority of {realm} was made before; the rest is made now"));
            authority
        }
        None => found(setup, out, realm, keeping)?,
    };
    let principal = Principal::new(realm.clone(), PrincipalKind::Server, node.clone());
    let identity = authority.issue_identity(&principal, None, now).map_err(Problem::from)?;
    pin(setup, &authority, &principal)?;
    own(folder, &principal)?;
    // The identity comes last: with it the folder counts as made.
    identity.save(&folder.identity()).map_err(Problem::from)?;
    let root = Root::file_in(&folder.authority()).unwrap_or_else(|| folder.authority());
    let made = Made {
        realm: realm.to_string(),
        fingerprint: Digest(authority.fingerprint()).to_string(),
        node: principal.to_string(),
        home: folder.path().display().to_string(),
        root: root.display().to_string(),
    };
    out.result(&made, |out, made| {
        out.line(&format!("made the realm {}, fingerprint {}", made.realm, made.fingerprint))?;
        out.line(&format!("its root is {}: move it to another medium, and keep a copy", made.root))?;
        out.line(&format!("its first node is {}: run it with `webos node run`", made.node))
    })
}

/// What an `init` that was cut short has left: an authority without a node. Anything else is somebody's.
fn begun(folder: &Folder, realm: &RealmName) -> Result<Option<Authority>, Problem> {
    let taken = |path: &Path| {
        Problem::new(Code::Exists, format!("{} is there already", path.display()))
            .next("a realm's first node needs a folder of its own: choose it with WEBOS_HOME")
    };
    let identity = folder.identity().join(Identity::FILE);
    if identity.exists() {
        return Err(taken(&identity));
    }
    if !folder.authority().exists() {
        return Ok(None);
    }
    let authority = Authority::load(&folder.authority())?;
    if authority.realm() == realm { Ok(Some(authority)) } else { Err(taken(&folder.authority())) }
}

/// Makes root and authority in a draft beside their place, and moves them there as a whole.
fn found(setup: &Setup, out: &Out, realm: &RealmName, keeping: &Keeping<'_>) -> Result<Authority, Failure> {
    let (place, now) = (setup.folder.authority(), setup.world.clock.unix());
    let draft = place.with_extension("new");
    let failed = |error: std::io::Error| home::cannot("make", &place, &error);
    match std::fs::remove_dir_all(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error).into()),
        _ => {}
    }
    let root = Root::create(realm.clone(), now).map_err(Problem::from)?;
    if keeping.unencrypted {
        out.note(&format!(
            "the root's key lies in {} without a passphrase: whoever reads it can name anybody of {realm} for ten years",
            place.display()
        ));
        root.save(&draft.join(Root::PLAIN_FILE), None).map_err(Problem::from)?;
    } else {
        let secret = passphrase::new(keeping.passphrase_file, &format!("the root of {realm}"))?;
        root.save(&draft.join(Root::SEALED_FILE), Some(&secret)).map_err(Problem::from)?;
    }
    let authority = Authority::found(&root, now).map_err(Problem::from)?;
    authority.save(&draft).map_err(Problem::from)?;
    std::fs::rename(&draft, &place).map_err(failed)?;
    Ok(authority)
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
    realms::pin(&setup.folder, &bundle)
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
    roots: Vec<RootEnd>,
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
    earlier_until_ms: Vec<UnixMs>,
    members: Vec<Known>,
}

#[derive(Serialize)]
struct Known {
    principal: String,
    until_ms: UnixMs,
    standing: MemberState,
}

#[derive(Serialize)]
struct RootEnd {
    fingerprint: String,
    until_ms: UnixMs,
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
            roots: bundle.root_ends().map_err(Problem::from)?.into_iter().map(root_end).collect(),
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
    let known = |member: trust::RealmMember| Known {
        principal: member.newest.principal.to_string(),
        until_ms: member.newest.end,
        standing: member.standing,
    };
    Ok(Some(Held {
        fingerprint: Digest(authority.fingerprint()).to_string(),
        issuing_until_ms: authority.issuing_end()?,
        earlier_until_ms: authority.earlier_ends()?,
        members: Register::new(folder).members()?.into_iter().map(known).collect(),
    }))
}

fn root_end((fingerprint, until_ms): ([u8; 32], UnixMs)) -> RootEnd {
    RootEnd { fingerprint: Digest(fingerprint).to_string(), until_ms }
}

fn people(out: &mut Out, realm: &Realm, now: UnixMs) -> Outcome {
    out.line(&format!("{}  (epoch {}, signed {})", realm.realm, realm.epoch, time(realm.signed_ms)))?;
    for server in &realm.name_servers {
        out.line(&format!("  name server  {} at {}", server.node, server.address))?;
    }
    for root in &realm.roots {
        out.line(&format!("  root         {}, until {}", root.fingerprint, time(root.until_ms)))?;
    }
    if let Some(held) = &realm.authority {
        out.line(&format!("  authority    held here, fingerprint {}", held.fingerprint))?;
        let until = held.issuing_until_ms;
        out.line(&format!("  issuing CA   valid {}, until {}", time_left(now, until), time(until)))?;
        for until in &held.earlier_until_ms {
            out.line(&format!("  earlier CA   valid {}, until {}", time_left(now, *until), time(*until)))?;
        }
        for member in &held.members {
            let how = match member.standing {
                MemberState::Active => format!("valid {}", time_left(now, member.until_ms)),
                MemberState::Cordoned(at) => format!("cordoned as a suspected clone, {}", time(at)),
                MemberState::Revoked(at) => format!("revoked, {}", time(at)),
            };
            out.line(&format!("  member       {}, {how}", member.principal))?;
        }
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
    let authority = roots::authority(folder)?;
    let realm = authority.realm().clone();
    let address = match (&invite.address, super::running::look(folder)) {
        (Some(address), _) => address.clone(),
        (None, running) => known_address(setup, &realm, running)?,
    };
    let principal = Principal::new(realm, invite.kind.into(), invite.name.clone());
    refuse_a_member(setup, &principal, invite.again)?;
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

/// A name is given twice only on purpose; that of this node never.
fn refuse_a_member(setup: &Setup, who: &Principal, again: bool) -> Result<(), Problem> {
    let own = Identity::load(&setup.folder.identity());
    if own.is_ok_and(|own| own.principal() == who) {
        let what = format!("{who} is this node itself, the realm's first");
        return Err(Problem::new(Code::Exists, what).next("choose another name"));
    }
    match Register::new(&setup.folder).member(who)? {
        Some(member) if !again => {
            let how = match member.standing {
                MemberState::Active => "is a member already",
                MemberState::Cordoned(_) => "is cordoned as a suspected clone",
                MemberState::Revoked(_) => "was revoked",
            };
            Err(Problem::new(Code::Exists, format!("{who} {how}"))
                .next("choose another name, or say --again if the former one is gone"))
        }
        _ => Ok(()),
    }
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
