//! Proxies towards Datadog (spec events-and-leader §6.1).
//!
//! Precedence and conversion follow from the table of keys; which proxy a request takes is decided by the client.

use std::fmt;

use super::Reader;
use crate::{
    config::{Source, url::Url, value},
    secret::Secret,
};

/// Metadata services of clouds, which are never behind the proxy.
const METADATA_ADDRESSES: [&str; 2] = ["169.254.169.254", "100.100.100.200"];

/// Proxies by the scheme of the target.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// For `http` targets.
    pub http: Option<ProxyUrl>,
    /// For `https` targets.
    pub https: Option<ProxyUrl>,
    /// Hosts that are reached directly, as configured.
    pub no_proxy: Vec<String>,
    /// Whether they match by domain, address range and port instead of by exact text.
    pub nonexact_match: bool,
}

/// An HTTP proxy; shown without its credentials.
#[derive(Clone)]
pub struct ProxyUrl {
    /// The whole URL with the scheme `http`, possibly with credentials.
    pub url: Secret,
    /// Host name or address; an IPv6 address without brackets.
    pub host: String,
    /// Port, 80 unless another is given.
    pub port: u16,
    /// Percent-decoded user name and password.
    pub credentials: Option<(Secret, Secret)>,
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&value::without_userinfo(self.url.expose()))
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl Proxy {
    pub(super) fn check(reader: &mut Reader) -> Self {
        announce(reader);
        let mut no_proxy = reader.list("proxy.no_proxy");
        if !reader.boolean("use_proxy_for_cloud_metadata") {
            for address in METADATA_ADDRESSES {
                if !no_proxy.iter().any(|entry| entry == address) {
                    no_proxy.push(address.to_owned());
                }
            }
        }
        Self {
            http: proxy_url(reader, "proxy.http"),
            https: proxy_url(reader, "proxy.https"),
            no_proxy,
            nonexact_match: reader.boolean("no_proxy_nonexact_match"),
        }
    }
}

/// Says where the proxies come from: variables of the system are easily forgotten.
fn announce(reader: &mut Reader) {
    let names = ["proxy.http", "proxy.https", "proxy.no_proxy"];
    if !names.iter().any(|name| reader.is_set(name)) {
        return;
    }
    reader.inform("Loading proxy settings");
    for name in names {
        if let Source::Environment(variable) = reader.setting(name).source()
            && !variable.starts_with("DD_")
        {
            reader.inform(format!(
                "Found '{variable}' env var, using it for the Agent proxy settings"
            ));
        }
    }
}

fn proxy_url(reader: &Reader, name: &str) -> Option<ProxyUrl> {
    let url = reader.secret(name);
    let parsed = Url::parse(url.expose()).ok()?;
    Some(ProxyUrl {
        host: parsed.host,
        port: parsed.port.unwrap_or(80),
        credentials: parsed.credentials,
        url,
    })
}
