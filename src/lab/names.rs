//! What the server is told: `/run/nameplate/lab/LAB/names.json`, replaced whole by a rename.
//!
//! Version 1 holds the lab's domain and TTL; networks with their subnets, and the addresses that the server listens
//! on; hosts with their names, aliases and addresses by network; further records; services. Names are relative
//! to the domain. The server's `lab` plugin watches the directory above.

mod lines;

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Serialize;

use crate::error::{During, Error, Result};
use crate::hash::{Map, hash};
use crate::input::read_or_empty;
use crate::journal::{directory, make_directory, replace};
use crate::layout::{Layout, SpaceLayout};
use crate::spec::forms::label;
use crate::spec::{DEFAULT, Dns, Record, Schema, Service, Spec, subnet_address};

/// The names of a lab.
#[derive(Debug, Serialize)]
pub struct Names<'a> {
    v: u32,
    lab: &'a str,
    /// Third, and a number: see [`publish`].
    generation: u64,
    domain: &'a str,
    ttl: u32,
    reverse: Vec<IpNet>,
    nets: Vec<NetNames>,
    links: Vec<LinkNames>,
    hosts: Vec<HostNames>,
    records: Vec<RecordNames<'a>>,
    forwards: Vec<ForwardNames>,
    services: Vec<ServiceNames>,
}

/// A network.
#[derive(Debug, Serialize)]
struct NetNames {
    name: String,
    subnets: Vec<IpNet>,
    host: Vec<IpAddr>,
    listen: Vec<IpAddr>,
    internal: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    upstream: Vec<SocketAddr>,
}

/// A pair.
#[derive(Debug, Serialize)]
struct LinkNames {
    subnets: Vec<IpNet>,
}

/// A host.
#[derive(Debug, Serialize)]
struct HostNames {
    name: String,
    aliases: Vec<String>,
    addresses: Vec<NetAddress>,
}

/// An address and the network or the namespace that it leads to.
#[derive(Debug, Serialize)]
struct NetAddress {
    net: String,
    address: IpAddr,
}

/// A record as it was declared.
#[derive(Debug, Serialize)]
struct RecordNames<'a> {
    owner: String,
    data: Cow<'a, str>,
}

/// A port forward.
#[derive(Debug, Serialize)]
struct ForwardNames {
    listen: Option<IpAddr>,
    port: u16,
    protocol: &'static str,
    host: String,
    target_port: u16,
}

/// A service.
#[derive(Debug, Serialize)]
struct ServiceNames {
    name: String,
    /// None of a headless one.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    protocol: &'static str,
    to: Vec<String>,
    /// The hosts behind a headless one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    endpoints: Vec<Endpoint>,
}

/// A host behind a service.
#[derive(Debug, Serialize)]
struct Endpoint {
    name: String,
    address: IpAddr,
}

impl Names<'_> {
    /// As they are published, with a version behind the generation: equal names have one, whatever led to them, so that who sees it
    /// answered knows what is answered.
    #[must_use]
    pub fn text(&self) -> String {
        // Nothing in them can fail to be written.
        let text = serde_json::to_string(self).unwrap_or_default();
        let Some((after, before)) = split(&text) else {
            return text;
        };
        let version = hash(&[before, after]);
        format!("{before}\"generation\":0,\"{VERSION}\":\"{version:016x}\"{after}")
    }
}

