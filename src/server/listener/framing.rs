//! Messages of a stream: each behind its length in two octets (RFC 1035, section 4.2.2; DoT and DoQ have the same).
//!
//! No I/O: octets go in, messages come out. What is kept is what is not a whole message yet, and no more room than that takes.

use wire::HEADER_LEN;

/// The octets of a stream that have not been taken as messages.
#[derive(Default)]
pub(crate) struct Frames {
    octets: Vec<u8>,
    /// How many of them have been taken.
    taken: usize,
}

/// What stands next in a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A whole message.
    Message(&'a [u8]),
    /// A part of one, or nothing.
    Part,
    /// A length that no DNS message can have: where the next message begins is not known any more.
    Invalid,
}

impl Frames {
    /// Takes octets in.
    pub(crate) fn push(&mut self, octets: &[u8]) {
        // A drip of octets grows the buffer by halves, a burst by what it brings.
        let room = self.octets.capacity() - self.octets.len();
        if room < octets.len() {
            let more = octets.len().max(self.octets.len() / 2);
            self.octets.reserve_exact(more);
        }
        self.octets.extend_from_slice(octets);
    }

    /// Takes the next message.
    pub(crate) fn next(&mut self) -> Frame<'_> {
        let Some(len) = wire::read_u16(&self.octets, self.taken).map(usize::from) else {
            return Frame::Part;
        };
        let start = self.taken + 2;
        if len < HEADER_LEN {
            return Frame::Invalid;
        }
        match self.octets.get(start..start + len) {
            Some(message) => {
                self.taken = start + len;
                Frame::Message(message)
            }
            None => Frame::Part,
        }
    }

    /// Gives back the room of what has been taken; says whether anything was.
    pub(crate) fn settle(&mut self) -> bool {
        let taken = std::mem::take(&mut self.taken);
        if taken == self.octets.len() {
            self.octets = Vec::new();
        } else if taken > 0 {
            self.octets.drain(..taken);
            self.octets.shrink_to_fit();
        }
        taken > 0
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether there is nothing that has not been taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken == self.octets.len()
    }

    /// How many octets have not been taken.
    pub(crate) fn len(&self) -> usize {
        self.octets.len() - self.taken
    }

    /// The room that is held.
    pub(crate) fn capacity(&self) -> usize {
        self.octets.capacity()
    }
}

/// Appends a message behind its length.
pub(crate) fn write(out: &mut Vec<u8>, message: &[u8]) {
    out.extend_from_slice(&(message.len() as u16).to_be_bytes());
    out.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of this length, and of octets of this value.
    fn message(len: usize, octet: u8) -> Vec<u8> {
        vec![octet; len]
    }

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        messages.iter().for_each(|message| write(&mut out, message));
        out
    }

    #[test]
    fn messages_come_out_in_whatever_pieces_they_go_in() {
        let messages = [message(12, 1), message(65_535, 2), message(300, 3)];
        let stream = framed(&messages);
        for piece in [1, 2, 3, 13, 1_000, 16_384, stream.len()] {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for octets in stream.chunks(piece) {
                frames.push(octets);
                while let Frame::Message(message) = frames.next() {
                    found.push(message.to_vec());
                }
                frames.settle();
                assert!(frames.capacity() <= frames.len() + frames.len() / 2 + piece);
            }
            assert!(found == messages, "{piece}");
            assert!(frames.is_empty() && frames.capacity() == 0);
        }
    }

    #[test]
    fn what_stands_before_an_invalid_length_is_a_message() {
        for len in [0, 1, 11_u16] {
            let mut frames = Frames::default();
            frames.push(&framed(&[message(12, 7)]));
            frames.push(&len.to_be_bytes());
            assert_eq!(frames.next(), Frame::Message(&[7; 12]));
            assert_eq!(frames.next(), Frame::Invalid);
            frames.settle();
            assert_eq!(frames.next(), Frame::Invalid, "it stays so");
            frames.clear();
            assert_eq!(frames.next(), Frame::Part);
        }
    }
}
