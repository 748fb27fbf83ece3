//! The kernel's side of an attachment: the bridge, the pair, routes inside, rules. Marks are aliases:
//! `cni:NETWORK:CONTAINER:INTERFACE` of a port, `cni:NETWORK:` of a bridge that was made here.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::Path;

use ipnet::IpNet;

use super::Call;
use super::config::{Attachment, Config, PortMapping};
use super::failure::{Code, Failure, Result};
use super::outcome::{Interface, Outcome, Route};
use super::records::{Record, Records};
use crate::hash;
use crate::link::{self, Link, LinkChange, NewEnd};
use crate::netlink::{Batch, Socket};
use crate::nft::{self, Chain, Expression, Family, Hook, Rule, Table};
use crate::redirect::Redirect;
use crate::spec::Protocol;
use crate::{route, settings, space, sys};

/// Link group of everything that is made here.
const GROUP: u32 = 0x1AC0_0000;

/// How long duplicates are looked for; the kernel takes up to two seconds by default.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// A failure of the kernel.
fn kernel(message: impl Into<String>) -> impl FnOnce(std::io::Error) -> Failure {
    let message = message.into();
    move |error| Failure::because(Code::Kernel, message, error)
}

/// Sends messages; the first refusal is the failure.
fn send(socket: &mut Socket, batch: &mut Batch, what: &str) -> Result<()> {
    let refusals = socket.transact(batch).map_err(kernel(what))?;
    match refusals.first() {
        None => Ok(()),
        Some(refusal) => Err(Failure::because(Code::Kernel, what, refusal)),
    }
}

/// A socket to the host's links.
fn host() -> Result<Socket> {
    Socket::route().map_err(kernel("cannot open a netlink socket"))
}

/// The mark of a network's objects.
fn mark(network: &str) -> String {
    format!("cni:{network}:")
}

/// The alias of a port.
fn alias(network: &str, whose: &Attachment) -> String {
    format!("{}{}:{}", mark(network), whose.container, whose.interface)
}

/// The name of a port.
pub(super) fn port(network: &str, whose: &Attachment) -> String {
    hash::interface(&["cni", network, &whose.container, &whose.interface])
}

/// The container's network namespace.
pub(super) struct Namespace {
    path: String,
    file: File,
}

impl Namespace {
    /// Opens it.
    pub(super) fn open(path: &str) -> Result<Self> {
        let wrong =
            |why: &str| Failure::because(Code::Environment, format!("CNI_NETNS is `{path}`"), why);
        let file = File::open(path).map_err(|error| wrong(&error.to_string()))?;
        match sys::file_system(Path::new(path)) {
            Ok(sys::NSFS_MAGIC) => Ok(Self {
                path: path.to_owned(),
                file,
            }),
            _ => Err(wrong("it is not a namespace")),
        }
    }

    /// A socket in it.
    fn socket(&self) -> Result<Socket> {
        let open = || {
            let _away = space::enter_file(&self.file)?;
            Socket::route()
        };
        open().map_err(kernel(format!("cannot enter {}", self.path)))
    }

    /// An interface of it.
    pub(super) fn link(&self, name: &str) -> Result<Option<Link>> {
        link::link(&mut self.socket()?, name)
            .map_err(kernel("cannot look at the container's links"))
    }
}

