//! What a query costs, beside an echo server and whatever peers are installed, in one run: see `benches/README.md`.
//!
//! Servers run on one set of cores and the generator on another. Every repetition starts each server anew, in another order, so that
//! what the machine does meanwhile falls on all of them. The figure to trust is the server's CPU time for one response; rates and
//! latencies of a shared machine move with its other tenants.

mod bars;
mod data;
mod floor;
mod generator;
mod machine;
mod peers;
#[path = "../picture.rs"]
mod picture;
mod record;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde_json::{Value, json};

use data::{Data, Questions};
use generator::{Load, Outcome, Pace, generate};
use peers::{ALL, ECHO, NAMEPLATE, Peer, Setting};
use record::Record;
use server::{Ballast, Server};

/// Queries in flight when a server is saturated.
const WINDOW: usize = 128;
/// The moderate rate, at which a server mostly sleeps.
const MODERATE: f64 = 20_000.0;
/// Processes that share the server's core under overload: the server gets a tenth of it, and one core can offer ten times as much.
const BALLAST: usize = 9;
/// Those that are put under overload.
const OVERLOADED: [(Workload, &[&str]); 2] = [
    (Workload::Zone, &[NAMEPLATE, "knot", "nsd"]),
    (Workload::Distinct, &[NAMEPLATE, "dnsdist"]),
];

/// What a server serves and is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workload {
    /// A zone of three names, for starts.
    Tiny,
    /// A zone of 100,000 owners, 10 % NXDOMAIN.
    Zone,
    /// A hosts file of 10,000 lines.
    Hosts,
    /// Forward with a cache, 1,000 hot names.
    Cached,
    /// Forward without a cache, every name distinct.
    Distinct,
}

impl Workload {
    /// Those that are loads.
    const LOADS: [Self; 4] = [Self::Zone, Self::Hosts, Self::Cached, Self::Distinct];

    /// Its name on the command line and in the record.
    fn key(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Zone => "w1",
            Self::Hosts => "w2",
            Self::Cached => "w3",
            Self::Distinct => "w4",
        }
    }

    fn forwards(self) -> bool {
        matches!(self, Self::Cached | Self::Distinct)
    }

    fn questions(self, data: &Data) -> &Questions {
        match self {
            Self::Tiny | Self::Zone => &data.zone,
            Self::Hosts => &data.hosts,
            Self::Cached => &data.hot,
            Self::Distinct => &data.distinct,
        }
    }
}

/// The command line.
struct Options {
    only: Vec<String>,
    repetitions: usize,
    window: Duration,
    /// Sockets that the generator asks from.
    sockets: usize,
    servers: Option<Vec<String>>,
    server_cores: Vec<usize>,
    generator_cores: Vec<usize>,
    record: PathBuf,
}

const USAGE: &str = "benches/load/run [--quick] [--only w1,w2,w3,w4,start,workers,overload] [--repetitions 3] [--seconds 2]
    [--sockets 8] [--servers nameplate,knot,…] [--server-cores 0] [--generator-cores 1] [--record benches/record]
