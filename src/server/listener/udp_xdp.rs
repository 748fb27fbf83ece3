//! The UDP back end below the kernel's UDP stack: AF_XDP.
//!
//! ```text
//!            fill ring: frames that are free ─► kernel ─► receive ring: frames with queries ─► receive()
//!  UMEM      completion ring: frames that have left ◄─ kernel ◄─ transmit ring: the same frames with responses ◄─ reply()
//! ```
//!
//! A socket has one queue of one interface, and memory of its own (UMEM): as many frames of 2 KiB as its rings have places. A frame is in
//! one place at a time: in the fill ring, with the kernel, in a slot of the batch, in the transmit ring or completed. So no ring can
//! overflow, and no count has to be kept. A response is written into the frame in which its query came; one that does not fit leaves by
//! the ordinary socket, and so do all that had to wait: the kernel knows their way.
//!
//! Frames are copied by the kernel (`XDP_COPY`) unless zero copy is asked for: several drivers fail with it. It is woken only where it
//! says that it sleeps (`XDP_USE_NEED_WAKEUP`).

// The system calls and the rings have no safe binding; each pointer is into a mapping that lives as long as the socket.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use super::backend::{BATCH, Backend, DATAGRAM, Slot};
use super::frame::{self, CHUNK};
use super::udp::Watched;

/// Slots that a quiet socket has; doubled up to [`BATCH`] whenever all are used.
const FIRST: usize = 4;
/// How often the kernel is asked again to send what it has not sent at once.
const KICKS: usize = 8;
/// A descriptor of a frame in the receive and transmit rings, in octets (`struct xdp_desc`), and a frame's address in the others.
const DESCRIPTOR: usize = 16;
const ADDRESS: usize = 8;
/// Where the rings are mapped (`XDP_PGOFF_RX_RING` and so on, which are not of one type).
const RECEIVE_AT: i64 = 0;
const TRANSMIT_AT: i64 = 0x8000_0000;
const FILL_AT: i64 = 0x1_0000_0000;
const COMPLETION_AT: i64 = 0x1_8000_0000;

/// What a socket is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    /// The interface's index.
    pub(crate) interface: u32,
    /// The queue's number.
    pub(crate) number: u32,
    /// Places in each ring, and frames; a power of two.
    pub(crate) ring: u32,
    /// Whether the driver is to hand its own memory over.
    pub(crate) zero_copy: bool,
}

/// Which step of making a socket failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// socket(2): CAP_NET_RAW.
    Socket,
    /// Registering the memory: the limit of locked memory.
    Memory,
    /// Making and mapping the rings.
    Rings,
    /// Binding to the queue: another socket may have it.
    Bind,
}

/// Memory that is mapped, until it is dropped.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// Maps what a descriptor gives at `offset`, or memory of nobody's.
    fn new(len: usize, of: Option<(RawFd, i64)>) -> io::Result<Self> {
        let (flags, (fd, offset)) = match of {
            Some(of) => (libc::MAP_SHARED | libc::MAP_POPULATE, of),
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, (-1, 0)),
        };
        // SAFETY: no address is asked for, so nothing that is mapped is touched.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                fd,
                offset as _,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and whoever has pointers into it owns it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// One ring, of which this side writes one end and the kernel the other.
struct Ring {
    map: Mapping,
    producer: usize,
    consumer: usize,
    flags: usize,
    entries: usize,
    mask: u32,
}

