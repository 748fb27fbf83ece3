//! What each object of a kind contributed, by its identity, so that it can be taken back.
//!
//! A [`Table`] grows leaf by leaf: with 150,000 pods a hash map would be copied whole, and stand beside its copy, each time it doubles.
//! A list that replaces the kind marks what it names; what has no mark at its end has vanished. So a list costs no memory beside this.

use super::entry::key;
use super::table::Table;

/// An object's namespace and name, hashed; keyed, so that nobody can choose two that collide.
pub(super) type Id = [u64; 2];

/// The identity of `NAMESPACE/NAME`.
pub(super) fn id(namespace: &str, name: &str) -> Id {
    let mut octets = Vec::with_capacity(namespace.len() + name.len() + 2);
    octets.extend_from_slice(namespace.as_bytes());
    octets.push(0);
    octets.extend_from_slice(name.as_bytes());
    let high = key(&octets);
    octets.push(1);
    [high, key(&octets)]
}

/// What the objects of one kind contributed.
pub(super) struct Noted<T> {
    table: Table<Note<T>>,
    /// The list that is being read, or was last.
    list: u32,
}

#[derive(Clone)]
struct Note<T> {
    id: Id,
    /// The last list that named it.
    list: u32,
    kept: T,
}

impl<T: Clone> Noted<T> {
    /// Nothing.
    pub(super) fn new() -> Self {
        Self {
            table: Table::default(),
            list: 0,
        }
    }

    /// What an object contributed.
    pub(super) fn get(&self, id: Id) -> Option<&T> {
        let [high, _] = id;
        let found = self.table.leaf(high).iter().find(|note| note.id == id);
        found.map(|note| &note.kept)
    }

    /// Notes what an object contributes now, or that it is gone; gives what it did.
    pub(super) fn set(&mut self, id: Id, kept: Option<T>) -> Option<T> {
        let [high, _] = id;
        let at = self.table.leaf(high).iter().position(|note| note.id == id);
        match (at, kept) {
            (Some(at), Some(kept)) => {
                let note = &mut self.table.leaf_mut(high)[at];
                Some(std::mem::replace(&mut note.kept, kept))
            }
            (Some(at), None) => Some(self.table.leaf_mut(high).swap_remove(at).kept),
            (None, Some(kept)) => {
                let list = self.list;
                self.table.push(high, Note { id, list, kept });
                None
            }
            (None, None) => None,
        }
    }

    /// Begins a list.
    pub(super) fn begin(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// Marks an object that the list names; says whether it was marked before.
    pub(super) fn mark(&mut self, id: Id) -> bool {
        let [high, _] = id;
        let list = self.list;
        let at = self.table.leaf(high).iter().position(|note| note.id == id);
        at.is_some_and(|at| {
            let note = &mut self.table.leaf_mut(high)[at];
            std::mem::replace(&mut note.list, list) == list
        })
    }

    /// What the list has not named.
    pub(super) fn unmarked(&self) -> Vec<Id> {
        let notes = self.table.iter().filter(|note| note.list != self.list);
        notes.map(|note| note.id).collect()
    }
}
