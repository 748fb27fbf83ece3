use std::cell::Cell;
use std::fs;

use wire::{NameBuf, Rcode};

use super::super::store::Store;
use super::{BOUNDS, ZONE, message, open};
use crate::trial::{self, Folder};

/// No answered update is lost with a database that others remove, replace or empty while the server runs, and neither is what they put there.
#[test]
fn a_database_that_is_gone_is_written_anew() {
    let folder = Folder::new("dynupdate-gone");
    let apex: NameBuf = "example.org.".parse().expect("a name");
    let (file, path) = (folder.write("zone", ZONE), folder.0.join("db"));
    let store = Store::open(apex.as_name(), Some(&file), Some(&path)).expect("open");
    let number = Cell::new(0);
    let update = || {
        number.set(number.get() + 1);
        let line = format!("add n{0}.example.org 60 A 192.0.2.{0}", number.get());
        let made = store.update(&message(&line), BOUNDS, &|_, _| true);
        made.map(|done| done.expect("a change").serial)
            .map_err(|refusal| (refusal.rcode, refusal.why))
    };
    // What a start after a crash would find.
    let kept = || {
        let copy = folder.0.join("copy");
        fs::copy(&path, &copy).expect("it is there");
        let (_, zone) = open(&copy).expect("a database");
        zone.expect("a zone").serial()
    };
    let aside = || -> Vec<Vec<u8>> {
        let all = fs::read_dir(&folder.0)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").path());
        let mut all: Vec<_> = all
            .filter(|path| path.display().to_string().contains("db.replaced-"))
            .collect();
        all.sort();
        let read = all
            .iter()
            .map(|path| fs::read(path).expect("read"))
            .collect();
        all.iter()
            .for_each(|path| fs::remove_file(path).expect("remove"));
        read
    };
    let other = folder.0.join("other");
    let changes: [(&str, &dyn Fn()); 5] = [
        ("removed", &|| fs::remove_file(&path).expect("remove")),
        ("emptied", &|| {
            drop(fs::File::create(&path).expect("create"))
        }),
        ("a copy", &|| {
            fs::copy(&path, &other).expect("copy");
            fs::rename(&other, &path).expect("rename");
        }),
        ("overwritten", &|| fs::write(&path, "mine").expect("write")),
        ("moved", &|| fs::rename(&path, &other).expect("rename")),
    ];
    let mut serial = 10;
    for (change, make) in changes {
        assert_eq!(update(), Ok(serial + 1));
        let before = fs::read(&path).expect("read");
        make();
        serial += 2;
        let mut made = Ok(0);
        let log = trial::logged(|| made = update());
        assert_eq!(made, Ok(serial), "{change}");
        assert_eq!(kept(), serial, "{change}");
        assert!(
            log.contains("the database was removed or changed by another program"),
            "{change}: {log}"
        );
        let expected: Vec<Vec<u8>> = match change {
            "a copy" => vec![before],
            "overwritten" => vec![b"mine".to_vec()],
            _ => Vec::new(),
        };
        assert_eq!(aside(), expected, "{change}");
        assert_eq!(
            log.contains("is kept as"),
            !expected.is_empty(),
            "{change}: {log}"
        );
        // It is the database as before, which is only appended to, and nobody else may open.
        let quiet = trial::logged(|| assert_eq!(update(), Ok(serial + 1)));
        assert_eq!(quiet, "", "{change}");
        serial += 1;
        assert_eq!(kept(), serial, "{change}");
        assert!(
            open(&path).is_err_and(|why| why.contains("another process")),
            "{change}"
        );
    }
    // Another server's database is not taken from it, and an update that cannot be kept is not made.
    fs::rename(&path, &other).expect("rename");
    let theirs = Store::read(apex.as_name(), Some(&file), Some(&path)).expect("open");
    let refused = update().expect_err("not made");
    assert_eq!(refused.0, Rcode::SERVFAIL);
    assert!(refused.1.contains("another process uses"), "{}", refused.1);
    assert_eq!(update(), Err(refused));
    drop(theirs);
    // Nor is what was not made there when the file comes back.
    fs::rename(&other, &path).expect("rename");
    assert_eq!(update(), Ok(serial + 1));
    assert_eq!(kept(), serial + 1);
}