impl Names<'_> {
    /// Whole names with their addresses.
    #[must_use]
    pub(crate) fn addresses(&self) -> HashMap<String, Vec<IpAddr>> {
        let domain = self.domain.to_ascii_lowercase();
        let mut found: HashMap<String, Vec<IpAddr>> = HashMap::new();
        let mut add = |name: &str, address: IpAddr| {
            let name = match name {
                "@" => domain.clone(),
                name => format!("{name}.{domain}"),
            };
            found.entry(name).or_default().push(address);
        };
        for host in &self.hosts {
            for NetAddress { net, address } in &host.addresses {
                add(&host.name, *address);
                add(&format!("{}.{net}", host.name), *address);
                host.aliases.iter().for_each(|alias| add(alias, *address));
            }
        }
        for net in &self.nets {
            let name = format!("gw.{}", net.name);
            net.host.iter().for_each(|address| add(&name, *address));
        }
        for service in &self.services {
            for endpoint in &service.endpoints {
                add(&service.name, endpoint.address);
                add(
                    &format!("{}.{}", endpoint.name, service.name),
                    endpoint.address,
                );
            }
            if let Some(address) = service.address {
                add(&service.name, address);
            }
        }
        for record in &self.records {
            let address = record.data.split_once(' ').and_then(|(kind, data)| {
                let data = data.trim().parse().ok();
                data.filter(|_| {
                    ["A", "AAAA"]
                        .iter()
                        .any(|one| kind.eq_ignore_ascii_case(one))
                })
            });
            if let Some(address) = address {
                add(&record.owner, address);
            }
        }
        found
    }
}

/// The key of the version.
const VERSION: &str = "version";

/// The version in a text of names.
pub(crate) fn version(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(&format!("\"{VERSION}\":\""))?;
    rest.split('"').next()
}

/// The names of a lab.
#[must_use]
pub fn names<'a>(spec: &'a Spec, layout: &Layout) -> Names<'a> {
    let made: Map<&str, &SpaceLayout> = layout
        .spaces
        .iter()
        .map(|space| (space.name.as_str(), space))
        .collect();
    let nets = spec
        .nets
        .iter()
        .map(|net| {
            let host: Vec<IpAddr> = [false, true]
                .into_iter()
                .filter_map(|v6| net.host_address(v6))
                .collect();
            NetNames {
                name: label(&net.name.value),
                subnets: net.subnets.iter().map(|subnet| subnet.value).collect(),
                listen: if spec.dns == Dns::Bridge {
                    host.clone()
                } else {
                    Vec::new()
                },
                host,
                internal: net.internal,
                upstream: net.upstream.iter().map(|one| one.value).collect(),
            }
        })
        .collect();
    let mut hosts = Vec::with_capacity(spec.spaces.len());
    for (at, space) in spec.spaces.iter().enumerate() {
        let mut addresses = Vec::new();
        if space.is_host {
            for net in &spec.nets {
                for address in [false, true]
                    .into_iter()
                    .filter_map(|v6| net.host_address(v6))
                {
                    addresses.push(NetAddress {
                        net: label(&net.name.value),
                        address,
                    });
                }
            }
        }
        for end in made
            .get(space.name.value.as_str())
            .into_iter()
            .flat_map(|made| &made.ends)
        {
            addresses.extend(end.addresses.iter().map(|address| NetAddress {
                net: label(&end.net),
                address: address.addr(),
            }));
        }
        hosts.push(HostNames {
            name: space.name.value.to_ascii_lowercase(),
            aliases: space
                .alias
                .iter()
                .map(|alias| alias.value.to_ascii_lowercase())
                .chain(spec.dashed[at].clone())
                .collect(),
            addresses,
        });
    }
    let forwards = spec
        .nets
        .iter()
        .flat_map(|net| &net.forwards)
        .map(|forward| ForwardNames {
            listen: forward.listen,
            port: forward.port,
            protocol: forward.protocol.name(),
            host: forward.target.to_ascii_lowercase(),
            target_port: forward.target_port,
        })
        .collect();
    let services = spec
        .services
        .iter()
        .map(|service| ServiceNames {
            name: name_of(spec, service),
            address: service.address,
            port: service.port,
            endpoints: match service.address {
                None => endpoints(service, &made),
                Some(_) => Vec::new(),
            },
            protocol: service.protocol.name(),
            to: service
                .to
                .iter()
                .map(|to| to.value.to_ascii_lowercase())
                .collect(),
        })
        .collect();
    let of_nets = spec.nets.iter().flat_map(|net| &net.subnets);
    let of_links = spec.links.iter().flat_map(|link| &link.subnets);
    let pods = pods(spec, &hosts);
    let record = |record: &'a Record| RecordNames {
        owner: record.owner.value.to_ascii_lowercase(),
        data: Cow::Borrowed(&record.data),
    };
    Names {
        v: 1,
        lab: &spec.name,
        generation: 0,
        domain: &spec.domain,
        ttl: spec.ttl,
        reverse: {
            let mut subnets: Vec<IpNet> = of_nets
                .chain(of_links)
                .map(|subnet| subnet.value)
                .filter(|subnet| subnet_address(*subnet, 0).is_some())
                .collect();
            for address in spec.services.iter().filter_map(|service| service.address) {
                if !subnets.iter().any(|subnet| subnet.contains(&address)) {
                    subnets.push(address.into());
                }
            }
            subnets
        },
        nets,
        links: spec
            .links
            .iter()
            .map(|link| LinkNames {
                subnets: link.subnets.iter().map(|subnet| subnet.value).collect(),
            })
            .collect(),
        hosts,
        records: spec.records.iter().map(record).chain(pods).collect(),
        forwards,
        services,
    }
}

