//! From the text of a setting to its value. An error says what would be right.

use std::path::PathBuf;
use std::time::Duration;

/// `true`, `false` and the digits that stand for them.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("use true or false".to_owned()),
    }
}

/// The name of a file, which need not be there.
pub(crate) fn file(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("name a file".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// A whole number within bounds; underscores may group its digits.
pub(crate) fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let parsed = text.replace('_', "").parse::<u64>().ok();
    parsed
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("use a whole number from {least} to {most}"))
}

/// A whole number of the smallest unit of a token.
pub(crate) fn amount(text: &str, least: u128) -> Result<u128, String> {
    let digits = text.replace('_', "");
    let parsed = match digits.strip_prefix("0x") {
        Some(hex) => u128::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    };
    parsed
        .filter(|amount| *amount >= least)
        .ok_or_else(|| format!("use a whole number of the smallest unit, at least {least}"))
}

/// A length of time: `500ms`, `2s`, `1m`, `1h30m`, or a number of seconds, which may have a fraction.
pub(crate) fn time(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().map(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let parsed = seconds.unwrap_or_else(|| humantime::parse_duration(text).ok());
    parsed.filter(|time| (least..=most).contains(time)).ok_or_else(|| {
        let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
        format!("use a time from {least} to {most}, such as 1, 0.5, 500ms or 1m; a number alone is seconds")
    })
}

/// A size in bytes: `4096`, `128KB`, `5MB`, `2GB`; units are powers of ten, with an `i` (`MiB`) powers of two.
pub(crate) fn bytes(text: &str, least: u64) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kb" => Some(1_000),
        "m" | "mb" => Some(1_000_000),
        "g" | "gb" => Some(1_000_000_000),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        _ => None,
    };
    let number = number.replace('_', "").parse::<u64>().ok();
    number
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .filter(|bytes| *bytes >= least)
        .ok_or_else(|| format!("use a size of at least {least} bytes, such as 5MB or 128MiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_units_and_fractions() {
        let read = |text| {
            time(text, Duration::from_millis(100), Duration::from_secs(86_400)).map(|time| time.as_millis()).ok()
        };
        let table = [
            ("1", Some(1_000)),
            ("0.5", Some(500)),
            ("500ms", Some(500)),
            ("2s", Some(2_000)),
            ("1m", Some(60_000)),
            ("1m30s", Some(90_000)),
            ("60", Some(60_000)),
            ("0", None),
            ("-1", None),
            ("50ms", None),
            ("2d", None),
            ("NaN", None),
            ("inf", None),
            ("1e30", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), expected, "for {text:?}");
        }
    }

    #[test]
    fn sizes_are_read_with_units() {
        let table = [
            ("4096", Some(4_096)),
            ("5MB", Some(5_000_000)),
            ("5 mb", Some(5_000_000)),
            ("1MiB", Some(1_048_576)),
            ("2g", Some(2_000_000_000)),
            ("0", None),
            ("MB", None),
            ("5TB", None),
            ("-5", None),
            ("99999999999999GB", None),
        ];
        for (text, expected) in table {
            assert_eq!(bytes(text, 1).ok(), expected, "for {text:?}");
        }
    }

    #[test]
    fn numbers_amounts_and_switches_refuse_junk() {
        assert_eq!(number("65535", 0, 65_535), Ok(65_535));
        assert_eq!(number("1_000", 0, 65_535), Ok(1_000));
        assert!(number("65536", 0, 65_535).is_err());
        assert!(number("3.5", 0, 10).is_err());
        assert_eq!(amount("0x10", 0), Ok(16));
        assert!(amount("0", 1).is_err());
        assert!(amount("one", 0).is_err());
        assert_eq!(switch("TRUE"), Ok(true));
        assert_eq!(switch("0"), Ok(false));
        assert!(switch("maybe").is_err());
    }
}
