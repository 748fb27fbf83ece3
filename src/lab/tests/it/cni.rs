//! The CNI plugin, called by a runner of our own in the order of the specification, alone and with Debian's plugins.

mod attaching;
mod installing;
mod modes;

use serde_json::{Value, json};

use crate::world::{Did, World, assert_same};

/// Where Debian has its plugins.
const DEBIAN: &str = "/usr/lib/cni";

/// A runtime: one network, a list of plugins, and what it said last for each container.
struct Runner<'a> {
    world: &'a World,
    version: &'static str,
    plugins: Vec<Value>,
    /// What the runtime can say, by capability.
    runtime: Value,
    arguments: String,
}

impl<'a> Runner<'a> {
    /// A network with our plugin alone.
    fn new(world: &'a World, config: Value) -> Self {
        Self {
            world,
            version: "1.1.0",
            plugins: vec![config],
            runtime: json!({}),
            arguments: String::new(),
        }
    }

    /// One call of one plugin.
    fn call(&self, plugin: &Value, verb: &str, whose: &str, previous: &Value, more: &Value) -> Did {
        let mut config = plugin.clone();
        if config.get("name").is_none() {
            config["name"] = json!("net");
        }
        if config.get("cniVersion").is_none() {
            config["cniVersion"] = json!(self.version);
        }
        if !previous.is_null() {
            config["prevResult"] = previous.clone();
        }
        for (capability, enabled) in plugin["capabilities"].as_object().into_iter().flatten() {
            if enabled == true && self.runtime.get(capability).is_some() {
                config["runtimeConfig"][capability] = self.runtime[capability].clone();
            }
        }
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let kind = plugin["type"].as_str().unwrap_or("nameplate-cni");
        let own = env!("CARGO_BIN_EXE_nameplate-cni");
        let program = if kind == "nameplate-cni" {
            own.to_owned()
        } else {
            format!("{DEBIAN}/{kind}")
        };
        let namespace = format!("/run/netns/{whose}");
        let mut variables = vec![("CNI_COMMAND", verb), ("CNI_PATH", DEBIAN)];
        if !whose.is_empty() {
            variables.extend([
                ("CNI_CONTAINERID", whose),
                ("CNI_IFNAME", "eth0"),
                ("CNI_NETNS", &namespace),
            ]);
        }
        if !self.arguments.is_empty() {
            variables.push(("CNI_ARGS", &self.arguments));
        }
        self.world.feed(&program, &variables, &config.to_string())
    }

    /// ADD through the list; the last result.
    fn add(&self, whose: &str) -> Result<Value, Value> {
        let mut result = Value::Null;
        for plugin in &self.plugins {
            let did = self.call(plugin, "ADD", whose, &result, &Value::Null);
            let said: Value = serde_json::from_str(&did.out).unwrap_or_else(|_| panic!("{did:?}"));
            if did.code != 0 {
                return Err(said);
            }
            result = said;
        }
        Ok(result)
    }

    /// ADD that must work.
    #[track_caller]
    fn added(&self, whose: &str) -> Value {
        self.add(whose).unwrap_or_else(|error| panic!("{error}"))
    }

    /// DEL through the list, backwards; it must work.
    #[track_caller]
    fn del(&self, whose: &str, result: &Value) {
        for plugin in self.plugins.iter().rev() {
            let did = self.call(plugin, "DEL", whose, result, &Value::Null);
            assert_eq!(did.code, 0, "{did:?}");
        }
    }

    /// CHECK through the list; what the first one that complains says.
    fn check(&self, whose: &str, result: &Value) -> Result<(), String> {
        for plugin in &self.plugins {
            let did = self.call(plugin, "CHECK", whose, result, &Value::Null);
            if did.code != 0 {
                return Err(did.out);
            }
        }
        Ok(())
    }
}

/// A bridge, a gateway, addresses of 192.0.2.0/24.
fn plain() -> Value {
    json!({
        "type": "nameplate-cni", "bridge": "cni0", "isDefaultGateway": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.0.2.0/24"}]]},
    })
}

/// A world with some namespaces, and forwarding as the plugin will leave it.
fn world(spaces: &[&str]) -> World {
    let world = World::new();
    world.ok("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    for space in spaces {
        world.ok(&format!(
            "ip netns add {space} && ip -n {space} link set lo up"
        ));
    }
    world
}

