//! The netlink codec: messages and attributes written into one buffer, many messages a send, errors by message.
//!
//! ```text
//!  Batch ── message ── message ── …      one Vec, no allocation a message
//!    │  send()            the kernel works through all of it before the call returns
//!    ▼
//!  recv(MSG_DONTWAIT)     errors with the kernel's own text (extended ack), and the last message's ack
//! ```
//!
//! Only the last message asks for an acknowledgement: errors are reported anyway, and one datagram says that the end was
//! reached. Reading is by iterators over borrowed octets; a malformed length ends the iteration.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::fault::point;
use crate::sys;

/// Octets of a message header.
const HEADER: usize = 16;
/// Octets of one send at most.
const SEND_LIMIT: usize = 256 << 10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// Messages that leave together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    octets: Vec<u8>,
    /// Where each message starts.
    starts: Vec<usize>,
}

/// An attribute that holds others, still open.
#[must_use]
pub(crate) struct Nest(usize);

impl Batch {
    /// Starts a message with its fixed header; attributes follow.
    pub(crate) fn message(&mut self, kind: u16, flags: u16, fixed: &[u8]) -> &mut Self {
        self.finish();
        self.starts.push(self.octets.len());
        self.octets.extend_from_slice(&[0; 4]);
        self.octets.extend_from_slice(&kind.to_ne_bytes());
        self.octets
            .extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.octets.extend_from_slice(&[0; 8]);
        self.octets.extend_from_slice(fixed);
        self.pad();
        self
    }

    /// Adds an attribute.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = (4 + value.len()) as u16;
        self.octets.extend_from_slice(&length.to_ne_bytes());
        self.octets.extend_from_slice(&kind.to_ne_bytes());
        self.octets.extend_from_slice(value);
        self.pad();
        self
    }

    /// Adds a number in the machine's order.
    pub(crate) fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Adds a number in network order, as nf_tables wants it.
    pub(crate) fn big(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Adds a string with its NUL.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut octets = Vec::with_capacity(value.len() + 1);
        octets.extend_from_slice(value.as_bytes());
        octets.push(0);
        self.attribute(kind, &octets)
    }

    /// Opens an attribute that holds attributes.
    pub(crate) fn open(&mut self, kind: u16) -> Nest {
        let at = self.octets.len();
        self.attribute(kind | NLA_F_NESTED, &[]);
        Nest(at)
    }

    /// Adds raw octets, such as the header inside a veth's peer.
    pub(crate) fn raw(&mut self, octets: &[u8]) -> &mut Self {
        self.octets.extend_from_slice(octets);
        self.pad();
        self
    }

    /// Closes it.
    pub(crate) fn close(&mut self, nest: Nest) -> &mut Self {
        let length = (self.octets.len() - nest.0) as u16;
        self.octets[nest.0..nest.0 + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Messages in it.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The last message without its header.
    #[cfg(test)]
    pub(crate) fn last(&self) -> &[u8] {
        self.starts
            .last()
            .map_or(&[], |start| &self.octets[start + HEADER..])
    }

    /// Empties it, keeping its buffer.
    pub(crate) fn clear(&mut self) {
        self.octets.clear();
        self.starts.clear();
    }

    /// Writes the length of the last message.
    fn finish(&mut self) {
        if let Some(&start) = self.starts.last() {
            let length = (self.octets.len() - start) as u32;
            self.octets[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        }
    }

    /// Aligns to four octets.
    fn pad(&mut self) {
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
    }

    /// Adds flags to one message.
    fn flag(&mut self, index: usize, flags: u16) {
        let at = self.starts[index] + 6;
        let old = u16::from_ne_bytes([self.octets[at], self.octets[at + 1]]);
        self.octets[at..at + 2].copy_from_slice(&(old | flags).to_ne_bytes());
    }
}

/// What the kernel would not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Which message of the batch.
    pub(crate) index: usize,
    /// The error number.
    pub(crate) errno: i32,
    /// The kernel's own words, if it had any.
    pub(crate) text: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let error = io::Error::from_raw_os_error(self.errno).to_string();
        let error = error.split(" (os error").next().unwrap_or("");
        match &self.text {
            Some(text) => write!(f, "{error} ({text})"),
            None => f.write_str(error),
        }
    }
}

