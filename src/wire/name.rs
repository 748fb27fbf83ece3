//! Domain names in wire form (RFC 1035, section 3.1; RFC 4343 for case).
//!
//! Three shapes: [`Name`] borrows the octets of an uncompressed name, [`NameBuf`] owns them inline, [`Qname`] is a lower-cased name
//! with the place and the hash of each of its suffixes, made for look-ups.

use std::fmt;
use std::str::FromStr;

use crate::hash;
use crate::header::HEADER_LEN;

/// The longest name, in octets of wire form (RFC 1035, 2.3.4).
pub const MAX_NAME: usize = 255;
/// The most labels that a name can have, the root not counted.
pub const MAX_LABELS: usize = 127;

/// Why octets or a text are not a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// The octets end before the name does.
    Short,
    /// The name is longer than 255 octets.
    TooLong,
    /// A label is longer than 63 octets.
    LabelTooLong,
    /// A label is empty.
    EmptyLabel,
    /// A label type other than 00 and 11 (RFC 6891, 5).
    LabelType,
    /// A compression pointer that does not point before the name, or stands where none may.
    Pointer,
    /// A backslash without a character or a number up to 255 behind it.
    Escape,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "the name is cut short",
            Self::TooLong => "the name is longer than 255 octets",
            Self::LabelTooLong => "a label is longer than 63 octets",
            Self::EmptyLabel => "a label is empty",
            Self::LabelType => "a label has a reserved type",
            Self::Pointer => "a compression pointer does not point back",
            Self::Escape => "a backslash escapes nothing",
        })
    }
}

impl std::error::Error for NameError {}

/// An uncompressed name in wire form, borrowed. Its case is as it came.
#[derive(Clone, Copy)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// The root.
    pub const ROOT: Name<'static> = Name(&[0]);

    /// Checks that `octets` are exactly one uncompressed name.
    pub fn new(octets: &'a [u8]) -> Result<Self, NameError> {
        let mut at = 0;
        loop {
            match octets.get(at) {
                None => return Err(NameError::Short),
                Some(0) if at + 1 == octets.len() => break,
                Some(0) => return Err(NameError::EmptyLabel),
                Some(0xC0..) => return Err(NameError::Pointer),
                Some(64..) => return Err(NameError::LabelType),
                Some(&len) => at += 1 + len as usize,
            }
        }
        if octets.len() > MAX_NAME {
            Err(NameError::TooLong)
        } else {
            Ok(Self(octets))
        }
    }

    /// The name that these octets are, which [`Name::new`] has checked before.
    #[inline]
    pub const fn from_checked(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The octets, the root's zero included.
    #[inline]
    pub const fn octets(self) -> &'a [u8] {
        self.0
    }

    /// Whether this is the root.
    #[inline]
    pub const fn is_root(self) -> bool {
        self.0.len() <= 1
    }

    /// The labels from the left, without the root.
    #[inline]
    pub const fn labels(self) -> Labels<'a> {
        Labels(self.0)
    }

    /// The number of labels, the root not counted.
    pub fn label_count(self) -> usize {
        self.labels().count()
    }

    /// The name without its leftmost label; `None` for the root.
    pub fn parent(self) -> Option<Name<'a>> {
        let len = *self.0.first()? as usize;
        if len == 0 {
            None
        } else {
            self.0.get(1 + len..).map(Name)
        }
    }

    /// Whether the leftmost label is `*` (RFC 4592, 2.1.1).
    pub fn is_wildcard(self) -> bool {
        self.0.starts_with(b"\x01*")
    }

    /// Whether this name is `ancestor` or below it, case ignored.
    pub fn is_within(self, ancestor: Name<'_>) -> bool {
        let mut here = Some(self);
        while let Some(name) = here {
            if name.0.len() <= ancestor.0.len() {
                return name == ancestor;
            }
            here = name.parent();
        }
        false
    }
}

impl PartialEq<Name<'_>> for Name<'_> {
    /// Case is ignored (RFC 4343). A length octet is below 64 and so is no letter.
    #[inline]
    fn eq(&self, other: &Name<'_>) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

impl Eq for Name<'_> {}

/// Presentation format with every octet that could be misread escaped, always absolute: `www.example.org.`
impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                        write!(f, "\\{}", octet as char)?
                    }
                    0x21..=0x7E => write!(f, "{}", octet as char)?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The labels of a name from the left, without the root.
#[derive(Clone, Debug)]
pub struct Labels<'a>(&'a [u8]);

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let len = *self.0.first()? as usize;
        if len == 0 {
            return None;
        }
        let label = self.0.get(1..1 + len)?;
        self.0 = &self.0[1 + len..];
        Some(label)
    }
}

/// A name that owns its octets, inline.
#[derive(Clone, Copy)]
pub struct NameBuf {
    len: u8,
    octets: [u8; MAX_NAME],
}

