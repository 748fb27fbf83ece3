//! `chaos`: who this server is, for queries of class CH.
//!
//! | name | record |
//! |---|---|
//! | `version.bind`, `version.server` | the version |
//! | `hostname.bind`, `id.server` | the machine's host name (RFC 4892) |
//! | `authors.bind` | the authors, one record each, in any order |
//!
//! The records are written when the Corefile is loaded; their owner is a pointer to QNAME.

mod setup;
#[cfg(test)]
mod tests;

use chain::{Admits, Classes, Failure, Flow, Plugin, Query};
use rand::seq::SliceRandom;
use wire::{Class, Response, Section, Type};

pub(crate) use setup::REGISTRATION;

/// The names that are answered, as zones.
const NAMES: [&str; 5] = [
    "version.bind.",
    "version.server.",
    "authors.bind.",
    "hostname.bind.",
    "id.server.",
];
/// The octets of one text of a TXT record at most (RFC 1035, section 3.3).
const LONGEST: usize = 255;

/// The handler.
struct Chaos {
    version: Box<[u8]>,
    hostname: Box<[u8]>,
    authors: Box<[Box<[u8]>]>,
}

impl Chaos {
    fn new(version: &str, hostname: &str, authors: &[String]) -> Self {
        Self {
            version: record(version),
            hostname: record(hostname),
            authors: authors.iter().map(|author| record(author)).collect(),
        }
    }
}

/// A TXT record of class CH and TTL 0, owned by QNAME. A text that is too long is cut.
fn record(text: &str) -> Box<[u8]> {
    let text = &text.as_bytes()[..text.len().min(LONGEST)];
    let len = text.len() as u8;
    let mut out = vec![0xC0, 0x0C];
    out.extend_from_slice(&Type::TXT.0.to_be_bytes());
    out.extend_from_slice(&Class::CH.0.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(u16::from(len) + 1).to_be_bytes());
    out.push(len);
    out.extend_from_slice(text);
    out.into()
}

impl Plugin for Chaos {
    fn name(&self) -> &'static str {
        "chaos"
    }

    fn admits(&self) -> Admits {
        Admits {
            classes: Classes::Chaos,
            ..Admits::QUERIES
        }
    }

    fn query(&self, query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
        if query.qtype() != Type::TXT {
            return Ok(Flow::Next);
        }
        // A response without room for a record is marked truncated.
        match query.name().octets() {
            b"\x07version\x04bind\0" | b"\x07version\x06server\0" => {
                let _ = response.push_octets(Section::Answer, &self.version, 1);
            }
            b"\x08hostname\x04bind\0" | b"\x02id\x06server\0" => {
                let _ = response.push_octets(Section::Answer, &self.hostname, 1);
            }
            b"\x07authors\x04bind\0" => {
                let mut authors: Vec<_> = self.authors.iter().collect();
                authors.shuffle(&mut host::random::rng());
                for author in authors {
                    let _ = response.push_octets(Section::Answer, author, 1);
                }
            }
            _ => return Ok(Flow::Next),
        }
        Ok(Flow::Answered)
    }
}
