//! Whether Datadog is reached, through the proxy that would be taken (spec cli §8).

use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

use super::report::{Finding, Suite};
use crate::config::Config;
use crate::config::url::Url;
use crate::datadog::{agent, proxy};

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn suite(config: &Config) -> Suite {
    let site = || format!("https://app.{}", config.datadog.site);
    let main = config.datadog.url.clone().unwrap_or_else(site);
    let others = config.datadog.additional_endpoints.iter().map(|endpoint| endpoint.url.clone());
    let findings = std::iter::once(main).chain(others).flat_map(|url| endpoint(config, &url));
    Suite { name: "connectivity-datadog-core-endpoints", findings: findings.collect() }
}

fn endpoint(config: &Config, url: &str) -> Vec<Finding> {
    let name = format!("[Endpoints] {url}");
    let target = match Url::parse(url) {
        Ok(target) => target,
        Err(problem) => {
            let diagnosis = format!("the address {problem}");
            return vec![Finding::fail(name, diagnosis, "correct dd_url or site")];
        }
    };
    let through = proxy::choose(&config.proxy, &target);
    let way = through.map_or("directly".to_owned(), |proxy| format!("through the proxy {proxy}"));
    // Behind a proxy it is the proxy that looks the target up.
    let (host, port) = match through {
        Some(proxy) => (proxy.host.as_str(), proxy.port),
        None => {
            let usual = if target.scheme == "https" { 443 } else { 80 };
            (target.host.as_str(), target.port.unwrap_or(usual))
        }
    };
    let mut findings = vec![match (host, port).to_socket_addrs() {
        Ok(addresses) => {
            let count = addresses.count();
            Finding::pass(format!("[DNS] {host}"), format!("{count} addresses"))
        }
        Err(error) => Finding::fail(
            format!("[DNS] {host}"),
            error.to_string(),
            "see that /etc/resolv.conf names a server that is reached on port 53, UDP and TCP",
        ),
    }];
    findings.push(match answer(config, &target, url) {
        Ok((status, elapsed)) => {
            Finding::pass(name, format!("answered {status} in {} ms, {way}", elapsed.as_millis()))
        }
        Err(error) => Finding::fail(
            name,
            format!("no answer {way}: {error}"),
            "open the way to this host in firewalls and network policies, or set DD_PROXY_HTTPS",
        ),
    });
    findings
}

/// Any status is an answer: only the way is looked at.
fn answer(config: &Config, target: &Url, url: &str) -> Result<(u16, Duration), String> {
    let agent =
        agent::make(target, &config.proxy, &config.tls).map_err(|error| error.to_string())?;
    let start = Instant::now();
    let request = agent.head(url).config().timeout_global(Some(PATIENCE)).build();
    let answer = request.call().map_err(|error| error.to_string())?;
    Ok((answer.status().as_u16(), start.elapsed()))
}
