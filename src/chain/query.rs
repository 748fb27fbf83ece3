//! What a plugin may know of the query before it.

use std::net::SocketAddr;
use std::sync::Arc;

use wire::{Class, Edns, Flags, Name, Parsed, Qname, Type};

use crate::block::Block;
use crate::plugin::{ExtendedError, Failure};

/// How a query came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Transport {
    /// Do53 over UDP.
    Udp,
    /// Do53 over TCP.
    Tcp,
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS.
    Https,
    /// DNS over QUIC.
    Quic,
}

impl Transport {
    /// Whether a response may be cut to the asker's UDP size.
    pub const fn is_datagram(self) -> bool {
        matches!(self, Self::Udp)
    }

    /// The name in metrics and logs: `udp` or `tcp`, as CoreDNS has it.
    pub const fn protocol(self) -> &'static str {
        if self.is_datagram() { "udp" } else { "tcp" }
    }
}

/// How many steps of a chain may keep a memo; a longer chain is refused at load.
pub(crate) const MEMOS: usize = 64;

/// A question that replaces the one that was asked, for the plugins below `rewrite`.
#[derive(Clone, Debug)]
pub struct Question {
    /// QNAME.
    pub qname: Qname,
    /// QTYPE.
    pub qtype: Type,
    /// QCLASS.
    pub qclass: Class,
}

/// What is known of an exchange beside its octets.
#[derive(Clone, Debug)]
pub struct Context {
    /// Who asked.
    pub peer: SocketAddr,
    /// The address that was asked.
    pub local: SocketAddr,
    /// How the query came.
    pub transport: Transport,
    /// When the query was received ([`crate::clock`]).
    pub received: u64,
    /// The worker's index.
    pub worker: u16,
    /// How many look-ups of the server to itself stand above this one.
    pub depth: u8,
    pub(crate) step: u16,
    pub(crate) memos: [u64; MEMOS],
    pub(crate) overlay: Option<Box<Question>>,
    pub(crate) failure: Option<Failure>,
    pub(crate) answered_by: Option<&'static str>,
    /// An extended error for the response's OPT record.
    pub extended: Option<ExtendedError>,
    /// NSID for the response's OPT record (RFC 5001).
    pub nsid: Option<Arc<[u8]>>,
}

impl Context {
    /// Nothing known yet.
    pub fn new() -> Self {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            peer: nobody,
            local: nobody,
            transport: Transport::Udp,
            received: 0,
            worker: 0,
            depth: 0,
            step: 0,
            memos: [0; MEMOS],
            overlay: None,
            failure: None,
            answered_by: None,
            extended: None,
            nsid: None,
        }
    }

    /// The step of the chain that was asked last: who panicked, when somebody did.
    pub fn step(&self) -> usize {
        self.step as usize
    }

    /// Forgets the last query; addresses, transport and time are set by the listener. Memos need no clearing: a plugin reads one
    /// only where it wrote it on the way down.
    #[inline]
    pub fn reset(&mut self) {
        self.depth = 0;
        self.overlay = None;
        self.failure = None;
        self.answered_by = None;
        self.extended = None;
        self.nsid = None;
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

/// A view of the received octets plus what parsing learnt and what the walk knows.
#[derive(Debug)]
pub struct Query<'a> {
    pub(crate) message: &'a [u8],
    pub(crate) parsed: &'a mut Parsed,
    pub(crate) context: &'a mut Context,
    pub(crate) block: &'a Arc<Block>,
}

