//! Answers, written from entries: records whose owner is the question, with the zone as it was spelled there.
//!
//! Names are put together from pieces: the labels that an entry has, `svc`, and the zone, as a pointer into the question where one
//! may stand (RFC 1035, section 4.1.4) and in full where not (the target of an SRV record; RFC 2782). Nothing is allocated.

use wire::{Class, Flags, Full, Name, Qname, Response, Section, Type};

use super::entry::{A_LEN, AAAA_LEN, Address, Endpoint, Group, Port, PortFilter, Service, Slice};

/// Writes one answer.
pub(super) struct Writer<'a, 'r> {
    response: &'a mut Response<'r>,
    /// The zone where a pointer may stand.
    zone: &'a [u8],
    /// The zone in full, spelled as it was asked.
    spelled: &'a [u8],
    ttl: u32,
}

/// A pointer to the question's name.
pub(super) const QUESTION: [u8; 2] = [0xC0, 0x0C];

/// The names that a writer needs, borrowed from a query.
pub(super) struct Names<'a> {
    /// The name that is asked.
    pub(super) qname: &'a Qname,
    /// How many of its labels stand left of the zone.
    pub(super) left: usize,
    /// The message as received, when it spells that name; a name in the place of the client's is in lower case.
    pub(super) message: Option<&'a [u8]>,
    /// A pointer to the zone in the question.
    pub(super) pointer: &'a [u8; 2],
}

/// The place of the question's name.
const QNAME: usize = 12;

/// The pointer to the zone of a question, `left` labels into its name.
pub(super) fn zone_pointer(qname: &Qname, left: usize) -> [u8; 2] {
    (0xC000 | (QNAME + qname.suffix_start(left)) as u16).to_be_bytes()
}

/// Answers with ready records of one type, whose owner is the question; whether there was room for all of them.
#[inline]
pub(super) fn push_ready(response: &mut Response<'_>, records: &[u8], rtype: Type) -> bool {
    let len = if rtype == Type::A { A_LEN } else { AAAA_LEN };
    let whole = u16::try_from(records.len() / len).is_ok_and(|count| {
        response
            .push_octets(Section::Answer, records, count)
            .is_ok()
    });
    if whole {
        response.set_flag(Flags::AA, true);
    }
    whole
}

impl<'a, 'r> Writer<'a, 'r> {
    /// A writer of an authoritative answer.
    pub(super) fn new(response: &'a mut Response<'r>, names: &Names<'a>, ttl: u32) -> Self {
        response.set_flag(Flags::AA, true);
        let name = names.qname.name().octets();
        let start = names.qname.suffix_start(names.left);
        let lower = name.get(start..).unwrap_or(&[0]);
        let spelled = names
            .message
            .and_then(|message| message.get(QNAME + start..QNAME + name.len()));
        Self {
            response,
            zone: names.pointer,
            spelled: spelled.unwrap_or(lower),
            ttl,
        }
    }

    /// Appends a record; gives the place of its RDATA.
    fn record(
        &mut self,
        section: Section,
        owner: [&[u8]; 3],
        (rtype, ttl): (Type, u32),
        rdata: [&[u8]; 6],
    ) -> Result<usize, Full> {
        let len: usize = rdata.iter().map(|piece| piece.len()).sum();
        let mut fixed = [0; 10];
        fixed[..2].copy_from_slice(&rtype.0.to_be_bytes());
        fixed[2..4].copy_from_slice(&Class::IN.0.to_be_bytes());
        fixed[4..8].copy_from_slice(&ttl.to_be_bytes());
        fixed[8..].copy_from_slice(&u16::try_from(len).map_err(|_| Full)?.to_be_bytes());
        let [o0, o1, o2] = owner;
        let [r0, r1, r2, r3, r4, r5] = rdata;
        let pieces = [o0, o1, o2, &fixed, r0, r1, r2, r3, r4, r5];
        let at = self.response.push_pieces(section, &pieces, 1)?;
        Ok(at + o0.len() + o1.len() + o2.len() + fixed.len())
    }

