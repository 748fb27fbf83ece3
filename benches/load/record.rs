//! The record of a day: tables for people, the raw lines under them for everything else, and what README shows of them.
//!
//! Runs of one commit on one day are one record: a run replaces the lines that it measures anew and leaves the others, so a record can
//! be made in pieces.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::machine;
use crate::peers::{ALL, ECHO, NAMEPLATE};
use crate::{Workload, bars, root};

/// Where the raw lines begin in a record.
const RAW: &str = "```json\n";
/// What README's part stands between.
const MARK: &str = "<!-- load -->";

/// A day's record.
pub struct Record {
    directory: PathBuf,
    path: PathBuf,
    kept: Vec<Value>,
    lines: Vec<Value>,
}

/// A row of figures: median, least, greatest.
#[derive(Clone, Copy)]
pub struct Figure {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

impl Record {
    /// Begins a record, or goes on with the one of this day and commit; `run` says what is run.
    pub fn open(directory: &Path, run: Value) -> Result<Self, String> {
        fs::create_dir_all(directory)
            .map_err(|error| format!("{}: {error}", directory.display()))?;
        let path = directory.join(format!("{}-load.md", machine::date()));
        let before = fs::read_to_string(&path).unwrap_or_default();
        let raw = before.split(RAW).nth(1).unwrap_or_default();
        let kept: Vec<Value> = raw
            .lines()
            .map_while(|line| serde_json::from_str(line).ok())
            .collect();
        let same = kept
            .iter()
            .filter(|line| line["section"] == "run")
            .all(|line| line["commit"] == run["commit"]);
        let kept = if same { kept } else { Vec::new() };
        Ok(Self {
            directory: directory.to_owned(),
            path,
            kept,
            lines: vec![run],
        })
    }

    /// Adds a line, and prints it.
    pub fn add(&mut self, line: Value) {
        println!("{line}");
        self.lines.push(line);
    }

    /// The record's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the record, the picture beside it and, for the repository's own records, README's part.
    pub fn write(&self) -> Result<(), String> {
        let all = Lines(self.merged());
        let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        let write =
            |path: &Path, text: &str| fs::write(path, text).map_err(|error| failed(path, error));
        write(&self.path, &all.page())?;
        let picture = self.directory.join("load.svg");
        write(&picture, &bars::draw(&all))?;
        let own = |path: &Path| path.canonicalize().ok();
        if own(&self.directory) == own(&root().join("benches/record")) {
            let readme = root().join("README.md");
            let text = fs::read_to_string(&readme).map_err(|error| failed(&readme, error))?;
            if let [before, _, after] = text.split(MARK).collect::<Vec<_>>()[..] {
                let part =
                    all.summary(&self.path.file_name().unwrap_or_default().to_string_lossy());
                write(&readme, &[before, MARK, "\n", &part, MARK, after].concat())?;
            }
        }
        Ok(())
    }

    /// The lines kept that were not measured anew, and the new ones.
    fn merged(&self) -> Vec<Value> {
        let key = |line: &Value| {
            ["section", "workload", "server", "pace"]
                .map(|field| line[field].as_str().map(str::to_owned))
        };
        let fresh = |line: &Value| {
            line["section"] == "run" || !self.lines.iter().any(|new| key(new) == key(line))
        };
        self.kept
            .iter()
            .filter(|line| fresh(line))
            .chain(&self.lines)
            .cloned()
            .collect()
    }
}

/// A record's raw lines.
pub struct Lines(Vec<Value>);

impl Lines {
    /// A field over the repetitions.
    pub fn figure(
        &self,
        [section, workload, server, pace]: [&str; 4],
        field: &str,
    ) -> Option<Figure> {
        let fits = |line: &&Value| {
            line["section"] == section
                && line["workload"] == workload
                && line["server"] == server
                && line["pace"] == pace
        };
        let mut values: Vec<f64> = self
            .0
            .iter()
            .filter(fits)
            .filter_map(|line| line[field].as_f64())
            .collect();
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Some(Figure {
            median,
            least,
            greatest,
        })
    }

    /// CPU microseconds of a response at saturation.
    pub fn cost(&self, workload: Workload, server: &str) -> Option<Figure> {
        self.figure(["load", workload.key(), server, "saturated"], "us")
    }

    /// The runs that made the record.
    fn runs(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(|line| line["section"] == "run")
    }

