//! What the command line of the same pod asks for (spec node-api §6, cli §2.2).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json as document};

use crate::http::Response;
use crate::http::message::{json, owned, percent_decoded};
use crate::node_api::routes::Call;
use crate::node_api::{Format, NodeApi, SettingError};

/// The name of this replica.
pub fn hostname(api: &NodeApi, _: &Call<'_>) -> Response {
    json(200, &api.parts.operator.hostname())
}

/// The status document; anything but `text` is JSON.
pub fn status(api: &NodeApi, call: &Call<'_>) -> Response {
    let format = asked_format(call).unwrap_or(Format::Json);
    let verbose = call.request.query_values("verbose").iter().any(|value| value == "true");
    in_format(format, api.parts.operator.status(format, verbose))
}

/// The names of the status document's sections.
pub fn status_sections(api: &NodeApi, _: &Call<'_>) -> Response {
    json(200, &api.parts.operator.status_sections())
}

/// One section of the status document; anything but `json` is text.
pub fn status_section(api: &NodeApi, call: &Call<'_>) -> Response {
    let format = asked_format(call).unwrap_or(Format::Text);
    in_format(format, api.parts.operator.status_section(call.parameters[0], format))
}

/// Which components are well; 200 also when some are not.
pub fn health(api: &NodeApi, _: &Call<'_>) -> Response {
    json(200, &api.parts.operator.health())
}

/// All settings as YAML.
pub fn config(api: &NodeApi, _: &Call<'_>) -> Response {
    owned(200, "text/plain; charset=utf-8", api.parts.operator.configuration().into_bytes())
}

/// The settings that can be changed.
pub fn runtime_settings(api: &NodeApi, _: &Call<'_>) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        description: &'static str,
        hidden: bool,
    }
    let settings = api.parts.operator.runtime_settings();
    let entries: BTreeMap<&str, Entry> = settings
        .iter()
        .map(|setting| (setting.name, Entry { description: setting.description, hidden: false }))
        .collect();
    json(200, &entries)
}

/// One setting, with `?sources=true` also what each source says.
pub fn setting(api: &NodeApi, call: &Call<'_>) -> Response {
    let name = call.parameters[0];
    let Some(setting) = api.parts.operator.setting(name) else { return unknown_setting(name) };
    let mut answer = document!({"value": setting.value});
    if call.request.query_values("sources").iter().any(|value| value == "true") {
        let sources = setting.sources.into_iter();
        answer["sources_value"] = sources
            .map(|(source, value)| document!({"Source": source, "Value": value}))
            .collect::<Vec<Value>>()
            .into();
    }
    json(200, &answer)
}

/// Changes a setting: the form field `value`, in which the client escapes what HTML would.
pub fn set_setting(api: &NodeApi, call: &Call<'_>) -> Response {
    let name = call.parameters[0];
    let body = String::from_utf8_lossy(&call.request.body);
    let value = form_value(&body, "value").map_or(Cow::default(), |value| html_unescaped(&value));
    match api.parts.operator.set_setting(name, &value) {
        Ok(()) => owned(200, "application/json", Vec::new()),
        Err(SettingError::Unknown) => unknown_setting(name),
        Err(SettingError::Invalid(reason)) => error(500, &reason),
    }
}

/// Ends the process; the connections that are open get their answers first.
pub fn stop(api: &NodeApi, _: &Call<'_>) -> Response {
    api.parts.operator.stop();
    json(200, &"")
}

/// For features that are not there and whose clients expect no content then.
pub fn nothing(_: &NodeApi, _: &Call<'_>) -> Response {
    owned(204, "application/json", Vec::new())
}

fn asked_format(call: &Call<'_>) -> Option<Format> {
    match call.request.query_values("format").first().map(String::as_str) {
        Some("text" | "text/plain") => Some(Format::Text),
        Some("json" | "application/json") => Some(Format::Json),
        _ => None,
    }
}

fn in_format(format: Format, text: Result<String, String>) -> Response {
    let content_type = match format {
        Format::Text => "text/plain; charset=utf-8",
        Format::Json => "application/json",
    };
    match text {
        Ok(text) => owned(200, content_type, text.into_bytes()),
        Err(reason) => error(500, &reason),
    }
}

fn unknown_setting(name: &str) -> Response {
    error(400, &format!("setting {name} not found"))
}

fn error(status: u16, reason: &str) -> Response {
    json(status, &document!({"error": reason}))
}

/// A field of an `application/x-www-form-urlencoded` body.
fn form_value(body: &str, name: &str) -> Option<String> {
    let mut fields = body.split('&').filter_map(|field| field.split_once('='));
    let (_, value) = fields.find(|(key, _)| *key == name)?;
    Some(percent_decoded(&value.replace('+', " ")).into_owned())
}

/// Takes back the five escapes of Go's `html.EscapeString`, which the client applies to the value.
fn html_unescaped(text: &str) -> Cow<'static, str> {
    let escapes = [("&lt;", "<"), ("&gt;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    let unescape = |text: String, (from, to): (&str, &str)| text.replace(from, to);
    Cow::Owned(escapes.into_iter().fold(text.to_owned(), unescape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_values_are_decoded_and_unescaped() {
        let value = form_value("x=1&value=a+b%26lt%3B%26amp%3Bgt%3B", "value");
        assert_eq!(value.as_deref(), Some("a b&lt;&amp;gt;"));
        assert_eq!(html_unescaped("a b&lt;&amp;gt;"), "a b<&gt;");
        assert_eq!(form_value("values=1", "value"), None);
    }
}
