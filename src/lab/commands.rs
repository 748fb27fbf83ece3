//! What each verb prints, and how it ends.

mod container;
mod kept;

use std::path::{Path, PathBuf};

use corefile::{Severity, Sources};
use lab::action::Action;
use lab::control::Verb;
use lab::converge::{self, Look, Manner, Outcome};
use lab::journal::Journal;
use lab::layout::Layout;
use lab::plan::Plan;
use lab::privileges::{self, Need};
use lab::server::{self, Heard};
use lab::spec::Spec;
use lab::view::Views;
use lab::{Error, Result};
use serde_json::json;

use crate::{Command, Format, Which};

/// Runs a verb; the exit code.
pub(crate) fn run(command: Command) -> Result<u8> {
    if let Some(need) = need(&command) {
        privileges::keep(need);
    }
    match command {
        Command::Plan { which, json } => plan(&which, json),
        Command::Apply {
            which,
            only,
            deep,
            verbose,
            take_over,
            fix_forward,
            persist,
        } => {
            let look = match (deep, &only[..]) {
                (true, _) => Look::Everything,
                (false, []) => Look::Changes,
                (false, only) => Look::Only(only),
            };
            let manner = Manner {
                look,
                take_over,
                fix_forward,
                persist,
                ends: true,
                ..Manner::default()
            };
            apply(&which, manner, verbose)
        }
        Command::Down { which, all } => down(&which, all),
        Command::Status {
            which,
            all,
            json,
            views,
        } => status(&which, all, json, views),
        Command::Trace { from, to, lab } => trace(&from, &to, lab),
        Command::Capture { place, count } => {
            let (name, interface) = match place.split_once(':') {
                Some((name, interface)) => (name, Some(interface)),
                None => (place.as_str(), None),
            };
            lab::capture::capture(name, interface, count).map(|()| 0)
        }
        Command::Ls { json } => list(json),
        Command::Up {
            which,
            serve,
            verbose,
            take_over,
            fix_forward,
        } => {
            let manner = Manner {
                take_over,
                fix_forward,
                ..Manner::default()
            };
            kept::up(&which, manner, serve, verbose)
        }
        Command::Start(meant) => kept::turn(&meant, Verb::Start),
        Command::Stop(meant) => kept::turn(&meant, Verb::Stop),
        Command::Restart(meant) => kept::turn(&meant, Verb::Restart),
        Command::Logs {
            namespace,
            lab,
            follow,
            lines,
        } => {
            let manner = lab::logs::Manner {
                follow,
                last: lines,
            };
            lab::logs::show(lab.as_deref(), namespace.as_deref(), manner).map(|()| 0)
        }
        Command::Exec {
            all: true,
            lab,
            no_dns,
            name,
            mut command,
        } => {
            // Nobody names a namespace there.
            command.insert(0, name);
            let spec = load(&Which { lab, file: None }, false)?;
            lab::exec::everywhere(&spec, &command, no_dns)
        }
        Command::Exec {
            name,
            no_dns,
            command,
            ..
        } => Ok(lab::exec::exec(&name, &command, no_dns)),
        Command::Graph {
            which,
            format,
            live,
        } => graph(&which, format, live),
        Command::Check {
            which,
            probe,
            json,
            explain,
        } => match explain {
            Some(code) => explain_code(&code),
            None => check(&which, probe, json),
        },
        Command::Show {
            which,
            static_route: true,
            ..
        } => {
            lab::say::text(lab::outward::static_routes(&load(&which, false)?)?);
            Ok(0)
        }
        Command::Show {
            which,
            hosts,
            names,
            ..
        } => show(&which, hosts, names),
        Command::Run {
            which,
            rootless,
            command,
        } => lab::run::run(&load(&which, false)?, &command, rootless),
        Command::Watch { which, interval } => {
            let often = std::time::Duration::from_secs_f64(interval.clamp(0.1, 3_600.0));
            lab::watch::watch(load(&which, false)?, often).map(|()| 0)
        }
        Command::Import { format, file } => crate::import::import(format, &file),
        Command::Cni { command } => container::run(command),
        Command::Schema => {
            lab::say::text(lab::spec::SCHEMA);
            Ok(0)
        }
        Command::Adopt { pid, name } => converge::adopt(pid, &name).map(|()| 0),
        Command::Gc { force: None } => gc(),
        Command::Gc { force: Some(lab) } => force(&lab),
    }
}

