//! containerlab: a node becomes a namespace, a link a pair, the management network a bridge with the host on it.
//!
//! Addresses are no part of a topology: nodes of kind `linux` get them by commands, `exec`, and those that `ip` and `sysctl`
//! would do become keys.

use std::net::IpAddr;

use super::compose::published;
use super::draft::{Draft, Keys, Part, inline, quoted, some, strings, words};
use super::yaml::{Node, Value, get, line, list, map, pairs, text, truth};
use super::{Read, wrong};

/// Kinds that are a bridge of the host.
const BRIDGES: &[&str] = &["bridge", "ovs-bridge"];

/// A node.
#[derive(Default)]
struct Host {
    name: String,
    own: String,
    line: u64,
    keys: Keys,
    is_bridge: bool,
    /// `NET ADDRESS… dev INTERFACE`
    nets: Vec<String>,
    /// Interfaces that links have: as they are written, and as they are called here.
    devices: Keys,
    /// Addresses that commands give to interfaces.
    addresses: Vec<(String, String)>,
    routes: Vec<String>,
    sysctls: Keys,
}

/// An end of a link.
struct End {
    host: usize,
    device: String,
}

/// Reads a file.
pub(super) fn read(root: &Node, draft: &mut Draft) -> Read<()> {
    let mut topology = None;
    let mut mgmt = None;
    for (key, node) in map(root, "a topology file")? {
        match key.as_str() {
            "name" => draft.rename(line(node), text(node, "`name`")?),
            "prefix" => {}
            "mgmt" => mgmt = Some(node),
            "topology" => topology = Some(node),
            _ => draft.left(line(node), format!("`{key}`")),
        }
    }
    let Some(topology) = topology else {
        return wrong(root, "there is no `topology`");
    };
    let management = management(mgmt, draft)?;
    let mut forwards = Vec::new();
    let mut hosts = Vec::new();
    for (key, node) in map(topology, "`topology`")? {
        match key.as_str() {
            "nodes" => {
                for (name, node) in map(node, "`nodes`")? {
                    hosts.push(host(
                        (name, node),
                        topology,
                        (draft, &management),
                        &mut forwards,
                    )?);
                }
            }
            "links" | "defaults" | "kinds" | "groups" => {}
            _ => draft.left(line(node), format!("`{key}`")),
        }
    }
    if !forwards.is_empty() {
        draft.nets[0]
            .1
            .push(("forward".to_owned(), strings(&forwards)));
    }
    for one in hosts.iter_mut().filter(|one| one.is_bridge) {
        one.own = draft.net_name(one.line, &one.name);
        draft.changed(
            one.line,
            format!(
                "{}: a bridge of the lab's own, not one that is there already",
                one.name
            ),
        );
        draft.nets.push((
            one.own.clone(),
            vec![("host".to_owned(), "false".to_owned())],
        ));
    }
    for node in get(topology, "links").map(list).unwrap_or_default() {
        link(node, &mut hosts, draft)?;
    }
    for host in hosts.into_iter().filter(|one| !one.is_bridge) {
        finish(host, draft);
    }
    Ok(())
}

/// The management network; its name here.
fn management(mgmt: Option<&Node>, draft: &mut Draft) -> Read<String> {
    let (mut subnets, mut host, mut keys) = (Vec::new(), Vec::new(), Keys::new());
    let (mut name, mut at, mut nat) = ("mgmt", 1, true);
    for (key, node) in mgmt.map_or(Ok(&[][..]), |node| map(node, "`mgmt`"))? {
        at = line(node);
        // Older files have underscores.
        let key = key.replace('_', "-");
        let key = key.as_str();
        match key {
            "network" => name = text(node, key)?,
            "ipv4-subnet" | "ipv6-subnet" if ["", "auto"].contains(&text(node, key)?) => {}
            "ipv4-subnet" | "ipv6-subnet" => subnets.push(text(node, key)?),
            "ipv4-gw" | "ipv6-gw" => host.push(text(node, key)?),
            "mtu" => keys.push(("mtu".to_owned(), text(node, key)?.to_owned())),
            "external-access" => nat = truth(node),
            _ => draft.left(at, format!("`{key}` of `mgmt`")),
        }
    }
    let own = draft.net_name(at, name);
    keys.insert(
        0,
        (
            "subnet".to_owned(),
            some(if subnets.is_empty() {
                &["172.20.20.0/24"]
            } else {
                &subnets
            }),
        ),
    );
    if !host.is_empty() {
        keys.push(("host".to_owned(), some(&host)));
    }
    keys.push(("nat".to_owned(), nat.to_string()));
    draft.nets.push((own.clone(), keys));
    Ok(own)
}

