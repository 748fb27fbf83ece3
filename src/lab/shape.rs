//! What an interface does to what it sends: delay, loss, another order, a rate. A queueing discipline at its root, by netlink.
//!
//! A rate alone is a token bucket (`tbf`); everything else is `netem`, with the rate in it. Kernels without `netem` refuse
//! it; [`has_netem`] asks beforehand, so that a lab that needs it is refused as a whole.

use std::fmt;
use std::io;

use crate::netlink::{
    Attributes, Batch, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, Socket, natural, string,
};
use crate::space::Away;
use crate::sys;

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TC_H_ROOT: u32 = 0xFFFF_FFFF;
/// Its handle, `4c:`, and as netem `4d:`: the kernel makes no discipline of one kind into one of another.
const HANDLES: [u32; 2] = [0x004c_0000, 0x004d_0000];
const TBF_PARMS: u16 = 1;
const TBF_RATE64: u16 = 4;
const TBF_BURST: u16 = 6;
const NETEM_REORDER: u16 = 3;
const NETEM_RATE: u16 = 6;
const NETEM_RATE64: u16 = 8;
const NETEM_LATENCY64: u16 = 10;
const NETEM_JITTER64: u16 = 11;
/// Octets of `struct tc_netem_qopt`.
const NETEM_HEADER: usize = 24;
/// How long a bucket may keep a packet, in milliseconds.
const PATIENCE: u64 = 100;

/// What is declared of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Nanoseconds that each packet waits.
    pub delay: Option<u64>,
    /// Nanoseconds that the delay varies by.
    pub jitter: Option<u64>,
    /// Packets of a million that are lost.
    pub loss: Option<u32>,
    /// Packets of a million that do not wait, and so overtake others.
    pub reorder: Option<u32>,
    /// Bits a second.
    pub rate: Option<u64>,
}

impl Shape {
    /// Whether nothing is declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it takes more than a token bucket.
    #[must_use]
    pub fn needs_netem(&self) -> bool {
        self.delay.is_some()
            || self.jitter.is_some()
            || self.loss.is_some()
            || self.reorder.is_some()
    }

    /// The handle of its discipline, as `tc` reads it.
    #[must_use]
    pub fn handle(&self) -> &'static str {
        if self.needs_netem() { "4d:" } else { "4c:" }
    }

    /// With what another one declares beside it.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            delay: self.delay.or(other.delay),
            jitter: self.jitter.or(other.jitter),
            loss: self.loss.or(other.loss),
            reorder: self.reorder.or(other.reorder),
            rate: self.rate.or(other.rate),
        }
    }

    /// Octets a second, and those that may leave at once.
    fn bucket(rate: u64) -> (u64, u64) {
        let octets = (rate / 8).max(1);
        (octets, (octets / 100).max(4_096))
    }

    /// Octets that a bucket keeps.
    fn limit(rate: u64) -> u32 {
        let (octets, burst) = Self::bucket(rate);
        u32::try_from(octets * PATIENCE / 1_000 + burst).unwrap_or(u32::MAX)
    }
}

/// A number with the largest unit that it is whole in.
fn in_units(value: u64, units: &[(u64, &str)]) -> String {
    let unit = units.iter().find(|(size, _)| value.is_multiple_of(*size));
    let (size, name) = unit.copied().unwrap_or((1, ""));
    format!("{}{name}", value / size)
}

/// Nanoseconds as `tc` reads them.
fn time(nanoseconds: u64) -> String {
    in_units(
        nanoseconds / 1_000,
        &[(1_000_000, "s"), (1_000, "ms"), (1, "us")],
    )
}

/// A part of a million as a percentage.
fn percent(millionths: u32) -> String {
    format!("{}%", f64::from(millionths) / 10_000.0)
}

/// As `tc qdisc` reads it.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.rate.map(|rate| {
            in_units(
                rate,
                &[
                    (1_000_000_000, "gbit"),
                    (1_000_000, "mbit"),
                    (1_000, "kbit"),
                    (1, "bit"),
                ],
            )
        });
        if !self.needs_netem() {
            let (Some(text), Some(rate)) = (rate, self.rate) else {
                return Ok(());
            };
            let (_, burst) = Self::bucket(rate);
            return write!(
                f,
                "tbf rate {text} burst {burst} limit {}",
                Self::limit(rate)
            );
        }
        f.write_str("netem")?;
        if let Some(delay) = self.delay {
            write!(f, " delay {}", time(delay))?;
            if let Some(jitter) = self.jitter {
                write!(f, " {}", time(jitter))?;
            }
        }
        if let Some(loss) = self.loss {
            write!(f, " loss {}", percent(loss))?;
        }
        if let Some(reorder) = self.reorder {
            write!(f, " reorder {}", percent(reorder))?;
        }
        rate.map_or(Ok(()), |rate| write!(f, " rate {rate}"))
    }
}

