//! What a plugin may know of the query before it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use telemetry::traffic::Source;
use wire::reencode::{Edit, ReencodeError};
use wire::{Class, DEFAULT_UDP_SIZE, Edns, Flags, Name, Opt, Parsed, Qname, Response, Type};

use crate::admission::Steps;
use crate::block::Block;
use crate::metadata::Notes;
use crate::plugin::{ExtendedError, Failure};
use crate::trace::Watch;
use crate::transport::{Carrier, Encryption, Transport};
use crate::tsig::Signer;

/// How many steps of a chain may keep a memo; a longer chain is refused at load.
pub(crate) const MEMOS: usize = 64;

/// No step has looked at who asks.
pub(crate) const NOT_JUDGED: i16 = -1;

/// A question that stands in the place of the one that was asked, for the plugins below who put it there.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// QNAME.
    pub(crate) qname: Qname,
    /// QTYPE.
    pub(crate) qtype: Type,
    /// QCLASS.
    pub(crate) qclass: Class,
    /// The OPT record of queries that go upstream; `None` for the client's.
    pub(crate) opt: Option<Opt>,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            qname: Qname::root(),
            qtype: Type(0),
            qclass: Class(0),
            opt: None,
        }
    }
}

impl Question {
    /// The question in parts, as a response has it.
    fn parts(&self) -> (Name<'_>, Type, Class) {
        (self.qname.name(), self.qtype, self.qclass)
    }
}

/// What is put in the place of the question as it stands; what is left out stays.
#[derive(Clone, Debug, Default)]
pub struct Instead<'a> {
    /// QNAME.
    pub qname: Option<&'a Qname>,
    /// QTYPE.
    pub qtype: Option<Type>,
    /// QCLASS.
    pub qclass: Option<Class>,
    /// The OPT record of queries that go upstream.
    pub opt: Option<Opt>,
}

/// Room for the next question that is put in the place of a client's, so that none is allocated for each.
#[derive(Debug, Default)]
pub(crate) struct Spare(Option<Box<Question>>);

impl Clone for Spare {
    fn clone(&self) -> Self {
        Self(None)
    }
}

/// What a plugin waits with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waits {
    /// The query, on its way down.
    Query,
    /// The response, on its way up.
    Response,
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
    /// What kept those on the way from reading it.
    pub encryption: Encryption,
    /// When the query was received ([`host::clock`]).
    pub received: u64,
    /// The worker's index.
    pub worker: u16,
    /// How many look-ups of the server to itself stand above this one.
    pub depth: u8,
    /// When the query's wait ends, whoever it waits for ([`host::clock`]); 0 where nobody has said so.
    pub(crate) deadline: u64,
    /// How often plugins have been asked once more.
    pub(crate) turns: u8,
    /// What the plugin waits with where the walk was suspended.
    pub(crate) waits: Waits,
    pub(crate) udp_size: u16,
    pub(crate) step: u16,
    /// The steps that see the query.
    pub(crate) admitted: Steps,
    /// The octets of the messages before the one at hand.
    pub(crate) octets_before: u64,
    pub(crate) memos: [u64; MEMOS],
    pub(crate) overlay: Option<Box<Question>>,
    pub(crate) spare: Spare,
    /// The OPT record of the reply to a rewritten one; of the response, once the question is restored.
    pub(crate) reply_opt: Option<Box<Opt>>,
    pub(crate) failure: Option<Failure>,
    pub(crate) answered_by: Option<&'static str>,
    /// What was learnt of the query under metadata labels.
    pub(crate) notes: Notes,
    /// The last step that looked at who asks, to decide what is answered; -1 for none.
    pub(crate) judged: i16,
    /// Whether a look-up of the server to itself met such a step, or a view.
    pub(crate) private: Cell<bool>,
    /// Who watches the walk. It outlives [`Context::reset`]: an exchange that is watched is not used for another query.
    pub(crate) watch: Option<Watch>,
    /// What the response is signed by; boxed, since nearly all are not.
    pub(crate) signer: Option<Box<Signer>>,
    /// Where the TSIG record that was verified begins; 0 for none. It speaks of this hop, and goes no further (RFC 8945, section 5.5).
    pub(crate) verified_at: u16,
    /// Whether the response's OPT record tells that compact denials were understood (RFC 9824, section 5.1).
    pub compact: bool,
    /// An extended error for the response's OPT record.
    pub extended: Option<ExtendedError>,
    /// NSID for the response's OPT record (RFC 5001).
    pub nsid: Option<Arc<[u8]>>,
    /// The cookies for the response's OPT record (RFC 7873), where those of the query were read here: they speak of this hop, and go no
    /// further.
    pub cookie: Option<Cookie>,
    /// Whether a cookie shows that the client receives what is sent to its address.
    pub(crate) is_proved: bool,
}

