use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use wire::NameBuf;
use zone::{DigestPolicy, Zone};

use super::catalog::{Catalog, Members, read};
use super::kept::Copy;
use super::place::Place;
use super::sources::{Keep, Sources};

/// Sources of no primary, told apart by how many records they take.
fn sources(max_records: usize, keep: Option<Keep>) -> Sources {
    Sources {
        block: None,
        primaries: Vec::new(),
        key: None,
        keep,
        digest: DigestPolicy::Off,
        max_records,
    }
}

fn zone(apex: &str, records: &str) -> Arc<Zone> {
    let apex: NameBuf = apex.parse().expect("a name");
    let text = format!("$TTL 60\n@ SOA . . 1 60 60 600 60\n@ NS invalid.\n{records}");
    let loaded = zone::Loader::new(apex.as_name()).load_text(&text);
    Arc::new(loaded.expect("a zone").zone)
}

/// A catalog of these records.
fn catalog(apex: &str, records: &str) -> Arc<Zone> {
    zone(apex, &format!("version TXT \"2\"\n{records}"))
}

/// Two catalogs, whose members are told apart by `test`, and what they list.
struct Pair {
    places: [Arc<Place>; 2],
    members: Arc<Members>,
}

impl Pair {
    fn new(test: usize, groups: Vec<(String, Sources)>) -> Self {
        let place = |apex: &str, number: usize| {
            let apex: NameBuf = apex.parse().expect("a name");
            Place::of(apex.as_name(), &sources(test * 10 + number, None), true)
        };
        let places = [place("one.example.", 1), place("two.example.", 2)];
        let catalogs = places.iter().map(|place| Catalog {
            place: place.clone(),
            allowed: Vec::new(),
            groups: groups.clone(),
        });
        let members = Members::new(places.to_vec(), catalogs.collect());
        Self { places, members }
    }

    /// The catalogs have these records from now on; a catalog of none is as it was.
    fn list(&self, records: [&str; 2]) {
        for (place, records) in self.places.iter().zip(records) {
            if !records.is_empty() {
                let apex = place.served.apex().to_string();
                place.served.replace(Some(catalog(&apex, records)));
            }
        }
        self.members.update();
    }

    /// The place of example.org, if it is a member.
    fn member(&self) -> Option<Arc<Place>> {
        let mut places = self.members.places().into_iter();
        places.find(|place| place.served.apex().to_string() == "example.org.")
    }

    /// The catalog that has it, as its status tells.
    fn owner(&self) -> String {
        let reports = self.members.reports();
        let mut reports = reports.iter();
        let report = reports.find(|report| report.zone.apex().to_string() == "example.org.");
        report.map_or_else(String::new, |report| report.details[0].1.clone())
    }
}

/// A catalog without members.
const NONE: &str = "; none\n";
const A: &str = "a.zones PTR example.org.\n";

#[test]
fn properties_are_read() {
    let list = |records: &str| read(&catalog("one.example.", records));
    let found = list(
        "A.zones PTR Example.ORG.\ncoo.a.zones PTR Two.example.\ngroup.a.ZONES TXT far\ngroup.a.zones TXT \"Near by\"\n\
         group.a.zones TXT two strings\nb.zones PTR example.net.\ncoo.c.zones PTR two.example.\n",
    );
    let found = found.expect("a catalog");
    assert_eq!(found.len(), 2);
    let (first, second) = (&found[0], &found[1]);
    assert_eq!(
        (&*first.id, first.name.to_string()),
        (&b"a"[..], "example.org.".to_owned())
    );
    assert_eq!(first.coo.expect("an owner").to_string(), "two.example.");
    let mut groups: Vec<&[u8]> = first.groups.iter().map(|group| &**group).collect();
    groups.sort_unstable();
    assert_eq!(groups, [&b"Near by"[..], b"far"]);
    assert!(second.coo.is_none() && second.groups.is_empty());
    let two = list(&format!(
        "{A}coo.a.zones PTR two.example.\ncoo.a.zones PTR three.example.\n"
    ));
    assert_eq!(
        two,
        Err("a member of the catalog has two new owners".to_owned())
    );
}

