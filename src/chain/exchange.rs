//! One query and its response, with the octets of both: what waits, what a task holds, and what goes back to the pool.

use std::cell::Cell;
use std::sync::Arc;

use telemetry::traffic::Traffic;
use wire::{Flags, HEADER_LEN, Header, Name, Parsed, Refusal, Response, ResponseState, Type};

use crate::block::Block;
use crate::metadata::{Note, Notes};
use crate::query::{Context, NOT_JUDGED, Query, Waits};
use crate::room::{Room, STREAM};
use crate::trace::Watch;

/// How deep look-ups of the server to itself may nest (CoreDNS's bound).
pub const MAX_DEPTH: u8 = 8;

/// The octets that a datagram exchange can receive and send.
pub(crate) const DATAGRAM: usize = 4_096;

/// One query and its response.
#[derive(Debug)]
pub struct Exchange {
    received: Vec<u8>,
    received_len: usize,
    reply: Room,
    /// How long the reply buffer is, unless it was given up for a wait.
    room: usize,
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
            reply: Room::of(reply),
            room: reply,
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

    /// Gives up what the response does not use of its buffer, for a wait; whoever writes on has it again.
    pub fn shrink(&mut self) {
        self.reply.shrink(self.state.len());
    }

    /// Has the whole reply buffer again after [`Exchange::shrink`].
    #[inline(always)]
    fn have_room(&mut self) {
        if self.reply.len() < self.room {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        self.reply.grow(self.room);
    }

    /// The response's octets; empty before there is one.
    #[inline]
    pub fn reply(&self) -> &[u8] {
        &self.reply[..self.state.len().min(self.reply.len())]
    }

    /// Reads the query and begins the response to it. Also begun, with what could be read, on a refusal other than silence.
    #[inline(always)]
    pub fn parse(&mut self) -> Result<(), Refusal> {
        // No question is rewritten after that.
        self.context.reset();
        self.suspended = None;
        let read = self.parsed.read(&self.received[..self.received_len]);
        self.have_room();
        let message = &self.received[..self.received_len];
        Response::new(&mut self.reply, &mut self.state).begin(&self.parsed, message);
        read
    }

    /// Counts the query and the server's own response to it.
    pub fn count_in(&mut self, traffic: &Traffic) {
        let source = self.context.source();
        let (qtype, dnssec_ok) = (self.parsed.qtype, self.parsed.dnssec_ok());
        traffic.asked(source, qtype, self.received_len, dnssec_ok);
        let duration = host::clock::now().saturating_sub(self.context.received);
        let response = self.response();
        let (rcode, octets) = (response.rcode(), response.len());
        traffic.answered(source, None, rcode, octets, duration);
    }

    /// The octets that a response over UDP has at most.
    #[inline]
    pub fn udp_limit(&self) -> usize {
        self.context.udp_limit(&self.parsed)
    }

    /// Begins the response anew, without records, to the question as it stands.
    #[inline]
    pub fn begin(&mut self) {
        if self.context.is_rewritten() {
            return self.begin_rewritten();
        }
        self.have_room();
        let message = &self.received[..self.received_len];
        Response::new(&mut self.reply, &mut self.state).begin(&self.parsed, message);
    }

    #[cold]
    fn begin_rewritten(&mut self) {
        self.have_room();
        let mut response = Response::new(&mut self.reply, &mut self.state);
        if let Some(question) = self.context.instead() {
            response.begin_as(&self.parsed, question);
        }
    }

    /// Puts the client's question back into a response that comes to its end without the plugin that put another in its place: it
    /// keeps the RCODE, and no record.
    #[inline]
    pub fn restore(&mut self) {
        if self.context.is_rewritten() {
            self.restore_bare();
        }
    }

    #[cold]
    fn restore_bare(&mut self) {
        let rcode = self.response().rcode();
        self.context.overlay = None;
        self.begin();
        self.response().set_rcode(rcode);
    }

    /// The response, to write or to read.
    #[inline]
    pub fn response(&mut self) -> Response<'_> {
        self.have_room();
        Response::new(&mut self.reply, &mut self.state)
    }

