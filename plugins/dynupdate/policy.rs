//! Who may change what: keys, names and types.

use wire::{Name, NameBuf, Type};

/// Names that a line is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Names {
    /// Every name of the zone.
    All,
    /// One name.
    One(NameBuf),
    /// Names below this one, at any depth.
    Below(NameBuf),
}

/// One line `allow`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Grant {
    /// In lower case.
    pub(super) key: NameBuf,
    pub(super) names: Names,
    /// The types; `None` for all.
    pub(super) types: Option<Vec<Type>>,
}

impl Grant {
    fn covers(&self, name: Name<'_>, rtype: Type) -> bool {
        let name = NameBuf::from_name(name).to_lower();
        let named = match &self.names {
            Names::All => true,
            Names::One(one) => name == *one,
            Names::Below(above) => name != *above && name.as_name().is_within(above.as_name()),
        };
        let typed = self.types.as_ref();
        named && typed.is_none_or(|types| types.contains(&rtype))
    }
}

/// Whether `key` may change anything.
pub(super) fn knows(grants: &[Grant], key: Name<'_>) -> bool {
    grants.iter().any(|grant| grant.key.as_name() == key)
}

/// Whether `key` may change records of this name and type.
pub(super) fn allows(grants: &[Grant], key: Name<'_>, name: Name<'_>, rtype: Type) -> bool {
    let mut grants = grants.iter().filter(|grant| grant.key.as_name() == key);
    grants.any(|grant| grant.covers(name, rtype))
}
