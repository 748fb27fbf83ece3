//! Writes the seeds of the fuzz targets, or with `--check` fails when the committed ones are not what this writes.
//!
//! A seed is one message of a kind of its own, so that a mutation begins where a parser has something to do.

use std::path::Path;

/// A header's flags word for a query with RD.
const QUERY: u16 = 0x0100;
/// A header's flags word for an authoritative response.
const RESPONSE: u16 = 0x8580;
/// `www.example.org.` in wire form; in a message it begins at 12, `example.org.` at 16.
const WWW: &[u8] = b"\x03www\x07example\x03org\0";

fn main() {
    let check = std::env::args().any(|argument| argument == "--check");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut differ = 0;
    for (target, seeds) in [
        ("parse", [queries(), responses()].concat()),
        ("parse_build_parse", responses()),
        ("reencode", [responses(), names()].concat()),
    ] {
        for (name, octets) in seeds {
            let path = folder.join(target).join(name);
            if check {
                if std::fs::read(&path).ok().as_deref() != Some(&octets[..]) {
                    eprintln!("{} is not what the generator writes", path.display());
                    differ += 1;
                }
            } else {
                std::fs::create_dir_all(folder.join(target)).expect("a folder is made");
                std::fs::write(path, octets).expect("a seed is written");
            }
        }
    }
    if differ > 0 {
        eprintln!("to write the seeds anew: cargo run --bin seeds, in tests/fuzz");
        std::process::exit(1);
    }
}

