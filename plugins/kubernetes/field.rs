//! Fields of objects, read into the entries' forms.

use std::net::IpAddr;

use wire::NameBuf;

use super::change;
use super::entry::{Address, Form, Outside, Port, Protocol, Service};
use super::snapshot::Role;

/// The addresses that a service has, and as what.
pub(super) fn owned(service: &Service) -> impl Iterator<Item = (Role, Address)> {
    let own: &[Address] = match &service.form {
        Form::Addresses(addresses) => addresses,
        Form::Headless | Form::Alias(_) => &[],
    };
    let outside = service.outside.iter().filter_map(|outside| match outside {
        Outside::Address(address) => Some((Role::Outside, *address)),
        Outside::Host(_) => None,
    });
    own.iter()
        .map(|address| (Role::Service, *address))
        .chain(outside)
}

pub(super) fn form_of(service: &change::Service) -> Form {
    if service.external {
        let text = &*service.external_name;
        let name = text
            .parse::<IpAddr>()
            .is_err()
            .then(|| host(text))
            .flatten();
        Form::Alias(name)
    } else if service.headless() {
        Form::Headless
    } else {
        Form::Addresses(addresses(&service.cluster_ips))
    }
}

pub(super) fn addresses(texts: &[Box<str>]) -> Box<[Address]> {
    texts
        .iter()
        .filter_map(|text| Address::parse(text))
        .collect()
}

pub(super) fn outside(text: &str) -> Option<Outside> {
    match Address::parse(text) {
        Some(address) => Some(Outside::Address(address)),
        None => host(text).map(Outside::Host),
    }
}

/// A host name in wire form.
pub(super) fn host(text: &str) -> Option<Box<[u8]>> {
    if text.is_empty() {
        return None;
    }
    let name = text.parse::<NameBuf>().ok()?;
    Some(name.as_name().octets().into())
}

pub(super) fn port_of(port: &change::Port) -> Port {
    Port {
        number: port.port.and_then(|number| u16::try_from(number).ok()),
        protocol: match &*port.protocol.to_ascii_lowercase() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => Protocol::Other,
        },
        name: port.name.to_ascii_lowercase().into_bytes().into(),
    }
}
