//! Fail-over in the middle of a body: whatever a server does, the file is right, and little is fetched twice.

use crate::node::Manner;
use crate::world::{Realm, content};
use bytes::Bytes;
use std::path::PathBuf;
use std::time::Duration;
use terms::{Code, Problem, VolumePath};
use webos_discovery::limits::BLOCK_BYTES;
use webos_discovery::smart::{Fetch, FetchEvent, Fetched, part_of};

struct Done {
    result: Result<Fetched, Problem>,
    events: Vec<FetchEvent>,
    to: PathBuf,
}

impl Done {
    fn fetched(&self) -> &Fetched {
        self.result.as_ref().expect("a whole file")
    }

    /// Bytes that came twice, by the counters.
    fn twice(&self) -> u64 {
        self.fetched().counts.iter().map(|count| count.discarded).sum()
    }

    fn check(&self, expected: &Bytes) {
        let fetched = self.fetched();
        assert_eq!(fetched.size, expected.len() as u64);
        assert!(std::fs::read(&self.to).expect("valid") == *expected, "the file differs; {:?}", self.events);
        assert!(!part_of(&self.to).exists());
        let received: u64 = fetched.counts.iter().map(|count| count.received).sum();
        assert_eq!(received, fetched.size - fetched.resumed + self.twice(), "every byte is accounted for");
    }

    fn from(&self, server: &str) -> (u64, u64) {
        let count = self.fetched().counts.iter().find(|count| count.server == server);
        count.map_or((0, 0), |count| (count.received, count.blocks))
    }

    fn left(&self, server: &str) -> Option<&str> {
        self.events.iter().find_map(|event| match event {
            FetchEvent::Left { server: name, why } if name == server => Some(why.as_str()),
            _ => None,
        })
    }
}

fn wanted(realm: &Realm) -> Fetch {
    Fetch {
        path: VolumePath::new("file.bin").expect("valid"),
        to: realm.keep.path().join("file.bin"),
        patience: Duration::from_secs(10),
    }
}

async fn fetch(realm: &Realm) -> Done {
    let client = realm.client().await;
    let what = wanted(realm);
    let mut events = Vec::new();
    let result = client.fetch(&what, &mut |event| events.push(event)).await;
    Done { result, events, to: what.to }
}

