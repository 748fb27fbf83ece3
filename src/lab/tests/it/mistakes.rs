//! Mistakes of a file: each at its place, with the word that was meant.

use std::path::Path;

use corefile::Sources;
use lab::spec::Spec;

/// The report on a text.
pub(crate) fn report(text: &str) -> String {
    let mut sources = Sources::default();
    let (spec, report) = Spec::parse(Path::new("t.toml"), text, &mut sources);
    assert_eq!(spec.is_none(), report.has_errors(), "{text}");
    report.render(&sources, false)
}

const NET: &str = "[net.br0]\nsubnet = \"10.1.0.0/24\"\n";

#[test]
fn every_mistake_has_its_place_and_its_cure() {
    let table: &[(&str, &str, &str, &str)] = &[
        ("[net.br0\n", "LAB0001", "1:9", ""),
        (
            "[net.br0]\nsubnett = \"10.1.0.0/24\"\n",
            "LAB0002",
            "2:1",
            "write `subnet`",
        ),
        ("[nets.br0]\n", "LAB0002", "1:2", "write `net`"),
        (
            "NET[ns]\nweb = \"br0\"\n[record]\nmail = \"MX web\"\n",
            "LAB0108",
            "6:8",
            "`MX web`",
        ),
        (
            "NET[ns]\nweb = { nets = \"br0\", alias = [\"www\"] }\n[record]\nwww = \"A 192.0.2.1\"\n",
            "LAB0105",
            "6:1",
            "an alias and something else",
        ),
        (
            "NET[ns]\nweb = \"br0\"\n[record]\nweb = \"CNAME www.example.org.\"\n",
            "LAB0105",
            "6:1",
            "an alias and something else",
        ),
        (
            "include = [\"nowhere.toml\"]\n",
            "LAB0110",
            "1:12",
            "`nowhere.toml` cannot be read",
        ),
        ("include = 7\n", "LAB0003", "1:11", ""),
        (
            "NET[ns]\nweb = { nets = \"br0\", run = \"\" }\n",
            "LAB0108",
            "4:29",
            "`run` names no program",
        ),
        (
            "NET[ns]\nweb = { nets = \"br0\", run = [] }\n",
            "LAB0108",
            "4:29",
            "`run` names no program",
        ),
        (
            "NET[ns]\nweb = { nets = \"br0\", run = { command = [] } }\n",
            "LAB0108",
            "4:41",
            "`command` names no program",
        ),
        (
            "NET[ns]\nweb = { nets = \"br0\", run = [\"\", \"x\"] }\n",
            "LAB0108",
            "4:29",
            "`run` names no program",
        ),
        ("[net.br0]\nmtu = \"large\"\n", "LAB0003", "2:7", "a number"),
        ("[lab]\nhosts = \"al\"\n", "LAB0003", "2:9", "write `all`"),
        (
            "[net.a-very-long-bridge-name]\n",
            "LAB0101",
            "1:6",
            "15 are allowed",
        ),
        ("[ns]\n\"../etc\" = \"none\"\n", "LAB0101", "2:1", ""),
        (
            "[net.br0]\nsubnet = \"10.1.0.0\"\n",
            "LAB0102",
            "2:10",
            "prefix is missing",
        ),
        (
            "[net.br0]\nsubnet = \"10.1.0.9/24\"\n",
            "LAB0102",
            "2:10",
            "10.1.0.0/24",
        ),
        ("NET[ns]\nred = \"br1\"\n", "LAB0103", "4:8", "write `br0`"),
        (
            "NETforward = [\"80:wbe:80\"]\n[ns]\nweb = \"br0\"\n",
            "LAB0103",
            "3:12",
            "write `web`",
        ),
        (
            "[link]\nred-blue = \"10.1.0.0/30\"\n",
            "LAB0103",
            "2:1",
            "[ns]",
        ),
        (
            "NET[ns]\nred = \"br0 10.2.0.1\"\n",
            "LAB0104",
            "4:12",
            "10.1.0.0/24",
        ),
        ("NET[ns]\nred = \"br0 10.1.0.255\"\n", "LAB0104", "4:12", ""),
        (
            "NET[ns]\nred = \"br0 10.1.0.7\"\nblue = \"br0 10.1.0.7\"\n",
            "LAB0105",
            "5:13",
            "belongs to red",
        ),
        (
            "NET[ns]\nred = \"br0 10.1.0.1\"\n",
            "LAB0105",
            "4:12",
            "belongs to the host",
        ),
        (
            "NET[ns]\na_b = \"br0\"\nA_B = \"br0\"\n",
            "LAB0105",
            "5:1",
            "",
        ),
        (
            "NETforward = [\"80:web:80\", \"80:web:81\"]\n[ns]\nweb = \"br0\"\n",
            "LAB0105",
            "3:25",
            "forwarded twice",
        ),
        (
            "NET[net.br1]\nsubnet = \"10.1.0.128/25\"\n",
            "LAB0106",
            "4:10",
            "overlaps",
        ),
        (
            "[net.br0]\nsubnet = \"10.1.0.0/30\"\n[ns]\n\"h[1-5]\" = \"br0\"\n",
            "LAB0107",
            "4:13",
            "too few addresses",
        ),
        (
            "[net.br0]\nsubnet = \"10.0.0.0/16\"\n[ns]\n\"h[1-1100]\" = \"br0\"\n",
            "LAB0107",
            "1:6",
            "1023",
        ),
        (
            "NETforward = \"80:web\"\n[ns]\nweb = \"br0\"\n",
            "LAB0108",
            "3:12",
            "8080:web:80",
        ),
        (
            "NET[ns]\nweb = { nets = \"br0\", routes = [\"10.9.0.0/24 10.1.0.7\"] }\n",
            "LAB0108",
            "4:34",
            "via",
        ),
        (
            "NET[ns]\nweb = { nets = \"br0\", routes = [\"10.9.0.0/24 via 10.5.0.7\"] }\n",
            "LAB0109",
            "4:33",
            "directly",
        ),
        (
            "NET[ns]\nweb = { nets = \"br0\", sysctl = { \"kernel.hostname\" = \"x\" } }\n",
            "LAB0102",
            "4:34",
            "start with `net.`",
        ),
        // What TOML says, with what was meant.
        (
            "NET[ns]\nweb = br0 10.1.0.5\n",
            "LAB0001",
            "4:7",
            "\"br0 10.1.0.5\"",
        ),
        (
            "NET[ns]\nweb = \"br0\ndb = \"br0\"\n",
            "LAB0001",
            "4:11",
            "is missing",
        ),
        ("NETsubnet = \"10.2.0.0/24\"\n", "LAB0001", "3:1", "a list"),
        // Types.
        ("[lab]\nttl = \"5\"\n", "LAB0003", "2:7", "without quotes"),
        ("NETinternal = \"yes\"\n", "LAB0003", "3:12", "write `true`"),
        ("NETnat = \"yes\"\n", "LAB0003", "3:7", "write `true`"),
        ("NETnat = 1\n", "LAB0003", "3:7", "not an integer"),
        (
            "NET[ns]\nweb = { nets = \"br0\", ndots = -1 }\n",
            "LAB0102",
            "4:31",
            "from 0 to",
        ),
        (
            "NET[ns]\nweb = { nets = \"br0\", route = [\"x\"] }\n",
            "LAB0002",
            "4:23",
            "write `routes`",
        ),
        // What is known from elsewhere and not there is said to be not there.
        (
            "[lab]\ndns = \"inisde\"\n",
            "LAB0003",
            "2:7",
            "write `inside`",
        ),
        (
            "[lab]\nplacement = \"router-ns\"\n",
            "LAB0004",
            "2:1",
            "where `apply` runs",
        ),
        (
            "NETupstream = [\"192.0.2.53\", \"dns.example\"]\n",
            "LAB0102",
            "3:27",
            "is not a server's address",
        ),
        (
            "NETupstream = [\"192.0.2.53\", \"192.0.2.53:53\"]\n",
            "LAB0105",
            "3:27",
            "is asked twice",
        ),
        (
            "NETupstream = \"10.1.0.1\"\n",
            "LAB0102",
            "3:12",
            "the lab's own server",
        ),
        (
            "NET[ns]\nweb = { nets = \"br0\", run = \"sleep 1 && true\" }\n",
            "LAB0108",
            "4:29",
            "\"sh\", \"-c\"",
        ),
        (
            "NET[ns]\nweb = { nets = \"br0\", ip = \"10.1.0.4\" }\n",
            "LAB0002",
            "4:23",
            "after the network's name",
        ),
        (
            "[net]\nbr0 = \"10.1.0.0/24\"\n",
            "LAB0003",
            "2:7",
            "write [net.br0]",
        ),
        // Addresses.
        (
            "NET[ns]\nweb = \"br0 10.1.0.5/24\"\n",
            "LAB0102",
            "4:12",
            "leave it out",
        ),
        (
            "NET[ns]\nweb = \"br0 10.1.0.256\"\n",
            "LAB0102",
            "4:12",
            "0 to 255",
        ),
        ("NET[ns]\nweb = \"br0 br1\"\n", "LAB0102", "4:12", "commas"),
        (
            "NETgateway = \"10.9.0.1\"\n",
            "LAB0109",
            "3:11",
            "not in the network's subnet",
        ),
        (
            "NEThost = \"10.2.0.1\"\n",
            "LAB0104",
            "3:8",
            "not in the network's subnet",
        ),
        (
            "[net.br0]\nsubnet = \"127.0.0.0/8\"\n",
            "LAB0102",
            "2:10",
            "loopback",
        ),
        (
            "[net.br0]\nsubnet = \"0.0.0.0/0\"\n",
            "LAB0102",
            "2:10",
            "all addresses",
        ),
        (
            "[net.br0]\nsubnet = \"ff02::/64\"\n",
            "LAB0102",
            "2:10",
            "multicast",
        ),
        (
            "[net.lo]\nsubnet = \"10.1.0.0/24\"\n",
            "LAB0101",
            "1:6",
            "loopback interface",
        ),
        (
            "NET[ns]\nweb = { nets = \"br0\", mac = \"01:00:00:00:00:01\" }\n",
            "LAB0102",
            "4:29",
            "even",
        ),
        // Words inside of strings.
        (
            "NETforward = [\"99999:web:80\"]\n[ns]\nweb = \"br0\"\n",
            "LAB0108",
            "3:13",
            "1 to 65535",
        ),
        (
            "NETforward = [\"80/sctp:web:80\"]\n[ns]\nweb = \"br0\"\n",
            "LAB0108",
            "3:13",
            "tcp or udp",
        ),
        (
            "NETforward = [\"[2001:db8::1:80:web:80\"]\n[ns]\nweb = \"br0\"\n",
            "LAB0108",
            "3:13",
            "cannot be read",
        ),
        (
            "NETforward = [\"[::1]:80:web:80\"]\n[ns]\nweb = \"br0\"\n",
            "LAB0108",
            "3:13",
            "::1",
        ),
        (
            "NETforward = [\"80-90:web:80-89\"]\n[ns]\nweb = \"br0\"\n",
            "LAB0108",
            "3:13",
            "differ in length",
        ),
        (
            "NETforward = [\"53/udp:web:53\"]\n[ns]\nweb = \"br0\"\n",
            "LAB0105",
            "3:12",
            "dns = \"off\"",
        ),
        (
            "NET[ns]\nweb = { nets = \"br0\", routes = [\"10.9.0.0/33 via 10.1.0.7\"] }\n",
            "LAB0108",
            "4:34",
            "not a subnet",
        ),
        // References.
        (
            "[ns]\nred = \"none\"\nblue = \"none\"\n[link]\nred-bleu = \"10.1.0.0/30\"\n",
            "LAB0103",
            "5:1",
            "write `red-blue`",
        ),
        (
            "NETgateway = \"wbe\"\n[ns]\nweb = \"br0\"\n",
            "LAB0103",
            "3:11",
            "write `web`",
        ),
        (
            "NET[ns]\nweb = \"br0\"\n[service.x]\nvip = \"10.96.0.9:80\"\nto = [\"wbe\"]\n",
            "LAB0103",
            "7:7",
            "write `web`",
        ),
        (
            "NET[ns]\nweb = \"br0\"\n[service.x]\nvip = \"10.96.0.9:80\"\nto = [\"web\"]\nport = 99999\n",
            "LAB0102",
            "8:8",
            "1 to 65535",
        ),
        ("NET[record]\nx = \"CNAM web\"\n", "LAB0108", "4:5", "CNAME"),
        // What cannot stand together.
        (
            "NET[ns]\nweb = { nets = \"br0\", routes = [\"10.9.0.0/24 via 10.1.0.7\", \"10.9.0.0/24 via 10.1.0.8\"] }\n",
            "LAB0105",
            "4:61",
            "two routes to 10.9.0.0/24",
        ),
        (
            "NET[ns]\nweb = { nets = \"br0\", mac = \"02:00:00:00:00:01\" }\ndb = { nets = \"br0\", mac = \"02:00:00:00:00:01\" }\n",
            "LAB0105",
            "5:1",
            "MAC address 02:00:00:00:00:01",
        ),
        (
            "[net.br0]\nsubnet = [\"10.1.0.0/24\", \"fd00:1::/64\"]\nmtu = 1000\n",
            "LAB0102",
            "1:6",
            "1280",
        ),
        ("[net.all]\n", "LAB0101", "1:6", "all interfaces"),
        ("[net.default]\n", "LAB0101", "1:6", "for new ones"),
        ("[net.none]\n", "LAB0101", "1:6", "where a namespace is"),
        ("[net.host]\n", "LAB0101", "1:6", "where a namespace is"),
        ("[net.none]\n", "LAB0101", "1:6", "on no network"),
        ("[net.host]\n", "LAB0101", "1:6", "on the host"),
        (
            "NET[ns]\nweb = { nets = \"br0\", alias = [\"a.b\"] }\n[record]\n\"a.b\" = \"A 192.0.2.1\"\n",
            "LAB0105",
            "6:1",
            "an alias and something else",
        ),
        (
            "NET[ns]\nweb = { nets = \"br0\", alias = [\"db.br0\"] }\ndb = \"br0\"\n",
            "LAB0105",
            "4:32",
            "two hosts",
        ),
        (
            "NET[record]\n\"gw.br0\" = \"A 192.0.2.1\"\n",
            "LAB0105",
            "4:1",
            "reserved for the lab's server and the host",
        ),
        // Services.
        (
            "NET[ns]\nweb = \"br0 10.1.0.5\"\n[service.x]\nvip = \"10.1.0.5:80\"\nto = [\"web\"]\n",
            "LAB0105",
            "5:10",
            "belongs to `web`",
        ),
        (
            "NET[ns]\nweb = \"br0 10.1.0.5\"\n[service.x]\nvip = \"10.1.0.1:80\"\nto = [\"web\"]\n",
            "LAB0105",
            "5:10",
            "the host's on `br0`",
        ),
        (
            "NET[ns]\nweb = \"br0\"\n[service.x]\nvip = \"[fd00::9]:80\"\nto = [\"web\"]\n",
            "LAB0108",
            "7:7",
            "no address of that family",
        ),
        (
            "NET[ns]\nweb = \"none\"\n[service.x]\nvip = \"10.96.0.9:80\"\nto = [\"web\"]\n",
            "LAB0108",
            "7:7",
            "on no network",
        ),
        (
            "NET[ns]\nweb = \"host\"\n[service.x]\nvip = \"10.96.0.9:80\"\nto = [\"web\"]\n",
            "LAB0108",
            "7:7",
            "the host itself",
        ),
        (
            "NET[ns]\nweb = \"br0\"\n[service.x]\nvip = \"10.96.0.9:80\"\nto = [\"web\"]\n[service.y]\nvip = \"10.96.0.9:80\"\nto = [\"web\"]\n",
            "LAB0105",
            "8:10",
            "two services",
        ),
        // Links.
        (
            "NETdelay = \"fast\"\n",
            "LAB0102",
            "3:9",
            "a time, as in 20ms",
        ),
        ("NETloss = \"101%\"\n", "LAB0102", "3:8", "a share"),
        ("NETrate = \"10\"\n", "LAB0102", "3:8", "10mbit"),
        ("NETjitter = \"5ms\"\n", "LAB0102", "1:6", "needs a `delay`"),
        (
            "NET[ns]\nweb = \"br0 dev eth1\"\ndb = \"br0, br1 dev eth0\"\n[net.br1]\n",
            "LAB0105",
            "5:20",
            "would be called `eth0`",
        ),
        (
            "NET[ns]\nweb = \"br0 dev lo\"\n",
            "LAB0101",
            "4:16",
            "a meaning of its own",
        ),
        ("NETvlan = 7\n", "LAB0108", "3:8", "needs a `parent`"),
        ("NETtrunk = 7\n", "LAB0004", "3:1", "a VLAN is a network"),
        (
            "[lab]\ndns = [\"bridge\", \"x\"]\n",
            "LAB0102",
            "2:18",
            "not a server's address",
        ),
        // A key that means nothing hides no other mistake.
        (
            "NET[ns]\nweb = { nets = \"br0\", foo = 1 }\ndb = \"br9\"\n",
            "LAB0103",
            "5:7",
            "write `br0`",
        ),
        (
            "NETfoo = 1\n[ns]\nred = \"br0 10.1.0.7\"\nblue = \"br0 10.1.0.7\"\n",
            "LAB0105",
            "6:13",
            "belongs to red",
        ),
        (
            "NET[ns]\n\"h[3-1]\" = \"br0\"\n",
            "LAB0101",
            "4:1",
            "larger than TO",
        ),
    ];
    for (text, code, place, cure) in table {
        let text = text.replace("NET", NET);
        let shown = report(&text);
        assert!(shown.contains(&format!("[{code}]")), "{text}\n{shown}");
        assert!(
            shown.contains(&format!("t.toml:{place}\n")),
            "{text}\nnot at {place}:\n{shown}"
        );
        assert!(shown.contains(cure), "{text}\nwithout `{cure}`:\n{shown}");
        assert!(shown.contains('^') || *code == "LAB0001", "{shown}");
    }
}

