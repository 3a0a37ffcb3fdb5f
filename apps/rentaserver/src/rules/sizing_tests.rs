use super::*;

const GOAL: Goal = Goal {
    latency_ms: 200.0,
    base_ms: 5.0,
    stabilization: Duration::from_secs(60),
    link_bits_per_s: Some(100_000_000),
};

/// Servers of power 1 that take `service_s` for a request, under `clients` in a closed loop that think for
/// `think_s`: the operational laws in the place of a queue.
fn load(clients: f64, think_s: f64, service_s: f64, power: f64) -> Load {
    if clients <= 0.0 {
        return Load::default();
    }
    let queued = (clients * service_s / power - think_s).max(service_s);
    let rps = clients / (queued + think_s);
    let busy = (rps * service_s / power).min(1.0);
    let busy_power = if busy > BUSY { busy * power } else { 0.0 };
    Load {
        inflight: rps * queued,
        rps,
        bytes_per_s: rps * service_s * 12_500_000.0,
        latency_ms: queued * 1000.0,
        busy_power,
        busy_rps: if busy_power > 0.0 { rps } else { 0.0 },
    }
}

fn at(second: usize) -> BootMs {
    BootMs(1_000 * (second as u64 + 1))
}

#[test]
fn the_formula() {
    // Clients, think time, service time; how many servers of the wanted size keep the goal.
    for (clients, think_s, service_s, expected) in [
        (24.0, 0.0, 0.021, 2.0..=3.0),
        (480.0, 0.0, 0.01, 20.0..=26.0),
        (100.0, 1.0, 0.02, 3.0..=6.0),
        (4.0, 0.0, 5.4, 4.0..=4.0),
    ] {
        let mut sizer = Sizer::new(GOAL);
        let mut power = 1.0;
        for second in 0..20 {
            if let (Verdict::Grow { to, .. }, _) =
                sizer.sample(at(second), &load(clients, think_s, service_s, power), power)
            {
                power = to.ceil();
            }
        }
        assert!(expected.contains(&power), "{clients} clients, {service_s} s: {power}");
        let kept = load(clients, think_s, service_s, power).latency_ms <= 200.0;
        assert!(kept || service_s > 0.2, "{clients} clients at {power}");
    }
}

#[test]
fn one_long_download_is_no_reason() {
    let mut sizer = Sizer::new(GOAL);
    let alone =
        Load { inflight: 1.0, bytes_per_s: 12_500_000.0, latency_ms: 4_000.0, busy_power: 1.0, ..Load::default() };
    for second in 0..30 {
        let (verdict, figures) = sizer.sample(at(second), &alone, 1.0);
        assert!(!matches!(verdict, Verdict::Grow { .. }), "{figures:?}");
    }
    let crowd = Load { inflight: 6.0, ..alone };
    let (verdict, _) = sizer.sample(at(30), &crowd, 1.0);
    assert_eq!(verdict, Verdict::Grow { to: 6.0, reason: Reason::FarOverGoal }, "six of them are");
}

#[test]
fn the_link_tells_before_anything_was_learned() {
    let mut sizer = Sizer::new(GOAL);
    // No server is busy in the report, but the sizes are known: 250 kB at 100 Mbit/s take 20 ms.
    let unlearned = Load { inflight: 30.0, rps: 40.0, bytes_per_s: 1e7, latency_ms: 700.0, ..Load::default() };
    let (verdict, figures) = sizer.sample(at(0), &unlearned, 1.0);
    assert_eq!(figures.service_ms.map(f64::round), Some(20.0));
    assert!(matches!(verdict, Verdict::Grow { to, .. } if (3.0..3.2).contains(&to)), "{verdict:?}");
    let mut blind = Sizer::new(Goal { link_bits_per_s: None, ..GOAL });
    let (verdict, figures) = blind.sample(at(0), &unlearned, 2.0);
    assert_eq!(figures.service_ms, None);
    assert!(matches!(verdict, Verdict::Grow { to, .. } if (7.0..7.3).contains(&to)), "in proportion: {verdict:?}");
}

