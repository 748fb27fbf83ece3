//! `nameplate`: reads the command line, and hands the plugins to the server.
//!
//! CoreDNS's flags come in Go's form, `-conf F` or `--conf=F`; they are rewritten to clap's before clap sees them.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chain::setup::{Catalogue, Entry};
use clap::{Args, Parser, Subcommand, ValueEnum};
use server::{Format, Options, Source};

/// CoreDNS's flags, which Go lets stand behind one dash.
const GO_FLAGS: [&str; 8] = [
    "conf", "dns.port", "p", "pidfile", "plugins", "quiet", "version", "compat",
];

/// A DNS server that reads a CoreDNS Corefile.
#[derive(Parser)]
#[command(name = "nameplate", disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Args)]
struct Serve {
    /// Corefile to load, or `stdin` (default: Corefile in the working directory)
    #[arg(long, value_name = "FILE")]
    conf: Option<String>,
    /// Port where a server block names none
    #[arg(long = "dns.port", short = 'p', value_name = "N", default_value_t = 53)]
    port: u16,
    /// File to write the process ID to
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// List the plugins
    #[arg(long)]
    plugins: bool,
    /// Print no zones and no version at start
    #[arg(long)]
    quiet: bool,
    /// Show the version
    #[arg(long)]
    version: bool,
    /// Without a Corefile, serve what CoreDNS serves: `whoami` and `log`
    #[arg(long)]
    compat: bool,
    #[arg(hide = true)]
    extra: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Report every mistake of a Corefile, and serve nothing
    Check(Check),
    /// Run nameplate-lab: labs of network namespaces whose names this server answers
    #[command(disable_help_flag = true)]
    Lab {
        /// What nameplate-lab is told
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGUMENTS"
        )]
        arguments: Vec<OsString>,
    },
}

#[derive(Args)]
struct Check {
    /// Corefile to check, or `stdin` (default: Corefile in the working directory)
    #[arg(long, value_name = "FILE")]
    conf: Option<String>,
    /// How to write what is found
    #[arg(long, value_enum, default_value_t = Shape::Text)]
    format: Shape,
    /// What ends with status 1
    #[arg(long, value_enum, value_name = "WHAT")]
    deny: Option<Deny>,
    /// Explain a code, such as CF0101
    #[arg(long, value_name = "CODE")]
    explain: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shape {
    Text,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Deny {
    Warnings,
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "lab") {
        // Its words are its own: nothing in them is a flag of CoreDNS.
        return ExitCode::from(run_lab(words.collect()));
    }
    let cli = match Cli::try_parse_from(std::env::args().enumerate().map(translate)) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    ExitCode::from(match cli.command {
        Some(Command::Check(check)) => run_check(&check),
        Some(Command::Lab { arguments }) => run_lab(arguments),
        None => serve(cli.serve),
    })
}

/// Becomes `nameplate-lab`, installed beside this program or somewhere on the path. It is a program of its own so that the server has
/// no netlink, no mounts and none of its `unsafe`.
fn run_lab(arguments: Vec<OsString>) -> u8 {
    const PROGRAM: &str = "nameplate-lab";
    let beside = std::env::current_exe()
        .and_then(|own| own.canonicalize())
        .map(|own| own.with_file_name(PROGRAM));
    let program = match beside {
        Ok(path) if path.is_file() => path,
        _ => PathBuf::from(PROGRAM),
    };
    let error = std::process::Command::new(&program).args(arguments).exec();
    eprintln!(
        "cannot run {}: {error}\n  it is a program of its own: cargo build --release -p nameplate-lab",
        program.display()
    );
    if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    }
}