#[test]
fn a_file_whose_name_cannot_be_a_labs_is_told_what_to_do() {
    let mut sources = Sources::default();
    let (spec, report) = Spec::parse(Path::new("my lab.toml"), NET, &mut sources);
    let shown = report.render(&sources, false);
    assert!(
        spec.is_none()
            && shown.contains("`my lab`, the file's name")
            && shown.contains("write [lab]"),
        "{shown}"
    );
    let named = format!("[lab]\nname = \"mine\"\n{NET}");
    let (spec, _) = Spec::parse(Path::new("my lab.toml"), &named, &mut sources);
    assert_eq!(spec.map(|spec| spec.name).as_deref(), Some("mine"));
}

#[test]
fn every_code_is_explained() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![directory.join("surroundings.rs")];
    for part in ["spec", "spec/check"] {
        let entries = std::fs::read_dir(directory.join(part)).expect("sources");
        let paths = entries.flatten().map(|entry| entry.path());
        files.extend(paths.filter(|path| path.is_file()));
    }
    let mut codes = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source");
        for (at, _) in text.match_indices("\"LAB0") {
            let code = &text[at + 1..at + 8];
            codes += 1;
            let known = lab::spec::EXPLANATIONS
                .iter()
                .any(|(known, _)| *known == code);
            assert!(known, "{code} of {} is not explained", file.display());
        }
    }
    assert!(codes > 50, "{codes}");
}

