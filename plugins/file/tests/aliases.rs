//! Aliases that lead out of a signed zone, and names that fall through.

use std::fmt::Write as _;

use wire::{Section, Type};

use super::*;

const SIGNED: &str = "\
@ 3600 IN SOA ns h 1 7200 3600 1209600 60
@ 3600 IN RRSIG SOA 13 2 3600 20300101000000 20200101000000 7 @ AQID
@ 3600 IN NS ns
@ 3600 IN RRSIG NS 13 2 3600 20300101000000 20200101000000 7 @ AQID
ns 3600 IN A 192.0.2.53
ns 3600 IN RRSIG A 13 3 3600 20300101000000 20200101000000 7 @ AQID
";

/// A signed zone of these records, each signed, with an NSEC chain that goes through their owners in this order.
fn signed(records: &[(&str, &str)]) -> String {
    let mut zone = SIGNED.to_owned();
    for (owner, record) in records {
        let rtype = record.split(' ').next().unwrap_or_default();
        let _ = writeln!(zone, "{owner} 300 IN {record}");
        let signature = "13 3 300 20300101000000 20200101000000 7 @ AQID";
        let _ = writeln!(zone, "{owner} 300 IN RRSIG {rtype} {signature}");
    }
    let owners: Vec<&str> = ["@"]
        .into_iter()
        .chain(records.iter().map(|(owner, _)| *owner))
        .collect();
    for (at, owner) in owners.iter().enumerate() {
        let next = owners[(at + 1) % owners.len()];
        let _ = writeln!(zone, "{owner} 60 IN NSEC {next} A RRSIG NSEC");
        let signature = "13 3 60 20300101000000 20200101000000 7 @ AQID";
        let _ = writeln!(zone, "{owner} 60 IN RRSIG NSEC {signature}");
    }
    zone
}

/// The authority section in a few words: owner and type, with what a signature covers.
fn authority(exchange: &mut Exchange) -> Vec<String> {
    let response = exchange.response();
    response
        .records()
        .map(|record| record.expect("a record"))
        .filter(|record| record.section == Section::Authority)
        .map(|record| {
            let owner = record.owner().expect("an owner");
            let covered = match record.rtype {
                Type::RRSIG => format!(" {}", Type(wire::read_u16(record.rdata(), 0).unwrap())),
                _ => String::new(),
            };
            format!("{owner} {}{covered}", record.rtype)
        })
        .collect()
}

#[test]
fn proofs_go_with_aliases_that_lead_out_of_a_signed_zone() {
    let folder = Folder::new("file-proofs");
    let here = signed(&[
        ("*.d", "CNAME x.w.b.test."),
        ("gone", "CNAME gone.b.test."),
        ("*.h", "CNAME host.example."),
        ("here", "CNAME www.b.test."),
        ("*.n", "CNAME gone.b.test."),
        ("plain", "CNAME www.b.test."),
        ("*.t", "CNAME here"),
        ("*.v", "CNAME x.void.test."),
        ("*.w", "CNAME www.b.test."),
    ]);
    folder.write("a", &here);
    let there = signed(&[("*.w", "A 192.0.2.8"), ("www", "A 192.0.2.7")]);
    folder.write("b", &there);
    let corefile = format!(
        "a.test {{\n file {0}/a\n}}\nb.test {{\n file {0}/b\n}}\n
         example {{\n hosts {{\n 192.0.2.10 host.example\n }}\n}}",
        folder.0.display()
    );
    let listener = Listener::new(&trial::build(&corefile));
    let ns = ["a.test. NS", "a.test. RRSIG NS"];
    let proof = |owner: &str| [format!("{owner} NSEC"), format!("{owner} RRSIG NSEC")];
    let rows = [
        // The wildcard of the alias (RFC 4035, 3.1.3.3), wherever its target is.
        ("x.w.a.test", &ns[..], vec!["*.w.a.test."]),
        ("x.h.a.test", &ns, vec!["*.h.a.test."]),
        // The look-up of the target fails.
        ("x.v.a.test", &ns, vec!["*.v.a.test."]),
        // A wildcard, whose target is an alias of the same zone that leads out.
        ("x.t.a.test", &ns, vec!["*.t.a.test."]),
        // An alias that stands there has nothing to prove.
        ("plain.a.test", &ns, vec![]),
        // The target is a wildcard's, too: each zone proves its own.
        ("x.d.a.test", &ns, vec!["*.d.a.test.", "*.w.b.test."]),
    ];
    runtime().block_on(async {
        for (name, before, proofs) in rows {
            let mut reply = listener
                .exchange(trial::exchange(name, Type::A, Some(1_233)))
                .await;
            let mut expected: Vec<String> = before.iter().map(|&one| one.to_owned()).collect();
            expected.extend(proofs.into_iter().flat_map(proof));
            assert_eq!(authority(&mut reply), expected, "{name}");
            // Without DO there is no proof.
            let mut plain = listener
                .exchange(trial::exchange(name, Type::A, Some(1_232)))
                .await;
            assert_eq!(authority(&mut plain), ["a.test. NS"], "{name}");
        }
        // What is not there is proved by the zone that it would be in.
        for (name, wildcard) in [("gone.a.test", None), ("x.n.a.test", Some("*.n.a.test."))] {
            let mut reply = listener
                .exchange(trial::exchange(name, Type::A, Some(1_233)))
                .await;
            let mut expected: Vec<String> = wildcard.into_iter().flat_map(proof).collect();
            expected.extend(["b.test. SOA".to_owned(), "b.test. RRSIG SOA".to_owned()]);
            expected.extend(proof("b.test."));
            assert_eq!(authority(&mut reply), expected, "{name}");
            assert_eq!(reply.response().rcode(), Rcode::NXDOMAIN);
        }
    });
}

