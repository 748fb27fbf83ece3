//! Catalog zones (RFC 9432): zones that list other zones, which are then fetched from the same primaries.
//!
//! ```text
//! a catalog changes ─► Members::update ─► members that came: a place each; that went: given up ─► the ZoneSet of the block
//!                                    └─► Members::follow keeps each member as its primaries have it
//! ```
//!
//! A catalog that cannot be understood is not taken (`read`), so the members stay that were there. When it expires they stay, too, after
//! a restart as well: an expired copy on disk still says which zones there are, and each member lives by its own EXPIRE.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chain::capability::Capabilities;
use chain::keeper::ZoneReport;
use chain::served::{Change, Observer, Served, ZoneSet};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use wire::{Name, NameBuf, Type};
use zone::Zone;

use super::follow::follow;
use super::place::Place;
use super::sources::Sources;

/// A member as a catalog lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Listed {
    pub(super) id: Box<[u8]>,
    pub(super) name: NameBuf,
    /// The catalog that may take it over (RFC 9432, section 4.3.1).
    pub(super) coo: Option<NameBuf>,
    /// The groups that it is in (section 4.3.2).
    pub(super) groups: Vec<Box<[u8]>>,
}

/// The members that a catalog lists.
///
/// # Errors
/// Why it is not a catalog of version 2 (RFC 9432, sections 4.1, 4.2.1 and 4.3.1).
pub(super) fn read(zone: &Zone) -> Result<Vec<Listed>, String> {
    let apex = zone.apex();
    let mut versions = Vec::new();
    let mut members: Vec<Listed> = Vec::new();
    let (mut owners, mut groups) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
    let mut twice = false;
    for record in zone.records() {
        let owner = record.owner();
        let labels: Vec<&[u8]> = owner.labels().collect();
        let left = owner.label_count() - apex.label_count();
        let is = |at: usize, label: &str| labels[at].eq_ignore_ascii_case(label.as_bytes());
        let id = |at: usize| -> Box<[u8]> { labels[at].to_ascii_lowercase().into() };
        let rdata = record.rdata();
        let name = || {
            let name = Name::new(&rdata).map_err(|why| why.to_string());
            name.map(|name| NameBuf::from_name(name).to_lower())
        };
        match (left, record.rtype()) {
            (1, Type::TXT) if is(0, "version") => versions.push(rdata),
            (2, Type::PTR) if is(1, "zones") => members.push(Listed {
                id: id(0),
                name: name()?,
                coo: None,
                groups: Vec::new(),
            }),
            (3, Type::PTR) if is(2, "zones") && is(0, "coo") => {
                twice |= owners.insert(id(1), name()?).is_some();
            }
            (3, Type::TXT) if is(2, "zones") && is(0, "group") => {
                if let Some((&len, text)) = rdata.split_first()
                    && text.len() == usize::from(len)
                {
                    groups.entry(id(1)).or_default().push(text.into());
                }
            }
            _ => {}
        }
    }
    if versions != [b"\x012"] {
        return Err("it is not a catalog of version 2".to_owned());
    }
    if twice {
        return Err("a member of the catalog has two new owners".to_owned());
    }
    members.sort_by(|one, other| one.id.cmp(&other.id));
    if members.windows(2).any(|pair| pair[0].id == pair[1].id) {
        return Err("an ID of the catalog has two members".to_owned());
    }
    let mut names: Vec<_> = members
        .iter()
        .map(|member| member.name.as_name().octets())
        .collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("a member of the catalog has two IDs".to_owned());
    }
    for member in &mut members {
        member.coo = owners.remove(&member.id);
        member.groups = groups.remove(&member.id).unwrap_or_default();
    }
    Ok(members)
}

/// A catalog.
pub(super) struct Catalog {
    pub(super) place: Arc<Place>,
    /// The names at and below which it may have members; all where there are none.
    pub(super) allowed: Vec<NameBuf>,
    /// Where the members of groups come from, by the name of the group.
    pub(super) groups: Vec<(String, Sources)>,
}

impl Catalog {
    fn apex(&self) -> Name<'_> {
        self.place.served.apex()
    }

    /// Whether it may have a member of this name.
    fn allows(&self, name: &NameBuf) -> bool {
        let mut allowed = self.allowed.iter();
        self.allowed.is_empty() || allowed.any(|zone| name.as_name().is_within(zone.as_name()))
    }

    /// The groups of the Corefile that a member is in, in the order in which they stand there.
    fn groups(&self, listed: &Listed) -> impl Iterator<Item = &(String, Sources)> {
        self.groups.iter().filter(|(group, _)| {
            let mut own = listed.groups.iter();
            own.any(|own| **own == *group.as_bytes())
        })
    }

    /// Where a member comes from: by the first of its groups, if it is in one.
    fn sources(&self, listed: &Listed) -> (Option<&str>, &Sources) {
        match self.groups(listed).next() {
            Some((group, sources)) => (Some(group), sources),
            None => (None, &self.place.sources),
        }
    }
}

