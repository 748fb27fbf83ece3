//! Catalog zones (RFC 9432): zones that list other zones, which are then fetched from the same primaries.
//!
//! ```text
//! a catalog changes ─► Members::update ─► members that came: a place each; that went: given up ─► the ZoneSet of the block
//!                                    └─► Members::follow keeps each member as its primaries have it
//! ```
//!
//! A catalog that cannot be understood is not taken (`read`), so the members stay that were there, and so they do when it expires.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chain::capability::Capabilities;
use chain::served::{Change, Observer, Served, ZoneSet};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use wire::{Name, NameBuf, Type};
use zone::Zone;

use super::follow::follow;
use super::place::Place;

/// A member of a catalog: its ID and its name.
type Listed = (Box<[u8]>, NameBuf);

/// The members that a catalog lists.
///
/// # Errors
/// Why it is no catalog of version 2 (RFC 9432, sections 4.1 and 4.2.1).
pub(super) fn read(zone: &Zone) -> Result<Vec<Listed>, String> {
    let apex = zone.apex();
    let mut versions = Vec::new();
    let mut members: Vec<Listed> = Vec::new();
    for record in zone.records() {
        let owner = record.owner();
        let labels: Vec<&[u8]> = owner.labels().collect();
        let left = owner.label_count() - apex.label_count();
        match (left, record.rtype()) {
            (1, Type::TXT) if labels[0].eq_ignore_ascii_case(b"version") => {
                versions.push(record.rdata());
            }
            (2, Type::PTR) if labels[1].eq_ignore_ascii_case(b"zones") => {
                let rdata = record.rdata();
                let name = Name::new(&rdata).map_err(|why| why.to_string())?;
                let id = labels[0].to_ascii_lowercase().into();
                members.push((id, NameBuf::from_name(name).to_lower()));
            }
            _ => {}
        }
    }
    if versions != [b"\x012"] {
        return Err("it is no catalog of version 2".to_owned());
    }
    members.sort_by(|one, other| one.0.cmp(&other.0));
    if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err("an ID of the catalog has two members".to_owned());
    }
    let mut names: Vec<_> = members
        .iter()
        .map(|(_, name)| name.as_name().octets())
        .collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("a member of the catalog has two IDs".to_owned());
    }
    Ok(members)
}

/// A catalog, and the names at and below which it may have members; all where there are none.
pub(super) struct Catalog {
    pub(super) place: Arc<Place>,
    pub(super) allowed: Vec<NameBuf>,
}

/// A member at work.
#[derive(Clone)]
struct Member {
    catalog: usize,
    id: Box<[u8]>,
    place: Arc<Place>,
}

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

    /// Has the members that the catalogs list now.
    fn update(&self) {
        if self.catalogs.is_empty() {
            return;
        }
        let mut known = self.lock();
        let mut now: Vec<Member> = Vec::new();
        for (number, catalog) in self.catalogs.iter().enumerate() {
            let listed = catalog
                .place
                .served
                .snapshot()
                .and_then(|zone| read(&zone).ok());
            let Some(listed) = listed else {
                // Those that it had stay.
                let own = known.iter().filter(|member| member.catalog == number);
                now.extend(own.cloned());
                continue;
            };
            for (id, name) in listed {
                if let Some(member) = self.member(&known, &now, number, (id, name)) {
                    now.push(member);
                }
            }
        }
        for gone in known.iter() {
            let apex = gone.place.served.apex();
            if !now.iter().any(|member| member.place.served.apex() == apex) {
                gone.place.remove_copy();
            }
        }
        *known = now;
        drop(known);
        let places = self.places();
        let served: Vec<Arc<Served>> = places.iter().map(|place| place.served.clone()).collect();
        self.zones.set(served);
    }

    /// A member that a catalog lists, unless the catalog may not have it or it is served already.
    fn member(
        &self,
        known: &[Member],
        now: &[Member],
        number: usize,
        (id, name): Listed,
    ) -> Option<Member> {
        let catalog = &self.catalogs[number];
        let of = catalog.place.served.apex();
        let is = |place: &Place| place.served.apex() == name.as_name();
        let allowed = &catalog.allowed;
        if !allowed.is_empty()
            && !allowed
                .iter()
                .any(|zone| name.as_name().is_within(zone.as_name()))
        {
            tracing::warn!(target: "plugin/secondary", "Zone {name} of catalog {of} is not allowed there: skipped");
            return None;
        }
        if self.named.iter().any(|place| is(place)) || now.iter().any(|member| is(&member.place)) {
            tracing::warn!(target: "plugin/secondary", "Zone {name} of catalog {of} is served already: skipped");
            return None;
        }
        let before = known.iter().find(|member| is(&member.place));
        if let Some(before) = before.filter(|before| (before.catalog, &before.id) == (number, &id))
        {
            return Some(before.clone());
        }
        let place = catalog.place.beside(name.as_name());
        if before.is_some() {
            // Another ID, or another catalog, is another zone of this name (RFC 9432, section 5.6).
            place.forget();
            place.look();
        }
        Some(Member {
            catalog: number,
            id,
            place,
        })
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
