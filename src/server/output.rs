//! Standard output and error: written by one thread, so that nobody who has something to say waits for whoever reads it.
//!
//! ```text
//! query log, log lines, diagnostics ─► queue (bounded) ─► writer: repeats counted ─► poll(2) ─► standard output
//!                                         │ full: counted                                  └─► standard error
//! ```
//!
//! A full disk, a pipe that nobody reads, a reader that has gone: what cannot be written is dropped and counted
//! (`nameplate_log_dropped_total`), and never decides about service. The two outputs do not wait for each other. A warning or
//! an error that is written [`SAME`] times within a second is counted from then on, and written once more with the count; other lines
//! are always written. Before the process ends, [`flush`] gives the writer [`LAST_WORDS`].

use std::collections::HashMap;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use telemetry::metrics;

/// Texts that may wait to be written.
const QUEUED: usize = 8_192;
/// Octets that one output may hold back.
const HELD: usize = 1 << 20;
/// The most that is written at a time to what may be full: a pipe that takes anything takes so much (PIPE_BUF).
const PIECE: usize = 4_096;
/// How long a blocked output is waited for before the queue is looked at again.
const BLOCKED: Duration = Duration::from_millis(20);
/// How often the same log line is written within [`WINDOW`].
const SAME: u32 = 32;
/// Within which the same log line is counted.
const WINDOW: Duration = Duration::from_secs(1);
/// Lines whose repetitions are counted at a time.
const COUNTED: usize = 256;
/// How long the end of the process waits for what is still to be written.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Which output, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A warning or an error, on standard output; repetitions are counted.
    Trouble,
    /// Any other log line, or what is printed at start, on standard output.
    Plain,
    /// A message for a person, on standard error.
    Error,
}

/// What the writer gets.
enum Item {
    Text(Kind, String),
    Flush(SyncSender<()>),
}

static WRITER: OnceLock<Sender<Item>> = OnceLock::new();
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Starts the writer; only the first call counts. Gives whether there is one.
pub(crate) fn start() -> bool {
    let mut started = true;
    WRITER.get_or_init(|| {
        let (sender, receiver) = channel();
        let writer = std::thread::Builder::new().name("log".to_owned());
        started = writer.spawn(move || write(&receiver)).is_ok();
        sender
    });
    started
}

/// `nameplate_log_dropped_total`.
pub(crate) fn dropped() -> &'static Counter {
    static DROPPED: OnceLock<Counter> = OnceLock::new();
    DROPPED.get_or_init(|| {
        metrics::metric(
            "nameplate_log_dropped",
            "Lines that could not be written to standard output or error.",
            Counter::default,
        )
    })
}

/// Writes a text, which ends with a line feed. Never waits once the writer is there; before, and in commands that serve nothing, it is
/// written at once, and what cannot be written is lost.
pub(crate) fn put(kind: Kind, text: String) {
    let Some(writer) = WRITER.get() else {
        let _ = match kind {
            Kind::Trouble | Kind::Plain => std::io::stdout().write_all(text.as_bytes()),
            Kind::Error => std::io::stderr().write_all(text.as_bytes()),
        };
        return;
    };
    let room = WAITING.fetch_add(1, Ordering::Relaxed) < QUEUED;
    if !room || writer.send(Item::Text(kind, text)).is_err() {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        dropped().inc();
    }
}

/// Waits until all texts so far are written, [`LAST_WORDS`] at most.
pub(crate) fn flush() {
    match WRITER.get() {
        Some(writer) => {
            let (done, wait) = sync_channel(1);
            if writer.send(Item::Flush(done)).is_ok() {
                let _ = wait.recv_timeout(LAST_WORDS);
            }
        }
        None => {
            let _ = std::io::stdout().flush();
        }
    }
}

/// Writes texts until the process ends.
fn write(receiver: &Receiver<Item>) {
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    let mut out = Held::new(stdout.as_fd());
    let mut err = Held::new(stderr.as_fd());
    let mut repeats = Repeats::default();
    let mut flushes: Vec<SyncSender<()>> = Vec::new();
    loop {
        // With something in hand there is no waiting for more.
        let first = if !out.is_empty() || !err.is_empty() {
            receiver.recv_timeout(Duration::ZERO)
        } else if let Some(pause) = repeats.pause(Instant::now()) {
            receiver.recv_timeout(pause)
        } else {
            receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        if matches!(first, Err(RecvTimeoutError::Disconnected)) {
            return;
        }
        for item in first.into_iter().chain(receiver.try_iter().take(QUEUED)) {
            match item {
                Item::Text(kind, text) => {
                    WAITING.fetch_sub(1, Ordering::Relaxed);
                    match kind {
                        Kind::Trouble if !repeats.is_new(&text, Instant::now()) => {}
                        Kind::Trouble | Kind::Plain => out.put(&text),
                        Kind::Error => err.put(&text),
                    }
                }
                Item::Flush(done) => {
                    repeats.end(Instant::now() + WINDOW, &mut out);
                    flushes.push(done);
                }
            }
        }
        repeats.end(Instant::now(), &mut out);
        push(&mut out, &mut err);
        if out.is_empty() && err.is_empty() {
            // Whoever waits hears that its sender is gone.
            flushes.clear();
        }
    }
}

/// Writes what can be written now; waits [`BLOCKED`] if nothing can.
fn push<'a>(out: &mut Held<'a>, err: &mut Held<'a>) {
    let held: Vec<&mut Held<'a>> = [out, err]
        .into_iter()
        .filter(|held| !held.is_empty())
        .collect();
    if held.is_empty() {
        return;
    }
    let mut polled: Vec<PollFd<'_>> = held
        .iter()
        .map(|held| PollFd::from_borrowed_fd(held.fd, PollFlags::OUT))
        .collect();
    let pause = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(BLOCKED.subsec_nanos()),
    };
    if poll(&mut polled, Some(&pause)).is_err() {
        std::thread::sleep(BLOCKED);
        return;
    }
    let ready: Vec<bool> = polled
        .iter()
        .map(|polled| !polled.revents().is_empty())
        .collect();
    for (held, ready) in held.into_iter().zip(ready) {
        if ready {
            held.write();
        }
    }
}

