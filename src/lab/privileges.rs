//! Capabilities: what a verb needs is kept, the rest goes before anything is read or made.
//!
//! | kept | because |
//! |---|---|
//! | `CAP_NET_ADMIN` | links, addresses, routes, rules, settings |
//! | `CAP_SYS_ADMIN` | namespaces and mounts |
//! | `CAP_DAC_READ_SEARCH` | the lab's file may be readable to its owner only |
//! | `CAP_DAC_OVERRIDE` | CNI only: its directory of addresses may be somebody else's |
//! | `CAP_SYS_PTRACE` | which processes are inside a namespace, and whose namespace is adopted: `down`, `status`, `run`, `adopt`, `gc` |
//!
//! A verb that starts no other program also forbids itself to gain any (`no_new_privs`). One that does start some leaves
//! them what `ip netns exec` would: the kernel gives root all of the bounding set on `execve`, and somebody else his
//! ambient set, which is why only his effective set shrinks here.

use crate::sys;

/// Numbers of `linux/capability.h`.
const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const NET_ADMIN: u32 = 12;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;

/// What a verb has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Files are read.
    Files,
    /// Namespaces are looked into or changed.
    Spaces,
    /// And processes inside are found.
    Processes,
    /// Namespaces are entered, and other programs started in them.
    Programs,
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
            Self::Spaces => all(&[DAC_READ_SEARCH, NET_ADMIN, SYS_ADMIN]),
            Self::Processes | Self::Programs => {
                all(&[DAC_READ_SEARCH, NET_ADMIN, SYS_ADMIN, SYS_PTRACE])
            }
            Self::Container => all(&[DAC_OVERRIDE, DAC_READ_SEARCH, NET_ADMIN, SYS_ADMIN]),
        }
    }

    /// Whether other programs are started.
    fn starts_programs(self) -> bool {
        matches!(self, Self::Programs | Self::Container)
    }
}

/// Drops what is not needed. Called while there is one thread; what cannot be dropped was not there.
pub fn keep(need: Need) {
    let root = sys::effective_user() == 0;
    let permitted = root || !need.starts_programs();
    // A kernel that refuses to take capabilities away has none, or has given none.
    let _ = sys::limit_capabilities(need.capabilities(), permitted);
    if !need.starts_programs() {
        let _ = sys::no_new_privileges();
    }
}
