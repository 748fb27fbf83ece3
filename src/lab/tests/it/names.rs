//! What is published, and that it resolves inside: a stand-in for the server answers from `names.json`.

use crate::resolving::UPSTREAM;
use crate::world::{World, lab_file};

/// Answers A queries from `names.json` at one address, NODATA for other types, NXDOMAIN otherwise; logs the names.
const STAND_IN: &str = r#"
import json, socket, struct, sys
names = json.load(open("/run/nameplate/lab/" + sys.argv[1] + "/names.json"))
known = {}
for host in names["hosts"]:
    for name in [host["name"]] + host["aliases"]:
        known[name + "." + names["domain"]] = [a["address"] for a in host["addresses"] if ":" not in a["address"]]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((names["nets"][0]["listen"][0], 53))
print("up", flush=True)
log = open("/run/work/log", "a")
while True:
    q, a = s.recvfrom(512)
    at, labels = 12, []
    while q[at]:
        labels.append(q[at + 1:at + 1 + q[at]].decode())
        at += 1 + q[at]
    name, kind = ".".join(labels), struct.unpack("!H", q[at + 1:at + 3])[0]
    log.write(name + "\n"); log.flush()
    found = known.get(name)
    answers = [socket.inet_aton(x) for x in found or []] if kind == 1 else []
    head = q[:2] + struct.pack("!HHHHH", 0x8580 | (0 if found is not None else 3), 1, len(answers), 0, 0)
    s.sendto(head + q[12:at + 5] + b"".join(b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 5, 4) + x for x in answers), a)
"#;

#[test]
fn ping_by_name_and_nothing_else() {
    let world = World::new();
    world.apply("search");
    world.write("/run/work/dns.py".as_ref(), STAND_IN);
    world.background("exec python3 /run/work/dns.py search");
    assert!(
        world.pings("web", "db")
            && world.pings("db", "www")
            && world.pings("web", "db.mycompany.test")
    );
    assert!(!world.pings("web", "nobody"));
    let did = world.lab(&["exec", "web", "--", "getent", "hosts", "db"]);
    assert_eq!(
        did.out.split_whitespace().collect::<Vec<_>>(),
        ["10.1.0.11", "db.mycompany.test"]
    );
    // ndots: a name with fewer dots tries the search domains first.
    world.ok("ip netns exec pod getent hosts a.b.c; > /run/work/log; ip netns exec pod getent ahostsv4 a.b.c; true");
    let log = world.ok("cat /run/work/log");
    let first = log.lines().next();
    assert_eq!(first, Some("a.b.c.apps.svc.cluster.local"), "{log}");
    assert!(
        world
            .ok("cat /etc/netns/web/nsswitch.conf")
            .contains("hosts: files dns")
    );
    let probe = world.lab(&[
        "check",
        "--probe",
        lab_file("search").to_str().expect("plain"),
    ]);
    assert_eq!(probe.code, 0, "{probe:?}");
    let status = world.lab(&["status", lab_file("search").to_str().expect("plain")]);
    assert!(status.out.contains("DNS 10.1.0.1 answers"), "{status:?}");
}

#[test]
fn without_a_resolver_the_hosts_file_knows_everyone() {
    let world = World::new();
    world.apply("pods");
    assert!(world.pings("p1", "p3") && world.pings("p2", "p1.pods.test"));
    // Where the file says so, with a resolver as well: nobody serves here.
    world.apply("hosts");
    assert!(world.pings("web", "db") && world.pings("db", "www"));
    let text = std::fs::read_to_string(lab_file("hosts")).expect("a lab");
    let file = world.file("hosts", &text.replace("\"all\"", "\"self\""));
    world.apply_file(&file);
    assert!(world.pings("web", "www") && !world.pings("db", "www"));
}

#[test]
fn the_second_resolver_is_asked_where_the_first_is_silent() {
    let world = World::new();
    world.apply("resolvers");
    let lines = world.ok("grep nameserver /etc/netns/desk/resolv.conf");
    assert_eq!(lines, "nameserver 192.168.1.1\nnameserver 192.168.1.53\n");
    world.write("/run/work/up.py".as_ref(), UPSTREAM);
    world.background("exec ip netns exec backup python3 /run/work/up.py 192.168.1.53 53");
    let found = world.ok("ip netns exec desk getent ahostsv4 www.example.org");
    assert!(found.starts_with("198.51.100.7 "), "{found}");
}

#[test]
fn the_order_of_files_and_dns_is_the_labs() {
    let world = World::new();
    // As where names of DNS are somebody else's: nothing here ever asks a server.
    world.ok("echo 'hosts: files' > /etc/nsswitch.conf");
    world.apply("search");
    world.write("/run/work/dns.py".as_ref(), STAND_IN);
    world.background("exec python3 /run/work/dns.py search");
    assert!(world.pings("web", "db"));
    let did = world.lab(&["exec", "web", "--", "getent", "hosts", "db"]);
    assert_eq!(did.code, 0, "{did:?}");
    let text = std::fs::read_to_string(lab_file("search")).expect("a lab");
    let file = world.file("search", &text.replace("nsswitch = true\n", ""));
    world.apply_file(&file);
    assert!(!world.pings("web", "db"));
}

#[test]
fn names_are_published_whole_and_go_first() {
    let world = World::new();
    world.apply("search");
    let text = world.ok("cat /run/nameplate/lab/search/names.json");
    let names: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (
            names["v"].as_u64(),
            names["domain"].as_str(),
            names["ttl"].as_u64()
        ),
        (Some(1), Some("mycompany.test"), Some(5))
    );
    assert_eq!(names["records"][0]["data"], "CNAME web");
    assert_eq!(names["hosts"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        world.ok(
            "stat -c %a /run/nameplate/lab/search/names.json /run/nameplate/lab/search/journal.json"
        ),
        "644\n600\n"
    );
    assert_eq!(world.lab(&["down", "search"]).code, 0);
    assert_eq!(world.sh("ls /run/nameplate/lab/search").code, 2);
}
