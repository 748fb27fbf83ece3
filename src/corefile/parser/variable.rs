//! `{$NAME}` and `{%NAME%}`: environment variables inside a word.

use super::Parser;
use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// References that one word may replace, those in values included.
const REPLACED_LIMIT: usize = 1_000;
/// Octets that one word may grow to.
const GROWN_LIMIT: usize = 1 << 20;

impl Parser<'_> {
    /// The word with its variables replaced; one that is not set is empty, with a warning.
    pub(super) fn replace_variables(&mut self, text: String, span: Span) -> String {
        if !text.contains("{$") && !text.contains("{%") {
            return text;
        }
        let mut budget = Budget {
            left: REPLACED_LIMIT,
            over: false,
        };
        // Both forms one after the other, as CoreDNS does: a value may hold references in turn.
        let text = self.replace(text, ("{%", "%}"), span, &mut budget);
        let text = self.replace(text, ("{$", "}"), span, &mut budget);
        if budget.over {
            self.report.push(
                Diagnostic::error("CF0502", "variables grow without limit in this word")
                    .at(
                        span,
                        format!("more than {REPLACED_LIMIT} replacements or 1 MiB"),
                    )
                    .note("a variable whose value contains itself never ends"),
            );
        }
        text
    }

    /// Replaces one form, left to right; a value is looked through again.
    fn replace(
        &mut self,
        text: String,
        (open, close): (&str, &str),
        span: Span,
        budget: &mut Budget,
    ) -> String {
        let mut out = String::new();
        // What is still to be looked at: the word's rest at the bottom, values above it.
        let mut rest = vec![(text, 0)];
        while let Some((text, at)) = rest.pop() {
            let tail = &text[at..];
            let found = tail.find(open).and_then(|start| {
                let name = start + open.len();
                // The end is looked for from the start, so `{%}` is a reference without a name.
                tail[start..]
                    .find(close)
                    .map(|end| (start, name, start + end))
            });
            let Some((start, name, end)) = found.filter(|_| !budget.over) else {
                out.push_str(tail);
                continue;
            };
            if end <= name {
                // CoreDNS gives up on the word at a reference without a name.
                out.push_str(tail);
                while let Some((text, at)) = rest.pop() {
                    out.push_str(&text[at..]);
                }
                break;
            }
            out.push_str(&tail[..start]);
            let value = self.variable(
                &tail[name..end],
                &tail[start..end + close.len()],
                span,
                out.ends_with('{'),
            );
            let next = at + end + close.len();
            budget.left = budget.left.saturating_sub(1);
            budget.over |= budget.left == 0 || out.len() + value.len() > GROWN_LIMIT + text.len();
            rest.push((text, next));
            if !value.is_empty() && !budget.over {
                rest.push((value, 0));
            }
        }
        out
    }

    /// A variable's value; `template` says that a brace stands before the reference.
    fn variable(&mut self, name: &str, written: &str, span: Span, template: bool) -> String {
        // A name with `=` or NUL cannot be asked for.
        let value = if name.contains(['=', '\0']) {
            None
        } else {
            self.loader.variable(name)
        };
        value.unwrap_or_else(|| {
            let diagnostic = Diagnostic::warning(
                "CF0501",
                format!("environment variable `{name}` is not set"),
            )
            .at(span, format!("`{written}` becomes empty"));
            let plain = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
            self.report.push(if template || !plain {
                diagnostic.help("in a Go template, write a space before the `$`: `{{ $name }}`")
            } else {
                diagnostic
            });
            String::new()
        })
    }
}

/// What replacing may still cost.
struct Budget {
    left: usize,
    over: bool,
}
