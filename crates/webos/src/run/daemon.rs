//! The load daemons of the services published at the node that runs here, and what they tell.
//!
//! This is the place where `node` and the application `rentaserver`, which know nothing of each other, are joined.

use crate::output::{Failure, Out, Outcome};
use client::Client;
use discovery::verified::Certificate;
use node::{Node, Publication};
use rentaserver::field::ClientField;
use rentaserver::model::{Server, Settings};
use rentaserver::notice::Notice;
use rentaserver::shell;
use serde::Serialize;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use terms::{Code, Location, Problem, ServiceName, UnixMs};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use world::World;

/// Notices that wait to be printed, of each daemon and of all: count. A daemon waits for nobody: more are dropped.
const NOTICES: usize = 256;
/// What servers may take to finish when the node is told to end. Leases end those that do not.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);
/// How long the end of the daemons is waited for.
const END_WITHIN: Duration = Duration::from_secs(3);

/// One line of what a daemon tells.
#[derive(Serialize)]
struct Told {
    event: &'static str,
    service: ServiceName,
    at_ms: UnixMs,
    text: String,
    notice: Notice,
}

struct Running {
    publication: Publication,
    field: Arc<ClientField>,
    stop: watch::Sender<Option<Duration>>,
}

/// The load daemons of one node.
pub struct Daemons {
    client: Client,
    world: World,
    publications: watch::Receiver<Vec<Publication>>,
    running: BTreeMap<ServiceName, Running>,
    tasks: JoinSet<()>,
    told: mpsc::Receiver<(ServiceName, Notice)>,
    tell: mpsc::Sender<(ServiceName, Notice)>,
}

impl Daemons {
    /// Will run a daemon for each service that the node publishes now or later.
    pub fn new(node: &Node, world: &World) -> Self {
        let (tell, told) = mpsc::channel(NOTICES);
        let mut publications = node.publications();
        publications.mark_changed();
        Self {
            client: node.client().clone(),
            world: world.clone(),
            publications,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            told,
            tell,
        }
    }

    /// Runs the daemons and prints what they tell until `end`; then lets them return what they borrowed.
    pub async fn run_until(mut self, end: impl Future<Output = ()>, out: &mut Out) -> Outcome {
        tokio::pin!(end);
        let outcome = loop {
            tokio::select! {
                () = &mut end => break Ok(()),
                Ok(()) = self.publications.changed() => self.follow(),
                Some((service, notice)) = self.told.recv() => {
                    if let Err(failure) = self.print(out, service, notice) {
                        break Err(failure);
                    }
                }
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended {
                        break Err(Problem::new(Code::Internal, format!("a load daemon broke: {error}")).into());
                    }
                }
            }
        };
        self.end().await;
        outcome
    }

    fn print(&self, out: &mut Out, service: ServiceName, notice: Notice) -> Result<(), Failure> {
        let renewal = matches!(notice, Notice::Renewed { .. });
        let (at_ms, text) = (self.world.clock.unix(), notice.to_string());
        out.result(&Told { event: "notice", service, at_ms, text, notice }, |out, told| {
            // People are told what changes; a renewal changes nothing.
            if renewal {
                return Ok(());
            }
            out.line(&format!("{}: {}", told.service, told.text))?;
            out.flush()
        })
    }

    /// Starts the daemons of new services, and starts those anew whose service is published differently.
    fn follow(&mut self) {
        let publications = self.publications.borrow_and_update().clone();
        for publication in publications {
            let service = publication.request.service.clone();
            if let Some(running) = self.running.get_mut(&service)
                && running.publication.request == publication.request
            {
                running.field.set_certificate(publication.certificate.clone());
                running.publication = publication;
                continue;
            }
            // Without its sender an earlier daemon ends at once, and the next one adopts what it borrowed.
            self.running.remove(&service);
            match self.start(publication) {
                Ok(running) => drop(self.running.insert(service, running)),
                Err(problem) => tracing::error!(%service, %problem, "the load daemon does not start"),
            }
        }
    }

    fn start(&mut self, publication: Publication) -> Result<Running, Problem> {
        let service = publication.request.service.clone();
        let settings = self.settings(&publication)?;
        let state = Location {
            volume: publication.request.files.volume.clone(),
            path: node::state_folder(&service)?.join("load-daemon.json").map_err(|error| internal(&error))?,
        };
        let group = node::serving_group(&service)?;
        let certificate = publication.certificate.clone();
        let field = ClientField::new(self.client.clone(), service.clone(), certificate, group, state)?;
        let field = Arc::new(field);
        let (stop, stopped) = watch::channel(None);
        let (notices, mut told) = mpsc::channel(NOTICES);
        let (daemon, tell) = (shell::run(field.clone(), settings, notices, stopped), self.tell.clone());
        self.tasks.spawn(async move {
            let (name, forwarding) = (service.clone(), service);
            let forward = async {
                while let Some(notice) = told.recv().await {
                    if tell.send((forwarding.clone(), notice)).await.is_err() {
                        return;
                    }
                }
            };
            let (ended, ()) = tokio::join!(daemon, forward);
            if let Err(error) = ended {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(service = %name, "{error}: {cause}");
            }
        });
        Ok(Running { publication, field, stop })
    }

    fn settings(&self, publication: &Publication) -> Result<Settings, Problem> {
        let request = &publication.request;
        let now = self.world.clock.unix();
        let certificate = Certificate::open(&publication.certificate, &request.service, self.client.trust(), now);
        let certificate = certificate.map_err(|error| internal(&error))?;
        let primaries = certificate.servers().filter(|(_, server)| server.primary);
        let primaries = primaries.map(|(key, server)| Server {
            principal: server.principal.clone(),
            key,
            address: server.address.clone(),
            place: server.place,
            power: server.power,
            price: server.price,
        });
        let most = usize::try_from(request.max_servers).unwrap_or(usize::MAX);
        let mut settings =
            Settings::new(request.service.clone(), primaries.collect(), f64::from(request.goal_ms), most);
        settings.link_bits_per_s = request.link_bps;
        if let Some(ms) = request.stabilization_ms {
            settings.stabilization = Duration::from_millis(ms.into());
        }
        settings.epoch_above = publication.epoch;
        Ok(settings)
    }

    async fn end(&mut self) {
        for running in self.running.values() {
            running.stop.send_replace(Some(DRAIN_WITHIN));
        }
        let all = async {
            loop {
                // What they tell meanwhile has to be taken, or they would wait for it.
                tokio::select! {
                    ended = self.tasks.join_next() => if ended.is_none() { return },
                    _ = self.told.recv() => {}
                }
            }
        };
        if timeout(END_WITHIN, all).await.is_err() {
            tracing::info!("what is still borrowed is ended by its leases");
        }
    }
}

fn internal(error: &dyn std::error::Error) -> Problem {
    Problem::new(Code::Internal, error.to_string())
}