/// A node, with what it takes over.
fn host(
    (name, node): (&str, &Node),
    topology: &Node,
    (draft, management): (&mut Draft, &str),
    forwards: &mut Vec<String>,
) -> Read<Host> {
    let mut host = Host {
        name: name.to_owned(),
        line: line(node),
        ..Host::default()
    };
    let defaults = get(topology, "defaults");
    let of = |key: &str, levels: &[Option<&'_ Node>]| {
        let said = levels.iter().flatten().find_map(|level| get(level, key))?;
        get(get(topology, &format!("{key}s"))?, text(said, key).ok()?)
    };
    let group = of("group", &[Some(node), defaults]);
    let kind = of("kind", &[Some(node), group, defaults]);
    let levels = [Some(node), group, kind, defaults].into_iter().flatten();
    let mut entries: Vec<(&str, &Node)> = Vec::new();
    for level in levels {
        for (key, node) in map(level, "a node")? {
            let key = match key.as_str() {
                "mgmt_ipv4" => "mgmt-ipv4",
                "mgmt_ipv6" => "mgmt-ipv6",
                key => key,
            };
            if !entries.iter().any(|(known, _)| *known == key) {
                entries.push((key, node));
            }
        }
    }
    let find = |key: &str| {
        entries
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, node)| *node)
    };
    let kind = find("kind").map_or(Ok("linux"), |node| text(node, "`kind`"))?;
    if BRIDGES.contains(&kind) {
        host.is_bridge = true;
        return Ok(host);
    }
    host.own = draft.space_name(host.line, name);
    match kind {
        "linux" => {}
        "host" => {
            return wrong(
                node,
                format!("{name}: a node cannot be this machine: links to it are `host:INTERFACE`"),
            );
        }
        _ => {
            draft.changed(
                host.line,
                format!(
                    "{name}: a namespace that routes; the system of kind `{kind}` is not in it"
                ),
            );
            host.keys.push(("router".to_owned(), "true".to_owned()));
        }
    }
    let mode = find("network-mode").map_or(Ok("bridge"), |node| text(node, "`network-mode`"))?;
    let mut address = String::new();
    for (key, node) in &entries {
        let at = line(node);
        match *key {
            "kind" | "group" | "network-mode" | "cmd" | "entrypoint" | "env" | "position" => {}
            "mgmt-ipv4" | "mgmt-ipv6" => {
                let text = text(node, key)?;
                address.push_str(&format!(" {}", text.split('/').next().unwrap_or(text)));
            }
            "image" | "binds" | "startup-config" | "license" | "type" => {
                draft.left(
                    at,
                    format!("`{key}`: a namespace has this machine's files and programs"),
                );
            }
            "exec" => {
                for node in list(node) {
                    exec(text(node, "a command")?, line(node), &mut host, draft);
                }
            }
            "ports" if mode == "bridge" => {
                for node in list(node) {
                    match published(text(node, "a port")?, &host.own) {
                        Ok(forward) => forwards.push(forward.told((node, name), draft)),
                        Err(why) => draft.left(line(node), format!("{name}: {why}")),
                    }
                }
            }
            "sysctls" => {
                for (key, value, node) in pairs(node, "`sysctls`")? {
                    match key.starts_with("net.") {
                        true => host.sysctls.push((key, quoted(&value))),
                        false => draft.left(
                            line(node),
                            format!("{name}: `{key}` is not of a network namespace"),
                        ),
                    }
                }
            }
            _ => draft.left(at, format!("{name}: `{key}`")),
        }
    }
    match mode {
        "none" => {}
        "bridge" => host.nets.push(format!("{management}{address} dev eth0")),
        _ => {
            return wrong(
                node,
                format!("{name}: `network-mode: {mode}` cannot be had: each namespace is its own"),
            );
        }
    }
    let mut command = Vec::new();
    for node in ["entrypoint", "cmd"].into_iter().filter_map(find) {
        match &node.value {
            Value::Text(line) => command.extend(
                words(line).unwrap_or_else(|| ["sh", "-c", line].map(str::to_owned).to_vec()),
            ),
            _ => {
                for word in list(node) {
                    command.push(text(word, "a word of the command")?.to_owned());
                }
            }
        }
    }
    if let Some(option) = command.first().filter(|word| word.starts_with('-')) {
        draft.left(
            host.line,
            format!("{name}: `cmd` begins with `{option}`, for an entrypoint of the image that is not known"),
        );
    } else if let Some(program) = command.first() {
        draft.changed(
            host.line,
            format!("{name}: `{program}` is this machine's, not the image's"),
        );
        let mut run = vec![("command".to_owned(), strings(&command))];
        if let Some(node) = find("env") {
            let env: Keys = pairs(node, "`env`")?
                .into_iter()
                .map(|(key, value, _)| (key, quoted(&value)))
                .collect();
            run.push(("env".to_owned(), inline(&env)));
        }
        host.keys.push(("run".to_owned(), inline(&run)));
    }
    Ok(host)
}

