//! The filter table of legacy iptables, as its own `iptables-legacy-save` reads it.
//!
//! The kernel hands it over as one block of entries. A chain is a place in that block: those of hooks begin at an offset
//! that the header names and end with their policy, and one of a user begins behind an entry whose target is called
//! `ERROR`. A table that nobody has used is not touched: to ask for it would make it.

use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::path::Path;

use super::{Filter, Line, Name, Place, Verdict};
use crate::input::read_or_empty;
use crate::netlink::{natural, string};
use crate::sys::socket_option;

const GET_INFO: i32 = 64;
const GET_ENTRIES: i32 = 65;
/// Octets of `struct ipt_getinfo`.
const INFO: usize = 84;
/// Octets of `struct ipt_get_entries` before its entries.
const HEADER: usize = 40;
/// Where a table's name ends.
const NAME: usize = 32;
/// `NF_INET_FORWARD`
const FORWARD: usize = 2;

/// What differs between `struct ipt_entry` and `struct ip6t_entry`.
struct Form {
    /// The table's names that are in use.
    names: &'static str,
    level: i32,
    /// Octets of an address; of each, source and destination stand in front of their masks.
    address: usize,
    /// Where the flags are, and behind them the inverted ones.
    flags: usize,
    /// The flag of a rule that goes to a chain and does not come back: `IPT_F_GOTO`, `IP6T_F_GOTO`.
    goto: u8,
    /// Where the offset of the target is, and behind it that of the next entry.
    offsets: usize,
    /// Octets of the entry before its matches.
    size: usize,
}

const FORMS: [Form; 2] = [
    Form {
        names: "/proc/thread-self/net/ip_tables_names",
        level: libc::IPPROTO_IP,
        address: 4,
        flags: 82,
        goto: 2,
        offsets: 88,
        size: 112,
    },
    Form {
        names: "/proc/thread-self/net/ip6_tables_names",
        level: libc::IPPROTO_IPV6,
        address: 16,
        flags: 131,
        goto: 4,
        offsets: 140,
        size: 168,
    },
];

/// Adds the chains of a family's table, if it is in use.
pub(super) fn read(filter: &mut Filter, v6: bool) -> io::Result<()> {
    let form = &FORMS[usize::from(v6)];
    let used = read_or_empty(Path::new(form.names));
    if !used.lines().any(|name| name == "filter") {
        return Ok(());
    }
    let any = if v6 { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any)?;
    let mut info = [0; INFO];
    info[..6].copy_from_slice(b"filter");
    socket_option(socket.as_fd(), (form.level, GET_INFO), &mut info)?;
    let number = |at: usize| natural(&info[at..at + 4]) as usize;
    let (begins, ends) = (NAME + 4, NAME + 24);
    let size = number(INFO - 4);
    let mut block = vec![0; HEADER + size];
    block[..6].copy_from_slice(b"filter");
    block[NAME..NAME + 4].copy_from_slice(&info[INFO - 4..]);
    socket_option(socket.as_fd(), (form.level, GET_ENTRIES), &mut block)?;
    let (begin, end) = (number(begins + 4 * FORWARD), number(ends + 4 * FORWARD));
    add(filter, form, &block[HEADER..], (begin, end));
    Ok(())
}

/// Adds what stands in a block, of which the chain of forwarding begins and ends at these offsets.
fn add(filter: &mut Filter, form: &Form, block: &[u8], (begin, end): (usize, usize)) {
    let place = |chain: &str| Place {
        family: if form.address == 16 { 10 } else { 2 },
        legacy: true,
        table: "filter".to_owned(),
        chain: chain.to_owned(),
    };
    // Chains by where they begin.
    let mut chains = BTreeMap::from([(begin, "FORWARD".to_owned())]);
    let mut entries = Vec::new();
    let mut at = 0;
    while let Some(entry) = Entry::at(form, block, at) {
        let next = at + entry.size;
        if entry.target == "ERROR" {
            chains.insert(next, string(entry.data));
        }
        entries.push((at, entry));
        at = next;
    }
    for (at, entry) in &entries {
        let Some((_, chain)) = chains.range(..=*at).next_back() else {
            continue;
        };
        let place = place(chain);
        if *at == end {
            if entry.line(&chains).verdict == Some(Verdict::Drop) {
                filter.dropping.push(place.clone());
            }
            filter.chains.entry(place).or_default();
        } else if entry.target != "ERROR" && (chain != "FORWARD" || *at < end) {
            filter
                .chains
                .entry(place)
                .or_default()
                .push(entry.line(&chains));
        }
    }
}

/// One rule.
struct Entry<'a> {
    size: usize,
    /// Input and output, each with its mask.
    names: [(&'a [u8], &'a [u8]); 2],
    /// Whether it looks at more than interfaces.
    more: bool,
    goes: bool,
    /// What is done; nothing stands for a verdict.
    target: String,
    data: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The one at an offset; none behind the last.
    fn at(form: &Form, block: &'a [u8], at: usize) -> Option<Self> {
        let short = |octets: &[u8], at: usize| {
            let two = octets.get(at..at + 2)?.first_chunk()?;
            Some(usize::from(u16::from_ne_bytes(*two)))
        };
        let rest = block.get(at..)?;
        let (target, size) = (short(rest, form.offsets)?, short(rest, form.offsets + 2)?);
        let entry = rest
            .get(..size)
            .filter(|_| target >= form.size && size > target)?;
        let interfaces = 4 * form.address;
        let name = |nth: usize| entry.get(interfaces + 16 * nth..interfaces + 16 * (nth + 1));
        let (protocol, flags) = (interfaces + 64, form.flags);
        let masks = &entry[2 * form.address..interfaces];
        let bytes = entry.get(target..)?;
        Some(Self {
            size,
            names: [(name(0)?, name(2)?), (name(1)?, name(3)?)],
            more: target != form.size
                || short(entry, protocol)? != 0
                || masks.iter().any(|octet| *octet != 0)
                || entry[flags] & !form.goto != 0
                || entry[flags + 1] != 0,
            goes: entry[flags] & form.goto != 0,
            target: string(bytes.get(2..31)?),
            data: bytes.get(NAME..)?,
        })
    }

    /// As a line of a chain.
    fn line(&self, chains: &BTreeMap<usize, String>) -> Line {
        let [input, output] = self.names.map(|(name, mask)| {
            // The `+` of a name that is only begun stays in it, behind the mask.
            let masked = mask.iter().take_while(|octet| **octet == 0xff).count();
            let text = string(&name[..masked]);
            (masked > 0).then_some(Name {
                whole: text.len() < masked,
                text,
            })
        });
        let code = self.data.get(..4).map(|code| natural(code) as i32);
        let verdict = match (self.target.as_str(), code) {
            // -NF_DROP - 1, -NF_ACCEPT - 1 and XT_RETURN.
            ("", Some(-1)) | ("REJECT", _) => Some(Verdict::Drop),
            ("", Some(-2)) => Some(Verdict::Accept),
            ("", Some(-5)) => Some(Verdict::Return),
            ("", Some(at @ 0..)) => {
                let chain = chains.get(&(at as usize)).cloned();
                chain.map(|chain| match self.goes {
                    true => Verdict::Goto(chain),
                    false => Verdict::Jump(chain),
                })
            }
            _ => None,
        };
        Line {
            input,
            output,
            more: self.more,
            verdict,
            ..Line::default()
        }
    }
}
