//! The identity of a check instance, equal to upstream's to the bit (spec cluster-checks §4).
//!
//! A node Agent computes the same identity over the bytes it received, so these functions hash exactly the bytes that are
//! served, before any scrubbing or re-indenting.

use super::configuration::Configuration;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// The instance ID as `configcheck` and `clusterchecks` print it: `<check>:<display>:<hash>`, or `<check>:<hash>` where
/// the instance has no display name. `digest` is the configuration's [`fast_digest`]. Spec cluster-checks §4.1.
pub fn instance_id(configuration: &Configuration, digest: u64, instance: &[u8]) -> String {
    let initial = configuration.init_config.as_deref().unwrap_or_default();
    let hash = fnv1([digest.to_be_bytes().as_slice(), instance, initial]);
    named(&configuration.name, instance, hash)
}

/// The instance ID of Agents 6.x and early 7.x, which leave the digest out. Spec cluster-checks §4.2.
pub fn legacy_instance_id(configuration: &Configuration, instance: &[u8]) -> String {
    let initial = configuration.init_config.as_deref().unwrap_or_default();
    named(&configuration.name, instance, fnv1([instance, initial]))
}

/// The digest that every instance ID of a configuration starts from: the first word of MurmurHash3 x64-128 over name,
/// instances, init_config, autodiscovery identifiers, node, logs, service and the tag switch. Spec cluster-checks §4.1.
pub fn fast_digest(configuration: &Configuration) -> u64 {
    let mut bytes = configuration.name.as_bytes().to_vec();
    for instance in &configuration.instances {
        bytes.extend_from_slice(instance);
    }
    bytes.extend_from_slice(configuration.init_config.as_deref().unwrap_or_default());
    for identifier in &configuration.ad_identifiers {
        bytes.extend_from_slice(identifier.as_bytes());
    }
    bytes.extend_from_slice(configuration.node_name.as_bytes());
    bytes.extend_from_slice(configuration.logs.as_deref().unwrap_or_default());
    bytes.extend_from_slice(configuration.service_id.as_bytes());
    let ignore: &[u8] = if configuration.ignore_autodiscovery_tags { b"true" } else { b"false" };
    bytes.extend_from_slice(ignore);
    murmur3_first_word(&bytes)
}

fn named(check: &str, instance: &[u8], hash: u64) -> String {
    let display = display_name(instance);
    if display.is_empty() {
        format!("{check}:{hash:x}")
    } else {
        format!("{check}:{display}:{hash:x}")
    }
}

/// The instance's `name`, else its `namespace`. Upstream decodes the instance into a typed structure and shows nothing
/// at all when any of its common fields has the wrong type, so this looks at those types too.
fn display_name(instance: &[u8]) -> String {
    let Ok(serde_yaml::Value::Mapping(fields)) = serde_yaml::from_slice(instance) else {
        return String::new();
    };
    let absent_or = |key: &str, fits: fn(&serde_yaml::Value) -> bool| {
        fields.get(key).is_none_or(|value| value.is_null() || fits(value))
    };
    let typed = absent_or("min_collection_interval", serde_yaml::Value::is_i64)
        && absent_or("empty_default_hostname", serde_yaml::Value::is_bool)
        && absent_or("no_index", serde_yaml::Value::is_bool)
        && absent_or("tags", |tags| {
            tags.as_sequence().is_some_and(|tags| tags.iter().all(is_scalar))
        })
        && ["service", "name", "namespace"].iter().all(|key| absent_or(key, is_scalar));
    if !typed {
        return String::new();
    }
    let text = |key: &str| fields.get(key).map(scalar_text).filter(|text| !text.is_empty());
    text("name").or_else(|| text("namespace")).unwrap_or_default()
}

fn is_scalar(value: &serde_yaml::Value) -> bool {
    !value.is_mapping() && !value.is_sequence()
}