/// `struct tcmsg`
fn header(link: u32, handle: u32) -> [u8; 20] {
    let mut octets = [0; 20];
    octets[4..8].copy_from_slice(&link.to_ne_bytes());
    octets[8..12].copy_from_slice(&handle.to_ne_bytes());
    octets[12..16].copy_from_slice(&TC_H_ROOT.to_ne_bytes());
    octets
}

/// A part of a million as the kernel counts: of 2³² − 1.
fn share(millionths: u32) -> u32 {
    (u64::from(millionths) * u64::from(u32::MAX) / 1_000_000) as u32
}

/// Puts it at the root of a link, in place of what is there.
pub(crate) fn set(batch: &mut Batch, link: u32, shape: &Shape) {
    batch.message(
        RTM_NEWQDISC,
        NLM_F_CREATE | NLM_F_REPLACE,
        &header(link, HANDLES[usize::from(shape.needs_netem())]),
    );
    match shape.rate.filter(|_| !shape.needs_netem()) {
        Some(rate) => bucket(batch, rate),
        None => netem(batch, shape),
    }
}

/// The options of a token bucket.
fn bucket(batch: &mut Batch, rate: u64) {
    let (octets, burst) = Shape::bucket(rate);
    batch.text(TCA_KIND, "tbf");
    let options = batch.open(TCA_OPTIONS);
    // `struct tc_tbf_qopt`: two rates of twelve octets, then the limit, the bucket and the largest packet in time.
    let mut parameters = [0; 36];
    let word = u32::try_from(octets).unwrap_or(u32::MAX);
    parameters[8..12].copy_from_slice(&word.to_ne_bytes());
    parameters[24..28].copy_from_slice(&Shape::limit(rate).to_ne_bytes());
    batch.attribute(TBF_PARMS, &parameters);
    if octets > u64::from(u32::MAX) {
        batch.attribute(TBF_RATE64, &octets.to_ne_bytes());
    }
    batch.number(TBF_BURST, u32::try_from(burst).unwrap_or(u32::MAX));
    batch.close(options);
}

/// The options of netem: a fixed header, and attributes behind it.
fn netem(batch: &mut Batch, shape: &Shape) {
    batch.text(TCA_KIND, "netem");
    let options = batch.open(TCA_OPTIONS);
    // `struct tc_netem_qopt`: latency in ticks, packets that are kept, loss, gap, duplicates, jitter in ticks.
    let mut fixed = [0; NETEM_HEADER];
    fixed[4..8].copy_from_slice(&10_000_u32.to_ne_bytes());
    fixed[8..12].copy_from_slice(&share(shape.loss.unwrap_or(0)).to_ne_bytes());
    fixed[12..16].copy_from_slice(&u32::from(shape.reorder.is_some()).to_ne_bytes());
    batch.raw(&fixed);
    // What is not said stays as it was, so that what is not declared has to be said as well.
    let mut value = [0; 8];
    value[..4].copy_from_slice(&share(shape.reorder.unwrap_or(0)).to_ne_bytes());
    batch.attribute(NETEM_REORDER, &value);
    let octets = shape.rate.map_or(0, |rate| (rate / 8).max(1));
    let mut value = [0; 16];
    let word = u32::try_from(octets).unwrap_or(u32::MAX);
    value[..4].copy_from_slice(&word.to_ne_bytes());
    batch.attribute(NETEM_RATE, &value);
    if octets > u64::from(u32::MAX) {
        batch.attribute(NETEM_RATE64, &octets.to_ne_bytes());
    }
    batch.attribute(NETEM_LATENCY64, &shape.delay.unwrap_or(0).to_ne_bytes());
    batch.attribute(NETEM_JITTER64, &shape.jitter.unwrap_or(0).to_ne_bytes());
    batch.close(options);
}

/// Takes it away; what a link has by itself comes back.
pub(crate) fn unset(batch: &mut Batch, link: u32) {
    batch.message(RTM_DELQDISC, 0, &header(link, 0));
}

/// The shapes of the thread's namespace, by link; those that others made are empty.
pub(crate) fn all(socket: &mut Socket) -> io::Result<Vec<(u32, Shape)>> {
    let mut batch = Batch::default();
    batch.message(RTM_GETQDISC, NLM_F_DUMP, &[0; 20]);
    let mut found = Vec::new();
    socket.dump(&mut batch, |kind, body| {
        if kind == RTM_NEWQDISC && body.len() >= 20 && natural(&body[12..16]) == TC_H_ROOT {
            found.push((natural(&body[4..8]), read(&body[20..]).unwrap_or_default()));
        }
    })?;
    Ok(found)
}

