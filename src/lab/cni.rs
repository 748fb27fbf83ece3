//! The lab as a CNI plugin: a bridge, a veth pair, addresses, rules and a name for one interface of one container.
//!
//! ```text
//!  environment, JSON ──► Call, Config ──► verb ──┬─ records   what is attached, written first, under the network's lock
//!                                                ├─ ipam      addresses, in this process or by a delegate
//!                                                ├─ plumbing  bridge, pair, routes, rules, by netlink
//!                                                └─ published names.json of the lab `cni-NETWORK`
//!  outcome or failure ──► JSON on standard output
//! ```
//!
//! The specification is that of version 1.1.0; results are in the form of the version that was asked for. State is in
//! `/run`. A kill at any moment leaves nothing that DEL or GC does not find: records come before kernel objects, and these
//! carry the alias `cni:NETWORK:CONTAINER:INTERFACE`.

mod config;
mod delegate;
mod failure;
mod install;
mod ipam;
mod outcome;
mod plumbing;
mod published;
mod records;
mod runtime;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use config::{Attachment, Config, HOST_LOCAL, VERSIONS, is_name};
use failure::{Code, Failure, Result};
use ipam::Store;
use outcome::{Dns, Outcome, Route};
use records::{Record, Records};

pub use install::{Installation, install};
pub use runtime::Attaching;

use crate::{input, privileges, redirect, server};

/// How long ADD waits for the server to answer with the new name.
const PATIENCE: Duration = Duration::from_millis(200);

/// What the runtime asks for.
struct Call {
    command: String,
    whose: Attachment,
    /// The path of the container's namespace.
    namespace: Option<String>,
    arguments: HashMap<String, String>,
    /// Where other plugins are.
    path: String,
    /// The configuration as it came.
    input: Vec<u8>,
}

/// The ports that container networks forward, by network.
pub(crate) fn forwarded() -> Vec<(String, Vec<crate::redirect::Redirect>)> {
    let mut found = Vec::new();
    for (network, record) in records::every() {
        found.push((network, plumbing::redirects(&record)));
    }
    found
}

