//! The rights of the played world, and what a page gets to see and take back of them.

use super::Stage;
use crate::console::rights::{
    AuditView, EntryView, ListView, MemberView, Revocation, RightsView, Standing, TokenView, TransferView,
};
use terms::{Code, Problem, UnixMs};

const ALICE: &str = "spiffe://demo.localhost/user/alice";
const N2: &str = "spiffe://demo.localhost/server/n2";
pub const TOKEN: &str = "0f9a0f9a0f9a0f9a0f9a0f9a0f9a0f9a";
const LENT: &str = "1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c";

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
        members: [(ALICE, Some("you")), (N2, None)].map(|(who, kept)| member(who, kept, now)).into(),
        transfers: vec![TransferView {
            id: LENT.into(),
            issuer: ALICE.into(),
            subject: ALICE.into(),
            audience: N2.into(),
            grants: vec!["r on site.demo.localhost/<b>in</b> and all below it".into()],
            until: UnixMs(now.0 + 3_600_000),
            links: 1,
            depth: 0,
            purses: vec!["you".into(), "n2".into()],
        }],
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

fn member(who: &str, kept: Option<&'static str>, now: UnixMs) -> MemberView {
    MemberView { who: who.into(), until: UnixMs(now.0 + 604_800_000), standing: Standing::Active, kept }
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
        Revocation::Transfer { id } => {
            let before = rights.transfers.len();
            rights.transfers.retain(|transfer| transfer.id != id.to_string());
            if rights.transfers.len() == before {
                return Err(Problem::new(Code::NotFound, "no purse holds it"));
            }
            Ok(format!("the transfer certificate {id} is worthless now"))
        }
        Revocation::Principal { who } => {
            let member = rights.members.iter_mut().find(|member| member.who == who.to_string());
            let member = member.ok_or_else(|| Problem::new(Code::NotFound, "there is no such member"))?;
            member.standing = Standing::Revoked;
            Ok(format!("every certificate of {who} so far ended"))
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
    for bad in [
        "",
        "{}",
        "{\"kind\":\"realm\"}",
        "{\"kind\":\"token\"}",
        "{\"kind\":\"token\",\"id\":\"x\",\"y\":1}",
        "{\"kind\":\"transfer\",\"id\":\"1c1c\"}",
        "{\"kind\":\"principal\",\"who\":\"n2\"}",
    ] {
        assert_eq!(post(bad.into(), json).await.status, 400, "{bad}");
    }
    let done = post(token.clone(), json).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert!(done.body.contains("worthless now"), "{}", done.body);
    assert_eq!(post(token, json).await.status, 404, "it is gone");
    let lent = format!("{{\"kind\":\"transfer\",\"id\":\"{LENT}\"}}");
    assert_eq!(post(lent.clone(), json).await.status, 200);
    assert_eq!(post(lent, json).await.status, 404, "it is gone");
    let member = format!("{{\"kind\":\"principal\",\"who\":\"{N2}\"}}");
    assert!(post(member, json).await.body.contains("so far ended"));
    let shown = stage.ask(&format!("GET /api/rights HTTP/1.1\r\n{own}\r\n")).await;
    let view: serde_json::Value = serde_json::from_str(&shown.body).expect("JSON");
    assert_eq!(view["members"][1]["standing"], "revoked");
    assert_eq!((&view["members"][0]["kept"], view["transfers"].as_array().map(Vec::len)), (&"you".into(), Some(0)));
    let entry = |who: &str| {
        format!("{{\"kind\":\"entry\",\"place\":\"site.demo.localhost/www\",\"who\":\"{who}\",\"rights\":\"r\"}}")
    };
    assert_eq!(post(entry("nobody at all"), json).await.status, 400);
    assert_eq!(post(entry("anyone"), json).await.status, 200);
    let shown = stage.ask(&format!("GET /api/rights HTTP/1.1\r\n{own}\r\n")).await;
    assert!(!shown.body.contains("\"anyone\"") && !shown.body.contains(TOKEN), "{}", shown.body);
}
