//! Docker Compose: a service becomes a namespace, a network a bridge, a published port a forward.

use serde_saphyr::Spanned;

use super::draft::{Draft, Keys, Part, inline, quoted, some, strings, words};
use super::yaml::{Node, Value, get, line, list, map, pairs, text, truth};
use super::{Read, wrong};

/// Keys of a service that mean nothing for networks and processes, or are looked at elsewhere.
const QUIET: &[&str] = &[
    "networks",
    "network_mode",
    "ports",
    "command",
    "entrypoint",
    "environment",
    "user",
    "restart",
    "depends_on",
    "expose",
    "container_name",
    "hostname",
    "links",
    "extra_hosts",
    "dns_search",
    "sysctls",
    "mac_address",
    "scale",
    "working_dir",
];
/// Those that belong to an image.
const OF_IMAGE: &[&str] = &[
    "image",
    "build",
    "volumes",
    "platform",
    "pull_policy",
    "tmpfs",
    "configs",
    "secrets",
];

/// A network as services see it.
struct Net {
    /// In the Compose file, and in the lab.
    name: String,
    own: String,
    internal: bool,
    forwards: Vec<String>,
    at: usize,
}

/// Reads a file.
pub(super) fn read(root: &Node, draft: &mut Draft) -> Read<()> {
    let mut declared: &[(String, Node)] = &[];
    let mut services: &[(String, Node)] = &[];
    for (key, node) in map(root, "a Compose file")? {
        match key.as_str() {
            "name" => draft.rename(line(node), text(node, "`name`")?),
            "version" => {}
            "services" => services = map(node, "`services`")?,
            "networks" => declared = map(node, "`networks`")?,
            "include" => {
                return wrong(
                    node,
                    "`include` names other files: import what `docker compose config` prints",
                );
            }
            key if key.starts_with("x-") => {}
            _ => draft.left(line(node), format!("`{key}`")),
        }
    }
    if services.is_empty() {
        return wrong(root, "there are no `services`");
    }
    // Programs that were made for Docker may know where its server is.
    draft.lab.push(("dns".to_owned(), quoted("inside")));
    let order = sorted(services)?;
    let mut nets = Vec::new();
    let by_default = |(_, node): &(String, Node)| {
        get(node, "networks").is_none() && get(node, "network_mode").is_none()
    };
    if services.iter().any(by_default) && !declared.iter().any(|(name, _)| name == "default") {
        net("default", root, draft, &mut nets)?;
    }
    for (name, node) in declared {
        net(name, node, draft, &mut nets)?;
    }
    // An alias takes the name of no service.
    let owns: Vec<String> = order
        .iter()
        .map(|(name, node)| draft.space_name(line(node), name))
        .collect();
    for ((name, node), own) in order.into_iter().zip(owns) {
        service((name, own), node, draft, &mut nets)?;
    }
    let isolates = nets.len() > 1;
    for net in nets {
        let keys = &mut draft.nets[net.at].1;
        if isolates && !net.internal {
            keys.push(("isolate".to_owned(), "true".to_owned()));
        }
        if !net.forwards.is_empty() {
            keys.push(("forward".to_owned(), strings(&net.forwards)));
        }
    }
    Ok(())
}

