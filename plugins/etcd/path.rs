//! Keys and names: `/skydns/org/example/www` is `www.example.org`.
//!
//! Names know no case and keys do, so that keys are compared in lower case. A part of a key that is no label, such as an address, leads
//! to no name of its own, but belongs to the names above it as every key does.

use wire::{Name, NameBuf};

/// Where the names stand among the keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    /// The path that names begin behind: `/skydns`; empty for the root of all keys.
    prefix: Vec<u8>,
}

impl Layout {
    /// Of what `path` says, with or without slashes at its ends.
    pub(super) fn new(path: &str) -> Self {
        let parts = path.split('/').filter(|part| !part.is_empty());
        Self {
            prefix: parts
                .flat_map(|part| ["/", part])
                .collect::<String>()
                .into(),
        }
    }

    /// The path of a name.
    pub(super) fn path(&self, name: Name<'_>) -> Vec<u8> {
        let labels: Vec<&[u8]> = name.labels().collect();
        let mut path = self.prefix.clone();
        for label in labels.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(label);
        }
        path
    }

    /// The longest path that those of all `zones` begin with.
    pub(super) fn common(&self, zones: &[NameBuf]) -> Vec<u8> {
        let paths: Vec<Vec<u8>> = zones.iter().map(|zone| self.path(zone.as_name())).collect();
        let mut common = paths
            .first()
            .cloned()
            .unwrap_or_else(|| self.prefix.clone());
        while !paths.iter().all(|path| is_within(path, &common)) {
            let end = common.iter().rposition(|&octet| octet == b'/');
            common.truncate(end.unwrap_or(0));
        }
        common
    }

    /// The parts of a key behind the prefix, the top first; `None` where it does not begin with the prefix.
    pub(super) fn parts<'k>(
        &self,
        key: &'k [u8],
    ) -> Option<impl Iterator<Item = &'k [u8]> + use<'k>> {
        let rest = key.strip_prefix(&*self.prefix)?;
        let rest = match rest.split_first() {
            Some((b'/', rest)) => rest,
            None => rest,
            Some(_) => return None,
        };
        Some(
            rest.split(|&octet| octet == b'/')
                .filter(|part| !part.is_empty()),
        )
    }

    /// The name of a path, in lower case; `None` where a part of it is no label.
    pub(super) fn name(&self, path: &[u8]) -> Option<NameBuf> {
        let parts: Vec<&[u8]> = self.parts(path)?.collect();
        parts.iter().all(|part| is_label(part)).then_some(())?;
        Some(joined(&parts)?.to_lower())
    }

    /// The name that a key stands for as a target: its parts, with the dots that are in them.
    pub(super) fn domain(&self, key: &[u8]) -> Option<NameBuf> {
        let parts: Vec<&[u8]> = self.parts(key)?.collect();
        joined(&parts)
    }

    /// The paths of the names that a key belongs to: its own, and those above it down to the prefix.
    pub(super) fn above<'k>(&self, key: &'k [u8]) -> impl Iterator<Item = &'k [u8]> + use<'k> {
        let least = self.prefix.len();
        let mut next = Some(key);
        std::iter::from_fn(move || {
            let here = next?;
            let end = here.iter().rposition(|&octet| octet == b'/');
            next = end
                .filter(|&end| end >= least)
                .and_then(|end| here.get(..end));
            Some(here)
        })
    }
}

/// Whether a path is `above` or below it.
pub(super) fn is_within(path: &[u8], above: &[u8]) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The first key behind all that are below a path, and behind the path itself.
pub(super) fn end(path: &[u8]) -> Vec<u8> {
    // `0` follows `/`.
    [path, b"0"].concat()
}

/// The first key below a path.
pub(super) fn below(path: &[u8]) -> Vec<u8> {
    [path, b"/"].concat()
}

/// Whether a part is one label in presentation format.
fn is_label(part: &[u8]) -> bool {
    let mut octets = part.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b'.' => return false,
            b'\\' => drop(octets.next()),
            _ => {}
        }
    }
    !part.is_empty()
}

fn joined(parts: &[&[u8]]) -> Option<NameBuf> {
    let mut text = Vec::new();
    for part in parts.iter().rev() {
        text.extend_from_slice(part);
        text.push(b'.');
    }
    if text.is_empty() {
        return Some(NameBuf::root());
    }
    NameBuf::parse_octets(&text, Name::ROOT).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_names_from_behind() {
        let layout = Layout::new("/skydns");
        // (key, its name, what it stands for as a target)
        let cases = [
            (
                "/skydns/org/example/www",
                "www.example.org.",
                "www.example.org.",
            ),
            (
                "/skydns/org/example/www/",
                "www.example.org.",
                "www.example.org.",
            ),
            (
                "/skydns/org/example/WWW",
                "www.example.org.",
                "WWW.example.org.",
            ),
            (
                "/skydns/org/example/192.0.2.1",
                "",
                "192.0.2.1.example.org.",
            ),
            (
                "/skydns/org/example/a\\.b",
                "a\\.b.example.org.",
                "a\\.b.example.org.",
            ),
            ("/skydns/org/example/*", "*.example.org.", "*.example.org."),
            ("/skydns", ".", "."),
            ("/skydnsx/org", "", ""),
            ("/other/org", "", ""),
        ];
        for (key, name, domain) in cases {
            let text = |name: Option<NameBuf>| name.map_or_else(String::new, |n| n.to_string());
            assert_eq!(text(layout.name(key.as_bytes())), name, "{key}");
            assert_eq!(text(layout.domain(key.as_bytes())), domain, "{key}");
        }
        let above: Vec<_> = layout.above(b"/skydns/org/example").collect();
        let expected: [&[u8]; 3] = [b"/skydns/org/example", b"/skydns/org", b"/skydns"];
        assert_eq!(above, expected);
        let above: Vec<_> = Layout::new("/").above(b"/org").collect();
        let expected: [&[u8]; 2] = [b"/org", b""];
        assert_eq!(above, expected);
    }

    #[test]
    fn what_zones_have_in_common_is_read() {
        let layout = Layout::new("a/b/");
        let zones = |texts: &[&str]| -> Vec<NameBuf> {
            texts
                .iter()
                .map(|text| text.parse().expect("a name"))
                .collect()
        };
        for (of, expected) in [
            (&["example.org"][..], "/a/b/org/example"),
            (
                &["one.example.org", "other.example.org"],
                "/a/b/org/example",
            ),
            (&["example.org", "sub.example.org"], "/a/b/org/example"),
            (&["example.org", "examples.org"], "/a/b/org"),
            (&["example.org", "in-addr.arpa"], "/a/b"),
            (&["."], "/a/b"),
        ] {
            let common = layout.common(&zones(of));
            assert_eq!(String::from_utf8_lossy(&common), expected, "{of:?}");
        }
        assert_eq!(Layout::new("/").common(&zones(&["."])), b"");
    }
}
