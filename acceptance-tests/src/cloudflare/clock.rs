//! Dates in the form the API writes them.

use std::time::{SystemTime, UNIX_EPOCH};

/// The current time as `2026-11-01T10:00:00.000000Z`.
pub fn now() -> String {
    later(0)
}

/// The time in some seconds.
pub fn later(seconds: u64) -> String {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is later than 1970");
    timestamp(elapsed.as_secs() + seconds, elapsed.subsec_micros())
}

/// A time in milliseconds since 1970, in the same form.
pub fn from_millis(millis: u64) -> String {
    timestamp(millis / 1000, (millis % 1000) as u32 * 1000)
}

fn timestamp(seconds: u64, micros: u32) -> String {
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Year, month and day of a number of days since 1970-01-01.
pub fn civil_date(mut days: u64) -> (u64, u64, u64) {
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= months[month] {
        days -= months[month];
        month += 1;
    }
    (year, month as u64 + 1, days + 1)
}

/// Whether a text is a date of the calendar in the form `YYYY-MM-DD`.
pub fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else {
        return false;
    };
    let number = |part: &str, digits: usize| {
        (part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))
            .then(|| part.parse::<u32>().ok())
            .flatten()
    };
    number(year, 4).is_some()
        && number(month, 2).is_some_and(|m| (1..=12).contains(&m))
        && number(day, 2).is_some_and(|d| (1..=31).contains(&d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_calendar_dates() {
        assert_eq!(timestamp(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(timestamp(951_782_400, 5), "2000-02-29T00:00:00.000005Z");
        assert_eq!(timestamp(1_795_564_799, 0), "2026-11-24T23:59:59.000000Z");
    }

    #[test]
    fn only_calendar_dates_are_dates() {
        for good in ["2026-11-24", "2021-02-03"] {
            assert!(is_date(good), "{good}");
        }
        for bad in [
            "2026-13-01",
            "2026-1-01",
            "20261101",
            "tomorrow",
            "2026-11-32",
            "",
        ] {
            assert!(!is_date(bad), "{bad}");
        }
    }
}
