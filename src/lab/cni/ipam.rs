//! Addresses, given in this process: a file for each address, under a lock, in the layout of the upstream `host-local`.
//!
//! `DIRECTORY/NETWORK/ADDRESS` holds the container's name and, on a second line, the interface's; `last_reserved_ip.N` the
//! last address of the N-th set of ranges; `lock` is held meanwhile. The directory lies in `/run` unless `dataDir` says
//! otherwise, so that reservations die with the kernel's objects at a reboot; with `dataDir` both may share it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::config::{Attachment, Config, Range};
use super::failure::{Code, Failure, Result};
use super::outcome::Ip;
use crate::fault::point;

/// Where reservations are unless `dataDir` says otherwise.
const DATA: &str = "/run/nameplate/cni/addresses";
/// Addresses of one range that are tried.
const TRIES: u128 = 1 << 20;

/// The reservations of one network, locked.
pub(super) struct Store {
    directory: PathBuf,
    _lock: File,
}

/// A range with all its ends.
struct Span {
    first: u128,
    last: u128,
    subnet: IpNet,
    gateway: IpAddr,
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn address(number: u128, v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(number.into())
    } else {
        IpAddr::V4((number as u32).into())
    }
}

impl Span {
    /// Of a range that was checked.
    fn of(range: &Range) -> Option<Self> {
        let subnet = range.subnet?;
        let network = number(subnet.network());
        // The last address of an IPv4 subnet is its broadcast address.
        let end = number(subnet.broadcast()) - u128::from(subnet.addr().is_ipv4());
        Some(Self {
            first: range
                .range_start
                .map_or(network + 1, number)
                .max(network + 1),
            last: range.range_end.map_or(end, number).min(end),
            subnet,
            gateway: range
                .gateway
                .unwrap_or_else(|| address(network + 1, subnet.addr().is_ipv6())),
        })
    }

    /// Whether an address may be given.
    fn gives(&self, wanted: IpAddr) -> bool {
        self.subnet.contains(&wanted)
            && wanted != self.gateway
            && (self.first..=self.last).contains(&number(wanted))
    }

    /// The address of a number, with its gateway.
    fn ip(&self, wanted: IpAddr) -> Result<Ip> {
        let net = IpNet::new(wanted, self.subnet.prefix_len())
            .map_err(|error| Failure::because(Code::Config, "no address", error))?;
        Ok(Ip {
            version: None,
            interface: None,
            address: net,
            gateway: Some(self.gateway),
        })
    }
}

impl Store {
    /// Opens it and waits for its lock.
    pub(super) fn open(config: &Config) -> Result<Self> {
        let data = config.ipam.data_dir.as_deref().unwrap_or(Path::new(DATA));
        let directory = data.join(&config.name);
        let open = || -> io::Result<File> {
            crate::journal::make_directory(&directory)?;
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(directory.join("lock"))?;
            lock.lock()?;
            Ok(lock)
        };
        let _lock = open().map_err(|error| {
            Failure::because(
                Code::Io,
                format!("cannot lock {}", directory.display()),
                error,
            )
        })?;
        Ok(Self { directory, _lock })
    }

    /// What is reserved, and for whom; the interface is empty where an old version did not say.
    pub(super) fn all(&self) -> Vec<(IpAddr, Attachment)> {
        let entries = std::fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter_map(|entry| {
                let address = entry.file_name().to_str()?.parse().ok()?;
                let text = crate::input::read(&entry.path()).ok()?;
                let mut lines = text.lines();
                let attachment = Attachment {
                    container: lines.next().unwrap_or("").trim().to_owned(),
                    interface: lines.next().unwrap_or("").trim().to_owned(),
                };
                Some((address, attachment))
            })
            .collect()
    }

    /// Frees what is reserved for those that are chosen; how many addresses.
    pub(super) fn release(&self, chosen: impl Fn(&Attachment) -> bool) -> Result<usize> {
        let mut freed = 0;
        for (address, attachment) in self.all() {
            if chosen(&attachment) {
                let path = self.directory.join(address.to_string());
                crate::journal::absent_is_fine(crate::journal::remove_file(&path)).map_err(
                    |error| Failure::because(Code::Io, format!("cannot free {address}"), error),
                )?;
                freed += 1;
            }
        }
        Ok(freed)
    }

