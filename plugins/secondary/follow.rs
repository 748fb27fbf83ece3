//! Keeps a zone as its primaries have it: the timers of the SOA record (RFC 1035, section 3.3.13; RFC 1996).

use std::sync::Arc;
use std::time::Duration;

use chain::capability::Capabilities;
use host::clock;
use rand::RngExt;
use tokio::time::{sleep, timeout};
use wire::NameBuf;

use super::place::Place;

/// The pauses before the first transfer, and the longest, as in CoreDNS.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// By how much the timers are late at most, so that the zones of a primary are not all checked at once.
const REFRESH_JITTER: Duration = Duration::from_secs(5);
const RETRY_JITTER: Duration = Duration::from_secs(2);
/// How soon a zone is checked again, whoever asks for it.
const SOONEST: Duration = Duration::from_secs(1);
/// The greatest timer: some zones have 2^32 seconds.
const LONGEST: Duration = Duration::from_secs(100 * 24 * 3_600);

/// Keeps the zone of `place` for as long as it is asked to.
pub(super) async fn follow(place: Arc<Place>, capabilities: Arc<Capabilities>) {
    let apex = NameBuf::from_name(place.served.apex());
    // Keys may change.
    let key = || match &place.sources.key {
        None => Ok(None),
        Some(name) => {
            let keys = capabilities.keys();
            let found = keys.and_then(|keys| keys.find(name.as_name()));
            found.map(Some).ok_or(name)
        }
    };
    let mut pause = PAUSES.0;
    let mut timers = place.served.load().as_ref().map(|zone| zone.timers());
    let mut asked = clock::now();
    // What has no zone, or had one before the Corefile was read anew, is checked at once.
    let mut wait = Duration::ZERO;
    loop {
        place.rest(wait);
        // Whatever is asked for meanwhile, a primary is asked once in a while only.
        if timeout(wait, place.told.notified()).await.is_ok() {
            let since = Duration::from_nanos(clock::now().saturating_sub(asked));
            sleep(SOONEST.saturating_sub(since)).await;
        }
        asked = clock::now();
        let checked = place.check(key()).await;
        let good = checked.is_ok();
        match checked {
            Ok(()) => timers = place.served.load().as_ref().map(|zone| zone.timers()),
            Err(why) => {
                tracing::error!(target: "plugin/secondary", "Failed to transfer zone {apex}: {why}");
            }
        }
        let bounded = |seconds: u32| Duration::from_secs(seconds.into()).clamp(SOONEST, LONGEST);
        wait = match timers {
            Some([refresh, ..]) if good => bounded(refresh) + jitter(REFRESH_JITTER),
            Some([_, retry, _]) if !place.is_inherited() => bounded(retry) + jitter(RETRY_JITTER),
            // Before the first transfer from these primaries.
            _ => {
                let next = pause + jitter(pause / 4);
                pause = (pause * 2).min(PAUSES.1);
                next
            }
        };
        let served = place.served.load().is_some();
        let Some([_, _, expire]) = timers.filter(|_| served) else {
            continue;
        };
        let expires = bounded(expire).saturating_sub(place.age());
        if !expires.is_zero() {
            wait = wait.min(expires);
        } else if !good {
            place.expire();
        }
    }
}

/// A random part of `most`.
fn jitter(most: Duration) -> Duration {
    most.mul_f64(host::random::rng().random_range(0.0..1.0))
}
