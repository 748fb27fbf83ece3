//! What differs between the replies of two servers to one question.
//!
//! The order of records is none of it, and a TTL is: it says how the two came to their answers. What a server says of itself (ID, size,
//! EDNS, time) is not compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;
use wire::{Message, Section, Type};

use crate::ask::Reply;
use crate::json;
use crate::options::{Options, Shape};

/// One difference: what, and what each of the two says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Difference {
    pub(crate) what: &'static str,
    pub(crate) a: String,
    pub(crate) b: String,
}

/// Draws what differs, and says whether nothing does.
pub(crate) fn render(replies: &[Reply], options: &Options) -> (String, bool) {
    let [a, b] = replies else {
        return (String::new(), true);
    };
    let found = differences(&a.octets, &b.octets);
    let same = found.is_empty();
    if options.shape == Shape::Json {
        let list: Vec<_> = found
            .iter()
            .map(|one| json!({ "what": one.what, "a": one.a, "b": one.b }))
            .collect();
        let out = json!({
            "same": same,
            "differences": list,
            "a": json::object(a, options),
            "b": json::object(b, options),
        });
        return (format!("{out:#}"), same);
    }
    let mut out = String::new();
    let (name, qtype) = (options.name, options.qtype);
    let _ = writeln!(out, "{name} {qtype}");
    for (mark, reply) in [("-", a), ("+", b)] {
        let rcode = Message::new(&reply.octets).map(|message| message.rcode().to_string());
        let _ = writeln!(
            out,
            "{mark} {}: {} in {} msec",
            reply.server,
            rcode.unwrap_or_default(),
            reply.took.as_millis()
        );
    }
    out.push('\n');
    if same {
        out.push_str("the replies say the same");
        return (out, true);
    }
    for one in &found {
        for (mark, text) in [('-', &one.a), ('+', &one.b)] {
            if !text.is_empty() {
                let _ = writeln!(out, "{mark} {}: {text}", one.what);
            }
        }
    }
    (out.trim_end().to_owned(), false)
}

/// What differs.
pub(crate) fn differences(a: &[u8], b: &[u8]) -> Vec<Difference> {
    let mut out = Vec::new();
    let (Some(a), Some(b)) = (Message::new(a), Message::new(b)) else {
        return out;
    };
    let mut add = |what, a: String, b: String| {
        if a != b {
            out.push(Difference { what, a, b });
        }
    };
    add("rcode", a.rcode().to_string(), b.rcode().to_string());
    let flags = |message: &Message<'_>| message.flags().to_string().replace(',', " ");
    add("flags", flags(&a), flags(&b));
    for (what, section) in [
        ("answer", Section::Answer),
        ("authority", Section::Authority),
        ("additional", Section::Additional),
    ] {
        let (mut left, mut right) = (records(&a, section), records(&b, section));
        let keys: Vec<_> = left.keys().chain(right.keys()).cloned().collect();
        for key in keys {
            let (mut ours, mut theirs) = match (left.remove(&key), right.remove(&key)) {
                (None, None) => continue,
                (ours, theirs) => (ours.unwrap_or_default(), theirs.unwrap_or_default()),
            };
            ours.sort_unstable();
            theirs.sort_unstable();
            let text = |ttls: &[u32]| {
                let ttls: Vec<_> = ttls
                    .iter()
                    .map(|ttl| format!("{key} (TTL {ttl})"))
                    .collect();
                ttls.join(", ")
            };
            add(what, text(&ours), text(&theirs));
        }
    }
    out
}

/// The records of a section as text in lower-case owner names, with their TTLs.
fn records(message: &Message<'_>, section: Section) -> BTreeMap<String, Vec<u32>> {
    let mut out: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for record in message.section(section).filter_map(Result::ok) {
        if record.rtype == Type::OPT {
            continue;
        }
        let owner = record
            .owner()
            .map_or_else(|_| "?".to_owned(), |owner| owner.to_lower().to_string());
        let (class, rtype) = (record.class, record.rtype);
        let text = format!("{owner} {class} {rtype} {}", zone::present_rdata(&record));
        out.entry(text).or_default().push(record.ttl);
    }
    out
}
