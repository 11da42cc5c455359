//! Check configurations in files (spec cluster-checks §1.2): which files count, and what one file says.
//!
//! Two roots are read: `confd_path` and `/conf.d`, where charts mount the user's files. A relative path in the second
//! replaces the same one in the first. Sources are reported below the first root, because users know them by that path.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};

use super::configuration::Configuration;
use super::template;
use super::yaml_text;

/// Largest file that is read: the API server's limit for a ConfigMap is 1 MiB for all its keys.
const MAXIMUM_SIZE: u64 = 1 << 20;

/// Most files that are read from one root: ten times what the official image ships for its own checks.
const MAXIMUM_FILES: usize = 2000;

/// The roots and rules of a scan.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `confd_path`; also what sources are reported under.
    pub main: PathBuf,
    /// `/conf.d`; wins over the main root.
    pub mounted: PathBuf,
    /// Checks whose `auto_conf.yaml` is skipped.
    pub ignored_auto_conf: BTreeSet<String>,
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Usable files, sorted by source.
    pub files: Vec<File>,
    /// One error a check name: the file's path as reported, and what is wrong with it.
    pub errors: BTreeMap<String, String>,
}

/// One usable file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The configuration, with `file` as provider and the reported path as source.
    pub configuration: Configuration,
    /// Services that the file is a template for: namespace and name.
    pub services: Vec<(String, String)>,
    /// Endpoints that the file is a template for: namespace and name.
    pub endpoints: Vec<(String, String)>,
    /// Names of environment variables that the file asks for and that are not set.
    pub missing_environment: Vec<String>,
}

struct Candidate {
    check: String,
    path: PathBuf,
    relative: PathBuf,
    is_default: bool,
}

/// Reads both roots. A root that does not exist is empty; anything else that cannot be read is an error of its check.
pub fn scan(roots: &Roots, environment: &dyn Fn(&str) -> Option<String>) -> Found {
    let mut candidates: BTreeMap<PathBuf, Candidate> = BTreeMap::new();
    let mut found = Found::default();
    for root in [&roots.main, &roots.mounted] {
        if let Err(error) = collect(root, roots, &mut candidates)
            && error.kind() != io::ErrorKind::NotFound
        {
            found.errors.insert(root.display().to_string(), error.to_string());
        }
    }
    // A later valid file of the same check clears the check's error.
    let mut usable: Vec<(bool, File)> = Vec::new();
    for candidate in candidates.into_values() {
        let shown = roots.main.join(&candidate.relative);
        match read(&candidate.path).and_then(|text| match text.trim().is_empty() {
            true => Ok(None),
            false => parse(&candidate.check, &text, environment).map(Some),
        }) {
            Ok(None) => {}
            Ok(Some(mut file)) => {
                file.configuration.source = format!("file:{}", shown.display());
                found.errors.remove(&candidate.check);
                usable.push((candidate.is_default, file));
            }
            Err(reason) => {
                let reason = format!("{} is not a valid config file: {reason}", shown.display());
                found.errors.insert(candidate.check, reason);
            }
        }
    }
    let configured: BTreeSet<String> = usable
        .iter()
        .filter(|(is_default, file)| !is_default && !file.configuration.instances.is_empty())
        .map(|(_, file)| file.configuration.name.clone())
        .collect();
    found.files = usable
        .into_iter()
        .filter(|(is_default, file)| !is_default || !configured.contains(&file.configuration.name))
        .map(|(_, file)| file)
        .collect();
    found
}

