//! Files for `curl`: with a client certificate as `webos whoami --curl` prints it, and refused without.

use serde_json::Value;
use std::process::{Command, Stdio};
use webos_tests::{Home, Realm};

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
    code: Option<i32>,
}

impl Answer {
    fn header(&self, name: &str) -> String {
        let find = |line: &str| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
        };
        self.head.lines().find_map(find).unwrap_or_default()
    }
}

/// curl with these words; status, header and body of its answer.
fn curl(home: &Home, words: &[&str]) -> Answer {
    let head = home.beside().join("head");
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "30", "--dump-header"])
        .arg(&head)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("curl is installed");
    let head = std::fs::read_to_string(head).unwrap_or_default();
    let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Answer { status, head, body: output.stdout, code: output.status.code() }
}

struct Known {
    options: Vec<String>,
    base: String,
}

fn known(home: &Home) -> Known {
    let shown = home.call(["whoami", "--curl", "--json"]).run().json();
    let options = shown["options"].as_array().expect("options").iter();
    let options = options.filter_map(Value::as_str).map(String::from).collect();
    Known { options, base: format!("{}{}", shown["url"].as_str().expect("a url"), Realm::VOLUME) }
}

impl Known {
    fn ask(&self, home: &Home, path: &str, words: &[&str]) -> Answer {
        let url = format!("{}/{path}", self.base);
        let options: Vec<&str> = self.options.iter().map(String::as_str).chain(words.iter().copied()).collect();
        curl(home, &[options, vec![&url]].concat())
    }
}

#[test]
fn curl_reads_and_writes_with_rights_and_is_refused_without() {
    let realm = Realm::start();
    let (alice, bob) = (&realm.alice, realm.user("bob"));
    std::fs::write(alice.beside().join("file"), "0123456789").expect("written");
    alice.ok(["put", "file", &realm.path("a b.txt")]);
    let hers = known(alice);
    let whole = hers.ask(alice, "a%20b.txt", &[]);
    assert_eq!((whole.status, &whole.body[..]), (200, &b"0123456789"[..]), "{}", whole.head);
    assert_eq!(whole.header("content-security-policy"), "sandbox");
    assert_eq!(whole.header("x-content-type-options"), "nosniff");
    let etag = whole.header("etag");
    assert_eq!(etag.trim_matches('"').len(), 64, "{etag}");

    let part = hers.ask(alice, "a%20b.txt", &["--range", "2-4"]);
    assert_eq!(
        (part.status, &part.body[..], part.header("content-range")),
        (206, &b"234"[..], "bytes 2-4/10".into())
    );
    assert_eq!(hers.ask(alice, "a%20b.txt", &["--range", "10-"]).status, 416);
    let unchanged = hers.ask(alice, "a%20b.txt", &["-H", &format!("If-None-Match: {etag}")]);
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(hers.ask(alice, "a%20b.txt", &["--head"]).header("content-length"), "10");

    let condition = format!("If-Match: {etag}");
    let put = ["--request", "PUT", "--data-binary", "changed", "-H", &condition];
    let first = hers.ask(alice, "a%20b.txt", &put);
    assert!((200..300).contains(&first.status), "{}", first.head);
    assert_ne!(first.header("etag"), etag);
    assert_eq!(hers.ask(alice, "a%20b.txt", &put).status, 412, "that version is gone");
    assert_eq!(alice.ok(["cat", &realm.path("a b.txt")]), "changed");
    assert_eq!(hers.ask(alice, "none", &[]).status, 404);
    assert!((400..500).contains(&hers.ask(alice, "%2e%2e/x", &["--path-as-is"]).status));

    let his = known(&bob);
    assert_eq!(his.ask(&bob, "a%20b.txt", &[]).status, 403);
    assert_eq!(his.ask(&bob, "none", &[]).status, 403, "the same whether it exists or not");
    assert_eq!(his.ask(&bob, "a%20b.txt", &["--request", "DELETE"]).status, 403);
    let nobody = Known { options: hers.options[2..].to_vec(), base: hers.base.clone() };
    assert!(!nobody.options.iter().any(|option| option == "--cert"));
    assert_eq!(nobody.ask(alice, "a%20b.txt", &[]).status, 403);

    assert!((200..300).contains(&hers.ask(alice, "a%20b.txt", &["--request", "DELETE"]).status));
    assert_eq!(hers.ask(alice, "a%20b.txt", &[]).status, 404);
}

#[test]
fn nothing_answers_without_tls() {
    let realm = Realm::start();
    let answer = curl(&realm.alice, &[&format!("http://{}/{}/", realm.first.address, Realm::VOLUME)]);
    assert_eq!(answer.status, 0, "{}", answer.head);
    assert_ne!(answer.code, Some(0));
}

#[test]
fn a_huge_header_is_refused_and_harms_nobody() {
    let realm = Realm::start();
    let alice = &realm.alice;
    let hers = known(alice);
    let file = alice.beside().join("header");
    std::fs::write(&file, format!("X-Huge: {}\n", "x".repeat(1 << 20))).expect("written");
    let header = format!("@{}", file.display());
    for version in ["--http1.1", "--http2"] {
        let answer = hers.ask(alice, "", &[version, "-H", &header]);
        assert!(answer.status == 431 || answer.status == 0, "{version}: {}", answer.head);
    }
    assert_eq!(hers.ask(alice, "", &[]).status, 200, "the node goes on");
}
