//! The closed table of what a node answers: each route with its methods and with who may come.
//!
//! A request that is in no row is refused. Nothing here decides rights on a resource; it only tells apart what
//! is open to peers without a certificate from what is not.

use http::Method;
use terms::{Code, Label, Problem, ServiceName, VolumeName, VolumePath};

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The realm's signed bundle.
    Bundle,
    /// A service's signed certificate.
    Certificate(Label),
    /// A service's signed table and rights to serve.
    State(Label),
    /// A volume's signed record.
    VolumeRecord(Label),
    /// A page of the realm's feed.
    Feed,
    /// Change who the realm's further name servers are.
    NameServers,
    /// What the list of the realm has lost.
    FeedLost,
    /// Take something back.
    Revoke,
    /// Take in a transfer certificate.
    Purse,
    /// Redeem an invitation.
    Join,
    /// Renew a certificate.
    Renew,
    /// The session stream of a holder.
    Session(VolumeName),
    /// Open with a callback.
    Open(VolumeName),
    /// Many changes of files.
    Batch(VolumeName),
    /// Many folders at once.
    Look(VolumeName),
    /// The stream of a watcher.
    Watch(VolumeName),
    /// Show or change an access list.
    Acl(VolumeName, VolumePath),
    /// Show a group's list, or change it.
    Group(Label),
    /// Show who may change a group.
    GroupAcl(Label),
    /// Name the groups held here.
    Groups,
    /// Explain a decision: a volume's name, or `group` or `service` with a name for the path.
    Why(String, VolumePath),
    /// Read for the caller.
    Via,
    /// Publish a service.
    Publish,
    /// The load daemon's newest table.
    Update,
    /// A lent node's word, or the list of them.
    Announce(Label),
    /// Who is the home of a volume.
    Homes,
    /// A step of a volume's move.
    Move,
    /// A volume as a stream.
    Dump,
    /// Lend this node.
    Lend,
    /// Start a service's server here.
    Start,
    /// Report and renew.
    Beat,
    /// End a service's server here.
    Drain,
    /// Check or collect a volume.
    Upkeep,
    /// How this node stands.
    Status,
    /// Where a node's audit log ends.
    Witness,
    /// Bearer tokens for files that live here.
    Token,
    /// A file or directory of a volume.
    File(VolumeName, VolumePath),
    /// A request to a service that is served here.
    Service(ServiceName),
}

/// Who may come to a route at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Also peers without a certificate: signed public documents, the one-use secret of an invitation, and a renewal in
    /// grace.
    Open,
    /// Peers with a valid certificate of a trusted realm.
    Authenticated,
    /// Whomever the resource's access list admits; `anyone` is possible.
    ByList,
}

/// A row of the table: pattern, methods, access. `{}` stands for one name, `{path}` for the rest.
pub type Row = (&'static str, &'static [Method], Access);

const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];
const BOTH: &[Method] = &[Method::GET, Method::POST];
const LISTS: &[Method] = &[Method::GET, Method::POST, Method::PUT];
const FILES: &[Method] = &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE];
const READS: &[Method] = &[Method::GET, Method::HEAD];

