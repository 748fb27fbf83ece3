//! What `template` answers, what its setup refuses and warns of, and what it counts.

mod bounds;
mod lines;

use std::fmt::Write;
use std::sync::{Arc, Weak};

use chain::{Block, Exchange, ExtendedError, Failure, Flow, Outcome, Router, resume};
use wire::{Class, Flags, Qname, Rcode, Section, Type};

use crate::trial::{self, Trial};

/// Every query of a block goes to that block.
struct Only(Arc<Block>);

impl Router for Only {
    fn route(&self, _: &Qname, _: Type) -> Option<Arc<Block>> {
        Some(self.0.clone())
    }
}

/// The lines of a server block at work, with a plugin below that says FORMERR: the next plugin was asked.
fn served(lines: &str) -> (Trial, Arc<Only>) {
    let trial = trial::block(lines);
    assert!(trial.accepted, "{lines}: {}", trial.messages);
    let block = trial::serve(
        &trial,
        ".",
        trial::answer(|_, _| Err(Failure::policy(Rcode::FORMERR))),
    );
    let only = Arc::new(Only(block));
    let weak: Weak<dyn Router> = Arc::downgrade(&(only.clone() as Arc<dyn Router>));
    only.0.set_router(weak);
    (trial, only)
}

/// Walks an exchange to its end.
fn walk(only: &Only, mut exchange: Box<Exchange>) -> Box<Exchange> {
    if let Outcome::Suspended(step) = exchange.walk(&only.0) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let resumed = runtime.block_on(resume(exchange, only.0.clone(), step));
        return resumed.0;
    }
    exchange
}

/// The response in a few words, records of the other sections in full.
fn told(exchange: &mut Exchange) -> String {
    let response = exchange.response();
    let mut out = trial::told(&response);
    out.truncate(out.find(" + ").unwrap_or(out.len()));
    for record in response.records() {
        let record = record.expect("a record");
        let mark = match record.section {
            Section::Answer => continue,
            Section::Authority => '+',
            Section::Additional => '*',
        };
        let owner = record.owner().expect("an owner");
        let _ = write!(out, " {mark} {owner} {} {}", record.ttl, record.rtype);
    }
    out
}

/// Asks the lines of a block, and says what comes back.
fn ask(lines: &str, qname: &str, qtype: Type) -> String {
    let (_trial, only) = served(lines);
    let mut exchange = walk(&only, trial::exchange(qname, qtype, Some(1_232)));
    told(&mut exchange)
}

