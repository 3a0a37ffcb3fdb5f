//! The tasks that run cargo: tests with their totals, the quick round, lint, the long runs, the benchmark's
//! build.

use crate::run::{cargo, must, watched};
use crate::{counts, documents, layers, licences, limits, ratchet, web};
use anyhow::Result;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Tests passed, failed and skipped, added up over all test programs of a run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// All tests of the workspace; the last line is `N passed, N failed, N skipped`.
pub fn test(root: &Path, arguments: &[String]) -> Result<ExitCode> {
    // The end-to-end tests start the program itself; building it here keeps the compiler out of their time.
    must(&mut cargo(root, &["build", "--locked", "--workspace", "--bins"]))?;
    run_tests(root, &[], arguments)
}

/// The tests with their long settings: `WEBOS_SOAK=1` is what the simulations and kill tests look at.
pub fn soak(root: &Path) -> Result<ExitCode> {
    must(&mut cargo(root, &["build", "--locked", "--workspace", "--bins"]))?;
    run_tests(root, &[("WEBOS_SOAK", "1")], &[])
}

/// Format, clippy and the unit tests of the libraries.
pub fn check(root: &Path) -> Result<()> {
    format_and_clippy(root)?;
    must(&mut cargo(root, &["test", "--locked", "--quiet", "--workspace", "--lib", "--bins"]))
}

/// Everything that is looked at without running the program.
pub fn lint(root: &Path) -> Result<()> {
    format_and_clippy(root)?;
    for (name, check) in [
        ("stairs", layers::check as fn(&Path) -> Result<()>),
        ("lengths", ratchet::check),
        ("licences, sources and bans", licences::check),
        ("docs/limits.md", limits::check),
        ("documents", documents::check),
        ("the locks of bench/ and fuzz/", locks),
        ("the console's page", web::check),
        ("xtask/counts.txt", |root| counts::check(root, false)),
    ] {
        check(root)?;
        eprintln!("xtask: {name}: as they should be");
    }
    Ok(())
}

/// The benchmark is a workspace of its own, so that its dependencies are not the product's.
pub fn bench_setup(root: &Path) -> Result<()> {
    let bench = root.join("bench");
    must(&mut cargo(&bench, &["build", "--locked", "--release"]))
}

/// The workspaces of their own are seldom built: what they lock must fit what the product depends on now.
fn locks(root: &Path) -> Result<()> {
    for folder in ["bench", "fuzz"] {
        let mut command = cargo(&root.join(folder), &["metadata", "--locked", "--format-version", "1"]);
        must(command.stdout(Stdio::null()))?;
    }
    Ok(())
}

fn format_and_clippy(root: &Path) -> Result<()> {
    must(&mut cargo(root, &["fmt", "--all", "--check"]))?;
    must(&mut cargo(root, &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn run_tests(root: &Path, settings: &[(&str, &str)], arguments: &[String]) -> Result<ExitCode> {
    let nextest =
        Command::new("cargo-nextest").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let mut command = if nextest.is_ok_and(|status| status.success()) {
        cargo(root, &["nextest", "run", "--locked", "--workspace"])
    } else {
        cargo(root, &["test", "--locked", "--workspace", "--no-fail-fast"])
    };
    command.args(arguments).envs(settings.iter().copied());
    let mut totals = Totals::default();
    let mut succeeded = watched(&mut command, |line| totals.add(line))?;
    // With arguments somebody looks for certain tests; the page's are not among them.
    if arguments.is_empty() {
        succeeded &= watched(&mut web::tests(root), |line| totals.add(line))?;
    }
    println!("{} passed, {} failed, {} skipped", totals.passed, totals.failed, totals.skipped);
    // A run that failed without a failed test (it did not compile, or ran none) is a failure too.
    let green = succeeded && totals.failed == 0 && totals.passed > 0;
    Ok(if green { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Totals {
    /// Adds what a closing line says: libtest's `test result: …`, nextest's `Summary […] …`, or one of node's
    /// `# pass 4`.
    fn add(&mut self, line: &str) {
        let line = without_colours(line);
        // What nextest shows again of a test that failed is indented: it has been counted.
        if line.starts_with("    ") && line.trim_start().starts_with("test result:") {
            return;
        }
        let line = line.trim();
        if let Some(count) = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ ")) {
            self.add_of_node(count);
            return;
        }
        let Some(counts) = line.strip_prefix("test result:").or_else(|| line.strip_prefix("Summary [")) else {
            return;
        };
        for part in counts.split([';', ',', '.', ':']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" | "timed" | "exec" => self.failed += count,
                "ignored" | "skipped" => self.skipped += count,
                _ => {}
            }
        }
    }

    fn add_of_node(&mut self, line: &str) {
        let Some((what, count)) = line.split_once(' ') else { return };
        let Ok(count) = count.parse::<u64>() else { return };
        match what {
            "pass" => self.passed += count,
            "fail" | "cancelled" => self.failed += count,
            "skipped" | "todo" => self.skipped += count,
            _ => {}
        }
    }
}

/// The text without terminal colours (`ESC [ … m`).
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_all_runners_are_added_up() {
        let mut totals = Totals::default();
        for line in [
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.05s\n",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.25s\n",
            "     Summary [   0.519s] 20 tests run: 17 passed (2 slow, 1 leaky), 2 failed, 1 timed out, 4 skipped",
            "\u{1b}[32;1m     Summary\u{1b}[0m [   1.001s] \u{1b}[1m5\u{1b}[0m tests run: \u{1b}[1m5\u{1b}[0m passed",
            "100 passed and other words of a program",
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.25s",
            "# tests 9",
            "# pass 6",
            "ℹ fail 1",
            "# cancelled 0",
            "# skipped 2",
            "# pass the salt",
        ] {
            totals.add(line);
        }
        assert_eq!(totals, Totals { passed: 12 + 3 + 17 + 5 + 6, failed: 2 + 2 + 1 + 1, skipped: 1 + 4 + 2 });
    }
}
