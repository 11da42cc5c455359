//! Events in, assignments out; no server and no clock but the one passed in.

use super::*;
use crate::checks::patch::ExtraTags;
use crate::retry::Random;

struct World {
    dispatcher: Dispatcher,
    start: Instant,
    elapsed: Duration,
}

impl World {
    fn new() -> Self {
        let settings = Settings {
            node_expiration: Duration::from_secs(30),
            warmup: Duration::from_secs(30),
            unscheduled_threshold: Duration::from_secs(60),
            excluded_checks: BTreeSet::from(["secret_check".to_owned()]),
            extra_tags: ExtraTags::default(),
        };
        Self {
            dispatcher: Dispatcher::new(settings),
            start: Instant::now(),
            elapsed: Duration::ZERO,
        }
    }

    /// A leader whose warm-up is over, with `nodes` reporting and `checks` wanted.
    fn active(nodes: &[&str], checks: usize) -> Self {
        let mut world = Self::new();
        let now = world.now();
        world.dispatcher.lead(now);
        world.want(0..checks);
        world.pass(30, nodes);
        world
    }

    fn now(&self) -> Now {
        Now {
            monotonic: self.start + self.elapsed,
            unix_nanoseconds: 1_700_000_000_000_000_000 + self.elapsed.as_nanos() as i64,
        }
    }

    /// Lets seconds pass with `reporting` nodes alive, ticking each second.
    fn pass(&mut self, seconds: u64, reporting: &[&str]) {
        for _ in 0..seconds {
            self.elapsed += Duration::from_secs(1);
            for node in reporting {
                self.report(node, -1);
            }
            let now = self.now();
            self.dispatcher.tick(now);
        }
    }

    fn want(&mut self, checks: impl IntoIterator<Item = usize>) {
        let wanted: Vec<Configuration> = checks.into_iter().map(check).collect();
        self.give(&wanted);
    }

    fn give(&mut self, wanted: &[Configuration]) {
        let now = self.now();
        self.dispatcher.replace("test", wanted, now);
        self.dispatcher.complete();
    }

    fn report(&mut self, node: &str, last_change: i64) -> bool {
        let now = self.now();
        self.dispatcher.report(node, None, last_change, now).expect("this replica leads")
    }

    fn version(&self, node: &str) -> i64 {
        self.dispatcher.configurations(node).expect("the node is known").0
    }

    fn names(&self, node: &str) -> Vec<String> {
        let (_, list) = self.dispatcher.configurations(node).expect("the node is known");
        list.iter().map(|configuration| configuration.name.clone()).collect()
    }

    fn counts(&self) -> Vec<usize> {
        self.dispatcher.assignments().map(|(_, digests)| digests.len()).collect()
    }
}

fn check(number: usize) -> Configuration {
    Configuration {
        name: format!("check{number}"),
        instances: vec![format!("port: {number}\n").into_bytes()],
        cluster_check: true,
        source: "file:/etc/datadog-agent/conf.d/x.yaml".to_owned(),
        ..Configuration::default()
    }
}

#[test]
fn cluster_checks_21_a_new_node_with_nothing_assigned_is_up_to_date() {
    let mut world = World::active(&["a"], 0);
    assert!(world.report("b", 0));
}

#[test]
fn cluster_checks_22_agents_keep_what_they_have_until_the_warm_up_is_over() {
    let mut world = World::new();
    let now = world.now();
    world.dispatcher.lead(now);
    world.want(0..2);
    assert!(world.report("a", 123), "during the warm-up everybody is up to date");
    assert_eq!(world.dispatcher.configurations("a").err(), Some(NotServed::StartingUp));
    world.pass(30, &["a"]);
    assert!(!world.report("a", 123));
    assert_eq!(world.names("a").len(), 2);
    let version = world.version("a");
    assert!(world.report("a", version));
}

#[test]
fn the_warm_up_does_not_end_before_the_sources_are_complete() {
    let mut world = World::new();
    let now = world.now();
    world.dispatcher.lead(now);
    world.pass(100, &["a"]);
    assert!(world.report("a", 123));
    assert_eq!(world.dispatcher.endpoint_configurations("a").err(), Some(NotServed::StartingUp));
    world.want(0..1);
    world.pass(1, &["a"]);
    assert_eq!(world.names("a"), ["check0"]);
}

#[test]
fn cluster_checks_23_an_extra_heartbeat_postpones_expiry_without_a_verdict() {
    let mut world = World::active(&["a"], 1);
    world.pass(29, &[]);
    assert!(world.report("a", -1));
    world.pass(29, &[]);
    assert_eq!(world.names("a"), ["check0"]);
}

#[test]
fn cluster_checks_24_two_changes_at_one_moment_are_two_versions() {
    let mut world = World::active(&["a"], 1);
    let first = world.version("a");
    world.want(0..2);
    let second = world.version("a");
    world.want(0..3);
    assert!(first < second && second < world.version("a"));
}

#[test]
fn cluster_checks_27_a_silent_node_loses_its_checks_to_the_others() {
    let mut world = World::active(&["a", "b"], 4);
    assert_eq!(world.counts(), [2, 2]);
    world.pass(31, &["b"]);
    assert_eq!(world.counts(), [4]);
    assert_eq!(world.dispatcher.configurations("a").err(), Some(NotServed::UnknownNode));
}

#[test]
fn cluster_checks_28_a_dangling_check_is_placed_when_a_node_joins() {
    let mut world = World::active(&[], 1);
    assert_eq!(world.dispatcher.dangling().count(), 1);
    assert!(!world.report("a", 0), "the check is there at once, not at the next tick");
    assert_eq!(world.names("a"), ["check0"]);
    assert_eq!(world.dispatcher.dangling().count(), 0);
}

