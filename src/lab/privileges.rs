//! Capabilities: what a verb needs is kept, the rest goes before anything is read or made.
//!
//! | kept | because |
//! |---|---|
//! | `CAP_NET_ADMIN` | links, addresses, routes, rules, settings |
//! | `CAP_NET_RAW` | `capture` only: packets |
//! | `CAP_SYS_ADMIN` | namespaces and mounts |
//! | `CAP_DAC_READ_SEARCH` | the lab's file may be readable to its owner only |
//! | `CAP_DAC_OVERRIDE` | CNI only: its directory of addresses may be somebody else's |
//! | `CAP_SYS_PTRACE` | which processes are inside a namespace or have a port, and whose namespace is adopted |
//! | `CAP_KILL` | `down`, `gc`, `run` and `up` only: commands may have become somebody else |
//! | `CAP_SETUID`, `CAP_SETGID` | `run` and `up` only: commands may have a `user` |
//!
//! A verb that starts no other program also forbids itself to gain any (`no_new_privs`). One that does start some leaves
//! them what `ip netns exec` would: the kernel gives root all of the bounding set on `execve`, and somebody else his
//! ambient set, which is why only his effective set shrinks here.

use crate::sys;

/// Numbers of `linux/capability.h`.
const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const KILL: u32 = 5;
const SETGID: u32 = 6;
const SETUID: u32 = 7;
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;

/// What a verb has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Files are read.
    Files,
    /// Namespaces are looked into or changed, and processes are found: those inside, and those that have a port.
    Spaces,
    /// And packets are seen.
    Packets,
    /// Namespaces are entered, and other programs started in them.
    Programs,
    /// What is left of programs in a lab is ended.
    Removal,
    /// Commands are kept in namespaces: as somebody else, and ended whoever they became.
    Commands,
    /// What a container runtime asks for, by other plugins where it says so.
    Container,
}

impl Need {
    /// The capabilities, a bit each.
    #[must_use]
    pub fn capabilities(self) -> u64 {
        let all = |numbers: &[u32]| numbers.iter().fold(0, |set, number| set | 1 << number);
        match self {
            Self::Files => all(&[DAC_READ_SEARCH]),
            Self::Spaces | Self::Programs => {
                all(&[DAC_READ_SEARCH, NET_ADMIN, SYS_ADMIN, SYS_PTRACE])
            }
            Self::Removal => all(&[DAC_READ_SEARCH, KILL, NET_ADMIN, SYS_ADMIN, SYS_PTRACE]),
            Self::Commands => {
                let own = all(&[KILL, SETGID, SETUID]);
                Self::Programs.capabilities() | own
            }
            Self::Packets => all(&[DAC_READ_SEARCH, NET_ADMIN, NET_RAW, SYS_ADMIN]),
            Self::Container => all(&[DAC_OVERRIDE, DAC_READ_SEARCH, NET_ADMIN, SYS_ADMIN]),
        }
    }

    /// Whether other programs are started.
    fn starts_programs(self) -> bool {
        matches!(self, Self::Programs | Self::Commands | Self::Container)
    }
}

/// Drops what is not needed. Called while there is one thread; what cannot be dropped was not there.
pub fn keep(need: Need) {
    let root = sys::effective_user() == 0;
    // A program that gets more than its parent had forgets that it is to end with it (`PR_SET_PDEATHSIG`).
    let permitted = (root && need != Need::Commands) || !need.starts_programs();
    // A kernel that refuses to take capabilities away has none, or has given none.
    let _ = sys::limit_capabilities(need.capabilities(), permitted);
    if !need.starts_programs() {
        let _ = sys::no_new_privileges();
    }
}
