//! `nameplate install` on a machine of the test's own: a network, mounts over what it writes to, and a `systemctl` that starts programs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::server::{skip, temporary_directory, tool};

/// What stands for systemctl: `restart` starts the ExecStart of a unit, and `stop` and `disable --now` end it.
const SYSTEMCTL: &str = r#"#!/bin/bash
echo "$*" >>"$STATE/systemctl.log"
unit=${!#}
case "$1" in
    is-enabled) test -e "$STATE/enabled.$unit" ;;
    enable) touch "$STATE/enabled.$unit" ;;
    disable | stop)
        if [ "$1" = disable ]; then rm -f "$STATE/enabled.$unit"; fi
        if [ -e "$STATE/pid.$unit" ]; then
            kill "$(cat "$STATE/pid.$unit")"
            while kill -0 "$(cat "$STATE/pid.$unit")" 2>/dev/null; do sleep 0.02; done
            rm "$STATE/pid.$unit"
        fi
        ;;
esac
if [ "$1" = restart ] || { [ "$1" = enable ] && [ "$2" = --now ]; }; then
    command=$(sed -n 's/^ExecStart=//p' "/etc/systemd/system/$unit" "/usr/lib/systemd/system/$unit" 2>/dev/null | head -1)
    if [ -n "$command" ]; then
        $command >"$STATE/service.log" 2>&1 &
        echo $! >"$STATE/pid.$unit"
    fi
fi
"#;

/// Makes the machine, and tells what its files are.
const MACHINE: &str = r#"
set -euo pipefail
ip link set lo up
ip link add lan0 type veth peer name lan1
ip link set lan1 up
ip address add 192.168.1.5/24 dev lan0
ip link set lan0 up
ip route add default via 192.168.1.1
mkdir -p /etc/nameplate /etc/systemd/system
cp -a /etc/nameplate "$STATE/etc" 2>/dev/null || true
for folder in /etc/nameplate /etc/systemd/system /usr/local/bin /var/lib /run; do mount -t tmpfs none "$folder"; done
mkdir -p /run/systemd/system
echo pi >/proc/sys/kernel/hostname
files() {
    find /etc/nameplate /etc/systemd /usr/local/bin /var/lib -printf '%p %y %m\n' | sort
    find /etc/nameplate /etc/systemd /usr/local/bin /var/lib -type f -exec sha256sum {} + | sort
}
"#;

