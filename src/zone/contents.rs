//! A zone's contents, flat and immutable, ready to answer.
//!
//! ```text
//! table   [ tag │ place ]…            open addressing by the owner's hash (`wire::name_hash`), 2/3 full, 8 octets a slot, in order of tags
//!              │
//!              ▼
//! octets  node: flags, sets, link, owner │ set: type, count, length │ records as they go on the wire │ set: …
//! ```
//!
//! One buffer holds all: behind a node's header stand its RRsets, each with its records in wire form, owner `C0 0C` (QNAME), RRSIGs
//! right behind. So a hit touches the table's slot and then octets that lie in a row. Every empty non-terminal has a node, so the
//! closest encloser of a name is its longest suffix in the table. A node's `link` is the node that hides it (a zone cut or DNAME
//! above), else its wildcard child.
//!
//! In RDATA of NS, CNAME, PTR, MX and SOA (RFC 3597, section 4) a name that ends in the apex carries a pointer, whose places the set
//! keeps: it is fitted to each message. The set also keeps which nodes have the addresses that belong to it, or which node its alias
//! leads to.
//!
//! Cost: a plain A record with an owner of its own takes 8 octets of node header and 1 + its owner, 8 of set header, 16 of record, and
//! 12 of table.

use std::hint::black_box;

use wire::{Class, Name, NameBuf, Qname, Type};

/// What a node is.
pub(crate) mod flag {
    /// A zone cut: NS records below the apex.
    pub(crate) const CUT: u16 = 1;
    /// It has a DNAME record.
    pub(crate) const DNAME: u16 = 2;
    /// A zone cut or a DNAME above hides it; `link` says which.
    pub(crate) const OCCLUDED: u16 = 4;
    /// Its owner has capitals.
    pub(crate) const MIXED: u16 = 8;
    /// It holds NSEC3 records and no name of the zone; it is not in the table.
    pub(crate) const HASHED: u16 = 16;
}

/// The length of a node's header before its owner.
pub(crate) const NODE_HEADER: usize = 8;
/// The length of a set's header, and of what follows it when `EXTENDED` is set in its length.
pub(crate) const SET_HEADER: usize = 8;
pub(crate) const SET_EXTENSION: usize = 12;
pub(crate) const EXTENDED: u32 = 1 << 31;
/// The length of one entry of a set's additional addresses.
pub(crate) const EXTRA: usize = 6;
/// The unit in which nodes are placed, so that 32 bits reach 16 GiB.
pub(crate) const UNIT: usize = 4;

/// Contents of fewer octets stay in a core's own caches.
const FAR: usize = 512 * 1024;

/// One place of the table; `place` 0 is free, with the greatest tag.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) tag: u32,
    pub(crate) place: u32,
}

impl Slot {
    pub(crate) const FREE: Self = Self {
        tag: u32::MAX,
        place: 0,
    };

    /// What a slot shows of a hash: its high bits.
    #[inline]
    pub(crate) const fn tag(hash: u64) -> u32 {
        (hash >> 32) as u32
    }

    /// Where in a table of `size` homes a tag is looked for first. Greater tags have no lesser home, so a table whose runs are in order
    /// of tags is in order as a whole, and a look-up ends at the first tag that is greater: a miss costs what a hit costs.
    #[inline]
    pub(crate) const fn home(tag: u32, size: usize) -> usize {
        ((tag as u64 * size as u64) >> 32) as usize
    }
}

/// How the zone proves that something does not exist.
#[derive(Debug)]
pub(crate) enum Denial {
    /// It is not signed.
    None,
    /// The nodes with an NSEC record, in canonical order.
    Nsec(Box<[u32]>),
    /// The nodes with an NSEC3 record, by hash.
    Nsec3 {
        salt: Box<[u8]>,
        iterations: u16,
        chain: Box<[([u8; 20], u32)]>,
    },
}

