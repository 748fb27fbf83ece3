use chain::{Failure, Flow, Query, Transport};
use wire::{Class, Flags, Rcode, Response, Section, Type};

use crate::trial;

#[test]
fn lines() {
    trial::table(&[
        ("log", ""),
        ("log example.org", ""),
        ("log example.org. {common}", ""),
        ("log example.org example.net {combined}\nlog", ""),
        ("log . \"{combined} {/forward/upstream}\"", ""),
        ("log . {host}", ""),
        ("log 192.0.2.0/24", ""),
        ("log {\n  class denial error\n  class all\n}", ""),
        ("log {\n  class\n}", "unexpected line ending after 'class'"),
        (
            "log {\n  class abracadabra\n}",
            "invalid Class: abracadabra",
        ),
        ("log {\n  clas all\n}", "unknown property 'clas'"),
        ("log {combined}", "a format needs a name before it"),
        ("log . {type} {name}", "the format of `log` is one word"),
        ("log a..b", "zone is not a valid domain name"),
    ]);
    let warned = trial::block("log . \"{nane} {type}\"").messages;
    assert!(warned.contains("`{nane}` is not a placeholder"), "{warned}");
    let silent = trial::block("log . \"{common} {combined} {/a} {>rflags} {/log/type}\"").messages;
    assert!(!silent.contains("placeholder"), "{silent}");
}

/// What is logged of a query for `name`, A, that `answer` answers.
fn line<F>(lines: &str, name: &str, answer: F) -> String
where
    F: Fn(&mut Query<'_>, &mut Response<'_>) -> Result<Flow, Failure> + Send + Sync + 'static,
{
    let block = trial::serve(&trial::block(lines), ".", trial::answer(answer));
    trial::logged(|| {
        let mut exchange = trial::exchange(name, Type::A, Some(1_232));
        exchange.walk(&block);
    })
}

/// An answer of one address.
fn address(query: &mut Query<'_>, response: &mut Response<'_>) -> Result<Flow, Failure> {
    response.set_flag(Flags::AA, true);
    let fixed = (Type::A, Class::IN, 60);
    let pushed = response.push(Section::Answer, query.name(), fixed, &[192, 0, 2, 1]);
    pushed.map_err(|_| Failure::servfail("full"))?;
    Ok(Flow::Answered)
}

/// A negative answer, with a SOA record or without.
fn denial(
    rcode: Rcode,
    soa: bool,
) -> impl Fn(&mut Query<'_>, &mut Response<'_>) -> Result<Flow, Failure> {
    move |query, response| {
        response.set_rcode(rcode);
        if soa {
            let mut rdata = query.name().octets().repeat(2);
            rdata.extend_from_slice(&[0; 20]);
            let fixed = (Type::SOA, Class::IN, 60);
            let pushed = response.push(Section::Authority, query.name(), fixed, &rdata);
            pushed.map_err(|_| Failure::servfail("full"))?;
        }
        Ok(Flow::Answered)
    }
}

#[test]
fn the_line_is_that_of_coredns() {
    let log = line("log", "a.Example.org.", address);
    let (head, duration) = log.trim_end().rsplit_once(' ').expect("words");
    assert_eq!(
        head,
        "INFO log: 192.0.2.1:4711 - 58075 \"A IN a.example.org. udp 42 false 1232\" NOERROR qr,aa,rd 60"
    );
    let seconds = duration.strip_suffix('s').expect("seconds");
    assert!(
        seconds
            .parse::<f64>()
            .is_ok_and(|s| (0.0..1.0).contains(&s))
    );
    let log = line("log . {combined}", "a.example.org.", address);
    assert!(log.ends_with("s \"0\"\n"), "{log}");
}

#[test]
fn a_failure_has_the_servers_response() {
    let log = line(
        "log . \"{rcode} {>rflags} {rsize}\"",
        "example.org.",
        |_, _| Err(Failure::servfail("no")),
    );
    assert_eq!(log, "INFO log: SERVFAIL qr,rd 29\n");
}

#[test]
fn a_query_that_nobody_answers_is_an_error() {
    let silent = |lines: &str| line(lines, "example.org.", |_, _| Ok(Flow::Silent));
    let format = "log . \"{name} {rcode} {>rflags} {rsize}\"";
    let logged = "INFO log: example.org. - - 0\n";
    assert_eq!(silent(format), logged);
    assert_eq!(silent(&format!("{format} {{\n class error\n}}")), logged);
    assert_eq!(
        silent(&format!("{format} {{\n class success denial\n}}")),
        ""
    );
}

