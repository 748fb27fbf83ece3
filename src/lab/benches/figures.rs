//! How long labs of 200 and 1,000 namespaces take: up, nothing to do, one host changed, down; beside the bare system
//! calls for the same objects in the same run.
//!
//! `cargo bench -p nameplate-lab [-- COUNT…]` as root. Everything happens in a network and a mount namespace of its own.
//! Each figure is the best and the worst of the rounds; wall time in milliseconds, because nearly all of it is the
//! kernel's. Between rounds the kernel gets time to free what was removed: it does so asynchronously.

use std::process::Command;
use std::time::{Duration, Instant};

use lab::floor;

/// Rounds of each size.
const ROUNDS: usize = 3;
/// Changes there and back in a round.
const CHANGES: usize = 5;
/// The files.
const PLAIN: &str = "/run/plain.toml";
const CHANGED: &str = "/run/changed.toml";
/// The world that the measurements happen in.
const WORLD: &str = "mount -t tmpfs tmpfs /run && mkdir /run/etc && cp -a /etc/hosts /etc/resolv.conf /run/etc/ && mount --bind /run/etc /etc && ip link set lo up && exec \"$0\" \"$@\"";

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    if arguments.first().map(String::as_str) != Some("inside") {
        let own = std::env::current_exe().expect("this binary has a path");
        let status = Command::new("unshare")
            .args(["-n", "-m", "--propagation", "private", "sh", "-c", WORLD])
            .arg(own)
            .arg("inside")
            .args(&arguments)
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "this needs root and unshare(1)"
        );
        return;
    }
    let sizes: Vec<usize> = arguments[1..]
        .iter()
        .filter_map(|word| word.parse().ok())
        .collect();
    let sizes = if sizes.is_empty() {
        vec![200, 1_000]
    } else {
        sizes
    };
    println!("best … worst of {ROUNDS}, in ms");
    for size in sizes {
        measure(size);
    }
}

/// A lab of many hosts; `changed` moves one of them.
fn text(hosts: usize, changed: bool) -> String {
    let mut text = String::from("[lab]\nname = \"bench\"\nhosts = \"off\"\n");
    let nets = hosts.div_ceil(floor::PORTS);
    for net in 0..nets {
        text.push_str(&format!(
            "[net.br{net}]\nsubnet = \"10.{}.0.0/16\"\n",
            50 + net
        ));
    }
    text.push_str("[ns]\n");
    for net in 0..nets {
        let (from, to) = (
            net * floor::PORTS,
            ((net + 1) * floor::PORTS).min(hosts) - 1,
        );
        text.push_str(&format!(
            "\"h[{from}-{}]\" = \"br{net}\"\n",
            to - usize::from(net == 0)
        ));
    }
    // The last of the first network is the one that moves.
    let last = floor::PORTS.min(hosts) - 1;
    text.push_str(&format!(
        "h{last} = \"br0 10.50.255.{}\"\n",
        if changed { 8 } else { 7 }
    ));
    text
}

/// The figures and what each is compared with.
const RATIOS: &[(&str, &str)] = &[
    ("up", "floor up"),
    ("nothing to do", "floor look"),
    ("one host changed", "floor change"),
    ("down", "floor down"),
];

/// One size.
fn measure(hosts: usize) {
    for (file, changed) in [(PLAIN, false), (CHANGED, true)] {
        std::fs::write(file, text(hosts, changed)).expect("/run is a tmpfs of this world");
    }
    let mut figures: Vec<(&str, Vec<Duration>)> = Vec::new();
    let mut note = |what: &'static str, took: Duration| match figures
        .iter_mut()
        .find(|(name, _)| *name == what)
    {
        Some((_, all)) => all.push(took),
        None => figures.push((what, vec![took])),
    };
    for _ in 0..ROUNDS {
        note("floor up", timed(|| floor::up(hosts).expect("floor up")));
        note("floor look", timed(|| floor::look(hosts).expect("look")));
        note(
            "floor change",
            timed(|| floor::change(hosts).expect("change")),
        );
        note(
            "floor down",
            timed(|| floor::down(hosts).expect("floor down")),
        );
        rest();
        note("up", timed(|| lab(&["apply", PLAIN])));
        // The kernel still greets a thousand neighbours (duplicate address detection, multicast reports).
        std::thread::sleep(Duration::from_secs(3));
        note("nothing to do", timed(|| lab(&["apply", PLAIN])));
        for _ in 0..CHANGES {
            note("one host changed", timed(|| lab(&["apply", CHANGED])));
            note("one host changed", timed(|| lab(&["apply", PLAIN])));
        }
        note("down", timed(|| lab(&["down", "bench"])));
        rest();
        eprintln!("{hosts} hosts: a round is done");
    }
    for (what, took) in &figures {
        let millis = |took: Option<&Duration>| took.map_or(0.0, |took| took.as_secs_f64() * 1e3);
        println!(
            "{hosts:>5} {what:<17} {:>8.1} … {:.1}",
            millis(took.iter().min()),
            millis(took.iter().max())
        );
    }
    let best = |what: &str| {
        figures
            .iter()
            .find(|(name, _)| *name == what)
            .and_then(|(_, took)| took.iter().min())
            .map_or(1.0, Duration::as_secs_f64)
    };
    for (what, floor) in RATIOS {
        println!(
            "{hosts:>5} {what} / {floor} {:.2}",
            best(what) / best(floor)
        );
    }
}

/// Runs the command, which must work: what a user waits for, from the start of the process to its end.
fn lab(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_nameplate-lab"))
        .args(arguments)
        .output()
        .expect("the command starts");
    assert!(output.status.success(), "{output:?}");
}

/// How long it takes.
fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Waits until the kernel has freed the namespaces.
fn rest() {
    let count = || {
        std::fs::read_to_string("/proc/slabinfo")
            .ok()
            .and_then(|text| {
                text.lines()
                    .find(|line| line.starts_with("net_namespace "))?
                    .split_whitespace()
                    .nth(1)?
                    .parse::<usize>()
                    .ok()
            })
    };
    for _ in 0..30 {
        if count().is_none_or(|count| count < 40) {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_millis(500));
}
