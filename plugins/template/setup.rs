//! Reads `template CLASS TYPE [ZONES...] { ... }`.

use std::sync::Arc;

use chain::expression::{Expression, Kind, Names};
use chain::metadata::warn_uncollected;
use chain::pattern::Pattern;
use chain::scope::is_within;
use chain::setup::{Answers, Build, BuildError, Parse, Registration, Scene, Setup};
use chain::{ExtendedError, Fallthrough};
use corefile::{Diagnostic, Directive, Line, Report, Span, Token, nearest, value};
use wire::{Class, NameBuf, Rcode, Section, Type};

use super::Templates;
use super::data::FIELDS;
use super::engine::Template;
use super::recipe::{Failed, Recipe, name_of};
use super::rule::{GROUP, Rule};
use super::sample;

/// `template` in the catalogue.
pub(crate) const REGISTRATION: Registration = Registration {
    name: "template",
    parse,
    handler: true,
};

const OPTIONS: &[&str] = &[
    "match",
    "var",
    "expr",
    "answer",
    "additional",
    "authority",
    "rcode",
    "ederror",
    "fallthrough",
    "upstream",
];

/// One directive.
struct Config {
    span: Span,
    class: Class,
    rtype: Type,
    zones: Vec<String>,
    patterns: Vec<Pattern>,
    /// Names, kinds and expressions of `var`, in order.
    variables: Vec<(String, Kind, Expression)>,
    /// The expressions of `expr`.
    conditions: Vec<Expression>,
    /// The labels that expressions read, and where.
    labels: Vec<(String, Span)>,
    /// The records, each with the word that it is written in.
    recipes: Vec<(Recipe, Token)>,
    rcode: Rcode,
    extended: Option<ExtendedError>,
    fall: Fallthrough,
}

/// All directives of a block, in file order.
struct TemplateSetup(Vec<Config>);

fn parse(parse: &mut Parse<'_>) -> Option<Box<dyn Setup>> {
    let directives = parse.directives;
    let configs = directives
        .iter()
        .filter_map(|directive| config(parse, directive))
        .collect();
    Some(Box::new(TemplateSetup(configs)))
}

fn config(parse: &mut Parse<'_>, directive: &Directive) -> Option<Config> {
    if !parse.at_least(directive, 2, "template CLASS TYPE [ZONES...]") {
        return None;
    }
    let class = class(&directive.args[0], parse.report);
    let rtype = rtype(&directive.args[1], parse.report);
    let zones = parse.read_zones(&directive.args[2..], OPTIONS);
    let mut config = Config {
        span: directive.name.span,
        class: class.unwrap_or(Class::ANY),
        rtype: rtype.unwrap_or(Type::ANY),
        zones,
        patterns: Vec::new(),
        variables: Vec::new(),
        conditions: Vec::new(),
        labels: Vec::new(),
        recipes: Vec::new(),
        rcode: Rcode::NOERROR,
        extended: None,
        fall: Fallthrough::No,
    };
    for line in directive.block.iter().flat_map(|block| &block.lines) {
        option(parse, directive, line, &mut config);
    }
    // A response is made of answers first, then of additional records, then of authorities, as in CoreDNS.
    config
        .recipes
        .sort_by_key(|(recipe, _)| match recipe.section {
            Section::Answer => 0,
            Section::Additional => 1,
            Section::Authority => 2,
        });
    Some(config)
}

