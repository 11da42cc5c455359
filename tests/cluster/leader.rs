//! Two and three replicas on a real control plane, each in a network namespace of its own: whatever happens to the
//! leader, there are never two, and another one takes over in time (spec events-and-leader §1.9, §1.10).
//!
//! `LEADER_LEASE_SECONDS=N` measures with another lease duration than the short one of an ordinary run.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    AUTH_TOKEN, Cluster, Command, NAME, Namespace, PATIENCE, Replica, install, wait_until,
};
use crate::leader_watch::{Observer, TOKEN_FILE};
use crate::support::node_agent::NodeAgent;

const BINARY: &str = env!("CARGO_BIN_EXE_datadog-cluster-agent");
const LOCK: &str = "datadog-leader-election";

/// What a loaded machine may add to any of the times: starved threads, a slow etcd.
const SLACK: Duration = Duration::from_secs(5);

/// No replica: whoever leads is the successor.
const ANYBODY: usize = usize::MAX;

/// Replicas, who watches them, and what was measured.
struct Stage<'a> {
    replicas: Vec<(String, Replica<'a>)>,
    observer: Observer,
    lease: Duration,
    rows: Vec<(String, Duration, Duration)>,
}

impl<'a> Stage<'a> {
    fn start(
        scope: &'a thread::Scope<'a, '_>,
        namespace: &'a Namespace<'a>,
        template: &Value,
        (kind, count): (&str, usize),
    ) -> Self {
        let seconds = std::env::var("LEADER_LEASE_SECONDS").ok().and_then(|text| text.parse().ok());
        let lease = Duration::from_secs(seconds.unwrap_or(3));
        let mut template = template.clone();
        let variables = template["spec"]["containers"][0]["env"].as_array_mut();
        let variables = variables.expect("the manifest sets variables");
        for (name, value) in [
            ("DD_LEADER_ELECTION_DEFAULT_RESOURCE", kind.to_lowercase()),
            ("DD_LEADER_LEASE_DURATION", lease.as_secs().to_string()),
            ("DD_AUTH_TOKEN_FILE_PATH", TOKEN_FILE.to_owned()),
            ("DD_CLUSTER_CHECKS_ENABLED", "true".to_owned()),
        ] {
            variables.push(json!({"name": name, "value": value}));
        }
        let observer = Observer::start(scope, namespace, kind, LOCK);
        let mut stage = Self { replicas: Vec::new(), observer, lease, rows: Vec::new() };
        for index in 0..count {
            let name = format!("dca-{index}");
            let command = Command { program: Path::new(BINARY), arguments: &["start"] };
            let mut replica = Replica::start(namespace, &name, &template, &command);
            stage.observer.watch(&name, replica.process().id());
            stage.replicas.push((name, replica));
        }
        stage
    }

    /// How long anything is waited for: what is promised, three times over.
    fn patience(&self) -> Duration {
        PATIENCE + 3 * self.bound_after_death()
    }

    /// The leader, as soon as there is one.
    fn leader(&self) -> usize {
        let leader = wait_until(self.patience(), "leader", || self.observer.leader().ok_or("none"));
        self.index(&leader)
    }

    fn index(&self, name: &str) -> usize {
        self.replicas.iter().position(|(replica, _)| replica == name).expect("a replica's name")
    }

    fn replica(&mut self, index: usize) -> &mut Replica<'a> {
        &mut self.replicas[index].1
    }

    /// Waits for the successor of `old` after `fault` and notes how long it took; it must not be longer than `bound`.
    fn expect_successor(&mut self, what: &str, old: usize, fault: Instant, bound: Duration) {
        let old = self.replicas.get(old).map(|(name, _)| name.clone()).unwrap_or_default();
        let (_, time) = wait_until(self.patience(), what, || {
            self.observer.successor(&old, fault).ok_or("nobody else leads")
        });
        self.note(what, time - fault, bound);
    }

    fn note(&mut self, what: &str, taken: Duration, bound: Duration) {
        assert!(taken <= bound + SLACK, "{what}: {taken:?}, at most {bound:?} is promised");
        self.rows.push((what.to_owned(), taken, bound));
    }

    /// Starts the replica's process again and waits until it follows.
    fn restart(&mut self, index: usize) {
        self.replica(index).restart();
        let id = self.replica(index).process().id();
        let name = self.replicas[index].0.clone();
        self.observer.watch(&name, id);
        self.expect_follower(index, Instant::now());
    }

    /// Waits until the replica, asked after `time`, says that it does not lead.
    fn expect_follower(&self, index: usize, time: Instant) {
        let name = &self.replicas[index].0;
        wait_until(self.patience(), "follower", || match self.observer.latest(name) {
            Some((asked, false, _)) if asked > time => Ok(()),
            other => Err(format!("{name}: {other:?}")),
        });
    }

    /// Waits until every replica takes the report of a runner, the followers by sending it on.
    fn expect_reports_reach(&self, leader: usize) {
        for (index, (name, replica)) in self.replicas.iter().enumerate() {
            let mut agent = NodeAgent::new((replica.address(), 5005).into(), AUTH_TOKEN);
            wait_until(self.patience(), "accepted report", || {
                let report = br#"{"last_change":0}"#;
                let answer = agent.post("/api/v1/clusterchecks/status/runner-1", report);
                let answer = answer.map_err(|error| error.to_string())?;
                let forwarded = answer.header("X-DCA-Forwarded") == Some("true");
                if answer.status == 200 && forwarded == (index != leader) {
                    return Ok(());
                }
                Err(format!("{name}: {} {:?} {}", answer.status, answer.headers, answer.text()))
            });
        }
    }

    /// Waits until all replicas give the same cluster id.
    fn expect_one_cluster_id(&self) {
        let ids = self.replicas.iter().map(|(_, replica)| {
            let mut agent = NodeAgent::new((replica.address(), 5005).into(), AUTH_TOKEN);
            wait_until(PATIENCE, "cluster id", || match agent.get("/api/v1/cluster/id") {
                Ok(answer) if answer.status == 200 => Ok(answer.text()),
                other => Err(format!("{other:?}")),
            })
        });
        let mut ids: Vec<String> = ids.collect();
        ids.dedup();
        assert_eq!(ids.len(), 1, "{ids:?}");
    }

    /// After a leader died: one candidate's pause to see its last record, the lease, another pause (spec §1.6).
    fn bound_after_death(&self) -> Duration {
        self.lease * 21 / 10
    }

    /// After a release: one candidate's pause.
    fn bound_after_release(&self) -> Duration {
        self.lease * 55 / 100
    }

    /// Shows what was measured and panics if there were ever two leaders.
    fn finish(self, title: &str) {
        println!("{title}, lease {} s", self.lease.as_secs());
        println!("{:<46} {:>8} {:>8}", "", "taken", "at most");
        for (what, taken, bound) in &self.rows {
            println!("{what:<46} {:>6.2} s {:>6.2} s", taken.as_secs_f64(), bound.as_secs_f64());
        }
        self.observer.finish();
    }
}

