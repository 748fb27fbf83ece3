//! Files that include files, in memory and on disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use wire::NameBuf;

use crate::{FileSystem, Loaded, Loader, Memory};

const HEAD: &str = "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n";

fn load(files: &[(&str, String)]) -> Result<Loaded, String> {
    let files: HashMap<PathBuf, Vec<u8>> = files
        .iter()
        .map(|(path, text)| (PathBuf::from(path), text.clone().into_bytes()))
        .collect();
    let origin: NameBuf = "example.org.".parse().expect("a name");
    Loader::new(origin.as_name())
        .load(&Memory(files), Path::new("/zones/db"))
        .map_err(|all| {
            all.iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        })
}

#[test]
fn includes_keep_origin_owner_and_ttl_apart() {
    let main =
        format!("{HEAD}a A 192.0.2.2\n$INCLUDE sub/part sub\n TXT \"of a\"\nb A 192.0.2.3\n");
    let part = "$TTL 7\n$ORIGIN x\n@ A 192.0.2.4\ny A 192.0.2.5\n".to_owned();
    let loaded = load(&[("/zones/db", main), ("/zones/sub/part", part)]).expect("a zone");
    let owners: Vec<String> = loaded
        .zone
        .records()
        .skip(2)
        .map(|r| format!("{} {} {}", r.owner(), r.ttl(), r.rtype()))
        .collect();
    assert_eq!(
        owners,
        [
            "ns.example.org. 60 A",
            "a.example.org. 60 A",
            "a.example.org. 60 TXT",
            "x.sub.example.org. 7 A",
            "y.x.sub.example.org. 7 A",
            "b.example.org. 60 A"
        ]
    );
    assert_eq!(
        loaded.files,
        [PathBuf::from("/zones/db"), PathBuf::from("/zones/sub/part")]
    );
}

#[test]
fn includes_lie_anywhere_and_are_bounded() {
    for path in ["../shared/part", "/zones/../shared/part"] {
        let files = [
            ("/zones/db", format!("{HEAD}$INCLUDE {path}\n")),
            ("/zones/../shared/part", "m A 192.0.2.9\n".to_owned()),
        ];
        assert!(load(&files).is_ok(), "{path}");
    }
    let cycle = [
        ("/zones/db", format!("{HEAD}$INCLUDE part\n")),
        ("/zones/part", "$INCLUDE part\n".to_owned()),
    ];
    assert!(
        load(&cycle)
            .expect_err("a refusal")
            .contains("more than 8 deep")
    );
}

#[test]
fn real_files_are_followed_and_devices_refused() {
    let folder = std::env::temp_dir().join(format!("nameplate-zone-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("part")).expect("a directory");
    let origin: NameBuf = "example.org.".parse().expect("a name");
    let load = |text: &str| {
        let path = folder.join("db");
        std::fs::write(&path, format!("{HEAD}{text}")).expect("a file");
        Loader::new(origin.as_name())
            .load(&FileSystem, &path)
            .map(|loaded| loaded.zone.statistics().records)
            .map_err(|all| {
                all.iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("\n")
            })
    };
    std::fs::write(folder.join("part/more"), "m A 192.0.2.9\n").expect("a file");
    std::os::unix::fs::symlink(folder.join("part/more"), folder.join("link")).expect("a link");
    assert_eq!(load("$INCLUDE part/more\n"), Ok(4));
    assert_eq!(load("$INCLUDE link\n"), Ok(4));
    let absolute = folder.join("part/more").display().to_string();
    assert_eq!(load(&format!("$INCLUDE {absolute}\n")), Ok(4));
    for (text, why) in [
        ("$INCLUDE /dev/zero\n", "not a regular file"),
        ("$INCLUDE part\n", "not a regular file"),
        ("$INCLUDE gone\n", "cannot be read"),
    ] {
        let got = load(text).expect_err("a refusal");
        assert!(got.contains(why), "{text}: {got}");
    }
    let device = Loader::new(origin.as_name()).load(&FileSystem, Path::new("/dev/zero"));
    assert!(
        device.expect_err("a refusal")[0]
            .message
            .contains("not a regular file")
    );
    std::fs::remove_dir_all(&folder).expect("removal");
}
