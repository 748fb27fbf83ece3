//! Every lab of `tests/labs`: who reaches whom by name and by address, who does not, what the server answers, and that
//! nothing is left. One server serves all of them, one after the other.

mod naming;
mod outside;
mod ways;
mod wires;

use std::collections::BTreeSet;

use crate::parents;
use crate::resolving::{COREFILE, applied, dig, log, other_upstream, serve, status};
use crate::world::{World, assert_same, lab_file};

/// What a lab must do; `""` is the host where a namespace is meant.
struct Expected {
    lab: &'static str,
    /// From, to (a name or an address), whether.
    pings: &'static [(&'static str, &'static str, bool)],
    /// From, what dig is asked, what it prints.
    names: &'static [(&'static str, &'static str, &'static str)],
    /// Where a server listens, and on which port. It tells its namespace and whom it sees.
    serves: &'static [(&'static str, u16)],
    /// From, to, port, what the server there tells at first; `""` if there is no way to it.
    asks: &'static [(&'static str, &'static str, u16, &'static str)],
}

impl Expected {
    const NOTHING: Self = Self {
        lab: "",
        pings: &[],
        names: &[],
        serves: &[],
        asks: &[],
    };
}

/// All of them.
fn labs() -> impl Iterator<Item = &'static Expected> {
    [wires::LABS, ways::LABS, outside::LABS, naming::LABS]
        .into_iter()
        .flatten()
}

/// What a lab does otherwise than expected.
fn differences(world: &World, expected: &Expected) -> Vec<String> {
    let mut wrong = Vec::new();
    let pings: Vec<_> = expected
        .pings
        .iter()
        .map(|(from, to, _)| (*from, *to))
        .collect();
    for ((from, to, whether), got) in expected.pings.iter().zip(world.pings_of(&pings)) {
        if got != *whether {
            wrong.push(format!("{from} → {to} is not {whether}"));
        }
    }
    for (from, arguments, answer) in expected.names {
        let got = dig(world, from, arguments);
        if got != *answer {
            wrong.push(format!(
                "{from}: dig {arguments}: {got:?} is not {answer:?}"
            ));
        }
    }
    for (space, port) in expected.serves {
        world.serve(space, *port, space);
    }
    for (from, to, port, answer) in expected.asks {
        let got = world.asks(from, to, *port);
        if !got.starts_with(answer) || answer.is_empty() && !got.is_empty() {
            wrong.push(format!(
                "{from} → {to} port {port}: {got:?} is not {answer:?}"
            ));
        }
    }
    wrong
}

/// What is wrong with the names: every namespace that has a server is answered, and a name that the lab does not have is
/// denied, with or without a server.
fn denials(world: &World, file: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    // A namespace's first packet of IPv6 may be lost to the discovery of its neighbour; a resolver asks again.
    let mut spaces = Vec::new();
    for again in (0..3).rev() {
        let did = world.lab(&["status", "--json", file]);
        let found: serde_json::Value = serde_json::from_str(&did.out).expect("JSON");
        if did.code != 0 {
            wrong.push(format!("status: {}", did.out));
        }
        let domain = found["domain"].as_str().expect("a domain").to_owned();
        let of = |space: &serde_json::Value| {
            let name = space["name"].as_str().expect("a name").to_owned();
            (name, space["dns"].clone(), domain.clone())
        };
        let list = found["namespaces"].as_array().expect("a list");
        spaces = list.iter().map(of).collect();
        let silent = |(_, dns, _): &&(String, serde_json::Value, String)| {
            !dns.is_null() && dns["rcode"] != 0
        };
        match spaces.iter().find(silent) {
            Some(_) if again > 0 => {}
            Some(space) => wrong.push(format!("no answer: {space:?}")),
            None => break,
        }
    }
    let (mut asked, mut looked) = (false, false);
    for (name, dns, domain) in &spaces {
        let nobody = format!("nobody.{domain}");
        if !dns.is_null() && !asked {
            asked = true;
            let got = status(world, name, &nobody);
            if got != "NXDOMAIN 0 SOA aa" {
                wrong.push(format!("{name}: {nobody} is {got}"));
            }
        }
        if dns.is_null() && !looked {
            looked = true;
            let line = format!("ip netns exec {name} getent hosts {nobody} nobody");
            if world.sh(&line).code == 0 {
                wrong.push(format!("{name}: {nobody} resolves"));
            }
        }
    }
    wrong
}

