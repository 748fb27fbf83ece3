//! What outlives a configuration.

use std::any::{Any, TypeId};
use std::sync::{Arc, Mutex, PoisonError, Weak};

type Known = Vec<(TypeId, String, Weak<dyn Any + Send + Sync>)>;

/// The state of this name, as long as somebody holds it: a configuration that follows the same store as the one before it goes on with
/// what that one knew. `make` makes what nobody holds.
pub fn kept<T: Send + Sync + 'static>(name: &str, make: impl FnOnce() -> T) -> Arc<T> {
    static KNOWN: Mutex<Known> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|(_, _, state)| state.strong_count() > 0);
    let id = TypeId::of::<T>();
    let found = known
        .iter()
        .find(|(of, other, _)| *of == id && other == name)
        .and_then(|(_, _, state)| state.upgrade()?.downcast::<T>().ok());
    found.unwrap_or_else(|| {
        let state = Arc::new(make());
        let any: Arc<dyn Any + Send + Sync> = state.clone();
        known.push((id, name.to_owned(), Arc::downgrade(&any)));
        state
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_shared_and_what_is_not_is_made_anew() {
        let first = kept("a store", || 1u32);
        assert!(Arc::ptr_eq(&first, &kept("a store", || 2u32)));
        assert_eq!(*kept("another store", || 3u32), 3);
        assert_eq!(*kept("a store", || 4u64), 4);
        drop(first);
        assert_eq!(*kept("a store", || 5u32), 5);
    }
}
