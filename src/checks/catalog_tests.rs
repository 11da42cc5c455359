//! Objects in, resolved configurations out.

use serde_json::{Value, json};

use super::*;

const CHECKS: &str = r#"{"nginx":{"instances":[{"url":"http://%%host%%:%%port%%/"}]}}"#;

fn catalog(files: Found) -> Catalog {
    let mut catalog = Catalog::new(Sources { services: true, endpoints: true }, files);
    catalog.apply_service(&Event::Init);
    catalog.apply_service(&Event::InitDone);
    catalog
}

fn apply_service(catalog: &mut Catalog, annotations: Value, labels: Value) {
    let service = json!({"metadata": {"namespace": "shop", "name": "web", "uid": "u1", "annotations": annotations, "labels": labels},
        "spec": {"clusterIP": "10.0.0.5", "ports": [{"port": 8443, "name": "tls"}, {"port": 80, "name": "web"}]}});
    catalog.apply_service(&Event::Apply(serde_json::from_value(service).expect("a service")));
}

fn endpoints() -> Value {
    let address = |ip: &str, node: &str, uid: &str| json!({"ip": ip, "nodeName": node, "targetRef": {"kind": "Pod", "uid": uid}});
    json!({"metadata": {"namespace": "shop", "name": "web"}, "subsets": [{
        "addresses": [address("10.1.0.1", "n1", "p1"), address("10.1.0.2", "n2", "p2")],
        "notReadyAddresses": [address("10.1.0.3", "n3", "p3")],
        "ports": [{"name": "web", "port": 8080}]}]})
}

fn list_endpoints(catalog: &mut Catalog, objects: &[Value]) {
    catalog.apply_endpoints(&Event::Init);
    for object in objects {
        catalog.apply_endpoints(&Event::InitApply(
            serde_json::from_value(object.clone()).expect("endpoints"),
        ));
    }
    catalog.apply_endpoints(&Event::InitDone);
}

fn changes(catalog: &mut Catalog) -> Vec<Configuration> {
    catalog
        .take_changes(&|_| None)
        .into_iter()
        .flat_map(|(_, configurations)| configurations)
        .collect()
}

fn instance(configuration: &Configuration) -> &str {
    std::str::from_utf8(&configuration.instances[0]).expect("YAML text is UTF-8")
}

#[test]
fn nothing_is_handed_out_before_everything_was_listed() {
    let mut catalog = catalog(Found::default());
    apply_service(&mut catalog, json!({"ad.datadoghq.com/service.checks": CHECKS}), json!({}));
    assert!(!catalog.is_complete() && changes(&mut catalog).is_empty());
    list_endpoints(&mut catalog, &[]);
    assert_eq!(changes(&mut catalog).len(), 1);
    assert!(changes(&mut catalog).is_empty(), "a change is handed out once");
}

#[test]
fn cluster_checks_12_standard_labels_become_tags() {
    let mut catalog = catalog(Found::default());
    list_endpoints(&mut catalog, &[]);
    apply_service(
        &mut catalog,
        json!({"ad.datadoghq.com/service.checks": CHECKS}),
        json!({"tags.datadoghq.com/env": "prod"}),
    );
    let list = changes(&mut catalog);
    assert_eq!(
        instance(&list[0]),
        "tags:\n- env:prod\n- kube_namespace:shop\n- kube_service:web\nurl: http://10.0.0.5:8443/\n"
    );
    let without = r#"{"nginx":{"ignore_autodiscovery_tags":true,"instances":[{"a":1}]}}"#;
    apply_service(
        &mut catalog,
        json!({"ad.datadoghq.com/service.checks": without}),
        json!({"tags.datadoghq.com/env": "prod"}),
    );
    let list = changes(&mut catalog);
    assert_eq!(instance(&list[0]), "a: 1\n");
    let tags = crate::checks::patch::ExtraTags::new(&[], Some("lab"), "cluster_name");
    let patched = crate::checks::patch::cluster_check(&list[0], &tags).expect("a map");
    assert!(instance(&patched).contains("- cluster_name:lab\n"));
}

#[test]
fn cluster_checks_16_a_file_with_an_advanced_identifier_matches_a_service_without_annotations() {
    let text = "advanced_ad_identifiers: [{kube_service: {namespace: shop, name: web}}]\ninstances: [{port: '%%port%%'}]\n";
    let mut file = crate::checks::files::parse("nginx", text, &|_| None).expect("valid");
    file.configuration.source = "file:/etc/datadog-agent/conf.d/nginx.yaml".to_owned();
    let mut catalog = catalog(Found { files: vec![file], ..Found::default() });
    list_endpoints(&mut catalog, &[]);
    apply_service(&mut catalog, json!({}), json!({}));
    let list = changes(&mut catalog);
    assert_eq!(list.len(), 1);
    assert!(list[0].cluster_check);
    assert_eq!(list[0].ad_identifiers, ["kube_service://shop/web"]);
    assert_eq!(list[0].source, "file:/etc/datadog-agent/conf.d/nginx.yaml");
    assert_eq!(list[0].provider, "kubernetes-services-file");
}

