//! Reads `view NAME { expr EXPRESSION... }`.

use std::sync::Arc;

use chain::expression::{Expression, Names};
use chain::metadata;
use chain::setup::{Build, BuildError, Parse, Registration, Scene, Setup};
use corefile::{Diagnostic, Line, Report, Span};

use super::{Expressions, View};

/// `view` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "view",
    parse,
    handler: true,
};

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    parse.once();
    let directive = parse.directives[0];
    parse.at_most(directive, 1);
    parse.at_least(directive, 1, "view NAME");
    let (mut expressions, mut labels) = (Vec::new(), Vec::new());
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        if line.words.first().is_none_or(|word| word.text != "expr") {
            parse.unknown_option(directive, line, &["expr"]);
            continue;
        }
        let Some(expression) = expression(parse, line) else {
            continue;
        };
        let label = |label: &String| (label.clone(), line.words[1].span);
        labels.extend(expression.labels().iter().map(label));
        expressions.push(expression);
    }
    let name = directive.args.first()?;
    Some(Box::new(ViewSetup {
        name: name.text.as_str().into(),
        name_at: name.span,
        expressions,
        labels,
    }))
}

/// Reads one line.
fn expression(parse: &mut Parse<'_>, line: &Line) -> Option<Expression> {
    if !parse.arguments(line, 1..=usize::MAX - 1, "expr EXPRESSION") {
        return None;
    }
    match Expression::read(&line.words[1..], &Names::default()) {
        Ok(expression) => {
            if !expression.may_be_true() {
                let why = match expression.always() {
                    Some(_) => "no query passes it".to_owned(),
                    None => format!("its value is {}, not bool", expression.kind()),
                };
                parse.report.push(
                    Diagnostic::warning(
                        "CF0327",
                        "this view accepts no query: its expression is never true",
                    )
                    .at(line.words[1].span, why)
                    .help("compare it: `name() == 'www.example.org.'`"),
                );
            }
            Some(expression)
        }
        Err(mistake) => {
            parse.report.push(mistake);
            None
        }
    }
}

/// A view.
struct ViewSetup {
    name: Arc<str>,
    /// Where the name stands.
    name_at: Span,
    expressions: Vec<Expression>,
    /// The metadata labels that it reads, and where.
    labels: Vec<(String, Span)>,
}

impl Setup for ViewSetup {
    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        for (label, span) in &self.labels {
            metadata::warn_uncollected(label, *span, scene, report);
        }
    }

    fn filters(&self) -> bool {
        true
    }

    fn view(&self) -> Option<(&str, Span)> {
        Some((&self.name, self.name_at))
    }

    /// As the last view of a zone does, which takes what the others left.
    fn admits_all(&self) -> bool {
        let mut expressions = self.expressions.iter();
        expressions.all(|expression| expression.always() == Some(true))
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        build.config.view = self.name.clone();
        build.config.filter = Some(Arc::new(Expressions(self.expressions)));
        build.push(Arc::new(View { name: self.name }));
        Ok(())
    }
}
