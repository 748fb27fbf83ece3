//! Why an interface is not attached to, in one line that names what is missing.

use std::fs;
use std::io;

use chain::setup::XdpInterface;
use rustix::process::{Resource, getrlimit};

use crate::input::reason;
use crate::listener::udp_xdp::memory_of;
use crate::listener::udp_xdp_interface::Link;

/// What attaching takes, by number.
const CAPABILITIES: [(u32, &str); 3] =
    [(13, "CAP_NET_RAW"), (12, "CAP_NET_ADMIN"), (39, "CAP_BPF")];
/// The kernel takes this one for CAP_BPF and, where programs are concerned, for CAP_NET_ADMIN.
const SYS_ADMIN: u32 = 21;

/// What failed.
pub(super) enum Reason {
    /// There is no interface of this name, or it cannot be asked about.
    Interface(String, io::Error),
    /// Its frames have another form.
    NoEthernet,
    /// It is down.
    Down,
    /// Capabilities are missing. Nothing is tried then: a sandbox may end a process for the attempt.
    Privileges,
    /// Making the maps and loading the filter.
    Load(io::Error),
    /// Making a socket and its rings.
    Socket(io::Error),
    /// Registering the memory of rings with so many places.
    Memory(u32, io::Error),
    /// Binding to a queue.
    Bind(u32, io::Error),
    /// Attaching the filter.
    Attach {
        native: bool,
        mtu: usize,
        driver: String,
        error: io::Error,
    },
}

/// An interface that could not be attached to.
#[derive(Clone)]
pub(super) struct Failed {
    pub(super) wanted: XdpInterface,
    /// What was told.
    pub(super) text: String,
    /// Whether a change of the interface may help.
    waits: bool,
}

impl Failed {
    /// The failure as it is told; `reduced` says that the process has given its capabilities up.
    pub(super) fn new(wanted: &XdpInterface, why: &Reason, reduced: bool) -> Self {
        let name = &wanted.name;
        let why_text = why.text(name, reduced);
        Self {
            wanted: wanted.clone(),
            text: format!("{name}: not attached: {why_text}; queries are answered by sockets"),
            waits: matches!(why, Reason::Interface(..) | Reason::Down),
        }
    }

    /// One that nothing mends but a restart.
    pub(super) fn for_good(wanted: &XdpInterface, text: String) -> Self {
        Self {
            wanted: wanted.clone(),
            text,
            waits: false,
        }
    }

    /// Whether the interface may still be attached to without a reload.
    pub(super) fn may_come(&self) -> bool {
        self.waits
    }

    /// Whether the interface is such that another attempt may succeed.
    pub(super) fn is_worth_another_try(&self, link: Option<&Link>) -> bool {
        self.waits && link.is_some_and(|link| link.up)
    }
}

impl Reason {
    fn text(&self, name: &str, reduced: bool) -> String {
        match self {
            Self::Interface(name, error) if error.raw_os_error() == Some(libc::ENODEV) => {
                format!("there is no interface {name}")
            }
            Self::Interface(_, error) => reason(error),
            Self::NoEthernet => "it is not an Ethernet interface".to_owned(),
            Self::Down => "it is down; the filter is attached when it comes up".to_owned(),
            Self::Privileges => {
                let refused = io::Error::from_raw_os_error(libc::EPERM);
                privilege("an AF_XDP socket and its filter", &refused, reduced)
            }
            Self::Load(error) => privilege("loading the filter", error, reduced),
            Self::Socket(error) => match error.raw_os_error() {
                Some(libc::EAFNOSUPPORT) => {
                    "the kernel has no AF_XDP (CONFIG_XDP_SOCKETS), or the unit's RestrictAddressFamilies= does not name it"
                        .to_owned()
                }
                _ => privilege("an AF_XDP socket", error, reduced),
            },
            Self::Memory(ring, error) => memory(*ring, error),
            Self::Bind(queue, error) => match error.raw_os_error() {
                Some(libc::EBUSY) => format!(
                    "queue {queue} of {name} already has an AF_XDP socket: another server, or another process, is attached to it"
                ),
                _ => privilege(&format!("binding to queue {queue}"), error, reduced),
            },
            Self::Attach {
                native,
                mtu,
                driver,
                error,
            } => match error.raw_os_error() {
                Some(libc::EBUSY | libc::EEXIST) => format!(
                    "{name} already has an XDP program: another server, or another process, is attached to it (`ip link show {name}` shows its ID)"
                ),
                Some(libc::EOPNOTSUPP) if *native => format!(
                    "its driver{} has no native XDP (`mode generic` works with every driver, and saves less)",
                    named(driver)
                ),
                Some(libc::ERANGE | libc::EINVAL) if *native => format!(
                    "its MTU of {mtu}, or its queues, do not suit native XDP of its driver{}: {}",
                    named(driver),
                    reason(error)
                ),
                Some(libc::EINVAL) => {
                    format!("the kernel has no links for XDP (Linux 5.9): {}", reason(error))
                }
                _ => privilege("attaching the filter", error, reduced),
            },
        }
    }
}