fn on_a_machine(test: &str, script: &str) -> Option<(Output, PathBuf)> {
    let dir = temporary_directory(test);
    if !is_root() {
        skip("only root makes network namespaces and mounts");
        return None;
    }
    tool("dig")?;
    let state = dir.join("state");
    std::fs::create_dir_all(dir.join("bin")).expect("a folder");
    std::fs::create_dir_all(&state).expect("a folder");
    let systemctl = dir.join("bin/systemctl");
    std::fs::write(&systemctl, SYSTEMCTL).expect("a script");
    std::fs::set_permissions(&systemctl, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--uts",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["bash", "-c", &format!("{MACHINE}\n{script}")])
        .env(
            "PATH",
            format!("{}:{path}:/usr/sbin:/sbin", dir.join("bin").display()),
        )
        .env("STATE", &state)
        .env("NAMEPLATE", env!("CARGO_BIN_EXE_nameplate"))
        .current_dir(&dir)
        .output()
        .expect("unshare runs");
    Some((output, dir))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn checked(output: &Output, dir: &Path) -> String {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let read =
        |name: &str| std::fs::read_to_string(dir.join("state").join(name)).unwrap_or_default();
    assert!(
        output.status.success(),
        "{out}\n{}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        read("service.log"),
        read("systemctl.log"),
    );
    out
}

#[test]
fn the_lan_is_served_and_the_machine_is_as_it_was_afterwards() {
    let script = r#"
files >before
"$NAMEPLATE" install --dry-run
files | cmp - before
"$NAMEPLATE" install --yes
"$NAMEPLATE" check -conf /etc/nameplate/Corefile --deny warnings
echo "192.168.1.10 printer.lan" >>/etc/nameplate/hosts
for i in $(seq 100); do
    if [ "$(dig +short @192.168.1.5 printer.lan)" = 192.168.1.10 ]; then break; fi
    sleep 0.05
done
dig +short @192.168.1.5 printer.lan
dig +short @192.168.1.5 pi.lan
dig +short @127.0.0.1 -x 192.168.1.10
dig @192.168.1.5 none.lan | grep -o NXDOMAIN
# Again: nothing is asked of what was edited.
"$NAMEPLATE" install --yes | grep "hosts stays as it is"
sed -i '$d' /etc/nameplate/hosts
echo n | "$NAMEPLATE" uninstall && exit 1
"$NAMEPLATE" uninstall --yes
files | diff before -
"#;
    let Some((output, dir)) = on_a_machine("install_lan", script) else {
        return;
    };
    let out = checked(&output, &dir);
    for said in [
        "nameplate will answer on port 53 of 127.0.0.1, 192.168.1.5.",
        "set the DNS server to 192.168.1.5",
        "192.168.1.10\n192.168.1.5\nprinter.lan.\nNXDOMAIN\n",
        "The machine is as it was before.",
    ] {
        assert!(out.contains(said), "{said}: {out}");
    }
}

#[test]
fn what_somebody_edited_stays_and_is_named() {
    let script = r#"
"$NAMEPLATE" install --yes
echo "192.168.1.10 printer.lan" >>/etc/nameplate/hosts
"$NAMEPLATE" uninstall --yes && exit 1
cat /etc/nameplate/hosts
test ! -e /etc/nameplate/Corefile
"#;
    let Some((output, dir)) = on_a_machine("install_edited", script) else {
        return;
    };
    let out = checked(&output, &dir);
    assert!(
        out.contains("left: /etc/nameplate/hosts was edited since, and stays"),
        "{out}"
    );
    assert!(out.contains("192.168.1.10 printer.lan"), "{out}");
}

#[test]
fn who_holds_the_port_is_named_and_stopped_only_when_told() {
    let script = r#"
python3 - <<'END' &
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 53)); time.sleep(60)
END
until grep -q :0035 /proc/net/udp; do sleep 0.02; done
files >before
"$NAMEPLATE" install --yes && exit 1
"$NAMEPLATE" install --yes --replace && exit 1
files | diff before -
"#;
    let Some((output, dir)) = on_a_machine("install_taken", script) else {
        return;
    };
    let out = checked(&output, &dir);
    assert!(out.contains("python3 (pid "), "{out}");
    assert!(out.contains("not a service"), "{out}");
}

/// Kills the install at many moments, and undoes what was done.
#[test]
fn an_install_that_is_killed_is_undone() {
    let script = r#"
files >before
for delay in 0.01 0.02 0.03 0.05 0.08 0.12 0.2 0.3 0.5; do
    timeout --signal=KILL "$delay" "$NAMEPLATE" install --yes >/dev/null 2>&1 || true
    if [ -e /var/lib/nameplate-install.json ]; then "$NAMEPLATE" uninstall --yes >/dev/null; fi
    # A kill before the first step leaves at most the journal's own draft.
    rm -f /var/lib/nameplate-install.nameplate-new
    files | diff before -
done
"#;
    let Some((output, dir)) = on_a_machine("install_killed", script) else {
        return;
    };
    checked(&output, &dir);
}

/// Runs the commands of docs/lan.md, as they stand there.
#[test]
fn the_page_about_lans_is_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/lan.md")).expect("the page");
    let mut commands = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            // The package is tried by itself.
            line if inside && !line.contains("apt install") => commands.push(line),
            _ => {}
        }
    }
    assert!(commands.len() >= 8, "{commands:?}");
    let sudo = r#"
sudo() { "$@"; }
nameplate() { "$NAMEPLATE" "$@" <<<y; }
dig() {
    for i in $(seq 100); do
        said=$(command dig "$@")
        if [ -n "$said" ]; then echo "$said"; return; fi
        sleep 0.05
    done
}
"#;
    // `uninstall` names the file that was edited, and says so by its status.
    let script = format!("{sudo}{} || true\n", commands.join("\n"));
    let Some((output, dir)) = on_a_machine("install_page", &script) else {
        return;
    };
    let out = checked(&output, &dir);
    assert!(
        out.contains("\n192.168.1.10\n192.168.1.20\nnas.lan.\n"),
        "{out}"
    );
    assert!(out.contains("no mistakes"), "{out}");
    assert!(
        out.contains("left: /etc/nameplate/hosts was edited since"),
        "{out}"
    );
}

/// Files below /etc, with their content.
type Files<'a> = &'a [(&'a str, &'a str)];