#[test]
fn every_lab_does_what_it_declares_and_nothing_else() {
    let files = std::fs::read_dir(lab_file("").with_file_name("")).expect("labs");
    let paths = files.flatten().map(|entry| entry.path());
    let files: BTreeSet<String> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let told = labs().map(|expected| expected.lab.to_owned()).collect();
    assert_eq!(files, told, "every lab of tests/labs has its expectations");
    each(labs().filter(|expected| !parents::needs(expected.lab)));
}

/// Also run by another kernel, where this one is built without what they need.
#[test]
fn labs_on_an_interface_of_the_host_or_with_vlans() {
    each(labs().filter(|expected| parents::needs(expected.lab)));
}

/// Applies labs one after the other, beside one server.
fn each(labs: impl Iterator<Item = &'static Expected>) {
    let world = World::new();
    parents::outside(&world);
    world.serve("outside", 80, "outside");
    other_upstream(&world, "203.0.113.9", "203.0.113.80");
    if !serve(&world, COREFILE) {
        return;
    }
    let mut wrong = Vec::new();
    // The addresses that an interface gives itself are new for two seconds.
    world.ok("for i in $(seq 100); do [ -z \"$(ip -6 addr show tentative)\" ] && exit 0; sleep 0.05; done; exit 1");
    let before = world.snapshot();
    for expected in labs {
        let lab = expected.lab;
        if !parents::has(&world, lab) {
            continue;
        }
        let file = lab_file(lab);
        let path = file.to_str().expect("a plain path");
        applied(&world.lab(&["apply", path]));
        let plan = world.lab(&["plan", path]);
        assert_eq!(plan.code, 0, "{lab}: something is left to do: {plan:?}");
        let servers = world.servers();
        let mut found = differences(&world, expected);
        world.end_servers(servers);
        found.extend(denials(&world, path));
        // Nobody forwards on the host who is not asked to.
        let text = std::fs::read_to_string(&file).expect("a lab");
        let forwards = ["nat = ", "forward = ", "[service."];
        if !forwards.iter().any(|word| text.contains(word)) {
            let settings = world
                .ok("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding");
            assert_eq!(settings, "0\n0\n", "{lab}");
        }
        let probe = world.lab(&["check", "--probe", path]);
        if probe.code != 0 {
            found.push(format!("check --probe: {}", probe.err));
        }
        wrong.extend(found.iter().map(|one| format!("{lab}: {one}")));
        assert_eq!(world.lab(&["down", lab]).code, 0, "{lab}");
        // The next lab may have an address of this one, with another MAC address.
        world.ok("ip -n outside neigh flush all");
        assert_same(&world.snapshot(), &before, lab);
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), log(&world));
}

#[test]
fn a_service_of_each_family() {
    let world = World::new();
    world.apply("service-both");
    world.serve("db1", 3306, "db1");
    world.serve("db2", 3306, "db2");
    for (from, to) in [
        ("client", "10.96.0.10"),
        ("client", "fd00:96::10"),
        ("", "fd00:96::10"),
        ("db1", "fd00:96::10"),
    ] {
        let answers: Vec<String> = (0..4).map(|_| world.asks(from, to, 3306)).collect();
        let of = |name: &str| {
            answers
                .iter()
                .filter(|answer| answer.starts_with(name))
                .count()
        };
        assert_eq!((of("db1"), of("db2")), (2, 2), "{from} → {to}: {answers:?}");
    }
    assert_eq!(
        world.asks("client", "fd00:96::10", 3307),
        "",
        "only the service's port"
    );
}
