//! nf_tables without `nft`: a lab's rules as one table that is replaced whole, in one transaction.
//!
//! ```text
//!  Table ── Chain ── Rule ── Expression     one description …
//!    ├── batch()   the kernel's registers and attributes
//!    └── text()    the same as `nft -f` reads it: what `plan` and `show --as-shell` print
//! ```
//!
//! The table's comment holds the lab's name and a hash of the text, so that a look at the table says whether it is ours
//! and whether it is current. The kernel's counts of rules catch what was flushed from it.

mod seen;

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::hash::{hash, mac_text};
use crate::link::octets;
use crate::netlink::{Batch, NLM_F_APPEND, NLM_F_CREATE, Refusal, Socket};
use crate::spec::Protocol;

pub use seen::Seen;
pub(crate) use seen::{counters, tables};

const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const SUBSYSTEM: u16 = 10;
const NEWTABLE: u16 = 0;
const GETTABLE: u16 = 1;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
pub(crate) const GETCHAIN: u16 = 4;
pub(crate) const NEWRULE: u16 = 6;
pub(crate) const GETRULE: u16 = 7;
pub(crate) const DELRULE: u16 = 8;
const NEWSET: u16 = 9;

const INET: u8 = 1;
const REGISTER_1: u32 = 1;
const REGISTER_2: u32 = 2;
const VERDICT: u32 = 0;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// A lab's table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// Its name, in the family `inet`.
    pub name: String,
    /// The lab and its number, for the comment.
    pub owner: String,
    /// What rules remember.
    pub sets: Vec<Set>,
    /// Its chains.
    pub chains: Vec<Chain>,
}

/// Addresses that rules remember for a while.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Of what it holds addresses.
    pub family: Family,
    /// How long, after a packet last named one.
    pub seconds: u32,
}

/// A base chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// The only interface that it is for; those of [`Hook::Ingress`] have one.
    pub device: Option<String>,
    /// `nat` or `filter`.
    pub kind: &'static str,
    /// Where packets enter it.
    pub hook: Hook,
    /// The order among chains of the hook.
    pub priority: i32,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// Where packets meet a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Before routing.
    Prerouting = 0,
    /// On the way through.
    Forward = 2,
    /// From a local process.
    Output = 3,
    /// After routing.
    Postrouting = 4,
    /// As they come in by one interface, before a bridge sees them.
    Ingress = 5,
}

impl Hook {
    /// As `nft` writes it.
    fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
            Self::Ingress => "ingress",
        }
    }
}

/// What packets must be, and what is done with them.
pub type Rule = Vec<Expression>;

/// A part of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expression {
    /// The source lies in the subnet, or does not.
    Source(IpNet, bool),
    /// The destination lies in the subnet, or does not.
    Destination(IpNet, bool),
    /// The frame is from this MAC address, or is not.
    Sender([u8; 6], bool),
    /// The destination is an address of this machine.
    ToThisMachine(Family),
    /// The protocol and the port that it goes to.
    Port(Protocol, u16),
    /// It came in by this interface, or did not.
    In(String, bool),
    /// It leaves by this interface, or does not.
    Out(String, bool),
    /// Its destination was changed by one of the other chains, or was not.
    Redirected(bool),
    /// It starts a connection.
    New,
    /// Every `n`-th new connection.
    OneIn(u32),
    /// The connection was begun to this port of whatever its destination was then.
    AskedFor(Family, Protocol, u16),
    /// The source is remembered.
    Remembered(Set),
    /// The source is remembered from now on.
    Remember(Set),
    /// Counts packets and octets.
    Counter,
    /// Another destination.
    ToTarget(IpAddr, u16),
    /// The router's own address as source.
    Masquerade,
    /// Away with it.
    Drop,
    /// Through with it.
    Accept,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv6() {
            Self::V6
        } else {
            Self::V4
        }
    }

    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// `ipv4` or `ipv6`.
    fn nfproto(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    /// The type of an address, and its length: what `nft` and the kernel call it.
    fn of_set(self) -> (&'static str, u32, u32) {
        match self {
            Self::V4 => ("ipv4_addr", 7, 4),
            Self::V6 => ("ipv6_addr", 8, 16),
        }
    }

    /// `ip` or `ip6`.
    fn word(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }
}

