//! Networks that ask servers of their own.

use super::*;

/// What a block answers one client, on a runtime such as a worker has: the addresses, and whether recursion is available.
fn ask_outside(block: &Arc<Block>, from: &str, name: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut exchange = trial::exchange(name, Type::A, None);
    exchange.context.peer = (from.parse::<IpAddr>().expect("an address"), 4711).into();
    let local = tokio::task::LocalSet::new();
    let mut exchange = local.block_on(&runtime, async {
        match exchange.walk(block) {
            Outcome::Respond => exchange,
            Outcome::Suspended(at) => chain::resume(exchange, block.clone(), at).await.0,
            other => panic!("{other:?}"),
        }
    });
    let response = exchange.response();
    let mut out = response.rcode().to_string();
    if response.flags().has(Flags::RA) {
        out.push_str(" ra");
    }
    for record in response.records().flatten() {
        if record.rtype == Type::A {
            let _ = write!(out, " {}", record.rdata()[3]);
        }
    }
    out
}

#[test]
fn a_network_has_servers_of_its_own() {
    let labs = Labs::new("upstream");
    let noerror = wire::Rcode::NOERROR;
    let [one, other] = [7, 8].map(|last| {
        trial::upstream(move |query| Some(trial::reply_of(query, noerror, Some([192, 0, 2, last]))))
    });
    let silent = trial::upstream(|_| None);
    let with = |name: &str, servers: &[std::net::SocketAddr]| {
        let servers: Vec<String> = servers.iter().map(|at| format!("\"{at}\"")).collect();
        TWO.replace(
            &format!("{{\"name\": \"{name}\""),
            &format!(
                "{{\"upstream\": [{}], \"name\": \"{name}\"",
                servers.join(",")
            ),
        )
    };
    labs.publish("two", &with("left", &[silent, one]));
    labs.publish(
        "other",
        &small("other.test", "10.9.0.5").replace(
            "\"subnets\"",
            &format!("\"upstream\": [\"{other}\"], \"subnets\""),
        ),
    );
    let block = labs.serve("", "");
    for (from, name, answer) in [
        // The first one is silent.
        ("10.1.0.10", "www.example.org.", "NOERROR ra 7"),
        ("10.9.0.5", "www.example.org.", "NOERROR ra 8"),
        ("10.9.0.5", "h.other.test.", "NOERROR ra 5"),
        ("10.9.0.5", "h.", "NOERROR ra 5"),
        ("10.9.0.5", "nothing.", "NXDOMAIN ra"),
        ("10.9.0.5", "web.two.test.", "NOERROR ra 10 10"),
        // Others go on.
        (STRANGER, "www.example.org.", "NOERROR"),
    ] {
        assert_eq!(ask_outside(&block, from, name), answer, "{from} {name}");
    }
    // What is internal has no way out, whatever it says.
    labs.publish("two", &with("right", &[one]));
    let block = labs.serve("", "");
    assert_eq!(
        ask_outside(&block, "10.2.0.10", "www.example.org."),
        "REFUSED"
    );
}

/// RFC 1035, section 4.1.1: RA tells what the server offers, whether or not it found the answer.
#[test]
fn an_error_says_that_recursion_is_available() {
    let labs = Labs::new("error");
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let closed = nobody.local_addr().expect("bound");
    drop(nobody);
    let forward = format!("forward . {closed} {{\nmax_fails 0\n}}");
    labs.publish("two", TWO);
    labs.publish(
        "other",
        &small("other.test", "10.9.0.5").replace(
            "\"subnets\"",
            &format!("\"upstream\": [\"{closed}\"], \"subnets\""),
        ),
    );
    for (lines, from, answer) in [
        (forward.as_str(), "10.1.0.10", "SERVFAIL ra"),
        (&forward, STRANGER, "SERVFAIL ra"),
        (&forward, "10.9.0.5", "SERVFAIL ra"),
        ("", "10.9.0.5", "SERVFAIL ra"),
        // Nothing is looked up for these.
        (&forward, "10.2.0.10", "REFUSED"),
        ("", "10.1.0.10", "SERVFAIL"),
    ] {
        let trial = trial::block(&format!("lab {}\n{lines}", labs.0.0.display()));
        assert!(trial.accepted, "{}", trial.messages);
        let last = trial::answer(|_, _| Err(chain::Failure::servfail("nobody answers")));
        let block = trial::serve(&trial, ".", last);
        assert_eq!(
            ask_outside(&block, from, "www.example.org."),
            answer,
            "{lines} {from}"
        );
    }
}
