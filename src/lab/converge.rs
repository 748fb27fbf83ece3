//! `plan`, `apply` and `down`: look, compare, write the intent, act, write the outcome.

use crate::action::Action;
use crate::claim::{self, is_marked, owned};
use crate::error::{During, Error, Result};
use crate::execute::Executor;
use crate::filter::Filter;
use crate::hash::{Map, Set};
use crate::journal::{Journal, Lock, Phase, absent_is_fine, directory, files_of, remove_file};
use crate::layout::{ETC, Layout, Mark, Other};
use crate::link::{self, Link, LinkChange};
use crate::names;
use crate::netlink::Socket;
use crate::observe::{Inside, Kernel};
use crate::persist;
use crate::plan::{Conflict, Plan, Subject, is_on};
use crate::recognise::Prints;
use crate::space::{self, Kind};
use crate::spec::Spec;
use crate::sys::{self, Held};

/// What a namespace takes of the heap, in octets, at least.
const SPACE: usize = 3_000;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The steps.
    pub steps: Vec<Action>,
    /// What failed, in words; the rest was done.
    pub failures: Vec<String>,
    /// What is in the way and not the lab's; then nothing was done.
    pub conflicts: Vec<String>,
    /// What will not work although everything is there.
    pub warnings: Vec<String>,
    /// The version of the names that are published, when everything is there.
    pub version: Option<String>,
    /// The signal that ended it before everything was done.
    pub stopped: Option<i32>,
}

/// How far `apply` looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look<'a> {
    /// Where the file changed something, and where the host sees that something is amiss; everywhere, if the file
    /// is as it was applied.
    Changes,
    /// Everywhere.
    Everything,
    /// Into these namespaces only.
    Only(&'a [String]),
}

/// The namespaces that were asked for, with those at the other ends of their pairs.
fn selection(layout: &Layout, only: &[String]) -> Result<Set<String>> {
    let mut selected = Set::default();
    for name in only {
        let Some(space) = layout.spaces.iter().find(|space| space.name == *name) else {
            return Err(Error::new(format!("the lab has no namespace {name}")));
        };
        selected.insert(name.clone());
        for end in &space.ends {
            if let Other::Space(other, _) = end.other {
                selected.insert(layout.spaces[other].name.clone());
            }
        }
    }
    Ok(selected)
}

/// How a lab is applied.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    /// How far to look.
    pub look: Look<'a>,
    /// Whether the lab becomes this file's, though another one made it.
    pub take_over: bool,
    /// Whether rules that let its packets through are put into chains of others.
    pub fix_forward: bool,
    /// Whether the settings of the host are to outlast the boot.
    pub persist: bool,
    /// Whether it is to go when the last `run` of it ends.
    pub passing: bool,
    /// Whether one that is gone stays so.
    pub heals: bool,
    /// Whether the process ends soon: then memory is not given back piece by piece.
    pub ends: bool,
}

impl Default for Manner<'_> {
    fn default() -> Self {
        Self {
            look: Look::Changes,
            take_over: false,
            fix_forward: false,
            persist: false,
            passing: false,
            heals: false,
            ends: false,
        }
    }
}

/// Why a lab is not this file's: another file made the lab of this name, or this file made one of another name.
fn foreign(spec: &Spec, journal: Option<&Journal>) -> Option<String> {
    let own = spec.file.as_ref()?;
    let name = &spec.name;
    if let Some(journal) = journal.filter(|journal| !journal.is_of(own))
        && let Some(file) = &journal.file
    {
        return Some(format!(
            "lab {name} was applied from {}, not from {}: give this lab another name ([lab] name = \"…\"), or remove the other (`nameplate-lab down {name}`), or take it over (`apply --take-over`)",
            file.display(),
            own.display()
        ));
    }
    let before = Journal::others(name)
        .into_iter()
        .find(|other| other.is_of(own));
    let before = before?.lab;
    Some(format!(
        "this file was applied as lab {before}, but is now called {name}: run `nameplate-lab down {before}` first, or restore the old name"
    ))
}