type Seeds = Vec<(&'static str, Vec<u8>)>;

fn queries() -> Seeds {
    let cookie = b"\x00\x0A\x00\x08\x01\x02\x03\x04\x05\x06\x07\x08";
    let subnet = b"\x00\x08\x00\x07\x00\x01\x18\x00\xC0\x00\x02";
    let tsig = b"\x0Bhmac-sha256\0\0\0\0\0\0\0\x01\x2C\0\x04\x01\x02\x03\x04\x12\x34\0\0\0\0";
    let ask = |counts| message(QUERY, counts).question(WWW, 28);
    vec![
        ("query-plain", ask([1, 0, 0, 0]).0),
        (
            "query-root",
            message(QUERY, [1, 0, 0, 0]).question(&[0], 2).0,
        ),
        ("query-edns", ask([1, 0, 0, 1]).opt(1232, 0x8000, &[]).0),
        (
            "query-options",
            ask([1, 0, 0, 1])
                .opt(
                    4096,
                    0,
                    &[&cookie[..], subnet, b"\0\x03\0\0", b"\0\x0C\0\x02\0\0"].concat(),
                )
                .0,
        ),
        (
            "query-version-1",
            ask([1, 0, 0, 1]).opt(512, 0x0001_0000, &[]).0,
        ),
        (
            "query-tsig",
            ask([1, 0, 0, 2])
                .opt(1232, 0, &[])
                .record(b"\x03key\xC0\x10", 250, 255, tsig)
                .0,
        ),
        (
            "query-ixfr",
            message(QUERY, [1, 0, 1, 0])
                .question(WWW, 251)
                .record(&[0xC0, 12], 6, 1, &soa())
                .0,
        ),
        (
            "query-notify",
            message(0x2400, [1, 1, 0, 0])
                .question(WWW, 6)
                .record(&[0xC0, 12], 6, 1, &soa())
                .0,
        ),
        (
            "query-update",
            message(0x2800, [1, 0, 0, 0]).question(WWW, 6).0,
        ),
        (
            "query-long-name",
            message(QUERY, [1, 0, 0, 0]).question(&long(), 1).0,
        ),
        (
            "query-pointer-to-itself",
            message(QUERY, [1, 0, 0, 0]).question(&[0xC0, 12], 1).0,
        ),
    ]
}

/// Names in RDATA of types that have them: compressed where they may be, and in full where not.
fn names() -> Seeds {
    let to = b"\x01x\xC0\x10";
    let full = b"\x01x\x07example\x03org\0";
    let owner = &[0xC0, 12][..];
    vec![
        (
            "names-compressed",
            message(RESPONSE, [1, 7, 0, 0])
                .question(WWW, 1)
                .record(owner, 14, 1, &[&to[..], to].concat())
                .record(owner, 17, 1, &[&to[..], to].concat())
                .record(owner, 18, 1, &[&[0, 1], &to[..]].concat())
                .record(owner, 24, 1, &[&[1; 18], &to[..], b"sig"].concat())
                .record(owner, 26, 1, &[&[0, 1], &to[..], to].concat())
                .record(owner, 30, 1, &[&to[..], &[0x40]].concat())
                .record(
                    owner,
                    35,
                    1,
                    &[b"\0\x01\0\x02\x01u\x03abc\0", &to[..]].concat(),
                )
                .0,
        ),
        (
            "names-in-full",
            message(RESPONSE, [1, 5, 0, 0])
                .question(WWW, 1)
                .record(owner, 39, 1, full)
                .record(owner, 46, 1, &[&[0; 18], &full[..], b"sig"].concat())
                .record(owner, 47, 1, &[&full[..], &[0, 1, 0x40]].concat())
                .record(
                    owner,
                    65,
                    1,
                    &[&[0, 1], &full[..], b"\0\x01\0\x03\x02h2"].concat(),
                )
                .record(owner, 66, 1, &[b"\0\x3B\x01\0\x35", &full[..]].concat())
                .0,
        ),
        (
            // A pointer to octets of RDATA that, read as labels, run on behind the last record.
            "names-behind-the-records",
            message(RESPONSE, [1, 2, 0, 0])
                .question(WWW, 1)
                .record(&[0xC0, 12], 1, 1, &[1, 1, 1, 12])
                .record(b"\x01c\xC0\x2F", 1, 1, &[2; 4])
                .0,
        ),
        (
            // An owner that points to the question's type, which reads as the root.
            "names-in-the-question-type",
            message(RESPONSE, [1, 1, 0, 0])
                .question(b"\x01x\0", 1)
                .record(&[0xC0, 15], 3, 1, &[0])
                .0,
        ),
        (
            // The same where the question differs in its type alone.
            "names-in-another-type",
            message(RESPONSE, [1, 1, 0, 0])
                .question(WWW, 256)
                .record(&[0xC0, 30], 3, 1, &[0])
                .0,
        ),
        (
            // A name in RDATA that would end in the next record, and one that leads into octets of no name.
            "names-beyond-rdata",
            message(RESPONSE, [1, 4, 0, 0])
                .question(b"\x01x\0", 1)
                .record(&[0], 3, 1, &[0xFE])
                .record(&[0], 16, 1, b"\x02\xC0\x0D")
                .record(&[0], 4, 1, &[0xC0, 44])
                .record(&[0xC0, 44], 1, 1, &[1; 4])
                .0,
        ),
    ]
}

fn responses() -> Seeds {
    let answer = |counts| message(RESPONSE, counts).question(WWW, 1);
    let zone = &[0xC0, 16][..];
    vec![
        (
            "response-a",
            answer([1, 2, 0, 0])
                .record(&[0xC0, 12], 1, 1, &[192, 0, 2, 1])
                .record(&[0xC0, 12], 1, 1, &[192, 0, 2, 2])
                .0,
        ),
        (
            "response-cname",
            answer([1, 2, 0, 0])
                .record(&[0xC0, 12], 5, 1, b"\x04host\xC0\x10")
                .record(&[0xC0, 45], 1, 1, &[192, 0, 2, 1])
                .0,
        ),
        (
            "response-nxdomain",
            message(RESPONSE | 3, [1, 0, 1, 0])
                .question(WWW, 1)
                .record(zone, 6, 1, &soa())
                .0,
        ),
        (
            "response-referral",
            message(0x8100, [1, 0, 1, 2])
                .question(WWW, 1)
                .record(zone, 2, 1, b"\x02ns\xC0\x0C")
                .record(b"\x02ns\xC0\x0C", 1, 1, &[192, 0, 2, 53])
                .opt(1232, 0x8000, &[])
                .0,
        ),
        (
            "response-mx-srv",
            answer([1, 2, 0, 0])
                .record(zone, 15, 1, b"\0\x0A\x02mx\xC0\x10")
                .record(zone, 33, 1, b"\0\0\0\0\0\x35\x02ns\xC0\x10")
                .0,
        ),
        (
            "response-opt-first",
            answer([1, 1, 0, 2])
                .record(&[0xC0, 12], 1, 1, &[192, 0, 2, 1])
                .opt(1232, 0, b"\0\x0F\0\x02\0\x03")
                .record(&[0xC0, 12], 28, 1, &[0; 16])
                .0,
        ),
        (
            "response-txt",
            answer([1, 1, 0, 0])
                .record(zone, 16, 1, b"\x05hello\x00\x03dns")
                .0,
        ),
        (
            "response-unknown-type",
            answer([1, 1, 0, 0]).record(zone, 65_280, 3, &[1, 2, 3]).0,
        ),
        (
            "response-pointer-chain",
            answer([1, 3, 0, 0])
                .record(b"\x01a\xC0\x0C", 1, 1, &[1; 4])
                .record(b"\x01b\xC0\x21", 1, 1, &[2; 4])
                .record(b"\x01c\xC0\x32", 1, 1, &[3; 4])
                .0,
        ),
        (
            "response-capitals",
            answer([1, 2, 0, 0])
                .record(b"\x03WWW\xC0\x10", 1, 1, &[1; 4])
                .record(b"\x03www\x07EXAMPLE\x03org\0", 1, 1, &[2; 4])
                .0,
        ),
        (
            "response-counts-lie",
            message(RESPONSE, [1, 65_535, 65_535, 65_535])
                .question(WWW, 1)
                .0,
        ),
    ]
}

/// RDATA of a SOA record whose names end in a pointer to `example.org.` at 16.
fn soa() -> Vec<u8> {
    [
        &b"\x02ns\xC0\x10\x04host\xC0\x10"[..],
        &[
            0, 0, 0, 1, 0, 0, 28, 32, 0, 0, 14, 16, 0, 18, 117, 0, 0, 0, 1, 44,
        ],
    ]
    .concat()
}

/// A name of 255 octets.
fn long() -> Vec<u8> {
    [&b"\x01x".repeat(127)[..], &[0]].concat()
}

/// A message under construction.
struct Octets(Vec<u8>);

fn message(flags: u16, counts: [u16; 4]) -> Octets {
    let [qd, an, ns, ar] = counts;
    Octets(
        [0x1234, flags, qd, an, ns, ar]
            .iter()
            .flat_map(|word: &u16| word.to_be_bytes())
            .collect(),
    )
}

impl Octets {
    fn question(mut self, name: &[u8], qtype: u16) -> Self {
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(&qtype.to_be_bytes());
        self.0.extend_from_slice(&[0, 1]);
        self
    }

    fn record(mut self, owner: &[u8], rtype: u16, class: u16, rdata: &[u8]) -> Self {
        self.0.extend_from_slice(owner);
        self.0.extend_from_slice(&rtype.to_be_bytes());
        self.0.extend_from_slice(&class.to_be_bytes());
        self.0.extend_from_slice(&[0, 0, 1, 44]);
        self.0
            .extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        self.0.extend_from_slice(rdata);
        self
    }

    fn opt(mut self, size: u16, ttl: u32, options: &[u8]) -> Self {
        self.0.extend_from_slice(&[0, 0, 41]);
        self.0.extend_from_slice(&size.to_be_bytes());
        self.0.extend_from_slice(&ttl.to_be_bytes());
        self.0
            .extend_from_slice(&(options.len() as u16).to_be_bytes());
        self.0.extend_from_slice(options);
        self
    }
}