fn option(parse: &mut Parse<'_>, directive: &Directive, line: &Line, config: &mut Config) {
    let [word, args @ ..] = line.words.as_slice() else {
        return;
    };
    let many = || 1..=usize::MAX - 1;
    match word.text.as_str() {
        "match" if parse.arguments(line, many(), "match REGEX...") => {
            for arg in args {
                match Pattern::read(arg) {
                    Ok(pattern) => config.patterns.push(pattern),
                    Err(diagnostic) => parse.report.push(diagnostic),
                }
            }
        }
        "var" if parse.arguments(line, 2..=usize::MAX - 1, "var NAME EXPRESSION") => {
            variable(&args[0], &args[1..], config, parse.report);
        }
        "expr" if parse.arguments(line, many(), "expr EXPRESSION") => {
            if let Some(expression) = config.expression(args, parse.report) {
                if !expression.may_be_true() {
                    let kind = expression.kind();
                    parse.report.push(
                        Diagnostic::warning(
                            "CF0327",
                            "this template accepts no query: its condition is never true",
                        )
                        .at(
                            args[0].span,
                            format!("its value is {kind}; only `true` counts"),
                        )
                        .help("compare it: `client_ip() == '192.0.2.1'`"),
                    );
                }
                config.conditions.push(expression);
            }
        }
        "answer" if parse.arguments(line, many(), "answer RR...") => {
            recipes(Section::Answer, args, config, parse.report);
        }
        "additional" if parse.arguments(line, many(), "additional RR...") => {
            recipes(Section::Additional, args, config, parse.report);
        }
        "authority" if parse.arguments(line, many(), "authority RR...") => {
            recipes(Section::Authority, args, config, parse.report);
        }
        "rcode" if parse.arguments(line, 1..=1, "rcode RCODE") => match value::rcode(&args[0]) {
            Ok(rcode) => config.rcode = Rcode(rcode),
            Err(diagnostic) => parse.report.push(diagnostic),
        },
        "ederror" if parse.arguments(line, 1..=2, "ederror CODE [TEXT]") => {
            match value::integer(&args[0], 0..=65_535) {
                Ok(code) => {
                    let text = args.get(1).map_or("", |text| &text.text);
                    config.extended = Some(ExtendedError {
                        code: code as u16,
                        text: text.to_owned().into(),
                    });
                }
                Err(diagnostic) => parse.report.push(diagnostic),
            }
        }
        "fallthrough" => config.fall = parse.read_fallthrough(line, &config.zones),
        // It did something long ago; CoreDNS reads it still, and so do we.
        "upstream" => {}
        "match" | "var" | "expr" | "answer" | "additional" | "authority" | "rcode" | "ederror" => {}
        _ => parse.unknown_option(directive, line, OPTIONS),
    }
}

/// The class in a directive, in upper case as CoreDNS has it.
fn class(token: &Token, report: &mut Report) -> Option<Class> {
    let found = token.text.parse::<Class>().ok();
    let upper = token.text.to_ascii_uppercase();
    if found.is_some() && token.text == upper {
        return found;
    }
    let diagnostic = Diagnostic::error("CF0211", format!("invalid query class {}", token.text))
        .at(token.span, "expected a class: `IN`, `CH`, `HS`, `ANY`");
    report.push(match found {
        Some(_) => diagnostic
            .help("write it in upper case")
            .replace(token.span, upper),
        None => diagnostic,
    });
    None
}

/// The type in a directive, in upper case as CoreDNS has it.
fn rtype(token: &Token, report: &mut Report) -> Option<Type> {
    let found = token.text.parse::<Type>().ok();
    let upper = token.text.to_ascii_uppercase();
    if found.is_some() && token.text == upper {
        return found;
    }
    let diagnostic = Diagnostic::error("CF0211", format!("invalid RR class {}", token.text))
        .at(token.span, "expected a record type, such as `A`, or `ANY`");
    report.push(match found {
        Some(_) => diagnostic
            .help("write it in upper case")
            .replace(token.span, upper),
        None => diagnostic,
    });
    None
}