#[test]
fn three_replicas_never_have_two_leaders_and_soon_have_one() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("election");
    let template = install(&namespace);
    thread::scope(|scope| {
        let mut stage = Stage::start(scope, &namespace, &template, ("ConfigMap", 3));
        let (death, release) = (stage.bound_after_death(), stage.bound_after_release());

        let leader = stage.leader();
        stage.expect_reports_reach(leader);
        stage.expect_one_cluster_id();
        let fault = Instant::now();
        stage.replica(leader).process().kill();
        stage.expect_successor("leader killed (SIGKILL)", leader, fault, death);
        stage.restart(leader);
        // The followers notice at their next look at the lock, and then look the address up.
        stage.expect_reports_reach(stage.leader());
        let noticed = death + stage.lease * 55 / 100;
        stage.note("  … and followers send reports on to the next", fault.elapsed(), noticed);

        let leader = stage.leader();
        let fault = Instant::now();
        let status = stage.replica(leader).process().terminate();
        assert!(status.success(), "{status}");
        stage.expect_successor("leader stopped in order (SIGTERM)", leader, fault, release);
        stage.restart(leader);

        let leader = stage.leader();
        let fault = Instant::now();
        stage.replica(leader).process().freeze();
        stage.expect_successor("leader frozen (SIGSTOP)", leader, fault, death);
        let thawed = Instant::now();
        stage.replica(leader).process().thaw();
        stage.expect_follower(leader, thawed);

        let leader = stage.leader();
        let fault = Instant::now();
        stage.replica(leader).cut();
        stage.expect_successor("leader's link cut", leader, fault, death);
        stage.replica(leader).heal();
        stage.expect_follower(leader, Instant::now());

        // The lock may not be touched by anybody: the leader ends by itself, and says why.
        let leader = stage.leader();
        let binding = namespace.path("RoleBinding", NAME);
        let kept = cluster.api().get(&binding).expect("the manifests have one");
        let fault = Instant::now();
        cluster.api().delete(&binding).expect("it is there");
        stage.expect_follower(leader, fault);
        stage.note("leader's rights revoked: it ends", fault.elapsed(), stage.lease * 3 / 4);
        for (name, _) in &stage.replicas {
            wait_until(stage.patience(), "explanation", || match stage.observer.latest(name) {
                Some((_, false, error)) if error.contains(r#"resources ["configmaps"] verbs"#) => {
                    Ok(())
                }
                other => Err(format!("{name}: {other:?}")),
            });
        }
        let healed = Instant::now();
        namespace.apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": NAME}, "roleRef": kept["roleRef"], "subjects": kept["subjects"],
        }));
        stage.expect_successor("rights given back: somebody leads", ANYBODY, healed, death);
        stage.finish("three replicas, ConfigMap");
    });
}

#[test]
fn two_replicas_outlive_a_restart_of_the_api_server() {
    let cluster = Cluster::own();
    let namespace = cluster.namespace("election");
    let template = install(&namespace);
    thread::scope(|scope| {
        let mut stage = Stage::start(scope, &namespace, &template, ("Lease", 2));
        let leader = stage.leader();
        let fault = Instant::now();
        cluster.control_plane().api_server.kill();
        stage.expect_follower(leader, fault);
        stage.note("API server killed: the leader ends", fault.elapsed(), stage.lease * 3 / 4);
        cluster.control_plane().api_server.restart();
        cluster.wait_ready();
        let ready = Instant::now();
        let bound = stage.bound_after_death();
        stage.expect_successor("API server back: somebody leads", ANYBODY, ready, bound);
        stage.finish("two replicas, Lease");
    });
}
