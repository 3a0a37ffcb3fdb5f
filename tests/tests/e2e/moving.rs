//! A volume moves between real nodes, also when one of them is killed in the middle: there is one home, and all that was
//! acknowledged is there.

use client::{Client, Folder, PutOptions, Volume};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use terms::VolumePath;
use webos_tests::{Home, NodeProcess, Output, Realm, eventually};
use world::World;

/// Enough to be killed in the middle of.
const BULK: usize = 48 << 20;

struct Bed {
    realm: Realm,
    runtime: tokio::runtime::Runtime,
}

fn path(text: &str) -> VolumePath {
    VolumePath::new(text).expect("valid")
}

impl Bed {
    fn start() -> Self {
        Self { realm: Realm::start(), runtime: tokio::runtime::Runtime::new().expect("threads") }
    }

    /// A node of which alice is the owner.
    fn node(&self, name: &str) -> NodeProcess {
        let home = Home::new();
        self.realm.enrol("server", name, &home);
        std::fs::write(home.path().join("owner"), "spiffe://test.localhost/user/alice\n").expect("written");
        NodeProcess::start(home, &[])
    }

    fn files(&self) -> Volume {
        let client = Client::open(Folder::new(self.realm.alice.path()), World::real()).expect("an identity");
        self.runtime.block_on(client.volume(&Realm::VOLUME.parse().expect("valid"))).expect("a record")
    }

    fn moves(&self, name: &str, to: &NodeProcess) -> Output {
        self.realm.alice.call(["volume", "move", Realm::VOLUME, &format!("{name}@{}", to.address), "--json"]).run()
    }

    fn home(&self) -> String {
        self.realm.alice.call(["volume", "show", Realm::VOLUME, "--json"]).run().json()["home"].to_string()
    }

    fn put_bulk(&self) {
        std::fs::write(self.realm.alice.beside().join("bulk"), vec![5; BULK]).expect("written");
        self.realm.alice.ok(["put", "bulk", &self.realm.path("bulk")]);
    }

    fn has_bulk(&self) {
        let found = self.realm.alice.call(["cat", &self.realm.path("bulk")]).run();
        assert!(found.code == Some(0) && found.bytes == vec![5; BULK], "{}", found.stderr);
    }
}

/// Where a volume lies, or will.
fn folder(node: &NodeProcess) -> PathBuf {
    node.home.path().join("volumes").join(Realm::VOLUME)
}

/// Starts a move and waits until it is in the middle.
fn in_the_middle(bed: &Bed, name: &str, to: &NodeProcess) -> std::thread::JoinHandle<Output> {
    let node = format!("{name}@{}", to.address);
    let call = bed.realm.alice.call(["volume", "move", Realm::VOLUME, &node]);
    let moving = std::thread::spawn(move || call.run());
    let blocks = folder(to).join("blocks");
    let arrived = || {
        let shards = std::fs::read_dir(&blocks).into_iter().flatten().flatten();
        shards.flat_map(|shard| std::fs::read_dir(shard.path()).into_iter().flatten()).count()
    };
    eventually("some of it has come", || (arrived() > 2).then_some(()));
    moving
}

