//! What a request is about: a kind, perhaps a namespace and a name, and the words for it in URLs, errors and RBAC
//! rules.

use std::borrow::Cow;
use std::fmt;

use super::objects::Resource;

/// The collection or the object that a request addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    api: Cow<'static, str>,
    plural: Cow<'static, str>,
    namespace: Option<String>,
    name: Option<String>,
}

/// What a request does, in the words of RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Fetch one object.
    Get,
    /// Fetch a collection.
    List,
    /// Follow a collection.
    Watch,
    /// Make an object.
    Create,
    /// Replace an object.
    Update,
    /// Change fields of an object.
    Patch,
    /// Remove an object.
    Delete,
}

impl Target {
    /// All objects of the kind `T`.
    pub fn of<T: Resource>() -> Self {
        Self::new(T::API, T::PLURAL)
    }

    /// All objects of a kind that has no trimmed shape here: reviews, a `Value` for whole objects.
    ///
    /// `api` is the path of group and version (`/api/v1`), `plural` the name in URLs.
    pub fn new(api: impl Into<Cow<'static, str>>, plural: impl Into<Cow<'static, str>>) -> Self {
        Self { api: api.into(), plural: plural.into(), namespace: None, name: None }
    }

    /// The same, in one namespace.
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The same, one object of it.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The path on the API server, each segment percent-encoded.
    pub fn path(&self) -> String {
        let mut path = self.api.to_string();
        if let Some(namespace) = &self.namespace {
            path.push_str("/namespaces/");
            encode(namespace, &mut path);
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = &self.name {
            path.push('/');
            encode(name, &mut path);
        }
        path
    }

    /// The path of the group and version that serve it.
    pub fn api(&self) -> &str {
        &self.api
    }

    /// The lower-case plural.
    pub fn plural(&self) -> &str {
        &self.plural
    }

    /// The API group as RBAC rules write it: empty for the core group.
    pub fn group(&self) -> &str {
        self.api.strip_prefix("/apis/").and_then(|rest| rest.split('/').next()).unwrap_or("")
    }

    /// The rule that allows `verb`, as it has to be written in a Role or ClusterRole.
    ///
    /// Somebody who may not list usually may not watch either, so both are asked for at once.
    pub fn rule(&self, verb: Verb) -> String {
        let verbs = match verb {
            Verb::List | Verb::Watch => r#""list","watch""#.to_owned(),
            verb => format!("\"{verb}\""),
        };
        format!(r#"apiGroups ["{}"] resources ["{}"] verbs [{verbs}]"#, self.group(), self.plural)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.plural)?;
        if let Some(name) = &self.name {
            write!(formatter, " {name:?}")?;
        }
        if let Some(namespace) = &self.namespace {
            write!(formatter, " in namespace {namespace:?}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
        })
    }
}

/// Appends `text` to a URL: everything outside RFC 3986's unreserved set is escaped, so that a name from a
/// configuration file cannot become another path or another query.
pub(super) fn encode(text: &str, url: &mut String) {
    const HEXADECIMAL: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push('%');
            url.push(char::from(HEXADECIMAL[usize::from(byte >> 4)]));
            url.push(char::from(HEXADECIMAL[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::objects::{EndpointSlice, Lease, Node};

    #[test]
    fn paths_follow_group_namespace_and_name() {
        assert_eq!(Target::of::<Node>().path(), "/api/v1/nodes");
        assert_eq!(
            Target::of::<Lease>().in_namespace("mon").named("lock").path(),
            "/apis/coordination.k8s.io/v1/namespaces/mon/leases/lock"
        );
    }

    #[test]
    fn a_name_cannot_leave_its_segment() {
        let target = Target::of::<Node>().named("../pods?x=ü");
        assert_eq!(target.path(), "/api/v1/nodes/..%2Fpods%3Fx%3D%C3%BC");
    }

    #[test]
    fn rules_name_group_resource_and_verbs() {
        assert_eq!(
            Target::of::<Node>().rule(Verb::List),
            r#"apiGroups [""] resources ["nodes"] verbs ["list","watch"]"#
        );
        assert_eq!(
            Target::of::<EndpointSlice>().rule(Verb::Get),
            r#"apiGroups ["discovery.k8s.io"] resources ["endpointslices"] verbs ["get"]"#
        );
    }
}
