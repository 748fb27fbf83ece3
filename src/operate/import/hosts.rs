//! Hosts files, and directories of them.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use crate::import::model::{Model, Name, Scope};
use crate::import::reading::{Files, Text};
use crate::import::report::Report;

/// Reads a directory of hosts files, or one file.
pub(super) fn read(path: &Path, files: &mut Files, report: &mut Report) -> io::Result<Model> {
    let mut model = Model::default();
    let scope = &mut model.scopes[0];
    scope.has_reverse = true;
    let paths = match path.is_dir() {
        true => files.list(path)?,
        false => vec![path.to_owned()],
    };
    for file in paths {
        match files.read(&file) {
            Ok(text) => lines(&text, None, scope, report),
            Err(error) if file == path => return Err(error),
            Err(error) => {
                let place = crate::import::report::Place {
                    file: file.display().to_string().into(),
                    line: 0,
                };
                report.left(&place, "", &format!("it cannot be read: {error}"), "");
            }
        }
    }
    let place = crate::import::report::Place {
        file: path.display().to_string().into(),
        line: 0,
    };
    report.note(
        &place,
        "",
        "other names are not forwarded: write `forward . ADDRESS` for that",
    );
    Ok(model)
}

/// Takes the lines of a hosts file; with a domain, names of one label get it, too (`expand-hosts`).
pub(super) fn lines(text: &Text, domain: Option<&Name>, scope: &mut Scope, report: &mut Report) {
    let mut wrong = Vec::new();
    for (place, line) in text.lines(report) {
        let bare = line.split('#').next().unwrap_or_default();
        let mut words = bare.split_whitespace();
        let Some(first) = words.next() else { continue };
        // The zone of a link-local address means something on this machine only.
        let first = first.split_once('%').map_or(first, |(address, _)| address);
        let Ok(address) = first.parse::<IpAddr>() else {
            wrong.push((place, line, format!("not an address: {first}")));
            continue;
        };
        let mut names = 0;
        for word in words {
            names += 1;
            let Some(name) =
                Name::parse(word).filter(|name| !name.is_root() && !name.is_wildcard())
            else {
                let why = format!("not a name that can be imported: {word}");
                wrong.push((place.clone(), line, why));
                continue;
            };
            if let (Some(domain), true) = (domain, name.has_one_label())
                && let Some(full) = Name::below(name.as_str(), domain)
            {
                scope.address(&full, address);
            }
            scope.address(&name, address);
        }
        if names == 0 {
            wrong.push((place, line, "an address without a name".to_owned()));
        }
    }
    for (place, line, why) in wrong {
        report.left(&place, line, &why, "");
    }
}
