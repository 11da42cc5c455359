//! What the demonstration needs of a cluster, embedded or real.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::Value;

/// What one node Agent knows: namespace and pod → services.
pub type Services = BTreeMap<(String, String), BTreeSet<String>>;

/// A cluster, and the program in it.
pub trait World {
    /// What is there, in a few lines.
    fn describe(&self) -> Vec<String>;
    /// The token of node Agents.
    fn token(&self) -> &'static str;
    /// Starts the program and waits until it answers; gives the address of its API.
    fn start_program(&mut self) -> SocketAddr;
    /// Ends it with SIGTERM; an error when it does not exit with 0.
    fn end_program(&mut self) -> Result<(), String>;
    /// The nodes on which the two Agents are.
    fn nodes(&self) -> [String; 2];
    /// Gives an app of the shop this many pods.
    fn scale(&mut self, app: &str, replicas: usize);
    /// Puts a further service before an app.
    fn add_service(&mut self, name: &str, app: &str);
    /// Deletes a pod of an app, for which another one starts.
    fn replace_pod(&mut self, app: &str);
    /// Ends the API server without a word.
    fn stop_api_server(&mut self);
    /// Starts it again; watches cannot resume where they were.
    fn start_api_server(&mut self);
    /// Whether the endpoints follow from the pods and services already.
    fn is_settled(&self) -> bool;
    /// What the cluster's endpoints say of a node.
    fn expected(&self, node: &str) -> Services;
}

/// The services of a node's pods by a list of Endpoints objects.
pub fn services_of(node: &str, endpoints: &[Value]) -> Services {
    let mut services = Services::new();
    for object in endpoints {
        let service = object["metadata"]["name"].as_str().unwrap_or_default();
        let subsets = object["subsets"].as_array().into_iter().flatten();
        let addresses = subsets.flat_map(|subset| {
            let of = |key: &str| subset[key].as_array().cloned().unwrap_or_default();
            [of("addresses"), of("notReadyAddresses")].concat()
        });
        for address in addresses.filter(|address| address["nodeName"] == node) {
            let target = &address["targetRef"];
            if target["kind"] != "Pod" {
                continue;
            }
            let text = |key: &str| target[key].as_str().unwrap_or_default().to_owned();
            let pod = (text("namespace"), text("name"));
            services.entry(pod).or_default().insert(service.to_owned());
        }
    }
    services
}
