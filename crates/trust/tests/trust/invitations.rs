//! Invitations: one line, one use, ten minutes.

use crate::support::{Lab, lab, principal};
use std::path::PathBuf;
use std::time::Duration;
use terms::Principal;
use webos_trust::{Invitation, Invitations};

struct Desk {
    lab: Lab,
    _folder: tempfile::TempDir,
    path: PathBuf,
    open: Invitations,
    n2: Principal,
}

fn desk() -> Desk {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("invitations.json");
    let open = Invitations::open(&path).expect("none yet");
    Desk { lab: lab(), _folder: folder, path, open, n2: principal("spiffe://lab.example/server/n2") }
}

impl Desk {
    fn invite(&mut self, who: &Principal) -> Invitation {
        let fingerprint = self.lab.authority.fingerprint();
        let invitation = self.open.create(who.clone(), "127.0.0.1:7001".into(), fingerprint, &self.lab.world);
        invitation.expect("invited")
    }

    fn redeem(&mut self, invitation: &Invitation, who: &Principal) -> bool {
        self.open.redeem(&invitation.secret, who, self.lab.now()).is_ok()
    }
}

#[test]
fn a_line_round_trips_and_hides_nothing_but_the_secret() {
    let mut desk = desk();
    let n2 = desk.n2.clone();
    let invitation = desk.invite(&n2);
    let line = invitation.line().expect("a line");
    assert!(line.starts_with("webos-invite-1.") && !line.contains(char::is_whitespace));
    let parsed = Invitation::parse(&format!("  {}\n", line.as_str())).expect("our own");
    assert_eq!(
        (&parsed.principal, &parsed.address, parsed.fingerprint),
        (&n2, &invitation.address, invitation.fingerprint)
    );
    assert!(desk.redeem(&parsed, &n2));
    assert!(format!("{invitation:?}").contains("Secret(…)"));
    let stored = std::fs::read_to_string(&desk.path).expect("read");
    assert!(!stored.contains(line.as_str().split('.').nth(1).expect("the code")), "{stored}");
}

#[test]
fn an_invitation_works_once_also_after_a_restart() {
    let mut desk = desk();
    let n2 = desk.n2.clone();
    let invitation = desk.invite(&n2);
    desk.open = Invitations::open(&desk.path).expect("read again");
    assert!(desk.redeem(&invitation, &n2));
    assert!(!desk.redeem(&invitation, &n2), "a replay");
    desk.open = Invitations::open(&desk.path).expect("read again");
    assert!(!desk.redeem(&invitation, &n2), "a replay after a restart");
}

#[test]
fn who_may_not_come_in() {
    let mut desk = desk();
    let n2 = desk.n2.clone();
    let n3 = principal("spiffe://lab.example/server/n3");
    let (for_n2, for_n3) = (desk.invite(&n2), desk.invite(&n3));
    assert!(!desk.redeem(&for_n2, &n3), "under another name");
    assert!(!desk.redeem(&for_n2, &principal("spiffe://lab.example/user/n2")), "as another kind");
    assert!(desk.redeem(&for_n3, &n3), "a failed attempt of another spoils nothing");
    let again = desk.invite(&n2);
    assert!(!desk.redeem(&for_n2, &n2), "a newer invitation ends the older one");
    desk.lab.clock.advance(Duration::from_secs(599));
    assert!(!again.is_over(desk.lab.now()));
    desk.lab.clock.advance(Duration::from_secs(1));
    assert!(again.is_over(desk.lab.now()));
    assert!(!desk.redeem(&again, &n2), "after ten minutes, no allowance");
}

#[test]
fn if_it_cannot_be_marked_as_used_it_is_not_used() {
    let mut desk = desk();
    let n2 = desk.n2.clone();
    let invitation = desk.invite(&n2);
    let folder = desk.path.parent().expect("a folder").to_path_buf();
    std::fs::remove_dir_all(&folder).expect("removed");
    std::fs::write(&folder, b"a file in the way").expect("written");
    assert!(!desk.redeem(&invitation, &n2));
    std::fs::remove_file(&folder).expect("removed");
    assert!(desk.redeem(&invitation, &n2));
}

#[test]
fn lines_that_are_none() {
    let mut desk = desk();
    let n2 = desk.n2.clone();
    let line = desk.invite(&n2).line().expect("a line");
    let code = line.strip_prefix("webos-invite-1.").expect("prefixed");
    for (name, bad) in [
        ("empty", String::new()),
        ("another version", format!("webos-invite-2.{code}")),
        ("cut", line[..line.len() - 3].to_string()),
        ("longer", format!("{}AAAA", line.as_str())),
        ("no base64", "webos-invite-1.%%%".into()),
        ("huge", format!("webos-invite-1.{}", "A".repeat(100_000))),
        ("deep", format!("webos-invite-1.{}", "gYGBgYGB".repeat(100))),
    ] {
        let error = Invitation::parse(&bad).expect_err(name).to_string();
        assert!(!error.contains(&code[..16]), "{name} quotes the secret line: {error}");
    }
}

#[test]
fn open_invitations_are_bounded() {
    let mut desk = desk();
    for index in 0..256 {
        desk.invite(&principal(&format!("spiffe://lab.example/server/n{index}")));
    }
    let more = principal("spiffe://lab.example/server/more");
    let full = desk.open.create(more.clone(), "x:1".into(), [0; 32], &desk.lab.world);
    assert!(full.is_err());
    desk.lab.clock.advance(Duration::from_secs(600));
    desk.invite(&more);
}