#[test]
fn answers() {
    const IP: &str = r#"template IN A example {
        match (^|[.])ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]example[.]$
        answer "{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}"
        fallthrough
    }"#;
    const SECTIONS: &str = r#"template IN MX example {
        answer "{{ .Name }} 60 IN MX 10 {{ .Name }}"
        additional "{{ .Name }} 60 IN A 10.0.0.1" "b.example. 61 A 10.0.0.2"
        authority "{{ .Zone }} 62 IN NS ns0.example."
    }"#;
    const ALWAYS: &str = r#"template IN A lan {
        answer "{{ .Name }} 30 IN A 192.0.2.1" "{{ .Name }} 30 IN A 192.0.2.2"
    }
    template ANY ANY invalid {
        rcode NXDOMAIN
        authority "invalid. 60 {{ .Class }} SOA ns.invalid. hostmaster.invalid. (1 60 60 60 60)"
    }"#;
    const AKS: &str = r#"template ANY ANY internal.cloudapp.net {
        match "^(?:[^.]+\.){4,}internal\.cloudapp\.net\.$"
        rcode NXDOMAIN
        fallthrough
    }
    template ANY ANY reddog.microsoft.com {
        rcode NXDOMAIN
    }"#;
    for (lines, qname, qtype, expected) in [
        (
            AKS,
            "a.b.c.d.internal.cloudapp.net.",
            Type::A,
            "NXDOMAIN aa",
        ),
        (AKS, "b.c.d.internal.cloudapp.net.", Type::A, "FORMERR"),
        (AKS, "x.reddog.microsoft.com.", Type::AAAA, "NXDOMAIN aa"),
        (
            IP,
            "ip-10-95-12-8.example.",
            Type::A,
            "NOERROR aa | ip-10-95-12-8.example. 60 A 10.95.12.8",
        ),
        (
            IP,
            "x.IP-10-95-12-8.Example.",
            Type::A,
            "NOERROR aa | x.ip-10-95-12-8.example. 60 A 10.95.12.8",
        ),
        (IP, "ip-10-95-12-8.example.", Type::AAAA, "FORMERR"),
        (IP, "other.example.", Type::A, "FORMERR"),
        (IP, "ip-10-95-12-8.test.", Type::A, "FORMERR"),
        (IP, "ip-10-95-12-999.example.", Type::A, "SERVFAIL"),
        (
            IP,
            "ip-10-95-12-8.example.",
            Type::ANY,
            "NOERROR aa | ip-10-95-12-8.example. 60 A 10.95.12.8",
        ),
        (
            SECTIONS,
            "a.example.",
            Type::MX,
            "NOERROR aa | a.example. 60 MX a.example. + example. 62 NS * a.example. 60 A * b.example. 61 A",
        ),
        (
            ALWAYS,
            "a.b.lan.",
            Type::A,
            "NOERROR aa | a.b.lan. 30 A 192.0.2.1 | a.b.lan. 30 A 192.0.2.2",
        ),
        (
            ALWAYS,
            "A.B.LAN.",
            Type::A,
            "NOERROR aa | a.b.lan. 30 A 192.0.2.1 | a.b.lan. 30 A 192.0.2.2",
        ),
        (
            ALWAYS,
            "x.invalid.",
            Type::TXT,
            "NXDOMAIN aa + invalid. 60 SOA",
        ),
        (ALWAYS, "x.other.", Type::TXT, "FORMERR"),
        // Without an answer there is an empty one.
        ("template IN A", "x.", Type::A, "NOERROR aa"),
        (
            "template ANY ANY {\n rcode REFUSED\n}",
            "x.",
            Type::A,
            "REFUSED aa",
        ),
        (
            "template ANY ANY {\n rcode SERVFAIL\n answer \"x A 192.0.2.1\"\n}",
            "x.",
            Type::A,
            "SERVFAIL",
        ),
        // No expression matches: SERVFAIL without `fallthrough`, and the next template or plugin with it.
        (
            "template ANY ANY {\n match ^a\n}",
            "b.",
            Type::A,
            "SERVFAIL",
        ),
        (
            "template ANY ANY {\n match ^a\n fallthrough\n}",
            "b.",
            Type::A,
            "FORMERR",
        ),
        (
            "template ANY ANY {\n match ^a\n fallthrough c.\n}",
            "b.",
            Type::A,
            "SERVFAIL",
        ),
        (
            "template ANY ANY {\n match ^a\n fallthrough\n}\ntemplate ANY ANY {\n rcode NXDOMAIN\n}",
            "b.",
            Type::A,
            "NXDOMAIN aa",
        ),
        // The first expression that matches counts; several stand on one line or on more.
        (
            "template ANY TXT {\n match ^(a) ^(b)\n match ^(b.)\n answer \"{{ .Name }} 1 TXT {{ index .Match 1 }}\" \"{{ index .Match 1 }} 2 TXT x\"\n}",
            "bc.",
            Type::TXT,
            "NOERROR aa | bc. 1 TXT | b. 2 TXT",
        ),
        // The longest zone, whatever the order; the root is one.
        (
            "template IN A . b.a {\n answer \"{{ .Zone }} 1 A 192.0.2.1\"\n}",
            "c.b.a.",
            Type::A,
            "NOERROR aa | b.a. 1 A 192.0.2.1",
        ),
        (
            "template IN A . b.a {\n answer \"{{ .Zone }} 1 A 192.0.2.1\"\n}",
            "c.",
            Type::A,
            "NOERROR aa | . 1 A 192.0.2.1",
        ),
        // The default TTL, and no class.
        (
            "template IN A {\n answer \"x A 192.0.2.1\"\n}",
            "y.",
            Type::A,
            "NOERROR aa | x. 3600 A 192.0.2.1",
        ),
        // A template that writes nothing makes no record.
        (
            "template IN ANY {\n answer \"{{ if eq .Type `A` }}{{ .Name }} 1 A 192.0.2.1{{ end }}\"\n}",
            "x.",
            Type::AAAA,
            "NOERROR aa",
        ),
        (
            "template IN ANY {\n answer \"{{ if eq .Type `A` }}{{ .Name }} 1 A 192.0.2.1{{ end }}\"\n}",
            "x.",
            Type::A,
            "NOERROR aa | x. 1 A 192.0.2.1",
        ),
        // The client's address, the number behind a hexadecimal label, the name of a query as it came.
        (
            "template IN A {\n answer \"{{ .Name }} 1 A {{ .Remote }}\"\n}",
            "x.",
            Type::A,
            "NOERROR aa | x. 1 A 192.0.2.1",
        ),
        (
            "template IN A {\n match ^ip0a(?P<b>[a-f0-9]{2})[.]$\n answer \"{{ .Name }} 1 A 10.0.0.{{ parseInt .Group.b 16 8 }}\"\n}",
            "ip0aff.",
            Type::A,
            "NOERROR aa | ip0aff. 1 A 10.0.0.255",
        ),
        (
            "template IN TXT {\n answer \"{{ .Question.Name }} 1 TXT x\"\n}",
            "MiXed.",
            Type::TXT,
            "NOERROR aa | MiXed. 1 TXT",
        ),
        // What is special in a name is escaped, and stays one label.
        (
            "template IN A {\n answer \"{{ .Name }} 1 A 192.0.2.1\"\n}",
            "a\\.b\\;\\010.c.",
            Type::A,
            "NOERROR aa | a\\.b\\;\\010.c. 1 A 192.0.2.1",
        ),
        (
            "template IN A {\n match ^a[\\\\][.][.]c[.]$\n answer \"{{ .Name }} 1 A 192.0.2.1\"\n}",
            "a\\..c.",
            Type::A,
            "NOERROR aa | a\\..c. 1 A 192.0.2.1",
        ),
        (
            "template IN A {\n match ^a[.]c\n answer \"{{ .Name }} 1 A 192.0.2.1\"\n fallthrough\n}",
            "a\\.c.",
            Type::A,
            "FORMERR",
        ),
    ] {
        assert_eq!(
            ask(lines, qname, qtype),
            expected,
            "{qname} {qtype} of {lines}"
        );
    }
}

