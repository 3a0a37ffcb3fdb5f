//! Who this folder is: `whoami`, `user register`, `node join`.

use super::{Setup, reach, running};
use crate::args::Whoami;
use crate::home;
use crate::output::{Out, Outcome, time, time_left};
use client::limits::{MAX_INVITATION_BYTES, RENEWAL_WITHIN};
use client::{Client, durable, enrol, renewal};
use serde::Serialize;
use std::io::{IsTerminal, Read};
use terms::{Code, Principal, PrincipalKind, Problem, RealmName, UnixMs};
use trust::{Identity, IdentityFile};

#[derive(Serialize)]
struct Me {
    principal: String,
    realm: String,
    kind: PrincipalKind,
    home: String,
    /// Whether the key is under a passphrase.
    encrypted: bool,
    until_ms: UnixMs,
    trusted_realms: Vec<String>,
}

/// Says who the folder's principal is.
pub fn whoami(setup: &Setup, out: &mut Out, arguments: &Whoami) -> Outcome {
    let client = Client::nobody(setup.folder.clone(), setup.world.clone())?;
    if !setup.folder.identity().join(Identity::FILE).exists() {
        client.require_identity()?;
    }
    let identity = IdentityFile::read(&setup.folder.identity()).map_err(Problem::from)?;
    if arguments.curl {
        return curl(setup, out, &client, &identity);
    }
    let me = Me {
        encrypted: identity.is_sealed(),
        principal: identity.principal().to_string(),
        realm: identity.principal().realm.to_string(),
        kind: identity.principal().kind,
        home: setup.folder.path().display().to_string(),
        until_ms: identity.not_after(),
        trusted_realms: client.trust().realms().iter().map(RealmName::to_string).collect(),
    };
    let now = setup.world.clock.unix();
    out.result(&me, |out, me| {
        out.line(&me.principal)?;
        out.line(&format!("  valid    {}, until {}", time_left(now, me.until_ms), time(me.until_ms)))?;
        if me.encrypted {
            out.line("  key      under a passphrase")?;
        }
        out.line(&format!("  folder   {}", me.home))?;
        out.line(&format!("  trusts   {}", me.trusted_realms.join(", ")))
    })
}

#[derive(Serialize)]
struct Curl {
    options: Vec<String>,
    url: String,
}

/// How curl speaks to the realm's first node as this principal. The pinned roots are written out for it.
fn curl(setup: &Setup, out: &mut Out, client: &Client, identity: &IdentityFile) -> Outcome {
    if identity.is_sealed() {
        let problem = Problem::new(Code::Unsupported, "your key is under a passphrase, which curl cannot open");
        return Err(problem.next("give curl a token: `webos token create`").into());
    }
    let realm = &identity.principal().realm;
    let node = client.first_node(realm)?;
    let bundle = client.trust().bundle(realm);
    let bundle =
        bundle.ok_or_else(|| Problem::new(Code::NotFound, format!("the realm {realm} is not trusted here")))?;
    let roots = setup.folder.realms().join(format!("{realm}.pem"));
    durable::replace(&roots, bundle.roots_pem().as_bytes())?;
    let pem = setup.folder.identity().join(Identity::FILE);
    let (host, port) = node
        .address()
        .rsplit_once(':')
        .ok_or_else(|| Problem::new(Code::Internal, format!("'{}' is no address with a port", node.address())))?;
    let twin = node.principal().dns_twin();
    let mut options: Vec<String> = vec![
        "--cert".into(),
        pem.display().to_string(),
        "--cacert".into(),
        roots.display().to_string(),
        "--tlsv1.3".into(),
    ];
    if host.parse::<std::net::IpAddr>().is_ok() {
        options.extend(["--resolve".into(), format!("{twin}:{port}:{host}")]);
    } else {
        options.extend(["--connect-to".into(), format!("{twin}:{port}:{host}:{port}")]);
    }
    let shown = Curl { options, url: format!("https://{twin}:{port}/") };
    out.result(&shown, |out, shown| {
        let options: Vec<String> = shown.options.iter().map(|option| quoted(option)).collect();
        out.line(&format!("curl {} {}VOLUME.{realm}/PATH", options.join(" "), shown.url))
    })
}

/// The word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[derive(Serialize)]
struct Joined {
    principal: Principal,
    home: String,
    encrypted: bool,
}