/// Whether Debian's plugins are there; CI must have them.
fn has_debian(test: &str) -> bool {
    let there = std::path::Path::new(DEBIAN).join("portmap").exists();
    if !there {
        assert!(
            std::env::var_os("CI").is_none(),
            "containernetworking-plugins is not installed"
        );
        eprintln!("SKIPPED {test}: containernetworking-plugins is not installed");
    }
    there
}

#[test]
fn two_containers_and_their_names() {
    let world = world(&["c1", "c2"]);
    let before = world.snapshot();
    let mut runner = Runner::new(&world, plain());
    runner.plugins[0]["lab"] = json!({"domain": "example.org"});
    runner.arguments = "IgnoreUnknown=1;K8S_POD_NAME=web".to_owned();
    let one = runner.added("c1");
    runner.arguments.clear();
    let two = runner.added("c2");
    assert_eq!(one["ips"][0]["address"], "192.0.2.2/24");
    assert_eq!(two["ips"][0]["address"], "192.0.2.3/24");
    assert_eq!(one["ips"][0]["interface"], 2);
    assert_eq!(one["interfaces"][0]["name"], "cni0");
    assert_eq!(one["interfaces"][2]["sandbox"], "/run/netns/c1");
    assert_eq!(
        one["routes"][0],
        json!({"dst": "0.0.0.0/0", "gw": "192.0.2.1"})
    );
    assert_eq!(one["dns"]["search"], json!(["example.org"]));
    assert_eq!(one["dns"]["nameservers"], json!(["192.0.2.1"]));
    assert!(
        world.pings("c1", "192.0.2.3")
            && world.pings("c2", "192.0.2.1")
            && world.pings("", "192.0.2.2")
    );
    assert_eq!(runner.check("c1", &one), Ok(()));
    assert_eq!(runner.check("c2", &two), Ok(()));
    let names: Value =
        serde_json::from_str(&world.ok("cat /run/nameplate/lab/cni-net/names.json")).expect("JSON");
    assert_eq!(names["domain"], "example.org");
    assert_eq!(names["nets"][0]["listen"], json!(["192.0.2.1"]));
    let hosts: Vec<_> = names["hosts"]
        .as_array()
        .expect("hosts")
        .iter()
        .map(|host| {
            (
                host["name"].as_str().unwrap_or(""),
                host["addresses"][0]["address"].as_str().unwrap_or(""),
            )
        })
        .collect();
    assert_eq!(hosts, [("c2", "192.0.2.3"), ("web", "192.0.2.2")]);
    assert_eq!(names["hosts"][1]["aliases"], json!(["c1"]));
    let again = runner.add("c1").expect_err("the interface is there");
    assert_eq!(again["code"], 101, "{again}");
    assert!(
        world.pings("c1", "192.0.2.3"),
        "the second ADD took nothing away"
    );
    // Labs do not take a network for one of theirs.
    assert_eq!(world.lab(&["down", "--all"]).code, 0);
    assert!(
        world
            .ok("cat /run/nameplate/lab/cni-net/names.json")
            .contains("192.0.2.2")
    );
    runner.del("c1", &one);
    runner.del("c1", &Value::Null);
    assert!(
        !world
            .ok("cat /run/nameplate/lab/cni-net/names.json")
            .contains("192.0.2.2")
    );
    world.ok("ip netns del c2");
    runner.del("c2", &Value::Null);
    world.ok("ip netns add c2 && ip -n c2 link set lo up");
    assert_same(&world.snapshot(), &before, "DEL leaves nothing");
    assert_eq!(
        world.ok(
            "find /run/nameplate -type f | grep -v -e /lock$ -e last_reserved -e /.lock$; true"
        ),
        ""
    );
}

#[test]
fn results_are_of_the_version_that_was_asked_for() {
    let world = world(&["c1"]);
    let mut runner = Runner::new(&world, plain());
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        runner.version = version;
        let result = runner.added("c1");
        assert_eq!(result["cniVersion"], version);
        let old = version.starts_with("0.");
        assert_eq!(result["ips"][0]["version"] == "4", old, "{result}");
        assert_eq!(
            result["interfaces"][2].get("mtu").is_some(),
            version == "1.1.0",
            "{result}"
        );
        assert_eq!(runner.check("c1", &result), Ok(()), "{version}");
        runner.del("c1", &result);
    }
    let did = world.feed(
        env!("CARGO_BIN_EXE_nameplate-cni"),
        &[("CNI_COMMAND", "VERSION")],
        "{\"cniVersion\":\"1.0.0\"}",
    );
    let said: Value = serde_json::from_str(&did.out).expect("JSON");
    assert_eq!(
        said["supportedVersions"],
        json!([
            "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"
        ])
    );
    // The lab's binary under the plugin's name is the plugin.
    world.ok(&format!(
        "ln -s {} /run/work/nameplate-cni",
        env!("CARGO_BIN_EXE_nameplate-lab")
    ));
    let did = world.feed(
        "/run/work/nameplate-cni",
        &[("CNI_COMMAND", "VERSION")],
        "{}",
    );
    assert!(did.out.contains("supportedVersions"), "{did:?}");
}