#[test]
fn two_samples_over_or_one_far_over() {
    for (latency_ms, expected) in [(201.0, 2), (290.0, 2), (301.0, 1), (199.0, 99)] {
        let mut sizer = Sizer::new(GOAL);
        let over =
            Load { inflight: 40.0, rps: 50.0, latency_ms, busy_power: 1.0, busy_rps: 50.0, ..Load::default() };
        let grows = |second| matches!(sizer.sample(at(second), &over, 1.0).0, Verdict::Grow { .. });
        let first = (0..10).position(grows).map_or(99, |second| second + 1);
        assert_eq!(first, expected, "{latency_ms}");
    }
    let mut sizer = Sizer::new(GOAL);
    let over =
        Load { inflight: 40.0, rps: 50.0, latency_ms: 250.0, busy_power: 1.0, busy_rps: 50.0, ..Load::default() };
    for second in 0..20 {
        let sample = if second % 2 == 0 { over } else { Load { latency_ms: 100.0, ..over } };
        assert!(!matches!(sizer.sample(at(second), &sample, 1.0).0, Verdict::Grow { .. }), "never two in a row");
    }
}

#[test]
fn it_shrinks_only_when_the_whole_window_would_have_fitted() {
    let mut sizer = Sizer::new(GOAL);
    for second in 0..100 {
        sizer.sample(at(second), &load(24.0, 0.0, 0.021, 3.0), 3.0);
    }
    let mut first = None;
    for second in 100..200 {
        let (verdict, _) = sizer.sample(at(second), &load(0.1, 1.0, 0.021, 3.0), 3.0);
        if let Verdict::Shrink { to } = verdict {
            assert!(to < 0.1, "{to}");
            first.get_or_insert(second);
        }
    }
    assert!(first.is_some_and(|second| (158..=161).contains(&second)), "{first:?}");
    let mut young = Sizer::new(GOAL);
    for second in 0..59 {
        assert_eq!(
            young.sample(at(second), &Load::default(), 8.0).0,
            Verdict::Hold(Reason::WithinGoal),
            "knows too little"
        );
    }
}

/// A small generator: tests of this crate see no other crates.
struct Seeded(u64);

impl Seeded {
    fn fraction(&mut self) -> f64 {
        // SplitMix64, by Steele, Lea and Flood.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Random load traces of 20 minutes, with steps, ramps, waves and noise. Never flaps: after growing, nothing is
/// returned for a window; and what was returned is needed again only by a load that the last window had not seen.
#[test]
fn it_never_flaps() {
    for seed in 0..300 {
        let mut random = Seeded(seed);
        let mut sizer = Sizer::new(GOAL);
        let (mut power, mut clients, mut target) = (1.0, 5.0, 5.0);
        let (think_s, service_s) = (random.fraction() * 0.5, 0.005 + random.fraction() * 0.03);
        let (noise, wave) = (random.fraction() * 0.12, random.fraction() * 0.5);
        let (mut grown, mut shrunk) = (None, None);
        for second in 0..1_200usize {
            if random.fraction() < 0.01 {
                target = random.fraction() * 200.0;
            }
            clients += (target - clients) * if seed % 2 == 0 { 1.0 } else { 0.05 };
            let swing = 1.0 + wave * (second as f64 / 40.0).sin() + noise * (random.fraction() * 2.0 - 1.0);
            let sample = load((clients * swing).max(0.0), think_s, service_s, power);
            let (verdict, figures) = sizer.sample(at(second), &sample, power);
            match verdict {
                Verdict::Grow { to, .. } => {
                    assert!(to > power, "seed {seed} at {second}");
                    if let Some((when, left, peak)) = shrunk {
                        let renewed = figures.demand > peak && figures.demand > left;
                        assert!(renewed, "seed {seed}: shrunk at {when}, grown at {second} without need");
                    }
                    (power, grown) = (to.ceil(), Some(second));
                }
                Verdict::Shrink { to } => {
                    let calm = grown.is_none_or(|when| second - when >= 59);
                    let stays = to.ceil().max(1.0);
                    if stays < power {
                        assert!(calm, "seed {seed}: grown at {grown:?}, shrunk at {second}");
                        (power, shrunk) = (stays, Some((second, stays, figures.peak)));
                    }
                }
                Verdict::Hold(_) => {}
            }
        }
    }
}
