//! The cluster's id: where it is kept, and how a replica gets it (spec node-api §9).

use std::sync::Arc;

use crate::sync::Published;

/// Holds the id once it is known; clones share it.
#[derive(Clone, Debug)]
pub struct ClusterId {
    state: Arc<Published<Result<Arc<str>, String>>>,
}

impl ClusterId {
    /// The id, or one sentence that says why it is not known.
    ///
    /// # Errors
    /// It was not read yet, or the last attempt failed.
    pub fn get(&self) -> Result<Arc<str>, String> {
        self.state.get().as_ref().clone()
    }

    /// Keeps what an attempt gave.
    pub fn set(&self, outcome: Result<Arc<str>, String>) {
        self.state.set(outcome);
    }
}

impl Default for ClusterId {
    fn default() -> Self {
        let reason = "the cluster ID was not read from the API server yet".to_owned();
        Self { state: Arc::new(Published::new(Err(reason))) }
    }
}
