//! Master files into zones (RFC 1035, section 5; RFC 2308, section 4 for `$TTL`; BIND's `$GENERATE`).
//!
//! Decisions where servers differ: a record without a TTL takes `$TTL`, else the TTL stated last, else the SOA record's MINIMUM;
//! a TTL of 2^31 or more is 0 (RFC 2181, section 8); a record outside of the zone is passed over with a warning; after `$INCLUDE`
//! origin, owner and TTLs are those of before, and so is the owner after `$GENERATE`; a quoted string may run over line ends. A load with an error gives no zone, and tells of as many errors as are worth reading.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wire::{Name, NameBuf, Type};

use crate::builder::{Builder, OutOfZone, Place, Raw};
use crate::complaint::{Complaint, Complaints, MOST};
use crate::contents::Zone;
use crate::digest::{DigestPolicy, Digested};
use crate::encoding::{self, TtlError};
use crate::generate::{self, Span};
use crate::rdata::{self, Fields};
use crate::reader::Reader;
use crate::scanner::{Scanned, Scanner, Token};

/// How deep files may include files.
const MOST_DEPTH: usize = 8;
/// How many files one load may read.
const MOST_FILES: usize = 1_024;
/// How many records `$GENERATE` may make in one load.
const MOST_GENERATED: u64 = 4 * 1_024 * 1_024;

/// What a load gives.
#[derive(Debug)]
pub struct Loaded {
    /// The zone.
    pub zone: Zone,
    /// What is odd about it.
    pub warnings: Vec<Complaint>,
    /// The files that were read, the zone's own first: those to watch.
    pub files: Vec<PathBuf>,
    /// What its ZONEMD records have shown.
    pub digested: Digested,
}

/// Loads one zone; the same file may be loaded with other origins.
#[derive(Clone, Copy, Debug)]
pub struct Loader {
    origin: NameBuf,
    minimal: bool,
    soa_optional: bool,
    any_soa: bool,
    default_ttl: Option<u32>,
    digest: DigestPolicy,
}

impl Loader {
    /// Loads the zone with this apex, which is also the first origin.
    pub fn new(origin: Name<'_>) -> Self {
        Self {
            origin: NameBuf::from_name(origin),
            minimal: false,
            soa_optional: false,
            any_soa: false,
            default_ttl: None,
            digest: DigestPolicy::default(),
        }
    }

    /// Leaves the apex's NS records out of answers that do not need them.
    pub fn minimal(mut self, minimal: bool) -> Self {
        self.minimal = minimal;
        self
    }

    /// Takes a zone without a SOA record too; its negative answers have none.
    pub fn soa_optional(mut self, optional: bool) -> Self {
        self.soa_optional = optional;
        self
    }

    /// Takes a SOA record of another owner where the apex has none, as CoreDNS does: it stands in negative answers as it is written.
    pub fn any_soa(mut self, any: bool) -> Self {
        self.any_soa = any;
        self
    }

    /// The TTL of records that state none, until there is a `$TTL`.
    pub fn default_ttl(mut self, ttl: u32) -> Self {
        self.default_ttl = Some(ttl);
        self
    }

    /// What the zone's ZONEMD records have to show.
    pub fn digest(mut self, policy: DigestPolicy) -> Self {
        self.digest = policy;
        self
    }

