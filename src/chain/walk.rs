//! The walk: down until a plugin answers, up through the plugins that were passed.

use std::sync::Arc;

use corefile::Span;
use wire::{Class, Name, Opcode, Qname, Rcode, Response, Type};

use crate::admission::{Admits, Steps, is_ordinary};
use crate::block::Block;
use crate::completion::Completion;
use crate::exchange::{Exchange, MAX_DEPTH};
use crate::metadata::Collected;
use crate::plugin::{Cause, ExtendedError, Failure, Flow, Hooks, Plugin, Resolving, Turn};
use crate::query::{MEMOS, NOT_JUDGED, Query, Waits};
use crate::trace::{Came, Hook};

/// How often the plugins below may be asked once more for one query.
const MAX_TURNS: u8 = 16;

/// A plugin in a chain, its name, the hooks it wants, and what it takes.
pub struct Step {
    /// The plugin.
    pub plugin: Arc<dyn Plugin>,
    name: &'static str,
    hooks: Hooks,
    admits: Admits,
    place: Option<Span>,
}

impl Chain {
    /// Whether plugins other than the one at `step` see queries, and so may answer what that one cannot.
    #[cold]
    pub(crate) fn asks_beside(&self, step: usize) -> bool {
        let mut others = self
            .steps()
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != step);
        others.any(|(_, other)| other.hooks.has(Hooks::QUERY))
    }
}

impl Step {
    /// Asks the plugin once which hooks it wants, and for which queries.
    pub fn new(plugin: Arc<dyn Plugin>) -> Self {
        let (name, hooks, admits) = (plugin.name(), plugin.hooks(), plugin.admits());
        Self {
            plugin,
            name,
            hooks,
            admits,
            place: None,
        }
    }

    /// The same, with the place in the Corefile that it comes from.
    #[must_use]
    pub fn at(mut self, place: Span) -> Self {
        self.place = Some(place);
        self
    }

    /// The place in the Corefile that it comes from.
    pub fn place(&self) -> Option<Span> {
        self.place
    }

    /// The hooks that it wants.
    pub fn hooks(&self) -> Hooks {
        self.hooks
    }

    /// What it takes.
    pub fn admits(&self) -> Admits {
        self.admits
    }
}

/// The plugins of a server block in the order in which they are asked.
pub struct Chain {
    steps: Box<[Step]>,
    /// The steps that see a QUERY of class IN.
    ordinary: Steps,
    /// The first step that loads ahead.
    ahead: Option<usize>,
    /// What it collects labels with; `None` where `metadata` does not stand in the block.
    pub(crate) collected: Option<Collected>,
    place: Option<Span>,
}

impl Chain {
    /// A chain of these steps; `Err` gives back how many are too many.
    pub fn new(steps: Vec<Step>) -> Result<Self, usize> {
        if steps.len() > MEMOS {
            Err(steps.len())
        } else {
            Ok(Self {
                ordinary: admitted(&steps, Opcode::QUERY, Class::IN),
                ahead: steps.iter().position(|step| step.hooks.has(Hooks::AHEAD)),
                place: None,
                steps: steps.into(),
                collected: None,
            })
        }
    }

    /// The same, with the place of its server block in the Corefile.
    #[must_use]
    pub fn at(mut self, place: Span) -> Self {
        self.place = Some(place);
        self
    }

    /// The place of its server block in the Corefile.
    pub fn place(&self) -> Option<Span> {
        self.place
    }

    /// The steps that see queries of this kind.
    #[cold]
    pub(crate) fn admitted(&self, opcode: Opcode, class: Class) -> Steps {
        admitted(&self.steps, opcode, class)
    }

    /// The failure of a query whose opcode and class no plugin takes that could answer it; not asked about ordinary queries.
    #[cold]
    fn refusal(&self, opcode: Opcode, class: Class) -> Option<Failure> {
        let answers = |step: &Step| !step.admits.watches && step.admits.has(opcode, class);
        if self.steps.iter().any(answers) {
            return None;
        }
        Some(self.not_taken(opcode))
    }

