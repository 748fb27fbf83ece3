//! Names of containers: what the server's `lab` plugin reads, as the lab `cni-NETWORK`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::config::is_name;
use super::failure::Result;
use super::records::{Record, Records};
use crate::hash::hash;
use crate::journal::{absent_is_fine, directory, remove_directory, remove_file};
use crate::names;
use crate::spec::forms::label;

/// The lab that a network's names are published as.
fn lab(network: &str) -> String {
    format!("cni-{network}")
}

/// Publishes the names of all that is attached, and returns their version; nothing is left when nothing is.
pub(super) fn publish(network: &str, records: &Records) -> Result<Option<String>> {
    let lab = lab(network);
    let named: Vec<&Record> = records
        .all
        .iter()
        .filter(|record| !record.names.is_empty())
        .collect();
    let Some(first) = named.first() else {
        let directory = directory(&lab);
        let gone = || {
            for name in [".names", "names.json"] {
                absent_is_fine(remove_file(&directory.join(name)))?;
            }
            absent_is_fine(remove_directory(&directory))
        };
        return gone().map(|()| None).map_err(|error| {
            super::Failure::because(super::Code::Io, "cannot remove the names", error)
        });
    };
    let net = label(&first.bridge);
    let gateways: BTreeSet<_> = named.iter().flat_map(|record| &record.gateways).collect();
    let subnets: BTreeSet<_> = named
        .iter()
        .flat_map(|record| &record.addresses)
        .map(ipnet::IpNet::trunc)
        .collect();
    // Several interfaces of one container are one host.
    let mut hosts: BTreeMap<&str, (BTreeSet<&str>, Vec<Value>)> = BTreeMap::new();
    for record in &named {
        let (aliases, addresses) = hosts.entry(&record.names[0]).or_default();
        aliases.extend(record.names[1..].iter().map(String::as_str));
        let own = record.addresses.iter();
        addresses.extend(own.map(|address| json!({"net": net, "address": address.addr()})));
    }
    let hosts: Vec<Value> = hosts
        .into_iter()
        .map(|(name, (aliases, addresses))| json!({"name": name, "aliases": aliases, "addresses": addresses}))
        .collect();
    let mut names = json!({
        "v": 1, "lab": lab, "generation": 0, "domain": first.domain, "ttl": first.ttl, "reverse": subnets, "hosts": hosts,
        "nets": [{"name": net, "subnets": subnets, "host": gateways, "listen": gateways, "internal": false}],
        "records": [], "forwards": [], "services": [],
    });
    let version = format!("{:016x}", hash(&[&names.to_string()]));
    names["version"] = json!(version);
    names::publish(&lab, &names.to_string(), names::generation(&lab) + 1)?;
    Ok(Some(version))
}

/// Whether the name of an attachment is published, if it has one.
pub(super) fn has(network: &str, record: &Record) -> bool {
    let Some(name) = record.names.first().filter(|_| is_name(network)) else {
        return true;
    };
    let text = crate::input::octets(&directory(&lab(network)).join("names.json"));
    let names: Value = serde_json::from_slice(&text.unwrap_or_default()).unwrap_or(Value::Null);
    let host = names["hosts"]
        .as_array()
        .and_then(|hosts| hosts.iter().find(|host| host["name"] == **name));
    let addresses = host.and_then(|host| host["addresses"].as_array());
    record.addresses.iter().all(|address| {
        let wanted = address.addr().to_string();
        addresses.is_some_and(|all| all.iter().any(|known| known["address"] == *wanted))
    })
}
