//! Log lines as CoreDNS writes them: `[INFO] plugin/reload: text` on standard output, no time, no colour.
//!
//! Lines go to a writer thread through a channel, so that a slow terminal or pipe never holds a worker. At most [`QUEUED`] lines wait;
//! what has no room is counted, and the count is logged. The channel grows with what waits: an array of that size would be a quarter
//! of a MiB, touched at start. `[DEBUG]` lines are written while `debug` stands in some server block.

use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

/// Lines that may wait to be written.
const QUEUED: usize = 8_192;
/// The roots of our own targets; others are libraries.
const OURS: [&str; 10] = [
    "plugin/",
    // The lines of the query log, which have no prefix.
    "log",
    "server",
    "plugins",
    "chain",
    "zone",
    "corefile",
    "wire",
    "nameplate",
    "lab",
];

static DEBUG: AtomicBool = AtomicBool::new(false);
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// Lines that wait; those of `print` are not counted, as they are few.
static WAITING: AtomicUsize = AtomicUsize::new(0);
static WRITER: OnceLock<Sender<Item>> = OnceLock::new();

/// What the writer gets.
enum Item {
    /// A log line, which has taken room.
    Line(String),
    /// A line that is written whatever waits.
    Plain(String),
    Flush(SyncSender<()>),
}

/// Starts the writer and takes all log lines of the process; only the first call counts.
pub fn install() {
    let (sender, receiver) = channel();
    if WRITER.set(sender).is_err() {
        return;
    }
    let started = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write(&receiver));
    if started.is_ok() {
        let _ = tracing::subscriber::set_global_default(Lines);
    }
}

/// Writes lines until the process ends; what waits is written at once.
fn write(receiver: &Receiver<Item>) {
    let mut out = Vec::new();
    while let Ok(first) = receiver.recv() {
        let mut flushed = Vec::new();
        for item in std::iter::once(first).chain(receiver.try_iter().take(QUEUED)) {
            match item {
                Item::Line(line) => {
                    WAITING.fetch_sub(1, Ordering::Relaxed);
                    out.extend_from_slice(line.as_bytes());
                }
                Item::Plain(line) => out.extend_from_slice(line.as_bytes()),
                Item::Flush(done) => flushed.push(done),
            }
        }
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ = writeln!(
                out,
                "[WARNING] {dropped} log lines were dropped: the output is too slow"
            );
        }
        // A closed or full output is no reason to stop serving.
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(&out).and_then(|()| stdout.flush());
        out.clear();
        out.shrink_to(1 << 20);
    }
}

/// Whether `[DEBUG]` lines are written.
pub(crate) fn set_debug(on: bool) {
    if DEBUG.swap(on, Ordering::Relaxed) != on {
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Writes a line that is no log line: the zones and the banner at start.
pub(crate) fn print(line: &str) {
    match WRITER.get() {
        Some(writer) => {
            let _ = writer.send(Item::Plain(format!("{line}\n")));
        }
        None => println!("{line}"),
    }
}

/// Waits until all lines so far are written.
pub fn flush() {
    if let Some(writer) = WRITER.get() {
        let (done, wait) = sync_channel(1);
        if writer.send(Item::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(std::time::Duration::from_secs(1));
        }
    }
}

/// Hands a log line to the writer; `false` when there is no room for it.
fn queue(line: String) -> bool {
    let Some(writer) = WRITER.get() else {
        return false;
    };
    let room = WAITING.fetch_add(1, Ordering::Relaxed) < QUEUED;
    if room && writer.send(Item::Line(line)).is_ok() {
        return true;
    }
    WAITING.fetch_sub(1, Ordering::Relaxed);
    false
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
        let mut line = head(event.metadata());
        event.record(&mut Text(&mut line));
        line.push('\n');
        if !queue(line) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
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

/// `[LEVEL] ` and the plugin, if the event is one's.
fn head(metadata: &Metadata<'_>) -> String {
    let mut line = String::with_capacity(128);
    line.push_str(match *metadata.level() {
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
