//! A reply as JSON.

use serde_json::{Value, json};
use wire::{EdnsOption, EdnsOptions, Message, Section, Type};

use crate::ask::Reply;
use crate::options::Options;
use crate::print::extended;

/// One object, on several lines.
pub(crate) fn render(reply: &Reply, options: &Options) -> String {
    format!("{:#}", object(reply, options))
}

/// `{question, server, transport, took_us, size, id, opcode, rcode, flags, answer, authority, additional, edns}`; a record is
/// `{name, ttl, class, type, data}`.
pub(crate) fn object(reply: &Reply, options: &Options) -> Value {
    let mut out = json!({
        "question": {
            "name": options.name.to_string(),
            "type": options.qtype.to_string(),
            "class": options.class.to_string(),
        },
        "server": reply.server.address.to_string(),
        "transport": reply.transport,
        "took_us": u64::try_from(reply.took.as_micros()).unwrap_or(u64::MAX),
        "size": reply.octets.len(),
    });
    let Some(message) = Message::new(&reply.octets) else {
        return out;
    };
    let flags = message.flags();
    out["id"] = message.header().id.into();
    out["opcode"] = flags.opcode().to_string().into();
    out["rcode"] = message.rcode().to_string().into();
    out["flags"] = flags.to_string().split(',').map(Value::from).collect();
    for (name, section) in [
        ("answer", Section::Answer),
        ("authority", Section::Authority),
        ("additional", Section::Additional),
    ] {
        let records = message.section(section).filter_map(Result::ok);
        out[name] = records
            .filter(|record| record.rtype != Type::OPT)
            .map(|record| {
                let owner = record
                    .owner()
                    .map_or_else(|_| "?".into(), |o| o.to_string());
                json!({
                    "name": owner,
                    "ttl": record.ttl,
                    "class": record.class.to_string(),
                    "type": record.rtype.to_string(),
                    "data": zone::present_rdata(&record),
                })
            })
            .collect();
    }
    if let Some(opt) = message.opt() {
        let mut edns = json!({
            "version": opt.ttl >> 16 & 0xFF,
            "do": opt.ttl & 0x8000 != 0,
            "udp_size": opt.class.0,
        });
        for option in EdnsOptions::new(opt.rdata()) {
            match option.code {
                EdnsOption::NSID => {
                    edns["nsid"] = String::from_utf8_lossy(option.data).into_owned().into();
                }
                EdnsOption::EXTENDED_ERROR => {
                    let (code, text) = extended(option.data);
                    edns["extended_error"] = json!({ "code": code, "text": text });
                }
                _ => {}
            }
        }
        out["edns"] = edns;
    }
    out
}
