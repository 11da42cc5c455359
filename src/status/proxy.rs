//! The proxies in force, without their passwords.

use serde_json::json;

use super::layout::Text;
use super::{Inputs, Section};
use crate::scrub;

/// The section; left out where there is no proxy.
pub(super) fn section(inputs: &Inputs) -> Section {
    let proxy = &inputs.proxy;
    let [http, https] = [&proxy.http, &proxy.https]
        .map(|url| url.as_deref().map(|url| scrub::message(url).into_owned()));
    let mut text = Text::default();
    if http.is_some() || https.is_some() {
        text.field(2, "HTTP", http.as_deref().unwrap_or_default());
        text.field(2, "HTTPS", https.as_deref().unwrap_or_default());
        text.field(2, "No proxy for", &proxy.no_proxy.join(", "));
    }
    Section {
        title: "Proxy".into(),
        text: text.finish(),
        keys: vec![("proxy", json!({ "http": http, "https": https, "no_proxy": proxy.no_proxy }))],
    }
}
