//! What each code means, for `check --explain CODE`.

/// Code and explanation, sorted by code.
pub const EXPLANATIONS: &[(&str, &str)] = &[];