    /// Appends an answer under the question's name.
    fn answer(&mut self, rtype: Type, rdata: [&[u8]; 6]) -> Result<usize, Full> {
        let ttl = self.ttl;
        self.record(Section::Answer, [&QUESTION, b"", b""], (rtype, ttl), rdata)
    }

    /// How many answers there are.
    pub(super) fn answers(&self) -> u16 {
        self.response.count(Section::Answer)
    }

    /// Whether the response cannot be sent whole to who takes `limit` octets, given that an OPT record may come.
    pub(super) fn is_beyond(&self, limit: usize) -> bool {
        self.response.len() + if limit > 512 { 11 } else { 0 } > limit
    }

    /// Says that there was more.
    pub(super) fn cut(&mut self) {
        self.response.set_flag(Flags::TC, true);
    }

    /// Whether there was no room for an answer.
    pub(super) fn is_cut(&self) -> bool {
        self.response.flags().has(Flags::TC)
    }

    /// Appends the ready records of a group: A or AAAA.
    #[inline]
    pub(super) fn ready(&mut self, octets: &[u8], rtype: Type) {
        if push_ready(self.response, octets, rtype) {
            return;
        }
        let len = if rtype == Type::A { A_LEN } else { AAAA_LEN };
        for record in octets.chunks_exact(len) {
            let rdata = record.get(12..).unwrap_or_default();
            if self
                .answer(rtype, [rdata, b"", b"", b"", b"", b""])
                .is_err()
            {
                return;
            }
        }
    }

    /// Appends an address, when it is one of `rtype`.
    pub(super) fn address(&mut self, address: &Address, rtype: Type) -> Result<(), Full> {
        if address_type(address) == rtype {
            self.answer(rtype, [address.rdata(), b"", b"", b"", b"", b""])?;
        }
        Ok(())
    }

    /// Appends a CNAME record.
    pub(super) fn alias(&mut self, target: &[u8]) {
        let _ = self.answer(Type::CNAME, [target, b"", b"", b"", b"", b""]);
    }

    /// Appends a PTR record to `LABELS.svc.ZONE`, with an endpoint's label in front or none.
    pub(super) fn pointer(
        &mut self,
        endpoint: &[u8],
        labels: &[u8],
        zone: Name<'_>,
    ) -> Result<(), Full> {
        self.answer(
            Type::PTR,
            [endpoint, labels, b"\x03svc", zone.octets(), b"", b""],
        )?;
        Ok(())
    }

    /// Appends the version of the specification.
    pub(super) fn version(&mut self) {
        let _ = self.record(
            Section::Answer,
            [&QUESTION, b"", b""],
            (Type::TXT, 28_800),
            [b"\x051.1.0", b"", b"", b"", b"", b""],
        );
    }

    /// Appends the SOA record of the zone, in the answer or, for a negative answer, in the authority section.
    pub(super) fn soa(&mut self, section: Section, serial: u32) {
        let mut numbers = [0; 20];
        for (place, number) in numbers
            .chunks_exact_mut(4)
            .zip([serial, 7_200, 1_800, 86_400, self.ttl])
        {
            place.copy_from_slice(&u32::to_be_bytes(number));
        }
        let zone = self.zone;
        let ttl = self.ttl.min(300);
        let _ = self.record(
            section,
            [zone, b"", b""],
            (Type::SOA, ttl),
            [
                b"\x02ns\x03dns",
                zone,
                b"\x0ahostmaster",
                zone,
                &numbers,
                b"",
            ],
        );
    }

    /// Appends an NS record to `LABELS.ZONE`.
    pub(super) fn name_server(&mut self, labels: &[u8]) -> Result<(), Full> {
        let zone = self.zone;
        self.answer(Type::NS, [labels, zone, b"", b"", b"", b""])?;
        Ok(())
    }

    /// Appends an NS record to `LABELS.ZONE`, a zone that is not the question's.
    pub(super) fn name_server_within(&mut self, labels: &[u8], zone: Name<'_>) -> Result<(), Full> {
        self.answer(Type::NS, [labels, zone.octets(), b"", b"", b"", b""])?;
        Ok(())
    }

