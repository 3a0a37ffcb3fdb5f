//! Reading the audit log back: which records a question finds, and what it is verified against.

use crate::audit::{desk, note};
use crate::support::{grant, place};
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use terms::{Right, UnixMs};
use webos_trust::transfer::verify;
use webos_trust::{
    AllStand, Asker, AuditEntry, AuditHead, AuditOutcome, AuditQuery, AuditRecord, Bucket, NoGroups, Question,
    decide, newest_audit, read_audit, verify_audit,
};

#[test]
fn records_are_found_by_who_where_when_what_and_link() {
    let desk = desk();
    let lab = &desk.lab;
    let (alice, n2) = (lab.identity("user/alice"), lab.identity("server/n2"));
    let (peer, server) = (lab.peer(&alice), lab.peer(&n2));
    let chain = lab.transfer(&alice, &n2, vec![grant("data.lab.example/in", "rm")]);
    let chain = verify(&chain, &server, &lab.store, lab.now()).expect("valid");
    let log = desk.log();
    let refuse = |at: u64, asker: Asker<'_>, location: &str| {
        let (location, bucket) = (place(location), Bucket::empty());
        let (now, right) = (lab.now(), Right::Read);
        let question = Question {
            now,
            asker,
            location: &location,
            right,
            bucket: &bucket,
            groups: &NoGroups,
            standing: &AllStand,
        };
        let record = AuditRecord::of_decision(UnixMs(at), None, asker, decide(&question).reason());
        log.record(&record.expect("a refusal")).expect("recorded");
    };
    let own = Asker { peer: Some(&peer), ..Asker::default() };
    let lent = Asker { peer: Some(&server), chain: Some(&chain), ..Asker::default() };
    refuse(1, own, "data.lab.example/in/x");
    refuse(2, own, "data.lab.example/inner");
    refuse(3, lent, "data.lab.example/in");
    refuse(4, lent, "data.lab.example/strange\u{202e}");
    log.record(&note(5)).expect("recorded");
    let found = |query: &AuditQuery| {
        let mut found = Vec::new();
        let unread = read_audit(&desk.path, query, |entry, line| {
            assert!(line.starts_with(&format!("{{\"seq\":{}", entry.seq)));
            found.push(entry.seq);
            ControlFlow::Continue(())
        });
        assert_eq!(unread.expect("read"), 0);
        found
    };
    let all = AuditQuery::default;
    assert_eq!(found(&all()), [1, 2, 3, 4, 5]);
    let principal = Some(n2.principal().clone());
    assert_eq!(found(&AuditQuery { principal, ..all() }), [3, 4], "as peer, and as audience of a link");
    let resource = |text: &str| AuditQuery { resource: Some(text.into()), ..all() };
    assert_eq!(found(&resource("data.lab.example/in")), [1, 3, 5], "whole segments");
    assert_eq!(found(&resource("data.lab.example/strange\u{202e}")), [4], "as it is, though it is stored escaped");
    assert_eq!(found(&resource("data.lab.example")).len(), 5);
    let transfer = |text: String| AuditQuery { transfer: Some(text), ..all() };
    assert_eq!(found(&transfer(chain.id().to_string())), [3, 4]);
    assert_eq!(found(&transfer(chain.id().to_string()[..8].to_string())), [3, 4]);
    assert_eq!(found(&transfer("ffff".into())), [0u64; 0]);
    assert_eq!(found(&AuditQuery { since: Some(UnixMs(4)), ..all() }), [4, 5]);
    assert_eq!(found(&AuditQuery { outcome: Some(AuditOutcome::Changed), ..all() }), [5]);
    // Damage is passed over, counted, and told; what is being written is not there yet.
    let mut lines = desk.lines();
    lines[1] = "x".repeat(100_000);
    desk.put(&lines);
    let mut file = fs::OpenOptions::new().append(true).open(&desk.path).expect("opened");
    file.write_all(b"{\"seq\":6,").expect("written");
    let mut seen = 0;
    let count = |_: AuditEntry, _: &str| {
        seen += 1;
        ControlFlow::Continue(())
    };
    assert_eq!(read_audit(&desk.path, &all(), count).expect("read"), 1);
    assert_eq!(seen, 4);
}

#[test]
fn a_log_is_verified_against_several_heads_and_while_it_is_written() {
    let desk = desk();
    let (first, last) = (desk.written(2), desk.written(3));
    assert!(verify_audit(&desk.path, &[first, last]).is_ok());
    let disputed = AuditHead { records: 2, ..last };
    let fault = verify_audit(&desk.path, &[disputed, last]).expect_err("another past was told once");
    assert_eq!(fault.record(), Some(2));
    let mut file = fs::OpenOptions::new().append(true).open(&desk.path).expect("opened");
    file.write_all(b"{\"seq\":6,").expect("written");
    assert_eq!(verify_audit(&desk.path, &[last]).expect("half a line is not there yet").head, last);
}

#[test]
fn the_newest_records_are_read_from_the_end_alone() {
    let desk = desk();
    desk.written(3);
    let newest = |count| {
        let entries = newest_audit(&desk.path, count).expect("read");
        entries.into_iter().map(|entry| entry.seq).collect::<Vec<_>>()
    };
    assert_eq!(newest(2), [2, 3]);
    assert_eq!(newest(9), [1, 2, 3]);
    desk.written(5000);
    let all = newest(10_000);
    assert!(all.len() < 5000 && all.last() == Some(&5003), "{} of them", all.len());
    assert!(all.windows(2).all(|pair| pair[0] + 1 == pair[1]));
}

#[test]
fn records_from_before_links_named_their_issuer_are_read() {
    let line = r#"{"seq":7,"at":5,"outcome":"refused","resource":"data.lab.example/in","reason":"no",
        "chain":[{"id":"00","subject":"spiffe://lab.example/user/alice","audience":"spiffe://lab.example/server/n2",
        "grants":["r on data.lab.example/in"]}]}"#;
    let entry: AuditEntry = serde_json::from_str(line).expect("a record");
    assert_eq!((entry.seq, entry.record.count, entry.record.chain[0].issuer.clone()), (7, 1, None));
}