impl Ring {
    /// A counter or the flags, at an offset that the kernel told.
    #[inline]
    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: the offset is the kernel's own for this mapping, which is aligned; the word is only touched as an atomic one.
        unsafe { AtomicU32::from_ptr(self.map.start.as_ptr().add(offset).cast()) }
    }

    /// Where an entry stands, of so many octets.
    #[inline]
    fn entry<const OCTETS: usize>(&self, at: u32) -> *mut u8 {
        let place = (at & self.mask) as usize * OCTETS;
        // SAFETY: the mapping has an entry of this size for each number below the mask.
        unsafe { self.map.start.as_ptr().add(self.entries + place) }
    }

    /// Entries that the kernel has written and we have not read: the first one's number, and how many.
    #[inline]
    fn readable(&self) -> (u32, u32) {
        let consumer = self.word(self.consumer).load(Ordering::Relaxed);
        let producer = self.word(self.producer).load(Ordering::Acquire);
        (consumer, producer.wrapping_sub(consumer))
    }

    /// Says that entries before this one have been read.
    #[inline]
    fn read_until(&self, number: u32) {
        self.word(self.consumer).store(number, Ordering::Release);
    }

    /// The number of the next entry to write. There is room for it: there are no more frames than places.
    #[inline]
    fn next(&self) -> u32 {
        self.word(self.producer).load(Ordering::Relaxed)
    }

    /// Says that entries before this one have been written.
    #[inline]
    fn written_until(&self, number: u32) {
        self.word(self.producer).store(number, Ordering::Release);
    }

    /// Whether the kernel has not taken all that was written.
    #[inline]
    fn holds_some(&self) -> bool {
        self.next() != self.word(self.consumer).load(Ordering::Acquire)
    }

    /// Whether the kernel wants to be woken (`XDP_RING_NEED_WAKEUP`).
    #[inline]
    fn sleeps(&self) -> bool {
        self.word(self.flags).load(Ordering::Relaxed) & 1 != 0
    }

    /// Writes the address of a frame.
    #[inline]
    fn put_address(&self, at: u32, address: u64) {
        // SAFETY: the entry is ours until it is said to be written, and has room for an address.
        unsafe { self.entry::<ADDRESS>(at).cast::<u64>().write(address) };
    }

    /// Reads the address of a frame.
    #[inline]
    fn address(&self, at: u32) -> u64 {
        // SAFETY: the kernel has written the entry, and leaves it alone until it is said to be read.
        unsafe { self.entry::<ADDRESS>(at).cast::<u64>().read() }
    }

    /// Writes the descriptor of a frame.
    #[inline]
    fn put_descriptor(&self, at: u32, frame: Frame) {
        let descriptor = libc::xdp_desc {
            addr: frame.address,
            len: frame.len,
            options: 0,
        };
        // SAFETY: the entry is ours until it is said to be written, and has room for a descriptor.
        unsafe {
            self.entry::<DESCRIPTOR>(at)
                .cast::<libc::xdp_desc>()
                .write(descriptor)
        };
    }

    /// Reads the descriptor of a frame.
    #[inline]
    fn descriptor(&self, at: u32) -> Frame {
        // SAFETY: the kernel has written the entry, and leaves it alone until it is said to be read.
        let read = unsafe { self.entry::<DESCRIPTOR>(at).cast::<libc::xdp_desc>().read() };
        Frame {
            address: read.addr,
            len: read.len,
        }
    }
}

/// Where a frame is in the memory, and how long.
#[derive(Clone, Copy, Default)]
struct Frame {
    address: u64,
    len: u32,
}

/// A socket that is bound to its queue, with its memory and rings; not yet at work.
pub(crate) struct QueueSocket {
    // The socket goes before the memory that it uses.
    socket: OwnedFd,
    memory: Mapping,
    fill: Ring,
    completion: Ring,
    receive: Ring,
    transmit: Ring,
    queue: Queue,
}

// SAFETY: the mappings are this socket's alone, and pointers into them do not care for the thread.
unsafe impl Send for QueueSocket {}

