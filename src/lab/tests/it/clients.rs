//! Whoever asks finds the same: programs of the tools for DNS, of glibc, musl and busybox.

use crate::resolving::{COREFILE, applied, serve};
use crate::world::{World, lab_file};

/// Prints the addresses of a name as the C library finds them.
const LOOK_UP: &str = r#"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int count, char **words) {
    struct addrinfo hints = {0}, *found;
    char text[64];
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(words[1], 0, &hints, &found)) return 2;
    for (; found; found = found->ai_next) {
        void *address = found->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)found->ai_addr)->sin_addr
                                                    : (void *)&((struct sockaddr_in6 *)found->ai_addr)->sin6_addr;
        puts(inet_ntop(found->ai_family, address, text, sizeof text));
    }
    return 0;
}
"#;

#[test]
fn every_client_finds_the_same() {
    let world = World::new();
    if !serve(&world, COREFILE) {
        return;
    }
    applied(&world.lab(&["apply", lab_file("search").to_str().expect("plain")]));
    world.write("/run/work/look_up.c".as_ref(), LOOK_UP);
    let mut clients = vec![
        ("dig", "dig +short +search NAME", ""),
        ("host", "host NAME", "not found"),
        ("nslookup", "nslookup NAME", "can't find"),
        ("getent", "getent ahosts NAME", ""),
    ];
    for (tool, prepare, line, denied) in [
        (
            "musl-gcc",
            "musl-gcc -static -o /run/work/musl /run/work/look_up.c",
            "/run/work/musl NAME",
            "",
        ),
        (
            "g++",
            "gcc -o /run/work/glibc /run/work/look_up.c",
            "/run/work/glibc NAME",
            "",
        ),
        // Its `nslookup` knows no search domains.
        (
            "busybox",
            "true",
            "busybox nslookup NAME.mycompany.test",
            "NXDOMAIN",
        ),
    ] {
        if world.sh(&format!("command -v {tool}")).code == 0 {
            world.ok(prepare);
            clients.push((tool, line, denied));
        } else {
            println!("SKIPPED: needs {tool}");
            assert!(std::env::var_os("CI").is_none(), "nothing may be skipped");
        }
    }
    for (client, line, denied) in clients {
        for (name, address) in [
            ("db", "10.1.0.11"),
            ("www", "10.1.0.10"),
            ("orders", "10.1.0.10"),
        ] {
            let line = line.replace("NAME", name);
            let did = world.sh(&format!("ip netns exec web sh -c '{line}'"));
            assert!(did.out.contains(address), "{client}: {name}: {did:?}");
        }
        let did = world.sh(&format!(
            "ip netns exec web sh -c '{}'",
            line.replace("NAME", "nobody")
        ));
        let said = did.out + &did.err;
        assert!(
            said.contains(denied) && !said.contains("10.1.0.10") && !said.contains("10.1.0.11"),
            "{client}: {said}"
        );
    }
    let host =
        world.ok("ip netns exec web host 10.1.0.11; ip netns exec web getent hosts 10.1.0.11");
    assert_eq!(host.matches("db.mycompany.test").count(), 2, "{host}");
}
