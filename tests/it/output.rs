//! What is printed never decides about service: whatever becomes of standard output and error, the server starts, reloads, answers and
//! ends as it should.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::attacks::{a, get, query, rcode};
use crate::server::{ask_udp, free_port, nameplate, temporary_directory, wait_until};

/// Longer than the last words may take, and much shorter than for ever.
const END: Duration = Duration::from_secs(8);

/// What becomes of what is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Output {
    FullDisk,
    ClosedPipe,
    FullPipe,
}

const OUTPUTS: [Output; 3] = [Output::FullDisk, Output::ClosedPipe, Output::FullPipe];

/// A server whose standard output and error are of no use.
struct Muted {
    child: Child,
    port: u16,
    dir: PathBuf,
    /// The ends of pipes that nobody reads.
    _readers: Vec<std::io::PipeReader>,
}

impl Muted {
    fn start(output: Output, test: &str, corefile: &str) -> Self {
        let dir = temporary_directory(test);
        let port = free_port();
        let mut readers = Vec::new();
        let mut end = || match output {
            Output::FullDisk => {
                let full = File::options().write(true).open("/dev/full");
                Stdio::from(full.expect("/dev/full"))
            }
            Output::ClosedPipe | Output::FullPipe => {
                let (reader, mut writer) = std::io::pipe().expect("a pipe");
                if output == Output::FullPipe {
                    fill(&mut writer);
                    readers.push(reader);
                }
                Stdio::from(writer)
            }
        };
        let (stdout, stderr) = (end(), end());
        write(&dir, corefile, port);
        let child = nameplate(&dir)
            .args(["-conf", "Corefile", "-pidfile", "pid"])
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("the binary starts");
        Self {
            child,
            port,
            dir,
            _readers: readers,
        }
    }

    /// The RCODE of a name.
    fn rcode(&self, name: &str) -> Option<u8> {
        let address = ([127, 0, 0, 1], self.port).into();
        let reply = ask_udp(address, &a(name), Duration::from_millis(500))?;
        Some(rcode(&reply))
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name}");
    }

    fn end(&mut self, what: &str) -> ExitStatus {
        end(&mut self.child, what)
    }
}

