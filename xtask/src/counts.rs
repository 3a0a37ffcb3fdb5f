//! Instructions of what every request passes through, counted by valgrind: the same on a busy machine and an idle one.
//! Only functions in Rust count: cryptography and copying choose their code by the processor.

use crate::run::{cargo, must};
use anyhow::{Context, Result, bail};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILE: &str = "xtask/counts.txt";
const HEAD: &str = "# Instructions of one decision and of verifying one chain of four links, functions in Rust only. More than a tenth\n\
    # above fails, and more than a tenth below too: `cargo xtask counts --write` writes what is.\n";
/// What is counted, and how often it is done in the longer of two runs: their difference leaves out the set-up.
const WORK: [(&str, u64); 2] = [("decision", 1000), ("chain", 50)];
/// What the name of a function of ours, or of a crate in Rust, holds. Those in C and assembler are cryptography, its
/// entropy, and copying: they differ by processor and from run to run.
const COUNTED: &str = "::";

/// Compares the counts with the file, or writes it.
pub fn check(root: &Path, write: bool) -> Result<()> {
    must(&mut cargo(root, &["build", "--locked", "--package", "webos-foreign", "--example", "counted"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let program = target.join("debug/examples/counted");
    let mut text = HEAD.to_owned();
    let mut wrong = Vec::new();
    let stated = std::fs::read_to_string(root.join(FILE)).unwrap_or_default();
    for (name, times) in WORK {
        let (few, many) = (count(&program, name, 1)?, count(&program, name, 1 + times)?);
        let each = many.saturating_sub(few) / times;
        writeln!(text, "{name} {each}")?;
        let before = line(&stated, name);
        if before.is_none_or(|before| each.abs_diff(before) * 10 > before) {
            wrong.push(format!("{name}: {each} instructions, {} are stated", before.unwrap_or(0)));
        }
    }
    if write {
        return std::fs::write(root.join(FILE), text).with_context(|| format!("write {FILE}"));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}\nIf the change is meant, run `cargo xtask counts --write` and say why.", wrong.join("\n"))
}

/// The number that the file states for this name.
fn line(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Instructions of one run.
fn count(program: &Path, name: &str, times: u64) -> Result<u64> {
    let file = program.with_file_name(format!("{name}-{times}.callgrind"));
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet", "--error-exitcode=1"]);
    command.arg(format!("--callgrind-out-file={}", file.display())).arg(program).arg(name).arg(times.to_string());
    let output = command.output().context("run valgrind; `sh xtask/setup.sh test` installs it")?;
    if !output.status.success() {
        bail!("valgrind of {name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(own(&std::fs::read_to_string(&file).context("read what valgrind counted")?))
}

/// The sum over all functions that count, from callgrind's format: `fn=(1) name` begins a function (later
/// only its number is given), each further line is a place and a count, and the line after `calls=` counts what was
/// called, which is counted there.
fn own(text: &str) -> u64 {
    let mut in_rust = std::collections::BTreeMap::new();
    let (mut counted, mut skip, mut sum) = (false, false, 0);
    for line in text.lines() {
        if let Some(function) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            if !name.is_empty() {
                in_rust.insert(number.to_owned(), name.contains(COUNTED));
            }
            if line.starts_with("fn=") {
                counted = in_rust.get(number).copied().unwrap_or(false);
            }
        } else if line.starts_with("calls=") {
            skip = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '*')) {
            let instructions = line.split(' ').nth(1).and_then(|count| count.parse::<u64>().ok());
            if counted && !skip {
                sum += instructions.unwrap_or(0);
            }
            skip = false;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_instructions_are_summed() {
        let text = "version: 1\nevents: Ir\nfn=(1) trust::decide\n16 3\n+2 4\ncfn=(2) aws_lc_0_40_0_sign\ncalls=1 5\n* 1000\n\
            \nfn=(2)\n5 1000\nfn=(3) __memcpy_avx\n1 50\nfn=(1)\n-3 10\ntotals: 1067\n";
        assert_eq!(own(text), 17);
        assert_eq!(line("# text\ndecision 12\nchain 34\n", "chain"), Some(34));
    }
}
