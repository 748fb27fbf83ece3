//! `autopath`: walks a client's search path here, so that the client need not ask five times.
//!
//! ```text
//!  www.example.org.ns1.svc.cluster.local  begins with the first suffix of the path?
//!     ├─ no ──► the next plugin
//!     └─ yes ─► the plugins below are asked for www.example.org + each suffix in turn, until a name exists;
//!               that answer goes out behind a CNAME record from the name that was asked
//! ```
//!
//! Each suffix that is tried costs a question to the plugins below, with buffers of its own: this is no path for every query, only
//! for those that begin a search.

mod setup;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use chain::capability::{Capabilities, SearchPath, VisitName};
use chain::trace::Remark;
use chain::{
    BlockInfo, Cause, Ending, Exchange, Failure, Flow, Plugin, Query, Resolved, Resolving,
    ask_below,
};
use telemetry::metrics::{Striped, family};
use wire::reencode::Verbatim;
use wire::{Class, Name, NameBuf, Qname, Rcode, Response, Section, Type};

pub(crate) use setup::REGISTRATION;

/// Where the search path comes from.
enum Path {
    /// A resolv.conf: the suffixes, the root last.
    Fixed(Vec<NameBuf>),
    /// Another plugin of the server block, which knows each client's.
    Offered {
        /// Its directive.
        directive: String,
        /// Where it offers them.
        capabilities: Arc<Capabilities>,
        /// Who does, known when everybody is built.
        found: OnceLock<Vec<Arc<dyn SearchPath>>>,
    },
}

impl Path {
    /// Visits the suffixes for `client`, first to last.
    fn visit(&self, qname: &Qname, client: IpAddr, visit: VisitName<'_>) {
        match self {
            Self::Fixed(suffixes) => {
                let _ = suffixes.iter().map(NameBuf::as_name).try_for_each(visit);
            }
            Self::Offered { found, .. } => {
                let offered = found.get().into_iter().flatten();
                let _ = offered
                    .take_while(|path| !path.search(qname, client, &mut *visit))
                    .count();
            }
        }
    }
}

/// `autopath` at work.
struct Autopath {
    origins: Vec<NameBuf>,
    path: Path,
}

impl Autopath {
    fn new(origins: Vec<NameBuf>, path: Path) -> Self {
        Self { origins, path }
    }

    /// Whether the client has begun a search with this name: it ends in the first suffix, and something stands before that.
    fn begins(&self, query: &Query<'_>) -> bool {
        if query.enclosing(&self.origins).is_none() {
            return false;
        }
        let name = query.name();
        let mut begins = false;
        self.path
            .visit(query.qname(), query.peer().ip(), &mut |first| {
                begins = name != first && name.is_within(first);
                ControlFlow::Break(())
            });
        begins
    }

    /// The names to try: what the user typed, under each suffix. Names that would be too long are none.
    fn candidates(&self, query: &Query<'_>) -> Vec<NameBuf> {
        let mut names = Vec::new();
        let name = query.name().octets();
        let mut base = None;
        self.path
            .visit(query.qname(), query.peer().ip(), &mut |suffix| {
                let suffix = suffix.octets();
                let base = *base.get_or_insert(&name[..name.len().saturating_sub(suffix.len())]);
                let octets = [base, suffix].concat();
                names.extend(Name::new(&octets).ok().map(NameBuf::from_name));
                ControlFlow::Continue(())
            });
        names
    }

    async fn search(self: Arc<Self>, mut exchange: Box<Exchange>) -> Resolved {
        let Some(query) = exchange.suspended_query() else {
            return (exchange, Ok(Flow::Next));
        };
        let names = self.candidates(&query);
        let (qtype, step, worker) = (query.qtype(), query.step(), query.worker());
        let block = Arc::clone(query.block());
        // The name as it was spelled, unless a plugin above replaced it.
        let asked = match NameBuf::read(query.message(), wire::HEADER_LEN) {
            Ok((name, _)) if !query.is_rewritten() => name,
            _ => NameBuf::from_name(query.name()),
        };
        let mut first = None;
        for name in names {
            let inner = exchange.derive(name.as_name(), qtype);
            let (mut inner, ending) = ask_below(inner, block.clone(), step).await;
            if ending == Ending::Silent {
                return (exchange, Ok(Flow::Silent));
            }
            let failure = inner.views(&block).0.failure().cloned();
            match failure {
                Some(Failure {
                    cause: Cause::None, ..
                }) => {}
                Some(failure) => return (exchange, Err(failure)),
                None if inner.response().rcode() == Rcode::NXDOMAIN => {}
                None => {
                    exchange.begin();
                    let copied = copy(&asked, &inner.response(), &mut exchange.response());
                    exchange.remark(|| Remark::new("found").with("name", name));
                    if copied.is_ok() {
                        success(&block.info.server).inc(worker);
                    }
                    return (exchange, copied.map(|()| Flow::Answered));
                }
            }
            first.get_or_insert((inner, failure));
        }
        // Nowhere: the answer to the name that was asked, and the client goes on by itself.
        let flow = match first {
            Some((_, Some(failure))) => Err(failure),
            Some((mut inner, None)) => {
                exchange.begin();
                let taken = exchange
                    .response()
                    .take_over(&inner.response(), &mut Verbatim);
                taken.map(|()| Flow::Answered).map_err(Failure::from)
            }
            None => Ok(Flow::Next),
        };
        (exchange, flow)
    }
}

/// The counter of searches that came to an answer.
fn success(server: &str) -> Striped {
    let family = family::<Vec<(&str, String)>, Striped>(
        "coredns_autopath_success",
        "Counter of requests that did autopath.",
    );
    family.get_or_create_owned(&vec![("server", server.to_owned())])
}

/// Copies an answer, behind an alias from the name that was asked where it is about another.
fn copy(asked: &NameBuf, from: &Response<'_>, to: &mut Response<'_>) -> Result<(), Failure> {
    let other = from.records().map_while(Result::ok).find_map(|record| {
        let owner = record.owner().ok()?;
        let lower = |name: &NameBuf| name.to_lower();
        (record.section == Section::Answer && lower(&owner) != lower(asked))
            .then_some((owner, record.ttl))
    });
    if let Some((owner, ttl)) = other {
        let fixed = (Type::CNAME, Class::IN, ttl);
        // The record is small, and the response empty.
        let _ = to.push_named(
            Section::Answer,
            asked.as_name(),
            fixed,
            (&[], owner.as_name()),
        );
    }
    to.take_over(from, &mut Verbatim).map_err(Failure::from)
}

impl Plugin for Autopath {
    fn name(&self) -> &'static str {
        "autopath"
    }

    fn query(&self, query: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        let searches = self.begins(query) && query.depth() < chain::MAX_DEPTH;
        Ok(if searches { Flow::Suspend } else { Flow::Next })
    }

    fn resolve(self: Arc<Self>, exchange: Box<Exchange>) -> Resolving {
        Box::pin(self.search(exchange))
    }

    fn attach(&self, _: &BlockInfo) {
        if let Path::Offered {
            directive,
            capabilities,
            found,
        } = &self.path
        {
            let paths = found.get_or_init(|| capabilities.search_paths(directive));
            if paths.is_empty() {
                tracing::error!(target: "plugin/autopath", "{directive} knows no search paths");
            }
        }
    }
}
