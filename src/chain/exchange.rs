//! One query and its response, with the octets of both: what waits, what a task holds, and what goes back to the pool.

use std::sync::Arc;

use wire::{Flags, HEADER_LEN, Header, Name, Parsed, Refusal, Response, ResponseState, Type};

use crate::block::Block;
use crate::query::{Context, Query};

/// How deep look-ups of the server to itself may nest (CoreDNS's bound).
pub const MAX_DEPTH: u8 = 8;

/// The octets that a datagram exchange can receive and send.
const DATAGRAM: usize = 4_096;
/// The octets that a stream exchange can send; what it receives grows with the message.
const STREAM: usize = 65_535;

/// One query and its response.
#[derive(Debug)]
pub struct Exchange {
    received: Vec<u8>,
    received_len: usize,
    reply: Vec<u8>,
    state: ResponseState,
    /// The query by value; meaningful after [`Exchange::parse`].
    pub parsed: Parsed,
    /// Who asked, when, how, and what the walk learnt.
    pub context: Context,
    pub(crate) suspended: Option<(Arc<Block>, usize)>,
}

impl Exchange {
    fn with_capacity(received: usize, reply: usize) -> Box<Self> {
        Box::new(Self {
            received: vec![0; received],
            received_len: 0,
            reply: vec![0; reply],
            state: ResponseState::default(),
            parsed: Parsed::default(),
            context: Context::new(),
            suspended: None,
        })
    }

    /// An exchange for datagrams: 4,096 octets each way.
    pub fn datagram() -> Box<Self> {
        Self::with_capacity(DATAGRAM, DATAGRAM)
    }

    /// An exchange for streams: a response of 65,535 octets.
    pub fn stream() -> Box<Self> {
        Self::with_capacity(512, STREAM)
    }

    /// The buffer to receive into, at least `len` octets of it.
    #[inline]
    pub fn receive_buffer(&mut self, len: usize) -> &mut [u8] {
        if self.received.len() < len {
            self.received.resize(len, 0);
        }
        &mut self.received
    }

    /// Says that the first `len` octets of the buffer are the query.
    #[inline]
    pub fn set_received(&mut self, len: usize) {
        self.received_len = len.min(self.received.len());
    }

    /// The query's octets.
    #[inline]
    pub fn message(&self) -> &[u8] {
        &self.received[..self.received_len]
    }

    /// The query's octets, to patch in place; what was parsed of them does not follow.
    #[inline]
    pub fn message_mut(&mut self) -> &mut [u8] {
        &mut self.received[..self.received_len]
    }

    /// The response's octets; empty before there is one.
    #[inline]
    pub fn reply(&self) -> &[u8] {
        &self.reply[..self.state.len().min(self.reply.len())]
    }

    /// Reads the query and begins the response to it. Also begun, with what could be read, on a refusal other than silence.
    #[inline(always)]
    pub fn parse(&mut self) -> Result<(), Refusal> {
        self.context.reset();
        self.suspended = None;
        let read = self.parsed.read(&self.received[..self.received_len]);
        self.begin();
        read
    }

    /// Begins the response anew, without records.
    #[inline]
    pub fn begin(&mut self) {
        let message = &self.received[..self.received_len];
        Response::new(&mut self.reply, &mut self.state).begin(&self.parsed, message);
    }

    /// The response, to write or to read.
    #[inline]
    pub fn response(&mut self) -> Response<'_> {
        Response::new(&mut self.reply, &mut self.state)
    }

    /// The two views that plugins get.
    #[inline]
    pub fn views<'a>(&'a mut self, block: &'a Arc<Block>) -> (Query<'a>, Response<'a>) {
        let query = Query {
            message: &self.received[..self.received_len],
            parsed: &mut self.parsed,
            context: &mut self.context,
            block,
        };
        (query, Response::new(&mut self.reply, &mut self.state))
    }

    /// The views at the block and step where the exchange was suspended.
    ///
    /// `None` when it never was.
    pub fn suspended_views(&mut self) -> Option<(Query<'_>, Response<'_>)> {
        let (block, step) = self.suspended.as_ref()?;
        self.context.step = *step as u16;
        let query = Query {
            message: &self.received[..self.received_len],
            parsed: &mut self.parsed,
            context: &mut self.context,
            block,
        };
        Some((query, Response::new(&mut self.reply, &mut self.state)))
    }

    /// The block and step where the exchange was suspended.
    pub fn suspended_at(&self) -> Option<(&Arc<Block>, usize)> {
        self.suspended.as_ref().map(|(block, step)| (block, *step))
    }

    /// Takes the block and step where the exchange was suspended.
    #[inline]
    pub fn take_suspended(&mut self) -> Option<(Arc<Block>, usize)> {
        self.suspended.take()
    }

    /// Makes `len` octets that were received into the reply buffer the response ([`Response::adopt`]).
    pub fn adopt(&mut self, len: usize) -> bool {
        let message = &self.received[..self.received_len];
        Response::new(&mut self.reply, &mut self.state).adopt(len, &self.parsed, message)
    }

    /// The received octets and the begun response at once, with the query by value: what forwarding needs.
    pub fn parts(&mut self) -> (&[u8], &Parsed, Response<'_>) {
        (
            &self.received[..self.received_len],
            &self.parsed,
            Response::new(&mut self.reply, &mut self.state),
        )
    }

    /// The same question from the same asker, begun anew. A stream exchange, so that nothing is cut.
    pub(crate) fn forked(message: &[u8], parsed: &Parsed, context: &Context) -> Box<Self> {
        let mut fork = Self::stream();
        fork.receive_buffer(message.len())[..message.len()].copy_from_slice(message);
        fork.received_len = message.len();
        fork.parsed = parsed.clone();
        fork.context = context.clone();
        fork.context.failure = None;
        fork.context.answered_by = None;
        fork.context.extended = None;
        fork.begin();
        fork
    }

    /// The same question from the same asker, begun anew.
    pub fn fork(&self) -> Box<Self> {
        Self::forked(self.message(), &self.parsed, &self.context)
    }

    /// Another question from the same asker: RD, CD and DO as in this one, one level deeper.
    pub fn derive(&self, name: Name<'_>, qtype: Type) -> Box<Self> {
        let mut out = Self::stream();
        let dnssec_ok = self.parsed.dnssec_ok();
        let flags = Flags(self.parsed.flags.0 & (Flags::RD | Flags::CD));
        let header = Header {
            id: self.parsed.id,
            flags,
            counts: [1, 0, 0, u16::from(dnssec_ok)],
        };
        let buffer = &mut out.received;
        buffer.clear();
        buffer.extend_from_slice(&header.to_octets());
        buffer.extend_from_slice(name.octets());
        buffer.extend_from_slice(&qtype.0.to_be_bytes());
        buffer.extend_from_slice(&self.parsed.qclass.0.to_be_bytes());
        if dnssec_ok {
            // An OPT record with DO and a payload size that any path carries (RFC 9715).
            buffer.extend_from_slice(&[0, 0, 41, 0x04, 0xD0, 0, 0, 0x80, 0, 0, 0]);
        }
        out.received_len = out.received.len();
        debug_assert!(out.received_len > HEADER_LEN);
        let context = out.context.clone();
        out.context = Context {
            overlay: None,
            failure: None,
            answered_by: None,
            extended: None,
            ..self.context.clone()
        };
        out.context.nsid = context.nsid;
        out.context.depth = self.context.depth + 1;
        let depth = out.context.depth;
        // The octets are ours, so they parse; `parse` resets the depth with the rest.
        let _ = out.parse();
        out.context.depth = depth;
        out
    }
}
