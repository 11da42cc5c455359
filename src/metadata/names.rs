//! One allocation for each distinct name, however many objects mention it.

use std::collections::HashSet;
use std::sync::Arc;

/// A name that is shared by everything that mentions it.
pub type Name = Arc<str>;

/// Sweeping fewer entries than this is not worth the walk.
const SMALLEST_SWEEP: usize = 1024;

/// Holds every name that was interned and drops those that nobody else holds any more.
///
/// Unused names stay until the table has doubled since the last sweep, so the waste is at most the size of what is in
/// use, and the cost of sweeping is constant for each new name.
#[derive(Debug)]
pub(super) struct Names {
    known: HashSet<Name>,
    /// Number of entries at which the next sweep is due.
    sweep_at: usize,
}

impl Names {
    /// The shared copy of `text`.
    pub(super) fn intern(&mut self, text: &str) -> Name {
        if let Some(name) = self.known.get(text) {
            return Arc::clone(name);
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|name| Arc::strong_count(name) > 1);
            self.sweep_at = SMALLEST_SWEEP.max(2 * self.known.len());
        }
        let name: Name = text.into();
        self.known.insert(Arc::clone(&name));
        name
    }
}

impl Default for Names {
    fn default() -> Self {
        Self { known: HashSet::new(), sweep_at: SMALLEST_SWEEP }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_share_one_allocation() {
        let mut names = Names::default();
        assert!(Arc::ptr_eq(&names.intern("cart"), &names.intern("cart")));
    }

    #[test]
    fn names_that_nobody_holds_are_swept() {
        let mut names = Names::default();
        let kept = names.intern("kept");
        for number in 0..10 * SMALLEST_SWEEP {
            names.intern(&format!("pod-{number}"));
        }
        assert!(names.known.len() <= SMALLEST_SWEEP + 1, "{} names are left", names.known.len());
        assert!(Arc::ptr_eq(&kept, &names.intern("kept")));
    }
}
