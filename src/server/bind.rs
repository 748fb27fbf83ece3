//! The words of `bind` as addresses: an address stands for itself, an interface for all its addresses.

use std::net::IpAddr;

use chain::setup::{BindWord, BlockConfig};
use host::interfaces::{self, Interface};

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// As it is shown; empty for all addresses.
    pub(crate) host: String,
    /// The address; `None` is all.
    pub(crate) ip: Option<IpAddr>,
    /// The interface's index, for a link-local address.
    pub(crate) scope: u32,
}

/// The addresses of one block, each with whether it is waited for, since it comes and goes or is tentative: no `bind` at all is all addresses, or those that come and go alone.
pub(crate) fn hosts(config: &BlockConfig) -> Result<Vec<(Host, bool)>, String> {
    let Some(moving) = &config.listen else {
        return resolve(&config.bind);
    };
    let mut out = Vec::new();
    if !config.bind.is_empty() {
        out.extend(resolve(&config.bind)?);
    }
    for ip in moving.list() {
        let moving = host(ip, None);
        if out.iter().all(|(other, _)| *other != moving) {
            out.push((moving, true));
        }
    }
    Ok(out)
}

/// What `bind` says; no line of it is all addresses.
fn resolve(lines: &[Vec<BindWord>]) -> Result<Vec<(Host, bool)>, String> {
    if lines.is_empty() {
        let all = Host {
            host: String::new(),
            ip: None,
            scope: 0,
        };
        return Ok(vec![(all, false)]);
    }
    // Plain addresses need no interface; asking for them costs a tenth of a start.
    let plain = |word: &BindWord| word.word.parse::<IpAddr>().is_ok();
    if lines.iter().flatten().all(plain) {
        return resolve_among(lines, &[]);
    }
    resolve_among(lines, &interfaces::list())
}

/// The same, given the machine's interfaces.
fn resolve_among(
    lines: &[Vec<BindWord>],
    interfaces: &[Interface],
) -> Result<Vec<(Host, bool)>, String> {
    let mut out: Vec<(Host, bool)> = Vec::new();
    for line in lines {
        let mut all = Vec::new();
        let mut except = Vec::new();
        for word in line {
            let to = if word.except { &mut except } else { &mut all };
            to.extend(one(&word.word, interfaces)?);
        }
        for (host, waits) in all {
            let same = |(other, _): &(Host, bool)| *other == host;
            if !except.iter().any(same) && !out.iter().any(same) {
                out.push((host, waits));
            }
        }
    }
    if out.is_empty() {
        return Err("plugin/bind: no address is left to listen on: all are excepted".to_owned());
    }
    Ok(out)
}

/// The addresses that one word stands for.
fn one(word: &str, interfaces: &[Interface]) -> Result<Vec<(Host, bool)>, String> {
    let named: Vec<_> = interfaces
        .iter()
        .filter(|interface| interface.name == word)
        .collect();
    if !named.is_empty() {
        return Ok(named
            .iter()
            .map(|interface| {
                (
                    host(interface.address, Some(interface)),
                    interface.tentative,
                )
            })
            .collect());
    }
    let (text, zone) = word
        .split_once('%')
        .map_or((word, None), |(ip, zone)| (ip, Some(zone)));
    let unknown = || format!("plugin/bind: not a valid IP address or interface name: \"{word}\"");
    let ip: IpAddr = text.parse().map_err(|_| unknown())?;
    let by_zone = zone.map(|zone| {
        interfaces
            .iter()
            .filter(|interface| interface.name == zone || zone.parse() == Ok(interface.index))
            .max_by_key(|interface| interface.address == ip)
            .ok_or_else(unknown)
    });
    let interface = by_zone.transpose()?;
    let waits = interface.is_some_and(|one| one.address == ip && one.tentative);
    Ok(vec![(host(ip, interface), waits)])
}

fn host(ip: IpAddr, interface: Option<&Interface>) -> Host {
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    match interface {
        Some(interface) if link_local => Host {
            host: format!("{ip}%{}", interface.name),
            ip: Some(ip),
            scope: interface.index,
        },
        _ => Host {
            host: ip.to_string(),
            ip: Some(ip),
            scope: 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corefile::{Memory, parse};

    fn words(text: &str) -> Vec<BindWord> {
        let (corefile, _) = parse(
            "Corefile",
            format!(". {{\nx {text}\n}}").into(),
            &Memory::new(),
        );
        let mut except = false;
        let mut out = Vec::new();
        for token in &corefile.blocks[0].directives[0].args {
            if token.text == "except" {
                except = true;
            } else {
                out.push(BindWord {
                    word: token.text.clone(),
                    except,
                    span: token.span,
                });
            }
        }
        out
    }

    #[test]
    fn words_become_addresses() {
        let interface = |name: &str, index, address: &str| Interface {
            name: name.into(),
            index,
            address: address.parse().unwrap(),
            prefix: 24,
            tentative: address == "fe80::1",
        };
        let interfaces = [
            interface("lan0", 3, "192.0.2.1"),
            interface("lan0", 3, "fe80::1"),
            interface("lan0", 3, "2001:db8::1"),
            interface("lo", 1, "127.0.0.1"),
        ];
        for (lines, expected) in [
            (&["127.0.0.1"][..], Ok("127.0.0.1")),
            (&["127.0.0.1", "::1"], Ok("127.0.0.1 ::1")),
            (&["lan0"], Ok("192.0.2.1 fe80::1%lan0 2001:db8::1")),
            (&["lan0 except 192.0.2.1"], Ok("fe80::1%lan0 2001:db8::1")),
            (&["fe80::1%lan0"], Ok("fe80::1%lan0")),
            (&["lo lo"], Ok("127.0.0.1")),
            (&["lo except lo"], Err("all are excepted")),
            (
                &["lan7"],
                Err("not a valid IP address or interface name: \"lan7\""),
            ),
            (
                &["fe80::1%lan7"],
                Err("not a valid IP address or interface name"),
            ),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| words(line)).collect();
            let found = resolve_among(&lines, &interfaces);
            match expected {
                Ok(hosts) => {
                    let found = found.unwrap();
                    let waits = found.iter().filter(|(_, waits)| *waits);
                    assert!(
                        waits
                            .into_iter()
                            .all(|(host, _)| host.host.starts_with("fe80"))
                    );
                    let found: Vec<_> = found.into_iter().map(|(host, _)| host.host).collect();
                    assert_eq!(found.join(" "), hosts);
                }
                Err(text) => assert!(found.unwrap_err().contains(text)),
            }
        }
    }
}
