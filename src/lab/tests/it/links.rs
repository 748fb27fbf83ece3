//! What links do to packets, and what interfaces are called.

use crate::world::{World, assert_same};

/// A lab of two namespaces, and what is said of the network and of `a`.
fn lab(world: &World, net: &str, a: &str) -> String {
    let text = format!(
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\n{net}[ns]\na = {{ nets = \"br0 10.1.0.5\"{a} }}\nb = \"br0 10.1.0.6\"\n"
    );
    world
        .file("links", &text)
        .to_str()
        .expect("plain")
        .to_owned()
}

/// Seconds that 200,000 octets take from `a` to `b`.
fn seconds(world: &World) -> f64 {
    world.ok("rm -f /run/work/got; ip netns exec b sh -c 'nc -l -w5 5001 > /run/work/got 2>/dev/null & echo' >/dev/null
        for i in $(seq 100); do ip netns exec b ss -Hltn | grep -q 5001 && break; sleep 0.02; done
        head -c 200000 /dev/zero > /run/work/data");
    let begun = std::time::Instant::now();
    world.ok("ip netns exec a nc -N -w10 10.1.0.6 5001 < /run/work/data
        for i in $(seq 500); do [ \"$(stat -c %s /run/work/got)\" = 200000 ] && exit 0; sleep 0.01; done; exit 1");
    begun.elapsed().as_secs_f64()
}

#[test]
fn a_rate_is_kept_and_changed_while_up() {
    let world = World::new();
    let plain = lab(&world, "", "");
    assert_eq!(world.lab(&["apply", &plain]).code, 0);
    let fresh = world.state();
    let file = lab(&world, "rate = \"1600kbit\"\n", "");
    world.apply_file(file.as_ref());
    // A second's worth, less what the bucket holds at first.
    let slow = seconds(&world);
    assert!(slow > 0.7, "{slow}");
    let queue = world.ok("tc -n b qdisc show dev eth0; tc -n a qdisc show dev eth0");
    assert_eq!(queue.matches("tbf 4c: root").count(), 2, "{queue}");
    // A namespace's own word goes before its network's; links and processes stay.
    world.background("ip netns exec a sh -c 'echo up; exec sleep 100'");
    let before = world.ok("ip -n a -o link show eth0 | cut -d: -f1");
    let file = lab(&world, "rate = \"1600kbit\"\n", ", rate = \"800mbit\"");
    let did = world.lab(&["apply", "-v", &file]);
    assert!(
        did.code == 0 && did.out.contains("~ link eth0 in a: tbf rate 800mbit"),
        "{did:?}"
    );
    assert_eq!(world.ok("ip -n a -o link show eth0 | cut -d: -f1"), before);
    assert!(seconds(&world) < slow, "the rate is another one");
    // What somebody takes away is put back, and what the file takes out is taken away.
    world.ok("tc -n a qdisc del dev eth0 root");
    assert_eq!(world.lab(&["plan", &file]).code, 2);
    world.apply_file(file.as_ref());
    let plain = lab(&world, "", "");
    world.apply_file(plain.as_ref());
    assert_same(&world.state(), &fresh, "nothing is left of it");
    assert!(!world.ok("tc -n a qdisc; tc -n b qdisc").contains("tbf"));
}

/// Whether the kernel has netem.
pub(crate) fn has_netem(world: &World) -> bool {
    let tried = "ip link add d0 type veth peer name d1 && tc qdisc add dev d0 root netem delay 1ms";
    world.sh(&format!("unshare -n sh -c '{tried}'")).code == 0
}

/// What a ping from `a` to `b` saw: the answers' numbers in their order, and the times that they took in milliseconds.
fn pinged(world: &World, count: u32, interval: f64) -> (Vec<u32>, Vec<f64>) {
    let line = format!("ip netns exec a ping -n -c{count} -i{interval} -W1 10.1.0.6");
    let out = world.sh(&line).out;
    let after = |line: &str, word: &str| -> Option<f64> {
        let rest = line.split(word).nth(1)?;
        rest.split(' ').next()?.parse().ok()
    };
    let answers = out
        .lines()
        .filter_map(|line| Some((after(line, "icmp_seq=")? as u32, after(line, "time=")?)));
    answers.unzip()
}

#[test]
fn delay_jitter_loss_order_and_rate_change_while_up() {
    let world = World::new();
    if !has_netem(&world) {
        eprintln!(
            "SKIPPED: delay, jitter, loss and reorder, because this kernel lacks the module sch_netem"
        );
        return;
    }
    let plain = lab(&world, "", "");
    world.apply_file(plain.as_ref());
    let fresh = world.state();
    let index = world.ok("ip -n a -o link show eth0 | cut -d: -f1");
    let apply = |shape: &str| world.apply_file(lab(&world, "", shape).as_ref());
    let least = |times: &[f64]| times.iter().copied().fold(f64::MAX, f64::min);
    let most = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    apply(", delay = \"60ms\"");
    let (_, times) = pinged(&world, 5, 0.02);
    assert!(
        times.len() == 5 && least(&times) >= 60.0,
        "delay: {times:?}"
    );
    apply(", delay = \"60ms\", jitter = \"40ms\"");
    let (_, times) = pinged(&world, 40, 0.02);
    assert!(
        least(&times) < 55.0 && most(&times) > 65.0,
        "jitter: {times:?}"
    );
    apply(", delay = \"60ms\", reorder = \"50%\"");
    let (numbers, times) = pinged(&world, 40, 0.005);
    assert!(!numbers.is_sorted(), "reorder: {numbers:?}");
    assert!(least(&times) < 55.0 && most(&times) >= 60.0, "{times:?}");
    apply(", loss = \"40%\"");
    let (numbers, _) = pinged(&world, 100, 0.005);
    assert!((20..=90).contains(&numbers.len()), "loss: {numbers:?}");
    // A discipline of another kind, and back.
    apply(", rate = \"8mbit\"");
    let (numbers, times) = pinged(&world, 10, 0.01);
    assert!(numbers.len() == 10 && least(&times) < 50.0, "{times:?}");
    apply(", loss = \"100%\"");
    assert!(!world.pings("a", "10.1.0.6"), "nothing gets through");
    apply(", delay = \"1ms\", rate = \"1600kbit\"");
    let slow = seconds(&world);
    assert!(slow > 0.7, "rate: {slow}");
    apply("");
    let (numbers, times) = pinged(&world, 10, 0.01);
    assert!(numbers.len() == 10 && least(&times) < 50.0, "{times:?}");
    assert_same(&world.state(), &fresh, "nothing is left of it");
    let same = world.ok("ip -n a -o link show eth0 | cut -d: -f1");
    assert_eq!(same, index, "the link stays");
}

#[test]
fn what_the_kernel_cannot_do_is_refused_as_a_whole() {
    let world = World::new();
    let has_netem = has_netem(&world);
    let before = world.snapshot();
    let net = "delay = \"20ms\"\njitter = \"1ms\"\nloss = \"0.5%\"\nreorder = \"25%\"\nrate = \"100mbit\"\n";
    let file = lab(&world, net, "");
    if has_netem {
        world.apply_file(file.as_ref());
        let queue = world.ok("tc -n a qdisc show dev eth0");
        for part in [
            "netem 4d: root",
            "delay 20ms  1ms",
            "loss 0.5%",
            "reorder 25%",
            "rate 100Mbit",
        ] {
            assert!(queue.contains(part), "{part}: {queue}");
        }
        assert_eq!(world.lab(&["down", "links"]).code, 0);
    } else {
        for verb in ["plan", "apply"] {
            let did = world.lab(&[verb, &file]);
            assert!(
                did.code == 1 && did.err.contains("this kernel has no netem"),
                "{did:?}"
            );
        }
    }
    assert_same(&world.snapshot(), &before, "nothing was made");
    let script = world.lab(&["show", &file]);
    assert!(
        script.out.contains("tc -n a qdisc replace dev eth0 root handle 4d: netem delay 20ms 1ms loss 0.5% reorder 25% rate 100mbit"),
        "{script:?}"
    );
}

#[test]
fn both_ends_have_the_mtu_of_their_network() {
    let world = World::new();
    let file = lab(&world, "mtu = 1400\n", "");
    world.apply_file(file.as_ref());
    let links =
        world.ok("ip -o link show br0; ip -o link show veth-a-br; ip -n a -o link show eth0");
    assert_eq!(links.matches("mtu 1400").count(), 3, "{links}");
    assert!(world.pings("a", "-M do -s 1372 10.1.0.6"));
    assert!(!world.pings("a", "-M do -s 1373 10.1.0.6"));
    let file = lab(&world, "", "");
    world.apply_file(file.as_ref());
    assert!(world.pings("a", "-M do -s 1472 10.1.0.6"));
}

#[test]
fn interfaces_are_called_as_the_file_says() {
    let world = World::new();
    let before = world.snapshot();
    let text = |red: &str, pair: &str| {
        format!(
            "[net.v-net-0]\nsubnet = \"192.168.15.0/24\"\n[link]\nred-blue = {{ subnet = \"10.9.0.0/30\", mtu = 1400{pair} }}\n[ns]\nred = \"v-net-0 192.168.15.2{red}\"\nblue = \"v-net-0 192.168.15.3 dev veth-blue\"\n"
        )
    };
    let file = world.file(
        "named",
        &text(" dev veth-red", ", dev = [\"to-blue\", \"to-red\"]"),
    );
    world.apply_file(&file);
    let fresh = world.state();
    let links = world.ok("ip -n red -br link; ip -n blue -br link; ip -n red link show to-blue");
    for part in ["veth-red@", "to-blue@", "veth-blue@", "to-red@", "mtu 1400"] {
        assert!(links.contains(part), "{part}: {links}");
    }
    assert!(world.pings("red", "192.168.15.3") && world.pings("blue", "10.9.0.1"));
    // Called otherwise, and back.
    let other = world.file("named", &text("", ""));
    world.apply_file(&other);
    assert!(world.ok("ip -n red -br link").contains("eth0@") && world.pings("red", "10.9.0.2"));
    let file = world.file(
        "named",
        &text(" dev veth-red", ", dev = [\"to-blue\", \"to-red\"]"),
    );
    world.apply_file(&file);
    assert_same(&world.state(), &fresh, "as at first");
    assert_eq!(world.lab(&["down", "named"]).code, 0);
    assert_same(&world.snapshot(), &before, "down leaves nothing");
}

#[test]
fn an_interface_of_the_host_is_a_port_of_a_bridge() {
    let world = World::new();
    // What the machine's network card is: somebody else is at its other end.
    world.ok("ip netns add outside && ip link add nic0 type veth peer name eth0 netns outside
        ip -n outside addr add 203.0.113.9/24 dev eth0 && ip -n outside link set eth0 up && ip -n outside link set lo up
        ip link set nic0 up && ip link set nic0 down");
    let master = || world.ok("ip -o link show nic0");
    let before = world.snapshot();
    // A card that comes up has a carrier a moment later.
    let reaches = |from, to| (0..20).any(|_| world.pings(from, to));
    let text = |lines: &str| {
        format!(
            "[net.lan]\nsubnet = \"203.0.113.0/24\"\nhost = false\n{lines}[net.other]\nsubnet = \"10.1.0.0/24\"\n[ns]\na = \"lan 203.0.113.5\"\n"
        )
    };
    let file = world.file("demo", &text("parent = \"nic0\"\n"));
    let path = file.to_str().expect("plain");
    world.apply_file(&file);
    assert!(master().contains("master lan"), "{}", master());
    assert!(reaches("a", "203.0.113.9") && reaches("outside", "203.0.113.5"));
    // The bridge has the smallest MTU of its ports.
    world.ok("ip link set nic0 mtu 1400");
    world.apply_file(&file);
    assert!(world.ok("ip link show lan").contains("mtu 1400"));
    world.ok("ip link set nic0 mtu 1500");
    world.apply_file(&file);
    // Taken away by somebody, or with the bridge: it comes back.
    for spoil in [
        "ip link set nic0 nomaster",
        "ip link set nic0 down",
        "ip link del lan",
    ] {
        world.ok(spoil);
        assert_eq!(world.lab(&["status", path]).code, 4, "{spoil}");
        world.apply_file(&file);
        assert!(reaches("a", "203.0.113.9"), "{spoil}");
    }
    // The key is taken out: it is as it was. Then the other network has it.
    world.file("demo", &text(""));
    world.apply_file(&file);
    assert!(
        !master().contains("master") && !master().contains(",UP"),
        "{}",
        master()
    );
    assert!(!world.pings("a", "203.0.113.9"));
    world.file(
        "demo",
        &text("").replace("10.1.0.0/24\"", "10.1.0.0/24\"\nparent = \"nic0\""),
    );
    world.apply_file(&file);
    assert!(master().contains("master other"), "{}", master());
    world.file("demo", &text("parent = \"nic0\"\n"));
    world.apply_file(&file);
    assert!(reaches("a", "203.0.113.9"));
    let script = world.lab(&["show", "--as-shell", path]).out;
    assert!(
        script.contains("ip link set nic0 master lan up")
            || script.contains("ip link set nic0 up master lan"),
        "{script}"
    );
    assert_eq!(world.lab(&["down", path]).code, 0);
    assert_same(&world.snapshot(), &before, "down gives it back");
    // What is in the way is told.
    world.ok("ip addr add 203.0.113.77/24 dev nic0");
    let plan = world.lab(&["plan", path]);
    assert!(plan.err.contains("203.0.113.77/24 on nic0"), "{plan:?}");
    world.ok("ip link add br9 type bridge && ip link set nic0 master br9");
    let plan = world.lab(&["plan", path]);
    assert!(
        plan.code == 1 && plan.err.contains("a port of something else"),
        "{plan:?}"
    );
    refused(&world, path, ["nic0 of the host is a port of", "4:10"]);
    world.ok("ip link del nic0");
    refused(&world, path, ["no interface nic0", "4:10"]);
    world.ok("ip link add nic0 type bridge");
    refused(
        &world,
        path,
        ["nic0 of the host is a bridge itself", "4:10"],
    );
    world.ok("ip link del nic0");
    world.file("demo", &text("parent = \"other\"\n"));
    let check = world.lab(&["check", path]);
    assert!(
        check.code == 1 && check.err.contains("a network can only be a VLAN of it"),
        "{check:?}"
    );
}

/// What is wrong with the `parent` is told before anything is made; `check` tells its place.
fn refused(world: &World, file: &str, [why, place]: [&str; 2]) {
    let before = world.snapshot();
    for verb in ["check", "plan", "apply"] {
        let did = world.lab(&[verb, file]);
        assert!(did.code == 1 && did.err.contains(why), "{verb}: {did:?}");
        if verb == "check" {
            assert!(
                did.err.contains("LAB0113") && did.err.contains(place),
                "{did:?}"
            );
        }
    }
    assert_same(&world.snapshot(), &before, why);
}
