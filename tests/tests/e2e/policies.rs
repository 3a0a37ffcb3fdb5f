//! Policies through the real binary: shown, set, taken over; logs with several appenders; what is kept for a time.

use std::collections::BTreeSet;
use webos_tests::{Realm, eventually};

fn store(realm: &Realm, at: &str, content: &str) {
    realm.alice.call(["put", "-p", "-", &realm.path(at)]).input(content).run().succeeds();
}

#[test]
fn a_policy_is_shown_set_and_taken_over() {
    let realm = Realm::start();
    let (alice, at) = (&realm.alice, |path: &str| realm.path(path));
    store(&realm, "d/before", "1");
    assert_eq!(alice.ok(["policy", &at("d")]), "cto\n");
    assert_eq!(alice.ok(["policy", &at("d"), "ttl=30"]), "ttl=30\n");
    store(&realm, "d/after", "2");
    assert_eq!(alice.ok(["policy", &at("d/before")]), "cto\n");
    assert_eq!(alice.ok(["policy", &at("d/after")]), "ttl=30\n");
    assert_eq!(alice.ok(["policy", "-r", &at("d"), "strong"]), "strong\n");
    let shown = alice.call(["policy", "--json", &at("d/before")]).run().json();
    assert_eq!(shown["policy"], "strong");
    assert!(alice.ok(["stat", &at("d/after")]).contains("policy    strong"));
    let listed = alice.call(["ls", "--json", &at("d")]).run().json();
    assert_eq!(listed["entries"][0]["policy"], "strong");
    let words = ["cto, strong, log, ttl=SECONDS or immutable"];
    alice.call(["policy", &at("d"), "weak"]).run().fails(2, &words);
    alice.call(["policy", &at("d"), "ttl=0"]).run().fails(2, &["1 to 3600"]);
    alice.call(["policy", &at("gone"), "log"]).run().fails(4, &["gone"]);
}

#[test]
fn a_log_and_what_is_immutable_are_not_overwritten() {
    let realm = Realm::start();
    let (alice, at) = (&realm.alice, |path: &str| realm.path(path));
    for (name, policy, next) in [("l", "log", "webos append"), ("i", "immutable", "another name")] {
        store(&realm, name, "first\n");
        alice.ok(["policy", &at(name), policy]);
        alice.call(["put", "-", &at(name)]).input("second").run().fails(1, &["its policy is", policy, next]);
        store(&realm, "other", "other");
        alice.call(["mv", &at("other"), &at(name)]).run().fails(1, &["its policy is", policy]);
        assert_eq!(alice.ok(["cat", &at(name)]), "first\n");
    }
    let told = alice.call(["append", "--json", &at("l")]).input("second\nthird\n").run().json();
    assert_eq!((told["offset"].as_u64(), told["bytes"].as_u64()), (Some(6), Some(13)));
    assert_eq!(alice.ok(["cat", &at("l")]), "first\nsecond\nthird\n");
    assert_eq!(alice.ok(["tail", "-n", "2", &at("l")]), "second\nthird\n");
    assert_eq!(alice.ok(["tail", &at("l")]), "first\nsecond\nthird\n");
    alice.call(["append", &at("i")]).input("x").run().fails(1, &["its policy is immutable", "another name"]);
    alice.call(["append", &at("no/such")]).input("x").run().fails(4, &["does not exist"]);
    alice.call(["append", &at("plain")]).input("one\n").run().succeeds();
    alice.call(["append", &at("plain")]).input("two\n").run().succeeds();
    assert_eq!(alice.ok(["cat", &at("plain")]), "one\ntwo\n", "any file can be appended to");
    // It takes the rights that what it does takes.
    let bob = realm.user("bob");
    alice.ok(["acl", "grant", "user/bob", "rw", &at("l")]);
    alice.ok(["acl", "grant", "user/bob", "rw", &at("plain")]);
    bob.call(["append", &at("l")]).input("bob\n").run().succeeds();
    bob.call(["append", &at("plain")]).input("bob\n").run().fails(3, &["bob"]);
    bob.call(["policy", &at("l"), "cto"]).run().fails(3, &["bob"]);
    assert_eq!(bob.ok(["tail", "-n", "1", &at("l")]), "bob\n");
    alice.ok(["rm", &at("l")]);
}