    /// Appends the address of `LABELS.ZONE` as additional data.
    pub(super) fn glue(&mut self, labels: &[u8], address: &Address) -> Result<(), Full> {
        let (zone, ttl) = (self.zone, self.ttl);
        let rtype = address_type(address);
        self.record(
            Section::Additional,
            [labels, zone, b""],
            (rtype, ttl),
            [address.rdata(), b"", b"", b"", b"", b""],
        )?;
        Ok(())
    }

    /// Appends an SRV record to `PREFIX.LABELS.svc.ZONE`; gives the place of its target.
    fn srv(
        &mut self,
        weight: u16,
        port: u16,
        prefix: [&[u8]; 2],
        labels: &[u8],
    ) -> Result<usize, Full> {
        let mut head = [0; 6];
        head[2..4].copy_from_slice(&weight.to_be_bytes());
        head[4..].copy_from_slice(&port.to_be_bytes());
        let spelled = self.spelled;
        let at = self.answer(
            Type::SRV,
            [&head, prefix[0], prefix[1], labels, b"\x03svc", spelled],
        )?;
        Ok(at + head.len())
    }

    /// Appends the SRV records of a service that has addresses, and those addresses.
    pub(super) fn service_ports(
        &mut self,
        labels: &[u8],
        service: &Service,
        addresses: &[Address],
        filter: PortFilter<'_>,
    ) -> Result<(), Full> {
        let asked = || service.ports.iter().filter(|port| filter.admits(port));
        let weight = weight(asked().count() * addresses.len());
        let mut target = None;
        for (i, port) in asked().enumerate() {
            let Some(number) = port.number.filter(|_| !addresses.is_empty()) else {
                continue;
            };
            if asked().take(i).any(|before| before.number == port.number) {
                continue;
            }
            let at = self.srv(weight, number, [b"", b""], labels)?;
            target.get_or_insert(at);
        }
        let Some(target) = target else { return Ok(()) };
        for (i, address) in addresses.iter().enumerate() {
            if !addresses[..i].contains(address)
                && self
                    .additional(target, address, [b"", b""], labels)
                    .is_err()
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Appends an address of a target that stands at `at`, or is `PREFIX.LABELS.svc.ZONE` where no pointer reaches.
    fn additional(
        &mut self,
        at: usize,
        address: &Address,
        prefix: [&[u8]; 2],
        labels: &[u8],
    ) -> Result<(), Full> {
        let rtype = address_type(address);
        let (zone, ttl) = (self.zone, self.ttl);
        let rdata = [address.rdata(), b"", b"", b"", b"", b""];
        if at < 0x4000 {
            let pointer = (0xC000 | at as u16).to_be_bytes();
            self.record(
                Section::Additional,
                [&pointer, b"", b""],
                (rtype, ttl),
                rdata,
            )?;
            return Ok(());
        }
        // Cold: the pieces of such a name are more than a record's owner is put together from.
        let mut owner = [0; 255];
        let mut len = 0;
        for piece in [prefix[0], prefix[1], labels, b"\x03svc"] {
            owner
                .get_mut(len..len + piece.len())
                .ok_or(Full)?
                .copy_from_slice(piece);
            len += piece.len();
        }
        let labels = owner.get(..len).unwrap_or_default();
        self.record(
            Section::Additional,
            [labels, zone, b""],
            (rtype, ttl),
            rdata,
        )?;
        Ok(())
    }

    /// Appends the SRV records of endpoints, and their addresses. Endpoints of one name stand together.
    pub(super) fn endpoint_ports<'e, I>(
        &mut self,
        group: &Group,
        endpoints: I,
        filter: PortFilter<'_>,
    ) -> Result<(), Full>
    where
        I: Iterator<Item = (&'e Slice, &'e Endpoint)> + Clone,
    {
        let labels = group.labels.octets();
        let asked = |slice: &'e Slice| slice.ports.iter().filter(move |port| filter.admits(port));
        let weight = weight(
            endpoints
                .clone()
                .map(|(slice, _)| asked(slice).count())
                .sum(),
        );
        // Records of one name follow each other, so where its run began is enough to know what is written.
        let mut run = Run::NONE;
        let first = self.response.len();
        for (slice, endpoint) in endpoints.clone() {
            let mut room = [0; 64];
            let prefix = [slice.label(endpoint, &mut room), slice.cluster()];
            run.enter(prefix, self.response.len());
            for port in asked(slice) {
                let Some(number) = port.number else { continue };
                if !self.has_port(run.start, number) {
                    self.srv(weight, number, prefix, labels)?;
                }
            }
        }
        let answers_end = self.response.len();
        let mut run = Run::NONE;
        let mut at = first;
        let mut end = first;
        for (slice, endpoint) in endpoints.clone() {
            let mut room = [0; 64];
            let prefix = [slice.label(endpoint, &mut room), slice.cluster()];
            if run.enter(prefix, 0) {
                // The records of the run before end where these begin.
                at = end;
                end = self.run_end(at, answers_end, prefix, labels.len());
                run.address = None;
            }
            let has_port = asked(slice).any(|port| port.number.is_some());
            if !has_port || run.address == Some(endpoint.address) {
                continue;
            }
            run.address = Some(endpoint.address);
            let target = at + QUESTION.len() + 16;
            if self
                .additional(target, &endpoint.address, prefix, labels)
                .is_err()
            {
                break;
            }
        }
        Ok(())
    }

    /// Whether an SRV record from `start` on has this port.
    fn has_port(&self, start: usize, port: u16) -> bool {
        self.srv_records(start, self.response.len())
            .any(|(_, found, _)| found == port)
    }

    /// Where the run of SRV records to one target ends that begins at `start`.
    fn run_end(&self, start: usize, end: usize, prefix: [&[u8]; 2], labels: usize) -> usize {
        let [label, cluster] = prefix;
        let len = 6 + label.len() + cluster.len() + labels + 4 + self.spelled.len();
        let octets = self.response.octets();
        let mut last = start;
        for (at, _, target) in self.srv_records(start, end) {
            let same = octets.get(target..).is_some_and(|target| {
                target
                    .strip_prefix(label)
                    .is_some_and(|rest| rest.starts_with(cluster))
            });
            if !same {
                break;
            }
            last = at + QUESTION.len() + 10 + len;
        }
        last
    }

    /// The SRV records that this writer wrote between two places: where each stands, its port and where its target stands.
    fn srv_records(&self, start: usize, end: usize) -> impl Iterator<Item = (usize, u16, usize)> {
        let octets = self.response.octets();
        let owner = QUESTION.len();
        let mut at = start;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let len = wire::read_u16(octets, at + owner + 8)? as usize;
            let port = wire::read_u16(octets, at + owner + 14)?;
            let here = at;
            at += owner + 10 + len;
            Some((here, port, here + owner + 16))
        })
    }
}

