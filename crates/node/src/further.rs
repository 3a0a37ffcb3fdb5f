//! The realm's further name servers, as its first node keeps them: what may stand in the list, and the file with it.
//! Whoever may change the list is decided before.

use client::Folder;
use client::durable::replace;
use client::protocol::NameServersRequest;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use terms::{Code, PrincipalKind, Problem};
use trust::NameServer;
use trust::limits::{MAX_ADDRESS_BYTES, MAX_DOCUMENT_BYTES, MAX_NAME_SERVERS};

/// The file in the folder of the authority.
pub struct Further(PathBuf);

impl Further {
    /// The list in this folder; it need not exist yet.
    pub fn new(folder: &Folder) -> Self {
        Self(folder.name_servers())
    }

    /// The list. A damaged one is an error: a bundle without them would be signed.
    pub fn load(&self) -> Result<Vec<NameServer>, Problem> {
        let damaged = |why: String| {
            Problem::new(Code::Internal, format!("{} is damaged: {why}", self.0.display())).next(
                "restore it from a copy, or remove it and name the further name servers again with \
                 `webos realm name-server add`",
            )
        };
        let file = match std::fs::File::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(damaged(error.to_string())),
        };
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT_BYTES as u64).read_to_end(&mut bytes).map_err(|error| damaged(error.to_string()))?;
        wire::cbor::from_slice(&bytes).map_err(|problem| damaged(problem.detail))
    }

    /// Keeps the list. It is on disk when this returns.
    pub fn put(&self, servers: &[NameServer]) -> Result<(), Problem> {
        replace(&self.0, &wire::cbor::to_vec(&servers))
    }
}

/// The list after a change, and what was done in plain words.
pub fn changed(
    mut further: Vec<NameServer>,
    first: &NameServer,
    request: &NameServersRequest,
) -> Result<(Vec<NameServer>, String), Problem> {
    let invalid = |what: String| Problem::new(Code::Invalid, what);
    let principal = match request {
        NameServersRequest::Add(added) => &added.principal,
        NameServersRequest::Remove(removed) => removed,
    };
    if *principal == first.principal {
        return Err(invalid(format!("{principal} is the realm's first node: it is always its first name server")));
    }
    match request {
        NameServersRequest::Remove(principal) => {
            let before = further.len();
            further.retain(|server| server.principal != *principal);
            if further.len() == before {
                return Err(Problem::new(Code::NotFound, format!("{principal} is no name server of the realm"))
                    .next("`webos realm show` lists them"));
            }
            Ok((further, format!("{principal} is no name server any more")))
        }
        NameServersRequest::Add(added) => {
            if principal.realm != first.principal.realm || principal.kind != PrincipalKind::Server {
                let what = format!("{principal} is no server of {}", first.principal.realm);
                return Err(invalid(what).next("a name server is a member of the realm whose names it answers"));
            }
            if !is_address(&added.address) {
                let what = format!("'{}' is no address", added.address.escape_default());
                return Err(invalid(what).next("write HOST:PORT as others reach it"));
            }
            further.retain(|server| server.principal != added.principal);
            // The first node takes one place.
            if further.len() + 1 >= MAX_NAME_SERVERS {
                let what = format!("a realm has at most {MAX_NAME_SERVERS} name servers");
                return Err(Problem::new(Code::TooLarge, what).next("remove one first"));
            }
            further.push(added.clone());
            Ok((further, format!("{principal} is a name server, at {}", added.address)))
        }
    }
}

/// `host:port`, where the host is a DNS name or an IP address, an IPv6 one in brackets.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let port_fits =
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let host_fits = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)),
    };
    port_fits && host_fits && text.len() <= MAX_ADDRESS_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, address: &str) -> NameServer {
        let principal = name.parse().expect("a principal");
        NameServer { principal, address: address.into() }
    }

    fn first() -> NameServer {
        server("spiffe://lab.example/server/home", "home.lab.example:4433")
    }

    fn add(name: &str, address: &str) -> NameServersRequest {
        NameServersRequest::Add(server(name, address))
    }

    #[test]
    fn only_servers_of_the_realm_with_an_address_become_name_servers() {
        let n2 = "spiffe://lab.example/server/n2";
        for (name, address, reason) in [
            ("spiffe://lab.example/user/alice", "a:1", "no server of lab.example"),
            ("spiffe://other.example/server/n2", "a:1", "no server of lab.example"),
            ("spiffe://lab.example/server/home", "a:1", "first node"),
            (n2, "a", "no address"),
            (n2, ":1", "no address"),
            (n2, "a:0", "no address"),
            (n2, "a:65536", "no address"),
            (n2, "a:+1", "no address"),
            (n2, "a b:1", "no address"),
            (n2, "a/b:1", "no address"),
            (n2, "user@a:1", "no address"),
            (n2, "2001:db8::1:4433", "no address"),
            (n2, &format!("{}:1", "a".repeat(MAX_ADDRESS_BYTES)), "no address"),
        ] {
            let refused = changed(Vec::new(), &first(), &add(name, address)).expect_err(address);
            assert!(refused.detail.contains(reason), "{name} {address}: {refused}");
        }
        for address in ["n2.lab.example:4433", "10.0.0.2:1", "[2001:db8::1]:4433"] {
            let (further, _) = changed(Vec::new(), &first(), &add(n2, address)).expect(address);
            assert_eq!(further, [server(n2, address)]);
        }
    }

    #[test]
    fn a_name_server_has_one_address_and_there_are_at_most_sixteen() {
        let mut further = Vec::new();
        let name = |n: usize| format!("spiffe://lab.example/server/n{n}");
        for n in 1..MAX_NAME_SERVERS {
            further = changed(further, &first(), &add(&name(n), "a:1")).expect("a place").0;
        }
        let full = changed(further.clone(), &first(), &add(&name(99), "a:1")).expect_err("full");
        assert_eq!(full.code, Code::TooLarge);
        let moved = changed(further.clone(), &first(), &add(&name(3), "b:2")).expect("it has its place").0;
        assert_eq!(moved.len(), further.len());
        assert!(moved.contains(&server(&name(3), "b:2")));
        let gone = NameServersRequest::Remove(name(3).parse().expect("a principal"));
        let fewer = changed(moved, &first(), &gone).expect("removed").0;
        assert_eq!(changed(fewer, &first(), &gone).expect_err("gone already").code, Code::NotFound);
    }
}
