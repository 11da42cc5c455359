//! Passwords in URLs and in assignments: rules 12 and 14.

use std::borrow::Cow;

use super::secrets::{MASK, tells_nothing};

/// Names of passwords, the longest first; they may be the end of a longer name.
const NAMES: [&str; 4] = ["password", "pass", "pswd", "pwd"];

/// Masks the password of `scheme://user:password@` and `user:password@` (rule 12).
pub(super) fn mask_userinfo(line: Cow<'_, str>) -> Cow<'_, str> {
    if !line.contains('@') {
        return line;
    }
    let mut out = String::new();
    let mut copied = 0;
    let mut from = 0;
    while let Some(colon) = line[from..].find(':').map(|at| from + at) {
        from = colon + 1;
        let user = line[copied..colon].rsplit([':', ' ', '\t']).next();
        if user.is_none_or(str::is_empty) {
            continue;
        }
        let run = line[from..].split([' ', '\t', '|', '"']).next().unwrap_or_default();
        match run.rfind('@') {
            Some(at) if at > 0 => {
                let password = password(&run[..at]);
                out.push_str(&line[copied..from + at - password.len()]);
                out.push_str(MASK);
                copied = from + at;
                from = copied;
            }
            Some(_) => {}
            // No later colon of this run has one either.
            None => from += run.len(),
        }
    }
    if copied == 0 {
        return line;
    }
    out.push_str(&line[copied..]);
    out.into()
}

/// The password in what stands between a colon and `@`. If the colon ends a scheme, the user name comes first, unless
/// there is none.
fn password(after_colon: &str) -> &str {
    let userinfo = after_colon.strip_prefix("//").and_then(|rest| rest.split_once(':'));
    match userinfo {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => password,
        _ => after_colon,
    }
}

/// Masks what is assigned to a password: `--mysql_password=x`, `PASS = x`, `"pwd": "x"` (rule 14).
pub(super) fn mask_assigned(line: Cow<'_, str>) -> Cow<'_, str> {
    let lower = line.to_ascii_lowercase();
    let mut out = String::new();
    let mut copied = 0;
    let mut from = 0;
    while let Some((start, name)) = first_name(&lower, from) {
        from = start + name.len();
        let Some((start, end)) = assigned(&line, from) else { continue };
        out.push_str(&line[copied..start]);
        out.push_str(MASK);
        copied = end;
        from = end;
    }
    if copied == 0 {
        return line;
    }
    out.push_str(&line[copied..]);
    out.into()
}

/// The next name of a password at or after `from`.
fn first_name(lower: &str, from: usize) -> Option<(usize, &'static str)> {
    lower[from..].match_indices('p').find_map(|(at, _)| {
        let rest = &lower[from + at..];
        let name = NAMES.iter().find(|name| rest.starts_with(**name))?;
        Some((from + at, *name))
    })
}

/// Start and end of the value that follows a name ending at `end`; `None` where nothing is assigned.
fn assigned(line: &str, end: usize) -> Option<(usize, usize)> {
    let rest = &line[end..];
    let name_quoted = rest.starts_with('"');
    let rest = rest.strip_prefix('"').unwrap_or(rest).trim_start_matches(' ');
    let rest = match rest.strip_prefix('=') {
        Some(rest) => rest,
        None => rest.strip_prefix(':').filter(|rest| name_quoted || rest.starts_with(' '))?,
    };
    let rest = rest.trim_start_matches(' ');
    let value = rest.strip_prefix(['"', '\'']).unwrap_or(rest);
    let ends = |character: char| {
        character.is_whitespace() || character.is_control() || "\"'`;".contains(character)
    };
    let length = value.find(ends).unwrap_or(value.len());
    let start = line.len() - value.len();
    (length > 0 && !tells_nothing(&value[..length])).then_some((start, start + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_a_url_is_masked() {
        let cases = [
            ("url: https://u:p4ss@h/x", "url: https://u:********@h/x"),
            ("HTTPS://User:a:b@h", "HTTPS://User:********@h"),
            ("u:p@h", "u:********@h"),
            (
                "to https://a:b@c and http://d:e@f/",
                "to https://a:********@c and http://d:********@f/",
            ),
            ("https://token@h", "https:********@h"),
            ("https://h:443/x", "https://h:443/x"),
            ("10.0.0.1:80 asked by a@b", "10.0.0.1:80 asked by a@b"),
            ("\"https://u:p\"@h", "\"https://u:p\"@h"),
            (":@", ":@"),
            ("é://ü:ö@x a:ß@y", "é://ü:********@x a:********@y"),
        ];
        for (line, expected) in cases {
            assert_eq!(mask_userinfo(line.into()), expected, "{line}");
        }
    }

    #[test]
    fn what_is_assigned_to_a_password_is_masked() {
        let cases = [
            ("--mysql_password=x --v", "--mysql_password=******** --v"),
            ("PASS = x;y", "PASS = ********;y"),
            ("Pwd: x y", "Pwd: ******** y"),
            ("{\"password\":\"x\",\"a\":1}", "{\"password\":\"********\",\"a\":1}"),
            ("pswd='x'", "pswd='********'"),
            ("a pass:b", "a pass:b"),
            ("passed = 3", "passed = 3"),
            ("password=", "password="),
            ("pass=ü€x pwd=y", "pass=******** pwd=********"),
        ];
        for (line, expected) in cases {
            assert_eq!(mask_assigned(line.into()), expected, "{line}");
        }
    }
}
