//! Ours and the peers in turns. The best peer counts: the one whose median is lowest.

use crate::report::{Row, median};
use anyhow::{Context, Result};

/// What takes some time, and returns how much.
pub type Run<'a> = Box<dyn FnMut() -> Result<f64> + 'a>;

/// One of those compared.
pub struct Contender<'a> {
    name: &'static str,
    run: Run<'a>,
    samples: Vec<f64>,
}

impl<'a> Contender<'a> {
    /// Who, and how it is done.
    pub fn new(name: &'static str, run: impl FnMut() -> Result<f64> + 'a) -> Self {
        Self { name, run: Box::new(run), samples: Vec::new() }
    }
}

/// Runs all in turns, once without counting, and fills the row. The first is ours. A peer that fails is named and left
/// out.
pub fn race(row: &mut Row, pairs: usize, mut contenders: Vec<Contender<'_>>) -> Result<()> {
    let mut failed: Vec<String> = Vec::new();
    for pair in 0..=pairs {
        let count = contenders.len();
        for turn in 0..count {
            let at = (turn + pair) % count;
            let contender = &mut contenders[at];
            if failed.iter().any(|failed| failed.starts_with(contender.name)) {
                continue;
            }
            match (contender.run)() {
                Ok(value) if pair > 0 => contender.samples.push(value),
                Ok(_) => {}
                Err(error) if at == 0 => return Err(error).context("ours"),
                Err(error) => failed.push(format!("{} left out: {error:#}", contender.name)),
            }
        }
    }
    row.notes.append(&mut failed);
    let mut contenders = contenders.into_iter();
    row.ours = contenders.next().context("ours")?.samples;
    let mut peers: Vec<_> = contenders.filter(|peer| peer.samples.len() == pairs).collect();
    peers.sort_by(|one, other| middle(one).total_cmp(&middle(other)));
    let named = |peer: &Contender<'_>| format!("{} {:.1}", peer.name, middle(peer));
    row.notes.push(format!("peers, {}: {}", row.unit, peers.iter().map(named).collect::<Vec<_>>().join(", ")));
    if let Some(best) = peers.into_iter().next() {
        row.peer = best.samples;
    }
    Ok(())
}

fn middle(contender: &Contender<'_>) -> f64 {
    median(&contender.samples).unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Goal;

    #[test]
    fn the_best_peer_counts_and_one_that_fails_is_named() {
        let mut row = Row::new("work", "ms", Goal::RatioAtMost(1.0));
        let all = vec![
            Contender::new("ours", || Ok(2.0)),
            Contender::new("slow", || Ok(9.0)),
            Contender::new("quick", || Ok(4.0)),
            Contender::new("broken", || anyhow::bail!("no such program")),
        ];
        race(&mut row, 3, all).unwrap();
        assert_eq!((row.ours, row.peer), (vec![2.0; 3], vec![4.0; 3]));
        assert!(row.notes.iter().any(|note| note.contains("broken left out: no such program")), "{:?}", row.notes);
    }
}