    /// Reserves one address of each set of ranges: those that are wanted, otherwise the next after the last.
    pub(super) fn reserve(
        &self,
        config: &Config,
        whose: &Attachment,
        mut wanted: Vec<IpAddr>,
    ) -> Result<Vec<Ip>> {
        // What is nowhere to be had is a mistake, however full the ranges are.
        let spans = config.ipam.ranges.iter().flatten().filter_map(Span::of);
        let spans: Vec<Span> = spans.collect();
        let nowhere = |wanted: &&IpAddr| !spans.iter().any(|span| span.gives(**wanted));
        if let Some(wanted) = wanted.iter().find(nowhere) {
            let message = format!("{wanted} was asked for and is in none of the ranges");
            return Err(Failure::new(Code::Config, message));
        }
        let mut given = Vec::new();
        for (at, set) in config.ipam.ranges.iter().enumerate() {
            let spans: Vec<Span> = set.iter().filter_map(Span::of).collect();
            let found = wanted
                .iter()
                .position(|wanted| spans.iter().any(|span| span.gives(*wanted)));
            let ip = match found.map(|found| wanted.remove(found)) {
                Some(wanted) => self.exactly(&spans, wanted, whose)?,
                None => self.next(&spans, at, whose)?,
            };
            given.push(ip);
        }
        match wanted.first() {
            None => Ok(given),
            Some(left) => Err(Failure::new(
                Code::Config,
                format!("{left} was asked for besides another of its ranges"),
            )),
        }
    }

    /// The address that was asked for.
    fn exactly(&self, spans: &[Span], wanted: IpAddr, whose: &Attachment) -> Result<Ip> {
        let taken = || Failure::new(Code::Exhausted, format!("{wanted} is taken"));
        let span = spans
            .iter()
            .find(|span| span.gives(wanted))
            .ok_or_else(taken)?;
        if self.take(wanted, whose)? {
            span.ip(wanted)
        } else {
            Err(taken())
        }
    }

    /// The next free address.
    fn next(&self, spans: &[Span], at: usize, whose: &Attachment) -> Result<Ip> {
        let note = self.directory.join(format!("last_reserved_ip.{at}"));
        let last: Option<IpAddr> = crate::input::read(&note)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let begin = spans
            .iter()
            .position(|span| last.is_some_and(|last| span.subnet.contains(&last)));
        // Once around, and the first span twice: what is before the last address comes at the end.
        for step in 0..=spans.len() {
            let span = &spans[(begin.unwrap_or(0) + step) % spans.len()];
            let first = match (step, last) {
                (0, Some(last)) if begin.is_some() => (number(last) + 1).max(span.first),
                _ => span.first,
            };
            let end = span.last.min(first.saturating_add(TRIES));
            for candidate in first..=end {
                let candidate = address(candidate, span.subnet.addr().is_ipv6());
                if span.gives(candidate) && self.take(candidate, whose)? {
                    point("write");
                    std::fs::write(&note, candidate.to_string()).map_err(|error| {
                        Failure::because(Code::Io, "cannot note the last address", error)
                    })?;
                    return span.ip(candidate);
                }
            }
        }
        Err(Failure::new(
            Code::Exhausted,
            format!("no address is free in range set {at}"),
        ))
    }

    /// Takes an address if it is free.
    fn take(&self, address: IpAddr, whose: &Attachment) -> Result<bool> {
        point("open");
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.directory.join(address.to_string()));
        let text = format!("{}\r\n{}", whose.container, whose.interface);
        match made.and_then(|mut file| file.write_all(text.as_bytes())) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(Failure::because(
                Code::Io,
                format!("cannot reserve {address}"),
                error,
            )),
        }
    }

    /// Whether an address is left in every set of ranges.
    pub(super) fn has_room(&self, config: &Config) -> bool {
        let reserved: std::collections::HashSet<IpAddr> =
            self.all().into_iter().map(|(address, _)| address).collect();
        config.ipam.ranges.iter().all(|set| {
            set.iter().filter_map(Span::of).any(|span| {
                let inside = reserved.iter().filter(|address| span.gives(**address));
                let usable = (span.last + 1).saturating_sub(span.first)
                    - u128::from((span.first..=span.last).contains(&number(span.gateway)));
                (inside.count() as u128) < usable
            })
        })
    }
}
