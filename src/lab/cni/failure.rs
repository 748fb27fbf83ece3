//! Errors as the specification wants them: a code, a sentence, details; JSON on standard output.

use std::fmt;

use serde_json::{Value, json};

/// The codes of the specification that are used, and our own from 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// The version of the configuration is not spoken.
    Version = 1,
    /// A field that is not supported; the message names it.
    Unsupported = 2,
    /// A variable of the environment is missing or wrong; the message names it.
    Environment = 4,
    /// Something cannot be read or written.
    Io = 5,
    /// Something cannot be decoded.
    Decode = 6,
    /// The configuration is wrong.
    Config = 7,
    /// Not now.
    Again = 11,
    /// Nothing can be attached.
    NotAvailable = 50,
    /// The kernel refused.
    Kernel = 100,
    /// There is such an interface already.
    Exists = 101,
    /// What was checked is not as it was made.
    Differs = 102,
    /// No address is free.
    Exhausted = 103,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Its code; that of another plugin is passed on.
    pub(super) code: u32,
    /// What happened.
    pub(super) message: String,
    /// What the system said.
    pub(super) details: String,
}

/// A result of this module.
pub(super) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Something that no system call reported.
    #[must_use]
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: code as u32,
            message: message.into(),
            details: String::new(),
        }
    }

    /// The same with what the system said.
    #[must_use]
    pub(super) fn because(code: Code, message: impl Into<String>, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self {
            details: why.split(" (os error").next().unwrap_or("").to_owned(),
            ..Self::new(code, message)
        }
    }

    /// As it is printed.
    #[must_use]
    pub(super) fn to_json(&self, version: &str) -> Value {
        let mut value = json!({"cniVersion": version, "code": self.code, "msg": self.message});
        if !self.details.is_empty() {
            value["details"] = json!(self.details);
        }
        value
    }
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        Self::new(Code::Io, error.to_string())
    }
}
