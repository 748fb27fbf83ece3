//! Asks a primary for the version of a zone, and for what has changed (RFC 1995) or the zone (RFC 5936), over one connection.
//!
//! What a primary sends is checked message by message: ID, RCODE, question, signature, owners, RDATA. It is bounded in octets, records
//! and time, since a primary may be another than it seems (CVE-2016-6170).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chain::tsig::{Key, Verifier, now};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use upstream::tls::failure;
use wire::{Class, Flags, Header, Message, Name, NameBuf, Opcode, Rcode, Section, Type};
use zone::{Difference, DigestPolicy, Digested, Zone, is_newer};

use super::incoming::{Brought, Incoming, OCTETS, serial, too_long};
use super::sources::{Contact, Session};

/// The protocol that is spoken over TLS.
pub(super) const ALPN: &[u8] = b"dot";
/// How long a primary may take to accept a connection, and for each message: one that falls silent in the middle of a transfer has failed.
const IDLE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// How long a transfer may take.
const TRANSFER: Duration = Duration::from_secs(600);
/// How many octets have to come in each minute that a transfer takes: a primary that sends a record now and then has failed, too.
const SLOWEST: usize = 10 << 10;
/// How many messages in a row may bring no record.
const EMPTY: usize = 16;

/// A primary, and the key that is shared with it.
pub(super) struct Primary<'a> {
    pub(super) contact: &'a Contact,
    pub(super) key: Option<&'a Arc<Key>>,
    /// What the zone's ZONEMD records have to show.
    pub(super) digest: DigestPolicy,
    /// How many records a zone may have.
    pub(super) max_records: usize,
    /// Where the records of a transfer are counted as they come.
    pub(super) records: &'a AtomicUsize,
}

/// What a primary has.
pub(super) struct Answer {
    /// The serial that it tells.
    pub(super) serial: u32,
    /// A newer version than ours, if it has one.
    pub(super) newer: Option<Newer>,
}

/// A newer version, and the differences that led to it, if it came as such.
pub(super) struct Newer {
    pub(super) zone: Zone,
    pub(super) differences: Option<Vec<Difference>>,
    pub(super) digested: Digested,
}

/// Asks for the serial, and gets the zone where the primary has a newer version than `ours`, or where there is none: by differences
/// (IXFR), or whole where those cannot be had or make no sense. With `whole`, it is got whole whatever its serial is.
pub(super) async fn refresh(
    primary: &Primary<'_>,
    apex: Name<'_>,
    ours: Option<&Arc<Zone>>,
    whole: bool,
) -> Result<Answer, String> {
    let mut connection = Connection::open(primary).await?;
    let serial = connection.serial(apex).await?;
    let ours = ours.filter(|_| !whole);
    if ours.is_some_and(|ours| !is_newer(serial, ours.serial())) {
        let newer = None;
        return Ok(Answer { serial, newer });
    }
    if let Some(ours) = ours {
        match connection.newer(apex, Some(ours)).await {
            Ok(newer) => return Ok(Answer { serial, newer }),
            Err(why) => {
                tracing::info!(
                    target: "plugin/secondary",
                    "Incremental transfer of {apex} from {}: {why}: asking for the whole zone",
                    primary.contact
                );
            }
        }
        // Messages of the first response may be on their way.
        connection = Connection::open(primary).await?;
    }
    let newer = connection.newer(apex, None).await?;
    let aged =
        |newer: &Newer| ours.is_some_and(|ours| !is_newer(newer.zone.serial(), ours.serial()));
    if newer.as_ref().is_some_and(aged) {
        return Err("the zone has become older during the transfer".to_owned());
    }
    Ok(Answer { serial, newer })
}

/// The zone that came.
fn build(
    brought: Brought,
    ours: Option<&Zone>,
    (digest, most): (DigestPolicy, usize),
) -> Result<Option<Newer>, String> {
    let (draft, differences) = match (brought, ours) {
        (Brought::Whole(draft), _) => (draft, None),
        (Brought::Differences(all), Some(ours)) => (Box::new(ours.patched(&all)?), Some(all)),
        (Brought::Differences(_), None) | (Brought::Nothing, _) => return Ok(None),
    };
    let zone = draft.build().map_err(|complaints| {
        let all = complaints.iter().map(|complaint| complaint.message.clone());
        format!(
            "the zone contradicts itself: {}",
            all.collect::<Vec<_>>().join("; ")
        )
    })?;
    if zone.statistics().records > most {
        return Err(too_many(most));
    }
    // A zone that names no name server is broken, whatever its form; BIND refuses it, too.
    let apex = zone.records_at(zone.apex());
    if apex
        .map(|record| record.rtype())
        .all(|rtype| rtype != Type::NS)
    {
        return Err("the zone has no NS record at its apex".to_owned());
    }
    let digested = zone.verify_digest(digest)?;
    Ok(Some(Newer {
        zone,
        differences,
        digested,
    }))
}