#[test]
fn mistakes_have_the_codes_of_the_specification() {
    let world = world(&["c1"]);
    let with = |key: &str, value: Value| {
        let mut config = plain();
        config[key] = value;
        config
    };
    let ipam = |ipam: Value| with("ipam", ipam);
    let table = [
        (with("cniVersion", json!("9.9.9")), 1, "9.9.9"),
        (with("vlan", json!(7)), 2, "`vlan` is 7"),
        (
            with("vlanTrunk", json!([{"minID": 2, "maxID": 9}])),
            2,
            "`vlanTrunk` is",
        ),
        (
            with("ipMasqBackend", json!("iptables")),
            2,
            "`ipMasqBackend` is \\\"iptables\\\"",
        ),
        (ipam(json!({"type": "dhcp"})), 2, "`ipam.type` is"),
        (
            with("disableContainerInterface", json!(true)),
            7,
            "`disableContainerInterface`",
        ),
        (with("name", json!("../x")), 7, "`../x`"),
        (
            with("bridge", json!("much-too-long-a-name")),
            7,
            "much-too-long-a-name",
        ),
        (with("mtu", json!("many")), 7, "many"),
        (ipam(json!({"type": "host-local"})), 7, "no range"),
        (
            ipam(json!({"type": "host-local", "subnet": "192.0.2.1/24"})),
            7,
            "host bits",
        ),
        (
            ipam(json!({"type": "host-local", "subnet": "192.0.2.0/24", "gateway": "10.0.0.1"})),
            7,
            "10.0.0.1",
        ),
        (
            ipam(
                json!({"type": "host-local", "subnet": "192.0.2.0/24", "rangeStart": "192.0.2.9", "rangeEnd": "192.0.2.8"}),
            ),
            7,
            "after",
        ),
        (ipam(json!({"type": "nobody"})), 4, "nobody"),
        (ipam(json!({"type": "../../bin/sh"})), 7, "bin/sh"),
    ];
    for (config, code, word) in table {
        let error = Runner::new(&world, config.clone())
            .add("c1")
            .expect_err("a mistake");
        assert_eq!(error["code"], code, "{config}: {error}");
        assert!(error.to_string().contains(word), "{config}: {error}");
    }
    let plugin = env!("CARGO_BIN_EXE_nameplate-cni");
    let config = json!({"cniVersion": "1.1.0", "name": "net", "bridge": "cni0"}).to_string();
    let id = ("CNI_CONTAINERID", "c1");
    let path = ("CNI_PATH", DEBIAN);
    let interface = ("CNI_IFNAME", "eth0");
    let space = ("CNI_NETNS", "/run/netns/c1");
    type Mistake<'a> = (&'a [(&'a str, &'a str)], u32, &'a str);
    let environments: &[Mistake<'_>] = &[
        (
            &[("CNI_COMMAND", "ADD"), path, interface, space],
            4,
            "CNI_CONTAINERID",
        ),
        (
            &[("CNI_COMMAND", "ADD"), path, id, interface],
            4,
            "CNI_NETNS",
        ),
        (
            &[
                ("CNI_COMMAND", "ADD"),
                path,
                id,
                interface,
                ("CNI_NETNS", "/run/netns/none"),
            ],
            4,
            "/run/netns/none",
        ),
        (
            &[
                ("CNI_COMMAND", "ADD"),
                path,
                id,
                interface,
                ("CNI_NETNS", "/etc/hosts"),
            ],
            4,
            "not a namespace",
        ),
        (
            &[
                ("CNI_COMMAND", "ADD"),
                path,
                id,
                space,
                ("CNI_IFNAME", "a/b"),
            ],
            4,
            "CNI_IFNAME",
        ),
        (
            &[
                ("CNI_COMMAND", "ADD"),
                path,
                interface,
                space,
                ("CNI_CONTAINERID", "../c"),
            ],
            4,
            "CNI_CONTAINERID",
        ),
        (&[("CNI_COMMAND", "EAT"), path], 4, "EAT"),
        (
            &[("CNI_COMMAND", "GC"), path],
            7,
            "cni.dev/valid-attachments",
        ),
        (
            &[("CNI_COMMAND", "CHECK"), path, id, interface, space],
            7,
            "prevResult",
        ),
    ];
    for (variables, code, word) in environments {
        let did = world.feed(plugin, variables, &config);
        let error: Value = serde_json::from_str(&did.out).unwrap_or_else(|_| panic!("{did:?}"));
        assert_eq!(
            (did.code, error["code"].as_u64()),
            (1, Some(u64::from(*code))),
            "{variables:?}: {error}"
        );
        assert!(error.to_string().contains(word), "{variables:?}: {error}");
    }
    let did = world.feed(
        plugin,
        &[("CNI_COMMAND", "DEL"), path, id, interface],
        "no JSON",
    );
    assert!(did.out.contains("\"code\":6"), "{did:?}");
    assert_eq!(
        world.ok("ip -o link show type bridge; nft list ruleset; ls /run/nameplate/cni/networks"),
        ""
    );
}