/// RFC 9432, section 4.3.1: what is served stays as it is, with the journal and whoever observes it; another ID has it fetched anew.
#[test]
fn a_zone_goes_to_another_catalog() {
    for (test, id, stays) in [(1, "a", true), (2, "z", false)] {
        let pair = Pair::new(test, Vec::new());
        pair.list([A, NONE]);
        assert_eq!(pair.owner(), "one.example.");
        let before = pair.member().expect("a member");
        before.served.replace(Some(zone("example.org.", "")));
        // Without `coo`, nobody else has it.
        let theirs = format!("{id}.zones PTR example.org.\n");
        pair.list(["", &theirs]);
        assert!(Arc::ptr_eq(&before, &pair.member().expect("a member")));
        assert_eq!(pair.owner(), "one.example.");
        pair.list([&format!("{A}coo.a.zones PTR two.example.\n"), ""]);
        assert_eq!(pair.owner(), "two.example.", "ID {id}");
        let after = pair.member().expect("a member");
        assert_eq!(after.served.load().is_some(), stays, "ID {id}");
        assert_eq!(Arc::ptr_eq(&before.served, &after.served), stays, "ID {id}");
        // It stays there when the first no longer lists it.
        pair.list([NONE, ""]);
        assert!(Arc::ptr_eq(&after, &pair.member().expect("a member")));
        pair.list(["", NONE]);
        assert!(pair.member().is_none());
    }
}

/// Both changes are seen at once where the consumer was away; two that hand a zone over to each other do so once.
#[test]
fn a_zone_goes_to_another_catalog_at_once() {
    let pair = Pair::new(3, Vec::new());
    let to_two = format!("{A}coo.a.zones PTR two.example.\n");
    let to_one = format!("{A}coo.a.zones PTR one.example.\n");
    pair.list([&to_two, NONE]);
    let before = pair.member().expect("a member");
    before.served.replace(Some(zone("example.org.", "")));
    pair.list([NONE, A]);
    assert_eq!(pair.owner(), "two.example.");
    let after = pair.member().expect("a member");
    assert!(Arc::ptr_eq(&before.served, &after.served));
    for _ in 0..3 {
        pair.list([&to_two, &to_one]);
        assert_eq!(pair.owner(), "two.example.");
    }
    // Without `coo`, it is another zone of this name.
    pair.list([NONE, A]);
    pair.list([A, NONE]);
    assert_eq!(pair.owner(), "one.example.");
    assert!(pair.member().expect("a member").served.load().is_none());
}

