//! Leaves of our profile: any content, truly signed by the realm's issuing key.

use super::{Outcome, Target, accepted};
use crate::forge::{certificate, signed_part};
use crate::scene::scene;
use rustls_pki_types::CertificateDer;
use wire::PeerCheck;

pub const LEAF: Target = Target {
    name: "leaf",
    feeds: "a leaf certificate at a listener: the content of a certificate, signed by the realm's issuing key",
    seeds: || {
        ["user/alice", "server/n1", "service/shop"]
            .into_iter()
            .filter_map(|name| signed_part(&scene().identity(name).chain()[0]).map(<[u8]>::to_vec))
            .collect()
    },
    run: |input| {
        let scene = scene();
        let leaf = CertificateDer::from(certificate(scene, input));
        match scene.store.check(&leaf, scene.above(), scene.now) {
            Err(_) => Outcome::Refused,
            Ok(peer) => {
                assert_eq!(peer.principal.realm.as_str(), "lab.example", "only the pinned realm's names");
                assert!(scene.now < peer.not_after, "nothing that has ended");
                let lifetime = peer.not_after.since(scene.now).as_secs();
                accepted(![7, 30].map(|days| days * 86_400 + 60).contains(&lifetime))
            }
        }
    },
};
