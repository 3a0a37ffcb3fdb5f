//! What a local world opens to others, read from the kernel's own tables.

use std::collections::BTreeSet;
use std::fs;
use webos_tests::{Home, LocalWorld};

/// The state of a listening TCP socket in `/proc/net/tcp`.
const LISTENS: &str = "0A";
/// 127.0.0.1 there: a number in the machine's own order.
const LOOPBACK: &str = "0100007F";

/// Inode numbers of this process's sockets.
fn sockets(pid: u32) -> BTreeSet<String> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter_map(|to| Some(to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect()
}

/// Local addresses of these sockets in one of the kernel's tables; of TCP, those that listen.
fn bound(table: &str, inodes: &BTreeSet<String>) -> Vec<String> {
    let Ok(text) = fs::read_to_string(format!("/proc/net/{table}")) else { return Vec::new() };
    let rows = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(9).is_some_and(|inode| inodes.contains(*inode)))
        .filter(|row| !table.starts_with("tcp") || row[3] == LISTENS)
        .map(|row| row[1].to_owned())
        .collect()
}

#[test]
fn a_local_world_listens_on_127_0_0_1_only() {
    let home = Home::new();
    let site = home.beside().join("site");
    fs::create_dir(&site).expect("made");
    fs::write(site.join("index.html"), "hello").expect("written");
    let mut world = LocalWorld::start(home, &["site"]);
    world.home.ok(["fetch", "service://site.demo.localhost/index.html"]);
    let up = world.process().pid();
    for pid in world.nodes.iter().map(|node| node.pid).chain([up]) {
        let inodes = sockets(pid);
        let listening = bound("tcp", &inodes);
        assert!(!listening.is_empty(), "process {pid} listens: its node, or the console");
        assert!(listening.iter().all(|address| address.starts_with(LOOPBACK)), "{pid}: {listening:?}");
        for table in ["tcp6", "udp", "udp6"] {
            let others = bound(table, &inodes);
            assert!(others.is_empty(), "{pid} {table}: {others:?}");
        }
    }
    world.stop();
}
