use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::*;

/// The leader of the sample in spec cli §4.2.
pub(super) fn inputs() -> Inputs {
    let at = |milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds);
    let text = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    Inputs {
        now: at(1_764_000_000_123),
        header: Header {
            started: at(1_763_990_000_456),
            pid: 1,
            log_file: "/var/log/datadog/cluster-agent.log".to_owned(),
            log_level: "info".to_owned(),
            configuration_file: "/etc/datadog-agent/datadog-cluster.yaml".to_owned(),
            extra_configuration_files: Vec::new(),
            confd_path: "/etc/datadog-agent/conf.d".to_owned(),
            checksd_path: String::new(),
        },
        hostname: Hostname {
            names: text(&[
                ("cluster-name", "edge-7"),
                ("hostname", "edge-node-1"),
                ("instance-id", ""),
                ("socket-fqdn", "dca-6c9f7-abcde"),
                ("socket-hostname", "dca-6c9f7-abcde"),
            ]),
            provider: "container".to_owned(),
            failed: text(&[
                ("'hostname' configuration/environment", "hostname is empty"),
                ("aws", "not retrieving hostname: the host is not an EC2 instance"),
            ]),
        },
        kubernetes: Kubernetes {
            server: "https://10.96.0.1:443".to_owned(),
            error: None,
            resources: vec![Resource {
                name: "nodes".to_owned(),
                synced: true,
                objects: 1_234,
                listed: Some(at(1_763_999_000_000)),
                heard: Some(at(1_763_999_970_000)),
                version: "4711".to_owned(),
                error: None,
            }],
        },
        cluster_checks: None,
        leader_election: LeaderElection::Running {
            leader: "dca-6c9f7-abcde".to_owned(),
            acquired: Some(at(1_763_996_400_000)),
            renewed: Some(at(1_764_000_000_000)),
            transitions: 3,
            role: "leader".to_owned(),
            lock: "configmaps \"datadog-leader-election\" in namespace \"monitoring\"".to_owned(),
        },
        delivery: None,
        custom_metrics: None,
        proxy: Proxy {
            https: Some("http://relay:3128".to_owned()),
            no_proxy: vec!["169.254.169.254".to_owned()],
            ..Proxy::default()
        },
        errors: Vec::new(),
    }
}

#[test]
fn the_leaders_document_has_the_layout_of_the_sample() {
    let expected = format!(
        "\
=======================
Cluster Agent (v7.70.0)
=======================
  Status date: 2025-11-24 16:00:00.123 UTC (1764000000123)
  Agent start: 2025-11-24 13:13:20.456 UTC (1763990000456)
  Pid: 1
  Go Version: n/a
  Build arch: {}
  Agent flavor: cluster_agent
  Log File: /var/log/datadog/cluster-agent.log
  Log Level: info

  Paths
  =====
    Config File: /etc/datadog-agent/datadog-cluster.yaml
    conf.d: /etc/datadog-agent/conf.d

========
Hostname
========

  cluster-name: edge-7
  hostname: edge-node-1
  socket-fqdn: dca-6c9f7-abcde
  socket-hostname: dca-6c9f7-abcde
  hostname provider: container
  unused hostname providers:
    'hostname' configuration/environment: hostname is empty
    aws: not retrieving hostname: the host is not an EC2 instance

=========
Collector
=========

  Running Checks
  ==============
    No checks have run yet

====================
Admission Controller
====================
  Disabled: The admission controller is not enabled on the Cluster Agent

==========================
Cluster Checks Dispatching
==========================
  Not Enabled

=====================
Custom Metrics Server
=====================
  Disabled: The external metrics provider is not enabled on the Cluster Agent

==============
Kubernetes API
==============
  Server: https://10.96.0.1:443

  Resources
  =========

    nodes: synced
      Objects: 1,234
      Last list: 2025-11-24 15:43:20 UTC (1763999000000)
      Last watch event: 2025-11-24 15:59:30 UTC (1763999970000)
      Resource version: 4711 (30s old)

===============
Leader Election
===============
  Leader Election Status:  Running
  Leader Name is: dca-6c9f7-abcde
  Last Acquisition of the lease: Mon, 24 Nov 2025 15:00:00 UTC
  Renewed leadership: Mon, 24 Nov 2025 16:00:00 UTC
  Number of leader transitions: 3 transitions

====================
Leader Election Lock
====================
  Lock: configmaps \"datadog-leader-election\" in namespace \"monitoring\"
  Role of this replica: leader

=====
Proxy
=====
  HTTPS: http://relay:3128
  No proxy for: 169.254.169.254

====================
Remote Configuration
====================
  Remote Configuration is disabled: this build does not support it

",
        json(&inputs())["build_arch"].as_str().unwrap_or_default()
    );
    assert_eq!(text(&inputs()), expected);
}

