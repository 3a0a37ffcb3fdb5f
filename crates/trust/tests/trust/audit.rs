//! The audit log: what it records, and that nobody changes it unseen.

use crate::support::{Lab, grant, lab, place};
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use terms::{Right, UnixMs};
use webos_trust::limits::{MAX_AUDIT_OLD_FILES, MAX_PEER_REFUSALS};
use webos_trust::transfer::verify;
use webos_trust::{
    AllStand, Asker, AuditFault, AuditHead, AuditLog, AuditRecord, Bucket, NoGroups, Question, decide, verify_audit,
};

pub struct Desk {
    pub lab: Lab,
    _folder: tempfile::TempDir,
    pub path: PathBuf,
}

pub fn desk() -> Desk {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit/audit.jsonl");
    Desk { lab: lab(), _folder: folder, path }
}

pub fn note(number: u64) -> AuditRecord {
    let alice = "spiffe://lab.example/user/alice".parse().expect("a principal");
    AuditRecord::of_change(UnixMs(number), &alice, "data.lab.example/in", &format!("change {number}"))
}

fn refusal(at: u64, source: &str) -> AuditRecord {
    let source: IpAddr = source.parse().expect("an address");
    AuditRecord::of_refusal(UnixMs(at), Some(source), "data.lab.example/in", "no certificate")
}

impl Desk {
    pub fn log(&self) -> AuditLog {
        AuditLog::open(&self.path).expect("opened")
    }

    pub fn written(&self, count: u64) -> AuditHead {
        let log = self.log();
        (1..=count).for_each(|number| log.record(&note(number)).expect("recorded"));
        log.head()
    }

    pub fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.path).expect("read").lines().map(String::from).collect()
    }

    pub fn put(&self, lines: &[String]) {
        fs::write(&self.path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).expect("written");
    }
}

#[test]
fn an_untouched_log_verifies_and_goes_on_after_a_restart() {
    let desk = desk();
    let head = desk.written(3);
    let log = desk.log();
    assert_eq!(log.head(), head);
    log.record(&note(4)).expect("recorded");
    let summary = verify_audit(&desk.path, Some(&head)).expect("whole");
    assert_eq!((summary.first, summary.head), (1, log.head()));
    assert_eq!(summary.head.records, 4);
    log.sync().expect("synced");
}

#[test]
fn tampering_is_found_and_named() {
    let desk = desk();
    let head = desk.written(5);
    let good = desk.lines();
    let fault = |lines: &[String], known: Option<&AuditHead>| {
        desk.put(lines);
        verify_audit(&desk.path, known).expect_err("tampered")
    };
    let mut changed = good.clone();
    changed[2] = changed[2].replace("change 3", "change 9");
    assert!(matches!(fault(&changed, None), AuditFault::Changed { record: 3, .. }));
    let mut removed = good.clone();
    removed.remove(2);
    assert!(matches!(fault(&removed, None), AuditFault::Gap { expected: 3, found: 4, .. }));
    let mut swapped = good.clone();
    swapped.swap(1, 2);
    assert!(matches!(fault(&swapped, None), AuditFault::Gap { expected: 2, found: 3, .. }));
    let mut doubled = good.clone();
    doubled.insert(2, good[1].clone());
    assert!(matches!(fault(&doubled, None), AuditFault::Gap { expected: 3, found: 2, .. }));
    let mut foreign = good.clone();
    foreign.insert(2, "{}".into());
    assert!(matches!(fault(&foreign, None), AuditFault::NoRecord { after: 2, .. }));
    // A cut tail looks whole, unless a head is known from elsewhere.
    desk.put(&good[..4]);
    assert!(verify_audit(&desk.path, None).is_ok());
    assert!(matches!(fault(&good[..4], Some(&head)), AuditFault::Cut { expected: 5 }));
    // A chain computed anew from the start differs from the known head.
    let other = self::desk();
    let log = other.log();
    (11..=15).for_each(|number| log.record(&note(number)).expect("recorded"));
    assert!(matches!(fault(&other.lines(), Some(&head)), AuditFault::Cut { expected: 5 }));
    // A record of the right number with a hash of its own, from another chain.
    let mut spliced = good.clone();
    spliced[2] = other.lines()[2].clone();
    assert!(matches!(fault(&spliced, None), AuditFault::Spliced { record: 3, .. }));
    desk.put(&good);
    assert!(verify_audit(&desk.path, Some(&head)).is_ok());
}

