//! The lines of dnsmasq.conf: comments, quotes, options, fields.

/// Name and value of an option; nothing on an empty line.
pub(super) fn option(line: &str) -> Option<(&str, Option<&str>)> {
    let line = without_comment(line).trim();
    if line.is_empty() {
        return None;
    }
    // Options may be written as on the command line.
    let line = line.strip_prefix("--").unwrap_or(line);
    Some(match line.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (line, None),
    })
}

/// A comment begins with `#` at the start of a line or behind white space, outside of quotes.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match c {
            '"' if before != '\\' => quoted = !quoted,
            '#' if !quoted && before.is_whitespace() => return &line[..at],
            _ => {}
        }
        before = c;
    }
    line
}

/// The fields between commas, without quotes; `\"`, `\\`, `\t` and the like mean what they do in C.
pub(super) fn fields(value: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut field = String::new();
    // White space around a field counts only within quotes.
    let mut kept = 0;
    let mut quoted = false;
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                quoted = !quoted;
                kept = field.len();
            }
            '\\' if quoted => {
                match rest.next() {
                    Some('t') => field.push('\t'),
                    Some('n') => field.push('\n'),
                    Some('r') => field.push('\r'),
                    Some('b') => field.push('\u{8}'),
                    Some('e') => field.push('\u{1b}'),
                    Some(other) => field.push(other),
                    None => field.push('\\'),
                }
                kept = field.len();
            }
            ',' if !quoted => {
                all.push(ended(&mut field, kept));
                kept = 0;
            }
            c if c.is_whitespace() && !quoted && field.is_empty() => {}
            c => {
                field.push(c);
                if quoted {
                    kept = field.len();
                }
            }
        }
    }
    all.push(ended(&mut field, kept));
    all
}

fn ended(field: &mut String, kept: usize) -> String {
    let mut field = std::mem::take(field);
    let end = field.trim_end().len().max(kept);
    field.truncate(end);
    field
}
