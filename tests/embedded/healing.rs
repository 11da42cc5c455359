//! Whatever the API server does: answers stay complete, and the program catches up by itself.
//!
//! The program reads Endpoints, which is its default; slices take the same way through the watch.

use std::time::Duration;

use serde_json::json;

use crate::stage::{Stage, Steady, expect_services};
use crate::support::api_server::{Fault, Requests, Server};
use crate::support::program::{PATIENCE, Program};
use crate::support::wait;

const ENDPOINTS: &str = "endpoints";

/// Answers that are asked for while a fault lasts.
const MEANWHILE: u64 = 50;

/// Breaks something, changes the cluster meanwhile, mends it, and expects every answer on the way to be complete and
/// the change to arrive.
fn survive(breaks: impl FnOnce(&Stage, &Program), mends: impl FnOnce(&Stage)) {
    let stage = Stage::new();
    let program = stage.start();
    let steady = Steady::start(&program, "node-a");
    steady.ask(1);
    breaks(&stage, &program);
    let added = stage.server.add_pod("shop", "cart", "node-a");
    stage.wait_for_endpoints("cart", 3);
    steady.ask(MEANWHILE);
    mends(&stage);
    let pods = json!({stage.pods[0].clone(): {"cart": {}}, added: {"cart": {}}});
    expect_services(&program, "node-a", &json!({"shop": pods}));
    steady.stop();
}

fn fail_all(stage: &Stage, fault: Fault) {
    stage.server.faults().add(Requests::of("list", ""), fault.clone(), None);
    stage.server.faults().add(Requests::of("watch", ""), fault, None);
    stage.server.drop_connections();
}

fn clear(stage: &Stage) {
    stage.server.faults().clear();
}

#[test]
fn node_api_21_an_expired_watch_relists_without_an_empty_moment() {
    let stage = Stage::new();
    let gone = stage.server.add_pod("shop", "cart", "node-a");
    stage.wait_for_endpoints("cart", 3);
    let program = stage.start();
    let kept = &stage.pods[0];
    expect_services(
        &program,
        "node-a",
        &json!({"shop": {kept: {"cart": {}}, gone.clone(): {"cart": {}}}}),
    );
    let steady = Steady::start(&program, "node-a");
    steady.ask(1);

    // While nobody watches, an object goes and its history with it.
    stage.server.go_down();
    stage.server.delete("pods", "shop", &gone);
    stage.wait_for_endpoints("cart", 2);
    stage.server.compact();
    stage.server.clear_log();
    stage.server.come_back();
    expect_services(&program, "node-a", &json!({"shop": {kept: {"cart": {}}}}));
    steady.stop();
    let log = stage.server.log();
    let lists = log.iter().filter(|request| {
        request.target.contains("/endpoints?") && !request.target.contains("watch=")
    });
    assert!(lists.count() > 0, "it was read again after the 410");
}

#[test]
fn a_watch_cut_in_the_middle_of_a_line_is_resumed() {
    survive(
        |stage, _| {
            wait::until("the endpoints are watched", PATIENCE, || {
                stage.server.cut_watches(ENDPOINTS) > 0
            });
        },
        |_| {},
    );
}

#[test]
fn a_watch_that_ends_is_resumed_without_a_new_list() {
    let stage = Stage::new();
    let program = stage.start();
    stage.server.clear_log();
    wait::until("the endpoints are watched", PATIENCE, || stage.server.end_watches(ENDPOINTS) > 0);
    let added = stage.server.add_pod("shop", "cart", "node-a");
    let pods = json!({stage.pods[0].clone(): {"cart": {}}, added: {"cart": {}}});
    expect_services(&program, "node-a", &json!({"shop": pods}));
    let log = stage.server.log();
    let lists = log.iter().filter(|request| {
        request.target.contains("/endpoints") && !request.target.contains("watch=")
    });
    assert_eq!(lists.count(), 0, "resumed from its version");
}

#[test]
fn expired_answers_of_every_kind_heal() {
    survive(|stage, _| fail_all(stage, Fault::Expired), clear);
}

#[test]
fn garbage_is_not_taken_for_an_empty_cluster() {
    survive(|stage, _| fail_all(stage, Fault::Garbage), clear);
}

#[test]
fn a_list_cut_short_is_not_taken_for_a_small_cluster() {
    survive(|stage, _| fail_all(stage, Fault::Cut(120)), clear);
}

#[test]
fn errors_of_the_server_heal() {
    survive(|stage, _| fail_all(stage, Fault::Status(500)), clear);
}

#[test]
fn a_busy_server_heals() {
    survive(|stage, _| fail_all(stage, Fault::TooManyRequests(1)), clear);
}

#[test]
fn slow_answers_heal() {
    survive(|stage, _| fail_all(stage, Fault::Delay(Duration::from_millis(700))), |_| {});
}

#[test]
fn an_api_server_that_is_killed_and_comes_back_heals() {
    survive(|stage, _| stage.server.go_down(), |stage| stage.server.come_back());
}

#[test]
fn a_frozen_api_server_heals_when_it_thaws() {
    survive(|stage, _| stage.server.freeze(), |stage| stage.server.thaw());
}

#[test]
fn a_permission_that_is_taken_away_is_named_and_heals_when_it_is_back() {
    survive(
        |stage, program| {
            stage.server.faults().deny("*", ENDPOINTS);
            stage.server.drop_connections();
            program.wait_for_log("endpoints");
        },
        |stage| stage.server.faults().allow("*", ENDPOINTS),
    );
}

#[test]
fn a_permission_that_is_missing_from_the_start_is_named_and_heals() {
    let stage = Stage::new();
    stage.server.faults().deny("list", "nodes");
    let program = stage.start_with(&crate::support::program::Settings::default());
    program.wait_for_log("nodes");
    stage.server.faults().allow("list", "nodes");
    program.wait_synced();
    let mut agent = program.node_agent();
    wait::until("the node's labels are known", PATIENCE, || {
        agent.get("/api/v1/tags/node/node-a").is_ok_and(|answer| answer.status == 200)
    });
}

#[test]
fn a_rotated_token_is_read_again() {
    survive(
        |stage, _| {
            let user = crate::support::api_server::access::User::service_account(
                "default",
                "datadog-cluster-agent",
            );
            stage.server.tokens().add("the-next-token", user);
            stage.server.tokens().revoke(Server::TOKEN);
            stage.server.drop_connections();
            stage.write_token("the-next-token");
        },
        |_| {},
    );
}
