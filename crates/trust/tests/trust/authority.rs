//! A realm's authority over time, on disk, and in bundles.

use crate::support::{DAY, lab, pin, principal, private_folder, realm};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use terms::Epoch;
use webos_trust::{Authority, Bundle, Identity, NameServer, Root, TrustError, TrustStore};

#[test]
fn after_8_40_and_200_days_everything_is_reissued_for_the_same_keys() {
    for (days, issuing_renewed) in [(8, false), (40, false), (60, true), (200, true)] {
        let mut lab = lab();
        let (alice, n1) = (lab.identity("user/alice"), lab.identity("server/n1"));
        lab.clock.advance(days * DAY);
        let now = lab.now();
        assert!(lab.check(n1.chain()).is_err(), "{days} days: a server's leaf lasts 7");
        assert_eq!(lab.check(alice.chain()).is_err(), days > 30, "{days} days: a user's leaf lasts 30");
        let fingerprint = lab.authority.fingerprint();
        assert_eq!(lab.authority.is_renewal_due(now).expect("known"), issuing_renewed, "{days} days");
        if issuing_renewed {
            lab.authority.renew(&lab.root, now).expect("renewed");
        }
        assert!(!lab.authority.is_renewal_due(now).expect("known"), "nothing left to do");
        for old in [alice, n1] {
            let key = Some(old.key().clone());
            let new = lab.authority.issue_identity(old.principal(), key, now).expect("re-issued");
            assert_eq!(new.key().thumbprint(), old.key().thumbprint());
            assert_eq!(lab.check(new.chain()).expect("accepted").key, old.key().thumbprint());
        }
        assert_eq!(lab.authority.fingerprint(), fingerprint, "the root stays");
    }
}

#[test]
fn renewal_overlaps() {
    let mut lab = lab();
    let before = lab.identity("user/alice");
    lab.clock.advance(29 * DAY);
    let early = lab.authority.issue_identity(before.principal(), None, lab.now()).expect("issued");
    lab.clock.advance(20 * DAY);
    lab.authority.renew(&lab.root, lab.now()).expect("renewed");
    // What the earlier issuing certificate signed is good until its own end.
    assert!(lab.check(early.chain()).is_ok());
    assert_eq!(lab.authority.earlier_ends().expect("known").len(), 1);
    // The new one has a key of its own, and signs from now on.
    let fresh = lab.identity("server/n1");
    assert!(lab.check(fresh.chain()).is_ok());
    let mixed = [early.chain()[0].clone(), fresh.chain()[1].clone(), fresh.chain()[2].clone()];
    assert!(lab.check(&mixed).is_err());
    // The bundle is signed with it, and a site that pinned the root before takes it.
    let bytes = lab.authority.bundle(Vec::new(), Epoch(1), lab.now()).expect("signed");
    assert!(Bundle::open(&bytes, &lab.root.fingerprint(), lab.now()).is_ok());
}

#[test]
fn nothing_is_issued_beyond_the_end() {
    let mut lab = lab();
    let alice = principal("spiffe://lab.example/user/alice");
    lab.clock.advance(80 * DAY);
    let late = lab.authority.issue_identity(&alice, None, lab.now()).expect("issued");
    assert_eq!(late.not_after(), lab.authority.issuing_end().expect("an end"), "a leaf ends with its issuer");
    lab.clock.advance(11 * DAY);
    let error = lab.authority.issue_identity(&alice, None, lab.now()).expect_err("the issuing one has ended");
    assert!(matches!(error, TrustError::AuthorityEnded { which: "issuing", .. }), "{error}");
    lab.clock.advance(3652 * DAY);
    let error = lab.authority.renew(&lab.root, lab.now()).expect_err("the root has ended");
    assert!(matches!(error, TrustError::AuthorityEnded { which: "root", .. }), "{error}");
    let foreign = lab.authority.issue_identity(&principal("spiffe://other.example/user/a"), None, lab.now());
    assert!(matches!(foreign, Err(TrustError::ForeignName { .. })));
}