/// The bridge with its addresses and settings, made if it is not there.
pub(super) fn bridge(config: &Config, record: &Record) -> Result<Interface> {
    let (name, mut socket) = (config.bridge(), host()?);
    let look = |socket: &mut Socket| {
        link::link(socket, name).map_err(kernel(format!("cannot look at {name}")))
    };
    let mut found = look(&mut socket)?;
    if found.is_none() {
        let mut batch = Batch::default();
        let mac = hash::mac(&["cni", &config.name, name]);
        link::add_bridge(&mut batch, name, &mac, config.mtu, GROUP);
        let change = LinkChange {
            alias: Some(mark(&config.name)),
            ..LinkChange::default()
        };
        link::change_link(&mut batch, name, &change, None);
        send(
            &mut socket,
            &mut batch,
            &format!("cannot make bridge {name}"),
        )?;
        found = look(&mut socket)?;
    }
    let Some(bridge) = found.filter(|link| link.kind == "bridge") else {
        return Err(Failure::new(
            Code::Config,
            format!("{name} is there and no bridge"),
        ));
    };
    // Before it is up: what its kernel says of itself is nobody's business.
    for key in quiet(config) {
        let _ = settings::write(&format!("net/ipv6/conf/{name}/{key}"), "0");
    }
    let mut batch = Batch::default();
    if config.is_gateway {
        let there = link::addresses(&mut socket, Some(bridge.index))
            .map_err(kernel(format!("cannot look at {name}")))?;
        for (address, gateway) in record.addresses.iter().zip(&record.gateways) {
            let Ok(net) = IpNet::new(*gateway, address.prefix_len()) else {
                continue;
            };
            let of_family = there.iter().filter(|other| {
                let other = other.net.addr();
                other.is_ipv6() == gateway.is_ipv6() && !is_link_local(other)
            });
            for other in of_family.filter(|other| other.link == bridge.index && other.net != net) {
                if config.force_address {
                    link::delete_address(&mut batch, bridge.index, other.net);
                } else if other.net.contains(gateway) || net.contains(&other.net.addr()) {
                    let message = format!("{name} has {}, which overlaps {net}", other.net);
                    return Err(Failure::new(Code::Config, message));
                }
            }
            link::add_address(&mut batch, bridge.index, net);
        }
    }
    let change = LinkChange {
        up: (!bridge.up).then_some(true),
        promiscuous: config.promisc_mode.then_some(true),
        ..LinkChange::default()
    };
    if change != LinkChange::default() {
        link::change_link(&mut batch, name, &change, None);
    }
    if !batch.is_empty() {
        send(
            &mut socket,
            &mut batch,
            &format!("cannot set up bridge {name}"),
        )?;
    }
    if config.is_gateway {
        forward(record)?;
    }
    Ok(Interface {
        name: name.to_owned(),
        mac: hash::mac_text(&bridge.mac),
        mtu: Some(bridge.mtu),
        sandbox: String::new(),
    })
}

/// Settings of an interface that are switched off before it is up.
fn quiet(config: &Config) -> &'static [&'static str] {
    match config.enabledad {
        true => &["accept_ra"],
        false => &["accept_ra", "accept_dad"],
    }
}

/// Whether an address is of the link only.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Switches forwarding on for the families of an attachment.
fn forward(record: &Record) -> Result<()> {
    for (key, v6) in [
        ("net/ipv4/ip_forward", false),
        ("net/ipv6/conf/all/forwarding", true),
    ] {
        let needed = record
            .gateways
            .iter()
            .any(|gateway| gateway.is_ipv6() == v6);
        if needed && settings::read(key).as_deref() != Some("1") {
            settings::write(key, "1").map_err(kernel(format!("cannot set {key}")))?;
        }
    }
    Ok(())
}

/// The MAC address that was asked for, or one made of the names.
pub(super) fn mac(config: &Config, call: &Call) -> Result<[u8; 6]> {
    let asked = config
        .runtime_config
        .mac
        .as_ref()
        .or(config.args.cni.mac.as_ref());
    let Some(text) = asked.or_else(|| call.arguments.get("MAC")) else {
        let whose = &call.whose;
        return Ok(hash::mac(&[
            "cni",
            &config.name,
            &whose.container,
            &whose.interface,
        ]));
    };
    let octets: Option<Vec<u8>> = text
        .split(':')
        .map(|octet| u8::from_str_radix(octet, 16).ok())
        .collect();
    octets
        .and_then(|octets| octets.try_into().ok())
        .ok_or_else(|| Failure::new(Code::Config, format!("`{text}` is not a MAC address")))
}

