//! The Corefile language: from octets to server blocks, with every mistake reported at its place.
//!
//! ```text
//!  octets ──► lexer ──► parser ──► Corefile ──► key, value (typed, by the floors above)
//!              │          │ ▲ imports, snippets, {$ENV} through a Loader
//!              └──────────┴─┴──► Report ──► render (annotate-snippets) or JSON
//! ```
//!
//! The parser recovers: a [`Corefile`] and a [`Report`] are always returned, and one mistake gives one message. Every
//! token keeps the place where it is written, also through imports and snippets. Lexing and parsing are linear in the
//! size of what is read; what imports multiply is bounded (10,000 expansions, 4 million tokens).
//!
//! Nothing here knows a plugin: which directives and options exist is the business of the chain.

#![forbid(unsafe_code)]

pub mod codes;
mod diagnostic;
pub mod doubt;
pub mod key;
mod lexer;
mod parser;
mod render;
mod source;
mod syntax;
pub mod value;

pub use diagnostic::{Diagnostic, Fix, Label, Report, Severity, nearest};
pub use parser::parse;
pub use source::{Disk, FileId, Loader, Memory, READ_LIMIT, Sources, Span, read_bounded};
pub use syntax::{Block, Corefile, Directive, Line, ServerBlock, Token, show};
