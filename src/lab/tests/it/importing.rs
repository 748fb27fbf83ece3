//! Files of Docker Compose and containerlab, printed as labs that work.

use std::path::Path;

use crate::resolving::{COREFILE, dig, serve};
use crate::world::{Did, World};

/// Imports an example, writes the lab, and gives what was told.
fn imported(world: &World, format: &str, file: &str) -> (String, Did) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/import")
        .join(file);
    let did = world.lab(&["import", format, example.to_str().expect("plain")]);
    let name = file.split('.').next().expect("a name");
    let path = world.file(name, &did.out);
    (path.to_str().expect("plain").to_owned(), did)
}

/// That all of these parts were told.
fn told(did: &Did, parts: &[&str]) {
    for part in parts {
        assert!(did.err.contains(part), "{part}: {}", did.err);
    }
}

#[test]
fn a_compose_file_is_a_lab_that_works() {
    let world = World::new();
    world.outside();
    let (path, did) = imported(&world, "compose", "shop.compose.yaml");
    assert_eq!(did.code, 1, "{did:?}");
    told(
        &did,
        &[
            "compose.yaml:17: left out: proxy: `3000`: a port of the host that Docker would pick",
            "compose.yaml:33: changed: app: 3 namespaces",
            "compose.yaml:35: changed: app: `python3` is this machine's, not the image's",
            "compose.yaml:35: left out: app: the value of `$TOKEN`",
            "compose.yaml:42: changed: app: it starts after `db`",
            "compose.yaml:60: left out: db: `kernel.shmmax`",
            "compose.yaml:62: left out: `image`: a namespace has this machine's files",
            "lab shop: 2 networks, 7 namespaces, 5 changed, ",
        ],
    );
    assert_eq!(world.lab(&["check", &path]).code, 0);
    if !serve(&world, COREFILE) {
        return;
    }
    let did = world.lab(&["up", &path]);
    assert_eq!(did.code, 0, "{did:?}");
    // By name, by alias, at Docker's address, and what is internal has no way out.
    assert_eq!(
        dig(&world, "app-1", "@127.0.0.11 db.shop.test"),
        "172.29.0.20"
    );
    assert_eq!(
        dig(&world, "cache", "@127.0.0.11 app.shop.test")
            .split(' ')
            .count(),
        3
    );
    assert!(
        world.pings("app-2", "database")
            && world.pings("cache", "proxy")
            && world.pings("app-3", "www")
    );
    assert!(!world.pings("db", "203.0.113.9") && world.pings("app-1", "203.0.113.9"));
    assert_eq!(dig(&world, "app-1", "metrics.shop.test"), "192.0.2.9");
    world.serve("proxy", 80, "proxy");
    assert!(
        world
            .asks("outside", "203.0.113.1", 8080)
            .starts_with("proxy sees")
    );
    let page = "for i in $(seq 100); do ip netns exec proxy nc -z app-1 8000 && exit 0; sleep 0.05; done; exit 1";
    world.ok(page);
    assert_eq!(
        world.ok("ip netns exec batch ip -br link | wc -l").trim(),
        "1"
    );
    let env = world.ok("tr '\\0' '\\n' < /proc/$(ip netns pids app-1 | head -1)/environ");
    assert!(
        env.contains("DATABASE_URL=postgres://shop:$ecret@database/shop\n"),
        "{env}"
    );
    assert_eq!(world.lab(&["down", &path]).code, 0);
}

#[test]
fn a_topology_is_a_lab_that_works() {
    let world = World::new();
    let (path, did) = imported(&world, "containerlab", "clos.clab.yml");
    assert_eq!(did.code, 1, "{did:?}");
    told(
        &did,
        &[
            "changed: border: a namespace that routes; the system of kind `nokia_srlinux` is not in it",
            "changed: sw1: a bridge of the lab's own",
            "changed: `spine` gets the other address of 10.0.1.0/30",
            "changed: the link of leaf2-client2 is the bridge `link2`",
            "left out: `image`: a namespace has",
            "left out: leaf2: `ip route show`",
            "left out: a link to `host:clos-uplink`",
        ],
    );
    world.apply_file(Path::new(&path));
    let links = |space: &str| world.ok(&format!("ip -n {space} -br addr"));
    for (space, parts) in [
        (
            "spine",
            &["eth1@", "10.0.1.1/30", "eth2@", "10.0.2.1/30", "eth3@"][..],
        ),
        ("leaf2", &["10.0.2.2/30", "10.2.0.1/24"]),
        ("client2", &["10.2.0.20/24"]),
        ("border", &["e1-1@", "172.31.20.10/24"]),
    ] {
        for part in parts {
            assert!(
                links(space).contains(part),
                "{space}: {part}: {}",
                links(space)
            );
        }
    }
    assert!(
        !links("client2").contains("172.31.20."),
        "network-mode: none"
    );
    // From end to end, by the routers; on the switch; on the management network.
    assert!(world.pings("client1", "10.2.0.20") && world.pings("client2", "10.1.0.2"));
    assert!(world.pings("server1", "10.9.0.12") && world.pings("server2", "172.31.20.10"));
    let mtu = world.ok("ip netns exec client2 cat /sys/class/net/eth1/mtu");
    assert_eq!(mtu, "1400\n");
    world.serve("client1", 80, "client1");
    assert!(world.asks("", "172.31.20.1", 8081).starts_with("client1"));
}

