//! Rules about the options of the OPT record that goes upstream.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chain::Query;
use wire::{EdnsOption, Opt};

use super::text;

/// The UDP size that a query's OPT record offers where the client sent none; what goes upstream offers no more than a datagram may have.
const SIZE: u16 = 4_096;

/// What is done with an option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// It is given the data, or added.
    Set,
    /// It is added where there is none.
    Append,
    /// It is given the data where there is one.
    Replace,
    /// It is taken out.
    Unset,
}

/// The data of an option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Data {
    /// These octets.
    Octets(Box<[u8]>),
    /// QNAME as a text.
    Qname,
    /// QTYPE in two octets.
    Qtype,
    /// The client's address in four or sixteen octets.
    ClientIp,
    /// The client's port in two octets.
    ClientPort,
    /// `udp` or `tcp`.
    Protocol,
    /// The address that was asked.
    ServerIp,
    /// The port that was asked.
    ServerPort,
    /// What a plugin says under this metadata label.
    Label(Box<str>),
    /// The client's network, of so many bits for IPv4 and IPv6 (RFC 7871, section 6).
    Subnet(u8, u8),
}

/// A rule about one option.
#[derive(Clone, Debug)]
pub(super) struct EdnsRule {
    pub(super) code: u16,
    pub(super) action: Action,
    pub(super) data: Data,
    /// Whether the response is as if the rule had not been.
    pub(super) revert: bool,
}

impl EdnsRule {
    /// Whether it does what it says for every query, so that a rule behind it is never reached when it ends the list.
    pub(super) fn is_certain(&self) -> bool {
        match self.action {
            Action::Unset => true,
            Action::Set => !matches!(self.data, Data::Label(_)),
            Action::Append => matches!(self.data, Data::Octets(_)),
            Action::Replace => false,
        }
    }

    /// Applies it to `opt`, the OPT record of the query as it stands, which is made where there is none. Whether it applied.
    pub(super) fn apply(&self, query: &Query<'_>, opt: &mut Option<Opt>) -> bool {
        let is_there = opt.as_ref().is_some_and(|opt| opt.get(self.code).is_some());
        match self.action {
            Action::Unset => {
                if let Some(opt) = opt {
                    opt.remove(self.code);
                }
                return true;
            }
            // Where the data is known, the query is what the rule wants.
            Action::Append if is_there => return matches!(self.data, Data::Octets(_)),
            Action::Replace if !is_there => return false,
            _ => {}
        }
        let mut room = Vec::new();
        let Some(data) = self.octets(query, &mut room) else {
            return false;
        };
        let option = EdnsOption {
            code: self.code,
            data,
        };
        // An option that has no room in a message is left out.
        opt.get_or_insert_with(|| Opt::new(SIZE))
            .set(option)
            .is_ok()
    }

    /// The data; `None` where there is none.
    fn octets<'r>(&'r self, query: &Query<'_>, room: &'r mut Vec<u8>) -> Option<&'r [u8]> {
        let ip = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        match &self.data {
            Data::Octets(octets) => return Some(octets),
            Data::Qname => self.qname(query, room),
            Data::Qtype => *room = query.qtype().0.to_be_bytes().to_vec(),
            Data::ClientIp => *room = ip(query.peer().ip()),
            Data::ServerIp => *room = ip(query.local().ip()),
            Data::ClientPort => *room = query.peer().port().to_be_bytes().to_vec(),
            Data::ServerPort => *room = query.local().port().to_be_bytes().to_vec(),
            Data::Protocol => *room = query.transport().protocol().into(),
            Data::Label(label) => {
                let mut value = String::new();
                if !query.label(label, &mut value) || value.is_empty() {
                    return None;
                }
                *room = value.into_bytes();
            }
            Data::Subnet(four, six) => *room = subnet(query.peer().ip(), *four, *six),
        }
        Some(room)
    }

    /// QNAME as the client spelled it, unless it was rewritten.
    fn qname(&self, query: &Query<'_>, room: &mut Vec<u8>) {
        let asked = wire::NameBuf::read(query.message(), wire::HEADER_LEN);
        match asked {
            Ok((name, _)) if name.as_name() == query.name() => text::write(name.as_name(), room),
            _ => text::write(query.name(), room),
        }
    }
}

/// The data of a client subnet option: family, source and scope prefix lengths, and as many octets as the prefix needs.
fn subnet(client: IpAddr, four: u8, six: u8) -> Vec<u8> {
    let (family, bits, address) = match client.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(four)).unwrap_or(0);
            let masked = Ipv4Addr::from_bits(address.to_bits() & mask);
            (1, four, masked.octets().to_vec())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(six)).unwrap_or(0);
            let masked = Ipv6Addr::from_bits(address.to_bits() & mask);
            (2, six, masked.octets().to_vec())
        }
    };
    let mut out = vec![0, family, bits, 0];
    out.extend_from_slice(&address[..usize::from(bits).div_ceil(8)]);
    out
}

/// Takes what `rules` that applied have done, and is to be reverted, out of the OPT record of the response; the last rule first. `opt` is
/// the client's record.
pub(super) fn revert<'r>(
    rules: impl Iterator<Item = &'r EdnsRule>,
    query: &Query<'_>,
    opt: Option<Opt>,
    told: &mut Opt,
) {
    let mut opt = opt;
    let mut undo: Vec<(u16, Option<Vec<u8>>)> = Vec::new();
    for rule in rules {
        if rule.revert {
            let before = opt.as_ref().and_then(|opt| opt.get(rule.code));
            undo.push((rule.code, before.map(|option| option.data.to_vec())));
        }
        rule.apply(query, &mut opt);
    }
    for (code, before) in undo.into_iter().rev() {
        match before {
            None => {
                told.remove(code);
            }
            // It was in a message, so it has room in one.
            Some(data) => {
                let _ = told.replace(EdnsOption { code, data: &data });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_cut_to_their_bits() {
        for (client, four, six, expected) in [
            ("192.0.2.77", 24, 56, &[0, 1, 24, 0, 192, 0, 2][..]),
            ("192.0.2.77", 25, 56, &[0, 1, 25, 0, 192, 0, 2, 0]),
            ("192.0.2.200", 25, 56, &[0, 1, 25, 0, 192, 0, 2, 128]),
            ("192.0.2.77", 32, 0, &[0, 1, 32, 0, 192, 0, 2, 77]),
            ("192.0.2.77", 0, 0, &[0, 1, 0, 0]),
            ("::ffff:192.0.2.77", 8, 0, &[0, 1, 8, 0, 192]),
            ("2001:db8:1:2:3::1", 24, 0, &[0, 2, 0, 0]),
            (
                "2001:db8:1:ffff::1",
                24,
                56,
                &[0, 2, 56, 0, 0x20, 1, 0xD, 0xB8, 0, 1, 0xFF],
            ),
        ] {
            let client: IpAddr = client.parse().expect("an address");
            assert_eq!(subnet(client, four, six), expected, "{client}/{four}/{six}");
        }
        let all = subnet("2001:db8::1".parse().expect("an address"), 24, 128);
        assert_eq!((all.len(), all[2]), (20, 128));
    }
}