/// What a verb needs of its caller's privileges; none if it changes namespaces first.
fn need(command: &Command) -> Option<Need> {
    Some(match command {
        Command::Graph { live: true, .. } => Need::Spaces,
        Command::Graph { .. } | Command::Show { .. } | Command::Import { .. } | Command::Schema => {
            Need::Files
        }
        // They tell which process has a port.
        Command::Plan { .. }
        | Command::Apply { .. }
        | Command::Check { .. }
        | Command::Status { .. }
        | Command::Watch { .. }
        | Command::Adopt { .. } => Need::Spaces,
        Command::Down { .. } | Command::Gc { .. } => Need::Removal,
        Command::Up { .. } => Need::Commands,
        Command::Start(_) | Command::Stop(_) | Command::Restart(_) => Need::Files,
        Command::Logs { .. } => Need::Files,
        Command::Trace { .. } => Need::Spaces,
        Command::Capture { .. } => Need::Packets,
        Command::Ls { .. } => Need::Files,
        Command::Cni { .. } => Need::Container,
        Command::Exec { .. } => Need::Programs,
        Command::Run { rootless, .. } if *rootless => return None,
        Command::Run { .. } => Need::Commands,
    })
}

/// The file that is meant.
fn file(which: &Which) -> Result<PathBuf> {
    if let Some(path) = which.file.as_ref().or(which.lab.as_ref()) {
        if may_be_file(path) || which.file.is_some() {
            return Ok(path.clone());
        }
        if let Some(name) = path.to_str()
            && let Some(journal) = Journal::load(name)?
            && let Some(file) = journal.file
        {
            return Ok(file);
        }
        if Journal::by_lost_file(path).is_some() {
            return Ok(path.clone());
        }
        return Err(Error::new(format!(
            "there is neither a file nor a lab {}",
            path.display()
        )));
    }
    let applied = match Journal::labs() {
        labs if labs.is_empty() => String::new(),
        labs => format!(", or a lab that is applied: {}", labs.join(", ")),
    };
    let default = PathBuf::from("lab.toml");
    if default.exists() {
        return Ok(default);
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(".")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .filter(|path| path.file_name().is_none_or(|name| name != "Cargo.toml"))
        .collect();
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only.strip_prefix("./").map(Path::to_owned).unwrap_or(only)),
        (None, _) => Err(Error::new(format!(
            "there is no lab.toml here; name the lab's file{applied}"
        ))),
        _ => Err(Error::new(format!(
            "there are several .toml files here; name the lab's{applied}"
        ))),
    }
}

/// The lab that is meant, its mistakes shown; and what is dubious, where it is about to be made.
fn load(which: &Which, dubious: bool) -> Result<Spec> {
    let path = file(which)?;
    let mut sources = Sources::default();
    let (spec, report) =
        Spec::given(&path, &mut sources).map_err(|error| unreadable(&path, &error))?;
    if report.has_errors() || (dubious && !report.is_empty()) {
        lab::say::report(&report, &sources);
    }
    spec.ok_or_else(|| Error::new(format!("{} has mistakes; nothing was done", path.display())))
}

/// A file that cannot be read.
pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let words = error.to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    if let Some(Journal { lab, .. }) = Journal::by_lost_file(path) {
        return Error::new(format!(
            "lab {lab} was applied from {}, which is gone: put it back, or remove the lab by `nameplate-lab down {lab}`",
            path.display()
        ));
    }
    Error::new(format!("cannot read {}: {words}", path.display()))
}

/// Steps with their commands.
fn print_steps(steps: &[Action], commands: bool) {
    for step in steps {
        lab::say!("{} {step}", step.sign());
        if commands {
            for line in step
                .commands()
                .iter()
                .flat_map(|command| command.lines().map(str::to_owned).collect::<Vec<_>>())
            {
                lab::say!("      {line}");
            }
        }
    }
}

