//! The words of the command line: what they are, how CoreDNS's become ours, and what is said of words that nobody knows.
//!
//! CoreDNS's flags come in Go's form, `-conf F` or `--conf=F`; they are rewritten to clap's before clap sees them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use server::zones::{Action, Request};

/// Switches of CoreDNS, and ours beside them, which Go also takes as `-quiet=true`.
const SWITCHES: [&str; 5] = ["plugins", "quiet", "version", "compat", "takeover"];

/// Flags of node-cache, Kubernetes' NodeLocal DNSCache, and what stands for them here. Its `-conf` is CoreDNS's.
const NODE_CACHE_FLAGS: [(&[&str], &str); 6] = [
    (
        &["localip"],
        "the addresses to listen on: write `bind 169.254.20.10` in each server block",
    ),
    (
        &["interfacename", "setupinterface", "skipteardown"],
        "the interface with the local address: an init container makes it",
    ),
    (
        &[
            "setupiptables",
            "setupebtables",
            "syncinterval",
            "initialdelay",
        ],
        "packet filter rules for the address of the cluster's DNS: nameplate writes none; set the kubelets' clusterDNS to the local address",
    ),
    (
        &["upstreamsvc", "kubednscm"],
        "the service that the cache asks: write its address, `forward . 10.96.0.11 { force_tcp }`; it must not be the service that pods use",
    ),
    (
        &["basecorefile", "corefile"],
        "the template of the Corefile: the file of -conf is used unchanged, so replace every __PILLAR__… in it",
    ),
    (
        &["metrics-listen-address", "health-port"],
        "write `prometheus :9253` and `health 169.254.20.10:8080` in the Corefile",
    ),
];

const SERVE_EXAMPLES: &str = "\
Examples:
  nameplate -conf Corefile               serve a Corefile
  nameplate -conf Corefile -p 1053       serve it on port 1053, which needs no privilege
  nameplate                              serve ./Corefile; without one, /etc/hosts and this machine's resolvers, on 127.0.0.1
  nameplate check -conf Corefile         show every mistake first
  nameplate explain www.example.org      show what happens to a query

You can write flags as in CoreDNS, with one dash: -conf, -dns.port, -pidfile, -plugins, -quiet, -version.
`nameplate COMMAND --help` shows the options and examples of a command.";

const CHECK_EXAMPLES: &str = "\
Examples:
  nameplate check                                      check the Corefile in this directory
  nameplate check -conf /etc/coredns/Corefile --no-files
  nameplate check --fix                                apply the proposed corrections
  nameplate check --deny warnings --format json        for CI
  nameplate check --explain CF0102                     explain a code
  kubectl -n kube-system get configmap coredns -o jsonpath='{.data.Corefile}' | nameplate check -conf stdin

Exit codes: 0 no errors; 1 warnings, with --deny warnings; 2 errors.";

const INSTALL_EXAMPLES: &str = "\
Examples:
  sudo nameplate install                               serve the network of the default route
  sudo nameplate install --interface lan0 --dry-run    show the steps for the network of lan0
  sudo nameplate install --replace --yes               stop the server on port 53, and do not ask

It shows each step and asks. `nameplate uninstall` leaves the machine as it was.
Exit codes: 0 the server answers; 1 a step failed, or you declined. A failed installation can be undone.";

const UNINSTALL_EXAMPLES: &str = "\
Examples:
  sudo nameplate uninstall
  sudo nameplate uninstall --yes

It shows the steps of `nameplate install` that it will undo, and asks. It keeps the files that you edited, and lists them.";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  nameplate doctor                                     examine this machine
  nameplate doctor nas.lan                             find out why this name does not resolve
  nameplate doctor --conf /etc/nameplate/Corefile --format json

It changes nothing. Exit codes: 0 everything is right; 1 something is wrong.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  nameplate import dnsmasq /etc/dnsmasq.conf
  nameplate import unbound /etc/unbound/unbound.conf --out new
  nameplate import bind /etc/bind/named.conf --format json
  nameplate import pihole /etc/pihole
  nameplate import hosts-dir /etc/hosts.d

It prints the names of the files that it writes, and every line that has no equivalent, with the reason and what to do instead.
It never overwrites existing files.
Exit codes: 0 everything was imported; 1 something was left out; 2 the configuration cannot be read.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  nameplate completions bash >/usr/share/bash-completion/completions/nameplate
  nameplate completions zsh >/usr/local/share/zsh/site-functions/_nameplate
  nameplate completions fish >~/.config/fish/completions/nameplate.fish
  source <(nameplate completions bash)                 for this shell only";

