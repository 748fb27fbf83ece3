//! Zones that are served, and who hears of their changes.

use std::sync::{Arc, Mutex, Weak};

use wire::{NameBuf, Qname};
use zone::{Difference, Loader, Zone};

use crate::capability::Capabilities;
use crate::served::{Change, Observer, Served, ZoneSet};

fn name(text: &str) -> NameBuf {
    text.parse().expect("a name")
}

fn version(apex: &str, serial: u32) -> Arc<Zone> {
    let text = format!("@ 60 IN SOA ns h {serial} 1 1 1 1\n@ 60 IN NS ns\n");
    let loaded = Loader::new(name(apex).as_name()).load_text(&text);
    Arc::new(loaded.expect("a zone").zone)
}

/// Notes what it hears.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn changed(&self, change: &Change<'_>) {
        let (before, now) = change.serials();
        // Queries see the change already.
        let seen = change.zone.snapshot().map(|zone| zone.serial());
        assert!(now.is_none() || now == seen);
        let line = format!("{} {before:?} {now:?}", change.zone.apex());
        self.0.lock().expect("no panic").push(line);
    }
}

impl Heard {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

fn observed(set: &ZoneSet) -> Arc<Heard> {
    let heard = Arc::new(Heard::default());
    let observer: Weak<dyn Observer> = Arc::downgrade(&(heard.clone() as Arc<dyn Observer>));
    set.observe(&observer);
    heard
}

#[test]
fn every_change_of_a_zone_is_heard_with_both_versions() {
    let zones = ["example.org", "sub.example.org"].map(|apex| Served::new(name(apex).as_name()));
    let set = Arc::new(ZoneSet::fixed(zones.clone()));
    let capabilities = Capabilities::default();
    capabilities.provide_zones("first", set.clone());
    let [(directive, offered)] = &capabilities.zones()[..] else {
        panic!("one set is offered");
    };
    assert_eq!(*directive, "first");
    let heard = observed(offered);
    let [org, sub] = &zones;
    assert!(org.snapshot().is_none());
    org.replace(Some(version("example.org", 1)));
    sub.replace(Some(version("sub.example.org", 7)));
    let held = org.snapshot().expect("a zone");
    org.replace(Some(version("example.org", 2)));
    assert_eq!(held.serial(), 1, "who holds a version keeps it");
    org.replace(None);
    assert_eq!(
        heard.take(),
        [
            "example.org. None Some(1)",
            "sub.example.org. None Some(7)",
            "example.org. Some(1) Some(2)",
            "example.org. Some(2) None",
        ]
    );
    // Who is gone hears nothing, and holds nothing up.
    drop(heard);
    org.replace(Some(version("example.org", 3)));
    let mut qname = Qname::root();
    qname.set(name("www.sub.example.org").as_name());
    let nearest = set.nearest(&qname).expect("a zone");
    assert!(Arc::ptr_eq(&nearest, sub));
    let find = |apex: &str| set.find(name(apex).as_name());
    assert!(find("EXAMPLE.org").is_some_and(|found| Arc::ptr_eq(&found, org)));
    assert!(find("www.example.org").is_none() && find("org").is_none());
}

#[test]
fn zones_that_come_and_go_are_heard_too() {
    let set = ZoneSet::changing();
    let heard = observed(&set);
    let [one, two] = ["one.example", "two.example"].map(|apex| {
        let zone = Served::new(name(apex).as_name());
        zone.replace(Some(version(apex, 1)));
        zone
    });
    set.set(vec![one.clone()]);
    assert_eq!(heard.take(), ["one.example. None Some(1)"]);
    set.set(vec![one.clone(), two.clone()]);
    two.replace(Some(version("two.example", 2)));
    one.replace(Some(version("one.example", 3)));
    set.set(vec![two]);
    assert_eq!(
        heard.take(),
        [
            "two.example. None Some(1)",
            "two.example. Some(1) Some(2)",
            "one.example. Some(1) Some(3)",
            "one.example. Some(3) None",
        ]
    );
    assert_eq!(set.all().len(), 1);
}

/// A version of a zone with one address.
fn addressed(serial: u32, address: &str) -> Arc<Zone> {
    let text = format!("@ 60 SOA ns h {serial} 1 1 1 1\n@ NS ns\nns A {address}\n");
    let loaded = Loader::new(name("example.org").as_name()).load_text(&text);
    Arc::new(loaded.expect("a zone").zone)
}

#[test]
fn a_zone_that_is_handed_on_keeps_what_changed() {
    let apex = name("example.org");
    let steps = |served: &Served, from: u32| {
        let (zone, differences) = served.since(from)?;
        Some((zone.serial(), differences.map(|all| all.len())))
    };
    let served = Served::new(apex.as_name());
    served.replace(Some(addressed(1, "192.0.2.1")));
    served.replace(Some(addressed(2, "192.0.2.2")));
    assert_eq!(steps(&served, 1), Some((2, None)), "not asked for");
    served.keep_differences();
    served.replace(Some(addressed(3, "192.0.2.3")));
    served.replace(Some(addressed(4, "192.0.2.4")));
    assert_eq!(steps(&served, 2), Some((4, Some(2))));
    assert_eq!(steps(&served, 1), Some((4, None)));
    // Read anew, and the same.
    served.replace(Some(addressed(4, "192.0.2.4")));
    assert_eq!(steps(&served, 2), Some((4, Some(2))));
    // Differences that are known are not looked for.
    let known = Difference::between(
        &addressed(4, "192.0.2.4"),
        &addressed(5, "192.0.2.5"),
        usize::MAX,
    );
    served.advance(addressed(5, "192.0.2.5"), known.into_iter().collect());
    assert_eq!(steps(&served, 2), Some((5, Some(3))));
    // Another version of the same serial, an older one and none leave nothing to go on with.
    for then in [
        Some(addressed(5, "192.0.2.6")),
        Some(addressed(3, "192.0.2.1")),
        None,
    ] {
        served.replace(then);
        served.replace(Some(addressed(6, "192.0.2.6")));
        assert!(steps(&served, 2).is_some_and(|(_, steps)| steps.is_none()));
        served.replace(Some(addressed(7, "192.0.2.7")));
        assert_eq!(steps(&served, 6), Some((7, Some(1))));
        served.replace(Some(addressed(5, "192.0.2.5")));
    }
}