impl Expression {
    /// As `nft` reads it.
    fn text(&self) -> String {
        let not = |equal: &bool| if *equal { "" } else { "!= " };
        match self {
            Self::Source(net, equal) => {
                format!(
                    "{} saddr {}{}",
                    Family::of(net.addr()).word(),
                    not(equal),
                    plain(*net)
                )
            }
            Self::Destination(net, equal) => {
                format!(
                    "{} daddr {}{}",
                    Family::of(net.addr()).word(),
                    not(equal),
                    plain(*net)
                )
            }
            Self::Sender(mac, equal) => {
                format!("ether saddr {}{}", not(equal), mac_text(mac))
            }
            Self::ToThisMachine(Family::V4) => "meta nfproto ipv4 fib daddr type local".to_owned(),
            Self::ToThisMachine(Family::V6) => "meta nfproto ipv6 fib daddr type local".to_owned(),
            Self::Port(protocol, port) => format!("{} dport {port}", protocol.name()),
            Self::In(name, equal) => format!("iifname {}\"{name}\"", not(equal)),
            Self::Out(name, equal) => format!("oifname {}\"{name}\"", not(equal)),
            Self::Redirected(true) => "ct status dnat".to_owned(),
            Self::Redirected(false) => "ct status ! dnat".to_owned(),
            Self::New => "ct state new".to_owned(),
            Self::OneIn(n) => format!("numgen inc mod {n} 0"),
            Self::AskedFor(family, protocol, port) => format!(
                "meta nfproto {} meta l4proto {} ct original proto-dst {port}",
                family.nfproto(),
                protocol.name()
            ),
            Self::Remembered(set) => format!("{} saddr @{}", set.family.word(), set.name),
            Self::Remember(set) => {
                format!("update @{} {{ {} saddr }}", set.name, set.family.word())
            }
            Self::Counter => "counter".to_owned(),
            Self::ToTarget(IpAddr::V4(address), port) => format!("dnat ip to {address}:{port}"),
            Self::ToTarget(IpAddr::V6(address), port) => format!("dnat ip6 to [{address}]:{port}"),
            Self::Masquerade => "masquerade".to_owned(),
            Self::Drop => "drop".to_owned(),
            Self::Accept => "accept".to_owned(),
        }
    }

    /// As the kernel reads it.
    fn write(&self, batch: &mut Batch) {
        match self {
            Self::Source(net, equal) => address(batch, *net, *equal, [12, 8]),
            Self::Destination(net, equal) => address(batch, *net, *equal, [16, 24]),
            Self::Sender(mac, equal) => {
                payload(batch, 0, 6, 6);
                compare(batch, *equal, mac);
            }
            Self::ToThisMachine(family) => {
                protocol_is(batch, *family);
                // fib: result 3 is the address's type, flag 2 looks at the destination; type 2 is local.
                expression(batch, "fib", |batch| {
                    batch.big(1, REGISTER_1).big(2, 3).big(3, 2);
                });
                compare(batch, true, &2u32.to_ne_bytes());
            }
            Self::Port(protocol, port) => {
                meta(batch, 16);
                compare(batch, true, &[protocol.number()]);
                payload(batch, 2, 2, 2);
                compare(batch, true, &port.to_be_bytes());
            }
            Self::In(name, equal) => interface(batch, 6, name, *equal),
            Self::Out(name, equal) => interface(batch, 7, name, *equal),
            // ct: key 2 is the status, bit 5 of it says that the destination was changed; key 0 is the state, bit 3 is new.
            Self::Redirected(is) => tracked(batch, 2, 0x20, *is),
            Self::New => tracked(batch, 0, 8, true),
            Self::OneIn(n) => {
                expression(batch, "numgen", |batch| {
                    batch.big(1, REGISTER_1).big(2, *n).big(3, 0).big(4, 0);
                });
                compare(batch, true, &0u32.to_ne_bytes());
            }
            Self::AskedFor(family, protocol, port) => {
                protocol_is(batch, *family);
                meta(batch, 16);
                compare(batch, true, &[protocol.number()]);
                // ct: key 12 is the port that a connection goes to, of the original direction.
                expression(batch, "ct", |batch| {
                    batch.big(1, REGISTER_1).big(2, 12).attribute(3, &[0]);
                });
                compare(batch, true, &port.to_be_bytes());
            }
            Self::Remembered(set) => {
                source(batch, set.family);
                expression(batch, "lookup", |batch| {
                    batch.text(1, &set.name).big(2, REGISTER_1);
                });
            }
            Self::Remember(set) => {
                source(batch, set.family);
                // dynset: operation 1 adds the key, or begins its time again.
                expression(batch, "dynset", |batch| {
                    batch.text(1, &set.name).big(3, 1).big(4, REGISTER_1);
                });
            }
            Self::Counter => expression(batch, "counter", |_| {}),
            Self::ToTarget(target, port) => {
                immediate(batch, REGISTER_1, &octets(*target));
                immediate(batch, REGISTER_2, &port.to_be_bytes());
                let family = u32::from(Family::of(*target).number());
                expression(batch, "nat", |batch| {
                    batch
                        .big(1, 1)
                        .big(2, family)
                        .big(3, REGISTER_1)
                        .big(5, REGISTER_2);
                });
            }
            Self::Masquerade => expression(batch, "masq", |_| {}),
            Self::Drop => conclude(batch, DROP),
            Self::Accept => conclude(batch, ACCEPT),
        }
    }
}

