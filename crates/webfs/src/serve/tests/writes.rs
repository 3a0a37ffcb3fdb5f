//! Writing: conditions, limits, retries, and that the gate is asked before every commit.

use super::{Answer, Fixture, filled, owner, path, proof, request, rights};
use crate::gate::{ChangeEnd, ChangeGate, ChangePermit, Touched, Ungated};
use crate::limits::MAX_FILE_BYTES;
use crate::model::{Manifest, etag_text};
use crate::serve::{ListRights, WriteRights};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use std::sync::{Arc, Mutex};
use terms::{Code, Problem, Right, Rights};
use trust::Bucket;

fn etag(bytes: &[u8]) -> String {
    etag_text(Manifest::of(bytes).expect("small").root())
}

#[tokio::test]
async fn put_and_delete_keep_their_conditions() {
    let home = Fixture::new(Arc::new(Ungated));
    let (one, two) = (etag(b"one"), etag(b"two"));
    for (method, at, lines, body, status) in [
        ("PUT", "f", vec![("if-match", "*")], &b"one"[..], 412),
        ("PUT", "f", vec![("if-none-match", "*")], b"one", 201),
        ("PUT", "f", vec![("if-none-match", "*")], b"two", 412),
        ("PUT", "f", vec![("if-match", &*two)], b"two", 412),
        ("PUT", "f", vec![("if-match", &*one)], b"two", 204),
        ("PUT", "f", vec![("if-match", &*one)], b"one", 412),
        ("PUT", "f", vec![], b"one", 204),
        ("PUT", "d/e/f", vec![], b"x", 404),
        ("PUT", "d/e/f", vec![("webos-parents", "?1")], b"x", 201),
        ("PUT", "d/e", vec![], b"x", 409),
        ("PUT", "f/g", vec![("webos-parents", "?1")], b"x", 409),
        ("PUT", "", vec![], b"x", 409),
        ("PUT", "f", vec![("content-range", "bytes 0-0/3")], b"x", 400),
        ("PUT", "f", vec![("content-length", "99999999999999")], b"x", 413),
        ("PUT", "f", vec![("webos-operation", "nonsense")], b"x", 400),
        ("DELETE", "d/e", vec![], b"", 409),
        ("DELETE", "f", vec![("if-match", &*two)], b"", 412),
        ("DELETE", "f", vec![("if-match", &*one)], b"", 204),
        ("DELETE", "f", vec![], b"", 404),
        ("DELETE", "d/e/f", vec![], b"", 204),
        ("DELETE", "d/e", vec![], b"", 204),
        ("DELETE", "", vec![], b"", 400),
    ] {
        let answer = match method {
            "PUT" => home.put(at, &lines, body).await,
            _ => home.delete(at, &lines).await,
        };
        let said = String::from_utf8_lossy(answer.bytes()).into_owned();
        assert_eq!(answer.status, status, "{method} /{at} {lines:?}: {said}");
        if method == "PUT" && answer.status.is_success() {
            let described = (answer.header("etag"), answer.header("webos-size"));
            assert_eq!(described, (&*etag(body), &*body.len().to_string()), "{lines:?}");
            assert!(!answer.header("webos-version").is_empty() && !answer.header("webos-change").is_empty());
        }
    }
    let report = home.store().fsck().await.expect("the check runs");
    assert_eq!((report.files, report.faults.len(), report.orphans), (0, 0, 0));
}

#[tokio::test]
async fn a_retried_put_is_answered_even_when_only_creating_is_allowed() {
    let home = Fixture::new(Arc::new(Ungated));
    let id = format!("{}.1", "0a".repeat(16));
    let lines = [("webos-operation", &*id), ("if-none-match", "*")];
    let only_create = WriteRights { replace: None, ..rights("f") };
    let mut versions = Vec::new();
    for _ in 0..2 {
        let body = wire::body::full(filled(50_000));
        let answer = home.home.put(&only_create, &path("f"), &request("PUT", &lines), body).await;
        assert_eq!(answer.status(), 201);
        versions.push(answer.headers().get("webos-version").cloned());
    }
    assert_eq!(versions[0], versions[1]);
    let other = home.put("f", &lines, b"other content").await;
    assert_eq!(other.status, 400, "the id was used for something else");
    let body = wire::body::full(&b"new"[..]);
    let again = home.home.put(&only_create, &path("f"), &request("PUT", &[]), body).await;
    assert_eq!(again.status(), 403, "replacing is another right");
}

#[tokio::test]
async fn rights_are_proved_for_this_path_and_this_list() {
    let home = Fixture::new(Arc::new(Ungated));
    home.store_file("f", b"x").await;
    let none = WriteRights { create: None, replace: None, ..rights("f") };
    let elsewhere = WriteRights { decided_on: owner().hash(), ..rights("g") };
    let swapped = WriteRights {
        decided_on: owner().hash(),
        create: Some(proof("f", Right::Modify)),
        replace: Some(proof("f", Right::Write)),
    };
    let stale = WriteRights { decided_on: Bucket::empty().hash(), ..rights("f") };
    for (what, rights, status) in
        [("none", none, 403), ("elsewhere", elsewhere, 403), ("swapped", swapped, 403), ("stale", stale, 503)]
    {
        let answer = home.home.put(&rights, &path("f"), &request("PUT", &[]), wire::body::full(&b"y"[..])).await;
        assert_eq!(answer.status(), status, "PUT with {what}");
        let answer = home.home.delete(&rights, &path("f"), &request("DELETE", &[])).await;
        assert_eq!(answer.status(), status, "DELETE with {what}");
    }
    assert_eq!(home.get("f", &[]).await.bytes(), b"x");
}

