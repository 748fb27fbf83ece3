//! The lab drawn: for a terminal, for Graphviz, for Mermaid, for a browser.
//!
//! Networks, namespaces and services are known by their index, so that a network and a namespace may share a name.

mod svg;

use std::fmt::Write as _;

pub use svg::{Condition, Live};

use crate::layout::{Layout, Other};
use crate::spec::{Forward, Net, Space, Spec};

/// What there is to draw.
#[derive(Clone, Debug)]
pub struct Graph {
    lab: String,
    domain: String,
    nets: Vec<Network>,
    /// Name and marks.
    spaces: Vec<(String, Vec<String>)>,
    ports: Vec<Port>,
    pairs: Vec<Pair>,
    /// Name and address, and the namespaces behind it.
    services: Vec<(String, Vec<usize>)>,
}

/// A network.
#[derive(Clone, Debug)]
struct Network {
    name: String,
    /// Subnets and marks.
    text: String,
    /// The host's addresses on it.
    host: Vec<String>,
    /// What leads out of it and into it.
    ways: Vec<String>,
}

/// An interface of a namespace on a network.
#[derive(Clone, Debug)]
struct Port {
    space: usize,
    net: usize,
    end: String,
    addresses: Vec<String>,
}

/// Two interfaces without a network: namespace, interface, addresses.
#[derive(Clone, Debug)]
struct Pair([(usize, String, Vec<String>); 2]);

impl Graph {
    /// Collects nodes and edges.
    #[must_use]
    pub fn of(spec: &Spec) -> Self {
        let layout = Layout::of(spec);
        let index = |name: &str| {
            spec.spaces
                .iter()
                .position(|space| space.name.value == name)
        };
        let (mut ports, mut pairs) = (Vec::new(), Vec::new());
        for (at, made) in layout.spaces.iter().enumerate() {
            let Some(space) = index(&made.name) else {
                continue;
            };
            for (slot, end) in made.ends.iter().enumerate() {
                let addresses: Vec<String> = end
                    .addresses
                    .iter()
                    .map(|address| address.addr().to_string())
                    .collect();
                match &end.other {
                    Other::Port(_) | Other::On(_) | Other::Tagged(..) => {
                        let net = spec.nets.iter().position(|net| net.name.value == end.net);
                        ports.extend(net.map(|net| Port {
                            space,
                            net,
                            end: end.name.clone(),
                            addresses,
                        }));
                    }
                    Other::Space(other, far) if (at, slot) < (*other, *far) => {
                        let other = &layout.spaces[*other];
                        let far = &other.ends[*far];
                        let theirs = far.addresses.iter();
                        pairs.extend(index(&other.name).map(|other| {
                            Pair([
                                (space, end.name.clone(), addresses),
                                (
                                    other,
                                    far.name.clone(),
                                    theirs.map(|address| address.addr().to_string()).collect(),
                                ),
                            ])
                        }));
                    }
                    Other::Space(..) => {}
                }
            }
        }
        Self {
            lab: spec.name.clone(),
            domain: spec.domain.clone(),
            nets: spec.nets.iter().map(network).collect(),
            spaces: spec
                .spaces
                .iter()
                .map(|space| (space.name.value.clone(), marks(space)))
                .collect(),
            ports,
            pairs,
            services: spec
                .services
                .iter()
                .map(|service| {
                    let behind = service.to.iter().filter_map(|to| index(&to.value));
                    (service.text(), behind.collect())
                })
                .collect(),
        }
    }

