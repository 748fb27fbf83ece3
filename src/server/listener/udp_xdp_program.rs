//! The filter that says which frames an AF_XDP socket gets, assembled as data when an interface is attached to.
//!
//! ```text
//! Ethernet, to one machine ─► IPv4 without options, no fragment ─┐
//!                          └► IPv6 without extension headers ────┴► UDP, lengths that agree ─► address and port of ours?
//!                                        everything else ─► XDP_PASS: the kernel's own path          yes ─► AF_XDP socket of the queue
//! ```
//!
//! A frame is never dropped: the kernel's path is complete, and answers whatever is odd. The destinations are in a map, not in the
//! instructions: a process needs a capability to load a program, and none to write to a map that it has. So a server that has dropped its
//! capabilities still follows addresses that come and go.

use super::frame::{ETHERNET, IPV4, IPV6, LONGEST, UDP};

/// What a queue without a socket, and every frame that is not for us, gets (`XDP_PASS`).
const PASS: i32 = 2;
/// Octets of a key in the map of destinations: the address in IPv6 form, the port in network order, two zeros.
pub(super) const KEY: usize = 20;
/// The registers, as the kernel numbers them: r0 is what a call gives, r1 to r5 are its arguments, r10 is the end of the stack.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;
const R5: u8 = 5;
/// The context of the program (`struct xdp_md`).
const CONTEXT: u8 = 6;
/// The length of the IP payload.
const LENGTH: u8 = 7;
/// The first octet of the frame, and the one behind its last.
const DATA: u8 = 8;
const END: u8 = 9;
const STACK: u8 = 10;
/// Where the key stands on the stack, and what `bpf_fib_lookup` reads and writes.
const KEY_AT: i16 = -24;
const FIB_AT: i16 = -96;
/// Fields of `struct xdp_md`.
const MD_DATA: i16 = 0;
const MD_END: i16 = 4;
const MD_INTERFACE: i16 = 12;
const MD_QUEUE: i16 = 16;
/// Functions of the kernel.
const MAP_LOOKUP: i32 = 1;
const REDIRECT_MAP: i32 = 51;
const FIB_LOOKUP: i32 = 69;
/// What `bpf_fib_lookup` gives where the route is known, and where the neighbour is not.
const FIB_SUCCESS: i32 = 0;
const FIB_NO_NEIGHBOUR: i32 = 7;
/// The loopback interface, from which a route is looked up as for what this machine sends.
const LOOPBACK: i32 = 1;
/// Where fields stand in a frame.
const ETHERTYPE: i16 = 12;
const IP: i16 = ETHERNET as i16;
const UDP4: i16 = IP + IPV4 as i16;
const UDP6: i16 = IP + IPV6 as i16;
/// Octets of the smallest DNS message.
const DNS: i32 = wire::HEADER_LEN as i32;

/// How wide a load or store is.
#[derive(Clone, Copy)]
enum Width {
    Octet = 0x10,
    Half = 0x08,
    Word = 0x00,
    Double = 0x18,
}

/// A place to jump to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    Six,
    LookUp,
    RouteSix,
    Route,
    Redirect,
    Pass,
}

/// Conditions of jumps; the second operand is a number or a register.
#[derive(Clone, Copy)]
enum If {
    Equal = 0x10,
    Above = 0x20,
    Unequal = 0x50,
    Below = 0xa0,
}

/// Instructions, with jumps that are still to be told how far.
#[derive(Default)]
struct Assembler {
    code: Vec<u64>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

impl Assembler {
    /// Appends an instruction (`struct bpf_insn`).
    fn put(&mut self, code: u8, (to, from): (u8, u8), offset: i16, number: i32) {
        let registers = if cfg!(target_endian = "little") {
            to | from << 4
        } else {
            to << 4 | from
        };
        let mut octets = [code, registers, 0, 0, 0, 0, 0, 0];
        octets[2..4].copy_from_slice(&offset.to_ne_bytes());
        octets[4..].copy_from_slice(&number.to_ne_bytes());
        self.code.push(u64::from_ne_bytes(octets));
    }

