//! Faults of a node as others see them, and as its owner does.

use webos_tests::{Home, Realm};

#[test]
fn a_fault_shows_nothing_of_the_disk_to_others_and_all_of_it_to_the_nodes_owner() {
    let mut realm = Realm::start();
    let carol = Home::new();
    let line = realm.first.home.ok(["realm", "invite", "user", "carol"]);
    let members = realm.first.home.path().join("authority/members");
    std::fs::write(members.join("user.carol"), "damaged").expect("written");
    let place = members.to_str().expect("text").to_string();

    let refused = carol.call(["user", "register"]).input(line).run();
    refused.fails(1, &["an error inside the node home; its log has it under ", "whoever runs the node"]);
    assert!(!refused.stderr.contains("authority") && !refused.stderr.contains(&place), "{}", refused.stderr);
    let incident = refused.stderr.split_once("its log has it under ").expect("there").1;
    let incident: String = incident.chars().take_while(char::is_ascii_hexdigit).collect();
    assert_eq!(incident.len(), 12);

    realm.first.home.call(["realm", "revoke", "user/carol", "--yes"]).run().fails(1, &[&place, "is damaged"]);
    realm.first.stop_and(|log| {
        let of_it = log.lines().find(|line| line.contains(&incident)).expect("on record");
        assert!(of_it.contains(&place) && of_it.contains("is damaged"), "{of_it}");
        assert_eq!(log.matches("met a fault of this node").count(), 1, "the owner was told itself: {log}");
    });
}