const MAN_EXAMPLES: &str = "\
Examples:
  mkdir man && nameplate man man && man ./man/nameplate-check.1";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  nameplate explain www.example.org                    from the Corefile alone (dry run)
  nameplate explain www.example.org AAAA --from 192.0.2.7
  nameplate explain www.example.org --live             ask the running server
  nameplate explain order --conf /etc/coredns/Corefile

A dry run asks upstreams, but it starts no listeners and no background tasks of plugins: caches are empty, and a cluster's
services are unknown. With --live, the running server answers a real query, which it counts, logs and caches.
Exit codes: 0 explained, whatever the answer; 1 no running server explained it; 2 a mistake in the Corefile or in the arguments.";

const ZONE_EXAMPLES: &str = "\
Examples:
  nameplate zone status                                show all zones: serials, ages, expiry, keys, last errors
  nameplate zone status example.org --json
  nameplate zone diff example.org                      show the changes of the newest version
  nameplate zone diff example.org --from 7             show the changes since serial 7
  nameplate zone reload example.org                    read its file again, or ask its primaries now
  nameplate zone retransfer example.org                transfer the whole zone, whatever its serial is
  nameplate zone notify example.org                    notify its secondaries

Exit codes: 0 done; 1 no running server answered, or the action failed; 2 a mistake in the arguments.";

const LSP_EXAMPLES: &str = "\
An editor starts it:
  Neovim   vim.lsp.start({ name = 'nameplate', cmd = { 'nameplate', 'lsp' } })
  Helix    language-server.nameplate = { command = \"nameplate\", args = [\"lsp\"] }

Examples:
  nameplate lsp                                        serve an editor, over standard input and output

While you type, it shows the mistakes that `nameplate check` finds. It explains and completes directives and options, applies
corrections, and shows in which order the plugins run. docs/editor.md has the configuration of several editors.";

const LAB_EXAMPLES: &str = "\
Examples:
  sudo nameplate lab apply lab.toml
  nameplate lab --help";

/// A DNS server that reads a CoreDNS Corefile.
#[derive(Parser)]
#[command(name = "nameplate", disable_version_flag = true, after_help = SERVE_EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

#[derive(Args)]
pub(crate) struct Serve {
    /// Corefile to serve, or `stdin` (default: Corefile in the working directory)
    #[arg(long, value_name = "FILE")]
    pub(crate) conf: Option<String>,
    /// Port of the server blocks that do not name one
    #[arg(long = "dns.port", short = 'p', value_name = "N", default_value_t = 53)]
    pub(crate) port: u16,
    /// File to write the process ID to
    #[arg(long, value_name = "FILE")]
    pub(crate) pidfile: Option<PathBuf>,
    /// List the plugins
    #[arg(long)]
    pub(crate) plugins: bool,
    /// Start even if another server has the ports, and share them until that server is stopped
    #[arg(long)]
    pub(crate) takeover: bool,
    /// Admin socket for `explain --live` and `zone`, or `off` (default: /run/nameplate/admin/PID.sock, if it can be created)
    #[arg(long, value_name = "PATH")]
    pub(crate) admin: Option<PathBuf>,
    /// Do not print the zones and the version at the start
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Show the version, the compiler and the commit
    #[arg(long)]
    pub(crate) version: bool,
    /// Without a Corefile, serve `whoami` and `log`, as CoreDNS does
    #[arg(long)]
    pub(crate) compat: bool,
    #[arg(hide = true)]
    pub(crate) extra: Vec<String>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show every mistake in a Corefile and in the files that it names
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Make this machine the DNS server of its LAN: a service on port 53, with a Corefile and a hosts file that you can edit
    #[command(after_help = INSTALL_EXAMPLES)]
    Install(InstallArgs),
    /// Undo `nameplate install`
    #[command(after_help = UNINSTALL_EXAMPLES)]
    Uninstall {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Find out why a name does not resolve on this machine
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor {
        /// The name that does not resolve
        name: Option<String>,
        /// Corefile to check as well (default: /etc/nameplate/Corefile, if it exists)
        #[arg(long, value_name = "FILE")]
        conf: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Convert the configuration of another DNS server into a Corefile and its files
    #[command(after_help = IMPORT_EXAMPLES)]
    Import {
        /// The server to which the configuration belongs
        #[arg(value_enum)]
        from: Foreign,
        /// The configuration: a file; for pihole and hosts-dir a directory
        path: PathBuf,
        /// Directory to write to, which must be new or empty
        #[arg(long, value_name = "DIR", default_value = "nameplate")]
        out: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Print a shell script for command line completion
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    #[command(hide = true, after_help = MAN_EXAMPLES)]
    Man {
        /// Directory to write to, which must exist
        directory: PathBuf,
    },
    /// Show what happens to a query, plugin by plugin, or the order of the plugins
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
    /// Show the zones of the running server, and reload, transfer or notify one
    #[command(after_help = ZONE_EXAMPLES)]
    Zone(ZoneArgs),
    /// Run the language server for Corefiles, which an editor starts
    #[command(after_help = LSP_EXAMPLES)]
    Lsp {
        /// Accepted and without effect: standard input and output are the only way
        #[arg(long, hide = true)]
        stdio: bool,
    },
    /// Send a query to a DNS server, as dig does
    #[cfg(feature = "query")]
    #[command(disable_help_flag = true)]
    Query {
        /// @SERVER, a name, a type and flags; `nameplate query --help` lists them
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "WORDS"
        )]
        words: Vec<String>,
    },
    /// Run nameplate-lab, which makes labs of network namespaces and their names
    #[command(disable_help_flag = true, after_help = LAB_EXAMPLES)]
    Lab {
        /// Arguments for nameplate-lab; `nameplate lab --help` lists them
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGUMENTS"
        )]
        arguments: Vec<OsString>,
    },
}

