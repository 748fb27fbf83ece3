//! Sockets that a service manager passes on: served without a privilege, kept over a restart, and told of where nobody serves them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::server::{
    Server, ask_tcp, ask_udp, free_port, skip, temporary_directory, tool, wait_until,
};

/// What stands for systemd.
const MANAGER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/activation/manager.py"
);
/// A header alone, which gets FORMERR.
const HEADER: [u8; 12] = [0; 12];
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn passed_sockets_are_served_beside_others() {
    if tool("python3").is_none() {
        return;
    }
    let dir = temporary_directory("activation");
    let corefile = ".:{PORT} {\n bind 127.0.0.1 127.0.0.2\n whoami\n}\n";
    // The second one for UDP shares the port with nobody, and is listened on by no server block.
    let program = [
        "python3",
        MANAGER,
        "udp:127.0.0.1",
        "tcp:127.0.0.1",
        "udp:127.0.0.3",
        "--",
    ];
    let server = Server::start_by(&dir, corefile, &program);
    for host in [[127, 0, 0, 1], [127, 0, 0, 2]] {
        let address = SocketAddr::from((host, server.port()));
        assert!(ask_udp(address, &HEADER, PATIENCE).is_some(), "{address}");
        assert!(ask_tcp(address, &HEADER, PATIENCE).is_some(), "{address}");
    }
    server.wait_for_log(&format!(
        "No server block listens on udp 127.0.0.3:{}, which the service manager opened",
        server.port()
    ));
}

