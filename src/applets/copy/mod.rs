//! `cp`: what the official chart's init container runs, `cp -r /etc/datadog-agent /opt` (spec deploy §4.2).
//!
//! Words become [`Options`] and operands, operands become pairs of source and target, and [`walk`] copies each pair.
//! An error is reported and the walk goes on; the exit code tells. Nothing is printed on success.

mod walk;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};

use walk::Walk;

/// What the flags ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    recursive: bool,
    /// Modification and access times follow the source (`-p`, `-a`).
    times: bool,
    /// What exists is left alone (`-n`).
    no_clobber: bool,
    /// Links are followed below a recursive source too (`-L`).
    follow: bool,
    /// The last operand is the target itself, even if it is a directory (`-T`).
    no_target_directory: bool,
}

/// Runs `cp` with the words after its name and returns the exit code: 0, or 1 after any error.
pub fn run(words: Vec<OsString>) -> u8 {
    u8::from(copy(words, &mut io::stderr().lock()) > 0)
}

/// Copies as asked, reports every error to `errors` and counts them.
fn copy(words: Vec<OsString>, errors: &mut dyn Write) -> usize {
    let planned =
        parsed(words).and_then(|(options, operands)| Ok((options, pairs(options, operands)?)));
    let (options, pairs) = planned
        .as_ref()
        .map_or_else(|_| (Options::default(), &[][..]), |(options, pairs)| (*options, &pairs[..]));
    let mut walk = Walk::new(options, errors);
    for (source, target) in pairs {
        walk.copy(source, target);
    }
    if let Err(message) = &planned {
        walk.report(message);
    }
    walk.errors()
}

/// Splits flags from operands.
fn parsed(words: Vec<OsString>) -> Result<(Options, Vec<OsString>), String> {
    let mut options = Options::default();
    let mut operands = Vec::new();
    let mut parser = Parser::from_args(words);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Arg::Short('r' | 'R') | Arg::Long("recursive") => options.recursive = true,
            Arg::Short('a') | Arg::Long("archive") => {
                options.recursive = true;
                options.times = true;
            }
            Arg::Short('p') => options.times = true,
            Arg::Short('n') => options.no_clobber = true,
            Arg::Short('L') => options.follow = true,
            Arg::Short('P') => options.follow = false,
            Arg::Short('T') => options.no_target_directory = true,
            // Overwriting is tried anyway, and success is silent.
            Arg::Short('f' | 'v') | Arg::Long("force" | "verbose") => {}
            Arg::Short(letter) => return Err(format!("unrecognized option '-{letter}'")),
            Arg::Long(name) => return Err(format!("unrecognized option '--{name}'")),
            Arg::Value(operand) => operands.push(operand),
        }
    }
    Ok((options, operands))
}

/// Where each source goes: into an existing directory under its own name, else to the very path.
fn pairs(options: Options, mut sources: Vec<OsString>) -> Result<Vec<(PathBuf, PathBuf)>, String> {
    let target = match sources.pop() {
        Some(target) if !sources.is_empty() => PathBuf::from(target),
        _ => return Err("missing file operand".to_owned()),
    };
    let into = target.is_dir() && !options.no_target_directory;
    if sources.len() > 1 && !into {
        return Err(format!("target '{}' is not a directory", target.display()));
    }
    let pair = |source: OsString| {
        let name = if into { name_of(&source) } else { None };
        let target = name.map_or_else(|| target.clone(), |name| target.join(name));
        (source.into(), target)
    };
    Ok(sources.into_iter().map(pair).collect())
}

/// The last component; `None` for a path that ends in `.` or `..`, which means the content of the directory.
/// `Path::file_name` would look through a final `/.`.
fn name_of(source: &OsStr) -> Option<&OsStr> {
    let bytes = source.as_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'/')? + 1;
    let name = bytes[..end].rsplit(|byte| *byte == b'/').next()?;
    (name != b"." && name != b"..").then(|| OsStr::from_bytes(name))
}

/// `path` in quotes, as in all messages of this program.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

#[cfg(test)]
mod tests;
