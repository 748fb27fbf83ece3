//! `nameplate import`: the configuration of another server as a Corefile with files.
//!
//! ```text
//! dnsmasq.rs  unbound.rs  bind.rs  pihole.rs  hosts.rs      one file per format
//!      └──────────┴──────────┼────────┴─────────┘
//!                            ▼
//!                  model.rs   what is served: domains, each with what becomes of its names, and local data
//!                            ▼
//!                  render.rs  a server block per domain; hosts, zones and templates for the local data ─► files
//! ```
//!
//! The most specific domain decides about a name in all of these formats, and server blocks are chosen in the same way. So every domain
//! that a configuration names becomes a server block, and those with the same content become one.
//!
//! Invariants: nothing is guessed. An option without an equivalent is an entry of the report with its place; an option that was read for
//! nothing is a note. Input is bounded ([`reading`]), and nothing is written before all of it was read.

mod bind;
mod dnsmasq;
mod empty_zones;
mod grammar;
mod hosts;
mod master;
mod model;
mod pihole;
mod reading;
mod render;
mod report;
#[cfg(test)]
mod tests;
mod unbound;
mod write;

use std::io::{self, Write};
use std::path::PathBuf;

use self::model::Model;
use self::reading::Files;
use self::report::Report;

/// What is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// dnsmasq.conf, or a directory of such files.
    Dnsmasq,
    /// unbound.conf.
    Unbound,
    /// named.conf.
    Bind,
    /// pihole.toml of Pi-hole 6, or the directory that has it.
    Pihole,
    /// A directory of hosts files, or one such file.
    HostsDir,
}

/// What `import` is told.
#[derive(Debug)]
pub struct Import {
    /// The format.
    pub from: From,
    /// The file or directory to read.
    pub path: PathBuf,
    /// The directory to write to.
    pub out: PathBuf,
    /// Write the report as JSON.
    pub json: bool,
}

/// All was taken.
const TAKEN: u8 = 0;
/// Something was left, and is in the report.
const LEFT: u8 = 1;
/// The input cannot be read, or the output cannot be written.
const UNREADABLE: u8 = 2;

/// Reads a configuration, writes a Corefile and files, and reports what was left. Gives the exit status.
///
/// # Errors
/// When the report cannot be written.
pub fn import(wanted: &Import, out: &mut dyn Write, errors: &mut dyn Write) -> io::Result<u8> {
    if let Err(error) = write::look(&wanted.out) {
        writeln!(errors, "error: {error}")?;
        return Ok(UNREADABLE);
    }
    let mut files = Files::default();
    let mut report = Report::default();
    let model = match read(wanted, &mut files, &mut report) {
        Ok(model) => model,
        Err(error) => {
            writeln!(errors, "error: {}: {error}", wanted.path.display())?;
            return Ok(UNREADABLE);
        }
    };
    let rendered = render::render(&model);
    let written = match write::write(&wanted.out, rendered) {
        Ok(written) => written,
        Err(error) => {
            writeln!(errors, "error: {error}")?;
            return Ok(UNREADABLE);
        }
    };
    if wanted.json {
        report.write_json(&written, out)?;
    } else {
        report.write_text(&written, out)?;
    }
    Ok(if report.is_complete() { TAKEN } else { LEFT })
}

/// Reads the configuration into a model.
fn read(wanted: &Import, files: &mut Files, report: &mut Report) -> io::Result<Model> {
    let path = &wanted.path;
    match wanted.from {
        From::Dnsmasq => dnsmasq::read(path, files, report),
        From::Unbound => unbound::read(path, files, report),
        From::Bind => bind::read(path, files, report),
        From::Pihole => pihole::read(path, files, report),
        From::HostsDir => hosts::read(path, files, report),
    }
}
