//! External metrics from HorizontalPodAutoscalers to values: what is wanted, how Datadog is asked for it, which point
//! counts, and where values are kept (spec external-metrics §9–§11).
//!
//! ```text
//! watch ─▶ Autoscalers ─wanted─▶ provider thread ─▶ Table ─publish─▶ ServedTable ◀─ the API on 8443
//!                                  │    ▲                (followers read the ConfigMap instead)
//!                        query text│    │points
//!                                  ▼    │
//!                          rounds ─▶ batches ─▶ datadog::failover
//! ```
//!
//! Everything but `provider` is pure: time and answers come in as arguments.

pub mod batches;
pub mod configmap;
pub mod digest;
pub mod entry;
pub mod hpa;
pub mod ledger;
pub mod point;
pub mod provider;
pub mod query;
pub mod rounds;
pub mod table;

pub use entry::{Entry, Limits, Reference};
pub use hpa::{Autoscalers, HorizontalPodAutoscaler, Wanted};
pub use table::{Item, ServedTable, Table};