impl NameBuf {
    /// The root.
    pub const fn root() -> Self {
        Self {
            len: 1,
            octets: [0; MAX_NAME],
        }
    }

    /// Copies `name`.
    pub fn from_name(name: Name<'_>) -> Self {
        let mut out = Self::root();
        out.octets[..name.0.len()].copy_from_slice(name.0);
        out.len = name.0.len() as u8;
        out
    }

    /// The name, borrowed.
    #[inline]
    pub fn as_name(&self) -> Name<'_> {
        Name(&self.octets[..self.len as usize])
    }

    /// The same name in lower case (RFC 4034, 6.2).
    pub fn to_lower(mut self) -> Self {
        self.octets[..self.len as usize].make_ascii_lowercase();
        self
    }

    /// `label` in front of `name`.
    pub fn prepend(label: &[u8], name: Name<'_>) -> Result<Self, NameError> {
        match label.len() {
            0 => return Err(NameError::EmptyLabel),
            64.. => return Err(NameError::LabelTooLong),
            _ => {}
        }
        let len = 1 + label.len() + name.0.len();
        if len > MAX_NAME {
            return Err(NameError::TooLong);
        }
        let mut out = Self::root();
        out.octets[0] = label.len() as u8;
        out.octets[1..1 + label.len()].copy_from_slice(label);
        out.octets[1 + label.len()..len].copy_from_slice(name.0);
        out.len = len as u8;
        Ok(out)
    }

    /// `name` with its suffix `from` replaced by `to` (RFC 6672, section 2.2); `None` when it does not end in `from`.
    pub fn substitute(
        name: Name<'_>,
        from: Name<'_>,
        to: Name<'_>,
    ) -> Option<Result<Self, NameError>> {
        if !name.is_within(from) {
            return None;
        }
        let keep = name.0.len() - from.0.len();
        let len = keep + to.0.len();
        if len > MAX_NAME {
            return Some(Err(NameError::TooLong));
        }
        let mut out = Self::root();
        out.octets[..keep].copy_from_slice(&name.0[..keep]);
        out.octets[keep..len].copy_from_slice(to.0);
        out.len = len as u8;
        Some(Ok(out))
    }

    /// Reads a name that may be compressed, at `at` of `message`; gives the place behind it.
    ///
    /// A pointer leads to a prior name (RFC 1035, section 4.1.4): behind the header, and to octets that end before the part that the
    /// pointer ends, so that nothing behind a name is read for it. There are at most as many pointers as a name has labels: more lead to
    /// no other name, only to more work (RFC 9267, section 2).
    pub fn read(mut message: &[u8], at: usize) -> Result<(Self, usize), NameError> {
        let mut out = Self::root();
        let mut len = 0;
        let mut here = at;
        let mut low = at;
        let mut pointers = 0;
        let mut behind = None;
        loop {
            let head = *message.get(here).ok_or(NameError::Short)? as usize;
            match head {
                0 => {
                    *out.octets.get_mut(len).ok_or(NameError::TooLong)? = 0;
                    out.len = (len + 1) as u8;
                    return Ok((out, behind.unwrap_or(here + 1)));
                }
                1..=63 => {
                    let label = message.get(here..=here + head).ok_or(NameError::Short)?;
                    let room = out
                        .octets
                        .get_mut(len..=len + head)
                        .ok_or(NameError::TooLong)?;
                    room.copy_from_slice(label);
                    len += 1 + head;
                    here += 1 + head;
                }
                0xC0.. => {
                    let next = *message.get(here + 1).ok_or(NameError::Short)? as usize;
                    let target = (head & 0x3F) << 8 | next;
                    pointers += 1;
                    if !(HEADER_LEN..low).contains(&target) || pointers > MAX_LABELS {
                        return Err(NameError::Pointer);
                    }
                    behind.get_or_insert(here + 2);
                    message = &message[..low];
                    here = target;
                    low = target;
                }
                _ => return Err(NameError::LabelType),
            }
        }
    }

    /// Reads presentation format, completing a relative name with `origin`. `@` and `.` mean what they mean in a master file.
    pub fn parse(text: &str, origin: Name<'_>) -> Result<Self, NameError> {
        Self::parse_octets(text.as_bytes(), origin)
    }

    /// [`NameBuf::parse`] for a text of any octets, as a master file may hold.
    pub fn parse_octets(octets: &[u8], origin: Name<'_>) -> Result<Self, NameError> {
        if octets == b"@" {
            return Ok(Self::from_name(origin));
        }
        if octets == b"." {
            return Ok(Self::root());
        }
        let mut out = Self::root();
        let mut label = 0; // where the label's length octet stands
        let mut at = 1;
        let mut i = 0;
        let mut absolute = false;
        if octets.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        while i < octets.len() {
            let octet = match octets[i] {
                b'.' => {
                    let len = at - label - 1;
                    if len == 0 {
                        return Err(NameError::EmptyLabel);
                    }
                    out.octets[label] = len as u8;
                    label = at;
                    at += 1;
                    i += 1;
                    absolute = i == octets.len();
                    continue;
                }
                b'\\' => {
                    let (octet, used) = unescape(&octets[i + 1..])?;
                    i += 1 + used;
                    octet
                }
                plain => {
                    i += 1;
                    plain
                }
            };
            if at - label > 63 {
                return Err(NameError::LabelTooLong);
            }
            *out.octets.get_mut(at).ok_or(NameError::TooLong)? = octet;
            at += 1;
        }
        let tail = if absolute {
            at -= 1;
            Name::ROOT
        } else {
            out.octets[label] = (at - label - 1) as u8;
            origin
        };
        let room = out
            .octets
            .get_mut(at..at + tail.0.len())
            .ok_or(NameError::TooLong)?;
        room.copy_from_slice(tail.0);
        out.len = (at + tail.0.len()) as u8;
        Ok(out)
    }
}