    /// Machine, commit and day, in few words.
    pub fn caption(&self) -> String {
        self.runs().last().map_or_else(String::new, |run| {
            format!(
                "{}; commit {}, {}",
                text(&run["machine"]),
                text(&run["commit"]),
                text(&run["date"])
            )
        })
    }

    /// The whole record.
    fn page(&self) -> String {
        let mut page = String::new();
        let Some(last) = self.runs().last() else {
            return page;
        };
        let _ = writeln!(
            page,
            "# Load, {}\n\n![CPU per query](load.svg)\n",
            text(&last["date"])
        );
        let versions: Vec<_> = last["versions"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, version)| format!("{name} {}", text(version)))
            .collect();
        let _ = writeln!(
            page,
            "Commit {}. {}. {}.",
            text(&last["commit"]),
            text(&last["machine"]),
            versions.join(", ")
        );
        let _ = writeln!(
            page,
            "One worker on core {}, the generator (and, for W3 and W4, the upstream) on core {}; medians [least–greatest] of the repetitions,\n\
             each of which starts the servers anew in another order. How: [benches/README.md](../README.md).\n",
            last["server_cores"][0], last["generator_cores"][0]
        );
        for run in self.runs() {
            let skipped: Vec<_> = run["skipped"]
                .as_array()
                .into_iter()
                .flatten()
                .map(text)
                .collect();
            let absent = if skipped.is_empty() {
                String::new()
            } else {
                format!("; absent: {}", skipped.join(", "))
            };
            let _ = writeln!(
                page,
                "* `{}`: {} repetitions of {} s{absent}",
                text(&run["command"]),
                run["repetitions"],
                run["seconds"]
            );
        }
        self.loads(&mut page);
        self.starts(&mut page);
        self.overload(&mut page);
        self.workers(&mut page);
        for failed in self.0.iter().filter(|line| line["section"] == "failed") {
            let _ = writeln!(
                page,
                "\nNot measured: {} on {}: {}",
                text(&failed["server"]),
                text(&failed["workload"]),
                text(&failed["error"])
            );
        }
        let _ = write!(page, "\n## Raw lines\n\n<details>\n\n{RAW}");
        for line in &self.0 {
            let _ = writeln!(page, "{line}");
        }
        page + "```\n\n</details>\n"
    }

    fn loads(&self, page: &mut String) {
        let _ = writeln!(
            page,
            "\n## Load\n\nCPU µs of the server per query, its whole process tree, read at the window's edges: with {} queries in flight, and at\n\
             {} q/s. Memory is resident, with what of it is anonymous and what is pages of files, the program's own first.\n\n| workload | server | CPU µs, saturated | to the echo | q/s | CPU µs at 20,000 q/s | p50 µs there | MiB | anonymous | file-backed |\n\
             |---|---|---|---|---|---|---|---|---|---|",
            crate::WINDOW,
            crate::MODERATE
        );
        for workload in Workload::LOADS {
            let echo = self.cost(workload, ECHO).map(|figure| figure.median);
            for server in servers() {
                let Some(cost) = self.cost(workload, server) else {
                    continue;
                };
                let at = |pace, field| self.figure(["load", workload.key(), server, pace], field);
                let ratio =
                    echo.map_or_else(String::new, |echo| format!("{:.2}", cost.median / echo));
                let _ = writeln!(
                    page,
                    "| {} | {server} | {} | {ratio} | {} | {} | {} | {} | {} | {} |",
                    title(workload),
                    range(Some(cost), 2),
                    range(at("saturated", "qps"), 0),
                    range(at("moderate", "us"), 1),
                    range(at("moderate", "p50_us"), 0),
                    median(at("saturated", "mib"), 1),
                    median(at("saturated", "anonymous_mib"), 1),
                    median(at("saturated", "file_mib"), 1),
                );
            }
        }
    }

    fn starts(&self, page: &mut String) {
        let mut rows = String::new();
        for server in servers() {
            let seconds = |workload: Workload| {
                self.figure(["start", workload.key(), server, "start"], "seconds")
            };
            if seconds(Workload::Tiny).is_some() {
                let _ = writeln!(
                    rows,
                    "| {server} | {} | {} |",
                    range(seconds(Workload::Tiny), 4),
                    range(seconds(Workload::Zone), 3)
                );
            }
        }
        if !rows.is_empty() {
            let _ = write!(
                page,
                "\n## Start to first answer\n\n| server | a tiny zone, s | W1's zone, s |\n|---|---|---|\n{rows}"
            );
        }
    }

