//! What each object of a kind contributed, by its identity, so that it can be taken back.
//!
//! A [`Table`] grows leaf by leaf: with 150,000 pods a hash map would be copied whole, and stand beside its copy, each time it doubles.
//! A list that replaces the kind marks what it names; what has no mark at its end has vanished. So a list costs no memory beside this.

use source::Table;

use super::entry::key;

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
pub(super) struct Index<T> {
    table: Table<Indexed<T>>,
    /// The list that is being read, or was last.
    list: u32,
}

#[derive(Clone)]
struct Indexed<T> {
    id: Id,
    /// The last list that named it.
    list: u32,
    kept: T,
}

impl<T: Clone> Index<T> {
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
        let found = self.table.leaf(high).iter().find(|entry| entry.id == id);
        found.map(|entry| &entry.kept)
    }

    /// Sets what an object contributes now, `None` once it is gone; returns what it contributed before.
    pub(super) fn set(&mut self, id: Id, kept: Option<T>) -> Option<T> {
        let [high, _] = id;
        let at = self
            .table
            .leaf(high)
            .iter()
            .position(|entry| entry.id == id);
        match (at, kept) {
            (Some(at), Some(kept)) => {
                let entry = &mut self.table.leaf_mut(high)[at];
                Some(std::mem::replace(&mut entry.kept, kept))
            }
            (Some(at), None) => Some(self.table.leaf_mut(high).swap_remove(at).kept),
            (None, Some(kept)) => {
                let list = self.list;
                self.table.push(high, Indexed { id, list, kept });
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
        let at = self
            .table
            .leaf(high)
            .iter()
            .position(|entry| entry.id == id);
        at.is_some_and(|at| {
            let entry = &mut self.table.leaf_mut(high)[at];
            std::mem::replace(&mut entry.list, list) == list
        })
    }

    /// What the list has not named.
    pub(super) fn unmarked(&self) -> Vec<Id> {
        let entries = self.table.iter().filter(|entry| entry.list != self.list);
        entries.map(|entry| entry.id).collect()
    }
}
