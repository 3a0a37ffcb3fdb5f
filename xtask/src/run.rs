//! Running other programs: what is run is printed first, and a failure names it.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// cargo, as it called us, in `root`, with these arguments.
pub fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root).stdin(Stdio::null());
    command
}

/// Runs to the end and fails unless it succeeded.
pub fn must(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("xtask: {shown}");
    let status = command.status().with_context(|| format!("start {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// Runs to the end, passing on both outputs line by line, each line also to `see`; true if it succeeded.
pub fn watched(command: &mut Command, mut see: impl FnMut(&str)) -> Result<bool> {
    let shown = shown(command);
    eprintln!("xtask: {shown}");
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(|| format!("start {shown}"))?;
    let out = child.stdout.take().context("no standard output")?;
    let err = child.stderr.take().context("no standard error")?;
    let (send, lines) = std::sync::mpsc::sync_channel(1024);
    let readers = [pass_on(out, std::io::stdout(), send.clone()), pass_on(err, std::io::stderr(), send)];
    for line in lines {
        see(&line);
    }
    for reader in readers {
        drop(reader.join());
    }
    Ok(child.wait().with_context(|| format!("wait for {shown}"))?.success())
}

fn pass_on(
    from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    send: std::sync::mpsc::SyncSender<String>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
            // Nobody reads any more: the command still has to run to its end.
            drop(to.write_all(&line).and_then(|()| to.flush()));
            drop(send.send(String::from_utf8_lossy(&line).into_owned()));
            line.clear();
        }
    })
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
