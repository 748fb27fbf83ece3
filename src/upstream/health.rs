//! Health checks: one probe at a time for an upstream that failed a query, until it answers.
//!
//! Any message that comes back is health, whatever it says; what fails is the network. A probe is a query like others of the worker that
//! found the failure, by the sockets and connections that it has. Directives that probe an upstream alike share its health.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use chain::{Exchange, Failure, Flow};
use host::{clock, random};
use prometheus_client::metrics::counter::Counter;
use tokio::time::sleep;
use wire::{NameBuf, Type};

use crate::endpoint::Endpoint;
use crate::message::{self, Matching};
use crate::metrics;
use crate::policy::{Keep, Policy, Settings, Verdict};
use crate::transaction::{Bounds, LastFailure, Order, Status};

/// How long a probe waits for anything, in nanoseconds.
const PATIENCE: u64 = clock::SECOND;

/// How an upstream that failed is watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthCheck {
    /// The pause between two probes.
    pub interval: Duration,
    /// Whether probes ask for recursion.
    pub recursion: bool,
    /// The name that is asked for (NS).
    pub domain: NameBuf,
}

/// The health of an upstream.
pub struct Health {
    endpoint: Arc<Endpoint>,
    check: HealthCheck,
    settings: Settings,
    /// Failed probes in a row.
    fails: AtomicU32,
    probing: AtomicBool,
    /// When it last answered a probe.
    recovered: AtomicU64,
    failures: Counter,
    this: Weak<Self>,
}

/// What tells the healths apart that are kept: who asks, endpoint, way of probing.
type Key = (&'static str, u64, Duration, bool, Vec<u8>, bool);

impl Health {
    /// The health of `endpoint`, which `proxy` asks, as it is probed so: over TCP if `force_tcp`.
    pub fn of(
        proxy: &'static str,
        endpoint: &Arc<Endpoint>,
        check: &HealthCheck,
        (force_tcp, keep): (bool, Keep),
    ) -> Arc<Self> {
        static KNOWN: OnceLock<Mutex<HashMap<Key, Weak<Health>>>> = OnceLock::new();
        let key = (
            proxy,
            endpoint.id(),
            check.interval,
            check.recursion,
            check.domain.as_name().octets().to_vec(),
            force_tcp,
        );
        let known = KNOWN.get_or_init(Mutex::default);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(health) = known.get(&key).and_then(Weak::upgrade) {
            return health;
        }
        known.retain(|_, health| health.strong_count() > 0);
        let settings = Settings {
            bounds: Bounds {
                deadline: PATIENCE,
                timeout: PATIENCE,
                attempts: 1,
            },
            matching: Matching::Any,
            force_tcp,
            prefer_udp: false,
            keep: Keep {
                connect: PATIENCE,
                ..keep
            },
            servers: 0,
        };
        let health =
            Arc::new_cyclic(|this| Self::new(proxy, endpoint, check, settings, this.clone()));
        known.insert(key, Arc::downgrade(&health));
        health
    }

    fn new(
        proxy: &'static str,
        endpoint: &Arc<Endpoint>,
        check: &HealthCheck,
        settings: Settings,
        this: Weak<Self>,
    ) -> Self {
        Self {
            endpoint: endpoint.clone(),
            check: check.clone(),
            settings,
            fails: AtomicU32::new(0),
            probing: AtomicBool::new(false),
            recovered: AtomicU64::new(0),
            failures: metrics::healthcheck_failures(proxy, &endpoint.label),
            this,
        }
    }

    /// What is believed of the upstream by those that forgive so many failed probes in a row; 0 forgives all.
    #[inline]
    pub fn status(&self, max_fails: u32) -> Status {
        if !self.probing.load(Ordering::Relaxed) {
            return Status::Up;
        }
        match self.fails.load(Ordering::Relaxed) {
            0 => Status::Doubted,
            fails if max_fails != 0 && fails > max_fails => Status::Down,
            _ => Status::Failing,
        }
    }

    /// When it last answered a probe; 0 for never.
    pub fn recovered(&self) -> u64 {
        self.recovered.load(Ordering::Relaxed)
    }

    /// Starts probing, unless somebody does already.
    pub fn probe(&self) {
        if !self.probing.swap(true, Ordering::AcqRel) {
            tokio::task::spawn_local(probe(Probing(self.this.clone())));
        }
    }

    /// Notes how a probe ended.
    fn checked(&self, healthy: bool) {
        if healthy {
            self.fails.store(0, Ordering::Relaxed);
            self.recovered.store(clock::now(), Ordering::Relaxed);
        } else {
            self.failures.inc();
            // Only the one probe at work writes, so the sum cannot be lost.
            let fails = self.fails.load(Ordering::Relaxed);
            self.fails.store(fails.saturating_add(1), Ordering::Relaxed);
        }
    }
}

/// Whoever holds this is the one that probes an upstream.
struct Probing(Weak<Health>);

impl Drop for Probing {
    fn drop(&mut self) {
        if let Some(health) = self.0.upgrade() {
            health.probing.store(false, Ordering::Release);
        }
    }
}

/// Probes until the upstream answers or nobody wants to know any more.
async fn probe(probing: Probing) {
    while let Some(health) = probing.0.upgrade() {
        let query = message::question(
            random::random(),
            &health.check.domain,
            Type::NS,
            health.check.recursion,
        );
        let mut exchange = Exchange::datagram();
        exchange.receive_buffer(query.len())[..query.len()].copy_from_slice(&query);
        exchange.set_received(query.len());
        // The octets are ours, so they parse.
        let _ = exchange.parse();
        let interval = health.check.interval;
        let (_, answered) = crate::task::ask(health.clone(), exchange).await;
        health.checked(answered.is_ok());
        drop(health);
        if answered.is_ok() {
            break;
        }
        sleep(interval).await;
    }
}

/// How a probe is asked: once, of one server.
impl Policy for Health {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn order(&self) -> Order {
        Order::new(0, 1, 0)
    }

    fn endpoint(&self, _: usize) -> &Arc<Endpoint> {
        &self.endpoint
    }

    fn status(&self, _: usize) -> Status {
        // A probe is sent once: whether something is lost on the way is what it finds out.
        Status::Failing
    }

    fn suspect(&self, _: usize) {}

    fn full(&self) -> Failure {
        Failure::servfail("too many queries wait")
    }

    fn judge(&self, _: usize, _: &mut Exchange, _: u64) -> Verdict {
        Verdict {
            flow: Flow::Answered,
            unwanted: false,
        }
    }

    fn failure(&self, _: Option<&LastFailure>, _: u32) -> Failure {
        Failure::servfail("no answer to a probe")
    }
}
