//! What is read without a signature: access lists, invitation lines, header fields, names.

use super::{Outcome, Target, accepted};
use crate::forge::cbor;
use crate::scene::scene;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::{Value, cbor};
use discovery::headers::{TableSeen, manifest_from_header, table_from_header};
use discovery::model::{Load, Place};
use std::fmt::Display;
use std::str::FromStr;
use terms::{GroupName, Location, Principal, Rights, ServiceName, VolumePath, Who};
use trust::{Bucket, Invitation};

pub const BUCKET: Target = Target {
    name: "bucket",
    feeds: "an access list",
    seeds: || {
        let list = |entries: Value| cbor(&entries);
        let one = cbor!([["anyone", "rx"]]).expect("a list");
        let more = cbor!([
            ["authenticated", "r"],
            ["spiffe://lab.example/group/team", "rwm"],
            ["spiffe://lab.example/user/alice", "rwmxa+relay"],
        ]);
        // The one order of a list is that of its own encoding.
        let sorted = Bucket::new(more.expect("a list").deserialized::<Vec<(Who, Rights)>>().expect("entries"));
        vec![list(Value::Array(vec![])), list(one), sorted.and_then(|list| list.encode()).expect("encoded")]
    },
    run: |input| match Bucket::decode(input) {
        Err(_) => Outcome::Refused,
        Ok(bucket) => {
            assert_eq!(bucket.encode().expect("encoded"), input, "one encoding");
            let anyone = bucket.rights_of(&Who::Anyone);
            assert!(anyone.without("rx".parse().expect("rights")).is_empty(), "anyone holds r and x only");
            accepted(bucket.entries().len() == 2)
        }
    },
};

/// How an invitation line begins.
const INVITATION_PREFIX: &str = "webos-invite-1.";

pub const INVITATION: Target = Target {
    name: "invitation",
    feeds: "an invitation: its content, or else the line itself",
    seeds: || {
        let now = scene().now.0;
        let invitation = |principal: &str| {
            let (fingerprint, secret) = (Value::Bytes(vec![3; 32]), Value::Bytes(vec![5; 32]));
            cbor(
                &cbor!({
                    "address" => "127.0.0.1:4433", "realm" => "lab.example", "fingerprint" => fingerprint,
                    "secret" => secret, "principal" => principal, "expires" => now + 600_000,
                })
                .expect("an invitation"),
            )
        };
        let content = invitation("spiffe://lab.example/server/n2");
        let line = format!("{INVITATION_PREFIX}{}\n", URL_SAFE_NO_PAD.encode(&content));
        vec![content, invitation("spiffe://lab.example/user/alice"), line.into_bytes()]
    },
    run: |input| {
        let line = match input.strip_prefix(b"webos-") {
            Some(_) => String::from_utf8_lossy(input).into_owned(),
            None => format!("{INVITATION_PREFIX}{}", URL_SAFE_NO_PAD.encode(input)),
        };
        match Invitation::parse(&line) {
            Err(_) => Outcome::Refused,
            Ok(invitation) => {
                assert_eq!(invitation.principal.realm, invitation.realm, "one realm");
                let again = invitation.line().expect("what was read can be written");
                assert_eq!(Invitation::parse(&again).expect("our own").address, invitation.address);
                accepted(invitation.address.is_empty())
            }
        }
    },
};

pub const HEADERS: Target = Target {
    name: "headers",
    feeds: "the state headers, by the first character: load, table seen, place, table, manifest",
    seeds: || {
        [
            "linflight=1.25, rps=10.0, bps=12345.0, latency=3.5, waiting=0",
            "sgen=5, age=1200",
            "plat=52.5, lon=13.4",
            "tAQID",
            "mAQIDBA",
        ]
        .map(|text| text.as_bytes().to_vec())
        .into()
    },
    run: |input| {
        let Ok(text) = std::str::from_utf8(input) else { return Outcome::Refused };
        let Some((kind, value)) = text.split_at_checked(1) else { return Outcome::Refused };
        let rare = match kind {
            "l" => Load::from_header(value).ok().map(|load| {
                assert!(load.inflight.is_finite() && load.inflight >= 0.0, "{load:?}");
                load.waiting > 100
            }),
            "s" => TableSeen::from_header(value).ok().map(|seen| seen.age_ms > 100_000),
            "p" => Place::from_header(value).ok().map(|place| {
                assert!(place.lat().abs() <= 90.0 && place.lon().abs() <= 180.0, "{place}");
                place.lat() < 0.0 && place.lon() < 0.0
            }),
            "t" => table_from_header(value).ok().map(|bytes| bytes.len() > 64),
            "m" => manifest_from_header(value).ok().map(|bytes| bytes.len() > 64),
            _ => None,
        };
        rare.map_or(Outcome::Refused, accepted)
    },
};

pub const NAMES: Target = Target {
    name: "names",
    feeds: "names and paths as text, by the first character",
    seeds: || {
        [
            "Pspiffe://lab.example/user/alice",
            "Gspiffe://lab.example/group/team",
            "Wauthenticated",
            "Ldata.lab.example/in/a",
            "Vin/a b/ü",
            "Sservice://shop.lab.example",
            "Rrwmxa+relay",
        ]
        .map(|text| text.as_bytes().to_vec())
        .into()
    },
    run: |input| {
        let Ok(text) = std::str::from_utf8(input) else { return Outcome::Refused };
        let Some((kind, text)) = text.split_at_checked(1) else { return Outcome::Refused };
        match kind {
            "P" => round::<Principal>(text),
            "G" => round::<GroupName>(text),
            "W" => round::<Who>(text),
            "L" => round::<Location>(text),
            "V" => same(text, VolumePath::new),
            "S" => round::<ServiceName>(text),
            "R" => round::<Rights>(text),
            _ => Outcome::Refused,
        }
    },
};

/// What is read is written so that the same is read again, and holds nothing that steps out of a path.
fn round<T: FromStr + Display + PartialEq>(text: &str) -> Outcome {
    same(text, |text| text.parse::<T>())
}

fn same<T: Display + PartialEq, E>(text: &str, read: impl Fn(&str) -> Result<T, E>) -> Outcome {
    let Ok(value) = read(text) else { return Outcome::Refused };
    let written = value.to_string();
    assert!(read(&written).is_ok_and(|again| again == value), "'{text}' became '{written}'");
    assert!(!written.split('/').any(|part| part == ".." || part == "."), "'{written}' steps");
    accepted(written.contains("zz"))
}