/// Does what the environment says; the exit code.
pub fn main() -> ExitCode {
    let Ok(command) = std::env::var("CNI_COMMAND") else {
        crate::warn!(
            "{} {}: {}; protocol versions {}",
            install::PROGRAM,
            env!("CARGO_PKG_VERSION"),
            install::SELF,
            VERSIONS.join(", ")
        );
        return ExitCode::SUCCESS;
    };
    privileges::keep(privileges::Need::Container);
    let read = input::stream(std::io::stdin());
    let input = read.as_deref().unwrap_or_default().as_bytes().to_vec();
    // An error is told in the version that was asked for.
    let asked: Value = serde_json::from_slice(&input).unwrap_or(Value::Null);
    let version = match &asked["cniVersion"] {
        // What is older than the key.
        Value::String(version) if version.is_empty() => config::OLDEST.to_owned(),
        Value::Null if asked.is_object() => config::OLDEST.to_owned(),
        Value::String(version) => version.clone(),
        _ => "1.1.0".to_owned(),
    };
    let done = read
        .map_err(|error| Failure::because(Code::Io, "cannot read the configuration", error))
        .and_then(|_| Call::from_environment(command, input))
        .and_then(|call| call.run(&version));
    crate::fault::report();
    match done {
        Ok(Value::Null) => ExitCode::SUCCESS,
        Ok(value) => {
            crate::say!("{value}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            crate::say!("{}", failure.to_json(&version));
            ExitCode::FAILURE
        }
    }
}

impl Call {
    /// Reads the environment.
    fn from_environment(command: String, input: Vec<u8>) -> Result<Self> {
        let needed: &[&str] = match command.as_str() {
            "ADD" | "CHECK" => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
            "DEL" => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
            "STATUS" | "GC" => &["CNI_PATH"],
            "VERSION" => &[],
            other => {
                return Err(Failure::new(
                    Code::Environment,
                    format!("unknown CNI_COMMAND: {other}"),
                ));
            }
        };
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let missing: Vec<&str> = needed
            .iter()
            .copied()
            .filter(|name| variable(name).is_empty())
            .collect();
        if !missing.is_empty() {
            let message = format!("required env variables [{}] missing", missing.join(","));
            return Err(Failure::new(Code::Environment, message));
        }
        let (container, interface) = (variable("CNI_CONTAINERID"), variable("CNI_IFNAME"));
        if needed.contains(&"CNI_IFNAME") {
            let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
            if !is_name(&container) {
                return Err(Failure::new(
                    Code::Environment,
                    "CNI_CONTAINERID cannot be a container's name",
                ));
            }
            if interface.len() > 15
                || [".", ".."].contains(&interface.as_str())
                || interface.contains(bad)
            {
                return Err(Failure::new(
                    Code::Environment,
                    "CNI_IFNAME cannot be an interface's name",
                ));
            }
        }
        let arguments = variable("CNI_ARGS");
        let arguments = arguments.split(';').filter_map(|pair| pair.split_once('='));
        Ok(Self {
            command,
            whose: Attachment {
                container,
                interface,
            },
            namespace: Some(variable("CNI_NETNS")).filter(|path| !path.is_empty()),
            arguments: arguments
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            path: variable("CNI_PATH"),
            input,
        })
    }

    /// Does the verb; what it prints.
    fn run(&self, version: &str) -> Result<Value> {
        if self.command == "VERSION" {
            return Ok(json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS}));
        }
        let config = Config::read(&self.input)?;
        // What is attached can be detached, whatever the configuration says by now.
        if !["DEL", "GC"].contains(&self.command.as_str()) {
            config.supported()?;
        }
        if ["STATUS", "GC"].contains(&self.command.as_str()) && version != "1.1.0" {
            let message = format!(
                "{} is of version 1.1.0, the configuration of {version}",
                self.command
            );
            return Err(Failure::new(Code::Version, message));
        }
        if self.command == "CHECK" && ["0.1.0", "0.2.0"].contains(&version) {
            let message = format!("config version {version} does not allow CHECK");
            return Err(Failure::new(Code::Version, message));
        }
        match self.command.as_str() {
            "ADD" => {
                let outcome = self.add(&config)?;
                if ["0.1.0", "0.2.0"].contains(&version) {
                    return Ok(outcome.by_family(version));
                }
                serde_json::to_value(outcome.in_version(version))
                    .map_err(|error| Failure::because(Code::Decode, "the result", error))
            }
            "DEL" => self.del(&config).map(|()| Value::Null),
            "CHECK" => self.check(&config).map(|()| Value::Null),
            "STATUS" => self.status(&config).map(|()| Value::Null),
            _ => self.collect(&config).map(|()| Value::Null),
        }
    }

    /// Attaches.
    fn add(&self, config: &Config) -> Result<Outcome> {
        let namespace = plumbing::Namespace::open(self.namespace.as_deref().unwrap_or(""))?;
        if namespace.link(&self.whose.interface)?.is_some() {
            let message = format!(
                "the container has an interface {} already",
                self.whose.interface
            );
            return Err(Failure::new(Code::Exists, message));
        }
        let mut records = Records::open(&config.name)?;
        let mut record = Record {
            whose: self.whose.clone(),
            port: plumbing::port(&config.name, &self.whose),
            bridge: config.bridge().to_owned(),
            addresses: Vec::new(),
            gateways: Vec::new(),
            masquerade: config.ip_masq,
            sender: match config.macspoofchk {
                true => Some(plumbing::mac(config, self)?),
                false => None,
            },
            forwards: config.runtime_config.port_mappings.clone(),
            names: self.names(config, &records),
            domain: config.domain(),
            ttl: config.lab.as_ref().map_or(5, |lab| lab.ttl),
        };
        records.put(record.clone())?;
        let mut version = None;
        let mut attach = || -> Result<Outcome> {
            let mut outcome = self.addresses(config)?;
            record.addresses = outcome.ips.iter().map(|ip| ip.address).collect();
            record.gateways = outcome.ips.iter().filter_map(|ip| ip.gateway).collect();
            records.put(record.clone())?;
            if config.is_default_gateway {
                outcome.routes.extend(default_routes(&outcome));
            }
            let wanted = plumbing::redirects(&record);
            if let Some((port, owner)) =
                redirect::elsewhere(&wanted, None, Some(&config.name)).pop()
            {
                let message = format!("port {port} of the host belongs to {owner}");
                return Err(Failure::new(Code::Exists, message));
            }
            let bridge = plumbing::bridge(config, &record)?;
            outcome.interfaces = plumbing::attach(config, self, &namespace, &record, &outcome)?;
            outcome.interfaces.insert(0, bridge);
            // The bridge, its port, the container's.
            outcome.ips.iter_mut().for_each(|ip| ip.interface = Some(2));
            plumbing::rules(config, &records)?;
            version = published::publish(&config.name, &records)?;
            Ok(outcome)
        };
        let done = attach();
        if done.is_err() {
            // What the rollback cannot do is for DEL, which the runtime calls after a failed ADD.
            let _ = self.detach(config, &mut records, &self.whose);
        }
        records.close();
        let mut outcome = done?;
        outcome.dns = dns(config, outcome.dns, &record);
        if let Some(version) = version.filter(|_| config.is_gateway) {
            // A server that does not serve these names is no reason to fail, nor to wait for long.
            server::answered(&record.gateways, &record.domain, &version, PATIENCE);
        }
        Ok(outcome)
    }

    /// Detaches; what is gone already is no failure.
    fn del(&self, config: &Config) -> Result<()> {
        let mut records = Records::open(&config.name)?;
        let done = self.detach(config, &mut records, &self.whose);
        records.close();
        done
    }

    /// Removes one attachment: its link, its addresses, its rules, its names, its record.
    fn detach(&self, config: &Config, records: &mut Records, whose: &Attachment) -> Result<()> {
        plumbing::detach(&config.name, whose)?;
        let freed = match config.ipam.kind.as_str() {
            "" => Ok(()),
            // Files of old versions do not say which interface.
            HOST_LOCAL => Store::open(config)?
                .release(|other| {
                    other.container == whose.container
                        && (other.interface == whose.interface || other.interface.is_empty())
                })
                .map(drop),
            kind => delegate::run(self, kind, "DEL").map(drop),
        };
        // The runtime repeats a DEL that failed; that needs no record.
        records.forget(whose)?;
        self.settle(config, records)?;
        freed
    }

    /// Makes rules, names and bridge those of what is attached.
    fn settle(&self, config: &Config, records: &Records) -> Result<()> {
        plumbing::rules(config, records)?;
        published::publish(&config.name, records)?;
        if records.all.is_empty() && !config.keep_bridge {
            plumbing::remove_bridge(config)?;
        }
        Ok(())
    }

    /// Compares what was made with what is there.
    fn check(&self, config: &Config) -> Result<()> {
        let previous = config.previous()?;
        let namespace = plumbing::Namespace::open(self.namespace.as_deref().unwrap_or(""))?;
        let records = Records::open(&config.name)?;
        let differs = |what: String| Failure::new(Code::Differs, what);
        let record = records
            .get(&self.whose)
            .ok_or_else(|| differs("this attachment is unknown".to_owned()))?;
        plumbing::check(config, &namespace, record, &previous)?;
        plumbing::check_rules(config, &records)?;
        if !published::has(&config.name, record) {
            return Err(differs(format!(
                "the name {} is not published",
                record.names[0]
            )));
        }
        match config.ipam.kind.as_str() {
            "" => Ok(()),
            HOST_LOCAL => {
                let reserved = Store::open(config)?.all();
                let lost = record.addresses.iter().find(|address| {
                    !reserved.iter().any(|(reserved, whose)| {
                        *reserved == address.addr() && whose.container == self.whose.container
                    })
                });
                match lost {
                    None => Ok(()),
                    Some(lost) => Err(differs(format!("{lost} is not reserved"))),
                }
            }
            kind => delegate::run(self, kind, "CHECK").map(drop),
        }
    }

    /// Whether an ADD could work.
    fn status(&self, config: &Config) -> Result<()> {
        match config.ipam.kind.as_str() {
            "" => Ok(()),
            HOST_LOCAL if Store::open(config)?.has_room(config) => Ok(()),
            HOST_LOCAL => Err(Failure::new(Code::NotAvailable, "no address is free")),
            kind => delegate::run_if_spoken(self, kind, "STATUS"),
        }
    }

    /// Removes everything of the network that is not in use any more.
    fn collect(&self, config: &Config) -> Result<()> {
        let in_use: HashSet<Attachment> = config.in_use()?.iter().cloned().collect();
        let mut records = Records::open(&config.name)?;
        let mut first = Ok(());
        let mut note = |done: Result<()>| {
            if first.is_ok() {
                first = done;
            }
        };
        // What has a record, what has a link, what has an address: each may be all that is left.
        let stale = |whose: &Attachment| !in_use.contains(whose);
        let recorded: Vec<Attachment> = records
            .all
            .iter()
            .map(|record| record.whose.clone())
            .collect();
        for whose in recorded.into_iter().filter(stale) {
            note(plumbing::detach(&config.name, &whose));
            note(records.forget(&whose));
        }
        for whose in plumbing::attached(&config.name)?.into_iter().filter(stale) {
            note(plumbing::detach(&config.name, &whose));
        }
        match config.ipam.kind.as_str() {
            "" => {}
            HOST_LOCAL => {
                let containers: HashSet<&str> = in_use
                    .iter()
                    .map(|whose| whose.container.as_str())
                    .collect();
                note(
                    Store::open(config)?
                        .release(|whose| match whose.interface.as_str() {
                            "" => !containers.contains(whose.container.as_str()),
                            _ => !in_use.contains(whose),
                        })
                        .map(drop),
                );
            }
            kind => note(delegate::run_if_spoken(self, kind, "GC")),
        }
        note(self.settle(config, &records));
        records.close();
        first
    }

    /// Addresses, routes and DNS by the configured management.
    fn addresses(&self, config: &Config) -> Result<Outcome> {
        match config.ipam.kind.as_str() {
            "" => Ok(Outcome::default()),
            HOST_LOCAL => {
                let store = Store::open(config)?;
                let ips = store.reserve(config, &self.whose, self.wanted(config)?)?;
                let dns = match &config.ipam.resolv_conf {
                    None => Dns::default(),
                    Some(path) => Dns::read(&input::read(path).map_err(|error| {
                        Failure::because(Code::Io, format!("cannot read {}", path.display()), error)
                    })?),
                };
                Ok(Outcome {
                    ips,
                    routes: config.ipam.routes.clone(),
                    dns,
                    ..Outcome::default()
                })
            }
            kind => {
                let value = delegate::run(self, kind, "ADD")?;
                let outcome: Outcome = serde_json::from_value(value).map_err(|error| {
                    Failure::because(Code::Decode, format!("{kind} gave no result"), error)
                })?;
                if outcome.ips.is_empty() {
                    return Err(Failure::new(
                        Code::Config,
                        format!("{kind} gave no address"),
                    ));
                }
                Ok(outcome)
            }
        }
    }

    /// The addresses that were asked for.
    fn wanted(&self, config: &Config) -> Result<Vec<IpAddr>> {
        let named = self
            .arguments
            .get("IP")
            .into_iter()
            .flat_map(|list| list.split(','));
        let listed = config.runtime_config.ips.iter().chain(&config.args.cni.ips);
        listed
            .map(String::as_str)
            .chain(named)
            .map(|word| {
                let plain = word.split('/').next().unwrap_or(word);
                plain.parse().map_err(|_| {
                    Failure::new(
                        Code::Config,
                        format!("`{word}` was requested but is not an address"),
                    )
                })
            })
            .collect()
    }

    /// The container's name and further names.
    fn names(&self, config: &Config, records: &Records) -> Vec<String> {
        if !config.registers() {
            return Vec::new();
        }
        let label = crate::spec::forms::label;
        let id = label(&self.whose.container.chars().take(12).collect::<String>());
        let taken = |name: &String| {
            records.all.iter().any(|record| {
                record.whose.container != self.whose.container && record.names.contains(name)
            })
        };
        let mut names: Vec<String> = self
            .arguments
            .get("K8S_POD_NAME")
            .map(|name| label(name))
            .into_iter()
            .collect();
        let aliases = match &config.runtime_config.aliases {
            // Podman gives them by network.
            Value::Object(by_network) => {
                by_network.get(&config.name).cloned().unwrap_or(Value::Null)
            }
            other => other.clone(),
        };
        names.extend(
            aliases
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(label),
        );
        // Two of one name: the second is known by its number only.
        names.retain(|name| !name.is_empty() && name.len() <= 63 && !taken(name));
        names.push(id);
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }
}

