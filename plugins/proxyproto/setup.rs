//! Reads `proxyproto` lines.

use std::sync::Arc;
use std::time::Duration;

use chain::Transport;
use chain::setup::{
    Build, BuildError, Parse, ProxyPolicy, ProxyProtocol, Registration, Scene, Setup,
};
use corefile::{Diagnostic, Directive, Line, Report, Token, nearest, value};

/// `proxyproto` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "proxyproto",
    parse,
    handler: false,
};

const OPTIONS: [&str; 3] = ["allow", "default", "udp_session_tracking"];
const POLICIES: [(&str, ProxyPolicy); 4] = [
    ("use", ProxyPolicy::Use),
    ("ignore", ProxyPolicy::Ignore),
    ("reject", ProxyPolicy::Reject),
    ("skip", ProxyPolicy::Skip),
];
/// Clients of load balancers that are remembered.
const SESSIONS: usize = 10_240;

/// What the lines say.
#[derive(Default)]
struct Options {
    allow: Vec<(std::net::IpAddr, u8)>,
    default: Option<ProxyPolicy>,
    sessions: Option<(Duration, usize)>,
}

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let mut options = Options::default();
    for &directive in parse.directives {
        parse.at_most(directive, 0);
        let lines = directive
            .block
            .as_ref()
            .map_or(&[][..], |block| &block.lines);
        for line in lines {
            option(parse, directive, line, &mut options);
        }
    }
    Some(Box::new(options))
}

fn option(parse: &mut Parse<'_>, directive: &Directive, line: &Line, options: &mut Options) {
    let Some((name, words)) = line.words.split_first() else {
        return;
    };
    match name.text.as_str() {
        "allow" => {
            for word in words {
                match network(word) {
                    Some(network) => options.allow.push(network),
                    None => parse.report.push(
                        Diagnostic::error("CF0204", format!("invalid CIDR address: {}", word.text))
                            .at(word.span, "expected a network such as `192.0.2.0/24`"),
                    ),
                }
            }
        }
        "default" => {
            if !parse.arguments(line, 1..=1, "default POLICY") {
                return;
            }
            let known = POLICIES.iter().find(|(word, _)| *word == words[0].text);
            match known {
                Some((_, policy)) => options.default = Some(*policy),
                None => {
                    let diagnostic = Diagnostic::error(
                        "CF0211",
                        format!(
                            "Wrong argument count or unexpected line ending after '{}'",
                            words[0].text
                        ),
                    )
                    .at(words[0].span, "expected use, ignore, reject or skip");
                    parse.report.push(
                        match nearest(&words[0].text, POLICIES.map(|(word, _)| word)) {
                            Some(near) => diagnostic
                                .help("a similar policy exists")
                                .replace(words[0].span, near),
                            None => diagnostic,
                        },
                    );
                }
            }
        }
        "udp_session_tracking" => {
            if parse.arguments(line, 1..=2, "udp_session_tracking DURATION [MAX]") {
                options.sessions = sessions(words, parse.report);
            }
        }
        _ => parse.unknown_option(directive, line, &OPTIONS),
    }
}

/// `ADDRESS/LENGTH`.
fn network(word: &Token) -> Option<(std::net::IpAddr, u8)> {
    let (address, length) = word.text.split_once('/')?;
    let address: std::net::IpAddr = address.parse().ok()?;
    let length: u8 = length.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (length <= most).then_some((address, length))
}

fn sessions(words: &[Token], report: &mut Report) -> Option<(Duration, usize)> {
    let life = match value::duration(&words[0]) {
        Ok(life) if life > Duration::ZERO => life,
        _ => {
            report.push(
                Diagnostic::error("CF0202", format!("invalid duration '{}'", words[0].text))
                    .at(words[0].span, "expected a positive duration such as `28s`"),
            );
            return None;
        }
    };
    let Some(most) = words.get(1) else {
        return Some((life, SESSIONS));
    };
    match most.text.parse::<u32>() {
        Ok(number @ 1..) => Some((life, number as usize)),
        _ => {
            report.push(
                Diagnostic::error("CF0201", format!("invalid max sessions '{}'", most.text))
                    .at(most.span, "expected a positive number"),
            );
            None
        }
    }
}

impl Setup for Options {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        let Some(directive) = scene.directive("proxyproto") else {
            return;
        };
        let over_quic = |key: &&corefile::key::Key| {
            Transport::of(key.scheme)
                .any(|transport| matches!(transport, Transport::Quic | Transport::Https3))
        };
        if let Some(key) = scene.keys.iter().find(over_quic) {
            let message = format!(
                "`proxyproto` has no effect under `{}://`",
                key.scheme.name()
            );
            report.push(
                Diagnostic::warning("CF0413", message)
                    .at(directive.name.span, "headers are read over TCP and plain UDP alone")
                    .note("a datagram with a header is no QUIC and gets no answer, and rules see the address that a datagram came from; CoreDNS reads these headers")
                    .help("have QUIC clients reach the server directly, with a server block of its own without `proxyproto`"),
            );
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let default = self.default.unwrap_or(match self.allow.is_empty() {
            true => ProxyPolicy::Use,
            false => ProxyPolicy::Ignore,
        });
        build.config.proxy = Some(Arc::new(ProxyProtocol {
            allow: self.allow,
            default,
            sessions: self.sessions,
        }));
        Ok(())
    }
}
