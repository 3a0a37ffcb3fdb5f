//! The files of ours, as text: what is built, fetched or generated is left out.

use anyhow::{Context, Result};
use std::path::Path;

/// Folders that hold no source of ours.
const NOT_OURS: [&str; 5] = ["target", "node_modules", "dist", ".git", "mutants.out"];

/// Paths below the root that end in one of `ends`, with their text, sorted.
pub fn read(root: &Path, ends: &[&str]) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                if !NOT_OURS.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if ends.iter().any(|end| name.ends_with(end)) {
                let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
                let below = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                found.push((below, text));
            }
        }
    }
    found.sort();
    Ok(found)
}