/// How much a zone holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Statistics {
    /// Owners that have records.
    pub owners: usize,
    /// RRsets, RRSIGs apart.
    pub rrsets: usize,
    /// Records.
    pub records: usize,
    /// Octets of memory.
    pub octets: usize,
    /// When the first of its signatures ends, in seconds since 1970, modulo 2^32.
    pub signatures_end: Option<u32>,
}

/// A zone, ready to answer. It never changes: a new version replaces it whole.
pub struct Zone {
    pub(crate) apex: NameBuf,
    pub(crate) apex_labels: usize,
    pub(crate) table: Box<[Slot]>,
    /// How many slots are homes; behind them is room for the last run.
    pub(crate) homes: usize,
    pub(crate) octets: Box<[u8]>,
    pub(crate) apex_place: u32,
    /// Where the SOA set of negative answers stands, its TTL already the lesser of TTL and MINIMUM (RFC 2308, section 5); 0 where the
    /// zone has no SOA record.
    pub(crate) negative_soa: usize,
    /// The owner of that set, where it is not the apex.
    pub(crate) soa_owner: Option<NameBuf>,
    /// That set, ready.
    pub(crate) ready_soa: Option<Ready>,
    /// The apex's NS records, ready; `None` for minimal answers.
    pub(crate) ready_ns: Option<Ready>,
    /// Where the nodes end.
    pub(crate) nodes_end: usize,
    pub(crate) denial: Denial,
    pub(crate) minimal: bool,
    pub(crate) statistics: Statistics,
}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zone")
            .field("apex", &self.apex)
            .field("serial", &self.serial())
            .field("statistics", &self.statistics)
            .finish()
    }
}

