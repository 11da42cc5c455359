//! The contract of `tests/support/contract.rs`, held to a real API server: what the embedded one is compared with.

use std::ops::Deref;

use serde_json::json;

use crate::harness::{Cluster, PATIENCE, wait_until};
use crate::support::contract::{ApiServer, contract_tests};

/// Name of the service accounts of these tests and of the binding of the powerful one.
const ADMINISTRATOR: &str = "contract-administrator";
const POWERLESS: &str = "contract-powerless";

struct Real<C>(C);

impl<C: Deref<Target = Cluster>> ApiServer for Real<C> {
    fn url(&self) -> String {
        self.0.api_base()
    }

    fn token(&self) -> String {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": ADMINISTRATOR},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": ADMINISTRATOR}],
        });
        self.0.api().apply(&binding).expect("an administrator may bind");
        let token = service_account_token(&self.0, ADMINISTRATOR);
        let api = self.0.api_as(token.clone());
        wait_until(PATIENCE, "rights of the binding", || api.get("/api/v1/nodes"));
        token
    }

    fn powerless(&self) -> (String, String) {
        let token = service_account_token(&self.0, POWERLESS);
        (token, format!("system:serviceaccount:default:{POWERLESS}"))
    }

    fn authority(&self) -> Option<String> {
        Some(self.0.authority())
    }

    /// The API server has a history of its own, which goes with a restart.
    fn compact(&self) {
        self.0.compact();
        self.0.control_plane().api_server.restart();
        self.0.wait_ready();
    }
}

contract_tests!(Real(Cluster::shared()));
contract_tests!(Real(Cluster::own()); an_old_version_expires,);

fn service_account_token(cluster: &Cluster, name: &str) -> String {
    let metadata = json!({"name": name, "namespace": "default"});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
    cluster.api().apply(&account).expect("an administrator may");
    cluster.api().token("default", name, None).expect("the service account is there")
}