#[test]
fn variables_and_conditions() {
    let n = r#"match ^(?P<n>[0-9]+)[.]example[.]$
        var num int(group('n'))
        expr num > 1
        answer "{{ .Name }} 60 IN A 10.0.0.{{ .Var.num }}""#;
    for (lines, qname, expected) in [
        (
            "var ttl 60\n answer \"{{ .Name }} {{ .Var.ttl }} IN A 10.0.0.1\"",
            "a.example.",
            "NOERROR aa | a.example. 60 A 10.0.0.1",
        ),
        (
            "var a 1\n var b a + 1\n var c b * 10\n answer \"{{ .Name }} 60 IN A 10.{{ .Var.a }}.{{ .Var.b }}.{{ .Var.c }}\"",
            "a.example.",
            "NOERROR aa | a.example. 60 A 10.1.2.20",
        ),
        (
            "match ^(?P<a>[0-9]+)-(?P<b>[0-9]+)[.]example[.]$\n var a group('a')\n var b group(2)\n var whole group(0)\n \
             answer \"{{ .Var.whole }} 60 IN A 10.0.{{ .Var.a }}.{{ .Var.b }}\"",
            "12-34.example.",
            "NOERROR aa | 12-34.example. 60 A 10.0.12.34",
        ),
        (
            "var missing group('nosuchgroup') + group(9)\n answer \"{{ if eq .Var.missing `` }}{{ .Name }} 60 IN A 10.0.0.1{{ end }}\"",
            "a.example.",
            "NOERROR aa | a.example. 60 A 10.0.0.1",
        ),
        (
            "var n name()\n var ip client_ip()\n answer \"{{ .Var.n }} 60 IN A {{ .Var.ip }}\"",
            "a.example.",
            "NOERROR aa | a.example. 60 A 192.0.2.1",
        ),
        (
            "var local incidr(client_ip(), '192.0.2.0/24')\n answer \"{{ .Name }} 60 A {{ if .Var.local }}10.0.0.1{{ else }}10.0.0.2{{ end }}\"",
            "a.example.",
            "NOERROR aa | a.example. 60 A 10.0.0.1",
        ),
        (
            "var ips ['10.0.0.1', '10.0.0.2']\n answer \"{{ .Name }} 1 A {{ index .Var.ips 1 }}\"",
            "a.example.",
            "NOERROR aa | a.example. 1 A 10.0.0.2",
        ),
        (
            "var m {a: '10.0.0.9'}\n answer \"{{ .Name }} 1 A {{ .Var.m.a }}\"",
            "a.example.",
            "NOERROR aa | a.example. 1 A 10.0.0.9",
        ),
        (
            "answer \"{{ if not (len .Var) }}{{ .Name }} 1 A 10.0.0.9{{ end }}\"",
            "a.example.",
            "NOERROR aa | a.example. 1 A 10.0.0.9",
        ),
        // What has no value is SERVFAIL, even with `fallthrough`; what is not true falls through.
        (
            "var bad incidr('notanip', '10.0.0.0/8')\n fallthrough",
            "a.example.",
            "SERVFAIL",
        ),
        (
            "expr incidr('notanip', '10.0.0.0/8')\n fallthrough",
            "a.example.",
            "SERVFAIL",
        ),
        (
            "match ^b\n expr incidr('notanip', '10.0.0.0/8')\n fallthrough",
            "a.example.",
            "FORMERR",
        ),
        (
            "expr name() == 'b.example.'\n fallthrough",
            "a.example.",
            "FORMERR",
        ),
        ("expr name() == 'b.example.'", "a.example.", "SERVFAIL"),
        (
            "expr name() == 'b.example.'\n fallthrough other.example",
            "a.example.",
            "SERVFAIL",
        ),
        ("expr 1\n fallthrough", "a.example.", "FORMERR"),
        (
            "expr name() == 'a.example.'\n expr type() == 'A'",
            "a.example.",
            "NOERROR aa",
        ),
        (n, "2.example.", "NOERROR aa | 2.example. 60 A 10.0.0.2"),
        (n, "1.example.", "SERVFAIL"),
    ] {
        let lines = format!("template IN A example. {{\n{lines}\n}}");
        assert_eq!(ask(&lines, qname, Type::A), expected, "{lines}");
    }
}

