//! One check configuration and its form on the wire (spec cluster-checks §3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A check with its instances: what a source yields, what the dispatcher assigns, and what a node Agent is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    /// Name of the check, for example `http_check`.
    #[serde(rename = "check_name")]
    pub name: String,
    /// Each instance as YAML text that ends with a line feed.
    #[serde(serialize_with = "encoded_list", deserialize_with = "decoded_list")]
    pub instances: Vec<Vec<u8>>,
    /// The common part as YAML text; `None` where the source had none, which hashes and travels differently from `{}`.
    #[serde(serialize_with = "encoded", deserialize_with = "decoded")]
    pub init_config: Option<Vec<u8>>,
    /// The JMX part of a file.
    #[serde(serialize_with = "encoded", deserialize_with = "decoded")]
    pub metric_config: Option<Vec<u8>>,
    /// The log collection part of a file.
    #[serde(serialize_with = "encoded", deserialize_with = "decoded")]
    pub logs: Option<Vec<u8>>,
    /// What this configuration was matched with; empty for a dispatched cluster check, or the Agent would wait for a
    /// container of that identity for ever.
    #[serde(serialize_with = "null_if_empty", deserialize_with = "empty_if_null")]
    pub ad_identifiers: Vec<String>,
    /// Always absent on the wire: file templates are resolved before they are sent.
    #[serde(rename = "advanced_ad_identifiers")]
    pub advanced_identifiers: Option<()>,
    /// Name of the source's kind, for example `kubernetes-services`.
    pub provider: String,
    /// The service or endpoint that the templates were resolved against; empty for plain files.
    pub service_id: String,
    /// Whether this is to be dispatched; false on the wire, where true means "ignore me".
    pub cluster_check: bool,
    /// The node whose kubelet runs the pod behind an endpoint check; empty for cluster checks.
    pub node_name: String,
    /// Where it came from, for example `file:/etc/datadog-agent/conf.d/redisdb.yaml`.
    pub source: String,
    /// Whether service tags are left out of the instances.
    pub ignore_autodiscovery_tags: bool,
    /// Always empty for resolved configurations (spec cluster-checks §2.3).
    pub check_tag_cardinality: String,
    /// Whether an exclusion rule matched; such a configuration is not dispatched.
    pub metrics_excluded: bool,
    /// Log collection is not the cluster agent's business; always false.
    pub logs_excluded: bool,
}

fn encoded<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| STANDARD.encode(bytes)).serialize(serializer)
}

fn encoded_list<S: Serializer>(list: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(|bytes| STANDARD.encode(bytes)))
}

fn null_if_empty<S: Serializer>(list: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    if list.is_empty() { serializer.serialize_none() } else { serializer.collect_seq(list) }
}

fn decoded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.map(|text| STANDARD.decode(text).map_err(D::Error::custom)).transpose()
}

fn decoded_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
    let list: Vec<String> = empty_if_null(deserializer)?;
    list.iter().map(|text| STANDARD.decode(text).map_err(D::Error::custom)).collect()
}

fn empty_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_checks_33_bytes_are_padded_base64_and_absent_parts_null() {
        let instance = "empty_default_hostname: true\nname: Edge web\ntags:\n- kube_namespace:default\n\
                        - kube_service:edge-web\n- cluster_name:lab\n- kube_cluster_name:lab\ntimeout: 1\n\
                        url: http://10.20.30.40\n";
        let configuration = Configuration {
            name: "http_check".to_owned(),
            instances: vec![instance.as_bytes().to_vec()],
            init_config: Some(b"{}\n".to_vec()),
            provider: "kubernetes-services".to_owned(),
            service_id: "kube_service://default/edge-web".to_owned(),
            source: "kube_services:kube_service://default/edge-web".to_owned(),
            ..Configuration::default()
        };
        let json = serde_json::to_string(&configuration).expect("a configuration serialises");
        assert_eq!(
            json,
            "{\"check_name\":\"http_check\",\"instances\":[\"ZW1wdHlfZGVmYXVsdF9ob3N0bmFtZTogdHJ1ZQpuYW1lOiBFZGdlIHdlYgp0YWdzOgotIGt1YmVfbmFtZXNwYWNlOmRlZmF1bHQKLSBrdWJlX3NlcnZpY2U6ZWRnZS13ZWIKLSBjbHVzdGVyX25hbWU6bGFiCi0ga3ViZV9jbHVzdGVyX25hbWU6bGFiCnRpbWVvdXQ6IDEKdXJsOiBodHRwOi8vMTAuMjAuMzAuNDAK\"],\
             \"init_config\":\"e30K\",\"metric_config\":null,\"logs\":null,\"ad_identifiers\":null,\
             \"advanced_ad_identifiers\":null,\"provider\":\"kubernetes-services\",\
             \"service_id\":\"kube_service://default/edge-web\",\"cluster_check\":false,\"node_name\":\"\",\
             \"source\":\"kube_services:kube_service://default/edge-web\",\"ignore_autodiscovery_tags\":false,\
             \"check_tag_cardinality\":\"\",\"metrics_excluded\":false,\"logs_excluded\":false}"
        );
        let absent =
            serde_json::to_value(Configuration::default()).expect("a configuration serialises");
        assert!(absent["init_config"].is_null());
        let short =
            Configuration { instances: vec![b"a: 1\n".to_vec()], ..Configuration::default() };
        let short = serde_json::to_value(short).expect("a configuration serialises");
        assert_eq!(short["instances"][0], "YTogMQo=", "the padding is there");
    }
}