NAMEPLATE, COREDNS, KNOTD, … name other programs. --quick: one short repetition, recorded in the scratch directory.";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["echo", address] => floor::echo(address).map_err(|error| error.to_string()),
        ["upstream", address] => floor::upstream(address).map_err(|error| error.to_string()),
        ["spin"] => loop {
            std::hint::spin_loop();
        },
        _ => Options::read(&words).and_then(|options| Bench::new(options, &words)?.run()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn read(words: &[String]) -> Result<Self, String> {
        let (server_cores, generator_cores) = share(&machine::cores());
        let mut options = Self {
            only: ["w1", "w2", "w3", "w4", "start", "workers", "overload"]
                .map(str::to_owned)
                .into(),
            repetitions: 3,
            window: Duration::from_secs(2),
            sockets: 8,
            servers: None,
            server_cores,
            generator_cores,
            record: root().join("benches/record"),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--quick" {
                options.repetitions = 1;
                options.window = Duration::from_millis(600);
                options.record = scratch();
                continue;
            }
            let value = words.next().ok_or(USAGE)?;
            let list = || value.split(',').map(str::to_owned).collect::<Vec<_>>();
            let cores = || {
                value
                    .split(',')
                    .map(|core| core.parse().map_err(|_| USAGE))
                    .collect::<Result<Vec<usize>, _>>()
            };
            match word.as_str() {
                "--only" => options.only = list(),
                "--repetitions" => options.repetitions = value.parse().map_err(|_| USAGE)?,
                "--seconds" => {
                    options.window = Duration::from_secs_f64(value.parse().map_err(|_| USAGE)?)
                }
                "--sockets" => options.sockets = value.parse().map_err(|_| USAGE)?,
                "--servers" => options.servers = Some(list()),
                "--server-cores" => options.server_cores = cores()?,
                "--generator-cores" => options.generator_cores = cores()?,
                "--record" => options.record = value.into(),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }

    fn wants(&self, section: &str) -> bool {
        self.only.iter().any(|only| only == section)
    }
}

/// Cores for servers and cores for the generator: two each where the machine has four that share no physical core, else one each.
fn share(cores: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let physical = machine::physical(cores);
    let cores = if physical.len() >= 2 {
        &physical
    } else {
        cores
    };
    match cores {
        [] => (vec![0], vec![0]),
        [only] => (vec![*only], vec![*only]),
        [first, second] | [first, second, _] => (vec![*first], vec![*second]),
        [first, second, rest @ ..] => (
            vec![*first, *second],
            rest.iter().copied().take(4).collect(),
        ),
    }
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where data, configurations and what is not to be kept go.
fn scratch() -> PathBuf {
    std::env::temp_dir().join("nameplate-load")
}

/// A server with its program; none is the echo server.
type Cell<'a> = (Workload, Option<(&'a Peer, &'a str)>);

/// A run.
struct Bench {
    options: Options,
    data: Data,
    found: Vec<(&'static Peer, String)>,
    record: Record,
}

impl Bench {
    fn new(options: Options, words: &[String]) -> Result<Self, String> {
        let wanted = |peer: &&Peer| {
            options
                .servers
                .as_ref()
                .is_none_or(|servers| servers.iter().any(|server| server == peer.name))
        };
        let mut found = Vec::new();
        let mut versions = serde_json::Map::new();
        let mut skipped = Vec::new();
        for peer in ALL.iter().filter(wanted) {
            let default = root().join("target/dist/nameplate");
            let own = (peer.name == NAMEPLATE && default.is_file())
                .then(|| default.display().to_string());
            let Some(program) = peer.find().or(own) else {
                skipped.push(peer.name);
                continue;
            };
            versions.insert(peer.name.into(), peer.version(&program).into());
            found.push((peer, program));
        }
        if !skipped.is_empty() {
            println!("skipped, not installed: {}", skipped.join(", "));
        }
        let data =
            Data::write(&scratch().join("data")).map_err(|error| format!("the data: {error}"))?;
        let run = json!({
            "section": "run",
            "date": machine::date(),
            "time": machine::time(),
            "commit": commit(),
            "machine": machine::describe(),
            "command": format!("benches/load/run {}", words.join(" ")).trim(),
            "repetitions": options.repetitions,
            "seconds": options.window.as_secs_f64(),
            "server_cores": options.server_cores,
            "generator_cores": options.generator_cores,
            "versions": versions,
            "skipped": skipped,
        });
        let record = Record::open(&options.record, run)?;
        Ok(Self {
            options,
            data,
            found,
            record,
        })
    }

    fn run(mut self) -> Result<(), String> {
        let found = std::mem::take(&mut self.found);
        for repetition in 0..self.options.repetitions {
            for cell in shuffled(self.cells(&found), repetition) {
                let done = self.load(cell, repetition);
                self.note(cell, done);
            }
            if self.options.wants("overload") {
                for (workload, servers) in OVERLOADED {
                    for (peer, program) in found
                        .iter()
                        .filter(|(peer, _)| servers.contains(&peer.name))
                    {
                        let cell = (workload, Some((*peer, program.as_str())));
                        let done = self.overload(cell, repetition);
                        self.note(cell, done);
                    }
                }
            }
            if self.options.wants("workers") {
                self.workers(&found, repetition);
            }
            self.record.write()?;
        }
        if self.options.wants("start") {
            for repetition in 0..self.options.repetitions + 2 {
                self.starts(&found, repetition);
            }
            self.record.write()?;
        }
        if self.options.wants("workers") && self.options.server_cores.len() < 2 {
            println!("two workers against one: not measured, for that takes four cores");
        }
        println!("{}", self.record.path().display());
        Ok(())
    }

    /// What is to be loaded: each workload's servers, the echo server among them.
    fn cells<'a>(&self, found: &'a [(&'static Peer, String)]) -> Vec<Cell<'a>> {
        let mut cells = Vec::new();
        for workload in Workload::LOADS
            .into_iter()
            .filter(|workload| self.options.wants(workload.key()))
        {
            cells.push((workload, None));
            let able = found
                .iter()
                .filter(|(peer, _)| peer.workloads.contains(&workload));
            cells.extend(able.map(|(peer, program)| (workload, Some((*peer, program.as_str())))));
        }
        cells
    }

    /// Says on a line of its own what went wrong, and goes on.
    fn note(&mut self, (workload, peer): Cell<'_>, done: Result<(), String>) {
        if let Err(error) = done {
            let server = peer.map_or(ECHO, |(peer, _)| peer.name);
            self.record.add(json!({"section": "failed", "workload": workload.key(), "server": server, "error": error}));
        }
    }

    /// One server under one workload: saturated, then at the moderate rate.
    fn load(&mut self, cell: Cell<'_>, repetition: usize) -> Result<(), String> {
        let (workload, peer) = cell;
        let cores = self.options.server_cores[..1].to_vec();
        let (server, _upstream) = self.start(cell, &cores, 1)?;
        if workload == Workload::Cached {
            self.generate(&server, workload, Pace::Window(16), (0.0, 0.5))?;
        }
        let window = self.options.window.as_secs_f64();
        for (pace, name) in [
            (Pace::Window(WINDOW), "saturated"),
            (Pace::Rate(MODERATE), "moderate"),
        ] {
            let outcome = self.generate(&server, workload, pace, (0.4, window))?;
            let mut line = report(&outcome);
            line["section"] = "load".into();
            line["workload"] = workload.key().into();
            line["server"] = peer.map_or(ECHO, |(peer, _)| peer.name).into();
            line["pace"] = name.into();
            line["repetition"] = repetition.into();
            weigh(&mut line, &server);
            self.record.add(line);
        }
        Ok(())
    }

    /// One server on a tenth of its core, offered once, twice and ten times what it can; then flooded on the whole core.
    fn overload(&mut self, cell: Cell<'_>, repetition: usize) -> Result<(), String> {
        let cores = self.options.server_cores[..1].to_vec();
        let (server, _upstream) = self.start(cell, &cores, 1)?;
        let window = self.options.window.as_secs_f64();
        let add = |bench: &mut Self, name: &str, outcome: Outcome| {
            let mut line = report(&outcome);
            line["section"] = "overload".into();
            line["workload"] = cell.0.key().into();
            line["server"] = cell.1.map_or(ECHO, |(peer, _)| peer.name).into();
            line["pace"] = name.into();
            line["repetition"] = repetition.into();
            line["offered"] = round(outcome.sent as f64 / outcome.seconds);
            line["goodput"] = round(outcome.good() as f64 / outcome.seconds);
            weigh(&mut line, &server);
            bench.record.add(line);
        };
        let whole = self.generate(&server, cell.0, Pace::Window(WINDOW), (0.3, window))?;
        add(self, "peak of the core", whole);
        let flooded = self.generate(&server, cell.0, Pace::Flood, (0.3, window))?;
        add(self, "flood of the core", flooded);
        let _ballast = Ballast::start(BALLAST, cores[0])?;
        let peak = self.generate(&server, cell.0, Pace::Window(WINDOW), (0.5, window))?;
        let rate = peak.rate();
        add(self, "peak of a tenth", peak);
        for factor in [1.0, 2.0, 10.0] {
            let outcome =
                self.generate(&server, cell.0, Pace::Rate(rate * factor), (0.5, window))?;
            add(self, &format!("{factor}x of a tenth"), outcome);
        }
        Ok(())
    }

    /// Two workers against one, where the machine has the cores.
    fn workers(&mut self, found: &[(&'static Peer, String)], repetition: usize) {
        if self.options.server_cores.len() < 2 {
            return;
        }
        for (peer, program) in found
            .iter()
            .filter(|(peer, _)| OVERLOADED[0].1.contains(&peer.name))
        {
            for workers in [1, 2] {
                let cell = (Workload::Zone, Some((*peer, program.as_str())));
                let cores = self.options.server_cores[..workers].to_vec();
                let done = self
                    .start(cell, &cores, workers)
                    .and_then(|(server, _upstream)| {
                        let window = self.options.window.as_secs_f64();
                        let outcome = self.generate(
                            &server,
                            cell.0,
                            Pace::Window(WINDOW * workers),
                            (0.4, window),
                        )?;
                        let mut line = report(&outcome);
                        line["section"] = "workers".into();
                        line["workload"] = cell.0.key().into();
                        line["server"] = peer.name.into();
                        line["pace"] = workers.to_string().into();
                        line["repetition"] = repetition.into();
                        weigh(&mut line, &server);
                        self.record.add(line);
                        Ok(())
                    });
                self.note(cell, done);
            }
        }
    }

    /// From the start to the first answer, with a tiny zone and with that of W1.
    fn starts(&mut self, found: &[(&'static Peer, String)], repetition: usize) {
        for workload in [Workload::Tiny, Workload::Zone] {
            for (peer, program) in found
                .iter()
                .filter(|(peer, _)| peer.workloads.contains(&Workload::Tiny))
            {
                let cell = (workload, Some((*peer, program.as_str())));
                let cores = self.options.server_cores[..1].to_vec();
                let done = self.start(cell, &cores, 1).map(|(server, _upstream)| {
                    let mut line = json!({
                        "section": "start", "workload": workload.key(), "server": peer.name, "pace": "start", "repetition": repetition,
                        "seconds": (server.start * 1e4).round() / 1e4,
                    });
                    weigh(&mut line, &server);
                    self.record.add(line);
                });
                self.note(cell, done);
            }
        }
    }

    /// Starts a server, and before it the upstream that it needs.
    fn start(
        &self,
        (workload, peer): Cell<'_>,
        cores: &[usize],
        workers: usize,
    ) -> Result<(Server, Option<Server>), String> {
        let own = server::own_program()?;
        let first = match workload {
            Workload::Hosts => self.data.host.as_str(),
            _ => "first.example.org",
        };
        let address = server::free_address()?;
        let mut upstream = None;
        if workload.forwards() && peer.is_some() {
            let address = server::free_address()?;
            let command = [own.clone(), "upstream".into(), address.to_string()];
            upstream = Some(Server::start(
                &command,
                &self.options.generator_cores[..1],
                address,
                first,
            )?);
        }
        let command = match peer {
            None => vec![own, "echo".into(), address.to_string()],
            Some((peer, program)) => {
                let setting = Setting {
                    workload,
                    address,
                    upstream: upstream
                        .as_ref()
                        .map_or(address, |upstream| upstream.address),
                    workers,
                    data: &self.data.directory,
                    scratch: scratch().join(peer.name),
                };
                peer.command(program, &setting)
                    .map_err(|error| format!("its configuration: {error}"))?
            }
        };
        Ok((Server::start(&command, cores, address, first)?, upstream))
    }

    fn generate(
        &self,
        server: &Server,
        workload: Workload,
        pace: Pace,
        (warm, window): (f64, f64),
    ) -> Result<Outcome, String> {
        let load = Load {
            target: server.address,
            questions: workload.questions(&self.data),
            pace,
            warm: Duration::from_secs_f64(warm),
            window: Duration::from_secs_f64(window),
            process: Some(server.process()),
            sockets: self.options.sockets,
        };
        // One core's worth of queries saturates one worker; more threads would only share the window.
        let threads = if matches!(pace, Pace::Window(queries) if queries > WINDOW) {
            self.options.generator_cores.len()
        } else {
            1
        };
        generate(load, &self.options.generator_cores[..threads])
    }
}

/// What is kept of a load.
fn report(outcome: &Outcome) -> Value {
    let [noerror, _, servfail, nxdomain, ..] = outcome.rcodes;
    json!({
        "us": (outcome.cost() * 1e3).round() / 1e3,
        "qps": outcome.rate().round(),
        "lost": outcome.lost,
        "noerror": noerror,
        "nxdomain": nxdomain,
        "servfail": servfail,
        "octets": round(outcome.octets as f64 / outcome.received.max(1) as f64),
        "p50_us": round(outcome.quantile(0.5)),
        "p99_us": round(outcome.quantile(0.99)),
        "server_cpu": (outcome.server / outcome.seconds * 1e3).round() / 1e3,
        "generator_cpu": (outcome.generator / outcome.seconds * 1e3).round() / 1e3,
    })
}

/// To a tenth.
/// Notes a server's memory: all of it, and of that what is anonymous and what is file-backed.
fn weigh(line: &mut Value, server: &Server) {
    let resident = server.resident();
    line["mib"] = round(resident.total);
    line["anonymous_mib"] = round(resident.anonymous);
    line["file_mib"] = round(resident.file);
}

fn round(value: f64) -> Value {
    ((value * 10.0).round() / 10.0).into()
}

/// Another order for each repetition, the same in every run.
fn shuffled<T>(mut values: Vec<T>, repetition: usize) -> Vec<T> {
    let mut state =
        0x9E37_79B9_7F4A_7C15_u64 ^ (repetition as u64 + 1).wrapping_mul(0xD134_2543_DE82_EF95);
    for last in (1..values.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        values.swap(last, (state >> 33) as usize % (last + 1));
    }
    values
}

/// The commit that last touched the server's sources, and whether they were changed since.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(root())
            .args(arguments)
            .args(["--", "src", "plugins", "Cargo.toml", "Cargo.lock"])
            .output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default()
    };
    let changed = if git(&["status", "--porcelain"]).is_empty() {
        ""
    } else {
        " and changes"
    };
    git(&["log", "-1", "--format=%h"]) + changed
}
