//! The lab drawn: for a terminal, for Graphviz, for Mermaid.

use std::fmt::Write as _;

use crate::layout::{Layout, Other};
use crate::spec::Spec;

/// What there is to draw.
#[derive(Clone, Debug)]
pub struct Graph {
    lab: String,
    /// Name and description.
    nets: Vec<(String, String)>,
    /// Name and marks.
    spaces: Vec<(String, String)>,
    /// Namespace, network or other namespace, label.
    edges: Vec<(String, String, String)>,
    /// Networks with a way out, and the forwarded ports.
    outside: Vec<(String, String)>,
}

impl Graph {
    /// Collects nodes and edges.
    #[must_use]
    pub fn of(spec: &Spec) -> Self {
        let layout = Layout::of(spec);
        let nets = spec
            .nets
            .iter()
            .map(|net| {
                let subnets: Vec<String> = net
                    .subnets
                    .iter()
                    .map(|subnet| subnet.value.to_string())
                    .collect();
                let host = [false, true]
                    .into_iter()
                    .filter_map(|v6| net.host_address(v6));
                let host: Vec<String> = host.map(|address| address.to_string()).collect();
                let mut text = subnets.join(" ");
                if !host.is_empty() {
                    let _ = write!(text, " host {}", host.join(" "));
                }
                (net.name.value.clone(), text)
            })
            .collect();
        let mut edges = Vec::new();
        for (at, space) in layout.spaces.iter().enumerate() {
            for end in &space.ends {
                let addresses: Vec<String> =
                    end.addresses.iter().map(ToString::to_string).collect();
                let label = format!("{} {}", end.name, addresses.join(" "));
                match &end.other {
                    Other::Port(port) => {
                        edges.push((space.name.clone(), port.bridge.clone(), label))
                    }
                    Other::Space(other, _) if at < *other => {
                        edges.push((
                            space.name.clone(),
                            layout.spaces[*other].name.clone(),
                            label,
                        ));
                    }
                    Other::Space(..) => {}
                }
            }
        }
        let outside = spec
            .nets
            .iter()
            .filter(|net| net.nat4 || net.nat6 || !net.forwards.is_empty())
            .map(|net| {
                let mut words = Vec::new();
                if net.nat4 || net.nat6 {
                    words.push("masquerade".to_owned());
                }
                words.extend(net.forwards.iter().map(|forward| {
                    format!(
                        "{}/{} → {}:{}",
                        forward.port,
                        forward.protocol.name(),
                        forward.target,
                        forward.target_port
                    )
                }));
                (net.name.value.clone(), words.join(", "))
            })
            .collect();
        Self {
            lab: spec.name.clone(),
            nets,
            spaces: spec
                .spaces
                .iter()
                .map(|space| {
                    (
                        space.name.value.clone(),
                        if space.router {
                            " (router)".to_owned()
                        } else {
                            String::new()
                        },
                    )
                })
                .collect(),
            edges,
            outside,
        }
    }

    /// A tree of networks.
    #[must_use]
    pub fn ascii(&self) -> String {
        let mut out = format!("lab {}\n", self.lab);
        for (net, text) in &self.nets {
            let _ = writeln!(out, "── {net}  {text}");
            if let Some((_, way)) = self.outside.iter().find(|(name, _)| name == net) {
                let _ = writeln!(out, "   │  ⇄ outside: {way}");
            }
            let members: Vec<_> = self
                .edges
                .iter()
                .filter(|(_, other, _)| other == net)
                .collect();
            for (at, (space, _, label)) in members.iter().enumerate() {
                let corner = if at + 1 == members.len() {
                    '└'
                } else {
                    '├'
                };
                let _ = writeln!(out, "   {corner}─ {space}{}  {label}", self.marks(space));
            }
        }
        for (space, other, label) in &self.edges {
            if self.spaces.iter().any(|(name, _)| name == other)
                && !self.nets.iter().any(|(net, _)| net == other)
            {
                let _ = writeln!(out, "── {space} ══ {other}  {label}");
            }
        }
        for (space, marks) in &self.spaces {
            if !self
                .edges
                .iter()
                .any(|(one, other, _)| one == space || other == space)
            {
                let _ = writeln!(out, "── {space}{marks}  alone");
            }
        }
        out
    }

    /// The marks of a namespace.
    fn marks(&self, space: &str) -> &str {
        self.spaces
            .iter()
            .find(|(name, _)| name == space)
            .map_or("", |(_, marks)| marks)
    }

    /// For Graphviz.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut out = format!("graph \"{}\" {{\n", self.lab);
        for (net, text) in &self.nets {
            let _ = writeln!(
                out,
                "  \"net {net}\" [shape=box, label=\"{net}\\n{text}\"];"
            );
        }
        for (space, marks) in &self.spaces {
            let _ = writeln!(out, "  \"{space}\" [label=\"{space}{marks}\"];");
        }
        for (space, other, label) in &self.edges {
            let other = self.node(other);
            let _ = writeln!(out, "  \"{space}\" -- \"{other}\" [label=\"{label}\"];");
        }
        for (net, way) in &self.outside {
            let _ = writeln!(
                out,
                "  \"net {net}\" -- \"outside\" [style=dashed, label=\"{way}\"];"
            );
        }
        out.push_str("}\n");
        out
    }

    /// A network may have a namespace's name.
    fn node(&self, name: &str) -> String {
        if self.nets.iter().any(|(net, _)| net == name) {
            format!("net {name}")
        } else {
            name.to_owned()
        }
    }

    /// For Mermaid.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let key = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let mut out = String::from("graph LR\n");
        for (net, text) in &self.nets {
            let _ = writeln!(out, "  net_{}[\"{net}<br>{text}\"]", key(net));
        }
        for (space, marks) in &self.spaces {
            let _ = writeln!(out, "  ns_{}((\"{space}{marks}\"))", key(space));
        }
        for (space, other, label) in &self.edges {
            let is_net = self.nets.iter().any(|(net, _)| net == other);
            let other = format!("{}_{}", if is_net { "net" } else { "ns" }, key(other));
            let _ = writeln!(out, "  ns_{} ---|\"{label}\"| {other}", key(space));
        }
        for (net, way) in &self.outside {
            let _ = writeln!(out, "  net_{} -.-|\"{way}\"| outside", key(net));
        }
        out
    }
}
