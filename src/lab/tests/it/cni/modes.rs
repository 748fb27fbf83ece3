//! Keys of the upstream bridge beyond the plain ones, configurations that changed meanwhile, and names.

use serde_json::{Value, json};

use super::{Runner, plain, world};
use crate::resolving;
use crate::world::assert_same;

#[test]
fn what_cannot_be_done_does_not_hinder_del_and_gc() {
    let world = world(&["c1", "c2"]);
    let before = world.snapshot();
    let mut runner = Runner::new(&world, plain());
    runner.added("c1");
    runner.added("c2");
    runner.plugins[0]["vlan"] = json!(7);
    runner.del("c1", &Value::Null);
    let did = runner.call(
        &runner.plugins[0],
        "GC",
        "",
        &Value::Null,
        &json!({"cni.dev/valid-attachments": []}),
    );
    assert_eq!(did.code, 0, "{did:?}");
    assert_same(&world.snapshot(), &before, "nothing is left");
}

#[test]
fn modes_of_the_bridge_and_of_the_interface() {
    let world = world(&["c1", "c2", "c3"]);
    let before = world.snapshot();
    let mut runner = Runner::new(&world, plain());
    runner.plugins[0]["promiscMode"] = json!(true);
    runner.plugins[0]["portIsolation"] = json!(true);
    runner.plugins[0]["hairpinMode"] = json!(true);
    runner.plugins[0]["mtu"] = json!(1400);
    let one = runner.added("c1");
    let two = runner.added("c2");
    let bridge = world.ok("ip -d link show cni0");
    assert!(
        bridge.contains("promiscuity 1") && bridge.contains("mtu 1400"),
        "{bridge}"
    );
    let port = world.ok("ip -d link show master cni0");
    assert!(
        port.contains("hairpin on") && port.contains("isolated on"),
        "{port}"
    );
    assert!(world.pings("c1", "192.0.2.1") && !world.pings("c1", "192.0.2.3"));
    runner.del("c1", &one);
    runner.del("c2", &two);
    // Without an address, and down: somebody else takes care of it.
    runner.plugins[0] =
        json!({"type": "nameplate-cni", "bridge": "cni0", "disableContainerInterface": true});
    let three = runner.added("c3");
    assert!(world.ok("ip -n c3 -br link show eth0").contains("DOWN"));
    assert_eq!(three["ips"], json!([]));
    assert_eq!(runner.check("c3", &three), Ok(()));
    runner.del("c3", &three);
    assert_same(&world.snapshot(), &before, "DEL leaves nothing");
}

#[test]
fn a_container_sends_from_its_own_address_only() {
    let world = world(&["c1", "c2"]);
    let before = world.snapshot();
    let mut runner = Runner::new(&world, plain());
    runner.plugins[0]["macspoofchk"] = json!(true);
    let one = runner.added("c1");
    let two = runner.added("c2");
    assert!(world.pings("c1", "192.0.2.3") && world.pings("c1", "192.0.2.1"));
    assert_eq!(runner.check("c1", &one), Ok(()));
    let own = one["interfaces"][2]["mac"].as_str().expect("a MAC address");
    world.ok("ip -n c1 link set eth0 address 02:00:00:00:00:99");
    assert!(!world.pings("c1", "192.0.2.3") && !world.pings("c1", "192.0.2.1"));
    world.ok(&format!("ip -n c1 link set eth0 address {own}"));
    assert!(world.pings("c1", "192.0.2.3"));
    // The rules of a container that is gone do not hinder the next.
    world.ok("ip netns del c2; for try in $(seq 100); do ip -o link | grep -c @if | grep -qx 1 && exit; sleep 0.05; done; exit 1");
    runner.plugins[0]["ipMasq"] = json!(true);
    world.ok("ip netns add c3; ip -n c3 link set lo up");
    let three = runner.added("c3");
    assert!(world.pings("c3", "192.0.2.2"));
    runner.del("c3", &three);
    runner.del("c2", &two);
    runner.del("c1", &one);
    world.ok("ip netns del c3; ip netns add c2; ip -n c2 link set lo up");
    assert_same(&world.snapshot(), &before, "DEL leaves nothing");
}

#[test]
fn duplicates_are_looked_for_where_that_is_asked() {
    let world = world(&["c1", "c2"]);
    let mut runner = Runner::new(&world, plain());
    runner.plugins[0]["enabledad"] = json!(true);
    runner.plugins[0]["capabilities"] = json!({"ips": true});
    runner.plugins[0]["ipam"] =
        json!({"type": "host-local", "ranges": [[{"subnet": "2001:db8::/64"}]]});
    let one = runner.added("c1");
    assert!(
        !world
            .ok("ip -n c1 -6 addr show dev eth0 scope global")
            .contains("tentative")
    );
    assert!(world.pings("c1", "2001:db8::1"));
    // Somebody on the network has what the next container is to get.
    let taken = "ip -n c1 addr add 2001:db8::77/64 dev eth0 nodad";
    world.ok(taken);
    runner.runtime = json!({"ips": ["2001:db8::77"]});
    let refused = runner.add("c2").expect_err("it is taken");
    assert_eq!(refused["code"], 101, "{refused}");
    assert!(refused.to_string().contains("2001:db8::77"), "{refused}");
    assert_eq!(world.ok("ip -n c2 -o link | grep -c ."), "1\n");
    runner.runtime = json!({});
    runner.del("c1", &one);
}