/// The pair, and everything inside; the port and the container's interface.
pub(super) fn attach(
    config: &Config,
    call: &Call,
    namespace: &Namespace,
    record: &Record,
    outcome: &Outcome,
) -> Result<Vec<Interface>> {
    let (mut socket, mut inside) = (host()?, namespace.socket()?);
    let ours = alias(&config.name, &record.whose);
    let look = |socket: &mut Socket, name: &str| {
        link::link(socket, name).map_err(kernel(format!("cannot look at {name}")))
    };
    // Left over from a container of that name that was never detached.
    detach(&config.name, &record.whose)?;
    let master = look(&mut socket, config.bridge())?.map(|bridge| bridge.index);
    let mac = mac(config, call)?;
    let near = NewEnd {
        name: &record.port,
        index: 0,
        mac: &[],
        mtu: config.mtu,
        space: None,
    };
    let far = NewEnd {
        name: &record.whose.interface,
        index: 0,
        mac: &mac,
        mtu: config.mtu,
        space: Some(namespace.file.as_fd()),
    };
    let mut batch = Batch::default();
    link::add_pair(&mut batch, near, far, master, GROUP);
    let change = LinkChange {
        alias: Some(ours),
        up: Some(true),
        hairpin: (config.hairpin_mode || !record.forwards.is_empty()).then_some(true),
        isolated: config.port_isolation.then_some(true),
        ..LinkChange::default()
    };
    link::change_link(&mut batch, &record.port, &change, None);
    send(
        &mut socket,
        &mut batch,
        "cannot make the container's interface",
    )?;
    let missing = || Failure::new(Code::Kernel, "the container's interface is gone");
    let port = look(&mut socket, &record.port)?.ok_or_else(missing)?;
    let own = look(&mut inside, &record.whose.interface)?.ok_or_else(missing)?;
    {
        let interface = &record.whose.interface;
        let _away =
            space::enter_file(&namespace.file).map_err(kernel("cannot enter the container"))?;
        for key in quiet(config) {
            let _ = settings::write(&format!("net/ipv6/conf/{interface}/{key}"), "0");
        }
    }
    if !config.disable_container_interface {
        set_up(config, &mut inside, &own, outcome)?;
    }
    Ok([(port, String::new()), (own, namespace.path.clone())]
        .map(|(link, sandbox)| Interface {
            mac: hash::mac_text(&link.mac),
            mtu: Some(link.mtu),
            name: link.name,
            sandbox,
        })
        .into())
}

/// The container's interface, up, with its addresses and routes.
fn set_up(config: &Config, inside: &mut Socket, own: &Link, outcome: &Outcome) -> Result<()> {
    let what = "cannot set up the container's interface";
    let mut batch = Batch::default();
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    link::change_link(&mut batch, &own.name, &up, None);
    for ip in &outcome.ips {
        link::new_address(&mut batch, own.index, ip.address, config.enabledad);
    }
    if config.enabledad {
        send(inside, &mut batch, what)?;
        settle(inside, own)?;
        batch.clear();
    }
    for route in &outcome.routes {
        route::append(&mut batch, &new_route(route, outcome, own.index));
    }
    if batch.is_empty() {
        return Ok(());
    }
    send(inside, &mut batch, what)
}

/// Waits until the kernel knows of every address whether somebody else has it.
fn settle(inside: &mut Socket, own: &Link) -> Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let addresses = link::addresses(inside, Some(own.index))
            .map_err(kernel("cannot look at the container's addresses"))?;
        let mut mine = addresses
            .iter()
            .filter(|address| address.link == own.index && !is_link_local(address.net.addr()));
        if let Some(taken) = mine.clone().find(|mine| mine.duplicate == Some(true)) {
            let message = format!(
                "{} belongs to another machine on this network",
                taken.net.addr()
            );
            return Err(Failure::new(Code::Exists, message));
        }
        if mine.all(|mine| mine.duplicate.is_some()) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let message = "the kernel still looks for duplicates of the container's addresses";
            return Err(Failure::new(Code::Again, message));
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// A route of the result as the kernel wants it.
fn new_route(route: &Route, outcome: &Outcome, link: u32) -> route::New {
    let v6 = route.dst.addr().is_ipv6();
    let gateways = outcome.ips.iter().filter_map(|ip| ip.gateway);
    let number = |key: &str| route.more.get(key)?.as_u64().map(|number| number as u32);
    route::New {
        to: route.dst,
        via: route
            .gw
            .or_else(|| gateways.into_iter().find(|gateway| gateway.is_ipv6() == v6)),
        link,
        priority: number("priority"),
        table: number("table"),
        mtu: number("mtu"),
        advmss: number("advmss"),
        scope: number("scope"),
    }
}

