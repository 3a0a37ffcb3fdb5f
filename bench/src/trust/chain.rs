//! Verifying a chain that was never seen, by a store that knows its issuers' certificates, and by one that knows nothing.

use super::scene::Scene;
use crate::report::{Goal, Row};
use anyhow::{Context, Result};
use serde::Deserialize;
use trust::transfer::verify;
use trust::{Chain, TrustStore};

/// Parameters of these rows.
#[derive(Deserialize)]
pub struct Config {
    chains: usize,
    short_chains: usize,
    known_goals_us: Goals,
    nothing_goals_us: Goals,
}

#[derive(Deserialize)]
struct Goals {
    one: f64,
    four: f64,
}

/// The four rows.
pub fn rows(config: &Config, short: bool, samples: usize) -> Result<Vec<Row>> {
    let scene = Scene::new()?;
    let count = if short { config.short_chains } else { config.chains };
    let mut rows = Vec::new();
    for (known, goals) in [(true, &config.known_goals_us), (false, &config.nothing_goals_us)] {
        for (links, goal) in [(1, goals.one), (4, goals.four)] {
            let state = if known { "certificates known" } else { "nothing cached" };
            let plural = if links == 1 { "link" } else { "links" };
            let mut row =
                Row::new(format!("verify a new chain, {links} {plural}, {state}"), "us", Goal::AtMost(goal));
            for _ in 0..samples {
                row.ours.push(sample(&scene, links, count, known)?);
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Microseconds for each of so many new chains.
fn sample(scene: &Scene, links: usize, count: usize, known: bool) -> Result<f64> {
    let peer = scene.peer(scene.servers.get(links - 1).context("a server for each link")?)?;
    let shown = |chain: &Chain, store: &TrustStore| -> Result<()> {
        verify(chain, &peer, store, scene.now).map(drop).context("an honest chain")
    };
    let chains = (0..count).map(|_| scene.chain(links)).collect::<Result<Vec<_>>>()?;
    let stores = match known {
        true => vec![scene.store()?; count],
        false => (0..count).map(|_| scene.store()).collect::<Result<Vec<_>>>()?,
    };
    if known {
        // Another chain of the same issuers, so that their certificates have been seen.
        shown(&scene.chain(links)?, stores.first().context("at least one chain")?)?;
    }
    let nanoseconds =
        super::each(count, || chains.iter().zip(&stores).try_for_each(|(chain, store)| shown(chain, store)))?;
    Ok(nanoseconds / 1000.0)
}