/// Compares a lab with the kernel and changes nothing.
///
/// # Errors
/// The kernel or the journal cannot be read.
pub fn plan(spec: &Spec) -> Result<Plan> {
    let layout = Layout::of(spec);
    let mut journal = Journal::load(&spec.name)?;
    persist::adopt(&spec.name, &mut journal);
    let mut kernel = Kernel::observe(&layout, journal.as_ref())?;
    kernel.look_at_ports(&layout, journal.as_ref());
    let mut plan = Plan::make(&layout, journal.as_ref(), &kernel);
    if let Some(why) = foreign(spec, journal.as_ref()) {
        let of = Subject::Lab;
        plan.conflicts.insert(0, Conflict { text: why, of });
        plan.steps.clear();
    }
    Ok(plan)
}

/// All ports of the host.
type Ports = std::io::Result<Vec<Link>>;

/// The ports of the host, where a lab may have some.
fn ports_ahead(lab: &str) -> Ports {
    match directory(lab).join("journal.json").exists() {
        true => Socket::reader().and_then(|mut socket| link::ports(&mut socket)),
        false => Ok(Vec::new()),
    }
}

/// The kernel as far as `apply` has to see it; `changed` are the prints of a file that changed, and the ports.
fn observe(
    layout: &Layout,
    journal: Option<&Journal>,
    changed: Option<(&Prints, Ports)>,
    look: Look<'_>,
) -> Result<Kernel> {
    if let Look::Only(names) = look {
        selection(layout, names)?;
    }
    // What was never finished has to be looked at as a whole.
    let Some(before) = journal.filter(|journal| journal.phase == Phase::Applied) else {
        return Kernel::observe(layout, journal);
    };
    match (look, changed) {
        (Look::Only(names), _) => {
            let mut kernel = Kernel::host(&crate::observe::keys(layout, journal))?;
            kernel.visit(layout, journal, Some(&selection(layout, names)?))?;
            Ok(kernel)
        }
        (Look::Changes, Some((prints, ports))) => prints.observe(layout, before, ports),
        _ => Kernel::observe(layout, journal),
    }
}