#[derive(Args)]
pub(crate) struct Check {
    /// Corefile to check, or `stdin` (default: Corefile in the working directory)
    #[arg(long, value_name = "FILE")]
    pub(crate) conf: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Exit with 1 if there are warnings
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) deny: Option<Deny>,
    /// Do not show warnings with this code, such as CF0401; may be repeated
    #[arg(long, value_name = "CODE", value_parser = known_code)]
    pub(crate) allow: Vec<String>,
    /// Do not read the files that the Corefile names: zones, hosts files, certificates
    #[arg(long)]
    pub(crate) no_files: bool,
    /// Apply the corrections that the messages propose to the files
    #[arg(long)]
    pub(crate) fix: bool,
    /// Explain a code, such as CF0101
    #[arg(long, value_name = "CODE")]
    pub(crate) explain: Option<String>,
}

#[derive(Args)]
pub(crate) struct InstallArgs {
    /// Interface of the LAN; may be repeated (default: the interface of the default route)
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Vec<String>,
    /// Stop the service that now has port 53
    #[arg(long)]
    pub(crate) replace: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Show the steps, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args)]
pub(crate) struct Explain {
    /// The QNAME; or `order`, for the order in which the plugins of each server block run
    pub(crate) name: String,
    /// The QTYPE
    #[arg(default_value = "A", value_name = "TYPE")]
    pub(crate) qtype: String,
    /// Corefile to explain, or `stdin` (default: Corefile in the working directory)
    #[arg(long, value_name = "FILE", conflicts_with = "live")]
    pub(crate) conf: Option<String>,
    /// The client's address
    #[arg(long, value_name = "IP")]
    pub(crate) from: Option<std::net::IpAddr>,
    /// The server's address that the client asks, if it listens on several
    #[arg(long, value_name = "[HOST][:PORT]")]
    pub(crate) at: Option<String>,
    /// Ask over TCP
    #[arg(long)]
    pub(crate) tcp: bool,
    /// Ask for DNSSEC records
    #[arg(long = "do")]
    pub(crate) dnssec_ok: bool,
    /// Ask the running server, with its caches
    #[arg(long)]
    pub(crate) live: bool,
    /// The admin socket of the running server
    #[arg(long, value_name = "PATH", requires = "live")]
    pub(crate) admin: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct ZoneArgs {
    #[command(subcommand)]
    pub(crate) action: ZoneAction,
    /// The admin socket of the running server
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) admin: Option<PathBuf>,
    /// Write JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum ZoneAction {
    /// Show serials of the zones here and at their primaries, ages, expiry and last errors
    Status {
        /// The zone (default: all)
        name: Option<String>,
    },
    /// Show the changes between versions
    Diff {
        /// The zone
        name: String,
        /// Serial to begin with (default: the one before the newest)
        #[arg(long, value_name = "SERIAL")]
        from: Option<u32>,
    },
    /// Read the zone's file again, or ask its primaries for a newer version
    Reload {
        /// The zone
        name: String,
    },
    /// Transfer the whole zone from its primary, whatever its serial is
    Retransfer {
        /// The zone
        name: String,
    },
    /// Send NOTIFY to the zone's secondaries
    Notify {
        /// The zone
        name: String,
    },
}

