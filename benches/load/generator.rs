//! The load generator: batches of queries over a few connected sockets, closed loop (a window of queries in flight) or open loop (a
//! rate), one thread a core, spinning so that the server is what a rate is limited by.
//!
//! A query's ID is its place in a table of send times, so a response is matched by one load. What is counted is what happened between
//! the edges of the window, where the server's CPU time is read too.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt,
};
use nix::time::{ClockId, clock_gettime};

use crate::data::Questions;
use crate::machine;

/// Messages in one system call.
const BATCH: usize = 32;
/// When a query counts as lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the table is searched for lost queries.
const SEARCH: Duration = Duration::from_millis(200);

/// How queries are paced.
#[derive(Clone, Copy)]
pub enum Pace {
    /// So many in flight: the next leaves when a response comes.
    Window(usize),
    /// So many a second, whether responses come or not.
    Rate(f64),
    /// As many as can be sent.
    Flood,
}

/// A load to put on a server.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    /// Where the server listens.
    pub target: SocketAddrV4,
    /// What is asked.
    pub questions: &'a Questions,
    /// How fast.
    pub pace: Pace,
    /// How long before counting begins.
    pub warm: Duration,
    /// How long is counted.
    pub window: Duration,
    /// The server's process, whose CPU time is read at the window's edges.
    pub process: Option<u32>,
    /// Sockets of each thread.
    pub sockets: usize,
}

/// What came of it.
#[derive(Clone, Default)]
pub struct Outcome {
    /// Queries sent.
    pub sent: u64,
    /// Responses.
    pub received: u64,
    /// Responses by RCODE.
    pub rcodes: [u64; 16],
    /// Octets of the responses.
    pub octets: u64,
    /// Queries without a response in [`PATIENCE`].
    pub lost: u64,
    /// Seconds counted.
    pub seconds: f64,
    /// CPU seconds of the server in them.
    pub server: f64,
    /// CPU seconds of the generator in them.
    pub generator: f64,
    latencies: Histogram,
}

impl Outcome {
    /// Responses a second.
    pub fn rate(&self) -> f64 {
        self.received as f64 / self.seconds
    }

    /// Responses that tell what was asked for: NOERROR and NXDOMAIN.
    pub fn good(&self) -> u64 {
        self.rcodes[0] + self.rcodes[3]
    }

    /// The server's CPU microseconds for one response.
    pub fn cost(&self) -> f64 {
        self.server * 1e6 / self.received.max(1) as f64
    }

    /// Microseconds that a share of the responses took at most.
    pub fn quantile(&self, share: f64) -> f64 {
        self.latencies.quantile(share) as f64 / 1e3
    }

    fn add(&mut self, other: &Outcome) {
        self.sent += other.sent;
        self.received += other.received;
        self.octets += other.octets;
        self.lost += other.lost;
        self.seconds = self.seconds.max(other.seconds);
        self.server = self.server.max(other.server);
        self.generator += other.generator;
        for (mine, theirs) in self.rcodes.iter_mut().zip(other.rcodes) {
            *mine += theirs;
        }
        self.latencies.add(&other.latencies);
    }
}

/// Puts a load on a server, from one thread on each of `cores`.
pub fn generate(load: Load<'_>, cores: &[usize]) -> Result<Outcome, String> {
    let share = cores.len();
    let own = Load {
        pace: match load.pace {
            Pace::Window(queries) => Pace::Window((queries / share).max(load.sockets)),
            Pace::Rate(rate) => Pace::Rate(rate / share as f64),
            Pace::Flood => Pace::Flood,
        },
        ..load
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = cores
            .iter()
            .enumerate()
            .map(|(thread, core)| {
                scope.spawn(move || {
                    machine::pin(&[*core])?;
                    Thread::new(own, thread, share)?.run()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .map_err(|_| "the generator panicked".to_owned())?
            })
            .collect()
    });
    let mut sum = Outcome::default();
    for outcome in outcomes {
        let outcome: Result<Outcome, String> = outcome;
        sum.add(&outcome?);
    }
    Ok(sum)
}

/// One socket and the queries that it has in flight.
struct Line {
    socket: UdpSocket,
    /// When the query with an ID left, in nanoseconds; 0 when the ID is free.
    sent: Vec<u64>,
    free: Vec<u16>,
}

impl Line {
    fn open(target: SocketAddrV4, slots: usize) -> std::io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(target)?;
        socket.set_nonblocking(true)?;
        let octets = 8 << 20;
        if setsockopt(&socket, sockopt::RcvBufForce, &octets).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &octets)?;
        }
        Ok(Self {
            socket,
            sent: vec![0; slots],
            free: (0..slots).rev().map(|id| id as u16).collect(),
        })
    }
}