#[test]
fn cluster_checks_29_a_changed_configuration_replaces_the_old_one() {
    let mut world = World::active(&["a"], 1);
    let before = world.version("a");
    let mut changed = check(0);
    changed.instances = vec![b"port: 9\n".to_vec()];
    world.give(&[changed.clone(), changed]);
    let (after, list) = world.dispatcher.configurations("a").expect("the node is known");
    assert!(after > before);
    assert_eq!(list.len(), 1, "no duplicate");
    assert_eq!(list[0].instances[0], b"empty_default_hostname: true\nport: 9\n");
}

#[test]
fn cluster_checks_31_a_new_term_warms_up_again_and_serves_no_empty_list() {
    let mut world = World::active(&["a"], 2);
    world.dispatcher.follow();
    let now = world.now();
    assert_eq!(world.dispatcher.report("a", None, 5, now), Err(NotServed::StartingUp));
    world.dispatcher.lead(now);
    assert!(world.report("a", 5));
    assert_eq!(world.dispatcher.configurations("a").err(), Some(NotServed::StartingUp));
    world.pass(30, &["a"]);
    assert_eq!(world.names("a").len(), 2);
}

#[test]
fn the_order_of_tags_makes_no_new_configuration() {
    let mut world = World::active(&["a"], 0);
    let mut tagged = check(0);
    tagged.instances = vec![b"tags: [a, b]\n".to_vec()];
    world.give(std::slice::from_ref(&tagged));
    let version = world.version("a");
    tagged.instances = vec![b"tags: [b, a]\n".to_vec()];
    world.give(&[tagged]);
    assert_eq!(world.version("a"), version);
}

#[test]
fn what_two_sources_want_stays_until_both_let_it_go() {
    let mut world = World::active(&["a"], 1);
    let version = world.version("a");
    let now = world.now();
    world.dispatcher.replace("other", &[check(0)], now);
    world.want([]);
    assert_eq!((world.version("a"), world.names("a").len()), (version, 1));
    world.dispatcher.replace("other", &[], now);
    assert!(world.names("a").is_empty());
}

#[test]
fn excluded_and_local_checks_are_not_dispatched() {
    let mut world = World::active(&["a"], 0);
    let excluded = Configuration { name: "secret_check".to_owned(), ..check(0) };
    let local = Configuration { cluster_check: false, ..check(1) };
    let hidden = Configuration { metrics_excluded: true, ..check(2) };
    world.give(&[excluded, local, hidden]);
    assert_eq!(world.counts(), [0]);
}

#[test]
fn endpoint_checks_go_to_the_node_of_their_pod_whoever_leads() {
    let mut world = World::new();
    let on_node = Configuration {
        node_name: "n1".to_owned(),
        ad_identifiers: vec!["kubernetes_pod://1".to_owned()],
        ..check(0)
    };
    world.give(&[on_node]);
    let list = world.dispatcher.endpoint_configurations("n1").expect("the sources are complete");
    assert_eq!((list.len(), list[0].instances[0].as_slice()), (1, b"port: 0\n".as_slice()));
    assert!(world.dispatcher.endpoint_configurations("n2").expect("complete").is_empty());
}

#[test]
fn a_check_that_dangles_for_long_is_reported_once() {
    let mut world = World::active(&[], 1);
    world.pass(120, &[]);
    let notices = world.dispatcher.take_notices();
    let unscheduled =
        notices.iter().filter(|notice| matches!(notice, Notice::Unscheduled(..))).count();
    assert_eq!(unscheduled, 1);
}

/// Random joins, deaths, changes and terms; the seed is printed so that a failure can be replayed.
#[test]
fn model_every_check_is_on_exactly_one_live_node_and_only_a_departure_moves_it() {
    let seed =
        std::env::var("MODEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_240_501);
    println!("MODEL_SEED={seed}");
    let mut random = Random::from_seed(seed);
    let names: Vec<String> = (0..8).map(|number| format!("node{number}")).collect();
    let mut world = World::active(&[], 0);
    let mut alive: BTreeSet<&str> = BTreeSet::new();
    let mut wanted: BTreeSet<usize> = BTreeSet::new();
    let mut before: BTreeMap<Digest, String> = BTreeMap::new();
    for step in 0..800 {
        let node = names[random.below(8) as usize].as_str();
        let number = random.below(40) as usize;
        match random.below(4) {
            0 => drop(alive.insert(node)),
            1 => drop(alive.remove(node)),
            2 => drop(wanted.insert(number)),
            _ => drop(wanted.remove(&number)),
        }
        world.want(wanted.iter().copied());
        let reporting: Vec<&str> = alive.iter().copied().collect();
        world.pass(random.below(20), &reporting);

        let mut placed: BTreeMap<Digest, String> = BTreeMap::new();
        for (node, digests) in world.dispatcher.assignments() {
            for digest in digests {
                let twice = placed.insert(*digest, node.to_owned());
                assert!(twice.is_none(), "step {step}: {digest} is on {twice:?} and on {node}");
            }
        }
        let dangling = world.dispatcher.dangling().count();
        assert_eq!(
            placed.len() + dangling,
            wanted.len(),
            "step {step}: nothing is lost and nothing doubled"
        );
        let live: BTreeSet<String> =
            world.dispatcher.assignments().map(|(node, _)| node.to_owned()).collect();
        assert!(
            dangling == 0 || live.is_empty(),
            "step {step}: nothing dangles while a node is there"
        );
        for (digest, node) in &before {
            let stays = !live.contains(node) || placed.get(digest).is_none_or(|now| now == node);
            assert!(stays, "step {step}: {digest} moved away from {node}, which is alive");
        }
        before = placed;
    }
}
