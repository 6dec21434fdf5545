//! Sizes as people write and read them: `64MiB`, `48.2 KiB`.

const UNITS: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Reads `1024`, `64MiB`, `64M` or `64 mib`; a unit is always a power of 1024.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("`{text}` is not a size; expected a number and B, KiB, MiB, GiB or TiB, such as `64MiB`");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim().to_ascii_lowercase();
    let matches = |name: &str| {
        let name = name.to_ascii_lowercase();
        unit == name || (unit.len() == 1 && name.starts_with(&unit)) || unit == name.replace('i', "")
    };
    let unit = if unit.is_empty() { Some(1) } else { UNITS.iter().find(|(name, _)| matches(name)).map(|unit| unit.1) };
    number.checked_mul(unit.ok_or_else(wrong)?).ok_or_else(|| format!("`{text}` is more than 2^64 bytes"))
}

/// `48.2 KiB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn size(bytes: u64) -> String {
    let (name, unit) = UNITS.iter().rfind(|(_, unit)| bytes >= *unit).unwrap_or(&UNITS[0]);
    if *unit == 1 { format!("{bytes} B") } else { format!("{:.1} {name}", bytes as f64 / *unit as f64) }
}

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 record`, `2 records`.
pub(crate) fn counted(number: u64, one: &str) -> String {
    let many = match one {
        "batch" => "batches".to_owned(),
        "history" => "histories".to_owned(),
        one => format!("{one}s"),
    };
    if number == 1 { format!("1 {one}") } else { format!("{} {many}", count(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        assert_eq!(parse_size("1024"), Ok(1024));
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("2k"), Ok(2048));
        assert_eq!(parse_size("3 gb"), Ok(3 << 30));
        for wrong in ["", "MiB", "-1", "1.5MiB", "1x", "99999999999TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_counts_are_written_for_people() {
        assert_eq!((size(0), size(1023), size(1536)), ("0 B".into(), "1023 B".into(), "1.5 KiB".into()));
        assert_eq!((count(0), count(999), count(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
    }
}