/// A default route for each family that has a gateway.
fn default_routes(outcome: &Outcome) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for ip in &outcome.ips {
        let everything = match ip.gateway {
            Some(IpAddr::V4(_)) => ipnet::IpNet::V4(ipnet::Ipv4Net::default()),
            Some(IpAddr::V6(_)) => ipnet::IpNet::V6(ipnet::Ipv6Net::default()),
            None => continue,
        };
        if !outcome
            .routes
            .iter()
            .chain(&routes)
            .any(|route| route.dst == everything)
        {
            routes.push(Route {
                dst: everything,
                gw: ip.gateway,
                more: serde_json::Map::new(),
            });
        }
    }
    routes
}

/// What goes into the container's resolv.conf: the runtime's, the configured, the delegate's, or, with `lab`, ours.
fn dns(config: &Config, given: Dns, record: &Record) -> Dns {
    let own = || {
        let lab = config.lab.as_ref().filter(|lab| lab.register)?;
        let server = lab.server.or_else(|| record.gateways.first().copied())?;
        Some(Dns {
            nameservers: vec![server.to_string()],
            domain: record.domain.clone(),
            search: vec![record.domain.clone()],
            options: Vec::new(),
        })
    };
    config
        .runtime_config
        .dns
        .clone()
        .or_else(|| Some(config.dns.clone()).filter(|dns| !dns.is_empty()))
        .or_else(|| Some(given).filter(|dns| !dns.is_empty()))
        .or_else(own)
        .unwrap_or_default()
}
