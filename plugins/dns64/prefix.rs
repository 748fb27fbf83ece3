//! An IPv4 address within an IPv6 prefix (RFC 6052, section 2.2).
//!
//! ```text
//! bits     0       32    40    48    56    64    72    80    88    96   104
//! /32      [prefix][    address      ] u
//! /40      [   prefix   ][ address   ] u [ad.]
//! /48      [      prefix      ][ add ] u [ address ]
//! /56      [         prefix        ][a] u [   address  ]
//! /64      [            prefix        ] u [      address      ]
//! /96      [                        prefix                    ][ address ]
//! ```
//!
//! `u` is an octet of zeros. Prefixes of 72, 80 and 88 bits are not in the RFC; CoreDNS takes them, and they hold the octet.

use std::net::Ipv6Addr;

/// Where the octet of zeros stands.
const ZEROS: usize = 8;

/// A prefix for IPv4 addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Prefix {
    octets: [u8; 16],
    /// How many octets it has.
    len: usize,
}

impl Prefix {
    /// The Well-Known Prefix, `64:ff9b::/96` (RFC 6052, section 2.1).
    pub(super) const WELL_KNOWN: Self = Self {
        octets: [0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        len: 12,
    };

    /// The prefix of IPv4-mapped addresses, `::ffff:0:0/96` (RFC 4291, section 2.5.5.2), which no NAT64 translates.
    pub(super) const MAPPED: Self = Self {
        octets: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0],
        len: 12,
    };

    /// The prefix of the first `bits` bits of an address; `None` where the length cannot hold an IPv4 address.
    pub(super) fn new(address: Ipv6Addr, bits: u8) -> Option<Self> {
        (bits.is_multiple_of(8) && (32..=96).contains(&bits)).then(|| Self {
            octets: address.octets(),
            len: usize::from(bits / 8),
        })
    }

    /// The IPv6 address that stands for an IPv4 address.
    pub(super) fn with(&self, address: [u8; 4]) -> Ipv6Addr {
        let mut out = [0; 16];
        out[..self.len].copy_from_slice(&self.octets[..self.len]);
        let places = (self.len..).filter(|&at| at != ZEROS);
        for (at, octet) in places.zip(address) {
            out[at] = octet;
        }
        Ipv6Addr::from(out)
    }
}