/// Services, those that others depend on first.
fn sorted(services: &[(String, Node)]) -> Read<Vec<(&str, &Node)>> {
    let mut order: Vec<(&str, &Node)> = Vec::new();
    while order.len() < services.len() {
        let before = order.len();
        for (name, node) in services {
            let is_there = |name: &str| order.iter().any(|(other, _)| *other == name);
            let needs: Vec<&str> = match get(node, "depends_on").map(|node| &node.value) {
                Some(Value::Map(entries)) => {
                    entries.iter().map(|(name, _)| name.as_str()).collect()
                }
                Some(Value::List(nodes)) => nodes
                    .iter()
                    .filter_map(|node| text(node, "").ok())
                    .collect(),
                _ => Vec::new(),
            };
            let known = |need: &&str| services.iter().any(|(other, _)| other == need);
            if let Some(unknown) = needs.iter().find(|need| !known(need)) {
                return wrong(
                    get(node, "depends_on").unwrap_or(node),
                    format!("`{name}` depends on `{unknown}`, which is not a service in this file"),
                );
            }
            if !is_there(name) && needs.iter().all(|need| is_there(need)) {
                order.push((name, node));
            }
        }
        if order.len() == before {
            let stuck = services
                .iter()
                .find(|(name, _)| !order.iter().any(|(other, _)| other == name));
            let (name, node) = stuck.unwrap_or(&services[0]);
            return wrong(
                get(node, "depends_on").unwrap_or(node),
                format!("`{name}` depends on itself, through others"),
            );
        }
    }
    Ok(order)
}

/// A network.
fn net(name: &str, node: &Node, draft: &mut Draft, nets: &mut Vec<Net>) -> Read<()> {
    let at_line = line(node);
    let own = draft.net_name(at_line, name);
    let (mut subnets, mut gateways) = (Vec::new(), Vec::new());
    let (mut keys, mut internal) = (Keys::new(), false);
    let entries = if name == "default" && get(node, "services").is_some() {
        &[][..]
    } else {
        map(node, "a network")?
    };
    for (key, node) in entries {
        match key.as_str() {
            "driver" => match text(node, "`driver`")? {
                "bridge" => {}
                driver => draft.changed(
                    line(node),
                    format!("network `{name}`: a bridge of this machine, not `{driver}`"),
                ),
            },
            "internal" => internal = truth(node),
            "ipam" => {
                for config in get(node, "config").map(list).unwrap_or_default() {
                    for (key, node) in map(config, "`config`")? {
                        match key.as_str() {
                            "subnet" | "gateway" => {
                                let address = text(node, key)?;
                                draft.made(Part::Text, address, line(node));
                                let all = match key.as_str() {
                                    "subnet" => &mut subnets,
                                    _ => &mut gateways,
                                };
                                all.push(address.to_owned());
                            }
                            _ => draft.left(line(node), format!("network `{name}`: `{key}`")),
                        }
                    }
                }
            }
            "driver_opts" => {
                for (key, value, node) in pairs(node, "`driver_opts`")? {
                    match key.as_str() {
                        "com.docker.network.driver.mtu" => keys.push(("mtu".to_owned(), value)),
                        _ => draft.left(line(node), format!("network `{name}`: `{key}`")),
                    }
                }
            }
            "external" if truth(node) => {
                draft.changed(
                    line(node),
                    format!("network `{name}`: a new network of the lab, not an existing one"),
                );
            }
            "external" => {}
            "enable_ipv6" if !truth(node) => {}
            "enable_ipv6" => draft.changed(
                line(node),
                format!("network `{name}`: IPv6 only with an IPv6 `subnet`"),
            ),
            _ => draft.left(line(node), format!("network `{name}`: `{key}`")),
        }
    }
    if !subnets.is_empty() {
        keys.push(("subnet".to_owned(), some(&subnets)));
    }
    if !gateways.is_empty() {
        keys.push(("host".to_owned(), some(&gateways)));
    }
    let how = if internal { "internal" } else { "nat" };
    keys.push((how.to_owned(), "true".to_owned()));
    let at = draft.nets.len();
    draft.nets.push((own.clone(), keys));
    nets.push(Net {
        name: name.to_owned(),
        own,
        internal,
        forwards: Vec::new(),
        at,
    });
    Ok(())
}