/// A subnet as `nft` prints it: a single address without its prefix.
fn plain(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.trunc().to_string()
    }
}

/// A bit of what connection tracking knows is set, or is not.
fn tracked(batch: &mut Batch, key: u32, bit: u32, set: bool) {
    expression(batch, "ct", |batch| {
        batch.big(1, REGISTER_1).big(2, key);
    });
    mask(batch, &bit.to_ne_bytes());
    compare(batch, !set, &[0; 4]);
}

/// One expression of a rule.
fn expression(batch: &mut Batch, name: &str, data: impl FnOnce(&mut Batch)) {
    let element = batch.open(1);
    batch.text(1, name);
    let nest = batch.open(2);
    data(batch);
    batch.close(nest);
    batch.close(element);
}

/// Loads what is known about a packet.
fn meta(batch: &mut Batch, key: u32) {
    expression(batch, "meta", |batch| {
        batch.big(1, REGISTER_1).big(2, key);
    });
}

/// The packet is IPv4, or IPv6.
fn protocol_is(batch: &mut Batch, family: Family) {
    meta(batch, 15);
    compare(batch, true, &[family.number()]);
}

/// Compares the register.
fn compare(batch: &mut Batch, equal: bool, value: &[u8]) {
    expression(batch, "cmp", |batch| {
        batch.big(1, REGISTER_1).big(2, u32::from(!equal));
        let data = batch.open(3);
        batch.attribute(1, value);
        batch.close(data);
    });
}

/// Loads octets of the link's header (0), of the network header (1) or of the transport header (2).
fn payload(batch: &mut Batch, base: u32, offset: u32, length: u32) {
    expression(batch, "payload", |batch| {
        batch
            .big(1, REGISTER_1)
            .big(2, base)
            .big(3, offset)
            .big(4, length);
    });
}

/// Loads the source address.
fn source(batch: &mut Batch, family: Family) {
    protocol_is(batch, family);
    let (_, _, length) = family.of_set();
    payload(batch, 1, if length == 4 { 12 } else { 8 }, length);
}

/// Keeps some bits of the register.
fn mask(batch: &mut Batch, bits: &[u8]) {
    expression(batch, "bitwise", |batch| {
        batch
            .big(1, REGISTER_1)
            .big(2, REGISTER_1)
            .big(3, bits.len() as u32);
        for (kind, value) in [(4, bits.to_vec()), (5, vec![0; bits.len()])] {
            let data = batch.open(kind);
            batch.attribute(1, &value);
            batch.close(data);
        }
    });
}

/// Ends the walk of a packet.
fn conclude(batch: &mut Batch, code: u32) {
    expression(batch, "immediate", |batch| {
        batch.big(1, VERDICT);
        let data = batch.open(2);
        let verdict = batch.open(2);
        batch.big(1, code);
        batch.close(verdict);
        batch.close(data);
    });
}

