//! Label selectors, as `kubectl get -l` takes them: `app=web,tier in (a, b),!canary`.

/// Checks a selector and writes it in one spelling; one that says the same gives the same text.
///
/// # Errors
/// What is wrong.
pub(super) fn normalise(text: &str) -> Result<String, String> {
    let mut terms = Vec::new();
    for term in split(text)? {
        terms.push(one(term.trim())?);
    }
    terms.sort();
    Ok(terms.join(","))
}

/// The terms between commas that stand in no parentheses.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let (mut terms, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        if !(0..=1).contains(&depth) {
            return Err("parentheses do not match".into());
        }
    }
    if depth != 0 {
        return Err("a closing parenthesis is missing".into());
    }
    terms.push(&text[start..]);
    Ok(terms)
}

fn one(term: &str) -> Result<String, String> {
    if let Some(key) = term.strip_prefix('!') {
        return Ok(format!("!{}", check_key(key.trim())?));
    }
    for (operator, written) in [("!=", "!="), ("==", "="), ("=", "=")] {
        if let Some((key, value)) = term.split_once(operator) {
            return Ok(format!(
                "{}{written}{}",
                check_key(key.trim())?,
                check_value(value.trim())?
            ));
        }
    }
    if let Some((head, values)) = term.split_once('(') {
        let values = values
            .strip_suffix(')')
            .ok_or("something follows the closing parenthesis")?;
        let mut head = head.split_whitespace();
        let (Some(key), Some(operator @ ("in" | "notin")), None) =
            (head.next(), head.next(), head.next())
        else {
            return Err(format!(
                "expected `KEY in (…)` or `KEY notin (…)` at `{term}`"
            ));
        };
        let mut values: Vec<&str> = values.split(',').map(str::trim).collect();
        for value in &values {
            check_value(value)?;
        }
        values.sort_unstable();
        return Ok(format!(
            "{} {operator} ({})",
            check_key(key)?,
            values.join(",")
        ));
    }
    check_key(term).map(str::to_owned)
}

/// Letters, digits, `-`, `_` and `.`, at most 63 of them, the first and the last one a letter or a digit.
fn is_name(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn check_key(key: &str) -> Result<&str, String> {
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("", key));
    let good = is_name(name)
        && prefix.len() <= 253
        && (prefix.is_empty() && !key.contains('/')
            || !prefix.is_empty() && prefix.split('.').all(is_name));
    good.then_some(key)
        .ok_or_else(|| format!("`{key}` is not a label key"))
}

fn check_value(value: &str) -> Result<&str, String> {
    (value.is_empty() || is_name(value))
        .then_some(value)
        .ok_or_else(|| format!("`{value}` is not a label value"))
}
