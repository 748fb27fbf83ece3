//! The state machine, driven by events and looks at made-up times.

use std::path::Path;

use super::*;

/// A machine that has seen its files once, at time 0.
fn machine() -> Edits {
    let mut edits = Edits::new(60_000 * MS, 0);
    assert_eq!(edits.next(), 0, "the first look is at once");
    assert_eq!(
        edits.looked(Look::Same { failed: false }, 0, 0),
        Verdict::Wait
    );
    assert_eq!(edits.next(), 60_000 * MS);
    edits.pause = 0;
    edits
}

/// A writer and a reader: what is written when, in milliseconds, and when the content is taken.
fn taken(events: &[(u64, Touch)], doubt: impl Fn(u64) -> Doubt) -> u64 {
    let mut edits = machine();
    let mut events = events.iter().peekable();
    loop {
        let look = edits.next();
        if let Some((at, touch)) = events.next_if(|(at, _)| at * MS <= look) {
            edits.event(Path::new("/z"), *touch, at * MS);
            continue;
        }
        // The content is that of the last write so far.
        let now = look / MS;
        let changed = Look::Changed {
            digest: now,
            doubt: doubt(now),
        };
        if edits.looked(changed, look, look) == Verdict::Take {
            return now;
        }
        assert!(edits.next() > look, "a look that waits is not at once");
    }
}

#[test]
fn how_long_each_way_to_write_takes() {
    use Touch::{Closed, Created, Other, Replaced, Written};
    let fine = |_| Doubt::None;
    // A rename, alone and with what editors do around it.
    assert_eq!(taken(&[(10, Replaced)], fine), 15);
    assert_eq!(taken(&[(10, Other), (11, Replaced), (12, Other)], fine), 17);
    // A rename that halves the zone: it was whole before.
    assert_eq!(taken(&[(10, Replaced)], |_| Doubt::Cut), 15);
    // In place, closed at once.
    assert_eq!(
        taken(&[(10, Written), (11, Written), (11, Closed)], fine),
        111
    );
    // In place with pauses, closed at the end.
    let slow = [
        (10, Written),
        (1_010, Written),
        (2_010, Written),
        (2_500, Closed),
    ];
    assert_eq!(taken(&slow, fine), 2_600);
    // A writer that does not close.
    assert_eq!(taken(&[(10, Written)], fine), 10_010);
    // Opened and closed for each part, the parts further apart than a close has to rest: while it looks cut, it waits.
    let appended = [
        (10, Written),
        (11, Closed),
        (611, Written),
        (611, Closed),
        (1_211, Written),
        (1_211, Closed),
    ];
    let shorter = |now| {
        if now < 1_211 {
            Doubt::Doubtful
        } else {
            Doubt::None
        }
    };
    assert_eq!(taken(&appended, shorter), 1_211 + 1_250);
    let emptied = |now| if now < 1_211 { Doubt::Cut } else { Doubt::None };
    assert_eq!(taken(&appended, emptied), 1_211 + 1_250);
    // Made anew and never closed, as by a hard link.
    assert_eq!(taken(&[(10, Created)], fine), 1_260);
    // One close that is told twice is one.
    assert_eq!(
        taken(&[(10, Written), (11, Closed), (12, Closed)], fine),
        112
    );
}

#[test]
fn what_nobody_tells_has_to_be_seen_twice() {
    let mut edits = machine();
    let changed = |digest| Look::Changed {
        digest,
        doubt: Doubt::None,
    };
    let mut now = 60_000 * MS;
    for digest in [1, 2, 3] {
        // Another content at each look: somebody writes.
        assert_eq!(edits.looked(changed(digest), now, now), Verdict::Wait);
        now = edits.next();
    }
    assert_eq!(edits.looked(changed(3), now, now), Verdict::Take);
    assert_eq!(now, 60_000 * MS + 3 * DOUBTFUL);
    // Without events, files are looked at more often than configured.
    edits.set_hearing(Hearing::Some);
    edits.looked(Look::Same { failed: false }, now, now);
    assert_eq!(edits.next(), now + UNWATCHED);
    assert_eq!(
        edits.looked(
            Look::Changed {
                digest: 4,
                doubt: Doubt::Cut
            },
            now,
            now
        ),
        Verdict::Wait
    );
    assert_eq!(edits.next(), now + CUT);
}

#[test]
fn a_read_that_fails_is_tried_again_until_it_succeeds() {
    let mut edits = machine();
    let failed = Look::Failed {
        digest: 1,
        usable: false,
    };
    edits.event(Path::new("/z"), Touch::Replaced, 0);
    let mut now = edits.next();
    let (mut looks, mut said) = (Vec::new(), 0);
    while now < 5_000 * MS {
        said += u32::from(edits.looked(failed, now, now) == Verdict::Say);
        looks.push((edits.next() - now) / MS);
        now = edits.next();
    }
    assert_eq!(looks[..7], [50, 100, 200, 400, 800, 1_000, 1_000]);
    assert_eq!(said, 1, "each reason is said once");
    let other = Look::Failed {
        digest: 2,
        usable: false,
    };
    assert_eq!(edits.looked(other, now, now), Verdict::Say);
    // The mode changes: it is read at once, and as the file was renamed into place it counts at once.
    edits.event(Path::new("/z"), Touch::Other, now + 10 * MS);
    now += 15 * MS;
    assert_eq!(edits.next(), now);
    let changed = Look::Changed {
        digest: 3,
        doubt: Doubt::None,
    };
    assert_eq!(edits.looked(changed, now, now), Verdict::Take);
}