/// Makes the kernel what the lab declares.
///
/// # Errors
/// The kernel or the journal cannot be read, or the journal not be written.
pub fn apply(spec: &Spec, manner: Manner<'_>) -> Result<Outcome> {
    crate::sys::raise_descriptor_limit();
    crate::sys::furnish_heap(spec.spaces.len() * SPACE);
    let _lock = Lock::take()?;
    let mut held = sys::hold_signals();
    // What was declared is laid out while another thread asks the kernel, which takes it as long.
    let (layout, names, prints, journal, ports) = std::thread::scope(|scope| {
        let ports = scope.spawn(|| ports_ahead(&spec.name));
        let layout = Layout::of(spec);
        let names = names::names(spec, &layout).text();
        let prints = Prints::of(&layout, &names);
        let journal = Journal::load(&spec.name);
        (layout, names, prints, journal, ports.join())
    });
    let mut journal = journal?;
    let ports = ports.unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
    if manner.heals && journal.is_none() {
        return Ok(Outcome::default());
    }
    if !manner.take_over
        && let Some(why) = foreign(spec, journal.as_ref())
    {
        return Ok(Outcome {
            conflicts: vec![why],
            ..Outcome::default()
        });
    }
    persist::adopt(&spec.name, &mut journal);
    // What is asked for is in the journal on disk only when it is written as a whole.
    let asks = manner.fix_forward || manner.persist;
    if asks {
        let journal = journal.get_or_insert_with(|| Journal::new(&spec.name));
        journal.accepts |= manner.fix_forward;
        journal.persists |= manner.persist;
    }
    // What `run` made stays when somebody applies it as well.
    let passing = match &journal {
        Some(journal) if journal.generation > 0 => journal.passing && manner.passing,
        _ => manner.passing,
    };
    let changed = journal
        .as_ref()
        .is_some_and(|journal| journal.print != prints.whole);
    let changed_ports = changed.then_some((&prints, ports));
    let mut kernel = observe(&layout, journal.as_ref(), changed_ports, manner.look)?;
    kernel.look_at_ports(&layout, journal.as_ref());
    let plan = Plan::make(&layout, journal.as_ref(), &kernel);
    let mut outcome = Outcome {
        conflicts: plan.conflicts.into_iter().map(|one| one.text).collect(),
        warnings: plan.warnings,
        ..Outcome::default()
    };
    if !outcome.conflicts.is_empty() {
        return Ok(outcome);
    }
    if manner.persist && layout.sysctls.is_empty() {
        outcome.warnings.push(
            "the lab needs no settings of the host (`nat`, `forward` and services do), so there is nothing to keep across a reboot"
                .to_owned(),
        );
    }
    // By the path that it was applied by it goes on being known.
    let file = match (&journal, &spec.file) {
        (Some(journal), Some(own)) if journal.is_of(own) => journal.file.clone(),
        _ => spec.file.clone(),
    };
    let settled = journal.as_ref().is_some_and(|journal| {
        journal.phase == Phase::Applied && journal.file == file && journal.passing == passing
    });
    if plan.steps.is_empty() && settled && !changed {
        let generation = journal.map_or(0, |journal| journal.generation);
        names::publish(&spec.name, &names, generation)?;
        outcome.version = names::version(&names).map(str::to_owned);
        return Ok(outcome);
    }
    if held.heed().is_some() {
        return Err(Error::new("stopped by a signal; nothing was changed"));
    }
    let mut intent = claim::intent(
        &layout,
        journal.as_ref(),
        &kernel,
        &Journal::others(&spec.name),
    );
    intent.file = file;
    intent.passing = passing;
    match asks {
        true => intent.save()?,
        false => intent.begin(journal.as_ref())?,
    }
    let mut executor =
        Executor::new(&kernel, &spec.name).during(|| "cannot open a netlink socket".to_owned())?;
    executor.held = Some(held);
    executor.run(&plan.steps);
    outcome.stopped = executor.stopped;
    outcome.failures = std::mem::take(&mut executor.failures)
        .into_iter()
        .map(|(_, why)| why)
        .collect();
    outcome.warnings.append(&mut executor.warnings);
    outcome.steps = plan.steps;
    if outcome.failures.is_empty() {
        names::publish(&spec.name, &names, intent.generation)?;
        let mut after = claim::outcome(&layout, intent, &executor.cookies);
        for step in &outcome.steps {
            // As the kernel tells them, so that a rule that somebody changes is seen.
            match step {
                Action::ReplaceTable { space: None, .. } => after.rules = rules_of(&layout),
                Action::ReplaceTable {
                    space: Some(name), ..
                } => {
                    let rules = space::enter(name).map_or(0, |_away| rules_of(&layout));
                    if let Some(made) = after.spaces.get_mut(name) {
                        made.rules = Some(rules);
                    }
                }
                _ => {}
            }
        }
        prints.remember(&mut after, &layout, &kernel)?;
        after.save()?;
        outcome.version = names::version(&names).map(str::to_owned);
        if manner.ends {
            std::mem::forget(after);
        }
    }
    if manner.ends {
        std::mem::forget((layout, journal, kernel));
    }
    Ok(outcome)
}

/// The print of the lab's rules in the thread's namespace; 0 if there are none.
fn rules_of(layout: &Layout) -> u64 {
    let name = layout.mark.table();
    let tables = Socket::netfilter().and_then(|mut socket| crate::nft::tables(&mut socket, &name));
    let seen = tables.ok().and_then(|mut tables| tables.remove(&name));
    seen.map_or(0, |seen| seen.print)
}

