//! The retry budget: how much more than the requests themselves a client may load its servers with.

/// Each request earns this much of a repetition: 10 %.
const EARNED: f64 = 0.1;
/// What can be saved up: repetitions.
const MOST: f64 = 10.0;

/// Hedges, and repetitions after an answer began, are paid from it; those after reset or refusal are free.
#[derive(Debug)]
pub(super) struct Budget(f64);

impl Default for Budget {
    fn default() -> Self {
        Self(MOST)
    }
}

impl Budget {
    /// A request was made.
    pub(super) fn earn(&mut self) {
        self.0 = (self.0 + EARNED).min(MOST);
    }

    /// Pays one repetition, if there is enough.
    pub(super) fn pay(&mut self) -> bool {
        let enough = self.0 >= 1.0;
        if enough {
            self.0 -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_requests_can_be_repeated() {
        let mut budget = Budget::default();
        while budget.pay() {}
        let paid = (0..1000).filter(|_| {
            budget.earn();
            budget.pay()
        });
        assert!((95..=101).contains(&paid.count()));
    }
}
