use super::*;
use std::time::Duration;

const READY: &str = r#"echo '{"event":"ready","principal":"spiffe://a/server/n1","address":"127.0.0.1:9"}'"#;
const SOON: Duration = Duration::from_secs(20);

struct Scene {
    dir: tempfile::TempDir,
    tales: mpsc::Receiver<(Label, Tale)>,
    tell: mpsc::Sender<(Label, Tale)>,
    tasks: TaskTracker,
}

impl Scene {
    fn new() -> Self {
        let (tell, tales) = mpsc::channel(16);
        Self { dir: tempfile::tempdir().expect("a folder"), tales, tell, tasks: TaskTracker::new() }
    }

    async fn start(&self, script: &str) -> Result<Child, Problem> {
        let spec = Spec {
            name: Label::new("n1").expect("valid"),
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            log: self.dir.path().join("node.log"),
        };
        let expected = "spiffe://a/server/n1".parse().expect("valid");
        Child::start(&spec, &expected, self.tell.clone(), &self.tasks).await
    }

    async fn tale(&mut self) -> Tale {
        timeout(SOON, self.tales.recv()).await.expect("soon").expect("told").1
    }

    /// Every task, and so every process, has ended.
    async fn empty(self) {
        drop(self.tales);
        self.tasks.close();
        timeout(SOON, self.tasks.wait()).await.expect("nothing is left");
    }
}

fn runs(pid: u32) -> bool {
    std::fs::exists(format!("/proc/{pid}")).expect("a /proc")
}

#[tokio::test]
async fn a_node_tells_and_ends_when_its_input_closes() {
    let mut scene = Scene::new();
    let notice = r#"trap '' TERM; echo '{"event":"notice","text":"hello","notice":{"event":"trouble"}}'"#;
    let child = scene.start(&format!("{READY}; echo noise; {notice}; cat; exit 3")).await.expect("started");
    assert_eq!(child.address, "127.0.0.1:9");
    assert!(matches!(scene.tale().await, Tale::Said(Word::Notice { text, .. }) if text == "hello"));
    let pid = child.pid;
    assert!(runs(pid));
    child.end().await;
    assert!(!runs(pid));
    assert!(matches!(scene.tale().await, Tale::Ended(status) if status.code() == Some(3)), "by itself");
    scene.empty().await;
}

#[tokio::test]
async fn a_killed_node_is_told_of() {
    use std::os::unix::process::ExitStatusExt;
    let mut scene = Scene::new();
    let child = scene.start(&format!("{READY}; cat")).await.expect("started");
    child.kill().await;
    assert!(matches!(scene.tale().await, Tale::Ended(status) if status.signal() == Some(9)));
    child.kill().await;
    child.end().await;
    scene.empty().await;
}

#[tokio::test]
async fn a_node_that_will_not_end_is_killed() {
    let scene = Scene::new();
    let child =
        scene.start(&format!("trap '' TERM; {READY}; while true; do sleep 0.1; done")).await.expect("started");
    let pid = child.pid;
    child.end().await;
    assert!(!runs(pid));
    scene.empty().await;
}

#[tokio::test]
async fn a_node_that_does_not_start_says_why() {
    let scene = Scene::new();
    let problem = scene.start("echo one >&2; echo 'the disk is full' >&2; exit 1").await.expect_err("ended");
    assert!(problem.detail.contains("ended at once") && problem.detail.contains("the disk is full"), "{problem}");
    assert!(problem.next.contains("node.log"), "{problem}");
    let other = READY.replace("n1", "n2");
    let problem = scene.start(&format!("{other}; cat")).await.expect_err("another");
    assert!(problem.detail.contains("instead of spiffe://a/server/n1"), "{problem}");
    scene.empty().await;
}

#[tokio::test]
async fn dropping_a_node_ends_it() {
    let mut scene = Scene::new();
    drop(scene.start(&format!("{READY}; cat")).await.expect("started"));
    assert!(matches!(scene.tale().await, Tale::Ended(_)));
    scene.empty().await;
}

#[tokio::test]
async fn long_lines_are_left_out() {
    let long = "x".repeat(3 * MAX_LINE_BYTES);
    let text = format!("{long}\nshort\nlast");
    let mut lines = Lines::new(Some(text.as_bytes()));
    let mut buffer = Vec::new();
    let mut found = Vec::new();
    for _ in 0..2 {
        found.push(lines.next(&mut buffer).await);
    }
    assert!(found[0].len() < MAX_LINE_BYTES);
    assert_eq!(found[1], "short");
    assert!(timeout(Duration::ZERO, lines.next(&mut buffer)).await.is_err(), "nothing ended the last line");
}

#[test]
fn a_log_begins_anew_when_it_is_long() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("node.log");
    let log = fresh_log(&path).expect("made");
    log.set_len(MAX_LOG_BYTES).expect("grown");
    bound_log(&path).expect("looked at");
    assert_eq!(log.metadata().expect("there").len(), MAX_LOG_BYTES);
    log.set_len(MAX_LOG_BYTES + 1).expect("grown");
    bound_log(&path).expect("cut");
    std::io::Write::write_all(&mut &log, b"on").expect("written");
    assert_eq!(std::fs::read(&path).expect("there"), b"on");
}
