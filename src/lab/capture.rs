//! `capture`: what passes an interface of a namespace, as a pcap file on standard output.

use std::io::{self, Write};

use crate::error::{During, Error, Result};
use crate::link;
use crate::netlink::Socket;
use crate::{space, sys};

/// Octets of a packet that are kept.
const SNAP: usize = 65_535;

/// Writes packets of a namespace's interface, or of all of them, until so many have come or nobody reads any more.
///
/// # Errors
/// There is no such namespace or interface, or the kernel gives no packet socket.
pub fn capture(name: &str, interface: Option<&str>, count: Option<u64>) -> Result<()> {
    let away = space::enter(name).during(|| format!("cannot enter namespace {name}"))?;
    let index = match interface {
        None => 0,
        Some(interface) => {
            let found = Socket::reader().and_then(|mut socket| link::link(&mut socket, interface));
            let found = found.during(|| format!("cannot look at the links of {name}"))?;
            let missing = || Error::new(format!("{name} has no interface {interface}"));
            found.ok_or_else(missing)?.index
        }
    };
    let socket = sys::packets(index).during(|| "cannot open a packet socket".to_owned())?;
    // It stays where it was opened.
    drop(away);
    let mut out = io::stdout().lock();
    match write(&socket, &mut out, count) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.during(|| "cannot write what was captured".to_owned()),
    }
}

/// Copies packets.
fn write(
    socket: &std::os::fd::OwnedFd,
    out: &mut impl Write,
    count: Option<u64>,
) -> io::Result<()> {
    // The header: the magic number of nanoseconds, version 2.4, the longest packet, Ethernet.
    let mut header = Vec::new();
    header.extend_from_slice(&0xa1b2_3c4d_u32.to_ne_bytes());
    header.extend_from_slice(&2_u16.to_ne_bytes());
    header.extend_from_slice(&4_u16.to_ne_bytes());
    header.extend_from_slice(&[0; 8]);
    header.extend_from_slice(&(SNAP as u32).to_ne_bytes());
    header.extend_from_slice(&1_u32.to_ne_bytes());
    out.write_all(&header)?;
    out.flush()?;
    let mut packet = vec![0; SNAP];
    let mut seen = 0;
    while count.is_none_or(|count| seen < count) {
        let length = match sys::receive_packet(socket, &mut packet) {
            // The interface went away or down; it may come back.
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => continue,
            other => other?,
        };
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let kept = length.min(SNAP);
        let mut record = Vec::with_capacity(16 + kept);
        record.extend_from_slice(&(now.as_secs() as u32).to_ne_bytes());
        record.extend_from_slice(&now.subsec_nanos().to_ne_bytes());
        record.extend_from_slice(&(kept as u32).to_ne_bytes());
        record.extend_from_slice(&(length as u32).to_ne_bytes());
        record.extend_from_slice(&packet[..kept]);
        out.write_all(&record)?;
        out.flush()?;
        seen += 1;
    }
    Ok(())
}
