use super::*;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

/// A shelf in memory that counts what is done to it, and fails while told to.
#[derive(Default)]
pub struct Memory {
    pub state: Mutex<State>,
}

#[derive(Default)]
pub struct State {
    files: BTreeMap<VolumePath, Vec<u8>>,
    folders: BTreeSet<VolumePath>,
    pub broken: bool,
}

impl State {
    fn has_entries(&self, path: &VolumePath) -> bool {
        self.files.keys().chain(&self.folders).any(|other| other != path && other.below(path).is_some())
    }
}

impl Shelf for Arc<Memory> {
    fn list(&self) -> BoxFuture<'_, Result<Listed, Problem>> {
        let state = self.state.lock().expect("not poisoned");
        let files =
            state.files.iter().map(|(path, bytes)| (path.clone(), Manifest::of(bytes).expect("small").root()));
        let listed = Listed { files: files.collect(), folders: state.folders.clone() };
        Box::pin(async move { Ok(listed) })
    }

    fn put<'a>(&'a self, path: &'a VolumePath, body: wire::Body) -> BoxFuture<'a, Result<Digest, Problem>> {
        Box::pin(async move {
            let bytes = http_body_util::BodyExt::collect(body).await.expect("whole").to_bytes();
            let mut state = self.state.lock().expect("not poisoned");
            if state.broken {
                return Err(Problem::new(Code::Unavailable, "the home is away"));
            }
            assert!(!state.has_entries(path), "{path} is a folder");
            let above: Vec<_> = std::iter::successors(path.parent(), VolumePath::parent).collect();
            assert!(above.iter().all(|above| !state.files.contains_key(above)), "a file is above {path}");
            state.folders.extend(above);
            state.files.insert(path.clone(), bytes.to_vec());
            Ok(Manifest::of(&bytes).expect("small").root())
        })
    }

    fn remove<'a>(&'a self, path: &'a VolumePath) -> BoxFuture<'a, Result<(), Problem>> {
        let mut state = self.state.lock().expect("not poisoned");
        let done = if state.has_entries(path) {
            Err(Problem::new(Code::Exists, "not empty"))
        } else if state.files.remove(path).is_some() || state.folders.remove(path) {
            Ok(())
        } else {
            Err(Problem::new(Code::NotFound, "nothing there"))
        };
        Box::pin(async move { done })
    }
}

impl Memory {
    pub fn texts(&self) -> Vec<String> {
        let state = self.state.lock().expect("not poisoned");
        state.files.iter().map(|(path, bytes)| format!("{path}={}", String::from_utf8_lossy(bytes))).collect()
    }
}

struct Scene {
    dir: tempfile::TempDir,
    memory: Arc<Memory>,
    mirror: Mirror<Arc<Memory>>,
}

impl Scene {
    async fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let memory = Arc::new(Memory::default());
        let tree = Tree::open(&dir.path().canonicalize().expect("there")).expect("opens");
        let mirror = Mirror::begin(tree, memory.clone()).await.expect("begins");
        let mut scene = Self { dir, memory, mirror };
        for (path, text) in files {
            scene.write(path, text);
        }
        scene.sync(&[""]).await;
        scene
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let place = self.at(path);
        fs::create_dir_all(place.parent().unwrap_or(Path::new("/"))).expect("made");
        fs::write(place, text).expect("written");
    }

    async fn sync(&mut self, below: &[&str]) -> Synced {
        let below: Vec<_> = below.iter().map(|text| VolumePath::new(text).expect("valid")).collect();
        self.mirror.sync(&below).await.expect("synced")
    }
}

fn counts(synced: &Synced) -> (usize, usize) {
    (synced.copied.len(), synced.removed.len())
}

