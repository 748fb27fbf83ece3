//! Interfaces from which queries are taken below the kernel's UDP stack: attached to, followed, let go.
//!
//! ```text
//! attach     interface ─► filter, without destinations ─► one AF_XDP socket a queue ─► workers
//! follow     listeners × own addresses ─► workers know whose each is ─► the filter's map        (what goes leaves the map first)
//! let go     the filter is detached ─► workers answer what is queued
//! ```
//!
//! The sockets of all listeners stay open beside it. What the filter does not take comes by them, and so does everything where an
//! interface cannot be attached to: that is one warning, and no failure. Once all interfaces are attached to, the process gives its
//! capabilities up; what it does later needs none.

use std::collections::{BTreeMap, HashSet};
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chain::setup::{XdpInterface, XdpMode};
use host::interfaces;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::destinations::{Destination, Destinations};
use crate::listener::frames::{Opening, QueueCounts};
use crate::listener::socket::Place;
use crate::listener::udp_xdp::{Queue, QueueSocket, Step};
use crate::listener::udp_xdp_bpf::{Filter, Hook};
use crate::listener::udp_xdp_interface::{Changes, Link};
use crate::listener::udp_xdp_privileges::keep_only;
use crate::worker::Command;

mod metrics;
mod reasons;

use metrics::Tapped;
use reasons::{Failed, Reason};

/// How long a queue or an interface may still be in the hands of a process that has just ended.
const RELEASE: Duration = Duration::from_secs(1);
/// How often it is tried again in that time.
const AGAIN: Duration = Duration::from_millis(20);
/// How long a worker has to take the destinations.
const PATIENCE: Duration = Duration::from_secs(1);
/// What the process keeps: a reload may open a port below 1,024 (CAP_NET_BIND_SERVICE).
const KEPT: u64 = 1 << 10;

type Workers = [mpsc::UnboundedSender<Command>];

/// A listener that is served.
pub(crate) struct Served<'a> {
    pub(crate) number: usize,
    pub(crate) place: &'a Place,
    /// The real port of its sockets.
    pub(crate) port: u16,
    /// How many workers have a UDP socket of it.
    pub(crate) sockets: usize,
    /// The interfaces that it is served on.
    pub(crate) interfaces: &'a [XdpInterface],
}

/// An interface that is attached to.
struct Attached {
    wanted: XdpInterface,
    link: Link,
    filter: Filter,
    /// How many workers have a queue of it.
    owners: usize,
    /// Other options that were asked for since, and told of.
    refused: Option<XdpInterface>,
}

/// All interfaces.
#[derive(Default)]
pub(crate) struct Xdp {
    attached: BTreeMap<String, Attached>,
    /// Interfaces that could not be attached to, with what was told of them.
    failed: BTreeMap<String, Failed>,
    destinations: Arc<Destinations>,
    changes: Option<Changes>,
    /// Whether the process has given its capabilities up.
    reduced: bool,
}

