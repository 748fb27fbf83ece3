//! A zone on its way in: record after record of a response to AXFR (RFC 5936) or IXFR (RFC 1995).
//!
//! ```text
//! SOA new ─┬─► anything but SOA ──────────────────────────────────────────► … SOA new: the whole zone
//!          └─► SOA ours ─► removed … SOA next ─► added … (SOA next ─► …)* ─► SOA new: differences
//! ```
//!
//! Each record is checked by itself and against those before it. What is wrong ends the transfer.

use wire::reencode::{self, Verbatim};
use wire::{Class, Name, NameBuf, Record, Type};
use zone::{Builder, ChangedRecord, Difference, Place, check_rdata, is_newer};

/// How many octets a zone may have, names in full.
pub(super) const OCTETS: usize = if cfg!(test) { 1 << 14 } else { 1 << 30 };

/// What is said of one that has more.
pub(super) fn too_long() -> String {
    format!("the zone has more than {OCTETS} octets")
}

/// What a response brought.
pub(super) enum Brought {
    /// The zone, not yet laid out.
    Whole(Box<Builder>),
    /// What changed since the version that we have.
    Differences(Vec<Difference>),
    /// The primary has the version that we have, or an older one.
    Nothing,
}

/// The form of the response.
enum Form {
    /// Not seen yet.
    Open,
    Whole,
    /// Differences, the last of which removes or adds now, and leads to this serial.
    Differences {
        all: Vec<Difference>,
        adds: bool,
        serial: u32,
    },
}

/// A response that is being read.
pub(super) struct Incoming {
    apex: NameBuf,
    builder: Builder,
    /// The SOA record that began it.
    soa: Option<Vec<u8>>,
    /// The serial that we have, where differences were asked for.
    ours: Option<u32>,
    form: Form,
    /// Whether the record that ends it has come.
    ended: bool,
    /// The octets of what came, names in full.
    octets: usize,
    rdata: Vec<u8>,
}

impl Incoming {
    /// The response to AXFR; to IXFR, where `ours` is the serial that we have.
    pub(super) fn new(apex: Name<'_>, ours: Option<u32>) -> Self {
        let form = match ours {
            Some(_) => Form::Open,
            None => Form::Whole,
        };
        Self {
            apex: NameBuf::from_name(apex),
            builder: Builder::new(apex),
            soa: None,
            ours,
            form,
            ended: false,
            octets: 0,
            rdata: Vec::new(),
        }
    }

    /// Whether the record that ends the response has come.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// What came.
    pub(super) fn brought(self) -> Brought {
        match self.form {
            Form::Open => Brought::Nothing,
            Form::Whole => Brought::Whole(Box::new(self.builder)),
            Form::Differences { all, .. } => Brought::Differences(all),
        }
    }

    /// Takes the next record.
    pub(super) fn take(&mut self, record: &Record<'_>) -> Result<(), String> {
        let owner = record
            .owner()
            .map_err(|why| format!("an owner cannot be read: {why}"))?;
        let rtype = record.rtype;
        let wrong = |why: &str| format!("{owner} {rtype}: {why}");
        if self.ended {
            return Err(wrong("it follows the end of the zone"));
        }
        if record.class != Class::IN || rtype.is_meta() || rtype.0 == 0 {
            return Err(wrong("it is not a record that a zone can have"));
        }
        self.rdata.clear();
        reencode::rdata(record, &mut Verbatim, &mut self.rdata)
            .map_err(|why| wrong(&why.to_string()))?;
        // A few octets on the wire may stand for a long name.
        self.octets += owner.as_name().octets().len() + 10 + self.rdata.len();
        if self.octets > OCTETS {
            return Err(too_long());
        }
        check_rdata(rtype, &self.rdata).map_err(&wrong)?;
        if rtype == Type::SOA && owner != self.apex {
            return Err(wrong("it is the SOA record of another zone"));
        }
        if !owner.as_name().is_within(self.apex.as_name()) {
            return Err(wrong("it is outside of the zone"));
        }
        // A TTL of 2^31 or more is 0 (RFC 2181, section 8).
        let ttl = if record.ttl > i32::MAX as u32 {
            0
        } else {
            record.ttl
        };
        let record = (owner.as_name(), rtype, ttl);
        let taken = match (&self.soa, rtype) {
            (None, Type::SOA) => self.begin(record),
            (None, _) => Err("the zone does not begin with its SOA record"),
            (Some(_), _) => self.go_on(record),
        };
        taken.map_err(wrong)
    }

    /// Takes the SOA record that begins the response.
    fn begin(&mut self, record: (Name<'_>, Type, u32)) -> Result<(), &'static str> {
        self.soa = Some(self.rdata.clone());
        let serial = serial(&self.rdata);
        if self.ours.is_some_and(|ours| !is_newer(serial, ours)) {
            self.ended = true;
            return Ok(());
        }
        self.put(record)
    }

    /// Takes a record behind it.
    fn go_on(&mut self, (owner, rtype, ttl): (Name<'_>, Type, u32)) -> Result<(), &'static str> {
        let ends = self.soa.as_ref() == Some(&self.rdata);
        let first = self.soa.as_deref().map(serial);
        match &mut self.form {
            Form::Open if rtype == Type::SOA && !ends => {
                if Some(serial(&self.rdata)) != self.ours {
                    return Err("the differences do not begin with the version that is served");
                }
                self.form = Form::Differences {
                    all: vec![Difference::default()],
                    adds: false,
                    serial: serial(&self.rdata),
                };
            }
            Form::Open => self.form = Form::Whole,
            Form::Whole | Form::Differences { .. } => {}
        }
        let Form::Differences {
            all,
            adds,
            serial: at,
        } = &mut self.form
        else {
            if rtype != Type::SOA {
                return self.put((owner, rtype, ttl));
            }
            self.ended = ends;
            return match ends {
                true => Ok(()),
                false => Err("it differs from the one that began the zone"),
            };
        };
        if rtype == Type::SOA && all.last().is_some_and(|last| !last.removed.is_empty()) {
            let next = serial(&self.rdata);
            match (*adds, first == Some(*at)) {
                (false, _) if is_newer(next, *at) => (*adds, *at) = (true, next),
                (false, _) => return Err("a difference leads to no newer version"),
                (true, true) => {
                    self.ended = ends;
                    return match ends {
                        true => Ok(()),
                        false => Err("it differs from the one that began the zone"),
                    };
                }
                (true, false) if next == *at => {
                    *adds = false;
                    all.push(Difference::default());
                }
                (true, false) => return Err("a difference does not follow the one before"),
            }
        }
        if let Some(last) = all.last_mut() {
            let list = match *adds {
                true => &mut last.added,
                false => &mut last.removed,
            };
            list.push(&ChangedRecord {
                owner,
                rtype,
                ttl,
                rdata: &self.rdata,
            });
        }
        Ok(())
    }

    /// Puts a record into the zone.
    fn put(&mut self, (owner, rtype, ttl): (Name<'_>, Type, u32)) -> Result<(), &'static str> {
        self.builder
            .push(owner, (rtype, ttl), &self.rdata, Place::default())
            .map_err(|_| "it is outside of the zone")
    }
}

/// The serial of a SOA record.
pub(super) fn serial(rdata: &[u8]) -> u32 {
    let at = rdata.len().checked_sub(20);
    at.and_then(|at| wire::read_u32(rdata, at))
        .unwrap_or_default()
}