#[inline]
fn le16(octets: &[u8], at: usize) -> u16 {
    octets
        .get(at..at + 2)
        .map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

#[inline]
fn le32(octets: &[u8], at: usize) -> u32 {
    octets
        .get(at..at + 4)
        .map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

#[inline]
fn le64(octets: &[u8], at: usize) -> u64 {
    match octets.get(at..at + 8).map(<[u8; 8]>::try_from) {
        Some(Ok(word)) => u64::from_le_bytes(word),
        _ => 0,
    }
}

/// A set's header.
#[derive(Clone, Copy)]
struct SetHead(u64);

impl SetHead {
    #[inline]
    const fn rtype(self) -> Type {
        Type(self.0 as u16)
    }

    #[inline]
    const fn count(self) -> u16 {
        (self.0 >> 16) as u16
    }

    #[inline]
    const fn is_extended(self) -> bool {
        (self.0 >> 32) as u32 & EXTENDED != 0
    }

    #[inline]
    const fn len(self) -> usize {
        ((self.0 >> 32) as u32 & !EXTENDED) as usize
    }
}

/// A set of the apex as authority sections want it: decoded at load, with every place that takes a pointer to the apex.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The records, then the RRSIGs.
    octets: Box<[u8]>,
    /// How many octets are records.
    records: usize,
    /// How many records there are, without and with RRSIGs.
    counts: [u16; 2],
    /// The places of the records' pointers, then those of the RRSIGs.
    places: Box<[u16]>,
    /// How many of them are the records'.
    record_places: usize,
}

impl Ready {
    /// What `set` is; `None` where it is too long for pointers.
    fn new(set: Set<'_>) -> Option<Self> {
        let mut places = Vec::new();
        let mut record_places = 0;
        for (index, record) in set.each_record().enumerate() {
            places.push(u16::try_from(record.start).ok()?);
            let end = record.start + record.octets.len();
            let named = set.patches().filter(|&at| at > record.start && at < end);
            places.extend(named.map(|at| at as u16));
            if index < set.count as usize {
                record_places = places.len();
            }
        }
        Some(Self {
            octets: set.signed.into(),
            records: set.records.len(),
            counts: [set.count, set.count + set.sig_count],
            places: places.into(),
            record_places,
        })
    }

    /// Octets, places for pointers, and the number of records.
    #[inline]
    pub(crate) fn pieces(&self, signed: bool) -> (&[u8], &[u16], u16) {
        if signed {
            (&self.octets, &self.places, self.counts[1])
        } else {
            (
                self.octets.get(..self.records).unwrap_or_default(),
                self.places.get(..self.record_places).unwrap_or_default(),
                self.counts[0],
            )
        }
    }
}

impl Zone {
    /// Makes ready what stands in most answers.
    pub(crate) fn prepare(&mut self) {
        let soa = self.negative_soa().filter(|_| self.soa_owner.is_none());
        self.ready_soa = soa.and_then(Ready::new);
        let ns = if self.minimal {
            None
        } else {
            self.apex_node().set(Type::NS)
        };
        self.ready_ns = ns.and_then(Ready::new);
    }

    /// The zone's name, in lower case.
    #[inline]
    pub fn apex(&self) -> Name<'_> {
        self.apex.as_name()
    }

    /// The SOA record's serial (RFC 1982); 0 where there is no such record.
    pub fn serial(&self) -> u32 {
        let serial = |soa: Set<'_>| wire::read_u32(soa.records, soa.records.len().checked_sub(20)?);
        self.soa_set().and_then(serial).unwrap_or_default()
    }

    /// REFRESH, RETRY and EXPIRE of the SOA record, in seconds (RFC 1035, section 3.3.13).
    pub fn timers(&self) -> [u32; 3] {
        let records = self.soa_set().map(|soa| soa.records).unwrap_or_default();
        [16, 12, 8].map(|from_end| {
            let at = records.len().checked_sub(from_end);
            at.and_then(|at| wire::read_u32(records, at))
                .unwrap_or_default()
        })
    }

    /// The SOA record; `None` where the zone has none.
    pub fn soa(&self) -> Option<ZoneRecord<'_>> {
        let record = self.soa_set()?.each_record().next()?;
        let owner = match &self.soa_owner {
            Some(owner) => owner.as_name(),
            None => self.apex_node().name(),
        };
        Some(ZoneRecord {
            zone: self,
            owner,
            record,
        })
    }

    /// The SOA set, which may be of another owner.
    fn soa_set(&self) -> Option<Set<'_>> {
        match self.soa_owner {
            Some(_) => self.negative_soa(),
            None => self.apex_node().set(Type::SOA),
        }
    }

    /// How much the zone holds.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Whether denial of existence can be proved.
    pub fn is_signed(&self) -> bool {
        !matches!(self.denial, Denial::None)
    }

    /// Every record, nodes in the order of the file, the apex first; the records of a set together, then its RRSIGs.
    pub fn records(&self) -> impl Iterator<Item = ZoneRecord<'_>> {
        self.records_from(Cursor::default())
            .map(|(_, record)| record)
    }

    /// The same from a place on that was reached before, each with the place behind it: for who takes a pause in between.
    pub fn records_from(&self, from: Cursor) -> impl Iterator<Item = (Cursor, ZoneRecord<'_>)> {
        self.nodes_from(from.node.max(UNIT)).flat_map(move |node| {
            let passed = if node.at == from.node { from.record } else { 0 };
            let records = node.sets().flat_map(Set::each_record).enumerate();
            records.skip(passed).map(move |(at, record)| {
                let behind = Cursor {
                    node: node.at,
                    record: at + 1,
                };
                let record = ZoneRecord {
                    zone: self,
                    owner: node.name(),
                    record,
                };
                (behind, record)
            })
        })
    }

    /// The records of an owner, RRSIGs behind what they cover; nothing stands for what a wildcard gives.
    pub fn records_at(&self, owner: Name<'_>) -> impl Iterator<Item = ZoneRecord<'_>> {
        let mut qname = Qname::root();
        qname.set(owner);
        let node = self.find(&qname, 0);
        node.into_iter().flat_map(move |node| {
            let records = node.sets().flat_map(Set::each_record);
            records.map(move |record| ZoneRecord {
                zone: self,
                owner: node.name(),
                record,
            })
        })
    }

    /// The SOA set of negative answers, if the zone has one.
    pub(crate) fn negative_soa(&self) -> Option<Set<'_>> {
        (self.negative_soa != 0).then(|| self.set_at(self.negative_soa).0)
    }

    #[inline]
    pub(crate) fn apex_node(&self) -> Node<'_> {
        self.node(self.apex_place)
    }

    #[inline]
    pub(crate) fn node(&self, place: u32) -> Node<'_> {
        self.node_at(place as usize * UNIT)
    }

    #[inline]
    pub(crate) fn node_at(&self, at: usize) -> Node<'_> {
        Node {
            zone: self,
            at,
            head: le64(&self.octets, at),
        }
    }

    /// Every node, in the order in which they stand.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        self.nodes_from(UNIT)
    }

    /// The nodes from the one at `at` on, in the order in which they stand.
    pub(crate) fn nodes_from(&self, mut at: usize) -> impl Iterator<Item = Node<'_>> {
        std::iter::from_fn(move || {
            if at >= self.nodes_end {
                return None;
            }
            let node = self.node_at(at);
            let end = node.sets().end();
            at = end.next_multiple_of(UNIT);
            Some(node)
        })
    }

    /// The node whose owner is the suffix of `qname` without its `skip` leftmost labels.
    #[inline(always)]
    pub(crate) fn find(&self, qname: &Qname, skip: usize) -> Option<Node<'_>> {
        let tag = Slot::tag(qname.hash(skip));
        for slot in self.table.get(Slot::home(tag, self.homes)..)? {
            if slot.tag < tag {
                continue;
            }
            if slot.tag > tag || slot.place == 0 {
                return None;
            }
            let node = self.node(slot.place);
            if node.is_named(qname.suffix(skip).octets()) {
                return Some(node);
            }
        }
        None
    }

    /// Loads what look-ups of these names will read, where the contents are larger than a core's own caches: all slots of the table
    /// first and then all nodes, so that no load waits for another. Whether it did.
    pub fn load_ahead(&self, qnames: &[&Qname]) -> bool {
        if self.octets.len() < FAR {
            return false;
        }
        let mut seen = 0;
        for qname in qnames {
            let home = Slot::home(Slot::tag(qname.hash(0)), self.homes);
            seen ^= self.table.get(home).map_or(0, |slot| slot.place);
        }
        // Or the compiler would see that nobody wants what was loaded.
        black_box(seen);
        for qname in qnames {
            let tag = Slot::tag(qname.hash(0));
            let run = self.table.get(Slot::home(tag, self.homes)..);
            let slot = run.and_then(|run| run.iter().find(|slot| slot.tag >= tag));
            let place = slot.map_or(0, |slot| slot.place as usize * UNIT);
            seen ^= self.octets.get(place).map_or(0, |octet| u32::from(*octet));
        }
        black_box(seen);
        true
    }

    /// The place behind the set at `at`, which has this header.
    #[inline]
    fn behind_set(&self, at: usize, head: SetHead) -> usize {
        let plain = at + SET_HEADER + head.len();
        if head.is_extended() {
            plain + self.extension(at)
        } else {
            plain
        }
    }

    /// How many octets more an extended set has than header and records.
    fn extension(&self, at: usize) -> usize {
        let octets = &*self.octets;
        let here = at + SET_HEADER;
        SET_EXTENSION
            + 2 * le16(octets, here + 2) as usize
            + EXTRA * le16(octets, here + 4) as usize
            + le32(octets, here + 8) as usize
    }

    /// The set that stands at `at`, and the place behind it.
    #[inline]
    pub(crate) fn set_at(&self, at: usize) -> (Set<'_>, usize) {
        self.set_with(at, SetHead(le64(&self.octets, at)))
    }

    #[inline]
    fn set_with(&self, at: usize, head: SetHead) -> (Set<'_>, usize) {
        let octets = &*self.octets;
        let len = head.len();
        let mut here = at + SET_HEADER;
        let (mut sig_count, mut patches, mut extras, mut sig_len) = (0, &[][..], &[][..], 0);
        if head.is_extended() {
            sig_count = le16(octets, here);
            let patched = 2 * le16(octets, here + 2) as usize;
            let extra = EXTRA * le16(octets, here + 4) as usize;
            sig_len = le32(octets, here + 8) as usize;
            here += SET_EXTENSION;
            patches = octets.get(here..here + patched).unwrap_or_default();
            here += patched;
            extras = octets.get(here..here + extra).unwrap_or_default();
            here += extra;
        }
        let end = here + len + sig_len;
        let signed = octets.get(here..end).unwrap_or_default();
        let set = Set {
            rtype: head.rtype(),
            count: head.count(),
            sig_count,
            records: signed.get(..len).unwrap_or_default(),
            signed,
            patches,
            extras,
        };
        (set, end)
    }
}