/// A command of a node: what `ip` and `sysctl` would do becomes keys.
fn exec(command: &str, at: u64, host: &mut Host, draft: &mut Draft) {
    let split = words(command).unwrap_or_default();
    let mut plain: Vec<&str> = split
        .iter()
        .map(String::as_str)
        .filter(|word| !["-4", "-6"].contains(word))
        .collect();
    if let ["sh" | "bash" | "ash", "-c", line] = plain[..]
        && let Some(inner) = words(line)
        && !inner.is_empty()
    {
        return exec(line, at, host, draft);
    }
    if let [first, ..] = &mut plain[..] {
        *first = first.rsplit('/').next().unwrap_or(first);
    }
    match plain[..] {
        [
            "ip",
            object,
            "add" | "a" | "replace",
            address,
            "dev",
            device,
        ] if "address".starts_with(object) && address.contains('/') => {
            host.addresses.push((device.to_owned(), address.to_owned()));
        }
        [
            "ip",
            object,
            "add" | "replace" | "a" | "r",
            to,
            "via",
            via,
            ..,
        ] if "route".starts_with(object) => {
            if to == "default" || to == "0.0.0.0/0" {
                // That by way of the management network would be before it.
                host.keys.push(("default".to_owned(), "false".to_owned()));
            }
            let to = match (to, via.contains(':')) {
                ("default", true) => "::/0",
                ("default", false) => "0.0.0.0/0",
                _ => to,
            };
            host.routes.push(format!("{to} via {via}"));
        }
        ["ip", "link" | "l", "set", ..] if plain.last() == Some(&"up") => {}
        ["sysctl", ref rest @ ..] => {
            let setting = rest.iter().find_map(|word| word.split_once('='));
            match setting.filter(|(key, _)| key.starts_with("net.")) {
                Some(("net.ipv4.ip_forward", "1")) => {
                    host.keys.push(("router".to_owned(), "true".to_owned()))
                }
                Some((key, value)) => host.sysctls.push((key.to_owned(), quoted(value))),
                None => draft.left(at, format!("{}: `{command}`", host.name)),
            }
        }
        _ => draft.left(
            at,
            format!("{}: `{command}`: write it into `run`", host.name),
        ),
    }
}

