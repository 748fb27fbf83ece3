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
        "CF0301",
        "A plugin answers everything in the server block, so that one that runs after it is never asked. `hosts` without `fallthrough` above `forward` is the usual case: every name that is not in the file fails.",
    ),
    (
        "CF0302",
        "No plugin of the server block answers queries: all of them get SERVFAIL.",
    ),
    (
        "CF0303",
        "The last plugin that answers lets unknown names fall through, but no plugin is behind it: they get SERVFAIL, and `errors` logs `no next plugin found`.",
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
