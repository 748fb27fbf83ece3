//! Networks on an interface of the host (macvlan, ipvlan, VLANs of it), and bridges that keep VLANs apart.
//!
//! Kernels are built without some of it: where one has it, packets show it; where not, `apply` must say what is missing.

use crate::links;
use crate::mistakes::report;
use crate::world::{World, assert_same, lab_file};

/// What a kind of interface needs, as a command that shows whether the kernel has it, and the module that is named.
const NEEDS: &[(&str, &str, &str)] = &[
    (
        "macvlan",
        "ip link add link p0 name t0 type macvlan",
        "module macvlan",
    ),
    (
        "ipvlan",
        "ip link add link p0 name t0 type ipvlan",
        "module ipvlan",
    ),
    (
        "vlan",
        "ip link add link p0 name t0 type vlan id 10",
        "module 8021q",
    ),
    (
        "switch",
        "ip link add t0 type bridge vlan_filtering 1",
        "CONFIG_BRIDGE_VLAN_FILTERING, which needs the module 8021q",
    ),
    (
        "trunk",
        "ip link add t0 type bridge vlan_filtering 1",
        "CONFIG_BRIDGE_VLAN_FILTERING, which needs the module 8021q",
    ),
];

/// Whether a lab of `tests/labs` needs what kernels are built without.
pub(crate) fn needs(lab: &str) -> bool {
    NEEDS.iter().any(|(name, ..)| *name == lab)
}

/// Whether the kernel has what the command shows.
fn shown(world: &World, shows: &str) -> bool {
    let pair = "ip link add p0 type veth peer name p1";
    let line = format!("unshare -n sh -c '{pair} && {shows}'");
    world.sh(&line).code == 0
}

/// Whether the kernel has all that kernels are built without.
pub(crate) fn has_all(world: &World) -> bool {
    NEEDS.iter().all(|(_, shows, _)| shown(world, shows)) && links::has_netem(world)
}

/// Whether the kernel has what a lab of `tests/labs` needs. If not, it is refused as a whole, and says why; the test is
/// then told to be skipped.
pub(crate) fn has(world: &World, lab: &str) -> bool {
    let Some((_, shows, module)) = NEEDS.iter().find(|(name, ..)| *name == lab) else {
        return true;
    };
    if shown(world, shows) {
        return true;
    }
    let file = lab_file(lab);
    let file = file.to_str().expect("a plain path");
    let before = world.snapshot();
    for verb in ["plan", "apply"] {
        let did = world.lab(&[verb, file]);
        assert!(did.code == 1 && did.err.contains(module), "{lab}: {did:?}");
    }
    assert_same(&world.snapshot(), &before, "nothing was made");
    let check = world.lab(&["check", file]);
    assert!(
        check.code == 0 && check.err.contains("LAB0207"),
        "{check:?}"
    );
    eprintln!("SKIPPED: lab {lab}, because this kernel lacks it: {module}");
    false
}