    fn load(&mut self, width: Width, to: u8, from: u8, offset: i16) {
        self.put(0x61 | width as u8, (to, from), offset, 0);
    }

    fn store(&mut self, width: Width, (to, offset): (u8, i16), from: u8) {
        self.put(0x63 | width as u8, (to, from), offset, 0);
    }

    /// Stores a number.
    fn store_number(&mut self, width: Width, (to, offset): (u8, i16), number: i32) {
        self.put(0x62 | width as u8, (to, 0), offset, number);
    }

    fn copy(&mut self, to: u8, from: u8) {
        self.put(0xbf, (to, from), 0, 0);
    }

    fn set(&mut self, to: u8, number: i32) {
        self.put(0xb7, (to, 0), 0, number);
    }

    fn add(&mut self, to: u8, number: i32) {
        self.put(0x07, (to, 0), 0, number);
    }

    fn add_register(&mut self, to: u8, from: u8) {
        self.put(0x0f, (to, from), 0, 0);
    }

    fn and(&mut self, to: u8, number: i32) {
        self.put(0x57, (to, 0), 0, number);
    }

    /// Loads two octets in network order.
    fn load_be16(&mut self, to: u8, from: u8, offset: i16) {
        self.load(Width::Half, to, from, offset);
        self.put(0xdc, (to, 0), 0, 16);
        // What the verifier knows of the register.
        self.and(to, 0xffff);
    }

    /// Loads the descriptor of a map as a pointer to it (`BPF_PSEUDO_MAP_FD`).
    fn load_map(&mut self, to: u8, descriptor: i32) {
        self.put(0x18, (to, 1), 0, descriptor);
        self.put(0, (0, 0), 0, 0);
    }

    fn call(&mut self, function: i32) {
        self.put(0x85, (0, 0), 0, function);
    }

    fn exit(&mut self) {
        self.put(0x95, (0, 0), 0, 0);
    }

    fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.put(0x05, (0, 0), 0, 0);
    }

    fn jump_if(&mut self, register: u8, condition: If, number: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.put(0x05 | condition as u8, (register, 0), 0, number);
    }

    fn jump_if_registers(&mut self, (a, b): (u8, u8), condition: If, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.put(0x0d | condition as u8, (a, b), 0, 0);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.code.len()));
    }

    /// Passes frames that are shorter than that.
    fn at_least(&mut self, octets: usize) {
        self.copy(R4, DATA);
        self.add(R4, octets as i32);
        self.jump_if_registers((R4, END), If::Above, Label::Pass);
    }

    /// The instructions.
    fn finish(mut self) -> Vec<u64> {
        for (at, label) in self.jumps {
            let found = self.labels.iter().find(|(known, _)| *known == label);
            let distance = found.map_or(0, |(_, target)| target - at - 1);
            let mut octets = self.code[at].to_ne_bytes();
            octets[2..4].copy_from_slice(&(distance as i16).to_ne_bytes());
            self.code[at] = u64::from_ne_bytes(octets);
        }
        self.code
    }
}

/// The maps of the filter, by their descriptors.
#[derive(Clone, Copy)]
pub(super) struct Maps {
    /// Which addresses and ports are ours.
    pub(super) destinations: i32,
    /// The sockets by queue.
    pub(super) sockets: i32,
}

