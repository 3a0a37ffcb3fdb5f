//! The upkeep of a volume: checked and collected while its home runs and while it does not, written out, made again.

use std::fs;
use webos_tests::{Home, Realm};

#[test]
fn a_volume_is_checked_collected_dumped_and_restored() {
    let mut realm = Realm::start();
    fs::write(realm.alice.beside().join("f"), vec![7; 100_000]).expect("written");
    realm.alice.ok(["put", "f", &realm.path("f")]);
    let fsck = |home: &Home| home.call(["volume", "fsck", Realm::VOLUME, "--json"]).run().json();
    let running = fsck(&realm.first.home);
    assert_eq!((&running["files"], &running["blocks"]), (&1.into(), &1.into()), "{running}");
    realm.first.home.ok(["volume", "gc", Realm::VOLUME]);
    // Who may write everything in it is not yet the owner of the node.
    realm.alice.call(["volume", "fsck", Realm::VOLUME]).run().fails(3, &["not the owner"]);
    realm.first.stop();

    let home = &realm.first.home;
    assert_eq!(fsck(home), running);
    home.ok(["volume", "gc", Realm::VOLUME]);
    let dump = home.beside().join("data.dump");
    let dump = dump.to_str().expect("text");
    let dumped = home.call(["volume", "dump", Realm::VOLUME, dump, "--json"]).run().json();
    home.call(["volume", "dump", Realm::VOLUME, dump]).run().fails(1, &["data.dump"]);
    home.call(["volume", "restore", dump, Realm::VOLUME]).run().fails(1, &["holds a volume already"]);
    let folder = home.path().join("volumes").join(Realm::VOLUME);
    for shard in fs::read_dir(folder.join("blocks")).expect("there") {
        for block in fs::read_dir(shard.expect("an entry").path()).expect("there") {
            fs::write(block.expect("an entry").path(), b"other").expect("written");
        }
    }
    home.call(["volume", "fsck", Realm::VOLUME]).run().fails(1, &["damaged in 1 place"]);
    home.call(["volume", "dump", Realm::VOLUME, "-"]).run().fails(1, &["block ", "is damaged"]);

    fs::rename(&folder, home.beside().join("lost")).expect("moved away");
    let restored = home.call(["volume", "restore", dump, Realm::VOLUME, "--above", "6", "--json"]).run().json();
    assert_eq!((&restored["epoch"], &restored["change"]), (&7.into(), &dumped["change"]), "{restored}");
    assert_eq!(fsck(home), running);
}
