//! Makes the archive for support (spec cli §2.2, §7): what the routes show goes in with what the process adds.
//!
//! The body of the request is not read: other programs send profiles of a runtime that is not there. `?form=bytes`
//! answers with the archive itself instead of its path, for processes that can write no file.

use serde::de::DeserializeOwned;
use serde_json::json as document;

use super::pods;
use crate::checks::report::{self, ClusterState, ConfigCheck, ConfigurationList};
use crate::flare::Document;
use crate::http::Response;
use crate::http::message::{json, owned};
use crate::node_api::NodeApi;
use crate::node_api::routes::Call;
use crate::status::metadata_mapper::{Answer, render};

/// The archive's path as plain text, or its bytes.
pub fn make(api: &NodeApi, call: &Call<'_>) -> Response {
    let operator = &api.parts.operator;
    let documents = documents(api, call);
    if call.request.query_values("form").iter().any(|form| form == "bytes") {
        return match operator.flare_bytes(documents) {
            Ok(bytes) => owned(200, "application/zip", bytes),
            Err(reason) => failure(&reason),
        };
    }
    match operator.flare(documents) {
        Ok(path) => owned(200, "text/plain; charset=utf-8", path.into_bytes()),
        Err(reason) => failure(&reason),
    }
}

fn failure(reason: &str) -> Response {
    json(500, &document!({"error": reason}))
}

fn documents(api: &NodeApi, call: &Call<'_>) -> Vec<Document> {
    let map = pods::of_all_nodes(api, call);
    // A map that is not there yet is a document of the same form, and says why.
    let map = serde_json::from_slice::<Answer>(map.into_reader().bytes());
    let mut documents = vec![
        Document {
            name: "cluster-agent-metadatamapper.log",
            text: map.map(|map| render(&map)).map_err(|error| error.to_string()),
        },
        Document { name: "telemetry.log", text: Ok(api.parts.telemetry.render()) },
    ];
    let Some(checks) = &api.parts.checks else { return documents };
    let text = parsed(checks.config_check())
        .map(|answer: ConfigCheck| report::config_check(&answer, true));
    documents.push(Document { name: "config-check.log", text });
    let nodes =
        parsed(checks.state()).map(|state: ClusterState| report::cluster_checks(&state, None));
    let text = nodes.and_then(|nodes| {
        let list: ConfigurationList = parsed(checks.all_endpoint_configs())?;
        Ok(nodes + &report::endpoint_checks(&list, None))
    });
    documents.push(Document { name: "clusterchecks.log", text });
    documents
}

/// The document of an answer, or the sentence that it has instead.
fn parsed<T: DeserializeOwned>(answer: Response) -> Result<T, String> {
    let served = answer.status_code().0 == 200;
    let body = answer.into_reader();
    if !served {
        return Err(String::from_utf8_lossy(body.bytes()).trim().to_owned());
    }
    serde_json::from_slice(body.bytes()).map_err(|error| error.to_string())
}