#[tokio::test]
async fn a_plain_download_comes_from_the_idle_surrogate() {
    for blocks in [0, 5, 9] {
        let file = content(blocks, 1);
        let realm = Realm::new(1, file.clone()).await;
        let done = fetch(&realm).await;
        done.check(&file);
        assert_eq!((done.from("n1"), done.twice()), ((file.len() as u64, blocks as u64 + 1), 0));
        assert_eq!(realm.nodes[0].asked(), 0, "the busy home is left alone");
        realm.shutdown().await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_is_spliced_at_any_offset() {
    let file = content(10, 2);
    let realm = Realm::new(2, file.clone()).await;
    let offsets = [0, 1, 50_001, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000, file.len() - 1];
    for offset in offsets {
        realm.nodes[1].be(Manner::CutOnce(offset));
        realm.nodes[2].be(Manner::CutOnce(offset));
        let done = fetch(&realm).await;
        done.check(&file);
        assert!(done.twice() <= 2 * BLOCK_BYTES, "{offset}: {} bytes came twice", done.twice());
        let spliced = done.fetched().counts.iter().filter(|count| count.received > 0).count() >= 2;
        // A reset overtakes what waits to be sent: of an early cut the client may have seen nothing.
        assert!(spliced || offset < 4_000_000, "{offset}: {:?}", done.fetched().counts);
        for node in &realm.nodes[1..] {
            node.be(Manner::Honest);
        }
    }
    realm.shutdown().await;
}

#[tokio::test]
async fn a_body_that_ends_early_in_order_is_no_whole_file() {
    let file = content(3, 3);
    let realm = Realm::new(1, file.clone()).await;
    realm.nodes[1].be(Manner::EndEarly(1_500_000));
    let done = fetch(&realm).await;
    done.check(&file);
    assert!(done.left("n1").is_some_and(|why| why.contains("ended early")), "{:?}", done.events);
    assert!(done.from("home").1 >= 1);
    realm.shutdown().await;
}

#[tokio::test]
async fn a_liars_block_is_refused_and_the_liar_shut_out() {
    let file = content(4, 4);
    let realm = Realm::new(1, file.clone()).await;
    realm.nodes[1].be(Manner::Flip(2_500_000));
    let client = realm.client().await;
    let what = wanted(&realm);
    let to = what.to.clone();
    let mut events = Vec::new();
    let result = client.fetch(&what, &mut |event| events.push(event)).await;
    let done = Done { result, events, to };
    done.check(&file);
    assert!(done.left("n1").is_some_and(|why| why.contains("did not sign")), "{:?}", done.events);
    assert_eq!(done.from("n1").1, 2, "its two good blocks count");
    assert!(client.explain().contains("wrong bytes"), "{}", client.explain());
    let asked = realm.nodes[1].asked();
    for _ in 0..3 {
        client.fetch(&what, &mut |_| {}).await.expect("from the home");
    }
    assert_eq!(realm.nodes[1].asked(), asked, "a liar is not asked again");
    realm.shutdown().await;
}

#[tokio::test]
async fn a_manifest_that_the_home_did_not_sign_is_refused() {
    for blocks in [2, 9] {
        let file = content(blocks, 5);
        let realm = Realm::new(1, file.clone()).await;
        realm.nodes[1].be(Manner::Forge);
        realm.set_edition(1, &content(blocks, 6), 99);
        let done = fetch(&realm).await;
        done.check(&file);
        assert_eq!(done.from("n1").1, 0);
        realm.shutdown().await;
    }
}

#[tokio::test]
async fn only_the_forger_is_blamed_for_a_forged_manifest() {
    let file = content(9, 15);
    for _ in 0..4 {
        let realm = Realm::new(2, file.clone()).await;
        realm.nodes[1].be(Manner::Forge);
        let client = realm.client().await;
        let what = wanted(&realm);
        for _ in 0..3 {
            client.fetch(&what, &mut |_| {}).await.expect("from the others");
        }
        let blamed: Vec<String> =
            client.explain().lines().filter(|line| line.contains("wrong bytes")).map(str::to_string).collect();
        assert!(blamed.iter().all(|line| line.contains("/n1")), "{blamed:?}");
        realm.shutdown().await;
    }
}

#[tokio::test]
async fn a_reader_never_goes_back_to_an_older_version() {
    let (old, new) = (content(1, 16), content(1, 17));
    let realm = Realm::new(1, old.clone()).await;
    realm.set_edition(0, &new, 2);
    realm.nodes[1].be(Manner::Elsewhere);
    let client = realm.client().await;
    let what = wanted(&realm);
    client.fetch(&what, &mut |_| {}).await.expect("the new one, from the home");
    realm.nodes[1].be(Manner::Honest);
    for _ in 0..5 {
        client.fetch(&what, &mut |_| {}).await.expect("from the home");
        assert!(std::fs::read(&what.to).expect("a file") == new);
    }
    realm.shutdown().await;
}

#[tokio::test]
async fn a_surrogate_cannot_deny_what_the_home_has() {
    let file = content(1, 7);
    let realm = Realm::new(1, file.clone()).await;
    realm.nodes[1].be(Manner::Denies);
    fetch(&realm).await.check(&file);
    realm.nodes[0].be(Manner::Denies);
    let problem = fetch(&realm).await.result.expect_err("nobody has it");
    assert_eq!(problem.code, Code::NotFound);
    realm.shutdown().await;
}

#[tokio::test]
async fn a_server_that_fails_gives_its_reason() {
    let realm = Realm::new(0, content(1, 13)).await;
    realm.nodes[0].be(Manner::Faulty("block 3 is damaged at the home"));
    let client = realm.client().await;
    let what = Fetch { patience: Duration::ZERO, ..wanted(&realm) };
    let problem = client.fetch(&what, &mut |_| {}).await.expect_err("nobody else has it");
    assert!(problem.detail.contains("500") && problem.detail.contains("block 3 is damaged"), "{problem}");
    realm.shutdown().await;
}

#[tokio::test]
async fn a_silent_server_is_left_while_another_lives() {
    let file = content(2, 8);
    let realm = Realm::new(1, file.clone()).await;
    realm.nodes[1].be(Manner::Silent(700_000));
    let done = fetch(&realm).await;
    done.check(&file);
    assert!(done.left("n1").is_some_and(|why| why.contains("silent")), "{:?}", done.events);
    realm.shutdown().await;
}

#[tokio::test]
async fn elsewhere_is_followed_and_a_home_that_is_away_is_waited_for() {
    let file = content(1, 9);
    let realm = Realm::new(1, file.clone()).await;
    realm.nodes[1].be(Manner::Elsewhere);
    realm.nodes[0].be(Manner::AwayFor(2));
    let done = fetch(&realm).await;
    done.check(&file);
    assert!(done.events.iter().any(|event| matches!(event, FetchEvent::Waiting { .. })), "{:?}", done.events);
    assert_eq!(done.from("n1"), (0, 0));
    realm.shutdown().await;
}

#[tokio::test]
async fn a_download_resumes_from_what_is_right() {
    let file = content(6, 10);
    let realm = Realm::new(1, file.clone()).await;
    let part = part_of(&realm.keep.path().join("file.bin"));
    let block = BLOCK_BYTES as usize;
    let mut damaged = file[..4 * block + 77].to_vec();
    damaged[3 * block + 5] ^= 1;
    std::fs::write(&part, &damaged).expect("valid");
    let done = fetch(&realm).await;
    done.check(&file);
    assert_eq!(done.fetched().resumed, 3 * BLOCK_BYTES, "the damaged block and what follows come anew");
    assert_eq!(done.twice(), 0);
    realm.shutdown().await;
}

#[tokio::test]
async fn two_downloads_never_grow_in_one_file_and_no_link_is_followed() {
    let file = content(2, 14);
    let realm = Realm::new(1, file.clone()).await;
    let part = part_of(&realm.keep.path().join("file.bin"));
    let client = realm.client().await;
    std::fs::write(&part, b"").expect("written");
    let other = std::fs::File::open(&part).expect("there");
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    let problem = client.fetch(&wanted(&realm), &mut |_| {}).await.expect_err("another download has it");
    assert!(problem.detail.contains("written by another download"), "{problem}");
    drop(other);
    std::fs::remove_file(&part).expect("removed");

    let victim = realm.keep.path().join("victim");
    std::fs::write(&victim, b"mine").expect("written");
    std::os::unix::fs::symlink(&victim, &part).expect("made");
    client.fetch(&wanted(&realm), &mut |_| {}).await.expect_err("a link is not followed");
    assert_eq!(std::fs::read(&victim).expect("there"), b"mine");
    std::fs::remove_file(&part).expect("removed");
    fetch(&realm).await.check(&file);
    realm.shutdown().await;
}

#[tokio::test]
async fn a_file_that_changes_is_never_mixed() {
    let (old, new) = (content(10, 11), content(10, 12));
    let realm = Realm::new(1, old.clone()).await;
    realm.nodes[1].be(Manner::CutOnce(3_000_000));
    realm.set_edition(0, &new, 2);
    let client = realm.client().await;
    let what = wanted(&realm);
    let to = what.to.clone();
    let mut events = Vec::new();
    let nodes = realm.nodes.clone();
    let new_edition = new.clone();
    let mut tell = |event: FetchEvent| {
        if matches!(event, FetchEvent::Left { .. }) {
            let edition = crate::node::Edition { content: new_edition.clone(), version: terms::Version(2) };
            *nodes[1].edition.lock().expect("valid") = edition;
        }
        events.push(event);
    };
    let result = client.fetch(&what, &mut tell).await;
    let changed = events.iter().filter(|event| **event == FetchEvent::Changed).count();
    assert_eq!(changed, 1, "{events:?}");
    result.expect("the new version");
    assert!(std::fs::read(&to).expect("valid") == new);
    realm.shutdown().await;
}

#[tokio::test]
async fn a_server_that_is_behind_is_passed_over() {
    let (old, new) = (content(10, 13), content(10, 14));
    let realm = Realm::new(2, new.clone()).await;
    for node in [1, 2] {
        realm.nodes[node].be(Manner::CutOnce(3_000_000));
    }
    let client = realm.client().await;
    let what = wanted(&realm);
    let to = what.to.clone();
    let nodes = realm.nodes.clone();
    let mut events = Vec::new();
    let mut tell = |event: FetchEvent| {
        if matches!(event, FetchEvent::Left { .. }) {
            for node in &nodes[1..] {
                *node.edition.lock().expect("valid") =
                    crate::node::Edition { content: old.clone(), version: terms::Version(0) };
            }
        }
        events.push(event);
    };
    client.fetch(&what, &mut tell).await.expect("the home has it");
    assert!(std::fs::read(&to).expect("valid") == new, "{events:?}");
    assert!(!events.contains(&FetchEvent::Changed), "an older version is no change: {events:?}");
    realm.shutdown().await;
}
