//! The files that stand in for those of `/etc` inside of namespaces.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::ETC;
use crate::reach::Picture;
use crate::spec::{Dns, Hosts, Spec};

/// Every host of the lab as lines of a hosts file.
#[must_use]
pub fn hosts(spec: &Spec) -> String {
    everyone_of(spec, &Picture::of(spec, &spec.addresses))
}

/// Every host of the lab as lines of a hosts file: address, name, aliases.
pub(super) fn everyone_of(spec: &Spec, picture: &Picture<'_>) -> String {
    let mut lines = String::new();
    for at in 0..spec.spaces.len() {
        lines.push_str(&host_lines(spec, picture, at));
    }
    lines
}

/// One host's lines.
fn host_lines(spec: &Spec, picture: &Picture<'_>, at: usize) -> String {
    let space = &spec.spaces[at];
    let name = space.name.value.to_ascii_lowercase();
    let mut names = format!("{name}.{} {name}", spec.domain);
    let aliases = space.alias.iter().map(|alias| alias.value.as_str());
    let plain = aliases.filter(|alias| !alias.starts_with('*'));
    for alias in plain.chain(spec.dashed[at].as_deref()) {
        names.push(' ');
        names.push_str(&alias.to_ascii_lowercase());
    }
    picture
        .addresses(at)
        .iter()
        .map(|address| format!("{address} {names}\n"))
        .collect()
}

/// The files that stand in for those of `/etc` inside a namespace.
pub(super) fn files<'a>(
    spec: &Spec,
    at: usize,
    line: &str,
    picture: &Picture<'_>,
    everyone: &impl Fn() -> &'a str,
) -> Vec<(PathBuf, String)> {
    let space = &spec.spaces[at];
    let directory = PathBuf::from(ETC).join(&space.name.value);
    let mut files = Vec::new();
    let resolver = picture.nameserver(at);
    if spec.dns != Dns::Off {
        let mut text = String::with_capacity(256);
        text.push_str(line);
        text.push('\n');
        // Writing to a string cannot fail.
        if let Some(resolver) = resolver {
            let _ = writeln!(text, "nameserver {resolver}");
        }
        for server in &spec.servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        let mut list = |title: &str, words: &mut dyn Iterator<Item = &str>| {
            let mut title = Some(title);
            for word in words {
                text.push_str(title.take().unwrap_or(""));
                text.push(' ');
                text.push_str(word);
            }
            if title.is_none() {
                text.push('\n');
            }
        };
        let search = space.search.as_ref().unwrap_or(&spec.search);
        list("search", &mut search.iter().map(String::as_str));
        let ndots = space.ndots.map(|ndots| format!("ndots:{ndots}"));
        let options = spec.options.iter().map(String::as_str);
        let kept = options.filter(|option| ndots.is_none() || !option.starts_with("ndots:"));
        list("options", &mut kept.chain(ndots.as_deref()));
        files.push((directory.join("resolv.conf"), text));
    }
    if spec.hosts != Hosts::Off {
        let mut text = format!("{line}\n127.0.0.1 localhost\n::1 localhost ip6-localhost\n");
        if spec.hosts == Hosts::All || resolver.is_none() {
            text.push_str(everyone());
        } else {
            text.push_str(&host_lines(spec, picture, at));
        }
        files.push((directory.join("hosts"), text));
    }
    if spec.nsswitch {
        files.push((
            directory.join("nsswitch.conf"),
            format!("{line}\npasswd: files\ngroup: files\nhosts: files dns\n"),
        ));
    }
    files
}
