//! The router's delay: holds what iptables sends to a queue of this network namespace for an exact time, then lets it
//! pass. The packets stay in the kernel, only their numbers come here (`nfnetlink_queue`), so one core carries gigabits.

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};
use std::collections::VecDeque;
use std::io::BufRead;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The queues: from the client, and from the server.
pub const QUEUES: [u16; 2] = [1, 2];
/// What the kernel may tell of at once before it loses some: bytes.
const TOLD_BYTES: usize = 64 << 20;
/// Packets held: count.
const MAX_HELD: u32 = 1_000_000;
/// Of `linux/netfilter/nfnetlink_queue.h`: messages, then attributes, then values.
const SUBSYSTEM: u16 = 3 << 8;
const PACKET: u16 = SUBSYSTEM;
const CONFIG: u16 = SUBSYSTEM | 2;
const VERDICT_UP_TO: u16 = SUBSYSTEM | 3;
const COMMAND: u16 = 1;
const PARAMETERS: u16 = 2;
const VERDICT_HEADER: u16 = 2;
const LONGEST: u16 = 3;
const MASK: u16 = 4;
const FLAGS: u16 = 5;
/// Large packets are not cut into single ones for the queue.
const WHOLE: [u8; 4] = 4u32.to_be_bytes();
const BIND: [u8; 4] = [1, 0, 0, 0];
/// No byte of the packet itself.
const NUMBERS_ONLY: [u8; 5] = [0, 0, 0, 0, 1];
const ACCEPT: u32 = 1;
/// Bytes of a message before its attributes: netlink's header and netfilter's.
const HEADER: usize = 20;

/// Delays until standard input closes. Each line there is the delay from now on, one way, in microseconds.
pub fn run() -> Result<()> {
    let delay = Arc::new(AtomicU64::new(0));
    for number in QUEUES {
        let queue = Queue::open(number)?;
        let delay = delay.clone();
        std::thread::spawn(move || {
            if let Err(error) = queue.serve(&delay) {
                eprintln!("webos-bench: the delay ended: {error:#}");
                std::process::exit(1);
            }
        });
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let micros = line.context("read the delay")?.trim().parse().context("the delay is no number")?;
        delay.store(micros, Ordering::Relaxed);
        println!("{micros}");
    }
    Ok(())
}

struct Queue {
    socket: OwnedFd,
    number: u16,
}

impl Queue {
    fn open(number: u16) -> Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::NETFILTER));
        let queue = Self { socket: socket.context("open a netfilter socket: only root may")?, number };
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&queue.socket, TOLD_BYTES)?;
        queue.tell(CONFIG, &[(COMMAND, &BIND)])?;
        queue.tell(CONFIG, &[(PARAMETERS, &NUMBERS_ONLY)])?;
        queue.tell(CONFIG, &[(LONGEST, &MAX_HELD.to_be_bytes())])?;
        queue.tell(CONFIG, &[(MASK, &WHOLE), (FLAGS, &WHOLE)])?;
        Ok(queue)
    }

    fn serve(&self, delay: &AtomicU64) -> Result<()> {
        let mut held: VecDeque<(Instant, u32)> = VecDeque::new();
        let mut told = vec![0; 1 << 16];
        loop {
            let due = held.iter().take_while(|(due, _)| *due <= Instant::now()).count();
            if let Some((_, last)) = held.drain(..due).last() {
                self.tell(VERDICT_UP_TO, &[(VERDICT_HEADER, &verdict(last))])?;
            }
            let wait = held.front().map(|(due, _)| due.saturating_duration_since(Instant::now()));
            let wait = wait.map(Timespec::try_from).transpose().context("a delay too long")?;
            match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], wait.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => bail!("wait for packets: {error}"),
            }
            loop {
                let length = match recv(&self.socket, &mut told[..], RecvFlags::empty()) {
                    Ok((length, _)) => length,
                    Err(Errno::AGAIN) => break,
                    Err(error) => bail!("hear of packets: {error}"),
                };
                let due = Instant::now() + Duration::from_micros(delay.load(Ordering::Relaxed));
                let numbers = numbers(&told[..length])?;
                held.extend(numbers.into_iter().map(|number| (due, number)));
            }
        }
    }

    /// One message: header, queue number, attributes.
    fn tell(&self, kind: u16, attributes: &[(u16, &[u8])]) -> Result<()> {
        let mut message = vec![0; HEADER];
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[6] = 1; // a request
        message[18..20].copy_from_slice(&self.number.to_be_bytes());
        for (name, value) in attributes {
            let length = u16::try_from(4 + value.len()).context("a short attribute")?;
            message.extend_from_slice(&length.to_ne_bytes());
            message.extend_from_slice(&name.to_ne_bytes());
            message.extend_from_slice(value);
            message.resize(message.len().next_multiple_of(4), 0);
        }
        let length = u32::try_from(message.len()).context("a short message")?;
        message[..4].copy_from_slice(&length.to_ne_bytes());
        send(&self.socket, &message, SendFlags::empty()).context("speak to netfilter")?;
        Ok(())
    }
}

fn verdict(number: u32) -> [u8; 8] {
    let mut value = [0; 8];
    value[..4].copy_from_slice(&ACCEPT.to_be_bytes());
    value[4..].copy_from_slice(&number.to_be_bytes());
    value
}

/// The numbers of the packets that these messages tell of.
fn numbers(mut told: &[u8]) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    while let Some(header) = told.get(..HEADER) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        match u16::from_ne_bytes([header[4], header[5]]) {
            // The first attribute begins with the packet's number.
            PACKET => {
                let number = told.get(HEADER + 4..HEADER + 8).context("a packet without a number")?;
                numbers.push(u32::from_be_bytes([number[0], number[1], number[2], number[3]]));
            }
            // Netlink's own word about an error.
            2 => {
                let code = i32::from_ne_bytes([header[16], header[17], header[18], header[19]]);
                anyhow::ensure!(code == 0, "netfilter refuses: error {}", -code);
            }
            _ => {}
        }
        told = told.get(length.max(16).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(number: u32) -> Vec<u8> {
        let mut message = vec![0; HEADER + 12];
        message[0] = 32;
        message[4..6].copy_from_slice(&PACKET.to_ne_bytes());
        message[HEADER + 4..HEADER + 8].copy_from_slice(&number.to_be_bytes());
        message
    }

    #[test]
    fn numbers_are_found_and_errors_told() {
        let two = [packet(7), packet(0x0102_0304)].concat();
        assert_eq!(numbers(&two).unwrap(), [7, 0x0102_0304]);
        assert_eq!(numbers(&two[..40]).unwrap(), [7]);
        let mut refused = packet(0);
        refused[4..6].copy_from_slice(&2u16.to_ne_bytes());
        refused[16..20].copy_from_slice(&(-1i32).to_ne_bytes());
        assert!(numbers(&refused).is_err());
    }
}
