//! TSIG (RFC 8945): keys, and signatures of queries, of responses and of streams of responses, on octets.
//!
//! ```text
//! query ─► Keyring::verify ─┬─► Signer, of the query's key ─► finish ─► Signer::sign: one response, or each of many     (server)
//!                           └─► Rejection: FORMERR, or NOTAUTH with a Signer that tells the TSIG error
//! Key::sign ─► Verifier ─► Verifier::check, for each message of the response ─► Verifier::is_settled                    (client)
//! ```
//!
//! A signature is over octets as they are sent, so nothing here parses a message as a whole: a query says where its TSIG record begins
//! (`wire::Parsed::tsig`), and a response gets its own when all else is written. A key may be bound to an algorithm. A MAC may be
//! truncated by nobody: such a query is told BADTRUNC (RFC 8945, section 5.2.2.1), which leaves it to no client how strong a key is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Guard};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac as _};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use wire::{HEADER_LEN, Name, NameBuf, Rcode, Response, Section, Type};

/// How many seconds a message may be on its way (RFC 8945, section 10).
const FUDGE: u16 = 300;
/// How many messages in a row may come unsigned (RFC 8945, section 5.3.1).
const UNSIGNED: u32 = 99;
/// The longest MAC, in octets.
const LONGEST_MAC: usize = 64;
/// The class ANY of a TSIG record, and its TTL.
const CLASS_AND_TTL: [u8; 6] = [0, 255, 0, 0, 0, 0];

/// The TSIG errors (RFC 8945, section 3).
mod tsig_error {
    pub(super) const BADSIG: u16 = 16;
    pub(super) const BADKEY: u16 = 17;
    pub(super) const BADTIME: u16 = 18;
    pub(super) const BADTRUNC: u16 = 22;
}

