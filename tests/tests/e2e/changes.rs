//! Watching through the real binary: each change as it happens, also behind a restart of the home.

use rustix::process::Signal;
use std::thread;
use webos_tests::{Realm, Talking};

fn watch(realm: &Realm, who: &webos_tests::Home, at: &str) -> Talking {
    Talking::start(who.call(["watch", "--json", &realm.path(at)]).into_command(), false)
}

fn put(realm: &Realm, at: &str, content: &str) {
    realm.alice.call(["put", "-p", "-", &realm.path(at)]).input(content).run().succeeds();
}

fn next(watching: &mut Talking, event: &str, at: &str) {
    watching.wait_for(&format!("{event} {at}"), |line| line["event"] == event && line["location"] == at);
}

#[test]
fn each_change_is_told_to_whoever_may_read_it_and_a_watch_outlives_its_home() {
    let mut realm = Realm::start();
    let bob = realm.user("bob");
    put(&realm, "d/f", "1");
    put(&realm, "d/private/g", "1");
    bob.call(["watch", &realm.path("d")]).run().fails(3, &["bob"]);
    realm.alice.ok(["acl", "grant", "user/bob", "r", &realm.path("d")]);
    realm.alice.call(["watch", &realm.path("no")]).run().fails(4, &["there is no", "no"]);
    let at = |path: &str| realm.path(path);
    let (mut alices, mut bobs) = (watch(&realm, &realm.alice, "d"), watch(&realm, &bob, "d"));
    for one in [&mut alices, &mut bobs] {
        next(one, "watching", &at("d"));
    }
    put(&realm, "d/private/g", "2");
    realm.alice.ok(["rm", &at("d/f")]);
    next(&mut alices, "changed", &at("d/private/g"));
    next(&mut alices, "removed", &at("d/f"));
    // What stands for a removed file is its folder's list, which bob may read; what is private he is not told of.
    next(&mut bobs, "removed", &at("d/f"));
    assert!(!bobs.heard().iter().any(|line| line["location"] == at("d/private/g")), "{:?}", bobs.heard());
    realm.alice.ok(["acl", "revoke", "user/bob", "r", &realm.path("d")]);
    put(&realm, "d/h", "1");
    next(&mut alices, "changed", &at("d/h"));
    assert_eq!(bobs.end(), Some(3), "whoever may not read any more is told so");

    realm.first.kill();
    alices.wait_for("the cut", |line| line["event"] == "cut");
    realm.first.run(&[]);
    put(&realm, "d/after", "1");
    next(&mut alices, "changed", &realm.path("d/after"));
    assert!(!alices.heard().iter().any(|line| line["event"] == "missed"), "nothing was missed");
    alices.signal(Signal::INT);
    assert_eq!(alices.end(), Some(130));
}

#[test]
fn a_watch_ends_when_its_time_is_over() {
    let realm = Realm::start();
    let said = realm.alice.call(["watch", "--for", "1s", Realm::VOLUME]).run();
    said.code_is(0);
}

/// Each appender's lines, once and in order, also where the home was killed in the middle of them.
#[test]
fn a_follower_of_a_log_prints_each_line_of_five_appenders_once() {
    let mut realm = Realm::start();
    let path = realm.path("log");
    realm.alice.call(["append", &path]).input("begin\n").run().succeeds();
    realm.alice.ok(["policy", &path, "log"]);
    let mut following = Talking::start(realm.alice.call(["tail", "-f", &path]).into_command(), false);
    following.wait_for("what is there", |line| line == "begin");
    let alice = &realm.alice;
    let append = |half: u32| {
        thread::scope(|scope| {
            for appender in 0..5 {
                let path = &path;
                scope.spawn(move || {
                    for number in half * 20..(half + 1) * 20 {
                        let line = format!("{appender} {number}\n");
                        alice.call(["append", path]).input(line).run().succeeds();
                    }
                });
            }
        });
    };
    append(0);
    realm.first.kill();
    realm.first.run(&[]);
    append(1);
    alice.call(["append", &path]).input("end\n").run().succeeds();
    following.wait_for("the end", |line| line == "end");
    for appender in 0..5 {
        let own = following.heard().iter().filter_map(|line| line.as_str()?.strip_prefix(&format!("{appender} ")));
        let numbers: Vec<u32> = own.map(|number| number.parse().expect("a number")).collect();
        assert_eq!(numbers, (0..40).collect::<Vec<_>>(), "of appender {appender}");
    }
}
