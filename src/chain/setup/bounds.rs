//! Directives that bound what clients of a transport hold: `https`, `https3`, `quic`, `grpc_server`.

use corefile::{Diagnostic, Token};

use super::{Build, BuildError, Parse, Setup};
use crate::transport::Transport;

/// Bounds of what clients of one listener hold; 0 is no bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenerBounds {
    /// Connections.
    pub connections: u32,
    /// Streams of a connection at a time.
    pub streams: u32,
    /// Queries that are worked on at a time.
    pub queries: u32,
}

impl Default for ListenerBounds {
    fn default() -> Self {
        Self {
            connections: 200,
            streams: 256,
            queries: 1_024,
        }
    }
}

/// What such a directive says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransportBounds {
    /// Of which transport.
    pub transport: Transport,
    /// The bounds.
    pub bounds: ListenerBounds,
}

impl Setup for TransportBounds {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.config.bounds.insert(self.transport, self.bounds);
        Ok(())
    }
}

impl Parse<'_> {
    /// Reads options that are numbers from `least` on, each of them once, and puts them in their places.
    pub fn bounds(&mut self, least: u32, options: &mut [(&str, &mut u32)]) {
        self.once();
        let names: Vec<String> = options.iter().map(|(name, _)| (*name).to_owned()).collect();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut first: Vec<Option<Token>> = vec![None; options.len()];
        for &directive in self.directives {
            self.at_most(directive, 0);
            let lines = directive
                .block
                .as_ref()
                .map_or(&[][..], |block| &block.lines);
            for line in lines {
                let Some(name) = line.words.first() else {
                    continue;
                };
                let Some(at) = known.iter().position(|known| *known == name.text) else {
                    self.unknown_option(directive, line, &known);
                    continue;
                };
                if let Some(before) = &first[at] {
                    let again = format!("{} already defined for {} block", name.text, self.name);
                    self.report.push(
                        Diagnostic::error("CF0120", again)
                            .at(name.span, "defined again here")
                            .beside(before.span, "first defined here"),
                    );
                    continue;
                }
                first[at] = Some(name.clone());
                if self.arguments(line, 1..=1, &format!("{} NUMBER", name.text))
                    && let Some(number) = self.number(&name.text, &line.words[1], least)
                {
                    *options[at].1 = number;
                }
            }
        }
    }

    /// A number from `least` on, which is 0 or 1.
    fn number(&mut self, name: &str, token: &Token, least: u32) -> Option<u32> {
        let kind = match least {
            0 => "a non-negative integer",
            _ => "a positive integer",
        };
        let (code, message) = match token.text.parse::<i64>() {
            Ok(number) if number >= i64::from(least) => {
                return Some(u32::try_from(number).unwrap_or(u32::MAX));
            }
            Ok(_) => ("CF0203", format!("{name} must be {kind}: {}", token.text)),
            Err(_) => ("CF0201", format!("invalid {name} value '{}'", token.text)),
        };
        self.report
            .push(Diagnostic::error(code, message).at(token.span, format!("expected {kind}")));
        None
    }
}
