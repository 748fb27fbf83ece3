//! What does not stay the same as a zone, a hosts file or a Corefile grows: the cost of loading it, its memory and the answers.
//! `cargo bench --bench scale` writes a record and a log-log picture with each line's slope; see `benches/README.md`.
//!
//! Each size is loaded in a process of its own. Memory is counted at the allocator, so that ten records are as exact as ten million.
//! Answers are nanoseconds in process, without sockets: for names drawn at random, so that memory that does not fit the processor's
//! caches shows, and for one name again and again, which is the work alone.

#![allow(missing_docs, reason = "a program, not a library")]

mod picture;

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use chain::{Exchange, Transport};
use picture::{Anchor, Picture};
use serde_json::{Value, json};
use server::InProcess;

/// Names that are drawn; their queries are asked one after the other.
const DRAWN: usize = 1 << 15;
/// How often they are asked; the median pass is recorded.
const PASSES: usize = 9;

/// What grows.
struct Subject {
    name: &'static str,
    /// What is counted on the axis.
    unit: &'static str,
    sizes: &'static [u64],
    /// Writes the data; the Corefile.
    write: fn(&Path, u64) -> std::io::Result<String>,
    /// A name that is there, and one that is not.
    names: [fn(u64) -> String; 2],
    /// The RCODE for a name that is not there; one that falls through a hosts file is answered by `whoami`.
    absent: u8,
}

const SUBJECTS: [Subject; 3] = [
    Subject {
        name: "zone",
        unit: "records",
        sizes: &[10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000],
        write: write_zone,
        names: [
            |i| format!("name{i}.example.org."),
            |i| format!("none{i}.example.org."),
        ],
        absent: 3,
    },
    Subject {
        name: "hosts",
        unit: "lines",
        sizes: &[10, 100, 1_000, 10_000, 100_000, 1_000_000],
        write: write_hosts,
        names: [|i| format!("host{i}.lan."), |i| format!("none{i}.lan.")],
        absent: 0,
    },
    Subject {
        name: "blocks",
        unit: "server blocks",
        sizes: &[1, 10, 100, 1_000, 10_000],
        write: write_blocks,
        names: [
            |i| format!("www.zone{i}.example."),
            |i| format!("www.none{i}.example."),
        ],
        absent: 5,
    },
];

fn main() {
    // Cargo says `--bench` to every bench.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["one", subject, size] => {
            let subject = SUBJECTS
                .iter()
                .find(|known| known.name == subject)
                .expect("a subject");
            println!("{}", measure(subject, size.parse().expect("a size")));
        }
        [] | ["--quick"] => run(words.is_empty()),
        _ => eprintln!(
            "cargo bench --bench scale [-- --quick]: without the last two sizes of each, and nothing recorded"
        ),
    }
}

/// Measures every size of everything, and writes the record.
fn run(whole: bool) {
    let program = std::env::current_exe().expect("this program's path");
    let mut lines = Vec::new();
    for subject in &SUBJECTS {
        let sizes = if whole {
            subject.sizes
        } else {
            &subject.sizes[..subject.sizes.len() - 2]
        };
        for size in sizes {
            let output = Command::new(&program)
                .args(["one", subject.name, &size.to_string()])
                .output()
                .expect("this program runs");
            let said = String::from_utf8_lossy(&output.stdout);
            match serde_json::from_str::<Value>(said.trim()) {
                Ok(line) => {
                    println!("{line}");
                    lines.push(line);
                }
                Err(_) => println!(
                    "{} of {size}: {}; it said: {}",
                    subject.name,
                    output.status,
                    String::from_utf8_lossy(&output.stderr)
                        .lines()
                        .take(4)
                        .collect::<Vec<_>>()
                        .join(" / ")
                ),
            }
        }
    }
    let directory = if whole {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/record")
    } else {
        std::env::temp_dir()
    };
    let day = output("date", &["-u", "+%F"]);
    let path = directory.join(format!("{day}-scale.md"));
    fs::write(&path, page(&lines, &day, whole)).expect("the record is written");
    fs::write(directory.join("scale.svg"), draw(&lines)).expect("the picture is written");
    println!("{}", path.display());
}