#[test]
fn a_long_log_is_read_whole_while_it_grows() {
    let realm = Realm::start();
    let (alice, at) = (&realm.alice, realm.path("l"));
    let line = format!("{:0>1023}\n", 7);
    alice.call(["append", &at]).input("begin\n").run().succeeds();
    alice.ok(["policy", &at, "log"]);
    alice.call(["append", &at]).input(line.repeat(10 << 10)).run().succeeds();
    std::thread::scope(|scope| {
        let grows = scope
            .spawn(|| (0..20).for_each(|_| drop(alice.call(["append", &at]).input("more\n").run().succeeds())));
        while !grows.is_finished() {
            let all = alice.ok(["cat", &at]);
            assert!(all.starts_with("begin\n") && all.len() >= (10 << 20) + 6);
        }
    });
    assert_eq!(alice.ok(["cat", &at]).len(), (10 << 20) + 6 + 20 * 5);
}

#[test]
fn five_appenders_lose_nothing_and_keep_their_order() {
    let realm = Realm::start();
    let (alice, at) = (&realm.alice, realm.path("l"));
    alice.call(["append", &at]).input("begin\n").run().succeeds();
    alice.ok(["policy", &at, "log"]);
    std::thread::scope(|scope| {
        for appender in 0..5 {
            let at = &at;
            scope.spawn(move || {
                for part in 0..4 {
                    let lines: String = (0..50).map(|line| format!("{appender} {}\n", part * 50 + line)).collect();
                    alice.call(["append", at]).input(lines).run().succeeds();
                }
            });
        }
    });
    let all = alice.ok(["cat", &at]);
    let lines: Vec<&str> = all.lines().skip(1).collect();
    assert_eq!(lines.len(), 5 * 200);
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), 5 * 200, "nothing twice");
    for appender in 0..5 {
        let own = lines.iter().filter_map(|line| line.strip_prefix(&format!("{appender} ")));
        let numbers: Vec<u32> = own.map(|number| number.parse().expect("a number")).collect();
        assert!(numbers.is_sorted() && numbers.len() == 200, "in its own order");
    }
}

#[test]
fn what_has_a_time_to_live_is_read_unasked_for_so_long_and_a_log_never() {
    let realm = Realm::start();
    let r1 = realm.node("r1");
    let (alice, at) = (&realm.alice, |path: &str| realm.path(path));
    let from = format!("r1@{}", r1.address);
    alice.ok(["acl", "grant", "server/r1", "r+relay", Realm::VOLUME, "-r"]);
    for (name, policy) in [("long", "ttl=3600"), ("short", "ttl=1"), ("log", "log")] {
        store(&realm, name, "one");
        alice.ok(["policy", &at(name), policy]);
        assert_eq!(alice.ok(["cat", "--from", &from, &at(name)]), "one");
    }
    store(&realm, "long", "two");
    store(&realm, "short", "two");
    alice.call(["append", &at("log")]).input(" two").run().succeeds();
    assert_eq!(alice.ok(["cat", "--from", &from, &at("log")]), "one two", "at the next request");
    assert_eq!(alice.ok(["cat", "--from", &from, &at("long")]), "one", "its time is not over");
    eventually("the copy has lived its time", || {
        (alice.ok(["cat", "--from", &from, &at("short")]) == "two").then_some(())
    });
    alice.ok(["policy", &at("long"), "cto"]);
    assert_eq!(alice.ok(["cat", &at("long")]), "two", "at the home it is what it is");
}
