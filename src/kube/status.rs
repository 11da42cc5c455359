//! What a watch is doing, for the status page, telemetry and readiness.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::error::Error;
use super::list::BadObject;
use super::target::Target;

/// Shared between one watch thread, which writes, and everybody who reports on it.
///
/// The lock is held for field assignments and one clone, never during I/O: a reader does not wait for a slow server.
#[derive(Debug)]
pub struct WatchStatus {
    snapshot: Mutex<Snapshot>,
}

/// The state of one watch at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What is watched: plural and namespace.
    pub resource: String,
    /// The API server's address.
    pub server: String,
    /// What the thread is doing.
    pub activity: Activity,
    /// Whether a whole list was handed over since the start.
    pub synced: bool,
    /// Objects handed over and not deleted since.
    pub objects: u64,
    /// Lists completed since the start; all but the first replaced an older one.
    pub lists: u64,
    /// Events handed over since the start, without those of lists.
    pub events: u64,
    /// Attempts that failed since the start.
    pub failures: u64,
    /// Objects left out since the start because they could not be read.
    pub bad_objects: u64,
    /// The newest version that was heard of; empty before the first list.
    pub version: String,
    /// The version of the last complete list; known to the consumer when it is told that the list is complete.
    pub list_version: String,
    /// When the last list was complete.
    pub last_list: Option<SystemTime>,
    /// When the watch last brought something, be it only a bookmark.
    pub last_heard: Option<SystemTime>,
    /// The last failure; [`Activity`] tells whether it is still the present one.
    pub last_failure: Option<Failure>,
    /// The object that was left out last.
    pub last_bad_object: Option<BadObject>,
}

/// What a watch thread is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// Nothing was answered yet.
    #[default]
    Starting,
    /// A list arrives.
    Listing,
    /// Changes arrive as they happen.
    Watching,
    /// The last attempt failed; the next one is made by itself.
    Failing,
    /// Failing, because an RBAC rule is missing: settled as far as readiness is concerned (spec events-and-leader §7).
    Forbidden,
    /// Failing, because the server does not have this API.
    Missing,
    /// The program is stopping and the thread has ended.
    Ended,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: SystemTime,
    /// What failed and why, one sentence.
    pub text: String,
    /// What would help, if that is known.
    pub remedy: Option<String>,
}

impl WatchStatus {
    /// The status of a watch of `target` that has not begun.
    pub fn new(target: &Target, server: &str) -> Self {
        Self {
            snapshot: Mutex::new(Snapshot {
                resource: target.to_string(),
                server: server.to_owned(),
                activity: Activity::Starting,
                synced: false,
                objects: 0,
                lists: 0,
                events: 0,
                failures: 0,
                bad_objects: 0,
                version: String::new(),
                list_version: String::new(),
                last_list: None,
                last_heard: None,
                last_failure: None,
                last_bad_object: None,
            }),
        }
    }

    /// The state of this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    /// Whether there is nothing more to wait for before the program is ready: a whole list was handed over, or there
    /// is none to be had (no permission, no such API).
    pub fn is_settled(&self) -> bool {
        let snapshot = self.lock();
        snapshot.synced || matches!(snapshot.activity, Activity::Forbidden | Activity::Missing)
    }

    pub(super) fn set_activity(&self, activity: Activity) {
        self.lock().activity = activity;
    }

    /// The last page of a list has come; its consumer is about to be told.
    pub(super) fn list_arrived(&self, version: &str) {
        version.clone_into(&mut self.lock().list_version);
    }

    pub(super) fn listed(&self, objects: u64, version: &str, now: SystemTime) {
        let mut snapshot = self.lock();
        snapshot.synced = true;
        snapshot.lists += 1;
        snapshot.objects = objects;
        version.clone_into(&mut snapshot.version);
        snapshot.last_list = Some(now);
    }

    /// Something came over the watch; `change` is how many objects there are more, `None` for a bookmark.
    pub(super) fn heard(&self, version: &str, change: Option<i64>, now: SystemTime) {
        let mut snapshot = self.lock();
        snapshot.last_heard = Some(now);
        if !version.is_empty() {
            version.clone_into(&mut snapshot.version);
        }
        if let Some(change) = change {
            snapshot.events += 1;
            snapshot.objects = snapshot.objects.saturating_add_signed(change);
        }
    }

    pub(super) fn failed(&self, activity: Activity, error: &Error, now: SystemTime) {
        let failure = Failure { at: now, text: error.to_string(), remedy: error.remedy() };
        let mut snapshot = self.lock();
        snapshot.activity = activity;
        snapshot.failures += 1;
        snapshot.last_failure = Some(failure);
    }

    pub(super) fn left_out(&self, bad: &BadObject) {
        let mut snapshot = self.lock();
        snapshot.bad_objects += 1;
        snapshot.last_bad_object = Some(bad.clone());
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::error::Cause;
    use crate::kube::objects::Node;
    use crate::kube::target::Verb;

    #[test]
    fn a_missing_permission_settles_and_a_list_syncs() {
        let target = Target::of::<Node>();
        let status = WatchStatus::new(&target, "https://10.96.0.1:443");
        assert!(!status.is_settled());
        let refusal = Error::new(Verb::List, &target, Cause::Forbidden { message: String::new() });
        status.failed(Activity::Forbidden, &refusal, SystemTime::UNIX_EPOCH);
        assert!(status.is_settled() && !status.snapshot().synced);
        let failure = status.snapshot().last_failure.expect("it failed");
        assert!(failure.remedy.expect("there is a remedy").starts_with("grant apiGroups"));

        status.set_activity(Activity::Failing);
        assert!(!status.is_settled());
        status.listed(2, "7", SystemTime::UNIX_EPOCH);
        status.heard("8", Some(-1), SystemTime::UNIX_EPOCH);
        status.heard("", None, SystemTime::UNIX_EPOCH);
        let snapshot = status.snapshot();
        assert!(snapshot.synced && status.is_settled());
        assert_eq!((snapshot.objects, snapshot.events, snapshot.version.as_str()), (1, 1, "8"));
    }
}
