//! What the machine has, as far as a name server's place on it is concerned.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use host::interfaces::Interface;
use host::ports::Holder;

/// The port of DNS.
pub(crate) const PORT: u16 = 53;
/// Where systemd-resolved writes the resolvers that it asks itself.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// What was found.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The name of the machine, without its domain.
    pub(crate) name: String,
    /// The addresses that the LAN reaches it by, with the length of their prefixes.
    pub(crate) addresses: Vec<(IpAddr, u8)>,
    /// The file with the resolvers that answered this machine so far, and those of them that can be asked on.
    pub(crate) upstreams: (PathBuf, Vec<IpAddr>),
    /// Who holds port 53.
    pub(crate) holders: Vec<Holder>,
}

impl Survey {
    /// Looks at the machine: `interfaces` by name, or else the one that the default route leaves by.
    pub(crate) fn take(interfaces: &[String]) -> Result<Self, String> {
        let all = host::interfaces::list();
        let addresses = addresses(&all, interfaces)?;
        let own: Vec<IpAddr> = all.iter().map(|one| one.address).collect();
        Ok(Self {
            name: name(),
            addresses,
            upstreams: upstreams(&own),
            holders: holders(),
        })
    }

    /// Those who hold port 53 where the server would listen.
    pub(crate) fn in_the_way(&self, listens: &[IpAddr]) -> Vec<&Holder> {
        let holds = |holder: &&Holder| {
            let held = holder.address.to_canonical();
            holder.address.is_unspecified() || listens.contains(&held)
        };
        self.holders.iter().filter(holds).collect()
    }
}

/// Who holds port 53, over either protocol.
pub(crate) fn holders() -> Vec<Holder> {
    let mut out = host::ports::holders("udp", PORT);
    for holder in host::ports::holders("tcp", PORT) {
        if !out.contains(&holder) {
            out.push(holder);
        }
    }
    out
}

/// The private addresses of the interfaces asked for, or of that of the default route.
fn addresses(all: &[Interface], wanted: &[String]) -> Result<Vec<(IpAddr, u8)>, String> {
    let default = || {
        let table = fs::read_to_string("/proc/net/route").unwrap_or_default();
        default_interface(&table)
            .map(str::to_owned)
            .into_iter()
            .collect::<Vec<_>>()
    };
    let names = if wanted.is_empty() {
        default()
    } else {
        wanted.to_vec()
    };
    for name in wanted {
        if !all.iter().any(|one| one.name == *name) {
            let known: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
            return Err(format!(
                "no interface `{name}` has an address; those that have: {}",
                unique(&known).join(", ")
            ));
        }
    }
    let found = all
        .iter()
        .filter(|one| names.contains(&one.name) && !one.tentative)
        .filter(|one| !wanted.is_empty() || is_private(one.address))
        .filter(|one| !is_link_local(one.address))
        .map(|one| (one.address, one.prefix));
    Ok(found.collect())
}

fn unique<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    names
}

/// The interface of the route to 0.0.0.0/0 with the least metric, from /proc/net/route.
fn default_interface(table: &str) -> Option<&str> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default = fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000");
        let metric: u32 = fields.get(6)?.parse().ok()?;
        is_default.then_some((metric, *fields.first()?))
    });
    Some(routes.min()?.1)
}

/// RFC 1918 and RFC 4193: an address that the internet does not reach, so that a server on it is no open resolver.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// The nameservers of the file that says who answers this machine; systemd-resolved's own list before its stub.
fn upstreams(own: &[IpAddr]) -> (PathBuf, Vec<IpAddr>) {
    let mut path = PathBuf::from(RESOLVED);
    let mut text = fs::read_to_string(&path);
    if text.is_err() {
        path = "/etc/resolv.conf".into();
        text = fs::read_to_string(&path);
    }
    let text = text.unwrap_or_default();
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        words.next().filter(|_| is_server)?.parse::<IpAddr>().ok()
    });
    let others = servers.filter(|ip| !ip.is_loopback() && !own.contains(ip));
    (path, others.collect())
}

/// The first label of the machine's name, if it can stand in a zone.
fn name() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let label = text
        .trim()
        .split('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let fits = |label: &str| {
        let inner = label
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'-');
        !label.is_empty() && label.len() < 64 && inner && label != "localhost"
    };
    if fits(&label) { label } else { "ns".to_owned() }
}

/// The unit of systemd that a process belongs to, from its control group.
pub(crate) fn unit(pid: u32) -> Option<String> {
    unit_of(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

fn unit_of(groups: &str) -> Option<String> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.rsplit('/')
        .find(|part| part.ends_with(".service"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_with_the_least_metric() {
        let table = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
            wlan0 00000000 0101A8C0 0003 0 0 600 00000000 0 0 0\n\
            eth0 00000000 0101A8C0 0003 0 0 100 00000000 0 0 0\n\
            eth0 0001A8C0 00000000 0001 0 0 100 00FFFFFF 0 0 0\n";
        assert_eq!(default_interface(table), Some("eth0"));
        assert_eq!(default_interface("Iface\n"), None);
    }

    #[test]
    fn the_unit_of_a_control_group() {
        let of = |text| unit_of(text);
        let resolved = "0::/system.slice/systemd-resolved.service\n";
        assert_eq!(of(resolved).as_deref(), Some("systemd-resolved.service"));
        let below = "0::/system.slice/named.service/worker\n";
        assert_eq!(of(below).as_deref(), Some("named.service"));
        assert_eq!(of("0::/user.slice/user-0.slice/session-1.scope\n"), None);
    }
}