#[tokio::test]
async fn only_what_differs_is_copied() {
    let mut scene = Scene::new(&[("index.html", "i"), ("a/one", "1"), ("a/b/two", "2")]).await;
    assert_eq!(scene.memory.texts(), ["a/b/two=2", "a/one=1", "index.html=i"]);
    assert_eq!(counts(&scene.sync(&[""]).await), (0, 0));
    scene.write("a/one", "1");
    assert_eq!(counts(&scene.sync(&["a/one"]).await), (0, 0), "rewritten with the same content");
    scene.write("a/one", "one");
    scene.write("c/new", "n");
    assert_eq!(counts(&scene.sync(&["a/one"]).await), (1, 0), "only what was named is looked at");
    assert_eq!(counts(&scene.sync(&["c"]).await), (1, 0));
    let mut again = Mirror::begin(Tree::open(scene.mirror.tree().path()).expect("opens"), scene.memory.clone())
        .await
        .expect("begins");
    let done = again.sync(&[VolumePath::root()]).await.expect("synced");
    assert_eq!(counts(&done), (0, 0), "a new start reads what the copy holds");
}

#[tokio::test]
async fn what_is_gone_is_removed_with_its_folders() {
    let mut scene = Scene::new(&[("index.html", "i"), ("a/b/c/deep", "d"), ("a/one", "1")]).await;
    fs::remove_dir_all(scene.at("a/b")).expect("removed");
    assert_eq!(counts(&scene.sync(&["a/b"]).await), (0, 1));
    assert_eq!(scene.memory.texts(), ["a/one=1", "index.html=i"]);
    let folders: Vec<_> =
        scene.memory.state.lock().expect("mine").folders.iter().map(ToString::to_string).collect();
    assert_eq!(folders, ["", "a"]);
}

#[tokio::test]
async fn a_file_becomes_a_folder_and_back() {
    let mut scene = Scene::new(&[("x", "file")]).await;
    fs::remove_file(scene.at("x")).expect("removed");
    scene.write("x/y/z", "deep");
    assert_eq!(counts(&scene.sync(&["x/y/z"]).await), (1, 1), "also when only the new path is named");
    assert_eq!(scene.memory.texts(), ["x/y/z=deep"]);
    fs::remove_dir_all(scene.at("x")).expect("removed");
    scene.write("x", "file");
    scene.sync(&["x"]).await;
    assert_eq!(scene.memory.texts(), ["x=file"]);
}

#[tokio::test]
async fn a_failed_run_is_repeated_by_the_next() {
    let mut scene = Scene::new(&[("a", "1")]).await;
    scene.write("a", "2");
    scene.memory.state.lock().expect("mine").broken = true;
    let problem = scene.mirror.sync(&[VolumePath::root()]).await.expect_err("the home is away");
    assert_eq!(problem.code, Code::Unavailable);
    scene.memory.state.lock().expect("mine").broken = false;
    assert_eq!(counts(&scene.sync(&[""]).await), (1, 0));
    assert_eq!(scene.memory.texts(), ["a=2"]);
}

#[tokio::test]
async fn a_folder_that_was_replaced_is_followed_and_one_that_is_gone_takes_nothing_along() {
    let mut scene = Scene::new(&[("site/a", "1")]).await;
    let site = scene.at("site").canonicalize().expect("there");
    let mut mirror =
        Mirror::begin(Tree::open(&site).expect("opens"), Arc::new(Memory::default())).await.expect("begins");
    mirror.sync(&[VolumePath::root()]).await.expect("synced");
    assert!(!mirror.reopen().expect("the same"));
    fs::remove_dir_all(&site).expect("removed");
    assert!(mirror.reopen().is_err());
    scene.write("site/b", "2");
    assert!(mirror.reopen().expect("there again"));
    let done = mirror.sync(&[VolumePath::root()]).await.expect("synced");
    assert_eq!(counts(&done), (1, 1));
    scene.sync(&[""]).await;
}

#[tokio::test]
async fn large_files_travel_whole() {
    let text = "0123456789abcdef".repeat(200_000);
    let scene = Scene::new(&[("large", &text)]).await;
    assert_eq!(scene.memory.state.lock().expect("mine").files.values().next().map(Vec::len), Some(text.len()));
    assert_eq!(
        scene.mirror.there.files.values().next(),
        Some(&Manifest::of(text.as_bytes()).expect("small").root())
    );
}
