//! Declared against actual, what runs inside, and whether DNS answers there.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::control::{self, State, Verb};
use crate::converge;
use crate::error::Result;
use crate::graph::{self, Condition, Live};
use crate::hash::mac_text;
use crate::journal::{Journal, Phase};
use crate::layout::{Layout, Other};
use crate::plan::Plan;
use crate::reach::Picture;
use crate::spec::{Dns, Spec};
use crate::view::{self, Views};
use crate::{probe, server, space};

/// A lab of this machine, as its journal tells.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: &'static str,
    /// How many namespaces it has.
    pub spaces: usize,
    /// Its file.
    pub file: String,
}

impl Entry {
    /// For machines.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"lab": self.name, "state": self.state, "namespaces": self.spaces, "file": self.file})
    }
}

/// All labs of this machine.
#[must_use]
pub fn labs() -> Vec<Entry> {
    let of = |name: String| {
        let Ok(Some(journal)) = Journal::load(&name) else {
            return Entry {
                name,
                state: "damaged",
                spaces: 0,
                file: String::new(),
            };
        };
        Entry {
            state: match journal.phase {
                Phase::Applied if journal.passing => "runs",
                Phase::Applied => "applied",
                Phase::Applying => "not complete",
                Phase::Removing => "half removed",
            },
            spaces: journal.spaces.len(),
            file: journal.file.map_or(String::new(), |file| {
                let gone = if file.exists() { "" } else { " (gone)" };
                format!("{}{gone}", file.display())
            }),
            name,
        }
    };
    Journal::labs().into_iter().map(of).collect()
}

/// A lab whose file is gone, as its journal and the kernel tell.
#[must_use]
pub fn of_journal(journal: &Journal, as_json: bool) -> String {
    let of = |name: &String| {
        let there = matches!(space::kind(name), Ok(space::Kind::Namespace));
        (name.clone(), there, space::processes(name))
    };
    let spaces: Vec<_> = journal.spaces.keys().map(of).collect();
    let file = journal
        .file
        .as_ref()
        .map_or(String::new(), |file| file.display().to_string());
    if as_json {
        let spaces: Vec<Value> = spaces
            .iter()
            .map(|(name, there, processes)| {
                let processes: Vec<_> = processes
                    .iter()
                    .map(|(pid, name)| json!({"pid": pid, "command": name}))
                    .collect();
                json!({"name": name, "there": there, "processes": processes})
            })
            .collect();
        return format!(
            "{}\n",
            json!({"v": 1, "lab": journal.lab, "applied": true, "as_declared": false, "file": file, "file_is_gone": true, "namespaces": spaces})
        );
    }
    let mut out = format!(
        "lab {}: its file {file} is gone, so its content is not known; `nameplate-lab down {}` removes the lab\n",
        journal.lab, journal.lab
    );
    for (name, there, processes) in spaces {
        out.push_str(&format!(
            "  {name}{}\n",
            if there { "" } else { ", not there" }
        ));
        for (pid, command) in processes {
            out.push_str(&format!("      runs {command} ({pid})\n"));
        }
    }
    out
}

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
    /// The rules, if they are wanted.
    rules: Vec<String>,
    /// The names, if they are wanted: as they are published, and for people.
    names: Option<(String, Vec<String>)>,
    /// The commands that a supervisor keeps.
    commands: Vec<State>,
    /// How they differ from those that the file declares.
    changes: Vec<String>,
    /// Whether `up` kept the commands that the file declares, and nobody does any more.
    unkept: bool,
    /// Whether `up` kept a DNS server, and none runs any more.
    unserved: bool,
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
    /// What else is wanted.
    more: Vec<String>,
}