    /// The zone's apex.
    pub fn origin(&self) -> Name<'_> {
        self.origin.as_name()
    }

    /// Loads `path`.
    pub fn load(&self, reader: &dyn Reader, path: &Path) -> Result<Loaded, Vec<Complaint>> {
        let mut load = Load {
            reader,
            builder: Builder::new(self.origin.as_name())
                .minimal(self.minimal)
                .soa_optional(self.soa_optional),
            complaints: Complaints::default(),
            files: vec![Arc::new(path.to_path_buf())],
            soa_minimum: None,
            any_soa: self.any_soa,
            ttl_lost: false,
            generated: 0,
            rdata: Vec::new(),
        };
        match reader.read(path) {
            Ok(text) => {
                let state = State {
                    default_ttl: self.default_ttl,
                    ..State::new(self.origin)
                };
                load.file(&text, 0, 0, state);
            }
            Err(error) => load.complain(0, (0, 0), format!("cannot be read: {error}")),
        }
        load.finish(self.digest)
    }

    /// Loads a zone from text; nothing can be included.
    pub fn load_text(&self, text: &str) -> Result<Loaded, Vec<Complaint>> {
        let reader = crate::reader::Memory::of("zone", text);
        self.load(&reader, Path::new("zone"))
    }
}

/// What one line leaves to the next.
#[derive(Clone, Copy)]
struct State {
    origin: NameBuf,
    owner: Option<NameBuf>,
    default_ttl: Option<u32>,
    last_ttl: Option<u32>,
}

impl State {
    fn new(origin: NameBuf) -> Self {
        Self {
            origin,
            owner: None,
            default_ttl: None,
            last_ttl: None,
        }
    }
}

/// One entry: its tokens, the text that they are ranges of, and where it stands.
#[derive(Clone, Copy)]
struct Entry<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
    blank: bool,
    file: u16,
    /// The place of the directive that made the entry, if one did.
    made_at: Option<(u32, u32)>,
}

impl<'a> Entry<'a> {
    fn word(&self, index: usize) -> Option<&'a [u8]> {
        self.tokens.get(index).map(|token| token.of(self.text))
    }

    /// Whether it says the TTL of records that state none.
    fn says_ttl(&self) -> bool {
        let mut words = self.tokens.iter().map(|token| token.of(self.text));
        words.any(|word| word.eq_ignore_ascii_case(b"$TTL") || word.eq_ignore_ascii_case(b"SOA"))
    }

    /// Line and column of a token; of the last one when there are fewer.
    fn at(&self, index: usize) -> (u32, u32) {
        let token = self.tokens.get(index).or(self.tokens.last());
        self.made_at
            .or(token.map(|token| (token.line, token.column)))
            .unwrap_or_default()
    }
}

/// A load under way.
struct Load<'r> {
    reader: &'r dyn Reader,
    builder: Builder,
    complaints: Complaints,
    files: Vec<Arc<PathBuf>>,
    soa_minimum: Option<u32>,
    any_soa: bool,
    /// Whether what would have said the TTL of other records could not be read.
    ttl_lost: bool,
    generated: u64,
    rdata: Vec<u8>,
}