#[test]
fn addresses_go_round_and_run_out() {
    let world = world(&["c1", "c2", "c3", "c4"]);
    let mut runner = Runner::new(&world, plain());
    runner.plugins[0]["capabilities"] = json!({"ips": true, "mac": true});
    runner.plugins[0]["ipam"] = json!({
        "type": "host-local", "ranges": [
            [{"subnet": "192.0.2.0/29", "rangeStart": "192.0.2.3", "rangeEnd": "192.0.2.4", "gateway": "192.0.2.6"}, {"subnet": "198.51.100.0/30"}],
            [{"subnet": "2001:db8::/64"}],
        ], "routes": [{"dst": "203.0.113.0/24"}, {"dst": "203.0.113.128/25", "gw": "192.0.2.5", "priority": 7, "mtu": 1300}],
    });
    let addresses = |result: &Value| -> Vec<String> {
        let ips = result["ips"].as_array().expect("ips");
        ips.iter()
            .map(|ip| ip["address"].as_str().unwrap_or("").to_owned())
            .collect()
    };
    let one = runner.added("c1");
    assert_eq!(addresses(&one), ["192.0.2.3/29", "2001:db8::2/64"]);
    assert_eq!(runner.check("c1", &one), Ok(()));
    let routes = world.ok("ip -n c1 route; ip -n c1 -6 route");
    for route in [
        "203.0.113.0/24 via 192.0.2.6",
        "203.0.113.128/25 via 192.0.2.5",
        "metric 7 mtu 1300",
        "default via 2001:db8::1",
    ] {
        assert!(routes.contains(route), "{route}: {routes}");
    }
    let two = runner.added("c2");
    assert_eq!(addresses(&two)[0], "192.0.2.4/29");
    let status = |runner: &Runner<'_>| {
        runner.call(&runner.plugins[0], "STATUS", "", &Value::Null, &Value::Null)
    };
    assert_eq!(status(&runner).code, 0);
    // From the other subnet that next hop cannot be reached.
    let refused = runner.add("c3").expect_err("no way to the next hop");
    assert_eq!(refused["code"], 100, "{refused}");
    runner.plugins[0]["ipam"]["routes"] = json!([{"dst": "203.0.113.0/24"}]);
    let three = runner.added("c3");
    assert_eq!(addresses(&three)[0], "198.51.100.2/30");
    let full = runner.add("c4").expect_err("full");
    assert_eq!(full["code"], 103, "{full}");
    assert!(status(&runner).out.contains("\"code\":50"));
    assert_eq!(
        world.ok("ip -n c4 -o link | grep -c ."),
        "1\n",
        "a failed ADD leaves no interface"
    );
    runner.del("c1", &one);
    let four = runner.added("c4");
    assert_eq!(addresses(&four)[0], "192.0.2.3/29");
    runner.del("c4", &four);
    runner.runtime = json!({"ips": ["2001:db8::77/64", "192.0.2.3"], "mac": "02:00:00:00:00:77"});
    let four = runner.added("c4");
    assert_eq!(addresses(&four), ["192.0.2.3/29", "2001:db8::77/64"]);
    assert_eq!(four["interfaces"][2]["mac"], "02:00:00:00:00:77");
    assert!(world.pings("c4", "2001:db8::1") && world.pings("c4", "192.0.2.4"));
    runner.runtime = json!({"ips": ["203.0.113.9"]});
    let outside = runner.add("c1").expect_err("in no range");
    assert_eq!(outside["code"], 7, "{outside}");
}