/// A service.
fn service(
    (name, own): (&str, String),
    node: &Node,
    draft: &mut Draft,
    nets: &mut [Net],
) -> Read<()> {
    let (mut keys, mut alias) = (Keys::new(), Vec::new());
    for (key, node) in map(node, "a service")? {
        let at = line(node);
        match key.as_str() {
            "extends" => {
                return wrong(
                    node,
                    "`extends` names another service or file: import what `docker compose config` prints",
                );
            }
            key if OF_IMAGE.contains(&key) => {
                draft.left(
                    at,
                    format!("`{key}`: a namespace has this machine's files and programs"),
                );
            }
            "working_dir" => draft.left(
                at,
                format!("{name}: `working_dir` is a directory of the image"),
            ),
            "healthcheck" => draft.left(
                at,
                format!("{name}: `healthcheck`: write `ready`, a port or a name, in `run`"),
            ),
            "env_file" => draft.left(
                at,
                format!("{name}: `env_file`: write the variables into `env` of `run`"),
            ),
            "container_name" | "hostname" => {
                let other = text(node, key)?;
                if other != name {
                    draft.alias((at, &own), other, &mut alias);
                }
            }
            "links" => {
                for link in list(node) {
                    if text(link, "`links`")?.contains(':') {
                        draft.left(line(link), format!("{name}: `links`: write the other name as an `alias` of the namespace"));
                    }
                }
            }
            "depends_on" => {
                if let Value::Map(entries) = &node.value {
                    let waits = |node: &Node| {
                        get(node, "condition")
                            .and_then(|one| text(one, "").ok())
                            .is_some_and(|how| how != "service_started")
                    };
                    for (other, node) in entries.iter().filter(|(_, node)| waits(node)) {
                        draft.changed(line(node), format!("{name}: it starts after `{other}`; that waits where the `run` of `{other}` has `ready`"));
                    }
                }
            }
            "extra_hosts" => hosts(name, node, draft)?,
            "dns_search" => {
                let domains: Vec<&str> = list(node)
                    .iter()
                    .map(|one| text(one, "`dns_search`"))
                    .collect::<Read<_>>()?;
                keys.push(("search".to_owned(), strings(&domains)));
            }
            "sysctls" => {
                let of_net = |(key, ..): &&(String, String, &Node)| key.starts_with("net.");
                let all = pairs(node, "`sysctls`")?;
                for (key, _, node) in all.iter().filter(|one| !of_net(one)) {
                    draft.left(
                        line(node),
                        format!("{name}: `{key}` is not of a network namespace"),
                    );
                }
                let kept: Keys = all
                    .iter()
                    .filter(of_net)
                    .map(|(key, value, _)| (key.clone(), quoted(value)))
                    .collect();
                keys.push(("sysctl".to_owned(), inline(&kept)));
            }
            "mac_address" => {
                let mac = text(node, "`mac_address`")?;
                draft.made(Part::Text, mac, at);
                keys.push(("mac".to_owned(), quoted(mac)));
            }
            "deploy" => {
                for (key, node) in map(node, "`deploy`")? {
                    match key.as_str() {
                        "replicas" | "mode" => {}
                        _ => draft.left(line(node), format!("{name}: `{key}` of `deploy`")),
                    }
                }
            }
            key if QUIET.contains(&key) || key.starts_with("x-") => {}
            _ => draft.left(at, format!("{name}: `{key}`")),
        }
    }
    let (where_to, mut on) = attachments((name, &own), node, draft, (&mut *nets, &mut alias))?;
    let count = replicas(node)?;
    if !alias.is_empty() && count == 1 {
        keys.push(("alias".to_owned(), strings(&alias)));
    }
    if let Some(run) = run(name, node, draft)? {
        keys.push(("run".to_owned(), run));
    }
    keys.insert(0, ("nets".to_owned(), where_to));
    on.retain(|at| !nets[*at].internal);
    let names: Vec<String> = match count {
        1 => vec![own.clone()],
        _ => (1..=count)
            .map(|n| draft.space_name(line(node), &format!("{own}-{n}")))
            .collect(),
    };
    let first = names[0].clone();
    for port in get(node, "ports").map(list).unwrap_or_default() {
        match (forward(port, &first)?, on.first()) {
            (Ok(made), Some(at)) => nets[*at].forwards.push(made.told((port, name), draft)),
            (Ok(_), None) => draft.left(
                line(port),
                format!("{name}: it is on no network with a way in, so no port leads to it"),
            ),
            (Err(why), _) => draft.left(line(port), format!("{name}: {why}")),
        }
    }
    if count > 1 {
        draft.changed(line(node), format!("{name}: {count} namespaces; `{own}` has the addresses of all, and ports lead to the first"));
        let to = vec![
            ("headless".to_owned(), "true".to_owned()),
            ("to".to_owned(), strings(&names)),
        ];
        for name in alias.into_iter().chain([own]) {
            draft.made(Part::Service, &name, line(node));
            draft.services.push((name, to.clone()));
        }
    }
    draft
        .spaces
        .extend(names.into_iter().map(|name| (name, keys.clone())));
    Ok(())
}