/// A netlink socket; it stays in the network namespace that it was opened in.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// A socket to the links, addresses and routes of the thread's network namespace.
    pub(crate) fn route() -> io::Result<Self> {
        Self::open(libc::NETLINK_ROUTE, false)
    }

    /// The same, for dumps only.
    pub(crate) fn reader() -> io::Result<Self> {
        Self::open(libc::NETLINK_ROUTE, true)
    }

    /// A socket to its sockets.
    pub(crate) fn diagnosis() -> io::Result<Self> {
        Self::open(libc::NETLINK_SOCK_DIAG, true)
    }

    /// A socket to its nf_tables and its connections.
    pub(crate) fn netfilter() -> io::Result<Self> {
        Self::open(libc::NETLINK_NETFILTER, false)
    }

    /// Opens one.
    fn open(protocol: i32, reads_only: bool) -> io::Result<Self> {
        Ok(Self {
            fd: sys::netlink(protocol, reads_only)?,
            sequence: 1,
            buffer: Vec::new(),
        })
    }

    /// Which network namespace it is in.
    pub(crate) fn cookie(&self) -> u64 {
        sys::namespace_cookie(self.fd.as_fd())
    }

    /// Sends all messages and collects what was refused.
    pub(crate) fn transact(&mut self, batch: &mut Batch) -> io::Result<Vec<Refusal>> {
        batch.finish();
        let mut refusals = Vec::new();
        let mut first = 0;
        while first < batch.len() {
            // A send must hold whole messages.
            let begin = batch.starts[first];
            let mut last = first;
            while last + 1 < batch.len()
                && batch
                    .starts
                    .get(last + 2)
                    .map_or(batch.octets.len(), |&at| at)
                    - begin
                    <= SEND_LIMIT
            {
                last += 1;
            }
            let end = batch
                .starts
                .get(last + 1)
                .map_or(batch.octets.len(), |&at| at);
            self.part(batch, first..last + 1, begin..end, &mut refusals)?;
            first = last + 1;
        }
        Ok(refusals)
    }

    /// Sends everything in one datagram, whatever its size: nf_tables' transactions must not be cut.
    pub(crate) fn transaction(&mut self, batch: &mut Batch) -> io::Result<Vec<Refusal>> {
        batch.finish();
        let mut refusals = Vec::new();
        let (count, end) = (batch.len(), batch.octets.len());
        self.part(batch, 0..count, 0..end, &mut refusals)?;
        Ok(refusals)
    }

    /// One send.
    fn part(
        &mut self,
        batch: &mut Batch,
        messages: std::ops::Range<usize>,
        octets: std::ops::Range<usize>,
        refusals: &mut Vec<Refusal>,
    ) -> io::Result<()> {
        let base = self.sequence;
        for (offset, index) in messages.clone().enumerate() {
            let at = batch.starts[index] + 8;
            batch.octets[at..at + 4].copy_from_slice(&(base + offset as u32).to_ne_bytes());
        }
        self.sequence += messages.len() as u32;
        batch.flag(messages.end - 1, NLM_F_ACK);
        point("netlink");
        sys::send(self.fd.as_fd(), &batch.octets[octets])?;
        self.buffer.resize(32 << 10, 0);
        loop {
            let got = match sys::receive(self.fd.as_fd(), &mut self.buffer, false) {
                Ok(got) => got.min(self.buffer.len()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            for message in Messages(&self.buffer[..got]) {
                if message.kind != NLMSG_ERROR {
                    continue;
                }
                if let Some(refusal) = refusal(&message, base, messages.start) {
                    refusals.push(refusal);
                }
            }
        }
    }

    /// Asks one question with many answers and calls `each` with every answer's type and octets.
    pub(crate) fn dump(
        &mut self,
        batch: &mut Batch,
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        batch.finish();
        let at = batch.starts[0] + 8;
        batch.octets[at..at + 4].copy_from_slice(&self.sequence.to_ne_bytes());
        let sequence = self.sequence;
        self.sequence += 1;
        sys::send(self.fd.as_fd(), &batch.octets)?;
        self.buffer.resize(64 << 10, 0);
        loop {
            let got = sys::receive(self.fd.as_fd(), &mut self.buffer, true)?;
            for message in Messages(&self.buffer[..got.min(self.buffer.len())]) {
                if message.sequence != sequence {
                    continue;
                }
                if message.flags & NLM_F_DUMP_INTR != 0 && message.kind == NLMSG_DONE {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                match message.kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let errno = -number(message.body) as i32;
                        return if errno == 0 {
                            Ok(())
                        } else {
                            Err(io::Error::from_raw_os_error(errno))
                        };
                    }
                    kind => each(kind, message.body),
                }
            }
        }
    }
}

