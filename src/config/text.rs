//! Small parsers for the texts that values are given as (spec config §1.4).

use std::time::Duration;

/// Largest duration that is accepted: a year, far below what deadlines can hold.
const DURATION_LIMIT: f64 = 366.0 * 86_400.0;

/// A boolean in any spelling of Go or YAML 1.1.
pub fn boolean(text: &str) -> Option<bool> {
    match text.trim() {
        "1" | "t" | "T" => Some(true),
        "0" | "f" | "F" => Some(false),
        word => match word.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => None,
        },
    }
}

/// A whole number with blanks around it.
pub fn integer(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// A finite number with blanks around it.
pub fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// A duration in Go's form, such as `1h30m`, `1.5s` or `0`, that is not negative.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    rest = rest.strip_prefix('+').unwrap_or(rest);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let count: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        rest = &rest[letters..];
        seconds += count * unit;
    }
    (seconds <= DURATION_LIMIT).then(|| Duration::from_nanos((seconds * 1e9).round() as u64))
}

/// A number of bytes: `1048576`, `10Mb`, `512 kb`, `1GB`, in binary multiples and without case.
pub fn size(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let count: i64 = text[..digits].parse().ok()?;
    let factor: i64 = match text[digits..].trim() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    count.checked_mul(factor)
}

/// A value that still asks a secret backend: `ENC[handle]`.
pub fn is_secret_handle(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("ENC[") && text.ends_with(']')
}

/// At most 100 characters of a text, for a message; control characters become blanks so that it stays one line.
pub fn excerpt(text: &str) -> String {
    const LIMIT: usize = 100;
    let mut excerpt: String =
        text.chars().take(LIMIT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LIMIT).is_some() {
        excerpt.push('…');
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_in_all_spellings() {
        for text in ["1", "t", "T", "true", "TRUE", "True", "yes", "on", " true "] {
            assert_eq!(boolean(text), Some(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False", "no", "off"] {
            assert_eq!(boolean(text), Some(false), "{text}");
        }
        for text in ["", "2", "maybe", "truee"] {
            assert_eq!(boolean(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_whole_unless_a_fraction_is_allowed() {
        assert_eq!(integer(" 42 "), Some(42));
        assert_eq!(integer("-1"), Some(-1));
        assert_eq!(integer("4.5"), None);
        assert_eq!(integer("0x10"), None);
        assert_eq!(number(" 4.5"), Some(4.5));
        assert_eq!(number("NaN"), None);
        assert_eq!(number("inf"), None);
    }

    #[test]
    fn durations_in_go_form() {
        for (text, milliseconds) in [
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("0", 0),
            ("2h", 7_200_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(duration("3us"), Some(Duration::from_micros(3)));
        for text in ["", "10", "m", "-1s", "1d", "1s1", "1..5s", "99999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_binary_multiples() {
        for (text, bytes) in [
            ("10Mb", 10 << 20),
            ("512 kb", 512 << 10),
            ("1GB", 1 << 30),
            ("15728640", 15_728_640),
            ("7B", 7),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "Mb", "10 parsecs", "-1", "1.5Mb", "99999999999gb"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn excerpts_are_one_short_line() {
        assert_eq!(excerpt("a\nb"), "a b");
        assert_eq!(excerpt(&"x".repeat(200)).chars().count(), 101);
    }
}
