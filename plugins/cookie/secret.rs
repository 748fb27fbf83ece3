//! Server cookies: how they are made and checked (RFC 9018, section 4), and the secrets that they are made with.
//!
//! ```text
//! version 1 │ reserved, 3 │ time, 4 │ SipHash-2-4 (secret; client cookie ‖ version, reserved, time ‖ client's address), 8
//! ```
//!
//! Of several secrets the first makes cookies, and all check them, so that a secret can be replaced without a cookie that turns bad.
//! Where none is configured, one is drawn when the process starts, and a new one follows from it each day; that of the day before is
//! good, too.

use std::net::IpAddr;
use std::sync::OnceLock;

use chain::Cookie;

/// Octets of a client's cookie.
pub(super) const CLIENT: usize = 8;
/// Octets of a server cookie that is made here.
const SERVER: usize = 16;
/// A cookie is good for so many seconds (section 4.3).
const OLDEST: i32 = 3_600;
/// How far ahead its clock may be.
const EARLIEST: i32 = -300;
/// From this age on a good one is renewed.
const RENEWED: i32 = 1_800;
/// For how many seconds a secret that was drawn makes cookies.
const DAY: u64 = 86_400;

/// A secret of 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Secret([u64; 2]);

/// Configured secrets, the one that makes cookies first; none to use secrets that were drawn.
pub(super) type Secrets = Vec<Secret>;

/// What a query's cookie is worth, and the cookies that its response gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Judged {
    pub(super) is_good: bool,
    pub(super) reply: Cookie,
}

impl Secret {
    /// The secret of these octets.
    pub(super) fn new(octets: [u8; 16]) -> Self {
        let [low, high] = [0, 8].map(|at| word(&octets[at..]));
        Self([low, high])
    }

    /// The secret that 32 hexadecimal digits stand for.
    pub(super) fn from_hex(text: &[u8]) -> Option<Self> {
        let mut octets = [0; 16];
        if text.len() != 2 * octets.len() {
            return None;
        }
        for (octet, digits) in octets.iter_mut().zip(text.chunks_exact(2)) {
            let [high, low] = [digits[0], digits[1]].map(|digit| (digit as char).to_digit(16));
            *octet = (high? << 4 | low?) as u8;
        }
        Some(Self::new(octets))
    }

    /// The secret that was drawn for the day of this number.
    fn of_day(day: u64) -> Self {
        static DRAWN: OnceLock<[u8; 16]> = OnceLock::new();
        let drawn = Self::new(*DRAWN.get_or_init(host::random::random));
        let part = |half: u8| {
            let mut input = [0; 9];
            input[..8].copy_from_slice(&day.to_be_bytes());
            input[8] = half;
            drawn.hash(&input)
        };
        Self([part(0), part(1)])
    }

    /// Appends the server cookie of `time`, whose first four octets are `head`, to the client's.
    fn make(self, client: &[u8], head: [u8; 4], time: u32, address: IpAddr) -> Cookie {
        let mut input = [0; CLIENT + 8 + 16];
        input[..CLIENT].copy_from_slice(client);
        input[CLIENT..CLIENT + 4].copy_from_slice(&head);
        input[CLIENT + 4..CLIENT + 8].copy_from_slice(&time.to_be_bytes());
        let rest = &mut input[CLIENT + 8..];
        let len = match address {
            IpAddr::V4(address) => {
                rest[..4].copy_from_slice(&address.octets());
                4
            }
            IpAddr::V6(address) => {
                rest.copy_from_slice(&address.octets());
                16
            }
        };
        let hash = self.hash(&input[..CLIENT + 8 + len]);
        let mut cookie = [0; CLIENT + SERVER];
        cookie[..CLIENT + 8].copy_from_slice(&input[..CLIENT + 8]);
        cookie[CLIENT + 8..].copy_from_slice(&hash.to_le_bytes());
        cookie
    }

    /// Whether it made the cookies that `sent` holds; how long that takes tells nothing of the octets.
    fn made(self, sent: &Cookie, address: IpAddr) -> bool {
        let (client, server) = sent.split_at(CLIENT);
        let (head, time) = ([server[0], server[1], server[2], server[3]], time_of(sent));
        let expected = self.make(client, head, time, address);
        let differences = expected.iter().zip(sent).map(|(a, b)| a ^ b);
        std::hint::black_box(differences.fold(0, |all, octet| all | octet)) == 0
    }

