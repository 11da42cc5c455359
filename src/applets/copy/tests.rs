use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;

/// A directory that disappears at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cp-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path)
    }

    fn write(&self, path: &str, content: &str) -> PathBuf {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("it is below the directory")).expect("writable");
        fs::write(&path, content).expect("the directory is writable");
        path
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap_or_else(|error| format!("{path}: {error}"))
    }

    /// Runs `cp` with words in which `@` stands for this directory; what it printed, with `@` put back.
    fn copy(&self, words: &[&str]) -> String {
        let directory = self.0.display().to_string();
        let words = words.iter().map(|word| word.replace('@', &directory).into()).collect();
        let mut printed = Vec::new();
        let errors = copy(words, &mut printed);
        let printed = String::from_utf8(printed).expect("messages are text");
        assert_eq!(errors == 0, printed.is_empty(), "{printed}");
        printed.replace(&directory, "@")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file is there").mode() & 0o7777
}

#[test]
fn a_tree_lands_under_its_name_in_an_existing_directory() {
    let scratch = Scratch::new("tree");
    scratch.write("etc/agent/datadog-cluster.yaml", "{}");
    scratch.write("etc/agent/conf.d/x.d/conf.yaml.default", "x");
    fs::create_dir_all(scratch.0.join("opt/agent")).expect("the directory is writable");
    fs::set_permissions(scratch.0.join("opt/agent"), fs::Permissions::from_mode(0o2777))
        .expect("the directory is ours");
    for _ in 0..2 {
        assert_eq!(scratch.copy(&["-r", "@/etc/agent/", "@/opt"]), "");
        assert_eq!(scratch.read("opt/agent/datadog-cluster.yaml"), "{}");
        assert_eq!(scratch.read("opt/agent/conf.d/x.d/conf.yaml.default"), "x");
    }
    assert_eq!(mode(&scratch.0.join("opt/agent")), 0o2777, "an existing directory keeps its mode");
}

#[test]
fn the_content_itself_is_copied_for_a_source_that_ends_in_a_dot() {
    let scratch = Scratch::new("dot");
    scratch.write("a/x", "1");
    fs::create_dir(scratch.0.join("b")).expect("the directory is writable");
    assert_eq!(scratch.copy(&["-r", "@/a/.", "@/b"]), "");
    assert_eq!(scratch.read("b/x"), "1");
}

#[test]
fn a_new_file_takes_the_mode_and_an_existing_one_keeps_its_own() {
    let scratch = Scratch::new("modes");
    let source = scratch.write("source", "new");
    fs::set_permissions(&source, fs::Permissions::from_mode(0o640)).expect("the file is ours");
    assert_eq!(scratch.copy(&["@/source", "@/fresh"]), "");
    assert_eq!(mode(&scratch.0.join("fresh")), 0o640);
    let existing = scratch.write("existing", "old and longer");
    fs::set_permissions(&existing, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    assert_eq!(scratch.copy(&["-p", "@/source", "@/existing"]), "");
    assert_eq!((mode(&existing), scratch.read("existing")), (0o600, "new".to_owned()));
    let times = [source, existing].map(|path| fs::metadata(path).expect("it is there").mtime());
    assert_eq!(times[0], times[1], "-p takes the time over");
}

#[test]
fn links_are_recreated_below_a_tree_and_followed_otherwise() {
    let scratch = Scratch::new("links");
    scratch.write("a/file", "1");
    symlink("file", scratch.0.join("a/link")).expect("the directory is writable");
    for _ in 0..2 {
        assert_eq!(scratch.copy(&["-rT", "@/a", "@/kept"]), "");
    }
    let link = fs::read_link(scratch.0.join("kept/link")).expect("it is a link");
    assert_eq!(link, Path::new("file"));
    assert_eq!(scratch.copy(&["-rLT", "@/a", "@/followed"]), "");
    assert!(fs::read_link(scratch.0.join("followed/link")).is_err());
    assert_eq!(scratch.copy(&["@/a/link", "@/single"]), "");
    assert_eq!(scratch.read("single"), "1");
}

#[test]
fn existing_files_stay_with_no_clobber() {
    let scratch = Scratch::new("clobber");
    scratch.write("a", "new");
    scratch.write("b", "old");
    assert_eq!(scratch.copy(&["-n", "@/a", "@/b"]), "");
    assert_eq!(scratch.read("b"), "old");
}

#[test]
fn an_error_is_told_and_the_others_are_still_copied() {
    let scratch = Scratch::new("errors");
    scratch.write("a/one", "1");
    scratch.write("b/one/in-the-way", "");
    scratch.write("a/two", "2");
    fs::create_dir_all(scratch.0.join("b/a")).expect("the directory is writable");
    fs::rename(scratch.0.join("b/one"), scratch.0.join("b/a/one")).expect("both are ours");
    assert_eq!(
        scratch.copy(&["-r", "@/a", "@/b"]),
        "cp: cannot overwrite directory '@/b/a/one' with non-directory\n"
    );
    assert_eq!(scratch.read("b/a/two"), "2");
}

#[test]
fn mistakes_have_the_expected_texts() {
    let scratch = Scratch::new("mistakes");
    scratch.write("file", "1");
    scratch.write("dir/file", "1");
    let cases: [(&[&str], &str); 9] = [
        (&["-r", "@/none", "@/x"], "cp: cannot stat '@/none': No such file or directory\n"),
        (&["-r", "@/dir"], "cp: missing file operand\n"),
        (&[], "cp: missing file operand\n"),
        (&["-rz", "@/dir", "@/x"], "cp: unrecognized option '-z'\n"),
        (&["--reflink", "@/dir", "@/x"], "cp: unrecognized option '--reflink'\n"),
        (&["@/dir", "@/x"], "cp: -r not specified; omitting directory '@/dir'\n"),
        (&["-r", "@/file", "@/dir", "@/x"], "cp: target '@/x' is not a directory\n"),
        (
            &["-r", "@/dir", "@/file"],
            "cp: cannot overwrite non-directory '@/file' with directory '@/dir'\n",
        ),
        (
            &["-r", "@/dir", "@/dir/below"],
            "cp: cannot copy a directory, '@/dir', into itself, '@/dir/below'\n",
        ),
    ];
    for (words, expected) in cases {
        assert_eq!(scratch.copy(words), expected);
    }
    assert_eq!(
        scratch.copy(&["@/file", "@/file"]),
        "cp: '@/file' and '@/file' are the same file\n"
    );
    assert_eq!(scratch.read("file"), "1", "and it still has its content");
}

#[test]
fn a_cycle_of_followed_links_ends() {
    let scratch = Scratch::new("cycle");
    scratch.write("a/file", "1");
    symlink(".", scratch.0.join("a/self")).expect("the directory is writable");
    assert_eq!(
        scratch.copy(&["-rL", "@/a", "@/b"]),
        "cp: cannot copy cyclic symbolic link '@/a/self'\n"
    );
    assert_eq!(scratch.read("b/file"), "1");
}

#[test]
fn names_end_where_the_path_does() {
    let cases = [
        ("/etc/datadog-agent", Some("datadog-agent")),
        ("a/b//", Some("b")),
        ("x", Some("x")),
        ("a/.", None),
        ("a/..", None),
        ("/", None),
    ];
    for (path, expected) in cases {
        assert_eq!(name_of(OsStr::new(path)), expected.map(OsStr::new), "{path}");
    }
}