/// Removes what can be recognised of a lab whose journal is damaged, and the journal.
///
/// # Errors
/// The kernel cannot be read.
pub fn salvage(lab: &str) -> Result<Outcome> {
    crate::control::end(lab)?;
    let _lock = Lock::take()?;
    let mark = Mark::of(lab);
    let held = sys::hold_signals();
    let mut journal = Journal::salvage(lab);
    for (name, made) in discover(&mark).spaces {
        let known = journal.spaces.entry(name).or_default();
        known.files = made.files;
        known.directory |= made.directory;
    }
    take_apart(&mark, (journal, true), held)
}

/// Removes everything that a lab made, also without its file.
///
/// # Errors
/// The kernel or the journal cannot be read, or the journal not be written.
pub fn down(lab: &str) -> Result<Outcome> {
    crate::control::end(lab)?;
    let _lock = Lock::take()?;
    let held = sys::hold_signals();
    let mut journal = Journal::load(lab)?;
    let mark = Mark::of(lab);
    let known = journal.is_some();
    if !known {
        journal = Some(discover(&mark));
    }
    persist::adopt(lab, &mut journal);
    let journal = journal.unwrap_or_default();
    take_apart(&mark, (journal, known), held)
}

/// Removes what a journal names; `known` says whether there is one.
fn take_apart(mark: &Mark, (mut journal, known): (Journal, bool), held: Held) -> Result<Outcome> {
    let lab = mark.lab.as_str();
    let mut kernel = Kernel::host(&[])?;
    if journal.accepts
        && let Ok(mut socket) = Socket::netfilter()
    {
        kernel.filter = Filter::read(&mut socket, true).unwrap_or_default();
    }
    let mut outcome = Outcome::default();
    let steps = removal(mark, &journal, &kernel, &mut outcome)?;
    if known {
        journal.phase = Phase::Removing;
        match journal.save() {
            // What is there names everything as well.
            Err(error) if is_full(&error) => {}
            other => other?,
        }
        // The server must stop answering for what is about to go.
        let names = directory(lab).join("names.json");
        absent_is_fine(remove_file(&names))
            .during(|| format!("cannot remove {}", names.display()))?;
    }
    let mut executor =
        Executor::new(&kernel, lab).during(|| "cannot open a netlink socket".to_owned())?;
    executor.held = Some(held);
    executor.run(&steps);
    outcome.stopped = executor.stopped;
    outcome.failures = std::mem::take(&mut executor.failures)
        .into_iter()
        .map(|(_, why)| why)
        .collect();
    outcome.warnings.append(&mut executor.warnings);
    outcome.steps = steps;
    if outcome.failures.is_empty() {
        Journal::remove(lab)?;
    }
    Ok(outcome)
}

/// Whether there was no room.
fn is_full(error: &Error) -> bool {
    let full = [
        std::io::ErrorKind::StorageFull,
        std::io::ErrorKind::QuotaExceeded,
    ];
    error
        .cause()
        .is_some_and(|cause| full.contains(&cause.kind()))
}

/// What carries a lab's mark when its journal is lost.
fn discover(mark: &Mark) -> Journal {
    let mut journal = Journal::new(&mark.lab);
    for entry in std::fs::read_dir(ETC).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        for file in ["resolv.conf", "hosts", "nsswitch.conf"] {
            let path = entry.path().join(file);
            if is_marked(&path, mark) {
                let made = journal.spaces.entry(name.clone()).or_default();
                made.files.push(file.to_owned());
                made.directory = true;
            }
        }
    }
    // Those without files are known by their links.
    for name in space::names() {
        let there = matches!(space::kind(&name), Ok(Kind::Namespace));
        if there
            && !journal.spaces.contains_key(&name)
            && let Ok(seen) = look(&name)
            && owned(&name, &seen, mark, None).is_ok()
        {
            journal.spaces.entry(name).or_default();
        }
    }
    journal
}

