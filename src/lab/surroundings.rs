//! What of the machine is in the way of a lab: addresses and routes on links that are not the lab's.
//!
//! Only networks that the host is on can meet them; a switch without the host may have any subnet.

use std::collections::HashSet;

use corefile::{Diagnostic, Span};
use ipnet::IpNet;

use crate::account::Account;
use crate::error::{During, Result};
use crate::filter::Filter;
use crate::journal::Journal;
use crate::launch::Task;
use crate::layout::{Layout, Mark};
use crate::link::Link;
use crate::listener;
use crate::netlink::Socket;
use crate::observe::{BRIDGED, Inside};
use crate::plan::{Subject, possible};
use crate::redirect::{Redirect, elsewhere};
use crate::route::RTPROT_KERNEL;
use crate::settings;
use crate::spec::forms::overlap;
use crate::spec::{Forward, Kind, Spec};

/// What is in the way: addresses as errors, because `apply` refuses them, and routes as warnings.
///
/// # Errors
/// The kernel does not tell.
pub fn look(spec: &Spec) -> Result<Vec<Diagnostic>> {
    let host =
        Inside::here(&[], true).during(|| "cannot read the links of this host".to_owned())?;
    let mark = Mark::of(&spec.name);
    let link = |index: u32| host.links.iter().find(|link| link.index == index);
    let ours = |index: u32| link(index).is_some_and(|link| mark.owns_link(link));
    let mut found = Vec::new();
    for (subnet, span) in subnets(spec) {
        for address in &host.addresses {
            let local = address.net.addr().is_loopback() || is_link_local(&address.net);
            if local || ours(address.link) || !overlap(&address.net.trunc(), &subnet) {
                continue;
            }
            let name = link(address.link).map_or("?".to_owned(), whose);
            let message = format!("{subnet} overlaps {} of {name}", address.net);
            found.push(
                Diagnostic::error("LAB0111", message).at(span, "").help(
                    "choose another subnet, or leave it out to use a free one of 10.201.0.0/16",
                ),
            );
        }
        for route in &host.routes {
            // The address itself is told.
            let by_address = route.protocol == RTPROT_KERNEL && route.via.is_none();
            if route.to.prefix_len() == 0
                || by_address
                || is_link_local(&route.to)
                || ours(route.link)
                || !overlap(&route.to, &subnet)
            {
                continue;
            }
            let name = link(route.link).map_or("?".to_owned(), whose);
            let via = route.via.map(|via| format!(" via {via}"));
            let message = format!(
                "{subnet} overlaps this machine's route to {}{} on {name}",
                route.to,
                via.unwrap_or_default()
            );
            let note = if route.to.prefix_len() >= subnet.prefix_len() {
                format!(
                    "packets of the host to {} go there and not into the lab",
                    route.to
                )
            } else {
                format!("while the lab is up, packets to {subnet} go into it and not there")
            };
            found.push(
                Diagnostic::warning("LAB0204", message)
                    .at(span, "")
                    .note(note),
            );
        }
    }
    Ok(found)
}

/// Interfaces that cannot become ports of the lab's bridges: `apply` refuses them.
///
/// # Errors
/// The kernel does not tell.
fn parents(spec: &Spec) -> Result<Vec<Diagnostic>> {
    let mut found = Vec::new();
    let parents = || {
        spec.nets
            .iter()
            .filter_map(|net| net.parent.as_ref().map(|parent| (net, parent)))
    };
    if parents().next().is_none() {
        return Ok(found);
    }
    let host =
        Inside::here(&[], false).during(|| "cannot read the links of this host".to_owned())?;
    let mark = Mark::of(&spec.name);
    for (net, parent) in parents() {
        let name = &parent.value;
        let link = host.links.iter().find(|link| link.name == *name);
        if spec.switch(net).is_some() {
            continue;
        }
        let is_port = net.kind == Kind::Bridge && net.vlan.is_none();
        let found_link = match is_port {
            true => possible(name, link, &net.name.value),
            false => link.ok_or_else(|| format!("the host has no interface {name}")),
        };
        let why = match found_link {
            Err(why) => why,
            // VLANs of a port are nobody else's.
            Ok(_) if net.vlan.is_some() => continue,
            Ok(link) => {
                let mut masters = host.links.iter();
                match masters.find(|other| link.master != 0 && other.index == link.master) {
                    Some(master) if !mark.owns_link(master) => {
                        format!("{name} of the host is a port of {}", whose(master))
                    }
                    _ => continue,
                }
            }
        };
        found.push(Diagnostic::error("LAB0113", why).at(parent.span, ""));
    }
    Ok(found)
}

