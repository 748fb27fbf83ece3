//! What `explain` tells of one query, for people and for machines. docs/explain.md documents the fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the schema: it grows when a field goes or changes its meaning, not when one is added.
pub const SCHEMA: u32 = 1;

/// What is asked to be explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// QNAME in presentation format.
    pub name: String,
    /// QTYPE.
    #[serde(rename = "type")]
    pub qtype: String,
    /// The client's address; 127.0.0.1 where none is given.
    pub from: Option<std::net::IpAddr>,
    /// Whether the query comes by TCP.
    pub tcp: bool,
    /// Whether DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// The address that is asked, `[HOST][:PORT]`; a listener is chosen where none is given.
    pub at: Option<String>,
}

/// What happened to one query.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Whether a running server was asked, with its caches as they are.
    pub live: bool,
    /// The query.
    pub query: Request,
    /// The listener that was asked: `dns://:53`.
    pub server: String,
    /// The other listeners.
    pub other_servers: Vec<String>,
    /// The server blocks of the listener: the chosen one first.
    pub blocks: Vec<BlockVerdict>,
    /// How many more blocks do not enclose the name.
    pub more_blocks: usize,
    /// The plugins of the chosen block, in the order in which a query meets them.
    pub steps: Vec<Step>,
    /// The hooks that were called, in order.
    pub visits: Vec<Visit>,
    /// What became of it.
    pub answer: Answer,
}

/// A place in the Corefile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file, as it is named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The line as it is written; nothing where not everybody may read the file.
    pub text: String,
}

/// A server block, and why it serves the query or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockVerdict {
    /// The zone of its key.
    pub zone: String,
    /// The view, where there is one.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub view: String,
    /// Where it stands.
    pub place: Option<Place>,
    /// Whether it serves the query.
    pub chosen: bool,
    /// Why, or why not.
    pub why: String,
}

/// A plugin in the chain of the chosen block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its directive.
    pub plugin: String,
    /// Where it stands.
    pub place: Option<Place>,
    /// `passed`, `answered`, `failed`, `silent`, `stream`, `unfinished`; `watched` where only the response was seen; `not asked`.
    pub verdict: String,
    /// Why it was not asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
    /// How long it waited, in microseconds.
    pub waited_us: u64,
}

/// One hook that was called.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Visit {
    /// How many look-ups of the server to itself stand above it.
    pub depth: u8,
    /// Whether it belongs to a query that a plugin made beside this one.
    pub aside: bool,
    /// The zone of the server block.
    pub zone: String,
    /// The number of the plugin in its chain, from 0.
    pub step: usize,
    /// Its directive.
    pub plugin: String,
    /// `query`, `resolve`, `response`, `respond` or `silent`.
    pub hook: String,
    /// `passed`, `answered`, `waits`, `silent`, `stream`, `failed`, `up`, `again` or `unfinished`.
    pub came: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
    /// When it was called, in microseconds from the beginning.
    pub began_us: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// What it changed.
    pub changes: Vec<Change>,
    /// What the plugin says of it.
    pub remarks: Vec<Remark>,
}

/// One thing that a hook changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `name`, `type` or `class` of the question; `rcode`, `flags`, `records`, `ttl` or `order` of the response.
    pub what: String,
    /// As it was.
    pub from: String,
    /// As it is.
    pub to: String,
}

/// What a plugin says of a visit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// What happened: `hit`, `miss`, `upstream`, `zone`.
    pub what: String,
    /// Facts by name.
    pub facts: BTreeMap<String, String>,
}

/// What became of a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// `response`; `silence` where nobody answers; `stream` where many messages would follow.
    pub outcome: String,
    /// The plugin that answered; nothing where the server wrote the response.
    pub answered_by: Option<String>,
    /// The plugin that failed, where the response is the server's because of that.
    pub failed: Option<String>,
    /// The cause of the failure, for operators.
    pub cause: Option<String>,
    /// The RCODE.
    pub rcode: String,
    /// The flags of the header.
    pub flags: String,
    /// The octets of the message.
    pub size: usize,
    /// The records of the answer section, in presentation format.
    pub answer: Vec<String>,
    /// The authority section.
    pub authority: Vec<String>,
    /// The additional section, without OPT.
    pub additional: Vec<String>,
    /// The extended error (RFC 8914): code and text.
    pub extended_error: Option<(u16, String)>,
    /// How long all of it took, in microseconds.
    pub took_us: u64,
}