#[test]
fn many_at_once() {
    let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    let world = world(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let before = world.snapshot();
    let config = json!({"cniVersion": "1.1.0", "name": "net", "bridge": "cni0", "isGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "subnet": "192.0.2.0/24"}});
    let all = |verb: &str| {
        world.ok(&format!(
            "for n in $(seq 0 19); do (echo '{config}' | CNI_COMMAND={verb} CNI_PATH=/ CNI_CONTAINERID=c$n CNI_IFNAME=eth0 CNI_NETNS=/run/netns/c$n {} > /run/work/$n || touch /run/work/failed) & done; wait; ! ls /run/work/failed 2>/dev/null",
            env!("CARGO_BIN_EXE_nameplate-cni")
        ));
    };
    all("ADD");
    let given = world.ok("for n in $(seq 0 19); do ip -n c$n -br -4 addr show eth0; done | awk '{print $3}' | sort -u | grep -c .");
    assert_eq!(given, "20\n");
    assert!(world.pings("c0", "192.0.2.1"));
    all("DEL");
    assert_same(&world.snapshot(), &before, "DEL leaves nothing");
}

#[test]
fn collecting_really_collects() {
    let world = world(&["c1", "c2", "c3"]);
    let mut runner = Runner::new(&world, plain());
    runner.plugins[0]["ipMasq"] = json!(true);
    runner.plugins[0]["capabilities"] = json!({"portMappings": true});
    runner.runtime =
        json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]});
    runner.added("c1");
    runner.runtime = json!({});
    let two = runner.added("c2");
    runner.added("c3");
    // One lost its record, and one address is from an old version that did not name interfaces.
    world.ok("rm /run/nameplate/cni/networks/net/c3:eth0.json; printf old > /run/nameplate/cni/addresses/net/192.0.2.99");
    assert!(world.ok("nft list ruleset").contains("8080"));
    let collect = |valid: Value| {
        let did = runner.call(
            &runner.plugins[0],
            "GC",
            "",
            &Value::Null,
            &json!({"cni.dev/valid-attachments": valid}),
        );
        assert_eq!(did.code, 0, "{did:?}");
    };
    collect(json!([{"containerID": "c2", "ifname": "eth0"}]));
    assert_eq!(
        world.ok("ls /run/nameplate/cni/addresses/net"),
        "192.0.2.3\nlast_reserved_ip.0\nlock\n"
    );
    assert_eq!(world.ok("ip -o link show type veth | grep -c ."), "1\n");
    let rules = world.ok("nft list ruleset");
    assert!(
        !rules.contains("8080") && rules.contains("masquerade"),
        "{rules}"
    );
    let names = world.ok("cat /run/nameplate/lab/cni-net/names.json");
    assert!(names.contains("c2") && !names.contains("c1"), "{names}");
    assert_eq!(runner.check("c2", &two), Ok(()));
    assert!(world.pings("c2", "192.0.2.1"));
    collect(json!([]));
    assert_eq!(
        world.ok("ip -o link | grep -v ' lo:'; nft list ruleset; ls /run/nameplate/lab; true"),
        ""
    );
}

#[test]
fn ports_of_the_host_lead_to_the_container() {
    let world = world(&["c1", "c2"]);
    world.outside();
    world.ok("ip -n outside route add default via 203.0.113.1");
    let mut runner = Runner::new(&world, plain());
    runner.plugins[0]["ipMasq"] = json!(true);
    runner.plugins[0]["capabilities"] = json!({"portMappings": true});
    runner.runtime =
        json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]});
    let one = runner.added("c1");
    runner.runtime = json!({});
    runner.added("c2");
    world.serve("c1", 80, "web");
    world.serve("outside", 81, "far");
    assert_eq!(
        world.asks("outside", "203.0.113.1", 8080),
        "web sees 203.0.113.9"
    );
    assert_eq!(
        world.asks("c2", "203.0.113.1", 8080),
        "web sees 192.0.2.1",
        "a neighbour"
    );
    assert!(
        world.asks("", "203.0.113.1", 8080).starts_with("web sees"),
        "the host"
    );
    assert_eq!(world.asks("", "127.0.0.1", 8080), "web sees 192.0.2.1");
    assert_eq!(world.asks("c2", "203.0.113.9", 81), "far sees 203.0.113.1");
    runner.del("c1", &one);
    assert_eq!(world.asks("outside", "203.0.113.1", 8080), "");
}

