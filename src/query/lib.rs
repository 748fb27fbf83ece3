//! `nameplate query`: asks a server as dig does, for the check that needs no other package.
//!
//! ```text
//! words ─► options::Options ─► ask (hickory-net: UDP, TCP, TLS, HTTPS, QUIC) ─► octets ─┬─► print    as dig prints
//!                               └ trust: whose certificates are good                    ├─► json
//!                                 failure: why there is no reply, and what to do        └─► compare  two servers, what differs
//! ```
//!
//! Queries are composed and replies are read by `wire` and `zone`, as the server does it; sockets and sessions are hickory-net's. A
//! transport is one arm of [`ask`]: what another feature of that crate brings (HTTP/3) is one arm more.
//!
//! Exit codes are dig's: 0 a reply came, whatever its RCODE; 1 a mistake on the command line; 9 no reply; 10 the program failed. Two
//! replies that differ under `--compare` are 2, which dig does not use.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]
#![forbid(unsafe_code)]

mod ask;
mod compare;
mod failure;
mod json;
mod options;
mod print;
#[cfg(test)]
mod tests;
mod trust;

use options::{Options, Shape};

/// What was found, and how the process ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output.
    pub text: String,
    /// For standard error; empty when all went well.
    pub error: String,
    /// The exit code.
    pub code: u8,
}

/// A mistake on the command line.
pub const USAGE: u8 = 1;
/// Two replies differ.
pub const DIFFERENT: u8 = 2;
/// No reply came.
pub const NO_REPLY: u8 = 9;
/// The program failed.
pub const INTERNAL: u8 = 10;

/// The help text.
pub const HELP: &str = include_str!("help.txt");

/// Does what the words say.
pub fn run(words: &[String]) -> Outcome {
    let options = match Options::read(words) {
        Ok(options) => options,
        Err(error) => {
            return Outcome {
                error: format!("{error}\n  nameplate query --help lists the options"),
                code: USAGE,
                ..Outcome::default()
            };
        }
    };
    if options.help {
        return Outcome {
            text: HELP.trim_end().to_owned(),
            ..Outcome::default()
        };
    }
    let failed = |error: String, code| Outcome {
        error,
        code,
        ..Outcome::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(format!("cannot start: {error}"), INTERNAL),
    };
    let mut replies = Vec::new();
    let servers = match options.servers() {
        Ok(servers) => servers,
        Err(error) => return failed(error, INTERNAL),
    };
    if options.compare {
        for server in &servers {
            match runtime.block_on(ask::ask(server, &options)) {
                Ok(reply) => replies.push(reply),
                Err(error) => return failed(format!(";; {server}: {error}"), NO_REPLY),
            }
        }
        let (text, same) = compare::render(&replies, &options);
        return Outcome {
            text,
            code: if same { 0 } else { DIFFERENT },
            ..Outcome::default()
        };
    }
    let mut errors = Vec::new();
    for server in &servers {
        match runtime.block_on(ask::ask(server, &options)) {
            Ok(reply) => {
                let text = match options.shape {
                    Shape::Json => json::render(&reply, &options),
                    Shape::Short => print::short(&reply),
                    Shape::Full => print::full(&reply, &options, words),
                };
                return Outcome {
                    text,
                    error: errors.join("\n"),
                    code: 0,
                };
            }
            Err(error) => errors.push(format!(";; {server}: {error}")),
        }
    }
    errors.push(";; no servers could be reached".to_owned());
    failed(errors.join("\n"), NO_REPLY)
}