    /// The failure of a query of an opcode or a class that nobody has answered.
    fn not_taken(&self, opcode: Opcode) -> Failure {
        let rcode = match self.steps.last() {
            Some(last) if opcode == Opcode::NOTIFY => last.admits.notify,
            _ if opcode == Opcode::UPDATE => Rcode::NOTIMP,
            _ => Rcode::REFUSED,
        };
        Failure::policy(rcode).extended(
            ExtendedError::NOT_SUPPORTED,
            "no plugin here accepts this opcode and class",
        )
    }

    /// The first step from `from` on among those of `queries`.
    #[inline]
    fn next(&self, queries: u64, from: usize) -> Option<(usize, &Step)> {
        let bits = queries & u64::MAX.checked_shl(from as u32).unwrap_or(0);
        let at = bits.trailing_zeros() as usize;
        self.steps.get(at).map(|step| (at, step))
    }

    /// Has a plugin load what it will read for these names ([`Plugin::ahead`]).
    #[inline]
    pub fn ahead(&self, qnames: &[&Qname]) -> bool {
        let step = self.ahead.and_then(|at| self.steps.get(at));
        step.is_some_and(|step| step.plugin.ahead(qnames))
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// The steps that want to see queries of this kind.
fn admitted(steps: &[Step], opcode: Opcode, class: Class) -> Steps {
    let wanting = |hook| {
        let steps = steps.iter().enumerate();
        steps
            .filter(|(_, step)| step.hooks.has(hook) && step.admits.has(opcode, class))
            .fold(0, |bits, (at, _)| bits | 1 << at)
    };
    Steps {
        queries: wanting(Hooks::QUERY),
        responses: wanting(Hooks::RESPONSE),
    }
}

/// Where a walk came to rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The response is to be finished and sent.
    Respond,
    /// Nobody answers.
    Silent,
    /// The plugin at this step waits, with the query or with the response: [`resume`] goes on.
    Suspended(usize),
    /// The plugin at this step has many messages: [`crate::Messages`] gives them. Only for clients on a stream transport.
    Stream(usize),
}

/// How an exchange ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The response is to be finished and sent.
    Respond,
    /// Nobody answers.
    Silent,
    /// The plugin at the step where the exchange is suspended ([`Exchange::take_suspended`]) has many messages, as [`Outcome::Stream`]
    /// says.
    Stream,
}

/// How far a response came on its way up.
enum Risen {
    /// To the top.
    Top,
    /// The steps from this one on are to be asked once more.
    Again(usize),
    /// The plugin at this step waits.
    Waits(usize),
    /// Nobody answers.
    Silent,
}

impl Exchange {
    /// Walks the chain of `block` from its first plugin.
    #[inline]
    pub fn walk(&mut self, block: &Arc<Block>) -> Outcome {
        self.admit(block);
        self.walk_between(block, 0, 0)
    }

    /// The failure of a query whose opcode and class `block` does not take: it is not to be walked.
    #[inline]
    pub fn refusal(&self, block: &Block) -> Option<Failure> {
        if is_ordinary(&self.parsed) {
            return None;
        }
        block
            .chain
            .refusal(self.parsed.flags.opcode(), self.parsed.qclass)
    }

    /// Notes which steps see the query.
    #[inline]
    fn admit(&mut self, block: &Block) {
        self.context.admitted = if is_ordinary(&self.parsed) && self.context.overlay.is_none() {
            block.chain.ordinary
        } else {
            let class = self.question_class();
            block.chain.admitted(self.parsed.flags.opcode(), class)
        };
    }

    /// The class of the question as it stands now.
    fn question_class(&self) -> Class {
        let rewritten = self.context.overlay.as_ref();
        rewritten.map_or(self.parsed.qclass, |question| question.qclass)
    }

