//! `nameplate`: reads the command line, and hands the plugins to the server.

mod arguments;

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arguments::{Check, Cli, Command, Explain, Foreign, InstallArgs, Serve, Shape, ZoneArgs};
use chain::setup::{Catalogue, Entry};
use clap::{CommandFactory, Parser};
use corefile::Severity;
use server::explain::Request;
use server::logging::{complain, print};
use server::{AdminSocket, Checking, Format, Options, Source};

/// The port where nothing says otherwise.
const DNS_PORT: u16 = 53;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "lab") {
        // Its words are its own: nothing in them is a flag of CoreDNS.
        return ExitCode::from(run_lab(words.collect()));
    }
    #[cfg(feature = "query")]
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == "query")
    {
        // Its flags are dig's.
        return ExitCode::from(run_query(&std::env::args().skip(2).collect::<Vec<_>>()));
    }
    if let Some(explained) = arguments::explain_node_cache(std::env::args().skip(1)) {
        eprint!("{explained}");
        return ExitCode::from(2);
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(said) = arguments::unknown_command(&words) {
        eprint!("{said}");
        return ExitCode::FAILURE;
    }
    let cli = match Cli::try_parse_from(arguments::translate(std::env::args())) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    ExitCode::from(match cli.command {
        Some(Command::Check(check)) => run_check(&check),
        Some(Command::Explain(explain)) => run_explain(explain),
        Some(Command::Zone(zone)) => run_zone(zone),
        Some(Command::Lsp { .. }) => run_lsp(),
        #[cfg(feature = "query")]
        Some(Command::Query { words }) => run_query(&words),
        Some(Command::Lab { arguments }) => run_lab(arguments),
        Some(Command::Install(install)) => run_install(install),
        Some(Command::Uninstall { yes }) => {
            operate(|input, out| operate::uninstall(yes, input, out))
        }
        Some(Command::Doctor { name, conf, output }) => run_doctor(name, conf, output.shape()),
        Some(Command::Import {
            from,
            path,
            out,
            output,
        }) => run_import(from, path, out, output.shape()),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "nameplate",
                &mut std::io::stdout(),
            );
            0
        }
        Some(Command::Man { directory }) => operate(|_, _| {
            clap_mangen::generate_to(Cli::command(), &directory)?;
            Ok(0)
        }),
        None => serve(cli.serve),
    })
}

/// Asks a server.
#[cfg(feature = "query")]
fn run_query(words: &[String]) -> u8 {
    let outcome = query::run(words);
    if !outcome.error.is_empty() {
        complain(&outcome.error);
    }
    if !outcome.text.is_empty() {
        print(&outcome.text);
    }
    outcome.code
}

/// Shows what happens to a query, or in which order plugins run. 0: shown, whatever the answer is; 1: no server that runs explained
/// it; 2: a mistake in the Corefile or on the command line.
fn run_explain(explain: Explain) -> u8 {
    let asks_order = explain.name == "order";
    let request = Request {
        name: explain.name,
        qtype: explain.qtype,
        from: explain.from,
        tcp: explain.tcp,
        dnssec_ok: explain.dnssec_ok,
        at: explain.at,
    };
    if asks_order && explain.live {
        complain("the order is that of a Corefile: nameplate explain order --conf FILE");
        return 2;
    }
    let told = if explain.live {
        let asked = server::ask_running(explain.admin.as_deref(), &request);
        asked.map_err(|error| (error, 1))
    } else {
        let source = match source(explain.conf.as_deref()) {
            Ok(Some(source)) => source,
            Ok(None) => {
                complain("open Corefile: no such file or directory");
                return 2;
            }
            Err(error) => {
                complain(&error);
                return 2;
            }
        };
        if asks_order {
            return show_order(&source, explain.output.shape());
        }
        server::explain::dry(&source, plugins::ORDER, DNS_PORT, &request)
            .map_err(|error| (error, 2))
    };
    match told {
        Ok(record) => {
            match explain.output.shape() {
                Shape::Text => print(&server::explain::render(&record)),
                Shape::Json => print(&serde_json::json!(record).to_string()),
            }
            0
        }
        Err((error, code)) => {
            complain(&error);
            code
        }
    }
}

/// Shows the zones of the running server, or tells it what to do with one. 0: done; 1: no server that runs did it.
fn run_zone(zone: ZoneArgs) -> u8 {
    match server::ask_zones(zone.admin.as_deref(), &zone.action.request()) {
        Ok(answer) if zone.json => print(&serde_json::json!(answer).to_string()),
        Ok(answer) => print(&server::zones::render(&answer)),
        Err(error) => {
            complain(&error);
            return 1;
        }
    }
    0
}

/// Shows in which order the plugins of each server block run.
fn show_order(source: &Source, format: Shape) -> u8 {
    match server::explain::order(source, plugins::ORDER) {
        Ok(server::explain::Order { blocks, warnings }) => {
            if let Some(warnings) = warnings {
                complain(&warnings);
            }
            match format {
                Shape::Json => print(&serde_json::json!(blocks).to_string()),
                Shape::Text => {
                    let blocks = blocks.iter().map(|block| block.render(plugins::ORDER_NAME));
                    print(&blocks.collect::<Vec<_>>().join("\n"));
                }
            }
            0
        }
        Err(error) => {
            complain(&error);
            2
        }
    }
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
    complain(&format!(
        "cannot run {}: {error}\n  it is a separate program: cargo build --release --workspace",
        program.display()
    ));
    if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    }
}