/// The first four octets as a signed number.
fn number(octets: &[u8]) -> i64 {
    octets
        .first_chunk::<4>()
        .map_or(0, |octets| i64::from(i32::from_ne_bytes(*octets)))
}

/// What an error message says; none for an acknowledgement.
fn refusal(message: &Message<'_>, base: u32, first: usize) -> Option<Refusal> {
    let errno = -number(message.body) as i32;
    if errno == 0 {
        return None;
    }
    let mut text = None;
    if message.flags & NLM_F_ACK_TLVS != 0 {
        // With NETLINK_CAP_ACK only the header of the refused message comes back.
        let tlvs = message.body.get(4 + HEADER..).unwrap_or(&[]);
        text = Attributes(tlvs)
            .find(|&(kind, _)| kind == NLMSGERR_ATTR_MSG)
            .map(|(_, value)| string(value));
    }
    Some(Refusal {
        index: first + message.sequence.wrapping_sub(base) as usize,
        errno,
        text,
    })
}

/// One received message.
struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

/// The messages of a datagram.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.first_chunk::<HEADER>()?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let body = self.0.get(HEADER..length)?;
        let message = Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
            body,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    }
}

/// The attributes of a message or of an attribute: type and value.
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let header = self.0.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((
            u16::from_ne_bytes([header[2], header[3]]) & NLA_TYPE_MASK,
            value,
        ))
    }
}

/// A string attribute without its NUL.
pub(crate) fn string(value: &[u8]) -> String {
    let end = value
        .iter()
        .position(|&octet| octet == 0)
        .unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// A number attribute in the machine's order; 0 if it is short.
pub(crate) fn natural(value: &[u8]) -> u32 {
    value
        .first_chunk::<4>()
        .map_or(0, |octets| u32::from_ne_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut batch = Batch::default();
        batch
            .message(16, NLM_F_CREATE, &[1, 2, 3, 4])
            .number(4, 1500)
            .text(3, "eth0");
        let nest = batch.open(18);
        batch.text(1, "veth");
        batch.close(nest);
        batch.message(20, 0, &[0; 8]);
        batch.finish();
        let messages: Vec<_> = Messages(&batch.octets).collect();
        assert_eq!(messages.len(), 2);
        assert_eq!(
            (messages[0].kind, messages[0].flags),
            (16, NLM_F_CREATE | NLM_F_REQUEST)
        );
        let attributes: Vec<_> = Attributes(&messages[0].body[4..]).collect();
        assert_eq!(attributes[0], (4, 1500u32.to_ne_bytes().as_slice()));
        assert_eq!(string(attributes[1].1), "eth0");
        assert_eq!(
            Attributes(attributes[2].1).next(),
            Some((1, b"veth\0".as_slice()))
        );
    }

    #[test]
    fn lengths_that_lie_end_the_reading() {
        for octets in [&[0u8; 3][..], &[0; 16], &[255; 64], &[3, 0, 1, 0, 9]] {
            assert_eq!(Messages(octets).count(), 0);
        }
        for octets in [&[3u8, 0, 1, 0][..], &[200, 0, 1, 0, 1], &[0, 0, 0, 0, 0, 0]] {
            assert_eq!(Attributes(octets).count(), 0);
        }
    }
}