fn plan(which: &Which, json: bool) -> Result<u8> {
    let spec = load(which, true)?;
    let Plan {
        steps,
        conflicts,
        mut warnings,
    } = converge::plan(&spec)?;
    let around = lab::surroundings::look(&spec)?;
    // What is an error there is a conflict here.
    let routes = around
        .iter()
        .filter(|found| found.severity == Severity::Warning);
    warnings.extend(routes.map(|found| found.message.clone()));
    let commands = match conflicts.is_empty() {
        true => kept::changes(&spec.name),
        false => Vec::new(),
    };
    if json {
        let steps: Vec<_> = steps
            .iter()
            .map(|step| json!({"sign": step.sign().to_string(), "object": step.to_string(), "namespace": step.space(), "commands": step.commands()}))
            .collect();
        lab::say!(
            "{}",
            json!({"v": 1, "lab": spec.name, "steps": steps, "commands": commands, "conflicts": conflicts, "warnings": warnings})
        );
    } else {
        print_steps(&steps, true);
        commands.iter().for_each(|change| lab::say!("{change}"));
        told(&conflicts, &warnings);
        if conflicts.is_empty() {
            lab::say!("{}", summary(&spec.name, &steps, &commands));
        } else {
            lab::warn!(
                "`apply` does nothing while objects of others are in its way: remove them, or choose other names and subnets"
            );
        }
    }
    Ok(
        match (
            conflicts.is_empty(),
            steps.is_empty() && commands.is_empty(),
        ) {
            (false, _) => 1,
            (true, true) => 0,
            (true, false) => 2,
        },
    )
}

/// How many steps of each kind there are, commands among them.
fn summary(lab: &str, steps: &[Action], commands: &[String]) -> String {
    if steps.is_empty() && commands.is_empty() {
        return format!("lab {lab} is as declared");
    }
    let of = |sign| {
        let of_commands = commands.iter().filter(|line| line.starts_with(sign));
        steps.iter().filter(|step| step.sign() == sign).count() + of_commands.count()
    };
    format!(
        "lab {lab}: {} to make, {} to change, {} to remove",
        of('+'),
        of('~'),
        of('-')
    )
}

/// Conflicts and warnings.
fn told<T: std::fmt::Display>(conflicts: &[T], warnings: &[String]) {
    for warning in warnings {
        lab::warn!("warning: {warning}");
    }
    for conflict in conflicts {
        lab::warn!("conflict: {conflict}");
    }
}

/// The same of a removal.
fn removed(lab: &str, outcome: &Outcome) -> u8 {
    let code = concluded(lab, outcome, "removed", false);
    if code == 0 && outcome.steps.is_empty() {
        lab::say!("lab {lab}: nothing to do");
    }
    code
}

/// What an outcome says, and its exit code.
fn concluded(lab: &str, outcome: &Outcome, verb: &str, verbose: bool) -> u8 {
    told(&outcome.conflicts, &outcome.warnings);
    if !outcome.conflicts.is_empty() {
        lab::warn!("nothing was done");
        return 1;
    }
    if verbose {
        print_steps(&outcome.steps, false);
    }
    for failure in &outcome.failures {
        lab::warn!("error: {failure}");
    }
    if outcome.failures.is_empty() {
        match outcome.steps.len() {
            0 => {}
            1 => lab::say!("lab {lab} {verb}: 1 step"),
            steps => lab::say!("lab {lab} {verb}: {steps} steps"),
        }
        0
    } else {
        lab::warn!("lab {lab} is not complete; the next `apply` continues, `down` removes it");
        // As a shell has it of one that was ended by a signal.
        outcome.stopped.map_or(3, |signal| 128 + signal as u8)
    }
}

fn apply(which: &Which, manner: Manner<'_>, verbose: bool) -> Result<u8> {
    let spec = load(which, true)?;
    let outcome = converge::apply(&spec, manner)?;
    let code = concluded(&spec.name, &outcome, "applied", verbose);
    await_names(&spec, &outcome);
    Ok(match code {
        0 => kept::follow(&spec, &outcome, verbose)?,
        code => code,
    })
}

/// Waits until the server answers with the lab's names.
fn await_names(spec: &Spec, outcome: &Outcome) {
    let Some(version) = &outcome.version else {
        return;
    };
    match server::wait(spec, version) {
        Heard::Answers | Heard::Nowhere => {}
        Heard::Nobody => lab::warn!(
            "note: no DNS server serves labs here, so names do not resolve; start one with `nameplate -conf Corefile.lab`"
        ),
        Heard::Silent(address) => lab::warn!(
            "warning: the DNS server does not answer for {} at {address} yet",
            spec.domain
        ),
    }
}