/// Loads one size, and asks it.
fn measure(subject: &Subject, size: u64) -> Value {
    wire::fix_seed(0x9E37_79B9_7F4A_7C15);
    let directory = std::env::temp_dir().join(format!("nameplate-scale-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory for the data");
    let corefile = (subject.write)(&directory, size).expect("the data is written");
    let mut server = None;
    let began = Instant::now();
    let memory = allocation_counter::measure(|| {
        server = Some(
            InProcess::load(&corefile, plugins::ORDER).unwrap_or_else(|error| panic!("{error}")),
        );
    });
    let seconds = began.elapsed().as_secs_f64();
    let _ = fs::remove_dir_all(&directory);
    let server = server.expect("it was loaded");
    let [there, absent] = subject.names;
    let mut draw = Draw(1);
    let drawn = |draw: &mut Draw, name: fn(u64) -> String, rcode: u8| {
        let queries: Vec<_> = (0..DRAWN).map(|_| query(&name(draw.below(size)))).collect();
        time(&server, &queries, rcode)
    };
    json!({
        "subject": subject.name,
        "size": size,
        "load_s": seconds,
        "octets": memory.bytes_current,
        "peak_octets": memory.bytes_max,
        "allocations": memory.count_total,
        "hit_ns": drawn(&mut draw, there, 0),
        "absent_ns": drawn(&mut draw, absent, subject.absent),
        "again_ns": time(&server, &vec![query(&there(size / 2)); DRAWN], 0),
    })
}

/// Nanoseconds of an answer: the median pass over the queries.
fn time(server: &InProcess, queries: &[Vec<u8>], rcode: u8) -> f64 {
    let mut exchange = Exchange::datagram();
    exchange.context.transport = Transport::Udp;
    exchange.context.received = host::clock::now();
    let mut passes: Vec<f64> = (0..PASSES)
        .map(|pass| {
            let began = Instant::now();
            for query in queries {
                exchange.receive_buffer(query.len())[..query.len()].copy_from_slice(query);
                exchange.set_received(query.len());
                assert!(
                    black_box(server.answer(black_box(&mut exchange))),
                    "no answer"
                );
                if pass == 0 {
                    assert_eq!(exchange.reply()[3] & 0xF, rcode, "RCODE");
                }
            }
            began.elapsed().as_nanos() as f64 / queries.len() as f64
        })
        .collect();
    passes.sort_by(f64::total_cmp);
    (passes[PASSES / 2] * 10.0).round() / 10.0
}

/// A query for an A record.
fn query(qname: &str) -> Vec<u8> {
    let name: wire::NameBuf = qname.parse().expect("a name");
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend_from_slice(name.as_name().octets());
    query.extend_from_slice(&[0, 1, 0, 1]);
    query
}

fn write_zone(directory: &Path, size: u64) -> std::io::Result<String> {
    let (path, mut file) = create(directory, "zone")?;
    write!(
        file,
        "$ORIGIN example.org.\n$TTL 3600\n@ SOA ns1 hostmaster 1 7200 1800 1209600 300\n@ NS ns1\nns1 A 192.0.2.53\n"
    )?;
    for i in 0..size {
        writeln!(file, "name{i} A {}", address(i))?;
    }
    file.flush()?;
    Ok(format!("example.org {{\n  file {}\n}}\n", path.display()))
}

fn write_hosts(directory: &Path, size: u64) -> std::io::Result<String> {
    let (path, mut file) = create(directory, "hosts")?;
    for i in 0..size {
        writeln!(file, "{} host{i}.lan", address(i))?;
    }
    file.flush()?;
    let path = path.display();
    Ok(format!(
        "lan {{\n  hosts {path} {{\n    fallthrough\n  }}\n  whoami\n}}\n"
    ))
}

fn write_blocks(_: &Path, size: u64) -> std::io::Result<String> {
    let mut corefile = String::new();
    for i in 0..size {
        let _ = writeln!(corefile, "zone{i}.example {{\n  errors\n  whoami\n}}");
    }
    Ok(corefile)
}

fn create(directory: &Path, name: &str) -> std::io::Result<(PathBuf, BufWriter<fs::File>)> {
    let path = directory.join(name);
    let file = fs::File::create(&path)?;
    Ok((path, BufWriter::new(file)))
}

fn address(i: u64) -> String {
    format!("10.{}.{}.{}", i >> 16 & 0xFF, i >> 8 & 0xFF, i & 0xFF)
}

/// Numbers that look random and are the same in every run (xorshift64*).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        (high * bound) >> 32
    }
}

/// What a program says, trimmed; empty where it is not there.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

/// A line of the picture: what it shows of which subject.
struct Series {
    subject: &'static str,
    name: &'static str,
    field: &'static str,
}