/// Who is outside, on the wire that the labs' interfaces are on: untagged, and in two VLANs.
pub(crate) fn outside(world: &World) {
    world.outside();
    world.ok("ip -n outside addr add 10.5.0.9/24 dev eth0
        ip -n outside -6 addr add fd00:5::9/64 dev eth0 nodad
        ip -n outside addr add 10.1.0.9/24 dev eth0");
    world.sh("for id in 10 20; do ip -n outside link add link eth0 name eth0.$id type vlan id $id
        ip -n outside addr add 10.$id.0.99/24 dev eth0.$id && ip -n outside link set eth0.$id up; done");
}

/// Labs of one name, each as a fresh one after any other, and nothing is left of them.
fn each_equals_a_fresh_one(world: &World, texts: &[String]) {
    let state = || {
        world.ok("bridge -j vlan | tr -d '\\n' | sed 's/,{\"ifname/\\n{\"ifname/g' | sort; ip link show up0 | grep -o '[<,]UP[,>]'; true")
            + &world.state()
    };
    world.ok("ip link set up0 down");
    let before = world.snapshot();
    let down = |when: &str| {
        assert_eq!(world.lab(&["down", "edit"]).code, 0);
        assert_same(&world.snapshot(), &before, when);
    };
    let apply = |text: &String| world.apply_file(&world.file("edit", text));
    let mut fresh = Vec::new();
    for text in texts {
        apply(text);
        fresh.push(state());
        down(text);
    }
    for at in (0..texts.len()).chain((0..texts.len()).rev()) {
        apply(&texts[at]);
        assert_same(&state(), &fresh[at], &texts[at]);
    }
    down("after all");
}

/// A lab of `tests/labs` with something else in it.
fn with(lab: &str, edits: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(lab_file(lab)).expect("a lab");
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    text
}

#[test]
fn namespaces_on_an_interface_of_the_host() {
    let world = World::new();
    outside(&world);
    if !has(&world, "macvlan") {
        return;
    }
    world.apply("macvlan");
    for (from, to) in [
        ("a", "10.5.0.6"),
        ("a", "10.5.0.9"),
        ("outside", "10.5.0.5"),
        ("outside", "fd00:5::6"),
        ("", "10.5.0.5"),
        ("b", "10.5.0.1"),
    ] {
        assert!(world.pings(from, to), "{from} → {to}");
    }
    assert!(!world.pings("a", "203.0.113.9"), "the host does not route");
    let macs = world.ok("ip -n outside neigh show to 10.5.0.5; ip -n a -br link show eth0");
    let mac = macs
        .split("lladdr ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let mac = mac.expect("the outside asked for it");
    assert_eq!(macs.matches(mac).count(), 2, "its own MAC address: {macs}");
    // What somebody takes away is put back.
    world.ok("ip -n a link del eth0");
    let file = lab_file("macvlan");
    assert_eq!(world.lab(&["plan", file.to_str().expect("plain")]).code, 2);
    world.apply("macvlan");
    assert!(world.pings("outside", "10.5.0.5"));
    // Whoever is still inside loses the wire with the lab.
    world.background("ip netns exec a sh -c 'echo up; exec sleep 100'");
    world.ok(
        "mkdir -p /run/work && touch /run/work/kept && mount --bind /run/netns/a /run/work/kept",
    );
    assert_eq!(world.lab(&["down", "macvlan"]).code, 0);
    assert_eq!(
        world.ok("nsenter --net=/run/work/kept ip -br link | grep -c eth0; true"),
        "0\n"
    );
}

#[test]
fn interfaces_on_an_interface_of_the_host_change_as_the_file_does() {
    let world = World::new();
    outside(&world);
    if !has(&world, "macvlan") {
        return;
    }
    let mut texts = vec![
        with("macvlan", &[]),
        with("macvlan", &[("subnet", "host = false\nsubnet")]),
        with("macvlan", &[("kind = \"macvlan\"", "mtu = 1400")]),
        with(
            "macvlan",
            &[("subnet", "mtu = 1400\nrate = \"8mbit\"\nsubnet")],
        ),
        with("macvlan", &[("lan 10.5.0.6 fd00:5::6", "none")]),
        with("macvlan", &[("kind = \"macvlan\"\nparent = \"up0\"\n", "")]),
    ];
    if has(&world, "ipvlan") {
        texts.push(with("ipvlan", &[]));
    }
    if has(&world, "vlan") {
        texts.push(with("macvlan", &[("subnet", "vlan = 10\nsubnet")]));
        texts.push(with("macvlan", &[("subnet", "vlan = 20\nsubnet")]));
        texts.push(with("macvlan", &[("kind = \"macvlan\"", "vlan = 20")]));
    }
    each_equals_a_fresh_one(&world, &texts);
}

#[test]
fn vlans_of_a_bridge_change_as_the_file_does() {
    let world = World::new();
    outside(&world);
    if !has(&world, "switch") {
        return;
    }
    let texts = [
        with("switch", &[]),
        with("switch", &[("vlan = 20", "vlan = 30")]),
        with("switch", &[("parent = \"up0\"\n", "")]),
        with("switch", &[("host = false\n", "host = \"10.20.0.2\"\n")]),
        with(
            "switch",
            &[
                ("vlan = 10", "vlan = 20"),
                (
                    "vlan = 20\nsubnet = \"10.20.0.0/24\"",
                    "vlan = 10\nsubnet = \"10.20.0.0/24\"",
                ),
            ],
        ),
        with(
            "switch",
            &[
                ("parent = \"switch\"\nvlan = 10\n", ""),
                ("parent = \"switch\"\nvlan = 20\n", ""),
            ],
        ),
        with("switch", &[("parent = \"switch\"\nvlan = 10\n", "")]),
    ];
    each_equals_a_fresh_one(&world, &texts[..1]);
    world.ok("ip link set up0 up");
    world.apply("switch");
    // The same subnet in another VLAN is another wire.
    for space in ["plain", "blue1"] {
        world.ok(&format!("ip -n {space} addr add 10.10.0.77/24 dev eth0"));
        assert!(!world.pings(space, "-I 10.10.0.77 10.10.0.5"), "{space}");
        world.ok(&format!("ip -n {space} addr del 10.10.0.77/24 dev eth0"));
    }
    for (from, to, whether) in [
        ("red1", "10.10.0.6", true),
        ("red1", "10.20.0.5", true),
        ("outside", "10.10.0.5", true),
        ("outside", "10.20.0.5", true),
        ("outside", "10.1.0.5", true),
        ("", "10.10.0.5", true),
        ("", "10.20.0.5", false),
    ] {
        assert_eq!(world.pings(from, to), whether, "{from} → {to}");
    }
    // What somebody changes by hand is put back.
    let ports = world.ok("bridge vlan");
    let port = world.ok("ip -br link | sed -n 's/^\\(veth-red2[^@]*\\)@.*/\\1/p'");
    world.ok(&format!(
        "bridge vlan add dev {} vid 20 pvid untagged",
        port.trim()
    ));
    let file = lab_file("switch");
    assert_eq!(world.lab(&["plan", file.to_str().expect("plain")]).code, 2);
    world.apply("switch");
    assert_eq!(world.ok("bridge vlan"), ports);
    assert_eq!(world.lab(&["down", "switch"]).code, 0);
    each_equals_a_fresh_one(&world, &texts);
}

#[test]
fn tagged_ports_change_as_the_file_does() {
    let world = World::new();
    outside(&world);
    if !has(&world, "trunk") {
        return;
    }
    let router = "r = { nets = \"switch, red 10.10.0.1 tagged, blue 10.20.0.1 fd00:20::1 tagged\"";
    let with = |edits: &[(&str, &str)]| with("trunk", edits);
    let texts = [
        with(&[]),
        with(&[(
            router,
            "r = { nets = \"switch, red 10.10.0.1, blue 10.20.0.1 fd00:20::1\"",
        )]),
        with(&[(
            router,
            "r = { nets = \"blue 10.20.0.1 tagged, red 10.10.0.1, switch 10.1.0.9 dev trunk\"",
        )]),
        with(&[("vlan = 20", "vlan = 30")]),
        with(&[("vlan = 20", "vlan = 20\nmtu = 1400\nrate = \"8mbit\"")]),
        with(&[(
            "subnet = \"10.1.0.0/24\"",
            "subnet = \"10.1.0.0/24\"\nmtu = 1400",
        )]),
        with(&[(
            "router = true",
            "mac = \"02:00:00:00:00:77\", router = true",
        )]),
    ];
    each_equals_a_fresh_one(&world, &texts);
    world.apply("trunk");
    // What one sees on the wire has the tag.
    let tags = world.ok("ip -n r -d link show eth0.20; bridge vlan show dev veth-r-br");
    for part in [
        "eth0.20@eth0",
        "vlan protocol 802.1Q id 20",
        "PVID Egress Untagged",
    ] {
        assert!(tags.contains(part), "{part}: {tags}");
    }
    // What somebody takes away is put back.
    let file = lab_file("trunk");
    let file = file.to_str().expect("plain");
    for spoil in [
        "ip -n r link del eth0.10",
        "bridge vlan del dev veth-r-br vid 10",
        "ip -n r link del eth0",
    ] {
        world.ok(spoil);
        assert_eq!(world.lab(&["status", file]).code, 4, "{spoil}");
        world.apply("trunk");
        assert!(world.pings("red1", "10.20.0.5"), "{spoil}");
    }
    // The script makes the same.
    let state = world.state();
    let script = world.lab(&["show", "--as-shell", file]).out;
    assert_eq!(world.lab(&["down", "trunk"]).code, 0);
    world.write("/run/work/script".as_ref(), &script);
    world.ok("sh -e /run/work/script");
    assert_same(&world.state(), &state, "the script");
}

#[test]
fn what_cannot_be_a_tagged_port_is_told() {
    let head = "[net.sw]\nsubnet = \"10.1.0.0/24\"\n[net.red]\nparent = \"sw\"\nvlan = 10\nsubnet = \"10.10.0.0/24\"\n[net.flat]\nsubnet = \"10.5.0.0/24\"\n[ns]\n";
    for (line, code, place, why) in [
        (
            "r = \"red tagged\"\n",
            "LAB0108",
            "10:6",
            "write \"sw, red tagged\"",
        ),
        (
            "r = \"sw, flat tagged\"\n",
            "LAB0108",
            "10:10",
            "`flat` is no VLAN of another network",
        ),
        (
            "r = \"sw dev a.10, red tagged dev a.10\"\n",
            "LAB0105",
            "",
            "would be called `a.10`",
        ),
        (
            "r = { nets = \"sw\", trunk = \"red\" }\n",
            "LAB0004",
            "10:20",
            "\"switch, red tagged\"",
        ),
    ] {
        let text = report(&format!("{head}{line}"));
        for part in [code, place, why] {
            assert!(text.contains(part), "{line}: {part}: {text}");
        }
    }
}

#[test]
fn what_cannot_be_a_parent_is_told() {
    let world = World::new();
    let net = |text: &str| {
        format!(
            "[net.lan]\n{text}subnet = \"10.5.0.0/24\"\n[net.sw]\nsubnet = \"10.6.0.0/24\"\n[ns]\na = \"lan\"\n"
        )
    };
    for (text, what) in [
        ("kind = \"macvlan\"\n", "`kind` of `lan` needs a `parent`"),
        ("vlan = 10\n", "`vlan` of `lan` needs a `parent`"),
        ("parent = \"sw\"\n", "a network can only be a VLAN of it"),
        ("parent = \"sw\"\nvlan = 1\n", "vlan = 2 to 4094"),
        ("parent = \"sw\"\nvlan = 4095\n", "a VLAN is 1 to 4094"),
        (
            "parent = \"sw\"\nvlan = 10\nmtu = 9000\n",
            "`lan` has an MTU of 9000, and `sw` one of 1500",
        ),
        (
            "kind = \"macvlan\"\nparent = \"sw\"\nvlan = 10\n",
            "only bridges can have VLANs",
        ),
        ("kind = \"macvlam\"\nparent = \"up0\"\n", "write `macvlan`"),
        ("kind = \"macvlan\"\nparent = \"nic9\"\n", "LAB0113"),
        ("kind = \"macvlan\"\nparent = \"lo\"\n", "LAB0101"),
    ] {
        let file = world.file("lan", &net(text));
        let did = world.lab(&["check", file.to_str().expect("plain")]);
        assert!(did.code == 1 && did.err.contains(what), "{text}: {did:?}");
    }
    let file = world.file("lan", &net("kind = \"macvlan\"\nparent = \"nic9\"\n"));
    let refused = |why: &str| {
        for verb in ["check", "plan", "apply"] {
            let did = world.lab(&[verb, file.to_str().expect("plain")]);
            assert!(did.code == 1 && did.err.contains(why), "{verb}: {did:?}");
        }
    };
    refused("no interface nic9");
    // A port of somebody's bridge carries nothing else.
    world.ok("ip link add nic9 type veth peer name far9 && ip link add theirs type bridge && ip link set nic9 master theirs");
    refused("nic9 of the host is a port of theirs");
}