#[tokio::test]
async fn a_body_that_breaks_or_is_too_long_leaves_nothing() {
    let home = Fixture::new(Arc::new(Ungated));
    let broken: Vec<Result<Bytes, std::io::Error>> =
        vec![Ok(filled(3_000_000).into()), Err(std::io::ErrorKind::ConnectionReset.into())];
    let body = wire::body::stream(futures_util::stream::iter(broken));
    let answer = home.home.put(&rights("f"), &path("f"), &request("PUT", &[]), body).await;
    let answer = Answer::of(answer).await;
    assert_eq!(answer.status, 400);
    assert!(String::from_utf8_lossy(answer.bytes()).contains("nothing was stored"));

    // It is refused before a byte of it is looked at, by its own word or by where it would end.
    let (longer, last) = ((MAX_FILE_BYTES + 1).to_string(), format!("bytes {MAX_FILE_BYTES}-{MAX_FILE_BYTES}/*"));
    assert_eq!(home.put("f", &[("content-length", &longer)], b"x").await.status, 413);
    home.put("g", &[], b"x").await;
    assert_eq!(home.put("g", &[("content-range", &last)], b"x").await.status, 413);
    assert_eq!(home.put("g", &[("content-range", &format!("bytes */{longer}"))], b"").await.status, 413);
    home.delete("g", &[]).await;
    home.store().collect().await.expect("collects");
    let report = home.store().fsck().await.expect("the check runs");
    assert_eq!((report.files, report.blocks, report.orphans), (0, 0, 0));
}

/// A gate that writes down what it is asked, and how it ended; or refuses.
#[derive(Default)]
struct Recording {
    log: Arc<Mutex<Vec<String>>>,
    refuse: bool,
}

struct Recorded(Arc<Mutex<Vec<String>>>);

impl ChangePermit for Recorded {
    fn ended(self: Box<Self>, end: ChangeEnd) {
        self.0.lock().expect("no panic").push(format!("{end:?}"));
    }
}

impl ChangeGate for Recording {
    fn before_change(&self, touched: Touched) -> BoxFuture<'_, Result<Box<dyn ChangePermit>, Problem>> {
        let objects: Vec<_> = touched.objects.iter().map(|path| format!("{path:?}")).collect();
        let trees: Vec<_> = touched.subtrees.iter().map(|path| format!("{path:?}/*")).collect();
        self.log.lock().expect("no panic").push([objects, trees].concat().join(" "));
        let permit: Box<dyn ChangePermit> = Box::new(Recorded(self.log.clone()));
        let answer = if self.refuse { Err(Problem::new(Code::Timeout, "a holder is silent")) } else { Ok(permit) };
        std::future::ready(answer).boxed()
    }
}

#[tokio::test]
async fn every_change_passes_the_gate_with_all_that_it_touches() {
    let gate = Recording::default();
    let log = gate.log.clone();
    let home = Fixture::new(Arc::new(gate));
    let take = || std::mem::take(&mut *log.lock().expect("no panic"));
    home.put("a/b/f", &[("webos-parents", "?1")], b"1").await;
    assert_eq!(take(), ["/ /a /a/b /a/b/f", "Committed(ChangeNumber(2))"]);
    home.put("a/b/f", &[], b"2").await;
    assert_eq!(take(), ["/a/b /a/b/f", "Committed(ChangeNumber(3))"]);
    home.put("a/b/f", &[("if-none-match", "*")], b"3").await;
    assert_eq!(take(), Vec::<String>::new(), "what fails at once recalls nothing");
    home.delete("a/b", &[]).await;
    assert_eq!(take(), ["/a /a/b", "NotCommitted"]);
    home.delete("a/b/f", &[]).await;
    assert_eq!(take(), ["/a/b /a/b/f", "Committed(ChangeNumber(4))"]);
    home.home.make_directory(&rights("n"), &path("n"), false, None).await.expect("made");
    assert_eq!(take(), ["/ /n", "Committed(ChangeNumber(5))"]);
    let list_rights = ListRights { decided_on: vec![owner().hash()], administer: proof("a", Right::Administer) };
    let (a, n) = (path("a"), path("n"));
    let another = "spiffe://lab.example/user/another".parse().expect("valid");
    let another = Bucket::new([(another, Rights::OWNER)]).expect("a small list");
    let set = |at| home.home.set_bucket(&list_rights, at, another.clone(), None);
    let nobodys = home.home.set_bucket(&list_rights, &a, Bucket::empty(), None).await;
    assert_eq!(nobodys.map_err(|problem| problem.code), Err(Code::Conflict), "nobody could change it any more");
    assert_eq!(set(&n).await.map_err(|problem| problem.code), Err(Code::Denied));
    let lists = vec![(owner().hash(), another.clone())];
    home.home.amend_lists(&list_rights, &a, lists, None).await.expect("set");
    assert_eq!(take(), ["/a/*", "Committed(ChangeNumber(6))"]);
    let refused = set(&a).await;
    assert_eq!(refused.map_err(|problem| problem.code), Err(Code::Unavailable), "decided on the old list");
    assert_eq!(take(), ["/a", "NotCommitted"]);
}

#[tokio::test]
async fn a_change_whose_recall_fails_does_not_happen() {
    let home = Fixture::new(Arc::new(Recording { refuse: true, ..Recording::default() }));
    assert_eq!(home.put("f", &[], &filled(40_000)).await.status, 504);
    let report = home.store().fsck().await.expect("the check runs");
    assert_eq!((report.files, report.orphans), (0, 0));
}