fn down(which: &Which, all: bool) -> Result<u8> {
    let labs = if all {
        Journal::labs()
    } else {
        vec![lab_name(which)?]
    };
    let mut worst = 0;
    for lab in labs {
        let outcome = converge::down(&lab)?;
        worst = worst.max(removed(&lab, &outcome));
        if outcome.stopped.is_some() {
            break;
        }
    }
    Ok(worst)
}

/// The name of the lab that is meant, also when its file is gone.
fn lab_name(which: &Which) -> Result<String> {
    if which.file.is_none()
        && let Some(name) = which.lab.as_ref().and_then(|path| path.to_str())
        && !may_be_file(Path::new(name))
    {
        let stem = Path::new(name)
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or(name);
        let marked = converge::orphans()?;
        for candidate in [name, stem] {
            if !candidate.contains('/')
                && (lab::journal::directory(candidate).exists()
                    || lab::persist::is_kept(candidate)
                    || marked.iter().any(|lab| lab == candidate))
            {
                return Ok(candidate.to_owned());
            }
        }
        return Err(Error::new(format!(
            "there is neither a file nor a lab {name}"
        )));
    }
    let path = file(which)?;
    let whole = std::path::absolute(&path).ok();
    // What was applied from this file counts, though by now it has mistakes, or another name.
    for journal in Journal::labs()
        .iter()
        .filter_map(|lab| Journal::load(lab).ok().flatten())
    {
        if whole.as_ref().is_some_and(|whole| journal.is_of(whole)) {
            return Ok(journal.lab);
        }
    }
    let name = load(which, false)?.name;
    match Journal::load(&name)?.and_then(|journal| journal.file) {
        Some(other) => Err(Error::new(format!(
            "lab {name} was applied from {}, not from {}; to remove it, use its name: `nameplate-lab down {name}`",
            other.display(),
            path.display()
        ))),
        None => Ok(name),
    }
}

/// Whether a word on the command line is a file's name; a directory may be called as a lab is.
fn may_be_file(path: &Path) -> bool {
    path.exists() && !path.is_dir()
}

fn trace(from: &str, to: &str, lab: Option<PathBuf>) -> Result<u8> {
    let spec = load(&Which { lab, file: None }, false)?;
    let (lines, arrives) = lab::probe::trace(&spec, from, to)?;
    for line in lines {
        lab::say!("{line}");
    }
    Ok(u8::from(!arrives))
}

fn status(which: &Which, all: bool, json: bool, wanted: crate::Wanted) -> Result<u8> {
    let views = Views {
        routes: wanted.routes,
        neighbours: wanted.neigh,
        listeners: wanted.listen,
        rules: wanted.nat,
        names: wanted.names,
    };
    let path = if all { None } else { Some(file(which)) };
    let path = match path {
        // Nothing is meant and nothing is here.
        None => return list(json),
        Some(Err(_)) if which.lab.is_none() && which.file.is_none() => return list(json),
        Some(path) => path?,
    };
    if let Some(journal) = Journal::by_lost_file(&path) {
        lab::say::text(lab::status::of_journal(&journal, json));
        return Ok(4);
    }
    let spec = load(which, false)?;
    let status = lab::status::Status::of(&spec, views)?;
    if json {
        lab::say!("{}", status.to_json());
    } else {
        lab::say::text(&status);
    }
    Ok(if status.is_as_declared() { 0 } else { 4 })
}

fn list(json: bool) -> Result<u8> {
    let labs = lab::status::labs();
    if json {
        lab::say!(
            "{}",
            json!({"v": 1, "labs": labs.iter().map(lab::status::Entry::to_json).collect::<Vec<_>>()})
        );
    } else if labs.is_empty() {
        lab::say!("no lab is applied on this machine");
    } else {
        let width = |of: fn(&lab::status::Entry) -> usize| labs.iter().map(of).max().unwrap_or(0);
        let (name, state) = (width(|lab| lab.name.len()), width(|lab| lab.state.len()));
        for lab in &labs {
            lab::say!(
                "{:name$}  {:state$}  {:>4} namespaces  {}",
                lab.name,
                lab.state,
                lab.spaces,
                lab.file
            );
        }
    }
    Ok(0)
}

