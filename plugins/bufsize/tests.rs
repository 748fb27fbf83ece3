use chain::Outcome;
use wire::Type;

use crate::trial;

/// What is left of the size that a client offers, for the response and for an upstream; the client sends OPT when it offers.
#[test]
fn the_size_bounds_both_directions() {
    for (line, offered, limit) in [
        ("bufsize", Some(4_096), 1_232),
        ("bufsize 1220", Some(4_096), 1_220),
        ("bufsize 1220", Some(1_220), 1_220),
        ("bufsize 1220", Some(700), 700),
        ("bufsize 512", Some(1_232), 512),
        ("bufsize 4096", Some(4_096), 4_096),
        ("bufsize 4096", Some(1_400), 1_400),
        ("bufsize 512", None, 512),
        ("bufsize 4096", None, 512),
        // The first line counts.
        ("bufsize 600\nbufsize 700", Some(1_232), 600),
    ] {
        let block = trial::serve(
            &trial::block(line),
            ".",
            trial::answer(move |query, _| {
                assert_eq!(query.udp_limit(), limit, "{line} {offered:?}");
                let upstream = query.upstream_opt().map(|opt| usize::from(opt.udp_size));
                assert_eq!(upstream, offered.map(|_| limit), "{line} {offered:?}");
                Ok(chain::Flow::Answered)
            }),
        );
        let mut exchange = trial::exchange("www.example.org.", Type::A, offered);
        assert_eq!(exchange.walk(&block), Outcome::Respond);
        assert_eq!(exchange.udp_limit(), limit, "{line} {offered:?}");
    }
}

/// A look-up that a plugin makes for a client has the client's bound.
#[test]
fn a_lookup_of_the_server_to_itself_has_the_same_bound() {
    let block = trial::serve(
        &trial::block("bufsize 700"),
        ".",
        trial::answer(|_, _| Ok(chain::Flow::Answered)),
    );
    let mut exchange = trial::exchange("www.example.org.", Type::AAAA, Some(4_097));
    assert_eq!(exchange.walk(&block), Outcome::Respond);
    let name = exchange.parsed.qname.clone();
    let mut inner = exchange.derive(name.name(), Type::A);
    let opt = inner.views(&block).0.upstream_opt().expect("an OPT record");
    assert_eq!((inner.udp_limit(), opt.udp_size), (700, 700));
}

#[test]
fn lines() {
    trial::table(&[
        ("bufsize", ""),
        ("bufsize 512", ""),
        ("bufsize 4096", ""),
        ("bufsize \"1220\"", ""),
        ("bufsize 511", "number out of range: `511`"),
        ("bufsize 4097", "number out of range: `4097`"),
        ("bufsize abc123", "not a number: `abc123`"),
        ("bufsize \"512 512\"", "not a number: `512 512`"),
        ("bufsize 512 512", "unexpected line ending after '512'"),
        ("bufsize {\n  512\n}", "`bufsize` takes no block"),
    ]);
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
