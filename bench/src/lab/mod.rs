//! A network laboratory on one machine: a client, a server, and a router that delays everything between them exactly.
//!
//! The program starts itself again in namespaces of its own (processes, mounts, network). All of the laboratory is
//! inside, so whatever becomes of the program, the kernel ends every process and takes every link down with it.

pub mod delay;

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

/// Where the server is; the client is this process.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 2, 2);
/// Set in the program that runs inside.
const INSIDE: &str = "WEBOS_BENCH_IN_LAB";
const UP: &str = include_str!("up.sh");
/// Congestion control of both hosts.
const CONGESTION: &str = "cubic";
/// Longest buffers of a TCP connection: bytes. So that no side is held back by them.
const BUFFER_BYTES: u32 = 64 << 20;
const ALLOWED: &str = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";

/// Whether this process is the one inside.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this program with the same arguments inside of new namespaces, and waits for its end.
pub fn enter() -> Result<ExitStatus> {
    let _allowed = Allowed::congestion_control()?;
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.arg(std::env::current_exe().context("find this program")?).args(std::env::args_os().skip(1));
    // What is inside ends when this pipe closes: also if this process is killed.
    let mut inside =
        command.env(INSIDE, "1").stdin(Stdio::piped()).spawn().context("start unshare (util-linux)")?;
    let _open = inside.stdin.take();
    inside.wait().context("wait for the laboratory's end")
}

/// A namespace may only use what the machine allows; what was allowed before is restored at the end.
struct Allowed(Option<String>);

impl Allowed {
    fn congestion_control() -> Result<Self> {
        let before = std::fs::read_to_string(ALLOWED).context("read the allowed congestion controls")?;
        if before.split_whitespace().any(|name| name == CONGESTION) {
            return Ok(Self(None));
        }
        std::fs::write(ALLOWED, format!("{} {CONGESTION}", before.trim()))
            .context("allow a congestion control: only root may make a laboratory")?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // One more that is allowed does no harm.
            let _ = std::fs::write(ALLOWED, before.trim());
        }
    }
}

/// The laboratory, in the process inside.
pub struct Lab {
    delay: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    rtt_ms: f64,
}

impl Lab {
    /// Makes both hosts and the router, without delay.
    pub fn new() -> Result<Self> {
        let mut up = Command::new("sh");
        up.args(["-euc", UP]).env("CONGESTION", CONGESTION).env("BUFFER_BYTES", BUFFER_BYTES.to_string());
        succeed(&mut up)?;
        end_with_outside();
        // Before anything else that computes: a late delay is a wrong delay.
        let mut command = at("router", "chrt");
        command.args(["-f", "20"]).arg(std::env::current_exe()?).arg("delay");
        let mut delay = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start the delay")?;
        let orders = delay.stdin.take().context("no standard input")?;
        let answers = BufReader::new(delay.stdout.take().context("no standard output")?);
        let mut lab = Self { delay, orders, answers, rtt_ms: 0.0 };
        lab.answer()?;
        Ok(lab)
    }

    /// From now on so many milliseconds from the client to the server and back. With none the packets do not pass the
    /// delaying process at all.
    pub fn set_rtt(&mut self, milliseconds: f64) -> Result<()> {
        writeln!(self.orders, "{:.0}", milliseconds * 500.0).context("order a delay")?;
        self.answer()?;
        if (milliseconds > 0.0) != (self.rtt_ms > 0.0) {
            let change = if milliseconds > 0.0 { "-A" } else { "-D" };
            for (from, to, queue) in
                [("client", "server", delay::QUEUES[0]), ("server", "client", delay::QUEUES[1])]
            {
                let mut rule = at("router", "iptables");
                rule.args([change, "FORWARD", "-i", from, "-o", to, "-j", "NFQUEUE", "--queue-num"]);
                succeed(rule.arg(queue.to_string()))?;
            }
        }
        self.rtt_ms = milliseconds;
        Ok(())
    }

    /// The round trip in milliseconds.
    pub fn rtt_ms(&self) -> f64 {
        self.rtt_ms
    }

    /// A program on the server's host.
    pub fn on_server(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        at("server", program)
    }

    /// Packets that the client has sent since the start.
    pub fn packets_sent(&self) -> Result<u64> {
        let text = std::fs::read_to_string("/proc/net/dev").context("read the client's counters")?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).context("no link")?;
        line.split_whitespace().nth(9).and_then(|word| word.parse().ok()).context("no counter")
    }

    fn answer(&mut self) -> Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("hear from the delay")?;
        if line.is_empty() {
            bail!("the delay ended: {:?}", self.delay.try_wait());
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.delay.kill();
        let _ = self.delay.wait();
    }
}

fn at(host: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{host}")).arg("--").arg(program);
    command
}

/// Runs a command; what it said becomes the error.
pub fn succeed(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Ends with the process outside, and on an interrupt, which the first process of a namespace has to ask for.
fn end_with_outside() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(130);
    });
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            let _ = runtime.block_on(tokio::signal::ctrl_c());
            std::process::exit(130);
        }
    });
}