#[test]
fn metadata_is_read() {
    let lines = "metadata\ntemplate IN TXT {\n var l metadata('test/label')\n answer \"{{ .Meta `test/label` }}.{{ .Var.l }}. 1 TXT x\"\n}";
    let (_trial, only) = served(lines);
    let mut exchange = walk(&only, trial::exchange("a.", Type::TXT, None));
    // Nobody here has the label, and a name has no empty labels.
    assert_eq!(told(&mut exchange), "SERVFAIL");
    let uncollected = |lines: &str| {
        let (_, report) = trial::plan(&format!(". {{\n{lines}\nwhoami\n}}\n"));
        report.iter().filter(|found| found.code == "CF0318").count()
    };
    assert_eq!(uncollected(lines), 0);
    assert_eq!(uncollected(lines.trim_start_matches("metadata\n")), 2);
}

#[test]
fn an_alias_is_followed_for_addresses() {
    const LINES: &str = r#"template IN ANY alias. {
        answer "{{ .Name }} 60 IN CNAME host.test."
    }
    template IN ANY fixed. {
        answer "fixed. 60 IN CNAME host.test."
    }
    template IN A host.test. {
        answer "{{ .Name }} 30 IN A 192.0.2.1"
    }
    template IN A dangling. {
        answer "{{ .Name }} 60 IN CNAME nobody.nowhere."
    }
    template IN A loop. {
        answer "{{ .Name }} 60 IN CNAME x.{{ .Name }}"
    }"#;
    for (qname, qtype, expected) in [
        (
            "a.alias.",
            Type::A,
            "NOERROR aa | a.alias. 60 CNAME host.test. | host.test. 30 A 192.0.2.1",
        ),
        (
            "A.Alias.",
            Type::A,
            "NOERROR aa | a.alias. 60 CNAME host.test. | host.test. 30 A 192.0.2.1",
        ),
        (
            "fixed.",
            Type::A,
            "NOERROR aa | fixed. 60 CNAME host.test. | host.test. 30 A 192.0.2.1",
        ),
        (
            "fixed.",
            Type::AAAA,
            "NOERROR aa | fixed. 60 CNAME host.test.",
        ),
        (
            "fixed.",
            Type::CNAME,
            "NOERROR aa | fixed. 60 CNAME host.test.",
        ),
        (
            "a.alias.",
            Type::TXT,
            "NOERROR aa | a.alias. 60 CNAME host.test.",
        ),
        (
            "dangling.",
            Type::A,
            "NOERROR aa | dangling. 60 CNAME nobody.nowhere.",
        ),
    ] {
        assert_eq!(ask(LINES, qname, qtype), expected, "{qname} {qtype}");
    }
    let endless = ask(LINES, "loop.", Type::A);
    assert_eq!(
        endless.matches("CNAME").count(),
        1 + usize::from(chain::MAX_DEPTH),
        "{endless}"
    );
}