impl<'a> Query<'a> {
    /// The octets as received.
    pub fn message(&self) -> &'a [u8] {
        self.message
    }

    /// The query as it was asked, whatever a plugin above has rewritten.
    pub fn asked(&self) -> &Parsed {
        self.parsed
    }

    /// The header's flags.
    #[inline]
    pub fn flags(&self) -> Flags {
        self.parsed.flags
    }

    /// QNAME in lower case, with its suffixes' hashes; rewritten if a plugin above did so.
    #[inline]
    pub fn qname(&self) -> &Qname {
        match &self.context.overlay {
            None => &self.parsed.qname,
            Some(question) => &question.qname,
        }
    }

    /// QNAME in lower case, in wire form.
    #[inline]
    pub fn name(&self) -> Name<'_> {
        self.qname().name()
    }

    /// QTYPE.
    #[inline]
    pub fn qtype(&self) -> Type {
        self.context
            .overlay
            .as_ref()
            .map_or(self.parsed.qtype, |question| question.qtype)
    }

    /// QCLASS.
    #[inline]
    pub fn qclass(&self) -> Class {
        self.context
            .overlay
            .as_ref()
            .map_or(self.parsed.qclass, |question| question.qclass)
    }

    /// Whether the question is another than the one that was asked.
    #[inline]
    pub fn is_rewritten(&self) -> bool {
        self.context.overlay.is_some()
    }

    /// Replaces the question for the plugins below; `None` restores the one that was asked.
    pub fn rewrite(&mut self, question: Option<Box<Question>>) {
        self.context.overlay = question;
    }

    /// The OPT record.
    #[inline]
    pub fn edns(&self) -> Option<&Edns> {
        self.parsed.edns.as_ref()
    }

    /// Says whether the plugins below are to ask for AD (RFC 6840, 5.7), whatever the asker did: a cache keeps what it gets, and tells
    /// each asker as much as that one wants. [`Query::flags`] shows it; the octets as received do not.
    pub fn ask_authenticated(&mut self, on: bool) {
        self.parsed.flags = self.parsed.flags.with(Flags::AD, on);
    }

    /// Whether the asker itself set AD, whatever [`Query::ask_authenticated`] said.
    #[inline]
    pub fn asked_authenticated(&self) -> bool {
        wire::Header::read(self.message).is_some_and(|header| header.flags.has(Flags::AD))
    }

    /// How many look-ups of the server to itself stand above this one.
    #[inline]
    pub fn depth(&self) -> u8 {
        self.context.depth
    }

    /// Lowers the UDP size that the asker is said to take (never below 512, never up).
    pub fn lower_udp_size(&mut self, size: u16) {
        if let Some(edns) = &mut self.parsed.edns {
            edns.udp_size = edns.udp_size.min(size.max(512));
        }
    }

    /// Whether DNSSEC records are wanted.
    #[inline]
    pub fn dnssec_ok(&self) -> bool {
        self.parsed.dnssec_ok()
    }

    /// The zone among `zones` (lower-case wire names) that encloses QNAME most closely.
    pub fn enclosing<'z>(&self, zones: &'z [wire::NameBuf]) -> Option<&'z wire::NameBuf> {
        let qname = self.qname();
        zones
            .iter()
            .filter(|zone| qname.is_within(zone.as_name()))
            .max_by_key(|zone| zone.as_name().octets().len())
    }

    /// Who asked.
    #[inline]
    pub fn peer(&self) -> SocketAddr {
        self.context.peer
    }

    /// The address that was asked.
    #[inline]
    pub fn local(&self) -> SocketAddr {
        self.context.local
    }

    /// How the query came.
    #[inline]
    pub fn transport(&self) -> Transport {
        self.context.transport
    }

    /// When the query was received: the time of its batch.
    #[inline]
    pub fn received(&self) -> u64 {
        self.context.received
    }

    /// What is known of the exchange beside its octets.
    #[inline]
    pub fn context(&self) -> &Context {
        self.context
    }

    /// The index of the worker, from 0.
    #[inline]
    pub fn worker(&self) -> usize {
        self.context.worker as usize
    }

    /// The block that serves the query.
    #[inline]
    pub fn block(&self) -> &'a Arc<Block> {
        self.block
    }

    /// What the plugin kept on the way down; only meaningful where its `query` hook ran.
    #[inline]
    pub fn memo(&self) -> u64 {
        self.context.memos[self.context.step as usize % MEMOS]
    }

    /// Keeps one number for the plugin's `response` hook.
    #[inline]
    pub fn set_memo(&mut self, memo: u64) {
        self.context.memos[self.context.step as usize % MEMOS] = memo;
    }

    /// The place of the plugin in its chain, for [`crate::ask_below`].
    #[inline]
    pub fn step(&self) -> usize {
        self.context.step as usize
    }

    /// The failure that the response tells of, if a plugin failed.
    pub fn failure(&self) -> Option<&Failure> {
        self.context.failure.as_ref()
    }

    /// The plugin that wrote the response; `None` when the server did.
    pub fn answered_by(&self) -> Option<&'static str> {
        self.context.answered_by
    }

    /// Says what to tell a client that understands extended errors.
    pub fn set_extended_error(&mut self, error: ExtendedError) {
        self.context.extended = Some(error);
    }

    /// Says what to write as NSID.
    pub fn set_nsid(&mut self, nsid: Arc<[u8]>) {
        self.context.nsid = Some(nsid);
    }

    /// A new exchange with the same question from the same asker, to ask the plugins below in the background. Allocates.
    pub fn fork(&self) -> Box<crate::Exchange> {
        crate::Exchange::forked(self.message, self.parsed, self.context)
    }
}
