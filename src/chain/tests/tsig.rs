//! Signatures: hickory-proto verifies ours and we verify its, each error has its own response, and a stream is signed as a whole.

use std::sync::Arc;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name as OtherName, TSigner};
use wire::{Name, NameBuf, Parsed, Response, ResponseState};

use crate::tsig::{Algorithm, Key, Keyring, Rejection, Signer};

/// `some_key`, in base64.
const SECRET: &str = "c29tZV9rZXk=";
const NOW: u64 = 1_800_000_000;
const SHARED: [(Algorithm, TsigAlgorithm); 3] = [
    (Algorithm::Sha256, TsigAlgorithm::HmacSha256),
    (Algorithm::Sha384, TsigAlgorithm::HmacSha384),
    (Algorithm::Sha512, TsigAlgorithm::HmacSha512),
];

fn key(algorithm: Option<Algorithm>) -> Key {
    let name: NameBuf = "Key.Example.".parse().expect("a name");
    Key::new(name, SECRET, algorithm)
}

fn keyring(algorithm: Option<Algorithm>) -> Keyring {
    let mut keys = Keyring::default();
    assert!(keys.add(key(algorithm)).is_none());
    assert!(keys.add(key(algorithm)).is_some(), "of one name is one key");
    keys
}

fn other(algorithm: TsigAlgorithm) -> TSigner {
    let name = OtherName::from_ascii("key.example.").expect("a name");
    TSigner::new(b"some_key".to_vec(), algorithm, name, 300).expect("a signer")
}

/// A query for example.org.
fn query() -> Vec<u8> {
    b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\xFC\0\x01".to_vec()
}

/// A query that our key signed.
fn signed(algorithm: Algorithm) -> (Vec<u8>, crate::tsig::Verifier) {
    let mut out = query();
    let verifier = Arc::new(key(Some(algorithm))).sign(&mut out, NOW);
    (out, verifier.expect("a secret"))
}

fn tsig_at(message: &[u8]) -> usize {
    let mut parsed = Parsed::default();
    parsed.read(message).expect("a query");
    parsed.tsig.expect("it is signed").into()
}

fn verify(keys: &Keyring, message: &[u8], now: u64) -> Result<Signer, Rejection> {
    keys.verify(message, tsig_at(message), now)
}

/// A response to `query`, signed.
fn response(query: &[u8], signer: &mut Signer) -> Vec<u8> {
    let mut parsed = Parsed::default();
    parsed.read(query).expect("a query");
    let (mut octets, mut state) = ([0; 4_096], ResponseState::default());
    let mut response = Response::new(&mut octets, &mut state);
    response.begin(&parsed, query);
    response.seal();
    let before = response.len();
    signer.sign(&mut response, NOW);
    assert!(response.len() - before <= signer.room());
    response.octets().to_vec()
}

/// What the last record of a response says: error, length of the MAC, time signed, other data.
fn told(response: &[u8]) -> (u16, usize, u64, Vec<u8>) {
    let message = wire::Message::new(response).expect("a message");
    let record = message.records().last().expect("one").expect("a record");
    let rdata = record.rdata();
    let at = wire::skip_name(response, record.rdata_range.start).expect("a name");
    let rest = &rdata[at - record.rdata_range.start..];
    let time = rest[..6]
        .iter()
        .fold(0, |time, &octet| time << 8 | u64::from(octet));
    let mac = usize::from(rest[8]) << 8 | usize::from(rest[9]);
    let rest = &rest[10 + mac..];
    (
        u16::from(rest[2]) << 8 | u16::from(rest[3]),
        mac,
        time,
        rest[6..].to_vec(),
    )
}

#[test]
fn hickory_verifies_what_we_sign_and_we_what_it_signs() {
    for (algorithm, theirs) in SHARED {
        let signer = other(theirs);
        let (ours, mut verifier) = signed(algorithm);
        let checked = signer.verify_message_byte(&ours, None, true);
        let (mac, time, _) = checked.expect("hickory verifies our query");
        assert_eq!(time, NOW);

        let mut message = Message::query();
        let mut question = Query::new();
        question.set_name(OtherName::from_ascii("example.org.").expect("a name"));
        message.add_query(question);
        message.finalize(&signer, NOW).expect("signed");
        let theirs = message.to_vec().expect("octets");
        for bound in [None, Some(algorithm)] {
            assert!(verify(&keyring(bound), &theirs, NOW).is_ok());
        }

        // Three messages of one response: each is signed, by the one before it (RFC 8945, section 5.3.1).
        let mut ours_too = verify(&keyring(None), &ours, NOW).expect("our own");
        let mut previous = mac;
        for number in 0..3 {
            let message = response(&ours, &mut ours_too);
            let checked = signer.verify_message_byte(&message, Some(&previous), number == 0);
            (previous, ..) = checked.expect("hickory verifies our response");
            assert_eq!(verifier.check(&message, NOW), Ok(()), "message {number}");
            assert!(verifier.is_settled());
        }
    }
}