#[test]
fn an_extended_error_is_told() {
    let lines = "template ANY ANY {\n rcode NXDOMAIN\n ederror 15 \"not here\"\n}";
    let (_trial, only) = served(lines);
    let exchange = walk(&only, trial::exchange("x.", Type::A, Some(1_232)));
    let told = exchange.context.extended.expect("an extended error");
    assert_eq!(
        (told.code, &*told.text),
        (ExtendedError::BLOCKED, "not here")
    );
}

#[test]
fn other_classes() {
    for (lines, class, expected) in [
        ("template CH TXT v.\ntemplate IN A", Class::CH, "NOERROR aa"),
        ("template ANY TXT v.", Class::CH, "REFUSED"),
        (
            "template ANY TXT v.\nforward . 127.0.0.1:1",
            Class::CH,
            "NOERROR aa",
        ),
        (
            "template IN TXT v.\nforward . 127.0.0.1:1",
            Class::HS,
            "suspended",
        ),
        ("template IN TXT v.", Class::IN, "NOERROR aa"),
        ("template CH TXT v.", Class::IN, "SERVFAIL"),
    ] {
        let trial = trial::block(lines);
        assert!(trial.accepted, "{lines}: {}", trial.messages);
        let last = trial::answer(|_, _| Ok(Flow::Next));
        let block = match lines.contains("forward") {
            true => trial::serve(&trial, ".", last),
            false => {
                let steps = trial.blocks[0].chain.steps();
                trial::chain(steps.iter().map(|step| step.plugin.clone()))
            }
        };
        let mut exchange = trial::exchange("v.", Type::TXT, None);
        let end = exchange.message().len() - 1;
        exchange.message_mut()[end] = class.0 as u8;
        exchange.parse().expect("a query");
        if let Some(refusal) = exchange.refusal(&block) {
            assert_eq!(refusal.rcode.to_string(), expected, "{lines} in {class}");
            continue;
        }
        let told = match exchange.walk(&block) {
            Outcome::Suspended(_) => "suspended".to_owned(),
            _ => trial::told(&exchange.response()),
        };
        assert_eq!(told, expected, "{lines} in {class}");
    }
}

