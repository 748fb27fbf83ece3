//! Addresses that a server block listens on beside those of `bind`, as they come and go while it serves.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A list that a plugin keeps and the server follows: what is new is bound, what is gone is closed, and nothing else changes.
///
/// The addresses need not be the machine's: the sockets wait for them.
#[derive(Clone, Debug)]
pub struct Addresses {
    list: Arc<Mutex<Vec<IpAddr>>>,
    moved: Arc<Notify>,
}

impl Addresses {
    /// An empty list; `moved` is told of every change.
    pub fn new(moved: Arc<Notify>) -> Self {
        Self {
            list: Arc::default(),
            moved,
        }
    }

    /// The addresses now.
    pub fn list(&self) -> Vec<IpAddr> {
        self.lock().clone()
    }

    /// Replaces the list; says whether it is another one.
    pub fn set(&self, addresses: Vec<IpAddr>) -> bool {
        let mut list = self.lock();
        if *list == addresses {
            return false;
        }
        *list = addresses;
        self.moved.notify_one();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Vec<IpAddr>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
