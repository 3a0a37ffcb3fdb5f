//! Policies over HTTP and appends: what is said, refused and placed, and which right it takes.

use super::{Answer, Fixture, path, proof, request, rights};
use crate::gate::{ChangeGate, ChangePermit, Touched, Ungated};
use crate::model::Policy;
use crate::serve::{ListRights, WriteRights};
use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use std::sync::{Arc, Mutex};
use terms::{Code, OperationId, Problem, Right, SessionId};

/// Passes everything, and notes what was recalled.
#[derive(Default)]
struct Noting(Mutex<Vec<Touched>>);

impl ChangeGate for Noting {
    fn before_change(&self, touched: Touched) -> BoxFuture<'_, Result<Box<dyn ChangePermit>, Problem>> {
        self.0.lock().expect("no panic").push(touched);
        Ungated.before_change(Touched::default())
    }
}

async fn set(home: &Fixture, at: &str, policy: Policy) {
    let rights = ListRights { decided_on: vec![rights(at).decided_on], administer: proof(at, Right::Administer) };
    home.home.set_policy(&rights, &path(at), (policy, false), None).await.expect("set");
}

fn only(at: &str, right: Right) -> WriteRights {
    match right {
        Right::Write => WriteRights { replace: None, ..rights(at) },
        _ => WriteRights { create: None, ..rights(at) },
    }
}

#[tokio::test]
async fn a_policy_is_said_in_a_header_and_refuses_by_name() {
    let home = Fixture::new(Arc::new(Ungated));
    home.store_file("f", b"one").await;
    assert_eq!(home.get("f", &[]).await.headers.get("webos-policy"), None);
    for (policy, status) in [("ttl=30", 204), ("strong", 204), ("log", 501), ("immutable", 501)] {
        set(&home, "f", policy.parse().expect("a policy")).await;
        assert_eq!(home.get("f", &[]).await.header("webos-policy"), policy);
        let answer = home.put("f", &[], b"two").await;
        assert_eq!(answer.status, status, "{policy}");
        let said = String::from_utf8_lossy(answer.bytes()).into_owned();
        assert_eq!(status == 501, said.contains(&format!("its policy is {policy}")), "{said}");
        let part = home.put("f", &[("content-range", "bytes 0-0/*")], b"x").await;
        assert_eq!(part.status, status, "{policy}");
    }
    assert_eq!(home.delete("f", &[]).await.status, 204, "its name may go");
}

#[tokio::test]
async fn an_append_takes_the_right_that_what_it_does_takes() {
    let home = Fixture::new(Arc::new(Ungated));
    home.store_file("plain", b"1").await;
    home.store_file("log", b"1").await;
    home.store_file("fixed", b"1").await;
    set(&home, "log", Policy::Log).await;
    set(&home, "fixed", Policy::Immutable).await;
    for (at, right, expected) in [
        ("plain", Right::Write, Err(Code::Denied)),
        ("plain", Right::Modify, Ok(1)),
        ("log", Right::Write, Ok(1)),
        ("log", Right::Modify, Err(Code::Denied)),
        ("new", Right::Modify, Err(Code::Denied)),
        ("new", Right::Write, Ok(0)),
        ("fixed", Right::Modify, Err(Code::Unsupported)),
        ("", Right::Write, Err(Code::Invalid)),
    ] {
        let done = home.home.append(&only(at, right), &path(at), Bytes::from_static(b"2"), None).await;
        assert_eq!(
            done.map(|done| done.offset.expect("told")).map_err(|problem| problem.code),
            expected,
            "/{at} {right}"
        );
    }
    let none = home.home.append(&rights("log"), &path("log"), Bytes::new(), None).await;
    assert_eq!(none.map_err(|problem| problem.code).err(), Some(Code::Invalid));
    let long = home.home.append(&rights("log"), &path("log"), vec![0; (64 << 10) + 1].into(), None).await;
    assert_eq!(long.map_err(|problem| problem.code).err(), Some(Code::TooLarge));
}

#[tokio::test]
async fn an_append_recalls_what_any_change_does_but_that_of_a_log_nothing() {
    let gate = Arc::new(Noting::default());
    let home = Fixture::new(gate.clone());
    home.store_file("d/plain", b"1").await;
    home.store_file("d/log", b"1").await;
    set(&home, "d/log", Policy::Log).await;
    gate.0.lock().expect("no panic").clear();
    for at in ["d/plain", "d/log"] {
        home.home.append(&rights(at), &path(at), Bytes::from_static(b"2"), None).await.expect("appended");
    }
    let recalled = gate.0.lock().expect("no panic").clone();
    assert_eq!(recalled, [Touched::objects([path("d"), path("d/plain")]), Touched::default()]);
}

#[tokio::test]
async fn many_append_at_once_and_retries_are_told_the_first_place() {
    let home = Fixture::new(Arc::new(Ungated));
    for (at, policy) in [("plain", Policy::Cto), ("log", Policy::Log)] {
        home.store_file(at, b"").await;
        set(&home, at, policy).await;
        let append = async |sequence: u64| {
            let id = OperationId { session: SessionId([3; 16]), sequence };
            let line = format!("{at} {sequence}\n");
            home.home.append(&rights(at), &path(at), line.into(), Some(id)).await.expect("appended").offset
        };
        let base = if at == "log" { 100 } else { 0 };
        let first = join_all((base..base + 40).map(&append)).await;
        let again = join_all((base..base + 40).map(&append)).await;
        assert_eq!(first, again, "{at}");
        let read: Answer = home.read(at, &request("GET", &[])).await;
        let text = String::from_utf8(read.bytes().to_vec()).expect("text");
        assert_eq!(text.lines().count(), 40, "{at}");
        for (sequence, offset) in (base..base + 40).zip(first) {
            let offset = usize::try_from(offset.expect("told")).expect("small");
            assert!(text[offset..].starts_with(&format!("{at} {sequence}\n")));
        }
    }
}