/// The steps that remove a lab.
fn removal(
    mark: &Mark,
    journal: &Journal,
    kernel: &Kernel,
    outcome: &mut Outcome,
) -> Result<Vec<Action>> {
    let mut steps = Vec::new();
    let table = mark.table();
    if let Some(seen) = kernel.tables.as_ref().and_then(|tables| tables.get(&table))
        && mark.owns(&seen.comment)
    {
        steps.push(Action::RemoveTable {
            space: None,
            name: table,
        });
    }
    for (place, handle, _) in kernel.filter.owned(mark) {
        steps.push(Action::RemoveAccept { place, handle });
    }
    if !journal.redirects.is_empty() {
        steps.push(Action::Forget {
            space: None,
            redirects: journal.redirects.clone(),
        });
    }
    let all = &kernel.host.links;
    let ours: Vec<_> = all.iter().filter(|link| mark.owns_link(link)).collect();
    let links: Vec<String> = ours.iter().map(|link| link.name.clone()).collect();
    let in_group = |link: &&Link| link.group == mark.group();
    // Two labs may have one group, and somebody may have changed that of a link.
    let is_group = ours.iter().all(in_group) && all.iter().filter(in_group).count() == ours.len();
    if is_group && !links.is_empty() {
        steps.push(Action::DeleteGroup {
            group: mark.group(),
            links,
        });
    } else {
        steps.extend(
            links
                .into_iter()
                .map(|link| Action::DeleteLink { space: None, link }),
        );
    }
    let mut inhabited = Vec::new();
    for name in journal.spaces.keys() {
        let ours = match space::kind(name).during(|| format!("cannot look at namespace {name}"))? {
            Kind::Absent => false,
            Kind::HalfMade => true,
            Kind::Namespace => {
                // One that is known by its number is not looked into any further.
                let seen = look(name)?;
                match owned(name, &seen, mark, Some(journal)) {
                    Ok(()) => {
                        // Links to the host that go with no link of the host.
                        let on_host = seen.links.iter();
                        let on_host =
                            on_host.filter(|link| is_on(link) && link.group == mark.group());
                        steps.extend(on_host.map(|link| Action::DeleteLink {
                            space: Some(name.clone()),
                            link: link.name.clone(),
                        }));
                        true
                    }
                    Err(why) => {
                        outcome.warnings.push(format!("{why}; it stays"));
                        false
                    }
                }
            }
        };
        if ours {
            inhabited.push(name.clone());
            steps.push(Action::RemoveSpace {
                space: name.clone(),
            });
        }
    }
    // A bridge that goes gives up its ports; what stood on them is gone, and would be remembered otherwise.
    for (name, _) in journal.parents.iter().filter(|(_, up)| !**up) {
        if kernel.host_link(name).is_some_and(|link| link.up) {
            steps.push(Action::ChangeLink {
                space: None,
                link: name.clone(),
                change: LinkChange {
                    up: Some(false),
                    ..LinkChange::default()
                },
            });
        }
    }
    warn_of_processes(&inhabited, outcome);
    for (name, made) in &journal.spaces {
        for path in made.paths(name) {
            if is_marked(&path, mark) {
                steps.push(Action::RemoveFile { path });
            } else if path.exists() {
                outcome.warnings.push(format!(
                    "{} is not the lab's any more; it stays",
                    path.display()
                ));
            }
        }
        let path = files_of(name);
        if made.directory && path.exists() {
            steps.push(Action::RemoveDirectory { path });
        }
    }
    let others = Journal::others(&mark.lab);
    let etc = std::path::PathBuf::from(ETC);
    if journal.etc && etc.exists() && !others.iter().any(|other| other.etc) {
        steps.push(Action::RemoveDirectory { path: etc });
    }
    for (key, before) in &journal.sysctls {
        steps.extend(claim::restore(&mark.lab, key, before));
    }
    // It tells what the settings were, where the journal is lost.
    steps.extend(persist::removal(mark, journal, &mut outcome.warnings));
    if journal.prepared
        && !others.iter().any(|other| other.prepared)
        && std::path::Path::new(space::RUN).exists()
    {
        steps.push(Action::Unprepare);
    }
    Ok(steps)
}

