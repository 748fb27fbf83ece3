//! A lab that was changed equals a fresh one of the new file, whatever was taken out of the old one.

use std::fmt::Write as _;

use crate::world::{World, assert_same};

/// What is taken out, one at a time: the lab with it, and without.
const REMOVED: &[(&str, &str)] = &[
    ("router = true, ", ""),
    (
        "sysctl = { \"net.ipv4.tcp_ecn\" = 1, \"net.ipv4.conf.eth0.rp_filter\" = 1, \"net.ipv4.conf.default.log_martians\" = 1, \"net.ipv6.conf.default.hop_limit\" = 33 }, ",
        "",
    ),
    ("mac = \"02:00:00:00:00:77\", ", ""),
    ("mtu = 1400\n", ""),
    (
        "forward = [\"8080:web:80\", \"127.0.0.1:9000:web:90\"]\n",
        "",
    ),
    ("nat = true\n", ""),
    (
        "subnet = [\"10.1.0.0/24\", \"fd00:1::/64\"]",
        "subnet = \"10.1.0.0/24\"",
    ),
    (
        "subnet = [\"10.1.0.0/24\", \"fd00:1::/64\"]",
        "subnet = \"fd00:1::/64\"",
    ),
    ("nets = \"left, right\"", "nets = \"left\""),
    ("nets = \"left, right\"", "nets = \"right\""),
    ("nets = \"left, right\"", "nets = \"none\""),
    ("host = true\n", "host = false\n"),
    ("routes = [\"192.0.2.0/24 via web\"], ", ""),
    ("default = false, ", ""),
    ("[service.s]\nvip = \"10.96.0.9:80\"\nto = [\"web\"]\n", ""),
    ("[link]\nweb-c = \"192.168.9.0/30\"\n", ""),
    ("isolate = true\n", ""),
    ("nsswitch = true\n", ""),
    ("hosts = \"all\"\n", "hosts = \"off\"\n"),
    ("dns = \"bridge\"\n", "dns = \"off\"\n"),
    ("alias = [\"www\"], ", ""),
    ("c = { nets = \"right\", ", "c = { nets = \"none\", "),
];

const WHOLE: &str = r#"[lab]
name = "edit"
dns = "bridge"
hosts = "all"
nsswitch = true
[net.left]
subnet = ["10.1.0.0/24", "fd00:1::/64"]
host = true
mtu = 1400
nat = true
forward = ["8080:web:80", "127.0.0.1:9000:web:90"]
[net.right]
subnet = "10.2.0.0/24"
isolate = true
[link]
web-c = "192.168.9.0/30"
[ns]
web = { router = true, mac = "02:00:00:00:00:77", alias = ["www"], sysctl = { "net.ipv4.tcp_ecn" = 1, "net.ipv4.conf.eth0.rp_filter" = 1, "net.ipv4.conf.default.log_martians" = 1, "net.ipv6.conf.default.hop_limit" = 33 }, nets = "left, right" }
c = { nets = "right", default = false, routes = ["192.0.2.0/24 via web"], run = ["true"] }
[service.s]
vip = "10.96.0.9:80"
to = ["web"]
"#;

/// Writes a lab's text to where all of them are, and applies it; the code.
fn apply(world: &World, text: &str) -> i32 {
    let file = world.file("edit", text);
    let file = file.to_str().expect("plain");
    let did = world.lab(&["apply", file]);
    if did.code == 0 {
        let plan = world.lab(&["plan", file]);
        assert_eq!(plan.code, 0, "still something to do: {plan:?}\n{text}");
    } else {
        let mistake = did.code == 1 && did.err.contains("error[");
        assert!(mistake, "{did:?}\n{text}");
    }
    did.code
}

