//! Programs that manifests call by name in a shell-less image.

use std::fs;

use crate::program::{command, link, said};
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
