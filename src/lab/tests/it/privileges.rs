//! What a verb keeps of root's privileges, and what a command inside gets back.

use crate::world::{World, lab_file};

/// The capabilities of a process, a set a line, and whether it may gain any.
const SHOW: &str = "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs)' /proc/self/status";

/// The set of that name, as it stands in `/proc/PID/status`.
fn set(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let digits = line.and_then(|rest| rest.strip_prefix(':')).unwrap_or("");
    u64::from_str_radix(digits.trim(), 16).unwrap_or_else(|_| panic!("{name}: {status}"))
}

#[test]
fn commands_get_back_what_ip_netns_exec_leaves_them() {
    let world = World::new();
    world.apply("everything");
    let wanted = world.ok(&format!("ip netns exec web {SHOW}"));
    assert_ne!(set(&wanted, "CapEff"), 0, "{wanted}");
    let inside = world.lab(&["exec", "web", "--", "sh", "-c", SHOW]);
    assert_eq!(inside.out, wanted, "{inside:?}");
    assert_eq!(world.lab(&["down", "everything"]).code, 0);
    let file = lab_file("everything");
    let file = file.to_str().expect("a plain path");
    let beside = world.lab(&["run", file, "--", "sh", "-c", SHOW]);
    assert_eq!(beside.out, wanted, "{beside:?}");
}

#[test]
fn the_command_of_a_namespace_gets_them_back_too() {
    let world = World::new();
    let file = world.file(
        "one",
        &format!(
            "[net.b1]\nsubnet = \"10.1.0.0/24\"\n[ns]\nred = {{ nets = [\"b1\"], run = [\"sh\", \"-c\", {:?}] }}\n",
            format!("{SHOW} > /run/work/new; mv /run/work/new /run/work/caps; exec sleep 100 > /dev/null 2>&1")
        ),
    );
    let wait = "while ! [ -e /run/work/caps ]; do sleep 0.01; done; cat /run/work/caps";
    let did = world.lab(&["run", file.to_str().expect("plain"), "--", "sh", "-c", wait]);
    assert_eq!(did.code, 0, "{did:?}");
    assert_eq!(did.out, world.ok(SHOW), "{did:?}");
}

/// Reads the sets of a verb that waits for the lock of all labs.
fn of_waiting(world: &World, program: &str, lock: &str) -> String {
    world.ok(&format!(
        "mkdir -p $(dirname {lock}); touch {lock}
        exec 9>{lock}; flock 9
        {program} 9>&- & pid=$!
        for try in $(seq 500); do
          if grep -q locks_lock_inode_wait /proc/$pid/wchan || grep -q {lock} /proc/$pid/mountinfo || ls -l /proc/$pid/fd | grep -q {lock}; then break; fi
          sleep 0.01
        done
        cat /proc/$pid/status; flock -u 9; wait $pid >&2 || true"
    ))
}

#[test]
fn verbs_keep_what_they_need() {
    const SPACES: u64 = 1 << 2 | 1 << 12 | 1 << 21;
    let world = World::new();
    let (lab, file) = (env!("CARGO_BIN_EXE_nameplate-lab"), lab_file("everything"));
    let lock = "/run/nameplate/lab/.lock";
    for (words, kept) in [
        (format!("apply {}", file.display()), SPACES | 1 << 19),
        ("down everything".to_owned(), SPACES | 1 << 19 | 1 << 5),
    ] {
        let status = of_waiting(&world, &format!("{lab} {words}"), lock);
        for name in ["CapPrm", "CapEff"] {
            assert_eq!(set(&status, name), kept, "{words}: {name}: {status}");
        }
        assert_eq!(set(&status, "NoNewPrivs"), 1, "{words}: {status}");
    }
    world.ok("ip netns add c1");
    let cni = format!(
        "env CNI_COMMAND=DEL CNI_PATH=/ CNI_CONTAINERID=c1 CNI_IFNAME=eth0 {} < /run/work/config",
        env!("CARGO_BIN_EXE_nameplate-cni")
    );
    world.write(
        "/run/work/config".as_ref(),
        "{\"cniVersion\":\"1.1.0\",\"name\":\"net\",\"bridge\":\"cni0\"}",
    );
    let status = of_waiting(&world, &cni, "/run/nameplate/cni/networks/net/.lock");
    assert_eq!(set(&status, "CapPrm"), SPACES | 1 << 1, "{status}");
    assert_eq!(set(&status, "CapEff"), SPACES | 1 << 1, "{status}");
    // A delegate must get what it needs back.
    assert_eq!(set(&status, "NoNewPrivs"), 0, "{status}");
}

#[test]
fn a_file_of_somebody_else_is_read() {
    let world = World::new();
    let file = world.file(
        "mine",
        "[net.b1]\nsubnet = \"10.1.0.0/24\"\n[ns]\nred = \"b1\"\n",
    );
    // Without root nobody else can own a file here.
    world.ok("chmod 0 /run/work/mine.toml; chown 65534 /run/work/mine.toml 2>/dev/null; true");
    world.apply_file(&file);
}
