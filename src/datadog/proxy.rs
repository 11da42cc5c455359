//! Which proxy a request to Datadog takes (spec events-and-leader §6.2).
//!
//! Exact matching compares an entry with the host, or with host and port, as written in the URL. The other rules
//! compare domains, address ranges and ports. Requests inside the cluster do not ask here: they never take a proxy.

use std::net::IpAddr;

use crate::config::url::Url;
use crate::config::{Proxy, ProxyUrl};

/// The proxy for `target`; `None` for a direct connection.
pub fn choose<'a>(settings: &'a Proxy, target: &Url) -> Option<&'a ProxyUrl> {
    let proxy = if target.scheme == "https" { &settings.https } else { &settings.http };
    let is_direct = if settings.nonexact_match {
        is_local(&target.host)
            || settings.no_proxy.iter().any(|entry| matches_loosely(entry, target))
    } else {
        settings.no_proxy.iter().any(|entry| matches_exactly(entry, target))
    };
    proxy.as_ref().filter(|_| !is_direct)
}

/// `host` or `host:port` as written, byte for byte.
fn matches_exactly(entry: &str, target: &Url) -> bool {
    let host = written_host(target);
    match target.port {
        None => entry == host,
        Some(port) => entry == format!("{host}:{port}"),
    }
}

fn written_host(target: &Url) -> String {
    if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() }
}

fn is_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn matches_loosely(entry: &str, target: &Url) -> bool {
    let entry = entry.trim();
    if entry == "*" {
        return true;
    }
    let address = target.host.parse::<IpAddr>().ok();
    if let Some((network, bits)) = entry.split_once('/') {
        let range = network.parse::<IpAddr>().ok().zip(bits.parse::<u32>().ok());
        return matches!((address, range), (Some(address), Some((network, bits))) if is_within(address, network, bits));
    }
    let (name, port) = split_port(entry);
    let target_port = target.port.unwrap_or(if target.scheme == "https" { 443 } else { 80 });
    if name.is_empty() || port.is_some_and(|port| port.parse() != Ok(target_port)) {
        return false;
    }
    if let Ok(wanted) = name.parse::<IpAddr>() {
        return address == Some(wanted);
    }
    let (name, host) = (name.to_ascii_lowercase(), target.host.to_ascii_lowercase());
    let host = host.trim_end_matches('.');
    match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
        Some(domain) => is_below(host, domain),
        None => host == name || is_below(host, &name),
    }
}

/// Splits `name:port` and `[address]:port`; an IPv6 address without brackets has no port.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':'));
    }
    match entry.split_once(':') {
        Some((name, port)) if !port.contains(':') => (name, Some(port)),
        _ => (entry, None),
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(address) & mask == u32::from(network) & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(address) & mask == u128::from(network) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};

    fn settings(variables: &[(&str, &str)]) -> Proxy {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let loaded = config::load_for_command(&Sources::new(variables.collect::<Vec<_>>()));
        loaded.expect("the settings are valid").config.proxy
    }

    fn is_proxied(settings: &Proxy, target: &str) -> bool {
        choose(settings, &Url::parse(target).expect("a URL")).is_some()
    }

    // spec: events_and_leader_28
    #[test]
    fn exact_entries_equal_host_or_host_and_port_as_written() {
        let exact =
            |entry| settings(&[("DD_PROXY_HTTPS", "http://px"), ("DD_PROXY_NO_PROXY", entry)]);
        for (entry, target, proxied) in [
            ("relay.local", "https://relay.local:8443", true),
            ("relay.local:8443", "https://relay.local:8443", false),
            ("relay.local", "https://relay.local", false),
            ("local", "https://relay.local", true),
            ("datadoghq.com", "https://7-70-0-app.agent.datadoghq.com", true),
            ("169.254.0.0/16", "https://169.254.1.1", true),
            ("", "https://169.254.169.254", false),
        ] {
            assert_eq!(is_proxied(&exact(entry), target), proxied, "{entry} {target}");
        }
    }

    // spec: events_and_leader_28
    #[test]
    fn other_entries_match_domains_ranges_and_ports() {
        let loose = |entry| {
            settings(&[
                ("DD_PROXY_HTTPS", "http://px"),
                ("DD_PROXY_NO_PROXY", entry),
                ("DD_NO_PROXY_NONEXACT_MATCH", "true"),
            ])
        };
        for (entry, target, proxied) in [
            ("10.0.0.0/8", "https://10.1.2.3", false),
            ("10.0.0.0/8", "https://11.1.2.3", true),
            ("10.0.0.0/8", "https://ten.example", true),
            ("0.0.0.0/0", "https://11.1.2.3", false),
            ("fd00::/8", "https://[fd12::1]", false),
            ("fd12::1", "https://[fd12::1]:8443", false),
            (".svc", "https://relay.mon.svc", false),
            (".svc", "https://svc", true),
            ("*.svc", "https://relay.svc:8443", false),
            ("*", "https://anything", false),
            ("foo.com:8443", "https://foo.com:8443", false),
            ("foo.com:8443", "https://foo.com", true),
            ("foo.com:443", "https://foo.com", false),
            ("foo.com", "https://FOO.com:1", false),
            ("foo.com", "https://a.foo.com", false),
            ("foo.com", "https://afoo.com", true),
            ("", "https://localhost:1", false),
            ("", "https://127.8.8.8", false),
            ("", "https://relay.local", true),
        ] {
            assert_eq!(is_proxied(&loose(entry), target), proxied, "{entry} {target}");
        }
    }

    // spec: events_and_leader_27
    #[test]
    fn the_scheme_of_the_target_selects_and_an_empty_value_switches_off() {
        let both =
            settings(&[("DD_PROXY_HTTP", "http://plain:1"), ("DD_PROXY_HTTPS", "http://secure:2")]);
        let host = |target| {
            choose(&both, &Url::parse(target).expect("a URL")).map(|proxy| proxy.host.clone())
        };
        assert_eq!(host("http://a"), Some("plain".to_owned()));
        assert_eq!(host("https://a"), Some("secure".to_owned()));
        let off = settings(&[("DD_PROXY_HTTPS", ""), ("HTTPS_PROXY", "http://px")]);
        assert!(!is_proxied(&off, "https://a"));
    }
}
