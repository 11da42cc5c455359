//! The status document, as text and as JSON (spec cli §4).
//!
//! The caller collects the facts into [`Inputs`]; everything here is a pure function of them. A section is one function
//! from the facts to a title, a text and the keys it adds to the JSON object. A room that wants to be seen adds its
//! facts to [`Inputs`], a file with its function, and a row to [`SECTIONS`].

mod cluster_checks;
mod custom_metrics;
mod delivery;
mod fixed;
mod header;
mod inputs;
mod kubernetes;
mod layout;
mod leader_election;
pub mod metadata_mapper;
mod proxy;

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

pub use inputs::{
    CheckRuns, ChecksRole, ClusterChecks, CustomMetric, CustomMetrics, Delivery, Header, Hostname,
    Inputs, Kubernetes, LeaderElection, MetricsSource, Proxy, Resource,
};

use layout::Text;

/// The header blocks, in their order.
const HEADERS: [fn(&Inputs) -> Section; 2] = [header::process, header::hostname];

/// The name under which the header blocks are asked for.
const HEADER: &str = "header";

/// The sections: the collector first, the others in alphabetical order.
const SECTIONS: [fn(&Inputs) -> Section; 11] = [
    delivery::collector,
    fixed::admission_controller,
    cluster_checks::section,
    custom_metrics::section,
    delivery::endpoints,
    delivery::forwarder,
    kubernetes::section,
    leader_election::section,
    leader_election::lock,
    proxy::section,
    fixed::remote_configuration,
];

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Blocks of lines for people.
    Text,
    /// One object for programs.
    Json,
}

/// One part of the document.
struct Section {
    title: Cow<'static, str>,
    /// Lines for people; a section without is left out, title and all.
    text: String,
    /// What it adds to the one flat JSON object.
    keys: Vec<(&'static str, Value)>,
}

/// No section has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSection {
    asked: String,
    known: Vec<String>,
}

/// The whole document for people (spec cli §4.1, §4.2).
pub fn text(inputs: &Inputs) -> String {
    let sections = HEADERS.iter().chain(&SECTIONS).map(|section| section(inputs));
    let mut text = Text::default();
    for Section { title, text: body, .. } in sections {
        text.block(&title, &body);
    }
    if !inputs.errors.is_empty() {
        let mut body = Text::default();
        for error in &inputs.errors {
            body.line(2, format_args!("- {error}"));
        }
        text.block("Status render errors", &body.finish());
    }
    text.finish()
}

/// The whole document as one flat object (spec cli §4.5).
pub fn json(inputs: &Inputs) -> Value {
    let sections = HEADERS.iter().chain(&SECTIONS).map(|section| section(inputs));
    let mut document = object(sections);
    if !inputs.errors.is_empty() {
        document.insert("errors".to_owned(), inputs.errors.clone().into());
    }
    document.into()
}

/// One section by its name in any case; `header` stands for both header blocks (spec cli §4.4).
///
/// # Errors
/// When no section has this name; the text lists those there are.
pub fn section(inputs: &Inputs, name: &str, format: Format) -> Result<String, UnknownSection> {
    let sections: Vec<Section> = if name.eq_ignore_ascii_case(HEADER) {
        HEADERS.iter().map(|section| section(inputs)).collect()
    } else {
        let all = SECTIONS.iter().map(|section| section(inputs));
        all.filter(|section| section.title.eq_ignore_ascii_case(name)).collect()
    };
    if sections.is_empty() {
        return Err(UnknownSection { asked: name.to_owned(), known: section_names(inputs) });
    }
    Ok(match format {
        Format::Json => Value::from(object(sections.into_iter())).to_string(),
        Format::Text => {
            let mut text = Text::default();
            for Section { title, text: body, .. } in sections {
                text.block(&title, &body);
            }
            text.finish()
        }
    })
}

/// The names [`section`] takes, lower-case, `header` first.
pub fn section_names(inputs: &Inputs) -> Vec<String> {
    let names = SECTIONS.iter().map(|section| section(inputs).title.to_lowercase());
    std::iter::once(HEADER.to_owned()).chain(names).collect()
}

fn object(sections: impl Iterator<Item = Section>) -> Map<String, Value> {
    sections.flat_map(|section| section.keys).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The text, unless it is empty.
fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

impl fmt::Display for UnknownSection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, known } = self;
        let known = known.join("\",\"");
        write!(formatter, "unknown status section '{asked}', available sections are: [\"{known}\"]")
    }
}

impl std::error::Error for UnknownSection {}

#[cfg(test)]
mod tests;
