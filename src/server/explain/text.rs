//! A record as people read it: the lines of the Corefile in their order of execution, and beside each what happened there.

use std::fmt::Write as _;

use super::record::{Answer, Place, Record, Visit};

/// Columns for the text of a Corefile's line; a longer one is cut.
const SOURCE: usize = 36;

/// Draws a record.
pub fn render(record: &Record) -> String {
    let mut out = String::new();
    let query = &record.query;
    let transport = if query.tcp { "tcp" } else { "udp" };
    let from = query.from.map_or_else(String::new, |ip| ip.to_string());
    let wants = if query.dnssec_ok { ", DO" } else { "" };
    let _ = writeln!(
        out,
        "{} {} from {from} over {transport}{wants}, to {}{}",
        query.name,
        query.qtype,
        record.server,
        if record.live { " (live)" } else { "" }
    );
    blocks(record, &mut out);
    chain(record, &mut out);
    answer(&record.answer, &mut out);
    out
}

fn blocks(record: &Record, out: &mut String) {
    out.push_str("\nserver blocks\n");
    let width = |text: usize| text.min(40);
    let zones = record.blocks.iter().map(|block| block.zone.len());
    let wide = width(zones.max().unwrap_or(0));
    let at = |place: &Option<Place>| match place {
        Some(place) => format!("{}:{}", place.file, place.line),
        None => String::new(),
    };
    let places = record.blocks.iter().map(|block| at(&block.place).len());
    let places = width(places.max().unwrap_or(0));
    for block in &record.blocks {
        let mark = if block.chosen { "->" } else { "  " };
        let (zone, place) = (&block.zone, at(&block.place));
        let _ = writeln!(out, "{mark} {zone:wide$}  {place:places$}  {}", block.why);
    }
    if record.more_blocks > 0 {
        let _ = writeln!(
            out,
            "   and {} more that do not enclose the name",
            record.more_blocks
        );
    }
    if !record.other_servers.is_empty() {
        let _ = writeln!(out, "   not asked: {}", record.other_servers.join(", "));
    }
}