/// What is said of a zone that is larger than `max_records` lets it be.
fn too_many(most: usize) -> String {
    format!("the zone has more than {most} records (`max_records`)")
}

/// A connection to a primary.
struct Connection<'a> {
    stream: Box<dyn Duplex>,
    key: Option<&'a Arc<Key>>,
    digest: DigestPolicy,
    max_records: usize,
    records: &'a AtomicUsize,
    /// The message that came last.
    message: Vec<u8>,
}

/// A stream of octets in both directions.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Connects to a primary. Where TLS is said there is no way around it: the certificate has to be right, and so does the protocol that
/// is spoken (RFC 9103, sections 8.2 and 9.3.1).
async fn connect(contact: &Contact) -> io::Result<Box<dyn Duplex>> {
    let stream = TcpStream::connect(contact.address).await?;
    let _ = stream.set_nodelay(true);
    let Some(Session { name, config }) = &contact.tls else {
        return Ok(Box::new(stream));
    };
    let connector = TlsConnector::from(config.clone());
    let session = connector.connect(name.clone(), stream).await;
    let session = session.map_err(|error| io::Error::other(failure::told("tls", &error)))?;
    if session.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err(io::Error::other(
            "tls: it does not agree to speak DNS (ALPN `dot`)",
        ));
    }
    Ok(Box::new(session))
}

/// What a response is checked by.
struct Asked {
    id: u16,
    name: NameBuf,
    qtype: Type,
    verifier: Option<Verifier>,
}