/// Where the last name is in another zone, that zone says where the name is delegated to and, under DO, what is not there.
#[test]
fn the_zone_of_the_last_name_speaks_for_it() {
    let folder = Folder::new("file-last-name");
    let here = signed(&[
        ("below", "CNAME www.cut.b.test."),
        ("gone", "CNAME gone.b.test."),
        ("onward", "CNAME cut.b.test."),
        ("strange", "CNAME away.b.test."),
        ("typed", "CNAME ns.b.test."),
    ]);
    folder.write("a", &here);
    let there = "@ 3600 IN SOA ns h 1 7200 3600 1209600 60\n@ 3600 IN NS ns\nns 3600 IN A 192.0.2.53\n\
                 away 300 IN CNAME www.nowhere.test.\ncut 300 IN NS ns.cut\nns.cut 300 IN A 192.0.2.54\n";
    folder.write("b", there);
    let corefile = format!(
        "a.test {{\n file {0}/a\n}}\nb.test {{\n file {0}/b\n}}",
        folder.0.display()
    );
    let listener = Listener::new(&trial::build(&corefile));
    let rows = [
        ("gone.a.test", Rcode::NXDOMAIN, "b.test. SOA", 0),
        ("typed.a.test", Rcode::NOERROR, "b.test. SOA", 0),
        ("below.a.test", Rcode::NOERROR, "cut.b.test. NS", 1),
        ("onward.a.test", Rcode::NOERROR, "cut.b.test. NS", 1),
        // No SOA record: nobody says that the last name has nothing.
        ("strange.a.test", Rcode::NOERROR, "b.test. NS", 0),
    ];
    runtime().block_on(async {
        for (name, rcode, ns, glue) in rows {
            for size in [Some(1_233), None] {
                let mut reply = listener
                    .exchange(trial::exchange(name, Type::TXT, size))
                    .await;
                let ns = match size {
                    None => ns.replace("b.test. SOA", "a.test. SOA"),
                    Some(_) => ns.to_owned(),
                };
                assert_eq!(authority(&mut reply), [ns], "{name} {size:?}");
                let response = reply.response();
                assert_eq!(response.rcode(), rcode, "{name}");
                assert_eq!(response.count(Section::Additional), glue, "{name}");
            }
        }
    });
}

#[test]
fn an_empty_non_terminal_falls_through() {
    let folder = Folder::new("file-empty");
    let zone = format!("{ZONE}*.x 300 IN A 192.0.2.9\nb.x 300 IN A 192.0.2.10\n");
    let db = folder.write("db", &zone).display().to_string();
    let below = || trial::answer(|_, _| Err(Failure::policy(Rcode::YXDOMAIN)));
    let with = trial::block(&format!("file {db} example.org {{\n fallthrough\n}}"));
    let without = trial::block(&format!("file {db} example.org"));
    let with = trial::serve(&with, ".", below());
    let without = trial::serve(&without, ".", below());
    for (name, qtype, falls, stays) in [
        ("x.example.org", Type::A, "YXDOMAIN", "NOERROR aa + SOA"),
        ("x.example.org", Type::TXT, "YXDOMAIN", "NOERROR aa + SOA"),
        // A name that has records, or a wildcard's, is known: NODATA stays.
        (
            "b.x.example.org",
            Type::TXT,
            "NOERROR aa + SOA",
            "NOERROR aa + SOA",
        ),
        (
            "c.x.example.org",
            Type::TXT,
            "NOERROR aa + SOA",
            "NOERROR aa + SOA",
        ),
    ] {
        for (block, expected) in [(&with, falls), (&without, stays)] {
            let mut exchange = trial::exchange(name, qtype, None);
            assert_eq!(exchange.walk(block), Outcome::Respond, "{name}");
            assert_eq!(show(exchange), expected, "{name} {qtype}");
        }
    }
}

