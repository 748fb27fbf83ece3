//! NOTIFY (RFC 1996): tells secondaries that a zone has changed, all of them at once.
//!
//! A zone that changes again while a secondary is being told begins anew there: the newest version counts.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chain::capability::Capabilities;
use chain::served::{Change, Observer, Served};
use chain::tsig::{Key, now};
use rand::RngExt;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use wire::{Flags, Header, Name, NameBuf, Opcode, Rcode, Type};
use zone::Zone;

use super::{Stanzas, Whom};

/// How often a secondary is told that does not answer, and how long the first answer may take; each further one takes twice as long.
const TRIES: u32 = 5;
const FIRST: Duration = Duration::from_secs(1);
/// How many are told at a time.
const AT_A_TIME: usize = 64;

/// The zones that have changed, until secondaries are told.
#[derive(Default)]
pub(super) struct Changes {
    zones: Mutex<Vec<Arc<Served>>>,
    told: Notify,
}

impl Changes {
    fn zones(&self) -> MutexGuard<'_, Vec<Arc<Served>>> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What hears of changes for as long as this is held.
    pub(super) fn observer(self: &Arc<Self>) -> Weak<dyn Observer> {
        let observer: Arc<dyn Observer> = self.clone();
        Arc::downgrade(&observer)
    }

    /// Has secondaries told of a zone.
    pub(super) fn add(&self, zone: Arc<Served>) {
        let mut zones = self.zones();
        if !zones.iter().any(|known| Arc::ptr_eq(known, &zone)) {
            zones.push(zone);
        }
        drop(zones);
        self.told.notify_one();
    }
}

impl Observer for Changes {
    fn changed(&self, change: &Change<'_>) {
        change.zone.keep_differences();
        if change.now.is_some() {
            self.add(change.zone.clone());
        }
    }
}

/// Tells secondaries of all zones that are loaded, and then of each that changes.
pub(super) async fn tell(
    changes: Arc<Changes>,
    stanzas: Arc<Stanzas>,
    capabilities: Arc<Capabilities>,
) {
    for (_, zones) in capabilities.zones() {
        for zone in zones.all() {
            changes.add(zone);
        }
    }
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut running = JoinSet::new();
    let mut latest: HashMap<(Box<[u8]>, SocketAddr), AbortHandle> = HashMap::new();
    loop {
        let changed = std::mem::take(&mut *changes.zones());
        for served in changed {
            let apex = served.apex();
            let (Some(zone), Some(stanza)) = (served.snapshot(), stanzas.matching(apex)) else {
                continue;
            };
            for target in &stanza.targets {
                let Whom::Secondary(address) = target.whom else {
                    continue;
                };
                let key = match &target.key {
                    None => None,
                    Some(name) => match find(&capabilities, name) {
                        Some(key) => Some(key),
                        None => continue,
                    },
                };
                let message = compose(&zone);
                let told = send((address, stanza.source), message, key);
                let (apex, places) = (NameBuf::from_name(apex), places.clone());
                let handle = running.spawn(async move {
                    let _place = places.acquire().await;
                    report(apex, address, told).await;
                });
                let of = (apex.as_name().octets().into(), address);
                if let Some(before) = latest.insert(of, handle) {
                    before.abort();
                }
            }
        }
        tokio::select! {
            () = changes.told.notified() => {}
            Some(_) = running.join_next(), if !running.is_empty() => {
                latest.retain(|_, handle| !handle.is_finished());
            }
        }
    }
}

/// The key of this name; says so where there is none.
fn find(capabilities: &Capabilities, name: &NameBuf) -> Option<Arc<Key>> {
    let key = capabilities
        .keys()
        .and_then(|keys| keys.find(name.as_name()));
    if key.is_none() {
        tracing::error!(target: "plugin/transfer", "Failed sending notifies: there is no key {name}");
    }
    key
}