    /// The two views that plugins get.
    #[inline]
    pub fn views<'a>(&'a mut self, block: &'a Arc<Block>) -> (Query<'a>, Response<'a>) {
        self.have_room();
        let query = Query {
            message: &self.received[..self.received_len],
            parsed: &mut self.parsed,
            context: &mut self.context,
            block,
        };
        (query, Response::new(&mut self.reply, &mut self.state))
    }

    /// The query at the block and step where the exchange was suspended, without touching the response.
    ///
    /// `None` when it never was.
    pub fn suspended_query(&mut self) -> Option<Query<'_>> {
        let (block, step) = self.suspended.as_ref()?;
        self.context.step = *step as u16;
        Some(Query {
            message: &self.received[..self.received_len],
            parsed: &mut self.parsed,
            context: &mut self.context,
            block,
        })
    }

    /// The views at the block and step where the exchange was suspended.
    ///
    /// `None` when it never was.
    pub fn suspended_views(&mut self) -> Option<(Query<'_>, Response<'_>)> {
        self.have_room();
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

    /// Says that the block was chosen by who asks, so that the answer is for this client only.
    pub fn choose_by_client(&mut self) {
        self.context.private.set(true);
    }

    /// Keeps what was learnt of the suspended query under a metadata label ([`Query::note`]); `note` is called where the block collects
    /// labels.
    #[inline]
    pub fn note(&mut self, label: &'static str, note: impl FnOnce() -> Note) {
        if let Some(mut query) = self.suspended_query()
            && query.collects_labels()
        {
            query.note(label, note());
        }
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
        self.have_room();
        let message = &self.received[..self.received_len];
        let mut response = Response::new(&mut self.reply, &mut self.state);
        match self.context.instead() {
            None => response.adopt(len, &self.parsed, message),
            Some(question) => response.adopt_as(len, &self.parsed, question),
        }
    }

    /// The received octets and the begun response at once, with the query by value: what forwarding needs.
    pub fn parts(&mut self) -> (&[u8], &Parsed, Response<'_>) {
        self.have_room();
        (
            &self.received[..self.received_len],
            &self.parsed,
            Response::new(&mut self.reply, &mut self.state),
        )
    }

    /// The same question from the same client, begun anew. A stream exchange, so that nothing is cut.
    pub(crate) fn forked(message: &[u8], parsed: &Parsed, context: &Context) -> Box<Self> {
        let mut fork = Self::stream();
        fork.receive_buffer(message.len())[..message.len()].copy_from_slice(message);
        fork.received_len = message.len();
        fork.parsed = parsed.clone();
        fork.context = context.clone();
        fork.context.turns = 0;
        // The client's patience bounds what is done for the client alone.
        fork.context.deadline = 0;
        fork.context.waits = Waits::Query;
        fork.context.reply_opt = None;
        fork.context.failure = None;
        fork.context.answered_by = None;
        fork.context.notes.clear();
        fork.context.judged = NOT_JUDGED;
        fork.context.private.set(false);
        fork.context.signer = None;
        fork.context.compact = false;
        fork.context.extended = None;
        fork.context.cookie = None;
        fork.context.watch = context.watch.as_ref().map(Watch::aside);
        fork.begin();
        fork
    }

    /// The same question from the same client, begun anew, at the step where this is suspended.
    pub fn fork(&self) -> Box<Self> {
        let mut fork = Self::forked(self.message(), &self.parsed, &self.context);
        fork.suspended.clone_from(&self.suspended);
        fork
    }

    /// Begins the response anew, whatever it was: `by` answers in the place of whoever did, or failed.
    pub fn begin_anew(&mut self, by: &'static str) {
        self.context.failure = None;
        self.context.extended = None;
        self.context.answered_by = Some(by);
        self.begin();
    }

    /// Makes the response of a fork this one's; one that has no room here is truncated.
    pub fn take_response(&mut self, fork: &mut Self) {
        let len = fork.response().seal();
        self.begin();
        self.context.extended.clone_from(&fork.context.extended);
        self.context.compact = fork.context.compact;
        let octets = fork.reply.get(..len).unwrap_or_default();
        match self.response().buffer().get_mut(..len) {
            Some(room) => room.copy_from_slice(octets),
            None => return self.response().set_flag(Flags::TC, true),
        }
        let _ = self.adopt(len);
    }

    /// Another question from the same client: class, RD, CD and DO as in this one, one level deeper. It is a QUERY, whatever this is.
    pub fn derive(&self, name: Name<'_>, qtype: Type) -> Box<Self> {
        let mut out = Self::stream();
        let dnssec_ok = self.parsed.dnssec_ok();
        let flags = Flags(self.parsed.flags.0 & (Flags::RD | Flags::CD));
        let header = Header {
            id: self.parsed.id,
            flags,
            counts: [1, 0, 0, u16::from(dnssec_ok)],
        };
        let rewritten = self.context.overlay.as_ref();
        let qclass = rewritten.map_or(self.parsed.qclass, |question| question.qclass);
        let buffer = &mut out.received;
        buffer.clear();
        buffer.extend_from_slice(&header.to_octets());
        buffer.extend_from_slice(name.octets());
        buffer.extend_from_slice(&qtype.0.to_be_bytes());
        buffer.extend_from_slice(&qclass.0.to_be_bytes());
        if dnssec_ok {
            // An OPT record with DO and a payload size that any path carries (RFC 9715).
            buffer.extend_from_slice(&[0, 0, 41, 0x04, 0xD0, 0, 0, 0x80, 0, 0, 0]);
        }
        out.received_len = out.received.len();
        debug_assert!(out.received_len > HEADER_LEN);
        let context = out.context.clone();
        out.context = Context {
            overlay: None,
            reply_opt: None,
            failure: None,
            answered_by: None,
            notes: Notes::default(),
            judged: NOT_JUDGED,
            private: Cell::new(false),
            signer: None,
            verified_at: 0,
            compact: false,
            extended: None,
            cookie: None,
            ..self.context.clone()
        };
        out.context.nsid = context.nsid;
        out.context.depth = self.context.depth + 1;
        let (depth, udp_size, deadline) = (
            out.context.depth,
            out.context.udp_size,
            out.context.deadline,
        );
        // The octets are ours, so they parse; `parse` resets depth and bounds with the rest.
        let _ = out.parse();
        out.context.depth = depth;
        out.context.udp_size = udp_size;
        out.context.deadline = deadline;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_that_gave_its_room_up_has_it_again() {
        let mut exchange = Exchange::stream();
        let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\0\0\x01\0\x01";
        exchange.receive_buffer(query.len())[..query.len()].copy_from_slice(query);
        exchange.set_received(query.len());
        exchange.parse().expect("a query");
        let begun = exchange.reply().to_vec();
        exchange.shrink();
        assert!(exchange.reply.len() < 512);
        assert_eq!(exchange.reply(), begun);
        let record = [0xC0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0xEA, 0x60];
        let record = [&record[..], &[7; 60_000]].concat();
        let mut response = exchange.response();
        let pushed = response.push_octets(wire::Section::Answer, &record, 1);
        assert!(pushed.is_ok());
        assert_eq!(exchange.reply().len(), begun.len() + record.len());
    }
}
