//! The walk: down until a plugin answers, up through the plugins that were passed.

use std::sync::Arc;

use wire::{Flags, Name, Rcode, Type};

use crate::berth::Berth;
use crate::block::Block;
use crate::exchange::{Exchange, MAX_DEPTH};
use crate::plugin::{Cause, Failure, Flow, Hooks, Plugin, Resolving, Turn};
use crate::query::MEMOS;

/// How often the plugins below may be asked once more for one query.
const MAX_TURNS: usize = 16;

/// A plugin in a chain, its name, and the hooks it wants.
pub struct Step {
    /// The plugin.
    pub plugin: Arc<dyn Plugin>,
    name: &'static str,
    hooks: Hooks,
}

impl Step {
    /// Asks the plugin once which hooks it wants.
    pub fn new(plugin: Arc<dyn Plugin>) -> Self {
        let (name, hooks) = (plugin.name(), plugin.hooks());
        Self {
            plugin,
            name,
            hooks,
        }
    }
}

/// The plugins of a server block in the order in which they are asked.
pub struct Chain {
    steps: Box<[Step]>,
    /// A bit for each step that wants to see queries.
    queries: u64,
    /// A bit for each step that wants to see responses.
    responses: u64,
}

impl Chain {
    /// A chain of these steps; `Err` gives back how many are too many.
    pub fn new(steps: Vec<Step>) -> Result<Self, usize> {
        if steps.len() > MEMOS {
            Err(steps.len())
        } else {
            let wanting = |hook| {
                let steps = steps.iter().enumerate();
                steps
                    .filter(|(_, step)| step.hooks.has(hook))
                    .fold(0, |bits, (at, _)| bits | 1 << at)
            };
            Ok(Self {
                queries: wanting(Hooks::QUERY),
                responses: wanting(Hooks::RESPONSE),
                steps: steps.into(),
            })
        }
    }

    /// The first step from `from` on that wants to see the query.
    #[inline]
    fn next(&self, from: usize) -> Option<(usize, &Step)> {
        let bits = self.queries & u64::MAX.checked_shl(from as u32).unwrap_or(0);
        let at = bits.trailing_zeros() as usize;
        self.steps.get(at).map(|step| (at, step))
    }

    /// The steps from `floor` up to `from` that want to see the response.
    #[inline]
    fn above(&self, from: usize, floor: usize) -> u64 {
        let high = u64::MAX.checked_shl(from as u32).unwrap_or(0);
        let low = u64::MAX.checked_shl(floor as u32).unwrap_or(0);
        self.responses & low & !high
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// Where a walk came to rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The response is to be finished and sent.
    Respond,
    /// Nobody answers.
    Silent,
    /// The plugin at this step waits: [`resume`] goes on.
    Suspended(usize),
}

/// How an exchange ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The response is to be finished and sent.
    Respond,
    /// Nobody answers.
    Silent,
}

impl Exchange {
    /// Walks the chain of `block` from its first plugin.
    #[inline]
    pub fn walk(&mut self, block: &Arc<Block>) -> Outcome {
        self.walk_between(block, 0, 0)
    }

    /// Walks down from step `from`, and up to step `floor`.
    fn walk_between(&mut self, block: &Arc<Block>, from: usize, floor: usize) -> Outcome {
        let steps = block.chain.steps();
        let mut at = from;
        let mut turns = 0;
        loop {
            let Some((here, step)) = block.chain.next(at) else {
                self.fail(no_next(steps));
                match self.rise(block, steps.len(), floor) {
                    Some(below) if turns < MAX_TURNS => at = below,
                    _ => return Outcome::Respond,
                }
                turns += 1;
                continue;
            };
            at = here;
            let (mut query, mut response) = self.views(block);
            query.context.step = at as u16;
            let flow = step.plugin.query(&mut query, &mut response);
            match flow {
                Ok(Flow::Next) => at += 1,
                Ok(Flow::Suspend) => return Outcome::Suspended(at),
                Ok(Flow::Silent) => return Outcome::Silent,
                answered => {
                    self.settle(answered, step.name);
                    match self.rise(block, at, floor) {
                        Some(below) if turns < MAX_TURNS => at = below,
                        _ => return Outcome::Respond,
                    }
                    turns += 1;
                }
            }
        }
    }

    /// Calls the response hooks from the step above `from` up to `floor`; gives the step to ask from when a plugin wants that.
    #[inline]
    fn rise(&mut self, block: &Arc<Block>, from: usize, floor: usize) -> Option<usize> {
        let above = block.chain.above(from, floor);
        if above == 0 {
            return None;
        }
        self.rise_by(block, above)
    }

    /// Calls the response hooks of these steps, the last first.
    fn rise_by(&mut self, block: &Arc<Block>, above: u64) -> Option<usize> {
        let steps = block.chain.steps();
        let mut above = above;
        while above != 0 {
            let at = above.ilog2() as usize;
            above &= !(1 << at);
            let Some(step) = steps.get(at) else { break };
            let (mut query, mut response) = self.views(block);
            query.context.step = at as u16;
            if step.plugin.response(&mut query, &mut response) == Turn::Again {
                self.context.failure = None;
                self.context.answered_by = None;
                self.begin();
                return Some(at + 1);
            }
        }
        None
    }

