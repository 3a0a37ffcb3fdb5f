//! A volume as the stream of an answer: for a backup, or for the node that is to be its new home.

use super::{going, must_own};
use crate::control::home_of;
use crate::gatekeeper::Caller;
use crate::limits::{DUMP_PAUSE, DUMP_PIECE_BYTES, DUMP_QUEUE};
use crate::node::State;
use bytes::Bytes;
use client::protocol::{DumpPurpose, DumpRequest, EPOCH_HEADER};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;
use terms::Problem;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use webfs::model::CHANGE_HEADER;
use webfs::store::Dumping;
use wire::Body;

/// Answers with the stream that is asked for.
pub async fn dump(state: &Arc<State>, caller: &Caller, request: DumpRequest) -> Result<Response<Body>, Problem> {
    let DumpRequest { volume, purpose } = request;
    let dumping = match purpose {
        DumpPurpose::Backup => {
            must_own(state, caller, &volume)?;
            let here = home_of(state, &volume)?;
            here.home.store().begin_dump().await.map_err(|error| error.for_owner())?
        }
        purpose => going::part(state, caller, &volume, purpose).await?,
    };
    Ok(streamed(dumping))
}

fn streamed(dumping: Dumping) -> Response<Body> {
    let (epoch, change) = (dumping.epoch(), dumping.change());
    let (pieces, mut body) = mpsc::channel::<io::Result<Bytes>>(DUMP_QUEUE);
    tokio::task::spawn_blocking(move || {
        let sink = Pieces { pieces: pieces.clone(), runtime: Handle::current() };
        let out = BufWriter::with_capacity(DUMP_PIECE_BYTES, sink);
        if let Err(error) = dumping.write(out) {
            tracing::warn!(problem = %error.for_owner(), "a volume was not written out to its end");
            // Whoever has gone away needs no word.
            let _ = pieces.blocking_send(Err(io::Error::other(error.to_string())));
        }
    });
    let body = futures_util::stream::poll_fn(move |context| body.poll_recv(context));
    let mut response = Response::new(wire::body::stream(body));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    fields.insert(EPOCH_HEADER, HeaderValue::from(epoch.0));
    fields.insert(CHANGE_HEADER, HeaderValue::from(change.0));
    response
}

/// Hands what is written to the network; a reader that stalls ends it.
struct Pieces {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Ok(Bytes::copy_from_slice(bytes));
        match self.runtime.block_on(timeout(DUMP_PAUSE, self.pieces.send(piece))) {
            Ok(Ok(())) => Ok(bytes.len()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What comes from the network, for a thread that reads and may block.
pub(super) struct Arriving {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Arriving {
    pub(super) fn new(pieces: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { pieces, piece: Bytes::new() }
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let taken = self.piece.split_to(self.piece.len().min(buffer.len()));
        buffer[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}