/// A panel of the picture: its title, how its numbers are written, its lines, and over how many of the last sizes a slope is taken.
struct Panel {
    title: &'static str,
    write: fn(f64) -> String,
    series: &'static [Series],
    last: usize,
}

const fn series(subject: &'static str, name: &'static str, field: &'static str) -> Series {
    Series {
        subject,
        name,
        field,
    }
}

const PANELS: [Panel; 3] = [
    Panel {
        title: "load (slope over the last two decades)",
        write: |value| {
            if value < 1e-3 {
                format!("{:.0} µs", value * 1e6)
            } else if value < 1.0 {
                format!("{:.0} ms", value * 1e3)
            } else {
                format!("{value:.0} s")
            }
        },
        series: &[
            series("zone", "zone", "load_s"),
            series("hosts", "hosts", "load_s"),
            series("blocks", "blocks", "load_s"),
        ],
        last: 3,
    },
    Panel {
        title: "memory (slope over the last two decades)",
        write: |value| {
            if value < 1e6 {
                format!("{:.0} kB", value / 1e3)
            } else {
                format!("{:.0} MB", value / 1e6)
            }
        },
        series: &[
            series("zone", "zone", "octets"),
            series("hosts", "hosts", "octets"),
            series("blocks", "blocks", "octets"),
        ],
        last: 3,
    },
    Panel {
        title: "answer, for names drawn at random (slope over all sizes)",
        write: |value| format!("{value:.0} ns"),
        series: &[
            series("zone", "zone, hit", "hit_ns"),
            series("hosts", "hosts, hit", "hit_ns"),
            series("blocks", "blocks, hit", "hit_ns"),
            series("zone", "zone, NXDOMAIN", "absent_ns"),
            series("hosts", "hosts, fallthrough", "absent_ns"),
            series("blocks", "blocks, REFUSED", "absent_ns"),
        ],
        last: usize::MAX,
    },
];

impl Series {
    /// Sizes and values.
    fn points(&self, lines: &[Value]) -> Vec<(f64, f64)> {
        let of = lines.iter().filter(|line| line["subject"] == self.subject);
        of.filter_map(|line| Some((line["size"].as_f64()?, line[self.field].as_f64()?)))
            .collect()
    }
}

/// The slope of the last points in a log-log picture, by least squares.
fn slope(points: &[(f64, f64)], last: usize) -> f64 {
    let logs: Vec<_> = points[points.len().saturating_sub(last)..]
        .iter()
        .map(|(x, y)| (x.log10(), y.log10()))
        .collect();
    let count = logs.len() as f64;
    let mean = (
        logs.iter().map(|(x, _)| x).sum::<f64>() / count,
        logs.iter().map(|(_, y)| y).sum::<f64>() / count,
    );
    let over: f64 = logs.iter().map(|(x, y)| (x - mean.0) * (y - mean.1)).sum();
    let under: f64 = logs.iter().map(|(x, _)| (x - mean.0).powi(2)).sum();
    if under > 0.0 { over / under } else { 0.0 }
}

const WIDTH: f64 = 860.0;
const PANEL: f64 = 300.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 640.0;

/// The picture: a panel below another, one axis of sizes.
fn draw(lines: &[Value]) -> String {
    let mut picture = Picture::new(WIDTH, 44.0 + PANELS.len() as f64 * PANEL);
    picture.text(
        "title",
        (16.0, 24.0),
        Anchor::Start,
        "As zone, hosts file and Corefile grow: records, lines, server blocks",
    );
    for (number, panel) in PANELS.iter().enumerate() {
        panel.draw(&mut picture, 36.0 + number as f64 * PANEL, lines);
    }
    picture.finish("Cost of load, memory and answer by size")
}

