use super::{LocalWorld, Names, Remarks, label_of};
use client::register::Register;
use client::{Client, Folder};
use std::time::Duration;
use terms::UnixMs;
use trust::Identity;
use world::{Clock, World};

/// A clock that stands at one time.
struct At(UnixMs);

impl Clock for At {
    fn unix(&self) -> UnixMs {
        self.0
    }
    fn boot(&self) -> terms::BootMs {
        terms::BootMs(self.0.0)
    }
}

const START: UnixMs = UnixMs(1_790_000_000_000);

fn on_day(day: u64) -> World {
    let clock = std::sync::Arc::new(At(START.plus(Duration::from_secs(day * 86_400))));
    World { clock, ..World::real() }
}

fn open(person: &Folder, world: &World) -> Result<(LocalWorld, Remarks), terms::Problem> {
    LocalWorld::open(person, Names::new(3).expect("constant"), Some("Anna.Maria"), world)
}

/// Lets a node join as the home would, without the network.
fn join(local: &LocalWorld, name: &str, world: &World) {
    let label = terms::Label::new(name).expect("valid");
    let identity = local.authority.issue_identity(&local.names().node(&label), None, world.clock.unix());
    identity.expect("issued").save(&local.folder(&label).identity()).expect("saved");
}

#[test]
fn a_world_is_made_once_and_found_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let person = Folder::new(dir.path());
    let (local, remarks) = open(&person, &on_day(0)).expect("made");
    assert_eq!(local.caller.to_string(), "spiffe://demo.localhost/user/anna-maria");
    assert!(remarks.iter().any(|remark| remark.contains("root key lies unencrypted")), "{remarks:?}");
    assert!(local.is_new(&local.names().nodes[1]) && !local.is_new(local.names().home()));
    local.pin("127.0.0.1:4433").expect("pinned");
    let client = Client::open(person.clone(), on_day(0)).expect("opens");
    let servers = client.name_servers(&local.names().realm).expect("pinned");
    assert_eq!(servers[0].address, "127.0.0.1:4433");
    assert_eq!(
        std::fs::read_to_string(local.folder(&local.names().nodes[2]).owner()).expect("written").trim(),
        local.caller.to_string()
    );
    let (_, remarks) = open(&person, &on_day(1)).expect("found");
    assert_eq!(remarks, Remarks::new(), "nothing was made or renewed");
}

#[test]
fn certificates_live_through_pauses_of_8_40_and_200_days() {
    for day in [8, 40, 200, 1000] {
        let dir = tempfile::tempdir().expect("a folder");
        let person = Folder::new(dir.path());
        let (local, _) = open(&person, &on_day(0)).expect("made");
        join(&local, "n1", &on_day(0));
        let folders: Vec<Folder> =
            [person.clone(), local.folder(local.names().home()), local.folder(&local.names().nodes[1])].into();
        let keys = |folders: &[Folder]| -> Vec<_> {
            folders
                .iter()
                .map(|folder| Identity::load(&folder.identity()).expect("there").key().thumbprint())
                .collect()
        };
        let before = keys(&folders);
        let later = on_day(day);
        let (local, remarks) = open(&person, &later).expect("renewed");
        assert!(!remarks.is_empty(), "day {day}");
        assert_eq!(keys(&folders), before, "the keys stay");
        local.pin("127.0.0.1:1").expect("pinned");
        for folder in &folders {
            let client = Client::open(folder.clone(), later.clone()).expect("opens");
            let identity = client.identity().expect("somebody");
            assert!(identity.not_after().since(later.clock.unix()) > Duration::from_secs(3 * 86_400), "day {day}");
            let leaf = &identity.chain()[0];
            let peer = wire::PeerCheck::check(client.trust(), leaf, &identity.chain()[1..], later.clock.unix());
            assert_eq!(peer.map(|peer| peer.principal), Ok(identity.principal().clone()), "day {day}");
        }
    }
}

#[test]
fn whoever_was_revoked_is_not_certified_by_a_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let person = Folder::new(dir.path());
    let (local, _) = open(&person, &on_day(0)).expect("made");
    join(&local, "n1", &on_day(0));
    let n1 = local.names().nodes[1].clone();
    let register = Register::new(&local.folder(local.names().home()));
    register.revoke(&local.names().node(&n1), START).expect("noted");
    let before = Identity::load(&local.folder(&n1).identity()).expect("there").not_after();
    open(&person, &on_day(5)).expect("the others go on");
    assert_eq!(Identity::load(&local.folder(&n1).identity()).expect("there").not_after(), before);
}

#[test]
fn a_clock_set_back_far_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let person = Folder::new(dir.path());
    open(&person, &on_day(200)).expect("made");
    let problem = open(&person, &on_day(0)).err().expect("refused");
    assert!(problem.detail.contains("the clock was ahead") && problem.next.contains("--fresh"), "{problem}");
}

#[test]
fn a_lost_authority_is_not_silently_made_anew() {
    let dir = tempfile::tempdir().expect("a folder");
    let person = Folder::new(dir.path());
    let (local, _) = open(&person, &on_day(0)).expect("made");
    let authority = local.folder(local.names().home()).authority();
    std::fs::rename(&authority, dir.path().join("elsewhere")).expect("moved");
    let problem = open(&person, &on_day(1)).err().expect("refused");
    assert!(problem.detail.contains("is gone") && problem.next.contains("--fresh"), "{problem}");
    assert!(!authority.exists(), "nothing is made");
    std::fs::rename(dir.path().join("elsewhere"), &authority).expect("restored");
    open(&person, &on_day(1)).expect("found");
}

#[test]
fn somebody_elses_identity_is_not_replaced() {
    let (dir, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    open(&Folder::new(other.path()), &on_day(0)).expect("made");
    let stranger = Identity::load(&Folder::new(other.path()).identity()).expect("there");
    stranger.save(&Folder::new(dir.path()).identity()).expect("saved");
    let problem = open(&Folder::new(dir.path()), &on_day(0)).err().expect("refused");
    assert!(problem.detail.contains("does not belong to this local world"), "{problem}");
    assert!(problem.next.contains("WEBOS_HOME"), "{problem}");
}

#[test]
fn a_damaged_state_costs_only_the_ports() {
    let dir = tempfile::tempdir().expect("a folder");
    let person = Folder::new(dir.path());
    let (mut local, _) = open(&person, &on_day(0)).expect("made");
    let home = local.names().home().clone();
    local.keep_ports([(home.clone(), 4433)]).expect("kept");
    assert_eq!(open(&person, &on_day(0)).expect("found").0.port(&home), Some(4433));
    std::fs::write(person.world().join("world.json"), "{").expect("written");
    let (local, remarks) = open(&person, &on_day(0)).expect("goes on");
    assert_eq!(local.port(&home), None);
    assert!(remarks[0].contains("damaged"), "{remarks:?}");
}

#[test]
fn login_names_become_names() {
    for (login, expected) in
        [("ann", "ann"), ("Anna.Maria", "anna-maria"), ("_x_", "x"), ("", "me"), ("木", "me"), ("a b\n", "a-b")]
    {
        assert_eq!(label_of(login).as_str(), expected);
    }
    assert_eq!(label_of(&"x".repeat(99)).as_str().len(), 63);
}