/// How many there are of a service.
fn replicas(node: &Node) -> Read<usize> {
    let of_deploy = get(node, "deploy").and_then(|deploy| get(deploy, "replicas"));
    let Some(node) = get(node, "scale").or(of_deploy) else {
        return Ok(1);
    };
    let count = text(node, "the number")?.parse::<usize>().ok();
    match count.filter(|count| (1..=200).contains(count)) {
        Some(count) => Ok(count),
        None => wrong(node, "a service has 1 to 200 containers here"),
    }
}

/// Names of elsewhere, as records.
fn hosts(name: &str, node: &Node, draft: &mut Draft) -> Read<()> {
    let entries: Vec<(String, String, &Node)> = match &node.value {
        Value::List(nodes) => {
            let split = |node| {
                let entry = text(node, "`extra_hosts`")?;
                let (host, address) = entry
                    .split_once('=')
                    .or_else(|| entry.split_once(':'))
                    .unwrap_or((entry, ""));
                Ok((host.to_owned(), address.to_owned(), node))
            };
            nodes.iter().map(split).collect::<Read<_>>()?
        }
        _ => pairs(node, "`extra_hosts`")?,
    };
    for (host, address, node) in entries {
        let address = address.trim_matches(['[', ']']).to_owned();
        match address.parse::<std::net::IpAddr>() {
            Ok(at) if draft.claim(&host) => {
                let kind = if at.is_ipv6() { "AAAA" } else { "A" };
                draft.changed(
                    line(node),
                    format!("{name}: `{host}` is a name for all, in the lab's domain"),
                );
                draft.made(Part::Record, &host, line(node));
                draft.records.push((host, quoted(&format!("{kind} {at}"))));
            }
            _ => draft.left(line(node), format!("{name}: `{host}` of `extra_hosts`")),
        }
    }
    Ok(())
}

/// Where a service is: what the lab's file says, and the places of the networks.
fn attachments(
    (name, own): (&str, &str),
    node: &Node,
    draft: &mut Draft,
    (nets, alias): (&mut [Net], &mut Vec<String>),
) -> Read<(String, Vec<usize>)> {
    if let Some(mode) = get(node, "network_mode") {
        return match text(mode, "`network_mode`")? {
            own @ ("none" | "host") => Ok((quoted(own), Vec::new())),
            other => wrong(
                mode,
                format!("{name}: `network_mode: {other}` cannot be had: each namespace is its own"),
            ),
        };
    }
    let mut wanted: Vec<(&str, Option<&Node>, u64)> = Vec::new();
    match get(node, "networks") {
        Some(Spanned {
            value: Value::Map(entries),
            ..
        }) => {
            wanted.extend(
                entries
                    .iter()
                    .map(|(name, node)| (name.as_str(), Some(node), line(node))),
            );
        }
        Some(node) => {
            for node in list(node) {
                wanted.push((text(node, "a network's name")?, None, line(node)));
            }
        }
        None => wanted.push(("default", None, line(node))),
    }
    let (mut parts, mut on) = (Vec::new(), Vec::new());
    for (wanted, node, at_line) in wanted {
        let Some(at) = nets.iter().position(|net| net.name == wanted) else {
            return Err((at_line, format!("{name}: there is no network `{wanted}`")));
        };
        let mut part = nets[at].own.clone();
        for (key, node) in node.map_or(Ok(&[][..]), |node| map(node, "a service's network"))? {
            match key.as_str() {
                "ipv4_address" | "ipv6_address" => part.push_str(&format!(" {}", text(node, key)?)),
                "interface_name" => part.push_str(&format!(" dev {}", text(node, key)?)),
                "aliases" => {
                    for node in list(node) {
                        draft.alias((line(node), own), text(node, "an alias")?, alias);
                    }
                }
                _ => draft.left(line(node), format!("{name}: `{key}` on `{wanted}`")),
            }
        }
        draft.made(Part::Text, &part, at_line);
        parts.push(part);
        on.push(at);
    }
    Ok(match &parts[..] {
        [] => (quoted("none"), on),
        [one] => (quoted(one), on),
        _ => (strings(&parts), on),
    })
}

