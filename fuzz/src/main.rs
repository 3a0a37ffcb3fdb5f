//! libFuzzer over one target of `webos-foreign`, named by the variable `WEBOS_FUZZ_TARGET`. Without a fuzzer's
//! arguments it does what `cargo xtask fuzz` asks by `WEBOS_FUZZ_WRITE`: it writes seeds and dictionaries of all targets.
//! With the feature `planted` it fails on the rare inputs behind the accepting branch, to try the fuzzer itself.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use webos_foreign::{Mutator, Outcome, TARGETS, Target, dictionary};

fn target() -> &'static Target {
    static CHOSEN: OnceLock<&'static Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        if let Some(folder) = std::env::var_os("WEBOS_FUZZ_WRITE") {
            TARGETS.iter().try_for_each(|target| write(Path::new(&folder), target)).expect("seeds are written");
            std::process::exit(0);
        }
        let name = std::env::var("WEBOS_FUZZ_TARGET").unwrap_or_default();
        TARGETS.iter().find(|target| target.name == name).expect("WEBOS_FUZZ_TARGET names a target")
    })
}

/// `FOLDER/NAME/seed-N` and `FOLDER/NAME.dict`.
fn write(folder: &Path, target: &Target) -> std::io::Result<()> {
    let seeds = folder.join(target.name);
    std::fs::create_dir_all(&seeds)?;
    for (index, seed) in (target.seeds)().iter().enumerate() {
        std::fs::write(seeds.join(format!("seed-{index}")), seed)?;
    }
    let mut dictionary_file = std::fs::File::create(folder.join(format!("{}.dict", target.name)))?;
    for word in dictionary(target) {
        let escaped: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        writeln!(dictionary_file, "\"{escaped}\"")?;
    }
    Ok(())
}

fuzz_target!(init: { target(); }, |input: &[u8]| {
    if (target().run)(input) == (Outcome::Accepted { rare: true }) {
        #[cfg(feature = "planted")]
        panic!("the planted fault is found");
    }
});

fn seeds() -> &'static [Vec<u8>] {
    static SEEDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SEEDS.get_or_init(|| (target().seeds)())
}

// Half of the time values are altered and not bytes, so that lengths stay right; and every eighth time a seed is, and not
// what the fuzzer has found since, most of which is refused.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut mutator = Mutator::new(seed.into());
    let from = if seed % 8 == 0 { &seeds()[mutator.below(seeds().len())] } else { &data[..size] };
    let altered = (seed % 2 == 0).then(|| mutator.altered_values(from)).flatten();
    match altered {
        Some(altered) if altered.len() <= max_size => {
            data[..altered.len()].copy_from_slice(&altered);
            altered.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});
