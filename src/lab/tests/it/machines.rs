//! Machines that are not as one likes them: Docker's forward chain, settings that cannot be written, mounts of `ip netns`.

use crate::running::left;
use crate::world::{World, assert_same, lab_file};

/// What Docker makes of a machine's forward chain.
const DOCKER: &str = "nft -f - <<'END'
table ip filter {
  chain DOCKER-USER { counter return; }
  chain FORWARD { type filter hook forward priority 0; policy drop;
    counter jump DOCKER-USER
    oifname \"docker0\" ct state related,established counter accept
    iifname \"docker0\" oifname != \"docker0\" counter accept
  }
}
END
[ ! -e /proc/sys/net/bridge ] || sysctl -qw net.bridge.bridge-nf-call-iptables=1";

#[test]
fn a_chain_that_drops_is_told_and_mended() {
    let world = World::new();
    world.ok(DOCKER);
    let has_netfilter = world.sh("[ -e /proc/sys/net/bridge ]").code == 0;
    if !has_netfilter {
        println!("SKIPPED: bridges do not pass netfilter here");
        return;
    }
    let before = world.snapshot();
    let file = world.file(
        "plain",
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\na = \"br0 10.1.0.5\"\nb = \"br0 10.1.0.6\"\n",
    );
    let file = file.to_str().expect("plain");
    let rule = "nft insert rule ip filter DOCKER-USER iifname \"br0\" accept";
    for (verb, code) in [("check", 0), ("plan", 2), ("apply", 0), ("status", 0)] {
        let did = world.lab(&[verb, file]);
        assert_eq!(did.code, code, "{verb}: {did:?}");
        let said = did.err + &did.out;
        assert!(
            said.contains(rule) && said.contains("--fix-forward"),
            "{verb}: {said}"
        );
    }
    assert!(
        !world.pings("a", "10.1.0.6"),
        "that is what the warning is about"
    );
    // By hand, as it says.
    world.ok(rule);
    assert!(world.pings("a", "10.1.0.6"));
    for verb in ["check", "plan", "apply", "status"] {
        let did = world.lab(&[verb, file]);
        assert!(
            did.code == 0 && !(did.err + &did.out).contains("DOCKER-USER"),
            "{verb}"
        );
    }
    world.ok(
        "nft flush chain ip filter DOCKER-USER; nft add rule ip filter DOCKER-USER counter return",
    );
    let did = world.lab(&["apply", "--fix-forward", file]);
    assert!(did.code == 0 && !did.err.contains("DOCKER-USER"), "{did:?}");
    assert!(world.pings("a", "10.1.0.6"));
    assert_eq!(world.lab(&["plan", file]).code, 0);
    // Its own rule that goes is put back, and goes with the lab.
    world.ok(
        "nft flush chain ip filter DOCKER-USER; nft add rule ip filter DOCKER-USER counter return",
    );
    assert_eq!(world.lab(&["plan", file]).code, 2);
    assert_eq!(world.lab(&["apply", file]).code, 0);
    assert!(world.pings("a", "10.1.0.6"));
    assert_eq!(world.lab(&["down", "plain"]).code, 0);
    let now = world.snapshot();
    let counters = |text: &str| -> String {
        text.lines()
            .map(|line| line.split(" packets ").next().unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_same(
        &counters(&now),
        &counters(&before),
        "Docker's chains are as they were",
    );
}

#[test]
fn what_the_host_routes_is_told_too() {
    let world = World::new();
    world.outside();
    world.ok(DOCKER);
    let file = lab_file("nat");
    let file = file.to_str().expect("plain");
    let did = world.lab(&["apply", file]);
    for rule in ["iifname \"v-net-0\" accept", "oifname \"v-net-0\" accept"] {
        assert!(did.code == 0 && did.err.contains(rule), "{did:?}");
    }
    assert!(!world.pings("blue", "203.0.113.9"));
    assert_eq!(world.lab(&["apply", "--fix-forward", file]).code, 0);
    assert!(world.pings("blue", "203.0.113.9"));
    assert_eq!(world.lab(&["down", "nat"]).code, 0);
    let rules = world.ok("nft list chain ip filter DOCKER-USER");
    assert!(!rules.contains("v-net-0"), "{rules}");
}

#[test]
fn what_legacy_iptables_drops_is_told_with_its_own_commands() {
    let world = World::new();
    world.outside();
    let drop = "iptables-legacy -P FORWARD DROP && ip6tables-legacy -P FORWARD DROP";
    if world.sh(drop).code != 0 {
        println!("SKIPPED: this kernel or machine has no legacy iptables");
        return;
    }
    // A rule of a chain of its own that concerns others, and one that looks at more than interfaces.
    world.ok("iptables-legacy -N MINE && iptables-legacy -A MINE -i other+ -j ACCEPT && iptables-legacy -A FORWARD -j MINE
        iptables-legacy -A FORWARD -i v-net-0 -p tcp --dport 7 -j ACCEPT");
    let file = lab_file("nat");
    let file = file.to_str().expect("plain");
    let rules = [
        "iptables-legacy -I FORWARD -i v-net-0 -j ACCEPT",
        "iptables-legacy -I FORWARD -o v-net-0 -j ACCEPT",
    ];
    for verb in ["check", "plan", "apply", "status"] {
        let did = world.lab(&[verb, file]);
        let said = did.err.clone() + &did.out;
        for rule in rules {
            assert!(said.contains(rule), "{verb}: {rule}: {did:?}");
        }
        assert!(
            !said.contains("ip6tables") && !said.contains("--fix-forward"),
            "{verb}: {said}"
        );
    }
    assert!(!world.pings("blue", "203.0.113.9"));
    // The first one into the chain that all packets pass, the other one as it is said.
    world.ok("iptables-legacy -A MINE -i v-net+ -j ACCEPT");
    world.ok(rules[1]);
    assert!(world.pings("blue", "203.0.113.9"));
    for verb in ["check", "plan", "apply", "status"] {
        let did = world.lab(&[verb, file]);
        assert!(
            did.code == 0 && !(did.err + &did.out).contains("iptables"),
            "{verb}"
        );
    }
    assert_eq!(world.lab(&["down", "nat"]).code, 0);
    let both = lab_file("nat-both");
    let did = world.lab(&["plan", both.to_str().expect("plain")]);
    assert!(
        did.err
            .contains("ip6tables-legacy -I FORWARD -i both -j ACCEPT"),
        "{did:?}"
    );
}

#[test]
fn settings_that_cannot_be_written_are_warned_of() {
    let world = World::new();
    world.ok("mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys");
    let before = world.snapshot();
    let file = world.file(
        "fixed",
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\na = \"br0 10.1.0.5\"\nb = \"br0 10.1.0.6\"\nr = { nets = \"br0\", router = true }\n",
    );
    let file = file.to_str().expect("plain");
    let did = world.lab(&["apply", file]);
    assert_eq!(did.code, 0, "{did:?}");
    for part in [
        "/proc/sys is read-only",
        "net/ipv4/ip_forward = 1 cannot be set in r",
    ] {
        assert!(did.err.contains(part), "{did:?}");
    }
    assert!(
        world.pings("a", "10.1.0.6")
            && world.pings("a", "127.0.0.1")
            && world.pings("", "10.1.0.5")
    );
    let plan = world.lab(&["plan", file]);
    assert_eq!(
        plan.code, 0,
        "what cannot be done is no difference: {plan:?}"
    );
    assert_eq!(world.lab(&["down", "fixed"]).code, 0);
    assert_same(&world.snapshot(), &before, "down leaves nothing");
}

#[test]
fn a_machine_on_which_ip_netns_was_used_is_left_as_it_was() {
    let world = World::new();
    // Its mount of `/run/netns` stands for ever, and `/etc/netns` exists.
    world.ok("ip netns add x && ip netns del x && mkdir /etc/netns && grep -q ' /run/netns ' /proc/self/mountinfo");
    let before = world.snapshot();
    let file = lab_file("everything");
    let file = file.to_str().expect("plain");
    for _ in 0..2 {
        world.apply("everything");
        assert_eq!(world.lab(&["down", "everything"]).code, 0);
        assert_same(&world.snapshot(), &before, "down leaves what it found");
    }
    // A machine inside of that machine: its `/run` hides the mount, which is listed all the same.
    let program = env!("CARGO_BIN_EXE_nameplate-lab");
    let mounts = "cut -d' ' -f4- /proc/self/mountinfo | sed 's/shared:[0-9]*//; s/master:[0-9]*//'";
    let line = format!(
        "cp {file} /etc/everything.toml; unshare -n -m --propagation private sh -ec 'mount -t tmpfs tmpfs /run
            {mounts} > /etc/mounts.before; {program} apply --take-over /etc/everything.toml; {program} plan /etc/everything.toml; {program} down everything
            {mounts} > /etc/mounts.after; diff /etc/mounts.before /etc/mounts.after; ls -d /run/netns 2>/dev/null && exit 9; ls -A /etc/netns'"
    );
    let did = world.sh(&line
        .replace(
            "shared:[0-9]*//; s/master:[0-9]*//'",
            "shared:[0-9]*//; s/master:[0-9]*//'\\''",
        )
        .replace("sed 's/", "sed '\\''s/")
        .replace("cut -d' ' ", "cut -d'\\'' '\\'' "));
    assert_eq!(did.code, 0, "{did:?}");
}

#[test]
fn without_root_where_root_has_namespaces() {
    let world = World::new();
    world.ok("ip netns add roots && mkdir -p /etc/netns/roots && echo nameserver 192.0.2.1 > /etc/netns/roots/resolv.conf");
    let text = std::fs::read_to_string(lab_file("containers")).expect("a lab");
    world.write(
        "/run/work/mine.toml".as_ref(),
        &text.replace("nat = true\n", ""),
    );
    world.ok(&format!(
        "cp {} /run/work/lab && chmod 755 /run/work /run/work/lab",
        env!("CARGO_BIN_EXE_nameplate-lab")
    ));
    let nobody = match lab::sys::effective_user() {
        0 => "setpriv --reuid=65534 --regid=65534 --clear-groups ",
        _ => "",
    };
    let did = world.sh(&format!(
        "cd /run/work && {nobody}./lab run --rootless mine.toml -- sh -c 'ip netns; ip netns exec container4 ping -c1 -W1 10.201.0.5 && cat /etc/netns/container4/resolv.conf'"
    ));
    assert_eq!(did.code, 0, "{did:?}");
    assert!(
        did.out.contains("nameserver 10.201.0.1") && !did.out.contains("roots"),
        "{did:?}"
    );
    assert_eq!(world.ok("ls /etc/netns; ls /run/netns"), "roots\nroots\n");
}

/// The tests' own machines: what was started in one ends with it, and disturbs no other test.
#[test]
fn a_world_ends_with_all_that_was_started_in_it() {
    let mark = format!("mark{}", std::process::id());
    let start = || {
        let world = World::new();
        world.ok(&format!("touch /run/work/{mark}"));
        world.apply("pair");
        world.ok("for i in 1 2 3; do setsid ip netns exec red sleep 3001 > /dev/null 2>&1 & done; setsid sleep 3002 > /dev/null 2>&1 &");
        let begun = std::time::Instant::now();
        while left(&mark) != 4 {
            assert!(begun.elapsed() < std::time::Duration::from_secs(10));
        }
        world
    };
    drop(start());
    assert_eq!(left(&mark), 0);
    let failed = std::panic::catch_unwind(|| {
        let _world = start();
        panic!("as a test does that fails");
    });
    assert!(failed.is_err());
    assert_eq!(left(&mark), 0);
}
