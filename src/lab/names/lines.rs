//! The names of a lab, a line each, for people.

use super::{Names, NetAddress};

impl Names<'_> {
    /// Hosts with the networks of their addresses and their aliases, then the host's own names, services and records.
    #[must_use]
    pub(crate) fn lines(&self) -> Vec<String> {
        let whole = |name: &str| match name {
            "@" => self.domain.to_owned(),
            name => format!("{name}.{}", self.domain),
        };
        let mut lines = Vec::new();
        for host in &self.hosts {
            let on = |NetAddress { net, address }: &NetAddress| format!("{address} ({net})");
            let addresses: Vec<String> = host.addresses.iter().map(on).collect();
            let addresses = match addresses.is_empty() {
                true => "no address".to_owned(),
                false => addresses.join(", "),
            };
            let aliases = match host.aliases.is_empty() {
                true => String::new(),
                false => format!(", also {}", host.aliases.join(", ")),
            };
            lines.push(format!("{} {addresses}{aliases}", whole(&host.name)));
        }
        for net in &self.nets {
            let name = whole(&format!("gw.{}", net.name));
            let addresses = net.host.iter();
            lines.extend(addresses.map(|address| format!("{name} {address} (this host)")));
        }
        for service in &self.services {
            let name = whole(&service.name);
            let port = service
                .port
                .map(|port| format!(":{port}/{}", service.protocol));
            let port = port.unwrap_or_default();
            lines.extend(service.address.map(|address| match address.is_ipv6() {
                true => format!("{name} [{address}]{port} (service)"),
                false => format!("{name} {address}{port} (service)"),
            }));
            for endpoint in &service.endpoints {
                lines.push(format!(
                    "{}.{name} {} (headless service)",
                    endpoint.name, endpoint.address
                ));
            }
        }
        let records = self.records.iter();
        lines.extend(records.map(|record| format!("{} {}", whole(&record.owner), record.data)));
        lines
    }
}
