//! Reads `order` lines.

use chain::order::{Move, To};
use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Line, Token, nearest};

use crate::{ORDER, ORDER_NAME};

/// `order` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "order",
    parse,
    handler: false,
};

/// The shape of a line.
const SHAPE: &str = "PLUGIN before|after OTHER, PLUGIN first, PLUGIN last";

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = parse.directives[0];
    parse.at_most(directive, 1);
    if let Some(name) = directive.args.first()
        && name.text != ORDER_NAME
    {
        parse.report.push(
            Diagnostic::error("CF0211", format!("no order is called '{}'", name.text))
                .at(name.span, "not an order that is known here")
                .help("the order of CoreDNS 1.14.7 is the only one")
                .replace(name.span, ORDER_NAME),
        );
    }
    if directive.args.is_empty() && directive.block.is_none() {
        parse.at_least(directive, 1, "order NAME");
        return None;
    }
    let lines = directive.block.iter().flat_map(|block| &block.lines);
    let moves = lines.filter_map(|line| read_move(parse, line)).collect();
    Some(Box::new(Options { moves }))
}

/// Reads one line of the block.
fn read_move(parse: &mut Parse<'_>, line: &Line) -> Option<Move> {
    let (name, rest) = line.words.split_first()?;
    let shape = |parse: &mut Parse<'_>, token: &Token| {
        parse.report.push(
            Diagnostic::error("CF0107", format!("unexpected '{}'", token.text))
                .at(token.span, format!("expected `{SHAPE}`")),
        );
    };
    let to = match rest {
        [side] if side.text == "first" => To::First,
        [side] if side.text == "last" => To::Last,
        [side, other] if matches!(side.text.as_str(), "before" | "after") => {
            let (plugin, known) = (plugin(parse, name), plugin(parse, other));
            let (plugin, known) = (plugin?, known?);
            if plugin == known {
                parse.report.push(
                    Diagnostic::error("CF0211", format!("`{plugin}` cannot be moved past itself"))
                        .at(other.span, "the same plugin"),
                );
                return None;
            }
            match side.text.as_str() {
                "before" => To::Before(known),
                _ => To::After(known),
            }
        }
        [] => {
            shape(parse, name);
            return None;
        }
        [side, ..] => {
            shape(parse, side);
            return None;
        }
    };
    Some(Move {
        name: plugin(parse, name)?,
        to,
        span: name
            .span
            .to(rest.last().map_or(name.span, |word| word.span)),
    })
}

/// The plugin of this name.
fn plugin(parse: &mut Parse<'_>, token: &Token) -> Option<&'static str> {
    let mut names = ORDER.iter().map(|entry| entry.name());
    if let Some(known) = names.find(|name| *name == token.text) {
        return Some(known);
    }
    let diagnostic = Diagnostic::error("CF0118", format!("no plugin is called '{}'", token.text))
        .at(token.span, "no plugin has this name");
    let near = nearest(&token.text, ORDER.iter().map(|entry| entry.name()));
    parse.report.push(match near {
        Some(near) => diagnostic
            .help("a plugin has a similar name")
            .replace(token.span, near),
        None => diagnostic,
    });
    None
}

/// What `order` says.
struct Options {
    moves: Vec<Move>,
}

impl Setup for Options {
    fn moves(&self) -> &[Move] {
        &self.moves
    }

    fn build(self: Box<Self>, _: &mut Build<'_>) -> Result<(), BuildError> {
        Ok(())
    }
}