#[test]
fn interfaces_of_routers_get_names_that_linux_has() {
    let world = World::new();
    world.write(
        "/run/work/srl.yaml".as_ref(),
        "name: srl\ntopology:\n  defaults: {network-mode: none}\n  nodes:\n    leaf: {kind: nokia_srlinux}\n    core: {kind: nokia_sros}\n    edge: {kind: cisco_iol}\n  links:\n    - endpoints: [\"leaf:ethernet-1/2\", \"core:1/1/1\"]\n    - endpoints: [\"leaf:ethernet-1/3/1\", \"edge:GigabitEthernet0/0/0\"]\n",
    );
    let did = world.lab(&["import", "containerlab", "/run/work/srl.yaml"]);
    assert_eq!(did.code, 0, "{did:?}");
    told(
        &did,
        &[
            "srl.yaml:9: changed: leaf: the interface `ethernet-1/2` is called `e1-2`",
            "srl.yaml:9: changed: core: the interface `1/1/1` is called `1-1-1`",
            "srl.yaml:10: changed: leaf: the interface `ethernet-1/3/1` is called `e1-3-1`",
            "edge: the interface `GigabitEthernet0/0/0` is called `GigabitEth0-0-0`",
        ],
    );
    world.apply_file(&world.file("srl", &did.out));
    for (space, device) in [
        ("leaf", "e1-2"),
        ("leaf", "e1-3-1"),
        ("core", "1-1-1"),
        ("edge", "GigabitEth0-0-0"),
    ] {
        world.ok(&format!("ip -n {space} link show {device}"));
    }
}

#[test]
fn names_are_unique_and_docker_picks_no_port() {
    let world = World::new();
    let long = "a".repeat(70);
    world.write(
        "/run/work/names.yaml".as_ref(),
        &format!("services:\n  Web:\n    networks: {{default: {{aliases: [app, api]}}}}\n  web:\n    networks: {{default: {{aliases: [app, Web]}}}}\n    ports:\n      - {{published: \"8443-8445\", target: 443}}\n      - 9000-9002:90\n      - 7000-7001:70-71\n      - 80\n  {long}1: {{}}\n  {long}2: {{}}\n  job:\n    scale: 2\n    hostname: worker\n"),
    );
    let did = world.lab(&["import", "compose", "/run/work/names.yaml"]);
    assert_eq!(did.code, 1, "{did:?}");
    let (cut, other) = ("a".repeat(63), "a".repeat(61) + "-2");
    told(
        &did,
        &[
            "yaml:5: changed: `web` is called `web-2`",
            "yaml:5: left out: web-2: the name `app`: something else is called so, too",
            "yaml:7: changed: web: port 8443, where Docker picks a free one of 8443-8445",
            "yaml:8: changed: web: port 9000, where Docker picks a free one of 9000-9002",
            "yaml:10: left out: web: `80`: a port of the host that Docker would pick",
            &format!("`{long}1` is called `{cut}`"),
            &format!("`{long}2` is called `{other}`"),
        ],
    );
    let forwards = r#"forward = ["8443:web-2:443", "9000:web-2:90", "7000-7001:web-2:70-71"]"#;
    let worker = "[service.worker]\nheadless = true\nto = [\"job-1\", \"job-2\"]\n";
    assert!(
        did.out.contains(forwards) && did.out.contains(worker),
        "{did:?}"
    );
}

#[test]
fn what_is_dropped_is_told() {
    let world = World::new();
    let file = "name: a-name-of-more-than-thirty-two-octets\nservices:\n  a:\n    image: x\n    command: [--config, x]\n    user: \"5\"\n  b:\n    entrypoint: sleep\n    command: [\"9\"]\n    restart: on-failure:5\n    hostname: no\n    environment: [SET=1, UNSET]\n    deploy:\n      replicas: 1\n      resources: {limits: {cpus: \"1\"}}\n";
    let program = env!("CARGO_BIN_EXE_nameplate-lab");
    let did = world.ok(&format!(
        "cd /run/work && printf '{file}' | {program} import compose - 2>&1 || test $? = 1"
    ));
    for part in [
        "stdin:1: changed: the lab `a-name-of-more-than-thirty-two-octets` is called `a-name-of-more-than-thirty-two-o`",
        "stdin:5: left out: a: `command` begins with `--config`",
        "stdin:6: left out: a: `user`: no command is named",
        "stdin:10: changed: b: `on-failure` restarts it each time, not 5 times at most",
        "stdin:9: left out: b: the value of `$UNSET`",
        "stdin:15: left out: b: `resources` of `deploy`",
        "env = { SET = \"1\" }",
        "alias = [\"no\"]",
    ] {
        assert!(did.contains(part), "{part}: {did}");
    }
    assert!(!did.contains("UNSET ="), "{did}");
}