impl Panel {
    fn draw(&self, picture: &mut Picture, top: f64, lines: &[Value]) {
        let (first, last) = (top + 36.0, top + PANEL - 30.0);
        let drawn: Vec<_> = self
            .series
            .iter()
            .map(|series| (series, series.points(lines)))
            .filter(|(_, points)| !points.is_empty())
            .collect();
        let all = || drawn.iter().flat_map(|(_, points)| points);
        let least = all()
            .map(|(_, y)| *y)
            .fold(f64::MAX, f64::min)
            .log10()
            .floor();
        let most = all()
            .map(|(_, y)| *y)
            .fold(0.0, f64::max)
            .log10()
            .ceil()
            .max(least + 1.0);
        let x = |value: f64| LEFT + value.log10() / 7.0 * (RIGHT - LEFT);
        let y = |value: f64| last - (value.log10() - least) / (most - least) * (last - first);
        picture.text("strong", (16.0, top + 20.0), Anchor::Start, self.title);
        for power in least as i32..=most as i32 {
            let value = 10f64.powi(power);
            picture.line("grid", (LEFT, y(value)), (RIGHT, y(value)));
            picture.text(
                "small",
                (LEFT - 6.0, y(value) + 4.0),
                Anchor::End,
                (self.write)(value),
            );
        }
        for power in 0..=7 {
            let value = 10f64.powi(power);
            picture.line("grid", (x(value), first), (x(value), last));
            let label = [
                "1",
                "10",
                "100",
                "1,000",
                "10,000",
                "100,000",
                "1 million",
                "10 million",
            ][power as usize];
            picture.text("small", (x(value), last + 14.0), Anchor::Middle, label);
        }
        // The names stand at the right, in the order of the lines' ends, a line's height apart.
        let mut names: Vec<_> = drawn
            .iter()
            .enumerate()
            .map(|(series, (_, points))| (y(points[points.len() - 1].1), series))
            .collect();
        names.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut below = first - 10.0;
        for (place, series) in names {
            let (line, points) = &drawn[series];
            picture.polyline(
                series,
                points
                    .iter()
                    .map(|point| (x(point.0), y(point.1)))
                    .collect::<Vec<_>>()
                    .as_slice(),
            );
            below = (below + 16.0).max(place);
            picture.bar(
                &format!("d{series}"),
                (RIGHT + 12.0, below - 5.0),
                (10.0, 10.0),
            );
            let label = format!("{}: slope {:.2}", line.name, slope(points, self.last));
            picture.text("", (RIGHT + 28.0, below + 4.0), Anchor::Start, label);
        }
    }
}

/// The record.
fn page(lines: &[Value], day: &str, whole: bool) -> String {
    let mut page = String::new();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(": "))
        .map_or("", |(_, model)| model);
    let commit = output(
        "git",
        &[
            "log",
            "-1",
            "--format=%h",
            "--",
            "src",
            "plugins",
            "Cargo.toml",
            "Cargo.lock",
        ],
    );
    let command = if whole {
        "cargo bench --bench scale"
    } else {
        "cargo bench --bench scale -- --quick"
    };
    let _ = writeln!(
        page,
        "# Scale, {day}\n\n![Cost of load, memory and answer by size](scale.svg)\n"
    );
    let _ = writeln!(
        page,
        "Commit {commit}. {model}, Linux {}. `{command}`.\n",
        output("uname", &["-r"])
    );
    let _ = writeln!(
        page,
        "Memory is what the allocator gave and did not take back; the peak is while loading. *Again* is one name asked again and again: the\nwork without the processor's cache misses.\n"
    );
    for subject in &SUBJECTS {
        let _ = writeln!(
            page,
            "## {}\n\n| {} | load | octets each | peak, octets each | allocations each | hit, ns | absent, ns | again, ns |\n|---|---|---|---|---|---|---|---|",
            subject.name, subject.unit
        );
        for line in lines.iter().filter(|line| line["subject"] == subject.name) {
            let number = |field: &str| line[field].as_f64().unwrap_or_default();
            let each = |field: &str| number(field) / number("size");
            let _ = writeln!(
                page,
                "| {} | {:.4} s | {:.0} | {:.0} | {:.2} | {:.0} | {:.0} | {:.0} |",
                number("size"),
                number("load_s"),
                each("octets"),
                each("peak_octets"),
                each("allocations"),
                number("hit_ns"),
                number("absent_ns"),
                number("again_ns")
            );
        }
        page.push('\n');
    }
    page.push_str("## Slopes\n\n| line | slope |\n|---|---|\n");
    for panel in &PANELS {
        for series in panel.series {
            let points = series.points(lines);
            let _ = writeln!(
                page,
                "| {}: {} | {:.2} |",
                panel.title,
                series.name,
                slope(&points, panel.last)
            );
        }
    }
    for subject in &SUBJECTS {
        let again = series(subject.name, "", "again_ns");
        let level = slope(&again.points(lines), usize::MAX);
        let _ = writeln!(
            page,
            "| one name again and again (slope over all sizes): {} | {level:.2} |",
            subject.name
        );
    }
    page.push_str("\n## Raw lines\n\n```json\n");
    for line in lines {
        let _ = writeln!(page, "{line}");
    }
    page + "```\n"
}