/// A thread of the generator.
struct Thread<'a> {
    load: Load<'a>,
    lines: Vec<Line>,
    next_line: usize,
    /// The next question.
    at: usize,
    began: Instant,
    outgoing: Vec<Vec<u8>>,
    incoming: Vec<[u8; 1_600]>,
    send_headers: MultiHeaders<SockaddrIn>,
    receive_headers: MultiHeaders<SockaddrIn>,
    outcome: Outcome,
}

impl<'a> Thread<'a> {
    fn new(load: Load<'a>, thread: usize, threads: usize) -> Result<Self, String> {
        let slots = match load.pace {
            Pace::Window(queries) => (queries / load.sockets).max(1),
            // Under overload the lost ones hold their IDs until they are given up.
            Pace::Rate(_) | Pace::Flood => 1 << 16,
        };
        let lines: Result<Vec<_>, _> = (0..load.sockets)
            .map(|_| Line::open(load.target, slots))
            .collect();
        // Threads and runs begin at different questions, so that nobody profits from the order.
        let offset = std::process::id() as usize * 7_919 + machine::nanoseconds() as usize;
        Ok(Self {
            load,
            lines: lines.map_err(|error| format!("the generator's sockets: {error}"))?,
            next_line: 0,
            at: offset.wrapping_add(thread * (load.questions.len() / threads))
                % load.questions.len(),
            began: Instant::now(),
            outgoing: vec![Vec::new(); BATCH],
            incoming: vec![[0; 1_600]; BATCH],
            send_headers: MultiHeaders::preallocate(BATCH, None),
            receive_headers: MultiHeaders::preallocate(BATCH, None),
            outcome: Outcome::default(),
        })
    }

