//! What an operator wants to know of a signed zone: its keys, what each of them signs, and when the first signature ends.

use wire::{Type, read_u16, read_u32};

use crate::contents::{Statistics, Zone};
use crate::rdata::ALGORITHMS;
use crate::signing::key_tag;

/// What a key does in its zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It signs the keys alone.
    Ksk,
    /// It signs what the zone has, and not the keys.
    Zsk,
    /// It signs both.
    Csk,
    /// It is published and signs nothing here: it is to come, or to go.
    Published,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ksk => "KSK",
            Self::Zsk => "ZSK",
            Self::Csk => "CSK",
            Self::Published => "published",
        })
    }
}

/// A key of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneKey {
    /// Its key tag (RFC 4034, appendix B).
    pub tag: u16,
    /// Its algorithm's number.
    pub algorithm: u8,
    /// What it does.
    pub role: Role,
}

impl ZoneKey {
    /// The mnemonic of its algorithm, or the number.
    pub fn algorithm_name(&self) -> String {
        let known = ALGORITHMS
            .iter()
            .rfind(|(_, number)| *number == self.algorithm);
        known.map_or_else(
            || self.algorithm.to_string(),
            |(name, _)| (*name).to_owned(),
        )
    }
}

impl Statistics {
    /// Takes note of an RRSIG record. Times are compared as serial numbers are (RFC 4034, section 3.1.5).
    pub(crate) fn note_signature(&mut self, rdata: &[u8]) {
        let Some(end) = read_u32(rdata, 8) else {
            return;
        };
        let first = self.signatures_end.get_or_insert(end);
        if (end.wrapping_sub(*first) as i32) < 0 {
            *first = end;
        }
    }
}

impl Zone {
    /// The keys in the zone's DNSKEY records, in their order; none where it is not signed.
    pub fn keys(&self) -> Vec<ZoneKey> {
        let mut keys = Vec::new();
        let (mut of_keys, mut of_data) = (Vec::new(), Vec::new());
        for record in self.records_at(self.apex()) {
            let rdata = record.rdata();
            match record.rtype() {
                Type::DNSKEY => keys.push((key_tag(&rdata), rdata.get(3).copied())),
                Type::RRSIG => {
                    let by = (read_u16(&rdata, 16), rdata.get(2).copied());
                    match read_u16(&rdata, 0).map(Type) {
                        Some(Type::DNSKEY) => of_keys.push(by),
                        Some(Type::SOA) => of_data.push(by),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        let keys = keys.into_iter().filter_map(|(tag, algorithm)| {
            let by = (Some(tag), algorithm);
            let role = match (of_keys.contains(&by), of_data.contains(&by)) {
                (true, true) => Role::Csk,
                (true, false) => Role::Ksk,
                (false, true) => Role::Zsk,
                (false, false) => Role::Published,
            };
            Some(ZoneKey {
                tag,
                algorithm: algorithm?,
                role,
            })
        });
        keys.collect()
    }
}
