//! Whether a client takes JSON (spec external-metrics §6).

/// Whether one of the media ranges is JSON, whatever its weight. Ranges with the parameters of aggregated discovery ask
/// for another document: a plain list in its place would make the aggregator believe the group to be broken.
pub(super) fn accepts_json(accept: Option<&str>) -> bool {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else { return true };
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let is_json = ["application/json", "application/*", "*/*"]
            .iter()
            .any(|json| media_type.eq_ignore_ascii_case(json));
        is_json
            && !parts.any(|parameter| parameter.starts_with("as=") || parameter.starts_with("g="))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_taken_unless_another_document_is_meant() {
        let discovery = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        for (accept, expected) in [
            (None, true),
            (Some(""), true),
            (Some("application/json"), true),
            (Some("application/vnd.kubernetes.protobuf, */*"), true),
            (Some("text/html;q=0.9, Application/JSON;q=0"), true),
            (Some("application/vnd.kubernetes.protobuf"), false),
            (Some("text/html"), false),
            (Some(discovery), false),
            (Some(&format!("{discovery},application/json")), true),
        ] {
            assert_eq!(accepts_json(accept), expected, "{accept:?}");
        }
    }
}
