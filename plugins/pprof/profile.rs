//! CPU time by thread, in the form that `go tool pprof` reads: `Profile` of github.com/google/pprof, proto/profile.proto.
//!
//! ```text
//! sample   one for each thread and side: [side, thread], nanoseconds
//! location one for each name: a line of a function
//! function one for each name
//! names    "", "cpu", "nanoseconds", "user", "kernel", then the threads
//! ```
//!
//! Of the encoding (protobuf), only numbers and lengths are needed.

use std::time::Duration;

use host::threads::Thread;

/// The names that every profile has.
const NAMES: [&str; 5] = ["", "cpu", "nanoseconds", "user", "kernel"];
const CPU: u64 = 1;
const NANOSECONDS: u64 = 2;
const USER: u64 = 3;
const KERNEL: u64 = 4;

/// A profile of what `threads` have used, at a time since 1970.
pub(super) fn encode(threads: &[Thread], now: Duration) -> Vec<u8> {
    let mut names: Vec<&str> = NAMES.to_vec();
    let mut out = Message::default();
    out.message(1, Message::default().number(1, CPU).number(2, NANOSECONDS));
    for thread in threads {
        let name = match names.iter().position(|name| *name == thread.name) {
            Some(known) => known,
            None => {
                names.push(&thread.name);
                names.len() - 1
            }
        };
        for (side, time) in [(USER, thread.user), (KERNEL, thread.system)] {
            // The innermost call comes first.
            let stack = Message::default().number(1, side).number(1, name as u64);
            out.message(2, stack.number(2, nanoseconds(time)));
        }
    }
    for name in USER..names.len() as u64 {
        let line = Message::default().number(1, name);
        out.message(4, Message::default().number(1, name).nested(4, &line));
        out.message(5, Message::default().number(1, name).number(2, name));
    }
    for name in names {
        out.octets(6, name.as_bytes());
    }
    out.number(9, nanoseconds(now)).0
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A message being written: fields, one after the other.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// Seven bits an octet, the lowest first; the highest bit says that more follow.
    fn varint(&mut self, number: u64) {
        let mut left = number;
        while left >= 0x80 {
            self.0.push(left as u8 | 0x80);
            left >>= 7;
        }
        self.0.push(left as u8);
    }

    /// A number as a field.
    fn number(mut self, field: u64, number: u64) -> Self {
        self.varint(field << 3);
        self.varint(number);
        self
    }

    /// Octets with their length as a field.
    fn octets(&mut self, field: u64, octets: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(octets.len() as u64);
        self.0.extend_from_slice(octets);
    }

    /// A message as a field.
    fn message(&mut self, field: u64, message: Self) {
        self.octets(field, &message.0);
    }

    /// The same, as a part of a message that is still being written.
    fn nested(mut self, field: u64, message: &Self) -> Self {
        self.octets(field, &message.0);
        self
    }
}
