//! Keeps the results of reviews for a while; many who ask for the same thing at once wait for one review.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Results by key, at most as many as it was made for.
pub(super) struct Cache<K, V> {
    limit: usize,
    places: Mutex<HashMap<K, Arc<Mutex<Place<V>>>>>,
}

/// What is known under one key; whoever finds nothing holds the lock while it finds out.
struct Place<V> {
    result: Option<(V, Instant)>,
    /// The last failure and its moment, for those who waited for it.
    failure: Option<(String, Instant)>,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, places: Mutex::default() }
    }

    /// The result under `key`, found out by `find` unless one is known for less than `life`. Failures are not kept.
    pub(super) fn get(
        &self,
        key: K,
        life: Duration,
        find: impl FnOnce() -> Result<V, String>,
    ) -> Result<V, String> {
        let arrived = Instant::now();
        let place = self.place(key, arrived);
        let mut place = lock(&place);
        if let Some((value, until)) = &place.result
            && Instant::now() < *until
        {
            return Ok(value.clone());
        }
        if let Some((failure, at)) = &place.failure
            && *at > arrived
        {
            return Err(failure.clone());
        }
        let found = find();
        let now = Instant::now();
        match &found {
            Ok(value) => place.result = Some((value.clone(), now + life)),
            Err(failure) => place.failure = Some((failure.clone(), now)),
        }
        found
    }

    fn place(&self, key: K, now: Instant) -> Arc<Mutex<Place<V>>> {
        let mut places = lock(&self.places);
        if places.len() >= self.limit && !places.contains_key(&key) {
            places.retain(|_, place| is_used(place, now));
        }
        if places.len() >= self.limit && !places.contains_key(&key) {
            // Too many at once: somebody will have to be asked about again.
            if let Some(any) = places.keys().next().cloned() {
                places.remove(&any);
            }
        }
        let empty = || Arc::new(Mutex::new(Place { result: None, failure: None }));
        places.entry(key).or_insert_with(empty).clone()
    }
}

/// Whether the place is waited for or has a result that counts.
fn is_used<V>(place: &Arc<Mutex<Place<V>>>, now: Instant) -> bool {
    match place.try_lock() {
        Ok(place) => place.result.as_ref().is_some_and(|(_, until)| now < *until),
        Err(_) => true,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn results_are_kept_and_failures_are_not() {
        let cache = Cache::new(2);
        assert_eq!(cache.get("a", LONG, || Err("no".to_owned())), Err("no".to_owned()));
        assert_eq!(cache.get("a", LONG, || Ok(1)), Ok(1));
        assert_eq!(cache.get("a", LONG, || Ok(2)), Ok(1));
        assert_eq!(cache.get("b", Duration::ZERO, || Ok(3)), Ok(3));
        assert_eq!(cache.get("b", Duration::ZERO, || Ok(4)), Ok(4));
    }

    #[test]
    fn it_never_holds_more_than_its_limit() {
        let cache = Cache::new(3);
        for key in 0..100 {
            assert_eq!(cache.get(key, LONG, || Ok(key)), Ok(key));
        }
        assert_eq!(lock(&cache.places).len(), 3);
    }

    #[test]
    fn those_who_ask_at_once_share_one_review_and_its_failure() {
        let cache = Cache::new(3);
        let reviews = AtomicUsize::new(0);
        let (started, wait) = crossbeam_channel::bounded::<()>(0);
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| {
                cache.get("a", LONG, || {
                    reviews.fetch_add(1, Ordering::SeqCst);
                    let _ = wait.recv();
                    let _ = wait.recv();
                    Ok(1)
                })
            });
            started.send(()).expect("the review has begun");
            let other = scope.spawn(|| cache.get("a", LONG, || Ok(2)));
            started.send(()).expect("the review ends");
            assert_eq!(slow.join().expect("no panic"), Ok(1));
            assert_eq!(other.join().expect("no panic"), Ok(1));
        });
        assert_eq!(reviews.load(Ordering::SeqCst), 1);
    }
}
