//! Files for `curl`: with a client certificate as `webos whoami --curl` prints it, and refused without.

use serde_json::Value;
use std::process::{Command, Stdio};
use webos_tests::{Home, LocalWorld, Realm};

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
    let options: Vec<String> = options.filter_map(Value::as_str).map(String::from).collect();
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
    let bob = realm.user("bob");
    for (version, line) in [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")] {
        reads_and_writes(&realm, &bob, version, line);
    }
}

fn reads_and_writes(realm: &Realm, bob: &Home, version: &str, line: &str) {
    let alice = &realm.alice;
    std::fs::write(alice.beside().join("file"), "0123456789").expect("written");
    alice.ok(["put", "file", &realm.path("a b.txt")]);
    let mut hers = known(alice);
    hers.options.push(version.into());
    let whole = hers.ask(alice, "a%20b.txt", &[]);
    assert!(whole.head.starts_with(line), "{}", whole.head);
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
    // Refused before the body is looked at, and yet curl hears why, every time.
    for _ in 0..20 {
        assert_eq!(hers.ask(alice, "a%20b.txt", &put).status, 412, "that version is gone");
    }
    assert_eq!(alice.ok(["cat", &realm.path("a b.txt")]), "changed");
    assert_eq!(hers.ask(alice, "none", &[]).status, 404);
    assert!((400..500).contains(&hers.ask(alice, "%2e%2e/x", &["--path-as-is"]).status));

    let mut his = known(bob);
    his.options.push(version.into());
    assert_eq!(his.ask(bob, "a%20b.txt", &[]).status, 403);
    assert_eq!(his.ask(bob, "none", &[]).status, 403, "the same whether it exists or not");
    assert_eq!(his.ask(bob, "a%20b.txt", &["--request", "DELETE"]).status, 403);
    for _ in 0..20 {
        assert_eq!(his.ask(bob, "a%20b.txt", &put).status, 403);
    }
    let nobody = Known { options: hers.options[2..].to_vec(), base: hers.base.clone() };
    assert!(!nobody.options.iter().any(|option| option == "--cert"));
    assert_eq!(nobody.ask(alice, "a%20b.txt", &[]).status, 403);
    assert_eq!(nobody.ask(alice, "a%20b.txt", &put).status, 403);

    assert!((200..300).contains(&hers.ask(alice, "a%20b.txt", &["--request", "DELETE"]).status));
    assert_eq!(hers.ask(alice, "a%20b.txt", &[]).status, 404);
}

#[test]
fn the_printed_curl_works_pasted_into_a_shell() {
    let realm = Realm::start();
    let alice = &realm.alice;
    std::fs::write(alice.beside().join("file"), "pasted").expect("written");
    alice.ok(["put", "file", &realm.path("file")]);
    let printed = alice.ok(["whoami", "--curl"]);
    let line = printed.trim().replace("VOLUME.test.localhost/PATH", &realm.path("file"));
    assert!(line.starts_with("curl ") && line.ends_with("/file"), "{printed}");
    let output = Command::new("sh").args(["-c", &line]).current_dir(alice.beside()).output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "pasted", "{line}: {said}");
}

#[test]
fn the_console_answers_its_owner_alone() {
    let home = Home::new();
    let site = home.beside().join("site");
    std::fs::create_dir(&site).expect("made");
    std::fs::write(site.join("index.html"), "mine").expect("written");
    let world = LocalWorld::start(home, &["site", "--surrogates", "0"]);
    let (base, token) = world.console.split_once("?token=").expect("a link with a token");
    let port = base.trim_end_matches('/').rsplit(':').next().expect("a port");
    let header = format!("webos-token: {token}");
    let cookie = format!("Cookie: webos-console-{port}={token}");
    let (evil, own) = ("Origin: http://evil.example", format!("Origin: http://127.0.0.1:{port}"));
    let (wrong, local) = (format!("Host: evil.example:{port}"), format!("Host: localhost:{port}"));
    let link = format!("?token={token}");
    let post = ["--request", "POST", "-H"];
    let cases: Vec<(u16, &str, Vec<&str>)> = vec![
        (200, "api/state", vec!["-H", &header]),
        (200, "api/state", vec!["-H", &cookie]),
        (200, "api/state", vec!["-H", &header, "-H", &local]),
        (303, &link, vec![]),
        (401, "", vec![]),
        (401, "api/state", vec![]),
        (401, "api/state", vec!["-H", "webos-token: guessed"]),
        (421, "api/state", vec!["-H", &header, "-H", &wrong]),
        (421, &link, vec!["-H", &wrong]),
        (421, "api/state", vec!["-H", &header, "-H", "Host: 127.0.0.1"]),
        (403, "api/state", vec!["-H", &header, "-H", evil]),
        (403, "api/state", vec!["-H", &cookie, "-H", "Sec-Fetch-Site: cross-site"]),
        (403, "api/calm", [&post[..], &[&cookie, "-H", evil]].concat()),
        (403, "api/calm", [&post[..], &[&cookie]].concat()),
        (401, "api/calm", [&post[..], &[&own]].concat()),
        (200, "api/calm", [&post[..], &[&cookie, "-H", &own]].concat()),
        (405, "api/calm", vec!["-H", &header]),
        (404, "api/nothing", vec!["-H", &header]),
    ];
    for (status, path, words) in cases {
        let url = format!("{base}{path}");
        let answer = curl(&world.home, &[words.clone(), vec![&url]].concat());
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{path} {words:?}: {body}");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{}", answer.head);
        assert!(!body.contains(token), "no answer holds the token");
    }
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