fn named(driver: &str) -> String {
    match driver {
        "" => String::new(),
        name => format!(" {name}"),
    }
}

/// A failure that may be one of capabilities.
fn privilege(what: &str, error: &io::Error, reduced: bool) -> String {
    if !matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)) {
        return format!("{what}: {}", reason(error));
    }
    if reduced {
        return format!(
            "{what}: the capabilities were given up when the first interface was attached to; a restart attaches to all"
        );
    }
    let missing = missing();
    if missing.is_empty() {
        return format!(
            "{what}: {}: a user namespace, a sandbox or the kernel's lockdown does not allow it",
            reason(error)
        );
    }
    format!(
        "{what}: this process lacks {} (AmbientCapabilities= of its unit, or run it as root)",
        missing.join(" and ")
    )
}

/// The capabilities that are missing.
pub(super) fn missing() -> Vec<&'static str> {
    missing_of(&fs::read_to_string("/proc/thread-self/status").unwrap_or_default())
}

/// The capabilities that are missing, by what a thread's status says.
fn missing_of(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let has = |number: u32| mask.is_none_or(|mask| mask >> number & 1 == 1);
    CAPABILITIES
        .iter()
        .filter(|(number, name)| !(has(*number) || *name != "CAP_NET_RAW" && has(SYS_ADMIN)))
        .map(|(_, name)| *name)
        .collect()
}

/// The memory of a socket is locked, and that has a limit.
fn memory(ring: u32, error: &io::Error) -> String {
    let needed = memory_of(ring) >> 10;
    let limit = match getrlimit(Resource::Memlock).current {
        Some(limit) => format!("{} KiB", limit >> 10),
        None => "unlimited".to_owned(),
    };
    format!(
        "the frames of a queue take {needed} KiB of locked memory, and RLIMIT_MEMLOCK is {limit}: {} (LimitMEMLOCK= of its unit, a smaller `ring`, or CAP_IPC_LOCK)",
        reason(error)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_capability_is_named() {
        let mask = |capabilities: &[u32]| {
            let mask = capabilities.iter().fold(0u64, |mask, one| mask | 1 << one);
            format!("Name:\tx\nCapEff:\t{mask:016x}\n")
        };
        for (held, expected) in [
            (&[10][..], "CAP_NET_RAW CAP_NET_ADMIN CAP_BPF"),
            (&[12, 39], "CAP_NET_RAW"),
            (&[13, 39], "CAP_NET_ADMIN"),
            (&[12, 13], "CAP_BPF"),
            (&[12, 13, 39], ""),
            (&[12, 13, 21], ""),
            (&[13, 21], ""),
        ] {
            assert_eq!(missing_of(&mask(held)).join(" "), expected);
        }
    }

    #[test]
    fn a_failure_says_what_to_do() {
        let wanted = XdpInterface {
            name: "lan0".into(),
            mode: chain::setup::XdpMode::Auto,
            zero_copy: false,
            queues: None,
            ring: 2_048,
            route_check: false,
        };
        let os = io::Error::from_raw_os_error;
        for (why, expected) in [
            (
                Reason::Interface("lan0".into(), os(libc::ENODEV)),
                "there is no interface lan0",
            ),
            (Reason::Memory(2_048, os(libc::ENOBUFS)), "4096 KiB"),
            (Reason::Bind(0, os(libc::EBUSY)), "queue 0 of lan0 already"),
            (
                Reason::Attach {
                    native: true,
                    mtu: 1_500,
                    driver: "bridge".into(),
                    error: os(libc::EOPNOTSUPP),
                },
                "its driver bridge has no native XDP",
            ),
            (
                Reason::Attach {
                    native: true,
                    mtu: 1_500,
                    driver: String::new(),
                    error: os(libc::EBUSY),
                },
                "already has an XDP program",
            ),
        ] {
            let failed = Failed::new(&wanted, &why, false);
            assert!(failed.text.contains(expected), "{}", failed.text);
            assert!(failed.text.starts_with("lan0: not attached: "));
            assert!(failed.text.ends_with("queries are answered by sockets"));
        }
        let given_up = Failed::new(&wanted, &Reason::Load(os(libc::EPERM)), true);
        assert!(given_up.text.contains("a restart"), "{}", given_up.text);
    }
}
