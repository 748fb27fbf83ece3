//! The admin side as plugins see it: pages they serve, work they do apart from queries, and what they may ask of the process.
//!
//! It runs on a runtime of its own, so that a scrape never costs a query its tail. A page is a function: the server does the HTTP,
//! keeps listeners over reloads and swaps the pages.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::plugin::Plugin;

/// What a page is asked for.
pub struct PageRequest<'a> {
    /// The part of the URI behind `?`, as it came.
    pub query: &'a str,
    /// The `Accept` header, or nothing.
    pub accept: &'a str,
    /// The process.
    pub overview: &'a dyn Overview,
}

/// What a page answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// The media type.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Page {
    /// A page of plain text.
    pub fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }
}

/// What the admin side may ask of the process.
pub trait Overview: Send + Sync {
    /// The plugins at work, with the number of the server block (in file order) that each stands in.
    fn plugins(&self) -> Vec<(usize, Arc<dyn Plugin>)>;
    /// Why the last reload failed, if it did.
    fn reload_failure(&self) -> Option<String>;
    /// Whether the process is on its way out.
    fn shutting_down(&self) -> bool;
}

/// The function behind a page.
pub type Serve = Arc<dyn Fn(&PageRequest<'_>) -> Page + Send + Sync>;

/// A page under an address.
#[derive(Clone)]
pub struct Endpoint {
    /// The plugin, for messages.
    pub plugin: &'static str,
    /// Where to listen. [`parse_address`] reads CoreDNS's forms.
    pub address: SocketAddr,
    /// The path: `/health`.
    pub path: &'static str,
    /// Whether the listener closes as soon as shutdown begins, before lameduck.
    pub closes_first: bool,
    /// The page.
    pub serve: Serve,
}

/// Work beside queries, started when the snapshot serves and dropped when it is replaced.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A piece of work and who does it.
pub struct Task {
    /// The plugin, for messages.
    pub plugin: &'static str,
    /// What to do.
    pub work: Work,
}

/// How `reload` looks for changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReloadEvery {
    /// The interval between two looks.
    pub interval: Duration,
    /// The most by which a look is early or late.
    pub jitter: Duration,
}

/// What directives say of the process as a whole.
#[derive(Default)]
pub struct Process {
    /// Pages to serve.
    pub endpoints: Vec<Endpoint>,
    /// Work to do beside queries.
    pub tasks: Vec<Task>,
    /// Whether and how to watch the Corefile; the first directive counts.
    pub reload: Option<ReloadEvery>,
    /// Work to do once the process was told to end, before lameduck; the end waits for it.
    pub at_end: Vec<Task>,
    /// How long to go on answering after SIGTERM; the longest counts.
    pub lameduck: Duration,
    /// Told when the addresses of a block have moved.
    pub moved: Arc<Notify>,
    shared: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl Process {
    /// What the blocks of one plugin share while this snapshot serves: one value of each type.
    pub fn shared<T: Default + Send + Sync + 'static>(&mut self) -> Arc<T> {
        let shared = self
            .shared
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Arc::new(T::default()));
        shared.clone().downcast::<T>().unwrap_or_default()
    }
}

/// Reads a listen address: `127.0.0.1:8080`, `[::1]:8080`, `:8080` (all addresses) or `localhost:9153`.
pub fn parse_address(text: &str) -> Option<SocketAddr> {
    if let Some(port) = text.strip_prefix(':') {
        return Some(SocketAddr::from((
            std::net::Ipv6Addr::UNSPECIFIED,
            port.parse().ok()?,
        )));
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some(SocketAddr::from((
            std::net::Ipv4Addr::LOCALHOST,
            port.parse().ok()?,
        )));
    }
    text.parse().ok()
}

/// Reads a listen address as [`parse_address`] does, or asks the system for the first address of its host; for the build.
///
/// # Errors
/// When the host has no address.
pub fn resolve_address(text: &str) -> io::Result<SocketAddr> {
    match parse_address(text) {
        Some(address) => Ok(address),
        None => text
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into()),
    }
}