    /// Nanoseconds since the beginning, never 0.
    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64 + 1
    }

    fn run(mut self) -> Result<Outcome, String> {
        let opens = self.load.warm.as_nanos() as u64;
        let closes = opens + self.load.window.as_nanos() as u64;
        let mut sent_in_all = 0;
        let mut search = SEARCH.as_nanos() as u64;
        let mut opened = None;
        let closed = loop {
            let now = self.now();
            if opened.is_none() && now >= opens {
                self.outcome = Outcome::default();
                opened = Some((now, self.server_time(), own_time()));
            }
            if now >= closes {
                break now;
            }
            let mut progress = false;
            for line in 0..self.lines.len() {
                progress |= self.receive(line);
            }
            let due = match self.load.pace {
                Pace::Rate(rate) => ((now as f64 * rate / 1e9) as u64).saturating_sub(sent_in_all),
                Pace::Window(_) | Pace::Flood => u64::MAX,
            };
            let sent = self.send(due);
            sent_in_all += sent;
            if now >= search {
                search = now + SEARCH.as_nanos() as u64;
                self.give_up(now);
            }
            if !progress && sent == 0 && matches!(self.load.pace, Pace::Rate(_)) {
                std::thread::sleep(Duration::from_micros(20));
            }
        };
        let (opened, server, generator) = opened.ok_or("the window never opened")?;
        self.outcome.seconds = (closed - opened) as f64 / 1e9;
        self.outcome.server = self.server_time() - server;
        self.outcome.generator = own_time() - generator;
        Ok(self.outcome)
    }

    fn server_time(&self) -> f64 {
        self.load.process.map_or(0.0, machine::cpu_seconds)
    }

    /// Takes one batch of responses from a socket.
    fn receive(&mut self, line: usize) -> bool {
        let line = &mut self.lines[line];
        let mut lengths = [0; BATCH];
        let received = {
            let mut slices: Vec<_> = self
                .incoming
                .iter_mut()
                .map(|octets| [IoSliceMut::new(octets)])
                .collect();
            let results = recvmmsg(
                line.socket.as_raw_fd(),
                &mut self.receive_headers,
                slices.iter_mut(),
                MsgFlags::MSG_DONTWAIT,
                None,
            );
            match results {
                Ok(results) => lengths
                    .iter_mut()
                    .zip(results)
                    .map(|(length, message)| *length = message.bytes)
                    .count(),
                Err(_) => return false,
            }
        };
        let now = self.began.elapsed().as_nanos() as u64 + 1;
        for (octets, length) in self.incoming.iter().zip(&lengths[..received]) {
            let id = u16::from_be_bytes([octets[0], octets[1]]);
            let Some(sent) = line
                .sent
                .get_mut(usize::from(id))
                .filter(|sent| **sent != 0)
            else {
                continue;
            };
            self.outcome.latencies.count(now - *sent);
            *sent = 0;
            line.free.push(id);
            self.outcome.received += 1;
            self.outcome.octets += *length as u64;
            self.outcome.rcodes[usize::from(octets[3] & 0xF)] += 1;
        }
        received > 0
    }

    /// Sends what is due: at most one batch a socket.
    fn send(&mut self, mut due: u64) -> u64 {
        let most = if matches!(self.load.pace, Pace::Rate(rate) if rate < 100_000.0) {
            4
        } else {
            BATCH
        };
        let mut sent = 0;
        for _ in 0..self.lines.len() {
            let line = &mut self.lines[self.next_line];
            self.next_line = (self.next_line + 1) % self.load.sockets;
            let count = line
                .free
                .len()
                .min(most)
                .min(due.min(BATCH as u64) as usize);
            if count == 0 {
                continue;
            }
            let ids = &line.free[line.free.len() - count..];
            for (query, id) in self.outgoing.iter_mut().zip(ids) {
                self.load.questions.write(self.at, *id, query);
                self.at += 1;
            }
            let now = self.began.elapsed().as_nanos() as u64 + 1;
            for id in ids {
                line.sent[usize::from(*id)] = now;
            }
            let slices: Vec<_> = self.outgoing[..count]
                .iter()
                .map(|query| [IoSlice::new(query)])
                .collect();
            let nobody: [ControlMessage<'_>; 0] = [];
            let went = sendmmsg(
                line.socket.as_raw_fd(),
                &mut self.send_headers,
                slices.iter(),
                [None; BATCH],
                nobody,
                MsgFlags::empty(),
            )
            .map_or(0, Iterator::count);
            // What did not leave keeps its ID free.
            for id in &ids[went..] {
                line.sent[usize::from(*id)] = 0;
            }
            let first = line.free.len() - count;
            line.free.drain(first..first + went);
            sent += went as u64;
            due -= (went as u64).min(due);
        }
        self.outcome.sent += sent;
        sent
    }

    /// Frees the IDs of queries that wait for too long.
    fn give_up(&mut self, now: u64) {
        let patience = PATIENCE.as_nanos() as u64;
        for line in &mut self.lines {
            for (id, sent) in line.sent.iter_mut().enumerate() {
                if *sent != 0 && now.saturating_sub(*sent) > patience {
                    *sent = 0;
                    line.free.push(id as u16);
                    self.outcome.lost += 1;
                }
            }
        }
    }
}

/// CPU seconds of this thread.
fn own_time() -> f64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0.0, |time| {
        time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9
    })
}

/// Latencies in 64 steps an octave: 1.6 % wide, no allocation when one is counted.
#[derive(Clone)]
struct Histogram {
    counts: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; 64 * 64],
        }
    }
}

impl Histogram {
    fn count(&mut self, value: u64) {
        let place = match value {
            0..64 => value as usize,
            _ => {
                let octave = 63 - value.leading_zeros() as usize;
                (octave - 5) * 64 + (value >> (octave - 6)) as usize - 64
            }
        };
        self.counts[place] += 1;
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
    }

    fn quantile(&self, share: f64) -> u64 {
        let total: u64 = self.counts.iter().sum();
        let wanted = (total as f64 * share) as u64;
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen > wanted {
                let (octave, step) = (place / 64, place % 64);
                return if octave == 0 {
                    step as u64
                } else {
                    ((64 + step) as u64) << (octave - 1)
                };
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_within_a_step() {
        let mut histogram = Histogram::default();
        for value in 1..=100_000 {
            histogram.count(value);
        }
        for (share, exact) in [(0.0, 1.0), (0.5, 50_000.0), (0.99, 99_000.0)] {
            let error = (histogram.quantile(share) as f64 / exact - 1.0_f64).abs();
            assert!(error < 0.02, "{share}: {}", histogram.quantile(share));
        }
    }
}