impl QueueSocket {
    /// Makes a socket and binds it to its queue.
    pub(crate) fn open(queue: Queue) -> Result<Self, (Step, io::Error)> {
        let at = |step: Step| move |error: io::Error| (step, error);
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err((Step::Socket, io::Error::last_os_error()));
        }
        // SAFETY: the kernel has just made the descriptor, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let memory = Mapping::new(memory_of(queue.ring), None).map_err(at(Step::Memory))?;
        // SAFETY: all-zero octets are a valid registration of nothing.
        let mut register: libc::xdp_umem_reg = unsafe { mem::zeroed() };
        register.addr = memory.start.as_ptr() as u64;
        register.len = memory.len as u64;
        register.chunk_size = CHUNK as u32;
        set(fd, libc::XDP_UMEM_REG, &register).map_err(at(Step::Memory))?;
        let rings = at(Step::Rings);
        for ring in [
            libc::XDP_UMEM_FILL_RING,
            libc::XDP_UMEM_COMPLETION_RING,
            libc::XDP_RX_RING,
            libc::XDP_TX_RING,
        ] {
            set(fd, ring, &queue.ring).map_err(rings)?;
        }
        // SAFETY: all-zero octets are valid offsets.
        let mut offsets: libc::xdp_mmap_offsets = unsafe { mem::zeroed() };
        get(fd, libc::XDP_MMAP_OFFSETS, &mut offsets).map_err(rings)?;
        let map = |of: &libc::xdp_ring_offset, entry: usize, page: i64| {
            let len = of.desc as usize + queue.ring as usize * entry;
            let map = Mapping::new(len, Some((fd, page)))?;
            Ok(Ring {
                map,
                producer: of.producer as usize,
                consumer: of.consumer as usize,
                flags: of.flags as usize,
                entries: of.desc as usize,
                mask: queue.ring - 1,
            })
        };
        let out = Self {
            fill: map(&offsets.fr, ADDRESS, FILL_AT).map_err(rings)?,
            completion: map(&offsets.cr, ADDRESS, COMPLETION_AT).map_err(rings)?,
            receive: map(&offsets.rx, DESCRIPTOR, RECEIVE_AT).map_err(rings)?,
            transmit: map(&offsets.tx, DESCRIPTOR, TRANSMIT_AT).map_err(rings)?,
            socket,
            memory,
            queue,
        };
        for number in 0..queue.ring {
            out.fill
                .put_address(number, u64::from(number) * CHUNK as u64);
        }
        out.fill.written_until(queue.ring);
        bind(fd, queue).map_err(at(Step::Bind))?;
        Ok(out)
    }

    /// The queue.
    pub(crate) fn queue(&self) -> Queue {
        self.queue
    }

    /// Another descriptor of the socket, to read its statistics by. The queue is free when the last is closed.
    pub(crate) fn twin(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }
}

impl AsFd for QueueSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The octets of memory that the frames of a queue take, with so many places in its rings.
pub(crate) fn memory_of(ring: u32) -> usize {
    ring as usize * CHUNK
}

