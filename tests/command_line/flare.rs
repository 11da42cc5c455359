//! `flare`: the dialogue, what the archive holds and hides, and how it is sent.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::agent::{Agent, asking};
use crate::program::{Said, binary, command, said};
use crate::receiver::{ArchiveReceiver, answer, found, redirect};
use crate::support::api_server::Server;
use crate::support::program::{Program, SHARED_TOKEN, Settings, free_port};
use crate::support::scratch::Scratch;
use crate::support::unzip::unzip;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const APPLICATION_KEY: &str = "fedcba9876543210fedcba9876543210fedcba98";
const PROXY_PASSWORD: &str = "pr0xy-p4ssw0rd";

const DELIVERED: &str = r#"{"case_id":4711,"error":"","request_uuid":"x"}"#;

/// A call of `flare` beside nothing that runs, which therefore makes the archive itself.
fn alone(directory: &Scratch, words: &[&str]) -> Command {
    let mut command = asking(directory, free_port(), words);
    command.env("DD_API_KEY", KEY).env("TMPDIR", directory.path());
    command.env("DD_LOG_FILE", directory.path().join("cluster-agent.log"));
    command
}

/// A call that sends to a scripted receiver.
fn sent(answers: Vec<String>, words: &[&str]) -> (Said, ArchiveReceiver) {
    let directory = Scratch::new();
    let receiver = ArchiveReceiver::start(answers);
    let said = said(alone(&directory, words).env("DD_DD_URL", receiver.url()));
    (said, receiver)
}

fn archives(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the directory is ours").flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "zip"))
        .collect()
}

/// The members of an archive without their top directory, which is the same for all.
fn members(archive: &[u8]) -> (String, BTreeMap<String, String>) {
    let mut top = String::new();
    let members = unzip(archive).into_iter().map(|(name, content)| {
        let (directory, name) = name.split_once('/').expect("every member is in a directory");
        directory.clone_into(&mut top);
        (name.to_owned(), String::from_utf8(content).expect("all members are text"))
    });
    let members = members.collect();
    (top, members)
}

