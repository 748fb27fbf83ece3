//! What is called what: names of the lab's domain, of networks, links and services.

use corefile::{Diagnostic, Report, Span};

use crate::hash::Map;
use crate::spec::forms::label;
use crate::spec::{Spec, mistake};

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The addresses of a host.
    Host,
    /// An alias, which stands alone (RFC 1034, section 3.6.2): a second record of its name would not be served.
    Alias,
    /// A CNAME record, which stands alone for the same reason.
    Pointer,
    /// A service.
    Service,
    /// A name that is the server's or the host's own.
    Reserved,
    /// A further record that can stand beside others.
    Record,
}

/// The names of the lab's domain, with what each stands for.
#[derive(Default)]
struct Owners(Map<String, Vec<(Owner, Span)>>);

impl Owners {
    /// Adds a name that is declared at a place; a clash with another one is a mistake.
    fn add(&mut self, name: &str, (owner, span): (Owner, Span), report: &mut Report) {
        let name = name.to_ascii_lowercase();
        let known = self.0.entry(name.clone()).or_default();
        let alone = |owner| matches!(owner, Owner::Alias | Owner::Pointer);
        let clash = known.iter().find(|(other, _)| {
            alone(owner)
                || alone(*other)
                || *other == Owner::Reserved
                || (owner == *other && matches!(owner, Owner::Host | Owner::Service))
        });
        if let Some((other, before)) = clash {
            let message = match (owner, other) {
                (Owner::Host | Owner::Alias, Owner::Host) | (Owner::Host, Owner::Alias) => {
                    format!("two hosts would be called `{name}`")
                }
                (_, Owner::Reserved) => {
                    format!("`{name}` is reserved for the lab's server and the host")
                }
                (_, Owner::Service) | (Owner::Service, _) => {
                    format!("`{name}` would be an alias and a service")
                }
                _ => format!("`{name}` would be an alias and something else"),
            };
            let found = mistake("LAB0105", message, span, "");
            report.push(match owner {
                _ if *other == Owner::Reserved => found,
                _ => found.beside(*before, "here as well"),
            });
        }
        known.push((owner, span));
    }
}

/// Two things of one name.
pub(super) fn names(spec: &Spec, report: &mut Report) {
    let mut owners = Owners::default();
    for name in ["_version", "ns.dns"] {
        owners.add(name, (Owner::Reserved, spec.span), report);
    }
    for net in &spec.nets {
        if net.host_address(false).is_some() || net.host_address(true).is_some() {
            let name = format!("gw.{}", label(&net.name.value));
            owners.add(&name, (Owner::Reserved, net.name.span), report);
        }
    }
    for space in &spec.spaces {
        let own = &space.name.value;
        owners.add(own, (Owner::Host, space.name.span), report);
        for on in &space.attachments {
            let name = format!("{own}.{}", label(&on.net.value));
            if own.eq_ignore_ascii_case("gw") {
                let host = spec.net(&on.net.value).is_some_and(|net| {
                    net.host_address(false).is_some() || net.host_address(true).is_some()
                });
                if host {
                    report.push(
                        Diagnostic::warning("LAB0205", format!("`{name}` is the host's name"))
                            .at(space.name.span, "")
                            .note(format!("the namespace has `gw.{}` only", spec.domain)),
                    );
                }
                continue;
            }
            owners.add(&name, (Owner::Host, space.name.span), report);
        }
    }
    for space in &spec.spaces {
        for alias in &space.alias {
            owners.add(&alias.value, (Owner::Alias, alias.span), report);
        }
    }
    for service in &spec.services {
        owners.add(
            &service.name.value,
            (Owner::Service, service.name.span),
            report,
        );
    }
    for record in &spec.records {
        let owner = match record.data.starts_with("CNAME") {
            true => Owner::Pointer,
            false => Owner::Record,
        };
        owners.add(&record.owner.value, (owner, record.owner.span), report);
    }
    // One file cannot declare two tables of one name; several can.
    let mut tables: Map<(&str, &str), Span> = Map::default();
    let nets = spec.nets.iter().map(|net| ("network", &net.name));
    let links = spec.links.iter().map(|link| ("link", &link.name));
    let services = spec
        .services
        .iter()
        .map(|service| ("service", &service.name));
    for (what, name) in nets.chain(links).chain(services) {
        if let Some(before) = tables.insert((what, &name.value), name.span) {
            let message = format!("there are two {what}s `{}`", name.value);
            report.push(mistake("LAB0105", message, name.span, "").beside(before, "here as well"));
        }
    }
    for net in &spec.nets {
        let taken = match net.name.value.as_str() {
            "lo" => "is every machine's loopback interface",
            "all" | "default" => {
                "stands for all interfaces, or for new ones, among the kernel's settings"
            }
            "none" | "host" => "says where a namespace is: on no network, or on the host",
            _ => "",
        };
        if !taken.is_empty() {
            let message = format!("`{}` {taken}", net.name.value);
            report.push(mistake(
                "LAB0101",
                message,
                net.name.span,
                "a network cannot have this name",
            ));
        }
        if net.name.value.starts_with("veth-") {
            report.push(mistake(
                "LAB0101",
                "names that start with `veth-` are reserved for the ends of veth pairs",
                net.name.span,
                "",
            ));
        }
    }
}