#[test]
fn the_name_of_a_container_resolves() {
    let world = world(&["c1", "c2"]);
    if !resolving::serve(&world, resolving::COREFILE) {
        return;
    }
    let mut runner = Runner::new(&world, plain());
    runner.plugins[0]["capabilities"] = json!({"aliases": true});
    runner.plugins[0]["lab"] = json!({"domain": "pods.test"});
    runner.runtime = json!({"aliases": ["www"]});
    runner.arguments = "IgnoreUnknown=1;K8S_POD_NAME=web".to_owned();
    let one = runner.added("c1");
    runner.arguments.clear();
    runner.runtime = json!({});
    let two = runner.added("c2");
    let asked = |from: &str, name: &str, wanted: &str| {
        let got = resolving::dig(&world, from, &format!("@192.0.2.1 {name}"));
        assert_eq!(
            got.split(' ').next_back(),
            Some(wanted),
            "{from} asked {name}"
        );
    };
    asked("c2", "web.pods.test", "192.0.2.2");
    asked("c2", "www.pods.test", "192.0.2.2");
    asked("", "c2.pods.test", "192.0.2.3");
    asked("c1", "-x 192.0.2.2", "web.pods.test.");
    assert_eq!(runner.check("c1", &one), Ok(()));
    // What the runtime would write into resolv.conf is enough for a short name.
    world.ok("mkdir -p /etc/netns/c2; printf 'nameserver 192.0.2.1\nsearch pods.test\n' > /etc/netns/c2/resolv.conf");
    assert!(world.pings("c2", "web"));
    runner.del("c1", &one);
    // DEL waits for nobody.
    world.ok("for try in $(seq 100); do dig +short @192.0.2.1 web.pods.test | grep -q . || exit 0; sleep 0.02; done; exit 1");
    runner.del("c2", &two);
}

/// Every row of the tables of keys does what it says.
#[test]
fn the_readme_is_true() {
    let readme = include_str!("../../../cni/README.md");
    let rows: Vec<(&str, &str)> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `\""))
        .filter_map(|line| {
            let (key, rest) = line.split_once("` | ")?;
            Some((key, rest.split(" |").next()?))
        })
        .collect();
    assert!(rows.len() > 20, "{rows:?}");
    let world = world(&["c1"]);
    let before = world.snapshot();
    for (key, here) in rows {
        let mut config = plain();
        let given: Value = serde_json::from_str(&format!("{{\"{key}}}")).expect(key);
        for (key, value) in given.as_object().expect("an object") {
            config[key] = value.clone();
        }
        let runner = Runner::new(&world, config);
        match (runner.add("c1"), here) {
            (Err(said), "refused") => {
                assert_eq!(said["code"], 2, "{key}: {said}");
            }
            (Ok(result), "as upstream" | "ours" | "no effect") => {
                assert_eq!(runner.check("c1", &result), Ok(()), "{key}");
                runner.del("c1", &result);
            }
            (said, _) => panic!("{key} is {here}: {said:?}"),
        }
    }
    world.ok("ip link del cni0 2>/dev/null; rm -r /run/work/addresses");
    assert_same(&world.snapshot(), &before, "DEL leaves nothing");
    // The example of a network is one.
    let example = readme.split("```json").nth(1).expect("an example");
    let list: Value =
        serde_json::from_str(example.split("```").next().expect("a block")).expect("JSON");
    let mut plugin = list["plugins"][0].clone();
    plugin["name"] = list["name"].clone();
    let mut runner = Runner::new(&world, plugin);
    runner.runtime = json!({"aliases": ["web"], "ips": ["10.22.0.9"]});
    let result = runner.added("c1");
    assert_eq!(result["dns"]["search"], json!(["pods.test"]));
    assert_eq!(runner.check("c1", &result), Ok(()));
    runner.del("c1", &result);
}