impl<'a> Connection<'a> {
    async fn open(primary: &Primary<'a>) -> Result<Self, String> {
        let connected = timeout(IDLE, connect(primary.contact)).await;
        let stream = connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| format!("connect: {error}"))?;
        Ok(Self {
            stream,
            key: primary.key,
            digest: primary.digest,
            max_records: primary.max_records,
            records: primary.records,
            message: Vec::new(),
        })
    }

    /// Sends a query; for IXFR, with the SOA record that we have.
    async fn ask(
        &mut self,
        apex: Name<'_>,
        qtype: Type,
        ours: Option<&Zone>,
    ) -> Result<Asked, String> {
        let soa = ours.and_then(Zone::soa);
        let header = Header {
            id: host::random::random(),
            flags: Flags(0),
            counts: [1, 0, u16::from(soa.is_some()), 0],
        };
        let mut query = header.to_octets().to_vec();
        query.extend_from_slice(apex.octets());
        query.extend_from_slice(&qtype.0.to_be_bytes());
        query.extend_from_slice(&Class::IN.0.to_be_bytes());
        if let Some(soa) = soa {
            let rdata = soa.rdata();
            query.extend_from_slice(&[0xC0, 12]);
            query.extend_from_slice(&Type::SOA.0.to_be_bytes());
            query.extend_from_slice(&Class::IN.0.to_be_bytes());
            query.extend_from_slice(&soa.ttl().to_be_bytes());
            query.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
            query.extend_from_slice(&rdata);
        }
        let verifier = match self.key {
            None => None,
            Some(key) => {
                let verifier = key.sign(&mut query, now());
                Some(verifier.ok_or("the secret of the key is not base64")?)
            }
        };
        let mut framed = (query.len() as u16).to_be_bytes().to_vec();
        framed.extend_from_slice(&query);
        let sent = timeout(IDLE, self.stream.write_all(&framed)).await;
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| format!("send: {error}"))?;
        Ok(Asked {
            id: header.id,
            name: NameBuf::from_name(apex),
            qtype,
            verifier,
        })
    }

    /// Receives a message of the response, and checks what holds of each.
    async fn receive(&mut self, asked: &mut Asked) -> Result<(), String> {
        let read = timeout(IDLE, async {
            let len = self.stream.read_u16().await?;
            self.message.resize(len as usize, 0);
            self.stream.read_exact(&mut self.message).await
        });
        read.await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| match error.kind() {
                // What a session dies of comes with the first message, too.
                io::ErrorKind::InvalidData => format!("receive: {}", failure::told("tls", &error)),
                _ => format!("receive: {error}"),
            })?;
        if let Some(verifier) = &mut asked.verifier {
            let checked = verifier.check(&self.message, now());
            checked.map_err(|why| format!("TSIG: {why}"))?;
        }
        let message = Message::new(&self.message).ok_or("a message is too short")?;
        let flags = message.flags();
        if message.header().id != asked.id
            || !flags.has(Flags::QR)
            || flags.opcode() != Opcode::QUERY
        {
            return Err("a message is not a response to the query".to_owned());
        }
        if message.rcode() != Rcode::NOERROR {
            return Err(format!(
                "it answers {} with {}",
                asked.qtype,
                message.rcode()
            ));
        }
        if flags.has(Flags::TC) {
            return Err("a message is truncated".to_owned());
        }
        if message.header().counts[0] > 0 {
            let question = message.question();
            let (name, qtype, ..) = question.map_err(|why| format!("the question: {why}"))?;
            if (name, qtype) != (asked.name, asked.qtype) || message.header().counts[0] > 1 {
                return Err("a message has another question".to_owned());
            }
        }
        Ok(())
    }

    /// The serial that the primary has.
    async fn serial(&mut self, apex: Name<'_>) -> Result<u32, String> {
        let mut asked = self.ask(apex, Type::SOA, None).await?;
        self.receive(&mut asked).await?;
        let message = Message::new(&self.message).ok_or("a message is too short")?;
        if !message.flags().has(Flags::AA) {
            return Err("it is not authoritative for the zone".to_owned());
        }
        for record in message.section(Section::Answer) {
            let record = record.map_err(|why| why.to_string())?;
            let owner = record.owner().map_err(|why| why.to_string())?;
            if record.rtype == Type::SOA && owner.as_name() == apex {
                let rdata = record.rdata();
                return match rdata.len() {
                    ..20 => Err("its SOA record is cut".to_owned()),
                    _ => Ok(serial(rdata)),
                };
            }
        }
        Err("it has no SOA record of the zone".to_owned())
    }

    /// The version that the primary has: what has changed since `ours`, if that is given, or all of it. `None` where it has none that is
    /// newer.
    async fn newer(
        &mut self,
        apex: Name<'_>,
        ours: Option<&Arc<Zone>>,
    ) -> Result<Option<Newer>, String> {
        let transfer = timeout(TRANSFER, self.transfer(apex, ours.map(|ours| &**ours)));
        let brought = transfer
            .await
            .map_err(|_| format!("the transfer takes longer than {TRANSFER:?}"))??;
        // Laying out a large zone takes a while, and others want to go on meanwhile.
        let (ours, bounds) = (ours.cloned(), (self.digest, self.max_records));
        tokio::task::spawn_blocking(move || build(brought, ours.as_deref(), bounds))
            .await
            .map_err(|error| error.to_string())?
    }

    /// Reads the whole response to AXFR, or to IXFR where `ours` is given.
    async fn transfer(&mut self, apex: Name<'_>, ours: Option<&Zone>) -> Result<Brought, String> {
        let qtype = match ours {
            Some(_) => Type::IXFR,
            None => Type::AXFR,
        };
        let mut asked = self.ask(apex, qtype, ours).await?;
        let mut incoming = Incoming::new(apex, ours.map(Zone::serial));
        let (mut octets, mut empty, mut records) = (0, 0, 0);
        let began = Instant::now();
        loop {
            self.receive(&mut asked).await?;
            octets += self.message.len();
            if octets > OCTETS {
                return Err(too_long());
            }
            if octets < SLOWEST * (began.elapsed().as_secs() / 60) as usize {
                return Err(format!("fewer than {SLOWEST} octets come in a minute"));
            }
            let message = Message::new(&self.message).ok_or("a message is too short")?;
            records += usize::from(message.header().counts[1]);
            self.records.store(records, Ordering::Relaxed);
            // The SOA record comes twice. Differences may remove a zone, and add another.
            if records / 2 > self.max_records || ours.is_none() && records > self.max_records + 1 {
                return Err(too_many(self.max_records));
            }
            empty = match message.header().counts[1] {
                0 => empty + 1,
                _ => 0,
            };
            if empty > EMPTY {
                return Err("its messages bring no records".to_owned());
            }
            for record in message.section(Section::Answer) {
                let record = record.map_err(|why| format!("a record cannot be read: {why}"))?;
                incoming.take(&record)?;
            }
            if incoming.has_ended() {
                let settled = asked.verifier.as_ref().is_none_or(Verifier::is_settled);
                return match settled {
                    true => Ok(incoming.brought()),
                    false => Err("TSIG: the last message is not signed".to_owned()),
                };
            }
        }
    }
}
