//! `nameplate-lab`: the command line. What it does is in the library; here are only words and exit codes.

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// A lab of network namespaces from one file, in which every name resolves.
#[derive(Debug, Parser)]
#[command(name = "nameplate-lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// A lab's file, or the name of a lab that has been applied.
#[derive(Debug, clap::Args)]
struct Which {
    /// The lab's file, or the name of a lab that was applied [default: lab.toml, or the only .toml file here]
    lab: Option<PathBuf>,
    /// The lab's file
    #[arg(short, long, conflicts_with = "lab")]
    file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the difference between the file and the kernel (exit 0: none, 2: changes)
    Plan {
        #[command(flatten)]
        which: Which,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the kernel what the file declares
    #[command(visible_alias = "up")]
    Apply {
        #[command(flatten)]
        which: Which,
        /// Look at and change these namespaces only, and what lies on the host
        #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
        only: Vec<String>,
        /// Look into every namespace, also where neither the file nor the host tells of a change
        #[arg(long, conflicts_with = "only")]
        deep: bool,
        /// Say every step
        #[arg(short, long)]
        verbose: bool,
    },
    /// Remove exactly what was made
    Down {
        #[command(flatten)]
        which: Which,
        /// Every lab
        #[arg(long, conflicts_with_all = ["lab", "file"])]
        all: bool,
    },
    /// Declared against actual, what runs inside, whether DNS answers (exit 0: as declared, 4: drift)
    Status {
        #[command(flatten)]
        which: Which,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a command in a namespace, with its resolver or not at all
    Exec {
        /// The namespace
        name: String,
        /// Run it although the resolver cannot be put in place
        #[arg(long)]
        no_dns: bool,
        /// The command
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Draw the lab
    Graph {
        #[command(flatten)]
        which: Which,
        /// How
        #[arg(long, value_enum, default_value_t = Format::Ascii)]
        format: Format,
    },
    /// Check the file, and with --probe the lab
    Check {
        #[command(flatten)]
        which: Which,
        /// Send packets and queries between the namespaces
        #[arg(long)]
        probe: bool,
        /// Mistakes as JSON
        #[arg(long)]
        json: bool,
        /// What a code means
        #[arg(long, value_name = "CODE", conflicts_with_all = ["lab", "file", "probe"])]
        explain: Option<String>,
    },
    /// Print the lab in another form
    Show {
        #[command(flatten)]
        which: Which,
        /// As the shell script that it replaces (the default)
        #[arg(long)]
        as_shell: bool,
        /// As lines of a hosts file
        #[arg(long, conflicts_with = "as_shell")]
        hosts: bool,
        /// As the names that the server is told
        #[arg(long, conflicts_with_all = ["as_shell", "hosts"])]
        names: bool,
    },
    /// Apply, start each `run`, and remove everything on Ctrl-C
    Run {
        #[command(flatten)]
        which: Which,
        /// In a user namespace, without being root
        #[arg(long)]
        rootless: bool,
        /// A command beside the lab; when it ends, so does the lab
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Give the network namespace of a process a name
    Adopt {
        /// The process
        #[arg(long)]
        pid: i32,
        /// The name
        #[arg(long)]
        name: String,
    },
    /// Remove what is left of labs that nothing declares any more
    Gc,
}

/// How a graph is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// With the characters of a terminal
    Ascii,
    /// For Graphviz
    Dot,
    /// For Mermaid
    Mermaid,
}

fn main() -> ExitCode {
    // A container runtime calls it by this name.
    let own = std::env::args_os().next().map(PathBuf::from);
    if own.is_some_and(|own| own.file_name().is_some_and(|name| name == "nameplate-cni")) {
        return lab::cni::main();
    }
    let arguments = Arguments::parse();
    let code = match commands::run(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("nameplate-lab: {error}");
            let refused = error
                .cause()
                .is_some_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied);
            if refused && lab::sys::effective_user() != 0 {
                eprintln!("this needs root; without it there is `nameplate-lab run --rootless`");
            }
            1
        }
    };
    lab::fault::report();
    ExitCode::from(code)
}