/// RFC 8945, sections 5.2 and 5.3.2: BADKEY and BADSIG are not signed; BADTIME and BADTRUNC are, and BADTIME has the server's time.
#[test]
fn each_error_has_its_response() {
    for algorithm in Algorithm::ALL {
        let (good, _) = signed(algorithm);
        let keys = keyring(Some(algorithm));
        assert!(verify(&keys, &good, NOW).is_ok(), "{algorithm:?}");
        assert!(verify(&keys, &good, NOW + 300).is_ok());
        let mut forged = good.clone();
        forged[13] ^= 0x20;
        let mut short = good.clone();
        let mac = mac_at(&good);
        let len = usize::from(short[mac - 1]);
        short.drain(mac + 16..mac + len);
        short[mac - 1] = 16;
        set_rdlength(&mut short, 16, len);
        let another = match algorithm {
            Algorithm::Sha256 => Algorithm::Sha1,
            _ => Algorithm::Sha256,
        };
        let bound_elsewhere = keyring(Some(another));
        let none = Keyring::default();
        let truncated = if len < 33 { 22 } else { 1 };
        for (what, keys, query, now, error, is_signed) in [
            ("an unknown key", &none, &good, NOW, 17, false),
            ("another algorithm", &bound_elsewhere, &good, NOW, 17, false),
            ("a changed message", &keys, &forged, NOW, 16, false),
            ("late", &keys, &good, NOW + 301, 18, true),
            ("early", &keys, &good, NOW - 301, 18, true),
            ("a truncated MAC", &keys, &short, NOW, truncated, true),
        ] {
            let (mut signer, error) = match verify(keys, query, now) {
                Err(Rejection::NotAuth(signer)) => (signer, error),
                Err(Rejection::FormErr) => {
                    assert_eq!(error, 1, "{what}, {algorithm:?}");
                    continue;
                }
                Ok(_) => panic!("{what} is good with {algorithm:?}"),
            };
            assert!(signer.verified().is_none(), "{what}");
            let (told, mac, time, other) = told(&response(query, &mut signer));
            assert_eq!((told, mac > 0), (error, is_signed), "{what}, {algorithm:?}");
            assert_eq!(time, NOW, "{what}");
            let other_data: &[u8] = if error == 18 {
                &NOW.to_be_bytes()[2..]
            } else {
                &[]
            };
            assert_eq!(other, other_data, "{what}");
        }
    }
}

/// Where the MAC begins.
fn mac_at(message: &[u8]) -> usize {
    let fixed = wire::skip_name(message, tsig_at(message)).expect("a name");
    wire::skip_name(message, fixed + 10).expect("a name") + 10
}

fn set_rdlength(message: &mut [u8], kept: usize, of: usize) {
    let fixed = wire::skip_name(message, tsig_start(message)).expect("a name");
    let len = u16::from_be_bytes([message[fixed + 8], message[fixed + 9]]);
    let len = len - (of - kept) as u16;
    message[fixed + 8..fixed + 10].copy_from_slice(&len.to_be_bytes());
}

/// Where the TSIG record begins of a message that cannot be parsed now.
fn tsig_start(_: &[u8]) -> usize {
    query().len()
}

#[test]
fn records_that_cannot_be_read_are_formerr() {
    let (good, _) = signed(Algorithm::Sha256);
    let at = tsig_at(&good);
    let fixed = wire::skip_name(&good, at).expect("a name");
    let keys = keyring(None);
    for (what, place, value) in [
        ("class IN", fixed + 3, 1),
        ("a TTL", fixed + 7, 1),
        ("a MAC that is too long", mac_at(&good) - 2, 1),
        ("other data that are not there", good.len() - 1, 9),
    ] {
        let mut bad = good.clone();
        bad[place] = value;
        let verified = keys.verify(&bad, at, NOW);
        assert!(matches!(verified, Err(Rejection::FormErr)), "{what}");
    }
    for len in at..good.len() {
        let verified = keys.verify(&good[..len], at, NOW);
        assert!(matches!(verified, Err(Rejection::FormErr)), "{len} octets");
    }
}

#[test]
fn unsigned_messages_stand_between_signed_ones_and_not_at_the_end() {
    let (query, _) = signed(Algorithm::Sha1);
    let keys = keyring(None);
    let plain = |number: u8| {
        let mut out = self::query();
        out[2] = 0x80;
        out.push(number);
        out
    };
    // A response that does not begin with a signature is none.
    let (_, mut verifier) = signed(Algorithm::Sha1);
    assert!(verifier.check(&plain(0), NOW).is_err());
    let (_, mut verifier) = signed(Algorithm::Sha1);
    let mut signer = verify(&keys, &query, NOW).expect("good");
    let first = response(&query, &mut signer);
    assert_eq!(verifier.check(&first, NOW), Ok(()));
    // Another key, a message twice, a message that was changed.
    assert!(verifier.check(&first, NOW).is_err());
    let mut second = response(&query, &mut signer);
    second[3] ^= 1;
    assert!(verifier.check(&second, NOW).is_err());
    for number in 0..99 {
        let mut message = self::query();
        message[2] = 0x80;
        message[0] = number;
        assert_eq!(verifier.check(&message, NOW), Ok(()), "{number}");
        assert!(!verifier.is_settled());
    }
    assert!(verifier.check(&self::query(), NOW).is_err(), "the 100th");
}

#[test]
fn secrets_and_names_of_algorithms_are_read() {
    let name = NameBuf::from_name(Name::ROOT);
    for (secret, usable) in [
        (SECRET, true),
        ("c29t ZV9r\nZXk=", true),
        ("test-key", false),
        ("", false),
    ] {
        assert_eq!(Key::new(name, secret, None).is_usable(), usable, "{secret}");
    }
    assert!(!format!("{:?}", key(None)).contains("c29t"));
    for (text, found) in [
        ("hmac-sha256", Some(Algorithm::Sha256)),
        ("HMAC-SHA1.", Some(Algorithm::Sha1)),
        ("hmac-md5.sig-alg.reg.int.", None),
    ] {
        assert_eq!(Algorithm::from_text(text), found);
    }
}
