//! The volume of the local world as its caller: where the mirror puts its copies, how it is published and lent.

use super::limits::{GOAL_MS, LENT_CPU_MILLI, LENT_MEMORY_BYTES};
use super::mirror::{Listed, Shelf};
use super::world::Names;
use client::models::{DirEntry, FileKind, LendRequest, Offer};
use client::protocol::PublishRequest;
use client::{Client, Condition, Node, PutOptions, Volume};
use futures_util::future::BoxFuture;
use std::time::Duration;
use terms::{ByteCount, Code, Digest, PathError, Problem, VolumePath, Who};

/// What is put and removed to make the served folder when there is no file for it yet.
const MADE: &str = ".made";

/// The served folder of the volume.
#[derive(Clone)]
pub struct Site {
    volume: Volume,
    top: VolumePath,
}

fn invalid(error: PathError) -> Problem {
    Problem::new(Code::Invalid, error.to_string())
}

impl Site {
    /// The site, through the home.
    pub async fn open(client: &Client, names: &Names) -> Result<Self, Problem> {
        let volume = client.volume(&names.volume).await?;
        Ok(Self { volume, top: names.served.path.clone() })
    }

    fn at(&self, path: &VolumePath) -> Result<VolumePath, Problem> {
        self.top.under(path).map_err(invalid)
    }

    /// Visits every entry below the served folder.
    async fn visit(&self, mut see: impl FnMut(VolumePath, &DirEntry)) -> Result<(), Problem> {
        let mut waiting = vec![VolumePath::root()];
        while let Some(folder) = waiting.pop() {
            let entries = match self.volume.list(&self.at(&folder)?).await {
                Err(problem) if problem.code == Code::NotFound => continue,
                listed => listed?,
            };
            for entry in &entries {
                let path = folder.join(&entry.name).map_err(invalid)?;
                if entry.kind == FileKind::Directory {
                    waiting.push(path.clone());
                }
                see(path, entry);
            }
        }
        Ok(())
    }

    /// Every file with its length.
    pub async fn sizes(&self) -> Result<Vec<(VolumePath, u64)>, Problem> {
        let mut sizes = Vec::new();
        let add = |path, entry: &DirEntry| {
            if entry.kind == FileKind::File {
                sizes.push((path, entry.size));
            }
        };
        self.visit(add).await?;
        Ok(sizes)
    }

    /// Makes the served folder, if there is none: publishing needs it.
    pub async fn ensure_top(&self) -> Result<(), Problem> {
        match self.volume.stat(&self.top).await {
            Err(problem) if problem.code == Code::NotFound => {}
            other => return other.map(drop),
        }
        let made = self.at(&VolumePath::root().join(MADE).map_err(invalid)?)?;
        let how = PutOptions { parents: true, ..PutOptions::default() };
        self.volume.put(&made, how, wire::body::empty()).await?;
        self.volume.remove(&made, Condition::None).await
    }
}

impl Shelf for Site {
    fn list(&self) -> BoxFuture<'_, Result<Listed, Problem>> {
        Box::pin(async move {
            let mut listed = Listed::default();
            let add = |path, entry: &DirEntry| match entry.etag {
                Some(root) => drop(listed.files.insert(path, root)),
                None => drop(listed.folders.insert(path)),
            };
            self.visit(add).await?;
            Ok(listed)
        })
    }

    fn put<'a>(&'a self, path: &'a VolumePath, body: wire::Body) -> BoxFuture<'a, Result<Digest, Problem>> {
        Box::pin(async move {
            let how = PutOptions { parents: true, ..PutOptions::default() };
            let entry = self.volume.put(&self.at(path)?, how, body).await?;
            entry.etag.ok_or_else(|| Problem::new(Code::Internal, "the home stored a file without content"))
        })
    }

    fn remove<'a>(&'a self, path: &'a VolumePath) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move { self.volume.remove(&self.at(path)?, Condition::None).await })
    }
}

/// Publishes the served folder for anyone, with room for all lent nodes. `stabilization`: how long load must be
/// gone before nodes are returned, if it is not the usual time.
pub async fn publish(
    home: &Node,
    names: &Names,
    link_bps: Option<u64>,
    stabilization: Option<Duration>,
) -> Result<(), Problem> {
    let request = PublishRequest {
        service: names.service.clone(),
        files: names.served.clone(),
        goal_ms: GOAL_MS,
        max_servers: u32::try_from(names.nodes.len()).unwrap_or(u32::MAX),
        readers: vec![Who::Anyone],
        link_bps,
        stabilization_ms: stabilization.map(|span| u32::try_from(span.as_millis()).unwrap_or(u32::MAX)),
        lenders: Vec::new(),
    };
    home.publish(&request).await.map(drop)
}

/// Lends a node to the service, until that is withdrawn.
pub async fn lend(node: &Node, names: &Names) -> Result<(), Problem> {
    let offer = Offer {
        service: names.service.clone(),
        cpu_milli: LENT_CPU_MILLI,
        memory_bytes: ByteCount(LENT_MEMORY_BYTES),
        price: 0.0,
        power: 1.0,
        until: None,
        keep_cache: false,
    };
    node.lend(&LendRequest::Lend(offer)).await.map(drop)
}