#[test]
fn what_does_nothing_is_warned_of() {
    for (key, why) in [
        ("internal = true\nnat = true", "no traffic in or out"),
        ("host = false\nnat = true", "not on the network"),
        (
            "host = false\nforward = [\"80:web:80\"]",
            "not on the network",
        ),
    ] {
        let shown = report(&format!("{NET}{key}\n[ns]\nweb = \"br0\"\n"));
        assert!(
            shown.contains("warning[LAB0203]") && shown.contains(why),
            "{shown}"
        );
    }
    let shown = report(&format!(
        "{NET}nat = true\n[ns]\nweb = \"br0\"\n[record]\nx = \"cname web\"\n"
    ));
    assert!(shown.is_empty(), "{shown}");
}

#[test]
fn names_that_only_look_alike_are_no_mistake() {
    for text in [
        "[ns]\n\"a.b\" = \"br0\"\na-b = \"br0\"\n",
        "[ns]\na_b = \"br0\"\na-b = \"br0\"\n",
        "[ns]\na = { nets = \"br0\", alias = [\"x.y\"] }\nx-y = \"br0\"\n",
        "[ns]\na = \"br0\"\n[service.a]\nvip = \"10.96.0.9:80\"\nto = [\"a\"]\n",
    ] {
        let shown = report(&format!("{NET}{text}"));
        assert!(!shown.contains("LAB0105"), "{text}: {shown}");
    }
    let shown = report(&format!("{NET}[ns]\ngw = \"br0\"\n"));
    assert!(
        shown.contains("warning[LAB0205]: `gw.br0` is the host's name"),
        "{shown}"
    );
}