/// What comes while nobody serves waits in the socket.
#[test]
fn no_query_is_lost_in_a_restart() {
    if tool("python3").is_none() {
        return;
    }
    let dir = temporary_directory("activation_restart");
    std::fs::write(
        dir.join("Corefile"),
        ". {\n bind 127.0.0.1\n reload 10s\n whoami\n}\n",
    )
    .expect("written");
    let port = free_port();
    let mut manager = Command::new("python3")
        .args([MANAGER, "udp:127.0.0.1", "tcp:127.0.0.1", "--"])
        .arg(env!("CARGO_BIN_EXE_nameplate"))
        .args([
            "-conf",
            "Corefile",
            "-quiet",
            "-dns.port",
            &port.to_string(),
        ])
        .current_dir(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut said = BufReader::new(manager.stdout.take().expect("a pipe")).lines();
    let mut hear = |word: &str| loop {
        let line = said.next().expect("a line").expect("a line");
        if let Some(rest) = line.strip_prefix(word) {
            break rest.trim().to_owned();
        }
    };
    let pid = hear("pid");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    client.connect(address).expect("an address");
    client.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let mut reply = [0; 64];
    client.send(&HEADER).expect("it is sent");
    assert!(client.recv(&mut reply).is_ok(), "the first start answers");
    let ended = Command::new("kill").arg(&pid).status();
    assert!(ended.is_ok_and(|status| status.success()));
    hear("ended");
    client.send(&HEADER).expect("nobody refuses it");
    let mut input = manager.stdin.take().expect("a pipe");
    input.write_all(b"again\n").expect("it is heard");
    let pid = hear("pid");
    assert!(client.recv(&mut reply).is_ok(), "it waited in the socket");
    assert!(ask_tcp(address, &HEADER, PATIENCE).is_some());
    drop(input);
    let _ = Command::new("kill").arg(&pid).status();
    assert!(manager.wait().is_ok_and(|status| status.success()));
}

/// The whole point: port 53 for a process that may bind no such port.
#[test]
fn port_53_takes_no_privilege() {
    let tools = ["unshare", "ip", "dig", "python3", "setpriv"];
    if tools.iter().any(|name| tool(name).is_none()) {
        return;
    }
    let dir = temporary_directory("activation_53");
    std::fs::write(
        dir.join("Corefile"),
        ". {\n bind 127.0.0.1\n hosts {\n 192.0.2.10 nas.lan\n }\n}\n",
    )
    .expect("written");
    let program = env!("CARGO_BIN_EXE_nameplate");
    let server = format!(
        "setpriv --bounding-set=-all --inh-caps=-all {program} -conf Corefile -dns.port 53"
    );
    let script = format!(
        "ip link set lo up\n\
         {server} >refused 2>&1\n\
         python3 {MANAGER} udp:127.0.0.1 tcp:127.0.0.1 -- {server} >log 2>&1 </dev/null & \n\
         for i in $(seq 100); do dig +short +tries=1 +time=1 @127.0.0.1 nas.lan >udp && break; sleep 0.05; done\n\
         dig +short +tcp @127.0.0.1 nas.lan >tcp\n\
         kill $(sed -n 's/^pid //p' log); wait"
    );
    let allowed = Command::new("unshare")
        .args(["-rn", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !allowed {
        skip("namespaces may not be made here (unshare -rn)");
        return;
    }
    let status = Command::new("unshare")
        .args(["-rn", "bash", "-c", &script])
        .current_dir(&dir)
        .status();
    assert!(status.is_ok());
    let read = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap_or_default();
    assert!(
        read("refused").contains("permission denied"),
        "{}",
        read("refused")
    );
    assert_eq!(read("udp"), "192.0.2.10\n", "{}", read("log"));
    assert_eq!(read("tcp"), "192.0.2.10\n", "{}", read("log"));
}

/// systemd's own program for it, which passes streams when the first connection comes.
#[test]
fn systemd_socket_activate_starts_it() {
    let Some(activate) = tool("systemd-socket-activate") else {
        return;
    };
    let dir = temporary_directory("activation_systemd");
    let port = free_port();
    let corefile = format!(".:{port} {{\n bind 127.0.0.1\n whoami\n}}\n");
    std::fs::write(dir.join("Corefile"), corefile).expect("written");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut child = Command::new(activate)
        .args(["--listen", &address.to_string()])
        .arg(env!("CARGO_BIN_EXE_nameplate"))
        .args(["-conf", "Corefile"])
        .current_dir(&dir)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    wait_until("a reply over the passed socket", || {
        ask_tcp(address, &HEADER, PATIENCE).is_some()
    });
    assert!(ask_udp(address, &HEADER, PATIENCE).is_some());
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn what_cannot_be_passed_is_refused() {
    let dir = temporary_directory("activation_wrong");
    std::fs::write(dir.join("Corefile"), ".:0 {\n bind 127.0.0.1\n whoami\n}\n").expect("written");
    let program = env!("CARGO_BIN_EXE_nameplate");
    for (script, expected) in [
        ("LISTEN_FDS=x", "LISTEN_FDS: invalid LISTEN_FDS"),
        (
            "LISTEN_FDS=1 exec 3<Corefile",
            "descriptor 3 that was passed",
        ),
        ("LISTEN_FDS=1 exec 3<&-", "descriptor 3 that was passed"),
    ] {
        let (variable, rest) = script.split_once(' ').unwrap_or((script, ":"));
        let script = format!(
            "{rest}; export {variable}; export LISTEN_PID=$$; exec {program} -conf Corefile"
        );
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(&dir)
            .output();
        let output = output.expect("bash runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

/// The unit with the sockets differs from the other in what makes it one, and may do less.
#[test]
fn the_units_are_one_but_for_the_sockets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd");
    let lines = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).expect("a unit");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (plain, activated) = (
        lines("nameplate.service"),
        lines("nameplate-activated.service"),
    );
    let only = |these: &[String], those: &[String]| {
        let missing = these.iter().filter(|line| !those.contains(line));
        missing.cloned().collect::<Vec<_>>()
    };
    assert_eq!(
        only(&plain, &activated),
        [
            "Description=nameplate DNS server",
            "After=network.target",
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
            "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
            "WantedBy=multi-user.target",
        ]
    );
    assert_eq!(
        only(&activated, &plain),
        [
            "Description=nameplate DNS server, on the sockets of nameplate.socket",
            "Requires=nameplate.socket",
            "Conflicts=nameplate.service",
            "After=network.target nameplate.socket",
            "CapabilityBoundingSet=",
            "PrivateUsers=yes",
            "Also=nameplate.socket",
        ]
    );
    // What the package's Corefile binds is what the socket listens on.
    let socket = lines("nameplate.socket");
    let corefile = std::fs::read_to_string(folder.join("../Corefile")).expect("a Corefile");
    assert!(corefile.contains("bind 127.0.0.1 ::1\n"), "{corefile}");
    for listen in [
        "ListenDatagram=127.0.0.1:53",
        "ListenStream=127.0.0.1:53",
        "ListenDatagram=[::1]:53",
        "ListenStream=[::1]:53",
    ] {
        assert!(socket.iter().any(|line| line == listen), "{listen}");
    }
}