/// Looks with `doctor` at a machine whose /etc has a resolv.conf and other files of the test's.
fn doctor(test: &str, files: Files<'_>, servers: &str, arguments: &str) -> Option<(bool, String)> {
    let mut script =
        String::from("etc=$(mktemp -d)\nfor i in nsswitch.conf hosts; do cp /etc/$i $etc/; done\n");
    for (path, text) in files {
        script.push_str(&format!(
            "mkdir -p $etc/$(dirname {path})\ncat >$etc/{path} <<'END'\n{text}\nEND\n"
        ));
    }
    script.push_str("mount --bind \"$etc\" /etc\n");
    script.push_str(servers);
    script.push_str(&format!(
        "\nif \"$NAMEPLATE\" doctor {arguments}; then echo GOOD; fi\n"
    ));
    let (output, dir) = on_a_machine(test, &script)?;
    let out = checked(&output, &dir);
    Some((out.ends_with("GOOD\n"), out))
}

/// Starts a server on 127.0.0.1.
const SERVES: &str = r#"
echo "192.0.2.7 nas.lan" >names
printf '. {\n bind 127.0.0.1\n hosts names\n}\n' >Corefile
"$NAMEPLATE" -conf Corefile -quiet >serves.log 2>&1 &
for i in $(seq 200); do if dig +short +tries=1 +timeout=1 @127.0.0.1 nas.lan | grep -q 192; then break; fi; done
"#;

#[test]
fn doctor_finds_what_is_wrong() {
    const SWITCH: (&str, &str) = ("nsswitch.conf", "hosts: files dns");
    const RESOLVER: (&str, &str) = ("resolv.conf", "nameserver 127.0.0.1");
    // A server that answers over UDP alone, without EDNS, and with an address for every name.
    let liar = r#"
python3 - <<'END' &
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 53))
while True:
    q, peer = s.recvfrom(4096)
    end = q.index(b"\0", 12) + 5
    s.sendto(q[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + q[12:end] + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\xc0\0\2\x63", peer)
END
until grep -q :0035 /proc/net/udp; do sleep 0.02; done
"#;
    let all: [(&str, Files<'_>, &str, &str, &[&str]); 7] = [
        (
            "nobody",
            &[SWITCH, RESOLVER],
            "",
            "nas.lan",
            &["no server listens there", "fix: start the server"],
        ),
        (
            "nothing",
            &[SWITCH, ("resolv.conf", "")],
            "",
            "nas.lan",
            &["it names no name server"],
        ),
        (
            "multicast",
            &[
                (
                    "nsswitch.conf",
                    "hosts: files mdns4_minimal [NOTFOUND=return] dns",
                ),
                RESOLVER,
            ],
            SERVES,
            "nas.local",
            &["it ends in .local", "by multicast only"],
        ),
        (
            "no_dns",
            &[("nsswitch.conf", "hosts: files"), RESOLVER],
            SERVES,
            "nas.lan",
            &["programs ask no name server at all", "sed -i"],
        ),
        (
            "hosts",
            &[
                SWITCH,
                RESOLVER,
                ("hosts", "127.0.0.1 localhost\n192.0.2.66 nas.lan"),
            ],
            SERVES,
            "nas.lan",
            &[
                "line 2 has the name",
                "programs get 192.0.2.66; 127.0.0.1 gives 192.0.2.7",
                "another answer",
            ],
        ),
        (
            "liar",
            &[SWITCH, RESOLVER],
            liar,
            "nas.lan",
            &[
                "does not know EDNS",
                "over TCP, no server listens there",
                "gives 192.0.2.99 for a name that does not exist",
            ],
        ),
        (
            "short",
            &[SWITCH, RESOLVER],
            SERVES,
            "nas --format json",
            &["has one label", r#""state": "fault""#],
        ),
    ];
    for (test, files, servers, arguments, wanted) in all {
        let Some((good, out)) = doctor(&format!("doctor_{test}"), files, servers, arguments) else {
            return;
        };
        assert!(!good, "{test}: {out}");
        for said in wanted {
            assert!(out.contains(said), "{test}, {said}: {out}");
        }
    }
    let Some((good, out)) = doctor("doctor_good", &[SWITCH, RESOLVER], SERVES, "nas.lan") else {
        return;
    };
    assert!(
        good && out.contains("programs get 192.0.2.7; 127.0.0.1 gives 192.0.2.7"),
        "{out}"
    );
}
