//! Whether the directories that the program writes to take a file (spec cli §8).

use std::fs::{self, OpenOptions};
use std::path::Path;

use super::report::{Finding, Suite};
use crate::config::Config;

pub(super) fn suite(config: &Config) -> Suite {
    let log = config.logging.file.as_deref().and_then(Path::parent).map(Path::to_owned);
    let tokens = config.session_token_files();
    let token_places: Vec<&Path> = tokens.iter().filter_map(|file| file.parent()).collect();
    let mut findings = vec![match token_places.iter().find(|place| is_writable(place)) {
        Some(place) => Finding::pass("[Directories] session token", place.display().to_string()),
        None => Finding::warning(
            "[Directories] session token",
            "none of its directories can be written to",
            "mount an emptyDir on /opt/datadog-agent/run; until then commands use the cluster's token",
        ),
    }];
    let others = [("flares", Some(std::env::temp_dir())), ("logs", log)];
    findings.extend(
        others.into_iter().filter_map(|(what, place)| Some(directory(what, place?.as_path()))),
    );
    Suite { name: "writable-directories", findings }
}

fn directory(what: &str, place: &Path) -> Finding {
    let name = format!("[Directories] {what}");
    let shown = place.display();
    if is_writable(place) {
        return Finding::pass(name, shown.to_string());
    }
    Finding::warning(
        name,
        format!("{shown} cannot be written to"),
        format!("mount an emptyDir on {shown}"),
    )
}

fn is_writable(place: &Path) -> bool {
    let probe = place.join(format!(".diagnose-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&probe).is_ok();
    if made {
        // Left behind it would be an empty file in a directory for temporary ones.
        let _ = fs::remove_file(&probe);
    }
    made
}
