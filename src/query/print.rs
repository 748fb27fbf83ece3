//! A reply as dig writes it.

use std::fmt::Write as _;

use wire::{Class, EdnsOption, EdnsOptions, Message, Record, Section, Type};

use crate::ask::Reply;
use crate::options::Options;

/// The data of the answer, one record a line.
pub(crate) fn short(reply: &Reply) -> String {
    let Some(message) = Message::new(&reply.octets) else {
        return String::new();
    };
    let records = message.section(Section::Answer).filter_map(Result::ok);
    let lines: Vec<_> = records.map(|record| zone::present_rdata(&record)).collect();
    lines.join("\n")
}

/// All of it.
pub(crate) fn full(reply: &Reply, options: &Options, words: &[String]) -> String {
    let parts = options.parts;
    let mut out = String::new();
    if parts.cmd {
        let version = env!("CARGO_PKG_VERSION");
        let _ = writeln!(out, "\n; <<>> nameplate {version} <<>> {}", words.join(" "));
    }
    let Some(message) = Message::new(&reply.octets) else {
        return out;
    };
    if parts.comments {
        if reply.retried {
            out.push_str(";; Truncated, retried in TCP mode.\n");
        }
        header(&message, &mut out);
    }
    if parts.comments
        && let Some(opt) = message.opt()
    {
        pseudosection(&opt, &mut out);
    }
    if parts.question
        && let Ok((name, qtype, class, _)) = message.question()
    {
        if parts.comments {
            out.push_str(";; QUESTION SECTION:\n");
        }
        let _ = writeln!(out, ";{name}\t\t{class}\t{qtype}\n");
    }
    for (section, title, wanted) in [
        (Section::Answer, "ANSWER", parts.answer),
        (Section::Authority, "AUTHORITY", parts.authority),
        (Section::Additional, "ADDITIONAL", parts.additional),
    ] {
        let lines: Vec<_> = records(&message, section);
        if !wanted || lines.is_empty() {
            continue;
        }
        if parts.comments {
            let _ = writeln!(out, ";; {title} SECTION:");
        }
        for line in lines {
            let _ = writeln!(out, "{line}");
        }
        if parts.comments {
            out.push('\n');
        }
    }
    if parts.stats {
        let server = &reply.server;
        let _ = writeln!(out, ";; Query time: {} msec", reply.took.as_millis());
        let _ = writeln!(
            out,
            ";; SERVER: {}#{}({}) ({})",
            server.address.ip(),
            server.port,
            server.host,
            reply.transport
        );
        let _ = writeln!(out, ";; MSG SIZE  rcvd: {}", reply.octets.len());
    }
    out
}

fn header(message: &Message<'_>, out: &mut String) {
    let header = message.header();
    let _ = writeln!(out, ";; Got answer:");
    let _ = writeln!(
        out,
        ";; ->>HEADER<<- opcode: {}, status: {}, id: {}",
        header.flags.opcode(),
        message.rcode(),
        header.id
    );
    let [questions, answers, authority, additional] = header.counts;
    let _ = writeln!(
        out,
        ";; flags: {}; QUERY: {questions}, ANSWER: {answers}, AUTHORITY: {authority}, ADDITIONAL: {additional}\n",
        header.flags.to_string().replace(',', " ")
    );
}

/// What the OPT record says.
fn pseudosection(opt: &Record<'_>, out: &mut String) {
    let (version, flags) = (opt.ttl >> 16 & 0xFF, opt.ttl & 0xFFFF);
    let shown = if flags & 0x8000 == 0 { "" } else { " do" };
    out.push_str(";; OPT PSEUDOSECTION:\n");
    let _ = writeln!(
        out,
        "; EDNS: version: {version}, flags:{shown}; udp: {}",
        opt.class.0
    );
    for option in EdnsOptions::new(opt.rdata()) {
        let hex: String = option.data.iter().map(|o| format!("{o:02x}")).collect();
        let _ = match option.code {
            EdnsOption::NSID => {
                let text = String::from_utf8_lossy(option.data);
                writeln!(out, "; NSID: {hex} (\"{}\")", text.escape_debug())
            }
            EdnsOption::EXTENDED_ERROR => {
                let (code, text) = extended(option.data);
                match text.is_empty() {
                    true => writeln!(out, "; EDE: {code}"),
                    false => writeln!(out, "; EDE: {code}: ({})", text.escape_debug()),
                }
            }
            10 => writeln!(out, "; COOKIE: {hex}"),
            code => writeln!(out, "; OPT={code}: {hex}"),
        };
    }
}

/// INFO-CODE and EXTRA-TEXT of an extended error (RFC 8914).
pub(crate) fn extended(data: &[u8]) -> (u16, String) {
    let text = data.get(2..).unwrap_or_default();
    let code = wire::read_u16(data, 0).unwrap_or(0);
    (code, String::from_utf8_lossy(text).into_owned())
}

/// A section, one record a line, without OPT.
pub(crate) fn records(message: &Message<'_>, section: Section) -> Vec<String> {
    let records = message.section(section).filter_map(Result::ok);
    records
        .filter(|record| record.rtype != Type::OPT)
        .map(|record| line(&record))
        .collect()
}

/// A record, its fields apart by tabs.
pub(crate) fn line(record: &Record<'_>) -> String {
    let owner = record
        .owner()
        .map_or_else(|_| "?".to_owned(), |owner| owner.to_string());
    let (ttl, class, rtype): (u32, Class, Type) = (record.ttl, record.class, record.rtype);
    let rdata = zone::present_rdata(record);
    format!("{owner}\t{ttl}\t{class}\t{rtype}\t{rdata}")
}