#[test]
fn gc_goes_on_after_any_kill() {
    let world = world(&["c1", "c2"]);
    let before = world.snapshot();
    let mut config = plain();
    config["cniVersion"] = json!("1.1.0");
    config["name"] = json!("net");
    config["ipMasq"] = json!(true);
    config["macspoofchk"] = json!(true);
    config["cni.dev/valid-attachments"] = json!([]);
    let config = config.to_string();
    let run = |verb: &str, whose: &str, more: &[(&str, &str)]| {
        let namespace = format!("/run/netns/{whose}");
        let mut variables = vec![("CNI_COMMAND", verb), ("CNI_PATH", "/")];
        if verb != "GC" {
            variables.extend([
                ("CNI_CONTAINERID", whose),
                ("CNI_IFNAME", "eth0"),
                ("CNI_NETNS", &namespace),
            ]);
        }
        variables.extend_from_slice(more);
        world.feed(env!("CARGO_BIN_EXE_nameplate-cni"), &variables, &config)
    };
    let attach = || {
        for whose in ["c1", "c2"] {
            let did = run("ADD", whose, &[]);
            assert_eq!(did.code, 0, "{did:?}");
        }
    };
    attach();
    assert_eq!(
        run("GC", "", &[("NAMEPLATE_LAB_COUNT", "/run/work/count")]).code,
        0
    );
    let calls: u32 = world
        .ok("cat /run/work/count")
        .trim()
        .parse()
        .expect("a number");
    assert!(calls > 10, "{calls}");
    for at in 1..=calls {
        attach();
        let number = at.to_string();
        assert_ne!(run("GC", "", &[("NAMEPLATE_LAB_KILL_AT", &number)]).code, 0);
        let did = run("GC", "", &[]);
        assert_eq!(did.code, 0, "{did:?}");
        assert_same(
            &world.snapshot(),
            &before,
            &format!("GC was killed at {at} of {calls}"),
        );
        let left = world.ok(
            "find /run/nameplate -type f | grep -v -e /lock$ -e last_reserved -e /.lock$; true",
        );
        assert_eq!(left, "", "GC was killed at {at} of {calls}");
    }
}

#[test]
fn the_oldest_versions_have_a_result_of_each_family() {
    let world = world(&["c1"]);
    let mut runner = Runner::new(&world, plain());
    runner.plugins[0]["ipam"]["ranges"] =
        json!([[{"subnet": "192.0.2.0/24"}], [{"subnet": "2001:db8::/64"}]]);
    runner.plugins[0]["isDefaultGateway"] = json!(true);
    for (version, told) in [
        (json!("0.1.0"), "0.1.0"),
        (json!("0.2.0"), "0.2.0"),
        (Value::Null, "0.1.0"),
        (json!(""), "0.1.0"),
    ] {
        runner.plugins[0]["cniVersion"] = version;
        let result = runner.added("c1");
        assert_eq!(result["cniVersion"], told);
        let address = result["ip4"]["ip"].as_str().unwrap_or_default();
        assert!(
            address.starts_with("192.0.2.") && address.ends_with("/24"),
            "{result}"
        );
        assert_eq!(result["ip4"]["gateway"], "192.0.2.1");
        assert_eq!(result["ip4"]["routes"][0]["dst"], "0.0.0.0/0", "{result}");
        assert_eq!(result["ip6"]["gateway"], "2001:db8::1");
        assert!(
            result.get("ips").is_none() && result.get("interfaces").is_none(),
            "{result}"
        );
        let checked = runner.check("c1", &Value::Null);
        assert!(checked.is_err_and(|said| said.contains("does not allow CHECK")));
        runner.del("c1", &result);
    }
    for (version, code) in [(json!(1.0), 6), (json!(["1.0.0"]), 6), (json!("0.9.0"), 1)] {
        runner.plugins[0]["cniVersion"] = version;
        let refused = runner.add("c1").expect_err("no version");
        assert_eq!(refused["code"], code, "{refused}");
    }
}

#[test]
fn a_port_of_a_lab_or_of_another_network_is_refused() {
    let world = world(&["c1", "c2"]);
    let lab = |forward: &str| {
        let text = format!(
            "[net.br7]\nsubnet = \"10.7.0.0/24\"\nforward = [\"{forward}\"]\n[ns]\nweb = \"br7\"\n"
        );
        world
            .file("ports", &text)
            .to_str()
            .expect("plain")
            .to_owned()
    };
    assert_eq!(world.lab(&["apply", &lab("8080:web:80")]).code, 0);
    let mut runner = Runner::new(&world, plain());
    runner.plugins[0]["capabilities"] = json!({"portMappings": true});
    runner.runtime =
        json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]});
    let refused = runner.add("c1").expect_err("taken");
    assert!(
        refused["msg"]
            .as_str()
            .is_some_and(|said| said.contains("belongs to lab ports")),
        "{refused}"
    );
    runner.runtime["portMappings"][0]["hostPort"] = json!(8081);
    let one = runner.added("c1");
    let did = world.lab(&["apply", &lab("8081:web:80")]);
    assert!(
        did.code == 1 && did.err.contains("belongs to the container network net"),
        "{did:?}"
    );
    runner.del("c1", &one);
    assert_eq!(world.lab(&["apply", &lab("8081:web:80")]).code, 0);
}
