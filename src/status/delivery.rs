//! What goes to Datadog: the check that collects it, where it goes, and what became of it (spec cli §4.2, §4.3).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::inputs::{CheckRuns, Delivery};
use super::layout::{Text, grouped};
use super::{Inputs, Section};
use crate::{scrub, time_format};

/// The check of the control plane and of events, once it has run.
pub(super) fn collector(inputs: &Inputs) -> Section {
    let mut text = Text::default();
    text.blank();
    text.heading(2, "Running Checks");
    let mut keys = Vec::new();
    match inputs.delivery.as_ref().and_then(|delivery| delivery.check.as_ref()) {
        None => text.line(4, "No checks have run yet"),
        Some(check) => {
            let state = if check.error.is_some() { "ERROR" } else { "OK" };
            text.blank();
            text.line(4, "kubernetes_apiserver");
            text.line(4, "--------------------");
            text.line(6, format_args!("Instance ID: kubernetes_apiserver [{state}]"));
            text.line(6, format_args!("Total Runs: {}", count(check.runs)));
            text.line(6, "Metric Samples: Last Run: 0, Total: 0");
            for (name, (last, total)) in
                [("Events", check.events), ("Service Checks", check.service_checks)]
            {
                text.line(
                    6,
                    format_args!("{name}: Last Run: {}, Total: {}", count(last), count(total)),
                );
            }
            let average = time_format::go_duration(check.average);
            text.line(6, format_args!("Average Execution Time : {average}"));
            text.date(6, "Last Execution Date ", check.last);
            match check.last_success {
                Some(_) => text.date(6, "Last Successful Execution Date ", check.last_success),
                None => text.line(6, "Last Successful Execution Date : Never"),
            }
            if let Some(error) = &check.error {
                text.line(6, format_args!("Error: {}", scrub::message(error)));
            }
            keys.push(("runnerStats", statistics(check)));
        }
    }
    Section { title: "Collector".into(), text: text.finish(), keys }
}

/// The base URLs, with the ends of the keys that are sent there.
pub(super) fn endpoints(inputs: &Inputs) -> Section {
    let mut text = Text::default();
    let Some(delivery) = &inputs.delivery else { return empty("Endpoints", "endpointsInfos") };
    let mut endpoints: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (url, key) in &delivery.endpoints {
        endpoints.entry(url).or_default().push(ending(key));
    }
    text.blank();
    for (url, keys) in &endpoints {
        let name = if keys.len() == 1 { "API Key" } else { "API Keys" };
        text.line(2, format_args!("{} - {name} ending with:", scrub::message(url)));
        for key in keys {
            text.line(6, format_args!("- {key}"));
        }
    }
    let shown: BTreeMap<String, &Vec<String>> =
        endpoints.iter().map(|(url, keys)| (scrub::message(url).into_owned(), keys)).collect();
    Section {
        title: "Endpoints".into(),
        text: text.finish(),
        keys: vec![("endpointsInfos", json!(shown))],
    }
}

/// What became of the payloads.
pub(super) fn forwarder(inputs: &Inputs) -> Section {
    let Some(Delivery { dropped, retried, waiting, successes, errors, refusals, .. }) =
        &inputs.delivery
    else {
        return empty("Forwarder", "forwarderStats");
    };
    let mut text = Text::default();
    text.blank();
    text.heading(2, "Transactions");
    for (name, number) in
        [("Dropped", *dropped), ("Retried", *retried), ("RetryQueueSize", *waiting)]
    {
        text.line(4, format_args!("{name}: {}", count(number)));
    }
    let refusals: BTreeMap<String, u64> =
        refusals.iter().map(|(status, number)| (status.to_string(), *number)).collect();
    let totals = [
        ("Transaction Successes", "Successes By Endpoint", successes),
        ("Transaction Errors", "Errors By Type", errors),
        ("HTTP Errors", "HTTP Errors By Code", &refusals),
    ];
    for (title, heading, numbers) in totals {
        let total: u64 = numbers.values().sum();
        if total == 0 {
            continue;
        }
        text.blank();
        text.heading(2, title);
        text.line(4, format_args!("Total number: {}", count(total)));
        text.line(4, format_args!("{heading}:"));
        for (name, number) in numbers {
            text.line(6, format_args!("{name}: {}", count(*number)));
        }
    }
    text.blank();
    text.heading(2, "On-disk storage");
    text.line(4, "On-disk storage is disabled: this build keeps payloads in memory.");
    let total = |numbers: &BTreeMap<String, u64>| numbers.values().sum::<u64>();
    let keys = json!({"Transactions": {
        "Dropped": dropped, "Retried": retried, "RetryQueueSize": waiting,
        "Success": total(successes), "SuccessByEndpoint": successes,
        "Errors": total(errors), "ErrorsByType": errors,
        "HTTPErrors": total(&refusals), "HTTPErrorsByCode": refusals,
    }});
    Section { title: "Forwarder".into(), text: text.finish(), keys: vec![("forwarderStats", keys)] }
}