impl Load<'_> {
    fn finish(mut self, policy: DigestPolicy) -> Result<Loaded, Vec<Complaint>> {
        if self.complaints.error_count > 0 {
            return Err(self.complaints.errors);
        }
        let mut records = self.builder.records.iter();
        let claim = records.find(|raw| raw.owner == 0 && raw.rtype == Type::ZONEMD.0);
        let claim = claim.map(Raw::place).unwrap_or_default();
        let builder = std::mem::replace(&mut self.builder, Builder::new(Name::ROOT));
        let Some(zone) = builder.finish(&mut self.complaints, &self.files) else {
            return Err(self.complaints.errors);
        };
        let digested = match zone.verify_digest(policy) {
            Ok(digested) => digested,
            Err(why) => {
                let complaint = self.complaint(claim.file, (claim.line, 0), why);
                return Err(vec![Complaint {
                    conflict: true,
                    ..complaint
                }]);
            }
        };
        if digested == Digested::Unknown {
            let why = "no ZONEMD record has a known scheme and hash algorithm";
            self.warn(claim.file, (claim.line, 0), why.to_owned());
        }
        Ok(Loaded {
            zone,
            warnings: self.complaints.warnings,
            files: self.files.iter().map(|file| (**file).clone()).collect(),
            digested,
        })
    }

    fn complaint(&self, file: u16, (line, column): (u32, u32), message: String) -> Complaint {
        Complaint {
            file: self.files.get(file as usize).cloned().unwrap_or_default(),
            line,
            column,
            message,
            conflict: false,
            outside: false,
            note: false,
            soa_of: None,
        }
    }

    fn complain(&mut self, file: u16, at: (u32, u32), message: String) {
        let complaint = self.complaint(file, at, message);
        self.complaints.error(|| complaint);
    }

    fn warn(&mut self, file: u16, at: (u32, u32), message: String) {
        let complaint = self.complaint(file, at, message);
        self.complaints.warn(|| complaint);
    }

    /// Reads the entries of one file.
    fn file(&mut self, text: &[u8], file: u16, depth: usize, mut state: State) {
        let mut scanner = Scanner::new(text);
        let mut tokens = Vec::new();
        while self.complaints.error_count < MOST {
            match scanner.next(&mut tokens) {
                Scanned::End => return,
                Scanned::Mistake { line, column, why } => {
                    self.complain(file, (line, column), why.to_owned());
                }
                Scanned::Entry { blank } => {
                    let entry = Entry {
                        text,
                        tokens: &tokens,
                        blank,
                        file,
                        made_at: None,
                    };
                    let first = entry.word(0).unwrap_or_default();
                    let done = if first.starts_with(b"$") && !blank && !tokens[0].quoted {
                        self.directive(entry, depth, &mut state)
                    } else {
                        self.record(entry, &mut state)
                    };
                    if let Err((token, why)) = done {
                        self.ttl_lost |= entry.says_ttl();
                        let at = entry.at(token);
                        self.complain(file, at, why);
                    }
                }
            }
        }
    }

    fn directive(&mut self, entry: Entry<'_>, depth: usize, state: &mut State) -> Done {
        let word = entry.word(0).unwrap_or_default().to_ascii_uppercase();
        let argument = entry.word(1);
        let most = match word.as_slice() {
            b"$ORIGIN" | b"$TTL" => 2,
            b"$INCLUDE" => 3,
            _ => usize::MAX,
        };
        if entry.tokens.len() > most {
            return Err((most, "unexpected text after the directive".to_owned()));
        }
        let Some(argument) = argument else {
            let word = String::from_utf8_lossy(&word).into_owned();
            return Err((0, format!("{word} needs an argument")));
        };
        match word.as_slice() {
            b"$ORIGIN" => {
                state.origin = NameBuf::parse_octets(argument, state.origin.as_name())
                    .map_err(|why| (1, why.to_string()))?;
            }
            b"$TTL" => state.default_ttl = Some(self.ttl(entry, 1, argument)?),
            b"$INCLUDE" => return self.include(entry, depth, *state),
            b"$GENERATE" => return self.generate(entry, state),
            _ => {
                let word = String::from_utf8_lossy(&word).into_owned();
                return Err((0, format!("unknown directive {word}")));
            }
        }
        Ok(())
    }

    /// A TTL at a token that must be one; 2^31 and more is 0 (RFC 2181, section 8).
    fn ttl(&mut self, entry: Entry<'_>, index: usize, text: &[u8]) -> Result<u32, (usize, String)> {
        match encoding::ttl(text) {
            Ok(ttl) if ttl > i32::MAX as u32 => {
                let why =
                    format!("the TTL {ttl} is above 2147483647 and counts as 0 (RFC 2181, 8)");
                self.warn(entry.file, entry.at(index), why);
                Ok(0)
            }
            Ok(ttl) => Ok(ttl),
            Err(TtlError::Overflow) => Err((index, "the TTL does not fit into 32 bits".to_owned())),
            Err(TtlError::Form) => Err((
                index,
                "expected a TTL: seconds, or such as 1h30m".to_owned(),
            )),
        }
    }

    fn include(&mut self, entry: Entry<'_>, depth: usize, mut state: State) -> Done {
        let wrong = |why: String| Err((1, why));
        if depth >= MOST_DEPTH {
            return wrong(format!("files include files more than {MOST_DEPTH} deep"));
        }
        if self.files.len() >= MOST_FILES {
            return wrong(format!("more than {MOST_FILES} files in one zone"));
        }
        if let Some(origin) = entry.word(2) {
            state.origin = NameBuf::parse_octets(origin, state.origin.as_name())
                .map_err(|why| (2, why.to_string()))?;
        }
        let mut octets = Vec::new();
        encoding::unescape(entry.word(1).unwrap_or_default(), &mut octets)
            .ok_or((1, "a backslash escapes nothing".to_owned()))?;
        let named = String::from_utf8(octets)
            .map_err(|_| (1, "the file's name is not UTF-8".to_owned()))?;
        let above = self
            .files
            .get(entry.file as usize)
            .cloned()
            .unwrap_or_default();
        let path = above.with_file_name(named);
        match self.reader.read(&path) {
            Ok(text) => {
                let file = self.files.len() as u16;
                self.files.push(Arc::new(path));
                self.file(&text, file, depth + 1, state);
                Ok(())
            }
            Err(error) => wrong(format!("{} cannot be read: {error}", path.display())),
        }
    }

    fn generate(&mut self, entry: Entry<'_>, state: &State) -> Done {
        let text = entry.word(1).unwrap_or_default();
        let span = Span::parse(text).map_err(|why| (1, why.to_owned()))?;
        if entry.tokens.len() < 5 {
            return Err((
                0,
                "$GENERATE needs a range, an owner, a type and RDATA".to_owned(),
            ));
        }
        let mut template = Vec::new();
        let last = entry.tokens.len() - 1;
        for (at, token) in entry.tokens.iter().enumerate().skip(2) {
            if !template.is_empty() {
                template.push(b' ');
            }
            // RDATA in quotes is a template of words, as in BIND: `MX "0 mail-$"`. A text stays one string, as in CoreDNS.
            let words = at == last
                && entry
                    .word(at - 1)
                    .and_then(rdata::type_of)
                    .is_some_and(|rtype| rtype != Type::TXT);
            let quote = token.quoted && !words;
            template.extend(quote.then_some(b'"'));
            template.extend_from_slice(token.of(entry.text));
            template.extend(quote.then_some(b'"'));
        }
        let (mut line, mut tokens) = (Vec::new(), Vec::new());
        for number in span.numbers() {
            self.generated += 1;
            if self.generated > MOST_GENERATED {
                return Err((
                    0,
                    format!("$GENERATE makes more than {MOST_GENERATED} records"),
                ));
            }
            line.clear();
            generate::substitute(&template, number, &mut line)
                .map_err(|why| (2, why.to_owned()))?;
            let mut scanner = Scanner::new(&line);
            if !matches!(scanner.next(&mut tokens), Scanned::Entry { .. }) {
                return Err((2, "the template gives no record".to_owned()));
            }
            let made = Entry {
                text: &line,
                tokens: &tokens,
                blank: false,
                file: entry.file,
                made_at: Some(entry.at(0)),
            };
            self.record(made, &mut state.clone())
                .map_err(|(_, why)| (0, why))?;
        }
        Ok(())
    }

    /// Reads one record: owner, TTL and class in either order, type, RDATA.
    fn record(&mut self, entry: Entry<'_>, state: &mut State) -> Done {
        let mut next = 0;
        if !entry.blank {
            let text = entry.word(0).unwrap_or_default();
            let owner = NameBuf::parse_octets(text, state.origin.as_name())
                .map_err(|why| (0, format!("the owner: {why}")))?;
            state.owner = Some(owner);
            next = 1;
        }
        let (mut ttl, mut class) = (None, false);
        let rtype = loop {
            let Some(text) = entry.word(next) else {
                return Err((next, "the record has no type".to_owned()));
            };
            if ttl.is_none() && text.first().is_some_and(u8::is_ascii_digit) {
                ttl = Some(self.ttl(entry, next, text)?);
            } else if !class && is_in(text) {
                class = true;
            } else if let Some(rtype) = rdata::type_of(text) {
                break rtype;
            } else if is_class(text) {
                return Err((next, "only the class IN is served".to_owned()));
            } else {
                let text = String::from_utf8_lossy(text).into_owned();
                return Err((next, format!("`{text}` is not a record type")));
            }
            next += 1;
        };
        if rtype.is_meta() || rtype.0 == 0 {
            return Err((next, format!("{rtype} is no type that a zone can hold")));
        }
        if ttl.is_some() {
            state.last_ttl = ttl;
        }
        let owner = state.owner.unwrap_or(state.origin);
        if state.owner.is_none() {
            // Told once; the rest is read for what it says of the records behind it.
            state.owner = Some(owner);
            let why = "the first record of a file needs an owner".to_owned();
            self.complain(entry.file, entry.at(0), why);
        }
        let mut octets = std::mem::take(&mut self.rdata);
        octets.clear();
        let mut fields = Fields {
            text: entry.text,
            tokens: entry.tokens,
            next: next + 1,
            origin: state.origin.as_name(),
        };
        let read = rdata::read(rtype, &mut fields, &mut octets);
        let done = read
            .map_err(|fault| (fault.token, fault.why.into_owned()))
            .and_then(|()| {
                let ttl = self.ttl_of(entry, rtype, (ttl, &octets), state)?;
                self.add(entry, owner, (rtype, ttl), &octets)
            });
        self.rdata = octets;
        done
    }

    /// The TTL of a record, which may not state one.
    fn ttl_of(
        &mut self,
        entry: Entry<'_>,
        rtype: Type,
        (stated, rdata): (Option<u32>, &[u8]),
        state: &mut State,
    ) -> Result<u32, (usize, String)> {
        if rtype == Type::SOA {
            let minimum = rdata
                .len()
                .checked_sub(4)
                .and_then(|at| wire::read_u32(rdata, at));
            self.soa_minimum = self.soa_minimum.or(minimum);
        }
        if let Some(ttl) = stated.or(state.default_ttl).or(state.last_ttl) {
            return Ok(ttl);
        }
        let Some(ttl) = self.soa_minimum.or(self.ttl_lost.then_some(0)) else {
            return Err((0, "the record has no TTL, and there is no $TTL".to_owned()));
        };
        state.last_ttl = Some(ttl);
        let why = format!("no TTL is stated; the SOA record's MINIMUM, {ttl}, is used");
        self.warn(entry.file, entry.at(0), why);
        Ok(ttl)
    }

    fn add(&mut self, entry: Entry<'_>, owner: NameBuf, fixed: (Type, u32), rdata: &[u8]) -> Done {
        if !self.builder.has_room() {
            return Err((0, "the zone is larger than 4 GiB".to_owned()));
        }
        let (line, _) = entry.at(0);
        let place = Place {
            file: entry.file,
            line,
        };
        let kept = self.any_soa && fixed.0 == Type::SOA;
        if kept {
            self.builder.keep_soa(owner, fixed.1, rdata, place);
        }
        match self.builder.push(owner.as_name(), fixed, rdata, place) {
            Ok(()) => Ok(()),
            Err(OutOfZone) if kept => Ok(()),
            Err(OutOfZone) => {
                let apex = self.builder.apex;
                let why = format!("{owner} is not within {apex}; the record is passed over");
                let outside = Complaint {
                    outside: true,
                    ..self.complaint(entry.file, entry.at(0), why)
                };
                self.complaints.warn(|| outside);
                Ok(())
            }
        }
    }
}

/// A mistake: at which token, and why.
type Done = Result<(), (usize, String)>;

fn is_in(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"IN") || text.eq_ignore_ascii_case(b"CLASS1")
}

fn is_class(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<wire::Class>().is_ok())
}
