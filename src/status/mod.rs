//! The status document, as text and as JSON.