/// Puts a value into a register.
fn immediate(batch: &mut Batch, register: u32, value: &[u8]) {
    expression(batch, "immediate", |batch| {
        batch.big(1, register);
        let data = batch.open(2);
        batch.attribute(1, value);
        batch.close(data);
    });
}

/// An address of the network header is in a subnet, or is not; `offsets` of IPv4 and IPv6.
fn address(batch: &mut Batch, net: IpNet, equal: bool, offsets: [u32; 2]) {
    let family = Family::of(net.addr());
    protocol_is(batch, family);
    let value = octets(net.network());
    let offset = offsets[usize::from(family == Family::V6)];
    payload(batch, 1, offset, value.len() as u32);
    if net.prefix_len() < net.max_prefix_len() {
        mask(batch, &octets(net.netmask()));
    }
    compare(batch, equal, &value);
}

/// An interface's name.
fn interface(batch: &mut Batch, key: u32, name: &str, equal: bool) {
    meta(batch, key);
    let mut value = [0; 16];
    let length = name.len().min(15);
    value[..length].copy_from_slice(&name.as_bytes()[..length]);
    compare(batch, equal, &value);
}

/// `struct nfgenmsg`
pub(crate) fn header(family: u8, resource: u16) -> [u8; 4] {
    let resource = resource.to_be_bytes();
    [family, 0, resource[0], resource[1]]
}

/// A message type of nf_tables.
pub(crate) fn kind(message: u16) -> u16 {
    SUBSYSTEM << 8 | message
}

/// Begins a transaction.
pub(crate) fn begin(batch: &mut Batch) {
    batch.message(BATCH_BEGIN, 0, &header(0, SUBSYSTEM));
}

/// Ends it.
pub(crate) fn end(batch: &mut Batch) {
    batch.message(BATCH_END, 0, &header(0, SUBSYSTEM));
}

/// The expressions of a rule, as an attribute of it.
pub(crate) fn expressions(batch: &mut Batch, rule: &[Expression]) {
    let list = batch.open(4);
    for part in rule {
        part.write(batch);
    }
    batch.close(list);
}

impl Table {
    /// The rules as `nft -f` reads them.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!("table inet {} {{\n", self.name);
        let _ = writeln!(out, "\tcomment \"{}\"", self.comment());
        for set in &self.sets {
            let (kind, ..) = set.family.of_set();
            let _ = writeln!(
                out,
                "\tset {} {{\n\t\ttype {kind}\n\t\tsize 65535\n\t\tflags dynamic,timeout\n\t\ttimeout {}s\n\t}}",
                set.name, set.seconds
            );
        }
        for chain in &self.chains {
            let _ = writeln!(out, "\tchain {} {{", chain.name);
            let device = chain
                .device
                .as_ref()
                .map_or(String::new(), |device| format!(" device \"{device}\""));
            let _ = writeln!(
                out,
                "\t\ttype {} hook {}{device} priority {}; policy accept;",
                chain.kind,
                chain.hook.name(),
                chain.priority
            );
            for rule in &chain.rules {
                let _ = writeln!(out, "\t\t{}", rule_text(rule));
            }
            out.push_str("\t}\n");
        }
        out.push_str("}\n");
        out
    }

    /// What the table says about itself.
    #[must_use]
    pub fn comment(&self) -> String {
        let mut parts = vec![self.name.clone()];
        let set = |set: &Set| format!("{} {}", set.name, set.seconds);
        parts.extend(self.sets.iter().map(set));
        for chain in &self.chains {
            parts.push(format!(
                "{} {} {}",
                chain.name,
                chain.hook.name(),
                chain.priority
            ));
            parts.extend(chain.rules.iter().map(rule_text));
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        format!("{}:{:016x}", self.owner, hash(&parts))
    }

    /// Rules of all chains.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules.len()).sum()
    }

    /// The transaction that replaces the table.
    fn batch(&self) -> Batch {
        let mut batch = Batch::default();
        begin(&mut batch);
        // Deleting what is not there is an error; so it is made first.
        batch
            .message(kind(NEWTABLE), NLM_F_CREATE, &header(INET, 0))
            .text(1, &self.name);
        batch
            .message(kind(DELTABLE), 0, &header(INET, 0))
            .text(1, &self.name);
        batch
            .message(kind(NEWTABLE), NLM_F_CREATE, &header(INET, 0))
            .text(1, &self.name)
            .attribute(6, &comment_data(&self.comment()));
        for (number, set) in self.sets.iter().enumerate() {
            let (_, key, length) = set.family.of_set();
            // Flags: a time of its own for each element (0x10), changed by rules (0x20).
            batch
                .message(kind(NEWSET), NLM_F_CREATE, &header(INET, 0))
                .text(1, &self.name)
                .text(2, &set.name)
                .big(3, 0x30)
                .big(4, key)
                .big(5, length)
                .big(10, number as u32 + 1)
                .attribute(11, &(u64::from(set.seconds) * 1_000).to_be_bytes());
            let size = batch.open(9);
            batch.big(1, 65_535);
            batch.close(size);
        }
        for chain in &self.chains {
            batch
                .message(kind(NEWCHAIN), NLM_F_CREATE, &header(INET, 0))
                .text(1, &self.name)
                .text(3, &chain.name)
                .text(7, chain.kind)
                .big(5, 1);
            let hook = batch.open(4);
            batch
                .big(1, chain.hook as u32)
                .big(2, chain.priority as u32);
            if let Some(device) = &chain.device {
                batch.text(3, device);
            }
            batch.close(hook);
        }
        for chain in &self.chains {
            for rule in &chain.rules {
                batch
                    .message(kind(NEWRULE), NLM_F_CREATE | NLM_F_APPEND, &header(INET, 0))
                    .text(1, &self.name)
                    .text(2, &chain.name);
                expressions(&mut batch, rule);
            }
        }
        end(&mut batch);
        batch
    }

    /// Replaces the table in the kernel.
    pub(crate) fn replace(&self, socket: &mut Socket) -> io::Result<Vec<Refusal>> {
        socket.transaction(&mut self.batch())
    }
}

