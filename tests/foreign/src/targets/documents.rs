//! Signed documents: COSE of any shape, and content that is signed after it was altered.

use super::{Outcome, Target, accepted};
use crate::forge::{cbor, certificates_header, decoded, described, filled, issuing_header, key_header, seal};
use crate::scene::scene;
use ciborium::{Value, cbor};
use discovery::manifest::{Manifest, SignedManifest, blocks_of, root_of};
use discovery::model::{
    RIGHT_KIND, RightToServe, SERVICE_KIND, ServiceCertificate, TABLE_KIND, Table, VOLUME_KIND, VolumeRecord,
};
use serde::de::DeserializeOwned;
use terms::{Epoch, UnixMs, Version, VolumePath};
use trust::{Bundle, GroupList, signed};

const KIND: &str = "webos-forged-v1";

pub const COSE: Target = Target {
    name: "cose",
    feeds: "a signed document of any shape, as an array whose header is a map and whose signature may be @sign",
    seeds: || {
        let mark = |text: &str| Value::Bytes(text.into());
        let header = cbor!({ 1 => -7, 33 => [mark("@alice"), mark("@issuing")] }).expect("a header");
        let sealed = |value: &Value| {
            let parts = vec![header.clone(), Value::Map(vec![]), value.clone(), mark("@sign")];
            cbor(&Value::Tag(18, Box::new(Value::Array(parts))))
        };
        vec![sealed(&Value::from("text")), sealed(&Value::from(7))]
    },
    run: |input| {
        let scene = scene();
        let bytes = described(scene, KIND, input);
        match signed::open::<Value>(&bytes, KIND, &scene.store, scene.now) {
            Err(_) => Outcome::Refused,
            Ok(opened) => {
                assert_eq!(&opened.signer, scene.identity("user/alice").principal(), "nobody else signs here");
                accepted(!opened.value.is_text() && !opened.value.is_integer())
            }
        }
    },
};

pub const BUNDLE: Target = Target {
    name: "bundle",
    feeds: "a realm's bundle, signed by its issuing certificate",
    seeds: || {
        let now = scene().now.0;
        let server = cbor!({ "address" => "127.0.0.1:4433", "principal" => "spiffe://lab.example/server/n1" });
        let bundle = |servers: Vec<Value>| {
            let root = Value::Bytes(b"@root".to_vec());
            let bundle = cbor!({
                "realm" => "lab.example", "roots" => [root], "endorsements" => [], "name_servers" => servers, "epoch" => 1,
                "issued" => now,
            });
            cbor(&bundle.expect("a bundle"))
        };
        vec![bundle(vec![]), bundle(vec![server.expect("a name server")])]
    },
    run: |input| {
        let scene = scene();
        let header = issuing_header(scene);
        let bytes = seal(&scene.issuing, header, "webos-bundle-v2", filled(scene, input));
        match Bundle::open(&bytes, &scene.authority.fingerprint(), scene.now) {
            Err(_) => Outcome::Refused,
            Ok(bundle) => {
                assert_eq!(bundle.realm.as_str(), "lab.example", "the issuing certificate's own realm");
                assert!(bundle.name_servers.iter().all(|server| server.principal.realm == bundle.realm));
                accepted(bundle.epoch > Epoch(1000))
            }
        }
    },
};

pub const GROUP: Target = Target {
    name: "group",
    feeds: "a group's list, signed by its home",
    seeds: || {
        let now = scene().now.0;
        let list = |members: Value| {
            cbor(&cbor!({ "name" => "spiffe://lab.example/group/team", "version" => 2, "at" => now, "members" => members }).expect("a list"))
        };
        let member =
            cbor!({ "spiffe://lab.example/user/alice" => null, "spiffe://lab.example/group/b" => now + 60_000 });
        vec![list(Value::Map(vec![])), list(member.expect("members"))]
    },
    run: |input| {
        let scene = scene();
        let home = scene.identity("server/n1");
        let bytes = seal(home.key(), certificates_header(home), "webos-group-v1", filled(scene, input));
        match GroupList::open(&bytes, home.principal(), &scene.store, scene.now) {
            Err(_) => Outcome::Refused,
            Ok((list, _)) => {
                assert_eq!(list.name().realm.as_str(), "lab.example", "its home's realm");
                assert!(list.members().len() <= trust::limits::MAX_MEMBERS);
                accepted(list.version().0 > 1000 && !list.members().is_empty())
            }
        }
    },
};

