//! The slice's goals: fronts against nginx, `webos fetch` against curl, recruiting, start. One world and one nginx
//! serve the same files of the same folder; all sizes and goals stand in `bench/slice.toml`.

mod fetch;
mod front;
mod life;

use crate::Options;
use crate::nginx::Nginx;
use crate::report::Report;
use crate::world::World;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

const CONFIG: &str = include_str!("../../slice.toml");

#[derive(Deserialize)]
struct Config {
    pairs: usize,
    front: front::Config,
    fetch: fetch::Config,
    surge: life::SurgeConfig,
    up: life::UpConfig,
    nginx: NginxConfig,
}

#[derive(Deserialize)]
struct NginxConfig {
    config: String,
}

/// What all rows share.
struct Stage<'a> {
    options: &'a Options,
    config: Config,
    folder: TempDir,
}

impl Stage<'_> {
    fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    /// A world over the files, with a folder of its own for identity and data.
    async fn world(&self, name: &str) -> Result<World> {
        let mut command = Command::new(&self.options.webos);
        command.arg("up").arg(self.files()).args(["--json", "--link", "none", "--fresh"]);
        World::start(command, &self.folder.path().join(name), Duration::from_secs(120)).await
    }
}

/// Runs the whole table.
pub async fn run(options: &Options) -> Result<Report> {
    let config: Config = toml::from_str(CONFIG).context("read slice.toml")?;
    let folder = TempDir::new().context("make a folder")?;
    let stage = Stage { options, config, folder };
    let fetched = if options.short { stage.config.fetch.short_bytes } else { stage.config.fetch.bytes };
    std::fs::create_dir(stage.files()).context("make a folder")?;
    // nginx drops root for its worker, which must be able to come here.
    open_to_all(stage.folder.path())?;
    for (name, bytes) in [
        (front::SMALL, stage.config.front.small_bytes),
        (front::LARGE, stage.config.front.large_bytes),
        (fetch::FILE, fetched),
    ] {
        noise(&stage.files().join(name), bytes)?;
    }
    std::fs::write(stage.files().join("index.html"), "<!doctype html><title>bench</title>")
        .context("write a page")?;
    let nginx = Nginx::start(&stage.config.nginx.config, &stage.files()).await?;
    let world = stage.world("front").await;
    let mut rows = front::rows(&stage, world.as_ref(), &nginx).await;
    rows.push(fetch::row(&stage, world.as_ref(), &nginx).await);
    drop(nginx);
    if let Ok(world) = world {
        world.end().await?;
    }
    rows.push(life::surge(&stage).await);
    rows.push(life::up(&stage).await);
    Ok(Report { name: "slice", pairs: stage.config.pairs, rows })
}

/// Lets everybody come into a folder.
pub fn open_to_all(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).context("open a folder")
}

/// A file of bytes that no compression and no deduplication makes smaller: xorshift, the same in every run.
pub fn noise(path: &Path, bytes: u64) -> Result<()> {
    let name = || format!("write {}", path.display());
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).with_context(name)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut left = bytes;
    while left > 0 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = state.to_le_bytes();
        let count = left.min(8);
        file.write_all(&word[..usize::try_from(count).unwrap_or(8)]).with_context(name)?;
        left -= count;
    }
    file.flush().with_context(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{self, Shape, Target};

    #[tokio::test]
    #[ignore = "needs nginx: run after `make bench-setup`"]
    async fn the_peer_is_measured() {
        let config: Config = toml::from_str(CONFIG).unwrap();
        let folder = TempDir::new().unwrap();
        open_to_all(folder.path()).unwrap();
        noise(&folder.path().join(front::SMALL), 4096).unwrap();
        let nginx = Nginx::start(&config.nginx.config, folder.path()).await.unwrap();
        let path = format!("/{}", front::SMALL);
        let target = Target { address: nginx.address, host: "localhost".to_owned(), path, bytes: 4096 };
        let measured = Duration::from_millis(500);
        let shape = Shape { connections: 4, warm_up: Duration::from_millis(50), measured };
        assert!(load::run(&target, shape).await.unwrap() > 10.0);
    }
}
