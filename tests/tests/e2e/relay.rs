//! A relay: coherent while it hears from the home, silent when its lease is over.

use rustix::process::Signal;
use webos_tests::{Realm, eventually};

#[test]
fn a_relay_shows_each_change_at_the_next_request_and_ends_with_its_lease() {
    let mut realm = Realm::start();
    let r1 = realm.node("r1");
    let alice = &realm.alice;
    let file = |content: &str| std::fs::write(alice.beside().join("file"), content).expect("written");
    let path = realm.path("dir/file");
    let from = format!("r1@{}", r1.address);
    file("one");
    alice.ok(["put", "-p", "file", &path]);
    alice.call(["cat", "--from", &from, &path]).run().code_is(3);
    alice.ok(["acl", "grant", "server/r1", "r+relay", Realm::VOLUME, "-r"]);
    assert_eq!(alice.ok(["cat", "--from", &from, &path]), "one");
    for round in 0..10 {
        let content = format!("version {round}");
        file(&content);
        alice.ok(["put", "file", &path]);
        assert_eq!(alice.ok(["cat", "--from", &from, &path]), content, "at the next request");
    }
    assert_eq!(alice.ok(["ls", "--from", &from, &realm.path("dir")]), "file\n");

    // It checks its readers as the home would.
    let bob = realm.user("bob");
    bob.call(["cat", "--from", &from, &path]).run().fails(3, &["bob"]);
    alice.ok(["acl", "grant", "user/bob", "r", &path]);
    assert_eq!(bob.ok(["cat", "--from", &from, &path]), "version 9");
    alice.ok(["acl", "revoke", "user/bob", "r", &path]);
    bob.call(["cat", "--from", &from, &path]).run().fails(3, &["bob"]);

    // The volume's record has to be known to ask a relay while the name server is away: a client that runs on is.
    let url = realm.url("r1", &r1, "dir/file");
    let reader = Reader::new(alice, &url);
    assert_eq!(reader.read(), (200, "version 9".into()));
    realm.first.process().signal(Signal::STOP);
    assert_eq!(reader.read(), (200, "version 9".into()), "cached, under the lease");
    let said = eventually("the lease ends", || match reader.read() {
        (200, content) => {
            assert_eq!(content, "version 9");
            None
        }
        (status, said) => Some((status, said)),
    });
    assert_eq!(said.0, 503, "{}", said.1);
    assert!(said.1.contains("home"), "it names the home: {}", said.1);
    realm.first.process().signal(Signal::CONT);
    eventually("the relay serves again", || (reader.read() == (200, "version 9".into())).then_some(()));
}

/// Reads one URL as curl does: at the relay alone, without asking anybody else first.
pub struct Reader {
    words: Vec<String>,
}

impl Reader {
    /// Asks as alice.
    pub fn new(alice: &webos_tests::Home, url: &str) -> Self {
        let shown = alice.call(["whoami", "--curl", "--json"]).run().json();
        let options = shown["options"].as_array().expect("options").iter().filter_map(serde_json::Value::as_str);
        let mut words: Vec<String> = options.take_while(|word| *word != "--resolve").map(String::from).collect();
        let authority = url.trim_start_matches("https://").split('/').next().unwrap_or_default();
        words.extend(
            ["--silent", "--max-time", "20", "--write-out", "\n%{http_code}", "--resolve"].map(String::from),
        );
        words.extend([format!("{authority}:127.0.0.1"), url.to_string()]);
        Self { words }
    }

    /// Status and content.
    pub fn read(&self) -> (u16, String) {
        self.ask(&[])
    }

    /// The same of a request with further words.
    pub fn ask(&self, words: &[&str]) -> (u16, String) {
        let output =
            std::process::Command::new("curl").args(&self.words).args(words).output().expect("curl is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", ""));
        (status.parse().unwrap_or(0), body.to_string())
    }
}