/// A link.
fn link(node: &Node, hosts: &mut [Host], draft: &mut Draft) -> Read<()> {
    let at = line(node);
    let kind = get(node, "type").map_or(Ok("veth"), |node| text(node, "`type`"))?;
    if kind != "veth" {
        draft.left(at, format!("a link of type `{kind}`"));
        return Ok(());
    }
    let Some(written) = get(node, "endpoints")
        .map(list)
        .filter(|ends| ends.len() == 2)
    else {
        return wrong(node, "a link has two `endpoints`");
    };
    for (key, node) in map(node, "a link")? {
        if !["endpoints", "type", "mtu"].contains(&key.as_str()) {
            draft.left(line(node), format!("`{key}` of a link"));
        }
    }
    let mut ends = Vec::new();
    for node in written {
        let (name, device) = match &node.value {
            Value::Map(_) => {
                let part = |key: &str| get(node, key).map_or(Ok(""), |one| text(one, key));
                (part("node")?, part("interface")?)
            }
            _ => text(node, "an endpoint")?
                .split_once(':')
                .unwrap_or_default(),
        };
        let Some(host) = hosts.iter().position(|one| one.name == name) else {
            if ["host", "mgmt-net", "macvlan", "vxlan", "dummy"].contains(&name) {
                draft.left(at, format!("a link to `{name}:{device}`"));
                return Ok(());
            }
            return wrong(node, format!("there is no node `{name}`"));
        };
        let device = device_name(device, node, &mut hosts[host], draft)?;
        ends.push(End { host, device });
    }
    let mut keys = Keys::new();
    if let Some(mtu) = get(node, "mtu") {
        keys.push(("mtu".to_owned(), text(mtu, "`mtu`")?.to_owned()));
    }
    if let [one, other] = &ends[..] {
        join(at, [one, other], hosts, (draft, keys));
    }
    Ok(())
}

/// What an interface is called here, told where it is another name than in the file.
fn device_name(written: &str, node: &Node, host: &mut Host, draft: &mut Draft) -> Read<String> {
    if host.is_bridge {
        return Ok(String::new());
    }
    let name = &host.name;
    let Some(own) = linux_name(written) else {
        let why = format!("`{written}` of `{name}` cannot be the name of an interface");
        return wrong(node, why);
    };
    if let Some((other, _)) = host.devices.iter().find(|(_, known)| *known == own) {
        let why = match other == written {
            true => format!("two links end at `{written}` of `{name}`"),
            false => format!("`{other}` and `{written}` of `{name}` would both be called `{own}`"),
        };
        return wrong(node, why);
    }
    if own != written {
        let text = format!("{name}: the interface `{written}` is called `{own}`");
        draft.changed(line(node), text);
    }
    host.devices.push((written.to_owned(), own.clone()));
    Ok(own)
}

/// An interface's name as Linux can have it: `e1-2` for `ethernet-1/2`, and `-` for `/` in others. Where that is too long, the
/// word before the numbers is cut.
fn linux_name(written: &str) -> Option<String> {
    const LONGEST: usize = 15;
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let ports = written
        .strip_prefix("ethernet-")
        .filter(|ports| ports.contains('/'));
    let name = ports
        .map_or(written.to_owned(), |ports| format!("e{ports}"))
        .replace('/', "-");
    let numbers = name.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
    let (word, numbers) = name.split_at(numbers);
    let word: String = word
        .chars()
        .take(LONGEST.checked_sub(numbers.len())?)
        .collect();
    let is_one = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(good);
    is_one.then(|| word + numbers)
}

/// The addresses that commands give to an end, taken away from there.
fn addresses(end: &End, hosts: &mut [Host]) -> Vec<String> {
    let all = std::mem::take(&mut hosts[end.host].addresses);
    let (own, rest): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|(device, _)| *device == end.device);
    hosts[end.host].addresses = rest;
    own.into_iter().map(|(_, address)| address).collect()
}