/// The number of a namespace and its links.
fn look(name: &str) -> Result<Inside> {
    let look = || -> std::io::Result<Inside> {
        let _away = space::enter(name)?;
        Inside::identity()
    };
    look().during(|| format!("cannot look into namespace {name}"))
}

/// Says which processes keep a namespace alive after its name is gone.
fn warn_of_processes(names: &[String], outcome: &mut Outcome) {
    use std::os::unix::fs::MetadataExt as _;
    let identities: Vec<_> = names
        .iter()
        .filter_map(|name| {
            let data = std::fs::metadata(space::path(name)).ok()?;
            Some(((data.dev(), data.ino()), name))
        })
        .collect();
    let all: Map<_, _> = identities.into_iter().collect();
    for (identity, pid, command) in space::processes_by_namespace() {
        if let Some(name) = all.get(&identity) {
            outcome.warnings.push(format!(
                "process {pid} ({command}) is still inside {name}, without links; its namespace lives until it ends"
            ));
        }
    }
}

/// Labs of which something is left although nothing declares it: marks without a journal, journals of removals that were
/// cut short, and labs of a `run` that was killed.
///
/// # Errors
/// The kernel cannot be read.
pub fn orphans() -> Result<Vec<String>> {
    let kernel = Kernel::host(&[])?;
    let mut labs: Set<String> = Set::default();
    let aliases = kernel.host.links.iter().map(|link| link.alias.clone());
    let comments = kernel
        .tables
        .iter()
        .flatten()
        .map(|(_, seen)| seen.comment.clone());
    for alias in aliases.chain(comments) {
        let lab = alias
            .strip_prefix("lab:")
            .and_then(|rest| rest.split(':').next());
        labs.extend(
            lab.filter(|lab| Mark::of(lab).owns(&alias))
                .map(str::to_owned),
        );
    }
    for entry in std::fs::read_dir(ETC).into_iter().flatten().flatten() {
        let text = crate::input::read_or_empty(&entry.path().join("resolv.conf"));
        let lab = text
            .strip_prefix("# lab ")
            .and_then(|rest| rest.split(' ').next());
        labs.extend(
            lab.filter(|lab| text.starts_with(&Mark::of(lab).line()))
                .map(str::to_owned),
        );
    }
    labs.retain(|lab| !matches!(Journal::load(lab), Ok(Some(_))));
    for lab in Journal::labs() {
        match Journal::load(&lab) {
            Ok(Some(journal))
                if journal.phase == Phase::Removing || crate::run::is_abandoned(&journal) =>
            {
                labs.insert(lab);
            }
            _ => {}
        }
    }
    let mut labs: Vec<String> = labs.into_iter().collect();
    labs.sort();
    Ok(labs)
}

/// Gives a process's network namespace a name.
///
/// # Errors
/// The name is taken, or the process is gone.
pub fn adopt(pid: i32, name: &str) -> Result<()> {
    let _lock = Lock::take()?;
    if !crate::spec::is_name(name, 63) {
        return Err(Error::new(format!(
            "`{name}` cannot be a namespace's name: letters, digits, `-`, `_` and `.`, first a letter or a digit, 63 at most"
        )));
    }
    let from = std::path::PathBuf::from(format!("/proc/{pid}/ns/net"));
    if !from.exists() {
        return Err(Error::new(format!("there is no process {pid}")));
    }
    let bind = || -> std::io::Result<()> {
        space::prepare()?;
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(space::path(name))?;
        space::bind(&from, &space::path(name))
    };
    bind().during(|| format!("cannot name the namespace of process {pid} {name}"))
}

/// Brings up `lo` of the thread's network namespace.
pub(crate) fn loopback() -> std::io::Result<()> {
    let mut batch = crate::netlink::Batch::default();
    let change = crate::link::LinkChange {
        up: Some(true),
        ..crate::link::LinkChange::default()
    };
    crate::link::change_link(&mut batch, "lo", &change, None);
    crate::netlink::Socket::route()?
        .transact(&mut batch)
        .map(drop)
}