/// What of this machine keeps a lab from working, beside addresses: ports that somebody has and interfaces that cannot be
/// `parent`, as errors, and chains that drop what the lab passes on, as warnings.
///
/// # Errors
/// The journal cannot be read.
pub fn look_further(spec: &Spec) -> Result<Vec<Diagnostic>> {
    let layout = Layout::of(spec);
    let journal = Journal::load(&spec.name)?;
    let mut found = parents(spec)?;
    found.extend(names(spec)?);
    found.extend(commands(spec));
    let span_of = |redirect: &Redirect| {
        let mut forwards = spec.nets.iter().flat_map(|net| &net.forwards);
        let of = |forward: &&Forward| {
            let listen = forward.listen.filter(|at| !at.is_unspecified());
            (forward.protocol, forward.port, listen)
                == (redirect.protocol, redirect.port, redirect.listen)
        };
        forwards.find(of).map_or(spec.span, |forward| forward.span)
    };
    for (redirect, owner) in elsewhere(&layout.redirects, Some(&spec.name), None) {
        let message = format!("port {redirect} belongs to {owner}");
        found.push(Diagnostic::error("LAB0112", message).at(span_of(&redirect), ""));
    }
    let had: Vec<_> = journal
        .iter()
        .flat_map(|journal| &journal.redirects)
        .map(Redirect::place)
        .collect();
    let forwards: Vec<&Redirect> = layout.redirects.iter().filter(|one| !one.service).collect();
    if !forwards.is_empty() {
        let listeners = listener::all().unwrap_or_default();
        let mut told = HashSet::new();
        for redirect in forwards {
            for listener in listeners
                .iter()
                .filter(|listener| redirect.takes_from(listener))
            {
                let who = listener::who(listener);
                if !told.insert((
                    redirect.protocol,
                    redirect.port,
                    redirect.listen,
                    who.clone(),
                )) {
                    continue;
                }
                let message = format!("port {redirect} of the host is served by {who}");
                let diagnostic = match had.contains(&redirect.place()) {
                    true => Diagnostic::warning("LAB0112", message),
                    false => Diagnostic::error("LAB0112", message),
                };
                found.push(
                    diagnostic.at(span_of(redirect), "").help(
                        "a forward would take it away: choose another port, or end the process",
                    ),
                );
            }
        }
    }
    let bridged = BRIDGED.map(|key| settings::read(key).is_some_and(|value| value == "1"));
    let filter = Socket::netfilter().and_then(|mut socket| Filter::read(&mut socket, false));
    for accept in filter
        .unwrap_or_default()
        .missing(&layout.passing, bridged, &layout.mark)
    {
        let span = spec
            .net(&accept.bridge)
            .map_or(spec.span, |net| net.name.span);
        let way = if accept.leaving {
            "goes to"
        } else {
            "comes from"
        };
        let message = format!("{} drops what {way} `{}`", accept.place, accept.bridge);
        found.push(Diagnostic::warning("LAB0206", message).at(span, "").help(
            match accept.is_ours_to_make() {
                true => format!(
                    "`apply --fix-forward` does the same as: {}",
                    accept.command()
                ),
                false => format!("the lab changes no legacy iptables: {}", accept.command()),
            },
        ));
    }
    Ok(found)
}

/// Names that something else has, and a lab that is another file's: `apply` refuses them.
fn names(spec: &Spec) -> Result<Vec<Diagnostic>> {
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut told: Vec<(Subject, usize)> = Vec::new();
    for conflict in crate::converge::plan(spec)?.conflicts {
        if let Some((_, at)) = told.iter().find(|(of, _)| *of == conflict.of) {
            // Where a namespace is somebody else's, so are its files and links.
            let first = found.remove(*at);
            found.insert(*at, first.note(conflict.text));
            continue;
        }
        let span = match &conflict.of {
            Subject::Lab => Some(spec.span),
            Subject::Kernel => {
                let warning = Diagnostic::warning("LAB0207", conflict.text);
                found.push(warning.at(spec.span, ""));
                continue;
            }
            Subject::Net(name) => spec.net(name).map(|net| net.name.span),
            Subject::Space(name) => spec.space(name).map(|space| space.name.span),
            Subject::Place => continue,
        };
        let span = span.unwrap_or(spec.span);
        told.push((conflict.of, found.len()));
        found.push(Diagnostic::error("LAB0114", conflict.text).at(span, ""));
    }
    Ok(found)
}

/// Directories and users of commands that this machine does not have.
fn commands(spec: &Spec) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for task in spec.spaces.iter().filter_map(|one| Task::of(spec, one)) {
        let places = task.run.places;
        if let (Some(span), dir) = (places.dir, task.dir())
            && !dir.is_dir()
        {
            let message = format!("there is no directory {}", dir.display());
            found.push(Diagnostic::error("LAB0115", message).at(span, ""));
        }
        let user = task.run.user.as_deref().map(Account::find);
        if let (Some(span), Some(Err(why))) = (places.user, user) {
            found.push(Diagnostic::error("LAB0115", why.to_string()).at(span, ""));
        }
    }
    found
}

/// The subnets that the host gets an address in, and services' addresses.
fn subnets(spec: &Spec) -> Vec<(IpNet, Span)> {
    let nets = spec.nets.iter().flat_map(|net| {
        let on = |subnet: &IpNet| net.host_address(subnet.addr().is_ipv6()).is_some();
        let subnets = net.subnets.iter().filter(move |subnet| on(&subnet.value));
        subnets.map(|subnet| (subnet.value, subnet.span))
    });
    let balanced = spec.services.iter().filter(|_| spec.nodes.is_empty());
    let services =
        balanced.filter_map(|service| Some((IpNet::from(service.address?), service.name.span)));
    nets.chain(services).collect()
}

/// Whether every link has such an address.
pub(crate) fn is_link_local(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(v6) if v6.addr().is_unicast_link_local() || v6.addr().is_multicast())
}

/// A link's name, and whose it is if that can be told.
fn whose(link: &Link) -> String {
    let name = &link.name;
    let hexadecimal = |rest: &str| rest.len() == 12 && rest.bytes().all(|c| c.is_ascii_hexdigit());
    let lab = link
        .alias
        .strip_prefix("lab:")
        .and_then(|rest| rest.split(':').next());
    match lab {
        Some(lab) => format!("{name} (of lab {lab})"),
        None if name == "docker0" || name.strip_prefix("br-").is_some_and(hexadecimal) => {
            format!("{name} (a network of Docker's)")
        }
        None => name.clone(),
    }
}