    /// SipHash-2-4 (the standard library has 1-3 only).
    fn hash(self, input: &[u8]) -> u64 {
        let [k0, k1] = self.0;
        let mut state = [
            k0 ^ 0x736F_6D65_7073_6575,
            k1 ^ 0x646F_7261_6E64_6F6D,
            k0 ^ 0x6C79_6765_6E65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        let mut absorb = |word: u64| {
            state[3] ^= word;
            rounds(&mut state, 2);
            state[0] ^= word;
        };
        let mut words = input.chunks_exact(8);
        words.by_ref().for_each(|chunk| absorb(word(chunk)));
        absorb(word(words.remainder()) | (input.len() as u64) << 56);
        state[2] ^= 0xFF;
        rounds(&mut state, 4);
        state.iter().fold(0, |all, part| all ^ part)
    }
}

/// Up to eight octets as a number.
fn word(octets: &[u8]) -> u64 {
    let octets = octets.iter().take(8).rev();
    octets.fold(0, |all, octet| all << 8 | u64::from(*octet))
}

fn rounds([a, b, c, d]: &mut [u64; 4], count: usize) {
    for _ in 0..count {
        *a = a.wrapping_add(*b);
        *c = c.wrapping_add(*d);
        *b = b.rotate_left(13) ^ *a;
        *d = d.rotate_left(16) ^ *c;
        *a = a.rotate_left(32).wrapping_add(*d);
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *d = d.rotate_left(21) ^ *a;
        *c = c.rotate_left(32);
    }
}

/// When the server cookie was made, in seconds; a number that wraps (RFC 1982).
fn time_of(cookie: &Cookie) -> u32 {
    let at = CLIENT + 4;
    u32::from_be_bytes([cookie[at], cookie[at + 1], cookie[at + 2], cookie[at + 3]])
}

/// Judges the server cookie of a query from `address`; `server` is empty where the client has none. `now` is in seconds since 1970.
pub(super) fn judge(
    secrets: &[Secret],
    (client, server): (&[u8], &[u8]),
    address: IpAddr,
    now: u64,
) -> Judged {
    let drawn;
    let secrets = if secrets.is_empty() {
        drawn = [0, 1].map(|ago| Secret::of_day((now / DAY).saturating_sub(ago)));
        &drawn[..]
    } else {
        secrets
    };
    let address = address.to_canonical();
    let mut is_good = false;
    if server.len() == SERVER && server[0] == 1 {
        let mut sent = [0; CLIENT + SERVER];
        sent[..CLIENT].copy_from_slice(client);
        sent[CLIENT..].copy_from_slice(server);
        let age = (now as u32).wrapping_sub(time_of(&sent)) as i32;
        if (EARLIEST..=OLDEST).contains(&age) {
            let maker = secrets
                .iter()
                .position(|secret| secret.made(&sent, address));
            is_good = maker.is_some();
            if maker == Some(0) && age < RENEWED && server[1..4] == [0; 3] {
                return Judged {
                    is_good,
                    reply: sent,
                };
            }
        }
    }
    let reply = match secrets.first() {
        Some(secret) => secret.make(client, [1, 0, 0, 0], now as u32, address),
        None => [0; CLIENT + SERVER],
    };
    Judged { is_good, reply }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        let text = digits.map(|pair| std::str::from_utf8(pair).expect("digits"));
        text.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal"))
            .collect()
    }

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// The test vectors of SipHash's authors: key 00 01 .. 0f, input 00 01 .. of each length.
    #[test]
    fn siphash() {
        let secret = Secret::from_hex(b"000102030405060708090a0b0c0d0e0f").expect("a secret");
        let input: Vec<u8> = (0..64).collect();
        for (len, expected) in [
            (0, 0x726F_DB47_DD0E_0E31),
            (1, 0x74F8_39C5_93DC_67FD),
            (7, 0xAB02_00F5_8B01_D137),
            (8, 0x93F5_F579_9A93_2462),
            (15, 0xA129_CA61_49BE_45E5),
            (63, 0x958A_324C_EB06_4572),
        ] {
            assert_eq!(secret.hash(&input[..len]), expected, "{len}");
        }
    }