/// What one file says; `check` is the name that its place gives it.
///
/// # Errors
/// What is wrong, in the words that users of the official agent know.
pub fn parse(
    check: &str,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<File, String> {
    let mut document = match serde_yaml::from_str(text) {
        Ok(Value::Mapping(document)) => document,
        Ok(Value::Null) => Mapping::new(),
        Ok(_) => return Err("the file must be a map of settings".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let mut missing_environment = Vec::new();
    for key in ["init_config", "instances", "logs"] {
        if let Some(value) = document.get_mut(key) {
            template::substitute_environment(value, environment, &mut missing_environment);
        }
    }
    let present = |key: &str| document.get(key).filter(|value| !value.is_null());
    let instances: Vec<Vec<u8>> = match present("instances") {
        None => Vec::new(),
        Some(Value::Sequence(instances)) => {
            instances.iter().map(instance_text).collect::<Result<_, _>>()?
        }
        Some(_) => return Err("instances must be a list of maps".to_owned()),
    };
    if instances.is_empty() && present("jmx_metrics").is_none() && present("logs").is_none() {
        return Err("Configuration file contains no valid instances".to_owned());
    }
    let ad_identifiers = texts(document.get("ad_identifiers"));
    if present("docker_images").is_some() && ad_identifiers.is_empty() {
        return Err(
            "the 'docker_images' section is deprecated, please use 'ad_identifiers' instead"
                .to_owned(),
        );
    }
    let flag = |key: &str| document.get(key).and_then(Value::as_bool).unwrap_or(false);
    let bytes = |key: &str| present(key).map(|value| yaml_text::to_text(value).into_bytes());
    Ok(File {
        configuration: Configuration {
            name: check.to_owned(),
            instances,
            init_config: bytes("init_config"),
            metric_config: bytes("jmx_metrics"),
            logs: bytes("logs"),
            ad_identifiers,
            provider: "file".to_owned(),
            cluster_check: flag("cluster_check"),
            ignore_autodiscovery_tags: flag("ignore_autodiscovery_tags"),
            ..Configuration::default()
        },
        services: advanced(&document, "kube_service"),
        endpoints: advanced(&document, "kube_endpoints"),
        missing_environment,
    })
}

fn collect(
    root: &Path,
    roots: &Roots,
    candidates: &mut BTreeMap<PathBuf, Candidate>,
) -> io::Result<()> {
    for (name, path) in entries(root)? {
        if path.is_dir() {
            let Some(check) = name.strip_suffix(".d").filter(|check| !check.is_empty()) else {
                continue;
            };
            for (file, path) in entries(&path)? {
                let stem = stem(&file).map(|(stem, _)| stem);
                let skipped = matches!(stem, Some("metrics"))
                    || (stem == Some("auto_conf") && roots.ignored_auto_conf.contains(check));
                if let Some((_, is_default)) = stem_of(&file, skipped) {
                    add(candidates, check, path, Path::new(&name).join(&file), is_default);
                }
            }
        } else if let Some((check, is_default)) = stem_of(&name, name.starts_with("metrics.")) {
            add(candidates, check, path, PathBuf::from(&name), is_default);
        }
        if candidates.len() >= MAXIMUM_FILES {
            return Err(io::Error::other(format!(
                "more than {MAXIMUM_FILES} files: the others are not read"
            )));
        }
    }
    Ok(())
}

fn add(
    candidates: &mut BTreeMap<PathBuf, Candidate>,
    check: &str,
    path: PathBuf,
    relative: PathBuf,
    is_default: bool,
) {
    let candidate =
        Candidate { check: check.to_owned(), path, relative: relative.clone(), is_default };
    candidates.insert(relative, candidate);
}

/// Names and paths in a directory, sorted; `..data` and its like belong to the mount, not to the user.
fn entries(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in directory.read_dir()? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with("..")
        {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

fn stem_of(file: &str, skipped: bool) -> Option<(&str, bool)> {
    stem(file).filter(|_| !skipped)
}

/// The name without its ending, and whether the file is a default.
fn stem(file: &str) -> Option<(&str, bool)> {
    let (name, is_default) = match file.strip_suffix(".default") {
        Some(name) => (name, true),
        None => (file, false),
    };
    let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"))?;
    Some((stem, is_default))
}

fn read(path: &Path) -> Result<String, String> {
    let size = path.metadata().map_err(|error| error.to_string())?.len();
    if size > MAXIMUM_SIZE {
        return Err(format!("it has {size} bytes, and at most {MAXIMUM_SIZE} are read"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn instance_text(instance: &Value) -> Result<Vec<u8>, String> {
    match instance {
        Value::Null => Ok(b"{}\n".to_vec()),
        Value::Mapping(_) => Ok(yaml_text::to_text(instance).into_bytes()),
        _ => Err("each of instances must be a map of settings".to_owned()),
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_sequence).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// The namespace and name of each advanced identifier of this kind; one with both empty is ignored.
fn advanced(document: &Mapping, kind: &str) -> Vec<(String, String)> {
    let items = document.get("advanced_ad_identifiers").and_then(Value::as_sequence);
    let text = |target: &Value, key: &str| {
        target.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    items
        .into_iter()
        .flatten()
        .filter_map(|item| item.get(kind))
        .map(|target| (text(target, "namespace"), text(target, "name")))
        .filter(|(namespace, name)| !namespace.is_empty() || !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that is gone when the test ends.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let path =
                std::env::temp_dir().join(format!("checks-files-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            for (file, text) in files {
                let file = path.join(file);
                std::fs::create_dir_all(file.parent().expect("a file has a directory"))
                    .expect("a directory");
                std::fs::write(file, text).expect("a file");
            }
            std::fs::create_dir_all(path.join("mounted")).expect("a directory");
            Self(path)
        }

        fn scan(&self) -> Found {
            let roots = Roots {
                main: self.0.join("main"),
                mounted: self.0.join("mounted"),
                ignored_auto_conf: BTreeSet::from(["redisdb".to_owned()]),
            };
            scan(&roots, &|_| None)
        }

        fn sources(&self) -> Vec<String> {
            let shown = format!("file:{}/", self.0.join("main").display());
            let source =
                |file: &File| file.configuration.source.trim_start_matches(&shown).to_owned();
            self.scan().files.iter().map(source).collect()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const GOOD: &str = "cluster_check: true\ninstances: [{port: 1}]\n";

    #[test]
    fn cluster_checks_13_a_bad_file_is_explained_and_the_others_load() {
        let directory =
            Directory::new("bad", &[("main/a.yaml", "init_config: {}\n"), ("main/b.yaml", GOOD)]);
        let found = directory.scan();
        assert_eq!(found.files.len(), 1);
        let error = &found.errors["a"];
        assert!(error.ends_with(
            "a.yaml is not a valid config file: Configuration file contains no valid instances"
        ));
    }

    #[test]
    fn cluster_checks_14_a_default_counts_only_when_nothing_else_configures_its_check() {
        let both = Directory::new(
            "default-both",
            &[("main/x.yaml.default", GOOD), ("main/x.d/conf.yaml", GOOD)],
        );
        assert_eq!(both.sources(), ["x.d/conf.yaml"]);
        let only = Directory::new("default-only", &[("main/x.yaml.default", GOOD)]);
        assert_eq!(only.sources(), ["x.yaml.default"]);
    }

    #[test]
    fn cluster_checks_15_a_mounted_config_map_is_read_once_and_shown_under_the_main_root() {
        let directory = Directory::new(
            "mount",
            &[
                ("mounted/..2025_01_01/a.yaml", GOOD),
                ("main/a.yaml", "instances: [{port: 2}]"),
                ("main/b.yaml", GOOD),
            ],
        );
        let mounted = directory.0.join("mounted");
        std::os::unix::fs::symlink("..2025_01_01", mounted.join("..data")).expect("a link");
        std::os::unix::fs::symlink("..data/a.yaml", mounted.join("a.yaml")).expect("a link");
        assert_eq!(directory.sources(), ["a.yaml", "b.yaml"]);
        assert_eq!(
            directory.scan().files[0].configuration.instances,
            [b"port: 1\n"],
            "the mounted file wins"
        );
    }

    #[test]
    fn config_24_the_mounted_root_wins_and_defaults_come_last() {
        let path = "kubernetes_apiserver.d/kubernetes_apiserver.yaml";
        let directory = Directory::new(
            "roots",
            &[
                (&format!("main/{path}"), "instances: [{port: 2}]"),
                ("main/kubernetes_apiserver.d/conf.yaml.default", "instances: [{port: 3}]"),
                ("main/other.d/conf.yaml.default", "instances: [{port: 4}]"),
                (&format!("mounted/{path}"), GOOD),
                ("mounted/..data/stray.yaml", GOOD),
            ],
        );
        assert_eq!(directory.sources(), [path, "other.d/conf.yaml.default"]);
        assert_eq!(directory.scan().files[0].configuration.instances, [b"port: 1\n"]);
    }

    #[test]
    fn only_the_known_places_and_endings_count() {
        let directory = Directory::new(
            "places",
            &[
                ("main/a.txt", GOOD),
                ("main/empty.yaml", ""),
                ("main/metrics.yaml", GOOD),
                ("main/plain/conf.yaml", GOOD),
                ("main/redisdb.d/auto_conf.yaml", GOOD),
                ("main/redisdb.d/more.yml", GOOD),
                ("main/redisdb.d/deep/conf.yaml", GOOD),
            ],
        );
        assert_eq!(directory.sources(), ["redisdb.d/more.yml"]);
        assert!(directory.scan().errors.is_empty());
    }

    #[test]
    fn advanced_identifiers_name_their_targets() {
        let text = "advanced_ad_identifiers:\n- kube_service: {namespace: shop, name: web}\n\
                    - kube_endpoints: {namespace: shop, name: db}\n- kube_service: {}\ninstances: [{}]\n";
        let file = parse("x", text, &|_| None).expect("valid");
        assert_eq!(file.services, [("shop".to_owned(), "web".to_owned())]);
        assert_eq!(file.endpoints, [("shop".to_owned(), "db".to_owned())]);
        assert_eq!(file.configuration.init_config, None);
    }

    #[test]
    fn the_deprecated_section_names_its_successor() {
        let error =
            parse("x", "docker_images: [a]\ninstances: [{}]\n", &|_| None).expect_err("deprecated");
        assert!(error.contains("please use 'ad_identifiers' instead"));
    }
}