#[test]
fn check_sees_what_was_changed() {
    for drift in [
        "ip -n c1 addr flush dev eth0",
        "ip -n c1 link set eth0 down",
        "ip -n c1 route del default",
        "ip -n c1 link set eth0 address 02:00:00:00:00:99",
        "ip -n c1 link del eth0",
        "ip link set cni0 down",
        "ip link del cni0",
        "nft flush ruleset",
        "rm /run/nameplate/lab/cni-net/names.json",
        "rm /run/nameplate/cni/addresses/net/192.0.2.2",
    ] {
        let world = world(&["c1"]);
        let before = world.snapshot();
        let mut runner = Runner::new(&world, plain());
        runner.plugins[0]["ipMasq"] = json!(true);
        let result = runner.added("c1");
        assert_eq!(runner.check("c1", &result), Ok(()));
        world.ok(drift);
        let said = runner.check("c1", &result).expect_err(drift);
        assert!(said.contains("\"code\":102"), "{drift}: {said}");
        runner.del("c1", &result);
        assert_same(&world.snapshot(), &before, drift);
    }
}

#[test]
fn debians_plugins_after_ours() {
    if !has_debian("debians_plugins_after_ours") {
        return;
    }
    let world = world(&["c1"]);
    world.outside();
    let mut runner = Runner::new(&world, plain());
    runner.version = "1.0.0";
    runner.plugins.extend([
        json!({"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.log_martians": "1"}}),
        json!({"type": "portmap", "capabilities": {"portMappings": true}}),
        json!({"type": "firewall", "backend": "iptables"}),
        json!({"type": "bandwidth", "ingressRate": 8_000_000, "ingressBurst": 8_000_000}),
    ]);
    runner.runtime =
        json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]});
    let result = runner.added("c1");
    assert_eq!(result["ips"][0]["address"], "192.0.2.2/24");
    assert_eq!(
        world.ok("ip netns exec c1 cat /proc/sys/net/ipv4/conf/eth0/log_martians"),
        "1\n"
    );
    world.serve("c1", 80, "web");
    assert_eq!(
        world.asks("outside", "203.0.113.1", 8080),
        "web sees 203.0.113.9"
    );
    assert!(world.ok("tc qdisc show").contains("tbf"));
    let all = runner.plugins.clone();
    // Debian's portmap looks for the chains of both families, whatever the container has.
    runner.plugins.retain(|plugin| plugin["type"] != "portmap");
    assert_eq!(runner.check("c1", &result), Ok(()));
    runner.plugins = all;
    runner.del("c1", &result);
    assert_eq!(
        world.ok("ip -o link show type veth | grep -v up0; ip -o link show type bridge"),
        ""
    );
}

