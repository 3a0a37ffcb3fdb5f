//! Load interpretation: from queues as they were reported, and the work that has arrived since, the probabilities
//! that level the queues (Dahlin, "Interpreting Stale Load Information", ICDCS 1999, Basic LI, with weights).
//!
//! Fresh reports send work to the shortest queues; with old ones the result approaches the share of each server's
//! power, so a stale minimum is never stampeded. Pure arithmetic; it knows no servers and no time.

/// One server's queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Queue {
    /// Jobs in it, in jobs of a server of weight 1; costs other than jobs are expressed in jobs.
    pub jobs: f64,
    /// Power, above 0.
    pub weight: f64,
    /// The largest probability it may get; 1 for no limit.
    pub cap: f64,
}

/// The probabilities, one a queue, of sending the next request there, such that `arrivals` requests sent with them
/// bring all queues to the same length per weight, or as near to it as they can. They add up to 1 unless there
/// is no queue.
pub fn probabilities(queues: &[Queue], arrivals: f64) -> Vec<f64> {
    let mut result = vec![0.0; queues.len()];
    let mut open: Vec<usize> = (0..queues.len()).collect();
    let mut rest = 1.0;
    // Each round fixes at least one capped queue, so there are at most as many rounds as queues.
    while !open.is_empty() && rest > 0.0 {
        let shares = level(queues, &open, arrivals * rest);
        let over = |(index, share): (&usize, &f64)| share * rest > queues[*index].cap;
        if !open.iter().zip(&shares).any(over) {
            for (index, share) in open.iter().zip(&shares) {
                result[*index] = share * rest;
            }
            return result;
        }
        let mut still_open = Vec::with_capacity(open.len());
        let mut fixed = 0.0;
        for (index, share) in open.iter().zip(&shares) {
            if share * rest > queues[*index].cap {
                result[*index] = queues[*index].cap;
                fixed += queues[*index].cap;
            } else {
                still_open.push(*index);
            }
        }
        open = still_open;
        rest -= fixed;
    }
    // All are capped: the caps are kept in proportion.
    let sum: f64 = result.iter().sum();
    if sum > 0.0 {
        result.iter_mut().for_each(|share| *share /= sum);
    }
    result
}

/// Water-filling over the queues in `open`: shares that add up to 1.
fn level(queues: &[Queue], open: &[usize], arrivals: f64) -> Vec<f64> {
    let height = |index: usize| queues[index].jobs / queues[index].weight;
    let mut order = open.to_vec();
    order.sort_by(|a, b| height(*a).total_cmp(&height(*b)));
    let arrivals = arrivals.max(f64::MIN_POSITIVE);
    let (mut jobs, mut weight, mut water) = (0.0, 0.0, f64::INFINITY);
    for index in &order {
        if height(*index) >= water {
            break;
        }
        jobs += queues[*index].jobs;
        weight += queues[*index].weight;
        water = (jobs + arrivals) / weight;
    }
    let wanted: Vec<f64> =
        open.iter().map(|index| (queues[*index].weight * water - queues[*index].jobs).max(0.0)).collect();
    let sum: f64 = wanted.iter().sum();
    if sum > 0.0 && sum.is_finite() {
        wanted.into_iter().map(|want| want / sum).collect()
    } else {
        // Arrivals vanish beside the queues: the lowest queues alone.
        let lowest = open.iter().map(|index| height(*index)).fold(f64::INFINITY, f64::min);
        let at_bottom = |index: &usize| if height(*index) <= lowest { queues[*index].weight } else { 0.0 };
        let total: f64 = open.iter().map(at_bottom).sum();
        open.iter().map(|index| at_bottom(index) / total).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use world::World;

    fn queues(jobs: &[f64]) -> Vec<Queue> {
        jobs.iter().map(|jobs| Queue { jobs: *jobs, weight: 1.0, cap: 1.0 }).collect()
    }

    fn check(queues: &[Queue], arrivals: f64, expected: &[f64]) {
        let found = probabilities(queues, arrivals);
        let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(near && found.len() == expected.len(), "{queues:?} {arrivals}: {found:?}, expected {expected:?}");
    }

    #[test]
    fn known_cases() {
        check(&[], 1.0, &[]);
        check(&queues(&[3.0]), 1.0, &[1.0]);
        check(&queues(&[0.0, 0.0]), 1.0, &[0.5, 0.5]);
        check(&queues(&[0.0, 10.0]), 2.0, &[1.0, 0.0]);
        check(&queues(&[0.0, 2.0]), 4.0, &[0.75, 0.25]);
        check(&queues(&[1.0, 2.0, 9.0]), 3.0, &[2.0 / 3.0, 1.0 / 3.0, 0.0]);
        let powers = [Queue { jobs: 0.0, weight: 1.0, cap: 1.0 }, Queue { jobs: 0.0, weight: 3.0, cap: 1.0 }];
        check(&powers, 8.0, &[0.25, 0.75]);
        let capped = [Queue { jobs: 0.0, weight: 1.0, cap: 0.1 }, Queue { jobs: 5.0, weight: 1.0, cap: 1.0 }];
        check(&capped, 1.0, &[0.1, 0.9]);
        check(&[Queue { cap: 0.1, ..capped[0] }, Queue { cap: 0.3, ..capped[1] }], 1.0, &[0.25, 0.75]);
        check(&queues(&[1e15, 1e15]), 0.0, &[0.5, 0.5]);
    }

    #[test]
    fn a_stale_minimum_is_not_stampeded() {
        let reported = queues(&[0.0, 5.0, 5.0, 5.0]);
        let fresh = probabilities(&reported, 1.0);
        let stale = probabilities(&reported, 400.0);
        assert!(fresh[0] > 0.99, "{fresh:?}");
        assert!(stale[0] < 0.27, "{stale:?}");
    }

    #[test]
    fn any_queues_are_levelled() {
        let (world, _) = World::simulated(3);
        for _ in 0..2000 {
            let count = 1 + usize::try_from(world.entropy.number() % 8).expect("small");
            let queues: Vec<Queue> = (0..count)
                .map(|_| Queue {
                    jobs: world.entropy.fraction() * 20.0,
                    weight: 0.1 + world.entropy.fraction() * 5.0,
                    cap: 1.0,
                })
                .collect();
            let arrivals = world.entropy.fraction() * 50.0;
            let shares = probabilities(&queues, arrivals);
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let after: Vec<f64> =
                queues.iter().zip(&shares).map(|(q, p)| (q.jobs + p * arrivals) / q.weight).collect();
            let water = after.iter().zip(&shares).filter(|(_, p)| **p > 0.0).map(|(a, _)| *a).fold(0.0, f64::max);
            for ((after, share), queue) in after.iter().zip(&shares).zip(&queues) {
                let levelled = if *share > 0.0 { (after - water).abs() < 1e-6 } else { *after >= water - 1e-6 };
                assert!(levelled, "{queue:?} ends at {after}, the level is {water}");
            }
        }
    }
}
