//! The rule as a table: one fact altered at a time, and the reason that must come out.

use super::*;
use crate::model::{RightToServe, ServerEntry, ServiceCertificate, Table};
use crate::verified::testing;
use terms::{Generation, Serial};
use trust::{KeyPair, PublicKey};

const NOW: u64 = 1_000_000;

struct Case {
    certificate: ServiceCertificate,
    table: Option<Table>,
    right: Option<RightToServe>,
    epoch: Epoch,
    now: Option<ServiceNow>,
}

fn key() -> PublicKey {
    KeyPair::generate().expect("a key").public().clone()
}

fn server(name: &str) -> Principal {
    format!("spiffe://lab.example/server/{name}").parse().expect("valid")
}

/// A home in the certificate and one surrogate that may be used for another 3 s, by a clock exact to 20 ms.
fn good() -> Case {
    let (home, surrogate) = (key(), Thumbprint([7; 32]));
    let entry = TableEntry {
        server: server("n1"),
        key: surrogate,
        address: "127.0.0.1:7001".into(),
        place: None,
        power: 1.0,
        load: Load { inflight: 2.0, ..Load::default() },
        load_age_ms: 300,
        active_for_ms: 4010,
        primary: false,
    };
    let home_entry = TableEntry { server: server("home"), key: home.thumbprint(), primary: true, ..entry.clone() };
    let service = "service://site.lab.example".parse().expect("valid");
    let certificate = ServiceCertificate {
        service,
        serial: Serial(1),
        epoch: Epoch(3),
        servers: vec![ServerEntry {
            principal: server("home"),
            key: home,
            address: "127.0.0.1:7000".into(),
            place: None,
            power: 1.0,
            price: 0.0,
            primary: true,
            authority: true,
        }],
        files: "site.lab.example/".parse().expect("valid"),
        readers: trust::Bucket::empty(),
        goal_ms: 50,
        stickiness: 0.0,
        valid_from: UnixMs(0),
        valid_until: UnixMs(u64::MAX),
    };
    let table = Table {
        service: certificate.service.clone(),
        epoch: Epoch(3),
        generation: Generation(9),
        signed_at: UnixMs(NOW - 1000),
        entries: vec![home_entry, entry.clone()],
    };
    let right = RightToServe {
        service: certificate.service.clone(),
        server: entry.server,
        key: surrogate,
        address: entry.address,
        epoch: Epoch(3),
        not_before: UnixMs(NOW - 2000),
        not_after: UnixMs(NOW + 118_000),
    };
    let now = Some(ServiceNow { earliest: UnixMs(NOW - 10), latest: UnixMs(NOW + 10) });
    Case { certificate, table: Some(table), right: Some(right), epoch: Epoch(3), now }
}

fn verdict(case: &Case) -> (Verdict, bool) {
    let certificate = testing::certificate(case.certificate.clone());
    let table = case.table.clone().map(testing::table);
    let rights = case.right.clone().map(|right| (Thumbprint([7; 32]), testing::right(right))).into_iter().collect();
    let facts = Facts {
        certificate: &certificate,
        table: table.as_ref(),
        rights: &rights,
        epoch: case.epoch,
        now: case.now,
    };
    let verdict = judge(&facts);
    let wants = verdict.wants_state(&facts);
    (verdict, wants)
}

fn refusal(alter: impl Fn(&mut Case)) -> (Option<Refusal>, bool) {
    let mut case = good();
    alter(&mut case);
    let (verdict, wants) = verdict(&case);
    assert!(verdict.usable.iter().any(Usable::certified), "the home stays usable whatever happens");
    assert_eq!(verdict.usable.len() + verdict.refused.len(), 2);
    (verdict.refused.first().map(|(_, refusal)| *refusal), wants)
}

