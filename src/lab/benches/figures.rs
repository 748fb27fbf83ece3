//! How long labs of 200 and 1,000 namespaces take: up, nothing to do, one host changed, down; beside the bare system
//! calls for the same objects in the same run. Then for scale what others take for one container.
//!
//! `cargo bench -p nameplate-lab [-- COUNT…]` as root. The server, for the figures with names, is the `nameplate` that was
//! built beside it; without one these figures are left out. Everything happens in a network and a mount namespace of its own.
//! Each figure is the best, the median and the worst of the rounds; wall time in milliseconds, because nearly all of it is the
//! kernel's. Between rounds the kernel gets time to free what was removed: it does so asynchronously.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::floor;

/// Rounds of each size.
const ROUNDS: usize = 3;
/// Changes there and back in a round.
const CHANGES: usize = 5;
/// The files.
/// A lab belongs to its file: this one is changed.
const FILE: &str = "/run/bench.toml";
/// The world that the measurements happen in.
const WORLD: &str = "mount -t tmpfs tmpfs /run && mkdir /run/etc && cp -a /etc/hosts /etc/resolv.conf /etc/alternatives /run/etc/ && mount --bind /run/etc /etc && ip link set lo up && exec \"$0\" \"$@\"";

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
    println!("best, median, worst, in ms");
    for size in sizes {
        measure(size);
    }
    scale();
}

/// The DNS server, ended when dropped.
struct Server(Child);