/// The filter's instructions. With `route_check` a frame is taken only where the response would leave by the interface it came by.
pub(super) fn filter(maps: Maps, route_check: bool) -> Vec<u64> {
    let mut asm = Assembler::default();
    asm.copy(CONTEXT, R1);
    asm.load(Width::Word, DATA, R1, MD_DATA);
    asm.load(Width::Word, END, R1, MD_END);
    asm.at_least(ETHERNET + IPV4 + UDP + DNS as usize);
    // Longer than a frame of the socket's memory.
    asm.copy(R4, DATA);
    asm.add(R4, LONGEST as i32);
    asm.jump_if_registers((END, R4), If::Above, Label::Pass);
    // Ethernet's groups: a response could not come from one.
    asm.load(Width::Octet, R5, DATA, 0);
    asm.and(R5, 1);
    asm.jump_if(R5, If::Unequal, 0, Label::Pass);
    asm.load_be16(R5, DATA, ETHERTYPE);
    asm.jump_if(R5, If::Equal, 0x86dd, Label::Six);
    asm.jump_if(R5, If::Unequal, 0x0800, Label::Pass);
    four(&mut asm);
    asm.label(Label::Six);
    six(&mut asm);
    asm.label(Label::LookUp);
    asm.store(Width::Word, (STACK, KEY_AT + 16), R5);
    asm.load_map(R1, maps.destinations);
    asm.copy(R2, STACK);
    asm.add(R2, i32::from(KEY_AT));
    asm.call(MAP_LOOKUP);
    asm.jump_if(R0, If::Equal, 0, Label::Pass);
    if route_check {
        check_route(&mut asm);
    }
    asm.label(Label::Redirect);
    asm.load_map(R1, maps.sockets);
    asm.load(Width::Word, R2, CONTEXT, MD_QUEUE);
    asm.set(R3, PASS);
    asm.call(REDIRECT_MAP);
    asm.exit();
    asm.label(Label::Pass);
    asm.set(R0, PASS);
    asm.exit();
    asm.finish()
}

/// IPv4: writes the destination's key, and the port to r5.
fn four(asm: &mut Assembler) {
    asm.load(Width::Octet, R5, DATA, IP);
    asm.jump_if(R5, If::Unequal, 0x45, Label::Pass);
    // More fragments, or an offset.
    asm.load_be16(R5, DATA, IP + 6);
    asm.and(R5, 0x3fff);
    asm.jump_if(R5, If::Unequal, 0, Label::Pass);
    asm.load(Width::Octet, R5, DATA, IP + 9);
    asm.jump_if(R5, If::Unequal, 17, Label::Pass);
    asm.load_be16(R5, DATA, IP + 2);
    asm.load_be16(LENGTH, DATA, UDP4 + 4);
    asm.jump_if(LENGTH, If::Below, UDP as i32 + DNS, Label::Pass);
    asm.add(LENGTH, IPV4 as i32);
    asm.jump_if_registers((R5, LENGTH), If::Unequal, Label::Pass);
    asm.copy(R4, DATA);
    asm.add_register(R4, R5);
    asm.add(R4, ETHERNET as i32);
    asm.jump_if_registers((R4, END), If::Above, Label::Pass);
    asm.store_number(Width::Double, (STACK, KEY_AT), 0);
    asm.store_number(
        Width::Word,
        (STACK, KEY_AT + 8),
        i32::from_ne_bytes([0, 0, 0xff, 0xff]),
    );
    asm.load(Width::Word, R5, DATA, IP + 16);
    asm.store(Width::Word, (STACK, KEY_AT + 12), R5);
    asm.load(Width::Half, R5, DATA, UDP4 + 2);
    port_word(asm);
    asm.jump(Label::LookUp);
}

/// IPv6: the same.
fn six(asm: &mut Assembler) {
    asm.at_least(ETHERNET + IPV6 + UDP + DNS as usize);
    asm.load(Width::Octet, R5, DATA, IP);
    asm.and(R5, 0xf0);
    asm.jump_if(R5, If::Unequal, 0x60, Label::Pass);
    asm.load(Width::Octet, R5, DATA, IP + 6);
    asm.jump_if(R5, If::Unequal, 17, Label::Pass);
    asm.load_be16(R5, DATA, IP + 4);
    asm.load_be16(LENGTH, DATA, UDP6 + 4);
    asm.jump_if(LENGTH, If::Below, UDP as i32 + DNS, Label::Pass);
    asm.jump_if_registers((R5, LENGTH), If::Unequal, Label::Pass);
    asm.copy(R4, DATA);
    asm.add_register(R4, R5);
    asm.add(R4, (ETHERNET + IPV6) as i32);
    asm.jump_if_registers((R4, END), If::Above, Label::Pass);
    // A checksum is mandatory (RFC 8200, section 8.1).
    asm.load(Width::Half, R5, DATA, UDP6 + 6);
    asm.jump_if(R5, If::Equal, 0, Label::Pass);
    for part in [0, 4, 8, 12] {
        asm.load(Width::Word, R5, DATA, IP + 24 + part);
        asm.store(Width::Word, (STACK, KEY_AT + part), R5);
    }
    asm.load(Width::Half, R5, DATA, UDP6 + 2);
    port_word(asm);
}

