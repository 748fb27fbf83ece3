//! The picture: a panel for each workload, a bar for each server, the echo server's cost as the line that nobody gets under.

use crate::Workload;
use crate::peers::{ECHO, NAMEPLATE};
use crate::picture::{Anchor, Picture};
use crate::record::{Figure, Lines, servers, title};

const WIDTH: f64 = 860.0;
/// Where bars begin, and where the longest ends.
const LEFT: f64 = 100.0;
const RIGHT: f64 = 760.0;
const ROW: f64 = 22.0;
const PANEL_HEAD: f64 = 46.0;
/// How many times the least bar an axis shows.
const CUT: f64 = 5.0;

/// Draws the CPU time of a query, workload by workload.
pub fn draw(lines: &Lines) -> String {
    let panels: Vec<_> = Workload::LOADS
        .into_iter()
        .filter_map(|workload| panel(lines, workload))
        .collect();
    let rows: usize = panels.iter().map(|panel| panel.bars.len()).sum();
    let height = 52.0 + panels.len() as f64 * (PANEL_HEAD + 12.0) + rows as f64 * ROW + 8.0;
    let mut picture = Picture::new(WIDTH, height);
    picture.text(
        "title",
        (16.0, 24.0),
        Anchor::Start,
        "CPU µs of the server per query at saturation, one worker (less is better)",
    );
    picture.text("small", (16.0, 42.0), Anchor::Start, lines.caption());
    let mut y = 52.0;
    for panel in panels {
        y = panel.draw(&mut picture, y);
    }
    picture.finish("CPU per query, beside an echo server and peers")
}

/// One workload's bars, the shortest first.
struct Panel {
    workload: Workload,
    echo: Option<Figure>,
    bars: Vec<(&'static str, Figure)>,
}

fn panel(lines: &Lines, workload: Workload) -> Option<Panel> {
    let mut bars: Vec<_> = servers()
        .filter(|server| *server != ECHO)
        .filter_map(|server| Some((server, lines.cost(workload, server)?)))
        .collect();
    bars.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
    (!bars.is_empty()).then(|| Panel {
        workload,
        echo: lines.cost(workload, ECHO),
        bars,
    })
}

impl Panel {
    /// Draws the panel below `top`; where the next one begins.
    fn draw(&self, picture: &mut Picture, top: f64) -> f64 {
        // What is far off is cut, and says so, or it would squeeze the others.
        let cut = self
            .bars
            .first()
            .map_or(0.0, |(_, figure)| figure.median * CUT);
        let greatest = self.bars.iter().map(|(_, figure)| figure.greatest);
        let most = greatest.fold(0.0, f64::max).min(cut);
        let x = |value: f64| LEFT + value.min(most) / most * (RIGHT - LEFT);
        let (first, last) = (
            top + PANEL_HEAD,
            top + PANEL_HEAD + self.bars.len() as f64 * ROW,
        );
        picture.text(
            "strong",
            (16.0, top + 22.0),
            Anchor::Start,
            title(self.workload),
        );
        let step = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
            .into_iter()
            .find(|step| most / step <= 9.0)
            .unwrap_or(100.0);
        for tick in (0..)
            .map(|tick| f64::from(tick) * step)
            .take_while(|tick| *tick <= most)
        {
            picture.line("grid", (x(tick), first - 3.0), (x(tick), last));
            picture.text("small", (x(tick), last + 11.0), Anchor::Middle, tick);
        }
        for (row, (server, figure)) in self.bars.iter().enumerate() {
            let middle = first + (row as f64 + 0.5) * ROW;
            let (bar, text) = if *server == NAMEPLATE {
                ("ours", "strong")
            } else {
                ("peer", "")
            };
            picture.text(text, (LEFT - 8.0, middle + 4.0), Anchor::End, server);
            picture.bar(bar, (LEFT, middle - 7.0), (x(figure.median) - LEFT, 14.0));
            let (least, greatest) = (x(figure.least), x(figure.greatest));
            picture.line("whisker", (least, middle), (greatest, middle));
            for end in [least, greatest] {
                picture.line("whisker", (end, middle - 4.0), (end, middle + 4.0));
            }
            let beyond = if figure.median > most { " →" } else { "" };
            let label = format!("{:.1}{beyond}", figure.median);
            picture.text(text, (greatest + 6.0, middle + 4.0), Anchor::Start, label);
        }
        if let Some(echo) = self.echo {
            // A query that is forwarded is received and sent twice.
            let (value, name) = match self.workload {
                Workload::Distinct => (echo.median * 2.0, "two echoes"),
                _ => (echo.median, "echo"),
            };
            let label = format!("{name} {value:.1}");
            picture.line("floor", (x(value), first - 6.0), (x(value), last));
            picture.text("floor-text", (x(value), first - 9.0), Anchor::Middle, label);
        }
        last + 12.0
    }
}