#[test]
fn the_object_has_the_keys_that_scripts_read() {
    let document = json(&inputs());
    assert_eq!(document["version"], "7.70.0");
    assert_eq!(document["flavor"], "cluster_agent");
    assert_eq!(document["conf_file"], "/etc/datadog-agent/datadog-cluster.yaml");
    assert_eq!(document["extra_conf_file"], json!([]));
    assert_eq!(document["pid"], 1);
    assert_eq!(document["time_nano"], 1_764_000_000_123_000_000_u64);
    assert_eq!(document["agent_start_nano"], 1_763_990_000_456_000_000_u64);
    assert_eq!(document["config"]["log_level"], "info");
    assert_eq!(document["metadata"]["meta"]["cluster-name"], "edge-7");
    assert_eq!(document["hostnameStats"]["provider"], "container");
    assert_eq!(document["leaderelection"]["leaderName"], "dca-6c9f7-abcde");
    assert_eq!(document["leaderelection"]["transitions"], "3 transitions");
    assert!(document["custommetrics"]["Disabled"].is_string());
    assert!(document["admissionWebhook"]["Disabled"].is_string());
    assert_eq!(document.get("errors"), None);
}

#[test]
fn cli_09_without_cluster_checks_the_text_says_so_and_the_key_is_absent() {
    assert!(
        text(&inputs())
            .contains("Cluster Checks Dispatching\n==========================\n  Not Enabled\n")
    );
    assert_eq!(json(&inputs()).get("clusterchecks"), None);
}

#[test]
fn facts_that_are_missing_are_named_at_the_end() {
    let inputs = Inputs { errors: vec!["the dispatcher does not answer".to_owned()], ..inputs() };
    let rule = "====================";
    let expected =
        format!("{rule}\nStatus render errors\n{rule}\n  - the dispatcher does not answer\n\n");
    assert!(text(&inputs).ends_with(&expected));
    assert_eq!(json(&inputs)["errors"], json!(["the dispatcher does not answer"]));
}

#[test]
fn an_empty_section_is_left_out() {
    let inputs = Inputs { proxy: Proxy::default(), ..inputs() };
    assert!(!text(&inputs).contains("Proxy"));
    assert!(section_names(&inputs).contains(&"proxy".to_owned()), "but it can be asked for");
}

#[test]
fn passwords_of_proxies_are_masked() {
    let proxy = Proxy { http: Some("http://user:p4ssw0rd@relay".to_owned()), ..Proxy::default() };
    let inputs = Inputs { proxy, ..inputs() };
    assert!(text(&inputs).contains("  HTTP: http://user:********@relay\n"), "{}", text(&inputs));
    assert!(!json(&inputs).to_string().contains("p4ssw0rd"));
}

#[test]
fn one_section_is_found_by_its_name_in_any_case() {
    let inputs = inputs();
    let leader = section(&inputs, "LEADER election", Format::Text).expect("it is there");
    assert!(leader.starts_with("===============\nLeader Election\n==============="), "{leader}");
    let header = section(&inputs, "header", Format::Text).expect("it is there");
    assert!(header.contains("Pid: 1") && header.contains("\nHostname\n"), "{header}");
    let json = section(&inputs, "leader election", Format::Json).expect("it is there");
    assert!(json.starts_with("{\"leaderelection\":{"), "{json}");
}

#[test]
fn an_unknown_section_is_answered_with_those_there_are() {
    let error = section(&inputs(), "nope", Format::Text).expect_err("there is none");
    let text = error.to_string();
    let start = "unknown status section 'nope', available sections are: [\"header\",\"collector\",\"admission controller\",";
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn the_sections_stand_in_alphabetical_order_after_the_collector() {
    let names = section_names(&inputs());
    assert_eq!(names[..2], ["header", "collector"]);
    assert!(names[2..].is_sorted(), "{names:?}");
}
