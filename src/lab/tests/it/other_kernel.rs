//! What this kernel is built without, in another one: VLANs of interfaces and of bridges, ipvlan, netem.
//!
//! Debian's package `user-mode-linux` is a kernel as a program. It sees the machine's files, which it may not change, and
//! nothing else of it. It runs this test binary again, with the tests that are skipped here.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::parents;
use crate::world::World;

/// The tests that it runs: what can be done in the time. `links::` and `parents::` have more, for a run by hand.
const TESTS: &[&str] = &["labs::labs_on_an_interface_of_the_host_or_with_vlans"];
/// The kernel and its modules.
const KERNEL: &str = "/usr/bin/linux.uml";
const MODULES: &str = "/usr/lib/uml/modules";
/// Seconds after which it is ended, whatever it does.
const SECONDS: u32 = 90;

/// Its first process. What it cannot do leads to fewer tests that pass.
const INIT: &str = r#"#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run
mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /run
mkdir -p /run/kernel/lib/modules && mount --bind MODULES /run/kernel/lib/modules
printf '#!/bin/sh\nexec modprobe -d /run/kernel "$@"\n' >/run/kernel/modprobe
chmod 755 /run/kernel/modprobe && echo /run/kernel/modprobe >/proc/sys/kernel/modprobe
/run/kernel/modprobe ipv6
ip link set lo up
cd DIRECTORY && timeout SECONDS TESTS --test-threads=1 --nocapture --exact
echo o >/proc/sysrq-trigger
sleep 60
"#;

/// Says why it cannot be tried here; Debian does not have the package for every machine.
fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED other_kernel: {why}");
}

#[test]
fn what_this_kernel_lacks_works_in_another_one() {
    if parents::has_all(&World::new()) {
        return;
    }
    if !Path::new(KERNEL).exists() || !Path::new(MODULES).exists() {
        return skip("user-mode-linux is not installed");
    }
    let binary = std::env::current_exe().expect("a path");
    let directory = std::env::current_dir().expect("a directory");
    let tests = TESTS
        .iter()
        .fold(binary.display().to_string(), |line, test| line + " " + test);
    let script = INIT
        .replace("MODULES", MODULES)
        .replace("DIRECTORY", &directory.display().to_string())
        .replace("SECONDS", &SECONDS.to_string())
        .replace("TESTS", &tests);
    let place = std::env::temp_dir().join(format!("nameplate-init-{}", std::process::id()));
    std::fs::write(&place, script).expect("written");
    let runs = Command::new("chmod").arg("755").arg(&place).status();
    assert!(runs.expect("chmod(1)").success());
    // Its memory is a file; and all of its processes end with the first one.
    let line = format!(
        "mount -t tmpfs tmpfs /dev/shm && cd /dev/shm && HOME=/dev/shm TMPDIR=/dev/shm exec {KERNEL} \
         mem=512M rootfstype=hostfs rootflags=/ ro init={} con=null con0=fd:0,fd:1 quiet",
        place.display()
    );
    let mut command = Command::new("timeout");
    command.args(["-k", "5", &SECONDS.to_string(), "unshare"]);
    if lab::sys::effective_user() != 0 {
        command.arg("-Ur");
    }
    command.args([
        "-m",
        "-p",
        "-f",
        "--kill-child",
        "--propagation",
        "private",
        "sh",
        "-c",
        &line,
    ]);
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("timeout(1) of coreutils");
    let _ = std::fs::remove_file(&place);
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    if !text.contains("running ") {
        return skip(&format!(
            "{KERNEL} does not start here: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    if output
        .status
        .code()
        .is_none_or(|code| [124, 137].contains(&code))
    {
        return skip(&format!(
            "{KERNEL} is too slow here, after {SECONDS} seconds: {text}"
        ));
    }
    let passed = format!("test result: ok. {} passed", TESTS.len());
    let plain = text.replace("\x1b[32m", "").replace("\x1b[m", "");
    assert!(
        plain.contains(&passed) && !text.contains("SKIPPED"),
        "{text}"
    );
}
