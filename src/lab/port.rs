//! The options of a bridge's port.
//!
//! A lab sets hairpin alone. Every other option stays as a new port has it, and gets that value back where somebody changed
//! it: a port that is isolated, or learns nothing, looks like any other to `ip link`.

use crate::netlink::{Attributes, Batch};

const MODE: u16 = 4;
const ISOLATED: u16 = 33;
const STATE: u16 = 1;

/// One option, as a new port has it.
#[derive(Debug, PartialEq, Eq)]
pub struct PortOption {
    kind: u16,
    /// What `ip link set … type bridge_slave` calls it.
    pub name: &'static str,
    /// Its value.
    pub fresh: u8,
}

impl PortOption {
    /// Whether it is the state, in which a port forwards, or not (yet).
    #[must_use]
    pub fn is_state(&self) -> bool {
        self.kind == STATE
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.kind
    }
}

/// The options that decide whether packets pass.
static OPTIONS: [PortOption; 16] = [
    option(STATE, "state", 3),
    option(5, "guard", 0),
    option(6, "root_block", 0),
    option(7, "fastleave", 0),
    option(8, "learning", 1),
    option(9, "flood", 1),
    option(10, "proxy_arp", 0),
    option(12, "proxy_arp_wifi", 0),
    option(27, "mcast_flood", 1),
    option(28, "mcast_to_unicast", 0),
    option(29, "vlan_tunnel", 0),
    option(30, "bcast_flood", 1),
    option(32, "neigh_suppress", 0),
    option(ISOLATED, "isolated", 0),
    option(39, "locked", 0),
    option(40, "mab", 0),
];

const fn option(kind: u16, name: &'static str, fresh: u8) -> PortOption {
    PortOption { kind, name, fresh }
}

/// Whether a port's options say hairpin, and those in which it differs from a new one.
pub(crate) fn read(options: &[u8]) -> (bool, Vec<&'static PortOption>) {
    let (mut hairpin, mut changed) = (false, Vec::new());
    for (kind, value) in Attributes(options) {
        if kind == MODE {
            hairpin = value == [1];
        }
        let known = OPTIONS.iter().find(|option| option.kind == kind);
        changed.extend(known.filter(|option| value != [option.fresh]));
    }
    (hairpin, changed)
}

/// Writes options: hairpin and isolation as they are asked for, others as a new port has them.
pub(crate) fn write(
    batch: &mut Batch,
    [hairpin, isolated]: [Option<bool>; 2],
    fresh: &[&'static PortOption],
) {
    for (kind, value) in [(MODE, hairpin), (ISOLATED, isolated)] {
        if let Some(value) = value {
            batch.attribute(kind, &[u8::from(value)]);
        }
    }
    for option in fresh {
        batch.attribute(option.kind, &[option.fresh]);
    }
}