impl Drop for Muted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn end(child: &mut Child, what: &str) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        assert!(began.elapsed() < END, "{what}: it does not end");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Fills a pipe by a thread that writes octet by octet until no more is taken.
fn fill(writer: &mut std::io::PipeWriter) {
    use std::io::Write;
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    let mut writer = writer.try_clone().expect("a descriptor");
    thread::spawn(move || {
        while writer.write_all(b".").is_ok() {
            WRITTEN.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (mut before, mut still) = (0, 0);
    wait_until("a full pipe", || {
        let now = WRITTEN.load(Ordering::Relaxed);
        still = if now == before { still + 1 } else { 0 };
        before = now;
        now > 0 && still > 5
    });
}

fn write(dir: &Path, corefile: &str, port: u16) {
    let draft = dir.join(".new");
    fs::write(&draft, corefile.replace("{PORT}", &port.to_string())).expect("written");
    fs::rename(draft, dir.join("Corefile")).expect("renamed");
}

/// A Corefile with a warning (CF0301: the second `hosts` is never asked), metrics at a port, the query log and debug lines.
fn corefile(name: &str, metrics: u16) -> String {
    format!(
        ".:{{PORT}} {{\n  bind 127.0.0.1\n  prometheus 127.0.0.1:{metrics}\n  debug\n  log\n  errors\n  reload 2s 1s\n  hosts {{\n    192.0.2.1 {name}\n  }}\n  \
         hosts {{\n    192.0.2.2 never.example\n  }}\n}}\n"
    )
}

#[test]
fn the_warning_is_one() {
    let dir = temporary_directory("output-warning");
    write(&dir, &corefile("a.example", free_port()), free_port());
    let out = nameplate(&dir).arg("check").output().expect("it runs");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains("warning[CF0301]"), "{text}");
}

#[test]
fn nobody_has_to_read_what_is_printed() {
    thread::scope(|scope| {
        for output in OUTPUTS {
            scope.spawn(move || start_reload_and_stop(output));
        }
    });
}

fn start_reload_and_stop(output: Output) {
    let what = format!("{output:?}");
    let metrics = free_port();
    let corefile = |name| corefile(name, metrics);
    let figure = |name: &str| -> Option<u64> {
        let page = get(([127, 0, 0, 1], metrics).into(), "/metrics").ok()?;
        let line = page.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    };
    let mut server = Muted::start(output, "output", &corefile("a.example"));
    wait_until(&format!("{what}: the start with a warning"), || {
        server.rcode("a.example") == Some(0)
    });
    // More lines than a pipe and the queue hold, and not one query waits for them.
    let began = Instant::now();
    for n in 0..2_000 {
        assert_eq!(server.rcode(&format!("n{n}.example")), Some(2), "{what}");
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "{what}: {took:?}");
    // A reload with a warning, by an edit and by a signal; one with an error.
    write(&server.dir, &corefile("b.example"), server.port);
    wait_until(&format!("{what}: the edit"), || {
        server.rcode("b.example") == Some(0)
    });
    write(&server.dir, ".:{PORT} {\n  whoam\n}\n", server.port);
    server.signal("USR1");
    wait_until(&format!("{what}: the reload that fails"), || {
        figure("coredns_reload_failed_total") > Some(0)
    });
    write(&server.dir, &corefile("c.example"), server.port);
    server.signal("USR1");
    wait_until(&format!("{what}: the signal"), || {
        server.rcode("c.example") == Some(0)
    });
    if output != Output::FullPipe {
        // A pipe that is full may be read again, so what fits is held back for it.
        assert!(
            figure("nameplate_log_dropped_total") >= Some(2_000),
            "{what}"
        );
    }
    assert!(server.dir.join("pid").exists());
    server.signal("TERM");
    assert_eq!(server.end(&what).code(), Some(0), "{what}");
    assert!(!server.dir.join("pid").exists(), "{what}");
}

#[test]
fn a_start_that_fails_says_so_by_its_status() {
    for output in OUTPUTS {
        let mut server = Muted::start(output, "output-refused", ". {\n  whoam\n}\n");
        let status = server.end("a refused start");
        assert_eq!(status.code(), Some(1), "{output:?}: {status:?}");
        assert_eq!(status.signal(), None);
    }
}

#[test]
fn a_loop_ends_the_process_whatever_becomes_of_its_last_words() {
    for output in OUTPUTS {
        let port = free_port();
        let corefile = format!(
            ".:{port} {{\n  bind 127.0.0.1\n  errors\n  log\n  loop\n  forward . 127.0.0.1:{port}\n}}\n"
        );
        let mut server = Muted::start(output, "output-loop", &corefile);
        let status = server.end("a loop");
        assert_eq!(status.code(), Some(1), "{output:?}: {status:?}");
        assert!(!server.dir.join("pid").exists(), "{output:?}");
    }
}

#[test]
fn the_last_words_of_a_loop_are_always_written() {
    // 18 of 40 were lost when the process ended before its log was written.
    for round in 0..20 {
        let dir = temporary_directory("output-last");
        let port = free_port();
        let corefile =
            format!(".:{port} {{\n  bind 127.0.0.1\n  loop\n  forward . 127.0.0.1:{port}\n}}\n");
        write(&dir, &corefile, port);
        let mut child = nameplate(&dir)
            .args(["-conf", "Corefile"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut stdout = child.stdout.take().expect("a pipe");
        let status = end(&mut child, "a loop");
        let mut text = String::new();
        stdout.read_to_string(&mut text).expect("read");
        assert_eq!(status.code(), Some(1), "round {round}: {text}");
        let line = text.lines().find(|line| line.starts_with("[FATAL]"));
        let line = line.unwrap_or_else(|| panic!("round {round}: {text}"));
        let (start, rest) = line.split_once(" -> ").expect("two addresses");
        assert!(
            start.starts_with("[FATAL] plugin/loop: Loop (127.0.0.1:"),
            "{line}"
        );
        let told = format!(
            "127.0.0.1:{port}) detected for zone \".\", see https://coredns.io/plugins/loop#troubleshooting. Query: \"HINFO "
        );
        assert!(rest.starts_with(&told) && rest.ends_with(".\""), "{line}");
        assert_eq!(text.matches("[FATAL]").count(), 1, "{text}");
    }
}

#[test]
fn a_command_whose_reader_has_gone_keeps_its_status() {
    let dir = temporary_directory("output-check");
    for (corefile, code) in [(". {\n  whoami\n}\n", 0), (". {\n  whoam\n}\n", 2)] {
        write(&dir, corefile, 0);
        for output in ["/dev/full", ""] {
            let stdout = if output.is_empty() {
                let (reader, writer) = std::io::pipe().expect("a pipe");
                drop(reader);
                Stdio::from(writer)
            } else {
                Stdio::from(File::options().write(true).open(output).expect("it"))
            };
            let status = nameplate(&dir).arg("check").stdout(stdout).status();
            assert_eq!(status.expect("it runs").code(), Some(code), "{output:?}");
        }
    }
}

#[test]
fn errors_without_end_are_counted() {
    let server = crate::server::Server::start(
        "output-repeated",
        ".:{PORT} {\n  bind 127.0.0.1\n  errors\n}\n",
    );
    // Nobody answers: the same error for each query.
    let octets = query(0x0100, "same.example.org", 1, 1);
    let began = Instant::now();
    for _ in 0..400 {
        let reply = server.ask(&octets).expect("a reply");
        assert_eq!(rcode(&reply), 2);
    }
    let took = began.elapsed();
    server.wait_for_log(" times)");
    let log = server.log();
    let lines = log.lines().filter(|line| line.contains("same.example.org"));
    let (mut written, mut counted) = (0, 0);
    for line in lines {
        match line.rsplit_once(" (repeated ") {
            Some((_, count)) => {
                let count = count.strip_suffix(" times)").expect("a count");
                counted += count.parse::<u32>().expect("a number");
            }
            None => written += 1,
        }
    }
    assert!(
        written < 64 * (1 + took.as_secs() as u32),
        "{written} in {took:?}"
    );
    assert!(
        counted > 0 && written + counted <= 400,
        "{written} {counted}"
    );
}