impl Status {
    /// Looks at a lab.
    ///
    /// # Errors
    /// The kernel or the journal cannot be read.
    pub fn of(spec: &Spec, views: Views) -> Result<Self> {
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
                    let port = match &end.other {
                        Other::Port(port) => format!(", port {}", port.name),
                        _ => String::new(),
                    };
                    format!(
                        "{} {} on {}, MAC {}{port}",
                        end.name,
                        addresses.join(" "),
                        end.net,
                        mac_text(&end.mac)
                    )
                })
                .collect();
            let dns = picture.nameserver(at).filter(|_| there).map(|server| {
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
                more: if there {
                    view::lines(name, views)
                } else {
                    Vec::new()
                },
            });
        }
        let services = spec
            .services
            .iter()
            .map(|service| {
                let to: Vec<&str> = service.to.iter().map(|to| to.value.as_str()).collect();
                format!("{} → {}", service.text(), to.join(", "))
            })
            .collect();
        let reply = control::ask(&spec.name, Verb::Status, &[]).ok().flatten();
        let (commands, changes) = match reply {
            Some(reply) => (Some(reply.commands), reply.changes),
            None => (None, Vec::new()),
        };
        let mut declared = spec.spaces.iter().map(|space| &space.run.command);
        let unkept = commands.is_none()
            && declared.any(|command| !command.is_empty())
            && control::is_to_be_kept(&spec.name);
        Ok(Self {
            lab: spec.name.clone(),
            domain: spec.domain.clone(),
            applied: Journal::load(&spec.name)?.is_some(),
            plan,
            nets: spec.nets.iter().map(graph::line).collect(),
            spaces,
            services,
            rules: if views.rules {
                view::rules(&layout)
            } else {
                Vec::new()
            },
            names: views.names.then(|| {
                let names = crate::names::names(spec, &layout);
                (names.text(), names.lines())
            }),
            commands: commands.unwrap_or_default(),
            changes,
            unkept,
            unserved: spec.dns != Dns::Off
                && control::is_to_be_served(&spec.name)
                && !server::runs(),
        })
    }

    /// Whether the kernel is as the file declares, no command that is kept has failed, and neither one nor the server is left alone.
    #[must_use]
    pub fn is_as_declared(&self) -> bool {
        !self.unkept && !self.unserved && self.is_sound()
    }

    /// Whether the kernel is as the file declares, and no command that is kept has failed.
    fn is_sound(&self) -> bool {
        let failed = self.commands.iter().any(|one| one.state == "failed");
        let same = self.plan.steps.is_empty() && self.changes.is_empty();
        same && self.plan.conflicts.is_empty() && !failed
    }

    /// How the lab is, for who draws it.
    #[must_use]
    pub fn live(&self) -> Live {
        let steps = |space: Option<&str>| {
            let steps = self.plan.steps.iter().filter(|_| self.applied);
            let steps = steps.filter(|step| step.space() == space);
            let lines = steps.map(|step| format!("{} {step}", step.sign()));
            lines.collect::<Vec<String>>()
        };
        let condition = |there: bool, differs: bool| match (there, differs) {
            (false, _) => Condition::Absent,
            (true, true) => Condition::Differs,
            (true, false) => Condition::AsDeclared,
        };
        let spaces = self.spaces.iter().map(|space| {
            let drift = steps(Some(&space.name));
            let command = self.command(&space.name);
            let failed = command.is_some_and(|one| one.state == "failed");
            let mut lines = match space.there {
                true => Vec::new(),
                false => vec!["not there".to_owned()],
            };
            lines.extend(command.map(command_line));
            lines.extend(
                space
                    .processes
                    .iter()
                    .map(|(pid, name)| format!("runs {name} ({pid})")),
            );
            lines.extend(space.dns.as_ref().map(|(server, answer)| match answer {
                Ok(0) => format!("DNS {server} answers"),
                _ => format!("DNS {server} does not answer"),
            }));
            let how = condition(space.there, !drift.is_empty() || failed);
            lines.extend(drift);
            (space.name.clone(), (how, lines))
        });
        let host = steps(None);
        Live {
            summary: self.state().to_owned(),
            host: (condition(self.applied, !host.is_empty()), host),
            spaces: spaces.collect(),
        }
    }

    /// The lab in one word or two.
    fn state(&self) -> &'static str {
        match (self.applied, self.is_sound()) {
            (_, true) if self.unkept => "declared, but no process keeps it: `nameplate-lab up`",
            (_, true) => "as declared",
            (false, false) => "not applied",
            (true, false) if self.unkept => {
                "differs from its file, and no process keeps it: `nameplate-lab up`"
            }
            (true, false) => "differs from its file",
        }
    }

    /// The command of a namespace.
    fn command(&self, space: &str) -> Option<&State> {
        self.commands.iter().find(|one| one.space == space)
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
                json!({"name": space.name, "there": space.there, "links": space.links, "processes": processes, "dns": dns, "more": space.more, "command": self.command(&space.name)})
            })
            .collect();
        let drift: Vec<_> = self
            .plan
            .steps
            .iter()
            .map(|step| format!("{} {step}", step.sign()))
            .chain(self.changes.iter().cloned())
            .collect();
        json!({
            "v": 1, "lab": self.lab, "domain": self.domain, "applied": self.applied, "as_declared": self.is_as_declared(),
            "drift": drift, "conflicts": self.plan.conflicts, "warnings": self.plan.warnings, "namespaces": spaces,
            "commands": self.commands, "unkept": self.unkept, "unserved": self.unserved, "rules": self.rules, "names": self.names.as_ref().and_then(|(names, _)| serde_json::from_str::<Value>(names).ok()),
        })
    }
}

