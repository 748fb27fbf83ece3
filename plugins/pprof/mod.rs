//! `pprof`: pages about the process, where Go programs have their profiles.
//!
//! | page | here |
//! |---|---|
//! | `/debug/pprof/` | what there is |
//! | `cmdline` | the command line |
//! | `profile` | CPU time by thread since the start |
//! | the others | 501, and why: they are about Go's runtime |
//!
//! Nothing is sampled, so the pages cost nothing until somebody asks for them.

mod profile;
mod setup;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::SystemTime;

use chain::admin::{Page, Serve};

pub(crate) use setup::REGISTRATION;

/// Where the pages are.
const INDEX: [&str; 2] = ["/debug/pprof", "/debug/pprof/"];
const CMDLINE: &str = "/debug/pprof/cmdline";
const PROFILE: &str = "/debug/pprof/profile";
/// Pages of Go's runtime, and what there is instead.
const ABSENT: [(&str, &str); 8] = [
    ("/debug/pprof/allocs", MEMORY),
    ("/debug/pprof/heap", MEMORY),
    ("/debug/pprof/block", LOCKS),
    ("/debug/pprof/mutex", LOCKS),
    (
        "/debug/pprof/goroutine",
        "there are no goroutines; `profile` shows the threads",
    ),
    ("/debug/pprof/threadcreate", "`profile` shows the threads"),
    (
        "/debug/pprof/trace",
        "there is no execution tracer; use `perf trace` or `strace`",
    ),
    (
        "/debug/pprof/symbol",
        "`profile` has its names in it, so there is nothing to look up",
    ),
];
const MEMORY: &str = "allocations are not recorded; `process_resident_memory_bytes` of `prometheus` tells the memory, and `heaptrack` records";
const LOCKS: &str = "waits are not recorded, since the query path has no locks; use `perf lock`";

/// All pages, by path.
fn pages() -> Vec<(&'static str, Serve)> {
    let mut out: Vec<(&'static str, Serve)> = Vec::new();
    for path in INDEX {
        out.push((path, Arc::new(|_| index())));
    }
    out.push((CMDLINE, Arc::new(|_| command_line())));
    out.push((PROFILE, Arc::new(|_| cpu())));
    for (path, instead) in ABSENT {
        let text = format!("501 not implemented: {instead}\n");
        out.push((path, Arc::new(move |_| Page::text(501, text.clone()))));
    }
    out
}

/// What there is.
fn index() -> Page {
    let mut body = String::from(
        "<!DOCTYPE html>\n<html><head><title>/debug/pprof/</title></head><body>\n<h1>/debug/pprof/</h1>\n<ul>\n\
         <li><a href=\"/debug/pprof/cmdline\">cmdline</a>: the command line of the process</li>\n\
         <li><a href=\"/debug/pprof/profile\">profile</a>: CPU time by thread since the start, for <code>go tool pprof</code></li>\n\
         </ul>\n<p>Not here, since they are about Go's runtime:</p>\n<ul>\n",
    );
    for (path, instead) in ABSENT {
        let name = path.rsplit('/').next().unwrap_or(path);
        let _ = writeln!(body, "<li>{name}: {instead}</li>");
    }
    body.push_str("</ul>\n</body></html>\n");
    Page {
        status: 200,
        content_type: "text/html; charset=utf-8",
        body: body.into_bytes(),
    }
}

/// The words of the command line, with octets of zero between them, as Go gives them.
fn command_line() -> Page {
    let words: Vec<_> = std::env::args_os()
        .map(|word| word.as_bytes().to_vec())
        .collect();
    Page::text(200, words.join(&0))
}

/// CPU time by thread.
fn cpu() -> Page {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Page {
        status: 200,
        content_type: "application/octet-stream",
        body: profile::encode(&host::threads::threads(), now.unwrap_or_default()),
    }
}
