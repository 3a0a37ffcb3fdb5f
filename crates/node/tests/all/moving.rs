//! A volume moves to another node: exactly one home at any time, and everybody finds it.

use crate::realm::{Realm, path, principal, seen, until, volume};
use client::protocol::{
    AclChange, DumpPurpose, DumpRequest, HomeClaim, HomeRequest, MoveProgress, MoveReply, MoveRequest,
};
use client::{Client, News, PutOptions, Standing, Watching};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use terms::{ChangeNumber, Code, Epoch, Principal, PrincipalKind, Problem, Rights, VolumePath, Who};
use webfs::store::Store;
use webfs::watch::Seen;
use webos_node::Node;

const PUT: PutOptions = PutOptions { condition: client::Condition::None, parents: true, operation: None };

async fn offer(client: &Client, from: &Node, to: &Principal) -> Result<MoveReply, Problem> {
    seen(client, from).move_step(&MoveRequest::Offer { volume: volume(), to: to.clone() }).await
}

async fn take(client: &Client, from: &Node, to: &Node) -> Result<MoveReply, Problem> {
    let (from, address) = (from.principal().clone(), from.address().to_string());
    seen(client, to).move_step(&MoveRequest::Take { volume: volume(), from, address }).await
}

/// Waits for the end of a move.
async fn ended(to: &Node) -> MoveProgress {
    loop {
        let stands = seen(to.client(), to).move_step(&MoveRequest::Look(volume())).await.expect("it is known");
        match stands {
            MoveReply::Stands(MoveProgress::Copying(_) | MoveProgress::Finishing(_)) => {
                tokio::task::yield_now().await
            }
            MoveReply::Stands(end) => return end,
            other => panic!("{other:?}"),
        }
    }
}

