//! `nameplate install` and `nameplate uninstall`.

use std::fmt::Write as _;
use std::io::{self, BufRead, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use host::ports::Holder;
use wire::{NameBuf, Rcode, Type};

use crate::ask::{self, Way};
use crate::journal::Journal;
use crate::survey::{self, PORT, Survey};

/// Where our files go.
const FOLDER: &str = "/etc/nameplate";
const COREFILE: &str = "/etc/nameplate/Corefile";
const HOSTS: &str = "/etc/nameplate/hosts";
const ZONE: &str = "/etc/nameplate/lan.zone";
const UNIT: &str = "nameplate.service";
/// Where packages put the unit, and where it goes without one.
const PACKAGED: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];
const UNIT_FILE: &str = "/etc/systemd/system/nameplate.service";
/// Where the program goes if the unit could not start it from where it is.
const PROGRAM: &str = "/usr/local/bin/nameplate";
/// What packages bring, which is replaced without a question.
const DEFAULT_COREFILE: &str = include_str!("../../deploy/Corefile");
const UNIT_TEXT: &str = include_str!("../../deploy/systemd/nameplate.service");
/// Resolvers for a machine that names none but itself.
const PUBLIC: [&str; 2] = ["9.9.9.9", "1.1.1.1"];
/// How long the service may take until it answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `install` is told.
#[derive(Debug, Default)]
pub struct Install {
    /// The interfaces whose addresses the LAN asks; without them, that of the default route.
    pub interfaces: Vec<String>,
    /// Whether another server on port 53 is stopped; `uninstall` starts it again.
    pub replace: bool,
    /// Do not ask.
    pub yes: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// What will be done.
struct Plan {
    listens: Vec<IpAddr>,
    files: Vec<(&'static str, String, u32)>,
    kept: Vec<&'static str>,
    /// The program to copy to [`PROGRAM`].
    program: Option<PathBuf>,
    stops: Vec<String>,
}

/// Makes the server the LAN's. Gives the exit status: 0 when it answers, 1 when something failed or was declined.
pub fn install(wanted: &Install, input: &mut dyn BufRead, out: &mut dyn Write) -> io::Result<u8> {
    let survey = match Survey::take(&wanted.interfaces) {
        Ok(survey) => survey,
        Err(error) => return refuse(out, &error),
    };
    let before = Journal::read()?;
    let plan = match plan(wanted.replace, &survey, before.is_some()) {
        Ok(plan) => plan,
        Err(error) => return refuse(out, &error),
    };
    show(&plan, &survey, out)?;
    if wanted.dry_run {
        writeln!(out, "\nNothing was changed (--dry-run).")?;
        return Ok(0);
    }
    if !wanted.yes && !agreed("\nDo this? [y/N] ", input, out)? {
        writeln!(out, "Nothing was changed.")?;
        return Ok(1);
    }
    let mut journal = before.unwrap_or_default();
    if let Err(error) = carry_out(&plan, &mut journal) {
        writeln!(
            out,
            "error: {error}\n  to undo what was done: sudo nameplate uninstall"
        )?;
        return Ok(1);
    }
    confirm(&plan, &survey, out)
}

/// Takes away what `install` did. Gives the exit status: 0 when the machine is as it was.
pub fn uninstall(yes: bool, input: &mut dyn BufRead, out: &mut dyn Write) -> io::Result<u8> {
    let Some(journal) = Journal::read()? else {
        return refuse(
            out,
            "nothing was installed by `nameplate install` on this machine",
        );
    };
    writeln!(out, "This will be undone:")?;
    for step in journal.steps.iter().rev() {
        writeln!(out, "  {step}")?;
    }
    if !yes && !agreed("\nDo this? [y/N] ", input, out)? {
        writeln!(out, "Nothing was changed.")?;
        return Ok(1);
    }
    let left = journal.undo();
    for line in &left {
        writeln!(out, "left: {line}")?;
    }
    if left.is_empty() {
        writeln!(out, "The machine is as it was before.")?;
    }
    Ok(u8::from(!left.is_empty()))
}

fn refuse(out: &mut dyn Write, why: &str) -> io::Result<u8> {
    writeln!(out, "error: {why}")?;
    Ok(1)
}

fn agreed(question: &str, input: &mut dyn BufRead, out: &mut dyn Write) -> io::Result<bool> {
    write!(out, "{question}")?;
    out.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn plan(replaces: bool, survey: &Survey, again: bool) -> Result<Plan, String> {
    if !Path::new("/run/systemd/system").is_dir() {
        return Err(format!(
            "this machine does not run systemd, so there is no service to make\n  \
             write a Corefile and start the server yourself: nameplate -conf {COREFILE}"
        ));
    }
    let mut listens: Vec<IpAddr> = vec![IpAddr::from([127, 0, 0, 1])];
    listens.extend(survey.addresses.iter().map(|(address, _)| *address));
    let stops = stops((replaces, again), survey, &listens)?;
    let mut plan = Plan {
        listens,
        files: Vec::new(),
        kept: Vec::new(),
        program: None,
        stops,
    };
    // What somebody wrote is theirs.
    let own = [
        (
            COREFILE,
            corefile(survey, &plan.listens),
            Some(DEFAULT_COREFILE),
        ),
        (HOSTS, hosts(survey), None),
        (ZONE, zone(survey), None),
    ];
    for (path, text, default) in own {
        let there = std::fs::read_to_string(path).ok();
        if there.is_none() || there.as_deref() == default {
            plan.files.push((path, text, 0o644));
        } else {
            plan.kept.push(path);
        }
    }
    let packaged = PACKAGED
        .iter()
        .any(|folder| Path::new(folder).join(UNIT).is_file());
    if !packaged {
        let own = std::env::current_exe()
            .map_err(|error| format!("cannot find the file of this program: {error}"))?;
        // The unit sees no home directories and no /tmp.
        let fixed = ["/usr", "/opt"]
            .iter()
            .any(|folder| own.starts_with(folder));
        let path = if fixed {
            own.clone()
        } else {
            PathBuf::from(PROGRAM)
        };
        if !fixed {
            plan.program = Some(own);
        }
        let text = UNIT_TEXT.replace("/usr/bin/nameplate", &path.display().to_string());
        plan.files.push((UNIT_FILE, text, 0o644));
    }
    Ok(plan)
}

/// The units to stop, so that port 53 is free; an error where that was not allowed, or where it is no unit.
fn stops(
    (replaces, again): (bool, bool),
    survey: &Survey,
    listens: &[IpAddr],
) -> Result<Vec<String>, String> {
    let mut units: Vec<String> = Vec::new();
    let mut reason = String::new();
    for holder in survey.in_the_way(listens) {
        let Holder {
            address,
            pid,
            program,
        } = holder;
        let unit = survey::unit(*pid);
        // What an earlier install started, which is restarted.
        let ours = again && program == "nameplate";
        if ours || unit.as_deref() == Some(UNIT) {
            continue;
        }
        let _ = writeln!(
            reason,
            "  {program} (pid {pid}) listens on {address} port {PORT}"
        );
        match unit {
            Some(unit) if replaces => {
                if !units.contains(&unit) {
                    units.push(unit);
                }
            }
            Some(unit) => {
                let _ = writeln!(
                    reason,
                    "    it is {unit}: with --replace it is stopped, and `nameplate uninstall` starts it again"
                );
            }
            None if replaces => {
                return Err(format!(
                    "port {PORT} is taken by a program that is not a service:\n{reason}    stop it: kill {pid}"
                ));
            }
            None => {
                let _ = writeln!(reason, "    stop it: kill {pid}");
            }
        }
    }
    if !reason.is_empty() && !replaces {
        return Err(format!("port {PORT} is taken:\n{}", reason.trim_end()));
    }
    Ok(units)
}

fn show(plan: &Plan, survey: &Survey, out: &mut dyn Write) -> io::Result<()> {
    let listens: Vec<String> = plan.listens.iter().map(IpAddr::to_string).collect();
    writeln!(
        out,
        "nameplate will answer on port {PORT} of {}.",
        listens.join(", ")
    )?;
    if survey.addresses.is_empty() {
        writeln!(
            out,
            "  This machine has no private address on its default route, so only itself is served;\n  \
             `--interface NAME` serves the network of an interface."
        )?;
    }
    let resolved = survey
        .holders
        .iter()
        .any(|holder| holder.program.starts_with("systemd-resolve"));
    if resolved {
        writeln!(
            out,
            "systemd-resolved keeps its own addresses, and this machine still uses it."
        )?;
    }
    for unit in &plan.stops {
        writeln!(
            out,
            "It stops {unit}, which `nameplate uninstall` starts again."
        )?;
    }
    writeln!(out, "It writes:")?;
    for (path, ..) in &plan.files {
        writeln!(out, "  {path}")?;
    }
    if plan.program.is_some() {
        writeln!(out, "  {PROGRAM}, a copy of this program")?;
    }
    for path in &plan.kept {
        writeln!(out, "  {path} stays as it is")?;
    }
    writeln!(out, "It enables and starts {UNIT}.")
}

fn carry_out(plan: &Plan, journal: &mut Journal) -> io::Result<()> {
    journal.directory(FOLDER)?;
    if let Some(own) = &plan.program {
        journal.directory("/usr/local/bin")?;
        journal.file(PROGRAM, &std::fs::read(own)?, 0o755)?;
    }
    for (path, text, mode) in &plan.files {
        if let Some(folder) = Path::new(path).parent().and_then(Path::to_str) {
            journal.directory(folder)?;
        }
        journal.file(path, text.as_bytes(), *mode)?;
    }
    for unit in &plan.stops {
        journal.stop(unit)?;
    }
    journal.enable(UNIT)
}

/// Asks the new server for the machine's own name, and says what is left to do.
fn confirm(plan: &Plan, survey: &Survey, out: &mut dyn Write) -> io::Result<u8> {
    let at = plan
        .listens
        .last()
        .copied()
        .unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let name = format!("{}.lan", survey.name);
    if !answers(SocketAddr::new(at, PORT), &name) {
        writeln!(
            out,
            "error: the service does not answer on {at}\n  its log: journalctl -u nameplate -n 20\n  \
             to undo: sudo nameplate uninstall"
        )?;
        return Ok(1);
    }
    writeln!(out, "\nnameplate answers: dig @{at} {name}")?;
    writeln!(
        out,
        "Names of the LAN are lines of {HOSTS}; an edit is served at once."
    )?;
    if survey.addresses.is_empty() {
        return Ok(0);
    }
    let lan: Vec<String> = survey
        .addresses
        .iter()
        .map(|(address, _)| address.to_string())
        .collect();
    writeln!(
        out,
        "In your router's DHCP settings, set the DNS server to {}.",
        lan.join(" and ")
    )?;
    Ok(0)
}

/// Whether a server gives addresses for a name, asked until it does.
fn answers(server: SocketAddr, name: &str) -> bool {
    let Ok(name) = name.parse::<NameBuf>() else {
        return false;
    };
    let qtype = if server.is_ipv4() {
        Type::A
    } else {
        Type::AAAA
    };
    let question = (name.as_name(), qtype);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let asked = Instant::now();
        match ask::ask(server, question, Way::Udp) {
            Ok(reply) if reply.rcode == Rcode::NOERROR && !reply.answers.is_empty() => return true,
            // Refused at once while nobody listens yet.
            _ => std::thread::sleep(Duration::from_millis(100).saturating_sub(asked.elapsed())),
        }
    }
    false
}

/// The Corefile for this LAN.
fn corefile(survey: &Survey, listens: &[IpAddr]) -> String {
    let bind: Vec<String> = listens.iter().map(IpAddr::to_string).collect();
    let mut keys = "lan".to_owned();
    for (address, prefix) in &survey.addresses {
        // The reverse zone of a longer prefix has no name of its own.
        if address.is_ipv4() && *prefix >= 8 {
            let _ = write!(keys, " {}", network(*address, *prefix));
        }
    }
    let (path, upstreams) = &survey.upstreams;
    let (forward, why) = if upstreams.is_empty() {
        (
            PUBLIC.join(" "),
            "public resolvers, because this machine names only itself".to_owned(),
        )
    } else {
        (
            path.display().to_string(),
            "the resolvers that this machine used before".to_owned(),
        )
    };
    format!(
        "# Written by `nameplate install`; it is yours to edit. `nameplate check -conf {COREFILE}` shows mistakes;\n\
         # edits are served within seconds.\n\
         (here) {{\n    bind {}\n    errors\n    reload 2s 1s\n}}\n\n\
         # The LAN: lines of {HOSTS}, both directions. Other names below do not exist.\n\
         {keys} {{\n    import here\n    hosts {HOSTS} {{\n        ttl 60\n        fallthrough\n    }}\n    file {ZONE}\n}}\n\n\
         # Everything else: {why}, with a cache.\n\
         . {{\n    import here\n    prometheus localhost:9153\n    hosts /etc/hosts {{\n        fallthrough\n    }}\n    cache 300\n    \
         forward . {forward}\n    loop\n}}\n",
        bind.join(" ")
    )
}

/// The hosts file: the machine itself, and how to go on.
fn hosts(survey: &Survey) -> String {
    let mut out = String::from(
        "# ADDRESS NAME..., as in /etc/hosts. `*.apps.lan` stands for all names below apps.lan.\n",
    );
    for (address, _) in reached_at(survey) {
        let _ = writeln!(out, "{address} {}.lan", survey.name);
    }
    out.push_str("# 192.168.1.10 nas.lan\n");
    out
}

/// The zone that says which names of the LAN do not exist. It serves the reverse zone, too, so its names are relative.
fn zone(survey: &Survey) -> String {
    let mut out = format!(
        "; Names are in {HOSTS}. This zone answers for those that are not there.\n\
         $TTL 60\n\
         @ SOA ns hostmaster 1 3600 600 86400 60\n\
         @ NS ns\n"
    );
    for (address, _) in reached_at(survey) {
        let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
        let _ = writeln!(out, "ns {rtype} {address}");
    }
    out
}

/// Where the server is reached, if only by this machine.
fn reached_at(survey: &Survey) -> &[(IpAddr, u8)] {
    const LOOPBACK: [(IpAddr, u8); 1] = [(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8)];
    if survey.addresses.is_empty() {
        &LOOPBACK
    } else {
        &survey.addresses
    }
}

/// A network as a key of a Corefile, which stands for its reverse zone.
fn network(address: IpAddr, prefix: u8) -> String {
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            format!(
                "{}/{prefix}",
                std::net::Ipv4Addr::from(u32::from(ip) & mask)
            )
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            format!(
                "{}/{prefix}",
                std::net::Ipv6Addr::from(u128::from(ip) & mask)
            )
        }
    }
}
