//! Directives and options that CoreDNS once had, or that others build into it: what took their place here, and the edit that makes it so.
//!
//! Deployed Corefiles still have them, since whoever upgrades CoreDNS learns of it when it no longer starts.

use corefile::{Diagnostic, Directive, Line, Span};

/// What became of a word.
#[derive(Clone, Copy)]
pub(crate) struct Bygone {
    word: &'static str,
    /// What CoreDNS did with it.
    since: &'static str,
    now: Now,
}

/// What stands for it today.
#[derive(Clone, Copy)]
enum Now {
    /// Another word, with the same arguments.
    Word(&'static str),
    /// Nothing: it does not do anything any more.
    Nothing,
    /// Something that has to be written by hand.
    Write(&'static str),
    /// Something else that does the like; it never was one of CoreDNS's own.
    Like(&'static str),
    /// Nothing that is known here; it never was one of CoreDNS's own.
    External,
}

/// Directives.
const DIRECTIVES: &[Bygone] = &[
    Bygone {
        word: "proxy",
        since: "CoreDNS 1.5.0 replaced `proxy` by `forward`",
        now: Now::Word("forward"),
    },
    Bygone {
        word: "fallback",
        since: "`fallback` is the old name of `alternate`",
        now: Now::Word("alternate"),
    },
    Bygone {
        word: "startup",
        since: "`startup` is an event of the plugin `on`",
        now: Now::Word("on startup"),
    },
    Bygone {
        word: "shutdown",
        since: "`shutdown` is an event of the plugin `on`",
        now: Now::Word("on shutdown"),
    },
    Bygone {
        word: "federation",
        since: "Kubernetes dropped federation v1, and CoreDNS 1.7.0 the plugin",
        now: Now::Nothing,
    },
    Bygone {
        word: "reverse",
        since: "CoreDNS 1.3.0 replaced `reverse` by `template`",
        now: Now::Write("write a `template` for the reverse zone"),
    },
    Bygone {
        word: "kubernetai",
        since: "`kubernetai` is an external plugin of CoreDNS; a server block may have several `kubernetes` here",
        now: Now::Word("kubernetes"),
    },
    Bygone {
        word: "httpproxy",
        since: "CoreDNS dropped `httpproxy`",
        now: Now::Word("forward"),
    },
];

/// External plugins that Corefiles have, and what does the like here.
const EXTERNAL: &[(&[&str], &str)] = &[
    (
        &["ads", "blocklist", "block", "blocker", "filter"],
        "block names by a hosts file: `hosts LIST { fallthrough }` with lines such as `0.0.0.0 ads.example.org`",
    ),
    (
        &["unbound", "recursor", "resolve"],
        "ask a recursive resolver: `forward . 127.0.0.1:5335`",
    ),
    (
        &["k8s_gateway", "k8s_crd"],
        "names of services of type LoadBalancer are served by `k8s_external`; those of Ingress and Gateway objects are not",
    ),
    (
        &["multicluster"],
        "write it into `kubernetes`: `kubernetes cluster.local clusterset.local { multicluster clusterset.local }`",
    ),
    (
        &[
            "redis",
            "redisc",
            "mysql",
            "mysql_extend",
            "pdsql",
            "sql",
            "dynamodb",
            "consul",
            "netbox",
            "omada",
            "docker",
            "dockerdiscovery",
            "idetcd",
            "pocketbase",
            "proxmox",
            "dynapi",
            "nodecache",
        ],
        "keep the records where `etcd` reads them, or write them to a file that `hosts` or `file` reads again when it changes",
    ),
    (
        &["git"],
        "fetch the zones beside the server; `file` reads them again when they change",
    ),
    (
        &["ratelimit"],
        "`rrl` with `requests-per-second` limits how fast a client may ask",
    ),
    (
        &["tailscale"],
        "ask Tailscale's resolver: `forward TAILNET.ts.net 100.100.100.100`",
    ),
    (&["dump"], "`log` writes each query"),
];

/// Further external plugins, most of them from CoreDNS's list of them.
const OTHERS: &[&str] = &[
    "alias",
    "amazondns",
    "demo",
    "dnsredir",
    "dso",
    "ebpf",
    "ens",
    "example",
    "finalize",
    "firewall",
    "flatten",
    "gathersrv",
    "gravwell",
    "gslb",
    "handshake",
    "ipecho",
    "ipin",
    "ipset",
    "json",
    "k8s_cache",
    "k8s_dns_chaos",
    "k8s_event",
    "kubeforward",
    "kubenodes",
    "lighthouse",
    "mdns",
    "meship",
    "meshname",
    "ocp_dnsnameresolver",
    "rebind",
    "recycle",
    "redis_cache",
    "responsefilter",
    "split",
    "themis",
    "traefik",
    "umbrella",
    "warnlist",
    "wgsd",
];

/// Options, by directive.
const OPTIONS: &[(&str, Bygone)] = &[
    (
        "kubernetes",
        Bygone {
            word: "upstream",
            since: "since CoreDNS 1.5.0 external names are looked up through the server itself",
            now: Now::Nothing,
        },
    ),
    (
        "kubernetes",
        Bygone {
            word: "resyncperiod",
            since: "since CoreDNS 1.5.0 nothing is synchronised by time",
            now: Now::Nothing,
        },
    ),
    (
        "kubernetes",
        Bygone {
            word: "cidrs",
            since: "reverse zones are among the zones of the directive",
            now: Now::Write(
                "write them as arguments: `kubernetes cluster.local 10.0.0.0/16 in-addr.arpa`",
            ),
        },
    ),
    (
        "kubernetes",
        Bygone {
            word: "federation",
            since: "Kubernetes dropped federation v1",
            now: Now::Nothing,
        },
    ),
    ("kubernetes", TRANSFER),
    ("file", TRANSFER),
    (
        "file",
        Bygone {
            word: "no_reload",
            since: "`reload 0` turns reloading off",
            now: Now::Word("reload 0"),
        },
    ),
    ("auto", TRANSFER),
    ("secondary", TRANSFER_TO),
    (
        "forward",
        Bygone {
            word: "fail_timeout",
            since: "`forward` has no `fail_timeout`: an upstream that failed is probed until it answers",
            now: Now::Nothing,
        },
    ),
    (
        "forward",
        Bygone {
            word: "spray",
            since: "`forward` has no `spray`: if every upstream is down, one is tried anyway",
            now: Now::Nothing,
        },
    ),
    (
        "forward",
        Bygone {
            word: "protocol",
            since: "the transport of `forward` is written before the address",
            now: Now::Write("write `force_tcp`, `prefer_udp`, or `tls://` before the address"),
        },
    ),
    (
        "errors",
        Bygone {
            word: "stdout",
            since: "`errors` always writes to the log",
            now: Now::Nothing,
        },
    ),
];

const TRANSFER: Bygone = Bygone {
    word: "transfer",
    since: "since CoreDNS 1.8.0 zone transfers are a plugin of their own",
    now: Now::Write("add the plugin `transfer`: `transfer example.org { to 192.0.2.1 }`"),
};
const TRANSFER_TO: Bygone = Bygone {
    word: "to",
    ..TRANSFER
};

/// What became of a directive, if CoreDNS once had it or others build it in.
pub(crate) fn directive(directive: &Directive) -> Option<Bygone> {
    let name = directive.name.text.as_str();
    if let Some(bygone) = DIRECTIVES.iter().find(|bygone| bygone.word == name) {
        return Some(*bygone);
    }
    let external = |word, now| Bygone {
        word,
        since: "CoreDNS has it only if it was built in; nameplate does not have it",
        now,
    };
    if let Some(word) = OTHERS.iter().find(|word| **word == name) {
        return Some(external(word, Now::External));
    }
    let (words, like) = EXTERNAL.iter().find(|(words, _)| words.contains(&name))?;
    let word = words.iter().find(|word| **word == name)?;
    Some(external(word, Now::Like(like)))
}

/// A `proxy` that asked over gRPC, as `grpc` is written.
fn as_grpc(proxy: &Directive) -> Option<String> {
    let lines = || proxy.block.iter().flat_map(|block| &block.lines);
    let words = |line: &Line| -> Vec<String> {
        let words = line.words.iter();
        words.map(|word| word.text.clone()).collect()
    };
    let tls = lines().find_map(|line| match words(line).as_slice() {
        [protocol, grpc, files @ ..] if protocol == "protocol" && grpc == "grpc" => {
            Some(files.to_vec())
        }
        _ => None,
    })?;
    let mut options: Vec<String> = lines()
        .map(words)
        .filter(|words| matches!(words.first().map(String::as_str), Some("policy" | "except")))
        .map(|words| words.join(" "))
        .collect();
    // Without further words TLS is spoken.
    if tls.first().is_none_or(|word| word != "insecure") {
        options.push(
            ["tls"]
                .into_iter()
                .chain(tls.iter().map(String::as_str))
                .collect::<Vec<_>>()
                .join(" "),
        );
    }
    let args = proxy.args.iter().map(|word| format!(" {}", word.text));
    let head = format!("grpc{}", args.collect::<String>());
    Some(match options.is_empty() {
        true => head,
        false => format!("{head} {{\n        {}\n    }}", options.join("\n        ")),
    })
}

/// What became of an option of a directive.
pub(crate) fn option(directive: &str, line: &Line) -> Option<&'static Bygone> {
    let word = line.words.first()?;
    OPTIONS
        .iter()
        .find(|(owner, bygone)| *owner == directive && bygone.word == word.text)
        .map(|(_, bygone)| bygone)
}

impl Bygone {
    /// Says what became of a directive. What `refused` knows to be refused is not proposed.
    pub(crate) fn tell(
        &self,
        diagnostic: Diagnostic,
        directive: &Directive,
        refused: impl Fn(&str) -> bool,
    ) -> Diagnostic {
        let (word, whole) = (directive.name.span, directive.span());
        let proxied = Some(directive).filter(|directive| directive.name.text == "proxy");
        if let Some(grpc) = proxied.and_then(as_grpc) {
            return diagnostic
                .note("CoreDNS 1.5.0 replaced `proxy` by `forward`, and `protocol grpc` by `grpc`")
                .at(word, "`grpc` took its place")
                .help("write `grpc`")
                .replace(whole, grpc);
        }
        let told = self.told(diagnostic, word, whole);
        let proposed = match &self.now {
            Now::Word(text) => format!("`{text}`"),
            Now::Write(text) | Now::Like(text) => (*text).to_owned(),
            Now::Nothing | Now::External => String::new(),
        };
        // What stands in backticks is Corefile, and begins with a directive.
        let mut written = proposed.split('`').skip(1).step_by(2);
        let first = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
        match written.any(|text| refused(&first(text))) {
            true => Diagnostic {
                help: None,
                fix: None,
                ..told
            },
            false => told,
        }
    }

    /// Says what became of an option.
    pub(crate) fn tell_option(&self, diagnostic: Diagnostic, line: &Line) -> Diagnostic {
        let Some((first, last)) = line.words.first().zip(line.words.last()) else {
            return diagnostic;
        };
        let end = line.block.as_ref().map_or(last.span, |block| block.close);
        self.told(diagnostic, first.span, first.span.to(end))
    }

    fn told(&self, diagnostic: Diagnostic, word: Span, whole: Span) -> Diagnostic {
        let diagnostic = diagnostic.note(self.since);
        match &self.now {
            Now::Word(now) => diagnostic
                .at(word, format!("`{now}` took its place"))
                .help(format!("write `{now}`"))
                .replace(word, *now),
            Now::Nothing => diagnostic
                .at(word, "it is gone")
                .help("remove it")
                .replace(whole, ""),
            Now::Write(what) => diagnostic.at(word, "it is gone").help(*what),
            Now::Like(what) => diagnostic
                .at(word, "not part of CoreDNS; an external plugin")
                .help(*what),
            Now::External => diagnostic.at(word, "not part of CoreDNS; an external plugin"),
        }
    }
}