/// The time in seconds since 1970, as a signature tells it.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A hash that keys are used with. HMAC-MD5 is left out: RFC 8945, section 6, forbids its use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// hmac-sha1.
    Sha1,
    /// hmac-sha224.
    Sha224,
    /// hmac-sha256.
    Sha256,
    /// hmac-sha384.
    Sha384,
    /// hmac-sha512.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
    ];

    /// The name, as a configuration has it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Sha1 => "hmac-sha1",
            Self::Sha224 => "hmac-sha224",
            Self::Sha256 => "hmac-sha256",
            Self::Sha384 => "hmac-sha384",
            Self::Sha512 => "hmac-sha512",
        }
    }

    /// The algorithm of this name, in any case, with or without a final dot.
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut all = Self::ALL.into_iter();
        all.find(|known| known.text().eq_ignore_ascii_case(text))
    }

    /// The name in wire form.
    const fn name(self) -> Name<'static> {
        Name::from_checked(match self {
            Self::Sha1 => b"\x09hmac-sha1\0",
            Self::Sha224 => b"\x0Bhmac-sha224\0",
            Self::Sha256 => b"\x0Bhmac-sha256\0",
            Self::Sha384 => b"\x0Bhmac-sha384\0",
            Self::Sha512 => b"\x0Bhmac-sha512\0",
        })
    }

    fn from_name(name: Name<'_>) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// How long its MACs are, in octets.
    const fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// A MAC being computed.
#[derive(Clone)]
enum Mac {
    Sha1(Hmac<Sha1>),
    Sha224(Hmac<Sha224>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
}

/// Does the same with whichever hash it is.
macro_rules! each {
    ($mac:expr, $inner:ident => $what:expr) => {
        match $mac {
            Mac::Sha1($inner) => $what,
            Mac::Sha224($inner) => $what,
            Mac::Sha256($inner) => $what,
            Mac::Sha384($inner) => $what,
            Mac::Sha512($inner) => $what,
        }
    };
}

impl Mac {
    /// `None` never: HMAC takes keys of any length.
    fn new(algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        Some(match algorithm {
            Algorithm::Sha1 => Self::Sha1(Hmac::new_from_slice(secret).ok()?),
            Algorithm::Sha224 => Self::Sha224(Hmac::new_from_slice(secret).ok()?),
            Algorithm::Sha256 => Self::Sha256(Hmac::new_from_slice(secret).ok()?),
            Algorithm::Sha384 => Self::Sha384(Hmac::new_from_slice(secret).ok()?),
            Algorithm::Sha512 => Self::Sha512(Hmac::new_from_slice(secret).ok()?),
        })
    }

    fn update(&mut self, octets: &[u8]) {
        each!(self, mac => mac.update(octets));
    }

    /// The name in lower case, as digests have it (RFC 8945, section 4.3.3).
    fn update_name(&mut self, name: Name<'_>) {
        let lower = NameBuf::from_name(name).to_lower();
        self.update(lower.as_name().octets());
    }

    /// A MAC before this one, behind its length.
    fn update_prior(&mut self, prior: &Digest) {
        self.update(&(prior.len as u16).to_be_bytes());
        self.update(prior.octets());
    }

    /// A message whose TSIG record begins at `at`, as it was before it got one.
    fn update_message(&mut self, message: &[u8], at: usize, id: u16) {
        let count = wire::read_u16(message, 10).unwrap_or_default();
        self.update(&id.to_be_bytes());
        self.update(message.get(2..10).unwrap_or_default());
        self.update(&count.saturating_sub(1).to_be_bytes());
        self.update(message.get(HEADER_LEN..at).unwrap_or_default());
    }

    fn finish(self) -> Digest {
        each!(self, mac => Digest::of(&mac.finalize().into_bytes()))
    }

    /// Whether the MAC begins with `octets`, in a time that does not depend on them.
    fn begins_with(self, octets: &[u8]) -> bool {
        each!(self, mac => mac.verify_truncated_left(octets).is_ok())
    }
}

/// A MAC.
#[derive(Clone, Copy)]
struct Digest {
    octets: [u8; LONGEST_MAC],
    len: usize,
}

impl Digest {
    fn of(octets: &[u8]) -> Self {
        let len = octets.len().min(LONGEST_MAC);
        let mut out = Self {
            octets: [0; LONGEST_MAC],
            len,
        };
        out.octets[..len].copy_from_slice(&octets[..len]);
        out
    }

    fn octets(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

/// A key that is shared with others.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    name: NameBuf,
    algorithm: Option<Algorithm>,
    /// `None` where the text of it was not base64: nothing verifies by such a key.
    secret: Option<Box<[u8]>>,
}

impl std::fmt::Debug for Key {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({} {:?})", self.name, self.algorithm)
    }
}

impl Key {
    /// A key of this name, its secret in base64. Without an algorithm, it verifies by any that a client chooses.
    pub fn new(name: NameBuf, secret: &str, algorithm: Option<Algorithm>) -> Self {
        let secret: String = secret.split_ascii_whitespace().collect();
        let secret = STANDARD.decode(secret).ok();
        Self {
            name: name.to_lower(),
            algorithm,
            secret: secret
                .filter(|secret| !secret.is_empty())
                .map(Vec::into_boxed_slice),
        }
    }

    /// Its name, in lower case.
    pub fn name(&self) -> Name<'_> {
        self.name.as_name()
    }

    /// Whether its secret is of use.
    pub fn is_usable(&self) -> bool {
        self.secret.is_some()
    }

    fn mac(&self, algorithm: Algorithm) -> Option<Mac> {
        Mac::new(algorithm, self.secret.as_deref()?)
    }

    /// What queries are signed with where the key is bound to no algorithm.
    fn preferred(&self) -> Algorithm {
        self.algorithm.unwrap_or(Algorithm::Sha256)
    }

    /// Signs a query; gives what its response is checked by. `None` where the secret is of no use.
    pub fn sign(self: &Arc<Self>, query: &mut Vec<u8>, now: u64) -> Option<Verifier> {
        let algorithm = self.preferred();
        let mut mac = self.mac(algorithm)?;
        mac.update(query);
        let record = Record {
            name: self.name,
            algorithm: NameBuf::from_name(algorithm.name()),
            time: now,
            fudge: FUDGE,
            mac: &[],
            original_id: wire::read_u16(query, 0).unwrap_or_default(),
            error: 0,
            other: &[],
        };
        record.update_variables(&mut mac);
        let digest = mac.finish();
        let record = Record {
            mac: digest.octets(),
            ..record
        };
        record.write(query);
        let count = wire::read_u16(query, 10)
            .unwrap_or_default()
            .saturating_add(1);
        if let Some(place) = query.get_mut(10..12) {
            place.copy_from_slice(&count.to_be_bytes());
        }
        let mut response = self.mac(algorithm)?;
        response.update_prior(&digest);
        Some(Verifier {
            key: self.clone(),
            algorithm,
            mac: response,
            first: true,
            unsigned: 0,
        })
    }
}

/// The keys of a server block as they are now: those of files may change.
#[derive(Debug, Default)]
pub struct Keys(ArcSwap<Keyring>);

impl Keys {
    /// The keys, for the time of one query.
    pub fn load(&self) -> Guard<Arc<Keyring>> {
        self.0.load()
    }

    /// The key of this name.
    pub fn find(&self, name: Name<'_>) -> Option<Arc<Key>> {
        self.0.load().find(name).cloned()
    }

    /// Has other keys from here on.
    pub fn replace(&self, keys: Keyring) {
        self.0.store(Arc::new(keys));
    }
}

/// Keys by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring(HashMap<Box<[u8]>, Arc<Key>>);

impl Keyring {
    /// Adds a key, unless there is one of its name: then it is given back.
    pub fn add(&mut self, key: Key) -> Option<Key> {
        let name: Box<[u8]> = key.name().octets().into();
        if self.0.contains_key(&name) {
            return Some(key);
        }
        self.0.insert(name, Arc::new(key));
        None
    }

    /// The key of this name.
    pub fn find(&self, name: Name<'_>) -> Option<&Arc<Key>> {
        let lower = NameBuf::from_name(name).to_lower();
        self.0.get(lower.as_name().octets())
    }

    /// Verifies a query whose TSIG record begins at `at`, in the order of RFC 8945, section 5.2: key, MAC, time, truncation.
    ///
    /// # Errors
    /// What the response is.
    pub fn verify(&self, query: &[u8], at: usize, now: u64) -> Result<Signer, Rejection> {
        let record = Record::read(query, at).ok_or(Rejection::FormErr)?;
        let unsigned = |error| {
            Rejection::NotAuth(Box::new(Signer {
                error,
                ..Signer::of(&record, None)
            }))
        };
        let algorithm = Algorithm::from_name(record.algorithm.as_name());
        let key = self.find(record.name.as_name());
        let (Some(algorithm), Some(key)) = (algorithm, key) else {
            return Err(unsigned(tsig_error::BADKEY));
        };
        if key.algorithm.is_some_and(|bound| bound != algorithm) {
            return Err(unsigned(tsig_error::BADKEY));
        }
        let (len, whole) = (record.mac.len(), algorithm.len());
        if len > whole || len < (whole / 2).max(10) {
            return Err(match len {
                0 => unsigned(tsig_error::BADSIG),
                _ => Rejection::FormErr,
            });
        }
        let Some(mut mac) = key.mac(algorithm) else {
            return Err(unsigned(tsig_error::BADSIG));
        };
        mac.update_message(query, at, record.original_id);
        record.update_variables(&mut mac);
        if !mac.begins_with(record.mac) {
            return Err(unsigned(tsig_error::BADSIG));
        }
        let signer = Signer::of(&record, Some((key.clone(), algorithm)));
        if !record.is_timely(now) {
            return Err(Rejection::NotAuth(Box::new(Signer {
                error: tsig_error::BADTIME,
                time: Some(record.time),
                ..signer
            })));
        }
        if len < whole {
            return Err(Rejection::NotAuth(Box::new(Signer {
                error: tsig_error::BADTRUNC,
                ..signer
            })));
        }
        Ok(signer)
    }
}

/// Why a signed query is not answered.
#[derive(Debug)]
pub enum Rejection {
    /// FORMERR: its TSIG record cannot be read.
    FormErr,
    /// NOTAUTH, and a TSIG record that says why.
    NotAuth(Box<Signer>),
}

/// A TSIG record.
struct Record<'a> {
    name: NameBuf,
    algorithm: NameBuf,
    time: u64,
    fudge: u16,
    mac: &'a [u8],
    original_id: u16,
    error: u16,
    other: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record at `at`, which is the last of its message.
    fn read(message: &'a [u8], at: usize) -> Option<Self> {
        let (name, fixed) = NameBuf::read(message, at).ok()?;
        let head = message.get(fixed..fixed + 10)?;
        let (rtype, len) = (wire::read_u16(head, 0)?, wire::read_u16(head, 8)? as usize);
        let end = fixed + 10 + len;
        if rtype != Type::TSIG.0 || head[2..8] != CLASS_AND_TTL || end != message.len() {
            return None;
        }
        // Never compressed (RFC 8945, section 4.2), and within the RDATA.
        let behind = wire::skip_name(message, fixed + 10).ok()?;
        let algorithm = Name::new(message.get(fixed + 10..behind)?).ok()?;
        let rest = message.get(behind..end)?;
        let time = u64::from(wire::read_u16(rest, 0)?) << 32 | u64::from(wire::read_u32(rest, 2)?);
        let fudge = wire::read_u16(rest, 6)?;
        let mac_len = wire::read_u16(rest, 8)? as usize;
        let mac = rest.get(10..10 + mac_len)?;
        let rest = rest.get(10 + mac_len..)?;
        let other_len = wire::read_u16(rest, 4)? as usize;
        (rest.len() == 6 + other_len).then_some(())?;
        Some(Self {
            name,
            algorithm: NameBuf::from_name(algorithm),
            time,
            fudge,
            mac,
            original_id: wire::read_u16(rest, 0)?,
            error: wire::read_u16(rest, 2)?,
            other: rest.get(6..)?,
        })
    }

    fn is_timely(&self, now: u64) -> bool {
        self.time.abs_diff(now) <= u64::from(self.fudge)
    }

    fn timers(&self) -> [u8; 8] {
        let mut out = [0; 8];
        out[..6].copy_from_slice(&self.time.to_be_bytes()[2..]);
        out[6..].copy_from_slice(&self.fudge.to_be_bytes());
        out
    }

    /// All that a digest has of the record (RFC 8945, section 4.3.3).
    fn update_variables(&self, mac: &mut Mac) {
        mac.update_name(self.name.as_name());
        mac.update(&CLASS_AND_TTL);
        mac.update_name(self.algorithm.as_name());
        mac.update(&self.timers());
        mac.update(&self.error.to_be_bytes());
        mac.update(&(self.other.len() as u16).to_be_bytes());
        mac.update(self.other);
    }

    /// Appends the record.
    fn write(&self, out: &mut Vec<u8>) {
        let algorithm = self.algorithm.as_name().octets();
        let len = algorithm.len() + 16 + self.mac.len() + self.other.len();
        out.extend_from_slice(self.name.as_name().octets());
        out.extend_from_slice(&Type::TSIG.0.to_be_bytes());
        out.extend_from_slice(&CLASS_AND_TTL);
        out.extend_from_slice(&(len as u16).to_be_bytes());
        out.extend_from_slice(algorithm);
        out.extend_from_slice(&self.timers());
        out.extend_from_slice(&(self.mac.len() as u16).to_be_bytes());
        out.extend_from_slice(self.mac);
        out.extend_from_slice(&self.original_id.to_be_bytes());
        out.extend_from_slice(&self.error.to_be_bytes());
        out.extend_from_slice(&(self.other.len() as u16).to_be_bytes());
        out.extend_from_slice(self.other);
    }
}