    fn overload(&self, page: &mut String) {
        let mut rows = String::new();
        for workload in ["w1", "w4"] {
            for server in servers() {
                for pace in [
                    "peak of the core",
                    "flood of the core",
                    "peak of a tenth",
                    "1x of a tenth",
                    "2x of a tenth",
                    "10x of a tenth",
                ] {
                    let at = |field| self.figure(["overload", workload, server, pace], field);
                    let peak = if pace.ends_with("core") {
                        "peak of the core"
                    } else {
                        "peak of a tenth"
                    };
                    let peak = self.figure(["overload", workload, server, peak], "goodput");
                    if let (Some(goodput), Some(peak)) = (at("goodput"), peak) {
                        let share = format!("{:.0} %", goodput.median / peak.median * 100.0);
                        let _ = writeln!(
                            rows,
                            "| {} | {server} | {pace} | {} | {} | {share} | {} | {} | {} |",
                            workload.to_uppercase(),
                            range(at("offered"), 0),
                            range(Some(goodput), 0),
                            median(at("p50_us"), 0),
                            median(at("p99_us"), 0),
                            median(at("mib"), 1)
                        );
                    }
                }
            }
        }
        if !rows.is_empty() {
            let _ = write!(
                page,
                "\n## Overload\n\n*Peak*: with {} queries in flight. *Flood*: as many as the generator's core can send. *A tenth*: {} spinning processes\n\
                 share the server's core, so that the generator can offer ten times what the server can do; latencies there are the scheduler's\n\
                 time slices. *Good* is NOERROR and NXDOMAIN within a second. W4's upstream shares the generator's core, which a flood takes from it.\n\n\
                 | workload | server | load | offered q/s | good q/s | of the peak | p50 µs | p99 µs | MiB |\n|---|---|---|---|---|---|---|---|---|\n{rows}",
                crate::WINDOW,
                crate::BALLAST
            );
        }
    }

    fn workers(&self, page: &mut String) {
        let mut rows = String::new();
        for server in servers() {
            let at = |workers| self.figure(["workers", "w1", server, workers], "qps");
            if let (Some(one), Some(two)) = (at("1"), at("2")) {
                let _ = writeln!(
                    rows,
                    "| {server} | {} | {} | {:.2} |",
                    range(Some(one), 0),
                    range(Some(two), 0),
                    two.median / one.median
                );
            }
        }
        if rows.is_empty() {
            page.push_str("\n## Two workers\n\nNot measured: that takes two cores for the server and two for the generator.\n");
        } else {
            let _ = write!(
                page,
                "\n## Two workers\n\n| server | one worker, q/s | two, q/s | times |\n|---|---|---|---|\n{rows}"
            );
        }
    }

    /// README's part.
    fn summary(&self, file: &str) -> String {
        let mut part = format!(
            "![CPU per query, beside an echo server and peers](benches/record/load.svg)\n\nServer CPU per query at saturation over UDP on loopback, one \
             worker, beside an echo server (one `recv` and one `send` per\nquery) and the peers installed, in the same run. {} \
             ([record](benches/record/{file}),\n[how](benches/README.md)).\n\n| workload | nameplate | echo | peers |\n|---|---|---|---|\n",
            self.caption()
        );
        for workload in Workload::LOADS {
            let others = others(
                |server| self.cost(workload, server),
                |value| format!("{value:.1}"),
            );
            let own = |server| median(self.cost(workload, server), 1);
            let _ = writeln!(
                part,
                "| {} | {} µs | {} µs | {others} |",
                title(workload),
                own(NAMEPLATE),
                own(ECHO)
            );
        }
        let seconds = |workload: Workload| {
            move |server: &str| self.figure(["start", workload.key(), server, "start"], "seconds")
        };
        for (workload, name) in [
            (Workload::Zone, "that zone's start to first answer"),
            (Workload::Tiny, "a tiny zone's"),
        ] {
            let others = others(seconds(workload), |value| format!("{:.0}", value * 1e3));
            if let Some(own) = seconds(workload)(NAMEPLATE) {
                let _ = writeln!(part, "| {name} | {:.0} ms | | {others} |", own.median * 1e3);
            }
        }
        for workload in [Workload::Zone, Workload::Hosts, Workload::Cached] {
            let figure = |server: &str, field| {
                self.figure(["load", workload.key(), server, "saturated"], field)
            };
            for (kind, field) in [
                ("anonymous memory", "anonymous_mib"),
                ("file-backed memory", "file_mib"),
            ] {
                let others = others(
                    |server| figure(server, field),
                    |value| format!("{value:.1}"),
                );
                if let Some(own) = figure(NAMEPLATE, field) {
                    let _ = writeln!(
                        part,
                        "| {}'s {kind} | {:.1} MiB | | {others} |",
                        name(workload),
                        own.median
                    );
                }
            }
        }
        part
    }
}

