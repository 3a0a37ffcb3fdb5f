//! What a command reports as failed does not happen later, and what a pipe gave is not lost.

use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use webos_tests::{Realm, eventually};

/// More than waits at the client: when all of it was taken from the pipe, some of it is at the home.
const LONG: usize = 5 << 20;

#[test]
fn what_was_reported_as_failed_never_appears_later_and_recover_brings_it_back() {
    let mut realm = Realm::start();
    let path = realm.path("f");
    realm.alice.call(["put", "-", &path]).input("old").run().succeeds();
    let (mut feed, input) = UnixStream::pair().expect("a pair");
    let mut command = realm.alice.call(["put", "-", &path]).into_command();
    command.stdin(OwnedFd::from(input)).stderr(Stdio::piped());
    let putting = command.spawn().expect("webos starts");
    drop(command);
    feed.write_all(&vec![b'x'; LONG]).expect("taken");
    eventually("all was taken down", || {
        let drafts = fs::read_dir(realm.alice.path().join("recovery")).ok()?;
        let mut sizes = drafts.filter_map(|draft| Some(draft.ok()?.metadata().ok()?.len()));
        sizes.any(|size| size == LONG as u64).then_some(())
    });
    // The home stops, and what ends the request lies in its buffers when the command gives up.
    realm.first.process().signal(Signal::STOP);
    drop(feed);
    let ended = putting.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(5), "{said}");
    assert!(said.contains("recover publish"), "{said}");
    realm.first.process().signal(Signal::CONT);
    assert_eq!(realm.alice.ok(["cat", &path]), "old");
    realm.alice.ok(["find", Realm::VOLUME]);
    assert_eq!(realm.alice.ok(["cat", &path]), "old", "also after everything before was answered");
    let kept = realm.alice.call(["recover", "list", "--json"]).run().json();
    realm.alice.ok(["recover", "publish", kept["kept"][0]["name"].as_str().expect("a name")]);
    assert_eq!(realm.alice.ok(["cat", &path]).len(), LONG);
}

#[test]
fn what_a_pipe_gave_is_kept_told_once_and_published_once() {
    let mut realm = Realm::start();
    let path = realm.path("f");
    realm.alice.call(["put", "-", &path]).input("first").run().succeeds();
    realm.first.kill();
    let failed = realm.alice.call(["put", "-", &path]).input("from a pipe").run();
    failed.fails(5, &["recover publish"]);
    let kept = realm.alice.call(["recover", "list", "--json"]).run().json();
    let name = kept["kept"][0]["name"].as_str().expect("a name").to_string();
    assert_eq!((kept["kept"][0]["size"].as_u64(), &kept["kept"][0]["location"]), (Some(11), &path.clone().into()));
    realm.first.run(&[]);
    let next = realm.alice.call(["cat", &path]).run();
    assert!(next.stderr.contains("recover list"), "the next command tells: {}", next.stderr);
    assert_eq!(next.stdout(), "first", "nothing is published by itself");
    assert!(!realm.alice.call(["cat", &path]).run().stderr.contains("recover"), "it is told once");
    realm.alice.ok(["recover", "publish", &name[..4]]);
    assert_eq!(realm.alice.ok(["cat", &path]), "from a pipe");
    realm.alice.call(["recover", "publish", &name]).run().fails(4, &["recover list"]);

    // What the home refuses is kept too: a pipe does not give twice.
    let refused = realm.alice.call(["put", "--if-absent", "-", &path]).input("late").run();
    refused.fails(1, &["not in the state", "recover publish"]);
    let kept = realm.alice.call(["recover", "list", "--json"]).run().json();
    let name = kept["kept"][0]["name"].as_str().expect("a name").to_string();
    realm.alice.call(["recover", "publish", &name]).run().fails(1, &["not in the state"]);
    realm.alice.ok(["recover", "publish", "--anyway", &name]);
    assert_eq!(realm.alice.ok(["cat", &path]), "late");
    realm.alice.call(["put", "--if-absent", "-", &path]).input("dropped").run().code_is(1);
    let kept = realm.alice.call(["recover", "list", "--json"]).run().json();
    realm.alice.ok(["recover", "drop", kept["kept"][0]["name"].as_str().expect("a name")]);
    assert_eq!(realm.alice.ok(["recover", "list"]), "");
}