/// Reads a variable of `var`. Its name has to be free, as in CoreDNS.
fn variable(name: &Token, words: &[Token], config: &mut Config, report: &mut Report) {
    let text = name.text.as_str();
    let is_word = text
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || octet == b'_')
        && !text.starts_with(|c: char| c.is_ascii_digit());
    let free = |text: &str, wanted: &str| {
        let read = config.with_names(|names| Expression::compile(text, names));
        read.is_err_and(|mistake| mistake.message.starts_with(wanted))
    };
    let message = if !is_word {
        format!("invalid variable name {text:?}")
    } else if !free(text, "unknown name") || !free(&format!("{text}()"), "unknown function") {
        format!("variable name {text:?} is reserved")
    } else {
        if let Some(expression) = config.expression(words, report) {
            let kind = expression.kind();
            config.variables.push((text.to_owned(), kind, expression));
        }
        return;
    };
    let why = match is_word {
        true => "a function, a keyword or another variable has this name",
        false => "a name has letters, digits and `_`, and does not begin with a digit",
    };
    report.push(Diagnostic::error("CF0211", message).at(name.span, why));
}

/// Compiles templates of one section.
fn recipes(section: Section, args: &[Token], config: &mut Config, report: &mut Report) {
    for arg in args {
        let mistake = match Recipe::new(section, &arg.text) {
            Ok(recipe) => {
                config.recipes.push((recipe, arg.clone()));
                continue;
            }
            Err(mistake) => mistake,
        };
        let place = arg.part(mistake.at, mistake.len);
        let diagnostic = Diagnostic::error(
            "CF0215",
            format!("could not compile template: {}", mistake.why),
        )
        .at(place, "");
        let word = mistake
            .why
            .strip_prefix("function \"")
            .and_then(|rest| rest.split_once('"'));
        let near = word.and_then(|(word, _)| nearest(word, Template::functions()));
        report.push(match near {
            Some(near) => diagnostic
                .help("a similar function exists")
                .replace(place, near),
            None if word.is_some() => {
                let all: Vec<_> = Template::functions().collect();
                diagnostic.note(format!("the functions are {}", all.join(", ")))
            }
            None => diagnostic,
        });
    }
}

/// Warns of a template that made no record for any name that was tried.
fn no_record(recipe: &Recipe, token: &Token, name: &str, failed: &Failed) -> Diagnostic {
    let section = name_of(recipe.section);
    let diagnostic = Diagnostic::warning("CF0320", format!("this `{section}` makes no record"))
        .at(token.span, format!("tried with the name `{name}`"))
        .note(&*failed.why);
    let field = failed
        .why
        .split_once("can't evaluate field ")
        .and_then(|(_, rest)| rest.split_once(" in type *template.templateData"));
    match field.map(|(field, _)| nearest(field, FIELDS).ok_or(field)) {
        Some(Ok(near)) => diagnostic.help(format!("a similar field exists: `.{near}`")),
        Some(Err(_)) => diagnostic.help(format!("the fields are .{}", FIELDS.join(", ."))),
        None => diagnostic
            .help("every query that meets it gets SERVFAIL; write a record as in a zone file"),
    }
}

