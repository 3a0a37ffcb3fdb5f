//! Floods by peers without a certificate: they are refused what they ask for, and keep nobody else from anything.

use crate::realm::{Realm, principal, seen};
use client::Client;
use client::protocol::RevokeRequest;
use std::sync::Arc;
use std::time::Duration;
use terms::{BootMs, Code, PrincipalKind, UnixMs};
use trust::Standing;
use webos_node::Node;
use world::{Clock, RealClock, World};

/// The boot clock stands still: what is counted by the second is counted for ever.
struct Still(BootMs);

impl Clock for Still {
    fn unix(&self) -> UnixMs {
        RealClock::default().unix()
    }
    fn boot(&self) -> BootMs {
        self.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_strangers_keeps_no_member_from_hearing_what_is_revoked() {
    let mut realm = Realm::start().await;
    let n2 = realm.join("n2").await;
    let address = realm.home().address().to_string();
    realm.home.take().expect("runs").stop().await;
    let still = World { clock: Arc::new(Still(BootMs(5000))), ..realm.world.clone() };
    realm.home = Some(Node::start(realm.settings("home", &address), still).await.expect("the home"));

    let (home, name) = (realm.home(), realm.authority.realm());
    let nobody = Client::with(realm.folder("nobody"), realm.world.clone(), None, home.client().trust().clone());
    let refused = loop {
        if let Err(refused) = nobody.ask_openly(name, "/.webos/bundle", 64 * 1024).await {
            break refused;
        }
    };
    assert_eq!(refused.code, Code::Busy, "{refused}");

    let bob = principal(PrincipalKind::User, "bob");
    seen(home.client(), home).revoke(&RevokeRequest::Principal(bob.clone())).await.expect("the owner may");
    let trust = n2.client().trust();
    let heard = async {
        while !trust.is_revoked(&bob, UnixMs(0)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heard).await.expect("n2 hears it");
}