/// All rows.
pub const TABLE: &[Row] = &[
    ("/.webos/bundle", GET, Access::Open),
    ("/.webos/name/{}", GET, Access::Open),
    ("/.webos/name/{}/state", GET, Access::Open),
    ("/.webos/feed", GET, Access::Open),
    ("/.webos/join", POST, Access::Open),
    ("/.webos/renew", POST, Access::Open),
    ("/.webos/name-servers", POST, Access::Authenticated),
    ("/.webos/feed/lost", POST, Access::Authenticated),
    ("/.webos/revoke", POST, Access::Authenticated),
    ("/.webos/purse", POST, Access::Authenticated),
    ("/.webos/session/{}", POST, Access::Authenticated),
    ("/.webos/open/{}", POST, Access::Authenticated),
    ("/.webos/batch/{}", POST, Access::Authenticated),
    ("/.webos/look/{}", POST, Access::Authenticated),
    ("/.webos/watch/{}", POST, Access::Authenticated),
    ("/.webos/acl/{}/{path}", LISTS, Access::Authenticated),
    ("/.webos/group/{}", BOTH, Access::Authenticated),
    ("/.webos/group/{}/acl", GET, Access::Authenticated),
    ("/.webos/groups", GET, Access::Authenticated),
    ("/.webos/why/{}/{path}", POST, Access::Authenticated),
    ("/.webos/via", POST, Access::Authenticated),
    ("/.webos/publish", POST, Access::Authenticated),
    ("/.webos/state", POST, Access::Authenticated),
    ("/.webos/candidates/{}", BOTH, Access::Authenticated),
    ("/.webos/lend", BOTH, Access::Authenticated),
    ("/.webos/serve/start", POST, Access::Authenticated),
    ("/.webos/serve/beat", POST, Access::Authenticated),
    ("/.webos/serve/drain", POST, Access::Authenticated),
    ("/.webos/homes", POST, Access::Authenticated),
    ("/.webos/move", POST, Access::Authenticated),
    ("/.webos/dump", POST, Access::Authenticated),
    ("/.webos/upkeep", POST, Access::Authenticated),
    ("/.webos/status", GET, Access::Authenticated),
    ("/.webos/witness", BOTH, Access::Authenticated),
    ("/.webos/token", BOTH, Access::Authenticated),
    ("/{}/{path}", FILES, Access::Authenticated),
];

/// Methods of the file namespace that a bearer token opens to a caller without a certificate.
pub const TOKEN_METHODS: &[Method] = &[Method::GET, Method::HEAD, Method::PUT];

/// Methods of requests to a service's own authority.
pub const SERVICE_METHODS: &[Method] = READS;

/// Finds the route of a request to the node's own authority, and who may come.
pub fn find(method: &Method, path: &str) -> Result<(Route, Access), Problem> {
    let row = TABLE.iter().find_map(|row| matches(row.0, path).map(|names| (row, names)));
    let Some((&(pattern, methods, access), names)) = row else {
        return Err(Problem::new(Code::NotFound, "there is no such address on this node")
            .next("files are at /VOLUME.REALM/path"));
    };
    if !methods.contains(method) {
        let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
        return Err(Problem::new(
            Code::Unsupported,
            format!("{method} is not answered at {pattern}, only {}", allowed.join(" and ")),
        ));
    }
    Ok((route(pattern, &names)?, access))
}

struct Names<'a> {
    name: &'a str,
    rest: &'a str,
}

fn matches<'a>(pattern: &str, path: &'a str) -> Option<Names<'a>> {
    let Some((before, after)) = pattern.split_once("{}") else {
        return (pattern == path).then_some(Names { name: "", rest: "" });
    };
    let tail = path.strip_prefix(before)?;
    let (name, rest) = match tail.find('/') {
        Some(at) => tail.split_at(at),
        None => (tail, ""),
    };
    let reserved = before == "/" && name.starts_with('.');
    let fits = if after == "/{path}" { true } else { rest == after };
    (fits && !name.is_empty() && !reserved).then_some(Names { name, rest })
}

