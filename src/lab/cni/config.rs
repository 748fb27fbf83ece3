//! The network configuration: the keys of the upstream `bridge` and `host-local`, and `lab` for names.
//!
//! A key that changes what a container may do and that we do not know how to honour is refused by its name; any other
//! unknown key is somebody else's.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failure::{Code, Failure, Result};
use super::outcome::{Dns, Outcome, Route};

/// Versions of the specification that are spoken, the newest last.
pub(super) const VERSIONS: &[&str] =
    &[OLDEST, "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// That of a configuration which names none.
pub(super) const OLDEST: &str = "0.1.0";

/// The configuration of one plugin of a network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Config {
    /// Version of the specification.
    pub(super) cni_version: String,
    /// The network.
    pub(super) name: String,
    /// The bridge.
    pub(super) bridge: Option<String>,
    /// The bridge gets the gateways' addresses, and the host forwards.
    pub(super) is_gateway: bool,
    /// And is the containers' default gateway.
    pub(super) is_default_gateway: bool,
    /// Another address of the bridge in the same family is removed.
    pub(super) force_address: bool,
    /// Packets to elsewhere leave with the host's address.
    pub(super) ip_masq: bool,
    /// Largest packet.
    pub(super) mtu: Option<u32>,
    /// Packets may leave by the port that they came in by.
    pub(super) hairpin_mode: bool,
    /// The bridge takes packets for everybody.
    pub(super) promisc_mode: bool,
    /// A container sends from its own MAC address only.
    pub(super) macspoofchk: bool,
    /// Its interface stays down.
    pub(super) disable_container_interface: bool,
    /// IPv6 addresses are used once nobody else is found to have them.
    pub(super) enabledad: bool,
    /// Containers do not see each other.
    pub(super) port_isolation: bool,
    /// The bridge stays when its last container goes.
    pub(super) keep_bridge: bool,
    /// How addresses are given.
    pub(super) ipam: Ipam,
    /// What goes into the container's resolv.conf.
    pub(super) dns: Dns,
    /// Names.
    pub(super) lab: Option<Names>,
    /// What the runtime says of this container.
    pub(super) runtime_config: Runtime,
    /// Arguments of the network.
    pub(super) args: Args,
    /// The result that CHECK compares with.
    pub(super) prev_result: Option<Value>,
    /// What is still in use, for GC.
    #[serde(rename = "cni.dev/valid-attachments")]
    pub(super) valid: Option<Vec<Attachment>>,
    /// The older name of the same.
    #[serde(rename = "cni.dev/attachments")]
    pub(super) valid_before: Option<Vec<Attachment>>,
    /// What of it is not done here; DEL and GC do not need it.
    #[serde(skip)]
    unsupported: Option<Failure>,
}

/// One interface of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
pub(super) struct Attachment {
    /// The container.
    #[serde(rename = "containerID")]
    pub(super) container: String,
    /// Its interface.
    #[serde(rename = "ifname")]
    pub(super) interface: String,
}

/// How names are published.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Names {
    /// Whether they are.
    pub(super) register: bool,
    /// The domain; `NETWORK.test` if there is none.
    pub(super) domain: Option<String>,
    /// The server that containers are told of; the first gateway if there is none.
    pub(super) server: Option<IpAddr>,
    /// Seconds that answers may be kept.
    pub(super) ttl: u32,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            register: true,
            domain: None,
            server: None,
            ttl: 5,
        }
    }
}

/// How addresses are given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Ipam {
    /// `host-local`, another plugin's name, or nothing.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Each gives one address.
    pub(super) ranges: Vec<Vec<Range>>,
    /// One range, the old way.
    #[serde(flatten)]
    pub(super) only: Range,
    /// Routes of the container.
    pub(super) routes: Vec<Route>,
    /// Where reservations are.
    pub(super) data_dir: Option<PathBuf>,
    /// A file in the form of resolv.conf.
    pub(super) resolv_conf: Option<PathBuf>,
}

/// Addresses that may be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Range {
    /// The subnet.
    pub(super) subnet: Option<IpNet>,
    /// The first; that of the subnet if there is none.
    pub(super) range_start: Option<IpAddr>,
    /// The last.
    pub(super) range_end: Option<IpAddr>,
    /// The gateway; the first of the subnet if there is none.
    pub(super) gateway: Option<IpAddr>,
}

