//! Times and durations as people write and read them: `10m`, `2026-11-22T10:00:00Z`.

use std::time::{Duration, SystemTime};

use epochlog::Timestamp;

const UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 7 * 86_400_000)];

/// Reads `500ms`, `10s`, `10m`, `2h`, `7d`, `1w`, and sums such as `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; expected such as `500ms`, `10s`, `10m`, `2h`, `7d` or `1h30m`");
    let mut rest = text.trim();
    let mut sum = 0_u64;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let (number, unit, behind) = take_term(rest).ok_or_else(wrong)?;
        sum = number.checked_mul(unit).and_then(|ms| sum.checked_add(ms)).ok_or_else(wrong)?;
        rest = behind;
    }
    Ok(Duration::from_millis(sum))
}

fn take_term(text: &str) -> Option<(u64, u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number = text[..digits].parse().ok()?;
    let behind = &text[digits..];
    let letters = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
    let unit = UNITS.iter().find(|(name, _)| *name == &behind[..letters])?.1;
    Some((number, unit, &behind[letters..]))
}

/// Reads a duration, meaning so long ago, or an RFC 3339 time.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = parse_duration(text) {
        let now = Timestamp::from(SystemTime::now()).as_millis();
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp::from_millis(now.saturating_sub(ago)));
    }
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => Ok(Timestamp::from_millis(time.as_millisecond())),
        Err(_) => Err(format!(
            "`{text}` is not a time; expected how long ago, such as `10m`, or RFC 3339, such as `2026-11-22T10:00:00Z`"
        )),
    }
}

/// RFC 3339 in UTC with milliseconds; beyond its range the milliseconds since 1970.
pub(crate) fn show(time: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(time.as_millis()) {
        Ok(shown) => format!("{shown:.3}"),
        Err(_) => time.as_millis().to_string(),
    }
}

/// `1h30m`, as [`parse_duration`] reads it.
pub(crate) fn show_duration(duration: Duration) -> String {
    let mut ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, unit) in UNITS.iter().rev().filter(|(name, _)| *name != "w") {
        if ms >= *unit {
            text += &format!("{}{name}", ms / unit);
            ms %= unit;
        }
    }
    if text.is_empty() { "0ms".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_come_back() {
        for (text, ms) in [("500ms", 500), ("10s", 10_000), ("1h30m", 5_400_000), ("7d", 604_800_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)));
            assert_eq!(show_duration(Duration::from_millis(ms)), text);
        }
        for wrong in ["", "10", "m", "10 m", "-1s", "1x", "99999999999999999999s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_come_back_and_nonsense_is_refused_with_both_forms() {
        let time = parse_time("2026-11-22T10:00:00.250Z").expect("is a time");
        assert_eq!(time, Timestamp::from_millis(1_795_341_600_250));
        assert_eq!(show(time), "2026-11-22T10:00:00.250Z");
        assert_eq!(show(Timestamp::MAX), i64::MAX.to_string());
        assert!(parse_time("yesterday").expect_err("is refused").contains("RFC 3339"));
    }
}