    /// Ends a walk at `step`, whose plugin was to wait or panicked: the response is the failure's, and the plugins above see it, so
    /// that whoever keeps something for a query on its way lets it go. Nobody is asked again.
    pub fn abandon(&mut self, block: &Arc<Block>, step: usize, failure: fn() -> Failure) {
        let mut at = step;
        loop {
            self.begin();
            self.fail(failure());
            match self.rise(block, at, 0) {
                Some(below) => at = below - 1,
                None => return,
            }
        }
    }

    /// Goes on with the flow that the plugin at this step of this block came to after it had been suspended.
    #[inline]
    pub fn land(&mut self, at: (&Arc<Block>, usize), flow: Result<Flow, Failure>) -> Outcome {
        self.arrive(at, 0, flow)
    }

    fn arrive(
        &mut self,
        (block, step): (&Arc<Block>, usize),
        floor: usize,
        flow: Result<Flow, Failure>,
    ) -> Outcome {
        match flow {
            Ok(Flow::Silent) => Outcome::Silent,
            Ok(Flow::Next) => self.walk_between(block, step + 1, floor),
            Ok(Flow::Suspend) => {
                self.fail(Failure::servfail("a plugin waited twice for one answer"));
                Outcome::Respond
            }
            answered => {
                let name = block.chain.steps().get(step);
                self.settle(answered, name.map_or("", |step| step.name));
                match self.rise(block, step, floor) {
                    Some(below) => self.walk_between(block, below, floor),
                    None => Outcome::Respond,
                }
            }
        }
    }

    /// Notes who answered, or turns a failure into a response.
    #[inline]
    fn settle(&mut self, flow: Result<Flow, Failure>, name: &'static str) {
        match flow {
            Ok(_) => self.context.answered_by = Some(name),
            Err(failure) => self.fail(failure),
        }
    }

    /// Makes the response that the server gives for a plugin's failure.
    pub fn fail(&mut self, failure: Failure) {
        let mut response = self.response();
        response.clear_records();
        response.set_flag(Flags::AA | Flags::TC, false);
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
        Outcome::Respond => (exchange, Ending::Respond),
        Outcome::Silent => (exchange, Ending::Silent),
        Outcome::Suspended(next) => resume_between(exchange, block, next, 0).await,
    }
}

/// Offers an exchange that was suspended at this step to its plugin; one that is still in place afterwards wants [`resume`].
#[inline]
pub fn launch(exchange: &mut Option<Box<Exchange>>, at: (&Arc<Block>, usize), berth: Berth) {
    let (block, step) = at;
    if let (Some(suspended), Some(next)) = (exchange.as_mut(), block.chain.steps().get(step)) {
        suspended.suspended = Some((block.clone(), step));
        next.plugin.clone().launch(exchange, berth);
    }
}

async fn resume_between(
    mut exchange: Box<Exchange>,
    block: Arc<Block>,
    step: usize,
    floor: usize,
) -> (Box<Exchange>, Ending) {
    let mut step = step;
    for _ in 0..MAX_TURNS {
        let Some(plugin) = block
            .chain
            .steps()
            .get(step)
            .map(|step| step.plugin.clone())
        else {
            break;
        };
        exchange.suspended = Some((block.clone(), step));
        let (back, flow) = plugin.resolve(exchange).await;
        exchange = back;
        exchange.suspended = None;
        match exchange.arrive((&block, step), floor, flow) {
            Outcome::Respond => return (exchange, Ending::Respond),
            Outcome::Silent => return (exchange, Ending::Silent),
            Outcome::Suspended(next) => step = next,
        }
    }
    exchange.fail(Failure::servfail("the plugins kept asking each other"));
    (exchange, Ending::Respond)
}

/// Asks the plugins below `step` of `block`: what a cache does to refresh an entry. Hooks of `step` and above are not called.
pub async fn ask_below(
    exchange: Box<Exchange>,
    block: Arc<Block>,
    step: usize,
) -> (Box<Exchange>, Ending) {
    let mut exchange = exchange;
    match exchange.walk_between(&block, step + 1, step + 1) {
        Outcome::Respond => (exchange, Ending::Respond),
        Outcome::Silent => (exchange, Ending::Silent),
        Outcome::Suspended(at) => Box::pin(resume_between(exchange, block, at, step + 1)).await,
    }
}

/// Asks the server itself for `name` and `qtype`, as the asker of `exchange` would: all blocks of the listener, one level deeper.
///
/// # Errors
/// SERVFAIL when look-ups nest deeper than [`MAX_DEPTH`], REFUSED when no block serves the name, or nobody answers.
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
    let Some(block) = router.and_then(|router| router.route(&inner.parsed.qname, qtype)) else {
        return Err(Failure::policy(Rcode::REFUSED));
    };
    match inner.walk(&block) {
        Outcome::Respond => Ok(inner),
        Outcome::Silent => Err(Failure::servfail("the server did not answer itself")),
        Outcome::Suspended(at) => match Box::pin(resume(inner, block, at)).await {
            (inner, Ending::Respond) => Ok(inner),
            (_, Ending::Silent) => Err(Failure::servfail("the server did not answer itself")),
        },
    }
}
