//! The Kubernetes API: client, list and watch, trimmed objects.
