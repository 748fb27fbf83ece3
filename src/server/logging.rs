//! Log lines as CoreDNS writes them: `[INFO] plugin/reload: text` on standard output, no time, no colour.
//!
//! An event becomes a line where it happens; [`crate::output`] writes it, and holds nobody up. `[DEBUG]` lines are written while `debug`
//! stands in some server block. An event with the field `fatal` is a `[FATAL]` line and ends the process, as it does in CoreDNS.

use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::output::{self, Kind};
use crate::pid_file;

/// The roots of our own targets; others are libraries.
const OURS: [&str; 11] = [
    "plugin/",
    // The lines of the query log, which have no prefix.
    "log",
    "server",
    "plugins",
    "chain",
    // Says itself which plugin speaks.
    "source",
    "zone",
    "corefile",
    "wire",
    "nameplate",
    "lab",
];

/// The field of an event that ends the process.
const FATAL: &str = "fatal";

static DEBUG: AtomicBool = AtomicBool::new(false);

/// Starts the writer and takes all log lines of the process, and the messages of panics; only the first call counts.
pub fn install() {
    if output::start() && tracing::subscriber::set_global_default(Lines).is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("?").to_owned();
            let mut text = format!("thread '{name}' {panic}\n");
            let trace = std::backtrace::Backtrace::capture();
            if trace.status() == std::backtrace::BacktraceStatus::Captured {
                let _ = write!(text, "{trace}");
            }
            output::put(Kind::Error, text);
            if name == "main" {
                // It ends the process.
                output::flush();
            }
        }));
    }
}

/// Whether `[DEBUG]` lines are written.
pub(crate) fn set_debug(on: bool) {
    if DEBUG.swap(on, Ordering::Relaxed) != on {
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Writes a line that is no log line to standard output: the zones and the banner at start.
pub fn print(line: &str) {
    output::put(Kind::Plain, format!("{}\n", line.trim_end()));
}

/// Writes a message to standard error.
pub fn complain(text: &str) {
    output::put(Kind::Error, format!("{}\n", text.trim_end()));
}

/// Waits until all that was said so far is written, half a second at most.
pub fn flush() {
    output::flush();
}

/// Makes lines of events. There are no spans here, and so no registry of them.
struct Lines;

impl Lines {
    fn wants(metadata: &Metadata<'_>) -> bool {
        let ours = OURS.iter().any(|root| metadata.target().starts_with(root));
        metadata.is_event()
            && match *metadata.level() {
                Level::ERROR | Level::WARN => true,
                Level::INFO => ours,
                _ => ours && *metadata.level() == Level::DEBUG && DEBUG.load(Ordering::Relaxed),
            }
    }
}

impl Subscriber for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if Self::wants(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Self::wants(metadata)
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut line = head(metadata);
        event.record(&mut Text(&mut line));
        line.push('\n');
        let kind = match *metadata.level() {
            Level::ERROR | Level::WARN => Kind::Trouble,
            _ => Kind::Plain,
        };
        if is_fatal(metadata) {
            end(line);
        }
        output::put(kind, line);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        // Never asked for: no span is enabled.
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Whether an event ends the process.
fn is_fatal(metadata: &Metadata<'_>) -> bool {
    metadata.fields().field(FATAL).is_some()
}

/// Writes the last line, and ends the process; of several threads at the same time, the first one does.
fn end(line: String) -> ! {
    static ENDING: AtomicBool = AtomicBool::new(false);
    if ENDING.swap(true, Ordering::Relaxed) {
        loop {
            std::thread::park();
        }
    }
    output::put(Kind::Plain, line);
    pid_file::leave();
    output::flush();
    std::process::exit(1)
}

/// `[LEVEL] ` and the plugin, if the event is one's.
fn head(metadata: &Metadata<'_>) -> String {
    let mut line = String::with_capacity(128);
    line.push_str(match *metadata.level() {
        _ if is_fatal(metadata) => "[FATAL] ",
        Level::ERROR => "[ERROR] ",
        Level::WARN => "[WARNING] ",
        Level::INFO => "[INFO] ",
        _ => "[DEBUG] ",
    });
    if metadata.target().starts_with("plugin/") {
        line.push_str(metadata.target());
        line.push_str(": ");
    }
    line
}

/// The fields of an event as text; control characters cannot forge a line.
struct Text<'a>(&'a mut String);

impl Text<'_> {
    fn put(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_control() && c != '\t' {
                self.0.extend(c.escape_default());
            } else {
                self.0.push(c);
            }
        }
    }
}

impl Visit for Text<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() != FATAL {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let text = format!("{value:?}");
            self.put(&text);
        } else {
            let text = format!(" {}={value:?}", field.name());
            self.put(&text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.put(value);
        } else {
            let _ = write!(self.0, " {}=", field.name());
            self.put(value);
        }
    }
}
