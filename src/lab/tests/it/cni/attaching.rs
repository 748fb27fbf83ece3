//! The runtime's side: `cni add` and `cni del`, with what libcni would find afterwards.

use serde_json::{Value, json};

use super::DEBIAN;
use crate::resolving;
use crate::world::{Did, World, assert_same};

/// A world with the network `pods`, and a place for results that is not the machine's.
fn world(more: &[Value]) -> World {
    let world = World::new();
    world.ok("mount -t tmpfs tmpfs /var/lib && ip netns add c1 && ip netns add c2");
    let did = world.lab(&[
        "cni",
        "install",
        "--name",
        "pods",
        "--bin-dir",
        "/run/work/bin",
        "--conf-dir",
        "/run/work/net.d",
    ]);
    assert_eq!(did.code, 0, "{did:?}");
    if !more.is_empty() {
        let mut list = list(&world);
        list["plugins"]
            .as_array_mut()
            .expect("a list")
            .extend_from_slice(more);
        world.write(
            "/run/work/net.d/10-pods.conflist".as_ref(),
            &list.to_string(),
        );
    }
    world
}

fn list(world: &World) -> Value {
    serde_json::from_str(&world.ok("cat /run/work/net.d/10-pods.conflist")).expect("JSON")
}

/// What attaching makes, without timers and counters.
fn made(world: &World) -> String {
    world.ok("ip -br link; ip -n c1 -br addr; ip -n c2 -br addr; find /run/nameplate/cni -name '*.json'; ls -A /var/lib/cni/results")
}

/// A verb, with what cnitool takes from the environment.
fn cni(world: &World, words: &str, more: &[(&str, &str)]) -> Did {
    let path = format!("/run/work/bin:{DEBIAN}");
    let variables = [
        &[
            ("CNI_PATH", path.as_str()),
            ("NETCONFPATH", "/run/work/net.d"),
        ],
        more,
    ]
    .concat();
    let words: Vec<&str> = ["cni"].into_iter().chain(words.split(' ')).collect();
    world.lab_with(&words, &variables)
}

#[test]
fn a_namespace_is_attached_and_detached() {
    let world = world(&[]);
    let before = world.snapshot();
    let ports = r#"{"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}], "unknown": 7}"#;
    let did = cni(
        &world,
        "add pods one c1",
        &[
            ("CAP_ARGS", ports),
            ("CNI_ARGS", "K8S_POD_NAME=web;IgnoreUnknown=1"),
        ],
    );
    assert_eq!(did.code, 0, "{did:?}");
    let result: Value = serde_json::from_str(&did.out).expect("a result");
    assert_eq!(
        (&result["cniVersion"], &result["ips"][0]["gateway"]),
        (&json!("1.0.0"), &json!("10.22.0.1"))
    );
    let did = cni(&world, "add pods two /run/netns/c2 --ifname net1", &[]);
    assert_eq!(did.code, 0, "{did:?}");
    let second: Value = serde_json::from_str(&did.out).expect("a result");
    let address = second["ips"][0]["address"].as_str().expect("an address");
    assert!(world.pings("c1", address.split('/').next().expect("an address")));
    world.serve("c1", 80, "web");
    assert!(
        world.asks("", "127.0.0.1", 8080).starts_with("web sees"),
        "the runtime's ports"
    );
    assert!(
        world
            .ok("cat /run/nameplate/lab/cni-pods/names.json")
            .contains("\"web\""),
        "the runtime's arguments"
    );

    // What libcni 1.3 writes and reads, key by key.
    assert_eq!(
        world.ok(
            "ls -A /var/lib/cni/results; stat -c %a /var/lib/cni/results /var/lib/cni/results/*"
        ),
        "pods-one-eth0\npods-two-net1\n700\n600\n600\n"
    );
    let kept: Value =
        serde_json::from_str(&world.ok("cat /var/lib/cni/results/pods-one-eth0")).expect("JSON");
    let config = world.ok("python3 -c 'import json, base64; print(base64.b64decode(json.load(open(\"/var/lib/cni/results/pods-one-eth0\"))[\"config\"], validate=True).decode())'");
    assert_eq!(
        serde_json::from_str::<Value>(&config).expect("JSON"),
        list(&world)
    );
    let mut rest = kept.clone();
    rest["config"] = json!("");
    assert_eq!(
        rest,
        json!({
            "kind": "cniCacheV1", "containerId": "one", "config": "", "ifName": "eth0", "networkName": "pods", "netns": "/run/netns/c1",
            "cniArgs": [["K8S_POD_NAME", "web"], ["IgnoreUnknown", "1"]],
            "capabilityArgs": serde_json::from_str::<Value>(ports).expect("JSON"), "result": result,
        })
    );

    // Once only; and what is refused leaves what is there.
    let state = made(&world);
    for (words, why) in [
        ("add pods one c1", "one has an interface eth0 already"),
        ("add pods three c1", "three has an interface eth0 already"),
        ("add pods three nowhere", "/run/netns/nowhere"),
        (
            "add none three c1 --ifname net1",
            "there is no network none in /run/work/net.d",
        ),
        ("del none three", "there is no network none"),
        ("del pods a/b", "`a/b` cannot be the name of a container"),
    ] {
        let did = cni(&world, words, &[]);
        assert_eq!(
            (did.code, did.err.contains(why)),
            (1, true),
            "{words}: {did:?}"
        );
    }
    assert_same(&made(&world), &state, "nothing was done");

    // Also without the network's file, without the namespace, without the result, and again.
    world.ok("mv /run/work/net.d/10-pods.conflist /run/work/pods");
    let did = cni(&world, "del pods one c1", &[]);
    assert_eq!(did.code, 0, "{did:?}");
    world.ok("mv /run/work/pods /run/work/net.d/10-pods.conflist; rm /var/lib/cni/results/pods-two-net1; ip netns del c2; ip netns add c2");
    for _ in 0..2 {
        let did = cni(&world, "del pods two --ifname net1", &[]);
        assert_eq!(did.code, 0, "{did:?}");
    }
    assert_eq!(world.ok("ls -A /var/lib/cni/results"), "");
    world.ok("rm -rf /run/nameplate; sysctl -qw net.ipv4.ip_forward=0");
    assert_same(&world.snapshot(), &before, "detached");
}

