use std::sync::Arc;

use chain::{Flow, Outcome};
use wire::EdnsOption;

use crate::trial;

/// What is to be written as NSID.
fn told(lines: &str, options: Option<&[(u16, &[u8])]>) -> Option<Arc<[u8]>> {
    let block = trial::serve(
        &trial::block(lines),
        ".",
        trial::answer(|_, _| Ok(Flow::Answered)),
    );
    let mut exchange = trial::with_options(options);
    assert_eq!(exchange.walk(&block), Outcome::Respond);
    exchange.context.nsid.clone()
}

/// RFC 5001, 2.2: only where the query has the option, whatever is in it.
#[test]
fn whoever_asks_is_told() {
    let nsid: (u16, &[u8]) = (EdnsOption::NSID, b"");
    let cookie: (u16, &[u8]) = (EdnsOption::COOKIE, b"12345678");
    let data = Some(Arc::from(*b"Use The Force"));
    for (options, expected) in [
        (Some(&[nsid][..]), &data),
        (Some(&[cookie, nsid]), &data),
        (Some(&[(EdnsOption::NSID, b"something")]), &data),
        (Some(&[cookie]), &None),
        (Some(&[]), &None),
        (None, &None),
    ] {
        assert_eq!(
            &told("nsid Use The   Force", options),
            expected,
            "{options:?}"
        );
    }
    let host = told("nsid", Some(&[nsid])).expect("told");
    assert_eq!(*host, *host::hostname().as_bytes());
}

#[test]
fn lines() {
    let long = format!("nsid {}", "x".repeat(256));
    trial::table(&[
        ("nsid", ""),
        ("nsid \"ps0\"", ""),
        ("nsid \"tf 2\"", ""),
        ("nsid a b c", ""),
        (
            "nsid\nnsid",
            "this plugin can only be used once per Server Block",
        ),
        ("nsid a {\n  b\n}", "`nsid` takes no block"),
        (&long, "the identifier of `nsid` is too long"),
    ]);
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
