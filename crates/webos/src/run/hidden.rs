//! A terminal that shows nothing of what is typed, and is as it was again however typing ends: by a key, by an error, or by
//! SIGTERM or SIGINT. No command that looks after SIGTERM itself has anything typed: from the first time on, it ends the
//! process here, as it does anywhere by default.

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::signal::unix::{SignalKind, signal};

/// Exit codes as shells count an end by a signal.
const ENDED_BY_SIGINT: i32 = 130;
const ENDED_BY_SIGTERM: i32 = 143;

/// The terminal that hides something now. Who holds the lock changes its modes, and nobody else does.
static HIDING: Mutex<Option<Before>> = Mutex::new(None);
/// Whether signals are waited for, or why that could not begin.
static GUARDED: OnceLock<Result<(), ErrorKind>> = OnceLock::new();

/// A terminal, and how it was.
struct Before {
    terminal: OwnedFd,
    modes: Termios,
}

impl Before {
    fn restore(&self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.modes);
    }
}

fn hiding() -> MutexGuard<'static, Option<Before>> {
    HIDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While it lives, the terminal shows nothing, gives each key at once, and raises no signals. There is one at a time.
pub struct Hidden(());

impl Hidden {
    /// Hides from now on.
    ///
    /// # Errors
    /// If it is no terminal, or signals could leave it hidden.
    pub fn new(terminal: &impl AsFd) -> io::Result<Self> {
        (*GUARDED.get_or_init(|| guard().map_err(|error| error.kind())))?;
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let modes = tcgetattr(&terminal)?;
        let mut quiet = modes.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        let mut hiding = hiding();
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        *hiding = Some(Before { terminal, modes });
        Ok(Self(()))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = hiding().take() {
            before.restore();
        }
    }
}

/// Has a thread wait for signals, for whoever types blocks this one. It waits when this returns.
fn guard() -> io::Result<()> {
    let (ready, begun) = mpsc::channel();
    std::thread::Builder::new().name("typing".into()).spawn(move || {
        let ended = wait_for_signals(&ready);
        let _ = ready.send(ended);
    })?;
    begun.recv().unwrap_or_else(|_| Err(ErrorKind::Other.into()))
}

fn wait_for_signals(ready: &Sender<io::Result<()>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let _ = ready.send(Ok(()));
        loop {
            let code = tokio::select! {
                _ = term.recv() => ENDED_BY_SIGTERM,
                _ = int.recv() => ENDED_BY_SIGINT,
            };
            let hiding = hiding();
            if let Some(before) = &*hiding {
                before.restore();
                let _ = writeln!(io::stderr());
            } else if code == ENDED_BY_SIGINT {
                continue; // the command ends itself
            }
            // Under the lock: nothing hides the terminal again.
            std::process::exit(code);
        }
    })
}