impl Server {
    /// Starts it, if there is one, with every lab.
    fn start() -> Option<Self> {
        let program =
            PathBuf::from(env!("CARGO_BIN_EXE_nameplate-lab")).with_file_name("nameplate");
        if !program.is_file() {
            eprintln!(
                "{} is not built: no figures with a server",
                program.display()
            );
            return None;
        }
        std::fs::write(
            "/run/Corefile",
            ".:53 {\n    lab {\n        listen\n    }\n}\n",
        )
        .ok()?;
        let child = Command::new(program)
            .args(["-quiet", "-conf", "/run/Corefile"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        while !lab::server::runs() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Self(child))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The address that the server at 10.50.0.1 gives for the host that moves.
fn answer(host: usize) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    socket.connect("10.50.0.1:53").ok()?;
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [format!("h{host}").as_str(), "bench", "test"] {
        query.push(label.len() as u8);
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    socket.send(&query).ok()?;
    let mut response = [0; 512];
    let length = socket.recv(&mut response).ok()?;
    // One answer, whose data stand last.
    let data: [u8; 4] = response[..length].last_chunk().copied()?;
    (response[6..8] == [0, 1]).then(|| data.into())
}

/// The runs of one container's network by others and by us, one after the other.
fn scale() {
    const CONTAINERS: usize = 30;
    let run = |line: &str| {
        let status = Command::new("sh").args(["-c", line]).status();
        assert!(status.is_ok_and(|status| status.success()), "{line}");
    };
    let each = |what: &str, took: Duration| {
        println!(
            "for scale: {what:<40} {:>6.1} each",
            took.as_secs_f64() * 1e3 / CONTAINERS as f64
        );
    };
    let names = || (0..CONTAINERS).map(|at| format!("k{at}"));
    let file = "[lab]\nname = \"scale\"\nhosts = \"off\"\n[net.br0]\nsubnet = \"10.60.0.0/16\"\n[ns]\n\"s[0-29]\" = \"br0\"\n";
    std::fs::write("/run/scale.toml", file).expect("/run is a tmpfs of this world");
    run(&format!(
        "{} show --as-shell /run/scale.toml > /run/scale.sh",
        env!("CARGO_BIN_EXE_nameplate-lab")
    ));
    each(
        "the lab by its shell script, a host",
        timed(|| run("sh -e /run/scale.sh >/dev/null")),
    );
    run("for n in $(seq 0 29); do ip netns del s$n; rm -r /etc/netns/s$n; done; ip link del br0");
    for name in names() {
        run(&format!("ip netns add {name}"));
    }
    let config = |kind: &str, bridge: &str, net: u8| {
        format!(
            "{{\"cniVersion\":\"1.0.0\",\"name\":\"{bridge}\",\"type\":\"{kind}\",\"bridge\":\"{bridge}\",\"isDefaultGateway\":true,\"ipMasq\":true,\
             \"ipam\":{{\"type\":\"host-local\",\"dataDir\":\"/run/{bridge}\",\"subnet\":\"10.{net}.0.0/16\"}}}}"
        )
    };
    let ours = env!("CARGO_BIN_EXE_nameplate-cni");
    for (program, bridge, net) in [(ours, "ours0", 61), ("/usr/lib/cni/bridge", "theirs0", 62)] {
        if !std::path::Path::new(program).is_file() {
            eprintln!("{program} is not installed");
            continue;
        }
        std::fs::write("/run/config.json", config("bridge", bridge, net)).expect("written");
        for verb in ["ADD", "DEL"] {
            let took = timed(|| {
                for name in names() {
                    let status = Command::new(program)
                        .envs([
                            ("CNI_COMMAND", verb),
                            ("CNI_PATH", "/usr/lib/cni"),
                            ("CNI_IFNAME", "eth0"),
                        ])
                        .env("CNI_CONTAINERID", &name)
                        // Others run iptables.
                        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                        .env("CNI_NETNS", format!("/run/netns/{name}"))
                        .stdin(std::fs::File::open("/run/config.json").expect("just written"))
                        .stdout(Stdio::null())
                        .status();
                    assert!(
                        status.is_ok_and(|status| status.success()),
                        "{program} {verb} {name}"
                    );
                }
            });
            let name = program.rsplit('/').next().unwrap_or(program);
            each(&format!("{name} {verb}, with masquerading"), took);
        }
    }
    for name in names() {
        run(&format!("ip netns del {name}"));
    }
    // Debian has it for podman; elsewhere the environment says where.
    let netavark =
        std::env::var("NETAVARK").unwrap_or_else(|_| "/usr/lib/podman/netavark".to_owned());
    match Some(netavark.as_str()).filter(|path| std::path::Path::new(path).is_file()) {
        None => eprintln!("{netavark} is not installed"),
        Some(program) => scale_netavark(program, CONTAINERS, each),
    }
}

/// The same by netavark, in the form that podman calls it.
fn scale_netavark(program: &str, containers: usize, each: impl Fn(&str, Duration)) {
    let options = |at: usize| {
        format!(
            "{{\"container_id\":\"k{at}\",\"container_name\":\"k{at}\",\"networks\":{{\"n\":{{\"static_ips\":[\"10.63.0.{}\"],\"interface_name\":\"eth0\"}}}},\
             \"network_info\":{{\"n\":{{\"name\":\"n\",\"id\":\"n\",\"driver\":\"bridge\",\"network_interface\":\"netav0\",\"subnets\":[{{\"subnet\":\"10.63.0.0/16\",\"gateway\":\"10.63.0.1\"}}],\
             \"ipv6_enabled\":false,\"internal\":false,\"dns_enabled\":false,\"ipam_options\":{{\"driver\":\"host-local\"}}}}}}}}",
            at + 2
        )
    };
    let spaces = |verb: &str| {
        for at in 0..containers {
            let status = Command::new("ip")
                .args(["netns", verb, &format!("k{at}")])
                .status();
            assert!(status.is_ok_and(|status| status.success()));
        }
    };
    spaces("add");
    for verb in ["setup", "teardown"] {
        let took = timed(|| {
            for at in 0..containers {
                std::fs::write("/run/config.json", options(at)).expect("written");
                let output = Command::new(program)
                    .args([
                        "--config",
                        "/run/netavark-state",
                        verb,
                        &format!("/run/netns/k{at}"),
                    ])
                    .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                    .stdin(std::fs::File::open("/run/config.json").expect("just written"))
                    .output()
                    .expect("netavark starts");
                assert!(output.status.success(), "{output:?}");
            }
        });
        each(&format!("netavark {verb}"), took);
    }
    spaces("del");
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
    ("with a server: up", "floor up"),
    ("with a server: changed", "floor change"),
];

/// One size.
fn measure(hosts: usize) {
    let texts = [false, true].map(|changed| text(hosts, changed));
    let write = |changed: bool| {
        let text = &texts[usize::from(changed)];
        std::fs::write(FILE, text).expect("/run is a tmpfs of this world");
    };
    write(false);
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
        note("up", timed(|| lab(&["apply", FILE])));
        // The kernel still greets a thousand neighbours (duplicate address detection, multicast reports).
        std::thread::sleep(Duration::from_secs(3));
        note("nothing to do", timed(|| lab(&["apply", FILE])));
        for _ in 0..CHANGES {
            for changed in [true, false] {
                write(changed);
                note("one host changed", timed(|| lab(&["apply", FILE])));
            }
        }
        note("down", timed(|| lab(&["down", "bench"])));
        rest();
        if let Some(server) = Server::start() {
            note("with a server: up", timed(|| lab(&["apply", FILE])));
            std::thread::sleep(Duration::from_secs(3));
            let moves = floor::PORTS.min(hosts) - 1;
            for _ in 0..CHANGES {
                for (changed, last) in [(true, 8), (false, 7)] {
                    write(changed);
                    note("with a server: changed", timed(|| lab(&["apply", FILE])));
                    assert_eq!(
                        answer(moves),
                        Some(Ipv4Addr::new(10, 50, 255, last)),
                        "at once"
                    );
                }
            }
            note("with a server: down", timed(|| lab(&["down", "bench"])));
            drop(server);
            rest();
        }
        eprintln!("{hosts} hosts: a round is done");
    }
    for (what, took) in &mut figures {
        took.sort_unstable();
        let millis = |took: Option<&Duration>| took.map_or(0.0, |took| took.as_secs_f64() * 1e3);
        println!(
            "{hosts:>5} {what:<22} {:>8.1} {:>8.1} {:>8.1}",
            millis(took.first()),
            millis(took.get(took.len() / 2)),
            millis(took.last())
        );
    }
    let best = |what: &str| {
        figures
            .iter()
            .find(|(name, _)| *name == what)
            .and_then(|(_, took)| took.iter().min())
            .map(Duration::as_secs_f64)
    };
    for (what, floor) in RATIOS {
        let (Some(what_took), Some(floor_took)) = (best(what), best(floor)) else {
            continue;
        };
        println!("{hosts:>5} {what} / {floor} {:.2}", what_took / floor_took);
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
