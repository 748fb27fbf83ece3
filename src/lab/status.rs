//! Declared against actual, what runs inside, and whether DNS answers there.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::converge;
use crate::error::Result;
use crate::graph;
use crate::journal::Journal;
use crate::layout::{Layout, Other};
use crate::plan::Plan;
use crate::reach::Picture;
use crate::spec::Spec;
use crate::{probe, space};

/// How a lab is.
#[derive(Clone, Debug)]
pub struct Status {
    lab: String,
    domain: String,
    /// Whether there is a journal at all.
    applied: bool,
    plan: Plan,
    /// Networks: name, the host's addresses, what leads out.
    nets: Vec<String>,
    spaces: Vec<SpaceStatus>,
    services: Vec<String>,
}

/// How a namespace is.
#[derive(Clone, Debug)]
struct SpaceStatus {
    name: String,
    there: bool,
    links: Vec<String>,
    processes: Vec<(i32, String)>,
    /// The resolver and what it says; none if it has none.
    dns: Option<(String, std::result::Result<u8, String>)>,
}

impl Status {
    /// Looks at a lab.
    ///
    /// # Errors
    /// The kernel or the journal cannot be read.
    pub fn of(spec: &Spec) -> Result<Self> {
        let plan = converge::plan(spec)?;
        let layout = Layout::of(spec);
        let picture = Picture::of(spec, &spec.addresses);
        let mut spaces = Vec::new();
        // Asking a server that does not answer takes a while; two silences are enough.
        let mut silences: HashMap<IpAddr, usize> = HashMap::new();
        for (at, declared) in spec
            .spaces
            .iter()
            .enumerate()
            .filter(|(_, space)| !space.is_host)
        {
            let name = &declared.name.value;
            let Some(made) = layout.spaces.iter().find(|made| made.name == *name) else {
                continue;
            };
            let there = matches!(space::kind(name), Ok(space::Kind::Namespace));
            let links = made
                .ends
                .iter()
                .map(|end| {
                    let addresses: Vec<String> =
                        end.addresses.iter().map(ToString::to_string).collect();
                    let other = match &end.other {
                        Other::Port(port) => port.bridge.clone(),
                        Other::Space(other, _) => layout.spaces[*other].name.clone(),
                    };
                    format!("{} {} on {other}", end.name, addresses.join(" "))
                })
                .collect();
            let dns = picture.resolver(at).filter(|_| there).map(|server| {
                let silent = silences.entry(server).or_default();
                let answer = match *silent {
                    0 | 1 => ask(name, server, &spec.domain),
                    _ => Err("not asked: it was silent twice".to_owned()),
                };
                *silent += usize::from(answer.is_err());
                (server.to_string(), answer)
            });
            spaces.push(SpaceStatus {
                name: name.clone(),
                there,
                links,
                processes: space::processes(name),
                dns,
            });
        }
        let services = spec
            .services
            .iter()
            .map(|service| {
                let to: Vec<&str> = service.to.iter().map(|to| to.value.as_str()).collect();
                format!(
                    "{} {}:{}/{} → {}",
                    service.name.value,
                    service.address,
                    service.port,
                    service.protocol.name(),
                    to.join(", ")
                )
            })
            .collect();
        Ok(Self {
            lab: spec.name.clone(),
            domain: spec.domain.clone(),
            applied: Journal::load(&spec.name)?.is_some(),
            plan,
            nets: spec.nets.iter().map(graph::line).collect(),
            spaces,
            services,
        })
    }

    /// Whether the kernel is as the file declares.
    #[must_use]
    pub fn is_as_declared(&self) -> bool {
        self.plan.steps.is_empty() && self.plan.conflicts.is_empty()
    }

    /// For machines.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let spaces: Vec<Value> = self
            .spaces
            .iter()
            .map(|space| {
                let dns = space.dns.as_ref().map(|(server, answer)| {
                    json!({"server": server, "answers": answer.is_ok(), "rcode": answer.as_ref().ok()})
                });
                let processes: Vec<_> = space.processes.iter().map(|(pid, name)| json!({"pid": pid, "command": name})).collect();
                json!({"name": space.name, "there": space.there, "links": space.links, "processes": processes, "dns": dns})
            })
            .collect();
        let drift: Vec<_> = self
            .plan
            .steps
            .iter()
            .map(|step| format!("{} {step}", step.sign()))
            .collect();
        json!({
            "v": 1, "lab": self.lab, "domain": self.domain, "applied": self.applied, "as_declared": self.is_as_declared(),
            "drift": drift, "conflicts": self.plan.conflicts, "namespaces": spaces,
        })
    }
}

/// Asks a namespace's resolver from inside.
fn ask(name: &str, server: std::net::IpAddr, domain: &str) -> std::result::Result<u8, String> {
    let _away = space::enter(name).map_err(|error| error.to_string())?;
    probe::answers(server, domain).map_err(|_| "no answer".to_owned())
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.applied, self.is_as_declared()) {
            (_, true) => "as declared",
            (false, false) => "not applied",
            (true, false) => "differs from its file",
        };
        writeln!(f, "lab {} ({}): {state}", self.lab, self.domain)?;
        for net in &self.nets {
            writeln!(f, "  {net}")?;
        }
        // What was never applied differs in everything.
        let drift = |space: Option<&str>| {
            let steps = self.plan.steps.iter().filter(|_| self.applied);
            let steps = steps.filter(|step| step.space() == space);
            steps
                .map(|step| format!("      {} {step}\n", step.sign()))
                .collect::<String>()
        };
        for space in &self.spaces {
            let there = if space.there { "" } else { ", not there" };
            writeln!(f, "  {}{there}", space.name)?;
            for link in &space.links {
                writeln!(f, "      {link}")?;
            }
            for (pid, command) in &space.processes {
                writeln!(f, "      runs {command} ({pid})")?;
            }
            match &space.dns {
                Some((server, Ok(0))) => writeln!(f, "      DNS {server} answers")?,
                Some((server, Ok(rcode))) => writeln!(
                    f,
                    "      DNS {server} answers with RCODE {rcode}: it does not serve this lab"
                )?,
                Some((server, Err(why))) => writeln!(f, "      DNS {server}: {why}")?,
                None => {}
            }
            f.write_str(&drift(Some(&space.name)))?;
        }
        for service in &self.services {
            writeln!(f, "  service {service}")?;
        }
        let known: Vec<&str> = self
            .spaces
            .iter()
            .map(|space| space.name.as_str())
            .collect();
        let steps = self.plan.steps.iter().filter(|_| self.applied);
        let gone = steps.filter(|step| step.space().is_some_and(|space| !known.contains(&space)));
        let gone: String = gone
            .map(|step| format!("      {} {step}\n", step.sign()))
            .collect();
        let host = drift(None) + &gone;
        if !host.is_empty() {
            write!(f, "  the host\n{host}")?;
        }
        for conflict in &self.plan.conflicts {
            writeln!(f, "  conflict: {conflict}")?;
        }
        Ok(())
    }
}
