//! The fuzzer over every decoder of foreign bytes: libFuzzer on stable Rust, with the coverage passes that the
//! compiler has anyway. Seeds and dictionaries are made by the program itself; what it finds stays in `fuzz/found`.

use crate::run::{cargo, must};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What instruments the code: edges, comparisons, and a table of places.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// For how long each target runs unless told otherwise: seconds.
const SECONDS: u64 = 5;
/// The longest input: bytes. A chain of four links has fewer.
const MAX_INPUT_BYTES: usize = 4096;

/// What to do.
struct Plan {
    seconds: u64,
    only: Option<String>,
    planted: bool,
}

/// `cargo xtask fuzz [--seconds N] [--target NAME] [--planted]`. With `--planted` each target must find the fault that
/// is then behind its accepting branch.
pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let plan = plan(arguments)?;
    let folder = target_folder(root);
    let program = build(root, &folder, plan.planted)?;
    let corpus = folder.join("corpus");
    must(Command::new(&program).env("WEBOS_FUZZ_WRITE", &corpus))?;
    let mut failed = Vec::new();
    for name in targets(&corpus)? {
        if plan.only.as_ref().is_none_or(|only| *only == name) {
            let held = fuzz(root, &program, &corpus, &name, &plan)?;
            if held == plan.planted {
                failed.push(name);
            }
        }
    }
    match (failed.is_empty(), plan.planted) {
        (true, _) => Ok(()),
        (false, true) => bail!("the planted fault was not found by: {}", failed.join(", ")),
        (false, false) => bail!("inputs that break a rule stand in fuzz/found: {}", failed.join(", ")),
    }
}

fn plan(arguments: &[String]) -> Result<Plan> {
    let mut plan = Plan { seconds: SECONDS, only: None, planted: false };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => plan.seconds = arguments.next().context("--seconds needs a number")?.parse()?,
            "--target" => plan.only = Some(arguments.next().context("--target needs a name")?.clone()),
            "--planted" => plan.planted = true,
            other => bail!("unknown argument '{other}': --seconds N, --target NAME, --planted"),
        }
    }
    Ok(plan)
}

/// A folder of its own: everything in it is instrumented.
fn target_folder(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("fuzz")
}

fn build(root: &Path, folder: &Path, planted: bool) -> Result<PathBuf> {
    let version = Command::new("rustc").arg("-vV").output().context("run rustc -vV")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    // With a target named, build scripts and macros are built without the instruments.
    let mut command = cargo(&root.join("fuzz"), &["build", "--locked", "--target", host, "--target-dir"]);
    command.arg(folder).env("RUSTFLAGS", COVERAGE);
    if planted {
        command.args(["--features", "planted"]);
    }
    must(&mut command)?;
    Ok(folder.join(host).join("debug/webos-fuzz"))
}

/// The targets for which the program wrote seeds.
fn targets(corpus: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(corpus).context("read the corpus")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".dict").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Runs one target; true if nothing was found.
fn fuzz(root: &Path, program: &Path, corpus: &Path, name: &str, plan: &Plan) -> Result<bool> {
    let found = root.join("fuzz/found");
    std::fs::create_dir_all(&found).context("make fuzz/found")?;
    let mut command = Command::new(program);
    command.env("WEBOS_FUZZ_TARGET", name).arg(corpus.join(name));
    command.arg(format!("-dict={}", corpus.join(format!("{name}.dict")).display()));
    command.arg(format!("-artifact_prefix={}/{name}-", found.display()));
    command.arg(format!("-max_total_time={}", plan.seconds)).arg(format!("-max_len={MAX_INPUT_BYTES}"));
    command.args([
        "-len_control=0",
        "-mutate_depth=2",
        "-print_final_stats=0",
        "-verbosity=0",
        "-rss_limit_mb=3000",
    ]);
    let output = command.output().with_context(|| format!("run the target {name}"))?;
    let held = output.status.success();
    match (held, plan.planted) {
        (true, _) => println!("fuzz: {name}: nothing found in {} s", plan.seconds),
        (false, true) => println!("fuzz: {name}: the planted fault was found"),
        (false, false) => {
            println!("fuzz: {name}: FOUND\n{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(held)
}
