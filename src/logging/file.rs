//! The log file: appended to, rolled by size, never a reason to fail.
//!
//! `x.log` becomes `x.log.1`, that `x.log.2`, and so on up to the number of rolls; the oldest is overwritten. On disk
//! there are therefore at most `(rolls + 1) × size` bytes, plus one line each.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// An open log file that keeps its size within bounds.
#[derive(Debug)]
pub(super) struct RollingFile {
    path: PathBuf,
    file: File,
    size: u64,
    maximum_size: u64,
    maximum_rolls: usize,
}

impl RollingFile {
    /// Opens `path` for appending, creating the file but not its directory.
    pub(super) fn open(path: &Path, maximum_size: u64, maximum_rolls: usize) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, maximum_size, maximum_rolls })
    }

    /// Appends one line, rolling first when it would not fit; an empty file takes any line.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > self.maximum_size {
            self.roll()?;
        }
        self.file.write_all(line)?;
        self.size += length;
        Ok(())
    }

    fn roll(&mut self) -> io::Result<()> {
        let moved = (1..=self.maximum_rolls)
            .rev()
            .try_for_each(|roll| rename_if_there(&self.rolled(roll - 1), &self.rolled(roll)));
        if self.maximum_rolls == 0 || moved.is_err() {
            // Without a place for the old lines they go: the bound on the disk matters more.
            self.file.set_len(0)?;
            self.size = 0;
            return Ok(());
        }
        *self = Self::open(&self.path, self.maximum_size, self.maximum_rolls)?;
        Ok(())
    }

    /// The path of the given roll; roll 0 is the file itself.
    fn rolled(&self, roll: usize) -> PathBuf {
        if roll == 0 {
            return self.path.clone();
        }
        let mut path = OsString::from(&self.path);
        path.push(format!(".{roll}"));
        path.into()
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("log-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        path
    }

    fn content(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn a_full_file_is_rolled_and_the_oldest_roll_dropped() {
        let directory = directory("rolls");
        let path = directory.join("x.log");
        let mut file = RollingFile::open(&path, 10, 2).expect("the file can be created");
        for line in ["one----\n", "two----\n", "three--\n", "four---\n"] {
            file.append(line.as_bytes()).expect("the file can be written");
        }
        assert_eq!(content(&path), "four---\n");
        assert_eq!(content(&directory.join("x.log.1")), "three--\n");
        assert_eq!(content(&directory.join("x.log.2")), "two----\n");
        assert!(!directory.join("x.log.3").exists());
        fs::remove_dir_all(directory).expect("the directory is ours");
    }

    #[test]
    fn without_rolls_the_file_starts_again() {
        let directory = directory("no-rolls");
        let path = directory.join("x.log");
        let mut file = RollingFile::open(&path, 10, 0).expect("the file can be created");
        for line in ["a line longer than the bound\n", "b\n", "c\n"] {
            file.append(line.as_bytes()).expect("the file can be written");
        }
        assert_eq!(content(&path), "b\nc\n");
        fs::remove_dir_all(directory).expect("the directory is ours");
    }

    #[test]
    fn an_existing_file_is_continued_and_its_size_counted() {
        let directory = directory("continued");
        let path = directory.join("x.log");
        fs::write(&path, "12345678\n").expect("the directory is writable");
        let mut file = RollingFile::open(&path, 12, 1).expect("the file can be opened");
        file.append(b"abc\n").expect("the file can be written");
        assert_eq!(content(&directory.join("x.log.1")), "12345678\n");
        assert_eq!(content(&path), "abc\n");
        fs::remove_dir_all(directory).expect("the directory is ours");
    }
}