/// A command in words.
fn command_line(one: &State) -> String {
    let program = one.command.first().map_or("", String::as_str);
    let pid = one.pid.map_or(String::new(), |pid| format!(" ({pid})"));
    let why = one
        .why
        .as_ref()
        .map_or(String::new(), |why| format!(": {why}"));
    let mut again = match one.restarts {
        0 => String::new(),
        1 => ", restarted once".to_owned(),
        times => format!(", restarted {times} times"),
    };
    // How one ended that does not run any more is said already.
    let said = ["ended", "failed"].contains(&one.state.as_str()) && one.why.is_some();
    if let (Some(exit), false) = (one.last_exit, said) {
        again.push_str(&format!(", ended last with {exit}"));
    }
    format!("command {program} {}{pid}{why}{again}", one.state)
}

/// Asks a namespace's resolver from inside.
fn ask(name: &str, server: std::net::IpAddr, domain: &str) -> std::result::Result<u8, String> {
    let _away = space::enter(name).map_err(|error| error.to_string())?;
    probe::answers(server, domain).map_err(|_| "no answer".to_owned())
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "lab {} ({}): {}", self.lab, self.domain, self.state())?;
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
            if let Some(command) = self.command(&space.name) {
                writeln!(f, "      {}", command_line(command))?;
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
            for line in &space.more {
                writeln!(f, "      {line}")?;
            }
            f.write_str(&drift(Some(&space.name)))?;
        }
        for service in &self.services {
            writeln!(f, "  service {service}")?;
        }
        for rule in &self.rules {
            writeln!(f, "  {rule}")?;
        }
        for name in self.names.iter().flat_map(|(_, lines)| lines) {
            writeln!(f, "  name {name}")?;
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
        let of_host = self
            .commands
            .iter()
            .filter(|one| !known.contains(&one.space.as_str()));
        let of_host: String = of_host
            .map(|one| format!("      {}: {}\n", one.space, command_line(one)))
            .collect();
        let host = of_host + &drift(None) + &gone;
        if !host.is_empty() {
            write!(f, "  the host\n{host}")?;
        }
        for change in &self.changes {
            writeln!(f, "  {change}")?;
        }
        for conflict in &self.plan.conflicts {
            writeln!(f, "  conflict: {conflict}")?;
        }
        for warning in &self.plan.warnings {
            writeln!(f, "  warning: {warning}")?;
        }
        if self.unserved {
            writeln!(
                f,
                "  the DNS server of the lab no longer runs: `nameplate-lab up --serve`"
            )?;
        }
        for other in labs().iter().filter(|other| other.name != self.lab) {
            writeln!(
                f,
                "another lab: {}, {}, {}",
                other.name, other.state, other.file
            )?;
        }
        Ok(())
    }
}
