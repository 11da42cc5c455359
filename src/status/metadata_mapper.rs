//! The map of nodes, namespaces, pods and services as text (spec cli §5), for `metamap` and for archives.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::layout::Text;

/// The answer of `/api/v1/tags/pod`; everything that is absent or `null` is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Answer {
    nodes: Option<BTreeMap<String, Node>>,
    warnings: Option<Vec<String>>,
    errors: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Node {
    services: Option<BTreeMap<String, BTreeMap<String, Services>>>,
}

/// A set: the names are the keys.
type Services = BTreeMap<String, IgnoredAny>;

impl Answer {
    /// Why there is no map, when there is none.
    pub fn error(&self) -> Option<&str> {
        self.errors.as_deref().filter(|error| !error.is_empty())
    }
}

/// The answer for people, sorted throughout.
pub fn render(answer: &Answer) -> String {
    let mut text = Text::default();
    let title = "Metadata Mapper";
    let rule = "=".repeat(title.len());
    for line in [&rule, title, &rule] {
        text.line(0, line);
    }
    if let Some(error) = answer.error() {
        text.blank();
        text.line(0, format_args!("Could not run the service mapper: {error}"));
        return text.finish();
    }
    for (name, node) in answer.nodes.iter().flatten() {
        text.blank();
        text.line(0, format_args!("Node detected: {name}"));
        for (namespace, pods) in node.services.iter().flatten() {
            text.blank();
            text.line(2, format_args!("- Namespace: {namespace}"));
            for (pod, services) in pods {
                let services: Vec<&str> = services.keys().map(String::as_str).collect();
                text.line(6, format_args!("- Pod: {pod}"));
                text.line(8, format_args!("Services: [{}]", services.join(" ")));
            }
        }
    }
    let warnings: Vec<&String> = answer.warnings.iter().flatten().collect();
    if !warnings.is_empty() {
        if answer.nodes.as_ref().is_some_and(|nodes| !nodes.is_empty()) {
            text.blank();
        }
        text.line(0, "Warnings:");
        for (index, warning) in warnings.into_iter().enumerate() {
            if index > 0 {
                text.blank();
            }
            text.line(3, format_args!("- {warning}"));
        }
    } else if answer.nodes.as_ref().is_some_and(|nodes| !nodes.is_empty()) {
        text.blank();
    }
    text.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLE: &str = "===============\nMetadata Mapper\n===============\n";

    fn rendered(document: &str) -> String {
        render(&serde_json::from_str(document).expect("the document is an answer"))
    }

    #[test]
    fn nodes_namespaces_pods_and_services_are_listed_in_order() {
        let document = r#"{"Nodes":{
            "node-b":{"services":{"default":{"web-1":{"web":{}}}}},
            "node-a":{"services":{"shop":{"x":{"y":{}}},
                "kube-system":{"m-1":{"ms2":{},"metrics-server":{}},"coredns-1":{"kube-dns":{}}}}}}}"#;
        let expected = "
Node detected: node-a

  - Namespace: kube-system
      - Pod: coredns-1
        Services: [kube-dns]
      - Pod: m-1
        Services: [metrics-server ms2]

  - Namespace: shop
      - Pod: x
        Services: [y]

Node detected: node-b

  - Namespace: default
      - Pod: web-1
        Services: [web]

";
        assert_eq!(rendered(document), format!("{TITLE}{expected}"));
    }

    #[test]
    fn cli_14_a_node_without_services_is_one_line() {
        let text = rendered(r#"{"Nodes":{"n":{"services":{}}}}"#);
        assert_eq!(text, format!("{TITLE}\nNode detected: n\n\n"));
    }

    #[test]
    fn warnings_and_errors_stand_below_the_title() {
        assert_eq!(
            rendered(r#"{"Warnings":["one","two"]}"#),
            format!("{TITLE}Warnings:\n   - one\n\n   - two\n")
        );
        assert_eq!(
            rendered(r#"{"Errors":"nodes is forbidden"}"#),
            format!("{TITLE}\nCould not run the service mapper: nodes is forbidden\n")
        );
        assert_eq!(rendered(r#"{"Nodes":null,"Warnings":null}"#), TITLE);
    }
}