fn statistics(check: &CheckRuns) -> Value {
    let seconds = |time: Option<std::time::SystemTime>| {
        let since = time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        since.unwrap_or_default().as_secs()
    };
    let average = u64::try_from(check.average.as_millis()).unwrap_or(u64::MAX);
    let entry = json!({
        "CheckName": "kubernetes_apiserver", "CheckID": "kubernetes_apiserver", "CheckVersion": "",
        "TotalRuns": check.runs, "TotalErrors": check.failed, "TotalWarnings": 0,
        "MetricSamples": 0, "TotalMetricSamples": 0,
        "Events": check.events.0, "TotalEvents": check.events.1,
        "ServiceChecks": check.service_checks.0, "TotalServiceChecks": check.service_checks.1,
        "AverageExecutionTime": average, "UpdateTimestamp": seconds(check.last),
        "LastSuccessDate": seconds(check.last_success),
        "LastError": check.error.as_deref().map(|error| scrub::message(error).into_owned()).unwrap_or_default(),
        "LastWarnings": [],
    });
    json!({"Runs": check.runs, "Checks": {"kubernetes_apiserver": {"kubernetes_apiserver": entry}}})
}

/// The last four characters of a key, none of one that has no more.
fn ending(key: &crate::secret::Secret) -> String {
    let key = key.expose();
    let start = key.char_indices().rev().nth(3).map_or(0, |(index, _)| index);
    if start == 0 { "****".to_owned() } else { key[start..].to_owned() }
}

fn empty(title: &'static str, key: &'static str) -> Section {
    Section { title: title.into(), text: String::new(), keys: vec![(key, Value::Null)] }
}

fn count(number: u64) -> String {
    grouped(usize::try_from(number).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::tests::inputs;
    use super::*;
    use crate::secret::Secret;

    fn delivering() -> Inputs {
        let numbers = |name: &str, number| BTreeMap::from([(name.to_owned(), number)]);
        let at = Some(UNIX_EPOCH + Duration::from_secs(1_763_999_990));
        let key = |text: &str| Secret::new(text);
        let delivery = Delivery {
            endpoints: vec![
                ("https://app.datadoghq.com".to_owned(), key("0000ab12")),
                ("https://app.datadoghq.eu".to_owned(), key("0000cd34")),
                ("https://app.datadoghq.eu".to_owned(), key("ef56")),
            ],
            check: Some(CheckRuns {
                runs: 1_234,
                failed: 0,
                events: (2, 310),
                service_checks: (3, 3_702),
                average: Duration::from_millis(45),
                last: at,
                last_success: at,
                error: None,
            }),
            dropped: 0,
            retried: 1,
            waiting: 0,
            successes: numbers("intake", 26),
            errors: BTreeMap::new(),
            refusals: BTreeMap::from([(503, 2)]),
        };
        Inputs { delivery: Some(delivery), ..inputs() }
    }

    #[test]
    fn keys_are_shown_by_their_last_four_characters() {
        let expected = "\n  https://app.datadoghq.com - API Key ending with:\n      - ab12\n  \
                        https://app.datadoghq.eu - API Keys ending with:\n      - cd34\n      - ****\n";
        assert_eq!(endpoints(&delivering()).text, expected);
    }

    #[test]
    fn blocks_without_a_count_are_left_out() {
        let text = forwarder(&delivering()).text;
        assert!(text.contains("    Dropped: 0\n    Retried: 1\n    RetryQueueSize: 0\n"), "{text}");
        assert!(text.contains("    Successes By Endpoint:\n      intake: 26\n"), "{text}");
        assert!(text.contains("    HTTP Errors By Code:\n      503: 2\n"), "{text}");
        assert!(!text.contains("Transaction Errors"), "{text}");
    }

    #[test]
    fn the_check_is_shown_as_in_the_sample() {
        let expected = "
  Running Checks
  ==============

    kubernetes_apiserver
    --------------------
      Instance ID: kubernetes_apiserver [OK]
      Total Runs: 1,234
      Metric Samples: Last Run: 0, Total: 0
      Events: Last Run: 2, Total: 310
      Service Checks: Last Run: 3, Total: 3,702
      Average Execution Time : 45ms
      Last Execution Date : 2025-11-24 15:59:50 UTC (1763999990000)
      Last Successful Execution Date : 2025-11-24 15:59:50 UTC (1763999990000)
";
        assert_eq!(collector(&delivering()).text, expected);
    }
}
