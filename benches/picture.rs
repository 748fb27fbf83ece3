//! A hand-written SVG: text, lines and bars in colours that are read on a light and on a dark page.

#![allow(unreachable_pub, reason = "two programs take it in as a module")]
#![allow(dead_code, reason = "neither program draws everything")]

use std::fmt::{Display, Write as _};

/// The classes that shapes may have: `ours` stands out, `floor` is what a call for each datagram costs, `c0`… tell series apart.
const STYLE: &str = "
text { font: 12px system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 14px; }
.small { font-size: 11px; fill: #59636e; }
.strong { font-weight: 600; }
.grid { stroke: #d1d9e0; stroke-width: 1; }
.peer { fill: #9aa7b5; }
.ours { fill: #0a7d5c; }
.whisker { stroke: #1f2328; stroke-width: 1.2; }
.floor { stroke: #c2410c; stroke-width: 1.6; stroke-dasharray: 5 3; }
.floor-text { fill: #c2410c; font-size: 11px; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.c0 { stroke: #0a7d5c; } .c1 { stroke: #1f6feb; } .c2 { stroke: #c2410c; } .c3 { stroke: #8250df; } .c4 { stroke: #9a6700; } .c5 { stroke: #bf3989; }
.d0 { fill: #0a7d5c; } .d1 { fill: #1f6feb; } .d2 { fill: #c2410c; } .d3 { fill: #8250df; } .d4 { fill: #9a6700; } .d5 { fill: #bf3989; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.small { fill: #9198a1; }
.grid { stroke: #3d444d; }
.peer { fill: #656f7b; }
.ours { fill: #2fbf8f; }
.whisker { stroke: #e6edf3; }
.floor { stroke: #f0883e; }
.floor-text { fill: #f0883e; }
.c0 { stroke: #2fbf8f; } .c1 { stroke: #58a6ff; } .c2 { stroke: #f0883e; } .c3 { stroke: #bc8cff; } .c4 { stroke: #d29922; } .c5 { stroke: #f778ba; }
.d0 { fill: #2fbf8f; } .d1 { fill: #58a6ff; } .d2 { fill: #f0883e; } .d3 { fill: #bc8cff; } .d4 { fill: #d29922; } .d5 { fill: #f778ba; }
}
";

/// A picture being drawn.
pub struct Picture {
    body: String,
    width: f64,
    height: f64,
}

/// Where a text stands at its point.
#[derive(Clone, Copy)]
pub enum Anchor {
    /// To the right of it.
    Start,
    /// Across it.
    Middle,
    /// To the left of it.
    End,
}

impl Picture {
    /// An empty picture.
    pub fn new(width: f64, height: f64) -> Self {
        Self {
            body: String::new(),
            width,
            height,
        }
    }

    /// Text at a point of its base line.
    pub fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: impl Display) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.to_string().replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.body,
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        );
    }

    /// A bar.
    pub fn bar(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let _ = writeln!(
            self.body,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2"/>"#
        );
    }

    /// A line through points, and a dot on each; `series` is its colour.
    pub fn polyline(&mut self, series: usize, points: &[(f64, f64)]) {
        let path: Vec<_> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(
            self.body,
            r#"<polyline class="line c{series}" points="{}"/>"#,
            path.join(" ")
        );
        for (x, y) in points {
            let _ = writeln!(
                self.body,
                r#"<circle class="d{series}" cx="{x:.1}" cy="{y:.1}" r="3"/>"#
            );
        }
    }

    /// The file.
    pub fn finish(self, title: &str) -> String {
        let Self {
            body,
            width,
            height,
        } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n{body}</svg>\n"
        )
    }
}