impl Xdp {
    /// Attaches to what the listeners want, lets go of the rest, and has the filters take what is for the listeners.
    pub(crate) fn follow(&mut self, listeners: &[Served<'_>], workers: &Workers) {
        let mut wanted: BTreeMap<&str, &XdpInterface> = BTreeMap::new();
        for interface in listeners.iter().flat_map(|served| served.interfaces) {
            // The first block that names an interface says how it is attached to.
            wanted.entry(&interface.name).or_insert(interface);
        }
        wanted.retain(|_, interface| interface.mode != XdpMode::Off);
        if wanted.is_empty() && self.attached.is_empty() {
            self.failed.clear();
            self.changes = None;
            return;
        }
        let (done, _) = mpsc::channel(1);
        let gone: Vec<String> = self
            .attached
            .iter()
            .filter(|(name, attached)| {
                let stays = match wanted.get(name.as_str()) {
                    None => false,
                    // Without the capabilities nothing is attached to anew.
                    Some(interface) => self.reduced || **interface == attached.wanted,
                };
                !stays || !attached.is_there()
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.let_go(&name, workers, &done);
        }
        self.failed
            .retain(|name, failed| wanted.get(name.as_str()) == Some(&&failed.wanted));
        for (name, interface) in wanted {
            match self.attached.get_mut(name) {
                Some(attached) => attached.keep_to(interface),
                None => self.attach(interface, listeners, workers),
            }
        }
        self.set_destinations(listeners, workers);
        if self.changes.is_none() {
            self.changes = Changes::listen().ok();
        }
    }

    /// Attaches to an interface, or tells why not.
    fn attach(&mut self, wanted: &XdpInterface, listeners: &[Served<'_>], workers: &Workers) {
        let name = &wanted.name;
        let link = Link::find(name);
        if let Some(failed) = self.failed.get(name)
            && !failed.is_worth_another_try(link.as_ref().ok())
        {
            return;
        }
        // Each queue is with a worker that has a socket of every listener, for what has to wait.
        let sockets = listeners.iter().filter(|served| served.wants(name));
        let owners = sockets.map(|served| served.sockets).min().unwrap_or(0);
        let owners = owners.min(workers.len()).max(1);
        let attached = link
            .map_err(|error| Reason::Interface(name.clone(), error))
            .and_then(|link| open(wanted, link));
        match attached {
            Ok((link, filter, sockets)) => {
                let (mode, count) = (mode_name(hook(wanted.mode)), sockets.len());
                info!(target: "plugin/xdp", "{name}: attached, {mode}, {count} queues");
                for (number, socket) in sockets.into_iter().enumerate() {
                    let counts = QueueCounts::default();
                    metrics::add(Tapped::of(name, mode, &socket, &counts));
                    let opening = Opening {
                        socket,
                        mtu: link.mtu,
                        counts,
                    };
                    let _ = workers[number % owners].send(Command::Tap(Box::new(opening)));
                }
                self.failed.remove(name);
                let attached = Attached {
                    wanted: wanted.clone(),
                    link,
                    filter,
                    owners,
                    refused: None,
                };
                self.attached.insert(name.clone(), attached);
            }
            Err(reason) => {
                let failed = Failed::new(wanted, &reason, self.reduced);
                let told = self.failed.insert(name.clone(), failed.clone());
                if told.is_none_or(|before| before.text != failed.text) {
                    warn!(target: "plugin/xdp", "{}", failed.text);
                }
            }
        }
    }

    /// Lets go of an interface.
    fn let_go(&mut self, name: &str, workers: &Workers, done: &mpsc::Sender<()>) {
        let Some(attached) = self.attached.remove(name) else {
            return;
        };
        let interface = attached.link.index;
        // Without the filter frames go the kernel's way.
        drop(attached);
        metrics::remove(name);
        for worker in workers {
            let done = done.clone();
            let _ = worker.send(Command::Untap { interface, done });
        }
        info!(target: "plugin/xdp", "{name}: let go");
    }

    /// Lets go of all interfaces; `done` is dropped when what was queued is answered.
    pub(crate) fn let_all_go(&mut self, workers: &Workers, done: &mpsc::Sender<()>) {
        let names: Vec<String> = self.attached.keys().cloned().collect();
        for name in names {
            self.let_go(&name, workers, done);
        }
        self.changes = None;
    }

    /// Tells workers and filters which addresses and ports are whose.
    fn set_destinations(&mut self, listeners: &[Served<'_>], workers: &Workers) {
        if self.attached.is_empty() {
            return;
        }
        let own = interfaces::list();
        let mut all = Vec::new();
        let mut filters: BTreeMap<String, Vec<(IpAddr, u16)>> = BTreeMap::new();
        for (name, attached) in &self.attached {
            let mut seen = HashSet::new();
            for served in listeners {
                // A worker without a socket of the listener could not answer what has to wait.
                if !served.wants(name) || served.sockets.min(workers.len()) < attached.owners {
                    continue;
                }
                for ip in addresses(served.place, attached.link.index, &own) {
                    if seen.insert((ip, served.port)) {
                        let (port, number) = (served.port, served.number);
                        all.push(Destination::new(ip, port, attached.link.index, number));
                    }
                }
            }
            filters.insert(name.clone(), seen.into_iter().collect());
        }
        let mut told = Vec::new();
        for (name, attached) in &mut self.attached {
            let wanted = filters.get(name).map_or(&[][..], |all| all.as_slice());
            told.push(attached.filter.keep_destinations(wanted));
        }
        let all = Destinations::new(all, own.iter().map(|one| one.address));
        let mut complete = true;
        if *self.destinations != all {
            self.destinations = Arc::new(all);
            complete = tell(&self.destinations, workers);
        }
        if complete {
            for (name, attached) in &mut self.attached {
                let wanted = filters.get(name).map_or(&[][..], |all| all.as_slice());
                told.push(attached.filter.set_destinations(wanted));
            }
        } else {
            // They are told all of it at the next change.
            self.destinations = Arc::default();
        }
        if let Some(error) = told.into_iter().find_map(Result::err) {
            // Kernels before 5.19 ask for CAP_BPF again. A filter with old addresses would take what is for others.
            warn!(
                target: "plugin/xdp",
                "the filter cannot follow the addresses: {error}; interfaces are detached, and sockets answer"
            );
            let (done, _) = mpsc::channel(1);
            let names: Vec<String> = self.attached.keys().cloned().collect();
            for name in names {
                if let Some(attached) = self.attached.get(&name) {
                    let failed = Failed::for_good(&attached.wanted, error.to_string());
                    self.failed.insert(name.clone(), failed);
                }
                self.let_go(&name, workers, &done);
            }
        }
    }

    /// Gives up the capabilities that attaching took, once nothing is to be attached to any more.
    pub(crate) fn settle(&mut self) {
        let pending = self.failed.values().any(Failed::may_come);
        if self.reduced || self.attached.is_empty() || pending {
            return;
        }
        match keep_only(KEPT) {
            Ok(()) => {
                self.reduced = true;
                info!(target: "plugin/xdp", "all capabilities except CAP_NET_BIND_SERVICE were given up");
            }
            Err(error) => {
                warn!(target: "plugin/xdp", "the capabilities could not be given up: {error}");
            }
        }
    }

    /// Waits until links or addresses have changed; for ever where nothing is attached to, or is to be.
    pub(crate) async fn changed(&self) {
        match &self.changes {
            Some(changes) => poll_fn(|context| changes.poll(context)).await,
            None => std::future::pending().await,
        }
    }
}

impl Served<'_> {
    fn wants(&self, interface: &str) -> bool {
        let mut all = self.interfaces.iter();
        all.any(|one| one.name == interface && one.mode != XdpMode::Off)
    }
}

impl Attached {
    /// Tells, once, that other options than those it was attached with take a restart.
    fn keep_to(&mut self, wanted: &XdpInterface) {
        let other = (*wanted != self.wanted).then(|| wanted.clone());
        if other.is_some() && other != self.refused {
            warn!(
                target: "plugin/xdp",
                "{}: attached as before: its options have changed, and the capabilities to attach anew were given up; a restart takes them",
                wanted.name
            );
        }
        self.refused = other;
    }

    /// Whether the interface is still the same.
    fn is_there(&self) -> bool {
        Link::find(&self.wanted.name).is_ok_and(|link| link.index == self.link.index)
    }
}

/// Has workers take the destinations; whether all did in time.
fn tell(destinations: &Arc<Destinations>, workers: &Workers) -> bool {
    let (taken, answers) = std::sync::mpsc::channel();
    let mut asked = 0;
    for worker in workers {
        let command = Command::Destinations {
            all: destinations.clone(),
            taken: taken.clone(),
        };
        asked += usize::from(worker.send(command).is_ok());
    }
    let end = Instant::now() + PATIENCE;
    (0..asked).all(|_| {
        let left = end.saturating_duration_since(Instant::now());
        answers.recv_timeout(left).is_ok()
    })
}

/// The addresses of this machine at which a place is reached by an interface.
fn addresses(place: &Place, interface: u32, own: &[interfaces::Interface]) -> Vec<IpAddr> {
    own.iter()
        .filter(|one| !one.tentative)
        .filter(|one| {
            let loops = one.address.is_loopback();
            let is_link_local = matches!(one.address, IpAddr::V6(ip) if ip.is_unicast_link_local());
            let here = one.index == interface;
            let reached = here || !(loops || is_link_local);
            let listens = match place.ip {
                None => true,
                Some(ip) if ip.is_unspecified() => ip.is_ipv6() || one.address.is_ipv4(),
                Some(ip) => ip == one.address && (place.scope == 0 || place.scope == one.index),
            };
            reached && listens
        })
        .map(|one| one.address)
        .collect()
}

/// Opens a socket for each queue and attaches the filter, which takes nothing yet.
fn open(wanted: &XdpInterface, link: Link) -> Result<(Link, Filter, Vec<QueueSocket>), Reason> {
    if !link.is_ethernet {
        return Err(Reason::NoEthernet);
    }
    if !link.up {
        return Err(Reason::Down);
    }
    if !reasons::missing().is_empty() {
        return Err(Reason::Privileges);
    }
    let queues = wanted
        .queues
        .map_or(link.queues, |most| most.min(link.queues));
    let mut filter = Filter::load(queues, wanted.route_check).map_err(Reason::Load)?;
    let end = Instant::now() + RELEASE;
    let mut sockets = Vec::new();
    for number in 0..queues {
        let mut queue = Queue {
            interface: link.index,
            number,
            ring: wanted.ring,
            zero_copy: wanted.zero_copy,
        };
        let mut opened = released(end, || QueueSocket::open(queue), |(_, error)| error);
        if queue.zero_copy && opened.as_ref().is_err_and(|(step, _)| *step == Step::Bind) {
            if number == 0 {
                warn!(
                    target: "plugin/xdp",
                    "{}: the driver {} has no zero copy: frames are copied", wanted.name, link.driver
                );
            }
            queue.zero_copy = false;
            opened = released(end, || QueueSocket::open(queue), |(_, error)| error);
        }
        let socket = opened.map_err(|(step, error)| match step {
            Step::Socket => Reason::Socket(error),
            Step::Memory => Reason::Memory(wanted.ring, error),
            Step::Rings => Reason::Socket(error),
            Step::Bind => Reason::Bind(number, error),
        })?;
        filter.set_socket(number, &socket).map_err(Reason::Load)?;
        sockets.push(socket);
    }
    let hook = hook(wanted.mode);
    released(end, || filter.attach(link.index, hook), |error| error).map_err(|error| {
        Reason::Attach {
            native: hook == Hook::Native,
            mtu: link.mtu,
            driver: link.driver.clone(),
            error,
        }
    })?;
    Ok((link, filter, sockets))
}

/// Tries again for a while what another process may be about to release.
fn released<T, E>(
    end: Instant,
    mut attempt: impl FnMut() -> Result<T, E>,
    error: impl Fn(&E) -> &io::Error,
) -> Result<T, E> {
    loop {
        match attempt() {
            Err(failed)
                if matches!(
                    error(&failed).raw_os_error(),
                    Some(libc::EBUSY | libc::EEXIST)
                ) && Instant::now() < end =>
            {
                std::thread::sleep(AGAIN);
            }
            done => return done,
        }
    }
}

fn hook(mode: XdpMode) -> Hook {
    match mode {
        XdpMode::Generic => Hook::Generic,
        XdpMode::Auto | XdpMode::Native | XdpMode::Off => Hook::Native,
    }
}

fn mode_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Native => "native",
        Hook::Generic => "generic",
    }
}

#[cfg(test)]
mod tests {
    use corefile::key::Scheme;

