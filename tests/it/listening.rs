//! Addresses to listen on, in network namespaces that the tests make.

use std::process::Command;

use crate::server::{skip, temporary_directory, tool};

/// Runs a script in a network namespace of its own, with the binary as `$1`; `None`, said loudly, where that cannot be had.
fn in_namespace(name: &str, corefile: &str, script: &str) -> Option<String> {
    for program in ["unshare", "ip", "dig"] {
        tool(program)?;
    }
    let allowed = Command::new("unshare").args(["-rn", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        skip("namespaces may not be made here (unshare -rn)");
        return None;
    }
    let dir = temporary_directory(name);
    std::fs::write(dir.join("Corefile"), corefile).expect("written");
    let out = Command::new("unshare")
        .args([
            "-rn",
            "sh",
            "-c",
            script,
            "sh",
            env!("CARGO_BIN_EXE_nameplate"),
        ])
        .current_dir(&dir)
        .output()
        .expect("unshare runs");
    let text =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    Some(text)
}

/// An interface that has just come up has a link-local address that the kernel still asks about (RFC 4862, 5.4): a server that starts at
/// boot waits for it.
#[test]
fn a_tentative_address_is_listened_on_when_it_is_ready() {
    let script = r#"
ip link set lo up
ip link add lan type veth peer name far || exit 77
sysctl -qw net.ipv6.conf.lan.accept_dad=1 net.ipv6.conf.lan.dad_transmits=3 || true
ip link set far up
ip link set lan up
tries=0
until ip -6 addr show dev lan | grep -q tentative; do
    tries=$((tries + 1)); [ $tries -lt 500 ] || break; sleep 0.01
done
ip -6 addr show dev lan
"$1" -conf Corefile -dns.port 5353 & server=$!
address=$(ip -6 -o addr show dev lan | sed -n 's|.*inet6 \(fe80[^/]*\)/.*|\1|p')
tries=0
until dig +time=1 +tries=1 "@$address%lan" -p 5353 whoami.example A | grep -q NOERROR; do
    tries=$((tries + 1)); [ $tries -lt 150 ] || break; sleep 0.1
    kill -0 $server || break
done
dig +time=1 +tries=1 "@$address%lan" -p 5353 whoami.example A
kill $server
"#;
    let Some(text) = in_namespace(
        "tentative",
        ".:5353 {\n    bind lan\n    whoami\n}\n",
        script,
    ) else {
        return;
    };
    assert!(text.contains("tentative"), "{text}");
    assert!(text.contains("status: NOERROR"), "{text}");
    assert!(!text.contains("no interface of this machine"), "{text}");
}