/// Two nodes: a pair, or by way of a bridge.
fn join(at: u64, ends: [&End; 2], hosts: &mut [Host], (draft, mut keys): (&mut Draft, Keys)) {
    let [one, other] = ends;
    let given = [addresses(one, hosts), addresses(other, hosts)];
    let only = |address: &String| address.split('/').next().unwrap_or_default().to_owned();
    let attach = |host: &mut Host, net: &str, given: &[String], device: &str| {
        let addresses: Vec<String> = given.iter().map(only).collect();
        let words = [net]
            .into_iter()
            .chain(addresses.iter().map(String::as_str))
            .chain(["dev", device]);
        host.nets.push(words.collect::<Vec<_>>().join(" "));
    };
    let subnets: Vec<String> = given
        .iter()
        .flatten()
        .filter_map(|one| Some(subnet(one)?.to_string()))
        .fold(Vec::new(), |mut all, one| {
            if !all.contains(&one) {
                all.push(one);
            }
            all
        });
    let bridge = ends.iter().position(|end| hosts[end.host].is_bridge);
    if let Some(bridge) = bridge {
        let end = ends[1 - bridge];
        let name = hosts[ends[bridge].host].own.clone();
        if hosts[end.host].is_bridge {
            draft.left(at, "a link between two bridges");
            return;
        }
        if let Some((_, keys)) = draft.nets.iter_mut().find(|(net, _)| *net == name)
            && !keys.iter().any(|(key, _)| key == "subnet")
            && !subnets.is_empty()
        {
            keys.insert(0, ("subnet".to_owned(), some(&subnets)));
        }
        attach(&mut hosts[end.host], &name, &given[1 - bridge], &end.device);
        return;
    }
    let name_of = |[one, other]: [usize; 2], hosts: &[Host]| {
        format!(
            "{}-{}",
            hosts[ends[one].host].own, hosts[ends[other].host].own
        )
    };
    let name = name_of([0, 1], hosts);
    let known = [name_of([0, 1], hosts), name_of([1, 0], hosts)];
    let taken = one.host == other.host || draft.links.iter().any(|(name, _)| known.contains(name));
    // A pair gives its first end the first address.
    let fits = |order: [usize; 2]| {
        subnets.iter().all(|text| {
            let Ok(subnet) = text.parse::<ipnet::IpNet>() else {
                return false;
            };
            let spare = u128::from(subnet.max_prefix_len() - subnet.prefix_len() > 1);
            order.iter().enumerate().all(|(place, end)| {
                let wanted = lab::spec::subnet_address(subnet, spare + place as u128);
                let mut own = given[*end]
                    .iter()
                    .filter_map(|one| only(one).parse::<IpAddr>().ok());
                own.all(|address| !subnet.contains(&address) || Some(address) == wanted)
            })
        })
    };
    let order = [[0, 1], [1, 0]].into_iter().find(|order| fits(*order));
    if let (false, Some(order)) = (taken, order) {
        if !subnets.is_empty() {
            keys.insert(0, ("subnet".to_owned(), some(&subnets)));
        }
        let devices = order.map(|end| ends[end].device.as_str());
        keys.push(("dev".to_owned(), strings(&devices)));
        let without = ends.iter().zip(&given).find(|(_, given)| given.is_empty());
        if let (Some((end, _)), false) = (without, subnets.is_empty()) {
            let host = &hosts[end.host].name;
            draft.changed(
                at,
                format!("`{host}` gets the other address of {}", subnets.join(", ")),
            );
        }
        let name = name_of(order, hosts);
        draft.made(Part::Link, &name, at);
        draft.links.push((name, keys));
        return;
    }
    let net = draft.net_name(at, &format!("link{}", draft.nets.len()));
    draft.changed(
        at,
        format!("the link of {name} is the bridge `{net}` with both on it"),
    );
    if !subnets.is_empty() {
        keys.insert(0, ("subnet".to_owned(), some(&subnets)));
    }
    keys.push(("host".to_owned(), "false".to_owned()));
    draft.nets.push((net.clone(), keys));
    for (end, given) in ends.into_iter().zip(&given) {
        attach(&mut hosts[end.host], &net, given, &end.device);
    }
}

/// The subnet of an address with its prefix.
fn subnet(text: &str) -> Option<ipnet::IpNet> {
    Some(text.parse::<ipnet::IpNet>().ok()?.trunc())
}

/// A node as a namespace.
fn finish(mut host: Host, draft: &mut Draft) {
    for (device, address) in &host.addresses {
        draft.left(
            host.line,
            format!("{}: {address} of `{device}`, which no link has", host.name),
        );
    }
    let nets = match &host.nets[..] {
        [] => quoted("none"),
        [one] => quoted(one),
        many => strings(many),
    };
    let mut keys: Keys = vec![("nets".to_owned(), nets)];
    for (key, value) in std::mem::take(&mut host.keys) {
        if !keys.iter().any(|(known, _)| *known == key) {
            keys.push((key, value));
        }
    }
    if !host.routes.is_empty() {
        keys.push(("routes".to_owned(), strings(&host.routes)));
    }
    if !host.sysctls.is_empty() {
        keys.push(("sysctl".to_owned(), inline(&host.sysctls)));
    }
    draft.spaces.push((host.own, keys));
}