#[test]
fn failures_are_told_in_gos_words() {
    let cause = |lines: &str, qname: &str| {
        let (_trial, only) = served(lines);
        let mut exchange = walk(&only, trial::exchange(qname, Type::TXT, None));
        assert_eq!(trial::told(&exchange.response()), "SERVFAIL");
        let (query, _) = exchange.views(&only.0);
        query.failure().expect("a failure").cause.to_string()
    };
    let lines = r#"template ANY ANY {
        match "[.]example[.]$"
        answer "{{ .Name }} 60 IN TXT \"{{ index .Match 2 }}\""
    }"#;
    assert_eq!(
        cause(lines, "test.example."),
        "template: answer:1:26: executing \"answer\" at <index .Match 2>: error calling index: index out of range: 2"
    );
    let lines = "template ANY ANY {\n authority \"{{ .Name }}\"\n}";
    let told = cause(lines, "test.example.");
    assert!(
        told.starts_with("authority is no record: the record has no type (line 1, column 1)"),
        "{told}"
    );
    assert_eq!(cause("template ANY ANY {\n match ^x\n}", "a."), "");
}

#[test]
fn counts_matches_and_failures() {
    let lines = "template ANY ANY counted.test. {\n answer \"{{ .Name }} 60 IN TXT {{ .Remote }}\"\n}\n\
        template ANY ANY failing.test. {\n answer \"{{ .Nope }}\"\n authority \"x\"\n}\n\
        template ANY ANY nothing.test. {\n authority \"{{ .Name }}\"\n}";
    let (_trial, only) = served(lines);
    for (qname, qtype) in [
        ("a.counted.test.", Type::TXT),
        ("b.counted.test.", Type::TXT),
        ("b.counted.test.", Type(65_280)),
        ("b.failing.test.", Type::A),
        ("b.nothing.test.", Type::A),
    ] {
        walk(&only, trial::exchange(qname, qtype, None));
    }
    let text = telemetry::metrics::encode_text();
    for line in [
        "coredns_template_matches_total{server=\"dns://:53\",zone=\"counted.test.\",view=\"\",class=\"IN\",type=\"TXT\"} 2",
        "coredns_template_matches_total{server=\"dns://:53\",zone=\"counted.test.\",view=\"\",class=\"IN\",type=\"TYPE65280\"} 1",
        "coredns_template_matches_total{server=\"dns://:53\",zone=\"failing.test.\",view=\"\",class=\"IN\",type=\"A\"} 1",
        "coredns_template_template_failures_total{server=\"dns://:53\",zone=\"failing.test.\",view=\"\",class=\"IN\",type=\"A\",\
         section=\"answer\",template=\"{{.Nope}}\"} 1",
        "coredns_template_rr_failures_total{server=\"dns://:53\",zone=\"nothing.test.\",view=\"\",class=\"IN\",type=\"A\",\
         section=\"authority\",template=\"{{.Name}}\"} 1",
    ] {
        assert!(
            text.contains(line),
            "{line}\nin {}",
            text.lines()
                .filter(|l| l.contains("template"))
                .collect::<Vec<_>>()
                .join("\n")
        );
    }
}

#[test]
fn readme() {
    trial::readme(include_str!("README.md"));
}

/// QNAME stays what it was in the question, and a response that has no room is truncated.
#[test]
fn a_long_answer_is_truncated() {
    let records: String = (0..60).fold(String::new(), |mut out, n| {
        let _ = writeln!(
            out,
            "answer \"{{{{ .Name }}}} 60 TXT {n}{}\"",
            "x".repeat(100)
        );
        out
    });
    let (_trial, only) = served(&format!("template IN TXT {{\n{records}}}"));
    let exchange = walk(&only, trial::exchange("A.example.", Type::TXT, None));
    let (mut exchange, limit) = (exchange, 512);
    let mut response = exchange.response();
    assert!(response.flags().has(Flags::TC));
    response.fit(limit);
    response.seal();
    let octets = response.octets();
    assert_eq!(&octets[12..23], b"\x01A\x07example\0");
}
