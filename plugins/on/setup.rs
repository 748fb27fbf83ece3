//! Reads `on EVENT COMMAND [ARGUMENTS...] [&]`.

use chain::admin::Task;
use chain::setup::{Build, BuildError, Parse, Registration, Setup};
use corefile::{Diagnostic, Directive, nearest};

use super::{Event, Hook, run, words};

/// `on` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "on",
    parse,
    handler: false,
};

const EVENTS: [Event; 3] = [Event::Startup, Event::Shutdown, Event::Renewal];
const SHAPE: &str = "on startup|shutdown|certrenew COMMAND [ARGUMENTS...] [&]";

/// Each line is one command.
fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let mut hooks = Vec::new();
    for directive in parse.directives {
        parse.no_block(directive);
        if parse.at_least(directive, 1, SHAPE) {
            hooks.extend(read(parse, directive));
        }
    }
    Some(Box::new(OnSetup(hooks)))
}

/// Reads a line. Its words are joined and split again as a shell would, as in CoreDNS.
fn read(parse: &mut Parse<'_>, directive: &Directive) -> Option<Hook> {
    let (first, rest) = directive.args.split_first()?;
    let named = |event: &Event| event.name() == first.text.to_lowercase();
    let event = EVENTS.into_iter().find(named);
    if event.is_none() {
        let mut diagnostic = Diagnostic::error(
            "CF0211",
            format!("Wrong event name or event not supported: '{}'", first.text),
        )
        .at(first.span, format!("expected `{SHAPE}`"));
        if let Some(near) = nearest(&first.text, EVENTS.iter().map(|event| event.name())) {
            diagnostic = diagnostic
                .help("a similar event exists")
                .replace(first.span, near);
        }
        parse.report.push(diagnostic);
    }
    let texts: Vec<_> = rest.iter().map(|word| word.text.as_str()).collect();
    let line = texts.join(" ");
    let place = rest.first().unwrap_or(first).span;
    let mut wrong = |text: String| {
        let diagnostic = Diagnostic::error("CF0107", text);
        parse
            .report
            .push(diagnostic.at(place, format!("expected `{SHAPE}`")));
    };
    let mut words = match words::split(&line) {
        Ok(words) => words,
        Err(why) => {
            wrong(format!("error parsing command: {why}"));
            return None;
        }
    };
    let beside = words.last().is_some_and(|word| word == "&");
    if beside {
        words.pop();
    }
    let mut words = words.into_iter();
    let Some(program) = words.next() else {
        wrong(format!("no command contained in '{line}'"));
        return None;
    };
    Some(Hook {
        event: event?,
        program,
        arguments: words.collect(),
        beside,
    })
}

/// What the block says.
pub(super) struct OnSetup(pub(super) Vec<Hook>);

impl Setup for OnSetup {
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let of = |event: Event| -> Vec<Hook> {
            let hooks = self.0.iter().filter(|hook| hook.event == event);
            hooks.cloned().collect()
        };
        let (first, last) = (of(Event::Startup), of(Event::Shutdown));
        if !first.is_empty() {
            build.spawn(run(first));
        }
        if !last.is_empty() {
            build.process.at_end.push(Task {
                plugin: "on",
                work: run(last),
            });
        }
        Ok(())
    }
}
