//! `nameplate-lab`: the command line. What it does is in the library; here are only words and exit codes.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod commands;
mod help;
mod import;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

/// Make a lab of network namespaces from one file, in which every name resolves.
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

/// Which commands of a lab.
#[derive(Debug, clap::Args)]
struct Kept {
    /// The namespaces
    namespaces: Vec<String>,
    /// The lab's name, if several labs have commands
    #[arg(short, long)]
    lab: Option<String>,
}

/// What else `status` shows.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Wanted {
    /// Also show the routes of each namespace
    #[arg(long)]
    routes: bool,
    /// Also show the neighbours of each namespace on its links
    #[arg(long)]
    neigh: bool,
    /// Also show the listening processes in each namespace
    #[arg(long)]
    listen: bool,
    /// Also show the lab's rules, and how many packets matched each
    #[arg(long)]
    nat: bool,
    /// Also show the names that are published for the server
    #[arg(long)]
    names: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the difference between the file and the kernel (exit 0: none, 2: changes)
    Plan {
        #[command(flatten)]
        which: Which,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Apply, start each `run` command, and keep them in the background until `down`
    Up {
        #[command(flatten)]
        which: Which,
        /// Also keep a DNS server, unless one runs
        #[arg(long)]
        serve: bool,
        /// Print every step
        #[arg(short, long)]
        verbose: bool,
        /// Take over a lab that was applied from another file
        #[arg(long)]
        take_over: bool,
        /// Add rules that accept the lab's packets to forward chains that would drop them
        #[arg(long)]
        fix_forward: bool,
    },
    /// Start commands of `up` or `run` that have ended; without a namespace, all of them
    Start(Kept),
    /// Stop commands of `up` or `run`; without a namespace, all of them
    Stop(Kept),
    /// Restart commands of `up` or `run`; without a namespace, all of them
    Restart(Kept),
    /// Show the output of commands of `up` or `run`
    Logs {
        /// The namespace; without one, all of the lab, with the namespace in front of each line
        namespace: Option<String>,
        /// The lab's name, if several labs have output
        #[arg(short, long)]
        lab: Option<String>,
        /// Continue until the lab is removed
        #[arg(short, long)]
        follow: bool,
        /// Begin with this many of the last lines
        #[arg(short = 'n', long, value_name = "LINES")]
        lines: Option<usize>,
    },
    /// Make the lab that the file declares
    Apply {
        #[command(flatten)]
        which: Which,
        /// Look at and change only these namespaces, and the host
        #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
        only: Vec<String>,
        /// Look into every namespace, even if neither the file nor the host shows a change
        #[arg(long, conflicts_with = "only")]
        deep: bool,
        /// Print every step
        #[arg(short, long)]
        verbose: bool,
        /// Take over a lab that was applied from another file
        #[arg(long)]
        take_over: bool,
        /// Add rules that accept the lab's packets to forward chains that would drop them
        #[arg(long)]
        fix_forward: bool,
        /// Keep the host settings that the lab needs across a reboot, with a file in /etc/sysctl.d, until `down`
        #[arg(long)]
        persist: bool,
    },
    /// Remove exactly what was made
    Down {
        #[command(flatten)]
        which: Which,
        /// Every lab
        #[arg(long, conflicts_with_all = ["lab", "file"])]
        all: bool,
    },
    /// Compare the lab with its file, and show what runs inside and whether DNS answers (exit 0: as declared, 4: drift); without a lab here, all labs
    Status {
        #[command(flatten)]
        which: Which,
        /// All labs of this machine
        #[arg(long, conflicts_with_all = ["lab", "file"])]
        all: bool,
        #[command(flatten)]
        views: Wanted,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the path of a packet (routes, routers, what is closed), and send one (exit 0: it arrives)
    Trace {
        /// The namespace that sends it
        from: String,
        /// The namespace, the service or the address to which it goes
        to: String,
        /// The lab's file, or the name of a lab that was applied
        lab: Option<PathBuf>,
    },
    /// Write the packets of a namespace's interface to standard output, as pcap
    Capture {
        /// The namespace, and after a colon the interface; without one, all of its interfaces
        #[arg(value_name = "NAMESPACE[:INTERFACE]")]
        place: String,
        /// Stop after this many packets
        #[arg(short, long)]
        count: Option<u64>,
    },
    /// List the labs of this machine
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a command in a namespace, with the lab's resolver; or in all namespaces of a lab
    #[command(
        override_usage = "nameplate-lab exec [--no-dns] NAMESPACE -- COMMAND…\n       nameplate-lab exec [--no-dns] --all [--lab LAB] -- COMMAND…"
    )]
    Exec {
        /// Run it in every namespace of a lab, with the namespace in front of each line of output (exit: the highest of all)
        #[arg(long)]
        all: bool,
        /// The lab's file, or the name of a lab that was applied
        #[arg(long, requires = "all")]
        lab: Option<PathBuf>,
        /// Run it even if the resolver cannot be put in place
        #[arg(long)]
        no_dns: bool,
        /// The namespace
        #[arg(value_name = "NAMESPACE")]
        name: String,
        /// The command
        #[arg(
            required_unless_present = "all",
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        command: Vec<String>,
    },
    /// Draw the lab
    Graph {
        #[command(flatten)]
        which: Which,
        /// The format [default: ascii; svg with --live]
        #[arg(long, value_enum)]
        format: Option<Format>,
        /// Also draw the state: what exists, what differs, what runs inside, whether DNS answers
        #[arg(long)]
        live: bool,
    },
    /// Check the file, and with --probe the lab
    Check {
        #[command(flatten)]
        which: Which,
        /// Send packets and queries between the namespaces
        #[arg(long)]
        probe: bool,
        /// Print the mistakes as JSON
        #[arg(long)]
        json: bool,
        /// Explain a code
        #[arg(long, value_name = "CODE", conflicts_with_all = ["lab", "file", "probe"])]
        explain: Option<String>,
    },
    /// Print the lab in another form
    Show {
        #[command(flatten)]
        which: Which,
        /// As the shell script that the file replaces (the default)
        #[arg(long)]
        as_shell: bool,
        /// As lines of a hosts file
        #[arg(long, conflicts_with = "as_shell")]
        hosts: bool,
        /// As the names that are published for the server
        #[arg(long, conflicts_with_all = ["as_shell", "hosts"])]
        names: bool,
        /// As the routes that a router outside needs to reach the lab's networks
        #[arg(long, conflicts_with_all = ["as_shell", "hosts", "names"])]
        static_route: bool,
    },
    /// Apply, start each `run` command, and remove everything on Ctrl-C
    Run {
        #[command(flatten)]
        which: Which,
        /// Without root, in a user namespace
        #[arg(long)]
        rootless: bool,
        /// A command to run with the lab; when it ends, the lab is removed
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Repair every difference from the file at once, until Ctrl-C or until the lab is removed
    Watch {
        #[command(flatten)]
        which: Which,
        /// How often to look into the namespaces; changes on the host are noticed at once
        #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
        interval: f64,
    },
    /// Convert a file of Docker Compose or containerlab to a lab (exit 0: all of it, 1: something was left out, 2: nothing)
    Import {
        /// The tool to which the file belongs
        #[arg(value_enum)]
        format: import::Format,
        /// The file; - is standard input
        file: PathBuf,
    },
    /// Use container networks with the plugin nameplate-cni
    Cni {
        #[command(subcommand)]
        command: Container,
    },
    /// Print the JSON schema of a lab's file, for editors
    Schema,
    /// Give the network namespace of a process a name
    Adopt {
        /// The process
        #[arg(long)]
        pid: i32,
        /// The name
        #[arg(long)]
        name: String,
    },
    /// Remove what is left of labs that have no journal or are half removed
    Gc {
        /// Remove what can be recognised of a lab whose journal is damaged, and the journal
        #[arg(long, value_name = "LAB")]
        force: Option<String>,
    },
}

