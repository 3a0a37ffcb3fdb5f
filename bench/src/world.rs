//! A local world of ours, driven by its contract: `webos up --json` prints a `ready` object, then events, and ends
//! with its process. It ends with the value.

use crate::http1::Connection;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long a world may take to end when it is asked to.
const END: Duration = Duration::from_secs(15);

/// What the first line of `webos up --json` says, as far as it is used.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// The console's link, with its token.
    pub console: String,
    /// The realm.
    pub realm: String,
    /// Every node, the home first.
    pub nodes: Vec<Node>,
}

/// One node of the world.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    /// Its process.
    pub pid: u32,
    /// Its front, `https://ADDRESS:PORT`.
    pub url: String,
}

/// A running world.
pub struct World {
    /// What it said when it was ready.
    pub ready: Ready,
    child: Child,
    // Kept so that its output never meets a closed pipe.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl World {
    /// Starts the command, which must end in `webos up --json`, and waits for its `ready`.
    pub async fn start(mut command: Command, home: &Path, patience: Duration) -> Result<Self> {
        command.env("WEBOS_HOME", home).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("start {:?}", command.as_std()))?;
        let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let ready = timeout(patience, first(&mut lines)).await;
        let ready = ready.with_context(|| format!("the world was not ready within {patience:?}"))??;
        Ok(Self { ready, child, _lines: lines })
    }

    /// The home's front.
    pub fn home(&self) -> Result<(SocketAddr, u32)> {
        let home = self.ready.nodes.first().context("the world has no node")?;
        let address = home.url.strip_prefix("https://").unwrap_or(&home.url).trim_end_matches('/');
        Ok((address.parse().with_context(|| format!("'{address}' is no address"))?, home.pid))
    }

    /// The Host of the service's files.
    pub fn service_host(&self) -> String {
        format!("site.service.{}", self.ready.realm)
    }

    /// Asks the console: a GET, or a POST of `body`.
    pub async fn console(&self, path: &str, body: Option<&str>) -> Result<serde_json::Value> {
        let link = self.ready.console.strip_prefix("http://").context("the console's link is no http:// URL")?;
        let (address, query) = link.split_once('/').context("the console's link has no path")?;
        let (_, token) = query.split_once("token=").context("the console's link has no token")?;
        let method = if body.is_some() { "POST" } else { "GET" };
        let body = body.unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nwebos-token: {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let stream = TcpStream::connect(address).await.context("connect to the console")?;
        let answer = Connection::new(stream).ask(request.as_bytes(), true).await?;
        if answer.status != 200 {
            bail!("{path}: status {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        serde_json::from_slice(&answer.body).with_context(|| format!("{path}: no JSON"))
    }

    /// Ends it as Ctrl-C would, and waits.
    pub async fn end(mut self) -> Result<()> {
        let group = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        let group = group.context("the world has ended by itself")?;
        rustix::process::kill_process_group(group, rustix::process::Signal::INT).context("end the world")?;
        if timeout(END, self.child.wait()).await.is_err() {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            bail!("the world did not end within {} s of Ctrl-C", END.as_secs());
        }
        Ok(())
    }
}

async fn first(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<Ready> {
    while let Some(line) = lines.next_line().await.context("read the world's output")? {
        let Ok(value) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        if value["event"] == "ready" {
            return serde_json::from_value(value).context("the ready object is not as agreed");
        }
    }
    bail!("the world ended before it was ready")
}