    /// Walks down from step `from`, and up to step `floor`.
    #[inline]
    fn walk_between(&mut self, block: &Arc<Block>, from: usize, floor: usize) -> Outcome {
        match self.context.watch {
            None => self.walk_down::<false>(block, from, floor),
            Some(_) => self.walk_down::<true>(block, from, floor),
        }
    }

    /// The same; `WATCHED` says whether each hook is recorded.
    fn walk_down<const WATCHED: bool>(
        &mut self,
        block: &Arc<Block>,
        from: usize,
        floor: usize,
    ) -> Outcome {
        let mut at = from;
        loop {
            let next = block.chain.next(self.context.admitted.queries, at);
            let Some((here, step)) = next else {
                self.fail_at_end(block);
                match self.rise::<WATCHED>(block, block.chain.steps().len(), floor) {
                    Risen::Top => return Outcome::Respond,
                    Risen::Again(below) => at = below,
                    Risen::Waits(step) => return Outcome::Suspended(step),
                    Risen::Silent => return Outcome::Silent,
                }
                continue;
            };
            at = here;
            let visit = match WATCHED {
                true => self.open_visit(block, at, Hook::Query),
                false => None,
            };
            let (mut query, mut response) = self.views(block);
            query.context.step = at as u16;
            let flow = step.plugin.query(&mut query, &mut response);
            if WATCHED && let Some(visit) = visit {
                visit.close(self, Came::of(&flow));
            }
            match flow {
                Ok(Flow::Next) => at += 1,
                Ok(Flow::Suspend) => return Outcome::Suspended(at),
                Ok(Flow::Silent) => return self.hush(block, at, floor),
                Ok(Flow::Stream) if self.may_stream(floor) => {
                    self.context.answered_by = Some(step.name);
                    return Outcome::Stream(at);
                }
                ended => {
                    self.settle(ended, step.name);
                    match self.rise::<WATCHED>(block, at, floor) {
                        Risen::Top => return Outcome::Respond,
                        Risen::Again(below) => at = below,
                        Risen::Waits(step) => return Outcome::Suspended(step),
                        Risen::Silent => return Outcome::Silent,
                    }
                }
            }
        }
    }

    /// Makes the response where every plugin has passed.
    #[cold]
    fn fail_at_end(&mut self, block: &Block) {
        let ordinary = is_ordinary(&self.parsed) || self.question_class() == Class::IN;
        let opcode = self.parsed.flags.opcode();
        self.fail(if ordinary && opcode == Opcode::QUERY {
            no_next(block.chain.steps())
        } else {
            block.chain.not_taken(opcode)
        });
    }

    /// Whether a response of many messages has a place: at a client whose transport carries them.
    #[cold]
    fn may_stream(&self, floor: usize) -> bool {
        floor == 0 && self.context.depth == 0 && self.context.transport.has_many_messages()
    }

    /// The steps from `floor` up to `from` that want to see the response.
    #[inline]
    fn above(&self, from: usize, floor: usize) -> u64 {
        let high = u64::MAX.checked_shl(from as u32).unwrap_or(0);
        let low = u64::MAX.checked_shl(floor as u32).unwrap_or(0);
        self.context.admitted.responses & low & !high
    }

    /// Calls the response hooks from the step above `from` up to `floor`.
    #[inline]
    fn rise<const WATCHED: bool>(
        &mut self,
        block: &Arc<Block>,
        from: usize,
        floor: usize,
    ) -> Risen {
        let above = self.above(from, floor);
        if above == 0 {
            return Risen::Top;
        }
        self.rise_by::<WATCHED>(block, above)
    }