fn run_lsp() -> u8 {
    let plugins = lsp::Plugins {
        catalogue: plugins::ORDER,
        order: plugins::ORDER_NAME,
        manuals: plugins::MANUALS,
    };
    lsp::serve(
        plugins,
        std::io::BufReader::new(std::io::stdin()),
        &mut std::io::stdout().lock(),
    )
}

fn run_install(words: InstallArgs) -> u8 {
    let wanted = operate::Install {
        interfaces: words.interface,
        replace: words.replace,
        yes: words.yes,
        dry_run: words.dry_run,
    };
    operate(|input, out| operate::install(&wanted, input, out))
}

fn run_doctor(name: Option<String>, conf: Option<String>, format: Shape) -> u8 {
    const INSTALLED: &str = "/etc/nameplate/Corefile";
    let installed = || Path::new(INSTALLED).exists().then(|| INSTALLED.to_owned());
    let corefile = conf.or_else(installed).map(|file| {
        let source = Source::File(PathBuf::from(&file));
        match server::findings(&source, plugins::ORDER, false) {
            Ok((_, report)) => {
                let count = |severity| {
                    report
                        .iter()
                        .filter(|found| found.severity == severity)
                        .count()
                };
                (file, count(Severity::Error), count(Severity::Warning))
            }
            Err(error) => (error, 1, 0),
        }
    });
    let wanted = operate::Doctor {
        name,
        corefile,
        json: matches!(format, Shape::Json),
    };
    operate(|_, out| operate::doctor(&wanted, out))
}

fn run_import(from: Foreign, path: PathBuf, out: PathBuf, format: Shape) -> u8 {
    let from = match from {
        Foreign::Dnsmasq => operate::From::Dnsmasq,
        Foreign::Unbound => operate::From::Unbound,
        Foreign::Bind => operate::From::Bind,
        Foreign::Pihole => operate::From::Pihole,
        Foreign::HostsDir => operate::From::HostsDir,
    };
    let wanted = operate::Import {
        from,
        path,
        out,
        json: matches!(format, Shape::Json),
    };
    operate(|_, out| operate::import(&wanted, out, &mut std::io::stderr()))
}

/// Runs a verb that talks with whoever typed it.
fn operate(verb: impl FnOnce(&mut dyn BufRead, &mut dyn Write) -> std::io::Result<u8>) -> u8 {
    verb(&mut std::io::stdin().lock(), &mut std::io::stdout()).unwrap_or_else(|error| {
        complain(&format!("error: {error}"));
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            complain("  this needs root: run it with sudo");
        }
        1
    })
}

fn serve(serve: Serve) -> u8 {
    // From here on nothing that is printed holds the server up.
    server::logging::install();
    let status = serve_as(serve);
    server::logging::flush();
    status
}

fn serve_as(serve: Serve) -> u8 {
    if !serve.extra.is_empty() {
        complain(&format!(
            "extra command line arguments: [{}]",
            serve.extra.join(" ")
        ));
        return 1;
    }
    if serve.version {
        print(&banner());
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
                print(&format!(
                    "There is no Corefile here, or it has no server block. This is served instead:\n\n{}\n",
                    String::from_utf8_lossy(text)
                ));
            }
            lan
        }
        Err(error) => {
            complain(&error);
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
        colour: wants_colour(&std::io::stderr()),
        takes_over: serve.takeover,
        admin: match serve.admin {
            None => AdminSocket::Usual,
            Some(path) if path.as_os_str() == "off" => AdminSocket::Off,
            Some(path) => AdminSocket::At(path),
        },
    })
}

/// Whether an output takes colours: a terminal does, unless NO_COLOR says otherwise (no-color.org).
fn wants_colour(output: &impl IsTerminal) -> bool {
    output.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn run_check(check: &Check) -> u8 {
    if let Some(code) = &check.explain {
        return match server::explain_code(code) {
            Some(text) => {
                print(text);
                0
            }
            None => {
                complain(&format!("no such code: {code}"));
                2
            }
        };
    }
    let source = match source(check.conf.as_deref()) {
        Ok(Some(source)) => source,
        Ok(None) => {
            complain("open Corefile: no such file or directory");
            return 2;
        }
        Err(error) => {
            complain(&error);
            return 2;
        }
    };
    let format = match check.output.shape() {
        Shape::Text => Format::Text,
        Shape::Json => Format::Json,
    };
    server::check(
        &source,
        plugins::ORDER,
        Checking {
            format,
            deny_warnings: check.deny.is_some(),
            allowed: check.allow.clone(),
            no_files: check.no_files,
            fix: check.fix,
            colour: wants_colour(&std::io::stdout()),
        },
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
            // A pipe gives its content once.
            let is_pipe = std::fs::metadata(file).is_ok_and(|found| found.file_type().is_fifo());
            if is_pipe {
                let read = std::fs::File::open(file).and_then(corefile::read_bounded);
                let text =
                    read.map_err(|error| format!("cannot read the Corefile: {file}: {error}"))?;
                return Ok(Some(Source::Text {
                    name: file.to_owned(),
                    text,
                }));
            }
            let source = Source::File(PathBuf::from(file));
            source
                .probe()
                .map_err(|error| format!("cannot read the Corefile: {error}"))?;
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
    print(&names.join("\n"));
}

fn banner() -> String {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    // A tree without its repository has no commit.
    let commit = option_env!("NAMEPLATE_COMMIT").map(|commit| format!("{commit}, "));
    format!(
        "nameplate-{}\n{}/{machine}, rustc {}, {}order {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        env!("NAMEPLATE_RUSTC"),
        commit.unwrap_or_default(),
        plugins::ORDER_NAME,
    )
}
