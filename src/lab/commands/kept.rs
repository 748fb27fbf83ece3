//! The verbs of commands that a supervisor keeps: `up`, `start`, `stop`, `restart`.

use lab::control::{self, Reply, Verb};
use lab::converge::{self, Manner, Outcome};
use lab::journal::Journal;
use lab::spec::Spec;
use lab::{Error, Result};

use super::{await_names, concluded, load};
use crate::{Kept, Which};

/// Applies a lab and keeps its commands.
pub(super) fn up(which: &Which, manner: Manner<'_>, serve: bool, verbose: bool) -> Result<u8> {
    let spec = load(which, true)?;
    let outcome = converge::apply(&spec, manner)?;
    let code = concluded(&spec.name, &outcome, "applied", verbose);
    if code != 0 {
        return Ok(code);
    }
    if serve {
        let reply = lab::run::keep(&spec, true)?;
        await_names(&spec, &outcome);
        return Ok(said(&spec.name, reply, &outcome, verbose));
    }
    await_names(&spec, &outcome);
    let reply = lab::run::keep(&spec, false)?;
    Ok(said(&spec.name, reply, &outcome, verbose))
}

/// Tells the supervisor of a lab, if it has one, that the lab was applied.
pub(super) fn follow(spec: &Spec, outcome: &Outcome, verbose: bool) -> Result<u8> {
    let reply = control::ask(&spec.name, Verb::Reload, &[])?;
    Ok(said(&spec.name, reply, outcome, verbose))
}

/// What `apply` would start and end.
pub(super) fn changes(lab: &str) -> Vec<String> {
    let reply = control::ask(lab, Verb::Status, &[]).ok().flatten();
    reply.map(|reply| reply.changes).unwrap_or_default()
}

/// What became of the commands; the exit code.
fn said(lab: &str, reply: Option<Reply>, outcome: &Outcome, verbose: bool) -> u8 {
    let reply = reply.unwrap_or_default();
    if outcome.steps.is_empty() && reply.changes.is_empty() {
        lab::say!("lab {lab}: nothing to do");
    }
    if verbose {
        reply
            .changes
            .iter()
            .for_each(|change| lab::say!("{change}"));
    }
    let of = |sign: char, what: &str| {
        let changes = reply.changes.iter();
        match changes.filter(|change| change.starts_with(sign)).count() {
            0 => None,
            1 => Some(format!("1 command {what}")),
            many => Some(format!("{many} commands {what}")),
        }
    };
    let changes = [
        of('-', "ended"),
        of('~', "started again"),
        of('+', "started"),
    ];
    let changes: Vec<String> = changes.into_iter().flatten().collect();
    if !changes.is_empty() {
        lab::say!("lab {lab}: {}", changes.join(", "));
    }
    for problem in &reply.problems {
        lab::warn!("error: {problem}");
    }
    let running = reply.commands.iter().filter(|one| one.pid.is_some());
    match running.count() {
        0 => {}
        1 => lab::say!("lab {lab}: 1 command runs"),
        many => lab::say!("lab {lab}: {many} commands run"),
    }
    if reply.problems.is_empty() { 0 } else { 3 }
}

/// Starts or ends commands.
pub(super) fn turn(meant: &Kept, verb: Verb) -> Result<u8> {
    let lab = lab_of(meant)?;
    let reply = control::ask(&lab, verb, &meant.namespaces)?.ok_or_else(|| nobody(&lab))?;
    for problem in &reply.problems {
        lab::warn!("error: {problem}");
    }
    for one in &reply.commands {
        lab::say!("{}", line(one));
    }
    Ok(u8::from(!reply.problems.is_empty()))
}

/// A command in one line.
fn line(one: &control::State) -> String {
    let program = one.command.first().map_or("", String::as_str);
    let pid = one.pid.map_or(String::new(), |pid| format!(" ({pid})"));
    let why = one
        .why
        .as_ref()
        .map_or(String::new(), |why| format!(": {why}"));
    format!("{}: {program} {}{pid}{why}", one.space, one.state)
}

/// Nobody keeps the commands of a lab.
fn nobody(lab: &str) -> Error {
    Error::new(format!(
        "no process keeps the commands of lab {lab}; `nameplate-lab up` starts one"
    ))
}

/// The lab that is meant: that which has the namespaces, or the only one that has commands.
fn lab_of(meant: &Kept) -> Result<String> {
    if let Some(lab) = &meant.lab {
        return Ok(lab.clone());
    }
    let mut kept = Vec::new();
    for lab in Journal::labs() {
        if let Ok(Some(reply)) = control::ask(&lab, Verb::Status, &[]) {
            let has = |name: &String| reply.commands.iter().any(|one| one.space == *name);
            kept.push((lab, meant.namespaces.iter().any(has)));
        }
    }
    let named: Vec<&String> = kept.iter().filter(|one| one.1).map(|one| &one.0).collect();
    match (&kept[..], &named[..]) {
        (_, [lab]) => Ok((*lab).clone()),
        ([(lab, _)], _) => Ok(lab.clone()),
        ([], _) => match &Journal::labs()[..] {
            [lab] => Err(nobody(lab)),
            _ => Err(Error::new(
                "no process keeps the commands of a lab here; `nameplate-lab up` starts one",
            )),
        },
        _ => {
            let labs: Vec<&str> = kept.iter().map(|one| one.0.as_str()).collect();
            Err(Error::new(format!(
                "several labs have commands, name one with --lab: {}",
                labs.join(", ")
            )))
        }
    }
}
