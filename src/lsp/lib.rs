//! `nameplate lsp`: a language server for Corefiles, over standard input and output.
//!
//! ```text
//! editor ─► message ─► session ─┬─► findings      what `check` says, by file, with its fixes   ─► publishDiagnostics, codeAction
//!                               ├─► context ─┬──► completion   directives, options, their words
//!                               │            └──► hover        the manual, and where it runs in the chain
//!                               └─► manual        the plugins' READMEs, taken apart
//! ```
//!
//! One message at a time, in order: an answer that overtakes an edit is of no use. A document that changed is checked when no message waits, so
//! that of several changes only the newest text is checked, and a question does not wait for the others. The document is kept as text; it is
//! parsed anew for each question, since a Corefile is small. What stands at the cursor is found in the text and not in the tree, because a
//! document is broken while somebody types.

#![forbid(unsafe_code)]

mod completion;
mod context;
mod findings;
mod hover;
mod manual;
mod message;
mod position;
mod session;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Write};
use std::sync::mpsc::{self, TryRecvError};

use chain::setup::Catalogue;

use manual::Manuals;
use session::Session;

/// What the server knows of the plugins.
#[derive(Clone, Copy)]
pub struct Plugins {
    /// In the order in which they run.
    pub catalogue: Catalogue,
    /// The name of that order.
    pub order: &'static str,
    /// The manual of each: its name, and its README down to the section *Syntax*.
    pub manuals: &'static [(&'static str, &'static str)],
}

/// How many messages are read ahead.
const AHEAD: usize = 64;

/// Serves an editor until it says `exit` or goes away. The exit status is what the protocol says: 0 after `shutdown`, 1 without.
pub fn serve(
    plugins: Plugins,
    mut input: impl BufRead + Send + 'static,
    output: &mut dyn Write,
) -> u8 {
    let (sender, messages) = mpsc::sync_channel(AHEAD);
    // It ends with its input, or with the process.
    std::thread::spawn(move || {
        loop {
            let ended = match message::read(&mut input) {
                Ok(Some(read)) => sender.send(read).is_err(),
                Ok(None) => true,
                Err(error) => {
                    let _ = writeln!(io::stderr(), "nameplate lsp: {error}");
                    true
                }
            };
            if ended {
                break;
            }
        }
    });
    let mut session = Session::new(plugins, Manuals::read(plugins.manuals));
    loop {
        let next = match messages.try_recv() {
            Err(TryRecvError::Empty) if session.is_settled() => messages.recv().ok(),
            Err(TryRecvError::Empty) => {
                if tell(output, session.check_one()).is_err() {
                    return 1;
                }
                continue;
            }
            Err(TryRecvError::Disconnected) => None,
            Ok(read) => Some(read),
        };
        let replies = match next {
            // Who went without a word may still read.
            None => {
                let _ = tell(output, session.settle());
                return 1;
            }
            Some(Ok(request)) => match session.take(&request) {
                Some(replies) => replies,
                None => return session.status(),
            },
            Some(Err(why)) => vec![message::refusal(
                &serde_json::Value::Null,
                message::PARSE_ERROR,
                &why,
            )],
        };
        if tell(output, replies).is_err() {
            return 1;
        }
    }
}

/// Sends messages.
fn tell(output: &mut dyn Write, messages: Vec<serde_json::Value>) -> io::Result<()> {
    messages
        .iter()
        .try_for_each(|message| message::write(output, message))
}
