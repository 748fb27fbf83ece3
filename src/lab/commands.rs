//! What each verb prints, and how it ends.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use corefile::{Severity, Sources};
use lab::action::Action;
use lab::converge::{self, Look, Outcome};
use lab::journal::Journal;
use lab::layout::Layout;
use lab::plan::Plan;
use lab::privileges::{self, Need};
use lab::server::{self, Heard};
use lab::spec::Spec;
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
        } => apply(&which, &only, deep, verbose),
        Command::Down { which, all } => down(&which, all),
        Command::Status { which, json } => status(&which, json),
        Command::Exec {
            name,
            no_dns,
            command,
        } => Ok(lab::exec::exec(&name, &command, no_dns)),
        Command::Graph { which, format } => graph(&which, format),
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
            hosts,
            names,
            ..
        } => show(&which, hosts, names),
        Command::Run {
            which,
            rootless,
            command,
        } => {
            let spec = load(&which)?;
            if rootless {
                // There one is root again.
                lab::rootless::enter()?;
                privileges::keep(Need::Programs);
            }
            lab::exec::run(&spec, &command, !rootless)
        }
        Command::Adopt { pid, name } => converge::adopt(pid, &name).map(|()| 0),
        Command::Gc => gc(),
    }
}

/// What a verb needs of its caller's privileges; none if it changes namespaces first.
fn need(command: &Command) -> Option<Need> {
    Some(match command {
        Command::Graph { .. } | Command::Show { .. } | Command::Check { probe: false, .. } => {
            Need::Files
        }
        Command::Plan { .. } | Command::Apply { .. } | Command::Check { .. } => Need::Spaces,
        Command::Down { .. } | Command::Status { .. } | Command::Adopt { .. } | Command::Gc => {
            Need::Processes
        }
        Command::Exec { .. } => Need::Programs,
        Command::Run { rootless, .. } if *rootless => return None,
        Command::Run { .. } => Need::Programs,
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

/// The lab that is meant, its mistakes shown.
fn load(which: &Which) -> Result<Spec> {
    let path = file(which)?;
    let mut sources = Sources::default();
    let (spec, report) =
        Spec::load(&path, &mut sources).map_err(|error| unreadable(&path, &error))?;
    // What is survived is said by `check`.
    if report.has_errors() {
        eprint!(
            "{}",
            report.render(&sources, std::io::stderr().is_terminal())
        );
    }
    spec.ok_or_else(|| Error::new(format!("{} has mistakes; nothing was done", path.display())))
}

/// A file that cannot be read.
fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let words = error.to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    Error::new(format!("cannot read {}: {words}", path.display()))
}

/// Steps with their commands.
fn print_steps(steps: &[Action], commands: bool) {
    for step in steps {
        println!("{} {step}", step.sign());
        if commands {
            for line in step
                .commands()
                .iter()
                .flat_map(|command| command.lines().map(str::to_owned).collect::<Vec<_>>())
            {
                println!("      {line}");
            }
        }
    }
}

fn plan(which: &Which, json: bool) -> Result<u8> {
    let spec = load(which)?;
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
    if json {
        let steps: Vec<_> = steps
            .iter()
            .map(|step| json!({"sign": step.sign().to_string(), "object": step.to_string(), "namespace": step.space(), "commands": step.commands()}))
            .collect();
        println!(
            "{}",
            json!({"v": 1, "lab": spec.name, "steps": steps, "conflicts": conflicts, "warnings": warnings})
        );
    } else {
        print_steps(&steps, true);
        told(&conflicts, &warnings);
        if conflicts.is_empty() {
            println!("{}", summary(&spec.name, &steps));
        } else {
            eprintln!(
                "`apply` does nothing while what is not the lab's is in its way: remove that, or choose other names and subnets"
            );
        }
    }
    Ok(match (conflicts.is_empty(), steps.is_empty()) {
        (false, _) => 1,
        (true, true) => 0,
        (true, false) => 2,
    })
}

/// How many steps of each kind there are.
fn summary(lab: &str, steps: &[Action]) -> String {
    if steps.is_empty() {
        return format!("lab {lab} is as declared");
    }
    let of = |sign| steps.iter().filter(|step| step.sign() == sign).count();
    format!(
        "lab {lab}: {} to make, {} to change, {} to remove",
        of('+'),
        of('~'),
        of('-')
    )
}

/// Conflicts and warnings.
fn told(conflicts: &[String], warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    for conflict in conflicts {
        eprintln!("conflict: {conflict}");
    }
}

/// What an outcome says, and its exit code.
fn concluded(lab: &str, outcome: &Outcome, verb: &str, verbose: bool) -> u8 {
    told(&outcome.conflicts, &outcome.warnings);
    if !outcome.conflicts.is_empty() {
        eprintln!("nothing was done");
        return 1;
    }
    if verbose {
        print_steps(&outcome.steps, false);
    }
    for failure in &outcome.failures {
        eprintln!("error: {failure}");
    }
    if outcome.failures.is_empty() {
        match outcome.steps.len() {
            0 => println!("lab {lab}: nothing to do"),
            1 => println!("lab {lab} {verb}: 1 step"),
            steps => println!("lab {lab} {verb}: {steps} steps"),
        }
        0
    } else {
        eprintln!("lab {lab} is not complete; the next `apply` goes on, `down` removes it");
        3
    }
}

fn apply(which: &Which, only: &[String], deep: bool, verbose: bool) -> Result<u8> {
    let spec = load(which)?;
    let look = match (deep, only) {
        (true, _) => Look::Everything,
        (false, []) => Look::Changes,
        (false, only) => Look::Only(only),
    };
    let outcome = converge::apply(&spec, look)?;
    let code = concluded(&spec.name, &outcome, "applied", verbose);
    if let Some(version) = &outcome.version {
        match server::wait(&spec, version) {
            Heard::Answers | Heard::Nowhere => {}
            Heard::Nobody => eprintln!(
                "note: no DNS server serves labs here, so names do not resolve; one that does: `nameplate -conf Corefile.lab`"
            ),
            Heard::Silent(address) => eprintln!(
                "warning: the DNS server does not answer for {} at {address} yet",
                spec.domain
            ),
        }
    }
    Ok(code)
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
        worst = worst.max(concluded(&lab, &outcome, "removed", false));
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
    let spec = Spec::load(&path, &mut Sources::default());
    let named = spec.ok().and_then(|(spec, _)| spec).map(|spec| spec.name);
    if let Some(name) = &named
        && Journal::load(name)?.is_some()
    {
        return Ok(name.clone());
    }
    // What was applied from this file counts, though by now it has mistakes, or another name.
    let whole = std::path::absolute(&path).ok();
    for lab in Journal::labs() {
        if whole.is_some() && Journal::load(&lab)?.and_then(|journal| journal.file) == whole {
            return Ok(lab);
        }
    }
    named.map_or_else(|| load(which).map(|spec| spec.name), Ok)
}

/// Whether a word on the command line is a file's name; a directory may be called as a lab is.
fn may_be_file(path: &Path) -> bool {
    path.exists() && !path.is_dir()
}

fn status(which: &Which, json: bool) -> Result<u8> {
    let spec = load(which)?;
    let status = lab::status::Status::of(&spec)?;
    if json {
        println!("{}", status.to_json());
    } else {
        print!("{status}");
    }
    Ok(if status.is_as_declared() { 0 } else { 4 })
}

fn graph(which: &Which, format: Format) -> Result<u8> {
    let spec = load(which)?;
    let graph = lab::graph::Graph::of(&spec);
    print!(
        "{}",
        match format {
            Format::Ascii => graph.ascii(),
            Format::Dot => graph.dot(),
            Format::Mermaid => graph.mermaid(),
        }
    );
    Ok(0)
}

fn check(which: &Which, probe: bool, json: bool) -> Result<u8> {
    let path = file(which)?;
    let mut sources = Sources::default();
    let (spec, mut report) =
        Spec::load(&path, &mut sources).map_err(|error| unreadable(&path, &error))?;
    if let Some(spec) = &spec {
        report.extend(lab::surroundings::look(spec)?);
    }
    if json {
        println!("{}", report.to_json(&sources));
    } else if !report.is_empty() {
        eprint!(
            "{}",
            report.render(&sources, std::io::stderr().is_terminal())
        );
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
        eprintln!("error: {failure}");
    }
    if !json && failures.is_empty() {
        let count = |number: usize, what: &str| match number {
            1 => format!("1 {what}"),
            _ => format!("{number} {what}s"),
        };
        let spaces = spec.spaces.iter().filter(|space| !space.is_host).count();
        println!(
            "lab {}: {}, {}, {}",
            spec.name,
            count(spec.nets.len(), "network"),
            count(spaces, "namespace"),
            match (probe, report.is_empty()) {
                (true, _) => "everything that should be reached is",
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
    println!("{code}: {text}");
    Ok(0)
}

fn show(which: &Which, hosts: bool, names: bool) -> Result<u8> {
    let spec = load(which)?;
    let layout = Layout::of(&spec);
    if names {
        println!("{}", lab::names::names(&spec, &layout).text());
    } else if hosts {
        print!("{}", lab::layout::hosts(&spec));
    } else {
        print!("{}", lab::shell::script(&spec, &layout));
    }
    Ok(0)
}

fn gc() -> Result<u8> {
    let mut worst = 0;
    let labs = converge::orphans()?;
    if labs.is_empty() {
        println!("nothing is left of any lab");
    }
    // It may be wanted all the same.
    for lab in Journal::labs() {
        if let Some(file) = Journal::load(&lab)?.and_then(|journal| journal.file)
            && !file.exists()
            && !labs.contains(&lab)
        {
            println!(
                "lab {lab} stays: its file {} is gone, `down {lab}` removes it",
                file.display()
            );
        }
    }
    for lab in labs {
        let outcome = converge::down(&lab)?;
        worst = worst.max(concluded(&lab, &outcome, "removed", false));
    }
    Ok(worst)
}