/// An owner and its RRsets.
#[derive(Clone, Copy)]
pub struct Node<'z> {
    pub(crate) zone: &'z Zone,
    pub(crate) at: usize,
    /// Flags, number of sets, link.
    head: u64,
}

impl std::fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.name().fmt(f)
    }
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<'z> Node<'z> {
    /// The owner, in the case that it has in the data.
    #[inline]
    pub fn name(self) -> Name<'z> {
        Name::from_checked(self.name_octets())
    }

    #[inline]
    pub(crate) fn name_octets(self) -> &'z [u8] {
        let at = self.at + NODE_HEADER;
        let octets = &*self.zone.octets;
        let len = octets.get(at).map_or(0, |&len| len as usize);
        octets.get(at + 1..at + 1 + len).unwrap_or_default()
    }

    #[inline]
    fn is_named(self, lower: &[u8]) -> bool {
        let octets = self.name_octets();
        if self.has(flag::MIXED) {
            octets.eq_ignore_ascii_case(lower)
        } else {
            octets == lower
        }
    }

    #[inline]
    pub(crate) fn has(self, flags: u16) -> bool {
        self.head as u16 & flags != 0
    }

    /// The node that hides this one, or else its wildcard child.
    #[inline]
    pub(crate) fn link(self) -> Option<Node<'z>> {
        let place = (self.head >> 32) as u32;
        (place != 0).then(|| self.zone.node(place))
    }

    /// Its RRsets, by type.
    #[inline]
    pub fn sets(self) -> Sets<'z> {
        let len = self.zone.octets.get(self.at + NODE_HEADER);
        Sets {
            zone: self.zone,
            at: self.at + NODE_HEADER + 1 + len.map_or(0, |&len| len as usize),
            left: (self.head >> 16) as u16,
        }
    }

    /// Its RRset of `rtype`.
    #[inline(never)]
    pub fn set(self, rtype: Type) -> Option<Set<'z>> {
        self.set_or_alias(rtype).ok()
    }

    /// Its RRset of `rtype`, or else its CNAME. Of the other sets, the headers are read.
    #[inline(always)]
    pub(crate) fn set_or_alias(self, rtype: Type) -> Result<Set<'z>, Option<Set<'z>>> {
        let Sets {
            zone,
            mut at,
            mut left,
        } = self.sets();
        let mut alias = None;
        while left > 0 {
            let head = SetHead(le64(&zone.octets, at));
            if head.rtype() == rtype && head.count() > 0 {
                return Ok(zone.set_with(at, head).0);
            }
            if head.rtype() == Type::CNAME && head.count() > 0 {
                alias = Some(at);
            }
            at = zone.behind_set(at, head);
            left -= 1;
        }
        Err(alias.map(|at| zone.set_at(at).0))
    }
}

