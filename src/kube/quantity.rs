//! Numbers as Kubernetes quantities: `1500m`, `1k`, `2.68435456e+08` (spec external-metrics §7.2).
//!
//! The text is the one that a Go program gets when it prints a float, parses that as a quantity and prints it again,
//! so that what users see is what the official agent shows.

/// The finest unit is the nano: 10⁻⁹.
const FINEST: i32 = -9;

/// The text of `value`; `None` for what is no number.
pub fn text(value: f64) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    if value == 0.0 {
        return Some("0".to_owned());
    }
    let sign = if value < 0.0 { "-" } else { "" };
    // Rust's shortest scientific form: `d.ddde-5`.
    let shortest = format!("{:e}", value.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let scientific = !(-4..6).contains(&exponent);
    let written = if scientific { mantissa.to_owned() } else { value.abs().to_string() };
    let (whole, fraction) = written.split_once('.').unwrap_or((&written, ""));
    let digits = format!("{whole}{fraction}");
    let places = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let power = if scientific { exponent } else { 0 } - places;
    let is_kept =
        power >= FINEST && power % 3 == 0 && !digits.ends_with("000") && !digits.starts_with('0');
    let number = match (is_kept, scientific) {
        (true, true) => {
            let direction = if exponent < 0 { '-' } else { '+' };
            format!("{written}e{direction}{:02}", exponent.abs())
        }
        (true, false) => written,
        (false, _) => canonical(&digits, power, scientific),
    };
    Some(format!("{sign}{number}"))
}

/// A whole number of the largest unit whose power of ten is a multiple of three.
fn canonical(digits: &str, mut power: i32, scientific: bool) -> String {
    let mut number: u128 = digits.parse().unwrap_or_default();
    if power < FINEST {
        // Rounded away from zero. Seventeen digits are gone after as many steps.
        let divisor =
            u32::try_from(FINEST - power).ok().and_then(|steps| 10_u128.checked_pow(steps));
        number = divisor.map_or(1, |divisor| number.div_ceil(divisor));
        power = FINEST;
    }
    while power.rem_euclid(3) != 0 {
        number *= 10;
        power -= 1;
    }
    while number != 0 && number.is_multiple_of(1000) {
        number /= 1000;
        power += 3;
    }
    let suffix = match (scientific, power) {
        (_, 0) => String::new(),
        (true, power) => format!("e{power}"),
        (false, -9) => "n".to_owned(),
        (false, -6) => "u".to_owned(),
        (false, -3) => "m".to_owned(),
        (false, 3) => "k".to_owned(),
        (false, power) => format!("e{power}"),
    };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_look_like_those_of_the_official_agent() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.5, "500m"),
            (1.5, "1500m"),
            (24.75, "24750m"),
            (12.345, "12.345"),
            (3.0, "3"),
            (42.5, "42500m"),
            (100.0, "100"),
            (1000.0, "1k"),
            (1500.0, "1500"),
            (2472.0, "2472"),
            (10_000.0, "10k"),
            (100_000.0, "100k"),
            (123_000.0, "123k"),
            (123_400.0, "123400"),
            (1e6, "1e+06"),
            (1e7, "10e6"),
            (1e8, "100e6"),
            (1e9, "1e+09"),
            (268_435_456.0, "2.68435456e+08"),
            (1_234_567.891, "1.234567891e+06"),
            (33.333_333_333_333_336, "33333333334n"),
            (0.0001, "100u"),
            (0.001, "1m"),
            (1e-5, "10e-6"),
            (1e-300, "1e-9"),
            (-3.5, "-3500m"),
        ] {
            assert_eq!(text(value).as_deref(), Some(expected), "{value}");
        }
        assert_eq!(text(f64::NAN), None);
        assert_eq!(text(f64::INFINITY), None);
    }
}