/// Alice offers it, the new node's owner takes it.
async fn moved(realm: &Realm, from: &Node, to: &Node) -> Epoch {
    offer(&realm.client("alice"), from, to.principal()).await.expect("alice administers it");
    take(to.client(), from, to).await.expect("the node takes it");
    match ended(to).await {
        MoveProgress::Done { epoch, .. } => epoch,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_moves_under_a_writer_and_nothing_acknowledged_is_lost() {
    let realm = Realm::start().await;
    let n2 = realm.join("n2").await;
    let files = realm.files("alice").await;
    files.put_bytes(&path("big"), PUT, vec![7; 5 << 20]).await.expect("put");
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = tokio::spawn({
        let (files, done, stop) = (files.clone(), done.clone(), stop.clone());
        async move {
            while !stop.load(Ordering::SeqCst) {
                let next = done.load(Ordering::SeqCst) + 1;
                let name = path(&format!("in/{next}"));
                files
                    .put_bytes(&name, PUT, next.to_string().into_bytes())
                    .await
                    .expect("acknowledged, here or there");
                done.store(next, Ordering::SeqCst);
            }
        }
    });
    until(|| done.load(Ordering::SeqCst) > 3).await;
    assert_eq!(moved(&realm, realm.home(), &n2).await, Epoch(2));
    let before = done.load(Ordering::SeqCst);
    until(|| done.load(Ordering::SeqCst) > before + 3).await;
    stop.store(true, Ordering::SeqCst);
    writer.await.expect("no failure");
    let there = realm.files("alice").await;
    assert_eq!(there.node().principal(), n2.principal());
    for number in 1..=done.load(Ordering::SeqCst) {
        let found = there.read(&path(&format!("in/{number}")), 100).await.expect("it was acknowledged");
        assert_eq!(&found[..], number.to_string().as_bytes());
    }
    assert_eq!(there.read(&path("big"), 6 << 20).await.expect("read"), vec![7; 5 << 20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_home_refuses_by_name_also_after_a_restart_and_may_get_it_back() {
    let mut realm = Realm::start().await;
    let n2 = realm.join("n2").await;
    let files = realm.files("alice").await;
    files.put_bytes(&path("a"), PUT, b"one".to_vec()).await.expect("put");
    moved(&realm, realm.home(), &n2).await;
    let address = realm.home().address().to_string();
    for round in 0..2 {
        let at_old = realm.client("alice").volume_at(&volume(), &seen(&realm.client("alice"), realm.home())).await;
        let refused = at_old.expect("found").read(&path("a"), 100).await.expect_err("its home is elsewhere");
        assert_eq!(refused.code, Code::Moved, "{refused}");
        assert!(refused.detail.contains("server/n2") && refused.detail.contains("epoch 2"), "{refused}");
        let standing = Standing::read(&realm.folder("home").volume(&volume())).expect("readable");
        assert!(matches!(standing, Standing::Superseded { epoch: Epoch(2), .. }), "{standing:?}");
        if round == 0 {
            realm.home.take().expect("runs").stop().await;
            realm.start_home(&address).await;
        }
    }
    // What is published again there is not lost by coming back.
    realm.files("alice").await.put_bytes(&path("a"), PUT, b"two".to_vec()).await.expect("put");
    assert_eq!(moved(&realm, &n2, realm.home()).await, Epoch(3));
    assert_eq!(&realm.files("alice").await.read(&path("a"), 100).await.expect("read")[..], b"two");
    let aside = realm.folder("home").superseded();
    assert_eq!(std::fs::read_dir(aside).expect("put aside").count(), 1, "the old data is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_follows_its_volume_to_the_new_home() {
    let realm = Realm::start().await;
    let (n2, r1) = (realm.join("n2").await, realm.join("r1").await);
    let files = realm.files("alice").await;
    files.put_bytes(&path("a"), PUT, b"one".to_vec()).await.expect("put");
    let who = Who::Principal(r1.principal().clone());
    let rights = "r+relay".parse::<Rights>().expect("rights");
    let change = AclChange { who, rights, grant: true, recursive: true };
    files.change_acl(&path(""), &change).await.expect("granted");
    let alice = realm.client("alice");
    let relayed = |client: Client| {
        let r1 = seen(&client, &r1);
        async move { client.volume_at(&volume(), &r1).await.expect("found").read(&path("a"), 100).await }
    };
    assert_eq!(&relayed(alice.clone()).await.expect("relayed")[..], b"one");
    moved(&realm, realm.home(), &n2).await;
    realm.files("alice").await.put_bytes(&path("a"), PUT, b"two".to_vec()).await.expect("put");
    assert_eq!(&relayed(realm.client("alice")).await.expect("relayed from the new home")[..], b"two");
}

/// The next paths that a watcher is told of.
async fn told(watching: &mut Watching) -> Vec<VolumePath> {
    loop {
        match watching.next().await.expect("it goes on") {
            News::Seen(Seen::Changed { events, .. }) => {
                return events.into_iter().map(|event| event.path).collect();
            }
            News::Seen(_) | News::Cut(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_at_the_new_home_and_the_old_one_lets_go_of_the_volume() {
    let realm = Realm::start().await;
    let n2 = realm.join("n2").await;
    let files = realm.files("alice").await;
    files.put_bytes(&path("log"), PUT, b"one".to_vec()).await.expect("put");
    let mut watching = files.watch(&path("")).await.expect("she may read it");
    let mut following = realm.files("alice").await.follow(&path("log"), 3).await.expect("she may read it");
    // Nobody reads this one: it must not keep the store either.
    let unread = realm.files("alice").await.watch(&path("")).await.expect("she may read it");
    assert!(matches!(watching.next().await, Ok(News::Seen(Seen::From { .. }))));
    moved(&realm, realm.home(), &n2).await;
    let (dir, world) = (realm.folder("home").volume(&volume()), realm.world.clone());
    until(|| Store::open(&dir, world.clone()).is_ok()).await;
    // Where it is told again from is told first; only what comes after that is news.
    while !matches!(watching.next().await.expect("it goes on"), News::Seen(Seen::From { missed: true, .. })) {}
    realm.files("alice").await.put_bytes(&path("log"), PUT, b"one two".to_vec()).await.expect("put");
    assert_eq!(told(&mut watching).await, [path("log")]);
    let appended = loop {
        if let News::Seen(Seen::Appended { offset, bytes }) = following.next().await.expect("it goes on") {
            break (offset, bytes);
        }
    };
    assert_eq!(appended, (3, b" two".to_vec()), "each byte once");
    drop(unread);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_administers_it_moves_a_volume_and_only_owners_take_one() {
    let realm = Realm::start().await;
    let n2 = realm.join("n2").await;
    realm.issue("bob", PrincipalKind::User);
    let (alice, bob) = (realm.client("alice"), realm.client("bob"));
    let no_right = offer(&bob, realm.home(), n2.principal()).await.expect_err("bob has no right on it");
    assert_eq!(no_right.code, Code::Denied);
    let no_owner = take(&alice, realm.home(), &n2).await.expect_err("alice does not own n2");
    assert!(no_owner.code == Code::Denied && no_owner.detail.contains("not the owner"), "{no_owner}");
    let same = offer(&alice, realm.home(), realm.home().principal()).await.expect_err("it is there");
    assert_eq!(same.code, Code::Invalid, "{same}");
    let user = offer(&alice, realm.home(), &principal(PrincipalKind::User, "bob")).await.expect_err("no server");
    assert!(user.code == Code::Invalid && user.detail.contains("no server"), "{user}");
    // Nobody offered it: what is fetched fails, and nothing stays.
    take(n2.client(), realm.home(), &n2).await.expect("begun");
    let failed = ended(&n2).await;
    assert!(matches!(&failed, MoveProgress::Failed(why) if why.detail.contains("not offered")), "{failed:?}");
    assert!(!realm.folder("n2").volume(&volume()).exists());
    let stolen = DumpRequest { volume: volume(), purpose: DumpPurpose::Backup };
    let refused = seen(n2.client(), realm.home()).dump(&stolen).await.expect_err("not its owner");
    assert_eq!(refused.code, Code::Denied);
    realm.files("alice").await.put_bytes(&path("a"), PUT, b"still here".to_vec()).await.expect("put");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_with_a_lower_or_equal_epoch_is_told_who_holds_it() {
    let realm = Realm::start().await;
    let n2 = realm.join("n2").await;
    let key = n2.client().require_identity().expect("it is somebody").key().public().clone();
    for epoch in [0, 1, 9] {
        let (address, epoch, change) = (n2.address().to_string(), Epoch(epoch), ChangeNumber(0));
        let claim = HomeClaim { volume: volume(), key: key.clone(), address, epoch, change };
        let entry = seen(n2.client(), realm.home()).home(&HomeRequest::Register(claim)).await.expect("answered");
        assert_eq!((entry.home, entry.epoch), (realm.home().principal().clone(), Epoch(1)), "{epoch}");
    }
    let record = realm.client("alice").volume_record(&volume()).await.expect("signed by the first node");
    assert_eq!(record.home, *realm.home().principal());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_a_relay_drops_what_is_above_it() {
    let mut realm = Realm::start().await;
    let r1 = realm.join("r1").await;
    let files = realm.files("alice").await;
    for name in ["a", "b"] {
        files.put_bytes(&path(name), PUT, b"one".to_vec()).await.expect("put");
    }
    let who = Who::Principal(r1.principal().clone());
    let rights = "r+relay".parse::<Rights>().expect("rights");
    let change = AclChange { who, rights, grant: true, recursive: true };
    files.change_acl(&path(""), &change).await.expect("granted");
    let backup = DumpRequest { volume: volume(), purpose: DumpPurpose::Backup };
    let dump = seen(realm.home().client(), realm.home()).dump(&backup).await.expect("its owner may");
    let dump = wire::read_body(dump.into_body(), 16 << 20).await.expect("whole");
    files.put_bytes(&path("a"), PUT, b"two".to_vec()).await.expect("put");
    let relayed = |client: Client, name: &'static str| {
        let r1 = seen(&client, &r1);
        async move { client.volume_at(&volume(), &r1).await.expect("found").read(&path(name), 100).await }
    };
    assert_eq!(&relayed(realm.client("alice"), "a").await.expect("relayed")[..], b"two");
    assert_eq!(&relayed(realm.client("alice"), "b").await.expect("relayed")[..], b"one");

    let address = realm.home().address().to_string();
    realm.home.take().expect("runs").stop().await;
    let dir = realm.folder("home").volume(&volume());
    std::fs::rename(&dir, realm.folder("lost").path()).expect("moved away");
    Standing::Coming { from: principal(PrincipalKind::Server, "home") }.write(&dir).expect("written");
    let restored = Store::restore(&dir, &dump[..], &volume(), Epoch(1), realm.world.clone());
    drop(restored.expect("restored"));
    realm.start_home(&address).await;
    let record = realm.client("alice").volume_record(&volume()).await.expect("a record");
    assert_eq!((record.epoch, record.raises.len()), (Epoch(2), 1));
    let now = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        loop {
            // Until it has noticed that the home is back.
            match relayed(realm.client("alice"), "a").await {
                Ok(found) => return found,
                Err(problem) => assert_ne!(problem.code, Code::Denied, "{problem}"),
            }
        }
    });
    assert_eq!(&now.await.expect("in time")[..], b"one", "what was restored");
    realm.files("alice").await.put_bytes(&path("a"), PUT, b"three".to_vec()).await.expect("put");
    assert_eq!(&relayed(realm.client("alice"), "a").await.expect("relayed")[..], b"three");
    assert_eq!(&relayed(realm.client("alice"), "b").await.expect("relayed")[..], b"one");
}

/// What a crash leaves of a standing: the node stops, the file is put back, the node starts.
async fn restarted(realm: &mut Realm, name: &str, node: Node, standing: Standing) -> Node {
    let address = node.address().to_string();
    node.stop().await;
    standing.write(&realm.folder(name).volume(&volume())).expect("written");
    Node::start(realm.settings(name, &address), realm.world.clone()).await.expect("a node")
}

fn going(node: &Node, epoch: u64) -> Standing {
    Standing::Going { to: node.principal().clone(), address: node.address().to_string(), epoch: Epoch(epoch) }
}

async fn reads(realm: &Realm) -> Result<Vec<u8>, Problem> {
    Ok(realm.files("alice").await.read(&path("a"), 100).await?.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_moment_a_move_is_cut_at_there_is_one_home() {
    let mut realm = Realm::start().await;
    let (mut n2, n3) = (realm.join("n2").await, realm.join("n3").await);
    realm.files("alice").await.put_bytes(&path("a"), PUT, b"one".to_vec()).await.expect("put");
    // The old home was killed before it asked: it stays the home, and what it may have asked counts no more.
    let home = realm.home.take().expect("runs");
    let going_there = going(&n2, 2);
    realm.home = Some(restarted(&mut realm, "home", home, going_there).await);
    assert_eq!(reads(&realm).await.expect("at home"), b"one");
    moved(&realm, realm.home(), &n2).await;
    // The old home was killed after it asked, before it knew: it is the home no more.
    let home = realm.home.take().expect("runs");
    let going_there = going(&n2, 2);
    realm.home = Some(restarted(&mut realm, "home", home, going_there).await);
    let standing = Standing::read(&realm.folder("home").volume(&volume())).expect("readable");
    assert!(matches!(standing, Standing::Superseded { .. }), "{standing:?}");
    // The new home was killed before it knew: it is the home.
    let from = realm.home().principal().clone();
    n2 = restarted(&mut realm, "n2", n2, Standing::Coming { from }).await;
    assert_eq!(reads(&realm).await.expect("at n2"), b"one");
    // The old home was killed in the middle, and cannot ask: nobody serves until it can.
    let address = realm.home().address().to_string();
    realm.home.take().expect("runs").stop().await;
    let going_there = going(&n3, 3);
    n2 = restarted(&mut realm, "n2", n2, going_there).await;
    let route = format!("/{}/a", volume());
    let asked = seen(n3.client(), &n2).get::<()>(&route).await.expect_err("undecided");
    assert_eq!(asked.code, Code::Moved, "{asked}");
    realm.start_home(&address).await;
    let again = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        loop {
            if let Ok(found) = reads(&realm).await {
                return found;
            }
        }
    });
    assert_eq!(again.await.expect("in time"), b"one");
    moved(&realm, &n2, &n3).await;
    assert_eq!(reads(&realm).await.expect("at n3"), b"one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_home_that_never_confirms_delays_a_writer_less_than_its_deadline() {
    let realm = Realm::start().await;
    let n2 = realm.join("n2").await;
    let files = realm.files("alice").await;
    offer(&realm.client("alice"), realm.home(), n2.principal()).await.expect("offered");
    for purpose in [DumpPurpose::Copy, DumpPurpose::Last] {
        let request = DumpRequest { volume: volume(), purpose };
        let stream = seen(n2.client(), realm.home()).dump(&request).await.expect("a stream");
        wire::read_body(stream.into_body(), 16 << 20).await.expect("whole");
    }
    let at_home = seen(n2.client(), realm.home()).get::<()>(&format!("/{}/a", volume())).await;
    assert_eq!(at_home.expect_err("nobody serves").code, Code::Moved);
    files.put_bytes(&path("a"), PUT, b"one".to_vec()).await.expect("within the deadline of an operation");
    assert_eq!(reads(&realm).await.expect("at home"), b"one");
    let key = n2.client().require_identity().expect("it is somebody").key().public().clone();
    let claim = HomeClaim {
        volume: volume(),
        key,
        address: n2.address().to_string(),
        epoch: Epoch(2),
        change: ChangeNumber(0),
    };
    let late = seen(n2.client(), realm.home()).move_step(&MoveRequest::Confirm(claim)).await;
    assert_eq!(late.expect_err("it is served again").code, Code::Denied);
}