#[test]
fn what_is_taken_out_of_a_file_is_taken_back() {
    let (world, other) = (World::new(), World::new());
    for (with, without) in REMOVED {
        // Some need what others have.
        let whole = match *with {
            "nets = \"left, right\"" => WHOLE
                .replace(
                    "forward = [\"8080:web:80\", \"127.0.0.1:9000:web:90\"]\n",
                    "",
                )
                .replace("routes = [\"192.0.2.0/24 via web\"], ", "")
                .replace("[service.s]\nvip = \"10.96.0.9:80\"\nto = [\"web\"]\n", ""),
            "subnet = [\"10.1.0.0/24\", \"fd00:1::/64\"]" => {
                WHOLE.replace("[service.s]\nvip = \"10.96.0.9:80\"\nto = [\"web\"]\n", "")
            }
            "c = { nets = \"right\", " => {
                WHOLE.replace("routes = [\"192.0.2.0/24 via web\"], ", "")
            }
            _ => WHOLE.to_owned(),
        };
        assert!(whole.contains(with), "{with}");
        let rest = whole.replace(with, without);
        assert_eq!(apply(&world, &whole), 0);
        assert_eq!(apply(&world, &rest), 0, "{with}");
        assert_eq!(apply(&other, &rest), 0);
        assert_same(
            &world.kernel(),
            &other.kernel(),
            &format!("{with:?} → {without:?}"),
        );
        assert_eq!(other.lab(&["down", "edit"]).code, 0);
        // And put in again.
        assert_eq!(apply(&world, &whole), 0);
        assert_eq!(apply(&other, &whole), 0);
        assert_same(
            &world.kernel(),
            &other.kernel(),
            &format!("{without:?} → {with:?}"),
        );
        assert_eq!(other.lab(&["down", "edit"]).code, 0);
    }
    let before = other.snapshot();
    assert_eq!(world.lab(&["down", "edit"]).code, 0);
    assert_same(&world.snapshot(), &before, "down leaves nothing");
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A lab whose parts are chosen one by one; an edit chooses one of them again.
struct Lab([u64; 40]);

impl Lab {
    fn new(dice: &mut Dice) -> Self {
        Self(std::array::from_fn(|_| dice.roll(1 << 20)))
    }

    fn edit(&mut self, dice: &mut Dice) {
        for _ in 0..=dice.roll(3) {
            self.0[dice.roll(40) as usize] = dice.roll(1 << 20);
        }
    }

    fn text(&self) -> String {
        let mut at = 0;
        let mut next = |of: &[&'static str]| {
            at += 1;
            of[(self.0[at - 1] % of.len() as u64) as usize]
        };
        let mut out = "[lab]\nname = \"edit\"\n".to_owned();
        out += next(&["", "hosts = \"all\"\n", "hosts = \"off\"\n"]);
        out += next(&[
            "",
            "dns = \"off\"\n",
            "nsswitch = true\n",
            "dns = \"off\"\nhosts = \"off\"\n",
        ]);
        let subnets = [
            next(&["4", "6", "46"]),
            next(&["4", "46"]),
            next(&["4", "6"]),
        ];
        let mut spaces = String::new();
        for (name, at) in [("web", 0), ("gw", 1), ("far", 2)] {
            let nets = next(&["n0", "n1", "n0, n1", "n1, n0", "n0, n1, n2", "n2", "none"]);
            let _ = writeln!(
                spaces,
                "{name} = {{ nets = \"{nets}\"{}{}{}{}{}{} }}",
                next(&["", "", ", router = true"]),
                next(&["", "", ", default = false"]),
                next(&[
                    "",
                    "",
                    [
                        ", mac = \"02:00:00:00:00:01\"",
                        ", mac = \"02:00:00:00:00:02\"",
                        ", mac = \"02:00:00:00:00:03\""
                    ][at]
                ]),
                next(&[
                    "",
                    "",
                    ", sysctl = { \"net.ipv4.conf.all.rp_filter\" = 1, \"net.ipv4.conf.default.log_martians\" = 1 }",
                    ", sysctl = { \"net.ipv4.ip_forward\" = 1, \"net.ipv6.conf.default.hop_limit\" = 33, \"net.ipv4.ip_default_ttl\" = 65 }",
                ]),
                next(&["", ", alias = [\"x\"]"]).replace("\"x\"", &format!("\"{name}x\"")),
                next(&["", "", ", rate = \"8mbit\"", ", rate = \"80mbit\""]),
            );
        }
        for (at, families) in subnets.into_iter().enumerate() {
            let list: Vec<String> = families
                .chars()
                .map(|family| match family {
                    '4' => format!("\"10.{at}.0.0/24\""),
                    _ => format!("\"fd00:{at}::/64\""),
                })
                .collect();
            let _ = writeln!(out, "[net.n{at}]\nsubnet = [{}]", list.join(", "));
            out += next(&[
                "",
                "",
                "",
                "parent = \"up0\"\n",
                "kind = \"macvlan\"\nparent = \"up0\"\n",
                "kind = \"macvlan\"\nparent = \"up1\"\n",
            ]);
            if at < 2 {
                out += next(&["", "", "host = false\n"]);
                out += next(&["", "mtu = 1400\n", "mtu = 1300\n"]);
                out += next(&[
                    "",
                    "",
                    "nat = true\n",
                    "nat = \"v4\"\n",
                    "internal = true\n",
                    "isolate = true\n",
                ]);
            }
        }
        let forward = next(&[
            "",
            "",
            "forward = [\"8080:web:80\"]\n",
            "forward = [\"8081/udp:web:80\", \"127.0.0.1:8080:web:81\"]\n",
        ]);
        if spaces.contains("web = { nets = \"n2\"") {
            out += forward;
        }
        out += next(&["", "[link]\nweb-far = \"192.168.9.0/30\"\n"]);
        let _ = write!(out, "[ns]\n{spaces}");
        out
    }
}

/// How many edits; a longer run is `NAMEPLATE_LAB_EDITS=2000`.
fn edits() -> u64 {
    let wanted = std::env::var("NAMEPLATE_LAB_EDITS").ok();
    wanted.and_then(|wanted| wanted.parse().ok()).unwrap_or(200)
}

/// Where the dice begin; other edits are `NAMEPLATE_LAB_SEED=15`.
fn seed() -> u64 {
    let wanted = std::env::var("NAMEPLATE_LAB_SEED").ok();
    wanted.and_then(|wanted| wanted.parse().ok()).unwrap_or(14)
}

#[test]
fn two_hundred_random_edits_equal_fresh_labs() {
    let (world, other) = (World::new(), World::new());
    for world in [&world, &other] {
        world.ok("for at in 0 1; do ip link add up$at address 02:00:00:00:01:0$at type veth peer name far$at address 02:00:00:00:02:0$at; sysctl -qw net.ipv6.conf.far$at.disable_ipv6=1; ip link set far$at up; ip link set up$at up; ip link set up$at down; done");
    }
    let before = other.snapshot();
    let mut dice = Dice(seed());
    let mut lab = Lab::new(&mut dice);
    let (mut done, mut refused) = (0, 0);
    let mut last = String::new();
    while done < edits() {
        let kept = lab.0;
        lab.edit(&mut dice);
        let text = lab.text();
        if text == last {
            continue;
        }
        if apply(&world, &text) != 0 {
            refused += 1;
            assert!(refused < 10 + edits(), "most of them are no labs: {text}");
            lab.0 = kept;
            continue;
        }
        assert_eq!(apply(&other, &text), 0);
        assert_same(
            &world.kernel(),
            &other.kernel(),
            &format!("edit {done}\n{last}\n  became\n{text}"),
        );
        assert_eq!(other.lab(&["down", "edit"]).code, 0);
        (done, last) = (done + 1, text);
    }
    assert_same(&other.snapshot(), &before, "down leaves nothing");
    assert_eq!(world.lab(&["down", "edit"]).code, 0);
    assert_same(
        &world.snapshot(),
        &before,
        "down leaves nothing after all edits",
    );
}
