//! `webos-bench`: side-by-side benchmarks against peers, started by `webos bench NAME`. Each prints a table
//! (work, ours, peer, ratio, goal, met) and as its last line how many goals were met.

mod cpu;
mod http1;
mod lab;
mod load;
mod nginx;
mod report;
mod slice;
mod tls;
mod trust;
mod webfs;
mod world;

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "webos-bench NAME [--short] [--json] [--webos PATH]
  slice          fronts against nginx, fetch against curl, recruiting, start
  trust          decisions beside Cedar, chains, memory
  webfs          files at 40 ms beside curl, rclone and sftp; needs root
  --short        fewer and shorter samples: at most 45 s
  --json         every sample, as one JSON object
  --webos PATH   the program to measure; default: `webos` beside this program";

/// What a benchmark is told.
pub struct Options {
    /// Fewer and shorter samples.
    pub short: bool,
    /// One JSON object instead of a table.
    pub json: bool,
    /// The program that is measured.
    pub webos: PathBuf,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("webos-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "--help".to_owned());
    let mut options = Options { short: false, json: false, webos: beside_this_program()? };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--short" => options.short = true,
            "--json" => options.json = true,
            "--webos" => options.webos = arguments.next().context("--webos needs a path")?.into(),
            other => bail!("unknown argument '{other}'\n{USAGE}"),
        }
    }
    if name == "delay" {
        return lab::delay::run();
    }
    if matches!(name.as_str(), "--help" | "-h" | "help") {
        println!("{USAGE}");
        return Ok(());
    }
    let report = match name.as_str() {
        "slice" => on_one_thread(slice::run(&options))?,
        "trust" => trust::run(&options)?,
        "webfs" => match webfs::run(&options)? {
            Some(report) => report,
            None => return Ok(()),
        },
        _ => bail!("there is no benchmark '{name}'\n{USAGE}"),
    };
    print!("{}", if options.json { report.json()? } else { report.table() });
    Ok(())
}

/// One thread: the client must not take the core that the server under test has for itself.
fn on_one_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(work)
}

fn beside_this_program() -> Result<PathBuf> {
    let here = std::env::current_exe().context("find this program's own path")?;
    Ok(here.with_file_name("webos"))
}
