//! Reads `xdp` lines.

use std::net::IpAddr;

use chain::setup::{Build, BuildError, Parse, Registration, Scene, Setup, XdpInterface, XdpMode};
use corefile::key::Scheme;
use corefile::{Diagnostic, Directive, Line, Report, Span, Token, nearest};

/// `xdp` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "xdp",
    parse,
    handler: false,
};

/// Its options.
const OPTIONS: [&str; 5] = ["mode", "zero_copy", "queues", "ring", "route_check"];
/// The modes by name.
const MODES: [(&str, XdpMode); 4] = [
    ("auto", XdpMode::Auto),
    ("native", XdpMode::Native),
    ("generic", XdpMode::Generic),
    ("off", XdpMode::Off),
];
/// Places in a ring, unless it is said.
const RING: u32 = 2_048;
/// The least and the most places in a ring.
const RINGS: std::ops::RangeInclusive<u32> = 64..=32_768;
/// The most queues that an interface has.
const QUEUES: std::ops::RangeInclusive<u32> = 1..=1_024;
/// The octets of an interface's name are fewer (IFNAMSIZ).
const NAME: usize = 16;

/// Reads `xdp IFACE... { OPTIONS }`.
pub(super) fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut known: Vec<&Token> = Vec::new();
    let mut interfaces = Vec::new();
    for &directive in parse.directives {
        if !parse.at_least(directive, 1, "xdp IFACE...") {
            continue;
        }
        let options = options(parse, directive);
        for token in &directive.args {
            if let Some(before) = known.iter().find(|before| before.text == token.text) {
                let again = format!(
                    "interface {} is named twice in this server block",
                    token.text
                );
                parse.report.push(
                    Diagnostic::error("CF0120", again)
                        .at(token.span, "named again here")
                        .beside(before.span, "first named here"),
                );
                continue;
            }
            known.push(token);
            if is_interface(token, parse.report) {
                interfaces.push(XdpInterface {
                    name: token.text.clone(),
                    ..options.clone()
                });
            }
        }
    }
    let span = parse.directives.first()?.name.span;
    Some(Box::new(Xdp { interfaces, span }))
}

/// Reads the options of one line, which hold for each interface that it names.
fn options(parse: &mut Parse<'_>, directive: &Directive) -> XdpInterface {
    let mut out = XdpInterface {
        name: String::new(),
        mode: XdpMode::default(),
        zero_copy: false,
        queues: None,
        ring: RING,
        route_check: false,
    };
    let mut seen: Vec<&Token> = Vec::new();
    let block = directive.block.as_ref();
    for line in block.map_or(&[][..], |block| &block.lines) {
        let Some(word) = line.words.first() else {
            continue;
        };
        if !OPTIONS.contains(&word.text.as_str()) {
            parse.unknown_option(directive, line, &OPTIONS);
            continue;
        }
        if let Some(before) = seen.iter().find(|before| before.text == word.text) {
            let again = format!("{} already defined for xdp block", word.text);
            parse.report.push(
                Diagnostic::error("CF0120", again)
                    .at(word.span, "defined again here")
                    .beside(before.span, "first defined here"),
            );
            continue;
        }
        seen.push(word);
        option(parse, line, &mut out);
    }
    out
}

/// Reads one option.
fn option(parse: &mut Parse<'_>, line: &Line, out: &mut XdpInterface) {
    match line.words[0].text.as_str() {
        "mode" if parse.arguments(line, 1..=1, "mode auto|native|generic|off") => {
            if let Some(mode) = mode(&line.words[1], parse.report) {
                out.mode = mode;
            }
        }
        "queues" if parse.arguments(line, 1..=1, "queues NUMBER") => {
            let expected = format!("a whole number from {} to {}", QUEUES.start(), QUEUES.end());
            let fits = |number: &u32| QUEUES.contains(number);
            out.queues = number(&line.words[1], "queues", &expected, fits, parse.report);
        }
        "ring" if parse.arguments(line, 1..=1, "ring FRAMES") => {
            let expected = format!("a power of two from {} to {}", RINGS.start(), RINGS.end());
            let fits = |number: &u32| RINGS.contains(number) && number.is_power_of_two();
            let read = number(&line.words[1], "ring", &expected, fits, parse.report);
            out.ring = read.unwrap_or(RING);
        }
        "zero_copy" => out.zero_copy = parse.arguments(line, 0..=0, "zero_copy"),
        "route_check" => out.route_check = parse.arguments(line, 0..=0, "route_check"),
        _ => {}
    }
}

fn mode(token: &Token, report: &mut Report) -> Option<XdpMode> {
    let found = MODES.iter().find(|(name, _)| *name == token.text);
    if let Some((_, mode)) = found {
        return Some(*mode);
    }
    let message = format!("unknown mode '{}' in plugin `xdp`", token.text);
    let mut diagnostic = Diagnostic::error("CF0201", message)
        .at(token.span, "expected auto, native, generic or off");
    if let Some(near) = nearest(&token.text, MODES.iter().map(|(name, _)| *name)) {
        diagnostic = diagnostic
            .help("a similar mode exists")
            .replace(token.span, near);
    }
    report.push(diagnostic);
    None
}

/// A number that fits.
fn number(
    token: &Token,
    name: &str,
    expected: &str,
    fits: impl Fn(&u32) -> bool,
    report: &mut Report,
) -> Option<u32> {
    let (code, message) = match token.text.parse::<i64>() {
        Ok(number) => {
            let fitting = u32::try_from(number).ok().filter(|number| fits(number));
            if fitting.is_some() {
                return fitting;
            }
            ("CF0203", format!("{name} must be {expected}: {number}"))
        }
        Err(_) => ("CF0201", format!("invalid {name} value '{}'", token.text)),
    };
    report.push(Diagnostic::error(code, message).at(token.span, format!("expected {expected}")));
    None
}

/// Whether a word may be an interface's name; told if not.
fn is_interface(token: &Token, report: &mut Report) -> bool {
    let name = token.text.as_str();
    let address = name.split('%').next().unwrap_or(name);
    let diagnostic = if address.parse::<IpAddr>().is_ok() {
        Diagnostic::error(
            "CF0201",
            format!("{name} is an address, and `xdp` takes interfaces"),
        )
        .at(token.span, "expected the name of an interface")
        .help("name the interface that has the address; `bind` sets the addresses to listen on")
    } else if name.len() >= NAME || name.contains(['/', ':']) || [".", ".."].contains(&name) {
        Diagnostic::error("CF0201", format!("invalid interface name '{name}'")).at(
            token.span,
            "expected the name of an interface, of at most 15 bytes",
        )
    } else if OPTIONS.contains(&name) {
        Diagnostic::error(
            "CF0201",
            format!("`{name}` is an option of `xdp`, not an interface"),
        )
        .at(token.span, "expected the name of an interface")
        .help("write options in a block after the interfaces")
    } else {
        return true;
    };
    report.push(diagnostic);
    false
}

/// The interfaces of a block.
struct Xdp {
    interfaces: Vec<XdpInterface>,
    span: Span,
}

impl Setup for Xdp {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        let mut schemes = scene.keys.iter().map(|key| key.scheme);
        if !scene.keys.is_empty() && schemes.all(|scheme| scheme != Scheme::Dns) {
            report.push(
                Diagnostic::error(
                    "CF0325",
                    "xdp takes plain DNS over UDP, which this server block does not serve",
                )
                .at(self.span, "it applies only to `dns://`")
                .help("move `xdp` to a server block for `dns://`"),
            );
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.config.xdp = self.interfaces;
        Ok(())
    }
}
