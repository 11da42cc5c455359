//! One program in one network namespace: its log, its life and its death, always by process id.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::wait::{PATIENCE, wait_until};

/// Lines of a dead program's log that a failure shows: a start-up error and what led to it.
const LOG_TAIL: usize = 25;

/// How to start a program; kept, so that it can be started again with the same command line.
pub struct Program {
    /// Name in messages and of the log file.
    pub name: String,
    /// Network namespace to run in.
    pub namespace: String,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Directory of the log file.
    pub directory: PathBuf,
}

/// A started program.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts the program; what it prints is appended to `{directory}/{name}.log`.
    pub fn start(&self) -> Process {
        let log = self.directory.join(format!("{}.log", self.name));
        let output =
            File::options().create(true).append(true).open(&log).expect("the run's directory");
        let errors = output.try_clone().expect("a second handle of the log");
        // `ip netns exec` becomes the program, so the child's id is the program's.
        let child = Command::new("ip")
            .args(["netns", "exec", &self.namespace])
            .args(&self.command)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .expect("prerequisites were checked: ip is there");
        Process { name: self.name.clone(), child, log }
    }
}

impl Process {
    /// The log so far.
    pub fn log(&self) -> String {
        read_log(&self.log)
    }

    /// The program's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The program has not ended; else a sentence with how it ended and the tail of its log.
    pub fn alive(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                let log = self.log();
                let lines: Vec<&str> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n");
                Err(format!("{} has ended ({status}), its log ends with:\n{tail}", self.name))
            }
            Err(error) => Err(format!("{}: {error}", self.name)),
        }
    }

    /// Ends it with SIGKILL and waits until its id is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM), as a kubelet does, and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        wait_until(PATIENCE, "end of the program", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(format!("{} runs on", self.name)),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Stops it where it is (SIGSTOP): its sockets stay open and say nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", signal, &self.child.id().to_string()])
            .status()
            .expect("sh is there");
        assert!(sent.success(), "SIG{signal} to {}", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_log(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