/// Go's `-flag` and `--flag` as clap's `--flag`; a value behind `=` stays where it is.
fn translate((at, word): (usize, String)) -> String {
    let Some(bare) = word.strip_prefix('-').filter(|_| at > 0) else {
        return word;
    };
    let bare = bare.strip_prefix('-').unwrap_or(bare);
    let (name, value) = bare
        .split_once('=')
        .map_or((bare, None), |(name, value)| (name, Some(value)));
    if !GO_FLAGS.contains(&name) && !matches!(name, "format" | "deny" | "explain" | "help") {
        return word;
    }
    let name = if name == "p" { "dns.port" } else { name };
    // Go takes `-quiet=true`.
    match value {
        Some("true") => format!("--{name}"),
        Some(value) => format!("--{name}={value}"),
        None => format!("--{name}"),
    }
}

fn serve(serve: Serve) -> u8 {
    if !serve.extra.is_empty() {
        eprintln!("extra command line arguments: [{}]", serve.extra.join(" "));
        return 1;
    }
    if serve.version {
        println!("{}", banner());
        return 0;
    }
    if serve.plugins {
        list(plugins::ORDER);
        return 0;
    }
    let source = match source(serve.conf.as_deref()) {
        // Only comments and snippets are as good as nothing.
        Ok(Some(source)) if !source.is_blank() => source,
        Ok(_) if serve.compat => server::compat(serve.port),
        Ok(_) => {
            let lan = server::lan(serve.port);
            if let (Source::Text { text, .. }, false) = (&lan, serve.quiet) {
                print!(
                    "No Corefile here, or none with a server block, so this is served:\n\n{}\n",
                    String::from_utf8_lossy(text)
                );
            }
            lan
        }
        Err(error) => {
            eprintln!("{error}");
            return 1;
        }
    };
    server::run(Options {
        catalogue: plugins::ORDER,
        source,
        port: serve.port,
        pidfile: serve.pidfile,
        quiet: serve.quiet,
        banner: banner(),
        colour: std::io::stderr().is_terminal(),
    })
}

fn run_check(check: &Check) -> u8 {
    if let Some(code) = &check.explain {
        return match server::explain(code) {
            Some(text) => {
                println!("{}", text.trim_end());
                0
            }
            None => {
                eprintln!("no such code: {code}");
                2
            }
        };
    }
    let source = match source(check.conf.as_deref()) {
        Ok(Some(source)) => source,
        Ok(None) => {
            eprintln!("open Corefile: no such file or directory");
            return 2;
        }
        Err(error) => {
            eprintln!("{error}");
            return 2;
        }
    };
    let format = match check.format {
        Shape::Text => Format::Text,
        Shape::Json => Format::Json,
    };
    let colour = std::io::stdout().is_terminal();
    server::check(
        &source,
        plugins::ORDER,
        format,
        check.deny.is_some(),
        colour,
    )
}

/// The Corefile that `-conf` names, or that of the working directory; nothing when there is none.
fn source(conf: Option<&str>) -> Result<Option<Source>, String> {
    match conf {
        Some("stdin") => {
            let mut text = Vec::new();
            std::io::stdin()
                .read_to_end(&mut text)
                .map_err(|error| format!("stdin: {error}"))?;
            Ok(Some(Source::Text {
                name: "stdin".to_owned(),
                text,
            }))
        }
        Some(file) => {
            let source = Source::File(PathBuf::from(file));
            source
                .probe()
                .map_err(|error| format!("loading Caddyfile via flag: {error}"))?;
            Ok(Some(source))
        }
        None if !Path::new("Corefile").exists() => Ok(None),
        None => Ok(Some(Source::File(PathBuf::from("Corefile")))),
    }
}

/// The plugins by name.
fn list(catalogue: Catalogue) {
    let mut names: Vec<&str> = catalogue
        .iter()
        .filter(|entry| matches!(entry, Entry::Here(_)))
        .map(Entry::name)
        .collect();
    names.sort_unstable();
    for name in names {
        println!("{name}");
    }
}

fn banner() -> String {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!(
        "nameplate-{}\n{}/{machine}, rustc {}, order {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        env!("CARGO_PKG_RUST_VERSION"),
        plugins::ORDER_NAME,
    )
}