    /// Secrets, address, time, what the client sends, whether it is good, what it gets.
    type Row = (
        &'static [&'static str],
        &'static str,
        u64,
        &'static str,
        bool,
        &'static str,
    );

    /// RFC 9018, appendix A.
    #[test]
    fn vectors() {
        const OLD: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
        const SIX: &str = "2001:db8:220:1:59de:d0f4:8769:82b8";
        let rows: &[Row] = &[
            // A.1: learning a new server cookie.
            (
                &[OLD],
                "198.51.100.100",
                1_559_731_985,
                "2464c4abcf10c957",
                false,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
            ),
            // A.2: 40 minutes later it is good, and renewed.
            (
                &[OLD],
                "198.51.100.100",
                1_559_734_385,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
                true,
                "2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
            ),
            // A.3: the reserved octets are part of what is hashed. (The times of the RFC are 112 minutes apart, which is too long.)
            (
                &[OLD],
                "203.0.113.203",
                1_559_734_700,
                "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
                false,
                "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e",
            ),
            (
                &[OLD],
                "203.0.113.203",
                1_559_728_000,
                "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
                true,
                "fc93fc62807ddb86010000005cf78f80",
            ),
            // A.4: the secret was replaced.
            (
                &[
                    "445536bcd2513298075a5d379663c962",
                    "dd3bdf9344b678b185a6f5cb60fca715",
                ],
                SIX,
                1_559_741_961,
                "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
                true,
                "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
            ),
            // The client's address as a socket for both families has it.
            (
                &[OLD],
                "::ffff:198.51.100.100",
                1_559_731_985,
                "2464c4abcf10c957",
                false,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
            ),
            // Another address, another client cookie, another secret, a bit less.
            (
                &[OLD],
                "198.51.100.101",
                1_559_731_985,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
                false,
                "",
            ),
            (
                &[OLD],
                "198.51.100.100",
                1_559_731_985,
                "2464c4abcf10c956010000005cf79f111f8130c3eee29480",
                false,
                "",
            ),
            (
                &[SECOND],
                "198.51.100.100",
                1_559_731_985,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
                false,
                "",
            ),
            (
                &[OLD],
                "198.51.100.100",
                1_559_731_985,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29481",
                false,
                "",
            ),
            (
                &[OLD],
                "198.51.100.100",
                1_559_731_985,
                "2464c4abcf10c957020000005cf79f111f8130c3eee29480",
                false,
                "",
            ),
            (
                &[OLD],
                "198.51.100.100",
                1_559_731_985,
                "2464c4abcf10c957010000005cf79f11",
                false,
                "",
            ),
            // One hour old and five minutes ahead are good, one second more is not.
            (
                &[OLD],
                "198.51.100.100",
                1_559_735_585,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
                true,
                "",
            ),
            (
                &[OLD],
                "198.51.100.100",
                1_559_735_586,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
                false,
                "",
            ),
            (
                &[OLD],
                "198.51.100.100",
                1_559_731_685,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
                true,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
            ),
            (
                &[OLD],
                "198.51.100.100",
                1_559_731_684,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
                false,
                "",
            ),
            // A young one is kept.
            (
                &[OLD],
                "198.51.100.100",
                1_559_733_784,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
                true,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
            ),
            (
                &[SECOND, OLD],
                "198.51.100.100",
                1_559_733_784,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
                true,
                "2464c4abcf10c957010000005cf7a618",
            ),
        ];
        const SECOND: &str = "445536bcd2513298075a5d379663c962";
        for (secrets, address, now, sent, is_good, reply) in rows {
            let secrets: Secrets = secrets
                .iter()
                .map(|secret| Secret::from_hex(secret.as_bytes()).expect("a secret"))
                .collect();
            let sent = octets(sent);
            let address = address.parse().expect("an address");
            let judged = judge(&secrets, sent.split_at(CLIENT), address, *now);
            assert_eq!(judged.is_good, *is_good, "{now} {}", hex(&sent));
            assert!(
                hex(&judged.reply).starts_with(reply),
                "{now} {}",
                hex(&sent)
            );
            let again = judge(&secrets, judged.reply.split_at(CLIENT), address, *now);
            assert!(again.is_good, "what is told is good");
        }
    }

    #[test]
    fn a_secret_that_was_drawn_is_good_for_a_day_more() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let midnight = 20_000 * DAY;
        let told = judge(&[], (b"12345678", b""), address, midnight - 1).reply;
        let (client, server) = told.split_at(CLIENT);
        let next = judge(&[], (client, server), address, midnight + 60);
        assert!(next.is_good);
        assert_ne!(next.reply, told, "the next day's secret makes the next one");
        assert!(!judge(&[], (client, server), [192, 0, 2, 2].into(), midnight).is_good);
    }

    #[test]
    fn what_is_no_secret() {
        for text in [
            "",
            "e5e973e5a6b2a43f48e7dc849e37bf",
            "g5e973e5a6b2a43f48e7dc849e37bfcf",
            "e5e973e5a6b2a43f48e7dc849e37bfcf00",
        ] {
            assert!(Secret::from_hex(text.as_bytes()).is_none(), "{text}");
        }
    }
}
