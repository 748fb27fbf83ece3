//! The calls of bpf(2) that attaching takes: two maps, a program, a link.
//!
//! A link holds the program at its interface as long as somebody has its descriptor: it goes with the process, however that ends.

// The system call has no safe binding; every pointer handed over here is to a local or a slice that lives as long as the call.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::udp_xdp_program::{KEY, Maps, filter};
use crate::destinations::in_six;

/// Commands of bpf(2).
const MAP_CREATE: i32 = 0;
const MAP_UPDATE: i32 = 2;
const MAP_DELETE: i32 = 3;
const PROG_LOAD: i32 = 5;
const LINK_CREATE: i32 = 28;
/// Kinds of maps and programs, and where a program is attached.
const MAP_HASH: u32 = 1;
const MAP_SOCKETS: u32 = 17;
const PROG_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
/// Addresses and ports that the filter can know.
const MOST_DESTINATIONS: u32 = 4_096;
/// What is told of a program that the kernel refuses, in octets.
const EXPLANATION: usize = 64 * 1024;
/// The name of the program and the maps, for `bpftool` and `ip link`.
const NAME: &[u8; 16] = b"nameplate\0\0\0\0\0\0\0";
/// `bpf_fib_lookup` is only for programs that say so; ours may be had under either licence.
const LICENCE: &[u8] = b"Dual MIT/GPL\0";

/// How a program is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hook {
    /// By the interface's driver (`XDP_FLAGS_DRV_MODE`).
    Native,
    /// Behind the driver, on any interface (`XDP_FLAGS_SKB_MODE`).
    Generic,
}

impl Hook {
    fn flag(self) -> u32 {
        match self {
            Self::Native => 1 << 2,
            Self::Generic => 1 << 1,
        }
    }
}

/// The filter of one interface, which may not be attached yet.
pub(crate) struct Filter {
    destinations: OwnedFd,
    sockets: OwnedFd,
    program: OwnedFd,
    /// What is in the map, so that only changes are written.
    known: Vec<(IpAddr, u16)>,
    link: Option<OwnedFd>,
}

impl Filter {
    /// Loads the filter for an interface of so many queues.
    pub(crate) fn load(queues: u32, route_check: bool) -> io::Result<Self> {
        let destinations = map(MAP_HASH, KEY as u32, MOST_DESTINATIONS)?;
        let sockets = map(MAP_SOCKETS, 4, queues.max(1))?;
        let maps = Maps {
            destinations: destinations.as_raw_fd(),
            sockets: sockets.as_raw_fd(),
        };
        let program = program(&filter(maps, route_check))?;
        Ok(Self {
            destinations,
            sockets,
            program,
            known: Vec::new(),
            link: None,
        })
    }

    /// Says which socket gets the frames of a queue.
    pub(crate) fn set_socket(&self, queue: u32, socket: &impl AsFd) -> io::Result<()> {
        let socket = socket.as_fd().as_raw_fd();
        update(&self.sockets, &queue.to_ne_bytes(), &socket.to_ne_bytes())
    }

    /// Attaches the filter to an interface. The socket of any queue gets nothing before there are destinations.
    pub(crate) fn attach(&mut self, interface: u32, hook: Hook) -> io::Result<()> {
        let attr = [
            self.program.as_raw_fd() as u32,
            interface,
            ATTACH_XDP,
            hook.flag(),
        ];
        self.link = Some(descriptor(bpf(LINK_CREATE, &attr)?));
        Ok(())
    }

    /// Has the filter take what is sent to these addresses and ports, and nothing else.
    pub(crate) fn set_destinations(&mut self, wanted: &[(IpAddr, u16)]) -> io::Result<()> {
        let mut result = Ok(());
        let mut known = Vec::with_capacity(wanted.len());
        for &old in &self.known {
            let stays = wanted.contains(&old);
            if stays || self.delete(old).is_err() {
                known.push(old);
            }
        }
        for &new in wanted {
            if known.contains(&new) {
                continue;
            }
            match update(&self.destinations, &key(new), &1u32.to_ne_bytes()) {
                Ok(()) => known.push(new),
                Err(error) => result = Err(error),
            }
        }
        if known.iter().any(|one| !wanted.contains(one)) {
            result = Err(io::ErrorKind::PermissionDenied.into());
        }
        self.known = known;
        result
    }