#[test]
fn a_container_of_somebody_else_gets_a_name_and_a_network() {
    let world = world(&[]);
    if !resolving::serve(&world, resolving::COREFILE) {
        return;
    }
    // What a runtime makes: a namespace that only a process has.
    world.background("exec unshare -n sh -c 'echo $$; echo $$ >/run/work/pid; exec sleep 100'");
    let pid = world.ok("cat /run/work/pid");
    let id = "04acb487a641";
    let before = world.snapshot();
    let did = world.lab(&["adopt", "--pid", pid.trim(), "--name", id]);
    assert_eq!(did.code, 0, "{did:?}");
    assert!(world.ok(&format!("ip -n {id} link")).contains("lo:"));
    let pod = [("CNI_ARGS", "K8S_POD_NAME=web;IgnoreUnknown=1")];
    assert_eq!(cni(&world, &format!("add pods {id} {id}"), &pod).code, 0);
    assert_eq!(
        cni(
            &world,
            "add pods one c1",
            &[("CNI_ARGS", "K8S_POD_NAME=db")]
        )
        .code,
        0
    );
    let address = world.ok(&format!("ip -n {id} -4 -br addr show eth0"));
    let address = address
        .split_whitespace()
        .nth(2)
        .and_then(|net| net.split('/').next());
    let address = address.expect("an address").to_owned();
    assert!(world.pings("c1", &address));
    world.ok(&format!(
        "nsenter -t {} -n ping -c1 -W1 10.22.0.1",
        pid.trim()
    ));
    let resolves = |name: &str| resolving::dig(&world, "c1", &format!("@10.22.0.1 {name}"));
    assert_eq!(resolves("web.pods.test"), address);
    assert_eq!(resolves(&format!("-x {address}")), "web.pods.test.");
    assert_eq!(cni(&world, &format!("del pods {id}"), &[]).code, 0);
    world.ok("for try in $(seq 100); do dig +short @10.22.0.1 web.pods.test | grep -q . || exit 0; sleep 0.02; done; exit 1");
    assert!(!world.pings("c1", &address));
    // The name goes, and the process keeps its namespace.
    world.ok(&format!("ip netns del {id}"));
    assert_eq!(cni(&world, "del pods one", &[]).code, 0);
    assert_eq!(
        world.ok(&format!("nsenter -t {} -n ip -o link | wc -l", pid.trim())),
        world.ok("unshare -n ip -o link | wc -l")
    );
    world.ok("sysctl -qw net.ipv4.ip_forward=0");
    assert_same(&world.snapshot(), &before, "nothing is left");
}

#[test]
fn the_plugins_of_a_list_are_called_in_their_order() {
    if !std::path::Path::new(DEBIAN).join("tuning").exists() {
        eprintln!("SKIPPED: {DEBIAN}/tuning is not installed");
        return;
    }
    let tuning = json!({"type": "tuning", "sysctl": {"net.ipv4.conf.IFNAME.log_martians": "1"}});
    let world = world(&[tuning]);
    let did = cni(&world, "add pods one c1", &[]);
    assert_eq!(did.code, 0, "{did:?}");
    assert_eq!(
        world.ok("ip netns exec c1 cat /proc/sys/net/ipv4/conf/eth0/log_martians"),
        "1\n"
    );
    assert_eq!(cni(&world, "del pods one c1", &[]).code, 0);

    // A plugin that fails, and one that is not there: the first one's work is taken back.
    let before = made(&world);
    for (last, why) in [
        (json!({"type": "tuning", "mac": "no"}), "tuning: "),
        (
            json!({"type": "nowhere"}),
            "plugin `nowhere` is not in CNI_PATH",
        ),
    ] {
        let mut list = list(&world);
        list["plugins"].as_array_mut().expect("a list").push(last);
        world.write(
            "/run/work/net.d/10-pods.conflist".as_ref(),
            &list.to_string(),
        );
        let did = cni(&world, "add pods one c1", &[]);
        assert_eq!((did.code, did.err.contains(why)), (1, true), "{did:?}");
        list["plugins"].as_array_mut().expect("a list").pop();
        world.write(
            "/run/work/net.d/10-pods.conflist".as_ref(),
            &list.to_string(),
        );
        assert_same(&made(&world), &before, why);
    }
}
