//! Programs that manifests call by name in a shell-less image.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::program::{Said, binary, command, link, said};
use crate::support::api_server::Server;
use crate::support::scratch::Scratch;

#[test]
fn config_23_cp_fills_the_charts_volume() {
    let scratch = Scratch::new();
    let cp = link(&scratch, "cp");
    let source = scratch.path().join("etc/datadog-agent");
    let volume = scratch.path().join("opt/datadog-agent");
    fs::create_dir_all(source.join("conf.d/x.d")).expect("the directory is ours");
    fs::create_dir_all(&volume).expect("the directory is ours");
    fs::write(source.join("conf.d/x.d/conf.yaml.default"), "instances: [{}]\n")
        .expect("it is ours");
    let target = scratch.path().join("opt");
    let copied = said(&mut command(&cp, &["-r".as_ref(), source.as_os_str(), target.as_os_str()]));
    assert_eq!((copied.code, copied.output.as_str(), copied.errors.as_str()), (Some(0), "", ""));
    let content = fs::read_to_string(volume.join("conf.d/x.d/conf.yaml.default"));
    assert_eq!(content.expect("the file was copied"), "instances: [{}]\n");

    let missing = said(&mut command(&cp, &["-r", "/does/not/exist", "/tmp"]));
    assert_eq!(missing.code, Some(1));
    assert_eq!(missing.errors, "cp: cannot stat '/does/not/exist': No such file or directory\n");

    let unknown = said(&mut command(&cp, &["--sparse", "a", "b"]));
    assert_eq!(unknown.code, Some(1));
    assert_eq!(unknown.errors, "cp: unrecognized option '--sparse'\n");
}

#[test]
fn the_entry_point_runs_an_applet_that_it_is_given() {
    let scratch = Scratch::new();
    let entry_point = link(&scratch, "entrypoint.sh");
    let said = said(&mut command(&entry_point, &["cp"]));
    assert_eq!((said.code, said.errors.as_str()), (Some(1), "cp: missing file operand\n"));
}

/// What the program says when it is given this input.
fn given(mut command: Command, input: &str) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program can be started");
    let mut pipe = child.stdin.take().expect("it is piped");
    pipe.write_all(input.as_bytes()).expect("the program reads");
    drop(pipe);
    let output = child.wait_with_output().expect("the program ends");
    let text = |bytes| String::from_utf8(bytes).expect("the program speaks UTF-8");
    Said { output: text(output.stdout), errors: text(output.stderr), code: output.status.code() }
}

#[test]
fn cli_32_the_secret_helper_answers_for_each_secret() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("secrets");
    fs::create_dir_all(directory.join("..data")).expect("the directory is ours");
    fs::write(directory.join("..data/password"), "s3cret").expect("the directory is ours");
    symlink("..data/password", directory.join("password")).expect("the directory is ours");
    fs::write(directory.join("x"), "x".repeat(8193)).expect("the directory is ours");
    fs::write(directory.join("fits"), "y".repeat(8192)).expect("the directory is ours");
    let outside = scratch.write("outside", "not yours");
    symlink(&outside, directory.join("link")).expect("the directory is ours");
    let helper = link(&scratch, "readsecret.sh");
    let read = |ids: &Value| {
        let question = json!({"version": "1.0", "secrets": ids}).to_string();
        let said = given(command(&helper, &[directory.as_os_str()]), &question);
        assert_eq!((said.code, said.errors.as_str()), (Some(0), ""));
        serde_json::from_str::<Value>(&said.output).expect("it is JSON")
    };
    let expected = json!({
        "x": {"error": "secret exceeds max allowed size"},
        "password": {"value": "s3cret"},
    });
    assert_eq!(read(&json!(["x", "password"])), expected);
    let answer = read(&json!(["fits", "none", "link", "../outside"]));
    assert_eq!(answer["fits"]["value"].as_str().map(str::len), Some(8192));
    assert_eq!(answer["none"], json!({"error": "secret does not exist"}));
    for id in ["link", "../outside"] {
        let error = answer[id]["error"].as_str().unwrap_or_default();
        assert!(error.starts_with("not following symlink "), "{id}: {answer}");
    }

    let words = ["secret-helper", "read", "/nowhere"];
    let said = given(command(binary(), &words), r#"{"version":"3.1","secrets":["a"]}"#);
    let text = "Error: incompatible protocol version \"3.1\"\n";
    assert_eq!((said.code, said.errors.as_str()), (Some(255), text));
}

