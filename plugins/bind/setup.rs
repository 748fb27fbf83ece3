//! Reads `bind` lines.

use std::net::IpAddr;
use std::path::Path;

use chain::inspect::Inspect;
use chain::setup::{BindWord, Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Diagnostic, Report, Severity, Token};

/// `bind` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "bind",
    parse,
    handler: false,
};

/// The longest name of an interface: IFNAMSIZ without its zero.
const INTERFACE_NAME: usize = 15;

/// Reads `bind WORD... { except WORD... }`; several lines add up, each with exceptions of its own.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut lines = Vec::new();
    for directive in parse.directives {
        if directive.args.is_empty() {
            parse.report.push(
                Diagnostic::error(
                    "CF0107",
                    "at least one address or interface name is expected",
                )
                .at(directive.name.span, "expected `bind ADDRESS|INTERFACE...`"),
            );
        }
        let mut words: Vec<BindWord> = directive.args.iter().map(|w| word(w, false)).collect();
        let mut except = Vec::new();
        for line in directive.block.iter().flat_map(|block| &block.lines) {
            match line.words.first() {
                Some(option) if option.text == "except" => {
                    if line.words.len() < 2 {
                        parse.report.push(
                            Diagnostic::error(
                                "CF0107",
                                "at least one address or interface must be given to except subdirective",
                            )
                            .at(option.span, "expected `except ADDRESS|INTERFACE...`"),
                        );
                    }
                    // Repeating it replaces what stood before, as in CoreDNS.
                    except = line.words[1..].iter().map(|w| word(w, true)).collect();
                }
                _ => parse.unknown_option(directive, line, &["except"]),
            }
        }
        words.extend(except);
        lines.push(words);
    }
    Some(Box::new(Bind { lines }))
}

fn word(token: &Token, except: bool) -> BindWord {
    BindWord {
        word: token.text.clone(),
        except,
        span: token.span,
    }
}

/// The words of each line.
struct Bind {
    lines: Vec<Vec<BindWord>>,
}

impl Setup for Bind {
    /// An interface that is not there, where the machine says which are.
    fn inspect(&self, inspect: &mut Inspect<'_>) {
        let interfaces = Path::new("/sys/class/net");
        if !interfaces.is_dir() {
            return;
        }
        for word in self.lines.iter().flatten() {
            let name = word.word.rsplit('%').next().unwrap_or(&word.word);
            // Numbers with dots were meant as an address, which is told already.
            let number = name
                .bytes()
                .all(|octet| octet.is_ascii_digit() || octet == b'.');
            let known = number || name.parse::<IpAddr>().is_ok() || interfaces.join(name).exists();
            if !known {
                let message = format!("this machine has no interface `{name}`");
                inspect.tell(Severity::Error, message, word.span);
            }
        }
    }

    /// An interface is known only where the server runs; what can be neither an interface nor an address is refused here.
    fn validate(&self, _: &Scene<'_>, report: &mut Report) {
        for word in self.lines.iter().flatten() {
            let text = word.word.as_str();
            let interface = !text.is_empty()
                && text.len() <= INTERFACE_NAME
                && !matches!(text, "." | "..")
                && !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
            // Four parts of which the first is a number were meant as an address: `192.0.2.256`.
            let mut parts = text.split('.');
            let number =
                parts.next().is_some_and(|part| part.parse::<u32>().is_ok()) && parts.count() == 3;
            if text.parse::<IpAddr>().is_err() && (!interface || number) {
                report.push(
                    Diagnostic::error(
                        "CF0204",
                        format!("not a valid IP address or interface name: \"{text}\""),
                    )
                    .at(
                        word.span,
                        "expected an address such as `192.0.2.1` or `2001:db8::1`, or an interface such as `eth0`",
                    ),
                );
            }
        }
        let taken = |line: &[BindWord], word: &BindWord| {
            line.iter()
                .any(|other| other.except && other.word == word.word)
        };
        let mut named = self
            .lines
            .iter()
            .flat_map(|line| line.iter().map(move |word| (line, word)))
            .filter(|(_, word)| !word.except)
            .peekable();
        if let Some(&(_, first)) = named.peek()
            && named.all(|(line, word)| taken(line, word))
        {
            report.push(
                Diagnostic::error("CF0204", "`except` takes away every address of `bind`")
                    .at(first.span, "nothing is left to listen on"),
            );
        }
    }

    fn bound(&self) -> &[Vec<BindWord>] {
        &self.lines
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.config.bind.extend(self.lines);
        Ok(())
    }
}