#[test]
fn cli_19_an_archive_is_sent_with_its_case_and_key() {
    let json = answer("200 OK", "application/json; charset=utf-8", DELIVERED);
    let (said, receiver) = sent(vec![found(), json], &["flare", "-e", "a@b.c", "-s", "123"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let sentence = "Your logs were successfully uploaded. For future reference, your internal case id is 4711\n";
    assert!(said.output.ends_with(sentence), "{}", said.output);
    let received = receiver.received();
    let lines: Vec<&str> = received.iter().map(|request| request.line.as_str()).collect();
    assert_eq!(lines, ["HEAD /support/flare/123", "POST /support/flare/123"]);
    let headers = received[1].headers.to_ascii_lowercase();
    assert!(headers.contains(&format!("dd-api-key: {KEY}\r\n")), "{headers}");
    assert!(headers.contains("transfer-encoding: chunked\r\n"), "{headers}");
    assert!(
        !received[0].headers.contains(KEY),
        "only the server that gets the archive gets the key"
    );

    let body = &received[1].body;
    let text = String::from_utf8_lossy(body);
    let names: Vec<&str> = text
        .match_indices("form-data; name=\"")
        .filter_map(|(at, found)| text[at + found.len()..].split('"').next())
        .collect();
    let expected = ["case_id", "email", "source", "flare_file", "agent_version", "hostname"];
    assert_eq!(names, expected);
    let start = find(body, b"PK\x03\x04");
    let end = find(body, b"PK\x05\x06") + 22;
    let (_, members) = members(&body[start..end]);
    assert!(members.contains_key("local"), "{:?}", members.keys());
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).expect("it is there")
}

#[test]
fn cli_20_the_last_address_gets_the_archive_and_may_not_send_it_on() {
    let answers = vec![redirect("/first"), redirect("/second/flare"), found(), redirect("/third")];
    let (said, receiver) = sent(answers, &["flare", "-e", "a@b.c", "-s"]);
    let received = receiver.received();
    let lines: Vec<&str> = received.iter().map(|request| request.line.as_str()).collect();
    let expected =
        ["HEAD /support/flare", "HEAD /first", "HEAD /second/flare", "POST /second/flare"];
    assert_eq!(lines, expected);
    assert_eq!(said.code, Some(255));
    assert!(said.errors.starts_with("Error: the server answered 302"), "{}", said.errors);
}

#[test]
fn cli_21_a_failing_server_is_asked_three_times_and_a_refusing_one_once() {
    let failing = || answer("503 Service Unavailable", "text/plain", "later");
    let json = || answer("200 OK", "application/json", DELIVERED);
    let words = ["flare", "-e", "a@b.c", "-s"];
    let (said, receiver) = sent(vec![found(), failing(), failing(), json()], &words);
    assert_eq!(said.code, Some(0), "{said:?}");
    let received = receiver.received();
    assert_eq!(received.len(), 4);
    for pair in received[1..].windows(2) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause >= Duration::from_millis(990), "{pause:?}");
    }

    let (said, receiver) = sent(vec![found(), failing(), failing(), failing(), json()], &words);
    assert_eq!((said.code, receiver.received().len()), (Some(255), 4));
    let start = "Error: failed to send flare after 3 attempts: ";
    assert!(said.errors.contains(start), "{}", said.errors);

    let refusing = answer("400 Bad Request", "application/json", "{}");
    let (said, receiver) = sent(vec![found(), refusing, json()], &words);
    assert_eq!((said.code, receiver.received().len()), (Some(255), 2));

    let forbidding = answer("403 Forbidden", "application/json", "{}");
    let (said, _) = sent(vec![found(), forbidding], &words);
    let text =
        "Error: HTTP 403 Forbidden: Make sure your API key is valid. API Key ending with: bcdef\n";
    assert_eq!((said.code, said.errors.as_str()), (Some(255), text));
}

#[test]
fn cli_22_an_answer_that_is_no_json_is_shown_up_to_150_bytes() {
    let page = format!("<html>{}", "x".repeat(500));
    let answers = vec![found(), answer("200 OK", "text/html", &page)];
    let (said, _) = sent(answers, &["flare", "-e", "a@b.c", "-s"]);
    assert_eq!(said.code, Some(255));
    let advice = "Error: could not deserialize response body -- Please contact support by email.\n";
    assert!(said.output.ends_with(advice), "{}", said.output);
    let end = format!("\nServer returned:\n{}\n", &page[..150]);
    assert!(said.errors.ends_with(&end), "{}", said.errors);
}