#[test]
fn a_good_surrogate_is_usable_and_for_how_long() {
    let (verdict, wants) = verdict(&good());
    let surrogate = verdict.usable.iter().find(|usable| !usable.certified()).expect("usable");
    assert_eq!(surrogate.remaining, Some(Duration::from_millis(3000)));
    assert_eq!(surrogate.load.map(|(load, age)| (load.inflight, age)), Some((2.0, Duration::from_millis(1310))));
    let home = verdict.usable.iter().find(|usable| usable.certified()).expect("usable");
    assert_eq!((home.remaining, home.load.is_some(), home.primary()), (None, true, true));
    assert!(!wants);
}

#[test]
fn each_doubt_refuses_the_surrogate() {
    type Alter = fn(&mut Case);
    let cases: [(Alter, Refusal, bool); 16] = [
        (|c| c.now = None, Refusal::NoTime, true),
        (|c| c.table.as_mut().unwrap().signed_at = UnixMs(NOW - 4991), Refusal::TableOld(5001), true),
        (|c| c.table.as_mut().unwrap().signed_at = UnixMs(NOW + 2011), Refusal::TableAhead(2001), true),
        (|c| c.table.as_mut().unwrap().epoch = Epoch(2), Refusal::TableEpoch(Epoch(2), Epoch(3)), false),
        (|c| c.epoch = Epoch(4), Refusal::TableEpoch(Epoch(3), Epoch(4)), false),
        (|c| c.table.as_mut().unwrap().entries[1].active_for_ms = 0, Refusal::NotActive, false),
        (|c| c.table.as_mut().unwrap().entries[1].active_for_ms = 1010, Refusal::NotActive, false),
        (
            |c| {
                // Found by seed 7751 of the recruiting simulation: the date's lead was taken for a lease.
                c.table.as_mut().unwrap().signed_at = UnixMs(NOW + 500);
                c.table.as_mut().unwrap().entries[1].active_for_ms = 0;
            },
            Refusal::NotActive,
            false,
        ),
        (|c| c.right = None, Refusal::NoRight, true),
        (|c| c.right.as_mut().unwrap().key = Thumbprint([8; 32]), Refusal::RightOfAnother, false),
        (|c| c.right.as_mut().unwrap().server = server("n2"), Refusal::RightOfAnother, false),
        (|c| c.right.as_mut().unwrap().address = "127.0.0.1:7002".into(), Refusal::RightOfAnother, false),
        (|c| c.right.as_mut().unwrap().epoch = Epoch(2), Refusal::RightEpoch(Epoch(2), Epoch(3)), false),
        (|c| c.right.as_mut().unwrap().not_before = UnixMs(NOW + 2011), Refusal::RightNotYet, false),
        (|c| c.right.as_mut().unwrap().not_after = UnixMs(NOW + 10), Refusal::RightEnded, true),
        (|c| c.now.as_mut().unwrap().latest = UnixMs(NOW + 5000), Refusal::TableOld(6000), true),
    ];
    for (index, (alter, expected, wants)) in cases.into_iter().enumerate() {
        assert_eq!(refusal(alter), (Some(expected), wants), "case {index}");
    }
}

#[test]
fn the_edges_are_on_the_safe_side() {
    let at = |signed_at: u64| {
        refusal(|c| {
            let table = c.table.as_mut().expect("there");
            table.signed_at = UnixMs(signed_at);
            table.entries[1].active_for_ms = 10_000;
        })
    };
    assert_eq!(at(NOW + 10 - 5000).0, None, "exactly five seconds old is allowed");
    assert!(at(NOW + 10 - 5001).0.is_some());
    assert_eq!(at(NOW + 10 + 2000).0, None);
    let right = |not_after: u64| refusal(|c| c.right.as_mut().expect("there").not_after = UnixMs(not_after)).0;
    assert_eq!(right(NOW + 11), None);
    assert!(right(NOW + 10).is_some(), "a right has ended at its last instant");
}

#[test]
fn without_a_table_only_the_certificate_counts_and_state_is_wanted() {
    let mut case = good();
    case.table = None;
    let (verdict, wants) = verdict(&case);
    assert_eq!(verdict.usable.len(), 1);
    assert!(wants);
}
