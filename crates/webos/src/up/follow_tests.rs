use super::super::limits::{MAX_CHANGED_PATHS, ROOT_CHECK};
use super::super::mirror::tests::Memory;
use super::super::scan::Tree;
use super::*;
use notify::event::{CreateKind, DataChange};
use std::fs;
use std::time::Duration;
use tokio::time::timeout;

/// A change has to be served within this time.
const SOON: Duration = Duration::from_secs(1);

struct Scene {
    dir: tempfile::TempDir,
    memory: Arc<Memory>,
    told: mpsc::UnboundedReceiver<Told>,
    stop: CancellationToken,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Scene {
    /// A follower of `site` within a temporary folder.
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("site")).expect("made");
        let memory = Arc::new(Memory::default());
        let tree = Tree::open(&dir.path().join("site").canonicalize().expect("there")).expect("opens");
        let mirror = Mirror::begin(tree, memory.clone()).await.expect("begins");
        let (sender, told) = mpsc::unbounded_channel();
        let mut follower = Follower::new(mirror, move |word| sender.send(word).expect("heard"));
        follower.sync_all().await.expect("synced");
        let stop = CancellationToken::new();
        tokio::spawn(follower.run(stop.clone()));
        Self { dir, memory, told, stop }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("site").join(path)
    }

    /// Waits for words until the copy holds exactly this.
    async fn holds(&mut self, expected: &[&str], within: Duration) {
        let waited = timeout(within, async {
            while self.memory.texts() != expected {
                self.told.recv().await.expect("the follower lives");
            }
        });
        assert!(waited.await.is_ok(), "{:?} instead of {expected:?}", self.memory.texts());
    }
}

#[tokio::test]
async fn a_save_is_served_within_a_second() {
    let mut scene = Scene::new().await;
    fs::write(scene.at("a"), "1").expect("written");
    scene.holds(&["a=1"], SOON).await;
    fs::write(scene.at("a"), "2").expect("written");
    scene.holds(&["a=2"], SOON).await;
    fs::write(scene.at(".a.swp"), "3").expect("written");
    fs::rename(scene.at(".a.swp"), scene.at("a")).expect("renamed");
    scene.holds(&["a=3"], SOON).await;
    fs::create_dir_all(scene.at("b/c")).expect("made");
    fs::write(scene.at("b/c/d"), "4").expect("written");
    scene.holds(&["a=3", "b/c/d=4"], SOON).await;
    fs::rename(scene.at("b"), scene.at("e")).expect("renamed");
    scene.holds(&["a=3", "e/c/d=4"], SOON).await;
    fs::remove_dir_all(scene.at("e")).expect("removed");
    fs::remove_file(scene.at("a")).expect("removed");
    scene.holds(&[], SOON).await;
}

#[tokio::test]
async fn a_file_that_is_kept_open_is_copied_when_it_is_quiet() {
    use std::io::Write;
    let mut scene = Scene::new().await;
    let mut log = fs::File::create(scene.at("log")).expect("made");
    log.write_all(b"one").expect("written");
    scene.holds(&["log=one"], 2 * SOON).await;
    log.write_all(b" two").expect("written");
    scene.holds(&["log=one two"], 2 * SOON).await;
}

#[tokio::test]
async fn what_fails_is_told_once_and_done_later() {
    let mut scene = Scene::new().await;
    scene.memory.state.lock().expect("mine").broken = true;
    fs::write(scene.at("a"), "1").expect("written");
    let word = timeout(SOON, scene.told.recv()).await.expect("soon");
    assert!(
        matches!(&word, Some(Told::Failed(problem)) if problem.detail.contains("the home is away")),
        "{word:?}"
    );
    scene.memory.state.lock().expect("mine").broken = false;
    let word = timeout(3 * ROOT_CHECK, scene.told.recv()).await.expect("soon");
    assert_eq!(word, Some(Told::Recovered));
    scene.holds(&["a=1"], SOON).await;
}

#[tokio::test]
async fn a_folder_that_is_made_anew_is_followed_and_its_absence_removes_nothing() {
    let mut scene = Scene::new().await;
    fs::write(scene.at("a"), "1").expect("written");
    scene.holds(&["a=1"], SOON).await;
    let site = scene.at("");
    fs::rename(&site, site.with_file_name("away")).expect("renamed");
    loop {
        let word = timeout(3 * ROOT_CHECK, scene.told.recv()).await.expect("soon");
        if matches!(word, Some(Told::Failed(_))) {
            break;
        }
    }
    assert_eq!(scene.memory.texts(), ["a=1"]);
    fs::create_dir(&site).expect("made");
    fs::write(scene.at("b"), "2").expect("written");
    scene.holds(&["b=2"], 3 * ROOT_CHECK).await;
    fs::write(scene.at("b"), "3").expect("written");
    scene.holds(&["b=3"], SOON).await;
}

#[tokio::test]
async fn a_hundred_saves_at_once_arrive() {
    let mut scene = Scene::new().await;
    let expected: Vec<String> = (100..200).map(|number| format!("{number}={number}")).collect();
    for number in 100..200 {
        fs::write(scene.at(&number.to_string()), number.to_string()).expect("written");
    }
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    scene.holds(&expected, 5 * SOON).await;
}

#[test]
fn events_become_reports() {
    let root = Path::new("/site");
    let event = |kind, path: &str| reports(root, &Event::new(kind).add_path(PathBuf::from(path)));
    let path = |text| VolumePath::new(text).expect("valid");
    let close = EventKind::Access(AccessKind::Close(AccessMode::Write));
    let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    for (kind, place, expected) in [
        (close, "/site/a", vec![Report::Changed(path("a"))]),
        (EventKind::Create(CreateKind::File), "/site/a/b", vec![Report::Changed(path("a/b"))]),
        (data, "/site/a", vec![Report::Written(path("a"))]),
        (close, "/site", vec![Report::Changed(VolumePath::root())]),
        (EventKind::Access(AccessKind::Read), "/site/a", vec![]),
        (close, "/site/.git/index", vec![]),
        (close, "/elsewhere", vec![]),
    ] {
        assert_eq!(event(kind, place), expected, "{kind:?} {place}");
    }
}

#[test]
fn too_many_places_become_everything() {
    let mut places = Places::default();
    let path = |number: usize| VolumePath::new(&number.to_string()).expect("valid");
    (0..MAX_CHANGED_PATHS).for_each(|number| places.add(path(number)));
    assert_eq!(places.paths.len(), MAX_CHANGED_PATHS);
    places.add(path(MAX_CHANGED_PATHS));
    assert_eq!(places.take(false), [VolumePath::root()]);
    assert!(places.is_empty());
    places.add(path(1));
    assert_eq!(places.take(true), [VolumePath::root()], "a link may lead there");
    places.add(path(1));
    assert_eq!(places.take(false), [path(1)]);
}