/// The command of a service.
fn run(name: &str, node: &Node, draft: &mut Draft) -> Read<Option<String>> {
    let mut command = Vec::new();
    for key in ["entrypoint", "command"] {
        let Some(node) = get(node, key) else { continue };
        match &node.value {
            Value::Text(line) => match words(line) {
                Some(words) => command.extend(words),
                None => command.extend(["sh", "-c", line].map(str::to_owned)),
            },
            _ => {
                for word in list(node) {
                    command.push(text(word, "a word of the command")?.to_owned());
                }
            }
        }
    }
    let place = get(node, "command").or_else(|| get(node, "entrypoint"));
    let place = place.map_or(0, line);
    if let Some(option) = command.first().filter(|word| word.starts_with('-')) {
        draft.left(
            place,
            format!("{name}: `command` begins with `{option}`, for an entrypoint of the image that is not known"),
        );
        command.clear();
    }
    if command.is_empty() {
        for key in ["environment", "user", "restart"] {
            if let Some(node) = get(node, key) {
                draft.left(
                    line(node),
                    format!(
                        "{name}: `{key}`: no command is named, and that of the image is not known"
                    ),
                );
            }
        }
        return Ok(None);
    }
    draft.changed(
        place,
        format!(
            "{name}: `{}` is this machine's, not the image's",
            command[0]
        ),
    );
    let told = |text: &str, draft: &mut Draft| {
        let (value, missing) = interpolated(text);
        for missing in missing {
            draft.left(
                place,
                format!(
                    "{name}: the value of `${missing}`, which Compose takes from its environment"
                ),
            );
        }
        value
    };
    let command: Vec<String> = command.iter().map(|word| told(word, draft)).collect();
    let mut keys: Keys = vec![("command".to_owned(), strings(&command))];
    if let Some(node) = get(node, "environment") {
        let is_list = matches!(node.value, Value::List(_));
        let mut env = Keys::new();
        for (key, value, node) in pairs(node, "`environment`")? {
            match &node.value {
                Value::Text(text) if !is_list || text.contains('=') => {
                    env.push((key, quoted(&told(&value, draft))));
                }
                _ => {
                    told(&format!("${{{key}}}"), draft);
                }
            }
        }
        keys.push(("env".to_owned(), inline(&env)));
    }
    if let Some(node) = get(node, "user") {
        let user = text(node, "`user`")?;
        match user.split(':').all(|part| part.parse::<u32>().is_ok()) {
            true => keys.push(("user".to_owned(), quoted(user))),
            false => draft.left(
                line(node),
                format!("{name}: the user `{user}` is the image's"),
            ),
        }
    }
    if let Some(node) = get(node, "restart") {
        let how = text(node, "`restart`")?;
        let (how, most) = how.split_once(':').unwrap_or((how, ""));
        let own = match how {
            "no" | "false" => None,
            "on-failure" => Some("on-failure"),
            _ => Some("always"),
        };
        if !most.is_empty() {
            let text = format!("{name}: `{how}` restarts it each time, not {most} times at most");
            draft.changed(line(node), text);
        }
        keys.extend(own.map(|own| ("restart".to_owned(), quoted(own))));
    }
    Ok(Some(match keys.len() {
        1 => keys.remove(0).1,
        _ => inline(&keys),
    }))
}

