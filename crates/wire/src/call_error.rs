//! Why a request got no answer, and whether it may have been carried out.

use std::time::Duration;
use terms::{Code, Problem};

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection: nothing of the request was sent.
    #[error("{address} is not reachable")]
    Connect {
        /// The address.
        address: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else is there, or the handshake failed: nothing of the request was sent.
    #[error("{address} was refused: {reason}")]
    Refused {
        /// The address.
        address: String,
        /// Who was expected and found.
        reason: String,
    },
    /// The connection broke after the request was sent: it may or may not have been carried out.
    #[error("the connection to {address} broke")]
    Broken {
        /// The address.
        address: String,
        /// What HTTP says.
        #[source]
        source: hyper::Error,
    },
    /// No answer in time.
    #[error("{address} did not answer within {} s", after.as_secs())]
    Deadline {
        /// The address.
        address: String,
        /// The deadline.
        after: Duration,
    },
}

impl CallError {
    /// Whether the request surely was not carried out, so that a repetition elsewhere is free.
    pub fn not_sent(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Refused { .. })
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        let code = match &error {
            CallError::Refused { .. } => Code::Denied,
            CallError::Deadline { .. } => Code::Timeout,
            CallError::Connect { .. } | CallError::Broken { .. } => Code::Unavailable,
        };
        Self::new(code, format!("{error}{cause}"))
    }
}