/// The RRsets of a node, by type.
#[derive(Clone)]
pub struct Sets<'z> {
    zone: &'z Zone,
    at: usize,
    left: u16,
}

impl Sets<'_> {
    /// The place behind the last set.
    fn end(mut self) -> usize {
        while self.next().is_some() {}
        self.at
    }
}

impl<'z> Iterator for Sets<'z> {
    type Item = Set<'z>;

    #[inline]
    fn next(&mut self) -> Option<Set<'z>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let (set, end) = self.zone.set_at(self.at);
        self.at = end;
        Some(set)
    }
}

/// An RRset and the RRSIGs that cover it.
#[derive(Clone, Copy, Debug)]
pub struct Set<'z> {
    /// Its type.
    pub rtype: Type,
    /// The number of its records; 0 when only RRSIGs of the type are there.
    pub count: u16,
    /// The number of RRSIG records that cover it.
    pub sig_count: u16,
    pub(crate) records: &'z [u8],
    /// The records and the RRSIGs behind them.
    pub(crate) signed: &'z [u8],
    pub(crate) patches: &'z [u8],
    pub(crate) extras: &'z [u8],
}

impl<'z> Set<'z> {
    /// The TTL, in seconds.
    pub fn ttl(&self) -> u32 {
        wire::read_u32(self.signed, 6).unwrap_or_default()
    }

