//! What a run writes down: the first promise that did not hold and, if it is traced, what led to it.

use crate::seeds::Violation;
use std::collections::VecDeque;

/// The last lines of a traced run that are kept.
const TRACE_LINES: usize = 150;

/// The record of one run.
#[derive(Debug)]
pub struct Record {
    broken: Option<(u64, String)>,
    /// Nothing, if the run is not traced.
    trace: Option<VecDeque<String>>,
}

impl Record {
    /// An empty record.
    pub fn new(traced: bool) -> Self {
        Self { broken: None, trace: traced.then(VecDeque::new) }
    }

    /// Whether all promises have held so far.
    pub fn holds(&self) -> bool {
        self.broken.is_none()
    }

    /// A promise did not hold at this true time.
    pub fn violated(&mut self, at_ms: u64, what: String) {
        self.broken.get_or_insert((at_ms, what));
    }

    /// Something happened at this true time.
    pub fn note(&mut self, at_ms: u64, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            if trace.len() >= TRACE_LINES {
                trace.pop_front();
            }
            trace.push_back(format!("{at_ms:>6} {}", line()));
        }
    }

    /// How a run of this seed ended.
    ///
    /// # Errors
    /// The first promise that did not hold.
    pub fn outcome<T>(self, seed: u64, counts: T) -> Result<T, Violation> {
        match self.broken {
            None => Ok(counts),
            Some((at_ms, what)) => {
                Err(Violation { seed, at_ms, what, trace: self.trace.unwrap_or_default().into() })
            }
        }
    }
}
