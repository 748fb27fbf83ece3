//! `whoami`: tells the client its own address, port and transport.
//!
//! The answer section stays empty; the additional section has the address as A or AAAA and the port as SRV, both with TTL 0.
//! Owners are pointers to QNAME, so nothing is looked up, copied or allocated.

mod setup;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use chain::{Failure, Flow, Plugin, Query};
use wire::{Flags, Response, Section, Type};

pub(crate) use setup::REGISTRATION;

/// A pointer to QNAME, which stands behind the header.
const QNAME: [u8; 2] = [0xC0, 0x0C];

/// The handler; it has nothing to remember.
struct Whoami;

impl Plugin for Whoami {
    fn name(&self) -> &'static str {
        "whoami"
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        response.set_flag(Flags::AA, true);
        let class = query.qclass().0.to_be_bytes();
        let mut record = [0u8; 32];
        let len = address(query.peer().ip(), class, &mut record);
        // A response always has room for these; if it had not, the builder marks it truncated.
        let _ = response.push_octets(Section::Additional, &record[..len], 1);
        // A QNAME near 255 octets has no room for one more label.
        if query.name().octets().len() + 5 <= wire::MAX_NAME {
            let len = service(query, class, &mut record);
            let _ = response.push_octets(Section::Additional, &record[..len], 1);
        }
        Ok(Flow::Answered)
    }
}

/// Writes the client's address as a record; gives its length.
fn address(ip: IpAddr, class: [u8; 2], record: &mut [u8; 32]) -> usize {
    let mut put = Put::new(record);
    put.octets(&QNAME);
    match ip {
        IpAddr::V4(ip) => {
            put.fixed(Type::A, class, 4);
            put.octets(&ip.octets());
        }
        IpAddr::V6(ip) => {
            put.fixed(Type::AAAA, class, 16);
            put.octets(&ip.octets());
        }
    }
    put.len
}

/// Writes the client's port as a SRV record of `_udp` or `_tcp` below QNAME; gives its length.
fn service(query: &Query<'_>, class: [u8; 2], record: &mut [u8; 32]) -> usize {
    let mut put = Put::new(record);
    put.octets(if query.transport().protocol() == "udp" {
        b"\x04_udp"
    } else {
        b"\x04_tcp"
    });
    put.octets(&QNAME);
    put.fixed(Type::SRV, class, 7);
    put.octets(&[0, 0, 0, 0]);
    put.octets(&query.peer().port().to_be_bytes());
    put.octets(&[0]);
    put.len
}

/// Octets written one after the other.
struct Put<'a> {
    to: &'a mut [u8; 32],
    len: usize,
}

impl<'a> Put<'a> {
    fn new(to: &'a mut [u8; 32]) -> Self {
        Self { to, len: 0 }
    }

    fn octets(&mut self, octets: &[u8]) {
        if let Some(room) = self.to.get_mut(self.len..self.len + octets.len()) {
            room.copy_from_slice(octets);
            self.len += octets.len();
        }
    }

    /// Type, class, TTL 0 and RDLENGTH.
    fn fixed(&mut self, rtype: Type, class: [u8; 2], rdlength: u16) {
        self.octets(&rtype.0.to_be_bytes());
        self.octets(&class);
        self.octets(&[0; 4]);
        self.octets(&rdlength.to_be_bytes());
    }
}