/// Two octets in r5, as they came, become the first two of a word.
fn port_word(asm: &mut Assembler) {
    if cfg!(target_endian = "big") {
        // Shifted left by 16.
        asm.put(0x67, (R5, 0), 0, 16);
    }
}

/// Passes the frame unless a response would leave by the interface that it came by (`bpf_fib_lookup`, `struct bpf_fib_lookup`).
fn check_route(asm: &mut Assembler) {
    for part in 0..8 {
        asm.store_number(Width::Double, (STACK, FIB_AT + part * 8), 0);
    }
    asm.store_number(Width::Word, (STACK, FIB_AT + 8), LOOPBACK);
    asm.store_number(Width::Octet, (STACK, FIB_AT + 1), 17);
    asm.load_be16(R5, DATA, ETHERTYPE);
    asm.jump_if(R5, If::Equal, 0x86dd, Label::RouteSix);
    asm.store_number(Width::Octet, (STACK, FIB_AT), 2);
    // Ours is the source of the response.
    asm.load(Width::Word, R5, DATA, IP + 16);
    asm.store(Width::Word, (STACK, FIB_AT + 16), R5);
    asm.load(Width::Word, R5, DATA, IP + 12);
    asm.store(Width::Word, (STACK, FIB_AT + 32), R5);
    asm.jump(Label::Route);
    asm.label(Label::RouteSix);
    asm.at_least(ETHERNET + IPV6 + UDP + DNS as usize);
    asm.store_number(Width::Octet, (STACK, FIB_AT), 10);
    for part in [0, 4, 8, 12] {
        asm.load(Width::Word, R5, DATA, IP + 24 + part);
        asm.store(Width::Word, (STACK, FIB_AT + 16 + part), R5);
        asm.load(Width::Word, R5, DATA, IP + 8 + part);
        asm.store(Width::Word, (STACK, FIB_AT + 32 + part), R5);
    }
    asm.label(Label::Route);
    asm.copy(R1, CONTEXT);
    asm.copy(R2, STACK);
    asm.add(R2, i32::from(FIB_AT));
    asm.set(R3, 64);
    asm.set(R4, 0);
    asm.call(FIB_LOOKUP);
    asm.load(Width::Word, R5, STACK, FIB_AT + 8);
    asm.load(Width::Word, R4, CONTEXT, MD_INTERFACE);
    asm.jump_if_registers((R4, R5), If::Unequal, Label::Pass);
    asm.jump_if(R0, If::Equal, FIB_SUCCESS, Label::Redirect);
    asm.jump_if(R0, If::Unequal, FIB_NO_NEIGHBOUR, Label::Pass);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_as_the_kernel_reads_them() {
        let mut asm = Assembler::default();
        asm.set(R0, PASS);
        asm.exit();
        let expected = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
        if cfg!(target_endian = "little") {
            assert_eq!(asm.finish(), expected.map(u64::from_ne_bytes));
        }
    }

    #[test]
    fn jumps_stay_within_the_program() {
        let maps = Maps {
            destinations: 3,
            sockets: 4,
        };
        for route_check in [false, true] {
            let code = filter(maps, route_check);
            assert!(code.len() < 160, "{}", code.len());
            for (at, instruction) in code.iter().enumerate() {
                let octets = instruction.to_ne_bytes();
                let class = octets[0] & 7;
                if class == 5 && ![0x85, 0x95].contains(&octets[0]) {
                    let offset = i16::from_ne_bytes([octets[2], octets[3]]);
                    let target = at as i64 + 1 + i64::from(offset);
                    assert!(offset > 0 && target < code.len() as i64, "at {at}");
                }
            }
        }
    }
}
