//! All that happens in the world of recruiting.

use super::client::Piggyback;
use process::model::StartRequest;
use rentaserver::model::Server;
use rentaserver::rules::{Answer, Call, Event as Heard};
use terms::{BootMs, Principal, UnixMs};

/// Something that happens at a node.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// At the world: something goes wrong.
    Fault,
    /// At the world: nothing goes wrong any more.
    Heal,
    /// At the world: look whether the promises hold.
    Check,
    /// At home: the daemon starts.
    DaemonStart,
    /// At home: time for the daemon.
    Tick { daemon: u64 },
    /// At home: one of its own errands is done, or has failed.
    Errand { daemon: u64, heard: Heard },
    /// At home: the group is changed (whether or not the daemon still waits).
    Group { server: Server, member_until: Option<UnixMs> },
    /// At home: a call's answer.
    Answer { call: u64, answer: Answer },
    /// At home: a call's deadline.
    Deadline { call: u64, late: Answer },
    /// At home: a client asks for the state.
    AskState { client: usize, asked: BootMs },
    /// At home: a client's request.
    PrimaryRequest { client: usize },
    /// At a lent node: a call.
    Call { call: u64, arrival: Arrival },
    /// At a lent node: its server answers its health check, or never will.
    Prepared { run: u64, healthy: bool },
    /// At a lent node: a deadline of its own.
    Wake,
    /// At a lent node: a client's request.
    Request { client: usize },
    /// At a lent node: a request is over.
    Finished { run: u64 },
    /// At a lent node: it is there again after a crash.
    Restart,
    /// At a client: it wants something.
    Want,
    /// At a client: an answer with what came along.
    Served { piggyback: Piggyback },
    /// At a client: not served here.
    Elsewhere { piggyback: Piggyback },
    /// At a client: the state, as the home told it.
    State { asked: BootMs, now: UnixMs, piggyback: Piggyback },
}

/// A call as it arrives at a lent node.
#[derive(Debug, Clone)]
pub(super) enum Arrival {
    /// A start.
    Start(StartRequest),
    /// A beat or a drain.
    Other { call: Call, table: Option<Vec<u8>> },
}

/// The name of a lent node.
pub(super) fn name(index: usize) -> String {
    format!("n{}", index + 1)
}

/// The principal of a lent node.
pub(super) fn principal(index: usize) -> Principal {
    super::documents::server_principal(&name(index))
}
