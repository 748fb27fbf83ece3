//! The zones of secondaries, and signed zones, as metrics: what `nameplate zone status` tells, at the time of the scrape.

use std::fmt;
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use chain::Plugin;
use chain::keeper::ZoneReport;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use zone::ZoneKey;

use crate::worker::Shared;
use crate::zones::{seconds_until, signed_answers};

/// The most zones that are shown: a catalog may have more than a metrics server likes.
const MOST: usize = 1_000;

/// What serves now.
static SERVING: Mutex<Weak<Shared>> = Mutex::new(Weak::new());

/// Shows the zones of this server among the metrics.
pub(crate) fn show(shared: &Arc<Shared>) {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| telemetry::metrics::collector(Box::new(Zones)));
    *SERVING.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(shared);
}

/// One gauge: its name, what it means, and its value for a zone.
type Row = (&'static str, &'static str, fn(&ZoneReport) -> Option<f64>);

const ROWS: [Row; 5] = [
    (
        "nameplate_zone_serial",
        "SOA serial of a transferred zone as it is served",
        |zone| Some(zone.zone.snapshot()?.serial().into()),
    ),
    (
        "nameplate_zone_primary_serial",
        "SOA serial of a transferred zone at the primary that answered last",
        |zone| Some(zone.follows.as_ref()?.answered.as_ref()?.1.into()),
    ),
    (
        "nameplate_zone_age_seconds",
        "Seconds since a primary confirmed the version of a transferred zone that is served",
        |zone| Some(zone.follows.as_ref()?.age?.as_secs_f64()),
    ),
    (
        "nameplate_zone_expires_in_seconds",
        "Seconds until a transferred zone expires, if no primary answers",
        |zone| Some(zone.follows.as_ref()?.expires?.as_secs_f64()),
    ),
    (
        "nameplate_zone_failing",
        "Whether the last check of the primaries of a transferred zone failed",
        |zone| Some(if zone.failure.is_some() { 1.0 } else { 0.0 }),
    ),
];

#[derive(Debug)]
struct Zones;

impl Collector for Zones {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let serving = SERVING.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shared) = serving.upgrade() else {
            return Ok(());
        };
        drop(serving);
        let plugins = shared.snapshot.load().plugins.clone();
        let mut zones: Vec<ZoneReport> = plugins
            .iter()
            .flat_map(|(_, plugin)| plugin.zones())
            .collect();
        let signed = Signed::all(&zones, &plugins);
        zones.retain(|zone| zone.follows.is_some());
        zones.sort_by_key(|zone| zone.zone.apex().to_string());
        zones.dedup_by(|one, other| one.zone.apex() == other.zone.apex());
        zones.truncate(MOST);
        for (name, help, value) in ROWS {
            let mut shown = zones
                .iter()
                .filter_map(|zone| Some((zone, value(zone)?)))
                .peekable();
            if shown.peek().is_none() {
                continue;
            }
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (zone, value) in shown {
                let labels = [("zone", zone.zone.apex().to_string())];
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Signed::encode(&signed, &mut encoder)
    }
}

/// A signed zone.
struct Signed {
    zone: String,
    keys: Vec<ZoneKey>,
    /// In how many seconds the first signature ends.
    end: Option<i64>,
}

impl Signed {
    /// Those that plugins keep, and those whose answers plugins sign; a zone once.
    fn all(kept: &[ZoneReport], plugins: &[(usize, Arc<dyn Plugin>)]) -> Vec<Self> {
        let kept = kept.iter().filter_map(|report| {
            let zone = report.zone.snapshot()?;
            Some(Self {
                zone: zone.apex().to_string(),
                end: Some(seconds_until(zone.statistics().signatures_end?)),
                keys: zone.keys(),
            })
        });
        let answers = signed_answers(plugins).map(|(_, report)| Self {
            zone: report.zone.to_string(),
            keys: report.keys,
            end: report.signatures_end.map(|end| seconds_until(end as u32)),
        });
        let mut all: Vec<Self> = kept.chain(answers).collect();
        all.sort_by(|one, other| one.zone.cmp(&other.zone));
        all.dedup_by(|one, other| one.zone == other.zone);
        all.truncate(MOST);
        all
    }

    fn encode(all: &[Self], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if all.iter().any(|zone| zone.end.is_some()) {
            let mut family = encoder.encode_descriptor(
                "nameplate_zone_signatures_end_in_seconds",
                "Seconds until the first signature of a signed zone expires",
                None,
                MetricType::Gauge,
            )?;
            for (zone, end) in all.iter().filter_map(|zone| Some((zone, zone.end?))) {
                let labels = [("zone", zone.zone.as_str())];
                ConstGauge::new(end).encode(family.encode_family(&labels)?)?;
            }
        }
        if all.iter().any(|zone| !zone.keys.is_empty()) {
            let mut family = encoder.encode_descriptor(
                "nameplate_zone_key",
                "A key of a signed zone, and what it does: KSK, ZSK, CSK or published",
                None,
                MetricType::Gauge,
            )?;
            for zone in all {
                for key in &zone.keys {
                    let labels = [
                        ("zone", zone.zone.clone()),
                        ("tag", key.tag.to_string()),
                        ("algorithm", key.algorithm_name()),
                        ("role", key.role.to_string()),
                    ];
                    ConstGauge::new(1i64).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}