#[test]
fn debians_address_management_below_ours() {
    if !has_debian("debians_address_management_below_ours") {
        return;
    }
    let world = world(&["c1", "c2"]);
    let before = world.snapshot();
    let mut runner = Runner::new(&world, plain());
    runner.version = "1.0.0";
    // Their plugin and ours share a directory: what is written by one is seen by the other.
    let shared = json!({"type": "host-local", "dataDir": "/run/work/data", "ranges": [[{"subnet": "192.0.2.0/24"}]]});
    runner.plugins[0]["ipam"] = shared.clone();
    let one = runner.added("c1");
    let theirs =
        json!({"cniVersion": "1.0.0", "name": "net", "type": "host-local", "ipam": shared})
            .to_string();
    let variables = |verb| {
        [
            ("CNI_COMMAND", verb),
            ("CNI_PATH", DEBIAN),
            ("CNI_CONTAINERID", "x"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", "/x"),
        ]
    };
    let did = world.feed(&format!("{DEBIAN}/host-local"), &variables("ADD"), &theirs);
    assert!(did.out.contains("192.0.2.3/24"), "{did:?}");
    let two = runner.added("c2");
    assert_eq!(two["ips"][0]["address"], "192.0.2.4/24");
    assert_eq!(
        world
            .feed(&format!("{DEBIAN}/host-local"), &variables("DEL"), &theirs)
            .code,
        0
    );
    runner.del("c1", &one);
    runner.del("c2", &two);
    assert_eq!(
        world.ok("ls /run/work/data/net"),
        "last_reserved_ip.0\nlock\n"
    );
    // A delegate of another name.
    runner.plugins[0]["ipam"] = json!({"type": "static", "addresses": [{"address": "192.0.2.50/24", "gateway": "192.0.2.1"}], "routes": [{"dst": "203.0.113.0/24"}]});
    let one = runner.added("c1");
    assert_eq!(one["ips"][0]["address"], "192.0.2.50/24");
    assert!(world.pings("c1", "192.0.2.1"));
    assert!(
        world
            .ok("ip -n c1 route")
            .contains("203.0.113.0/24 via 192.0.2.1")
    );
    assert_eq!(runner.check("c1", &one), Ok(()));
    runner.del("c1", &one);
    // GC and STATUS are not asked of a delegate that does not know them.
    runner.version = "1.1.0";
    let plugin = &runner.plugins[0];
    assert_eq!(
        runner
            .call(plugin, "STATUS", "", &Value::Null, &Value::Null)
            .code,
        0
    );
    let valid = json!({"cni.dev/valid-attachments": []});
    assert_eq!(runner.call(plugin, "GC", "", &Value::Null, &valid).code, 0);
    world.ok("rm -r /run/work/data");
    assert_same(&world.snapshot(), &before, "DEL leaves nothing");
}

#[test]
fn a_kill_leaves_nothing_that_del_does_not_find() {
    let world = world(&["c1"]);
    let before = world.snapshot();
    let mut config = plain();
    config["ipMasq"] = json!(true);
    config["cniVersion"] = json!("1.1.0");
    config["name"] = json!("net");
    let config = config.to_string();
    let run = |verb: &str, more: &[(&str, &str)]| {
        let mut variables = vec![
            ("CNI_COMMAND", verb),
            ("CNI_PATH", "/"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", "/run/netns/c1"),
        ];
        variables.extend_from_slice(more);
        world.feed(env!("CARGO_BIN_EXE_nameplate-cni"), &variables, &config)
    };
    let count = |verb: &str| -> u32 {
        let did = run(verb, &[("NAMEPLATE_LAB_COUNT", "/run/work/count")]);
        assert_eq!(did.code, 0, "{did:?}");
        world
            .ok("cat /run/work/count")
            .trim()
            .parse()
            .expect("a number")
    };
    // The first makes directories that stay.
    assert_eq!((run("ADD", &[]).code, run("DEL", &[]).code), (0, 0));
    let (adds, dels) = (count("ADD"), count("DEL"));
    assert!(adds > 15 && dels > 8, "{adds} {dels}");
    let nothing_left = |when: &str| {
        assert_same(&world.snapshot(), &before, when);
        let left = world.ok(
            "find /run/nameplate -type f | grep -v -e /lock$ -e last_reserved -e /.lock$; true",
        );
        assert_eq!(left, "", "{when}");
    };
    nothing_left("DEL leaves nothing");
    for at in 1..=adds {
        let number = at.to_string();
        assert_ne!(run("ADD", &[("NAMEPLATE_LAB_KILL_AT", &number)]).code, 0);
        if at % 3 == 0 {
            let gc = config.replacen('{', "{\"cni.dev/valid-attachments\":[],", 1);
            let did = world.feed(
                env!("CARGO_BIN_EXE_nameplate-cni"),
                &[("CNI_COMMAND", "GC"), ("CNI_PATH", "/")],
                &gc,
            );
            assert_eq!(did.code, 0, "{did:?}");
        } else {
            let did = run("DEL", &[]);
            assert_eq!(did.code, 0, "{did:?}");
        }
        nothing_left(&format!("ADD was killed at {at} of {adds}"));
    }
    for at in 1..=dels {
        assert_eq!(run("ADD", &[]).code, 0);
        let number = at.to_string();
        run("DEL", &[("NAMEPLATE_LAB_KILL_AT", &number)]);
        let did = run("DEL", &[]);
        assert_eq!(did.code, 0, "{did:?}");
        nothing_left(&format!("DEL was killed at {at} of {dels}"));
    }
}
