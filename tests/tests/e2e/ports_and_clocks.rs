//! Ports that are taken, clocks that are off, headers without end: each a clear error, and nothing hangs.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use webos_tests::{Home, NodeProcess, Realm, Talking};

fn taken() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    (listener, address)
}

#[test]
fn a_taken_port_is_named_or_replaced() {
    let (_held, address) = taken();
    let home = Home::new();
    home.ok(["realm", "init", "test.localhost", "--unencrypted"]);
    let told = home.call(["node", "run", "--listen", &address]).run();
    told.fails(5, &[&address, "in use", "--listen"]);
    let everywhere = home.call(["node", "run", "--listen", "0.0.0.0:0"]).run();
    everywhere.fails(2, &["others cannot reach a node at 0.0.0.0:", "--address HOST:"]);
    home.call(["proxy", "--listen", &address]).run().fails(5, &[&address, "--listen"]);
    home.call(["proxy", "--listen", "0.0.0.0:0"]).run().fails(2, &["is not loopback"]);
    let command = home.call(["proxy", "--json"]).env("WEBOS_PROXY_LISTEN", &address).into_command();
    let mut proxy = Talking::start(command, false);
    let ready = proxy.wait_for("ready", |event| event["event"] == "ready");
    assert_ne!(ready["address"].as_str(), Some(address.as_str()), "another one, and it says which");
    proxy.signal(rustix::process::Signal::INT);
    assert_eq!(proxy.end(), Some(0));
}

#[test]
fn two_nodes_in_one_folder_are_refused() {
    let home = Home::new();
    home.ok(["realm", "init", "test.localhost", "--unencrypted"]);
    let mut node = NodeProcess::start(home, &[]);
    let pid = node.process().pid().to_string();
    node.home.call(["node", "run"]).run().fails(1, &["runs already", &pid]);
    node.home.call(["realm", "init", "other.localhost"]).run().fails(1, &["is there already"]);
    let status = node.home.call(["status", "--json"]).run().json();
    assert_eq!(status["nodes"][0]["pid"].as_u64(), Some(node.process().pid().into()));
    node.stop();
    let status = node.home.call(["status", "--json"]).run().json();
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_clock_that_is_off_is_a_clear_error_and_loses_nothing() {
    let realm = Realm::start();
    let alice = &realm.alice;
    std::fs::write(alice.beside().join("file"), "kept").expect("written");
    let path = realm.path("file");
    alice.ok(["put", "file", &path]);
    const HOUR: i64 = 3600;
    for (offset, words) in
        [(-HOUR, vec!["cat", &path]), (-HOUR, vec!["put", "file", &path]), (40 * 24 * HOUR, vec!["cat", &path])]
    {
        let output = alice.call(&words).env("WEBOS_CLOCK_OFFSET_S", offset.to_string()).run();
        assert!(matches!(output.code, Some(1..=5)), "{offset} {words:?}: {output:?}");
        let said = &output.stderr;
        assert!(said.contains("clock") || said.contains("not valid yet") || said.contains("expired"), "{said}");
    }
    let doctor = alice.call(["doctor"]).env("WEBOS_CLOCK_OFFSET_S", (-HOUR).to_string()).run();
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    assert!(doctor.stdout().contains("set the clock"), "{}", doctor.stdout());
    // An hour ahead everything still holds.
    let ahead = alice.call(["cat", &path]).env("WEBOS_CLOCK_OFFSET_S", HOUR.to_string()).run();
    assert_eq!(ahead.succeeds(), "kept");
    assert_eq!(alice.ok(["cat", &path]), "kept", "nothing is lost");
}

#[test]
fn a_node_whose_clock_was_ahead_starts_again_when_it_is_right() {
    let home = Home::new();
    home.ok(["realm", "init", "test.localhost", "--unencrypted"]);
    let words = ["node", "run", "--json", "--until-stdin-closes", "--listen", "127.0.0.1:0"];
    let ahead = home.call(words).env("WEBOS_CLOCK_OFFSET_S", "3600").into_command();
    let mut node = Talking::start(ahead, true);
    node.wait_for("ready", |event| event["event"] == "ready");
    node.signal(rustix::process::Signal::TERM);
    assert_eq!(node.end(), Some(0));
    // What it signed then is of a time that has not come; it holds the authority, and signs anew.
    NodeProcess::start(home, &[]).stop();
}

/// Sends a header without end; gives how much was taken before the other side closed, and what it said.
fn endless_header(address: &str) -> (u64, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(webos_tests::DEADLINE)).expect("a time limit");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: site.test.localhost\r\nX-Huge: ").expect("begun");
    let piece = [b'x'; 64 * 1024];
    let mut sent = 0;
    while sent < 1 << 30 {
        match stream.write(&piece) {
            Ok(count) => sent += count as u64,
            Err(error) => {
                let closed = matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
                assert!(closed, "{error}");
                break;
            }
        }
    }
    let mut said = Vec::new();
    // A reset may eat the answer; that the other side closed is what counts.
    let _ = stream.read_to_end(&mut said);
    (sent, String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_gigabyte_of_header_is_cut_off_early() {
    let home = Home::new();
    home.ok(["realm", "init", "test.localhost", "--unencrypted"]);
    let mut proxy = Talking::start(home.call(["proxy", "--json", "--listen", "127.0.0.1:0"]).into_command(), false);
    let ready = proxy.wait_for("ready", |event| event["event"] == "ready");
    let address = ready["address"].as_str().expect("an address");
    let status = home.call(["status", "--json"]).run().json();
    assert_eq!(status["proxies"][0]["address"], address, "{status}");
    let (sent, said) = endless_header(address);
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    let node = NodeProcess::start(home, &[]);
    let (sent, _) = endless_header(&node.address);
    assert!(sent < 64 << 20, "{sent} bytes were taken by the node");
    node.home.call(["status", "--json"]).run().json();
}