/// Endpoints of one name.
struct Run {
    /// The endpoint's label and the cluster's, behind each other.
    name: [u8; 128],
    len: usize,
    start: usize,
    address: Option<Address>,
}

impl Run {
    /// No endpoint yet.
    const NONE: Self = Self {
        name: [0; 128],
        len: 0,
        start: 0,
        address: None,
    };

    /// Takes the next endpoint in; says whether a new run begins with it. Labels say themselves where they end.
    fn enter(&mut self, [label, cluster]: [&[u8]; 2], start: usize) -> bool {
        let known = self.name.get(..self.len).unwrap_or_default();
        if known.strip_prefix(label) == Some(cluster) {
            return false;
        }
        let (head, tail) = self.name.split_at_mut(label.len().min(64));
        if let Some(place) = tail.get_mut(..cluster.len())
            && head.len() == label.len()
        {
            head.copy_from_slice(label);
            place.copy_from_slice(cluster);
            self.len = label.len() + cluster.len();
        }
        self.start = start;
        true
    }
}

/// The type of an address's record.
pub(super) fn address_type(address: &Address) -> Type {
    if address.v4().is_some() {
        Type::A
    } else {
        Type::AAAA
    }
}

/// The weight that one of so many records has: they share 100, and none has less than 1.
fn weight(records: usize) -> u16 {
    (100 / records.max(1)).max(1) as u16
}

/// Whether a slice has a port that is asked for.
pub(super) fn has_port(ports: &[Port], filter: PortFilter<'_>) -> bool {
    ports.iter().any(|port| filter.admits(port))
}
