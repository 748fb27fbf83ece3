//! Chains of plugins that do as they are told.

mod admission;
mod examples;
mod outcomes;
mod served;
mod streams;
mod traces;
mod tsig;

use std::sync::{Arc, Mutex, Weak};

use wire::{Class, NameBuf, Opcode, Qname, Response, Type};

use crate::{
    Admits, Block, BlockInfo, Chain, Ending, Exchange, Failure, Flow, Hooks, Outcome, Plugin,
    Query, Resolving, Responding, Router, Step, Transport, Turn, resume,
};

/// What plugins did, in order: `name verb`.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, name: &str, what: &str) {
        self.0.lock().unwrap().push(format!("{name} {what}"));
    }

    /// What was noted since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

type OnQuery = dyn Fn(&mut Query<'_>, &mut Response<'_>) -> Result<Flow, Failure> + Send + Sync;
type OnResponse = dyn Fn(&mut Query<'_>, &mut Response<'_>) -> Turn + Send + Sync;
type OnResolve = dyn Fn() -> Result<Flow, Failure> + Send + Sync;
type OnRespond = dyn Fn(&mut Exchange) -> Result<(), Failure> + Send + Sync;

/// A plugin by script, which notes what is asked of it.
struct Script {
    name: &'static str,
    admits: Admits,
    diary: Diary,
    query: Box<OnQuery>,
    response: Box<OnResponse>,
    resolve: Box<OnResolve>,
    respond: Box<OnRespond>,
}

impl Script {
    /// Lets everything pass.
    fn new(name: &'static str, diary: &Diary) -> Self {
        Self {
            name,
            admits: Admits::QUERIES,
            diary: diary.clone(),
            query: Box::new(|_, _| Ok(Flow::Next)),
            response: Box::new(|_, _| Turn::Up),
            resolve: Box::new(|| Ok(Flow::Next)),
            respond: Box::new(|_| Ok(())),
        }
    }

    fn admits(mut self, admits: Admits) -> Self {
        self.admits = admits;
        self
    }

    fn query(
        mut self,
        query: impl Fn(&mut Query<'_>, &mut Response<'_>) -> Result<Flow, Failure>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.query = Box::new(query);
        self
    }

    fn says(self, flow: Flow) -> Self {
        self.query(move |_, _| Ok(flow))
    }

    fn response(
        mut self,
        response: impl Fn(&mut Query<'_>, &mut Response<'_>) -> Turn + Send + Sync + 'static,
    ) -> Self {
        self.response = Box::new(response);
        self
    }

    fn resolve(
        mut self,
        resolve: impl Fn() -> Result<Flow, Failure> + Send + Sync + 'static,
    ) -> Self {
        self.resolve = Box::new(resolve);
        self
    }

    fn respond(
        mut self,
        respond: impl Fn(&mut Exchange) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        self.respond = Box::new(respond);
        self
    }
}

impl Plugin for Script {
    fn name(&self) -> &'static str {
        self.name
    }

    fn hooks(&self) -> Hooks {
        Hooks::BOTH
    }

    fn admits(&self) -> Admits {
        self.admits
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        self.diary.note(self.name, "asked");
        (self.query)(query, response)
    }

    fn response(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Turn {
        let what = match query.failure() {
            Some(_) => "failed",
            None => "answered",
        };
        self.diary.note(self.name, what);
        (self.response)(query, response)
    }

    fn silent(&self, _: &mut Query<'_>) {
        self.diary.note(self.name, "silent");
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.diary.note(self.name, "resolved");
            (exchange, (self.resolve)())
        })
    }

    fn respond(self: Arc<Self>, mut exchange: Box<Exchange>) -> Responding {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.diary.note(self.name, "responded");
            let responded = (self.respond)(&mut exchange);
            (exchange, responded)
        })
    }
}

/// A block of `.` with these plugins.
pub(crate) fn block(plugins: Vec<Arc<dyn Plugin>>) -> Arc<Block> {
    let info = BlockInfo {
        index: 0,
        server: "dns://:53".into(),
        zone: ".".into(),
        origin: NameBuf::root(),
        view: "".into(),
        plugins: Arc::new([]),
        debug: false,
    };
    let steps = plugins.into_iter().map(Step::new).collect();
    let chain = Chain::new(steps).unwrap_or_else(|count| panic!("{count} steps"));
    Arc::new(Block::new(info, Arc::new(chain)))
}

fn scripts(scripts: impl IntoIterator<Item = Script>) -> Arc<Block> {
    let plugin = |script| Arc::new(script) as Arc<dyn Plugin>;
    block(scripts.into_iter().map(plugin).collect())
}

/// A query for `www.example.org.` A over this transport.
pub(crate) fn query(transport: Transport) -> Box<Exchange> {
    query_of(transport, Opcode::QUERY, Class::IN)
}

fn query_of(transport: Transport, opcode: Opcode, class: Class) -> Box<Exchange> {
    let mut message = vec![0x12, 0x34, opcode.0 << 3, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let name: NameBuf = "www.example.org.".parse().unwrap();
    message.extend_from_slice(name.as_name().octets());
    message.extend_from_slice(&Type::A.0.to_be_bytes());
    message.extend_from_slice(&class.0.to_be_bytes());
    let mut exchange = match transport.is_datagram() {
        true => Exchange::datagram(),
        false => Exchange::stream(),
    };
    exchange.receive_buffer(message.len())[..message.len()].copy_from_slice(&message);
    exchange.set_received(message.len());
    exchange.parse().unwrap();
    exchange.context.transport = transport;
    exchange
}

/// Runs a future to its end.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

/// Walks to the end.
fn walk(mut exchange: Box<Exchange>, block: &Arc<Block>) -> (Box<Exchange>, Ending) {
    match exchange.walk(block) {
        Outcome::Respond => (exchange, Ending::Respond),
        Outcome::Silent => (exchange, Ending::Silent),
        Outcome::Suspended(at) => run(resume(exchange, block.clone(), at)),
        Outcome::Stream(_) => (exchange, Ending::Stream),
    }
}

/// One block for all names.
struct Everywhere(Arc<Block>);

impl Router for Everywhere {
    fn route(&self, _: &Qname, _: Type) -> Option<Arc<Block>> {
        Some(self.0.clone())
    }
}

/// Lets look-ups of a block to itself find `target`.
fn route(block: &Block, target: &Arc<Block>) -> Arc<Everywhere> {
    let router = Arc::new(Everywhere(target.clone()));
    let weak: Weak<dyn Router> = Arc::downgrade(&(router.clone() as Arc<dyn Router>));
    block.set_router(weak);
    router
}