/// One discipline.
fn read(attributes: &[u8]) -> Option<Shape> {
    let part = |wanted| Attributes(attributes).find(|&(kind, _)| kind == wanted);
    let (name, options) = (string(part(TCA_KIND)?.1), part(TCA_OPTIONS)?.1);
    let long = |value: &[u8]| {
        value
            .first_chunk()
            .map(|octets| u64::from_ne_bytes(*octets))
    };
    let mut shape = Shape::default();
    match name.as_str() {
        "tbf" => {
            for (kind, value) in Attributes(options) {
                match kind {
                    TBF_PARMS => {
                        let rate = u64::from(natural(value.get(8..12)?)) * 8;
                        if natural(value.get(24..28)?) == Shape::limit(rate) {
                            shape.rate = Some(rate);
                        }
                    }
                    TBF_RATE64 => shape.rate = long(value).map(|octets| octets * 8),
                    _ => {}
                }
            }
        }
        "netem" => {
            // Rounded as they were when they were set.
            let millionths =
                |share: u32| ((u64::from(share) * 1_000_000).div_ceil(u64::from(u32::MAX))) as u32;
            let some = |value: u32| (value > 0).then(|| millionths(value));
            shape.loss = some(natural(options.get(8..12)?));
            for (kind, value) in Attributes(options.get(NETEM_HEADER..)?) {
                match kind {
                    NETEM_REORDER => shape.reorder = some(natural(value)),
                    NETEM_RATE => {
                        let octets = u64::from(natural(value));
                        shape.rate = (octets > 0).then_some(octets * 8);
                    }
                    NETEM_RATE64 => shape.rate = long(value).map(|octets| octets * 8),
                    NETEM_LATENCY64 => shape.delay = long(value).filter(|value| *value > 0),
                    NETEM_JITTER64 => shape.jitter = long(value).filter(|value| *value > 0),
                    _ => {}
                }
            }
        }
        _ => {}
    }
    Some(shape)
}

/// Whether the kernel has netem: a namespace of its own is asked, in which nobody is.
pub(crate) fn has_netem() -> bool {
    let ask = || -> io::Result<bool> {
        let _away = Away::here()?;
        sys::unshare(libc::CLONE_NEWNET)?;
        let mut socket = Socket::route()?;
        let mut batch = Batch::default();
        let shape = Shape {
            delay: Some(1_000_000),
            ..Shape::default()
        };
        // Its loopback interface is the first link.
        set(&mut batch, 1, &shape);
        let refusals = socket.transact(&mut batch)?;
        Ok(!refusals.iter().any(|refusal| refusal.errno == libc::ENOENT))
    };
    // Who may not ask is refused when it matters.
    ask().unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::NLM_F_EXCL;

    fn options(shape: &Shape) -> Vec<u8> {
        let mut batch = Batch::default();
        set(&mut batch, 3, shape);
        let body = batch.last();
        assert_eq!(natural(&body[4..8]), 3);
        body[20..].to_vec()
    }

    #[test]
    fn what_is_set_is_read() {
        assert_ne!(NLM_F_EXCL, NLM_F_REPLACE);
        for shape in [
            Shape {
                rate: Some(8_000_000),
                ..Shape::default()
            },
            Shape {
                rate: Some(80_000_000_000),
                ..Shape::default()
            },
            Shape {
                delay: Some(20_000_000),
                ..Shape::default()
            },
            Shape {
                delay: Some(20_000_000),
                jitter: Some(5_000_000),
                loss: Some(10_000),
                reorder: Some(250_000),
                rate: Some(1_000_000),
            },
            Shape {
                loss: Some(1),
                ..Shape::default()
            },
        ] {
            assert_eq!(read(&options(&shape)), Some(shape), "{shape}");
        }
    }

    #[test]
    fn it_is_told_as_tc_reads_it() {
        let shape = Shape {
            delay: Some(20_500_000),
            jitter: Some(5_000_000),
            loss: Some(12_500),
            reorder: Some(250_000),
            rate: Some(10_000_000),
        };
        assert_eq!(
            shape.to_string(),
            "netem delay 20500us 5ms loss 1.25% reorder 25% rate 10mbit"
        );
        let shape = Shape {
            rate: Some(512_000),
            ..Shape::default()
        };
        assert_eq!(shape.to_string(), "tbf rate 512kbit burst 4096 limit 10496");
    }
}
