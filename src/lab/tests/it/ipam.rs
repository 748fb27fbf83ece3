//! Subnets that are divided among networks, and routes to networks by their names.

use std::path::Path;

use corefile::Sources;
use lab::spec::Spec;

use crate::mistakes::report;
use crate::world::{World, lab_file};

/// The subnets of each network of a lab that divides `10.32.0.0/12` and `fd00:32::/48` among so many.
fn parts(count: usize) -> Vec<String> {
    let names: Vec<String> = (1..=count).map(|n| format!("\"p{n}\"")).collect();
    let names = names.join(", ");
    let nets: String = (1..=count).map(|n| format!("[net.p{n}]\n")).collect();
    let text = format!(
        "[ipam.split]\n\"10.32.0.0/12\" = [{names}]\n\"fd00:32::/48\" = [{names}]\n{nets}[ns]\na = \"p1\"\n"
    );
    let (spec, report) = Spec::parse(Path::new("t.toml"), &text, &mut Sources::default());
    let spec = spec.unwrap_or_else(|| panic!("{report:?}"));
    let of = |v6| move |net: &lab::spec::Net| net.subnet(v6).expect("one").to_string();
    let all = |v6| spec.nets.iter().map(of(v6)).collect::<Vec<_>>().join(" ");
    vec![all(false), all(true)]
}

#[test]
fn networks_have_equal_parts_of_a_subnet() {
    assert_eq!(parts(1), ["10.32.0.0/12", "fd00:32::/48"]);
    assert_eq!(
        parts(2),
        [
            "10.32.0.0/13 10.40.0.0/13",
            "fd00:32::/49 fd00:32:0:8000::/49"
        ]
    );
    // One more moves none while there is a part left.
    for count in [3, 4] {
        let [four, six] = &parts(count)[..] else {
            panic!("both families")
        };
        assert!(four.starts_with("10.32.0.0/14 10.36.0.0/14 10.40.0.0/14"));
        assert!(six.starts_with("fd00:32::/50 fd00:32:0:4000::/50 fd00:32:0:8000::/50"));
    }
    assert!(parts(5)[0].ends_with(" 10.40.0.0/15"));
}

#[test]
fn a_node_has_routes_to_the_networks_of_the_others() {
    let world = World::new();
    world.apply("split");
    let routes = world.ok("ip -n n1 route; ip -n n1 -6 route");
    for part in [
        "10.36.0.0/14 via 192.168.1.",
        "10.40.0.0/14 via 192.168.1.",
        "fd00:32:0:8000::/50 via fd00:1::",
    ] {
        assert!(routes.contains(part), "{part}: {routes}");
    }
    let file = lab_file("split");
    let drawn = world.lab(&["graph", file.to_str().expect("plain")]).out;
    assert!(drawn.contains("pods2 via n2"), "{drawn}");
    // A part of one's own, and the address in it that was picked.
    let address = world.ok("ip -n p3 -4 -br addr show eth0");
    assert!(
        address.contains(" 10.4") && address.contains("/14"),
        "{address}"
    );
    // The network is another one's next: the routes to it follow.
    let text = std::fs::read_to_string(&file).expect("a lab");
    let text = text.replace(
        "\"pods1\", \"pods2\", \"pods3\"]",
        "\"pods1\", \"pods3\", \"pods2\"]",
    );
    let text = text.replace("10.36.0.5 fd00:32:0:4000::5", "10.40.0.5");
    let other = world.file("split", &text);
    world.apply_file(&other);
    assert!(world.pings("p1", "10.40.0.5") && world.pings("p3", "10.40.0.5"));
    assert!(!world.pings("p1", "10.36.0.5"));
}

#[test]
fn mistakes_of_divided_subnets_and_of_routes_to_networks() {
    let net = "[net.a]\n[net.b]\nsubnet = \"10.9.0.0/24\"\n[ns]\nx = \"a\"\n[ipam.split]\n";
    for (lines, code, place, hint) in [
        (
            "\"10.32.0.0/12\" = [\"a\", \"c\"]\n",
            "LAB0103",
            "7:24",
            "there is no network `c`",
        ),
        (
            "\"10.32.0.0/12\" = [\"a\", \"b\"]\n",
            "LAB0105",
            "7:24",
            "`b` has the subnet 10.9.0.0/24 already",
        ),
        (
            "\"10.32.0.0/12\" = [\"a\", \"a\"]\n",
            "LAB0105",
            "7:24",
            "`a` has the subnet 10.32.0.0/13 already",
        ),
        (
            "\"10.33.0.0/12\" = [\"a\"]\n",
            "LAB0102",
            "7:1",
            "write the network's own address",
        ),
        ("\"10.32.0.0\" = [\"a\"]\n", "LAB0102", "7:1", "as in /24"),
        (
            "\"10.32.0.0/12\" = 7\n",
            "LAB0003",
            "7:18",
            "a list of strings",
        ),
        (
            "\"10.32.0.0/30\" = [\"a\", \"b\"]\n",
            "LAB0107",
            "7:1",
            "too small for 2 networks",
        ),
        ("\"10.9.0.0/16\" = [\"a\"]\n", "LAB0106", "", "overlaps"),
    ] {
        let text = report(&format!("{net}{lines}"));
        for part in [code, place, hint] {
            assert!(text.contains(part), "{lines}: {part}: {text}");
        }
    }
    let text = report("[ipam]\nspilt = 1\n");
    assert!(
        text.contains("LAB0002") && text.contains("write `split`"),
        "{text}"
    );
    let head = "[net.a]\nsubnet = [\"10.1.0.0/24\", \"fd00:1::/64\"]\n[net.back]\nsubnet = \"10.2.0.0/24\"\n[ns]\nr = { nets = \"a, back\", router = true }\n";
    for (line, code, place, hint) in [
        (
            "x = { nets = \"a\", routes = [\"bakc via r\"] }\n",
            "LAB0103",
            "7:30",
            "write `back`",
        ),
        (
            "x = { nets = \"a\", routes = [\"back via fd00:1::9\"] }\n",
            "LAB0109",
            "7:29",
            "cannot reach fd00:1::9 directly",
        ),
        (
            "x = { nets = \"a\", routes = [\"back via r\", \"10.2.0.0/24 via r\"] }\n",
            "LAB0105",
            "7:43",
            "two routes to 10.2.0.0/24",
        ),
        (
            "x = { nets = \"a\", routes = [\"10.2.0 via r\"] }\n",
            "LAB0108",
            "7:30",
            "not a subnet, nor the name of a network",
        ),
    ] {
        let text = report(&format!("{head}{line}"));
        for part in [code, place, hint] {
            assert!(text.contains(part), "{line}: {part}: {text}");
        }
    }
}
