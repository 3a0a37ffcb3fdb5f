//! Every decoder of foreign bytes: its seeds reach the accepting branch, and altered seeds never make it panic nor
//! accept what breaks a rule. `cargo xtask fuzz` searches longer and with coverage.

use webos_foreign::{Mutator, Outcome, TARGETS, dictionary};

/// Altered inputs for each target: count. With `WEBOS_SOAK=1` a hundred times as many.
const ALTERED: u64 = 1000;

#[test]
fn every_seed_is_accepted_and_none_holds_what_is_rare() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for (index, seed) in seeds.iter().enumerate() {
            let outcome = (target.run)(seed);
            assert_eq!(outcome, Outcome::Accepted { rare: false }, "{}: seed {index}", target.name);
        }
        assert!(!dictionary(target).is_empty(), "{} has no words", target.name);
    }
}

#[test]
fn altered_seeds_are_accepted_or_refused_and_nothing_else() {
    let rounds = if std::env::var_os("WEBOS_SOAK").is_some() { ALTERED * 100 } else { ALTERED };
    for target in TARGETS {
        let (seeds, words) = ((target.seeds)(), dictionary(target));
        let mut accepted = 0u64;
        for round in 0..rounds {
            let seed = &seeds[usize::try_from(round).unwrap_or(0) % seeds.len()];
            let mut mutator = Mutator::new(round);
            let values = if round % 2 == 0 { mutator.altered_values(seed) } else { None };
            let input = values.unwrap_or_else(|| mutator.altered(seed, &words));
            let fed = std::panic::catch_unwind(|| (target.run)(&input));
            match fed {
                Ok(Outcome::Accepted { .. }) => accepted += 1,
                Ok(Outcome::Refused) => {}
                Err(_) => panic!("{}: round {round} breaks a rule: {}", target.name, hexadecimal(&input)),
            }
        }
        println!("{}: {accepted} of {rounds} altered inputs are accepted", target.name);
        assert!(accepted < rounds, "{} refuses nothing", target.name);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
