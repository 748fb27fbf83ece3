//! Words with a type.
