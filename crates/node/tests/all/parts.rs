//! Long files in parts, from a real home over real connections.

use crate::realm::{Realm, path};
use client::models::FileKind;
use client::{PartsBody, PutOptions};
use http_body_util::BodyExt;
use terms::{Code, Problem};

const LONG: usize = (26 << 20) + 4321;

fn content(size: usize, kind: u8) -> Vec<u8> {
    (0..size).map(|at| (at / 1013) as u8 ^ kind).collect()
}

async fn read(mut body: PartsBody) -> Result<Vec<u8>, Box<Problem>> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.downcast().expect("a problem"))?;
        all.extend_from_slice(&frame.into_data().expect("data"));
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_file_comes_over_several_connections_and_a_short_one_pays_for_none() {
    let realm = Realm::start().await;
    let alice = realm.client("alice");
    let files = alice.volume(&crate::realm::volume()).await.expect("a volume");
    for (name, size) in [("empty", 0), ("short", 100), ("part", 2 << 20), ("more", (2 << 20) + 1), ("long", LONG)] {
        files.put_bytes(&path(name), PutOptions::default(), content(size, 0)).await.expect("put");
    }
    for (name, size, more) in
        [("empty", 0, 0), ("short", 100, 0), ("part", 2 << 20, 0), ("more", (2 << 20) + 1, 0), ("long", LONG, 3)]
    {
        let before = alice.pool().handshakes();
        let file = files.fetch(&path(name)).await.expect(name);
        assert_eq!((file.entry.kind, file.entry.size), (FileKind::File, size as u64), "{name}");
        assert!(read(file.body).await.expect(name) == content(size, 0), "{name}");
        assert_eq!(alice.pool().handshakes() - before, more, "{name}");
    }
    let folder = files.fetch(&path("")).await.expect("its listing");
    assert_eq!(folder.entry.kind, FileKind::Directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_replaced_in_mid_download_is_an_error_and_no_mix() {
    let realm = Realm::start().await;
    let files = realm.files("alice").await;
    let at = path("long");
    files.put_bytes(&at, PutOptions::default(), content(LONG, 0)).await.expect("put");
    let mut file = files.fetch_ahead(&at, 1).await.expect("begun");
    let first = file.body.frame().await.expect("some").expect("data").into_data().expect("data");
    files.put_bytes(&at, PutOptions::default(), content(LONG, 7)).await.expect("replaced");
    let mut all = first.to_vec();
    let problem = loop {
        match file.body.frame().await.expect("no quiet end") {
            Ok(frame) => all.extend_from_slice(&frame.into_data().expect("data")),
            Err(error) => break error.downcast::<Problem>().expect("a problem"),
        }
    };
    assert_eq!(problem.code, Code::Conflict, "{problem}");
    assert!(all.len() < LONG && content(LONG, 0).starts_with(&all), "{} bytes of the first version", all.len());
}