/// Reads what stands behind a backslash: three digits or any one octet (RFC 1035, section 5.1).
fn unescape(rest: &[u8]) -> Result<(u8, usize), NameError> {
    match rest {
        [a, b, c, ..] if a.is_ascii_digit() && b.is_ascii_digit() && c.is_ascii_digit() => {
            let number = [a, b, c]
                .iter()
                .fold(0u16, |n, &&d| n * 10 + u16::from(d - b'0'));
            u8::try_from(number)
                .map(|octet| (octet, 3))
                .map_err(|_| NameError::Escape)
        }
        [a, ..] if a.is_ascii_digit() => Err(NameError::Escape),
        [a, ..] => Ok((*a, 1)),
        [] => Err(NameError::Escape),
    }
}

impl FromStr for NameBuf {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text, Name::ROOT)
    }
}

impl PartialEq for NameBuf {
    fn eq(&self, other: &Self) -> bool {
        self.as_name() == other.as_name()
    }
}

impl Eq for NameBuf {}

impl fmt::Display for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_name().fmt(f)
    }
}

impl fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The place behind the name at `at`, compressed or not; pointers are not followed.
#[inline]
pub fn skip_name(message: &[u8], at: usize) -> Result<usize, NameError> {
    let mut here = at;
    loop {
        match *message.get(here).ok_or(NameError::Short)? {
            0 => return Ok(here + 1),
            len @ 1..=63 => here += 1 + len as usize,
            0xC0.. => {
                return if here + 1 < message.len() {
                    Ok(here + 2)
                } else {
                    Err(NameError::Short)
                };
            }
            _ => return Err(NameError::LabelType),
        }
        if here - at >= MAX_NAME {
            return Err(NameError::TooLong);
        }
    }
}

/// The octets that a [`Qname`] keeps: the longest name, and room to read a whole word at its last octet.
const ROOM: usize = MAX_NAME + 9;

/// A lower-cased name with the place and the hash of each of its suffixes.
#[derive(Clone)]
pub struct Qname {
    len: u8,
    labels: u8,
    lower: bool,
    octets: [u8; ROOM],
    starts: [u8; MAX_LABELS + 1],
    hashes: [u64; MAX_LABELS + 1],
}

impl Qname {
    /// The root.
    pub fn root() -> Self {
        let mut out = Self {
            len: 1,
            labels: 0,
            lower: true,
            octets: [0; ROOM],
            starts: [0; MAX_LABELS + 1],
            hashes: [0; MAX_LABELS + 1],
        };
        out.hashes[0] = hash::seed();
        out
    }

    /// Takes the uncompressed name at `at` of `message`; gives the place behind it. Pointers are refused: nothing stands before a
    /// QNAME that one could name.
    #[inline]
    pub fn set_from_message(&mut self, message: &[u8], at: usize) -> Result<usize, NameError> {
        let rest = message.get(at..).ok_or(NameError::Short)?;
        // No name is longer than this window, so what leaves it is too long or cut short.
        let window = rest.get(..MAX_NAME).unwrap_or(rest);
        let (mut here, mut labels) = (0, 0);
        loop {
            match window.get(here) {
                Some(0) => break,
                Some(&len @ 1..=63) => {
                    self.starts[labels & MAX_LABELS] = here as u8;
                    labels += 1;
                    here += 1 + len as usize;
                }
                Some(0xC0..) => return Err(NameError::Pointer),
                Some(_) => return Err(NameError::LabelType),
                None if here >= MAX_NAME => return Err(NameError::TooLong),
                None => return Err(NameError::Short),
            }
        }
        let name = window.get(..=here).ok_or(NameError::Short)?;
        self.fill(name, labels);
        Ok(at + here + 1)
    }

