//! `run`: the command of a namespace, as a line of words or as a table.

use std::path::PathBuf;

use corefile::Span;
use toml::de::{DeTable, DeValue};

use super::forms::{is_domain, protocol};
use super::reader::{Reader, Value};
use super::{Protocol, mistake};

pub(super) const RUN: &[&str] = &["command", "env", "dir", "user", "restart", "ready"];
/// Signs that mean something to a shell only.
const OF_SHELLS: &str = "'\"\\$&|;<>*`";

/// The command of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The program and its arguments; empty if there is none.
    pub command: Vec<String>,
    /// Variables beside those that are inherited.
    pub env: Vec<(String, String)>,
    /// Where it starts; relative to the lab's file, and its directory if there is none.
    pub dir: Option<PathBuf>,
    /// Who it runs as, `USER` or `USER:GROUP`, each a name or a number.
    pub user: Option<String>,
    /// When it is started again.
    pub restart: Restart,
    /// When those after it may start.
    pub ready: Option<Ready>,
    /// Where it is written.
    pub places: Places,
}

/// Where `dir` and `user` are written. A command that only moved in its file is the same command.
#[derive(Clone, Copy, Debug, Default)]
pub struct Places {
    /// That of `dir`.
    pub dir: Option<Span>,
    /// That of `user`.
    pub user: Option<Span>,
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Places {}

/// When a command that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// When it failed.
    OnFailure,
    /// Always.
    Always,
}

/// What shows that a command is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Somebody listens on this port in its namespace.
    Port(Protocol, u16),
    /// The namespace's resolver has an address of this name.
    Name(String),
}

impl Reader<'_> {
    /// `run` of a namespace.
    pub(super) fn run(&mut self, value: &Value<'_>) -> Run {
        let DeValue::Table(table) = value.get_ref() else {
            return Run {
                command: self.command(value, "run"),
                ..Run::default()
            };
        };
        let mut run = Run::default();
        for (key, span, value) in self.entries(table, Some(("`run`", RUN))) {
            self.run_key((key, span), value, &mut run);
        }
        if !table.iter().any(|(key, _)| key.get_ref() == "command") {
            let message = "`run` has no `command`";
            self.wrong("LAB0108", self.span(value), message, "");
        }
        run
    }

    /// One key of `run`.
    fn run_key(&mut self, (key, _): (&str, Span), value: &Value<'_>, run: &mut Run) {
        let span = self.span(value);
        match key {
            "command" => run.command = self.command(value, key),
            "env" => {
                if let Some(table) = self.table(value, "`env`") {
                    run.env = self.variables(table);
                }
            }
            "dir" => {
                let dir = self.string(value, key).unwrap_or_default();
                if dir.is_empty() || dir.contains('\0') {
                    self.wrong("LAB0102", span, "`dir` is a directory's path", "");
                }
                run.dir = Some(PathBuf::from(dir));
                run.places.dir = Some(span);
            }
            "user" => {
                let text = match value.get_ref() {
                    DeValue::Integer(number) => number.as_str().to_owned(),
                    _ => self.string(value, key).unwrap_or_default().to_owned(),
                };
                let word = |word: &str| !word.is_empty() && !word.contains(['\0', '\n', ' ']);
                if !text.splitn(2, ':').all(word) {
                    let message = format!("`{}` is not a user", text.escape_debug());
                    let help = "write USER or USER:GROUP, names or numbers";
                    self.report
                        .push(mistake("LAB0102", message, span, "").help(help));
                }
                run.user = Some(text);
                run.places.user = Some(span);
            }
            "restart" => {
                const KNOWN: &[&str] = &["no", "on-failure", "always"];
                run.restart = match value.get_ref() {
                    DeValue::Boolean(true) => Restart::Always,
                    DeValue::Boolean(false) => Restart::No,
                    _ => match self.string(value, key) {
                        Some("no") | None => Restart::No,
                        Some("on-failure") => Restart::OnFailure,
                        Some("always") => Restart::Always,
                        Some(text) => {
                            self.choice(span, key, text, KNOWN, "");
                            Restart::No
                        }
                    },
                };
            }
            _ => run.ready = self.ready(value),
        }
    }

    /// Variables: names and values.
    fn variables(&mut self, table: &DeTable<'_>) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (name, span, value) in self.entries(table, None) {
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.as_str().to_owned(),
                DeValue::Boolean(truth) => truth.to_string(),
                _ => {
                    self.other_type(value, "the value of a variable is a string");
                    continue;
                }
            };
            if name.is_empty() || name.contains(['=', '\0']) || text.contains('\0') {
                let message = format!("`{}` is not a variable", name.escape_debug());
                self.wrong("LAB0102", span, message, "");
                continue;
            }
            found.push((name.to_owned(), text));
        }
        found
    }

    /// A port, `PORT/udp`, or a name.
    fn ready(&mut self, value: &Value<'_>) -> Option<Ready> {
        let span = self.span(value);
        if value.get_ref().as_integer().is_some() {
            let port = self.number(value, "ready")?;
            let port = u16::try_from(port).ok().filter(|port| *port > 0);
            if port.is_none() {
                self.wrong("LAB0102", span, "a port is 1 to 65535", "");
            }
            return port.map(|port| Ready::Port(Protocol::Tcp, port));
        }
        let text = self.string(value, "ready")?;
        let (port, protocol) = protocol(text);
        if let (Some(protocol), Ok(port @ 1..)) = (protocol, port.parse()) {
            return Some(Ready::Port(protocol, port));
        }
        let name = text.trim_end_matches('.');
        if !is_domain(name) {
            let message = format!("`{}` is neither a port nor a name", text.escape_debug());
            let help = "write 80, \"53/udp\", or a name that resolves when it is ready";
            self.report
                .push(mistake("LAB0102", message, span, "").help(help));
            return None;
        }
        Some(Ready::Name(text.to_owned()))
    }

    /// A command: a list of words, or one string of them.
    fn command(&mut self, value: &Value<'_>, key: &str) -> Vec<String> {
        let is_empty = match value.get_ref() {
            DeValue::String(line) => line.trim().is_empty(),
            DeValue::Array(words) => words
                .first()
                .is_none_or(|word| word.get_ref().as_str().is_some_and(str::is_empty)),
            _ => false,
        };
        if is_empty {
            let message = format!("`{key}` names no program");
            let help = "write the program and its arguments, or leave `run` out";
            let found = mistake("LAB0108", message, self.span(value), "");
            self.report.push(found.help(help));
            return Vec::new();
        }
        let DeValue::String(line) = value.get_ref() else {
            return self.plain(value, key);
        };
        // No shell is there that would know what these mean.
        if let Some(sign) = line.chars().find(|c| OF_SHELLS.contains(*c)) {
            let span = self.span(value);
            let message = format!("`run` is not a shell command, but contains a `{sign}`");
            self.report.push(
                mistake("LAB0108", message, span, "")
                    .help("write a list of words; for a shell, write [\"sh\", \"-c\", \"…\"]"),
            );
        }
        line.split_whitespace().map(str::to_owned).collect()
    }
}