    /// Has the filter take less: only what is in `wanted` too.
    pub(crate) fn keep_destinations(&mut self, wanted: &[(IpAddr, u16)]) -> io::Result<()> {
        let known = self.known.iter().copied();
        let kept: Vec<_> = known.filter(|one| wanted.contains(one)).collect();
        self.set_destinations(&kept)
    }

    fn delete(&self, destination: (IpAddr, u16)) -> io::Result<()> {
        let key = key(destination);
        let attr = [
            self.destinations.as_raw_fd() as u64,
            key.as_ptr() as u64,
            0,
            0,
        ];
        match bpf(MAP_DELETE, &attr) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }
}

/// The key of a destination, as the filter makes it from a frame.
fn key((ip, port): (IpAddr, u16)) -> [u8; KEY] {
    let mut out = [0; KEY];
    out[..16].copy_from_slice(&in_six(ip).to_be_bytes());
    out[16..18].copy_from_slice(&port.to_be_bytes());
    out
}

/// Makes a map whose values have four octets.
fn map(kind: u32, key: u32, most: u32) -> io::Result<OwnedFd> {
    let mut attr = [0u32; 16];
    attr[..4].copy_from_slice(&[kind, key, 4, most]);
    for (word, octets) in attr[7..11].iter_mut().zip(NAME.as_chunks::<4>().0) {
        *word = u32::from_ne_bytes(*octets);
    }
    Ok(descriptor(bpf(MAP_CREATE, &attr)?))
}

fn update(map: &OwnedFd, key: &[u8], value: &[u8; 4]) -> io::Result<()> {
    let attr = [
        map.as_raw_fd() as u64,
        key.as_ptr() as u64,
        value.as_ptr() as u64,
        0,
    ];
    bpf(MAP_UPDATE, &attr).map(drop)
}

/// Loads an XDP program. What the verifier says of one that it refuses is part of the error.
fn program(code: &[u64]) -> io::Result<OwnedFd> {
    let load = |explanation: &mut [u8]| {
        let mut attr = [0u64; 9];
        attr[0] = words(PROG_XDP, code.len() as u32);
        attr[1] = code.as_ptr() as u64;
        attr[2] = LICENCE.as_ptr() as u64;
        if !explanation.is_empty() {
            attr[3] = words(1, explanation.len() as u32);
            attr[4] = explanation.as_mut_ptr() as u64;
        }
        for (word, octets) in attr[6..8].iter_mut().zip(NAME.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*octets);
        }
        bpf(PROG_LOAD, &attr)
    };
    let error = match load(&mut []) {
        Ok(program) => return Ok(descriptor(program)),
        Err(error) => error,
    };
    if error.raw_os_error() != Some(libc::EINVAL) && error.raw_os_error() != Some(libc::EACCES) {
        return Err(error);
    }
    let mut explanation = vec![0; EXPLANATION];
    let _ = load(&mut explanation);
    let text = explanation.split(|octet| *octet == 0).next();
    let text = String::from_utf8_lossy(text.unwrap_or_default());
    let last: Vec<_> = text.trim_end().lines().rev().take(3).collect();
    if last.is_empty() {
        return Err(error);
    }
    let said = last.into_iter().rev().collect::<Vec<_>>().join("; ");
    Err(io::Error::other(format!(
        "the kernel refuses the filter: {error}: {said}"
    )))
}

/// Two words in the place of a double one.
fn words(first: u32, second: u32) -> u64 {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&first.to_ne_bytes());
    out[4..].copy_from_slice(&second.to_ne_bytes());
    u64::from_ne_bytes(out)
}

/// Calls bpf(2). What the arguments point to has to live as long as the call.
fn bpf<T>(command: i32, attr: &[T]) -> io::Result<RawFd> {
    // SAFETY: the attributes are plain numbers, as long as said; the pointers among them are to slices that the callers borrow.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attr.as_ptr(),
            mem::size_of_val(attr) as u32,
        )
    };
    RawFd::try_from(done)
        .ok()
        .filter(|done| *done >= 0)
        .ok_or_else(io::Error::last_os_error)
}

/// A descriptor that a call gave.
fn descriptor(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made it, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