/// Removes the pair of an attachment, if it is there and carries the mark.
pub(super) fn detach(network: &str, whose: &Attachment) -> Result<()> {
    let (name, mut socket) = (port(network, whose), host()?);
    let there = link::link(&mut socket, &name).map_err(kernel(format!("cannot look at {name}")))?;
    // A kill between the pair and its alias leaves one with the group only; nobody else's has such a name and group.
    let ours = |link: &Link| {
        link.alias == alias(network, whose) || (link.alias.is_empty() && link.group == GROUP)
    };
    if !there.is_some_and(|link| ours(&link)) {
        return Ok(());
    }
    let mut batch = Batch::default();
    link::delete_link(&mut batch, &name);
    match send(&mut socket, &mut batch, &format!("cannot remove {name}")) {
        // It went with the container's namespace meanwhile.
        Err(_) if matches!(link::link(&mut socket, &name), Ok(None)) => Ok(()),
        other => other,
    }
}

/// All attachments that have a port with the network's mark.
pub(super) fn attached(network: &str) -> Result<Vec<Attachment>> {
    let links = link::links(&mut host()?).map_err(kernel("cannot look at the host's links"))?;
    let mark = mark(network);
    let whose = links.iter().filter_map(|link| {
        let (container, interface) = link.alias.strip_prefix(&mark)?.split_once(':')?;
        Some(Attachment {
            container: container.to_owned(),
            interface: interface.to_owned(),
        })
    });
    Ok(whose.collect())
}

/// Removes the bridge if it was made here and nothing is on it.
pub(super) fn remove_bridge(config: &Config) -> Result<()> {
    let (name, mut socket) = (config.bridge(), host()?);
    let unreadable = || kernel(format!("cannot look at {name}"));
    let Some(bridge) = link::link(&mut socket, name).map_err(unreadable())? else {
        return Ok(());
    };
    let ports = link::ports(&mut socket).map_err(unreadable())?;
    // A kill between the bridge and its alias leaves one with the group only.
    let ours =
        bridge.alias == mark(&config.name) || (bridge.alias.is_empty() && bridge.group == GROUP);
    if !ours || ports.iter().any(|port| port.master == bridge.index) {
        return Ok(());
    }
    let mut batch = Batch::default();
    link::delete_link(&mut batch, name);
    send(
        &mut socket,
        &mut batch,
        &format!("cannot remove bridge {name}"),
    )
}

/// Whether a forward is for every address of the host.
fn is_general(forward: &PortMapping) -> bool {
    let address = forward.host_ip.parse::<IpAddr>();
    address.map_or(true, |address| address.is_unspecified())
}

/// What an attachment's forwards take from the host.
pub(super) fn redirects(record: &Record) -> Vec<Redirect> {
    let mut found = Vec::new();
    for forward in &record.forwards {
        let listen = forward.host_ip.parse::<IpAddr>().ok();
        let protocol = match forward.protocol.to_ascii_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => continue,
        };
        for target in record.addresses.iter().map(IpNet::addr) {
            if listen.is_none_or(|at| at.is_ipv6() == target.is_ipv6()) {
                found.push(Redirect {
                    protocol,
                    listen: listen.filter(|at| !at.is_unspecified()),
                    port: forward.host_port,
                    target,
                    target_port: forward.container_port,
                    service: false,
                });
            }
        }
    }
    found
}

