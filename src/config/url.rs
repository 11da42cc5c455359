//! The little of URLs that configuration needs: scheme, credentials, host, port.

use std::fmt;

use crate::secret::Secret;

/// An absolute `http` or `https` URL, taken apart.
#[derive(Clone, Debug)]
pub struct Url {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Percent-decoded user name and password, where given.
    pub credentials: Option<(Secret, Secret)>,
    /// Host name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Port, where given.
    pub port: Option<u16>,
    /// Path, query and fragment as written; empty or beginning with one of `/?#`.
    pub path: String,
}

/// Why a text is no such URL; it never quotes the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No `http://` or `https://` in front.
    Scheme,
    /// No host, or one with characters that hosts cannot have.
    Host,
    /// A port that is no number from 1 to 65535.
    Port,
    /// White space or control characters.
    Blank,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Scheme => "is not an absolute URL with http:// or https://",
            Self::Host => "is a URL without a valid host",
            Self::Port => "is a URL with an invalid port",
            Self::Blank => "is a URL with blanks in it",
        })
    }
}

impl std::error::Error for Problem {}

impl Url {
    /// Takes a URL apart.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Problem::Blank);
        }
        let (scheme, rest) = text.split_once("://").ok_or(Problem::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => "http",
            "https" => "https",
            _ => return Err(Problem::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (userinfo, address) = match authority.rsplit_once('@') {
            Some((userinfo, address)) => (Some(userinfo), address),
            None => (None, authority),
        };
        let (host, port) = split_port(address)?;
        let credentials = userinfo.map(|userinfo| {
            let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
            (Secret::new(percent_decoded(user)), Secret::new(percent_decoded(password)))
        });
        Ok(Self { scheme, credentials, host, port, path: path.to_owned() })
    }
}

fn split_port(address: &str) -> Result<(String, Option<u16>), Problem> {
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(Problem::Host)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| Problem::Host)?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(Problem::Host),
        }
    } else {
        let (host, port) = match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !host.chars().all(allowed) {
            return Err(Problem::Host);
        }
        (host, port)
    };
    let port = match port {
        None | Some("") => None,
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0).ok_or(Problem::Port)?),
    };
    Ok((host.to_owned(), port))
}

/// The text with `%XX` replaced; sequences that are not valid stay as they are.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while position < bytes.len() {
        let pair = text.get(position + 1..position + 3).filter(|_| bytes[position] == b'%');
        let pair = pair.filter(|pair| pair.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                position += 3;
            }
            None => {
                decoded.push(bytes[position]);
                position += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = Url::parse("HTTP://us%40er:p%3Aw@Proxy.local:3128/path?x").unwrap();
        let (user, password) = url.credentials.unwrap();
        assert_eq!((url.scheme, url.host.as_str(), url.port), ("http", "Proxy.local", Some(3128)));
        assert_eq!(
            (user.expose(), password.expose(), url.path.as_str()),
            ("us@er", "p:w", "/path?x")
        );
        let url = Url::parse("https://[fd00::1]:8443").unwrap();
        assert_eq!((url.scheme, url.host.as_str(), url.port), ("https", "fd00::1", Some(8443)));
        let url = Url::parse("https://a.example").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("a.example", None, ""));
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, problem) in [
            ("example.test", Problem::Scheme),
            ("ftp://example.test", Problem::Scheme),
            ("https://", Problem::Host),
            ("https://a b", Problem::Blank),
            ("https://ex*mple", Problem::Host),
            ("https://[::1", Problem::Host),
            ("https://[::g]", Problem::Host),
            ("https://a:port", Problem::Port),
            ("https://a:0", Problem::Port),
            ("https://a:65536", Problem::Port),
        ] {
            assert_eq!(Url::parse(text).err(), Some(problem), "{text}");
        }
    }

    #[test]
    fn percent_signs_that_encode_nothing_stay() {
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%zz%41%é"), "%zzA%é");
    }
}