    /// A tree for each network, and what lies on none.
    #[must_use]
    pub fn ascii(&self) -> String {
        let mut out = format!("lab {} ({})\n", self.lab, self.domain);
        let mut drawn = vec![false; self.spaces.len()];
        for (at, net) in self.nets.iter().enumerate() {
            let _ = write!(out, "\n{}  {}\n", net.name, net.text);
            // Name, interface, addresses, remarks.
            let mut rows: Vec<[String; 4]> = Vec::new();
            if !net.host.is_empty() {
                let columns = ["the host", net.name.as_str()].map(str::to_owned);
                let [name, end] = columns;
                rows.push([name, end, net.host.join(" "), net.ways.join(", ")]);
            }
            for port in self.ports.iter().filter(|port| port.net == at) {
                let (name, marks) = &self.spaces[port.space];
                // What a namespace is, is said where it comes first.
                let first = !std::mem::replace(&mut drawn[port.space], true);
                rows.push([
                    name.clone(),
                    port.end.clone(),
                    port.addresses.join(" "),
                    if first {
                        marks.join(", ")
                    } else {
                        String::new()
                    },
                ]);
            }
            let width = |column: usize| {
                let cells = rows.iter().map(|row| row[column].chars().count());
                cells.max().unwrap_or(0)
            };
            let widths = [width(0), width(1), width(2)];
            for (at, row) in rows.iter().enumerate() {
                let corner = if at + 1 == rows.len() { '└' } else { '├' };
                let mut line = format!("{corner}─");
                for (cell, width) in row.iter().zip(widths.into_iter().chain([0])) {
                    let _ = write!(line, "  {cell:width$}");
                }
                let _ = writeln!(out, "{}", line.trim_end());
            }
        }
        let mut rest = Vec::new();
        for Pair([one, other]) in &self.pairs {
            rest.push(format!(
                "{} {}  {} ══ {}  {} {}",
                self.spaces[one.0].0,
                one.1,
                one.2.join(" "),
                other.2.join(" "),
                self.spaces[other.0].0,
                other.1
            ));
        }
        for (text, behind) in &self.services {
            let behind: Vec<&str> = behind
                .iter()
                .map(|space| self.spaces[*space].0.as_str())
                .collect();
            rest.push(format!("service {text} → {}", behind.join(", ")));
        }
        for (at, (name, marks)) in self.spaces.iter().enumerate() {
            let paired = self
                .pairs
                .iter()
                .any(|Pair(ends)| ends.iter().any(|end| end.0 == at));
            if !drawn[at] && (!paired || !marks.is_empty()) {
                let mut marks = marks.clone();
                if !paired && marks.is_empty() {
                    marks.push("on no network".to_owned());
                }
                rest.push(format!("{name}  {}", marks.join(", ")));
            }
        }
        if !rest.is_empty() {
            let _ = write!(out, "\n{}\n", rest.join("\n"));
        }
        out
    }

    /// Whether the host is on any network.
    fn has_host(&self) -> bool {
        self.nets.iter().any(|net| !net.host.is_empty())
    }

    /// For Graphviz.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut out = format!(
            "graph \"{0}\" {{\n  label=\"{0} ({1})\"; labelloc=t; overlap=false; splines=true;\n",
            self.lab, self.domain
        );
        out.push_str("  node [fontname=\"sans-serif\", fontsize=11]; edge [fontname=\"sans-serif\", fontsize=9];\n");
        let label = |words: &[String]| words.join("\\n");
        for (at, net) in self.nets.iter().enumerate() {
            let _ = writeln!(
                out,
                "  n{at} [shape=box, style=\"filled,rounded\", fillcolor=\"#dbe9f6\", label=\"{}\\n{}\"];",
                net.name, net.text
            );
        }
        for (at, (name, marks)) in self.spaces.iter().enumerate() {
            let words: Vec<String> = std::iter::once(name).chain(marks).cloned().collect();
            let _ = writeln!(out, "  s{at} [shape=ellipse, label=\"{}\"];", label(&words));
        }
        if self.has_host() {
            out.push_str("  host [shape=box, style=bold, label=\"the host\"];\n");
        }
        for port in &self.ports {
            let mut words = vec![port.end.clone()];
            words.extend(port.addresses.iter().cloned());
            let _ = writeln!(
                out,
                "  s{} -- n{} [label=\"{}\"];",
                port.space,
                port.net,
                label(&words)
            );
        }
        for Pair([one, other]) in &self.pairs {
            let _ = writeln!(
                out,
                "  s{} -- s{} [taillabel=\"{}\", headlabel=\"{}\"];",
                one.0,
                other.0,
                label(&one.2),
                label(&other.2)
            );
        }
        for (at, net) in self.nets.iter().enumerate() {
            if !net.host.is_empty() {
                let _ = writeln!(out, "  host -- n{at} [label=\"{}\"];", label(&net.host));
            }
            if !net.ways.is_empty() {
                out.push_str("  outside [shape=plaintext];\n");
                let _ = writeln!(
                    out,
                    "  host -- outside [style=dashed, label=\"{}: {}\"];",
                    net.name,
                    label(&net.ways)
                );
            }
        }
        for (at, (text, behind)) in self.services.iter().enumerate() {
            let _ = writeln!(out, "  v{at} [shape=note, label=\"{text}\"];");
            for space in behind {
                let _ = writeln!(out, "  v{at} -- s{space} [style=dotted];");
            }
        }
        out.push_str("}\n");
        out
    }

    /// For Mermaid.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut out = String::from("graph LR\n");
        for (at, net) in self.nets.iter().enumerate() {
            let _ = writeln!(out, "  n{at}[\"{}<br>{}\"]", net.name, net.text);
        }
        for (at, (name, marks)) in self.spaces.iter().enumerate() {
            let words: Vec<&str> = std::iter::once(name)
                .chain(marks)
                .map(String::as_str)
                .collect();
            let _ = writeln!(out, "  s{at}([\"{}\"])", words.join("<br>"));
        }
        if self.has_host() {
            out.push_str("  host[[\"the host\"]]\n");
        }
        for port in &self.ports {
            let mut words = vec![port.end.clone()];
            words.extend(port.addresses.iter().cloned());
            let _ = writeln!(
                out,
                "  s{} ---|\"{}\"| n{}",
                port.space,
                words.join("<br>"),
                port.net
            );
        }
        for Pair([one, other]) in &self.pairs {
            let _ = writeln!(
                out,
                "  s{} ---|\"{} – {}\"| s{}",
                one.0,
                one.2.join(" "),
                other.2.join(" "),
                other.0
            );
        }
        for (at, net) in self.nets.iter().enumerate() {
            if !net.host.is_empty() {
                let _ = writeln!(out, "  host ---|\"{}\"| n{at}", net.host.join("<br>"));
            }
            if !net.ways.is_empty() {
                let _ = writeln!(
                    out,
                    "  host -.-|\"{}: {}\"| outside",
                    net.name,
                    net.ways.join("<br>")
                );
            }
        }
        for (at, (text, behind)) in self.services.iter().enumerate() {
            let _ = writeln!(out, "  v{at}{{{{\"{text}\"}}}}");
            for space in behind {
                let _ = writeln!(out, "  v{at} -.-> s{space}");
            }
        }
        out
    }
}