    use super::*;

    #[test]
    fn only_own_addresses_that_are_listened_on_are_taken() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let own: Vec<_> = [
            ("lo", 1, "127.0.0.1", false),
            ("lan", 2, "192.0.2.1", false),
            ("lan", 2, "2001:db8::1", true),
            ("lan", 2, "fe80::1", false),
            ("wan", 3, "198.51.100.1", false),
            ("wan", 3, "fe80::2", false),
        ]
        .map(|(name, index, address, tentative)| interfaces::Interface {
            name: name.into(),
            index,
            address: ip(address),
            prefix: 24,
            tentative,
        })
        .into();
        let place = |host: &str, scope| Place {
            scheme: Scheme::Dns,
            host: host.into(),
            ip: host.parse().ok(),
            scope,
            port: 53,
        };
        for (host, scope, expected) in [
            // All addresses of the machine, whichever interface they are of, but those that no other machine sends to.
            ("", 0, "192.0.2.1 fe80::1 198.51.100.1"),
            ("0.0.0.0", 0, "192.0.2.1 198.51.100.1"),
            ("192.0.2.1", 0, "192.0.2.1"),
            ("198.51.100.1", 0, "198.51.100.1"),
            ("fe80::1", 2, "fe80::1"),
            // Link-local at another link, an address that is not there, one that is not yet.
            ("fe80::2", 3, ""),
            ("192.0.2.2", 0, ""),
            ("2001:db8::1", 0, ""),
            ("127.0.0.1", 0, ""),
        ] {
            let found = addresses(&place(host, scope), 2, &own);
            let found: Vec<_> = found.iter().map(IpAddr::to_string).collect();
            assert_eq!(found.join(" "), expected, "{host}");
        }
    }
}