/// The servers in the order of tables.
pub fn servers() -> impl Iterator<Item = &'static str> {
    std::iter::once(ECHO).chain(ALL.iter().map(|peer| peer.name))
}

/// The other servers' medians, the least first.
fn others(figure: impl Fn(&str) -> Option<Figure>, draw: impl Fn(f64) -> String) -> String {
    let mut found: Vec<_> = servers()
        .filter(|server| *server != ECHO && *server != NAMEPLATE)
        .filter_map(|server| Some((figure(server)?.median, server)))
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found
        .iter()
        .map(|(value, server)| format!("{server} {}", draw(*value)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A workload in a few words.
pub fn title(workload: Workload) -> &'static str {
    match workload {
        Workload::Tiny => "a tiny zone",
        Workload::Zone => "W1: a zone of 100,000 names, 10 % NXDOMAIN",
        Workload::Hosts => "W2: a hosts file of 10,000 lines",
        Workload::Cached => "W3: forward with cache, 1,000 hot names",
        Workload::Distinct => "W4: forward, every name distinct",
    }
}

fn name(workload: Workload) -> String {
    workload.key().to_uppercase()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn median(figure: Option<Figure>, digits: usize) -> String {
    figure.map_or_else(String::new, |figure| format!("{:.digits$}", figure.median))
}

fn range(figure: Option<Figure>, digits: usize) -> String {
    figure.map_or_else(
        String::new,
        |Figure {
             median,
             least,
             greatest,
         }| {
            if least == greatest {
                format!("{median:.digits$}")
            } else {
                format!("{median:.digits$} [{least:.digits$}–{greatest:.digits$}]")
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(server: &str, us: f64) -> Value {
        json!({"section": "load", "workload": "w1", "server": server, "pace": "saturated", "us": us})
    }

    #[test]
    fn a_piece_replaces_what_it_measured_anew() {
        let directory =
            std::env::temp_dir().join(format!("nameplate-load-test-{}", std::process::id()));
        let run = |commit: &str| json!({"section": "run", "commit": commit, "server_cores": [0], "generator_cores": [1]});
        let mut first = Record::open(&directory, run("a")).expect("a record");
        first.add(line("knot", 6.0));
        first.add(line(NAMEPLATE, 5.0));
        first.write().expect("it is written");
        let mut second = Record::open(&directory, run("a")).expect("a record");
        second.add(line(NAMEPLATE, 4.0));
        second.add(line(NAMEPLATE, 4.5));
        let lines = Lines(second.merged());
        let cost = |server| {
            lines
                .cost(Workload::Zone, server)
                .map(|figure| figure.median)
        };
        assert_eq!((cost("knot"), cost(NAMEPLATE)), (Some(6.0), Some(4.25)));
        let other = Record::open(&directory, run("b")).expect("a record");
        assert_eq!(other.merged().len(), 1, "another commit begins anew");
        std::fs::remove_dir_all(directory).expect("it is removed");
    }

    #[test]
    fn memory_is_stated_as_anonymous_and_file_backed_apart() {
        let mut own = line(NAMEPLATE, 4.0);
        own["mib"] = 13.4.into();
        own["anonymous_mib"] = 9.1.into();
        own["file_mib"] = 4.3.into();
        let lines = Lines(vec![own]);
        let summary = lines.summary("2026-11-28-load.md");
        assert!(
            summary.contains("| W1's anonymous memory | 9.1 MiB |"),
            "{summary}"
        );
        assert!(
            summary.contains("| W1's file-backed memory | 4.3 MiB |"),
            "{summary}"
        );
    }
}