#[test]
fn the_rest_of_a_directory_is_used_when_one_file_stays_unreadable() {
    let mut edits = machine();
    let failed = Look::Failed {
        digest: 1,
        usable: true,
    };
    edits.event(Path::new("/z"), Touch::Replaced, 0);
    let mut now = edits.next();
    while edits.looked(failed, now, now) != Verdict::Take {
        now = edits.next();
        assert!(now < 4_000 * MS);
    }
    assert!(now >= CUT, "not before its writer has had time");
    assert_eq!(
        edits.looked(Look::Same { failed: true }, now, now),
        Verdict::Wait
    );
    assert_eq!(edits.next(), now + LAST_RETRY);
}

#[test]
fn an_event_while_it_is_read_means_another_look() {
    let mut edits = machine();
    edits.event(Path::new("/z"), Touch::Replaced, 0);
    let began = edits.next();
    edits.event(Path::new("/z"), Touch::Written, began + MS);
    let changed = Look::Changed {
        digest: 1,
        doubt: Doubt::None,
    };
    assert_eq!(edits.looked(changed, began, began + 2 * MS), Verdict::Wait);
    assert_eq!(edits.next(), began + MS + ABANDONED);
    edits.event(Path::new("/z"), Touch::Closed, began + 9 * MS);
    assert_eq!(edits.next(), began + 9 * MS + CLOSED);
    assert_eq!(
        edits.looked(Look::Moving, began + 109 * MS, began + 110 * MS),
        Verdict::Wait
    );
    assert!(edits.next() > began + 110 * MS);
}

#[test]
fn edits_without_end_are_read_in_between() {
    let mut edits = machine();
    let mut now = 0;
    let mut taken = None;
    // A script that rewrites the file in place twice a second.
    while taken.is_none() && now < 30_000 * MS {
        edits.event(Path::new("/z"), Touch::Written, now);
        edits.event(Path::new("/z"), Touch::Closed, now + MS);
        let end = now + 500 * MS;
        while taken.is_none() && edits.next() < end {
            let look = edits.next().max(now);
            let changed = Look::Changed {
                digest: now,
                doubt: Doubt::Doubtful,
            };
            if edits.looked(changed, look, look) == Verdict::Take {
                taken = Some(look);
            }
            now = now.max(look);
        }
        now = end;
    }
    let taken = taken.expect("taken at last");
    assert!(
        (PATIENCE..PATIENCE + 1_000 * MS).contains(&taken),
        "{taken}"
    );
}

#[test]
fn what_is_only_replaced_whole_counts_at_once() {
    let start = 1_000 * MS;
    let mut edits = Edits::new(60_000 * MS, start).whole(true);
    edits.looked(Look::Same { failed: false }, start, start);
    let now = start + 100 * MS;
    // A name that came before its directory was watched, and most of the content is gone: neither is waited for.
    edits.event(Path::new("/run/lab/a/names.json"), Touch::Created, now);
    assert_eq!(edits.next(), now);
    let changed = |digest| Look::Changed {
        digest,
        doubt: Doubt::Cut,
    };
    assert_eq!(edits.looked(changed(1), now, now), Verdict::Take);
    // Replaced again while it was read: what was read counts, and the next look is at once.
    let path = Path::new("/run/lab/a/names.json");
    let (began, told, now) = (now + MS, now + 2 * MS, now + 3 * MS);
    edits.event(path, Touch::Replaced, told);
    assert_eq!(edits.looked(changed(2), began, now), Verdict::Take);
    assert!(edits.next() <= now);
    // Nor does a look that finds nothing new put off the next one.
    let found = edits.looked(Look::Same { failed: false }, now, now);
    assert_eq!((found, edits.next()), (Verdict::Wait, now + 60_000 * MS));
    edits.event(path, Touch::Replaced, now + MS);
    assert_eq!(edits.next(), now + MS);
}

#[test]
fn an_emptied_file_is_left_alone_for_longest() {
    let start = 1_000 * MS;
    let mut edits = Edits::new(60_000 * MS, start);
    edits.looked(Look::Same { failed: false }, start, start);
    let path = Path::new("/etc/hosts");
    let emptied = start + 100 * MS;
    edits.event(path, Touch::Closed, emptied);
    let changed = |doubt| Look::Changed { digest: 1, doubt };
    let at = |after: u64| (emptied + after, emptied + after);
    let (began, now) = at(CUT + MS);
    assert_eq!(
        edits.looked(changed(Doubt::Empty), began, now),
        Verdict::Wait
    );
    assert_eq!(edits.next(), emptied + EMPTY);
    let (began, now) = at(EMPTY);
    assert_eq!(
        edits.looked(changed(Doubt::Empty), began, now),
        Verdict::Take
    );
}