/// Binds a socket to its queue.
fn bind(fd: RawFd, queue: Queue) -> io::Result<()> {
    let copying = match queue.zero_copy {
        true => libc::XDP_ZEROCOPY,
        false => libc::XDP_COPY,
    };
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: copying | libc::XDP_USE_NEED_WAKEUP,
        sxdp_ifindex: queue.interface,
        sxdp_queue_id: queue.number,
        sxdp_shared_umem_fd: 0,
    };
    // SAFETY: the pointer is to a local address of the length said.
    let done = unsafe {
        libc::bind(
            fd,
            (&raw const address).cast(),
            mem::size_of_val(&address) as u32,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets an option of AF_XDP.
fn set<T>(fd: RawFd, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: the pointer is to a value of the size said.
    let done = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_XDP,
            option,
            ptr::from_ref(value).cast(),
            mem::size_of::<T>() as u32,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reads an option of AF_XDP.
fn get<T>(fd: RawFd, option: i32, value: &mut T) -> io::Result<()> {
    let mut len = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointers are to a value of the size said and to that size; every value asked for is plain numbers.
    let done = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_XDP,
            option,
            ptr::from_mut(value).cast(),
            &raw mut len,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What the kernel counts of a socket (`XDP_STATISTICS`).
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Statistics {
    /// Frames that were dropped for another reason than those below.
    pub(crate) rx_dropped: u64,
    /// Descriptors of the fill ring that made no sense.
    pub(crate) rx_invalid: u64,
    /// Descriptors of the transmit ring that made no sense.
    pub(crate) tx_invalid: u64,
    /// Frames that were dropped because the receive ring was full.
    pub(crate) rx_ring_full: u64,
    /// How often a frame came and none was free to put it in.
    pub(crate) fill_ring_empty: u64,
    /// How often the kernel found nothing to send.
    pub(crate) tx_ring_empty: u64,
}

/// What the kernel has counted of a socket.
pub(crate) fn statistics(socket: &OwnedFd) -> io::Result<Statistics> {
    // SAFETY: all-zero octets are valid statistics.
    let mut read: libc::xdp_statistics = unsafe { mem::zeroed() };
    get(socket.as_raw_fd(), libc::XDP_STATISTICS, &mut read)?;
    Ok(Statistics {
        rx_dropped: read.rx_dropped,
        rx_invalid: read.rx_invalid_descs,
        tx_invalid: read.tx_invalid_descs,
        rx_ring_full: read.rx_ring_full,
        fill_ring_empty: read.rx_fill_ring_empty_descs,
        tx_ring_empty: read.tx_ring_empty_descs,
    })
}

/// What of a batch went another way than most.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Counts {
    /// Frames that came.
    pub(crate) received: u64,
    /// Of these, those that no socket would have got.
    pub(crate) malformed: u64,
    /// Responses that left in frames.
    pub(crate) sent: u64,
}

/// A socket of one queue at work.
pub(crate) struct Frames {
    // The socket goes before the memory that it uses.
    watched: Rc<Watched>,
    memory: Mapping,
    fill: Ring,
    completion: Ring,
    receive: Ring,
    transmit: Ring,
    slots: Vec<Slot>,
    /// The frame of each slot that is filled.
    frames: [Frame; BATCH],
    /// The port that each was sent to.
    ports: [u16; BATCH],
    filled: usize,
    full: bool,
    /// Frames whose datagrams are no queries, until the batch is over.
    unused: [u64; BATCH],
    interface: u32,
    mtu: usize,
    identification: u16,
    counts: Counts,
}

impl Frames {
    /// Takes a socket to work, from within a runtime. No response's packet is longer than `mtu`.
    pub(crate) fn new(socket: QueueSocket, mtu: usize) -> io::Result<Self> {
        let QueueSocket {
            socket,
            memory,
            fill,
            completion,
            receive,
            transmit,
            queue,
        } = socket;
        Ok(Self {
            watched: Rc::new(Watched::new(socket)?),
            memory,
            fill,
            completion,
            receive,
            transmit,
            slots: (0..FIRST).map(|_| Slot::new()).collect(),
            frames: [Frame::default(); BATCH],
            ports: [0; BATCH],
            filled: 0,
            full: false,
            unused: [0; BATCH],
            interface: queue.interface,
            mtu,
            identification: 0,
            counts: Counts::default(),
        })
    }

    /// The octets of a frame from its start to `len`; nothing where the kernel's word is not believed.
    #[inline]
    fn octets(memory: &mut Mapping, frame: Frame, len: usize) -> Option<&mut [u8]> {
        let start = usize::try_from(frame.address).ok()?;
        let end = start.checked_add(len)?;
        if end > memory.len {
            return None;
        }
        // SAFETY: the range is within the mapping, the frame is with this side, and the borrow is of the whole memory.
        Some(unsafe { slice::from_raw_parts_mut(memory.start.as_ptr().add(start), len) })
    }

    /// Gives the frames of responses that have left back to the kernel.
    #[inline]
    fn reclaim(&mut self) {
        let (first, count) = self.completion.readable();
        if count == 0 {
            return;
        }
        let mut next = self.fill.next();
        for number in 0..count {
            let address = self.completion.address(first.wrapping_add(number));
            self.fill.put_address(next, address);
            next = next.wrapping_add(1);
        }
        self.completion.read_until(first.wrapping_add(count));
        self.fill.written_until(next);
    }

    /// Gives frames that carry nothing back to the kernel.
    #[inline]
    fn give_back(fill: &Ring, addresses: impl Iterator<Item = u64>) {
        let before = fill.next();
        let mut next = before;
        for address in addresses {
            fill.put_address(next, address);
            next = next.wrapping_add(1);
        }
        if next != before {
            fill.written_until(next);
        }
    }

    /// Has the kernel send what is in the transmit ring.
    #[inline]
    fn kick(&self) {
        for _ in 0..KICKS {
            if !self.transmit.sleeps() {
                return;
            }
            // SAFETY: nothing is handed over but the descriptor.
            let done = unsafe {
                libc::sendto(
                    self.watched.as_raw_fd(),
                    ptr::null(),
                    0,
                    libc::MSG_DONTWAIT,
                    ptr::null(),
                    0,
                )
            };
            let again = done < 0
                && matches!(
                    io::Error::last_os_error().raw_os_error(),
                    Some(libc::EAGAIN | libc::EINTR)
                );
            if !again {
                return;
            }
        }
    }

    /// Wakes a driver that waits for free frames; in copy mode none does.
    #[inline]
    fn wake_filling(&self) {
        if !self.fill.sleeps() {
            return;
        }
        // SAFETY: nothing is handed over but the descriptor.
        unsafe {
            libc::recvfrom(
                self.watched.as_raw_fd(),
                ptr::null_mut(),
                0,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
    }

    /// Has the kernel send what it had no room for; `false` when there still is some.
    pub(crate) fn push(&mut self) -> bool {
        if self.transmit.holds_some() {
            self.kick();
            self.reclaim();
        }
        !self.transmit.holds_some()
    }

    /// What has been counted since the last time.
    pub(crate) fn take_counts(&mut self) -> Counts {
        mem::take(&mut self.counts)
    }

    /// What was received last, with the ports that it was sent to.
    #[inline]
    pub(crate) fn batch(&mut self) -> (&mut [Slot], &[u16]) {
        (&mut self.slots[..self.filled], &self.ports)
    }

    /// The interface's index.
    pub(crate) fn interface(&self) -> u32 {
        self.interface
    }
}

impl Backend for Frames {
    fn watched(&self) -> Rc<Watched> {
        self.watched.clone()
    }

    fn receive(&mut self) -> io::Result<usize> {
        if self.full && self.slots.len() < BATCH {
            let more = self.slots.len().min(BATCH - self.slots.len());
            self.slots.extend((0..more).map(|_| Slot::new()));
        }
        self.filled = 0;
        self.full = false;
        self.reclaim();
        let (first, waiting) = self.receive.readable();
        if waiting == 0 {
            self.wake_filling();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = (waiting as usize).min(self.slots.len());
        let mut unused = 0;
        for number in 0..count {
            let frame = self.receive.descriptor(first.wrapping_add(number as u32));
            let slot = &mut self.slots[self.filled];
            let octets = Self::octets(&mut self.memory, frame, frame.len as usize);
            let read = octets.and_then(|octets| {
                let datagram = frame::read(octets)?;
                let message = octets.get(datagram.message)?;
                let room = slot.exchange.receive_buffer(DATAGRAM);
                room.get_mut(..message.len())?.copy_from_slice(message);
                Some((message.len(), datagram.peer, datagram.local))
            });
            let Some((len, peer, local)) = read else {
                self.unused[unused] = frame.address;
                unused += 1;
                continue;
            };
            slot.exchange.set_received(len);
            slot.cut = false;
            slot.reply = false;
            slot.envelope.peer = peer;
            slot.envelope.local = Some(local.ip());
            slot.envelope.interface = self.interface;
            self.ports[self.filled] = local.port();
            self.frames[self.filled] = frame;
            self.filled += 1;
        }
        self.receive.read_until(first.wrapping_add(count as u32));
        self.full = count == self.slots.len();
        self.counts.received += count as u64;
        if unused > 0 {
            self.counts.malformed += unused as u64;
            Self::give_back(&self.fill, self.unused[..unused].iter().copied());
        }
        Ok(self.filled)
    }

    fn is_full(&self) -> bool {
        self.full
    }

    fn received(&mut self) -> &mut [Slot] {
        &mut self.slots[..self.filled]
    }

    /// Sends the responses that fit their frames; what keeps its mark has to leave by the ordinary socket.
    fn reply(&mut self) -> bool {
        let before = self.transmit.next();
        let mut next = before;
        let mut unused = 0;
        let mut all = true;
        for (at, slot) in self.slots[..self.filled].iter_mut().enumerate() {
            let frame = self.frames[at];
            let turned = if slot.reply {
                let room = CHUNK - (frame.address as usize & (CHUNK - 1));
                let octets = Self::octets(&mut self.memory, frame, room);
                let (response, id) = (slot.exchange.reply(), self.identification);
                octets.and_then(|octets| frame::turn(octets, response, self.mtu, id))
            } else {
                None
            };
            if let Some(len) = turned {
                self.identification = self.identification.wrapping_add(1);
                let len = len as u32;
                self.transmit.put_descriptor(next, Frame { len, ..frame });
                next = next.wrapping_add(1);
                slot.reply = false;
            } else {
                all &= !slot.reply;
                self.unused[unused] = frame.address;
                unused += 1;
            }
        }
        self.filled = if all { 0 } else { self.filled };
        Self::give_back(&self.fill, self.unused[..unused].iter().copied());
        if next != before {
            self.counts.sent += u64::from(next.wrapping_sub(before));
            self.transmit.written_until(next);
            self.kick();
        }
        all
    }
}