#[test]
fn cli_23_who_says_no_keeps_the_archive() {
    for typed in ["a@b.c\nn\n", "a@b.c\n", "\nyes\n"] {
        let directory = Scratch::new();
        let mut command = alone(&directory, &["flare"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let mut input = child.stdin.take().expect("it is piped");
        input.write_all(typed.as_bytes()).expect("the program reads");
        drop(input);
        let output = child.wait_with_output().expect("the program ends");
        let text = String::from_utf8(output.stdout).expect("the program speaks UTF-8");
        assert_eq!(output.status.code(), Some(0), "{text}");
        let archives = archives(directory.path());
        assert_eq!(archives.len(), 1, "{archives:?}");
        let path = archives[0].display();
        assert!(text.starts_with("Please enter your email: \nAsking the Cluster Agent"), "{text}");
        let end = format!(
            "\nInitiating flare locally, some logs will be missing.\n{path} is going to be uploaded to Datadog\n\
             Are you sure you want to upload a flare? [y/N]\nAborting. (You can still use {path})\n"
        );
        assert!(text.ends_with(&end), "{text}");
        let mode = fs::metadata(&archives[0]).expect("the archive exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let name = archives[0].file_name().and_then(|name| name.to_str()).unwrap_or_default();
        assert!(name.starts_with("datadog-agent-20") && name.ends_with("Z-info.zip"), "{name}");
    }
}

#[test]
fn cli_24_without_a_server_the_command_collects_what_it_can() {
    let directory = Scratch::new();
    directory
        .write("datadog-cluster.yaml", "api_key: 0123456789abcdef0123456789abcdef\n# a comment\n");
    directory.write("cluster-agent.log", "an old line with password: hunter2hunter2\n");
    directory.write("cluster-agent.log.1", "an older line\n");
    directory.write("other.txt", "not a log\n");
    let said = said(&mut alone(&directory, &["flare", "--no-upload"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    let start = "Asking the Cluster Agent to build the flare archive.\n\
                 The agent was unable to make a full flare: unable to fetch auth token";
    assert!(said.output.starts_with(start), "{}", said.output);
    let archive = fs::read(&archives(directory.path())[0]).expect("the archive exists");
    let (_, members) = members(&archive);
    assert_eq!(members["local"], "");
    assert_eq!(members["etc/datadog.yaml"], "api_key: '****************************cdef'");
    assert_eq!(members["logs/cluster-agent.log"], "an old line with password: \"********\"\n");
    assert_eq!(members["logs/cluster-agent.log.1"], "an older line\n");
    assert!(!members.contains_key("cluster-agent-status.log"));
    assert!(!members.contains_key("logs/other.txt"));
    let problems = &members["flare_creation.log"];
    assert!(problems.contains("error collecting data for 'clusterchecks.log': "), "{problems}");
    assert!(members["clusterchecks.log"].starts_with("unable to fetch auth token"));
}

/// The program with a secret in every place that has one, and a call of `flare` beside it.
fn with_secrets() -> (Program, Server, Scratch) {
    let server = Server::start_plain();
    server.add_node("node-a");
    let directory = Scratch::new();
    let kubeconfig = server.write_kubeconfig(directory.path());
    let settings = Settings::default()
        .set("DD_APP_KEY", APPLICATION_KEY)
        .set("DD_PROXY_HTTPS", &format!("http://user:{PROXY_PASSWORD}@127.0.0.1:9"))
        .set("DD_CLUSTER_CHECKS_ENABLED", "true")
        .set("TMPDIR", &directory.path().display().to_string())
        .file(&format!(
            "api_key: {KEY}\nexternal_metrics_provider:\n  api_key: \"{}\"\n",
            "e".repeat(32)
        ));
    let program = Program::start(binary(), &kubeconfig, &settings);
    program.wait_synced();
    (program, server, directory)
}

fn beside(program: &Program, words: &[&str]) -> Command {
    let mut command = command(binary(), words);
    command.arg("-c").arg(program.directory());
    command.env("DD_CLUSTER_AGENT_CMD_PORT", program.address().port().to_string());
    command
}

#[test]
fn cli_25_no_secret_is_in_an_archive_of_the_running_program() {
    let (program, _server, directory) = with_secrets();
    let said = said(&mut beside(&program, &["flare", "--no-upload"]));
    assert_eq!((said.code, said.errors.as_str()), (Some(0), ""));
    let archives = archives(directory.path());
    let expected = format!(
        "Asking the Cluster Agent to build the flare archive.\n{} is complete and was not uploaded\n",
        archives[0].display()
    );
    assert_eq!(said.output, expected);
    let (top, members) = members(&fs::read(&archives[0]).expect("the archive exists"));
    assert_eq!(top, "embedded-test");
    for name in [
        "cluster-agent-status.log",
        "cluster-agent-metadatamapper.log",
        "clusterchecks.log",
        "config-check.log",
        "envvars.log",
        "etc/datadog.yaml",
        "flare_creation.log",
        "logs/cluster-agent.log",
        "runtime_config_dump.yaml",
        "telemetry.log",
    ] {
        assert!(members.contains_key(name), "{name}: {:?}", members.keys());
    }
    assert!(!members.contains_key("local"));
    assert!(members["cluster-agent-status.log"].contains("\n  hostname: embedded-test\n"));
    assert!(members["cluster-agent-metadatamapper.log"].contains("Node detected: node-a\n"));
    // File logging is off: these are the lines that the process remembers.
    assert!(members["logs/cluster-agent.log"].contains("Cluster Agent now running."));
    assert!(members["etc/datadog.yaml"].contains("*cdef"), "{}", members["etc/datadog.yaml"]);
    let session = fs::read_to_string(program.directory().join("auth_token")).expect("it is there");
    for secret in
        [KEY, APPLICATION_KEY, PROXY_PASSWORD, SHARED_TOKEN, session.trim(), &"e".repeat(32)]
    {
        for (name, content) in &members {
            assert!(!content.contains(secret), "{secret} in {name}:\n{content}");
        }
    }
}

#[test]
fn cli_28_the_environment_is_shown_without_keys_and_passwords() {
    let (program, _server, _directory) = with_secrets();
    let output = beside(&program, &["flare", "--output", "-"]).output().expect("it runs");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    let (_, members) = members(&output.stdout);
    let environment = &members["envvars.log"];
    assert!(environment.starts_with("Found the following envvars:\n -  DD_"), "{environment}");
    assert!(!environment.contains("DD_API_KEY"), "{environment}");
    assert!(!environment.contains("DD_CLUSTER_AGENT_AUTH_TOKEN"), "{environment}");
    let proxy = " -  DD_PROXY_HTTPS=http://user:********@127.0.0.1:9\n";
    assert!(environment.contains(proxy), "{environment}");
}

#[test]
fn without_a_writable_directory_the_archive_goes_to_standard_output() {
    let directory = Scratch::new();
    let refused = said(alone(&directory, &["flare", "--no-upload"]).env("TMPDIR", "/proc/none"));
    assert_eq!(refused.code, Some(255));
    let start =
        "Error: The flare zipfile failed to be created: cannot write the archive to /proc/none: ";
    assert!(refused.errors.starts_with(start), "{}", refused.errors);
    assert!(refused.errors.contains("or use --output -"), "{}", refused.errors);
    let output = alone(&directory, &["flare", "--output", "-"])
        .env("TMPDIR", "/proc/none")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    let (_, members) = members(&output.stdout);
    assert!(members.contains_key("local"));
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(talk.ends_with("Initiating flare locally, some logs will be missing.\n"), "{talk}");
}

#[test]
fn the_agents_own_failure_is_told_before_the_command_tries() {
    let agent = Agent::start(&[("/flare", 500, r#"{"error":"disk full"}"#)]);
    let said = said(agent.command(&["flare", "--no-upload"]).env("TMPDIR", agent.directory.path()));
    assert_eq!(said.code, Some(0));
    let expected = "The agent ran into an error while making the flare: {\"error\":\"disk full\"}\n\
                    Initiating flare locally, some logs will be missing.\n";
    assert!(said.output.contains(expected), "{}", said.output);
    assert_eq!(agent.questions(), ["POST /flare null"]);
}

#[test]
fn profiles_are_refused_when_too_short_and_else_passed_over() {
    let directory = Scratch::new();
    let short = said(&mut alone(&directory, &["flare", "-p", "5"]));
    let text = "Invalid value for profiling: 5. Please enter an integer of at least 30.\n";
    assert_eq!((short.code, short.output.as_str()), (Some(0), text));
    let long = said(&mut alone(&directory, &["flare", "-p", "30", "-M", "--no-upload"]));
    assert_eq!(long.code, Some(0));
    assert!(long.errors.starts_with("profiles are not supported by this build"), "{}", long.errors);
}