/// The client's cookie and the server's behind it (RFC 7873, section 4.2; RFC 9018, section 4).
pub type Cookie = [u8; 24];

impl Context {
    /// Nothing known yet.
    pub fn new() -> Self {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            peer: nobody,
            local: nobody,
            transport: Transport::Udp,
            encryption: Encryption::None,
            received: 0,
            worker: 0,
            depth: 0,
            deadline: 0,
            turns: 0,
            waits: Waits::Query,
            udp_size: DEFAULT_UDP_SIZE,
            step: 0,
            admitted: Steps::default(),
            octets_before: 0,
            memos: [0; MEMOS],
            overlay: None,
            spare: Spare::default(),
            reply_opt: None,
            failure: None,
            answered_by: None,
            notes: Notes::default(),
            judged: NOT_JUDGED,
            private: Cell::new(false),
            watch: None,
            signer: None,
            verified_at: 0,
            compact: false,
            extended: None,
            nsid: None,
            cookie: None,
            is_proved: false,
        }
    }

    /// The step of the chain that was asked last: who panicked, when somebody did.
    pub fn step(&self) -> usize {
        self.step as usize
    }

    /// When the query's wait ends, if somebody has said so ([`Query::set_deadline`]).
    #[inline]
    pub fn deadline(&self) -> Option<u64> {
        (self.deadline > 0).then_some(self.deadline)
    }

    /// The size that our OPT record offers.
    #[inline]
    pub fn udp_size(&self) -> u16 {
        self.udp_size
    }

    /// The octets that a response over UDP to this query has at most.
    #[inline]
    pub fn udp_limit(&self, query: &Parsed) -> usize {
        query.udp_limit().min(self.udp_size as usize)
    }

    /// What is counted of the query beside its octets.
    #[inline]
    pub fn source(&self) -> Source {
        Source {
            worker: self.worker as usize,
            datagram: matches!(self.transport.carrier(), Carrier::Datagram),
            ipv6: self.peer.ip().to_canonical().is_ipv6(),
        }
    }

    /// Forgets the last query; addresses, transport and time are set by the listener. Memos need no clearing: a plugin reads one
    /// only where it wrote it on the way down.
    #[inline]
    pub fn reset(&mut self) {
        self.depth = 0;
        self.deadline = 0;
        self.turns = 0;
        self.waits = Waits::Query;
        self.octets_before = 0;
        self.udp_size = DEFAULT_UDP_SIZE;
        self.answered_by = None;
        self.judged = NOT_JUDGED;
        self.private.set(false);
        self.verified_at = 0;
        self.cookie = None;
        self.is_proved = false;
        self.compact = false;
        if self.is_laden() {
            self.unload();
        }
    }

    /// Whether the last query left something that has to be dropped, which few do: one test for all of it.
    #[inline(always)]
    fn is_laden(&self) -> bool {
        self.overlay.is_some()
            | self.reply_opt.is_some()
            | self.failure.is_some()
            | !self.notes.is_empty()
            | self.signer.is_some()
            | self.extended.is_some()
            | self.nsid.is_some()
    }

    /// Drops what the last query left.
    #[inline(never)]
    fn unload(&mut self) {
        self.forget_rewritten();
        self.reply_opt = None;
        self.failure = None;
        self.notes.clear();
        self.signer = None;
        self.extended = None;
        self.nsid = None;
    }

    /// Whether a question stands in the place of the client's.
    #[inline]
    pub(crate) fn is_rewritten(&self) -> bool {
        self.overlay.is_some()
    }

    /// The question in the place of the client's, if there is one: what the response has.
    #[inline]
    pub(crate) fn instead(&self) -> Option<(Name<'_>, Type, Class)> {
        self.overlay.as_ref().map(|question| question.parts())
    }

    /// The question is the client's again; whether it was another.
    #[inline]
    fn forget_rewritten(&mut self) -> bool {
        let rewritten = self.overlay.is_some();
        if rewritten {
            self.spare.0 = self.overlay.take();
        }
        rewritten
    }

    /// Whether the response is signed.
    #[inline]
    pub fn is_signed(&self) -> bool {
        self.signer.is_some()
    }

    /// Takes what the response is signed by; whoever has more messages to sign puts it back.
    pub fn take_signer(&mut self) -> Option<Box<Signer>> {
        self.signer.take()
    }

    /// Has the response signed.
    pub fn set_signer(&mut self, signer: Box<Signer>) {
        self.signer = Some(signer);
    }

    /// Where the TSIG record begins that was verified here, and that nobody further on is to see.
    pub fn verified_at(&self) -> Option<usize> {
        (self.verified_at > 0).then_some(self.verified_at as usize)
    }

    /// Whether the response is told an OPT record of its own.
    #[inline]
    pub fn has_reply_opt(&self) -> bool {
        self.reply_opt.is_some()
    }

    /// Takes the OPT record that the response is told.
    pub fn take_reply_opt(&mut self) -> Option<Box<Opt>> {
        self.reply_opt.take()
    }

    /// Keeps the OPT record of a reply, where the query's was rewritten: what the client gets of it is up to who rewrote.
    #[inline]
    pub fn keep_reply_opt(&mut self, reply: &[u8]) {
        let rewritten = self.overlay.as_ref();
        if rewritten.is_some_and(|question| question.opt.is_some()) {
            let message = wire::Message::new(reply);
            let opt = message.and_then(|message| message.opt());
            self.reply_opt = opt.map(|record| Box::new(Opt::from(&record)));
        }
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
        self.context.is_rewritten()
    }

    /// Changes the question for the plugins below, and with it that of the response, which has no records yet: they see, and answer,
    /// a query like any other. Those are asked that take its class. On the way up [`Query::restore`] or [`Query::restore_by`] puts the
    /// client's back.
    #[inline]
    pub fn rewrite(&mut self, response: &mut Response<'_>, instead: Instead<'_>) {
        let context = &mut *self.context;
        let class = self.parsed.qclass;
        let question = match &mut context.overlay {
            Some(question) => {
                if let Some(qname) = instead.qname {
                    question.qname.copy_from(qname);
                }
                question
            }
            empty => {
                let question = empty.insert(context.spare.0.take().unwrap_or_default());
                question
                    .qname
                    .copy_from(instead.qname.unwrap_or(&self.parsed.qname));
                question.qtype = self.parsed.qtype;
                question.qclass = class;
                question.opt = None;
                question
            }
        };
        question.qtype = instead.qtype.unwrap_or(question.qtype);
        if instead.opt.is_some() {
            question.opt = instead.opt;
        }
        response.begin_as(self.parsed, question.parts());
        if let Some(qclass) = instead.qclass {
            question.qclass = qclass;
            response.begin_as(self.parsed, question.parts());
            self.admit_below();
        }
    }

    /// Puts the client's question back where records need no more than to be moved, as [`Response::restore`] says: what they say of the
    /// name in the question, they say of the client's name then. `false`, with nothing changed, where it takes more.
    #[inline]
    pub fn restore(&mut self, response: &mut Response<'_>) -> bool {
        let restored = response.restore(self.parsed, self.message);
        if restored {
            self.forget();
        }
        restored
    }

    /// Puts the client's question back, and writes all records anew as `edit` has them.
    ///
    /// # Errors
    /// When a record cannot be read or a name cannot be written: the response has no records then.
    pub fn restore_by(
        &mut self,
        response: &mut Response<'_>,
        scratch: &mut Vec<u8>,
        edit: &mut impl Edit,
    ) -> Result<(), ReencodeError> {
        self.forget();
        match response.restore_by((self.parsed, self.message), scratch, edit) {
            // Without room the response is marked truncated.
            Ok(()) | Err(ReencodeError::Full) => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// Puts the client's question back, and takes the answer back.
    pub fn start_over(&mut self, response: &mut Response<'_>) {
        self.forget();
        response.begin(self.parsed, self.message);
    }

    /// The question is the client's again.
    #[inline]
    fn forget(&mut self) {
        let class = self.qclass();
        self.context.forget_rewritten();
        if class != self.parsed.qclass {
            self.admit_below();
        }
    }

    /// Has those asked below that take the class of the question.
    #[cold]
    fn admit_below(&mut self) {
        let below = u64::MAX
            .checked_shl(u32::from(self.context.step) + 1)
            .unwrap_or(0);
        let opcode = self.parsed.flags.opcode();
        let now = self.block.chain.admitted(opcode, self.qclass());
        let passed = self.context.admitted.responses & !below;
        self.context.admitted = Steps {
            queries: now.queries,
            responses: passed | now.responses & below,
        };
    }

    /// The OPT record that queries to upstreams have in the place of the client's, if it was rewritten.
    #[inline]
    pub fn rewritten_opt(&self) -> Option<&Opt> {
        self.context.overlay.as_ref()?.opt.as_ref()
    }

    /// Takes the OPT record of the reply that an upstream gave to a rewritten one.
    pub fn take_reply_opt(&mut self) -> Option<Box<Opt>> {
        self.context.take_reply_opt()
    }

    /// Says what OPT record the response has: its options in the place of those that it would have, and an OPT record where the query
    /// had none.
    pub fn set_reply_opt(&mut self, opt: Box<Opt>) {
        self.context.reply_opt = Some(opt);
    }

    /// The OPT record.
    #[inline]
    pub fn edns(&self) -> Option<&Edns> {
        self.parsed.edns.as_ref()
    }

    /// Says whether the plugins below are to ask for AD (RFC 6840, 5.7), whatever the client did: a cache keeps what it gets, and tells
    /// each client as much as that one wants. [`Query::flags`] shows it; the octets as received do not.
    pub fn ask_authenticated(&mut self, on: bool) {
        self.parsed.flags = self.parsed.flags.with(Flags::AD, on);
    }

    /// Gives the query other flags for the plugins below. [`Query::flags`] shows them, and an upstream gets them; the octets as received
    /// stay. Whoever calls it restores the flags on the way up, since a cache above knows the query by them.
    pub fn set_flags(&mut self, flags: Flags) {
        self.parsed.flags = flags;
    }

    /// Whether the client itself set AD, whatever [`Query::ask_authenticated`] said.
    #[inline]
    pub fn asked_authenticated(&self) -> bool {
        wire::Header::read(self.message).is_some_and(|header| header.flags.has(Flags::AD))
    }

    /// How many look-ups of the server to itself stand above this one.
    #[inline]
    pub fn depth(&self) -> u8 {
        self.context.depth
    }

    /// The octets that a response over UDP has at most: what the client takes, and no more than is said by [`Query::set_udp_size`].
    #[inline]
    pub fn udp_limit(&self) -> usize {
        self.context.udp_limit(self.parsed)
    }

    /// Says how many octets a UDP message has at most, responses and what upstreams are asked for: 512 to 4,096, where the default
    /// is 1,232.
    pub fn set_udp_size(&mut self, size: u16) {
        self.context.udp_size = size.clamp(512, crate::exchange::DATAGRAM as u16);
    }

    /// The OPT record of a query to an upstream: the rewritten one or the client's, which offers no more than a UDP message may have.
    pub fn upstream_opt(&self) -> Option<Opt> {
        let mut opt = match self.rewritten_opt() {
            Some(opt) => opt.clone(),
            None => Opt::of(self.edns()?, self.message),
        };
        opt.udp_size = opt.udp_size.clamp(512, self.context.udp_size);
        if self.context.cookie.is_some() {
            opt.remove(wire::EdnsOption::COOKIE);
        }
        Some(opt)
    }

    /// Whether DNSSEC records are wanted.
    #[inline]
    pub fn dnssec_ok(&self) -> bool {
        self.parsed.dnssec_ok()
    }

    /// Whether a compact denial of existence may have the RCODE NXDOMAIN (RFC 9824, section 5.1).
    #[inline]
    pub fn compact_ok(&self) -> bool {
        let edns = self.edns();
        edns.is_some_and(|edns| edns.flags & Edns::CO != 0)
    }

    /// Says that the response is one for a client that takes compact denials, and tells it so.
    pub fn set_compact(&mut self) {
        self.context.compact = true;
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

    /// What kept those on the way from reading it.
    pub fn encryption(&self) -> Encryption {
        self.context.encryption
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

    /// Says when the query's wait ends, whoever it waits for: the listener then gives it up, and answers SERVFAIL. The earliest counts.
    /// An answer that comes at once is not held up.
    pub fn set_deadline(&mut self, at: u64) {
        let at = at.max(1);
        self.context.deadline = self.context.deadline().map_or(at, |before| before.min(at));
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

    /// Says that this plugin looks at who asks to decide what is answered, so that nobody above keeps the answer for others.
    #[inline]
    pub fn judge_client(&mut self) {
        self.context.judged = self.context.step as i16;
    }

    /// Says that the answer is of this moment only, so that nobody above keeps it.
    #[inline]
    pub fn keep_from_caches(&mut self) {
        self.context.judged = self.context.step as i16;
    }

    /// Whether the answer is for this client only: a plugin below this one, a view or an access rule of another server block has looked
    /// at who asks.
    #[inline]
    pub fn is_for_client(&self) -> bool {
        self.context.judged > self.context.step as i16 || self.context.private.get()
    }

    /// The place of the plugin in its chain, for [`crate::ask_below`].
    #[inline]
    pub fn step(&self) -> usize {
        self.context.step as usize
    }

    /// The octets of the messages that went before this one, in a response of many ([`crate::Messages`]).
    #[inline]
    pub fn octets_before(&self) -> u64 {
        self.context.octets_before
    }

    /// Says that what a plugin does with the response on its way up has failed: the server's response for the failure takes its place.
    pub fn fail(&mut self, response: &mut Response<'_>, failure: Failure) {
        response.take_back();
        response.set_rcode(failure.rcode);
        if failure.extended.is_some() {
            self.context.extended.clone_from(&failure.extended);
        }
        self.context.answered_by = None;
        self.context.failure = Some(failure);
    }

    /// The failure that the response tells of, if a plugin failed.
    pub fn failure(&self) -> Option<&Failure> {
        self.context.failure.as_ref()
    }

    /// The plugin that wrote the response; `None` when the server did.
    pub fn answered_by(&self) -> Option<&'static str> {
        self.context.answered_by
    }

    /// Says that the query's signature is good, and by what the response is signed. The plugins below see a query without TSIG.
    pub fn verified(&mut self, signer: Signer) {
        self.context.verified_at = self.parsed.tsig.take().unwrap_or_default();
        self.context.signer = Some(Box::new(signer));
    }

    /// Says what tells the client why its signature is not good.
    pub fn set_signer(&mut self, signer: Box<Signer>) {
        self.context.signer = Some(signer);
    }

    /// The name of the key that the query was signed with, if its signature is good.
    pub fn key(&self) -> Option<Name<'_>> {
        self.context.signer.as_ref()?.verified()
    }

    /// Says what to tell a client that understands extended errors.
    pub fn set_extended_error(&mut self, error: ExtendedError) {
        self.context.extended = Some(error);
    }

    /// Says that the client's cookies were read here, what it is told of them, and whether they prove its address.
    #[inline]
    pub fn set_cookie(&mut self, cookie: Cookie, is_proved: bool) {
        self.context.cookie = Some(cookie);
        self.context.is_proved = is_proved;
    }

    /// Whether the client receives what is sent to its address: it came by a transport with a handshake, or has a good cookie.
    #[inline]
    pub fn has_proved_address(&self) -> bool {
        !self.context.transport.is_datagram() || self.context.is_proved
    }

    /// Whether there is no question, which only a query for a server cookie may lack (RFC 7873, section 5.4).
    #[inline]
    pub fn is_questionless(&self) -> bool {
        self.parsed.question_end == 0
    }

    /// Says what to write as NSID.
    pub fn set_nsid(&mut self, nsid: Arc<[u8]>) {
        self.context.nsid = Some(nsid);
    }

    /// A new exchange with the same question from the same client, to ask the plugins below in the background. Allocates.
    pub fn fork(&self) -> Box<crate::Exchange> {
        crate::Exchange::forked(self.message, self.parsed, self.context)
    }
}
