//! The rights of the played world, and what a page gets to see and take back of them.

use super::Stage;
use crate::console::rights::{AuditView, EntryView, ListView, Revocation, RightsView, TokenView};
use terms::{Code, Problem, UnixMs};

const ALICE: &str = "spiffe://demo.localhost/user/alice";
pub const TOKEN: &str = "0f9a0f9a0f9a0f9a0f9a0f9a0f9a0f9a";

/// A list, a token and a record with a hostile name.
pub fn played(now: UnixMs) -> RightsView {
    let entry = |who: &str, rights: &str| EntryView { who: who.into(), rights: rights.into() };
    RightsView {
        now,
        lists: vec![ListView {
            place: "site.demo.localhost/www".into(),
            entries: vec![entry(ALICE, "rwmxa"), entry("anyone", "r")],
        }],
        groups: Vec::new(),
        tokens: vec![TokenView {
            id: TOKEN.into(),
            subject: ALICE.into(),
            grants: vec!["r on site.demo.localhost/www and all below it".into()],
            until: UnixMs(now.0 + 3_600_000),
        }],
        audit: vec![AuditView {
            node: "home".into(),
            seq: 7,
            at: now,
            outcome: trust::AuditOutcome::Refused,
            who: None,
            right: Some("r".into()),
            resource: "site.demo.localhost/<img src=x onerror=alert(1)>".into(),
            reason: "the access list does not give it to anyone".into(),
            links: Vec::new(),
            count: 3,
        }],
        missing: Vec::new(),
    }
}

/// Takes something of the played rights back.
pub fn take_back(rights: &mut RightsView, revocation: &Revocation) -> Result<String, Problem> {
    match revocation {
        Revocation::Entry { place, who, rights: what } => {
            Revocation::entry(place, who, what)?;
            let list = rights.lists.iter_mut().find(|list| list.place == *place);
            let list = list.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no {place}")))?;
            list.entries.retain(|entry| entry.who != *who);
            Ok(format!("{who} does not hold {what} on {place} and below any more"))
        }
        Revocation::Token { id } => {
            let before = rights.tokens.len();
            rights.tokens.retain(|token| token.id != *id);
            if rights.tokens.len() == before {
                return Err(Problem::new(Code::NotFound, "you have no token with this id here"));
            }
            Ok(format!("the token {id} is worthless now"))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_shown_and_taken_back_by_their_owner_alone() {
    let stage = Stage::new().await;
    let own = stage.own();
    let shown = stage.ask(&format!("GET /api/rights HTTP/1.1\r\n{own}\r\n")).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let view: serde_json::Value = serde_json::from_str(&shown.body).expect("JSON");
    assert_eq!(view["lists"][0]["entries"][1]["who"], "anyone");
    assert_eq!(view["audit"][0]["outcome"], "refused");
    let port = stage.console.port();
    let stranger = format!("GET /api/rights HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    assert_eq!(stage.ask(&stranger).await.status, 401);
    let post = |body: String, kind: &'static str| {
        let own = own.clone();
        let stage = &stage;
        async move {
            let length = body.len();
            let head = format!("POST /api/rights/revoke HTTP/1.1\r\n{own}Content-Type: {kind}\r\n");
            stage.ask(&format!("{head}Content-Length: {length}\r\n\r\n{body}")).await
        }
    };
    let token = format!("{{\"kind\":\"token\",\"id\":\"{TOKEN}\"}}");
    let json = "application/json";
    assert_eq!(post(token.clone(), "text/plain").await.status, 400, "a form of another page");
    for bad in
        ["", "{}", "{\"kind\":\"realm\"}", "{\"kind\":\"token\"}", "{\"kind\":\"token\",\"id\":\"x\",\"y\":1}"]
    {
        assert_eq!(post(bad.into(), json).await.status, 400, "{bad}");
    }
    let done = post(token.clone(), json).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert!(done.body.contains("worthless now"), "{}", done.body);
    assert_eq!(post(token, json).await.status, 404, "it is gone");
    let entry = |who: &str| {
        format!("{{\"kind\":\"entry\",\"place\":\"site.demo.localhost/www\",\"who\":\"{who}\",\"rights\":\"r\"}}")
    };
    assert_eq!(post(entry("nobody at all"), json).await.status, 400);
    assert_eq!(post(entry("anyone"), json).await.status, 200);
    let shown = stage.ask(&format!("GET /api/rights HTTP/1.1\r\n{own}\r\n")).await;
    assert!(!shown.body.contains("\"anyone\"") && !shown.body.contains(TOKEN), "{}", shown.body);
}