/// A member at work.
#[derive(Clone)]
struct Member {
    catalog: usize,
    id: Box<[u8]>,
    coo: Option<NameBuf>,
    group: Option<String>,
    place: Arc<Place>,
}

/// What a catalog, by its number, says of a name.
type Candidate<'l> = (usize, &'l Listed);

/// The zones of a block: those that the Corefile names, and the members of catalogs among them.
pub(super) struct Members {
    named: Vec<Arc<Place>>,
    catalogs: Vec<Catalog>,
    pub(super) zones: Arc<ZoneSet>,
    members: Mutex<Vec<Member>>,
    told: Notify,
}

impl Members {
    pub(super) fn new(named: Vec<Arc<Place>>, catalogs: Vec<Catalog>) -> Arc<Self> {
        let zones = match catalogs.is_empty() {
            true => ZoneSet::fixed(named.iter().map(|place| place.served.clone())),
            false => ZoneSet::changing(),
        };
        let members = Arc::new(Self {
            named,
            catalogs,
            zones: Arc::new(zones),
            members: Mutex::default(),
            told: Notify::new(),
        });
        let observer: Arc<dyn Observer> = members.clone();
        for catalog in &members.catalogs {
            catalog.place.served.observe(Arc::downgrade(&observer));
        }
        members.update();
        members
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All zones.
    pub(super) fn places(&self) -> Vec<Arc<Place>> {
        let members = self.lock();
        let members = members.iter().map(|member| member.place.clone());
        self.named.iter().cloned().chain(members).collect()
    }

    /// What is known of all zones.
    pub(super) fn reports(&self) -> Vec<ZoneReport> {
        let members = self.lock();
        let members = members.iter().map(|member| {
            let mut report = member.place.report();
            let catalog = self.catalogs[member.catalog].apex();
            let group = member.group.iter().map(|group| format!(", group {group}"));
            let catalog = format!("{catalog}{}", group.collect::<String>());
            report.details.push(("catalog", catalog));
            report
        });
        let named = self.named.iter().map(|place| place.report());
        named.chain(members).collect()
    }

    /// Has the members that the catalogs list now.
    pub(super) fn update(&self) {
        if self.catalogs.is_empty() {
            return;
        }
        let lists = self.catalogs.iter().map(|catalog| catalog.place.listed());
        let lists: Vec<Option<Vec<Listed>>> = lists.collect();
        let mut candidates: Vec<Candidate<'_>> = Vec::new();
        for (number, list) in lists.iter().enumerate() {
            candidates.extend(list.iter().flatten().map(|listed| (number, listed)));
        }
        candidates.sort_by(|one, other| {
            let key = |(number, listed): &Candidate<'_>| (listed.name, *number);
            let ((one, first), (other, second)) = (key(one), key(other));
            let names = one.as_name().octets().cmp(other.as_name().octets());
            names.then(first.cmp(&second))
        });
        let mut known = self.lock();
        let before: HashMap<&[u8], &Member> = known
            .iter()
            .map(|member| (member.place.served.apex().octets(), member))
            .collect();
        // The members of a catalog that cannot be read stay.
        let stays = |member: &&Member| lists[member.catalog].is_none();
        let mut now: Vec<Member> = known.iter().filter(stays).cloned().collect();
        for candidates in candidates.chunk_by(|one, other| one.1.name == other.1.name) {
            let name = candidates[0].1.name;
            let before = before.get(name.as_name().octets()).copied();
            if before.is_none_or(|member| !stays(&member)) {
                now.extend(self.member(candidates, before));
            }
        }
        let places: HashSet<&[u8]> = now
            .iter()
            .map(|member| member.place.served.apex().octets())
            .collect();
        for gone in known.iter() {
            if !places.contains(gone.place.served.apex().octets()) {
                gone.place.remove_copy();
            }
        }
        *known = now;
        drop(known);
        let places = self.places();
        let served: Vec<Arc<Served>> = places.iter().map(|place| place.served.clone()).collect();
        self.zones.set(served);
    }

    /// The member of a name that catalogs list, unless none of them may have it or it is served already.
    fn member(&self, candidates: &[Candidate<'_>], before: Option<&Member>) -> Option<Member> {
        let name = candidates[0].1.name;
        let skip = |number: usize, why: &str| {
            let of = self.catalogs[number].apex();
            tracing::warn!(target: "plugin/secondary", "Zone {name} of catalog {of} is {why}: skipped");
        };
        let allowed = |(number, _): &&Candidate<'_>| {
            let allowed = self.catalogs[*number].allows(&name);
            if !allowed {
                skip(*number, "not allowed there");
            }
            allowed
        };
        let mut candidates: Vec<Candidate<'_>> =
            candidates.iter().filter(allowed).copied().collect();
        let mut named = self.named.iter();
        if named.any(|place| place.served.apex() == name.as_name()) {
            candidates
                .iter()
                .for_each(|(number, _)| skip(*number, "served already"));
            return None;
        }
        let (number, listed, moved) = self.owner(&candidates, before)?;
        // Whoever has handed it over may still list it.
        let left = |other: &Listed| {
            other.coo.as_ref().map(NameBuf::as_name) == Some(self.catalogs[number].apex())
        };
        candidates.retain(|(other, listed)| *other != number && !left(listed));
        candidates
            .iter()
            .for_each(|(number, _)| skip(*number, "served already"));
        let (group, sources) = self.catalogs[number].sources(listed);
        if let Some(group) = group
            && self.catalogs[number].groups(listed).count() > 1
            && before.is_none_or(|before| before.group.as_deref() != Some(group))
        {
            let of = self.catalogs[number].apex();
            tracing::warn!(
                target: "plugin/secondary",
                "Zone {name} of catalog {of} is in several groups of the Corefile: `{group}`, which stands first, counts"
            );
        }
        let stays =
            |before: &&Member| before.id == listed.id && (before.catalog == number || moved);
        let place = match (before, before.filter(stays)) {
            (_, Some(before)) if before.place.sources.identity() == sources.identity() => {
                before.place.clone()
            }
            (_, Some(before)) => {
                let place = before.place.moved(sources);
                place.look();
                place
            }
            // Another ID, or another catalog, is another zone of this name (RFC 9432, sections 5.4 and 5.6).
            (Some(before), None) => {
                before.place.remove_copy();
                let place = Place::of(name.as_name(), sources, false);
                place.forget();
                place.look();
                place
            }
            (None, None) => Place::of(name.as_name(), sources, false),
        };
        if let Some(before) = before.filter(|before| before.catalog != number) {
            let (from, to) = (
                self.catalogs[before.catalog].apex(),
                self.catalogs[number].apex(),
            );
            let how = match stays(&before) {
                true => "as it is",
                false => "and is transferred again",
            };
            tracing::info!(target: "plugin/secondary", "Zone {name} moves from catalog {from} to {to}, {how}");
        }
        Some(Member {
            catalog: number,
            id: listed.id.clone(),
            coo: listed.coo,
            group: group.map(str::to_owned),
            place,
        })
    }

    /// The catalog that has a name now, and whether it was handed over to it (RFC 9432, section 4.3.1): the one that had it, unless that
    /// says that another has it and this lists it; else the first that lists it.
    fn owner<'l>(
        &self,
        candidates: &[Candidate<'l>],
        before: Option<&Member>,
    ) -> Option<(usize, &'l Listed, bool)> {
        let had = before.map(|member| member.catalog);
        let find = |number| {
            candidates
                .iter()
                .find(|(other, _)| Some(*other) == number)
                .copied()
        };
        let start = find(had).or_else(|| candidates.first().filter(|_| had.is_none()).copied());
        let (from, coo) = match (start, before) {
            (Some((number, listed)), _) => (number, listed.coo),
            (None, Some(before)) => (before.catalog, before.coo),
            (None, None) => return None,
        };
        let from = self.catalogs[from].apex();
        let to = candidates.iter().find(|(number, listed)| {
            let apex = self.catalogs[*number].apex();
            // Two that hand it over to each other would do so for ever.
            let back = listed.coo.as_ref().map(NameBuf::as_name) == Some(from);
            coo.as_ref().map(NameBuf::as_name) == Some(apex) && apex != from && !back
        });
        let chosen = to
            .copied()
            .or(start)
            .or_else(|| candidates.first().copied());
        chosen.map(|(number, listed)| (number, listed, to.is_some()))
    }

    /// Keeps the members as their primaries have them.
    pub(super) async fn follow(self: Arc<Self>, capabilities: Arc<Capabilities>) {
        let mut running = JoinSet::new();
        // By the address of its place, which lives as long as it is followed.
        let mut followed: HashMap<usize, AbortHandle> = HashMap::new();
        loop {
            let members: Vec<_> = self
                .lock()
                .iter()
                .map(|member| member.place.clone())
                .collect();
            followed.retain(|place, handle| {
                let stays = members
                    .iter()
                    .any(|member| Arc::as_ptr(member).addr() == *place);
                if !stays {
                    handle.abort();
                }
                stays
            });
            for place in members {
                followed
                    .entry(Arc::as_ptr(&place).addr())
                    .or_insert_with(|| running.spawn(follow(place, capabilities.clone())));
            }
            tokio::select! {
                () = self.told.notified() => self.update(),
                Some(_) = running.join_next(), if !running.is_empty() => {}
            }
        }
    }
}

impl Observer for Members {
    fn changed(&self, _: &Change<'_>) {
        // The change is not over yet; members are looked for when it is.
        self.told.notify_one();
    }
}
