//! Clients that may not have the addresses that they ask from: DNS cookies with dig and with those of BIND, Knot and NSD, and rate
//! limits of responses.

use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::rfcs::Row;
use crate::server::{
    Reply, Server, Upstream, answer, dig, free_port, temporary_directory, tool, wait_until,
};

const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
const OTHER: &str = "445536bcd2513298075a5d379663c962";
const ZONE: &str = "@ 300 IN SOA ns hostmaster 1 7200 1800 1209600 300\n@ 300 IN NS ns\nns 300 IN A 192.0.2.53\nwww 300 IN A 192.0.2.1\n";

/// Another server with cookies of `SECRET`; ended when dropped.
struct Peer(Child, SocketAddr);

impl Peer {
    /// Starts `program` with a configuration in which `{PORT}` and `{DIR}` are replaced; `None` when it is not installed.
    fn start(
        dir: &Path,
        (program, arguments): (&str, &[&str]),
        configuration: &str,
    ) -> Option<Self> {
        let (tool, port) = (tool(program)?, free_port());
        let text = configuration
            .replace("{PORT}", &port.to_string())
            .replace("{DIR}", &dir.display().to_string());
        let file = dir.join(format!("{program}.conf"));
        std::fs::write(&file, text).expect("written");
        let child = Command::new(tool)
            .args(arguments)
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(File::create(dir.join(format!("{program}.log"))).expect("a log"))
            .spawn()
            .expect("the peer starts");
        let peer = Self(child, SocketAddr::from(([127, 0, 0, 1], port)));
        wait_until(&format!("{program} to answer"), || {
            let text = dig(
                peer.1,
                &["www.example.org", "+short", "+tries=1", "+time=1"],
            );
            text.is_some_and(|text| text.trim() == "192.0.2.1")
        });
        Some(peer)
    }