/// Redeems the invitation line on standard input.
pub async fn join(setup: &Setup, out: &mut Out, kind: PrincipalKind, encrypt: bool) -> Outcome {
    home::make(setup.folder.path())?;
    let line = invitation_line(out)?;
    // Before the invitation is spent: whoever thinks better of it can use it again.
    let secret = if encrypt { Some(setup.keyring.new_passphrase()?) } else { None };
    let principal = enrol::join_under(&setup.folder, &line, kind, secret, &setup.world).await?;
    if kind == PrincipalKind::Server {
        super::realm::own(&setup.folder, &principal)?;
    }
    let home = setup.folder.path().display().to_string();
    out.result(&Joined { principal, home, encrypted: encrypt }, |out, joined| {
        let under = if joined.encrypted { " under your passphrase" } else { "" };
        out.line(&format!(
            "{} is you; its key was made in {} and stays there{under}",
            joined.principal, joined.home
        ))
    })
}

#[derive(Serialize)]
struct Renewed {
    principal: Principal,
    until_ms: UnixMs,
    new_key: bool,
}

/// Renews the folder's certificate now.
pub async fn renew(setup: &Setup, out: &mut Out, new_key: bool) -> Outcome {
    let client = reach::client(setup)?;
    let before = client.require_identity()?;
    let identity = renewal::renew(&client, new_key).await?;
    renewed(out, &before, &identity)
}

fn renewed(out: &mut Out, before: &Identity, identity: &Identity) -> Outcome {
    let new_key = identity.key().public() != before.key().public();
    let renewed = Renewed { principal: identity.principal().clone(), until_ms: identity.not_after(), new_key };
    out.result(&renewed, |out, renewed| {
        let key = if renewed.new_key { "a new key" } else { "the same key" };
        out.line(&format!("{} has {key}, valid until {}", renewed.principal, time(renewed.until_ms)))
    })
}

/// Gives a node that does not run a new key. The realm's first node certifies its own.
pub async fn rotate(setup: &Setup, out: &mut Out) -> Outcome {
    // Held to the end: a node that starts meanwhile would go on with the key that is being replaced.
    let _claim = running::claim(&setup.folder)?;
    if !setup.folder.authority().exists() {
        return renew(setup, out, true).await;
    }
    let present = reach::client(setup)?.require_identity()?;
    let identity = node::rotate_first(&setup.folder, &setup.world, &present)?;
    renewed(out, &present, &identity)
}

/// Whether the person of this folder is in the second half of the certificate. Nodes look after themselves.
pub fn is_renewal_due(setup: &Setup) -> bool {
    let folder = setup.folder.identity();
    folder.join(Identity::FILE).exists()
        && IdentityFile::read(&folder).is_ok_and(|identity| {
            let now = setup.world.clock.unix();
            let person = identity.principal().kind == PrincipalKind::User;
            person && now < identity.not_after() && identity.is_renewal_due(now)
        })
}

/// Renews before a command, if that is quick; else the command goes on with the present certificate.
pub async fn renew_beforehand(setup: &Setup) {
    // The person may take the time to type.
    let client = match reach::client(setup) {
        Ok(client) => client,
        Err(failure) => {
            tracing::info!(?failure, "the certificate could not be renewed now");
            return;
        }
    };
    let renewed = renewal::renew(&client, false);
    match tokio::time::timeout(RENEWAL_WITHIN, renewed).await {
        Ok(Ok(identity)) => tracing::info!(principal = %identity.principal(), "renewed the certificate"),
        Ok(Err(problem)) => tracing::info!(%problem, "the certificate could not be renewed now"),
        Err(_) => tracing::info!("the certificate could not be renewed in time"),
    }
}

fn invitation_line(out: &Out) -> Result<String, Problem> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        out.note("paste the invitation line and press Enter, then Ctrl-D");
    }
    let mut line = String::new();
    let limit = MAX_INVITATION_BYTES as u64;
    let read = stdin.by_ref().take(limit + 1).read_to_string(&mut line);
    read.map_err(|error| Problem::new(Code::Invalid, format!("standard input cannot be read: {error}")))?;
    let refuse = |what: String| {
        Err(Problem::new(Code::Invalid, what).next("pipe in the one line that `webos realm invite` printed"))
    };
    match line.trim() {
        "" => refuse("there is no invitation line on standard input".into()),
        line if line.len() as u64 > limit => {
            refuse(format!("what is on standard input is longer than {limit} bytes"))
        }
        line => Ok(line.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_survive_the_shell() {
        for (word, expected) in [
            ("plain/-x.y:1", "plain/-x.y:1"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
