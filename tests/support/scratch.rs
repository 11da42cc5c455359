//! A directory of a test's own, removed when dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new, empty directory.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one below the system's directory for temporary files.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let name = format!("cluster-agent-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // An earlier process of this id may have been killed before it could clean up.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the directory for temporary files is writable");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it; gives its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("the test's own directory is writable");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left over in a temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
