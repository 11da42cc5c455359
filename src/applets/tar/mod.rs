//! `tar`, to create archives: what `kubectl cp POD:/path .` runs, `tar cf - /path` (spec deploy §4.3).
//!
//! An operand is walked depth first in the order of names; each thing found is a [`header`] and, for a file, its
//! bytes. An error is reported and the walk goes on; the exit code is 2 then. Nothing is extracted: the image's root is
//! read-only, and nothing in it wants uploads.

mod header;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use header::{BLOCK, Kind};

use super::reason;

/// The exit code after any error.
const FAILURE: u8 = 2;

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    create: bool,
    /// The archive; `-` and nothing are standard output.
    archive: Option<PathBuf>,
    /// Where relative operands begin.
    directory: PathBuf,
    operands: Vec<PathBuf>,
}

/// Runs `tar` with the words after its name and returns the exit code: 0, or 2 after any error.
pub fn run(words: Vec<OsString>) -> u8 {
    let result = parsed(words).and_then(|request| {
        let written = match request.archive.as_deref() {
            Some(path) if path != Path::new("-") => {
                let file = File::create(path).map_err(|error| {
                    format!("{}: Cannot open: {}", path.display(), reason(&error))
                });
                write(&request, BufWriter::new(file?))
            }
            _ => write(&request, BufWriter::new(io::stdout().lock())),
        };
        written.map_err(|error| format!("cannot write the archive: {}", reason(&error)))
    });
    match result {
        Ok(0) => 0,
        Ok(_) => FAILURE,
        Err(message) => {
            report(&message);
            FAILURE
        }
    }
}

fn report(message: &str) {
    let _ = writeln!(io::stderr(), "tar: {message}");
}

/// Reads letters with and without their hyphen: `cf - /path`, `-c -f - /path`, `-cf - -C /dir path`.
fn parsed(words: Vec<OsString>) -> Result<Request, String> {
    let mut request = Request::default();
    let mut words = words.into_iter();
    let mut only_operands = false;
    let mut first = true;
    while let Some(word) = words.next() {
        let letters = match word.to_str() {
            Some(_) if only_operands => None,
            Some("--") => {
                only_operands = true;
                continue;
            }
            Some(long) if long.starts_with("--") => {
                return Err(format!("unrecognized option '{long}'"));
            }
            Some(text) => text.strip_prefix('-').or(first.then_some(text)).map(str::to_owned),
            None => None,
        };
        first = false;
        let Some(letters) = letters else {
            request.operands.push(word.into());
            continue;
        };
        for letter in letters.chars() {
            let mut value = |name: char| {
                words
                    .next()
                    .map(PathBuf::from)
                    .ok_or(format!("option requires an argument -- '{name}'"))
            };
            match letter {
                'c' => request.create = true,
                'f' => request.archive = Some(value('f')?),
                'C' => request.directory = value('C')?,
                // What is found is kept as it is anyway, and success is silent.
                'p' | 'v' => {}
                'x' | 't' => return Err("only creation is supported by this build".to_owned()),
                other => return Err(format!("invalid option -- '{other}'")),
            }
        }
    }
    match (request.create, request.operands.is_empty()) {
        (false, _) => Err("You must specify the option '-c'".to_owned()),
        (true, true) => Err("Cowardly refusing to create an empty archive".to_owned()),
        (true, false) => Ok(request),
    }
}

/// Writes the archive and counts what could not be put in.
fn write<W: Write>(request: &Request, mut out: W) -> io::Result<usize> {
    let mut errors = 0;
    for operand in &request.operands {
        let bytes = operand.as_os_str().as_bytes();
        if bytes.starts_with(b"/") && bytes != b"/" {
            report("Removing leading `/' from member names");
        }
        errors += add(&mut out, &request.directory.join(operand), operand)?;
    }
    // Two empty blocks end an archive.
    out.write_all(&[0; 2 * BLOCK])?;
    out.flush()?;
    Ok(errors)
}

/// Adds `path` under `name` and, for a directory, what is in it.
fn add(out: &mut dyn Write, path: &Path, name: &Path) -> io::Result<usize> {
    let failed = |what: &str, error: io::Error| {
        report(&format!("{}: Cannot {what}: {}", name.display(), reason(&error)));
        Ok(1)
    };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return failed("stat", error),
    };
    let member = member_name(name);
    if metadata.is_symlink() {
        return match fs::read_link(path) {
            Ok(target) => {
                let target = target.as_os_str().as_bytes();
                out.write_all(&header::encode(&member, Kind::Link(target), &metadata))?;
                Ok(0)
            }
            Err(error) => failed("read link", error),
        };
    }
    if metadata.is_dir() {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return failed("open", error),
        };
        let mut names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        let mut member = member;
        member.push(b'/');
        out.write_all(&header::encode(&member, Kind::Directory, &metadata))?;
        let mut errors = 0;
        for entry in names {
            errors += add(out, &path.join(&entry), &name.join(&entry))?;
        }
        return Ok(errors);
    }
    if !metadata.is_file() {
        report(&format!("{}: neither file, directory nor link, left out", name.display()));
        return Ok(0);
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return failed("open", error),
    };
    let size = metadata.len();
    out.write_all(&header::encode(&member, Kind::File(size), &metadata))?;
    let copied = io::copy(&mut file.take(size), out)?;
    // The header has promised `size` bytes in whole blocks, also when the file has become shorter.
    let missing = size - copied + (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    io::copy(&mut io::repeat(0).take(missing), out)?;
    Ok(0)
}

/// The name without its leading slashes.
fn member_name(name: &Path) -> Vec<u8> {
    let bytes = name.as_os_str().as_bytes();
    let start = bytes.iter().position(|byte| *byte != b'/').unwrap_or(bytes.len());
    let name = if bytes[start..].is_empty() { b"." } else { &bytes[start..] };
    name.strip_suffix(b"/").unwrap_or(name).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Request, String> {
        parsed(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn letters_need_no_hyphen_in_the_first_word() {
        let expected = Request {
            create: true,
            archive: Some("-".into()),
            directory: PathBuf::new(),
            operands: vec!["/tmp/a".into()],
        };
        assert_eq!(of(&["cf", "-", "/tmp/a"]), Ok(expected));
        let request = of(&["-c", "-C", "/d", "-f", "x.tar", "--", "-a"]).expect("it is understood");
        assert_eq!((request.directory, request.operands), ("/d".into(), vec!["-a".into()]));
    }

    #[test]
    fn what_is_not_creation_is_refused() {
        for (words, expected) in [
            (&["xmf", "-"][..], "only creation is supported by this build"),
            (&["cf"], "option requires an argument -- 'f'"),
            (&["cf", "-"], "Cowardly refusing to create an empty archive"),
            (&["-q"], "invalid option -- 'q'"),
            (&["--create"], "unrecognized option '--create'"),
        ] {
            assert_eq!(of(words), Err(expected.to_owned()), "{words:?}");
        }
    }

    #[test]
    fn names_are_relative() {
        for (name, expected) in [("/tmp/a", "tmp/a"), ("//a/", "a"), ("/", "."), ("a/b", "a/b")] {
            assert_eq!(member_name(Path::new(name)), expected.as_bytes());
        }
    }
}