/// What one output still has to take.
struct Held<'a> {
    fd: BorrowedFd<'a>,
    octets: Vec<u8>,
    /// How many of them are written.
    written: usize,
    /// The most that is written at a time.
    piece: usize,
}

impl<'a> Held<'a> {
    fn new(fd: BorrowedFd<'a>) -> Self {
        Self {
            fd,
            octets: Vec::new(),
            written: 0,
            piece: if is_file(fd) { HELD } else { PIECE },
        }
    }

    fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Takes a text, if there is room for it.
    fn put(&mut self, text: &str) {
        if self.octets.len() - self.written + text.len() > HELD {
            dropped().inc();
            return;
        }
        if self.written > HELD {
            self.octets.drain(..self.written);
            self.written = 0;
        }
        self.octets.extend_from_slice(text.as_bytes());
    }

    /// Writes a piece; an output that is broken loses what it was to take.
    fn write(&mut self) {
        let rest = &self.octets[self.written..];
        match rustix::io::write(self.fd, &rest[..rest.len().min(self.piece)]) {
            Ok(len) => {
                self.written += len;
                if self.written == self.octets.len() {
                    self.clear();
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                let lines = rest.iter().filter(|&&octet| octet == b'\n').count();
                dropped().inc_by(lines as u64);
                self.clear();
            }
        }
    }

    fn clear(&mut self) {
        self.octets.clear();
        self.octets.shrink_to(HELD / 4);
        self.written = 0;
    }
}

/// Whether an output is a file, which takes any amount at once.
fn is_file(fd: BorrowedFd<'_>) -> bool {
    let file = rustix::fs::fstat(fd).map(|found| FileType::from_raw_mode(found.st_mode));
    file.is_ok_and(FileType::is_file)
}

/// Log lines of the last second, and how often each came.
#[derive(Default)]
struct Repeats {
    lines: HashMap<String, (Instant, u32)>,
}

impl Repeats {
    /// Counts a line; gives whether it is to be written.
    fn is_new(&mut self, line: &str, now: Instant) -> bool {
        if let Some((_, count)) = self.lines.get_mut(line) {
            *count = count.saturating_add(1);
            return *count <= SAME;
        }
        // With so many different lines, none of them floods.
        if self.lines.len() < COUNTED {
            self.lines.insert(line.to_owned(), (now, 1));
        }
        true
    }

    /// How long until the oldest count ends.
    fn pause(&self, now: Instant) -> Option<Duration> {
        let oldest = self.lines.values().map(|(since, _)| *since).min()?;
        Some((oldest + WINDOW).saturating_duration_since(now))
    }

    /// Writes the counts that have ended by `now`.
    fn end(&mut self, now: Instant, out: &mut Held<'_>) {
        if self.pause(now).is_none_or(|pause| !pause.is_zero()) {
            return;
        }
        self.lines.retain(|line, (since, count)| {
            let ended = now.saturating_duration_since(*since) >= WINDOW;
            if ended && *count > SAME {
                let more = *count - SAME;
                out.put(&format!("{} (repeated {more} times)\n", line.trim_end()));
            }
            !ended
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_counted() {
        let null = std::fs::File::options()
            .write(true)
            .open("/dev/null")
            .expect("it");
        let mut out = Held::new(null.as_fd());
        let mut repeats = Repeats::default();
        let begun = Instant::now();
        let mut written = 0;
        for n in 0..3_600u32 {
            written += u32::from(repeats.is_new("[ERROR] the same\n", begun));
            assert!(n % 100 > 0 || repeats.is_new(&format!("another {n}\n"), begun));
        }
        assert_eq!(written, SAME);
        repeats.end(begun + WINDOW / 2, &mut out);
        assert!(out.is_empty(), "the second has not ended");
        repeats.end(begun + WINDOW, &mut out);
        let text = String::from_utf8_lossy(&out.octets).into_owned();
        assert_eq!(text, "[ERROR] the same (repeated 3568 times)\n");
        assert!(repeats.pause(begun).is_none());
        assert!(repeats.is_new("[ERROR] the same\n", begun + WINDOW));
    }

    #[test]
    fn a_full_disk_loses_lines_and_a_full_pipe_holds_them() {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("it");
        let before = dropped().get();
        let mut out = Held::new(full.as_fd());
        out.put("one\ntwo\n");
        out.write();
        assert!(out.is_empty());
        assert_eq!(dropped().get() - before, 2);

        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut out = Held::new(writer.as_fd());
        let mut err = Held::new(full.as_fd());
        let line = "x".repeat(HELD - 1) + "\n";
        out.put(&line);
        let before = dropped().get();
        out.put("no room\n");
        assert_eq!(dropped().get() - before, 1);
        for _ in 0..40 {
            push(&mut out, &mut err);
        }
        assert!(out.written >= PIECE && !out.is_empty(), "it takes a part");
        drop(reader);
        push(&mut out, &mut err);
        assert!(out.is_empty(), "its reader has gone");
    }
}