#[test]
fn placeholders() {
    for (format, written) in [
        ("{type} {class} {name}", "A IN example.org."),
        (
            "{proto} {size} {remote} {port} {local}",
            "udp 40 192.0.2.1 4711 192.0.2.53",
        ),
        ("{>id} {>opcode} {>do} {>bufsize}", "58075 0 false 1232"),
        ("{rcode} {>rflags} {rsize}", "NOERROR qr,aa,rd 56"),
        (
            "{/log/type} {/log/class} {/forward/upstream}",
            "NOERROR success -",
        ),
        ("{host} } { {type} {{type}}", "{host} } { A {A}"),
    ] {
        let log = line(&format!("log . \"{format}\""), "example.org.", address);
        assert_eq!(log, format!("INFO log: {written}\n"));
    }
}

#[test]
fn streams_and_ipv6() {
    let trial = trial::block("log . \"{remote} {local} {proto} {>bufsize} {>do}\"");
    let block = trial::serve(&trial, ".", trial::answer(address));
    let log = trial::logged(|| {
        let mut exchange = trial::exchange("example.org.", Type::A, Some(1_233));
        exchange.context.transport = Transport::Tls;
        exchange.context.peer = "[2001:db8::1]:4711".parse().expect("an address");
        exchange.context.local = "[::ffff:192.0.2.53]:853".parse().expect("an address");
        exchange.walk(&block);
    });
    assert_eq!(log, "INFO log: [2001:db8::1] 192.0.2.53 tcp 65535 true\n");
}

#[test]
fn the_response_is_measured_without_compression() {
    let log = line("log . {rsize}", "www.example.org.", |query, response| {
        let target = "mail.example.org."
            .parse::<wire::NameBuf>()
            .expect("a name");
        let fixed = (Type::MX, Class::IN, 60);
        let rdata = (&[0, 10][..], target.as_name());
        let pushed = response.push_named(Section::Answer, query.name(), fixed, rdata);
        pushed.map_err(|_| Failure::servfail("full"))?;
        Ok(Flow::Answered)
    });
    // 12 + (17 + 4) + (17 + 10 + 2 + 18).
    assert_eq!(log, "INFO log: 80\n");
}

#[test]
fn classes() {
    let refused = |_: &mut Query<'_>, _: &mut Response<'_>| Err(Failure::policy(Rcode::REFUSED));
    for (class, expected) in [
        ("all", [true; 6]),
        ("success", [true, false, false, false, true, false]),
        ("denial", [false, true, true, true, false, false]),
        ("error", [false, false, false, false, false, true]),
        ("success error", [true, false, false, false, true, true]),
    ] {
        let rule = format!("log . x{{type}} {{\n  class {class}\n}}");
        let seen = [
            line(&rule, "example.org.", address),
            line(&rule, "example.org.", denial(Rcode::NXDOMAIN, true)),
            line(&rule, "example.org.", denial(Rcode::NXDOMAIN, false)),
            line(&rule, "example.org.", denial(Rcode::NOERROR, true)),
            line(&rule, "example.org.", denial(Rcode::NOERROR, false)),
            line(&rule, "example.org.", refused),
        ]
        .map(|log| !log.is_empty());
        assert_eq!(seen, expected, "{class}");
    }
}

#[test]
fn the_first_scope_decides() {
    let rules =
        "log a.example.org a1{type} {\n  class error\n}\nlog example.org e1{type}\nlog . all{type}";
    for (name, expected) in [
        ("x.a.example.org.", ""),
        ("b.example.org.", "INFO log: e1A\n"),
        ("example.net.", "INFO log: allA\n"),
    ] {
        let rules = rules.replace(
            "log example.org e1{type}",
            "log example.org b.example.org e1{type}",
        );
        assert_eq!(line(&rules, name, address), expected, "{name}");
    }
    assert_eq!(line("log example.org", "example.net.", address), "");
}

/// Every octet in every place of a label leaves the line one line of printable ASCII (reliability C4).
#[test]
fn no_name_breaks_the_line() {
    let trial = trial::block("log . {name}{type}");
    let block = trial::serve(&trial, ".", trial::answer(address));
    for octet in 0..=255u8 {
        for name in [
            format!("\\{octet:03}ab.example.org."),
            format!("a\\{octet:03}b.example.org."),
            format!("ab\\{octet:03}.example.org."),
        ] {
            let log = trial::logged(|| {
                trial::exchange(&name, Type::A, None).walk(&block);
            });
            let line = log.strip_suffix('\n').expect("a line");
            assert!(line.bytes().all(|c| (0x20..0x7F).contains(&c)), "{line:?}");
            let written = line
                .strip_prefix("INFO log: ")
                .and_then(|l| l.strip_suffix('A'));
            let parsed: wire::NameBuf = written.expect("a name").parse().expect("a name");
            assert_eq!(parsed, name.parse().expect("a name"), "{line:?}");
        }
    }
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}
