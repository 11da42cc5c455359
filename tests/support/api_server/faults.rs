//! Scripted faults: which requests are answered wrongly, late or not at all.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::access::Action;

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The right answer, this much later.
    Delay(Duration),
    /// A `Status` of this code instead of the answer.
    Status(u16),
    /// 429 with `Retry-After` in seconds.
    TooManyRequests(u32),
    /// The answer breaks off after this many bytes of its body.
    Cut(usize),
    /// The request is read and never answered.
    Stall,
    /// 200 with a body that is no JSON; for a watch, a line of it.
    Garbage,
    /// 410: for a watch as HTTP 200 with an ERROR event, else as HTTP 410.
    Expired,
}

/// Chooses requests; empty parts choose all.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    verb: String,
    resource: String,
}

/// The faults that wait for their requests, and the permissions that are missing.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Vec<Rule>>,
    denied: Mutex<HashSet<(String, String)>>,
}

#[derive(Debug)]
struct Rule {
    requests: Requests,
    fault: Fault,
    remaining: Option<u32>,
}

impl Requests {
    /// Every request.
    pub fn all() -> Self {
        Self::default()
    }

    /// Requests with this verb (`list`, `watch`, `get`, `create`, `update`, `patch`, `delete`) on this qualified
    /// resource (`pods`, `leases.coordination.k8s.io`).
    pub fn of(verb: &str, resource: &str) -> Self {
        Self { verb: verb.to_owned(), resource: resource.to_owned() }
    }

    /// Requests on this resource, whatever they do.
    pub fn on(resource: &str) -> Self {
        Self::of("", resource)
    }

    fn choose(&self, action: &Action) -> bool {
        (self.verb.is_empty() || self.verb == action.verb)
            && (self.resource.is_empty() || self.resource == action.resource)
    }
}

impl Faults {
    /// Makes the chosen requests fail, `times` of them or until [`Faults::clear`].
    pub fn add(&self, requests: Requests, fault: Fault, times: Option<u32>) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.push(Rule { requests, fault, remaining: times });
    }

    /// Ends all faults except missing permissions.
    pub fn clear(&self) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The fault for a request, counting it down.
    pub fn take(&self, action: &Action) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let index = rules.iter().position(|rule| rule.requests.choose(action))?;
        let rule = &mut rules[index];
        let fault = rule.fault.clone();
        if let Some(remaining) = &mut rule.remaining {
            *remaining -= 1;
            if *remaining == 0 {
                rules.remove(index);
            }
        }
        Some(fault)
    }

    /// Takes a permission away from everyone who is not in `system:masters`; `*` stands for every verb or resource.
    pub fn deny(&self, verb: &str, resource: &str) {
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        denied.insert((verb.to_owned(), resource.to_owned()));
    }

    /// Gives a permission back, named as it was denied.
    pub fn allow(&self, verb: &str, resource: &str) {
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        denied.remove(&(verb.to_owned(), resource.to_owned()));
    }

    /// Whether a permission is missing.
    pub fn is_denied(&self, verb: &str, resource: &str) -> bool {
        let denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        let either =
            |verb: &str, resource: &str| denied.contains(&(verb.to_owned(), resource.to_owned()));
        either(verb, resource) || either("*", resource) || either(verb, "*") || either("*", "*")
    }
}
