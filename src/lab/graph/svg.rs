//! The lab as a picture for a browser: networks on the left, namespaces on the right, services behind them; with
//! [`Live`], how each of them is.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::Graph;

/// Size of a line of text, and the width of a character.
const LINE: f64 = 18.0;
const CHARACTER: f64 = 7.4;
/// Room around the picture, between boxes, and between columns.
const MARGIN: f64 = 20.0;
const GAP: f64 = 14.0;
const COLUMN: f64 = 120.0;

/// How something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nobody looked.
    #[default]
    Unknown,
    /// As the file declares it.
    AsDeclared,
    /// There, and otherwise than the file declares it.
    Differs,
    /// Not there.
    Absent,
}

impl Condition {
    /// What a box of it is filled and drawn with.
    fn colours(self) -> (&'static str, &'static str) {
        match self {
            Self::Unknown => ("#ffffff", "#5f6368"),
            Self::AsDeclared => ("#e6f4ea", "#137333"),
            Self::Differs => ("#fef7e0", "#b06000"),
            Self::Absent => ("#fce8e6", "#c5221f"),
        }
    }
}

/// How a lab is at a moment.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The lab in one line.
    pub summary: String,
    /// The host, with lines of what differs.
    pub host: (Condition, Vec<String>),
    /// Namespaces by name, with lines of what is inside.
    pub spaces: HashMap<String, (Condition, Vec<String>)>,
}

/// A box of lines.
struct Node {
    lines: Vec<String>,
    condition: Condition,
    top: f64,
}

impl Node {
    fn new(lines: Vec<String>, condition: Condition) -> Self {
        Self {
            lines,
            condition,
            top: 0.0,
        }
    }

    fn height(&self) -> f64 {
        self.lines.len() as f64 * LINE + 12.0
    }

    fn middle(&self) -> f64 {
        self.top + self.height() / 2.0
    }
}

/// Boxes one below the other.
struct Boxes {
    left: f64,
    width: f64,
    nodes: Vec<Node>,
}

impl Boxes {
    /// Puts them below each other; where the column ends.
    fn place(left: f64, mut nodes: Vec<Node>) -> Self {
        let longest = nodes
            .iter()
            .flat_map(|node| &node.lines)
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0);
        let mut top = MARGIN + 2.0 * LINE;
        for node in &mut nodes {
            node.top = top;
            top += node.height() + GAP;
        }
        Self {
            left,
            width: longest as f64 * CHARACTER + 20.0,
            nodes,
        }
    }

    fn right(&self) -> f64 {
        self.left + self.width
    }

    fn bottom(&self) -> f64 {
        let last = self.nodes.last();
        last.map_or(MARGIN, |node| node.top + node.height())
    }

    /// Draws them.
    fn draw(&self, out: &mut String, class: &str) {
        for node in &self.nodes {
            let (fill, stroke) = node.condition.colours();
            let _ = writeln!(
                out,
                "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\" fill=\"{fill}\" stroke=\"{stroke}\"/>",
                self.left,
                node.top,
                self.width,
                node.height()
            );
            for (at, line) in node.lines.iter().enumerate() {
                let weight = if at == 0 { " font-weight=\"bold\"" } else { "" };
                let _ = writeln!(
                    out,
                    "<text x=\"{}\" y=\"{}\"{weight}>{}</text>",
                    self.left + 10.0,
                    node.top + (at as f64 + 1.0) * LINE,
                    escaped(line)
                );
            }
        }
    }
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A curve from one column to another.
fn curve(out: &mut String, from: (f64, f64), to: (f64, f64), dashes: &str) {
    let middle = (from.0 + to.0) / 2.0;
    let _ = writeln!(
        out,
        "<path d=\"M{} {} C{middle} {} {middle} {} {} {}\" fill=\"none\" stroke=\"#9aa0a6\"{dashes}/>",
        from.0, from.1, from.1, to.1, to.0, to.1
    );
}

