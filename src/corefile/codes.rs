//! What each code means, for `check --explain CODE`.
//!
//! CF01 syntax and options, CF02 values, CF03 order and shadowing, CF04 security, CF05 environment, CF09 not
//! implemented here. A code keeps its meaning for ever.

/// Code and explanation, sorted by code.
pub const EXPLANATIONS: &[(&str, &str)] = &[
    (
        "CF0101",
        "A block that was opened by `{` is never closed. Every `{` needs a `}` on a line of its own. The message points at the brace that stays open, or, where the indentation tells, at the one that was most likely forgotten.",
    ),
    (
        "CF0102",
        "The plugin does not know this option. CoreDNS accepts some unknown options silently, in `hosts` for example, and then does not do what was meant; here every one is an error.",
    ),
    (
        "CF0103",
        "A `{` stands where a word is expected. The `{` of a directive or of an option stands at the end of its own line, with a space before it.",
    ),
    (
        "CF0104",
        "Words follow the `}` of a plugin's block on the same line. CoreDNS hands them to the plugin whose block was closed. Write them on the next line.",
    ),
    (
        "CF0105",
        "A `}` closes nothing: there is one too many, or it stands at the end of a directive's line, where it needs a line of its own.",
    ),
    (
        "CF0106",
        "`import` takes exactly one argument: the name of a snippet that is declared above, or a file or glob pattern relative to the file that it is written in.",
    ),
    (
        "CF0107",
        "The directive or option has too few or too many arguments.",
    ),
    (
        "CF0108",
        "A comma at the end of a zone says that another zone follows, possibly on the next line, but none does.",
    ),
    (
        "CF0109",
        "The `}` of a plugin's block stands on the line of an option. It is read as the end of the block here, but CoreDNS reads it as one more argument of the option. Write it on a line of its own.",
    ),
    (
        "CF0110",
        "A server block has no zone before its `{`, and therefore serves nothing. CoreDNS ignores it silently.",
    ),
    (
        "CF0111",
        "A comma stands inside a zone. Only a comma at the end of a word separates zones: `a.org,b.org` is one zone with a comma in its name, `a.org, b.org` is two.",
    ),
    (
        "CF0112",
        "A word starts with `\"` and no `\"` follows in the whole file, so that everything after it is part of this word. CoreDNS does the same silently.",
    ),
    (
        "CF0113",
        "A `#` stands inside a word. As in CoreDNS it ends the word, and what follows up to the next space is dropped, but what follows that space is read as words again. Put a space before a comment, and quotes around a word that has a `#`.",
    ),
    (
        "CF0114",
        "The file is not UTF-8. Save it as UTF-8; a name that is not ASCII is written in its A-label form (`xn--…`) in a zone.",
    ),
    (
        "CF0115",
        "Two snippets have the same name. CoreDNS refuses this too.",
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
        "A bound that protects the server was reached: 64 MiB of text, or 64 braces within each other.",
    ),
    (
        "CF0120",
        "This plugin can be used only once in a server block.",
    ),
    ("CF0121", "The directive takes no block in braces."),
    (
        "CF0122",
        "A brace stands at the end of a word. CoreDNS takes it for a part of the word. Write a space before `{`, and `}` on a line of its own.",
    ),
    (
        "CF0201",
        "The word has another type: a number, or `true` or `false`, is expected.",
    ),
    (
        "CF0202",
        "A duration is expected, as Go writes it: numbers with a unit, such as `30s`, `1m30s`, `300ms` or `1.5h`. A bare number is refused except where seconds are documented.",
    ),
    (
        "CF0203",
        "The number lies outside of the range that is allowed here.",
    ),
    (
        "CF0204",
        "An IP address or a prefix in CIDR form is expected. As the zone of a server block an IPv6 prefix must not start with zeros.",
    ),
    (
        "CF0205",
        "This is no domain name: labels have 1 to 63 octets, a name at most 255, and only the root is a lone dot (RFC 1035, section 3.1).",
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
        "The scheme of a server block is not known. CoreDNS would take it for a part of the zone's name, and no query would ever match.",
    ),
    (
        "CF0211",
        "The word is none of those that may stand here; the message names them.",
    ),
    (
        "CF0212",
        "A prefix in CIDR form, or an address, is expected: `192.0.2.0/24`, `2001:db8::/32`.",
    ),
    (
        "CF0213",
        "The word is a domain name by its letters, and so CoreDNS takes it for a zone, but it looks like something else: a duration, a number, an address, a prefix with a mistake, an option. As a zone it has no effect.",
    ),
    (
        "CF0214",
        "A regular expression in Go's syntax is expected: no look-around, no back references, at most 10,000 characters. What Go takes and nameplate does not is said in the message.",
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
        "An expression of `view` or `template` cannot be read, or its values do not go together: an unknown name, a text compared with a number, a function with other arguments than it takes. The column is that of the expression, whose words are joined by single spaces.",
    ),
    ("CF0231", "`tsig` has two keys of one name."),
    (
        "CF0232",
        "`transfer` needs a line `to`, `secondary` a line `transfer from`, and `dynupdate` a line `allow`: without one there is nobody to hand zones to, to get them from, or to change them.",
    ),
    (
        "CF0301",
        "A plugin answers everything in the server block, so that one that runs after it is never asked. `hosts` without `fallthrough` above `forward` is the usual case: every name that is not in the file fails.",
    ),
    (
        "CF0302",
        "No plugin of the server block answers queries: all of them get SERVFAIL.",
    ),
    (
        "CF0303",
        "The last plugin that answers passes some queries on (names that fall through, or types that it is not for), but no plugin is behind it: they get SERVFAIL, and `errors` logs `no next plugin found`.",
    ),
    (
        "CF0304",
        "Plugins run in one fixed order, that of CoreDNS, whatever the order in the Corefile. Here two plugins that answer are written in the other order than they run in.",
    ),
    (
        "CF0305",
        "The log format has a placeholder that does not exist; it is written to the log as it stands.",
    ),
    (
        "CF0306",
        "A line of `hosts` has an address and no name, and does nothing.",
    ),
    (
        "CF0307",
        "FROM is a prefix that stands for several reverse zones; only the first is forwarded, as in CoreDNS. Write the zones out, each with a `forward` of its own.",
    ),
    (
        "CF0308",
        "Two server blocks serve one zone on one address and port, so that one of them would never be asked. A block without `bind` listens on every address, those of another block's `bind` among them.",
    ),
    (
        "CF0309",
        "The directive takes what it serves from another plugin of the same server block, and that plugin does not stand there.",
    ),
    (
        "CF0310",
        "The server block is asked for names of its own zones only. What is written here concerns names of other zones, so that it has no effect.",
    ),
    (
        "CF0311",
        "Pages of `health`, `pprof`, `ready` and `prometheus` meet on one address, with each other or with a DNS listener.",
    ),
    (
        "CF0312",
        "A server block without plugins answers every query with REFUSED.",
    ),
    (
        "CF0313",
        "The file has no server block: only comments and snippets, or nothing. A start serves what it serves without a Corefile; a reload keeps what is served.",
    ),
    (
        "CF0314",
        "A snippet is declared and never imported, so that it has no effect.",
    ),
    (
        "CF0315",
        "An upstream is the address that this server block listens on. Every query that is forwarded comes back, until a bound ends it.",
    ),
    (
        "CF0316",
        "A server block has port 0. The kernel chooses a free one, another at every start.",
    ),
    (
        "CF0317",
        "A server block has more handlers than a chain has room for: 64. Each `hosts`, `auto`, `forward` and `kubernetes` counts as one; all lines of `file` count as one together. Serve some of the zones in a server block of their own.",
    ),
    (
        "CF0318",
        "A metadata label is read, and the server block does not collect labels: without `metadata` none has a value. `log` writes `-` in its place.",
    ),
    (
        "CF0319",
        "`auto` has no `directory`, so it finds no zones. CoreDNS starts with it all the same.",
    ),
    (
        "CF0320",
        "A `template` makes no record: what it writes is none, or it names data that does not exist. CoreDNS starts with it, and answers SERVFAIL to every query that meets it.",
    ),
    (
        "CF0325",
        "`shed` concerns the UDP sockets of plain DNS, and a key of the server block has another transport. CoreDNS refuses this, too.",
    ),
    (
        "CF0326",
        "Several server blocks serve one zone on one address. They are asked in the order of the file, and one without a view, or whose view has no condition or one that is always true, takes every query: a block below it is never asked.",
    ),
    (
        "CF0327",
        "The condition of a view or a `template` is never true: `true` is the only value that lets a query in.",
    ),
    (
        "CF0328",
        "The prefix of `dns64` is `::ffff:0:0/96`, that of IPv4-mapped addresses. A system takes such an address for an IPv4 address, and sends nothing to a NAT64.",
    ),
    (
        "CF0329",
        "Two server blocks serve one zone, and their views have the same name. Queries are answered as the conditions say; the label `view` of metrics and the metadata label `view/name` are the same for both.",
    ),
    (
        "CF0330",
        "No query reaches this rule of `rewrite`, or none can match it. Rules are tried in order, and one without `continue` is the last where it applies; `cname` rules and `edns0 … set` apply to every query. Names are compared as texts in lower case with a dot at their end, and a server block is asked for names of its zones only.",
    ),
    (
        "CF0331",
        "A text of a `rewrite` rule does not mean what it seems to: a reference to a group that its expression does not have stays in the name as it is written, and `answer name` takes `auto` for an expression.",
    ),
    (
        "CF0332",
        "An option of `forward` sets up TLS or DNS over HTTPS, and no upstream is spoken to so: its address needs `tls://`, `https://` or `quic://` before it. As with CoreDNS, queries are sent in clear text.",
    ),
    (
        "CF0340",
        "Keys of two schemes listen on one port by the same protocol: `https://` and `grpc://` both have port 443 by default. CoreDNS starts, and the kernel gives each of them some of the connections.",
    ),
    (
        "CF0341",
        "Two lines keep different zones, or the same zone from different primaries, in one file: the `file` of `secondary`, or the `database` of `dynupdate`. Each would be written over the other, and after a restart one of them is served from the other's file or from none.",
    ),
    (
        "CF0342",
        "A zone of `dynupdate` has no `database`, and `transfer` hands it on. After a restart it is what its file says, with the file's SOA serial, which updates had raised: secondaries have a version with a greater serial, take this one for older, and do not transfer it until its serial is greater than theirs.",
    ),
    (
        "CF0345",
        "The secret of a key is not base64. CoreDNS starts with it, too; no signature is good with it.",
    ),
    (
        "CF0351",
        "A line of `order` moves a plugin that has no place in the chain of this server block: the plugin does not stand there, or it only configures.",
    ),
    (
        "CF0352",
        "`dnssec` or `sign` has no keys, so it signs nothing. CoreDNS starts with such a `dnssec`, too.",
    ),
    (
        "CF0401",
        "A plugin that runs before `acl` answers by itself (`local`, `any`, `chaos`), makes addresses of others (`dns64`), changes names, or answers from what it keeps. Where names are changed, rules are judged by the name that the client asked for and by the one that is answered, and both have to be allowed; what is answered above `acl` is not judged.",
    ),
    (
        "CF0402",
        "By `order`, a plugin that answers, or `cache`, stands above one that decides who is answered (`acl`, `tsig`). It answers without asking that one, so clients that are to be refused get answers. In CoreDNS's own order `acl` was moved up three times in 2026 for this reason.",
    ),
    (
        "CF0411",
        "The scheme of a key means an encrypted transport, and the server block has no certificate. CoreDNS serves it in clear text without a word, and so does nameplate, for a proxy that has the certificate.",
    ),
    (
        "CF0412",
        "DNS over QUIC and over HTTP/3 do not exist without TLS. A start fails, in CoreDNS as well.",
    ),
    (
        "CF0413",
        "`proxyproto` stands in a server block with `quic://` or `https3://`, and over QUIC no headers of the PROXY protocol are read. Behind a load balancer that sends them nobody is answered; behind one that does not, every client has its address.",
    ),
    (
        "CF0501",
        "An environment variable is not set; the reference to it becomes empty. `{$` is looked for everywhere, also in Go templates: write a space before the `$` there.",
    ),
    (
        "CF0502",
        "The value of a variable names a variable in turn, without end.",
    ),
    (
        "CF0503",
        "There is neither a snippet of this name above nor a file. A file is looked for relative to the file that the import is written in.",
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
        "An imported file that not everybody may read is not written as a Corefile. What stands in it is not shown.",
    ),
    (
        "CF0510",
        "A file that the Corefile names cannot be read, or what it needs of this machine (an interface, an address) is not there. A start fails for it, or goes on without it where this is a warning.",
    ),
    (
        "CF0511",
        "A file that the Corefile names has a mistake. The place is in that file; the message points at the word of the Corefile, too.",
    ),
    (
        "CF0901",
        "CoreDNS has this plugin or option, nameplate does not have it yet. It is refused, so that no Corefile means less here than it says. The table in the README says what is implemented.",
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