/// What the runtime says of this container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Runtime {
    /// Port forwards.
    pub(super) port_mappings: Vec<PortMapping>,
    /// Addresses that it wants.
    pub(super) ips: Vec<String>,
    /// Ranges instead of the configured ones.
    pub(super) ip_ranges: Vec<Vec<Range>>,
    /// Its MAC address.
    pub(super) mac: Option<String>,
    /// More names.
    pub(super) aliases: Value,
    /// Instead of the configured ones.
    pub(super) dns: Option<Dns>,
}

/// A port of the host that leads to one of the container.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortMapping {
    /// The host's.
    pub(super) host_port: u16,
    /// The container's.
    pub(super) container_port: u16,
    /// `tcp` or `udp`.
    #[serde(default = "tcp")]
    pub(super) protocol: String,
    /// Only at this address of the host.
    #[serde(default, rename = "hostIP", skip_serializing_if = "String::is_empty")]
    pub(super) host_ip: String,
}

fn tcp() -> String {
    "tcp".to_owned()
}

/// Arguments of the network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Args {
    /// By convention.
    pub(super) cni: Conventions,
}

/// Arguments by convention.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Conventions {
    /// Addresses that it wants.
    pub(super) ips: Vec<String>,
    /// Its MAC address.
    pub(super) mac: Option<String>,
}

/// Keys of the upstream bridge that are refused, unless they say nothing. `preserveDefaultVlan` only says more of these.
const REFUSED: &[&str] = &["vlan", "vlanTrunk"];

/// The first thing that a configuration asks for and that is not done here.
fn unsupported(value: &Value) -> Option<Failure> {
    let refuse = |key: &str, given: &Value, why: &str| {
        let message = format!("`{key}` is {given}, {why}");
        Some(Failure::new(Code::Unsupported, message))
    };
    for key in REFUSED {
        let given = &value[*key];
        let empty = given.as_array().is_some_and(Vec::is_empty) || given.as_u64() == Some(0);
        if !given.is_null() && !empty {
            return refuse(key, given, "and there are no VLANs on these bridges");
        }
    }
    let backend = &value["ipMasqBackend"];
    if !backend.is_null() && backend != "nftables" {
        return refuse("ipMasqBackend", backend, "and only nftables is written");
    }
    let kind = &value["ipam"]["type"];
    if kind == "dhcp" {
        let why = "which needs the interface before the address; here the address comes first";
        return refuse("ipam.type", kind, why);
    }
    None
}

impl Config {
    /// Reads it.
    ///
    /// # Errors
    /// It is not JSON, of a version that is not spoken, or asks for what cannot be done.
    pub(super) fn read(text: &[u8]) -> Result<Self> {
        let mut value: Value = serde_json::from_slice(text).map_err(|error| {
            Failure::because(Code::Decode, "the configuration is not JSON", error)
        })?;
        // What is null is not there.
        if let Some(keys) = value.as_object_mut() {
            keys.retain(|key, value| key != "cniVersion" || !value.is_null());
        }
        let version = match &value["cniVersion"] {
            Value::Null => OLDEST,
            Value::String(version) if version.is_empty() => OLDEST,
            Value::String(version) => version,
            other => {
                let message = format!("`cniVersion` is {other}, which is not a string");
                return Err(Failure::new(Code::Decode, message));
            }
        };
        if !VERSIONS.contains(&version) {
            return Err(Failure::because(
                Code::Version,
                "incompatible CNI versions",
                format!(
                    "the configuration has version {version}; supported are {}",
                    VERSIONS.join(", ")
                ),
            ));
        }
        let unsupported = unsupported(&value);
        let mut config: Self = serde_json::from_value(value).map_err(|error| {
            Failure::because(
                Code::Config,
                "the configuration cannot be understood",
                error,
            )
        })?;
        config.unsupported = unsupported;
        config.checked()
    }

    /// What cannot be done as it says.
    ///
    /// # Errors
    /// The key and its value.
    pub(super) fn supported(&self) -> Result<()> {
        self.unsupported.clone().map_or(Ok(()), Err)
    }