impl ZoneAction {
    /// What the running server is asked.
    pub(crate) fn request(self) -> Request {
        let of = |action, name| Request {
            action,
            zone: Some(name),
            from: None,
        };
        match self {
            Self::Status { name } => Request {
                action: Action::Status,
                zone: name,
                from: None,
            },
            Self::Diff { name, from } => Request {
                from,
                ..of(Action::Diff, name)
            },
            Self::Reload { name } => of(Action::Reload, name),
            Self::Retransfer { name } => of(Action::Retransfer, name),
            Self::Notify { name } => of(Action::Notify, name),
        }
    }
}

/// How a verb writes what it has to say.
#[derive(Args)]
pub(crate) struct Output {
    /// Format of the output
    #[arg(long, value_enum, default_value_t = Shape::Text)]
    format: Shape,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl Output {
    /// The format that either flag says.
    pub(crate) fn shape(&self) -> Shape {
        if self.json { Shape::Json } else { self.format }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    Text,
    Json,
}

/// A format that `import` reads.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Foreign {
    Dnsmasq,
    Unbound,
    Bind,
    Pihole,
    HostsDir,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Deny {
    Warnings,
}

/// The code of a message of `check`.
fn known_code(code: &str) -> Result<String, String> {
    server::explain_code(code)
        .map(|_| code.to_owned())
        .ok_or_else(|| "no message of nameplate has this code".to_owned())
}

/// What to say of a first word that is no command; CoreDNS takes no words at all, so that the first line is its own.
pub(crate) fn unknown_command(words: &[String]) -> Option<String> {
    let first = words.first().filter(|word| !word.starts_with('-'))?;
    let command = Cli::command();
    let known = || command.get_subcommands().map(clap::Command::get_name);
    if first == "help" || known().any(|name| name == first) {
        return None;
    }
    let mut said = format!("extra command line arguments: [{}]\n", words.join(" "));
    match corefile::nearest(first, known()) {
        Some(near) => {
            said.push_str(&format!(
                "  tip: a command has a similar name: nameplate {near}\n"
            ));
        }
        None => said.push_str("  `nameplate --help` lists the commands\n"),
    }
    Some(said)
}

/// What to write for flags of node-cache, when there are any on a command line.
pub(crate) fn explain_node_cache(words: impl Iterator<Item = String>) -> Option<String> {
    let mut found = String::new();
    for word in words {
        let bare = word.strip_prefix('-').unwrap_or_default();
        let bare = bare.strip_prefix('-').unwrap_or(bare);
        let name = bare.split_once('=').map_or(bare, |(name, _)| name);
        let known = NODE_CACHE_FLAGS
            .iter()
            .find(|(names, _)| names.contains(&name));
        if let Some((_, instead)) = known {
            found.push_str(&format!("  -{name}: {instead}\n"));
        }
    }
    (!found.is_empty()).then(|| {
        format!(
            "error: a flag of node-cache (Kubernetes' NodeLocal DNSCache), which sets up a node and then runs CoreDNS; nameplate does not set up the node:\n{found}\
             help: deploy/node-local.yaml has a cache on every node without these flags: a DaemonSet with `args: [\"-conf\", \"/etc/coredns/Corefile\"]`\n"
        )
    })
}

/// Go's `-flag` and `--flag` as clap's `--flag`; a value behind `=` stays where it is. A switch that is told to be false is left out.
pub(crate) fn translate(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut is_flag = true;
    let translated = words.enumerate().filter_map(|(at, word)| {
        is_flag &= word != "--";
        if at == 0 || !is_flag {
            return Some(word);
        }
        translate_flag(word)
    });
    translated.collect()
}

fn translate_flag(word: String) -> Option<String> {
    let Some(bare) = word.strip_prefix('-') else {
        return Some(word);
    };
    let bare = bare.strip_prefix('-').unwrap_or(bare);
    let (name, value) = bare
        .split_once('=')
        .map_or((bare, None), |(name, value)| (name, Some(value)));
    let name = if name == "p" && value.is_some() {
        "dns.port"
    } else {
        name
    };
    let is_port = name
        .strip_prefix('p')
        .is_some_and(|port| port.bytes().all(|octet| octet.is_ascii_digit()));
    if name.len() < 2 || is_port {
        return Some(word);
    }
    match value {
        Some("true") if SWITCHES.contains(&name) => Some(format!("--{name}")),
        Some("false") if SWITCHES.contains(&name) => None,
        Some(value) => Some(format!("--{name}={value}")),
        None => Some(format!("--{name}")),
    }
}