fn graph(which: &Which, format: Option<Format>, live: bool) -> Result<u8> {
    let spec = load(which, false)?;
    let state = match (live, format) {
        (false, _) => lab::graph::Live::default(),
        (true, None | Some(Format::Svg)) => {
            lab::status::Status::of(&spec, Views::default())?.live()
        }
        (true, Some(_)) => return Err(Error::new("the state is drawn as SVG only")),
    };
    let graph = lab::graph::Graph::of(&spec);
    lab::say::text(match format {
        Some(Format::Svg) => graph.svg(&state),
        None if live => graph.svg(&state),
        Some(Format::Ascii) | None => graph.ascii(),
        Some(Format::Dot) => graph.dot(),
        Some(Format::Mermaid) => graph.mermaid(),
    });
    Ok(0)
}

fn check(which: &Which, probe: bool, json: bool) -> Result<u8> {
    let path = file(which)?;
    let mut sources = Sources::default();
    let (spec, mut report) =
        Spec::given(&path, &mut sources).map_err(|error| unreadable(&path, &error))?;
    if let Some(spec) = &spec {
        report.extend(lab::surroundings::look(spec)?);
        report.extend(lab::surroundings::look_further(spec)?);
        report.extend(lab::untrue::look(spec, &mut sources)?);
    }
    if json {
        lab::say!("{}", report.to_json(&sources));
    } else if !report.is_empty() {
        lab::say::report(&report, &sources);
    }
    let Some(spec) = spec.filter(|_| !report.has_errors()) else {
        return Ok(1);
    };
    let failures = if probe {
        lab::probe::probe(&spec)?
    } else {
        Vec::new()
    };
    for failure in &failures {
        lab::warn!("error: {failure}");
    }
    if !json && failures.is_empty() {
        let count = |number: usize, what: &str| match number {
            1 => format!("1 {what}"),
            _ => format!("{number} {what}s"),
        };
        let spaces = spec.spaces.iter().filter(|space| !space.is_host).count();
        lab::say!(
            "lab {}: {}, {}, {}",
            spec.name,
            count(spec.nets.len(), "network"),
            count(spaces, "namespace"),
            match (probe, report.is_empty()) {
                (true, _) => "everything that should be reachable is reachable",
                (false, true) => "no mistakes",
                (false, false) => "no errors",
            }
        );
    }
    Ok(u8::from(!failures.is_empty()))
}

fn explain_code(code: &str) -> Result<u8> {
    let found = lab::spec::EXPLANATIONS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(code));
    let (code, text) = found.ok_or_else(|| Error::new(format!("there is no code {code}")))?;
    lab::say!("{code}: {text}");
    Ok(0)
}

fn show(which: &Which, hosts: bool, names: bool) -> Result<u8> {
    let spec = load(which, false)?;
    let layout = Layout::of(&spec);
    if names {
        lab::say!("{}", lab::names::names(&spec, &layout).text());
    } else if hosts {
        lab::say::text(lab::layout::hosts(&spec));
    } else {
        lab::say::text(lab::shell::script(&spec, &layout));
    }
    Ok(0)
}

/// Removes what can be recognised of a lab whose journal is damaged.
fn force(lab: &str) -> Result<u8> {
    if !lab::journal::directory(lab).is_dir()
        || lab.is_empty()
        || lab.starts_with('.')
        || lab.contains('/')
    {
        return Err(Error::new(format!("there is no lab {lab}")));
    }
    if let Ok(Some(_)) = Journal::load(lab) {
        return Err(Error::new(format!(
            "the journal of lab {lab} is not damaged; `nameplate-lab down {lab}` removes it"
        )));
    }
    let outcome = converge::salvage(lab)?;
    Ok(removed(lab, &outcome))
}

fn gc() -> Result<u8> {
    let mut worst = 0;
    let labs = converge::orphans()?;
    if labs.is_empty() {
        lab::say!("nothing is left of any lab");
    }
    // It may be wanted all the same.
    for lab in Journal::labs() {
        let journal = match Journal::load(&lab) {
            Ok(journal) => journal,
            Err(error) => {
                lab::say!("lab {lab} stays: {error}");
                continue;
            }
        };
        if let Some(file) = journal.and_then(|journal| journal.file)
            && !file.exists()
            && !labs.contains(&lab)
        {
            lab::say!(
                "lab {lab} stays: its file {} is gone, `down {lab}` removes it",
                file.display()
            );
        }
    }
    for lab in labs {
        let outcome = converge::down(&lab)?;
        worst = worst.max(removed(&lab, &outcome));
        if outcome.stopped.is_some() {
            break;
        }
    }
    Ok(worst)
}