fn chain(record: &Record, out: &mut String) {
    if record.steps.is_empty() {
        return;
    }
    let block = record.blocks.iter().find(|block| block.chosen);
    let main = block.and_then(|block| block.place.as_ref());
    let file = main.map_or("", |place| place.file.as_str());
    // A line of another file, which is imported, says which.
    let number = |place: &Option<Place>| match place {
        Some(place) if place.file == file => place.line.to_string(),
        Some(place) => format!("{}:{}", place.file, place.line),
        None => String::new(),
    };
    let numbers = record.steps.iter().map(|step| number(&step.place).len());
    let numbers = numbers.max().unwrap_or(0).max(1);
    let source = |at: usize| {
        let step = &record.steps[at];
        let text = step.place.as_ref().map_or("", |place| place.text.as_str());
        let text = text.trim_end_matches('{').trim_end();
        match text.is_empty() {
            true => step.plugin.clone(),
            false => cut(text),
        }
    };
    let sources = (0..record.steps.len()).map(|at| source(at).chars().count());
    let wide = sources.max().unwrap_or(0);
    let gutter = " ".repeat(numbers);
    let _ = match main {
        Some(place) => writeln!(
            out,
            "\n{gutter}--> {}:{}: {}",
            place.file,
            place.line,
            cut(&place.text)
        ),
        None => writeln!(out),
    };
    let _ = writeln!(out, "{gutter} |");
    for (at, step) in record.steps.iter().enumerate() {
        let lines = lines(record, at);
        let mut lines = lines.iter();
        let empty = String::new();
        let first = lines.next().unwrap_or(&empty);
        let (line, text) = (number(&step.place), source(at));
        let _ = writeln!(out, "{line:>numbers$} | {text:wide$}  {first}");
        for more in lines {
            let _ = writeln!(out, "{gutter} | {:wide$}  {more}", "");
        }
    }
    let _ = writeln!(out, "{gutter} |");
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SOURCE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// What happened at one step, a line each.
fn lines(record: &Record, at: usize) -> Vec<String> {
    let step = &record.steps[at];
    if let Some(why) = &step.why {
        return vec![format!("not asked: {why}")];
    }
    let mut out = Vec::new();
    let mut here = false;
    for visit in &record.visits {
        if visit.depth == 0 && !visit.aside {
            here = visit.step == at;
            if here {
                own(visit, &mut out);
            }
        } else if here {
            // What the server asked itself while this plugin waited.
            let marks = "> ".repeat(usize::from(visit.depth).max(1));
            let aside = if visit.aside { "beside: " } else { "" };
            let mut inner = Vec::new();
            own(visit, &mut inner);
            let zone = &visit.zone;
            out.extend(
                inner
                    .into_iter()
                    .map(|line| format!("{marks}{aside}[{zone}] {}: {line}", visit.plugin)),
            );
        }
    }
    if out.is_empty() {
        out.push("let the response pass".to_owned());
    }
    out
}

/// What a visit says for itself.
fn own(visit: &Visit, out: &mut Vec<String>) {
    let up = matches!(visit.hook.as_str(), "response" | "respond" | "silent");
    let mut said: Vec<String> = visit
        .remarks
        .iter()
        .map(|remark| {
            let facts = remark.facts.iter();
            let facts: Vec<String> = facts
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            match facts.is_empty() {
                true => remark.what.clone(),
                false => format!("{} ({})", remark.what, facts.join(", ")),
            }
        })
        .collect();
    let came = match (visit.came.as_str(), &visit.why) {
        (came, Some(why)) => format!("{came}: {why}"),
        ("waits" | "up", None) => String::new(),
        ("again", None) => "asks the plugins below again".to_owned(),
        ("unfinished", None) => "did not finish".to_owned(),
        (came, None) => came.to_owned(),
    };
    if matches!(visit.hook.as_str(), "resolve" | "respond") {
        said.insert(0, format!("waited {}", milliseconds(visit.took_us)));
    }
    let changed: Vec<String> = visit
        .changes
        .iter()
        .map(|change| match (change.from.as_str(), change.to.as_str()) {
            ("", to) => format!("added {to}"),
            (from, "") => format!("removed {from}"),
            (from, to) => format!("{} {from} -> {to}", change.what),
        })
        .collect();
    let mut parts = Vec::new();
    if !came.is_empty() {
        parts.push(came);
    }
    parts.extend(said);
    if !parts.is_empty() || !changed.is_empty() {
        let way = if up { "on the way up: " } else { "" };
        let first = parts.join("; ");
        match (first.is_empty(), changed.is_empty()) {
            (false, _) => {
                out.push(format!("{way}{first}"));
                out.extend(changed.into_iter().map(|change| format!("{way}{change}")));
            }
            (true, _) => out.extend(changed.into_iter().map(|change| format!("{way}{change}"))),
        }
    }
}

fn answer(answer: &Answer, out: &mut String) {
    let took = milliseconds(answer.took_us);
    match answer.outcome.as_str() {
        "silence" => {
            let _ = writeln!(
                out,
                "\nno response: a plugin dropped the query, after {took}"
            );
            return;
        }
        "stream" => {
            let by = answer.answered_by.as_deref().unwrap_or("?");
            let _ = writeln!(
                out,
                "\nanswer: many messages, by `{by}`; they are not shown"
            );
            return;
        }
        _ => {}
    }
    let by = match (&answer.answered_by, &answer.failed) {
        (Some(plugin), _) => format!("by `{plugin}`"),
        (None, Some(plugin)) => format!("by the server, since `{plugin}` failed"),
        (None, None) => "by the server".to_owned(),
    };
    let _ = writeln!(
        out,
        "\nanswer: {} {by} in {took}, flags {}, {} bytes",
        answer.rcode, answer.flags, answer.size
    );
    if let (None, Some(cause)) = (&answer.answered_by, &answer.cause) {
        let _ = writeln!(out, "  = cause: {cause}");
    }
    if let Some((code, text)) = &answer.extended_error {
        let _ = writeln!(out, "  = extended error {code}: {text}");
    }
    let sections = [
        ("", &answer.answer),
        ("authority: ", &answer.authority),
        ("additional: ", &answer.additional),
    ];
    for (name, records) in sections {
        for record in records {
            let _ = writeln!(out, "  {name}{record}");
        }
    }
}

fn milliseconds(microseconds: u64) -> String {
    format!("{:.1} ms", microseconds as f64 / 1e3)
}