impl Graph {
    /// As SVG.
    #[must_use]
    pub fn svg(&self, live: &Live) -> String {
        let nets = Boxes::place(MARGIN, self.net_boxes(live));
        let spaces = Boxes::place(nets.right() + COLUMN, self.space_boxes(live));
        let behind = self.services.iter().map(|(text, _)| {
            let lines = vec!["service".to_owned(), text.clone()];
            Node::new(lines, Condition::Unknown)
        });
        let services = Boxes::place(spaces.right() + COLUMN, behind.collect());
        let last = if self.services.is_empty() {
            &spaces
        } else {
            &services
        };
        let title = match live.summary.is_empty() {
            true => format!("lab {} ({})", self.lab, self.domain),
            false => format!("lab {} ({}): {}", self.lab, self.domain, live.summary),
        };
        let width = (last.right() + MARGIN).max(title.chars().count() as f64 * 8.5 + 2.0 * MARGIN);
        let height = nets.bottom().max(spaces.bottom()).max(services.bottom()) + MARGIN;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"monospace\" font-size=\"12\">\n<title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n<text x=\"{MARGIN}\" y=\"{}\" font-size=\"14\" font-weight=\"bold\">{}</text>\n",
            MARGIN + LINE / 2.0,
            escaped(&title),
            title = escaped(&title),
        );
        let at_net = |net: usize| (nets.right(), nets.nodes[net].middle());
        let at_space = |space: usize| (spaces.left, spaces.nodes[space].middle());
        for port in &self.ports {
            curve(&mut out, at_net(port.net), at_space(port.space), "");
        }
        for pair in &self.pairs {
            let [one, other] = [0, 1].map(|end| spaces.nodes[pair.0[end].0].middle());
            let (x, far) = (spaces.right(), spaces.right() + COLUMN / 2.0);
            let _ = writeln!(
                out,
                "<path d=\"M{x} {one} C{far} {one} {far} {other} {x} {other}\" fill=\"none\" stroke=\"#9aa0a6\" stroke-width=\"2\"/>"
            );
        }
        for ((_, behind), node) in self.services.iter().zip(&services.nodes) {
            for &space in behind {
                let from = (spaces.right(), spaces.nodes[space].middle());
                let to = (services.left, node.middle());
                curve(&mut out, from, to, " stroke-dasharray=\"4 3\"");
            }
        }
        nets.draw(&mut out, "network");
        spaces.draw(&mut out, "namespace");
        services.draw(&mut out, "service");
        out.push_str("</svg>\n");
        out
    }

    /// Networks: subnets, the host's addresses, ways out; and what of the host differs.
    fn net_boxes(&self, live: &Live) -> Vec<Node> {
        let mut boxes: Vec<Node> = self
            .nets
            .iter()
            .map(|net| {
                let mut lines = vec![net.name.clone(), net.text.clone()];
                lines
                    .extend((!net.host.is_empty()).then(|| format!("host {}", net.host.join(" "))));
                lines.extend(net.ways.iter().cloned());
                Node::new(lines, live.host.0)
            })
            .collect();
        let (condition, lines) = &live.host;
        if !lines.is_empty() {
            let title = std::iter::once("the host".to_owned());
            boxes.push(Node::new(
                title.chain(lines.iter().cloned()).collect(),
                *condition,
            ));
        }
        boxes
    }

    /// Namespaces: interfaces with addresses, marks, and what is inside.
    fn space_boxes(&self, live: &Live) -> Vec<Node> {
        let of = |(at, (name, marks)): (usize, &(String, Vec<String>))| {
            let mut lines = vec![name.clone()];
            for port in self.ports.iter().filter(|port| port.space == at) {
                let net = &self.nets[port.net].name;
                lines.push(format!(
                    "{} {} on {net}",
                    port.end,
                    port.addresses.join(" ")
                ));
            }
            for pair in &self.pairs {
                for (own, far) in [(0, 1), (1, 0)] {
                    let (space, end, addresses) = &pair.0[own];
                    if *space == at {
                        let other = &self.spaces[pair.0[far].0].0;
                        lines.push(format!("{end} {} to {other}", addresses.join(" ")));
                    }
                }
            }
            lines.extend(marks.iter().cloned());
            let state = live.spaces.get(name);
            lines.extend(state.into_iter().flat_map(|(_, lines)| lines.clone()));
            Node::new(
                lines,
                state.map_or(Condition::Unknown, |(condition, _)| *condition),
            )
        };
        self.spaces.iter().enumerate().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escaped("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
    }
}
