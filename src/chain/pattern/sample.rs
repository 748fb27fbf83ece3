//! Texts that an expression matches, to try out what is made of them before a query comes.

use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind};

use super::Pattern;

impl Pattern {
    /// Whether a part of it matches any letters and digits, such as `.*` and `[^.]+`: samples tell little of what it may match.
    pub fn is_open(&self) -> bool {
        regex_syntax::parse(self.regex.as_str()).is_ok_and(|hir| is_open(&hir))
    }

    /// Some texts that it matches, made of digits and of letters, short and less short, and of what names often have in them; none where
    /// it is not easy to find any.
    pub fn samples(&self) -> Vec<String> {
        let Ok(hir) = regex_syntax::parse(self.regex.as_str()) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut add = |taste: Taste| {
            let mut text = String::new();
            if taste.write(&hir, &mut text).is_some()
                && self.is_match(&text)
                && !found.contains(&text)
            {
                found.push(text);
            }
        };
        for branch in [0, 1] {
            for favourite in ['1', 'a', 'f'] {
                for length in [1, 2] {
                    add(Taste {
                        favourite,
                        length,
                        branch,
                        run: "",
                    });
                }
            }
            for run in RUNS {
                add(Taste {
                    favourite: '1',
                    length: 1,
                    branch,
                    run,
                });
            }
        }
        found
    }
}

/// The octets that a sample has at most.
const LONGEST_SAMPLE: usize = 255;

/// What a sample is made of, where an expression leaves a choice.
struct Taste {
    /// The character, where a set has it.
    favourite: char,
    /// How often something is repeated.
    length: u32,
    /// Which alternative.
    branch: usize,
    /// What a set is repeated for, where all of this is in it.
    run: &'static str,
}

/// What names often have in them: addresses, numbers and labels.
const RUNS: [&str; 7] = [
    "192.0.2.1",
    "192-0-2-1",
    "2001:db8::1",
    "2001-db8--1",
    "c0000201",
    "10",
    "www",
];

/// Whether a part of an expression matches any letters and digits.
fn is_open(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Repetition(repetition) => {
            let all = |class: &ClassUnicode| {
                let mut wanted = ('a'..='z').chain('0'..='9');
                wanted.all(|c| has(class, c))
            };
            match repetition.sub.kind() {
                HirKind::Class(Class::Unicode(class)) => all(class),
                _ => is_open(&repetition.sub),
            }
        }
        HirKind::Capture(capture) => is_open(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(is_open),
        _ => false,
    }
}

/// Whether a character is in a set.
fn has(class: &ClassUnicode, c: char) -> bool {
    let ranges = class.ranges();
    ranges.iter().any(|r| (r.start()..=r.end()).contains(&c))
}

impl Taste {
    /// Appends a text that `hir` matches; nothing is returned where none is found.
    fn write(&self, hir: &Hir, out: &mut String) -> Option<()> {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => out.push_str(std::str::from_utf8(&literal.0).ok()?),
            HirKind::Class(Class::Unicode(class)) => {
                let ranges = class.ranges();
                let wanted = [self.favourite, '1', 'a'];
                let found = wanted.into_iter().find(|c| has(class, *c));
                out.push(found.or_else(|| Some(ranges.first()?.start()))?);
            }
            HirKind::Class(Class::Bytes(class)) => {
                out.push(class.ranges().first()?.start() as char);
            }
            HirKind::Repetition(repetition) => {
                let most = repetition.max.unwrap_or(u32::MAX);
                if let HirKind::Class(Class::Unicode(class)) = repetition.sub.kind()
                    && (repetition.min..=most).contains(&(self.run.len() as u32))
                    && !self.run.is_empty()
                    && self.run.chars().all(|c| has(class, c))
                {
                    out.push_str(self.run);
                    return (out.len() <= LONGEST_SAMPLE).then_some(());
                }
                let count = self.length.max(repetition.min).min(most);
                for _ in 0..count {
                    self.write(&repetition.sub, out)?;
                }
            }
            HirKind::Capture(capture) => self.write(&capture.sub, out)?,
            HirKind::Concat(parts) => {
                parts.iter().try_for_each(|part| self.write(part, out))?;
            }
            HirKind::Alternation(parts) => {
                let part = parts.get(self.branch).or(parts.last())?;
                self.write(part, out)?;
            }
        }
        (out.len() <= LONGEST_SAMPLE).then_some(())
    }
}
