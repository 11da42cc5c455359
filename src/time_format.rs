//! Points in time and durations as text, always in UTC: logs, status pages, RFC 1123 and RFC 3339, and Go's durations.
//!
//! Days become a calendar date by counting in eras of 400 years that begin on 1 March, which puts the leap day at the
//! end of a year. Times before 1970 are shown as 1970: nothing here is that old.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// 1 January 1970 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

const SECONDS_PER_DAY: u64 = 86_400;

/// A point in time, split into the fields of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    /// The year, 1970 or later.
    pub year: u64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59; leap seconds do not exist in this clock.
    pub second: u8,
    /// 0 to 999,999,999.
    pub nanosecond: u32,
    /// Days since Thursday, 0 to 6.
    weekday: u8,
}

impl From<SystemTime> for Utc {
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let days = since_epoch.as_secs() / SECONDS_PER_DAY;
        let second_of_day = since_epoch.as_secs() % SECONDS_PER_DAY;
        let (year, month, day) = date_of(days);
        Self {
            year,
            month,
            day,
            hour: small(second_of_day / 3600),
            minute: small(second_of_day / 60 % 60),
            second: small(second_of_day % 60),
            nanosecond: since_epoch.subsec_nanos(),
            weekday: small(days % 7),
        }
    }
}

/// `2025-11-24 16:00:00 UTC`, the date of a log line (spec events-and-leader §9).
pub fn log_date(time: SystemTime) -> String {
    let Utc { year, month, day, hour, minute, second, .. } = time.into();
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// `2025-11-24T16:00:00Z`, to the second.
pub fn rfc3339(time: SystemTime) -> String {
    let Utc { year, month, day, hour, minute, second, .. } = time.into();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `Mon, 24 Nov 2025 16:00:00 UTC`, as the leader election section shows its times.
pub fn rfc1123(time: SystemTime) -> String {
    let Utc { year, month, day, hour, minute, second, weekday, .. } = time.into();
    let weekday = WEEKDAYS[usize::from(weekday)];
    let month = MONTHS[usize::from(month) - 1];
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} UTC")
}

/// `2025-11-24 16:00:00.123 UTC (1764000000123)`: milliseconds without trailing zeros, then the epoch in milliseconds
/// (spec cli §4.1).
pub fn status_date(time: SystemTime) -> String {
    let utc = Utc::from(time);
    let mut text = log_date(time);
    let zone = text.len() - " UTC".len();
    text.insert_str(zone, &fraction(u64::from(utc.nanosecond / 1_000_000), 3));
    let epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let _ = write!(text, " ({epoch})");
    text
}

/// A duration as Go prints it: `45ms`, `1m30s`, `100h0m0s`, `1.5s`, `0s`.
pub fn go_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    for (unit, name, digits) in [(1_000, "ns", 0), (1_000_000, "µs", 3), (1_000_000_000, "ms", 6)]
    {
        if nanoseconds == 0 {
            return "0s".to_owned();
        }
        if nanoseconds < unit {
            let whole = unit / 1_000;
            return format!(
                "{}{}{name}",
                nanoseconds / whole,
                fraction((nanoseconds % whole) as u64, digits)
            );
        }
    }
    let seconds = duration.as_secs();
    let fraction = fraction(u64::from(duration.subsec_nanos()), 9);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, _) => format!("{minutes}m{}{fraction}s", seconds % 60),
        _ => format!("{hours}h{minutes}m{}{fraction}s", seconds % 60),
    }
}

/// `.5` for 500 of 3 digits: trailing zeros go, and so does the point when nothing is left.
fn fraction(value: u64, digits: usize) -> String {
    if value == 0 {
        return String::new();
    }
    format!(".{value:0digits$}").trim_end_matches('0').to_owned()
}

/// Year, month and day of the given number of days after 1 January 1970.
fn date_of(days: u64) -> (u64, u8, u8) {
    // Days from 1 March of the year 0 to 1 January 1970.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // 153 days are five months from March on: 31 + 30 + 31 + 30 + 31.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, next_year) =
        if month_from_march < 10 { (month_from_march + 3, 0) } else { (month_from_march - 9, 1) };
    (era * 400 + year_of_era + next_year, small(month), small(day))
}

fn small(number: u64) -> u8 {
    u8::try_from(number).expect("fields of a date and a time of day are below 256")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    #[test]
    fn dates_follow_the_calendar() {
        let cases = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_764_000_000, "2025-11-24 16:00:00 UTC"),
            (1_798_761_599, "2026-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(log_date(at(seconds * 1000)), expected);
        }
    }

    #[test]
    fn each_format_shows_the_same_moment() {
        let time = at(1_764_000_000_120);
        assert_eq!(rfc3339(time), "2025-11-24T16:00:00Z");
        assert_eq!(rfc1123(time), "Mon, 24 Nov 2025 16:00:00 UTC");
        assert_eq!(status_date(time), "2025-11-24 16:00:00.12 UTC (1764000000120)");
        assert_eq!(status_date(at(1_764_000_000_000)), "2025-11-24 16:00:00 UTC (1764000000000)");
    }

    #[test]
    fn durations_look_like_those_of_go() {
        let cases = [
            (Duration::ZERO, "0s"),
            (Duration::from_nanos(7), "7ns"),
            (Duration::from_nanos(1_500), "1.5µs"),
            (Duration::from_millis(45), "45ms"),
            (Duration::from_micros(45_020), "45.02ms"),
            (Duration::from_millis(1_500), "1.5s"),
            (Duration::from_secs(59), "59s"),
            (Duration::from_secs(90), "1m30s"),
            (Duration::from_secs(360_000), "100h0m0s"),
        ];
        for (duration, expected) in cases {
            assert_eq!(go_duration(duration), expected);
        }
    }
}
