//! SHA-1 (RFC 3174), for hashed owner names alone: NSEC3 knows no other hash (RFC 5155, section 11), and on the query path nothing may
//! allocate.

/// The hash of an owner name in lower case (RFC 5155, section 5).
pub(crate) fn nsec3(lower: &[u8], salt: &[u8], iterations: u16) -> [u8; 20] {
    let mut hash = digest(&[lower, salt]);
    for _ in 0..iterations {
        hash = digest(&[&hash, salt]);
    }
    hash
}

/// The digest of the pieces put together; they are at most 255 + 255 octets here.
fn digest(pieces: &[&[u8]]) -> [u8; 20] {
    let mut state = [
        0x6745_2301u32,
        0xEFCD_AB89,
        0x98BA_DCFE,
        0x1032_5476,
        0xC3D2_E1F0,
    ];
    let mut block = [0u8; 64];
    let mut used = 0;
    let mut total = 0u64;
    for piece in pieces {
        total += piece.len() as u64;
        for &octet in *piece {
            block[used] = octet;
            used += 1;
            if used == 64 {
                compress(&mut state, &block);
                used = 0;
            }
        }
    }
    block[used] = 0x80;
    block[used + 1..].fill(0);
    if used >= 56 {
        compress(&mut state, &block);
        block.fill(0);
    }
    block[56..].copy_from_slice(&(total * 8).to_be_bytes());
    compress(&mut state, &block);
    let mut out = [0; 20];
    for (to, word) in out.chunks_exact_mut(4).zip(state) {
        to.copy_from_slice(&word.to_be_bytes());
    }
    out
}

fn compress(state: &mut [u32; 5], block: &[u8; 64]) {
    let mut words = [0u32; 80];
    for (word, octets) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]]);
    }
    for at in 16..80 {
        words[at] =
            (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (at, word) in words.iter().enumerate() {
        let (mixed, key) = match at {
            0..20 => (b & c | !b & d, 0x5A82_7999),
            20..40 => (b ^ c ^ d, 0x6ED9_EBA1),
            40..60 => (b & c | b & d | c & d, 0x8F1B_BCDC),
            _ => (b ^ c ^ d, 0xCA62_C1D6u32),
        };
        let next = a
            .rotate_left(5)
            .wrapping_add(mixed)
            .wrapping_add(e)
            .wrapping_add(key)
            .wrapping_add(*word);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
    }
    for (to, value) in state.iter_mut().zip([a, b, c, d, e]) {
        *to = to.wrapping_add(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|o| format!("{o:02x}")).collect()
    }

    #[test]
    fn digests_of_rfc_3174() {
        assert_eq!(
            hex(&digest(&[b"ab", b"c"])),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        let long = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(
            hex(&digest(&[long])),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
        );
        let dozen = [b'a'; 100];
        let pieces: Vec<&[u8]> = vec![&dozen; 10_000];
        assert_eq!(
            hex(&digest(&pieces)),
            "34aa973cd4c4daa4f61eeb2bdbad27316534016f"
        );
    }

    /// RFC 5155, Appendix A: H(example) = 0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.
    #[test]
    fn hashes_of_rfc_5155() {
        let hash = nsec3(b"\x07example\0", &[0xAA, 0xBB, 0xCC, 0xDD], 12);
        let mut expected = Vec::new();
        crate::encoding::Digits::default()
            .base32(b"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom", &mut expected)
            .expect("base32hex");
        assert_eq!(hash.as_slice(), expected);
    }
}
