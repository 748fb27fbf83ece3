//! In which order the servers of a directive are asked.

use std::sync::atomic::{AtomicU32, Ordering};

use corefile::{Diagnostic, Token};
use host::random;
use rand::RngExt;

use crate::transaction::Order;

/// What `policy` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Selection {
    /// A new order for every query.
    #[default]
    Random,
    /// The first one moves on by one with every query.
    RoundRobin,
    /// As written.
    Sequential,
}

impl Selection {
    /// Reads the argument of `policy`.
    ///
    /// # Errors
    /// When it is none of the three.
    pub fn parse(token: &Token) -> Result<Self, Box<Diagnostic>> {
        const KNOWN: [&str; 3] = ["random", "round_robin", "sequential"];
        match token.text.as_str() {
            "random" => Ok(Self::Random),
            "round_robin" => Ok(Self::RoundRobin),
            "sequential" => Ok(Self::Sequential),
            other => {
                let diagnostic = Diagnostic::error("CF0211", format!("unknown policy '{other}'"))
                    .at(
                        token.span,
                        "expected `random`, `round_robin` or `sequential`",
                    );
                Err(Box::new(match corefile::nearest(other, KNOWN) {
                    Some(near) => diagnostic
                        .help("a similar policy exists")
                        .replace(token.span, near),
                    None => diagnostic,
                }))
            }
        }
    }

    /// The order of one query; `robin` counts the queries of the directive.
    #[inline]
    pub fn order(self, robin: &AtomicU32, count: usize) -> Order {
        match self {
            Self::Random if count > 1 => {
                let mut random = random::rng();
                Order::new(random.random_range(0..count), count, random.random())
            }
            Self::Sequential | Self::Random => Order::new(0, count, 0),
            Self::RoundRobin => {
                let turn = robin.fetch_add(1, Ordering::Relaxed);
                Order::new(turn.wrapping_add(1) as usize % count.max(1), count, 0)
            }
        }
    }
}