#[test]
fn a_torn_tail_is_taken_away_and_damage_is_not_written_over() {
    let desk = desk();
    desk.written(2);
    let append = |text: &str| {
        let mut file = fs::OpenOptions::new().append(true).open(&desk.path).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    };
    append("{\"seq\":3,\"pre");
    desk.log().record(&note(3)).expect("recorded");
    assert_eq!(verify_audit(&desk.path, None).expect("whole").head.records, 3);
    append("{\"seq\":4}\n");
    assert!(AuditLog::open(&desk.path).is_err(), "a whole line that is no record");
    let long = "x".repeat(100_000);
    append(&long);
    assert!(AuditLog::open(&desk.path).is_err(), "and nothing after it is cut");
    assert!(fs::read_to_string(&desk.path).expect("read").ends_with(&long));
}

#[test]
fn anonymous_refusals_are_summed() {
    let desk = desk();
    let log = desk.log();
    for index in 0..500u64 {
        log.record(&refusal(60_000 + index, &format!("10.0.0.{}", index % 200))).expect("recorded");
        log.record(&refusal(60_000 + index, "2001:db8:1::7")).expect("recorded");
    }
    assert_eq!(log.head().records, 0, "the minute still runs");
    log.flush(UnixMs(119_999)).expect("flushed");
    assert_eq!(log.head().records, 0);
    log.flush(UnixMs(120_000)).expect("flushed");
    let lines = desk.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("\"source\":\"10.0.0.0/24\"") && lines[0].contains("\"count\":500"), "{}", lines[0]);
    assert!(lines[1].contains("2001:db8:1::/48"), "{}", lines[1]);
    // At most a thousand records a minute, whoever asks.
    for index in 0..3000u32 {
        let [_, a, b, _] = (index << 8).to_be_bytes();
        log.record(&refusal(180_000, &format!("10.{a}.{b}.1"))).expect("recorded");
    }
    log.finish().expect("written");
    let lines = desk.lines();
    assert_eq!(lines.len(), 2 + 1000);
    assert!(lines[1001].contains("further sources") && lines[1001].contains("\"count\":2001"), "{}", lines[1001]);
    assert!(verify_audit(&desk.path, None).is_ok());
}

#[test]
fn decisions_that_are_recorded() {
    let desk = desk();
    let lab = &desk.lab;
    let (alice, n2) = (lab.identity("user/alice"), lab.identity("server/n2"));
    let (peer, server) = (lab.peer(&alice), lab.peer(&n2));
    let all =
        Bucket::new([(terms::Who::Principal(alice.principal().clone()), terms::Rights::OWNER)]).expect("valid");
    let chain = lab.transfer(&alice, &n2, vec![grant("data.lab.example/in", "rm")]);
    let chain = verify(&chain, &server, &lab.store, lab.now()).expect("valid");
    let record = |asker: Asker<'_>, right, bucket: &Bucket| {
        let at = place("data.lab.example/in/x");
        let question = Question {
            now: lab.now(),
            asker,
            location: &at,
            right,
            bucket,
            groups: &NoGroups,
            standing: &AllStand,
        };
        AuditRecord::of_decision(lab.now(), None, asker, decide(&question).reason())
    };
    let own = Asker { peer: Some(&peer), chain: None, token: None };
    for (right, recorded) in [
        (Right::Read, false),
        (Right::Write, false),
        (Right::Modify, true),
        (Right::Execute, true),
        (Right::Administer, true),
    ] {
        assert_eq!(record(own, right, &all).is_some(), recorded, "granted {right}");
        assert!(record(own, right, &Bucket::empty()).is_some(), "refused {right}");
    }
    let lent = Asker { peer: Some(&server), chain: Some(&chain), token: None };
    let with_chain = record(lent, Right::Modify, &all).expect("recorded");
    assert_eq!(with_chain.chain[0].id, chain.id().to_string());
    assert_eq!(with_chain.chain[0].grants, ["rm on data.lab.example/in and all below it"]);
    desk.log().record(&with_chain).expect("recorded");
    assert!(desk.lines()[0].contains("\"outcome\":\"granted\""));
}