/// Signs the response to a query, or all messages of it.
#[derive(Clone)]
pub struct Signer {
    name: NameBuf,
    algorithm: NameBuf,
    /// `None` for a response that tells of an error and is not signed (RFC 8945, section 5.3.2).
    key: Option<(Arc<Key>, Algorithm)>,
    /// The MAC of the query, then that of the message before.
    prior: Digest,
    first: bool,
    error: u16,
    /// The client's time, where that is the error.
    time: Option<u64>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({}, error {})", self.name, self.error)
    }
}

impl Signer {
    fn of(record: &Record<'_>, key: Option<(Arc<Key>, Algorithm)>) -> Self {
        Self {
            name: record.name,
            algorithm: record.algorithm,
            key,
            prior: Digest::of(record.mac),
            first: true,
            error: 0,
            time: None,
        }
    }

    /// The name of the key that the query was verified by.
    pub fn verified(&self) -> Option<Name<'_>> {
        let (key, _) = self.key.as_ref().filter(|_| self.error == 0)?;
        Some(key.name())
    }

    /// The error that the response tells of, for people.
    pub fn error(&self) -> String {
        match self.error {
            0 => "none".to_owned(),
            tsig_error::BADSIG => "BADSIG".to_owned(),
            error => Rcode(error).to_string(),
        }
    }

    /// How many octets the record takes in a response.
    pub fn room(&self) -> usize {
        let mac = self
            .key
            .as_ref()
            .map_or(0, |(_, algorithm)| algorithm.len());
        let other = if self.time.is_some() { 6 } else { 0 };
        let names = [self.name, self.algorithm].map(|name| name.as_name().octets().len());
        names[0] + 10 + names[1] + 16 + mac + other
    }

    /// Signs a response, which has been sealed and has room, and seals it again.
    pub fn sign(&mut self, response: &mut Response<'_>, now: u64) {
        let server_time = now.to_be_bytes();
        let id = wire::read_u16(response.octets(), 0).unwrap_or_default();
        let record = Record {
            name: self.name,
            algorithm: self.algorithm,
            time: self.time.unwrap_or(now),
            fudge: FUDGE,
            mac: &[],
            original_id: id,
            error: self.error,
            other: if self.time.is_some() {
                &server_time[2..]
            } else {
                &[]
            },
        };
        let keyed = self.key.as_ref();
        let mac = keyed.and_then(|(key, algorithm)| key.mac(*algorithm));
        let digest = mac.map(|mut mac| {
            mac.update_prior(&self.prior);
            mac.update(response.octets());
            if self.first {
                record.update_variables(&mut mac);
            } else {
                mac.update(&record.timers());
            }
            mac.finish()
        });
        self.first = false;
        let mut octets = Vec::with_capacity(self.room());
        Record {
            mac: digest.as_ref().map_or(&[], Digest::octets),
            ..record
        }
        .write(&mut octets);
        if let Some(digest) = digest {
            self.prior = digest;
        }
        let _ = response.push_octets(Section::Additional, &octets, 1);
        response.seal();
    }
}

