//! Rows of a benchmark, their medians, and the table. A row without its peer or with too few samples is not
//! met, whatever its numbers say.

use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write;

/// What a row has to reach.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Ours divided by the peer's is at least this.
    RatioAtLeast(f64),
    /// Ours divided by the peer's is at most this.
    RatioAtMost(f64),
    /// Ours is at most this.
    AtMost(f64),
}

/// One line of the table.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What is done.
    pub work: String,
    /// Unit of all samples.
    pub unit: &'static str,
    /// Our samples.
    pub ours: Vec<f64>,
    /// The peer's, taken in turns with ours; empty where there is none.
    pub peer: Vec<f64>,
    /// What is to be reached.
    pub goal: Goal,
    /// Why there are no samples, if so.
    pub not_run: Option<String>,
    /// Anything that helps to read the numbers.
    pub notes: Vec<String>,
}

/// A whole benchmark.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// Samples that each row needs.
    pub pairs: usize,
    /// The rows in the order of the goals.
    pub rows: Vec<Row>,
}

impl Row {
    /// A row that has not been measured yet.
    pub fn new(work: impl Into<String>, unit: &'static str, goal: Goal) -> Self {
        let work = work.into();
        Self { work, unit, ours: Vec::new(), peer: Vec::new(), goal, not_run: None, notes: Vec::new() }
    }

    /// The numbers that are compared with the goal, one for each sample.
    fn compared(&self) -> Vec<f64> {
        match self.goal {
            Goal::AtMost(_) => self.ours.clone(),
            _ => self.ours.iter().zip(&self.peer).map(|(ours, peer)| ours / peer).collect(),
        }
    }

    fn meets(&self, value: f64) -> bool {
        match self.goal {
            Goal::RatioAtLeast(goal) => value >= goal,
            Goal::RatioAtMost(goal) | Goal::AtMost(goal) => value <= goal,
        }
    }

    fn met(&self, pairs: usize) -> bool {
        let compared = self.compared();
        compared.len() >= pairs && median(&compared).is_some_and(|value| self.meets(value))
    }

    fn cells(&self, pairs: usize) -> [String; 6] {
        let compared = self.compared();
        let ratio = match self.goal {
            Goal::AtMost(_) => "-".to_owned(),
            _ => median(&compared).map_or("-".to_owned(), |value| format!("{value:.2} {}", spread(&compared))),
        };
        let goal = match self.goal {
            Goal::RatioAtLeast(goal) => format!(">= {goal} x"),
            Goal::RatioAtMost(goal) => format!("<= {goal} x"),
            Goal::AtMost(goal) => format!("<= {goal} {}", self.unit),
        };
        let good = compared.iter().filter(|value| self.meets(**value)).count();
        let met = match &self.not_run {
            Some(_) => "not run".to_owned(),
            None if self.met(pairs) => format!("yes ({good}/{})", compared.len()),
            None => format!("NO ({good}/{})", compared.len()),
        };
        [self.work.clone(), shown(&self.ours, self.unit), shown(&self.peer, self.unit), ratio, goal, met]
    }
}

impl Report {
    /// The table, the notes, and the one-line figure at its end.
    pub fn table(&self) -> String {
        let heads = ["work", "ours", "peer", "ratio", "goal", "met"].map(str::to_owned);
        let lines: Vec<_> =
            std::iter::once(heads).chain(self.rows.iter().map(|row| row.cells(self.pairs))).collect();
        let widths: Vec<usize> =
            (0..6).map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)).collect();
        let mut text = String::new();
        for line in &lines {
            for (cell, width) in line.iter().zip(&widths) {
                let _ = write!(text, "{cell:width$}  ");
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        for row in &self.rows {
            for note in row.not_run.iter().chain(&row.notes) {
                let _ = writeln!(text, "  {}: {note}", row.work);
            }
        }
        text + &self.last_line() + "\n"
    }

    /// Every sample.
    pub fn json(&self) -> Result<String> {
        let mut value = serde_json::to_value(self).context("write the report as JSON")?;
        value["summary"] = self.last_line().into();
        Ok(format!("{value}\n"))
    }

    fn last_line(&self) -> String {
        let met = self.rows.iter().filter(|row| row.met(self.pairs)).count();
        let not_run = self.rows.iter().filter(|row| row.not_run.is_some()).count();
        format!("{}: {met} of {} goals met; {not_run} rows not run", self.name, self.rows.len())
    }
}

fn shown(samples: &[f64], unit: &str) -> String {
    median(samples).map_or("-".to_owned(), |value| {
        let digits = if value >= 100.0 { 0 } else { 2 };
        format!("{value:.digits$} {unit}")
    })
}

fn spread(samples: &[f64]) -> String {
    let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let most = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("({least:.2}..{most:.2})")
}

/// The middle sample, or the mean of the two in the middle.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(goal: Goal, ours: &[f64], peer: &[f64]) -> Row {
        Row { ours: ours.to_vec(), peer: peer.to_vec(), ..Row::new("work", "s", goal) }
    }

    #[test]
    fn a_goal_is_met_by_the_median_of_enough_pairs() {
        for (row, expected) in [
            (row(Goal::RatioAtLeast(0.5), &[1.0, 2.0, 3.0], &[2.0, 2.0, 2.0]), true),
            (row(Goal::RatioAtLeast(0.5), &[0.9, 0.9, 3.0], &[2.0, 2.0, 2.0]), false),
            (row(Goal::RatioAtMost(1.1), &[1.0, 1.0, 9.0], &[1.0, 1.0, 1.0]), true),
            (row(Goal::AtMost(3.0), &[1.0, 3.0, 9.0], &[]), true),
            (row(Goal::AtMost(3.0), &[1.0, 3.0], &[]), false),
            (row(Goal::RatioAtMost(1.1), &[1.0, 1.0, 1.0], &[1.0]), false),
            (row(Goal::AtMost(3.0), &[], &[]), false),
        ] {
            assert_eq!(row.met(3), expected, "{row:?}");
        }
    }

    #[test]
    fn the_last_line_counts() {
        let mut absent = row(Goal::AtMost(1.0), &[], &[]);
        absent.not_run = Some("no peer".to_owned());
        let rows = vec![row(Goal::AtMost(1.0), &[0.5], &[]), row(Goal::AtMost(1.0), &[1.5], &[]), absent];
        let report = Report { name: "slice", pairs: 1, rows };
        assert!(report.table().ends_with("slice: 1 of 3 goals met; 1 rows not run\n"), "{}", report.table());
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }
}