    /// The places in the records where a pointer to the apex stands.
    #[inline]
    pub(crate) fn patches(&self) -> impl Iterator<Item = usize> + use<'z> {
        self.patches
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]) as usize)
    }

    /// Where in the records a target is named, and which node has its addresses.
    #[inline]
    pub(crate) fn extras(&self) -> impl Iterator<Item = (usize, u32)> + use<'z> {
        self.extras.chunks_exact(EXTRA).map(|entry| {
            (
                u16::from_le_bytes([entry[0], entry[1]]) as usize,
                u32::from_le_bytes([entry[2], entry[3], entry[4], entry[5]]),
            )
        })
    }

    /// The records, then the RRSIGs, one by one.
    pub(crate) fn each_record(self) -> impl Iterator<Item = RawRecord<'z>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let len = wire::read_u16(self.signed, at + 10)? as usize;
            let octets = self.signed.get(at..at + 12 + len)?;
            let record = RawRecord {
                set: self,
                start: at,
                octets,
            };
            at += 12 + len;
            Some(record)
        })
    }
}

/// A record as it stands in a set: owner pointer, fixed part, RDATA with pointers to the apex.
#[derive(Clone, Copy)]
pub(crate) struct RawRecord<'z> {
    pub(crate) set: Set<'z>,
    /// Where it begins within the set.
    pub(crate) start: usize,
    pub(crate) octets: &'z [u8],
}

impl<'z> RawRecord<'z> {
    /// Calls `each` with the pieces of the RDATA, the apex in full where a pointer to it stands; the flag says that it is the apex.
    pub(crate) fn expand(self, apex: &[u8], mut each: impl FnMut(&[u8], bool)) {
        let (start, end) = (self.start + 12, self.start + self.octets.len());
        let mut here = start;
        for patch in self.set.patches().filter(|&p| p >= start && p < end) {
            each(self.set.signed.get(here..patch).unwrap_or_default(), false);
            each(apex, true);
            here = patch + 2;
        }
        each(self.set.signed.get(here..end).unwrap_or_default(), false);
    }
}

/// A place between the records of a zone; the default is before the first.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cursor {
    node: usize,
    /// How many records of the node were passed.
    record: usize,
}

/// A record of a zone.
#[derive(Clone, Copy)]
pub struct ZoneRecord<'z> {
    zone: &'z Zone,
    owner: Name<'z>,
    record: RawRecord<'z>,
}

impl<'z> ZoneRecord<'z> {
    /// The owner.
    pub fn owner(&self) -> Name<'z> {
        self.owner
    }

    /// The type.
    pub fn rtype(&self) -> Type {
        Type(wire::read_u16(self.record.octets, 2).unwrap_or_default())
    }

    /// The class; always IN.
    pub fn class(&self) -> Class {
        Class::IN
    }

    /// The TTL, in seconds.
    pub fn ttl(&self) -> u32 {
        wire::read_u32(self.record.octets, 6).unwrap_or_default()
    }

    /// Appends the RDATA, names in full.
    pub fn write_rdata(&self, out: &mut Vec<u8>) {
        let apex = self.zone.apex().octets();
        self.record
            .expand(apex, |piece, _| out.extend_from_slice(piece));
    }

    /// The RDATA, names in full.
    pub fn rdata(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_rdata(&mut out);
        out
    }
}
