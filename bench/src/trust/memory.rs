//! Memory of access lists: many resources that point to few lists.

use super::decision::list;
use crate::report::{Goal, Row};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use trust::Bucket;

/// Parameters of this row.
#[derive(Deserialize)]
pub struct Config {
    resources: u32,
    lists: u32,
    entries: usize,
    goal_mb: f64,
}

/// Lists as a home's store keeps them in memory, by their hash and read from their stored form, and for each resource the
/// number of its list. Every sample is kept until the last is taken, so that none lives in memory that another gave back;
/// for the same reason this row has to be the first of its process.
pub fn row(config: &Config, samples: usize) -> Result<Row> {
    let work = format!("lists of {} resources, {} distinct", config.resources, config.lists);
    let mut row = Row::new(work, "MB", Goal::AtMost(config.goal_mb));
    let mut kept = Vec::new();
    for sample in 0..samples {
        let before = resident()?;
        let mut lists = BTreeMap::new();
        for number in 0..config.lists {
            let list = list(config.entries, &[], usize::try_from(number)? + sample * 100_000)?;
            let read = Bucket::decode(&list.encode()?)?;
            lists.insert(list.hash(), Arc::new(read));
        }
        let pointers: Vec<u32> = (0..config.resources).map(|resource| resource % config.lists).collect();
        row.ours.push((resident()?.saturating_sub(before)) as f64 / 1e6);
        kept.push((lists, pointers));
    }
    std::hint::black_box(&kept);
    row.notes
        .push("resident memory of this process: lists as the store keeps them, and four bytes a resource".into());
    row.notes
        .push("a home keeps that number in its database, in at most three bytes, and no resource in memory".into());
    Ok(row)
}

/// Resident bytes of this process.
fn resident() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").context("read this process's memory")?;
    let pages: u64 = text.split_whitespace().nth(1).context("resident pages")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}
