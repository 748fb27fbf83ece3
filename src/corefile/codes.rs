//! What each code means, for `check --explain CODE`.
//!
//! CF01 syntax and options, CF02 values, CF03 order and shadowing, CF04 security, CF05 environment, CF09 not
//! implemented here. A code keeps its meaning for ever.

/// Code and explanation, sorted by code.
pub const EXPLANATIONS: &[(&str, &str)] = &[
    (
        "CF0101",
        "A block that was opened by `{` is never closed. Every `{` needs a `}` on its own line. The message points at the open brace, or, if the indentation shows it, at the one that was probably forgotten.",
    ),
    (
        "CF0102",
        "The plugin does not know this option. CoreDNS accepts some unknown options silently, in `hosts` for example, and then does not do what was meant; here every unknown option is an error.",
    ),
    (
        "CF0103",
        "A `{` is where a word is expected. Write the `{` of a directive or of an option at the end of its line, with a space before it.",
    ),
    (
        "CF0104",
        "Words follow the `}` of a plugin's block on the same line. CoreDNS passes them to the plugin whose block was closed. Write them on the next line.",
    ),
    (
        "CF0105",
        "A `}` closes nothing: there is one too many, or it is at the end of a directive's line, where it needs its own line.",
    ),
    (
        "CF0106",
        "`import` takes exactly one argument: the name of a snippet that is declared above, or a file or glob pattern, relative to the importing file.",
    ),
    (
        "CF0107",
        "The directive or option has too few or too many arguments.",
    ),
    (
        "CF0108",
        "A comma at the end of a zone means that another zone follows, possibly on the next line, but there is none.",
    ),
    (
        "CF0109",
        "The `}` of a plugin's block is on the line of an option. nameplate reads it as the end of the block, but CoreDNS reads it as another argument of the option. Write it on its own line.",
    ),
    (
        "CF0110",
        "A server block has no zone before its `{`, so it serves nothing. CoreDNS ignores it silently.",
    ),
    (
        "CF0111",
        "A zone contains a comma. Only a comma at the end of a word separates zones: `a.org,b.org` is one zone with a comma in its name, `a.org, b.org` is two.",
    ),
    (
        "CF0112",
        "A word starts with `\"` and no other `\"` follows in the file, so everything after it is part of this word. CoreDNS does the same silently.",
    ),
    (
        "CF0113",
        "A word contains a `#`. As in CoreDNS, the `#` ends the word, and the text up to the next space is dropped, but the text after that space is read as words again. Put a space before a comment, and quotes around a word that contains a `#`.",
    ),
    (
        "CF0114",
        "The file is not UTF-8. Save it as UTF-8. In a zone, write a name that is not ASCII in its A-label form (`xn--…`).",
    ),
    (
        "CF0115",
        "Two snippets have the same name. CoreDNS also refuses this.",
    ),
    (
        "CF0116",
        "Imports that never end: a snippet or file that imports itself, directly or through others, or imports that multiply past 10,000 expansions, a million words or 64 MiB.",
    ),
    (
        "CF0117",
        "A snippet, `(name)`, needs braces around its lines.",
    ),
    (
        "CF0118",
        "No plugin has this name. Names are written in lower case.",
    ),
    (
        "CF0119",
        "A limit that protects the server was reached: 64 MiB of text, or 64 nested braces.",
    ),
    (
        "CF0120",
        "This plugin can be used only once in a server block.",
    ),
    ("CF0121", "The directive takes no block in braces."),
    (
        "CF0122",
        "A brace is at the end of a word. CoreDNS reads it as a part of the word. Write a space before `{`, and `}` on its own line.",
    ),
    (
        "CF0201",
        "The word has another type: a number, or `true` or `false`, is expected.",
    ),
    (
        "CF0202",
        "A duration is expected, as in Go: numbers with a unit, such as `30s`, `1m30s`, `300ms` or `1.5h`. A bare number is accepted only where seconds are documented.",
    ),
    ("CF0203", "The number is outside of the allowed range."),
    (
        "CF0204",
        "An IP address or a prefix in CIDR form is expected. As the zone of a server block an IPv6 prefix must not start with zeros.",
    ),
    (
        "CF0205",
        "This is not a domain name: a label has 1 to 63 bytes, a name at most 255, and only the root is a single dot (RFC 1035, section 3.1).",
    ),
    (
        "CF0206",
        "The prefixes stand for too many reverse zones. A prefix that does not end at a label's boundary stands for up to 128.",
    ),
    ("CF0207", "No RCODE has this name."),
    (
        "CF0208",
        "An address with or without a port, or a host with a port, is expected; an IPv6 address with a port needs brackets.",
    ),
    (
        "CF0209",
        "The port of a server block is missing after its colon, or is not a number from 0 to 65535.",
    ),
    (
        "CF0210",
        "The scheme of a server block is unknown. CoreDNS would read it as a part of the zone's name, and no query would ever match.",
    ),
    (
        "CF0211",
        "The word is not one of the allowed words; the message names them.",
    ),
    (
        "CF0212",
        "A prefix in CIDR form, or an address, is expected: `192.0.2.0/24`, `2001:db8::/32`.",
    ),
    (
        "CF0213",
        "The word could be a domain name, so CoreDNS reads it as a zone, but it looks like something else: a duration, a number, an address, a prefix with a mistake, an option. As a zone it has no effect.",
    ),
    (
        "CF0214",
        "A regular expression in Go's syntax is expected: no look-around, no back references, at most 10,000 characters. If Go accepts the expression and nameplate does not, the message says so.",
    ),
    (
        "CF0215",
        "A template of Go's text/template is expected; the message says what is wrong with it, in Go's words, and points at the place.",
    ),
    (
        "CF0216",
        "A record of `records` cannot be read, or contradicts another one. Records are written as in a zone file: owner, TTL, class, type, data.",
    ),
    (
        "CF0221",
        "An expression of `view` or `template` cannot be read, or its types do not match: an unknown name, a text compared with a number, a function with other arguments than it takes. The column is that of the expression, whose words are joined by single spaces.",
    ),
    ("CF0231", "`tsig` has two keys with the same name."),
    (
        "CF0232",
        "`transfer` needs a line `to`, `secondary` a line `transfer from`, and `dynupdate` a line `allow`: without it, there is no server to transfer zones to or from, and no key that may change them.",
    ),
    (
        "CF0301",
        "A plugin answers everything in the server block, so a plugin that runs after it never gets a query. `hosts` without `fallthrough` above `forward` is the usual case: every name that is not in the file fails.",
    ),
    (
        "CF0302",
        "No plugin of the server block answers queries: all of them get SERVFAIL.",
    ),
    (
        "CF0303",
        "The last plugin that answers passes some queries on (names that fall through, or types that it does not handle), but no plugin follows it: they get SERVFAIL, and `errors` logs `no next plugin found`.",
    ),
    (
        "CF0304",
        "Plugins run in one fixed order, that of CoreDNS, whatever the order in the Corefile. Here two plugins that answer are written in another order than the one in which they run.",
    ),
    (
        "CF0305",
        "The log format has a placeholder that does not exist; it is written to the log unchanged.",
    ),
    (
        "CF0306",
        "A line of `hosts` has an address and no name, and does nothing.",
    ),
    (
        "CF0307",
        "FROM is a prefix that stands for several reverse zones; only the first is forwarded, as in CoreDNS. Write each zone with its own `forward`.",
    ),
    (
        "CF0308",
        "Two server blocks serve the same zone on the same address and port, so one of them would never get a query. A block without `bind` listens on every address, also on those of another block's `bind`.",
    ),
    (
        "CF0309",
        "The directive gets its data from another plugin of the same server block, and that plugin is missing.",
    ),
    (
        "CF0310",
        "The server block gets queries only for names of its own zones. This line is about names of other zones, so it has no effect.",
    ),
    (
        "CF0311",
        "Two pages of `health`, `pprof`, `ready` or `prometheus` have the same address, or one has the address of a DNS listener.",
    ),
    (
        "CF0312",
        "A server block without plugins answers every query with REFUSED.",
    ),
    (
        "CF0313",
        "The file has no server block: only comments and snippets, or nothing. When the server starts, it serves its default, as without a Corefile; a reload keeps the current configuration.",
    ),
    (
        "CF0314",
        "A snippet is declared but never imported, so it has no effect.",
    ),
    (
        "CF0315",
        "An upstream is the address on which this server block listens. Every query that is forwarded comes back, until a limit ends this.",
    ),
    (
        "CF0316",
        "A server block has port 0. The kernel chooses a free port, a different one at every start.",
    ),
    (
        "CF0317",
        "A server block has more handlers than a chain can have: 64. Each `hosts`, `auto`, `forward` and `kubernetes` counts as one; all lines of `file` count as one together. Serve some of the zones in another server block.",
    ),
    (
        "CF0318",
        "A metadata label is read, but the server block does not collect labels: without `metadata`, no label has a value. `log` writes `-` instead.",
    ),
    (
        "CF0319",
        "`auto` has no `directory`, so it finds no zones. CoreDNS starts with it anyway.",
    ),
    (
        "CF0320",
        "A `template` makes no record: its text is not a record, or it uses data that does not exist. CoreDNS starts with it, and answers SERVFAIL to every query that it matches.",
    ),
    (
        "CF0325",
        "`shed` concerns the UDP sockets of plain DNS, and a key of the server block has another transport. CoreDNS also refuses this.",
    ),
    (
        "CF0326",
        "Several server blocks serve the same zone on the same address. They are tried in the order of the file. A block without a view, or with a view that has no condition or one that is always true, accepts every query: a block below it never gets one.",
    ),
    (
        "CF0327",
        "The condition of a view or a `template` is never true: only the value `true` accepts a query.",
    ),
    (
        "CF0328",
        "The prefix of `dns64` is `::ffff:0:0/96`, that of IPv4-mapped addresses. A system treats such an address as an IPv4 address, and sends nothing to a NAT64.",
    ),
    (
        "CF0329",
        "Two server blocks serve one zone, and their views have the same name. Queries are answered as the conditions say; the label `view` of metrics and the metadata label `view/name` are the same for both.",
    ),
    (
        "CF0330",
        "No query reaches this rule of `rewrite`, or none can match it. Rules are tried in order, and one without `continue` is the last if it applies; `cname` rules and `edns0 … set` apply to every query. Names are compared as texts in lower case with a dot at their end, and a server block gets queries only for names of its zones.",
    ),
    (
        "CF0331",
        "A text of a `rewrite` rule does not mean what it seems to mean: a reference to a group that its expression does not have stays in the name unchanged, and `answer name` reads `auto` as an expression.",
    ),
    (
        "CF0332",
        "An option of `forward` configures TLS or DNS over HTTPS, but no upstream uses it: its address needs `tls://`, `https://` or `quic://` in front. As in CoreDNS, queries are sent in clear text.",
    ),
    (
        "CF0340",
        "Keys with two schemes listen on one port with the same protocol: `https://` and `grpc://` both have port 443 by default. CoreDNS starts, and the kernel gives each of them some of the connections.",
    ),
    (
        "CF0341",
        "Two lines keep different zones, or the same zone from different primaries, in one file: the `file` of `secondary`, or the `database` of `dynupdate`. Each would overwrite the other, and after a restart one of them is served from the other's file, or not at all.",
    ),
    (
        "CF0342",
        "A zone of `dynupdate` has no `database`, and `transfer` sends it to secondaries. After a restart, the zone comes from its file, with the file's SOA serial, which updates had raised: secondaries have a version with a higher serial, treat this one as older, and do not transfer it until its serial is higher than theirs.",
    ),
    (
        "CF0345",
        "The secret of a key is not base64. CoreDNS also starts with it; no signature is valid with it.",
    ),
    (
        "CF0351",
        "A line of `order` moves a plugin that has no place in the chain of this server block: the plugin is not there, or it only configures.",
    ),
    (
        "CF0352",
        "`dnssec` or `sign` has no keys, so it signs nothing. CoreDNS also starts with such a `dnssec`.",
    ),
    (
        "CF0401",
        "A plugin that runs before `acl` answers by itself (`local`, `any`, `chaos`), makes addresses from others (`dns64`), changes names, or answers from its cache. If names are changed, both the client's name and the one that is answered must be allowed; answers of plugins before `acl` are not checked.",
    ),
    (
        "CF0402",
        "With `order`, a plugin that answers, or `cache`, is above one that decides which clients get answers (`acl`, `tsig`). It answers without asking that plugin, so clients that should be refused get answers. In CoreDNS's own order, `acl` was moved up three times in 2026 for this reason.",
    ),
    (
        "CF0411",
        "The scheme of a key means an encrypted transport, but the server block has no certificate. CoreDNS silently serves it in clear text, and so does nameplate, for a proxy that has the certificate.",
    ),
    (
        "CF0412",
        "DNS over QUIC and over HTTP/3 do not exist without TLS. The server does not start, as in CoreDNS.",
    ),
    (
        "CF0413",
        "`proxyproto` stands in a server block with `quic://` or `https3://`, and over QUIC no headers of the PROXY protocol are read. Behind a load balancer that sends them nobody is answered; behind one that does not, every client has its address.",
    ),
    (
        "CF0501",
        "An environment variable is not set; the reference to it becomes empty. `{$` is recognised everywhere, also in Go templates: write a space before the `$` there.",
    ),
    (
        "CF0502",
        "The value of a variable contains a variable, without end.",
    ),
    (
        "CF0503",
        "There is neither a snippet of this name above nor a file. A file is looked up relative to the importing file.",
    ),
    (
        "CF0504",
        "No file matches the pattern of an import. CoreDNS says so in its log, and starts.",
    ),
    ("CF0505", "A file that is imported cannot be read."),
    (
        "CF0506",
        "An import pattern may have one `*` or one `?`, and no `[…]`, as in CoreDNS.",
    ),
    (
        "CF0507",
        "An imported file that is not readable for everyone is not a valid Corefile. Its content is not shown.",
    ),
    (
        "CF0510",
        "A file that the Corefile names cannot be read, or something that it needs on this machine (an interface, an address) does not exist. The server does not start; if this is a warning, it starts without it.",
    ),
    (
        "CF0511",
        "A file that the Corefile names has a mistake. The place is in that file; the message also points at the word in the Corefile.",
    ),
    (
        "CF0901",
        "CoreDNS has this plugin or option, nameplate does not have it yet. It is refused, so that a Corefile never does less than it says. The table in the README lists what is implemented.",
    ),
];

/// The explanation of a code, in any case.
#[must_use]
pub fn explain(code: &str) -> Option<&'static str> {
    EXPLANATIONS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(code))
        .map(|&(_, text)| text)
}
