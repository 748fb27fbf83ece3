use chain::Outcome;
use wire::{Flags, Message, Section, Type};

use crate::trial;

/// RFC 8482, section 4.2: a single HINFO RRset in the answer section.
#[test]
fn any_is_one_record_and_the_rest_goes_on() {
    let block = trial::serve(
        &trial::block("any"),
        ".",
        trial::answer(|_, response| {
            response.set_flag(Flags::AA, true);
            Ok(chain::Flow::Answered)
        }),
    );
    for (qtype, answers) in [
        (Type::ANY, 1),
        (Type::A, 0),
        (Type::HINFO, 0),
        (Type::RRSIG, 0),
    ] {
        let mut exchange = trial::exchange("Www.example.org.", qtype, None);
        assert_eq!(exchange.walk(&block), Outcome::Respond);
        exchange.response().seal();
        let message = Message::new(exchange.reply()).expect("a message");
        assert_eq!(message.header().counts, [1, answers, 0, 0], "{qtype}");
        assert_eq!(message.flags().has(Flags::AA), answers == 0);
        for record in message.records() {
            let record = record.expect("a record");
            assert_eq!(
                (record.section, record.rtype),
                (Section::Answer, Type::HINFO)
            );
            let owner = record.owner().expect("an owner");
            assert_eq!(
                (owner.to_string().as_str(), record.ttl),
                ("Www.example.org.", 8_482)
            );
            assert_eq!(record.rdata(), b"\x0DANY obsoleted\x0CSee RFC 8482");
        }
    }
}

#[test]
fn lines() {
    trial::table(&[
        ("any", ""),
        ("any\nany", ""),
        ("any example.org", "unexpected line ending after 'any'"),
        ("any {\n  foo\n}", "`any` takes no block"),
    ]);
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
