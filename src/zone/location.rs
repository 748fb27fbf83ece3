//! LOC records (RFC 1876): degrees, minutes, seconds, metres; and the rules of GPOS records (RFC 1712).

use crate::encoding;
use crate::rdata::{Fault, Fields};

/// The equator, and the height of 100,000 m below the spheroid, as their fields have them.
const EQUATOR: u32 = 1 << 31;
const BASE_CM: i64 = 10_000_000;

/// Takes a whole location.
pub(crate) fn read(fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let latitude = angle(fields, 90, (b'N', b'S'))?;
    let longitude = angle(fields, 180, (b'E', b'W'))?;
    let altitude = metres(fields)?;
    let altitude = u32::try_from(altitude + BASE_CM)
        .map_err(|_| fields.fault("the altitude is out of range"))?;
    let mut sizes = [0x12u8, 0x16, 0x13]; // 1 m, 10,000 m, 10 m (RFC 1876, section 3)
    for size in &mut sizes {
        if fields.peek().is_some() {
            let value = metres(fields)?;
            *size = precision(value).ok_or_else(|| fields.fault("the size is out of range"))?;
        }
    }
    out.push(0);
    out.extend_from_slice(&sizes);
    for field in [latitude, longitude, altitude] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    Ok(())
}

/// Whether `rdata` is a location. Of versions other than 0 nothing is known (RFC 1876, section 2).
pub(crate) fn check(rdata: &[u8]) -> bool {
    let [0, sizes @ ..] = rdata else {
        return !rdata.is_empty();
    };
    let angle = |at: usize, degrees: u32| {
        let angle = wire::read_u32(rdata, at).unwrap_or_default();
        angle.abs_diff(EQUATOR) <= degrees * 3_600_000
    };
    rdata.len() == 16
        && sizes[..3]
            .iter()
            .all(|size| size >> 4 <= 9 && size & 0x0F <= 9)
        && angle(4, 90)
        && angle(8, 180)
}

fn angle(fields: &mut Fields<'_>, most: u64, (positive, negative): (u8, u8)) -> Result<u32, Fault> {
    let mut thousandths = fields.number(most)? * 3_600_000;
    for (unit, round) in [60_000, 1_000].into_iter().enumerate() {
        let text = fields.take("a direction")?;
        if let [letter] = text
            && letter.is_ascii_alphabetic()
        {
            fields.next -= 1;
            break;
        }
        let value = if unit == 0 {
            encoding::number(text, 59).map(|minutes| minutes * round)
        } else {
            decimal(text, 3)
                .filter(|&v| (0..60_000).contains(&v))
                .map(|v| v as u64)
        };
        thousandths += value.ok_or_else(|| fields.fault("expected a number below 60"))?;
    }
    let text = fields.take("a direction")?;
    if thousandths > most * 3_600_000 {
        return Err(fields.fault("the angle is out of range"));
    }
    match text {
        [letter] if letter.to_ascii_uppercase() == positive => Ok(EQUATOR + thousandths as u32),
        [letter] if letter.to_ascii_uppercase() == negative => Ok(EQUATOR - thousandths as u32),
        _ => Err(fields.fault("expected a direction, one of N S E W")),
    }
}

/// Takes metres, with or without an `m`, as centimetres.
fn metres(fields: &mut Fields<'_>) -> Result<i64, Fault> {
    let text = fields.take("metres")?;
    let digits = text.strip_suffix(b"m").unwrap_or(text);
    decimal(digits, 2)
        .filter(|v| v.unsigned_abs() <= 9_000_000_000)
        .ok_or_else(|| fields.fault("expected metres"))
}

/// A decimal number as an integer of its `places`-th decimals.
fn decimal(text: &[u8], places: u32) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        _ => (1, text),
    };
    let (whole, part) = match digits.iter().position(|&o| o == b'.') {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, &[][..]),
    };
    let mut value = encoding::number(whole, 1 << 40)? as i64 * 10i64.pow(places);
    if !part.is_empty() {
        let missing = places.checked_sub(part.len() as u32)?;
        value += encoding::number(part, 1 << 20)? as i64 * 10i64.pow(missing);
    }
    Some(sign * value)
}

/// Holds a geographical position to RFC 1712, section 3: three decimal numbers. It calls the one from -90 to 90 the longitude and has it
/// first; some have it second.
pub(crate) fn check_geographical(rdata: &[u8]) -> Result<(), &'static str> {
    let mut rest = rdata;
    let mut numbers = [0.0; 3];
    for number in &mut numbers {
        let [len, tail @ ..] = rest else {
            return Err("a position is three numbers");
        };
        let (text, behind) = tail.split_at_checked(*len as usize).unwrap_or_default();
        let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+"));
        let plain = digits.unwrap_or(text).iter();
        let is_number = plain.clone().any(u8::is_ascii_digit)
            && plain
                .clone()
                .all(|&octet| octet.is_ascii_digit() || octet == b'.');
        let parsed = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok());
        *number = parsed
            .filter(|_| is_number)
            .ok_or("a position is three decimal numbers (RFC 1712, section 3)")?;
        rest = behind;
    }
    let [one, other, _]: [f64; 3] = numbers.map(f64::abs);
    if one.max(other) <= 180.0 && one.min(other) <= 90.0 {
        Ok(())
    } else {
        Err("the angle is out of range (RFC 1712, section 3)")
    }
}

/// Centimetres as a mantissa and a power of ten, four bits each.
fn precision(mut value: i64) -> Option<u8> {
    let mut power = 0u8;
    while value > 9 {
        value /= 10;
        power += 1;
    }
    (value >= 0 && power <= 9).then_some((value as u8) << 4 | power)
}