    fn all(dir: &Path) -> Vec<(&'static str, Self)> {
        let named = format!(
            "options {{ directory \"{{DIR}}\"; listen-on port {{PORT}} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; pid-file none;\n\
             session-keyfile none; dnssec-validation no; cookie-algorithm siphash24; cookie-secret \"{SECRET}\"; require-server-cookie yes; }};\n\
             controls {{ }};\nzone \"example.org\" {{ type primary; file \"{{DIR}}/zone\"; }};\n"
        );
        let knot = format!(
            "server:\n    rundir: {{DIR}}\n    listen: 127.0.0.1@{{PORT}}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n\
             log:\n  - target: stderr\n    any: warning\ndatabase:\n    storage: {{DIR}}/knot\n\
             mod-cookies:\n  - id: ours\n    secret: 0x{SECRET}\n\
             template:\n  - id: default\n    storage: {{DIR}}\n    zonefile-sync: -1\n    zonefile-load: whole\n    journal-content: none\n    global-module: mod-cookies/ours\n\
             zone:\n  - domain: example.org\n    file: {{DIR}}/zone\n"
        );
        let nsd = format!(
            "server:\n  ip-address: 127.0.0.1@{{PORT}}\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  database: \"\"\n  zonesdir: \"{{DIR}}\"\n\
             \x20 xfrdfile: \"\"\n  xfrdir: \"{{DIR}}\"\n  zonelistfile: \"{{DIR}}/zone.list\"\n  answer-cookie: yes\n  cookie-secret: \"{SECRET}\"\n  cookie-secret-file: \"\"\n\
             remote-control:\n  control-enable: no\nzone:\n  name: example.org\n  zonefile: \"{{DIR}}/zone\"\n"
        );
        [
            (("named", &["-g", "-n", "1", "-c"][..]), named),
            (("knotd", &["-c"]), knot),
            (("nsd", &["-d", "-c"]), nsd),
        ]
        .into_iter()
        .filter_map(|(program, text)| Some((program.0, Self::start(dir, program, &text)?)))
        .collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // NSD's children end with their parent only where it is asked to end.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// What a server says to a query with these cookies, and no other try.
fn ask(address: SocketAddr, cookie: &str) -> Option<String> {
    let cookie = format!("+cookie={cookie}");
    dig(address, &["www.example.org", &cookie, "+nobadcookie"])
}

/// The cookies in what dig printed.
fn cookies(text: &str) -> String {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("; COOKIE: "));
    let cookies = line.and_then(|line| line.split_whitespace().next());
    cookies
        .unwrap_or_else(|| panic!("no cookies: {text}"))
        .to_owned()
}

fn status(text: &str) -> &str {
    let behind = text.split_once("status: ").map(|(_, behind)| behind);
    let status = behind.and_then(|behind| behind.split(',').next());
    status.unwrap_or_else(|| panic!("no status: {text}"))
}

fn serve(dir: &Path, lines: &str) -> Server {
    std::fs::write(dir.join("zone"), ZONE).expect("written");
    let corefile = format!("example.org:{{PORT}} {{\n  bind 127.0.0.1\n  file zone\n{lines}\n}}\n");
    Server::start_in(dir, &corefile)
}

#[test]
fn cookies_of_one_secret_are_good_at_every_server() {
    let dir = temporary_directory("cookies-peers");
    let server = serve(
        &dir,
        &format!("  cookie {{\n    secret {SECRET}\n    require\n  }}"),
    );
    let Some(told) = ask(server.address(), "2464c4abcf10c957") else {
        return;
    };
    assert_eq!(status(&told), "BADCOOKIE", "{told}");
    let ours = cookies(&told);
    let again = ask(server.address(), &ours).expect("dig");
    assert_eq!(status(&again), "NOERROR", "{again}");
    assert!(again.contains("(good)"), "{again}");
    for (name, peer) in Peer::all(&dir) {
        let text = ask(peer.1, "2464c4abcf10c957").expect("dig");
        let theirs = cookies(&text);
        let here = ask(server.address(), &theirs).expect("dig");
        assert_eq!(status(&here), "NOERROR", "{name}'s cookie: {here}");
        let there = ask(peer.1, &ours).expect("dig");
        assert_eq!(status(&there), "NOERROR", "our cookie at {name}: {there}");
        // Of one second, they are one cookie.
        if ours[24..32] == theirs[24..32] {
            assert_eq!(ours, theirs, "{name}");
        }
        let mut wrong = theirs.into_bytes();
        let last = wrong.len() - 1;
        wrong[last] = if wrong[last] == b'0' { b'1' } else { b'0' };
        let wrong = String::from_utf8(wrong).expect("text");
        let here = ask(server.address(), &wrong).expect("dig");
        assert_eq!(status(&here), "BADCOOKIE", "{name}: {here}");
    }
}

#[test]
fn dig_gets_through_by_badcookie() {
    let dir = temporary_directory("cookies-dig");
    let server = serve(&dir, "  cookie {\n    require\n  }");
    let Some(text) = server.dig(&["www.example.org", "+cookie"]) else {
        return;
    };
    assert!(text.contains("BADCOOKIE, retrying"), "{text}");
    assert!(
        text.contains("status: NOERROR") && text.contains("(good)"),
        "{text}"
    );
    for (arguments, expected) in [
        (&["www.example.org", "+nocookie"][..], "NOERROR"),
        (&["www.example.org", "+cookie", "+nobadcookie"], "BADCOOKIE"),
        (&["www.example.org", "+cookie", "+tcp"], "NOERROR"),
        (
            &["www.example.org", "+cookie=0102030405060708ff"],
            "FORMERR",
        ),
        // RFC 7873, section 5.4: no question, and the server cookie in the response.
        (&["+header-only", "+cookie"], "NOERROR"),
    ] {
        let text = server.dig(arguments).expect("dig");
        assert_eq!(status(&text), expected, "{arguments:?}: {text}");
        let told = !arguments.contains(&"+nocookie") && expected != "FORMERR";
        assert_eq!(text.contains("; COOKIE: "), told, "{arguments:?}: {text}");
        assert_eq!(text.contains("(good)"), told, "{arguments:?}: {text}");
    }
    // A name that nobody serves, and a query without a question where no cookies are.
    let plain = serve(&temporary_directory("cookies-none"), "");
    let text = plain.dig(&["+header-only", "+cookie"]).expect("dig");
    assert_eq!(status(&text), "FORMERR", "{text}");
}

#[test]
fn a_secret_is_replaced_without_a_bad_cookie() {
    let dir = temporary_directory("cookies-secrets");
    let write = |text: &str| {
        std::fs::write(dir.join("draft"), text).expect("written");
        std::fs::rename(dir.join("draft"), dir.join("secrets")).expect("renamed");
    };
    write(&format!("{SECRET}\n"));
    let server = serve(&dir, "  cookie {\n    secret secrets\n    require\n  }");
    let Some(told) = ask(server.address(), "2464c4abcf10c957") else {
        return;
    };
    let old = cookies(&told);
    write(&format!("{OTHER}\n{SECRET}\n"));
    server.wait_for_log("plugin/cookie: Successfully reloaded secrets");
    let text = ask(server.address(), &old).expect("dig");
    assert_eq!(status(&text), "NOERROR", "{text}");
    let new = cookies(&text);
    assert_ne!(new, old, "the new secret makes it");
    write("nothing\n");
    server.wait_for_log("secrets:1: expected a secret of 32 hexadecimal digits");
    write(&format!("{OTHER}\n"));
    wait_until("the old secret to be forgotten", || {
        let text = ask(server.address(), &old).expect("dig");
        status(&text) == "BADCOOKIE"
    });
    let text = ask(server.address(), &new).expect("dig");
    assert_eq!(status(&text), "NOERROR", "{text}");
}

#[test]
fn cookies_go_no_further() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let upstream = Upstream::start(move |asked| {
        let options = wire::Message::new(asked.octets).and_then(|message| message.opt());
        let options = options.map(|opt| opt.rdata().to_vec());
        log.lock().expect("no panic").push(options);
        Reply::Octets(answer(asked.octets, 60, &[[192, 0, 2, 7]]))
    });
    let forward = format!("  forward . {}\n", upstream.address());
    let corefile = format!(
        ".:{{PORT}} {{\n  bind 127.0.0.1\n  cookie\n{forward}}}\n\
         rewritten.test:{{PORT}} {{\n  bind 127.0.0.1\n  cookie\n  rewrite name exact a.rewritten.test b.rewritten.test\n{forward}}}\n"
    );
    let server = Server::start("cookies-upstream", &corefile);
    for name in ["www.example.org", "a.rewritten.test"] {
        let arguments = [name, "+cookie", "+ednsopt=65001:aa", "+nobadcookie"];
        let Some(text) = server.dig(&arguments) else {
            return;
        };
        assert!(
            text.contains("192.0.2.7") && text.contains("(good)"),
            "{text}"
        );
    }
    let seen = seen.lock().expect("no panic").clone();
    // The option beside the cookie is still there.
    let local = Some(vec![0xFD, 0xE9, 0, 1, 0xAA]);
    assert_eq!(seen, [local.clone(), local]);
}