/// Checks the messages of a response to a query that was signed.
pub struct Verifier {
    key: Arc<Key>,
    algorithm: Algorithm,
    /// The MAC before, and the unsigned messages behind it.
    mac: Mac,
    first: bool,
    unsigned: u32,
}

impl Verifier {
    /// Checks the next message.
    ///
    /// # Errors
    /// Why it is not to be trusted.
    pub fn check(&mut self, message: &[u8], now: u64) -> Result<(), String> {
        let Some(at) = tsig_of(message)? else {
            if self.first {
                return Err("the response is not signed".to_owned());
            }
            self.unsigned += 1;
            if self.unsigned > UNSIGNED {
                return Err(format!(
                    "more than {UNSIGNED} messages in a row are not signed"
                ));
            }
            self.mac.update(message);
            return Ok(());
        };
        let record = Record::read(message, at).ok_or("its TSIG record cannot be read")?;
        if record.error != 0 {
            let error = Signer {
                error: record.error,
                ..Signer::of(&record, None)
            };
            return Err(format!("the server says {}", error.error()));
        }
        if record.name.as_name() != self.key.name()
            || Algorithm::from_name(record.algorithm.as_name()) != Some(self.algorithm)
        {
            return Err("it is signed with another key or algorithm".to_owned());
        }
        let mut mac = self.mac.clone();
        mac.update_message(message, at, record.original_id);
        if self.first {
            record.update_variables(&mut mac);
        } else {
            mac.update(&record.timers());
        }
        if record.mac.len() != self.algorithm.len() || !mac.begins_with(record.mac) {
            return Err("its signature is wrong".to_owned());
        }
        if !record.is_timely(now) {
            return Err("the clocks of that server and of this one differ".to_owned());
        }
        let mut next = self
            .key
            .mac(self.algorithm)
            .ok_or("the key cannot be used")?;
        next.update_prior(&Digest::of(record.mac));
        self.mac = next;
        (self.first, self.unsigned) = (false, 0);
        Ok(())
    }

    /// Whether the message that was checked last was signed, as the last of a response has to be.
    pub fn is_settled(&self) -> bool {
        !self.first && self.unsigned == 0
    }
}

/// Where the TSIG record of a message begins, if it has one; nothing may stand behind it.
fn tsig_of(message: &[u8]) -> Result<Option<usize>, String> {
    let records = wire::Message::new(message).ok_or("it is too short")?;
    let mut last = None;
    for record in records.records() {
        let record = record.map_err(|why| format!("it cannot be read: {why}"))?;
        if last.is_some() {
            return Err("a record follows its TSIG record".to_owned());
        }
        if record.rtype == Type::TSIG {
            last = Some(record.start);
        }
    }
    Ok(last)
}