#[test]
fn cluster_checks_17_ready_pod_addresses_become_endpoint_checks_of_their_nodes() {
    let mut catalog = catalog(Found::default());
    list_endpoints(&mut catalog, &[endpoints()]);
    apply_service(&mut catalog, json!({"ad.datadoghq.com/endpoints.checks": CHECKS}), json!({}));
    let list = changes(&mut catalog);
    let nodes: Vec<&str> =
        list.iter().map(|configuration| configuration.node_name.as_str()).collect();
    assert_eq!(nodes, ["n1", "n2"]);
    assert_eq!(
        list[0].ad_identifiers,
        ["kube_endpoint_uid://shop/web/10.1.0.1", "kubernetes_pod://p1"]
    );
    assert_eq!(list[0].source, "kube_endpoints:kube_endpoint_uid://shop/web/");
    let patched =
        crate::checks::patch::endpoint_check(&list[0], &Default::default()).expect("a map");
    assert_eq!(
        instance(&patched),
        "tags:\n- kube_endpoint_ip:10.1.0.1\n- kube_namespace:shop\n- kube_service:web\nurl: http://10.1.0.1:8080/\n"
    );
}

#[test]
fn cluster_checks_18_resolve_ip_makes_plain_cluster_checks() {
    let mut catalog = catalog(Found::default());
    list_endpoints(&mut catalog, &[endpoints()]);
    let annotations = json!({"ad.datadoghq.com/endpoints.checks": CHECKS, "ad.datadoghq.com/endpoints.resolve": "ip"});
    apply_service(&mut catalog, annotations, json!({}));
    let list = changes(&mut catalog);
    assert_eq!(list.len(), 2);
    for configuration in &list {
        let patched =
            crate::checks::patch::cluster_check(configuration, &Default::default()).expect("a map");
        assert!(patched.node_name.is_empty() && patched.ad_identifiers.is_empty());
        assert!(instance(&patched).starts_with("empty_default_hostname: true\n"));
    }
}

#[test]
fn cluster_checks_19_an_address_without_a_pod_is_a_cluster_check() {
    let mut catalog = catalog(Found::default());
    let bare = json!({"metadata": {"namespace": "shop", "name": "web"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 1}]}]});
    list_endpoints(&mut catalog, &[bare]);
    apply_service(&mut catalog, json!({"ad.datadoghq.com/endpoints.checks": CHECKS}), json!({}));
    let list = changes(&mut catalog);
    assert_eq!((list.len(), list[0].node_name.as_str()), (1, ""));
}

#[test]
fn cluster_checks_20_only_ready_endpoints_of_a_slice_count() {
    let mut catalog = catalog(Found::default());
    let endpoint = |ip: &str, conditions: Value| json!({"addresses": [ip], "conditions": conditions, "nodeName": "n1"});
    let slice = json!({"metadata": {"namespace": "shop", "name": "web-x", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "", "port": 80}],
        "endpoints": [endpoint("10.1.0.1", json!({"ready": null})), endpoint("10.1.0.2", json!({"ready": false})),
            endpoint("10.1.0.3", json!({"ready": true, "terminating": true}))]});
    catalog.apply_endpoint_slice(&Event::Init);
    catalog
        .apply_endpoint_slice(&Event::InitApply(serde_json::from_value(slice).expect("a slice")));
    catalog.apply_endpoint_slice(&Event::InitDone);
    apply_service(&mut catalog, json!({"ad.datadoghq.com/endpoints.checks": CHECKS}), json!({}));
    let list = changes(&mut catalog);
    assert_eq!(list.len(), 1);
    assert!(instance(&list[0]).contains("kube_endpoint_ip:10.1.0.1"));
}

#[test]
fn a_relist_drops_what_is_gone_and_a_bad_service_is_explained() {
    let mut catalog = catalog(Found::default());
    list_endpoints(&mut catalog, &[]);
    apply_service(&mut catalog, json!({"ad.datadoghq.com/service.checks": "{"}), json!({}));
    assert!(changes(&mut catalog).is_empty());
    let error = &catalog.faults().errors["shop/web"];
    assert!(error.starts_with(
        "Cannot parse service template for service shop/web: cannot parse check configuration"
    ));
    catalog.apply_service(&Event::Init);
    catalog.apply_service(&Event::InitDone);
    assert_eq!(catalog.take_changes(&|_| None), [("service shop/web".to_owned(), Vec::new())]);
    assert!(catalog.faults().errors.is_empty());
}
