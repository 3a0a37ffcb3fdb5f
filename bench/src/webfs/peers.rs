//! The peers' servers on the server's host, over the same files, and the commands of their clients.

use crate::lab::{Lab, SERVER, succeed};
use crate::nginx::Nginx;
use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const NGINX_PORT: u16 = 8443;
const WEBDAV_PORT: u16 = 8080;
/// Samples of the bare round trip: count.
const ROUND_TRIPS: usize = 20;
/// How long a server may take to listen.
const START: Duration = Duration::from_secs(10);

/// The servers. They end with the value.
pub struct Peers {
    nginx: Nginx,
    sshd: Child,
    webdav: Child,
    keys: PathBuf,
    files: PathBuf,
}

impl Peers {
    /// Starts all over `files`; keys go to `keys`.
    pub fn start(lab: &Lab, configs: (&str, &str), files: &Path, keys: &Path) -> Result<Self> {
        let (nginx, sshd) = configs;
        std::fs::create_dir_all(keys).context("make a folder")?;
        for key in ["host", "user"] {
            let mut command = Command::new("ssh-keygen");
            succeed(command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(keys.join(key)))?;
        }
        let sshd = sshd.replace("{folder}", &keys.display().to_string()).replace("{host}", &SERVER.to_string());
        let config = keys.join("sshd_config");
        std::fs::write(&config, sshd).context("write sshd's configuration")?;
        let mut command = lab.on_server("/usr/sbin/sshd");
        let sshd = command.arg("-D").arg("-f").arg(&config).stdin(Stdio::null()).spawn().context("start sshd")?;
        let mut command = lab.on_server("rclone");
        command.args(["serve", "webdav"]).arg(files).args(["--addr", &format!("{SERVER}:{WEBDAV_PORT}")]);
        command.args(["--config", "/dev/null", "--dir-cache-time", "1s"]);
        let webdav = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("start rclone")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let address = SocketAddr::from((SERVER, NGINX_PORT));
        let command = lab.on_server(crate::nginx::program()?);
        let nginx = runtime.block_on(Nginx::start_at(address, command, nginx, files))?;
        let peers = Self { nginx, sshd, webdav, keys: keys.to_owned(), files: files.to_owned() };
        for port in [22, WEBDAV_PORT] {
            listening(SocketAddr::from((SERVER, port)))?;
        }
        Ok(peers)
    }

    /// curl, told what to trust.
    pub fn curl(&self) -> Command {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--cacert"]).arg(&self.nginx.root);
        command
    }

    /// The URL of a file at nginx.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.nginx.address)
    }

    /// rclone over sftp, without the checks that cost it a round trip or more for each file.
    pub fn rclone_sftp(&self, verb: &str) -> Command {
        let mut command = rclone(verb);
        command.args(["--sftp-host", &SERVER.to_string(), "--sftp-user", "root", "--sftp-key-file"]);
        command.arg(self.keys.join("user")).args(["--sftp-disable-hashcheck", "--sftp-set-modtime=false"]);
        command
    }

    /// Where rclone over sftp finds a path.
    pub fn at_sftp(&self, path: &str) -> String {
        format!(":sftp:{}", self.files.join(path).display())
    }

    /// rclone over WebDAV without TLS, which spares it two round trips.
    pub fn rclone_webdav(&self, verb: &str) -> Command {
        let mut command = rclone(verb);
        command.args(["--webdav-url", &format!("http://{SERVER}:{WEBDAV_PORT}"), "--webdav-vendor", "other"]);
        command
    }

    /// Where rclone over WebDAV finds a path.
    pub fn at_webdav(path: &str) -> String {
        format!(":webdav:{path}")
    }

    /// sftp, which reads what to do from this file.
    pub fn sftp(&self, batch: &Path) -> Command {
        let mut command = Command::new("sftp");
        command.arg("-q").arg("-b").arg(batch).arg("-i").arg(self.keys.join("user"));
        for option in ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"] {
            command.args(["-o", option]);
        }
        command.arg(format!("root@{SERVER}"));
        command
    }

    /// How long the kernels alone take to answer over this network: milliseconds, the median of some.
    pub fn round_trip(&self) -> Result<f64> {
        let mut took = Vec::new();
        for _ in 0..ROUND_TRIPS {
            let started = Instant::now();
            std::net::TcpStream::connect(self.nginx.address).context("connect")?;
            took.push(started.elapsed().as_secs_f64() * 1e3);
        }
        crate::report::median(&took).context("no samples")
    }

    /// The folder that all serve.
    pub fn files(&self) -> &Path {
        &self.files
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for child in [&mut self.sshd, &mut self.webdav] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn rclone(verb: &str) -> Command {
    let mut command = Command::new("rclone");
    command.args([verb, "--config", "/dev/null", "--transfers", "16", "--checkers", "16"]);
    command
}

fn listening(address: SocketAddr) -> Result<()> {
    let end = Instant::now() + START;
    while std::net::TcpStream::connect(address).is_err() {
        if Instant::now() > end {
            bail!("nobody listens at {address}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