/// RFC 9432, section 4.3.2: a member of a group comes from where the group says; what is served stays when the group changes.
#[test]
fn groups_have_their_own_settings() {
    let dir = std::env::temp_dir().join(format!("nameplate-groups-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let group = |number, name: &str| {
        (
            name.to_owned(),
            sources(number, Some(Keep::Directory(dir.join(name)))),
        )
    };
    std::fs::create_dir(&dir).expect("a directory");
    let pair = Pair::new(4, vec![group(1_001, "far"), group(1_002, "near")]);
    let of = |names: &[&str]| {
        let groups = names
            .iter()
            .map(|name| format!("group.a.zones TXT {name}\n"));
        format!("{A}{}", groups.collect::<String>())
    };
    let mut served = None;
    for (groups, records, owner) in [
        (&["else"][..], 41, "one.example."),
        (&["near"], 1_002, "one.example., group near"),
        // The first that the Corefile has counts.
        (&["near", "far"], 1_001, "one.example., group far"),
        (&[], 41, "one.example."),
    ] {
        pair.list([&of(groups), NONE]);
        assert_eq!(pair.owner(), owner);
        let place = pair.member().expect("a member");
        assert_eq!(place.sources.max_records, records, "{groups:?}");
        let first = served.get_or_insert_with(|| place.served.clone());
        assert!(Arc::ptr_eq(first, &place.served), "{groups:?}");
        // A file goes along.
        match groups {
            ["near"] => {
                std::fs::create_dir(dir.join("near")).expect("a directory");
                std::fs::write(dir.join("near/db.example.org"), "kept").expect("written");
            }
            ["near", "far"] => assert!(dir.join("far/db.example.org").exists()),
            _ => assert!(!dir.join("far/db.example.org").exists()),
        }
    }
    let _ = std::fs::remove_dir_all(&dir);
}

/// RFC 9432, section 5.1: a catalog that has expired keeps its members, after a restart and a reload as well; each has its own EXPIRE.
#[test]
fn an_expired_catalog_keeps_its_members() {
    let dir = std::env::temp_dir().join(format!("nameplate-expired-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir(&dir).expect("a directory");
    let keep = |apex: &str, zone: &Zone, seconds: u64| {
        let copy = Copy::new(dir.join(format!("db.{}", apex.trim_end_matches('.'))));
        copy.write(zone).expect("written");
        let file = File::options().write(true).open(copy.path());
        let then = SystemTime::now() - Duration::from_secs(seconds);
        file.and_then(|file| file.set_modified(then))
            .expect("a time");
    };
    let records = format!("{A}b.zones PTR example.net.\n");
    keep("one.example.", &catalog("one.example.", &records), 700);
    keep("example.org.", &zone("example.org.", ""), 500);
    keep("example.net.", &zone("example.net.", ""), 650);
    let apex: NameBuf = "one.example.".parse().expect("a name");
    let members = |number| {
        let sources = sources(number, Some(Keep::Directory(dir.clone())));
        let place = Place::of(apex.as_name(), &sources, true);
        let catalog = Catalog {
            place: place.clone(),
            allowed: Vec::new(),
            groups: Vec::new(),
        };
        (
            place.clone(),
            Members::new(vec![place.clone()], vec![catalog]),
        )
    };
    let served = |members: &Members| {
        let places = members.places();
        let mut served: Vec<_> = places
            .iter()
            .map(|place| {
                (
                    place.served.apex().to_string(),
                    place.served.load().is_some(),
                )
            })
            .collect();
        served.sort();
        served
    };
    let expected = |catalog: bool| {
        [
            ("example.net.".to_owned(), false),
            ("example.org.".to_owned(), true),
            ("one.example.".to_owned(), catalog),
        ]
    };
    let (place, first) = members(2_001);
    assert_eq!(served(&first), expected(false), "after a restart");
    assert_eq!(first.reports().len(), 3);
    // A primary has it again, and it expires while it is served; a reload follows, with the same primaries and with others.
    place
        .served
        .replace(Some(catalog("one.example.", &records)));
    first.update();
    assert_eq!(served(&first), expected(true), "it is here again");
    place.expire();
    first.update();
    assert_eq!(served(&first), expected(false), "it expires");
    assert_eq!(
        served(&members(2_001).1),
        expected(false),
        "the same primaries"
    );
    assert_eq!(served(&members(2_002).1), expected(false), "others");
    let _ = std::fs::remove_dir_all(&dir);
}

/// A reload that names other primaries: the catalog and its members stay as they are served; those of another server block are not taken.
#[test]
fn members_stay_when_the_primaries_are_others() {
    let build = |block: Option<&str>, number| {
        let apex: NameBuf = "moved.example.".parse().expect("a name");
        let sources = Sources {
            block: block.map(Arc::from),
            ..sources(number, None)
        };
        let place = Place::of(apex.as_name(), &sources, true);
        let catalogs = vec![Catalog {
            place: place.clone(),
            allowed: Vec::new(),
            groups: Vec::new(),
        }];
        Members::new(vec![place], catalogs)
    };
    let served = |members: &Members| -> Vec<_> {
        let places = members.places();
        let zones = places.iter().map(|place| {
            let serial = place.served.load().as_ref().map(|zone| zone.serial());
            (place.served.apex().to_string(), serial)
        });
        zones.collect()
    };
    let before = build(Some("one"), 501);
    let list = catalog("moved.example.", "a.zones PTR member.example.\n");
    before.places()[0].served.replace(Some(list));
    before.update();
    let [_, member] = &before.places()[..] else {
        panic!("a member");
    };
    member.served.replace(Some(zone("member.example.", "")));
    for (block, stays) in [(Some("two"), false), (None, false), (Some("one"), true)] {
        let now = build(block, 502);
        let expected: &[_] = match stays {
            true => &["moved.example.", "member.example."].map(|apex| (apex.to_owned(), Some(1))),
            false => &[("moved.example.".to_owned(), None)],
        };
        assert_eq!(served(&now), expected, "{block:?}");
    }
}