/// The rules of what is attached; none if nothing needs any.
fn table(network: &str, records: &Records) -> Result<Option<Table>> {
    let subnets = |only: fn(&Record) -> bool| -> BTreeSet<IpNet> {
        let records = records.all.iter().filter(|record| only(record));
        records
            .flat_map(|record| &record.addresses)
            .map(IpNet::trunc)
            .collect()
    };
    // A port of one address comes before the same port of all: the first rule that matches counts.
    let mut redirect: Vec<Rule> = Vec::new();
    for general in [false, true] {
        for record in &records.all {
            let forwards = record.forwards.iter();
            for forward in forwards.filter(|forward| is_general(forward) == general) {
                for target in &record.addresses {
                    redirect.extend(forward_rule(forward, target.addr())?);
                }
            }
        }
    }
    let mut leave: Vec<Rule> = Vec::new();
    for subnet in subnets(|record| record.masquerade) {
        let multicast = if subnet.addr().is_ipv6() {
            "ff00::/8"
        } else {
            "224.0.0.0/4"
        };
        let mut rule = vec![
            Expression::Source(subnet, true),
            Expression::Destination(subnet, false),
        ];
        rule.extend(
            multicast
                .parse()
                .ok()
                .map(|net| Expression::Destination(net, false)),
        );
        rule.extend([Expression::Counter, Expression::Masquerade]);
        leave.push(rule);
    }
    if !redirect.is_empty() {
        let back = |from: IpNet, to: Option<IpNet>| {
            let mut rule = vec![Expression::Redirected(true), Expression::Source(from, true)];
            rule.extend(to.map(|to| Expression::Destination(to, true)));
            rule.extend([Expression::Counter, Expression::Masquerade]);
            rule
        };
        // A neighbour's packet that came back by the host must be answered by way of it.
        leave.extend(
            subnets(|record| !record.forwards.is_empty())
                .into_iter()
                .map(|subnet| back(subnet, Some(subnet))),
        );
        leave.extend(
            "127.0.0.0/8"
                .parse()
                .ok()
                .map(|loopback| back(loopback, None)),
        );
    }
    let chain = |name: &str, hook, priority, rules: &Vec<Rule>| {
        (!rules.is_empty()).then(|| Chain {
            name: name.to_owned(),
            device: None,
            kind: "nat",
            hook,
            priority,
            rules: rules.clone(),
        })
    };
    // The kernel takes such a chain away with its port, and makes none for a port that is gone.
    let has_port = |record: &Record| -> Result<bool> {
        let found = link::link(&mut host()?, &record.port);
        found
            .map(|port| port.is_some())
            .map_err(kernel(format!("cannot look at {}", record.port)))
    };
    let mut guarded = Vec::new();
    for record in &records.all {
        if record.sender.is_some() && has_port(record)? {
            guarded.push(record);
        }
    }
    let guards = guarded.into_iter().filter_map(|record| {
        let rule = vec![
            Expression::Sender(record.sender?, false),
            Expression::Counter,
            Expression::Drop,
        ];
        Some(Chain {
            name: format!("from_{}", record.port),
            device: Some(record.port.clone()),
            kind: "filter",
            hook: Hook::Ingress,
            priority: 0,
            rules: vec![rule],
        })
    });
    let chains: Vec<Chain> = [
        chain("pre_nat", Hook::Prerouting, -100, &redirect),
        chain("out_nat", Hook::Output, -100, &redirect),
        chain("post_nat", Hook::Postrouting, 100, &leave),
    ]
    .into_iter()
    .flatten()
    .chain(guards)
    .collect();
    Ok((!chains.is_empty()).then(|| Table {
        name: table_name(network),
        owner: format!("cni:{network}"),
        sets: Vec::new(),
        chains,
    }))
}

/// The name of a network's table.
fn table_name(network: &str) -> String {
    let word: String = network
        .chars()
        .take(60)
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    format!("cni_{word}_{:08x}", hash::hash(&["cni", network]) as u32)
}

/// The rule of a port forward, if its address is of the target's family.
fn forward_rule(forward: &PortMapping, target: IpAddr) -> Result<Option<Rule>> {
    let protocol = match forward.protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => {
            let message = format!("port mappings of protocol `{other}` are not supported");
            return Err(Failure::new(Code::Unsupported, message));
        }
    };
    let at = match forward.host_ip.as_str() {
        "" => Expression::ToThisMachine(Family::of(target)),
        text => {
            let address: IpAddr = text.parse().map_err(|_| {
                Failure::new(Code::Config, format!("`hostIP` {text} is not an address"))
            })?;
            if address.is_ipv6() != target.is_ipv6() {
                return Ok(None);
            }
            if address.is_unspecified() {
                Expression::ToThisMachine(Family::of(target))
            } else {
                Expression::Destination(address.into(), true)
            }
        }
    };
    Ok(Some(vec![
        at,
        Expression::Port(protocol, forward.host_port),
        Expression::Counter,
        Expression::ToTarget(target, forward.container_port),
    ]))
}

/// What the kernel has of a network's table.
fn seen(socket: &mut Socket, name: &str) -> Result<Option<nft::Seen>> {
    nft::tables(socket, name)
        .map(|mut tables| tables.remove(name))
        .map_err(kernel("cannot read nf_tables"))
}

/// Whether a table is as it was declared.
fn is_current(table: &Table, seen: &nft::Seen) -> bool {
    seen.comment == table.comment()
        && seen.rules == table.rules()
        && seen.chains == table.chains.len()
}

