//! Copies one tree: directories, files and links, going on after every error.

use std::fs::{self, DirBuilder, File, FileTimes, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::{Options, quoted};
use crate::applets::reason;

/// A directory is always made accessible to its owner, or its content could not be written.
const OWNER: u32 = 0o700;

/// Permission bits that a new file takes over; set-user-ID and the like stay behind.
const PERMISSIONS: u32 = 0o777;

/// One run over one or more trees.
pub(super) struct Walk<'a> {
    options: Options,
    output: &'a mut dyn Write,
    errors: usize,
    /// Device and inode of the directories being copied, to stop at a cycle of followed links.
    open: Vec<(u64, u64)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(options: Options, output: &'a mut dyn Write) -> Self {
        Self { options, output, errors: 0, open: Vec::new() }
    }

    /// Errors so far.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    /// Prints an error and counts it.
    pub(super) fn report(&mut self, message: &str) {
        self.errors += 1;
        self.say(message);
    }

    /// Copies `source`, whatever it is, to the path `target`.
    pub(super) fn copy(&mut self, source: &Path, target: &Path) {
        let follow = self.options.follow || !self.options.recursive;
        let metadata = if follow { fs::metadata(source) } else { fs::symlink_metadata(source) };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => return self.fail("cannot stat", source, &error),
        };
        let kind = metadata.file_type();
        if kind.is_dir() {
            self.directory(source, target, &metadata);
        } else if self.options.no_clobber && fs::symlink_metadata(target).is_ok() {
            // Left alone, silently.
        } else if kind.is_symlink() {
            self.link(source, target);
        } else if kind.is_file() {
            self.file(source, target, &metadata);
        } else {
            self.say(&format!("skipping {}: not a regular file", quoted(source)));
        }
    }

    fn directory(&mut self, source: &Path, target: &Path, metadata: &Metadata) {
        let (from, to) = (quoted(source), quoted(target));
        if !self.options.recursive {
            return self.report(&format!("-r not specified; omitting directory {from}"));
        }
        let identity = (metadata.dev(), metadata.ino());
        if self.open.contains(&identity) {
            return self.report(&format!("cannot copy cyclic symbolic link {from}"));
        }
        if is_inside(target, source) {
            return self.report(&format!("cannot copy a directory, {from}, into itself, {to}"));
        }
        match fs::metadata(target) {
            // An existing directory keeps its mode and owner: it may be the root of somebody else's volume.
            Ok(existing) if existing.is_dir() => {}
            Ok(_) => {
                let message = format!("cannot overwrite non-directory {to} with directory {from}");
                return self.report(&message);
            }
            Err(_) => {
                let mode = metadata.mode() & PERMISSIONS | OWNER;
                if let Err(error) = DirBuilder::new().mode(mode).create(target) {
                    return self.fail("cannot create directory", target, &error);
                }
            }
        }
        let entries = match fs::read_dir(source) {
            Ok(entries) => entries,
            Err(error) => return self.fail("cannot access", source, &error),
        };
        self.open.push(identity);
        for entry in entries {
            match entry {
                Ok(entry) => self.copy(&entry.path(), &target.join(entry.file_name())),
                Err(error) => self.fail("cannot access", source, &error),
            }
        }
        self.open.pop();
        self.take_over_times(target, metadata);
    }

    fn link(&mut self, source: &Path, target: &Path) {
        let copied = fs::read_link(source).and_then(|path| {
            if fs::symlink_metadata(target).is_ok_and(|there| !there.is_dir()) {
                fs::remove_file(target)?;
            }
            std::os::unix::fs::symlink(path, target)
        });
        if let Err(error) = copied {
            self.fail("cannot create symbolic link", target, &error);
        }
    }

    fn file(&mut self, source: &Path, target: &Path, metadata: &Metadata) {
        let there = fs::metadata(target).ok();
        if there.as_ref().is_some_and(Metadata::is_dir) {
            let message =
                format!("cannot overwrite directory {} with non-directory", quoted(target));
            return self.report(&message);
        }
        let same =
            |there: &Metadata| (there.dev(), there.ino()) == (metadata.dev(), metadata.ino());
        if there.as_ref().is_some_and(same) {
            let (from, to) = (quoted(source), quoted(target));
            return self.report(&format!("{from} and {to} are the same file"));
        }
        let mut from = match File::open(source) {
            Ok(file) => file,
            Err(error) => {
                let message =
                    format!("cannot open {} for reading: {}", quoted(source), reason(&error));
                return self.report(&message);
            }
        };
        let (mut to, created) = match open_for_writing(target, there.is_some()) {
            Ok(opened) => opened,
            Err(error) => return self.fail("cannot create regular file", target, &error),
        };
        if created {
            // The content is what counts; a file system without modes is no reason to fail.
            let _ = to.set_permissions(Permissions::from_mode(metadata.mode() & PERMISSIONS));
        }
        if let Err(error) = io::copy(&mut from, &mut to) {
            return self.fail("error writing", target, &error);
        }
        self.take_over_times(target, metadata);
    }

    fn take_over_times(&self, target: &Path, metadata: &Metadata) {
        if !self.options.times {
            return;
        }
        if let (Ok(modified), Ok(accessed)) = (metadata.modified(), metadata.accessed()) {
            let times = FileTimes::new().set_modified(modified).set_accessed(accessed);
            // Asked for, not promised: only the owner may set them.
            let _ = File::open(target).and_then(|file| file.set_times(times));
        }
    }

    fn fail(&mut self, what: &str, path: &Path, error: &io::Error) {
        self.report(&format!("{what} {}: {}", quoted(path), reason(error)));
    }

    fn say(&mut self, message: &str) {
        // Nobody is left to hear that standard error is closed.
        let _ = writeln!(self.output, "cp: {message}");
    }
}

/// Opens the target, replacing it where it exists but cannot be written in place; also says whether it is new.
fn open_for_writing(target: &Path, exists: bool) -> io::Result<(File, bool)> {
    let open = || OpenOptions::new().write(true).create(true).truncate(true).open(target);
    match open() {
        Err(error) if exists && can_be_replaced(&error) => {
            fs::remove_file(target)?;
            Ok((open()?, true))
        }
        result => Ok((result?, !exists)),
    }
}

fn can_be_replaced(error: &io::Error) -> bool {
    use io::ErrorKind::{ExecutableFileBusy, PermissionDenied, ResourceBusy};
    matches!(error.kind(), PermissionDenied | ResourceBusy | ExecutableFileBusy)
}

/// Whether `target`, which need not exist, is `source` or lies below it.
fn is_inside(target: &Path, source: &Path) -> bool {
    let nearest = target.ancestors().find_map(|path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        fs::canonicalize(path).ok()
    });
    match (nearest, fs::canonicalize(source)) {
        (Some(target), Ok(source)) => target.starts_with(source),
        _ => false,
    }
}
