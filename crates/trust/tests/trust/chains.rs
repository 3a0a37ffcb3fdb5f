//! Chains of several links as honest servers make them, and what they are told when they try too much.

use crate::support::{DAY, Lab, chain_of, grant, lab, links, to_server};
use terms::{TransferId, UnixMs};
use webos_trust::transfer::verify;
use webos_trust::{
    Chain, CreateTransfer, Grant, Identity, Refusal, Resource, TransferCertificate, TrustError, VerifiedChain,
};

/// Alice lends `in` to n1, which passes it on to n2, and n2 to n3.
pub struct Scene {
    pub lab: Lab,
    pub alice: Identity,
    pub servers: Vec<Identity>,
    pub chain: Chain,
}

pub fn whole() -> Vec<Grant> {
    vec![grant("data.lab.example/in", "rw")]
}

pub fn scene() -> Scene {
    let lab = lab();
    let alice = lab.identity("user/alice");
    let servers: Vec<_> = ["n1", "n2", "n3", "n4"].map(|name| lab.identity(&format!("server/{name}"))).into();
    let first = CreateTransfer { depth: 3, ..to_server(&servers[0], whole()) };
    let chain = TransferCertificate::create(&alice, first, &lab.world).expect("made");
    let mut scene = Scene { lab, alice, servers, chain };
    scene.chain = scene.passed(&scene.chain, 0, 2, whole()).expect("passed on");
    scene.chain = scene.passed(&scene.chain, 1, 1, vec![grant("data.lab.example/in/x", "r")]).expect("passed on");
    scene
}

impl Scene {
    /// The chain with one link more, from a server to the next.
    pub fn passed(&self, chain: &Chain, from: usize, depth: u8, grants: Vec<Grant>) -> Result<Chain, TrustError> {
        let transfer = CreateTransfer { depth, ..to_server(&self.servers[from + 1], grants) };
        TransferCertificate::pass_on(chain, &self.servers[from], transfer, &self.lab.world)
    }

    pub fn shown_by(&self, identity: &Identity, chain: &Chain) -> Result<VerifiedChain, Refusal> {
        verify(chain, &self.lab.peer(identity), &self.lab.store, self.lab.now())
    }

    pub fn links(&self) -> Vec<Vec<u8>> {
        links(&self.chain.encode().expect("bytes"))
    }
}

#[test]
fn the_honest_chain_of_four() {
    let scene = scene();
    let verified = scene.shown_by(&scene.servers[2], &scene.chain).expect("three links");
    assert_eq!(verified.subject(), scene.alice.principal());
    assert_eq!(verified.audience(), scene.servers[2].principal());
    assert_eq!(verified.grants(), [grant("data.lab.example/in/x", "r")]);
    assert_eq!(verified.links().count(), 3);
    let four = scene.passed(&scene.chain, 2, 0, vec![grant("data.lab.example/in/x/y", "r")]).expect("passed on");
    let verified = scene.shown_by(&scene.servers[3], &four).expect("four links");
    assert_eq!(verified.grants(), [grant("data.lab.example/in/x/y", "r")]);
    let bytes = four.encode().expect("bytes").len();
    assert!(bytes < 8 * 1024, "a chain of four has {bytes} bytes");
    // Whoever held it before cannot use it in its further form, nor whoever never held it.
    for other in [&scene.servers[0], &scene.servers[1], &scene.servers[2], &scene.alice] {
        assert!(matches!(scene.shown_by(other, &four), Err(Refusal::WrongAudience { .. })));
    }
}

#[test]
fn whoever_passes_on_is_told_at_once() {
    let scene = scene();
    let first = chain_of(&scene.links()[..1]);
    let told = |result: Result<Chain, TrustError>, expected: &str| {
        let error = result.expect_err(expected).to_string();
        assert!(error.contains(expected), "expected '{expected}', got '{error}'");
    };
    told(scene.passed(&first, 1, 0, whole()), "is for spiffe://lab.example/server/n1");
    told(scene.passed(&first, 0, 3, whole()), "at most 2 further links");
    told(scene.passed(&first, 0, 0, vec![grant("data.lab.example", "r")]), "does not give");
    told(scene.passed(&first, 0, 0, vec![grant("data.lab.example/in", "m")]), "does not give");
    let last = scene.passed(&scene.chain, 2, 0, vec![grant("data.lab.example/in/x", "r")]).expect("the fourth");
    let fifth = TransferCertificate::pass_on(
        &last,
        &scene.servers[3],
        to_server(&scene.servers[0], vec![grant("data.lab.example/in/x", "r")]),
        &scene.lab.world,
    );
    told(fifth, "at most 4 are allowed");
    let depth0 = scene.passed(&first, 0, 0, whole()).expect("withheld");
    told(scene.passed(&depth0, 1, 0, whole()), "may not be passed on");
    // Another key of the same server.
    let twin = scene.lab.identity("server/n1");
    let by_twin =
        TransferCertificate::pass_on(&first, &twin, to_server(&scene.servers[1], whole()), &scene.lab.world);
    told(by_twin, "another key");
}

#[test]
fn times_are_cut_to_the_parents() {
    let scene = scene();
    let first = chain_of(&scene.links()[..1]);
    let long = CreateTransfer { valid_for: DAY, ..to_server(&scene.servers[1], whole()) };
    let chain = TransferCertificate::pass_on(&first, &scene.servers[0], long, &scene.lab.world).expect("made");
    let links = chain.links().expect("readable");
    assert_eq!(links[1].until, links[0].until);
    assert!(scene.shown_by(&scene.servers[1], &chain).is_ok());
}

#[test]
fn two_parents_grants_do_not_add_up_beyond_what_they_give() {
    let scene = scene();
    let halves = vec![grant("data.lab.example/in/a", "r"), grant("data.lab.example/in/b", "w")];
    let first = chain_of(&scene.links()[..1]);
    let chain = scene.passed(&first, 0, 1, halves).expect("narrower");
    for wider in [
        grant("data.lab.example/in/a", "w"),
        grant("data.lab.example/in", "r"),
        grant("data.lab.example/in/b", "rw"),
    ] {
        assert!(scene.passed(&chain, 1, 0, vec![wider]).is_err());
    }
}

#[test]
fn grants_on_groups_and_services_travel_and_narrow() {
    let scene = scene();
    let on = |on: Resource, rights: &str| Grant { on, exact: true, rights: rights.parse().expect("rights") };
    let service = Resource::Service(terms::ServiceName {
        realm: "lab.example".parse().expect("a realm"),
        name: "site".parse().expect("a name"),
    });
    let group = Resource::Group("spiffe://lab.example/group/staff".parse().expect("a group"));
    let first = vec![on(service.clone(), "rx"), on(group.clone(), "r")];
    let first = CreateTransfer { depth: 1, ..to_server(&scene.servers[0], first) };
    let first = TransferCertificate::create(&scene.alice, first, &scene.lab.world).expect("made");
    let narrow = scene.passed(&first, 0, 0, vec![on(service.clone(), "r")]).expect("narrower");
    let verified = scene.shown_by(&scene.servers[1], &narrow).expect("valid");
    assert_eq!(verified.grants(), [on(service, "r")]);
    assert!(scene.passed(&first, 0, 0, vec![on(group, "a")]).is_err());
}

#[test]
fn an_id_is_what_its_issuer_chose() {
    let scene = scene();
    let ids: Vec<TransferId> = scene.chain.links().expect("readable").iter().map(|link| link.id).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    assert_eq!(ids[0].to_string().parse(), Ok(ids[0]));
    assert!(scene.chain.links().expect("readable")[0].from <= UnixMs(scene.lab.now().0));
}