/// What is done with container networks.
#[derive(Debug, Subcommand)]
enum Container {
    /// Install the plugin and a network's configuration for container runtimes
    Install {
        /// Where runtimes look for plugins
        #[arg(long, default_value = "/opt/cni/bin")]
        bin_dir: PathBuf,
        /// Where runtimes look for networks
        #[arg(long, default_value = "/etc/cni/net.d")]
        conf_dir: PathBuf,
        /// Link to the program instead of copying it
        #[arg(long)]
        link: bool,
        /// The network's name
        #[arg(long, default_value = "nameplate")]
        name: String,
        /// Its bridge
        #[arg(long, default_value = "cni0")]
        bridge: String,
        /// Its subnets, one of each family
        #[arg(long, default_value = "10.22.0.0/16", value_delimiter = ',')]
        subnet: Vec<ipnet::IpNet>,
    },
    /// Attach a namespace to a network, as a container runtime does, and print the result
    Add {
        /// The network
        network: String,
        /// The container's ID
        id: String,
        /// Its namespace, by path or by name
        netns: String,
        #[command(flatten)]
        places: Places,
    },
    /// Detach it again
    Del {
        /// The network
        network: String,
        /// The container's ID
        id: String,
        /// Its namespace, by path or by name, if it still exists
        netns: Option<String>,
        #[command(flatten)]
        places: Places,
    },
}

/// Where networks and plugins are.
#[derive(Debug, clap::Args)]
struct Places {
    /// The interface inside
    #[arg(long, default_value = "eth0")]
    ifname: String,
    /// Where networks are [default: $NETCONFPATH, or /etc/cni/net.d]
    #[arg(long)]
    conf_dir: Option<PathBuf>,
    /// Where plugins are: directories, separated by colons [default: $CNI_PATH, or /opt/cni/bin]
    #[arg(long)]
    bin_dir: Option<String>,
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
    /// For a browser
    Svg,
}

fn main() -> ExitCode {
    lab::sys::one_heap();
    // A container runtime calls it by this name.
    let own = std::env::args_os().next().map(PathBuf::from);
    if own.is_some_and(|own| own.file_name().is_some_and(|name| name == "nameplate-cni")) {
        return lab::cni::main();
    }
    let words = help::with_examples(Arguments::command()).get_matches();
    let arguments = Arguments::from_arg_matches(&words).unwrap_or_else(|error| error.exit());
    let mut code = match commands::run(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            lab::warn!("nameplate-lab: {error}");
            let refused = error
                .cause()
                .is_some_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied);
            if refused && lab::sys::effective_user() != 0 {
                lab::warn!("this needs root; without it there is `nameplate-lab run --rootless`");
            }
            1
        }
    };
    if let Err(error) = lab::say::finish() {
        lab::warn!("nameplate-lab: {error}");
        code = code.max(1);
    }
    lab::fault::report();
    ExitCode::from(code)
}
