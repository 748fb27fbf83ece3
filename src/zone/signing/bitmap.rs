//! The types that a name has, as NSEC and NSEC3 records tell of them, and the names that follow a name at once.

use wire::{MAX_NAME, Name, NameBuf, Type};

/// The octets of a label at most (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;

/// A set of types below 512, where all types of this day are that a name has, with room for a few above.
#[derive(Clone, Debug)]
pub struct Types {
    low: [u64; 8],
    high: [u16; Self::HIGH],
    high_len: usize,
}

impl Default for Types {
    fn default() -> Self {
        Self {
            low: [0; 8],
            high: [0; Self::HIGH],
            high_len: 0,
        }
    }
}

impl Types {
    /// How many types from 512 on are kept; a proof without the others still denies what is not there.
    const HIGH: usize = 64;

    /// Adds a type.
    pub fn add(&mut self, rtype: Type) {
        let code = rtype.0 as usize;
        if let Some(word) = self.low.get_mut(code / 64) {
            *word |= 1 << (code % 64);
        } else if let Err(at) = self.high[..self.high_len].binary_search(&rtype.0)
            && self.high_len < Self::HIGH
        {
            self.high.copy_within(at..self.high_len, at + 1);
            self.high[at] = rtype.0;
            self.high_len += 1;
        }
    }

    /// Takes a type out.
    pub fn remove(&mut self, rtype: Type) {
        let code = rtype.0 as usize;
        if let Some(word) = self.low.get_mut(code / 64) {
            *word &= !(1 << (code % 64));
        } else if let Ok(at) = self.high[..self.high_len].binary_search(&rtype.0) {
            self.high.copy_within(at + 1..self.high_len, at);
            self.high_len -= 1;
        }
    }

    /// Whether a type is in it.
    pub fn has(&self, rtype: Type) -> bool {
        let code = rtype.0 as usize;
        match self.low.get(code / 64) {
            Some(word) => word & 1 << (code % 64) != 0,
            None => self.high[..self.high_len].binary_search(&rtype.0).is_ok(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.low == [0; 8] && self.high_len == 0
    }

    /// Appends the type bitmaps (RFC 4034, section 4.1.2): for each window of 256 types its number, a length, and a bit a type.
    pub fn write(&self, out: &mut Vec<u8>) {
        let low = (0..512).filter(|&code| self.has(Type(code)));
        let high = self.high[..self.high_len].iter().copied();
        let (mut window, mut bits, mut len) = (0, [0u8; 32], 0);
        let mut close = |window: u8, bits: &mut [u8; 32], len: &mut usize| {
            if *len > 0 {
                out.extend_from_slice(&[window, *len as u8]);
                out.extend_from_slice(&bits[..*len]);
            }
            (*bits, *len) = ([0; 32], 0);
        };
        for code in low.chain(high) {
            let [number, bit] = code.to_be_bytes();
            if number != window {
                close(window, &mut bits, &mut len);
                window = number;
            }
            let octet = usize::from(bit / 8);
            bits[octet] |= 0x80 >> (bit % 8);
            len = octet + 1;
        }
        close(window, &mut bits, &mut len);
    }
}

impl FromIterator<Type> for Types {
    fn from_iter<I: IntoIterator<Item = Type>>(types: I) -> Self {
        let mut out = Self::default();
        for rtype in types {
            out.add(rtype);
        }
        out
    }
}

/// The name behind `name` in canonical order with nothing between them (RFC 4471, section 3.1.1; RFC 9824, section 3.1): a label of one
/// zero octet in front of it, where that has room.
pub fn next_name(name: Name<'_>) -> NameBuf {
    NameBuf::prepend(&[0], name).unwrap_or_else(|_| next_at_cut(name))
}

/// The name behind `name` and behind all names below it (RFC 9824, section 3.4): a zero octet at the end of its first label. What is at
/// or below a zone cut is not spanned by the NSEC record of the cut.
pub fn next_at_cut(name: Name<'_>) -> NameBuf {
    let (Some(&len), Some(parent)) = (name.octets().first(), name.parent()) else {
        return NameBuf::root();
    };
    let mut label = [0; MAX_LABEL + 1];
    let len = usize::from(len);
    label[..len].copy_from_slice(&name.octets()[1..=len]);
    label.make_ascii_lowercase();
    if len < MAX_LABEL && name.octets().len() < MAX_NAME {
        return NameBuf::prepend(&label[..=len], parent).unwrap_or(NameBuf::root());
    }
    // The last octet that can be greater is, and those behind it go. An octet is never a capital: they sort as small letters.
    let Some(end) = label[..len].iter().rposition(|&octet| octet < u8::MAX) else {
        return next_at_cut(parent);
    };
    label[end] = match label[end] + 1 {
        b'A' => b'[',
        last => last,
    };
    NameBuf::prepend(&label[..=end], parent).unwrap_or(NameBuf::root())
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;
    use crate::denial::canonical;

    fn name(text: &str) -> NameBuf {
        text.parse().expect("a name")
    }

    #[test]
    fn bitmaps_are_those_of_rfc_4034_and_rfc_9824() {
        // RFC 4034, section 4.3.
        let types = [Type::A, Type::MX, Type::RRSIG, Type::NSEC, Type(1234)];
        let mut out = Vec::new();
        types.into_iter().collect::<Types>().write(&mut out);
        let mut expected = vec![0, 6, 0x40, 1, 0, 0, 0, 3, 4, 27];
        expected.extend_from_slice(&[0; 26]);
        expected.push(0x20);
        assert_eq!(out, expected);
        let mut out = Vec::new();
        let types = [Type::NXNAME, Type::NSEC, Type::RRSIG];
        types.into_iter().collect::<Types>().write(&mut out);
        let mut expected = vec![0, 17, 0, 0, 0, 0, 0, 3];
        expected.extend_from_slice(&[0; 10]);
        expected.push(0x80);
        assert_eq!(out, expected);
    }

    #[test]
    fn types_are_added_and_removed() {
        let mut types = Types::default();
        for code in [65_280, 1, 600, 511, 600, 65_281] {
            types.add(Type(code));
        }
        types.remove(Type(600));
        types.remove(Type(1));
        types.remove(Type(2));
        let there: Vec<u16> = (0..=u16::MAX).filter(|&t| types.has(Type(t))).collect();
        assert_eq!(there, [511, 65_280, 65_281]);
    }

    #[test]
    fn the_next_name_is_behind_and_nothing_is_between() {
        assert_eq!(
            next_name(name("a.example.").as_name()),
            name("\\000.a.example.")
        );
        assert_eq!(
            next_at_cut(name("sub.example.").as_name()),
            name("sub\\000.example.")
        );
        let label = "x".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}.", "y".repeat(61));
        for text in [
            longest.as_str(),
            &format!("{label}.example."),
            &format!("{}.example.", "\\255".repeat(63)),
            &format!("{}@.example.", "z".repeat(62)),
            &longest[2..],
        ] {
            let this = name(text);
            for next in [next_name(this.as_name()), next_at_cut(this.as_name())] {
                let order = canonical(this.as_name().octets(), next.as_name().octets());
                assert_eq!(order, Ordering::Less, "{text} {next}");
            }
        }
    }
}
