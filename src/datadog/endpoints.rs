//! Where payloads go: base URLs and keys from site, `dd_url` and additional endpoints (spec events-and-leader §5.1).

use crate::config::Datadog;
use crate::config::url::Url;
use crate::secret::Secret;
use crate::version::{MAJOR, MINOR, PATCH};

/// Domains of Datadog's own sites; a site of a region stands below one of them.
const SITES: [&str; 6] =
    ["datadoghq.com", "datadoghq.eu", "datad0g.com", "datad0g.eu", "ddog-gov.com", "ddog-gov.mil"];

/// A base URL and the key that is sent there.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Scheme, host, perhaps port and path; no slash at the end.
    pub base: String,
    /// The API key.
    pub key: Secret,
}

/// Every place that each payload goes to; the main one first.
pub fn destinations(settings: &Datadog) -> Vec<Destination> {
    let base = base_url(settings);
    let main = Destination { base, key: settings.api_key.clone() };
    let others = settings.additional_endpoints.iter().flat_map(|endpoint| {
        let base = versioned(&endpoint.url, settings.fully_qualified_sites);
        endpoint
            .api_keys
            .iter()
            .map(move |key| Destination { base: base.clone(), key: key.clone() })
    });
    std::iter::once(main).chain(others).collect()
}

/// The main intake: `dd_url` where it is given, else the site's.
pub fn base_url(settings: &Datadog) -> String {
    let url = match &settings.url {
        Some(url) => url.trim().trim_end_matches('/').to_owned(),
        None => format!("https://app.{}", settings.site.trim()),
    };
    versioned(&url, settings.fully_qualified_sites)
}

/// Where a key is checked: at the site's API, or at the base URL itself when that is no site of Datadog's.
pub fn validation_url(base: &str) -> String {
    let host = Url::parse(base).map(|url| url.host).unwrap_or_default();
    match host.trim_end_matches('.').split_once(".agent.").filter(|(_, site)| is_site(site)) {
        Some((_, site)) => format!("https://api.{site}/api/v1/validate"),
        None => format!("{base}/api/v1/validate"),
    }
}

/// `https://app.<site>` with the version in front, which is what egress rules are written for.
fn versioned(url: &str, fully_qualified: bool) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.strip_suffix('.').unwrap_or(authority);
    let site =
        host.strip_prefix("app.").filter(|site| is_site(site.strip_prefix("mrf.").unwrap_or(site)));
    let Some(site) = site else { return url.to_owned() };
    let dot = if fully_qualified || host.len() < authority.len() { "." } else { "" };
    format!("{scheme}://{MAJOR}-{MINOR}-{PATCH}-app.agent.{site}{dot}{path}")
}

/// Whether `host` is a site of Datadog's, alone or with one region such as `us3` in front.
fn is_site(host: &str) -> bool {
    SITES.iter().any(|site| match host.strip_suffix(site) {
        Some("") => true,
        Some(region) => region.strip_suffix('.').is_some_and(is_region),
        None => false,
    })
}

/// At least two letters and one or two digits.
fn is_region(label: &str) -> bool {
    let letters = label.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = label.len() - letters.len();
    letters.len() >= 2
        && letters.chars().all(|c| c.is_ascii_lowercase())
        && (1..=2).contains(&digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};

    fn settings(variables: &[(&str, &str)]) -> Datadog {
        let variables: Vec<(String, String)> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        config::load_for_command(&Sources::new(variables)).expect("valid settings").config.datadog
    }

    // spec: events_and_leader_26
    #[test]
    fn the_base_url_follows_from_url_and_site() {
        let version = format!("{MAJOR}-{MINOR}-{PATCH}");
        for (url, site, expected) in [
            ("", "", format!("https://{version}-app.agent.datadoghq.com")),
            ("", "us5.datadoghq.com", format!("https://{version}-app.agent.us5.datadoghq.com")),
            ("", "datadoghq.eu", format!("https://{version}-app.agent.datadoghq.eu")),
            ("", "ddog-gov.com", format!("https://{version}-app.agent.ddog-gov.com")),
            ("", "relay.local", "https://app.relay.local".to_owned()),
            ("", "toolong123.datadoghq.com", "https://app.toolong123.datadoghq.com".to_owned()),
            ("https://relay.local:8443/x/", "", "https://relay.local:8443/x".to_owned()),
            ("https://relay.local", "datadoghq.eu", "https://relay.local".to_owned()),
            ("https://app.datadoghq.com:443", "", "https://app.datadoghq.com:443".to_owned()),
            (
                "https://app.mrf.datadoghq.com",
                "",
                format!("https://{version}-app.agent.mrf.datadoghq.com"),
            ),
            ("https://notapp.datadoghq.com", "", "https://notapp.datadoghq.com".to_owned()),
        ] {
            let settings = settings(&[("DD_DD_URL", url), ("DD_SITE", site)]);
            assert_eq!(base_url(&settings), expected, "{url} {site}");
        }
    }

    #[test]
    fn a_key_is_checked_at_the_site_or_at_the_relay() {
        let site = validation_url(&base_url(&settings(&[("DD_SITE", "us3.datadoghq.com")])));
        assert_eq!(site, "https://api.us3.datadoghq.com/api/v1/validate");
        assert_eq!(validation_url("http://127.0.0.1:9"), "http://127.0.0.1:9/api/v1/validate");
    }

    #[test]
    fn each_key_of_an_additional_endpoint_is_a_destination() {
        let settings = settings(&[
            ("DD_API_KEY", "main"),
            ("DD_ADDITIONAL_ENDPOINTS", r#"{"https://app.datadoghq.eu": ["one", "two"]}"#),
        ]);
        let all = destinations(&settings);
        let keys: Vec<&str> = all.iter().map(|destination| destination.key.expose()).collect();
        assert_eq!(keys, ["main", "one", "two"]);
        assert!(all[2].base.ends_with("-app.agent.datadoghq.eu"), "{}", all[2].base);
    }
}
