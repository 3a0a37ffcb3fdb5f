//! The peer: nginx with a P-256 certificate chain of the same shape as ours (root, issuing, leaf), on a free
//! port of loopback or at an address of a laboratory. It ends with the value.

use anyhow::{Context, Result, bail};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long nginx may take to answer.
const START: Duration = Duration::from_secs(10);

/// A running nginx.
pub struct Nginx {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate to trust, for curl.
    pub root: PathBuf,
    child: Child,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it over the files of a folder.
    pub async fn start(config: &str, files: &Path) -> Result<Self> {
        // Free when asked; nginx says so if another program was faster.
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|s| s.local_addr()).context("find a port")?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self::start_at(address, Command::new(program()?), config, files).await
    }

    /// Starts it at an address, by a command that is, or becomes, nginx.
    pub async fn start_at(address: SocketAddr, mut command: Command, config: &str, files: &Path) -> Result<Self> {
        let folder = TempDir::new().context("make a folder for nginx")?;
        certificates(folder.path(), address.ip())?;
        let config = config
            .replace("{folder}", &folder.path().display().to_string())
            .replace("{files}", &files.display().to_string())
            .replace("{address}", &address.to_string())
            .replace("{port}", &address.port().to_string());
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, config).context("write nginx's configuration")?;
        let child = command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&path)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .context("start nginx")?;
        let root = folder.path().join("root.pem");
        let mut nginx = Self { address, root, child, _folder: folder };
        nginx.wait().await?;
        Ok(nginx)
    }

    async fn wait(&mut self) -> Result<()> {
        let end = tokio::time::Instant::now() + START;
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = self.child.try_wait().context("ask after nginx")? {
                bail!("nginx ended at once: {status}");
            }
            if tokio::time::Instant::now() > end {
                bail!("nginx did not listen within {} s", START.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// The master and its worker, which does the work.
    pub fn processes(&self) -> Vec<u32> {
        let master = self.child.id();
        let children =
            std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        std::iter::once(master).chain(children.split_whitespace().filter_map(|id| id.parse().ok())).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Some(id) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // QUIT would wait for kept connections; TERM ends the worker too.
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// Where nginx is.
pub fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders
        .map(|folder| folder.join("nginx"))
        .find(|file| file.exists())
        .context("nginx is missing: make bench-setup")
}

fn certificates(folder: &Path, host: IpAddr) -> Result<()> {
    let authority = |name: &str| -> Result<CertificateParams> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(params)
    };
    let (root_key, issuing_key, key) = (KeyPair::generate()?, KeyPair::generate()?, KeyPair::generate()?);
    let root_params = authority("bench root")?;
    let root = root_params.self_signed(&root_key)?;
    let root_issuer = Issuer::new(root_params, root_key);
    let issuing_params = authority("bench issuing")?;
    let issuing = issuing_params.signed_by(&issuing_key, &root_issuer)?;
    let issuer = Issuer::new(issuing_params, issuing_key);
    let leaf = CertificateParams::new(vec![host.to_string(), "localhost".to_owned()])?.signed_by(&key, &issuer)?;
    let write =
        |name: &str, text: String| std::fs::write(folder.join(name), text).context("write nginx's certificate");
    write("chain.pem", leaf.pem() + &issuing.pem() + &root.pem())?;
    write("root.pem", root.pem())?;
    write("key.pem", key.serialize_pem())
}
