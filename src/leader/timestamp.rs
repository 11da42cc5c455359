//! The timestamps inside a lock object: microseconds since 1970, read leniently and written exactly.
//!
//! Nothing is ever decided by comparing such a timestamp with a local clock; people read them, and the election makes
//! each one differ from the one before (see [`super::record`]).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MICROSECONDS: i64 = 1_000_000;

/// 9999-12-31T23:59:59.999999Z: the last moment that RFC 3339 can write.
const LATEST: i64 = 253_402_300_800 * MICROSECONDS - 1;

/// Microseconds since 1970-01-01T00:00:00Z, between the years 0 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The given moment of the calendar, cut to microseconds; moments outside 1970–9999 become the nearest inside.
    pub fn from_wall(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since_epoch.as_micros()).unwrap_or(LATEST).min(LATEST))
    }

    /// The same moment for the rest of the program; moments before 1970 become 1970.
    pub fn to_wall(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(u64::try_from(self.0).unwrap_or_default())
    }

    /// Cut to whole seconds.
    pub fn whole_seconds(self) -> Self {
        Self(self.0 - self.0.rem_euclid(MICROSECONDS))
    }

    /// One microsecond later; `None` after the last moment that can be written.
    pub fn next(self) -> Option<Self> {
        (self.0 < LATEST).then(|| Self(self.0 + 1))
    }

    /// Reads RFC 3339 with any number of fraction digits and any offset; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let shape = bytes.get(..19)?;
        let separators =
            [(4, b"-"), (7, b"-"), (10, b"Tt"), (13, b":"), (16, b":")] as [(_, &[u8]); 5];
        if separators.iter().any(|(index, allowed)| !allowed.contains(&shape[*index])) {
            return None;
        }
        let number = |from: usize, to: usize| digits(shape.get(from..to)?);
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        // A leap second is read as the first second after it.
        if !(1..=12).contains(&month)
            || !(1..=31).contains(&day)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return None;
        }
        let (fraction, zone) = fraction(&bytes[19..])?;
        let seconds = (days_since_1970(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
        Some(Self((seconds - offset(zone)?) * MICROSECONDS + fraction))
            .filter(|time| time.0 <= LATEST)
    }

    /// `2024-05-02T10:03:15Z`; a fraction is written only where there is one.
    pub fn to_seconds_text(self) -> String {
        let fraction = self.0.rem_euclid(MICROSECONDS);
        if fraction == 0 { format!("{}Z", self.date_and_time()) } else { self.to_micro_text() }
    }

    /// `2024-05-02T10:03:15.250000Z`: always six fraction digits, the only form that the Lease API decodes.
    pub fn to_micro_text(self) -> String {
        format!("{}.{:06}Z", self.date_and_time(), self.0.rem_euclid(MICROSECONDS))
    }

    fn date_and_time(self) -> String {
        let seconds = self.0.div_euclid(MICROSECONDS);
        let (year, month, day) = date(seconds.div_euclid(86_400));
        let second = seconds.rem_euclid(86_400);
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// A number of decimal digits only.
fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number: i64, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })
}

/// Splits `.250000Z` into microseconds and the zone.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let mut padded = [b'0'; 6];
    let used = length.min(padded.len());
    padded[..used].copy_from_slice(&rest[..used]);
    Some((digits(&padded)?, &rest[length..]))
}

/// The seconds that a zone is ahead of UTC: `Z`, `+01:00`.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = match zone {
        b"Z" | b"z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    match rest {
        [_, _, b':', _, _] => Some(sign * (digits(&rest[..2])? * 3600 + digits(&rest[3..])? * 60)),
        _ => None,
    }
}

/// Days from 1970-01-01, counting years from 1 March so that the leap day ends one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a number of days from 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * month_from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_leniently() {
        for (text, seconds, microseconds) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2024-05-02T10:03:15Z", 1_714_644_195, 0),
            ("2024-05-02T12:03:15+02:00", 1_714_644_195, 0),
            ("2024-05-02T10:03:15.25Z", 1_714_644_195, 250_000),
            ("2024-05-02T10:03:15.250000999Z", 1_714_644_195, 250_000),
            ("2024-02-29T23:59:59z", 1_709_251_199, 0),
            ("2000-03-01T00:00:00Z", 951_868_800, 0),
        ] {
            assert_eq!(
                Timestamp::parse(text),
                Some(Timestamp(seconds * MICROSECONDS + microseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2024-05-02",
            "2024-05-02T10:03:15",
            "2024-13-02T10:03:15Z",
            "2024-05-02T10:03:15.Z",
            "2024-05-02T10:03:15+0200",
            "2024-05-02 10:03:15Z",
            "٢٠٢٤-05-02T10:03:15Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_eight_centuries_survives_the_round_trip() {
        for day in 0..8 * 36_525 {
            let time = Timestamp((day * 86_400 + day % 86_400) * MICROSECONDS);
            assert_eq!(Timestamp::parse(&time.to_seconds_text()), Some(time));
        }
    }

    #[test]
    fn the_two_written_forms() {
        let time = Timestamp::parse("2024-05-02T10:03:15.25Z").expect("a valid time");
        assert_eq!(time.to_micro_text(), "2024-05-02T10:03:15.250000Z");
        assert_eq!(time.whole_seconds().to_seconds_text(), "2024-05-02T10:03:15Z");
        assert_eq!(time.whole_seconds().to_micro_text(), "2024-05-02T10:03:15.000000Z");
        let later = time.whole_seconds().next().expect("not the last moment");
        assert_eq!(later.to_seconds_text(), "2024-05-02T10:03:15.000001Z");
        assert_eq!(Timestamp(LATEST).next(), None);
        assert_eq!(Timestamp(LATEST).to_micro_text(), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn a_broken_calendar_clock_is_clamped() {
        assert_eq!(Timestamp::from_wall(UNIX_EPOCH - Duration::from_secs(9)), Timestamp(0));
        let time = SystemTime::now();
        let kept = Timestamp::from_wall(time).to_wall();
        assert!(time.duration_since(kept).expect("cut down") < Duration::from_micros(1));
    }
}