    /// Calls the response hooks of these steps, the last first.
    fn rise_by<const WATCHED: bool>(&mut self, block: &Arc<Block>, above: u64) -> Risen {
        let steps = block.chain.steps();
        let mut above = above;
        while above != 0 {
            let at = above.ilog2() as usize;
            above &= !(1 << at);
            let Some(step) = steps.get(at) else { break };
            let visit = match WATCHED {
                true => self.open_visit(block, at, Hook::Response),
                false => None,
            };
            let (mut query, mut response) = self.views(block);
            query.context.step = at as u16;
            let turn = step.plugin.response(&mut query, &mut response);
            if WATCHED && let Some(visit) = visit {
                visit.close(self, Came::from(&turn));
            }
            match turn {
                Turn::Up => {}
                Turn::Again if self.context.turns < MAX_TURNS => {
                    self.context.turns += 1;
                    self.context.failure = None;
                    self.context.answered_by = None;
                    self.begin();
                    return Risen::Again(at + 1);
                }
                Turn::Again => {
                    self.begin();
                    self.fail(Failure::servfail("the plugins kept asking each other"));
                    self.tell(block, above);
                    return Risen::Top;
                }
                Turn::Wait => {
                    self.context.waits = Waits::Response;
                    return Risen::Waits(at);
                }
                Turn::Silent => {
                    self.hush_above(block, above);
                    return Risen::Silent;
                }
            }
        }
        Risen::Top
    }

    /// Calls the response hooks of these steps, the last first; whoever wants to ask again, to wait or to drop it is not heard.
    #[cold]
    fn tell(&mut self, block: &Arc<Block>, above: u64) {
        self.each_above(block, above, Hook::Response, |plugin, query, response| {
            let _ = plugin.response(query, response);
        });
    }

    /// Calls one hook of these steps, the last first.
    fn each_above(
        &mut self,
        block: &Arc<Block>,
        above: u64,
        which: Hook,
        hook: impl Fn(&dyn Plugin, &mut Query<'_>, &mut Response<'_>),
    ) {
        let mut above = above;
        while above != 0 {
            let at = above.ilog2() as usize;
            above &= !(1 << at);
            let Some(step) = block.chain.steps().get(at) else {
                return;
            };
            let visit = self.open_visit(block, at, which);
            let (mut query, mut response) = self.views(block);
            query.context.step = at as u16;
            hook(&*step.plugin, &mut query, &mut response);
            if let Some(visit) = visit {
                visit.close(self, Came::Up);
            }
        }
    }

    /// Tells the plugins above `from` that nobody answers.
    #[cold]
    fn hush(&mut self, block: &Arc<Block>, from: usize, floor: usize) -> Outcome {
        self.hush_above(block, self.above(from, floor));
        Outcome::Silent
    }

    /// Tells these steps that nobody answers.
    #[cold]
    fn hush_above(&mut self, block: &Arc<Block>, above: u64) {
        self.each_above(block, above, Hook::Silent, |plugin, query, _| {
            plugin.silent(query)
        });
    }

    /// Ends a walk at `step`, whose plugin was to wait or panicked: the response is the failure's, and the plugins above see it, so
    /// that whoever keeps something for a query on its way lets it go. Nobody is asked again.
    pub fn abandon(&mut self, block: &Arc<Block>, step: usize, failure: fn() -> Failure) {
        self.begin();
        self.fail(failure());
        self.tell(block, self.above(step, 0));
    }

    /// Shows the plugins above `step` the last message of a response of many, which a failure is, too.
    pub(crate) fn end_messages(
        &mut self,
        (block, step): (&Arc<Block>, usize),
        failure: Option<Failure>,
    ) {
        if let Some(failure) = failure {
            self.fail(failure);
        }
        self.tell(block, self.above(step, 0));
    }

    /// Goes on with the flow that the plugin at this step of this block came to after it had been suspended.
    #[inline]
    pub fn complete(&mut self, at: (&Arc<Block>, usize), flow: Result<Flow, Failure>) -> Outcome {
        self.arrive(at, 0, flow)
    }

    fn arrive(
        &mut self,
        (block, step): (&Arc<Block>, usize),
        floor: usize,
        flow: Result<Flow, Failure>,
    ) -> Outcome {
        let ended = match flow {
            Ok(Flow::Silent) => return self.hush(block, step, floor),
            Ok(Flow::Next) => return self.walk_between(block, step + 1, floor),
            Ok(Flow::Suspend | Flow::Stream) => {
                Err(Failure::servfail("a plugin that waited did not finish"))
            }
            ended => ended,
        };
        let name = block.chain.steps().get(step);
        self.settle(ended, name.map_or("", |step| step.name));
        self.go_up(block, step, floor)
    }