/// A value with variables replaced by what stands for them where they are not set, and those for which nothing does.
fn interpolated(text: &str) -> (String, Vec<String>) {
    let (mut out, mut missing, mut rest) = (String::new(), Vec::new(), text);
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((inner, after)) =
            rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
        {
            let end = inner.find([':', '-', '?', '+']).unwrap_or(inner.len());
            let (name, how) = inner.split_at(end);
            match how.strip_prefix(":-").or_else(|| how.strip_prefix('-')) {
                Some(default) => out.push_str(default),
                None if how.contains('+') => {}
                None => missing.push(name.to_owned()),
            }
            rest = after;
        } else {
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            match end {
                0 => out.push('$'),
                _ => missing.push(rest[..end].to_owned()),
            }
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    (out, missing)
}

/// A forward, and what is not as Docker does it.
pub(super) struct Forward {
    text: String,
    changed: Option<String>,
}

impl Forward {
    /// As the lab has it; the change is told.
    pub(super) fn told(self, (port, name): (&Node, &str), draft: &mut Draft) -> String {
        draft.made(Part::Text, &self.text, line(port));
        if let Some(changed) = self.changed {
            draft.changed(line(port), format!("{name}: {changed}"));
        }
        self.text
    }
}

/// A published port as a forward, or why it is none.
fn forward(node: &Node, target: &str) -> Read<std::result::Result<Forward, String>> {
    let whole = if let Value::Map(_) = &node.value {
        let part = |key: &str| {
            let text = get(node, key).map(|one| text(one, key)).transpose()?;
            Ok(text.filter(|text| !text.is_empty()))
        };
        let Some(inside) = part("target")? else {
            return wrong(node, "a port has a `target`");
        };
        let listen = part("host_ip")?.map_or(String::new(), |at| match at.contains(':') {
            true => format!("[{at}]:"),
            false => format!("{at}:"),
        });
        let port = part("published")?.unwrap_or_default();
        let protocol = part("protocol")?.unwrap_or("tcp");
        format!("{listen}{port}:{inside}/{protocol}")
    } else {
        text(node, "a port")?.to_owned()
    };
    Ok(published(&interpolated(&whole).0, target))
}

/// `[ADDRESS:]PORT:PORT[/udp]` as `[ADDRESS:]PORT[/udp]:TARGET:PORT`.
pub(super) fn published(whole: &str, target: &str) -> std::result::Result<Forward, String> {
    let (ports, protocol) = match whole.split_once('/') {
        Some((ports, "tcp")) => (ports, String::new()),
        Some((ports, protocol)) => (ports, format!("/{protocol}")),
        None => (whole, String::new()),
    };
    let (outer, inside) = ports.rsplit_once(':').unwrap_or(("", ports));
    let outer = outer.strip_prefix("0.0.0.0:").unwrap_or(outer);
    let (listen, port) = match outer.rfind(':') {
        Some(colon) => outer.split_at(colon + 1),
        None => ("", outer),
    };
    if ["", "0"].contains(&port) {
        return Err(format!(
            "`{inside}`: a port of the host that Docker would pick"
        ));
    }
    let span = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let first = first.parse::<u16>().ok()?;
        Some((first, last.parse::<u16>().ok()?.checked_sub(first)?))
    };
    let (port, changed) = match (span(port), span(inside)) {
        (Some((_, one)), Some((_, other))) if one == other => (port.to_owned(), None),
        (Some((first, _)), Some((_, 0))) => {
            let text = format!("port {first}, where Docker picks a free one of {port}");
            (first.to_string(), Some(text))
        }
        _ => return Err(format!("`{whole}` has no port of its own")),
    };
    Ok(Forward {
        text: format!("{listen}{port}{protocol}:{target}:{inside}"),
        changed,
    })
}