/// RFC 1034, section 4.3.2, 3a: the target of an alias is looked up anew, by every plugin.
#[test]
fn another_plugin_of_the_block_may_have_the_target() {
    let folder = Folder::new("file-beside");
    let zone = signed(&[("*.h", "CNAME there"), ("*.n", "CNAME gone")]);
    let db = folder.write("db", &zone);
    let corefile = format!(
        "a.test {{\n hosts {{\n 192.0.2.10 there.a.test\n fallthrough\n }}\n file {}\n}}",
        db.display()
    );
    let listener = Listener::new(&trial::build(&corefile));
    runtime().block_on(async {
        let ask = |name| listener.exchange(trial::exchange(name, Type::A, Some(1_233)));
        let mut reply = ask("x.h.a.test").await;
        let told = trial::told(&reply.response());
        assert!(
            told.starts_with("NOERROR aa | x.h.a.test. 300 CNAME there.a.test. "),
            "{told}"
        );
        assert!(
            told.contains("| there.a.test. 3600 A 192.0.2.10 + NS"),
            "{told}"
        );
        let proof = ["*.h.a.test. NSEC", "*.h.a.test. RRSIG NSEC"];
        assert_eq!(authority(&mut reply)[2..], proof);
        // Nobody has it: the answer is that of the zone, with the proofs of both names.
        let mut reply = ask("x.n.a.test").await;
        assert_eq!(reply.response().rcode(), Rcode::NXDOMAIN);
        assert_eq!(
            authority(&mut reply),
            [
                "*.n.a.test. NSEC",
                "*.n.a.test. RRSIG NSEC",
                "a.test. SOA",
                "a.test. RRSIG SOA",
                "a.test. NSEC",
                "a.test. RRSIG NSEC",
            ]
        );
    });
}

#[test]
fn aliases_that_form_a_loop_are_the_answer() {
    let folder = Folder::new("file-loops");
    let zone = format!(
        "{ZONE}in 300 IN CNAME loop1\nself 300 IN CNAME self\n*.w 300 IN CNAME x.w\nd 300 IN DNAME e\ne 300 IN DNAME d\n\
         same 300 IN DNAME same\n"
    );
    let db = folder.write("db", &zone);
    let corefile = format!("example.org {{\n file {}\n}}", db.display());
    let listener = Listener::new(&trial::build(&corefile));
    let alias =
        |from: &str, to: &str| format!(" | {from}.example.org. 300 CNAME {to}.example.org.");
    let dname = |from: &str| format!(" | {from}.example.org. 300 DNAME");
    let rows = [
        // As CoreDNS, Knot and NSD; BIND has SERVFAIL for these, too.
        (
            "in",
            "NOERROR",
            alias("in", "loop1") + &alias("loop1", "loop2") + &alias("loop2", "loop1"),
        ),
        ("self", "NOERROR", alias("self", "self")),
        // As CoreDNS and BIND.
        ("x.w", "SERVFAIL", alias("x.w", "x.w")),
        (
            "y.w",
            "SERVFAIL",
            alias("y.w", "x.w") + &alias("x.w", "x.w"),
        ),
        (
            "x.d",
            "SERVFAIL",
            dname("d") + &alias("x.d", "x.e") + &dname("e") + &alias("x.e", "x.d"),
        ),
    ];
    runtime().block_on(async {
        for (name, rcode, aliases) in rows {
            let answer = listener.ask(&format!("{name}.example.org"), Type::A).await;
            assert_eq!(answer, format!("{rcode} aa{aliases} + NS"), "{name}");
        }
        // As CoreDNS 1.14.7 has it.
        assert_eq!(
            listener.ask("x.same.example.org", Type::A).await,
            "SERVFAIL"
        );
    });
}
