//! The sample site: pages and pictures that are part of the program, and one large file that is computed, always
//! the same. What is there already is left as it is, so that a person can change it.

use super::limits::SAMPLE_BYTES;
use crate::home::cannot;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use terms::Problem;
use world::{Entropy, SimulatedEntropy};

/// From which the large file is computed.
const SEED: u64 = 0x0057_6562_4f53;
const LARGE: &str = "big.bin";
const PIECE: usize = 1 << 20;

macro_rules! files {
    ($($name:literal),*) => {
        &[$(($name, include_bytes!(concat!("../../../../web/sample/", $name)))),*]
    };
}

const FILES: &[(&str, &[u8])] = files!(
    "index.html",
    "pictures.html",
    "how.html",
    "style.css",
    "pictures/field.png",
    "pictures/ridge.png",
    "pictures/tide.svg"
);

/// Puts what is missing of the sample site into a folder.
pub fn make(folder: &Path) -> Result<(), Problem> {
    let failed = |error: io::Error| cannot("make the sample site in", folder, &error);
    fs::create_dir_all(folder.join("pictures")).map_err(failed)?;
    for (name, content) in FILES {
        match OpenOptions::new().write(true).create_new(true).mode(0o644).open(folder.join(name)) {
            Ok(mut file) => file.write_all(content).map_err(failed)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let large = folder.join(LARGE);
    if large.exists() {
        return Ok(());
    }
    // Under another name first: a start that is cut short leaves no short file.
    let draft = folder.join(".big.bin.new");
    write_large(&draft, SAMPLE_BYTES).and_then(|()| fs::rename(&draft, &large)).map_err(failed)
}

fn write_large(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    let entropy = SimulatedEntropy::new(SEED);
    let mut piece = vec![0; PIECE];
    let mut left = bytes;
    while left > 0 {
        entropy.fill(&mut piece);
        let part = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        file.write_all(&piece[..part])?;
        left -= part as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn the_large_file_is_always_the_same() {
        let dir = tempfile::tempdir().expect("a folder");
        let paths: Vec<PathBuf> = ["a", "b"].iter().map(|name| dir.path().join(name)).collect();
        for path in &paths {
            write_large(path, 3 * PIECE as u64 / 2).expect("written");
        }
        let read = |path: &PathBuf| fs::read(path).expect("there");
        assert_eq!(read(&paths[0]).len(), 3 * PIECE / 2);
        assert!(read(&paths[0]) == read(&paths[1]));
        let zeros = read(&paths[0]).iter().filter(|byte| **byte == 0).count();
        assert!((3 * PIECE / 2 / 300..3 * PIECE / 2 / 200).contains(&zeros), "{zeros}");
    }

    #[test]
    fn pages_name_only_what_is_there_and_what_was_changed_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("pictures")).expect("made");
        fs::write(dir.path().join("index.html"), "mine").expect("written");
        fs::write(dir.path().join(LARGE), "short").expect("written");
        make(dir.path()).expect("made");
        assert_eq!(fs::read(dir.path().join("index.html")).expect("there"), b"mine");
        for (name, content) in FILES.iter().filter(|(name, _)| name.ends_with(".html")) {
            let text = std::str::from_utf8(content).expect("text");
            for part in text.split(['"']).filter(|part| part.contains('.') && !part.contains([' ', '<', ':'])) {
                assert!(dir.path().join(part).exists(), "{name} names {part}");
            }
        }
        let usual = FILES
            .iter()
            .filter(|(_, content)| super::super::limits::SURGE_FILE_BYTES.contains(&(content.len() as u64)));
        assert!(usual.count() >= 3, "a surge has something to ask for");
    }
}
