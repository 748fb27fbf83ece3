//! Any octets as a query, as a reply of an upstream, as a name, as text: read or refused, and what was read is what is there.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{
    HEADER_LEN, Message, Name, NameBuf, Parsed, Qname, Refusal, Response, ResponseState, Section,
    Type,
};

fuzz_target!(init: { wire::fix_seed(1); }, |octets: &[u8]| {
    as_query(octets);
    as_message(octets);
    as_text(octets);
    if let Ok(name) = Name::new(octets) {
        assert_eq!(Qname::from(name).name(), name);
    }
});

/// Reads a query and begins its response; then the same octets as the reply that an upstream gave to it.
fn as_query(octets: &[u8]) {
    let mut parsed = Parsed::default();
    let read = parsed.read(octets);
    if read == Err(Refusal::Silence) {
        return;
    }
    assert!(parsed.question_end as usize <= octets.len());
    if read.is_ok() {
        let (asked, qtype, qclass, end) = Message::new(octets)
            .expect("a header")
            .question()
            .expect("a question");
        assert_eq!(
            (asked.as_name(), qtype, qclass),
            (parsed.qname.name(), parsed.qtype, parsed.qclass)
        );
        assert_eq!(end, parsed.question_end as usize);
        for skip in 0..=parsed.qname.label_count() {
            assert_eq!(
                parsed.qname.hash(skip),
                wire::name_hash(parsed.qname.suffix(skip))
            );
        }
        let options = parsed.edns.map_or(0, |edns| {
            edns.options(octets)
                .map(|option| 4 + option.data.len())
                .sum()
        });
        assert_eq!(
            options,
            parsed
                .edns
                .map_or(0, |edns| (edns.options_end - edns.options_start) as usize)
        );
    }

    let (mut buffer, mut state) = (vec![0xAA; 5_000], ResponseState::default());
    let mut response = Response::new(&mut buffer, &mut state);
    let len = octets.len().min(response.buffer().len());
    response.buffer()[..len].copy_from_slice(&octets[..len]);
    if len > 2 {
        response.buffer()[2] |= 0x80;
    }
    let adopted = response.adopt(len, &parsed, octets);
    assert!(response.records().all(|record| record.is_ok()));
    if adopted {
        let opts = response
            .records()
            .flatten()
            .filter(|record| record.rtype == Type::OPT)
            .count();
        assert_eq!(opts, 0, "the finish writes the only one");
    }
    let limit = parsed.udp_limit().min(1232);
    response.fit(limit);
    assert!(response.len() <= limit.max(response.question_end()));
    response
        .push_opt(1232, 0, &[(3, b"nameplate")])
        .expect("there is room");
    let len = response.seal();
    let sent = Message::new(&buffer[..len]).expect("a header");
    assert_eq!(
        sent.records().filter(Result::is_ok).count(),
        sent.header().counts[1..]
            .iter()
            .map(|&n| n as usize)
            .sum::<usize>()
    );
}

fn as_message(octets: &[u8]) {
    let Some(message) = Message::new(octets) else {
        return;
    };
    let _ = (message.rcode(), message.question().is_ok());
    for record in message.records().flatten() {
        assert!(record.start < record.ttl_at && record.end() <= octets.len());
        let _ = record.soa_minimum();
        if record.section == Section::Answer {
            for skip in [0, 2, 6] {
                check(record.rdata_name(skip).ok());
            }
        }
        check(record.owner().ok());
    }
    for at in [0, 1, HEADER_LEN, octets.len() / 2, octets.len(), usize::MAX] {
        check(NameBuf::read(octets, at).ok().map(|(name, _)| name));
    }
}

fn as_text(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else {
        return;
    };
    check(text.parse().ok());
    let _ = (
        text.parse::<Type>(),
        text.parse::<wire::Class>(),
        wire::Rcode::from_mnemonic(text),
    );
}

/// A name is a name, and its text is its text.
fn check(name: Option<NameBuf>) {
    if let Some(name) = name {
        assert!(Name::new(name.as_name().octets()).is_ok());
        assert_eq!(name.to_string().parse(), Ok(name));
    }
}