impl Config {
    /// Calls `read` with the names that expressions have here so far.
    fn with_names<T>(&self, read: impl FnOnce(&Names<'_>) -> T) -> T {
        let variables = self.variables.iter();
        let variables: Vec<_> = variables
            .map(|(name, kind, _)| (name.as_str(), *kind))
            .collect();
        read(&Names {
            variables: &variables,
            functions: &[GROUP],
        })
    }

    /// Reads an expression.
    fn expression(&mut self, words: &[Token], report: &mut Report) -> Option<Expression> {
        match self.with_names(|names| Expression::read(words, names)) {
            Ok(expression) => {
                let labels = expression.labels().iter();
                let place = words[0].span;
                self.labels
                    .extend(labels.map(|label| (label.clone(), place)));
                Some(expression)
            }
            Err(diagnostic) => {
                report.push(diagnostic);
                None
            }
        }
    }

    /// Whether every query of its class, type and zones is answered or refused here.
    fn takes_every_name(&self) -> bool {
        self.patterns.is_empty() && self.conditions.is_empty() || self.fall == Fallthrough::No
    }

    /// Whether every query of its zones is answered or refused here.
    fn takes_all(&self) -> bool {
        self.rtype == Type::ANY
            && matches!(self.class, Class::IN | Class::ANY)
            && self.takes_every_name()
    }

    /// Whether no query that the other template could take gets past this one.
    fn covers(&self, other: &Self, scene: &Scene<'_>) -> bool {
        let upper = scene.zones_of(&self.zones);
        let mut zones = scene.zones_of(&other.zones).iter();
        self.takes_every_name()
            && (self.class == Class::ANY || self.class == other.class)
            && (self.rtype == Type::ANY || self.rtype == other.rtype)
            && !scene.zones.is_empty()
            && zones.all(|zone| upper.iter().any(|upper| is_within(zone, upper)))
    }

    /// The warning of a template that another one above it leaves nothing.
    fn never_asked(&self, upper: &Self) -> Diagnostic {
        let what = match upper.patterns.is_empty() && upper.conditions.is_empty() {
            true => "answers every query of its class, type and zones",
            false => "refuses what it does not match, since it has no `fallthrough`",
        };
        Diagnostic::warning("CF0301", "this `template` is never asked")
            .at(self.span, "never asked")
            .beside(upper.span, format!("asked first, and {what}"))
            .note(
                "the templates of a server block are asked in the order in which they are written",
            )
            .help("write the template that takes every query last")
    }
}

impl Setup for TemplateSetup {
    fn answers(&self) -> Vec<(Answers, Vec<String>)> {
        // A template for a zone of its own stands beside what answers the rest, wherever it is written.
        let of_the_block = |config: &Config| {
            config.zones.is_empty() || config.zones.iter().any(|zone| zone == ".")
        };
        let reach = |config: &Config| match config.takes_all() && of_the_block(config) {
            true => Answers::Everything,
            false => Answers::SomeNames,
        };
        let configs = self.0.iter();
        configs
            .map(|config| (reach(config), config.zones.clone()))
            .collect()
    }

    fn validate(&self, scene: &Scene<'_>, report: &mut Report) {
        for (at, config) in self.0.iter().enumerate() {
            let mut above = self.0[..at].iter();
            let upper = above
                .find(|upper| upper.covers(config, scene) && !scene.is_broken(upper.span, report));
            if let Some(upper) = upper {
                report.push(config.never_asked(upper));
            }
            for (label, place) in &config.labels {
                warn_uncollected(label, *place, scene, report);
            }
            for (recipe, token) in &config.recipes {
                for label in recipe.labels() {
                    warn_uncollected(&label, token.span, scene, report);
                }
            }
            let zones = scene.zones_of(&config.zones);
            let Some(zone) = zones.first() else { continue };
            for (recipe, token) in &config.recipes {
                let tried = sample::try_out(recipe, &config.patterns, (zone, config.rtype));
                if let Err((name, failed)) = tried {
                    report.push(no_record(recipe, token, &name, &failed));
                }
            }
        }
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<(), BuildError> {
        let mut rules = Vec::new();
        let mut first = 0;
        for config in self.0 {
            let texts = match config.zones.is_empty() {
                true => build.zones().to_vec(),
                false => config.zones.clone(),
            };
            let origins: Vec<NameBuf> = build.origins(&config.zones)?;
            let zones: Vec<_> = origins
                .into_iter()
                .zip(texts.into_iter().map(String::into_boxed_str))
                .collect();
            let mut rule = Rule {
                class: config.class,
                rtype: config.rtype,
                patterns: config.patterns,
                variables: {
                    let variables = config.variables.into_iter();
                    variables
                        .map(|(name, _, expression)| (name.into(), expression))
                        .collect()
                },
                conditions: config.conditions,
                recipes: config
                    .recipes
                    .into_iter()
                    .map(|(recipe, _)| recipe)
                    .collect(),
                rcode: config.rcode,
                extended: config.extended,
                fall: config.fall,
                ready: Vec::new(),
                first,
                zones,
            };
            first += rule.zones.len();
            rule.make_ready();
            rules.push(rule);
        }
        build.push(Arc::new(Templates::new(rules)));
        Ok(())
    }
}