/// Sends so many queries of a row over UDP; the RCODE and TC of the replies.
fn flood(address: SocketAddr, name: &str, count: u16) -> Vec<(u8, bool)> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(address).expect("connected");
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout");
    let name: wire::NameBuf = name.parse().expect("a name");
    for id in 0..count {
        let mut query = id.to_be_bytes().to_vec();
        query.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        query.extend_from_slice(name.as_name().octets());
        query.extend_from_slice(&[0, 1, 0, 1]);
        socket.send(&query).expect("sent");
    }
    let mut reply = [0; 512];
    let mut replies = Vec::new();
    while let Ok(len) = socket.recv(&mut reply) {
        assert!(len >= 12);
        replies.push((reply[3] & 0xF, reply[2] & 2 != 0));
    }
    replies
}

#[test]
fn a_flood_is_limited_and_tcp_and_cookies_get_through() {
    let dir = temporary_directory("rrl-flood");
    // The rate is so low that a slow machine makes no difference.
    let server = serve(
        &dir,
        "  cookie\n  log\n  prometheus 127.0.0.1:{METRICS}\n  rrl {\n    responses-per-second 0.02\n    nxdomains-per-second 0\n    slip-ratio 2\n  }"
            .replace("{METRICS}", &free_port().to_string())
            .as_str(),
    );
    let replies = flood(server.address(), "www.example.org.", 101);
    let whole = replies.iter().filter(|reply| **reply == (0, false)).count();
    let cut = replies.iter().filter(|reply| **reply == (0, true)).count();
    assert_eq!(
        (whole, cut, replies.len()),
        (1, 50, 51),
        "every second one slips"
    );
    let unlimited = flood(server.address(), "nowhere.example.org.", 50);
    assert_eq!(unlimited, vec![(3, false); 50]);
    let rows: &[Row] = &[
        (
            "7766",
            "TCP is not limited",
            "www.example.org A tcp",
            "NOERROR|an= 1|-tc",
        ),
        (
            "7766",
            "not once",
            "www.example.org A tcp",
            "NOERROR|an= 1|-tc",
        ),
    ];
    crate::rfcs::run(server.address(), rows);
    let Some(text) = server.dig(&["www.example.org", "+cookie", "+tries=3", "+time=1"]) else {
        return;
    };
    assert!(text.contains("192.0.2.1"), "a client with cookies: {text}");
    // What is dropped is logged as what nobody answers.
    assert!(server.log().lines().count() > 150, "{}", server.log());
}
