use std::sync::Arc;

use chain::{Block, Exchange, Flow, Outcome, Transport};
use wire::{EdnsOption, Rcode};

use super::Load;
use crate::trial::{self, Folder};

const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
const CLIENT: &[u8] = b"12345678";

fn serve(lines: &str) -> Arc<Block> {
    let trial = trial::block(lines);
    assert!(trial.accepted, "{}", trial.messages);
    trial::serve(&trial, ".", trial::answer(|_, _| Ok(Flow::Answered)))
}

/// Walks a query with these cookies; the exchange behind it.
fn walk(block: &Arc<Block>, cookie: Option<&[u8]>, transport: Transport) -> Box<Exchange> {
    let option = cookie.map(|cookie| [(EdnsOption::COOKIE, cookie)]);
    let mut exchange = trial::with_options(option.as_ref().map(<[_; 1]>::as_slice));
    exchange.context.transport = transport;
    assert_eq!(exchange.walk(block), Outcome::Respond);
    exchange
}

fn rcode(exchange: &mut Exchange) -> Rcode {
    exchange.response().rcode()
}

#[test]
fn a_client_learns_a_cookie_that_proves_its_address() {
    let block = serve(&format!("cookie {{\n secret {SECRET}\n}}"));
    let told = walk(&block, Some(CLIENT), Transport::Udp).context.cookie;
    let told = told.expect("cookies");
    assert_eq!(told[..8], *CLIENT);
    assert_eq!(told[8..12], [1, 0, 0, 0]);
    let mut again = walk(&block, Some(&told), Transport::Udp);
    assert_eq!(again.context.cookie, Some(told));
    let proved = |exchange: &mut Exchange| exchange.views(&block).0.has_proved_address();
    assert!(proved(&mut again));
    let mut other = trial::with_options(Some(&[(EdnsOption::COOKIE, &told)]));
    other.context.peer = "192.0.2.2:4711".parse().expect("an address");
    assert_eq!(other.walk(&block), Outcome::Respond);
    assert!(!proved(&mut other), "the address of another");
    assert!(other.context.cookie.is_some_and(|cookie| cookie != told));
    assert!(walk(&block, None, Transport::Udp).context.cookie.is_none());
    assert!(proved(&mut walk(&block, None, Transport::Tcp)));
}

/// RFC 7873, section 5.2.2: 8 octets, or 16 to 40. Section 5: of several the first counts.
#[test]
fn lengths() {
    let block = serve("cookie");
    for len in 0..=48 {
        let formerr = !matches!(len, 8 | 16..=40);
        let mut exchange = walk(&block, Some(&vec![7; len]), Transport::Udp);
        let expected = if formerr {
            Rcode::FORMERR
        } else {
            Rcode::NOERROR
        };
        assert_eq!(rcode(&mut exchange), expected, "{len}");
        assert_eq!(exchange.context.cookie.is_none(), formerr, "{len}");
    }
    let whole: (u16, &[u8]) = (EdnsOption::COOKIE, CLIENT);
    let cut: (u16, &[u8]) = (EdnsOption::COOKIE, b"1");
    for (options, expected) in [
        ([whole, cut], Rcode::NOERROR),
        ([cut, whole], Rcode::FORMERR),
    ] {
        let mut exchange = trial::with_options(Some(&options));
        assert_eq!(exchange.walk(&block), Outcome::Respond);
        assert_eq!(rcode(&mut exchange), expected);
    }
}

/// RFC 7873, section 5.2.3: only a client that has cookies is told BADCOOKIE, and only over UDP.
#[test]
fn what_is_required() {
    let block = serve("cookie {\n require\n}");
    for (cookie, transport, expected) in [
        (None, Transport::Udp, Rcode::NOERROR),
        (Some(CLIENT), Transport::Udp, Rcode::BADCOOKIE),
        (
            Some(&b"1234567812345678"[..]),
            Transport::Udp,
            Rcode::BADCOOKIE,
        ),
        (Some(CLIENT), Transport::Tcp, Rcode::NOERROR),
        (Some(CLIENT), Transport::Tls, Rcode::NOERROR),
        (Some(CLIENT), Transport::Quic, Rcode::NOERROR),
    ] {
        let mut exchange = walk(&block, cookie, transport);
        assert_eq!(rcode(&mut exchange), expected, "{cookie:?} {transport:?}");
        assert_eq!(exchange.context.cookie.is_some(), cookie.is_some());
    }
    let told = walk(&block, Some(CLIENT), Transport::Udp).context.cookie;
    let told = told.expect("cookies");
    let mut exchange = walk(&block, Some(&told), Transport::Udp);
    assert_eq!(rcode(&mut exchange), Rcode::NOERROR);
}

#[test]
fn cookies_are_required_under_load() {
    let block = serve("cookie {\n require_for_udp_over 3\n}");
    let told = walk(&block, Some(CLIENT), Transport::Tcp).context.cookie;
    let told = told.expect("cookies");
    let second = trial::with_options(None).context.received;
    let ask = |cookie: &[u8]| {
        let mut exchange = trial::with_options(Some(&[(EdnsOption::COOKIE, cookie)]));
        exchange.context.received = second;
        assert_eq!(exchange.walk(&block), Outcome::Respond);
        rcode(&mut exchange)
    };
    for _ in 0..10 {
        assert_eq!(ask(&told), Rcode::NOERROR, "a good one is no load");
    }
    let rcodes: Vec<_> = (0..5).map(|_| ask(CLIENT)).collect();
    let (fine, bad) = (Rcode::NOERROR, Rcode::BADCOOKIE);
    assert_eq!(rcodes, [fine, fine, fine, bad, bad]);
    let load = Load::default();
    let counts = [
        0,
        1,
        999_999_999,
        1_000_000_000,
        1_500_000_000,
        9_000_000_000,
    ];
    assert_eq!(counts.map(|at| load.count(at)), [1, 2, 3, 1, 2, 1]);
}

#[test]
fn lines() {
    let folder = Folder::new("cookie-lines");
    let good = folder.write(
        "good",
        &format!("# active, staging\n{SECRET}\n\n{SECRET}\n"),
    );
    let bad = folder.write("bad", &format!("{SECRET}\nnothing\n"));
    let empty = folder.write("empty", "\n");
    let file = |path: &std::path::Path| format!("cookie {{\n secret {}\n}}", path.display());
    trial::table(&[
        ("cookie", ""),
        (
            &format!("cookie {{\n secret {SECRET} {SECRET}\n require\n}}"),
            "",
        ),
        ("cookie {\n require_for_udp_over 1000\n}", ""),
        (&file(&good), ""),
        (
            &file(&bad),
            "bad:2: expected a secret of 32 hexadecimal digits",
        ),
        (&file(&empty), "empty: there is no secret"),
        (
            "cookie {\n secret /nowhere/secrets\n}",
            "open /nowhere/secrets",
        ),
        (
            "cookie {\n secret e5e973e5\n}",
            "the secret of `cookie` has another length",
        ),
        ("cookie {\n secret\n}", "Wrong argument count"),
        ("cookie {\n require_for_udp_over many\n}", "many"),
        ("cookie {\n require udp\n}", "Wrong argument count"),
        ("cookie {\n secrets x\n}", "unknown property 'secrets'"),
        (
            "cookie example.org",
            "unexpected line ending after 'cookie'",
        ),
        (
            "cookie\ncookie",
            "this plugin can only be used once per Server Block",
        ),
    ]);
}

#[test]
fn examples_load() {
    trial::readme(include_str!("README.md"));
}
