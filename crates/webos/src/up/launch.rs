//! How a node of the local world is started: which program, which folder, which port.

use super::child::{Child, Spec, Tale};
use super::limits::START_ATTEMPTS;
use super::world::LocalWorld;
use crate::args::LinkRate;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use terms::{Code, Label, Principal, Problem};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// Starts nodes. Cheap enough to clone for a task.
#[derive(Debug, Clone)]
pub struct Launcher {
    program: PathBuf,
    link: LinkRate,
    nodes: BTreeMap<Label, (Principal, PathBuf)>,
    tales: mpsc::Sender<(Label, Tale)>,
    tasks: TaskTracker,
}

/// A started node, and whether its port is not the one wished for.
#[derive(Debug)]
pub struct Launched {
    /// The node.
    pub child: Child,
    /// The port that was taken by another program.
    pub instead_of: Option<u16>,
}

impl Launcher {
    /// For the nodes of this world. Their tales arrive at `tales`, their owners run in `tasks`.
    pub fn new(
        program: PathBuf,
        local: &LocalWorld,
        link: LinkRate,
        tales: mpsc::Sender<(Label, Tale)>,
        tasks: TaskTracker,
    ) -> Self {
        let names = local.names();
        let entry = |name: &Label| (name.clone(), (names.node(name), local.folder(name).path().to_path_buf()));
        Self { program, link, nodes: names.nodes.iter().map(entry).collect(), tales, tasks }
    }

    /// Where a node writes its log.
    pub fn log(&self, name: &Label) -> Option<PathBuf> {
        self.nodes.get(name).map(|(_, folder)| folder.join("node.log"))
    }

    /// Starts a node on the port wished for, or on another if that one is taken.
    pub async fn start(&self, name: &Label, wished: Option<u16>) -> Result<Launched, Problem> {
        let mut attempt = 1;
        let mut wish = wished;
        loop {
            let port = free_port(wish)?;
            match self.start_on(name, port).await {
                Ok(child) => return Ok(Launched { child, instead_of: wished.filter(|wished| *wished != port) }),
                // Another program took the port between the look and the start: another port then.
                Err(_) if attempt < START_ATTEMPTS && is_taken(port) => {
                    attempt += 1;
                    wish = None;
                }
                Err(problem) => return Err(problem),
            }
        }
    }

    /// Starts a node on exactly this port.
    pub async fn start_on(&self, name: &Label, port: u16) -> Result<Child, Problem> {
        let Some((principal, folder)) = self.nodes.get(name) else {
            return Err(Problem::new(Code::NotFound, format!("there is no node {name}")));
        };
        // A taken port is named here; the node could only say so in its log.
        if is_taken(port) {
            let what = format!("port {port} of {name} is taken by another program");
            return Err(Problem::new(Code::Unavailable, what).next("end that program, or start `webos up` anew"));
        }
        let words = ["node", "run", "--json", "--until-stdin-closes", "--home"].map(String::from);
        let values =
            [folder.display().to_string(), format!("--listen=127.0.0.1:{port}"), format!("--link={}", self.link)];
        let spec = Spec {
            name: name.clone(),
            program: self.program.clone(),
            arguments: words.into_iter().chain(values).collect(),
            log: folder.join("node.log"),
        };
        Child::start(&spec, principal, self.tales.clone(), &self.tasks).await
    }
}

/// The port wished for if it is free, else one that is.
fn free_port(wished: Option<u16>) -> Result<u16, Problem> {
    if let Some(port) = wished.filter(|port| *port != 0 && !is_taken(*port)) {
        return Ok(port);
    }
    let any = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    any.map(|address| address.port()).map_err(|error| {
        Problem::new(Code::Unavailable, format!("no port of 127.0.0.1 can be had: {error}"))
            .next("see which programs listen with: ss -tln")
    })
}

fn is_taken(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_avoided() {
        let free = free_port(None).expect("one is free");
        assert_eq!(free_port(Some(free)).expect("free"), free);
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let port = taken.local_addr().expect("bound").port();
        assert!(is_taken(port));
        assert_ne!(free_port(Some(port)).expect("another"), port);
    }
}