#[test]
fn authority_and_identity_survive_the_disk_and_nobody_else_reads_them() {
    let lab = lab();
    let folder = private_folder();
    lab.authority.save(folder.path()).expect("saved");
    let alice = lab.identity("user/alice");
    alice.save(folder.path()).expect("saved");
    for file in ["root.pem", "issuing.pem", "issuing-earlier.pem", "successions", Identity::FILE] {
        let path = folder.path().join(file);
        let mode = std::fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
    let bare = std::fs::read_to_string(folder.path().join("root.pem")).expect("readable");
    assert!(!bare.contains("PRIVATE"), "the root's key stays with the root");
    assert_eq!(Root::file_in(folder.path()), None);
    let loaded = Authority::load(folder.path()).expect("loaded");
    assert_eq!(loaded.fingerprint(), lab.authority.fingerprint());
    let bob = principal("spiffe://lab.example/user/bob");
    let bob = loaded.issue_identity(&bob, None, lab.now()).expect("issued");
    assert!(lab.check(bob.chain()).is_ok());
    let same = Identity::load(folder.path()).expect("loaded");
    assert_eq!((same.principal(), same.chain()), (alice.principal(), alice.chain()));
    assert_eq!(same.key().thumbprint(), alice.key().thumbprint());
    assert_eq!(same.credentials().chain.len(), 3);

    for file in ["issuing.pem", Identity::FILE] {
        let path = folder.path().join(file);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("changed");
    }
    assert!(matches!(Authority::load(folder.path()), Err(TrustError::Exposed { .. })));
    assert!(matches!(Identity::load(folder.path()), Err(TrustError::Exposed { .. })));
}

#[test]
fn an_authority_in_a_folder_that_others_can_enter_is_refused() {
    let lab = lab();
    let folder = private_folder();
    lab.authority.save(folder.path()).expect("saved");
    for (mode, loads) in [(0o700, true), (0o755, false), (0o710, false), (0o777, false), (0o1777, false)] {
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).expect("mine");
        match Authority::load(folder.path()) {
            Ok(_) => assert!(loads, "{mode:o}"),
            Err(TrustError::ExposedFolder { path, mode: found }) => {
                assert_eq!((path.as_path(), found, loads), (folder.path(), mode, false));
            }
            Err(other) => panic!("{mode:o}: {other}"),
        }
    }
}

#[test]
fn keys_and_certificates_that_do_not_belong_together() {
    let lab = lab();
    let (alice, bob) = (lab.identity("user/alice"), lab.identity("user/bob"));
    assert!(Identity::new(alice.chain().to_vec(), bob.key().clone()).is_err());
    assert!(Identity::new(Vec::new(), bob.key().clone()).is_err());
    let (one, two) = (private_folder(), private_folder());
    lab.authority.save(one.path()).expect("saved");
    realm(&lab.world, "other.example").save(two.path()).expect("saved");
    std::fs::copy(two.path().join("issuing.pem"), one.path().join("issuing.pem")).expect("copied");
    assert!(matches!(Authority::load(one.path()), Err(TrustError::Damaged { .. })));
}

#[test]
fn bundles() {
    let lab = lab();
    let (now, good) = (lab.now(), lab.authority.fingerprint());
    let home =
        NameServer { address: "127.0.0.1:7001".into(), principal: principal("spiffe://lab.example/server/home") };
    let bytes = lab.authority.bundle(vec![home.clone()], Epoch(3), now).expect("signed");
    let bundle = Bundle::open(&bytes, &good, now).expect("our own");
    assert_eq!((bundle.name_servers.as_slice(), bundle.epoch), ([home].as_slice(), Epoch(3)));
    assert_eq!(bundle.encoded(), bytes);
    assert!(bundle.roots_pem().starts_with("-----BEGIN CERTIFICATE-----\n"));

    let mut wrong = good;
    wrong[31] ^= 1;
    assert!(matches!(Bundle::open(&bytes, &wrong, now), Err(TrustError::Fingerprint { .. })));
    for index in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[index] ^= 1 << (index % 8);
        assert!(Bundle::open(&altered, &good, now).is_err(), "byte {index}");
    }
    assert!(matches!(Bundle::open(&vec![0; 65_537], &good, now), Err(TrustError::TooLarge { .. })));
    assert!(Bundle::open(&bytes, &good, now.minus(2 * DAY)).is_err(), "signed in the future");
    assert!(Bundle::open(&bytes, &good, now.plus(4000 * DAY)).is_err(), "the root has ended");
    let foreign = NameServer { address: "x:1".into(), principal: principal("spiffe://other.example/server/x") };
    assert!(lab.authority.bundle(vec![foreign], Epoch(3), now).is_err());
}

#[test]
fn an_older_bundle_does_not_come_back() {
    let lab = lab();
    let now = lab.now();
    let open = |epoch, at| {
        let bytes = lab.authority.bundle(Vec::new(), epoch, at).expect("signed");
        Bundle::open(&bytes, &lab.authority.fingerprint(), at).expect("our own")
    };
    let second = Duration::from_secs(1);
    let (old, new) = (open(Epoch(1), now), open(Epoch(2), now.plus(second)));
    let same_epoch_later = open(Epoch(2), now.plus(2 * second));
    let store = TrustStore::new();
    assert!(store.insert(old.clone()));
    assert!(store.insert(new.clone()));
    assert!(!store.insert(old));
    assert!(store.insert(same_epoch_later));
    assert!(!store.insert(new));
    assert_eq!(store.bundle(lab.authority.realm()).expect("pinned").issued, now.plus(2 * second));
    assert_eq!(store.realms(), [lab.authority.realm().clone()]);
    pin(&store, &realm(&lab.world, "other.example"), Epoch(0), now);
    assert_eq!(store.realms().len(), 2);
}
