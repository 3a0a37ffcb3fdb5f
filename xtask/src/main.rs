//! What the Makefile and CI call: `cargo xtask TASK`. Each task is one file; this one only chooses.
//! The checks among them are unit tests too, so that `make test` holds what `make lint` says.

mod counts;
mod documents;
mod fuzz;
mod layers;
mod licences;
mod limits;
mod metadata;
mod ratchet;
mod run;
mod scan;
mod sources;
mod spdx;
mod tasks;
mod web;

use anyhow::{Result, bail};
use std::process::ExitCode;

const USAGE: &str = "cargo xtask TASK
  test [ARGS…]          all tests, by cargo-nextest where it is installed; ends with one line of totals
  check                 format, clippy, unit tests: the quick round
  lint                  format, clippy, stairs, lengths, licences, limits, documents, page
  layers                compare the crates' edges with xtask/edges.txt
  ratchet [--tighten]   compare the lengths of files and functions with xtask/ratchet.txt
  licences              licences, sources and bans of all dependencies, off-line
  limits [--write]      compare docs/limits.md with every limits.rs
  web                   check, test and rebuild the console's page, compare with what is committed
  docs                  tests that documents name, links, routes
  counts [--write]      instructions of a decision and of a chain, by valgrind, with xtask/counts.txt
  fuzz [--seconds N] [--target NAME] [--planted]
                        libFuzzer over every decoder of foreign bytes; --planted tries the fuzzer itself
  soak                  the long runs
  bench-setup           build webos-bench";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match choose(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn choose(arguments: &[String]) -> Result<ExitCode> {
    let root = metadata::workspace_root();
    let (task, rest) = arguments.split_first().map_or(("help", &[][..]), |(t, r)| (t.as_str(), r));
    match task {
        "test" => return tasks::test(&root, rest),
        "check" => tasks::check(&root)?,
        "lint" => tasks::lint(&root)?,
        "layers" => layers::check(&root)?,
        "ratchet" if rest == ["--tighten"] => ratchet::tighten(&root)?,
        "ratchet" => ratchet::check(&root)?,
        "licences" => licences::check(&root)?,
        "web" => web::check(&root)?,
        "docs" => documents::check(&root)?,
        "limits" if rest == ["--write"] => limits::write(&root)?,
        "limits" => limits::check(&root)?,
        "counts" => counts::check(&root, rest == ["--write"])?,
        "fuzz" => fuzz::run(&root, rest)?,
        "soak" => return tasks::soak(&root),
        "bench-setup" => tasks::bench_setup(&root)?,
        "help" | "--help" => println!("{USAGE}"),
        other => bail!("unknown task '{other}'\n{USAGE}"),
    }
    Ok(ExitCode::SUCCESS)
}