/// A network as it is drawn.
fn network(net: &Net) -> Network {
    let mut words: Vec<String> = net
        .subnets
        .iter()
        .map(|subnet| subnet.value.to_string())
        .collect();
    words.extend(
        net.gateway
            .as_ref()
            .map(|gateway| format!("gateway {}", gateway.value)),
    );
    words.extend(net.mtu.map(|mtu| format!("mtu {mtu}")));
    for (is, word) in [(net.internal, "internal"), (net.isolate, "isolate")] {
        words.extend(is.then(|| word.to_owned()));
    }
    let mut ways = Vec::new();
    match (net.nat4, net.nat6) {
        (true, true) => ways.push("masquerade".to_owned()),
        (true, false) => ways.push("masquerade v4".to_owned()),
        (false, true) => ways.push("masquerade v6".to_owned()),
        (false, false) => {}
    }
    ways.extend(net.forwards.iter().map(forwarded));
    Network {
        name: net.name.value.clone(),
        text: words.join(" "),
        host: [false, true]
            .into_iter()
            .filter_map(|v6| net.host_address(v6))
            .map(|address| address.to_string())
            .collect(),
        ways,
    }
}

/// A network in one line: its name, the host's addresses, what leads out.
pub(crate) fn line(net: &Net) -> String {
    let drawn = network(net);
    let host = match drawn.host.is_empty() {
        true => "a switch without the host".to_owned(),
        false => format!("host {}", drawn.host.join(" ")),
    };
    let mut words = vec![drawn.name, drawn.text, host];
    words.extend((!drawn.ways.is_empty()).then(|| drawn.ways.join(", ")));
    words.join("  ")
}

/// What a namespace is beside its name.
fn marks(space: &Space) -> Vec<String> {
    let mut marks = Vec::new();
    if space.is_host {
        marks.push("the host itself".to_owned());
    }
    if space.router {
        marks.push("router".to_owned());
    }
    marks.extend(space.alias.iter().map(|alias| format!("= {}", alias.value)));
    marks.extend(
        space
            .routes
            .iter()
            .map(|route| format!("{} via {}", route.to, route.via)),
    );
    marks
}

/// A forwarded port as it is drawn.
fn forwarded(forward: &Forward) -> String {
    let at = match forward.listen {
        Some(at) if at.is_ipv6() => format!("[{at}]:"),
        Some(at) => format!("{at}:"),
        None => String::new(),
    };
    format!(
        "{at}{}/{} → {}:{}",
        forward.port,
        forward.protocol.name(),
        forward.target,
        forward.target_port
    )
}