    /// What cannot be is refused.
    fn checked(mut self) -> Result<Self> {
        let wrong = |message: String| Err(Failure::new(Code::Config, message));
        if !is_name(&self.name) {
            return wrong(format!(
                "`name` is `{}`, which cannot be a network's",
                self.name
            ));
        }
        let bridge = self.bridge();
        if bridge.is_empty() || bridge.len() > 15 || bridge.contains(['/', ' ']) {
            return wrong(format!(
                "`bridge` is `{bridge}`, which cannot be an interface's name"
            ));
        }
        self.is_gateway |= self.is_default_gateway;
        if self.disable_container_interface && !self.ipam.kind.is_empty() {
            return wrong(
                "with `disableContainerInterface`, there is no interface to which `ipam` could give addresses"
                    .to_owned(),
            );
        }
        if !self.runtime_config.ip_ranges.is_empty() {
            let more = std::mem::take(&mut self.runtime_config.ip_ranges);
            self.ipam.ranges.extend(more);
        }
        if self.ipam.only.subnet.is_some() {
            let only = std::mem::take(&mut self.ipam.only);
            self.ipam.ranges.insert(0, vec![only]);
        }
        if self.ipam.kind == HOST_LOCAL {
            if self.ipam.ranges.iter().all(Vec::is_empty) {
                return wrong("`ipam` gives no range of addresses".to_owned());
            }
            for range in self.ipam.ranges.iter().flatten() {
                range.checked()?;
            }
        }
        Ok(self)
    }

    /// The bridge.
    #[must_use]
    pub(super) fn bridge(&self) -> &str {
        self.bridge.as_deref().unwrap_or("cni0")
    }

    /// Whether names are published.
    #[must_use]
    pub(super) fn registers(&self) -> bool {
        self.lab.as_ref().is_none_or(|lab| lab.register)
    }

    /// The domain of the names.
    #[must_use]
    pub(super) fn domain(&self) -> String {
        let own = self.lab.as_ref().and_then(|lab| lab.domain.clone());
        own.unwrap_or_else(|| format!("{}.test", crate::spec::forms::label(&self.name)))
    }

    /// The result of an earlier ADD.
    ///
    /// # Errors
    /// There is none, or it cannot be understood.
    pub(super) fn previous(&self) -> Result<Outcome> {
        let Some(value) = &self.prev_result else {
            return Err(Failure::new(Code::Config, "`prevResult` is missing"));
        };
        serde_json::from_value(value.clone())
            .map_err(|error| Failure::because(Code::Decode, "`prevResult` cannot be read", error))
    }

    /// The attachments that are still in use.
    ///
    /// # Errors
    /// Nobody said.
    pub(super) fn in_use(&self) -> Result<&[Attachment]> {
        self.valid
            .as_deref()
            .or(self.valid_before.as_deref())
            // Without the key a misspelt one would collect everything.
            .ok_or_else(|| Failure::new(Code::Config, "`cni.dev/valid-attachments` is missing"))
    }
}

/// The kind of address management that is done here.
pub(super) const HOST_LOCAL: &str = "host-local";

/// Whether a word may be a network's or a container's name: it becomes a file's.
#[must_use]
pub(super) fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphanumeric())
        && word.len() <= 110
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

impl Range {
    /// What cannot be is refused.
    fn checked(&self) -> Result<()> {
        let Some(subnet) = self.subnet else {
            return Err(Failure::new(
                Code::Config,
                "a range of `ipam` has no `subnet`",
            ));
        };
        if subnet.addr() != subnet.network() {
            let message = format!("`subnet` {subnet} has host bits; write {}", subnet.trunc());
            return Err(Failure::new(Code::Config, message));
        }
        if subnet.max_prefix_len() - subnet.prefix_len() < 2 {
            let message = format!("`subnet` {subnet} is too small to give addresses from");
            return Err(Failure::new(Code::Config, message));
        }
        let named = [
            ("rangeStart", self.range_start),
            ("rangeEnd", self.range_end),
            ("gateway", self.gateway),
        ];
        for (key, address) in named {
            if let Some(address) = address
                && !subnet.contains(&address)
            {
                let message = format!("`{key}` {address} is not in {subnet}");
                return Err(Failure::new(Code::Config, message));
            }
        }
        if let (Some(start), Some(end)) = (self.range_start, self.range_end)
            && start > end
        {
            return Err(Failure::new(
                Code::Config,
                format!("`rangeStart` {start} is after `rangeEnd` {end}"),
            ));
        }
        Ok(())
    }
}
