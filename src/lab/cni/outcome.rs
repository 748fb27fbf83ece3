//! Results: what ADD prints and CHECK is given, in the form of each version.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What ADD made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Outcome {
    /// Version of the specification.
    pub(super) cni_version: String,
    /// The bridge, its port and the container's interface.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) interfaces: Vec<Interface>,
    /// Addresses.
    pub(super) ips: Vec<Ip>,
    /// Routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) routes: Vec<Route>,
    /// What goes into the container's resolv.conf.
    pub(super) dns: Dns,
}

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Interface {
    /// Its name.
    pub(super) name: String,
    /// MAC address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) mac: String,
    /// Largest packet; from version 1.1.0 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mtu: Option<u32>,
    /// The namespace's path; empty is the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) sandbox: String,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ip {
    /// `4` or `6`; before version 1.0.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    /// Which of the interfaces has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<usize>,
    /// Address and prefix.
    pub(super) address: IpNet,
    /// The gateway of its subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gateway: Option<IpAddr>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Route {
    /// The destination.
    pub(super) dst: IpNet,
    /// The next hop; the gateway of the family's first address if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gw: Option<IpAddr>,
    /// What else is said of it.
    #[serde(flatten)]
    pub(super) more: serde_json::Map<String, Value>,
}

/// What goes into a resolv.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Dns {
    /// Servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) nameservers: Vec<String>,
    /// The domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) domain: String,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty", alias = "searches")]
    pub(super) search: Vec<String>,
    /// Options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) options: Vec<String>,
}

impl Dns {
    /// Whether nothing is said.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads a resolv.conf.
    #[must_use]
    pub(super) fn read(text: &str) -> Self {
        let mut dns = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => dns.nameservers.extend(words.next().map(str::to_owned)),
                Some("domain") => dns.domain = words.next().unwrap_or("").to_owned(),
                Some("search") => dns.search = words.map(str::to_owned).collect(),
                Some("options") => dns.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        dns
    }
}

impl Outcome {
    /// In the form before version 0.3.0: one address of each family, with the routes of that family.
    #[must_use]
    pub(super) fn by_family(&self, version: &str) -> Value {
        let mut out = serde_json::Map::new();
        out.insert("cniVersion".to_owned(), version.into());
        for (key, v6) in [("ip4", false), ("ip6", true)] {
            let Some(ip) = self.ips.iter().find(|ip| ip.address.addr().is_ipv6() == v6) else {
                continue;
            };
            let mut config = serde_json::Map::new();
            config.insert("ip".to_owned(), ip.address.to_string().into());
            if let Some(gateway) = ip.gateway {
                config.insert("gateway".to_owned(), gateway.to_string().into());
            }
            let routes = self
                .routes
                .iter()
                .filter(|route| route.dst.addr().is_ipv6() == v6);
            let routes: Vec<Value> = routes
                .map(|route| {
                    let mut out = serde_json::Map::new();
                    out.insert("dst".to_owned(), route.dst.to_string().into());
                    if let Some(gateway) = route.gw {
                        out.insert("gw".to_owned(), gateway.to_string().into());
                    }
                    Value::Object(out)
                })
                .collect();
            if !routes.is_empty() {
                config.insert("routes".to_owned(), routes.into());
            }
            out.insert(key.to_owned(), Value::Object(config));
        }
        let dns = serde_json::to_value(&self.dns).unwrap_or_default();
        out.insert("dns".to_owned(), dns);
        Value::Object(out)
    }

    /// In the form of a version.
    #[must_use]
    pub(super) fn in_version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.cni_version);
        let major_zero = version.starts_with("0.");
        for ip in &mut self.ips {
            let family = if ip.address.addr().is_ipv6() {
                "6"
            } else {
                "4"
            };
            ip.version = major_zero.then(|| family.to_owned());
        }
        if version != "1.1.0" {
            self.interfaces
                .iter_mut()
                .for_each(|interface| interface.mtu = None);
            self.routes.iter_mut().for_each(|route| route.more.clear());
        }
        self
    }
}
