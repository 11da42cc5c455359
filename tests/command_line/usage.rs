//! What works without an agent: names, `version`, `help`, mistakes.

use std::process::Stdio;

use crate::program::{binary, call, command, link, said};
use crate::support::scratch::Scratch;

#[test]
fn cli_01_version_needs_no_configuration_and_no_server() {
    let said = call(&["version"]);
    assert_eq!((said.code, said.errors.as_str()), (Some(0), ""));
    assert!(said.output.starts_with("Cluster Agent 7."), "{}", said.output);
    assert_eq!(said.output.lines().count(), 1);
    assert_eq!(call(&["--version"]).output, said.output);
}

#[test]
fn cli_02_every_name_of_the_program_answers_alike() {
    let scratch = Scratch::new();
    let expected = call(&["version"]).output;
    for name in ["agent", "cluster-agent", "datadog-cluster-agent"] {
        let path = link(&scratch, name);
        assert_eq!(said(&mut command(&path, &["version"])).output, expected, "{name}");
    }
    let entry_point = link(&scratch, "entrypoint.sh");
    let own_path = scratch.path().join("agent").display().to_string();
    let lines: [&[&str]; 4] = [
        &["version"],
        &["datadog-cluster-agent", "version"],
        &["/entrypoint.sh", "agent", "version"],
        &[&own_path, "version"],
    ];
    for words in lines {
        assert_eq!(said(&mut command(&entry_point, words)).output, expected, "{words:?}");
    }
    assert_eq!(call(&["datadog-cluster-agent", "version"]).output, expected);
}

#[test]
fn mistakes_exit_with_255_and_one_error() {
    let scratch = Scratch::new();
    let agent = link(&scratch, "agent");
    let name = agent.display();
    let cases: [(&[&str], String); 4] = [
        (
            &["foo"],
            format!("unknown command \"foo\" for \"{name}\"\nRun '{name} --help' for usage."),
        ),
        (
            &["help", "foo"],
            format!("unknown command \"foo\" for \"{name}\"\nRun '{name} --help' for usage."),
        ),
        (&["version", "--foo"], "unknown flag: --foo".to_owned()),
        (&["-c"], "flag needs an argument: 'c' in -c".to_owned()),
    ];
    for (words, expected) in cases {
        let said = said(&mut command(&agent, words));
        assert_eq!(said.errors, format!("Error: {expected}\n"), "{words:?}");
        assert_eq!((said.code, said.output.as_str()), (Some(255), ""), "{words:?}");
    }
}

#[test]
fn help_is_one_text_however_it_is_asked_for() {
    let expected = call(&["help"]);
    assert_eq!(expected.code, Some(0));
    assert!(expected.output.contains("\n  version "), "{}", expected.output);
    assert_eq!(call(&[]).output, expected.output);
    assert_eq!(call(&["--help"]).output, expected.output);
    let version = call(&["version", "-h"]);
    assert!(version.output.contains(" version [flags]"), "{}", version.output);
    assert_eq!(call(&["help", "version"]).output, version.output);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    let mut call = command(binary(), &["version"]);
    let child = call.stdout(writer).stderr(Stdio::piped()).spawn().expect("the program starts");
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
