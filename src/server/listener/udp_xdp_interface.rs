//! What attaching has to know of an interface, and when that changes: ioctls of netdevice(7), and rtnetlink(7).
//!
//! Not from /sys, which may show the interfaces of another network namespace than the process is in.

// System calls without safe bindings; every pointer handed over here is to a local.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::task::{Context, Poll};

use super::udp::Watched;

/// ethtool's question for channels, and the name of the driver.
const GET_CHANNELS: u32 = 0x3c;
const GET_DRIVER: u32 = 0x03;
/// Groups of rtnetlink: links, and addresses of both families.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    /// Its number.
    pub(crate) index: u32,
    /// Whether it is up.
    pub(crate) up: bool,
    /// Whether frames come by it from other machines, with Ethernet's header.
    pub(crate) is_ethernet: bool,
    /// The longest packet.
    pub(crate) mtu: usize,
    /// Queues by which frames come.
    pub(crate) queues: u32,
    /// Its driver, where it has a name.
    pub(crate) driver: String,
}

impl Link {
    /// The interface of this name.
    pub(crate) fn find(name: &str) -> io::Result<Self> {
        let c_name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the pointer is to a local string that ends with a zero.
        let index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made the descriptor, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: each request fills the member of the union that is read.
        let (flags, kind, mtu) = unsafe {
            (
                ask(&socket, libc::SIOCGIFFLAGS, &c_name)?
                    .ifr_ifru
                    .ifru_flags,
                ask(&socket, libc::SIOCGIFHWADDR, &c_name)?
                    .ifr_ifru
                    .ifru_hwaddr
                    .sa_family,
                ask(&socket, libc::SIOCGIFMTU, &c_name)?.ifr_ifru.ifru_mtu,
            )
        };
        let mut channels = [GET_CHANNELS, 0, 0, 0, 0, 0, 0, 0, 0];
        let told = ethtool(&socket, &c_name, &mut channels).is_ok();
        // Receiving alone, and for both directions.
        let queues = if told { channels[5] + channels[8] } else { 0 };
        Ok(Self {
            index,
            up: i32::from(flags) & libc::IFF_UP != 0,
            is_ethernet: kind == libc::ARPHRD_ETHER,
            mtu: usize::try_from(mtu).unwrap_or(0),
            queues: queues.max(1),
            driver: driver(&socket, &c_name),
        })
    }
}

/// Asks for one thing of an interface.
fn ask(socket: &OwnedFd, request: u64, name: &CStr) -> io::Result<libc::ifreq> {
    let mut asked = request_for(name);
    // SAFETY: the pointer is to a local request of the kind that the number says.
    match unsafe { libc::ioctl(socket.as_raw_fd(), request as _, &raw mut asked) } {
        0 => Ok(asked),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks the driver of an interface.
fn ethtool<T>(socket: &OwnedFd, name: &CStr, about: &mut T) -> io::Result<()> {
    let mut asked = request_for(name);
    asked.ifr_ifru.ifru_data = std::ptr::from_mut(about).cast();
    // SAFETY: the pointers are to a local request and to what the command in it is for.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut asked) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn request_for(name: &CStr) -> libc::ifreq {
    // SAFETY: all-zero octets are a valid request about nothing.
    let mut out: libc::ifreq = unsafe { mem::zeroed() };
    let last = out.ifr_name.len() - 1;
    for (to, from) in out.ifr_name[..last].iter_mut().zip(name.to_bytes()) {
        *to = *from as libc::c_char;
    }
    out
}

/// The name of an interface's driver (`struct ethtool_drvinfo`).
fn driver(socket: &OwnedFd, name: &CStr) -> String {
    #[repr(C)]
    struct Info {
        command: u32,
        driver: [u8; 32],
        rest: [u8; 160],
    }
    let mut info = Info {
        command: GET_DRIVER,
        driver: [0; 32],
        rest: [0; 160],
    };
    if ethtool(socket, name, &mut info).is_err() {
        return String::new();
    }
    let name = info.driver.split(|octet| *octet == 0).next();
    String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
}

/// Tells when links or addresses change.
pub(crate) struct Changes(Watched);

impl Changes {
    /// Listens to the kernel, from within a runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made the descriptor, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all-zero octets are a valid address.
        let mut address: libc::sockaddr_nl = unsafe { mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as u16;
        address.nl_groups = GROUPS;
        // SAFETY: the pointer is to a local address of the length said.
        let done = unsafe {
            libc::bind(
                fd,
                (&raw const address).cast(),
                mem::size_of_val(&address) as u32,
            )
        };
        match done {
            0 => Ok(Self(Watched::new(socket)?)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits until something has changed; what is told of it is not read, since all is looked at anew.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut ready = match self.0.poll_readable(context) {
                Poll::Ready(Ok(ready)) => ready,
                Poll::Ready(Err(_)) | Poll::Pending => return Poll::Pending,
            };
            let changed = self.discard();
            ready.clear_ready();
            if changed {
                return Poll::Ready(());
            }
        }
    }

    /// Reads what waits; `false` when nothing did.
    fn discard(&self) -> bool {
        let mut octets = [0u8; 4_096];
        let mut some = false;
        loop {
            // SAFETY: the pointer is to a local buffer of the length said.
            let done = unsafe {
                libc::recv(
                    self.0.as_raw_fd(),
                    octets.as_mut_ptr().cast(),
                    octets.len(),
                    libc::MSG_DONTWAIT,
                )
            };
            // That the queue has overflowed (ENOBUFS) says that there were changes.
            let overflowed =
                done < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOBUFS);
            if done <= 0 && !overflowed {
                return some;
            }
            some = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known() {
        let link = Link::find("lo").expect("a loopback interface");
        assert!(link.index > 0 && !link.is_ethernet && link.mtu > 1_000 && link.queues >= 1);
        let missing = Link::find("no-such-link").expect_err("there is none");
        assert_eq!(missing.raw_os_error(), Some(libc::ENODEV));
    }
}
