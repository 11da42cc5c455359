//! The archive that support asks for: what it holds, how it is scrubbed, written and sent (spec cli §7).
//!
//! ```text
//! process: documents (status, checks, map, …) ─┐
//! configuration, environment, log files ───────┴▶ scrub ─▶ zip ─▶ file, or bytes for standard output ─▶ upload
//! ```
//!
//! The running process and, when it is down, the command line make the same archive; what only the process knows comes
//! in as [`Document`]s. Something that cannot be collected is a line in `flare_creation.log`, never a reason to stop.
//! Every member is scrubbed when it is added, log files too: older files may have been written by another program.

mod archive;
mod environment;
mod files;
mod upload;
mod zip;

pub use archive::{Document, Making, bytes, file};
pub use upload::{Failure, Sending, send};
