//! Where the files of a volume are asked for, and how a request goes after a volume that moves.

use super::Volume;
use crate::limits::{FOLLOW_WITHIN, LITTLE_BYTES, MOVED_PAUSE};
use crate::models::VolumeRecord;
use crate::protocol::EPOCH_HEADER;
use crate::remote::Node;
use crate::session::request;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use hyper::body::{Body, Incoming};
use std::sync::{Arc, PoisonError, RwLock};
use terms::{BootMs, Code, Epoch, Problem};
use trust::PublicKey;
use wire::Purpose;

/// Who is asked, and what the volume's record says.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) node: Node,
    pub(super) key: PublicKey,
    /// That of the volume's record.
    epoch: Epoch,
}

impl Volume {
    pub(crate) fn new(node: Node, record: VolumeRecord) -> Self {
        let VolumeRecord { volume: name, home, key, epoch, .. } = record;
        let at_home = home == *node.principal();
        Self { place: Arc::new(RwLock::new(Place { node, key, epoch })), name, at_home }
    }

    /// The node that is asked.
    pub fn node(&self) -> Node {
        self.place().node
    }

    pub(super) fn place(&self) -> Place {
        self.place.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks, after a node has said that it is not the home, where the home is now; waits a little while it is the same.
    /// Answers whether to ask again.
    pub(crate) async fn go_after(&self, until: BootMs) -> bool {
        if !self.at_home || self.node().client().world().clock.boot() >= until {
            return false;
        }
        if !self.look_again().await {
            // In the middle of a move, or the name server is away as well: its word comes in a moment.
            tokio::time::sleep(MOVED_PAUSE).await;
        }
        true
    }

    /// Asks where the home is now. Answers whether it is elsewhere.
    pub(crate) async fn look_again(&self) -> bool {
        let place = self.place();
        let client = place.node.client();
        if !self.at_home {
            return false;
        }
        match client.volume_record_anew(&self.name).await {
            Ok(record) if record.home != *place.node.principal() || record.address != place.node.address() => {
                let node = client.node(&record.home, &record.address);
                let next = Place { node, key: record.key, epoch: record.epoch };
                *self.place.write().unwrap_or_else(PoisonError::into_inner) = next;
                true
            }
            _ => false,
        }
    }

    /// Until when a request that begins now follows the volume.
    pub(crate) fn follows_until(&self) -> BootMs {
        self.node().client().world().clock.boot().plus(FOLLOW_WITHIN)
    }

    /// Sends a content that cannot be sent again.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: wire::Body,
    ) -> Result<Response<Incoming>, Problem> {
        let little = body.size_hint().upper().is_some_and(|most| most <= LITTLE_BYTES);
        let over = |node: &Node| if little { node.for_little() } else { Purpose::Bulk };
        self.ask_once(over, method, path, headers, body).await
    }

    /// The same with one that can: goes after the volume if that moves meanwhile.
    pub(super) async fn ask_after(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        content: Bytes,
    ) -> Result<Response<Incoming>, Problem> {
        let little = content.len() as u64 <= LITTLE_BYTES;
        let over = |node: &Node| if little { node.for_little() } else { Purpose::Bulk };
        self.ask_over(over, method, path, headers, content).await
    }

    /// The same over a connection that is chosen for whoever is asked.
    pub(crate) async fn ask_over(
        &self,
        over: impl Fn(&Node) -> Purpose,
        method: Method,
        path: &str,
        headers: HeaderMap,
        content: Bytes,
    ) -> Result<Response<Incoming>, Problem> {
        let until = self.follows_until();
        loop {
            let body = wire::body::full(content.clone());
            match self.ask_once(&over, method.clone(), path, headers.clone(), body).await {
                Err(problem) if problem.code == Code::Moved && self.go_after(until).await => {}
                answer => return answer,
            }
        }
    }

    async fn ask_once(
        &self,
        over: impl Fn(&Node) -> Purpose,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: wire::Body,
    ) -> Result<Response<Incoming>, Problem> {
        let Place { node, epoch, .. } = self.place();
        let mut request = request(method, node.principal(), path, body)?;
        request.headers_mut().extend(headers);
        if self.at_home {
            request.headers_mut().insert(EPOCH_HEADER, HeaderValue::from(epoch.0));
        }
        let answer = node.send(over(&node), request).await;
        if let Err(problem) = &answer
            && self.at_home
            && may_be_elsewhere(problem.code)
        {
            node.client().forget_record(&self.name);
        }
        answer
    }
}

/// Whether an answer may come of the volume's living elsewhere now.
fn may_be_elsewhere(code: Code) -> bool {
    matches!(code, Code::Moved | Code::Unavailable | Code::Timeout | Code::Denied | Code::Unsupported)
}
