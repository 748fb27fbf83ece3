//! The UDP back end for kernels and sandboxes without the calls for many datagrams: `recvmsg` and `sendmsg`, one by one.

// The system calls have no safe binding; every pointer handed over here is to a local or into the slot that is borrowed.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use super::backend::{BATCH, Backend, DATAGRAM, Slot, SocketBackend, send_all};
use super::udp::{Address, Control, Watched, bound_queue, queued, read_control, write_control};

/// Datagrams that are received before their responses are sent.
const TAKEN: usize = BATCH / 2;

/// A socket served by `recvmsg` and `sendmsg`.
pub(crate) struct Plain {
    socket: Rc<Watched>,
    slots: Vec<Slot>,
    filled: usize,
}

impl Plain {
    /// Buffers for one socket.
    pub(super) fn new(socket: Rc<Watched>) -> Self {
        Self {
            socket,
            slots: Vec::new(),
            filled: 0,
        }
    }
}

impl Backend for Plain {
    fn watched(&self) -> Rc<Watched> {
        self.socket.clone()
    }

    fn receive(&mut self) -> io::Result<usize> {
        let fd = self.socket.as_raw_fd();
        self.filled = 0;
        while self.filled < TAKEN {
            if self.filled == self.slots.len() {
                self.slots.push(Slot::new());
            }
            match receive(fd, &mut self.slots[self.filled]) {
                Ok(()) => self.filled += 1,
                Err(_) if self.filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(self.filled)
    }

    fn is_full(&self) -> bool {
        self.filled == TAKEN
    }

    fn received(&mut self) -> &mut [Slot] {
        &mut self.slots[..self.filled]
    }

    fn reply(&mut self) -> bool {
        send_one_by_one(self.socket.as_raw_fd(), &mut self.slots[..self.filled])
    }
}

impl SocketBackend for Plain {
    fn send(&mut self, slots: &mut [Slot]) -> bool {
        send_one_by_one(self.socket.as_raw_fd(), slots)
    }

    fn queued(&self) -> usize {
        queued(&*self.socket)
    }

    fn bound_queue(&self, datagrams: Option<usize>) {
        bound_queue(&*self.socket, datagrams);
    }
}

/// Sends what has a response.
fn send_one_by_one(mut fd: RawFd, slots: &mut [Slot]) -> bool {
    send_all(
        &mut fd,
        slots,
        |fd, slots| send(*fd, &mut slots[0]),
        |_, slots, _| slots[0].reply = false,
    )
}

/// Receives one datagram into `slot`.
fn receive(fd: RawFd, slot: &mut Slot) -> io::Result<()> {
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
fn send(fd: RawFd, slot: &mut Slot) -> io::Result<()> {
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