    /// Goes on upwards from `step`, and down again where a plugin wants that.
    fn go_up(&mut self, block: &Arc<Block>, step: usize, floor: usize) -> Outcome {
        let risen = match self.context.watch {
            None => self.rise::<false>(block, step, floor),
            Some(_) => self.rise::<true>(block, step, floor),
        };
        match risen {
            Risen::Top => Outcome::Respond,
            Risen::Again(below) => self.walk_between(block, below, floor),
            Risen::Waits(step) => Outcome::Suspended(step),
            Risen::Silent => Outcome::Silent,
        }
    }

    /// Notes who answered, or turns a failure into a response.
    #[inline]
    fn settle(&mut self, flow: Result<Flow, Failure>, name: &'static str) {
        match flow {
            Ok(Flow::Stream) => self.fail(no_stream()),
            Ok(_) => self.context.answered_by = Some(name),
            Err(failure) => self.fail(failure),
        }
    }

    /// Makes the response that the server gives for a plugin's failure.
    pub fn fail(&mut self, failure: Failure) {
        let mut response = self.response();
        response.take_back();
        response.set_rcode(failure.rcode);
        if failure.extended.is_some() {
            self.context.extended.clone_from(&failure.extended);
        }
        self.context.answered_by = None;
        self.context.failure = Some(failure);
    }
}

/// The failure of a chain in which everybody passed.
fn no_next(steps: &[Step]) -> Failure {
    let cause = match steps.last() {
        Some(last) => {
            Cause::Text(format!("plugin/{}: no next plugin found", last.plugin.name()).into())
        }
        None => Cause::None,
    };
    let rcode = if steps.is_empty() {
        Rcode::REFUSED
    } else {
        Rcode::SERVFAIL
    };
    Failure {
        rcode,
        extended: None,
        cause,
    }
}

/// The failure of a response of many messages that has no place where it was asked for: RFC 5936, section 4.2, knows none over UDP.
#[cold]
fn no_stream() -> Failure {
    Failure::policy(Rcode::REFUSED)
        .extended(ExtendedError::NOT_SUPPORTED, "zone transfers need TCP")
}

/// Goes on with an exchange whose plugin at `step` waits, to the end.
pub async fn resume(
    exchange: Box<Exchange>,
    block: Arc<Block>,
    step: usize,
) -> (Box<Exchange>, Ending) {
    resume_between(exchange, block, step, 0).await
}

/// Goes on with an exchange that comes out of `resolving` at this step, to the end.
pub async fn resume_by(
    resolving: Resolving,
    block: Arc<Block>,
    step: usize,
) -> (Box<Exchange>, Ending) {
    let (mut exchange, flow) = resolving.await;
    exchange.suspended = None;
    match exchange.arrive((&block, step), 0, flow) {
        Outcome::Suspended(next) => resume_between(exchange, block, next, 0).await,
        outcome => end(exchange, &block, outcome),
    }
}

/// Hands an exchange that was suspended at this step to its plugin; one that is still in place afterwards wants [`resume`].
#[inline]
pub fn launch(
    exchange: &mut Option<Box<Exchange>>,
    at: (&Arc<Block>, usize),
    completion: Completion,
) {
    let (block, step) = at;
    if let (Some(suspended), Some(next)) = (exchange.as_mut(), block.chain.steps().get(step))
        && suspended.context.waits == Waits::Query
    {
        suspended.suspended = Some((block.clone(), step));
        next.plugin.clone().launch(exchange, completion);
    }
}

