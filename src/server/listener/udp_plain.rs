//! Datagrams one by one: `recvmsg` and `sendmsg`, for kernels and sandboxes without the calls for many.

// The system calls have no safe binding; every pointer handed over here is to a local or into the slot that is borrowed.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::RawFd;

use super::udp::{Address, Control, DATAGRAM, Slot, read_control, write_control};

/// Receives one datagram into `slot`.
pub(super) fn receive(fd: RawFd, slot: &mut Slot) -> io::Result<()> {
    let mut address = Address::EMPTY;
    let mut control = Control::EMPTY;
    let buffer = slot.exchange.receive_buffer(DATAGRAM);
    let mut vector = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: DATAGRAM,
    };
    // SAFETY: all-zero octets are a valid header: null pointers and no lengths.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = (&raw mut address).cast();
    header.msg_namelen = mem::size_of::<Address>() as u32;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = mem::size_of::<Control>() as _;
    // SAFETY: the header points to locals and to the slot's buffer, each as long as said.
    let len = unsafe { libc::recvmsg(fd, &raw mut header, libc::MSG_DONTWAIT) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    slot.exchange.set_received(len);
    slot.cut = header.msg_flags & libc::MSG_TRUNC != 0;
    slot.reply = false;
    slot.envelope.peer = address.read();
    // SAFETY: the control buffer is as the kernel left it.
    unsafe { read_control(&header, &mut slot.envelope) };
    Ok(())
}

/// Sends the response in `slot`.
pub(super) fn send(fd: RawFd, slot: &mut Slot) -> io::Result<()> {
    let reply = slot.exchange.reply();
    let (mut address, len) = Address::new(slot.envelope.peer);
    let mut control = Control::EMPTY;
    let mut vector = libc::iovec {
        iov_base: reply.as_ptr().cast_mut().cast(),
        iov_len: reply.len(),
    };
    // SAFETY: all-zero octets are a valid header: null pointers and no lengths.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = (&raw mut address).cast();
    header.msg_namelen = len;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    write_control(&mut header, &mut control, &slot.envelope, None);
    // SAFETY: the header points to locals and to the reply, which the call only reads.
    let sent = unsafe { libc::sendmsg(fd, &raw const header, libc::MSG_DONTWAIT) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    slot.reply = false;
    Ok(())
}