fn scalar_text(value: &serde_yaml::Value) -> String {
    match value {
        serde_yaml::Value::String(text) => text.clone(),
        serde_yaml::Value::Bool(value) => value.to_string(),
        serde_yaml::Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// FNV-1 (multiply, then xor) over the parts as one text.
fn fnv1<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let bytes = parts.into_iter().flatten();
    bytes.fold(FNV_OFFSET, |hash, byte| hash.wrapping_mul(FNV_PRIME) ^ u64::from(*byte))
}

/// The first 64-bit word of MurmurHash3 x64-128 with seed 0.
fn murmur3_first_word(bytes: &[u8]) -> u64 {
    let (mut first, mut second) = (0_u64, 0_u64);
    let mut blocks = bytes.chunks_exact(16);
    for block in &mut blocks {
        let (low, high) = block.split_at(8);
        first ^= mix_first(word(low));
        first =
            first.rotate_left(27).wrapping_add(second).wrapping_mul(5).wrapping_add(0x52dc_e729);
        second ^= mix_second(word(high));
        second =
            second.rotate_left(31).wrapping_add(first).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let tail = blocks.remainder();
    if tail.len() > 8 {
        second ^= mix_second(word(&tail[8..]));
    }
    if !tail.is_empty() {
        first ^= mix_first(word(&tail[..tail.len().min(8)]));
    }
    first ^= bytes.len() as u64;
    second ^= bytes.len() as u64;
    first = first.wrapping_add(second);
    second = second.wrapping_add(first);
    finish(first).wrapping_add(finish(second))
}

fn mix_first(word: u64) -> u64 {
    word.wrapping_mul(0x87c3_7b91_1142_53d5).rotate_left(31).wrapping_mul(0x4cf5_ad43_2745_937f)
}

fn mix_second(word: u64) -> u64 {
    word.wrapping_mul(0x4cf5_ad43_2745_937f).rotate_left(33).wrapping_mul(0x87c3_7b91_1142_53d5)
}

fn finish(mut word: u64) -> u64 {
    word ^= word >> 33;
    word = word.wrapping_mul(0xff51_afd7_ed55_8ccd);
    word ^= word >> 33;
    word = word.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

/// Up to eight bytes as a little-endian number.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(name: &str, instances: &[&str], init_config: Option<&str>) -> Configuration {
        Configuration {
            name: name.to_owned(),
            instances: instances.iter().map(|text| text.as_bytes().to_vec()).collect(),
            init_config: init_config.map(|text| text.as_bytes().to_vec()),
            ..Configuration::default()
        }
    }

    fn ids(configuration: &Configuration) -> Vec<String> {
        let digest = fast_digest(configuration);
        configuration
            .instances
            .iter()
            .map(|instance| instance_id(configuration, digest, instance))
            .collect()
    }

    #[test]
    fn the_hash_primitives_match_their_published_vectors() {
        for (text, hash) in
            [("", FNV_OFFSET), ("a", 0xaf63_bd4c_8601_b7be), ("foobar", 0x340d_8765_a4dd_a9c2)]
        {
            assert_eq!(fnv1([text.as_bytes()]), hash, "FNV-1 of {text:?}");
        }
        for (text, hash) in [
            ("", 0),
            ("hello", 0xcbd8_a7b3_41bd_9b02),
            ("hello, world", 0x342f_ac62_3a5e_bc8e),
            ("The quick brown fox jumps over the lazy dog.", 0xcd99_481f_9ee9_02c9),
        ] {
            assert_eq!(murmur3_first_word(text.as_bytes()), hash, "Murmur of {text:?}");
        }
    }

    #[test]
    fn cluster_checks_01_identities_equal_the_published_vectors() {
        let minimal = configuration("x", &["a: 1\n"], Some("{}\n"));
        assert_eq!(fast_digest(&minimal), 0x58ec_cfcf_44b0_ea53);
        assert_eq!(ids(&minimal), ["x:fad36927d06f4ffa"]);

        let entity = "kube_service://default/edge-web".to_owned();
        let tags = "- kube_namespace:default\n- kube_service:edge-web\n";
        let web = format!("name: Edge web\ntags:\n{tags}timeout: 1\nurl: http://10.20.30.40\n");
        let mut resolved = configuration("http_check", &[&web], Some("{}\n"));
        resolved.ad_identifiers = vec![entity.clone()];
        resolved.service_id = entity.clone();
        assert_eq!(fast_digest(&resolved), 0xedfb_cbd8_8e65_bfd3);
        assert_eq!(ids(&resolved), ["http_check:Edge web:b7701721bbe4691e"]);

        let cluster = "- cluster_name:lab\n- kube_cluster_name:lab\n";
        let web = format!(
            "empty_default_hostname: true\nname: Edge web\ntags:\n{tags}{cluster}timeout: 1\nurl: http://10.20.30.40\n"
        );
        let mut patched = configuration("http_check", &[&web], Some("{}\n"));
        patched.service_id = entity;
        assert_eq!(fast_digest(&patched), 0x73cb_d64d_1af8_cc62);
        assert_eq!(ids(&patched), ["http_check:Edge web:f03bc748e9f08ffc"]);
        assert_eq!(
            legacy_instance_id(&patched, web.as_bytes()),
            "http_check:Edge web:1092f43b177e765"
        );

        let nginx = format!(
            "nginx_status_url: http://10.1.2.3:8080/nginx_status\ntags:\n- kube_endpoint_ip:10.1.2.3\n\
             - kube_namespace:shop\n- kube_service:cart\n{cluster}"
        );
        let mut endpoint = configuration("nginx", &[&nginx], Some("{}\n"));
        endpoint.ad_identifiers = vec![
            "kube_endpoint_uid://shop/cart/10.1.2.3".to_owned(),
            "kubernetes_pod://0b9f1c52-7a51-4a0e-9d5c-3f1f0f8a7e11".to_owned(),
        ];
        endpoint.node_name = "node-a".to_owned();
        endpoint.service_id = endpoint.ad_identifiers[0].clone();
        assert_eq!(fast_digest(&endpoint), 0x4d9c_8581_c276_2368);
        assert_eq!(ids(&endpoint), ["nginx:74b7e6f9b14d0151"]);

        let first =
            format!("empty_default_hostname: true\nhost: 10.0.0.9\nport: 5432\ntags:\n{cluster}");
        let second = format!(
            "empty_default_hostname: true\nhost: 10.0.0.10\nport: 5432\ntags:\n- role:standby\n{cluster}"
        );
        let postgres = configuration("postgres", &[&first, &second], None);
        assert_eq!(fast_digest(&postgres), 0x1446_4e3b_657f_54a6);
        assert_eq!(ids(&postgres), ["postgres:ea33c3d6b9a71421", "postgres:ff1391ede79aad91"]);

        for (address, pod, id) in [
            (
                "10.244.0.74",
                "88f36ebb-f41d-4ad3-a8f3-0e1ec8bc88f9",
                "nginx:Nginx Endpoint:157e3e6240ac87c9",
            ),
            (
                "10.244.0.75",
                "5a809347-b32c-4d3e-9690-dae3276083d8",
                "nginx:Nginx Endpoint:69f72b99b71e3158",
            ),
        ] {
            let instance = format!(
                "name: Nginx Endpoint\nnginx_status_url: http://{address}:81/status/\ntags:\n\
                 - kube_endpoint_ip:{address}\n- kube_namespace:default\n- kube_service:nginx-svc\n"
            );
            let mut published = configuration("nginx", &[&instance], Some("{}\n"));
            published.ad_identifiers = vec![
                format!("kube_endpoint_uid://default/nginx-svc/{address}"),
                format!("kubernetes_pod://{pod}"),
            ];
            published.node_name = "minikube".to_owned();
            published.service_id = published.ad_identifiers[0].clone();
            assert_eq!(ids(&published), [id]);
        }
    }

    #[test]
    fn cluster_checks_02_the_legacy_hash_reproduces_the_old_documentation() {
        let instance = "name: My service\ntags:\n- kube_namespace:default\n- kube_service:my-nginx\ntimeout: 1\n\
                        url: http://10.15.246.109\n";
        let check = configuration("http_check", &[instance], Some("{}"));
        assert_eq!(
            legacy_instance_id(&check, instance.as_bytes()),
            "http_check:My service:6e5f4b16b4b433cc"
        );
    }

    #[test]
    fn cluster_checks_03_the_display_name_is_name_then_namespace_and_nothing_on_a_wrong_type() {
        for (instance, display) in [
            ("{namespace: foo}", "foo"),
            ("{name: 12}", "12"),
            ("{name: a, tags: \"x\"}", ""),
            ("[1]", ""),
        ] {
            assert_eq!(display_name(instance.as_bytes()), display, "{instance}");
        }
    }
}