/// Goes from one plugin that waits to the next. It ends: a turn passes each step once, and turns are counted.
async fn resume_between(
    mut exchange: Box<Exchange>,
    block: Arc<Block>,
    step: usize,
    floor: usize,
) -> (Box<Exchange>, Ending) {
    let mut step = step;
    while let Some(waiting) = block.chain.steps().get(step) {
        let plugin = waiting.plugin.clone();
        exchange.suspended = Some((block.clone(), step));
        let outcome = match exchange.context.waits {
            Waits::Query => {
                let visit = exchange.open_visit(&block, step, Hook::Resolve);
                let (back, flow) = plugin.resolve(exchange).await;
                exchange = back;
                if let Some(visit) = visit {
                    visit.close(&mut exchange, Came::of(&flow));
                }
                exchange.suspended = None;
                exchange.arrive((&block, step), floor, flow)
            }
            Waits::Response => {
                let visit = exchange.open_visit(&block, step, Hook::Respond);
                let (back, responded) = plugin.respond(exchange).await;
                exchange = back;
                if let Some(visit) = visit {
                    let came = responded.clone().map_or_else(Came::Failed, |()| Came::Up);
                    visit.close(&mut exchange, came);
                }
                exchange.suspended = None;
                exchange.context.waits = Waits::Query;
                if let Err(failure) = responded {
                    exchange.fail(failure);
                }
                exchange.go_up(&block, step, floor)
            }
        };
        match outcome {
            Outcome::Suspended(next) => step = next,
            outcome => return end(exchange, &block, outcome),
        }
    }
    (exchange, Ending::Respond)
}

/// The end of a walk that waits for nobody.
fn end(
    mut exchange: Box<Exchange>,
    block: &Arc<Block>,
    outcome: Outcome,
) -> (Box<Exchange>, Ending) {
    let ending = match outcome {
        Outcome::Silent => Ending::Silent,
        Outcome::Stream(step) => {
            exchange.suspended = Some((block.clone(), step));
            Ending::Stream
        }
        Outcome::Respond | Outcome::Suspended(_) => Ending::Respond,
    };
    (exchange, ending)
}

/// Asks the plugins below `step` of `block`: what a cache does to refresh an entry. Hooks of `step` and above are not called.
pub async fn ask_below(
    exchange: Box<Exchange>,
    block: Arc<Block>,
    step: usize,
) -> (Box<Exchange>, Ending) {
    let mut exchange = exchange;
    exchange.admit(&block);
    match exchange.walk_between(&block, step + 1, step + 1) {
        Outcome::Suspended(at) => Box::pin(resume_between(exchange, block, at, step + 1)).await,
        outcome => end(exchange, &block, outcome),
    }
}

/// Asks the server itself for `name` and `qtype`, as the client of `exchange` would: all blocks of the listener, one level deeper.
///
/// # Errors
/// SERVFAIL when look-ups nest deeper than [`MAX_DEPTH`], REFUSED when no block serves the name or its class, or nobody answers.
pub async fn look_up(
    exchange: &Exchange,
    name: Name<'_>,
    qtype: Type,
) -> Result<Box<Exchange>, Failure> {
    if exchange.context.depth >= MAX_DEPTH {
        return Err(Failure::servfail(
            "look-ups of the server to itself nest too deep",
        ));
    }
    let router = exchange
        .suspended
        .as_ref()
        .and_then(|(block, _)| block.router());
    let mut inner = exchange.derive(name, qtype);
    let Some(block) = router.and_then(|router| router.choose(&mut inner)) else {
        return Err(Failure::policy(Rcode::REFUSED));
    };
    if let Some(refusal) = inner.refusal(&block) {
        return Err(refusal);
    }
    let (inner, ended) = match inner.walk(&block) {
        Outcome::Suspended(at) => Box::pin(resume(inner, block, at)).await,
        outcome => end(inner, &block, outcome),
    };
    if inner.context.judged != NOT_JUDGED || inner.context.private.get() {
        exchange.context.private.set(true);
    }
    match ended {
        Ending::Respond => Ok(inner),
        Ending::Silent | Ending::Stream => {
            Err(Failure::servfail("the server did not answer itself"))
        }
    }
}