#[test]
fn a_log_line_is_one_line_and_drives_no_terminal() {
    let desk = desk();
    let log = desk.log();
    let hostile = format!("a\n{{\"seq\":9}}\u{1b}[31m\u{9b}\u{202e}\u{2028}\u{1f600}{}", "é".repeat(100_000));
    let alice = "spiffe://lab.example/user/alice".parse().expect("a principal");
    log.record(&AuditRecord::of_change(UnixMs(1), &alice, &hostile, &hostile)).expect("recorded");
    let text = fs::read(&desk.path).expect("read");
    assert!(text.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n')));
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert!(verify_audit(&desk.path, None).is_ok());
    let value: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert!(value["resource"].as_str().expect("a text").starts_with("a\n{\"seq\":9}\u{1b}[31m"));
}

#[test]
fn no_path_is_too_strange_for_its_refusal_to_be_recorded() {
    let desk = desk();
    let lab = &desk.lab;
    let (alice, n2) = (lab.identity("user/alice"), lab.identity("server/n2"));
    let segment = "\u{1f600}".repeat(60);
    let path = vec![segment.as_str(); 16].join("/");
    let strange = format!("data.lab.example/{path}");
    let chain = lab.transfer(&alice, &n2, vec![grant("data.lab.example/\u{1f600}\u{1f600}\u{1f600}", "r"); 16]);
    let peer = lab.peer(&n2);
    let chain = verify(&chain, &peer, &lab.store, lab.now()).expect("valid");
    let asker = Asker { peer: Some(&peer), chain: Some(&chain), token: None };
    let at = place(&strange);
    let (bucket, groups) = (Bucket::empty(), NoGroups);
    let question = Question {
        now: lab.now(),
        asker,
        location: &at,
        right: Right::Read,
        bucket: &bucket,
        groups: &groups,
        standing: &AllStand,
    };
    let record = AuditRecord::of_decision(lab.now(), None, asker, decide(&question).reason()).expect("a refusal");
    desk.log().record(&record).expect("recorded");
    assert!(desk.lines()[0].contains("... ("), "cut, and says so");
}

#[test]
fn a_full_file_is_put_aside_and_the_chain_goes_on() {
    let desk = desk();
    let log = desk.log();
    let long = "x".repeat(2000);
    let alice = "spiffe://lab.example/user/alice".parse().expect("a principal");
    let record = AuditRecord::of_change(UnixMs(1), &alice, &long, &long);
    let mut written = 0u64;
    let old = desk.path.with_file_name("audit.jsonl.000000000001");
    while !old.exists() {
        (0..1000).for_each(|_| log.record(&record).expect("recorded"));
        written += 1000;
    }
    let summary = verify_audit(&desk.path, Some(&log.head())).expect("whole");
    assert_eq!((summary.first, summary.head.records), (1, written));
    let head = log.head();
    drop(log);
    assert_eq!(desk.log().head(), head);
    // Old files may be taken away; the summary says where the log begins now.
    fs::remove_file(&old).expect("there");
    assert!(verify_audit(&desk.path, Some(&head)).expect("the rest is whole").first > 1);
    desk.log().record(&note(1)).expect("recorded");
    assert_eq!(desk.log().head().records, written + 1);
}

#[test]
fn the_oldest_files_go() {
    let desk = desk();
    let log = desk.log();
    let numbered = |number: usize| desk.path.with_file_name(format!("audit.jsonl.{number:012}"));
    (1..=MAX_AUDIT_OLD_FILES + 3).for_each(|number| fs::write(numbered(number), "full").expect("written"));
    let long = "x".repeat(2000);
    let alice = "spiffe://lab.example/user/alice".parse().expect("a principal");
    let record = AuditRecord::of_change(UnixMs(1), &alice, &long, &long);
    let mut bytes = 0;
    while bytes <= fs::metadata(&desk.path).expect("there").len() {
        bytes = fs::metadata(&desk.path).expect("there").len();
        (0..1000).for_each(|_| log.record(&record).expect("recorded"));
    }
    assert!((1..=3).all(|number| !numbered(number).exists()), "the oldest are gone");
    assert!((4..=MAX_AUDIT_OLD_FILES + 3).all(|number| numbered(number).exists()), "the others stay");
}

#[test]
fn refusals_of_one_principal_are_summed_after_the_first_few() {
    let desk = desk();
    let log = desk.log();
    let peer = desk.lab.peer(&desk.lab.identity("user/mallory"));
    let other = desk.lab.peer(&desk.lab.identity("user/bob"));
    let asker = |peer| Asker { peer: Some(peer), chain: None, token: None };
    let refused = |peer, index: u64, right| {
        let (at, bucket) = (place(&format!("data.lab.example/in/{index}")), Bucket::empty());
        let now = UnixMs(60_000 + index);
        let question = Question {
            now,
            asker: asker(peer),
            location: &at,
            right,
            bucket: &bucket,
            groups: &NoGroups,
            standing: &AllStand,
        };
        AuditRecord::of_decision(now, None, asker(peer), decide(&question).reason()).expect("a refusal")
    };
    for index in 0..1000 {
        log.record(&refused(&peer, index, Right::Read)).expect("recorded");
    }
    log.record(&refused(&peer, 0, Right::Modify)).expect("recorded");
    log.record(&refused(&other, 0, Right::Read)).expect("recorded");
    let lines = desk.lines();
    let first = usize::try_from(MAX_PEER_REFUSALS).expect("small");
    assert_eq!(lines.len(), first + 2, "the first few, another right, another principal");
    log.flush(UnixMs(120_000)).expect("flushed");
    let lines = desk.lines();
    let sum = lines.last().expect("a sum");
    assert_eq!(lines.len(), first + 3, "{sum}");
    assert!(
        sum.contains("user/mallory") && sum.contains(&format!("\"count\":{}", 1000 - MAX_PEER_REFUSALS)),
        "{sum}"
    );
    log.record(&refused(&peer, 60_000, Right::Read)).expect("recorded");
    assert_eq!(desk.lines().len(), first + 4, "the next minute begins anew");
    assert!(verify_audit(&desk.path, None).is_ok());
}

#[test]
fn a_log_that_was_cut_changed_or_taken_away_is_found_out_at_a_start() {
    let begun = || {
        let desk = desk();
        let log = desk.log();
        (1..=5).for_each(|number| log.record(&note(number)).expect("recorded"));
        log.finish().expect("noted");
        desk
    };
    let noted = |desk: &Desk| desk.path.with_file_name("audit.jsonl.head");
    let found = |desk: &Desk| desk.log().damage().map(ToString::to_string).unwrap_or_default();
    assert_eq!(found(&desk()), "", "a new one");
    assert_eq!(found(&begun()), "", "as it was left");
    let longer = begun();
    longer.log().record(&note(6)).expect("recorded");
    assert_eq!(found(&longer), "", "ended by a crash, before its end was noted");

    let cut = begun();
    cut.put(&cut.lines()[..4]);
    assert!(found(&cut).starts_with("record 5 was there once"), "{}", found(&cut));
    let gone = begun();
    fs::remove_file(&gone.path).expect("there");
    assert!(found(&gone).starts_with("record 5 was there once"), "{}", found(&gone));
    let changed = begun();
    let mut lines = changed.lines();
    lines[1] = lines[1].replace("change 2", "change 9");
    changed.put(&lines);
    assert!(found(&changed).starts_with("record 2 was changed"), "{}", found(&changed));
    let alone = begun();
    fs::remove_file(noted(&alone)).expect("there");
    assert!(found(&alone).starts_with("the note of where the log ended"), "{}", found(&alone));

    // It stays found until the log goes on.
    assert_ne!(found(&gone), "");
    let log = gone.log();
    log.record(&note(1)).expect("recorded");
    log.flush(UnixMs(1)).expect("noted");
    assert_eq!(found(&gone), "");
}
