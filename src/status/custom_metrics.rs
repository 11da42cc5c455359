//! External metrics: where values come from, where they are kept, and each one with its state (spec external-metrics
//! §13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::inputs::{CustomMetric, CustomMetrics, MetricsSource};
use super::layout::Text;
use super::{Inputs, Section};
use crate::{scrub, time_format};

/// Said where external metrics are off.
const DISABLED: &str = "The external metrics provider is not enabled on the Cluster Agent";

/// The section.
pub(super) fn section(inputs: &Inputs) -> Section {
    let title = "Custom Metrics Server".into();
    let Some(facts) = &inputs.custom_metrics else {
        return Section {
            title,
            text: format!("  Disabled: {DISABLED}\n"),
            keys: vec![("custommetrics", json!({ "Disabled": DISABLED }))],
        };
    };
    let mut text = Text::default();
    text.blank();
    write_sources(&mut text, &facts.sources);
    text.line(2, format_args!("ConfigMap name: {}", facts.store));
    if let Some(error) = &facts.error {
        text.line(2, format_args!("Error: {}", scrub::message(error)));
    }
    underlined(&mut text, "External Metrics");
    let valid = facts.metrics.iter().filter(|metric| metric.valid).count();
    text.line(4, format_args!("Total: {}", facts.metrics.len()));
    text.line(4, format_args!("Valid: {valid}"));
    text.blank();
    for metric in &facts.metrics {
        write_metric(&mut text, metric);
    }
    for problem in &facts.problems {
        text.line(2, format_args!("Problem: {}", scrub::message(problem)));
    }
    let keys = vec![
        ("custommetrics", json_of_metrics(facts, valid)),
        ("externalmetrics", json_of_sources(&facts.sources)),
    ];
    Section { title, text: text.finish(), keys }
}

fn write_sources(text: &mut Text, sources: &[MetricsSource]) {
    underlined(text, "Data sources");
    match sources {
        [only] => text.line(2, format_args!("URL: {}", only.url)),
        all => {
            for source in all {
                text.line(2, format_args!("- URL: {}  [{}]", source.url, state(source)));
                text.line(4, format_args!("Last failure: {}", date(source.last_failure)));
                text.line(4, format_args!("Last Success: {}", date(source.last_success)));
            }
        }
    }
    text.blank();
}

fn write_metric(text: &mut Text, metric: &CustomMetric) {
    let CustomMetric { namespace, name, .. } = metric;
    text.line(2, format_args!("* horizontal pod autoscaler: {namespace}/{name}"));
    text.line(4, format_args!("Metric name: {}", metric.metric));
    text.line(4, "Labels:");
    for (label, value) in &metric.labels {
        text.line(4, format_args!("- {label}: {value}"));
    }
    text.line(4, format_args!("Value: {}", grouped(metric.value)));
    text.line(4, format_args!("Timestamp: {}", time_format::status_date(moment(metric.timestamp))));
    text.line(4, format_args!("Valid: {}", metric.valid));
    if let Some(problem) = &metric.problem {
        text.line(4, format_args!("Reason: {}", scrub::message(problem)));
    }
}

fn json_of_metrics(facts: &CustomMetrics, valid: usize) -> Value {
    let metrics = facts.metrics.iter().map(|metric| {
        let CustomMetric { namespace, name, .. } = metric;
        let mut entry = json!({
            "metricName": metric.metric,
            "labels": metric.labels,
            "ts": metric.timestamp,
            "reference": {"type": "horizontal", "name": name, "namespace": namespace},
            "value": metric.value,
            "valid": metric.valid,
        });
        if let Some(problem) = &metric.problem {
            entry["reason"] = scrub::message(problem).into();
        }
        entry
    });
    let metrics: Vec<Value> = metrics.collect();
    let total = metrics.len();
    let mut object = json!({
        "Cmname": facts.store,
        "External": {"Metrics": metrics, "Total": total, "Valid": valid},
    });
    if let Some(error) = &facts.error {
        object["StoreError"] = scrub::message(error).into();
    }
    if !facts.problems.is_empty() {
        let problems: Vec<String> =
            facts.problems.iter().map(|problem| scrub::message(problem).into_owned()).collect();
        object["Problems"] = problems.into();
    }
    object
}

fn json_of_sources(sources: &[MetricsSource]) -> Value {
    if let [only] = sources {
        return json!({"client": {"url": only.url}});
    }
    let clients = sources.iter().map(|source| {
        json!({
            "url": source.url,
            "lastQuerySucceeded": source.answered,
            "lastFailure": date(source.last_failure),
            "lastSuccess": date(source.last_success),
            "status": state(source),
        })
    });
    json!({"clients": clients.collect::<Vec<_>>()})
}

fn state(source: &MetricsSource) -> &'static str {
    match source.answered {
        Some(true) => "OK",
        Some(false) => "Failed",
        None => "Unknown",
    }
}

fn date(time: Option<SystemTime>) -> String {
    time.map_or_else(|| "Never".to_owned(), time_format::status_date)
}

fn moment(timestamp: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(timestamp).unwrap_or_default())
}

/// `268,435,456.5`: commas between groups of three digits.
fn grouped(value: f64) -> String {
    let text = value.abs().to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if !fraction.is_empty() {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

fn underlined(text: &mut Text, title: &str) {
    text.line(2, title);
    text.line(2, "-".repeat(title.len()));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tests::inputs;
    use super::*;

    #[test]
    fn an_enabled_provider_shows_sources_store_and_metrics() {
        let mut inputs = inputs();
        inputs.custom_metrics = Some(CustomMetrics {
            store: "shop/datadog-custom-metrics".to_owned(),
            error: None,
            sources: vec![MetricsSource {
                url: "https://api.datadoghq.com".to_owned(),
                answered: None,
                last_failure: None,
                last_success: None,
            }],
            metrics: vec![CustomMetric {
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
                metric: "queue.depth".to_owned(),
                labels: BTreeMap::from([("queue".to_owned(), "orders".to_owned())]),
                value: 42.5,
                timestamp: 1_709_634_030,
                valid: true,
                problem: None,
            }],
            problems: vec!["metric name is invalid".to_owned()],
        });
        let Section { text, keys, .. } = section(&inputs);
        assert_eq!(
            text,
            "
  Data sources
  ------------
  URL: https://api.datadoghq.com

  ConfigMap name: shop/datadog-custom-metrics
  External Metrics
  ----------------
    Total: 1
    Valid: 1

  * horizontal pod autoscaler: shop/web
    Metric name: queue.depth
    Labels:
    - queue: orders
    Value: 42.5
    Timestamp: 2024-03-05 10:20:30 UTC (1709634030000)
    Valid: true
  Problem: metric name is invalid
"
        );
        assert_eq!(keys[0].1["Cmname"], "shop/datadog-custom-metrics");
        assert_eq!(keys[0].1["External"]["Valid"], 1);
        assert_eq!(keys[1].1["client"]["url"], "https://api.datadoghq.com");
    }

    #[test]
    fn values_have_commas() {
        for (value, expected) in
            [(0.0, "0"), (268_435_456.0, "268,435,456"), (-1234.5, "-1,234.5"), (999.0, "999")]
        {
            assert_eq!(grouped(value), expected);
        }
    }
}