    /// Takes `name`.
    pub fn set(&mut self, name: Name<'_>) {
        let mut at = 0;
        let mut labels = 0;
        while let Some(&len @ 1..) = name.0.get(at) {
            self.starts[labels & MAX_LABELS] = at as u8;
            labels += 1;
            at += 1 + len as usize;
        }
        self.fill(name.0, labels);
    }

    /// Takes the name of `other`, hashes included.
    #[inline]
    pub fn copy_from(&mut self, other: &Self) {
        let (len, labels) = (other.len as usize, other.labels as usize & MAX_LABELS);
        self.octets[..len].copy_from_slice(&other.octets[..len]);
        self.starts[..=labels].copy_from_slice(&other.starts[..=labels]);
        self.hashes[..=labels].copy_from_slice(&other.hashes[..=labels]);
        (self.len, self.labels, self.lower) = (other.len, other.labels, other.lower);
    }

    /// Lower-cases `octets` into place and hashes every suffix, given that `starts` holds the labels' places.
    #[inline]
    fn fill(&mut self, octets: &[u8], labels: usize) {
        let root = octets.len().saturating_sub(1);
        self.len = octets.len() as u8;
        self.labels = labels as u8;
        self.starts[labels & MAX_LABELS] = root as u8;
        self.lower = copy_lower(&mut self.octets, octets);
        let keys = hash::keys();
        let mut state = keys.seed;
        self.hashes[labels & MAX_LABELS] = state;
        let mut end = root;
        for i in (0..labels & MAX_LABELS).rev() {
            let start = self.starts[i] as usize;
            state = keys.label_within(state, &self.octets, start, end);
            self.hashes[i] = state;
            end = start;
        }
    }

    /// The name in lower case.
    #[inline]
    pub fn name(&self) -> Name<'_> {
        Name(&self.octets[..self.len as usize])
    }

    /// Whether the name is `zone`, a name in lower case, or below it.
    #[inline]
    pub fn is_within(&self, zone: Name<'_>) -> bool {
        let Some(start) = (self.len as usize).checked_sub(zone.0.len()) else {
            return false;
        };
        self.octets[start..self.len as usize] == *zone.0
            && self.starts[..=self.labels as usize & MAX_LABELS]
                .iter()
                .any(|&at| at as usize == start)
    }

    /// The number of labels, the root not counted.
    #[inline]
    pub const fn label_count(&self) -> usize {
        self.labels as usize
    }

    /// Whether the name came in lower case.
    #[inline]
    pub const fn was_lower(&self) -> bool {
        self.lower
    }

    /// The suffix without its `skip` leftmost labels; the root when there are no more.
    #[inline]
    pub fn suffix(&self, skip: usize) -> Name<'_> {
        Name(&self.octets[self.suffix_start(skip)..self.len as usize])
    }

    /// Where that suffix begins within the name.
    #[inline]
    pub fn suffix_start(&self, skip: usize) -> usize {
        self.starts[skip.min(self.labels as usize)] as usize
    }

    /// The hash of that suffix.
    #[inline]
    pub fn hash(&self, skip: usize) -> u64 {
        self.hashes[skip.min(self.labels as usize)]
    }
}

/// Copies `from` in lower case to the front of `to`; whether it was so already. Eight octets at a time, the last of them again where
/// the name does not come out even.
#[inline]
fn copy_lower(to: &mut [u8; ROOM], from: &[u8]) -> bool {
    let mut changed = 0;
    if from.len() < 8 {
        for (there, &octet) in to.iter_mut().zip(from) {
            *there = octet.to_ascii_lowercase();
            changed |= u64::from(*there ^ octet);
        }
        return changed == 0;
    }
    let mut at = 0;
    while at < from.len() {
        let place = at.min(from.len() - 8);
        let (Some(there), Some(Ok(octets))) = (
            to.get_mut(place..place + 8),
            from.get(place..place + 8).map(<[u8; 8]>::try_from),
        ) else {
            break;
        };
        let word = u64::from_le_bytes(octets);
        let lower = lower_word(word);
        changed |= lower ^ word;
        there.copy_from_slice(&lower.to_le_bytes());
        at += 8;
    }
    changed == 0
}

/// Eight octets in lower case. The low seven bits of each are compared by addition, which never carries into the next.
#[inline]
const fn lower_word(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xFF;
    let low = word & (ONES * 0x7F);
    let from_a = low + ONES * (0x80 - b'A' as u64);
    let past_z = low + ONES * (0x7F - b'Z' as u64);
    let capitals = from_a & !past_z & !word & (ONES * 0x80);
    word | capitals >> 2
}

impl From<Name<'_>> for Qname {
    fn from(name: Name<'_>) -> Self {
        let mut out = Self::root();
        out.set(name);
        out
    }
}

impl fmt::Debug for Qname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}
