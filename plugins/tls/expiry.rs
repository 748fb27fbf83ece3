//! Until when a certificate is valid: the one field that is read of it here (RFC 5280, section 4.1.2.5). TLS itself is rustls's business.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use telemetry::metrics;

use super::files::Identity;

/// DER's tags.
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;

/// When a certificate ends to be valid, in seconds since 1970; `None` where it is not read.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (to_be_signed, _) = expect(certificate, SEQUENCE)?;
    let rest = match element(to_be_signed)? {
        (VERSION, _, rest) => rest,
        _ => to_be_signed,
    };
    let (_serial, rest) = expect(rest, INTEGER)?;
    let (_algorithm, rest) = expect(rest, SEQUENCE)?;
    let (_issuer, rest) = expect(rest, SEQUENCE)?;
    let (validity, _) = expect(rest, SEQUENCE)?;
    let (_, _, rest) = element(validity)?;
    match element(rest)? {
        (UTC_TIME, text, _) => {
            let (year, rest) = number(text, 2)?;
            time(if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (GENERALIZED_TIME, text, _) => {
            let (year, rest) = number(text, 4)?;
            time(year, rest)
        }
        _ => None,
    }
}

/// The first element: tag, content, and what comes behind it.
fn element(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = octets.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81..=0x84 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            let fold = |len: usize, &octet: &u8| len << 8 | usize::from(octet);
            (len.iter().fold(0, fold), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// The content of an element of this tag, and what comes behind it.
fn expect(octets: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(octets)?;
    (found == tag).then_some((content, rest))
}

/// So many decimal digits, and what comes behind them.
fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(digits)?;
    let text = str::from_utf8(digits).ok()?;
    Some((text.parse::<u32>().ok()?.into(), rest))
}

/// `MMDDHHMMSSZ` of a year.
fn time(year: i64, text: &[u8]) -> Option<i64> {
    let (month, text) = number(text, 2)?;
    let (day, text) = number(text, 2)?;
    let (hour, text) = number(text, 2)?;
    let (minute, text) = number(text, 2)?;
    let (second, text) = number(text, 2)?;
    if text != b"Z" || !(1..=12).contains(&month) {
        return None;
    }
    // Days since 1970 of the proleptic Gregorian calendar; years begin with March, so that the leap day is their last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 153 + 2) / 5
        + day
        - 719_469;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Seconds from now to a time; negative when it is over.
pub(super) fn seconds_left(not_after: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    not_after - now.map_or(0, |now| now.as_secs() as i64)
}

/// The certificates in use.
static IN_USE: Mutex<Vec<Weak<Identity>>> = Mutex::new(Vec::new());

fn in_use() -> MutexGuard<'static, Vec<Weak<Identity>>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows a certificate among the metrics, for as long as it is in use.
pub(super) fn show(identity: &Arc<Identity>) {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| metrics::collector(Box::new(Days)));
    let mut in_use = in_use();
    in_use.retain(|known| known.strong_count() > 0);
    in_use.push(Arc::downgrade(identity));
}

/// `nameplate_tls_certificate_expiry_days`, as it is when the metrics are read.
#[derive(Debug)]
struct Days;

impl Collector for Days {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut shown: Vec<(String, i64)> = in_use()
            .iter()
            .filter_map(Weak::upgrade)
            .filter_map(|identity| Some((identity.name(), identity.not_after()?)))
            .collect();
        shown.sort();
        shown.dedup_by(|a, b| a.0 == b.0);
        if shown.is_empty() {
            return Ok(());
        }
        let mut family = encoder.encode_descriptor(
            "nameplate_tls_certificate_expiry_days",
            "Days until a certificate of `tls` expires; negative once it has",
            None,
            MetricType::Gauge,
        )?;
        for (certificate, not_after) in shown {
            let days = seconds_left(not_after) as f64 / 86_400.0;
            let labels = [("certificate", certificate)];
            ConstGauge::new(days).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
