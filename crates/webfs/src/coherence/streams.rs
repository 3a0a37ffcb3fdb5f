//! The greeted streams of a server's holders, as the server's owner speaks on them. It never waits: a holder that does
//! not take what is said to it loses its stream, and its lease runs out.

use super::stream::Say;
use crate::rules::{ByeReason, Down, Hello};
use std::collections::HashMap;
use tokio::sync::mpsc;

/// One entry for each stream that can still be spoken on.
pub(crate) struct Streams<C>(HashMap<Hello, mpsc::Sender<Say<C>>>);

impl<C> Default for Streams<C> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<C> Streams<C> {
    /// Takes a stream that has greeted; whether it is the only one under its number. A second one is ended: they
    /// could not be told apart.
    pub(crate) fn greeted(&mut self, hello: Hello, say: mpsc::Sender<Say<C>>) -> bool {
        self.0.retain(|_, say| !say.is_closed());
        if self.0.contains_key(&hello) {
            // Dropping `say` ends the stream.
            let _ = say.try_send(Say::Frame(Down::Bye { reason: ByeReason::Superseded }));
            return false;
        }
        self.0.insert(hello, say);
        true
    }

    /// Sends a frame; the stream ends after a goodbye.
    pub(crate) fn send(&mut self, stream: Hello, message: Down) {
        let last = matches!(message, Down::Bye { .. });
        self.say(stream, Say::Frame(message));
        if last {
            self.end(stream);
        }
    }

    /// Hands something to a stream. One that cannot take it is dropped: its holder must come again, and until then
    /// its lease runs out.
    pub(crate) fn say(&mut self, stream: Hello, what: Say<C>) {
        if let Some(say) = self.0.get(&stream)
            && say.try_send(what).is_err()
        {
            tracing::debug!(session = %stream.session, "a session stream is dropped: it takes nothing any more");
            self.end(stream);
        }
    }

    /// Speaks on a stream no more.
    pub(crate) fn end(&mut self, stream: Hello) {
        self.0.remove(&stream);
    }
}