#[test]
fn secrets_with_a_provider_are_found_by_its_rules() {
    let scratch = Scratch::new();
    let file = scratch.write("token", "t0ken");
    let helper = link(&scratch, "readsecret_multiple_providers.sh");
    let id = format!("file@{}", file.display());
    let question = json!({"version": "1.0", "secrets": [id, "k8s_secret@a/b", "vault@x", "plain"]})
        .to_string();
    let said = given(command(&helper, &[""; 0]), &question);
    assert_eq!(said.code, Some(0), "{said:?}");
    let answer: Value = serde_json::from_str(&said.output).expect("it is JSON");
    assert_eq!(answer[&id], json!({"value": "t0ken"}));
    let error = |id: &str| answer[id]["error"].as_str().unwrap_or_default().to_owned();
    assert_eq!(error("k8s_secret@a/b"), "invalid format. Use: \"namespace/name/key\"");
    assert_eq!(error("vault@x"), "provider not supported: vault");
    assert!(error("plain").starts_with("there is no directory"), "{answer}");
}

#[test]
fn deploy_29_tar_creates_what_other_programs_extract() {
    let scratch = Scratch::new();
    let tar = link(&scratch, "tar");
    let tree = scratch.path().join("tree");
    let long = "n".repeat(120);
    fs::create_dir_all(tree.join("sub")).expect("the directory is ours");
    fs::write(tree.join("sub").join(&long), "deep").expect("the directory is ours");
    fs::write(tree.join("f.zip"), "z".repeat(1000)).expect("the directory is ours");
    symlink("f.zip", tree.join("link")).expect("the directory is ours");
    let made = command(&tar, &["cf".as_ref(), "-".as_ref(), tree.as_os_str()])
        .output()
        .expect("the program can be started");
    assert_eq!(made.status.code(), Some(0));
    let note = "tar: Removing leading `/' from member names\n";
    assert_eq!(String::from_utf8_lossy(&made.stderr), note);
    assert_eq!(made.stdout.len() % 512, 0);

    let copy = scratch.path().join("copy");
    fs::create_dir(&copy).expect("the directory is ours");
    let archive = scratch.path().join("made.tar");
    fs::write(&archive, &made.stdout).expect("the directory is ours");
    let extracted = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&copy).status();
    assert!(extracted.expect("the machine has tar").success());
    let there = copy.join(tree.strip_prefix("/").expect("it is absolute"));
    let content = |path: &Path| fs::read_to_string(path).expect("the file was extracted");
    assert_eq!(content(&there.join("sub").join(&long)), "deep");
    assert_eq!(content(&there.join("f.zip")), "z".repeat(1000));
    assert_eq!(fs::read_link(there.join("link")).expect("it is a link"), Path::new("f.zip"));

    let missing = said(&mut command(&tar, &["cf", "-", "/does/not/exist"]));
    assert_eq!(missing.code, Some(2));
    let text = "/does/not/exist: Cannot stat: No such file or directory\n";
    assert!(missing.errors.ends_with(text), "{}", missing.errors);
}

#[test]
fn cat_shows_files_and_goes_on_after_one_that_is_missing() {
    let scratch = Scratch::new();
    let cat = link(&scratch, "cat");
    let file = scratch.write("a.log", "a line\n");
    let words = [Path::new("/does/not/exist"), &file];
    let said = said(&mut command(&cat, &words));
    assert_eq!((said.code, said.output.as_str()), (Some(1), "a line\n"));
    assert_eq!(said.errors, "cat: /does/not/exist: No such file or directory\n");
}

#[test]
fn a_secret_of_the_cluster_is_read_by_its_key() {
    let server = Server::start_plain();
    server.add_namespace("mon", json!({}));
    server.apply(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": "mon", "name": "keys"},
        "data": {"api": "czNjcmV0"},
    }));
    let scratch = Scratch::new();
    let kubeconfig = server.write_kubeconfig(scratch.path());
    let helper = link(&scratch, "readsecret_multiple_providers.sh");
    let ids = ["k8s_secret@mon/keys/api", "k8s_secret@mon/keys/app"];
    let question = json!({"version": "1.0", "secrets": ids}).to_string();
    let mut helper = command(&helper, &[""; 0]);
    helper.env("DD_KUBERNETES_KUBECONFIG_PATH", kubeconfig);
    let said = given(helper, &question);
    let answer: Value = serde_json::from_str(&said.output).expect("it is JSON");
    assert_eq!(answer[ids[0]], json!({"value": "s3cret"}));
    assert_eq!(answer[ids[1]], json!({"error": "key app not found in secret mon/keys"}));
}