#[test]
fn what_cannot_be_is_refused_at_its_line() {
    let world = World::new();
    let service = |rest: &str| format!("services:\n  a:\n    image: x\n{rest}");
    for (format, text, line, why) in [
        ("compose", "services: [".to_owned(), 1, "this is not valid YAML: unclosed bracket '['\n"),
        ("compose", service("    image: y\n"), 4, "the key `image` appears here a second time\n"),
        ("compose", service("---\na: b\n"), 5, "a second document begins: "),
        ("compose", service("    command: *none\n"), 4, "an anchor that is not above it\n"),
        ("compose", format!("x-a: &a [{a}]\nx-b: &b [{b}]\nx-c: [{b}]\n", a = "x,".repeat(999), b = "*a,".repeat(200)), 3, "too many values, counting those that aliases repeat\n"),
        ("compose", format!("x-a: {}{}\n", "[".repeat(600), "]".repeat(600)), 1, "nested too deep\n"),
        ("compose", "volumes: {}\n".to_owned(), 1, "there are no `services`"),
        ("compose", "include: [other.yaml]\nservices: {a: {image: x}}\n".to_owned(), 1, "docker compose config"),
        ("compose", service("    extends: {service: b}\n"), 4, "docker compose config"),
        ("compose", service("    network_mode: service:b\n"), 4, "each namespace is its own"),
        ("compose", service("    networks: [front]\n"), 4, "there is no network `front`"),
        ("compose", service("    depends_on: [b]\n"), 4, "not a service in this file"),
        ("compose", service("    depends_on: [b]\n  b:\n    depends_on: [a]\n"), 4, "depends on itself"),
        ("compose", service("    scale: many\n"), 4, "1 to 200"),
        ("containerlab", "name: x\n".to_owned(), 1, "no `topology`"),
        ("containerlab", "topology:\n  nodes:\n    a: {}\n  links:\n    - endpoints: [\"a:eth1\", \"b:eth1\"]\n".to_owned(), 5, "there is no node `b`"),
        ("containerlab", "topology:\n  nodes:\n    a:\n      network-mode: container:b\n".to_owned(), 4, "each namespace is its own"),
        ("containerlab", "topology:\n  nodes:\n    a: {}\n    b: {}\n  links:\n    - endpoints: [\"a:ethernet 1\", \"b:eth1\"]\n".to_owned(), 6, "the name of an interface"),
        ("containerlab", "topology:\n  nodes:\n    a: {}\n    b: {}\n  links:\n    - endpoints: [\"a:ethernet-1/1\", \"b:eth1\"]\n    - endpoints: [\"a:e1-1\", \"b:eth2\"]\n".to_owned(), 7, "would both be called `e1-1`"),
    ] {
        let path = "/run/work/in.yaml";
        world.write(path.as_ref(), &text);
        let did = world.lab(&["import", format, path]);
        assert_eq!((did.code, did.out.as_str()), (2, ""), "{text:.99}: {did:?}");
        assert!(did.err.starts_with(&format!("{path}:{line}")) && did.err.contains(why), "{text:.99}: {did:?}");
    }
    // A lab with mistakes is not printed either.
    world.write(
        "/run/work/in.yaml".as_ref(),
        &service("    networks: {x: {ipv4_address: 10.2.0.5}}\nnetworks:\n  x:\n    ipam: {config: [{subnet: 10.1.0.0/24}]}\n"),
    );
    let did = world.lab(&["import", "compose", "/run/work/in.yaml"]);
    assert!(
        did.code == 2 && did.out.is_empty() && did.err.contains("LAB0104"),
        "{did:?}"
    );
    let did = world.lab(&["import", "compose", "/run/work/in.yaml"]);
    assert!(
        did.err.contains("/run/work/in.yaml:4:5") && !did.err.contains(".toml"),
        "{did:?}"
    );
    // Each at its own line, and not at that of the whole table.
    world.write(
        "/run/work/in.yaml".as_ref(),
        &service("    ports:\n      - 8080:80\n      - 8080:80\n  b:\n    image: x\n    mac_address: few\n"),
    );
    let did = world.lab(&["import", "compose", "/run/work/in.yaml"]);
    told(&did, &["in.yaml:9:5", "mac_address: few"]);
    world.write(
        "/run/work/in.yaml".as_ref(),
        &service("    ports:\n      - 8080:80\n      - 8080:80\n"),
    );
    let did = world.lab(&["import", "compose", "/run/work/in.yaml"]);
    told(&did, &["forwarded twice", "in.yaml:6:7"]);
    // All of it taken.
    world.write(
        "/run/work/in.yaml".as_ref(),
        "name: small\nservices:\n  a:\n    networks: [x]\n    expose: [80]\nnetworks: {x: {}}\n",
    );
    let did = world.lab(&["import", "compose", "/run/work/in.yaml"]);
    assert_eq!(
        (did.code, did.err.as_str()),
        (
            0,
            "lab small: 1 network, 1 namespace, 0 changed, 0 left out\n"
        ),
        "{did:?}"
    );
}
