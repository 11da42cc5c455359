//! The contract of `tests/support/contract.rs`, held to the embedded server.

use crate::support::api_server::Server;
use crate::support::contract::{ApiServer, contract_tests};

struct Embedded(Server);

impl ApiServer for Embedded {
    fn url(&self) -> String {
        self.0.url()
    }

    fn token(&self) -> String {
        Server::ADMINISTRATOR_TOKEN.to_owned()
    }

    fn powerless(&self) -> (String, String) {
        self.0.faults().deny("*", "*");
        let user = "system:serviceaccount:default:datadog-cluster-agent";
        (Server::TOKEN.to_owned(), user.to_owned())
    }

    fn authority(&self) -> Option<String> {
        self.0.authority().map(str::to_owned)
    }

    fn compact(&self) {
        self.0.compact();
    }
}

contract_tests!(Embedded(Server::start()));
contract_tests!(Embedded(Server::start()); an_old_version_expires,);