/// Makes the rules those of what is attached.
pub(super) fn rules(config: &Config, records: &Records) -> Result<()> {
    let (name, wanted) = (table_name(&config.name), table(&config.name, records)?);
    let has_forwards = records.all.iter().any(|record| !record.forwards.is_empty());
    if has_forwards {
        // Without it the kernel drops what comes from 127.0.0.1 and leaves by the bridge.
        let key = format!("net/ipv4/conf/{}/route_localnet", config.bridge());
        settings::write(&key, "1").map_err(kernel(format!("cannot set {key}")))?;
    }
    let Ok(mut socket) = Socket::netfilter() else {
        return match wanted {
            None => Ok(()),
            Some(_) => Err(Failure::new(Code::Kernel, "this kernel has no nf_tables")),
        };
    };
    let there = seen(&mut socket, &name)?;
    let refusals = match (&wanted, &there) {
        (None, None) => return Ok(()),
        (Some(table), Some(seen)) if is_current(table, seen) => return Ok(()),
        (None, Some(_)) => nft::remove(&mut socket, &name),
        (Some(table), _) => table.replace(&mut socket),
    };
    match refusals.map_err(kernel("cannot write the rules"))?.first() {
        None => Ok(()),
        Some(refusal) => Err(Failure::because(
            Code::Kernel,
            "cannot write the rules",
            refusal,
        )),
    }
}

/// Whether the rules are those of what is attached.
pub(super) fn check_rules(config: &Config, records: &Records) -> Result<()> {
    let Some(wanted) = table(&config.name, records)? else {
        return Ok(());
    };
    let mut socket = Socket::netfilter().map_err(kernel("this kernel has no nf_tables"))?;
    match seen(&mut socket, &wanted.name)? {
        Some(seen) if is_current(&wanted, &seen) => Ok(()),
        _ => Err(Failure::new(
            Code::Differs,
            format!("table inet {} is not as it was made", wanted.name),
        )),
    }
}

/// Whether links, addresses and routes are those of the result.
pub(super) fn check(
    config: &Config,
    namespace: &Namespace,
    record: &Record,
    previous: &Outcome,
) -> Result<()> {
    let differs = |what: String| Err(Failure::new(Code::Differs, what));
    let name = &record.whose.interface;
    let (mut socket, mut inside) = (host()?, namespace.socket()?);
    let unreadable = || kernel("cannot look at the links");
    let Some(own) = link::link(&mut inside, name).map_err(unreadable())? else {
        return differs(format!("the container has no interface {name}"));
    };
    let told = previous
        .interfaces
        .iter()
        .find(|told| told.name == *name && !told.sandbox.is_empty());
    let Some(told) = told else {
        return differs(format!("`prevResult` has no interface {name}"));
    };
    if !told.mac.eq_ignore_ascii_case(&hash::mac_text(&own.mac)) {
        return differs(format!("{name} has another MAC address than {}", told.mac));
    }
    if !own.up && !config.disable_container_interface {
        return differs(format!("{name} is down"));
    }
    let port = link::link(&mut socket, &record.port).map_err(unreadable())?;
    let bridge = link::link(&mut socket, config.bridge()).map_err(unreadable())?;
    let on_bridge = |port: &Link| {
        bridge.as_ref().is_some_and(|bridge| {
            bridge.up && port.master == bridge.index && port.peer == own.index && port.up
        })
    };
    if !port.is_some_and(|port| on_bridge(&port)) {
        return differs(format!(
            "{} is not a port of {}",
            record.port,
            config.bridge()
        ));
    }
    let addresses = link::addresses(&mut inside, Some(own.index)).map_err(unreadable())?;
    let mine = previous.ips.iter().filter(|ip| {
        ip.interface.is_none_or(|at| {
            previous
                .interfaces
                .get(at)
                .is_some_and(|of| of.name == *name && !of.sandbox.is_empty())
        })
    });
    for ip in mine {
        if !addresses
            .iter()
            .any(|there| there.link == own.index && there.net == ip.address)
        {
            return differs(format!("{name} has not the address {}", ip.address));
        }
    }
    let routes = route::all(&mut inside, false).map_err(unreadable())?;
    for route in &previous.routes {
        let wanted = new_route(route, previous, own.index);
        // Routes of other tables are not listed.
        if wanted.table.is_none()
            && !routes
                .iter()
                .any(|there| there.to == route.dst && there.via == wanted.via)
        {
            return differs(format!("the container has no route to {}", route.dst));
        }
    }
    Ok(())
}