/// The name of a service.
fn name_of(spec: &Spec, service: &Service) -> String {
    let name = service.name.value.to_ascii_lowercase();
    match spec.schema {
        Schema::Flat => name,
        Schema::Kubernetes => {
            let namespace = service.namespace.as_ref().map_or(DEFAULT, |at| &at.value);
            format!("{}.{namespace}.svc", label(&name))
        }
    }
}

/// The hosts behind a service, with the addresses of their first network.
fn endpoints(service: &Service, made: &Map<&str, &SpaceLayout>) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for to in &service.to {
        let first = made
            .get(to.value.as_str())
            .and_then(|space| space.ends.first());
        found.extend(
            first
                .into_iter()
                .flat_map(|end| &end.addresses)
                .map(|net| Endpoint {
                    name: label(&to.value),
                    address: net.addr(),
                }),
        );
    }
    found
}

/// What a cluster's DNS answers beside its services: the names of pods by their addresses, and the version of its schema.
fn pods<'a>(spec: &Spec, hosts: &[HostNames]) -> Vec<RecordNames<'a>> {
    if spec.schema == Schema::Flat {
        return Vec::new();
    }
    let mut records = vec![RecordNames {
        owner: "dns-version".to_owned(),
        data: Cow::Borrowed("TXT \"1.1.0\""),
    }];
    for (space, host) in spec.spaces.iter().zip(hosts) {
        let namespace = space.namespace.as_ref().map_or(DEFAULT, |at| &at.value);
        for NetAddress { address, .. } in host.addresses.iter().filter(|_| !space.is_host) {
            let text = address.to_string().replace(['.', ':'], "-");
            let kind = if address.is_ipv6() { "AAAA" } else { "A" };
            records.push(RecordNames {
                owner: format!("{text}.{namespace}.pod"),
                data: Cow::Owned(format!("{kind} {address}")),
            });
        }
    }
    records
}

/// What follows the generation, and what is before it.
fn split(text: &str) -> Option<(&str, &str)> {
    let at = text.find("\"generation\":")?;
    let end = at + text[at..].find(',')?;
    Some((&text[end..], &text[..at]))
}

/// The generation of what is published; 0 if nothing is.
pub(crate) fn generation(lab: &str) -> u64 {
    let text = read_or_empty(&directory(lab).join("names.json"));
    let number = text
        .split_once("\"generation\":")
        .map_or("", |(_, rest)| rest);
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    number[..end].parse().unwrap_or(0)
}

/// Publishes them as of a generation, unless they are the same but for that; whether they were written.
pub(crate) fn publish(lab: &str, text: &str, generation: u64) -> Result<bool> {
    let directory = directory(lab);
    let path = directory.join("names.json");
    let now = read_or_empty(&path);
    let Some((after, before)) = split(text) else {
        return Err(Error::new("the names have no generation"));
    };
    if split(&now) == Some((after, before)) {
        return Ok(false);
    }
    let text = format!("{before}\"generation\":{generation}{after}");
    make_directory(&directory)
        // The server runs without privileges and must be able to read it.
        .and_then(|()| replace(&path, &directory.join(".names"), text.as_bytes(), 0o644))
        .during(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}