fn route(pattern: &str, names: &Names<'_>) -> Result<Route, Problem> {
    let invalid = |error: String| Problem::new(Code::Invalid, error);
    let label = || Label::new(names.name).map_err(|error| invalid(error.to_string()));
    let volume = || names.name.parse::<VolumeName>().map_err(|error| invalid(error.to_string()));
    let path = || VolumePath::from_url(names.rest).map_err(|error| invalid(error.to_string()));
    Ok(match pattern {
        "/.webos/bundle" => Route::Bundle,
        "/.webos/name/{}" => match names.name.strip_suffix(".volume") {
            Some(name) => Route::VolumeRecord(Label::new(name).map_err(|error| invalid(error.to_string()))?),
            None => Route::Certificate(label()?),
        },
        "/.webos/name/{}/state" => Route::State(label()?),
        "/.webos/feed" => Route::Feed,
        "/.webos/name-servers" => Route::NameServers,
        "/.webos/feed/lost" => Route::FeedLost,
        "/.webos/revoke" => Route::Revoke,
        "/.webos/purse" => Route::Purse,
        "/.webos/join" => Route::Join,
        "/.webos/renew" => Route::Renew,
        "/.webos/session/{}" => Route::Session(volume()?),
        "/.webos/open/{}" => Route::Open(volume()?),
        "/.webos/batch/{}" => Route::Batch(volume()?),
        "/.webos/look/{}" => Route::Look(volume()?),
        "/.webos/watch/{}" => Route::Watch(volume()?),
        "/.webos/acl/{}/{path}" => Route::Acl(volume()?, path()?),
        "/.webos/group/{}" => Route::Group(label()?),
        "/.webos/group/{}/acl" => Route::GroupAcl(label()?),
        "/.webos/groups" => Route::Groups,
        "/.webos/why/{}/{path}" => Route::Why(names.name.to_string(), path()?),
        "/.webos/via" => Route::Via,
        "/.webos/publish" => Route::Publish,
        "/.webos/state" => Route::Update,
        "/.webos/candidates/{}" => Route::Announce(label()?),
        "/.webos/lend" => Route::Lend,
        "/.webos/serve/start" => Route::Start,
        "/.webos/serve/beat" => Route::Beat,
        "/.webos/serve/drain" => Route::Drain,
        "/.webos/homes" => Route::Homes,
        "/.webos/move" => Route::Move,
        "/.webos/dump" => Route::Dump,
        "/.webos/upkeep" => Route::Upkeep,
        "/.webos/status" => Route::Status,
        "/.webos/witness" => Route::Witness,
        "/.webos/token" => Route::Token,
        _ => Route::File(volume()?, path()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stated_routes_are_open() {
        let open: Vec<&str> = TABLE.iter().filter(|row| row.2 == Access::Open).map(|row| row.0).collect();
        let stated = [
            "/.webos/bundle",
            "/.webos/name/{}",
            "/.webos/name/{}/state",
            "/.webos/feed",
            "/.webos/join",
            "/.webos/renew",
        ];
        assert_eq!(open, stated);
        assert!(TABLE.iter().all(|row| row.2 != Access::ByList), "only services are open by list");
    }

    #[test]
    fn every_row_is_reached_by_its_own_pattern() {
        for (pattern, methods, access) in TABLE {
            let of_volumes = ["{path}", "session", "open", "batch", "look", "watch"];
            let name =
                if of_volumes.iter().any(|part| pattern.contains(part)) { "data.lab.example" } else { "site" };
            let path = pattern.replace("{}", name).replace("{path}", "a/b");
            for method in *methods {
                let found = find(method, &path).map(|(_, access)| access);
                assert_eq!(found, Ok(*access), "{method} {path}");
            }
        }
    }

    #[test]
    fn paths() {
        let get = |path: &str| find(&Method::GET, path).map(|found| found.0);
        let volume: VolumeName = "data.lab.example".parse().expect("valid");
        let file = |path: &str| Ok(Route::File(volume.clone(), VolumePath::new(path).expect("valid")));
        assert_eq!(get("/data.lab.example/a%20b/"), file("a b"));
        assert_eq!(get("/data.lab.example"), file(""));
        assert_eq!(get("/.webos/name/site.volume"), Ok(Route::VolumeRecord(Label::new("site").expect("valid"))));
        for bad in [
            "/",
            "//",
            "/.webos",
            "/.webos/",
            "/.webos/other",
            "/.webos/name/",
            "/.webos/name/site/",
            "/.webos/name/site/state/x",
            "/.webos/bundle/",
            "/.WebOS/bundle",
            "/%2ewebos/bundle",
            "/data.lab.example/../x",
            "/data.lab.example/%2e%2e/x",
            "/data.lab.example//x",
            "/nodots/x",
        ] {
            assert!(get(bad).is_err(), "{bad}");
        }
        assert!(find(&Method::POST, "/data.lab.example/x").is_err());
        assert!(find(&Method::DELETE, "/.webos/bundle").is_err());
    }
}