pub const DISCOVERY: Target = Target {
    name: "discovery",
    feeds: "service certificates, tables, rights to serve, volume records and manifests, by the first byte, signed by a server",
    seeds: || discovery_seeds().expect("seeds"),
    run: |input| match input.split_first() {
        Some((0, content)) => document::<ServiceCertificate>(SERVICE_KIND, content, |it| it.servers.len() > 1),
        Some((1, content)) => document::<Table>(TABLE_KIND, content, |it| it.entries.len() > 1),
        Some((2, content)) => document::<RightToServe>(RIGHT_KIND, content, |it| it.not_after < it.not_before),
        Some((3, content)) => document::<VolumeRecord>(VOLUME_KIND, content, |it| it.epoch > Epoch(1000)),
        Some((4, content)) => manifest(content),
        _ => Outcome::Refused,
    },
};

fn document<T: DeserializeOwned>(kind: &'static str, content: &[u8], rare: impl Fn(&T) -> bool) -> Outcome {
    let scene = scene();
    let key = scene.identity("server/n1").key();
    let bytes = seal(key, key_header(key), kind, filled(scene, content));
    let opened = signed::open_with::<T>(&bytes, kind, key.public());
    opened.map_or(Outcome::Refused, |value| accepted(rare(&value)))
}

fn manifest(content: &[u8]) -> Outcome {
    let Some(statement) = decoded(content).and_then(|value| value.deserialized::<SignedManifest>().ok()) else {
        return Outcome::Refused;
    };
    match Manifest::check(statement) {
        Err(_) => Outcome::Refused,
        Ok(manifest) => {
            let lengths = (0..manifest.block_count()).map(|block| manifest.range(block)).map(|r| r.end - r.start);
            assert_eq!(lengths.sum::<u64>(), manifest.size(), "the blocks are the file");
            accepted(manifest.statement().epoch > Epoch(1000))
        }
    }
}

fn discovery_seeds() -> Option<Vec<Vec<u8>>> {
    let now = scene().now.0;
    let (n1, address) = ("spiffe://lab.example/server/n1", "127.0.0.1:4433");
    let shop = "service://shop.lab.example";
    let load =
        cbor!({ "inflight" => 1.5, "rps" => 2.0, "bytes_per_s" => 3.0, "latency_ms" => 4.0, "waiting" => 0 })
            .ok()?;
    let place = cbor!({ "lat" => 52.5, "lon" => 13.4 }).ok()?;
    let spki = Value::Bytes(b"@spki".to_vec());
    let key = Value::Bytes(b"@n2".to_vec());
    let server = cbor!({
        "principal" => n1, "key" => spki.clone(), "address" => address, "place" => place.clone(), "power" => 1.0,
        "price" => 0.0, "primary" => true, "authority" => true,
    });
    let files = cbor!({ "volume" => "site.lab.example", "path" => "www" }).ok()?;
    let server = server.ok()?;
    let certificate = cbor!({
        "service" => shop, "serial" => 1, "epoch" => 1, "servers" => [server], "files" => files,
        "readers" => [["anyone", "r"]], "goal_ms" => 800, "stickiness" => 0.5, "valid_from" => now,
        "valid_until" => now + 86_400_000,
    });
    let entry = cbor!({
        "server" => n1, "key" => key.clone(), "address" => address, "place" => place, "power" => 1.0, "load" => load,
        "load_age_ms" => 5, "active_for_ms" => 9000, "primary" => true,
    });
    let entry = entry.ok()?;
    let table = cbor!({
        "service" => shop, "epoch" => 1, "generation" => 2, "signed_at" => now, "entries" => [entry],
    });
    let right = cbor!({
        "service" => shop, "server" => n1, "key" => key, "address" => address, "epoch" => 1, "not_before" => now,
        "not_after" => now + 120_000,
    });
    let record = cbor!({
        "volume" => "site.lab.example", "home" => n1, "key" => spki, "address" => address, "epoch" => 1,
    });
    let content = b"content";
    let statement = SignedManifest {
        volume: "site.lab.example".parse().ok()?,
        path: VolumePath::new("www/a").ok()?,
        epoch: Epoch(1),
        version: Version(1),
        size: content.len() as u64,
        root: root_of(content.len() as u64, &blocks_of(content)),
        blocks: blocks_of(content),
        at: UnixMs(now),
    };
    let documents =
        [certificate.ok()?, table.ok()?, right.ok()?, record.ok()?, Value::serialized(&statement).ok()?];
    Some(documents.iter().zip(0u8..).map(|(value, number)| [vec![number], cbor(value)].concat()).collect())
}