/// Writes to the log how it went.
async fn report(apex: NameBuf, target: SocketAddr, told: impl Future<Output = Result<(), String>>) {
    match told.await {
        Ok(()) => {
            tracing::debug!(target: "plugin/transfer", "Notified {target} of a change of zone {apex}");
        }
        Err(why) => {
            tracing::warn!(target: "plugin/transfer", "Failed sending notifies: zone {apex} to {target}: {why}");
        }
    }
}

/// A NOTIFY of the zone, with its SOA record as a hint (RFC 1996, section 3.7).
fn compose(zone: &Zone) -> Vec<u8> {
    let soa = zone.soa();
    let header = Header {
        id: host::random::random(),
        flags: Flags(u16::from(Opcode::NOTIFY.0) << 11 | Flags::AA),
        counts: [1, u16::from(soa.is_some()), 0, 0],
    };
    let mut out = header.to_octets().to_vec();
    let fixed = [0, Type::SOA.0 as u8, 0, 1];
    out.extend_from_slice(zone.apex().octets());
    out.extend_from_slice(&fixed);
    if let Some(soa) = soa {
        let rdata = soa.rdata();
        out.extend_from_slice(&[0xC0, 12]);
        out.extend_from_slice(&fixed);
        out.extend_from_slice(&soa.ttl().to_be_bytes());
        out.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        out.extend_from_slice(&rdata);
    }
    out
}

/// Sends a message until it is answered.
async fn send(
    (target, source): (SocketAddr, Option<IpAddr>),
    message: Vec<u8>,
    key: Option<Arc<Key>>,
) -> Result<(), String> {
    let unspecified: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = source.filter(|source| source.is_ipv4() == target.is_ipv4());
    let socket = UdpSocket::bind((source.unwrap_or(unspecified), 0))
        .await
        .map_err(|error| error.to_string())?;
    socket
        .connect(target)
        .await
        .map_err(|error| error.to_string())?;
    let mut last = "no answer".to_owned();
    let mut patience = FIRST;
    for _ in 0..TRIES {
        let mut signed = message.clone();
        let mut verifier = match &key {
            None => None,
            Some(key) => {
                let verifier = key.sign(&mut signed, now());
                Some(verifier.ok_or("the secret of the key is not base64")?)
            }
        };
        let answered = timeout(patience, async {
            socket.send(&signed).await?;
            let mut reply = [0; 4_096];
            loop {
                let len = socket.recv(&mut reply).await?;
                let reply = &reply[..len];
                if let Some(header) = Header::read(reply)
                    && header.id == u16::from_be_bytes([signed[0], signed[1]])
                    && header.flags.has(Flags::QR)
                    && header.flags.opcode() == Opcode::NOTIFY
                {
                    let rcode = header.flags.rcode();
                    let good = verifier.as_mut().map(|it| it.check(reply, now()));
                    return Ok::<_, std::io::Error>((rcode, good.unwrap_or(Ok(()))));
                }
            }
        });
        match answered.await {
            Ok(Ok((Rcode::NOERROR, Ok(())))) => return Ok(()),
            Ok(Ok((Rcode::NOERROR, Err(why)))) => return Err(why),
            Ok(Ok((rcode, _))) => return Err(format!("it answers {rcode}")),
            Ok(Err(error)) => {
                // Nobody listens there now.
                last = error.to_string();
                sleep(patience).await;
            }
            Err(_) => {}
        }
        let jitter = host::random::rng().random_range(0.0..0.25);
        patience = patience.mul_f64(2.0 + jitter);
    }
    Err(last)
}

/// Whether a stanza tells anybody.
pub(super) fn tells(stanzas: &Stanzas) -> bool {
    let mut targets = stanzas.0.iter().flat_map(|stanza| &stanza.targets);
    targets.any(|target| matches!(target.whom, Whom::Secondary(_)))
}

/// The name as a key's name is compared.
pub(super) fn key_name(text: &str) -> Result<NameBuf, wire::NameError> {
    NameBuf::parse(text, Name::ROOT).map(NameBuf::to_lower)
}
