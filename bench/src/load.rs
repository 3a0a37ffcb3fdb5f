//! A closed loop over kept connections: each asks for the same file, one request at a time, for a stated time.

use crate::http1::Connection;
use crate::tls;
use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What is asked, and of whom.
#[derive(Debug, Clone)]
pub struct Target {
    /// The server.
    pub address: SocketAddr,
    /// The Host header, and the name in the handshake.
    pub host: String,
    /// The path.
    pub path: String,
    /// Bytes that each answer must have.
    pub bytes: u64,
}

impl Target {
    /// The request as it goes over the wire.
    pub fn request(&self) -> Vec<u8> {
        format!("GET {} HTTP/1.1\r\nhost: {}\r\nuser-agent: webos-bench\r\n\r\n", self.path, self.host).into_bytes()
    }
}

/// How long and how wide.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Kept connections, each with one request at a time.
    pub connections: usize,
    /// Not counted, after all connections are there.
    pub warm_up: Duration,
    /// Counted.
    pub measured: Duration,
}

/// Answers per second within the measured time. Any other answer than the whole file is an error.
pub async fn run(target: &Target, shape: Shape) -> Result<f64> {
    let connector = tls::connector()?;
    let mut connections = Vec::new();
    for _ in 0..shape.connections {
        connections.push(Connection::new(tls::connect(&connector, target.address, &target.host).await?));
    }
    let start = Instant::now() + shape.warm_up;
    let end = start + shape.measured;
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        let (request, bytes, path) = (target.request(), target.bytes, target.path.clone());
        tasks.spawn(async move {
            let mut counted = 0_u64;
            loop {
                let answer = connection.ask(&request, false).await?;
                if answer.status != 200 || answer.bytes != bytes {
                    bail!("{path}: status {}, {} bytes instead of {bytes}", answer.status, answer.bytes);
                }
                let now = Instant::now();
                if now >= end {
                    return Ok(counted);
                }
                counted += u64::from(now >= start);
            }
        });
    }
    let mut answers = 0;
    while let Some(counted) = tasks.join_next().await {
        answers += counted.context("a client ended badly")??;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    Ok(answers as f64 / shape.measured.as_secs_f64())
}
