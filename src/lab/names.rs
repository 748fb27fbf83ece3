//! What the server is told: `/run/nameplate/lab/LAB/names.json`, replaced whole by a rename.
//!
//! Version 1 holds the lab's domain and TTL; networks with their subnets, the addresses that the server listens on and
//! the upstreams; hosts with their names, aliases and addresses by network; further records; services. Names are relative
//! to the domain. The server's `lab` plugin watches the directory above.

use serde_json::{Value, json};

use crate::error::{During, Result};
use crate::hash::hash;
use crate::journal::{directory, make_directory, replace};
use crate::layout::{Layout, Other};
use crate::spec::forms::label;
use crate::spec::{Dns, Spec, subnet_address};

/// The names of a lab.
#[must_use]
pub fn names(spec: &Spec, layout: &Layout, generation: u64) -> Value {
    let nets: Vec<Value> = spec
        .nets
        .iter()
        .map(|net| {
            let host: Vec<_> = [false, true]
                .into_iter()
                .filter_map(|v6| net.host_address(v6))
                .collect();
            json!({
                "name": label(&net.name.value),
                "subnets": net.subnets.iter().map(|subnet| subnet.value).collect::<Vec<_>>(),
                "host": host,
                "listen": if spec.dns == Dns::Bridge { &*host } else { &[] },
                "internal": net.internal,
                "upstream": net.upstream,
            })
        })
        .collect();
    let mut hosts = Vec::new();
    for space in &spec.spaces {
        let mut addresses = Vec::new();
        if space.is_host {
            for net in &spec.nets {
                for address in [false, true]
                    .into_iter()
                    .filter_map(|v6| net.host_address(v6))
                {
                    addresses.push(json!({"net": label(&net.name.value), "address": address}));
                }
            }
        }
        if let Some(made) = layout
            .spaces
            .iter()
            .find(|made| made.name == space.name.value)
        {
            for end in &made.ends {
                let net = match &end.other {
                    Other::Port(port) => label(&port.bridge),
                    Other::Space(other, _) => label(&layout.spaces[*other].name),
                };
                for address in &end.addresses {
                    addresses.push(json!({"net": net, "address": address.addr()}));
                }
            }
        }
        hosts.push(json!({
            "name": label(&space.name.value),
            "aliases": space.alias.iter().map(|alias| alias.value.to_ascii_lowercase()).collect::<Vec<_>>(),
            "addresses": addresses,
        }));
    }
    let forwards: Vec<Value> = spec
        .nets
        .iter()
        .flat_map(|net| &net.forwards)
        .map(|forward| {
            json!({
                "listen": forward.listen, "port": forward.port, "protocol": forward.protocol.name(),
                "host": label(&forward.target), "target_port": forward.target_port,
            })
        })
        .collect();
    let services: Vec<Value> = spec
        .services
        .iter()
        .map(|service| {
            json!({
                "name": label(&service.name.value), "address": service.address, "port": service.port,
                "protocol": service.protocol.name(),
                "to": service.to.iter().map(|to| label(&to.value)).collect::<Vec<_>>(),
            })
        })
        .collect();
    let mut reverse: Vec<_> = spec
        .nets
        .iter()
        .flat_map(|net| &net.subnets)
        .map(|subnet| subnet.value)
        .collect();
    reverse.extend(
        spec.links
            .iter()
            .flat_map(|link| &link.subnets)
            .map(|subnet| subnet.value),
    );
    let links: Vec<Value> = spec
        .links
        .iter()
        .map(|link| json!({"subnets": link.subnets.iter().map(|subnet| subnet.value).collect::<Vec<_>>()}))
        .collect();
    let mut names = json!({
        "v": 1,
        "lab": spec.name,
        "domain": spec.domain,
        "ttl": spec.ttl,
        "reverse": reverse.iter().filter(|subnet| subnet_address(**subnet, 0).is_some()).collect::<Vec<_>>(),
        "nets": nets,
        "links": links,
        "hosts": hosts,
        "records": spec.records.iter().map(|record| json!({"owner": record.owner.value.to_ascii_lowercase(), "data": record.data})).collect::<Vec<_>>(),
        "forwards": forwards,
        "services": services,
    });
    // Equal names are one version, whatever led to them: who sees it answered knows what is answered.
    names["version"] = format!("{:016x}", hash(&[&names.to_string()])).into();
    names["generation"] = generation.into();
    names
}

/// Publishes them, unless they are the same but for the generation; whether they were written.
pub(crate) fn publish(lab: &str, names: &Value) -> Result<bool> {
    let directory = directory(lab);
    let path = directory.join("names.json");
    let mut now: Value = std::fs::read(&path)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or(Value::Null);
    if now.get("generation").is_some() {
        now["generation"] = names["generation"].clone();
    }
    if now == *names {
        return Ok(false);
    }
    make_directory(&directory)
        .and_then(|()| {
            let text = serde_json::to_vec_pretty(names).map_err(std::io::Error::from)?;
            // The server runs without privileges and must be able to read it.
            replace(&path, &directory.join(".names"), &text, 0o644)
        })
        .during(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}
