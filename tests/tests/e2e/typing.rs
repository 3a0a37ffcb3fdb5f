//! Passphrases that are typed: on a terminal of the test's own, which shows nothing of them and is as it was afterwards.

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use webos_tests::{Home, eventually};

const PASSPHRASE: &str = "correct horse battery staple";

/// Both ends of a terminal.
struct Terminal {
    person: File,
    program: OwnedFd,
}

impl Terminal {
    fn new() -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&person).expect("ours");
        unlockpt(&person).expect("usable");
        let name = ptsname(&person, Vec::new()).expect("a name");
        let program = open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("opened");
        Self { person: person.into(), program }
    }

    fn shows_what_is_typed(&self) -> bool {
        let modes = tcgetattr(&self.program).expect("a terminal").local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Begins a command that has a passphrase typed.
    fn begin(&self, home: &Home) -> Child {
        let end = || Stdio::from(self.program.try_clone().expect("copied"));
        let mut command = home.call(["realm", "init", "test.localhost"]).into_command();
        let child = command.stdin(end()).stdout(Stdio::null()).stderr(end()).spawn().expect("webos starts");
        eventually("nothing is shown", || (!self.shows_what_is_typed()).then_some(()));
        child
    }
}

fn end(child: &mut Child) -> Option<i32> {
    eventually("it ends", || child.try_wait().expect("ours")).code()
}

#[test]
fn a_terminal_shows_what_is_typed_again_after_a_signal() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let (home, terminal) = (Home::new(), Terminal::new());
        assert!(terminal.shows_what_is_typed());
        let mut child = terminal.begin(&home);
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        assert_eq!(end(&mut child), Some(code));
        assert!(terminal.shows_what_is_typed(), "after {signal:?}");
    }
}

#[test]
fn a_terminal_shows_what_is_typed_again_after_a_key() {
    let (home, mut terminal) = (Home::new(), Terminal::new());
    let mut child = terminal.begin(&home);
    terminal.person.write_all(b"half a word\x03").expect("typed");
    assert_eq!(end(&mut child), Some(130));
    assert!(terminal.shows_what_is_typed());

    let mut child = terminal.begin(&home);
    let mut told = Vec::new();
    terminal.person.write_all(format!("{PASSPHRASE}\n").as_bytes()).expect("typed");
    while !told.windows(14).any(|window| window == b"the same again") {
        let mut piece = [0; 256];
        let count = terminal.person.read(&mut piece).expect("it asks");
        told.extend_from_slice(&piece[..count]);
    }
    eventually("nothing is shown", || (!terminal.shows_what_is_typed()).then_some(()));
    terminal.person.write_all(format!("{PASSPHRASE}\n").as_bytes()).expect("typed");
    assert_eq!(end(&mut child), Some(0));
    assert!(terminal.shows_what_is_typed() && home.path().join("authority").is_dir());
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("type a passphrase") && !told.contains("horse"), "{told}");
}