#[test]
fn a_volume_moves_under_load_and_its_old_home_refuses_by_name() {
    let mut bed = Bed::start();
    let (mut n2, n3) = (bed.node("n2"), bed.node("n3"));
    let alice = &bed.realm.alice;
    // Mistakes are named before anything happens.
    alice.call(["volume", "move", Realm::VOLUME, "home"]).run().fails(2, &["server/home already", "another node"]);
    alice.call(["volume", "move", Realm::VOLUME, "n9"]).run().fails(4, &["n9", "HOST:PORT"]);
    alice.call(["volume", "move", "no.test.localhost", "n2"]).run().fails(4, &["no volume no.test.localhost"]);
    let to_n2 = format!("n2@{}", n2.address);
    let bob = bed.realm.user("bob");
    bob.call(["volume", "move", Realm::VOLUME, &to_n2]).run().fails(3, &["not the owner of", "server/n2"]);
    n2.home.call(["volume", "move", Realm::VOLUME, &to_n2]).run().fails(3, &["server/n2"]);

    let files = bed.files();
    let (done, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = bed.runtime.spawn({
        let (files, done, stop) = (files.clone(), done.clone(), stop.clone());
        async move {
            while !stop.load(Ordering::SeqCst) {
                let next = done.load(Ordering::SeqCst) + 1;
                let how = PutOptions { parents: true, ..PutOptions::default() };
                let content = format!("{next}").into_bytes();
                files.put_bytes(&path(&format!("in/{next}")), how, content).await.expect("in time, here or there");
                done.store(next, Ordering::SeqCst);
            }
        }
    });
    let written = || done.load(Ordering::SeqCst);
    for (name, node, epoch) in [("n2", &n2, 2), ("n3", &n3, 3)] {
        let before = written();
        eventually("the writer writes", || (written() > before + 5).then_some(()));
        let moved = bed.moves(name, node).json();
        assert_eq!(moved["epoch"], epoch, "{moved}");
        assert!(moved["stopped_ms"].as_u64().is_some_and(|ms| ms < 20_000), "{moved}");
        let after = written();
        eventually("the writer goes on at the new home", || (written() > after + 5).then_some(()));
    }
    stop.store(true, Ordering::SeqCst);
    bed.runtime.block_on(writer).expect("every write was acknowledged");
    bed.runtime.block_on(async {
        for number in 1..=written() {
            let found = files.read(&path(&format!("in/{number}")), 100).await.expect("it was acknowledged");
            assert_eq!(&found[..], format!("{number}").as_bytes());
        }
    });
    // Both old homes know who has it, also after a start.
    n2.kill();
    n2.run(&[]);
    for (name, node) in [("home", &bed.realm.first), ("n2", &n2)] {
        let from = format!("{name}@{}", node.address);
        let refused = alice.call(["cat", "--from", &from, &bed.realm.path("in/1")]).run();
        refused.fails(5, &["the home of data.test.localhost is spiffe://test.localhost/server/n"]);
        let listed = node.home.ok(["volume", "list"]);
        assert!(listed.contains("superseded: its home is spiffe://test.localhost/server/n"), "{listed}");
        assert!(folder(node).join("volume.db").exists(), "its data is kept");
    }
    assert!(bed.home().contains("server/n3"));
    bed.realm.first.stop();
}

#[test]
fn a_new_home_that_is_killed_in_the_middle_costs_nothing() {
    let bed = Bed::start();
    let mut n2 = bed.node("n2");
    bed.put_bulk();
    let moving = in_the_middle(&bed, "n2", &n2);
    n2.kill();
    moving.join().expect("no panic").fails(5, &["was not moved", "server/home", "move it again"]);
    bed.realm.alice.call(["put", "-", &bed.realm.path("more")]).input("still at home").run().succeeds();
    assert!(bed.home().contains("server/home"));
    n2.run(&[]);
    bed.moves("n2", &n2).succeeds();
    assert!(bed.home().contains("server/n2"));
    bed.has_bulk();
    assert_eq!(bed.realm.alice.ok(["cat", &bed.realm.path("more")]), "still at home");
    assert_eq!(n2.home.call(["volume", "fsck", Realm::VOLUME, "--json"]).run().json()["orphans"], 0);
}

#[test]
fn an_old_home_that_is_killed_in_the_middle_stays_the_home() {
    let bed = Bed::start();
    let (mut n2, n3) = (bed.node("n2"), bed.node("n3"));
    bed.put_bulk();
    bed.moves("n2", &n2).succeeds();
    let moving = in_the_middle(&bed, "n3", &n3);
    n2.kill();
    let failed = moving.join().expect("no panic");
    assert_ne!(failed.code, Some(0), "{}", failed.stderr);
    assert!(bed.home().contains("server/n2"));
    n2.run(&[]);
    bed.has_bulk();
    bed.moves("n3", &n3).succeeds();
    assert!(bed.home().contains("server/n3"));
    bed.has_bulk();
}

#[test]
fn a_running_volume_is_dumped_and_restored_and_its_relay_follows() {
    let mut bed = Bed::start();
    let r1 = bed.node("r1");
    let (alice, at) = (&bed.realm.alice, bed.realm.path("a"));
    let put = |content: &str| drop(alice.call(["put", "-", &at]).input(content).run().succeeds());
    put("one");
    alice.ok(["acl", "grant", "server/r1", "r+relay", Realm::VOLUME, "-r"]);
    let home = &bed.realm.first.home;
    let dump = home.beside().join("data.dump");
    let dump = dump.to_str().expect("text");
    let dumped = home.call(["volume", "dump", Realm::VOLUME, dump, "--json"]).run().json();
    assert_eq!(dumped["epoch"], 1, "{dumped}");
    assert_eq!(dumped["bytes"], std::fs::metadata(dump).expect("there").len());
    alice.call(["volume", "dump", Realm::VOLUME, "-"]).run().fails(3, &["not the owner"]);
    put("two, which is newer");
    let from = format!("r1@{}", r1.address);
    assert_eq!(alice.ok(["cat", "--from", &from, &at]), "two, which is newer");
    bed.realm.first.stop();
    std::fs::rename(folder(&bed.realm.first), bed.realm.first.home.beside().join("lost")).expect("moved away");
    let restored = bed.realm.first.home.call(["volume", "restore", dump, Realm::VOLUME, "--json"]).run().json();
    assert_eq!((&restored["epoch"], &restored["change"]), (&2.into(), &dumped["change"]), "{restored}");
    bed.realm.first.run(&[]);
    let found = eventually("the relay is back at its home", || {
        let found = alice.call(["cat", "--from", &from, &at]).run();
        (found.code == Some(0)).then(|| found.stdout())
    });
    assert_eq!(found, "one");
    alice.call(["put", "-", &at]).input("three").run().succeeds();
    assert_eq!(alice.ok(["cat", "--from", &from, &at]), "three");
}