/// One rule as text.
pub(crate) fn rule_text(rule: &Rule) -> String {
    rule.iter()
        .map(Expression::text)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The comment as user data: type 0, its length with the NUL, the text. A wrong length makes `nft list` crash.
pub(crate) fn comment_data(comment: &str) -> Vec<u8> {
    let text = &comment.as_bytes()[..comment.len().min(127)];
    let mut data = vec![0, text.len() as u8 + 1];
    data.extend_from_slice(text);
    data.push(0);
    data
}

/// Removes a table.
pub(crate) fn remove(socket: &mut Socket, name: &str) -> io::Result<Vec<Refusal>> {
    let mut batch = Batch::default();
    begin(&mut batch);
    batch
        .message(kind(NEWTABLE), NLM_F_CREATE, &header(INET, 0))
        .text(1, name);
    batch
        .message(kind(DELTABLE), 0, &header(INET, 0))
        .text(1, name);
    end(&mut batch);
    socket.transaction(&mut batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comment_data_has_its_own_length() {
        for comment in ["", "lab:x:1", &"c".repeat(200)] {
            let data = comment_data(comment);
            assert_eq!(usize::from(data[1]), data.len() - 2, "{comment}");
            assert_eq!(data.last(), Some(&0));
        }
    }

    #[test]
    fn text_is_what_nft_reads() -> Result<(), Box<dyn std::error::Error>> {
        let rule: Rule = vec![
            Expression::Source("192.0.2.0/24".parse()?, true),
            Expression::Destination("192.0.2.0/24".parse()?, false),
            Expression::Counter,
            Expression::Masquerade,
        ];
        assert_eq!(
            rule_text(&rule),
            "ip saddr 192.0.2.0/24 ip daddr != 192.0.2.0/24 counter masquerade"
        );
        let rule: Rule = vec![
            Expression::ToThisMachine(Family::V6),
            Expression::Port(Protocol::Udp, 53),
            Expression::ToTarget("2001:db8::1".parse()?, 53),
        ];
        assert_eq!(
            rule_text(&rule),
            "meta nfproto ipv6 fib daddr type local udp dport 53 dnat ip6 to [2001:db8::1]:53"
        );
        Ok(())
    }
}