#[test]
fn mistakes_of_values_hide_no_mistakes_of_references() {
    let text = format!(
        "{NET}forward = [\"x:web:80\"]\n[ns]\nweb = \"br9\"\n[service.x]\nvip = \"10.96.0.9\"\nto = [\"nobody\"]\n"
    );
    let shown = report(&text);
    assert!(shown.contains("no network `br9`"), "{shown}");
    assert!(
        shown.ends_with("3 errors\n"),
        "a service that cannot be read is said once: {shown}"
    );
}

#[test]
fn an_unknown_key_hides_no_other_mistakes() {
    let text = report(
        "frob = 1\n[net.br0]\nsubnet = \"10.1.0.0/24\"\nforwad = [\"x\"]\n[ns]\na = \"br1\"\nb = \"br0 10.2.0.3\"\n",
    );
    for part in [
        "unknown key `frob`",
        "unknown key `forwad`",
        "there is no network `br1`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // What a whole section declares is not known; what refers to it is no mistake.
    let text = report("[nett.br1]\nsubnet = \"10.1.0.0/24\"\n[ns]\na = \"br1\"\n");
    assert!(
        text.contains("unknown section `nett`") && !text.contains("there is no network"),
        "{text}"
    );
}

#[test]
fn all_mistakes_are_found_at_once() {
    let shown = report("[net.br0]\nsubnet = \"10.1.0\"\nnta = true\n[ns]\nred = \"br9\"\n");
    assert!(
        shown.ends_with("2 errors\n") || shown.ends_with("3 errors\n"),
        "{shown}"
    );
}

#[test]
fn warnings_say_where_packets_are_lost() {
    let text = std::fs::read_to_string(crate::world::lab_file("router-off")).expect("a lab");
    let shown = report(&text);
    assert!(
        shown.contains("warning[LAB0201]") && shown.contains("c: b does not route"),
        "{shown}"
    );
}

#[test]
fn what_is_declared_to_be_cut_off_is_no_warning() {
    for lab in ["isolate", "nat-both", "pods-both"] {
        let text = std::fs::read_to_string(crate::world::lab_file(lab)).expect("a lab");
        let shown = report(&text);
        assert!(!shown.contains("LAB0201"), "{lab}: {shown}");
    }
    // The source is that of the interface by which a packet leaves.
    let text = std::fs::read_to_string(crate::world::lab_file("everything")).expect("a lab");
    let shown = report(&text);
    assert!(
        shown.contains("`far` cannot reach") && !shown.contains("`gw` cannot reach"),
        "{shown}"
    );
}

#[test]
fn picked_addresses_do_not_depend_on_the_order() {
    let addresses = |text: &str| {
        let mut sources = Sources::default();
        let (spec, report) = Spec::parse(Path::new("t.toml"), text, &mut sources);
        let spec = spec.unwrap_or_else(|| panic!("{}", report.render(&sources, false)));
        lab::layout::hosts(&spec)
            .lines()
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let one = addresses(
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\nred = \"br0\"\nblue = \"br0\"\ngreen = \"br0\"\n",
    );
    let other = addresses(
        "[net.br0]\nsubnet = \"10.1.0.0/24\"\n[ns]\ngreen = \"br0\"\nred = \"br0\"\nblue = \"br0\"\n",
    );
    assert_eq!(one, other);
}

#[test]
fn no_text_ends_the_program() {
    let labs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/labs");
    let mut parsed = 0;
    for entry in std::fs::read_dir(labs).expect("labs").flatten() {
        let text = std::fs::read_to_string(entry.path()).expect("a lab");
        for at in
            (0..text.len()).filter(|at| text.is_char_boundary(*at) && text.is_char_boundary(at + 1))
        {
            for other in ["", "9", "0.0.0.0/0", "\u{1b}", "é", "[", "\""] {
                let mutated = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                let mut sources = Sources::default();
                let (spec, report) = Spec::parse(Path::new("t.toml"), &mutated, &mut sources);
                if let Some(spec) = spec {
                    let layout = lab::layout::Layout::of(&spec);
                    let _ = lab::shell::script(&spec, &layout);
                    parsed += 1;
                } else {
                    let shown = report.render(&sources, false);
                    assert!(
                        !shown.is_empty() && !shown.contains('\u{1b}'),
                        "{mutated:?}"
                    );
                }
            }
        }
    }
    assert!(parsed > 1_000, "{parsed}");
}

#[test]
fn nothing_written_can_leave_its_line() {
    for text in [
        "[lab]\noptions = [\"a\\nnameserver 192.0.2.1\"]\n",
        "[ns]\na = { sysctl = { \"net.x\" = \"1\\n2\" } }\n",
        "[ns]\na = { sysctl = { \"net.x; reboot\" = \"1\" } }\n",
        "[lab]\nsearch = [\"a b\"]\n",
        "[lab]\nname = \"../x\"\n",
    ] {
        assert!(report(text).contains("error"), "{text}");
    }
}

#[test]
fn files_are_taken_in_once_and_keep_their_places() {
    let directory = std::env::temp_dir().join(format!("nameplate-include-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("parts")).expect("a directory");
    let write =
        |name: &str, text: &str| std::fs::write(directory.join(name), text).expect("a file");
    write(
        "parts/nets.toml",
        "[lab]\nttl = 7\ndomain = \"nets.test\"\n[net.br0]\nsubnet = \"10.1.0.0/24\"\n",
    );
    write(
        "parts/web.toml",
        "include = [\"nets.toml\"]\n[ns]\nweb = \"br0 10.1.0.5\"\n",
    );
    write(
        "all.toml",
        "include = [\"parts/web.toml\", \"parts/nets.toml\"]\n[lab]\ndomain = \"all.test\"\n[ns]\ndb = \"br0\"\n[link]\nweb-db = \"192.168.9.0/30\"\n",
    );
    let load = || {
        let mut sources = Sources::default();
        let (spec, report) = Spec::load(&directory.join("all.toml"), &mut sources).expect("read");
        (spec, report.render(&sources, false))
    };
    let (spec, said) = load();
    let spec = spec.expect(&said);
    assert_eq!(
        (spec.name.as_str(), spec.domain.as_str(), spec.ttl),
        ("all", "all.test", 7)
    );
    assert_eq!(
        (spec.nets.len(), spec.spaces.len(), spec.links.len()),
        (1, 2, 1)
    );
    // A mistake is shown where it stands.
    write(
        "parts/web.toml",
        "include = [\"nets.toml\"]\n[ns]\nweb = \"br1\"\n",
    );
    let (spec, said) = load();
    assert!(
        spec.is_none() && said.contains("parts/web.toml:3:8") && said.contains("write `br0`"),
        "{said}"
    );
    write(
        "parts/web.toml",
        "[net.br0]\nsubnet = \"10.2.0.0/24\"\n[ns]\nweb = \"br0\"\n",
    );
    let (_, said) = load();
    assert!(said.contains("there are two networks `br0`"), "{said}");
    write("parts/nets.toml", "include = [\"../all.toml\"]\n");
    let (_, said) = load();
    assert!(
        said.contains("LAB0110") && said.contains("includes itself"),
        "{said}"
    );
    std::fs::remove_dir_all(&directory).expect("removed");
}
