//! What is measured, one function a group of rows; each says on standard error what it is doing, and for how long.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Programs;
use super::chart::{self, Line};
use super::crowd::{Crowd, POLL_INTERVAL, percentile};
use super::process::{self, Peer};
use super::support::api_server::population::{Size, namespace_of};
use super::support::program::{Program, Settings};
use super::sync::{Cluster, Reading, megabytes, wait_for};
use super::table::{self, Row};
use super::throughput;

/// What a run gives.
pub struct Measured {
    /// The rows.
    pub rows: Vec<Row>,
    /// The growth chart as SVG, where growth was measured.
    pub chart: Option<String>,
}

/// Connected Agents of the full cluster, half of them on the stream.
const AGENTS: usize = 1_000;
/// Agents of the poll-only row.
const MANY_AGENTS: usize = 5_000;
/// Pod changes a second and how long they go on.
const CHANGES: (u32, Duration) = (100, Duration::from_secs(20));
/// Sizes of the growth rows in percent.
const GROWTH: [usize; 3] = [10, 100, 300];

impl Measured {
    /// The page for `docs/`.
    pub fn markdown(&self) -> String {
        format!(
            "# Benchmarks\n\nWritten by `scripts/bench` on {}.\n\n{}\n\
             ![Memory and processor time over the size of the cluster](growth.svg)\n",
            machine(),
            table::markdown(&self.rows)
        )
    }
}

/// The groups of rows, by which a run can be limited.
const GROUPS: [&str; 8] =
    ["image", "start", "sync", "full", "streams", "many", "requests", "growth"];

/// Measures the named groups, or all where none is named.
pub fn groups(programs: &Programs, names: &[String]) -> Result<Measured, String> {
    if let Some(unknown) = names.iter().find(|name| !GROUPS.contains(&name.as_str())) {
        return Err(format!("there is no group {unknown}, only {}", GROUPS.join(", ")));
    }
    let wanted = |group: &str| names.is_empty() || names.iter().any(|name| name == group);
    let mut rows = vec![];
    if wanted("image") {
        rows.extend(image(programs)?);
    }
    if wanted("start") {
        rows.extend(start_and_idle(programs)?);
    }
    if ["sync", "full", "streams", "many", "requests"].into_iter().any(wanted) {
        let what = "filling 1,000 nodes, 10,000 pods, 2,000 services";
        let cluster = stage(what, || Ok(Cluster::new(Size::FULL)))?;
        let on_cluster: [(&str, OnCluster); 5] = [
            ("sync", first_sync),
            ("full", full_cluster),
            ("streams", streams_under_change),
            ("many", many_polling_agents),
            ("requests", requests_a_second),
        ];
        for (_, measure) in on_cluster.into_iter().filter(|(group, _)| wanted(group)) {
            rows.extend(measure(programs, &cluster)?);
        }
    }
    let mut chart = None;
    if wanted("growth") {
        let (growth_rows, svg) = growth(programs)?;
        rows.extend(growth_rows);
        chart = Some(svg);
    }
    Ok(Measured { rows, chart })
}

type OnCluster = fn(&Programs, &Cluster) -> Result<Vec<Row>, String>;

fn image(programs: &Programs) -> Result<Vec<Row>, String> {
    let unpacked = megabytes(&programs.ours)?;
    let bytes = std::fs::read(&programs.ours).map_err(|error| error.to_string())?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let packed = packed.write_all(&bytes).and_then(|()| packed.finish());
    let packed = packed.map_err(|error| error.to_string())?.len() as f64 / 1e6;
    Ok(vec![
        Row::new("static binary, all of the image", format!("{unpacked:.2} MB"))
            .budget("≤ 5 MB", unpacked <= 5.0),
        Row::new("the same, gzip", format!("{packed:.2} MB")).budget("≤ 2.5 MB", packed <= 2.5),
    ])
}

fn start_and_idle(programs: &Programs) -> Result<Vec<Row>, String> {
    let cluster = Cluster::new(Size { nodes: 0, pods: 0, services: 0 });
    let start = stage("starting 10 times", || {
        let mut times = Vec::new();
        for _ in 0..10 {
            let start = Instant::now();
            let program =
                Program::spawn(&programs.ours, &cluster.kubeconfig(), &Settings::default());
            let mut agent = program.node_agent();
            wait_for(
                || agent.get("/version").is_ok_and(|answer| answer.status == 200),
                "the program answers",
            )?;
            times.push(start.elapsed());
        }
        times.sort();
        Ok(times[times.len() / 2])
    })?;
    let (memory, share, peer_memory, peer_share) =
        stage("idling at an empty cluster for 2 × 20 s", || {
            let program =
                Program::start(&programs.ours, &cluster.kubeconfig(), &Settings::default());
            program.wait_synced();
            std::thread::sleep(Duration::from_secs(2));
            let share = process::processor_share(program.id(), Duration::from_secs(20));
            let memory = process::resident(program.id());
            drop(program);
            let (peer, reading) = cluster.read_by_informers(programs)?;
            let peer_share = process::processor_share(peer.id(), Duration::from_secs(20));
            Ok((memory, share, reading.resident, peer_share))
        })?;
    let milliseconds = start.as_secs_f64() * 1e3;
    Ok(vec![
        Row::new("process start to first answer (median of 10)", format!("{milliseconds:.1} ms"))
            .budget("≤ 20 ms", milliseconds <= 20.0),
        Row::new("idle, empty cluster: RSS", format!("{memory:.1} MiB"))
            .peer(format!("{peer_memory:.1} MiB (client-go)"), memory, peer_memory)
            .budget("≤ 8 MB", memory <= 8e6 / 1_048_576.0),
        Row::new("idle, empty cluster: CPU", format!("{share:.2} %"))
            .peer(format!("{peer_share:.2} % (client-go)"), share, peer_share)
            .budget("≤ 0.1 % of a core", share <= 0.1),
    ])
}

fn first_sync(programs: &Programs, cluster: &Cluster) -> Result<Vec<Row>, String> {
    stage("reading the full cluster 3 times by the program, curl and client-go", || {
        let (mut ours, mut curl, mut peers) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            cluster.server.clear_log();
            let (program, reading) = cluster.read_by_program(programs)?;
            drop(program);
            ours.push(reading.time);
            let targets = cluster.listed();
            curl.push(cluster.download_by_curl(&targets)?);
            peers.push(cluster.read_by_informers(programs)?.1.time);
        }
        let [ours, curl, peers] = [ours, curl, peers].map(|mut times| {
            times.sort();
            times[times.len() / 2].as_secs_f64() * 1e3
        });
        Ok(vec![
            Row::new("first full sync, from process start", format!("{ours:.0} ms"))
                .peer(format!("{curl:.0} ms (curl, same lists)"), ours, curl)
                .budget("≤ 1.3 × curl", ours <= 1.3 * curl),
            Row::new("the same beside informers", format!("{ours:.0} ms")).peer(
                format!("{peers:.0} ms (client-go)"),
                ours,
                peers,
            ),
        ])
    })
}

fn full_cluster(programs: &Programs, cluster: &Cluster) -> Result<Vec<Row>, String> {
    let (program, reading) =
        stage("reading the full cluster", || cluster.read_by_program(programs))?;
    let (_, theirs) = stage("the same by client-go", || cluster.read_by_informers(programs))?;
    let id = program.id();
    let mut crowd = Crowd::new();
    let (memory, share) = stage("1,000 Agents, half of them on the stream, for 40 s", || {
        crowd.add_polling(program.address(), AGENTS / 2, cluster.size.nodes);
        crowd.add_streaming(program.address(), AGENTS / 2..AGENTS);
        crowd.wait_connected()?;
        std::thread::sleep(POLL_INTERVAL);
        let share = process::processor_share(id, Duration::from_secs(30));
        Ok((process::resident(id), share))
    })?;
    let failed = crowd.failed();
    let (peak, steady) = stage("reading it again after an expired watch", || {
        let steady = process::resident(id);
        process::reset_peak(id);
        cluster.server.go_down();
        cluster.server.delete("nodes", "", "node-0");
        cluster.server.compact();
        cluster.server.clear_log();
        cluster.server.come_back();
        let watches = || {
            let log = cluster.server.log();
            let of_endpoints =
                log.iter().filter(|request| request.target.starts_with("/api/v1/endpoints?"));
            of_endpoints.filter(|request| request.target.contains("watch=")).count()
        };
        // The first watch meets the 410, the second one follows the new list.
        wait_for(|| watches() >= 2, "the program watches again")?;
        std::thread::sleep(Duration::from_secs(2));
        cluster.server.add_node("node-0");
        Ok((process::peak(id), steady))
    })?;
    Ok(vec![
        Row::new(
            "1,000 nodes, 10,000 pods, 2,000 services: RSS, no Agents",
            format!("{:.1} MiB", reading.resident),
        )
        .peer(
            format!("{:.1} MiB (client-go)", theirs.resident),
            reading.resident,
            theirs.resident,
        ),
        Row::new("the same with 1,000 Agents: RSS", format!("{memory:.1} MiB"))
            .budget("≤ 80 MB", memory <= 80e6 / 1_048_576.0),
        Row::new("the same: CPU", format!("{share:.2} %")).budget("≤ 3 % of a core", share <= 3.0),
        Row::new("the same: failed requests and streams", failed.to_string())
            .budget("0", failed == 0),
        Row::new("peak RSS while it is read again", format!("{peak:.1} MiB of {steady:.1} MiB"))
            .budget("≤ 1.2 × steady", peak <= 1.2 * steady),
    ])
}

fn streams_under_change(programs: &Programs, cluster: &Cluster) -> Result<Vec<Row>, String> {
    let (program, reading) =
        stage("reading the full cluster", || cluster.read_by_program(programs))?;
    let id = program.id();
    stage("1,000 streams, then 100 pod changes a second for 20 s", || {
        let mut crowd = Crowd::new();
        crowd.add_streaming(program.address(), 0..AGENTS);
        crowd.wait_connected()?;
        std::thread::sleep(Duration::from_secs(2));
        let each = (process::resident(id) - reading.resident) * 1024.0 / AGENTS as f64;
        let (before, start) = (process::processor_time(id), Instant::now());
        let issued = change_pods(cluster);
        let share = (process::processor_time(id) - before) / start.elapsed().as_secs_f64() * 100.0;
        std::thread::sleep(Duration::from_secs(3));
        let seen = crowd.seen();
        let missing = issued.iter().filter(|(pod, _)| !seen.contains_key(pod)).count();
        let mut delays: Vec<Duration> = issued
            .iter()
            .filter_map(|(pod, issued)| {
                seen.get(pod).map(|seen| seen.saturating_duration_since(*issued))
            })
            .collect();
        delays.sort();
        let slowest = delays.last().copied().unwrap_or_default();
        Ok(vec![
            Row::new(
                format!("{} changes at 1,000 streams: p50, p99, slowest", issued.len()),
                format!(
                    "{:.0}, {:.0}, {:.0} ms",
                    percentile(&delays, 50).as_secs_f64() * 1e3,
                    percentile(&delays, 99).as_secs_f64() * 1e3,
                    slowest.as_secs_f64() * 1e3
                ),
            )
            .budget("every one ≤ 1 s", missing == 0 && slowest <= Duration::from_secs(1)),
            Row::new("the same: RSS of a stream", format!("{each:.1} KiB"))
                .budget("≤ 80 KiB", each <= 80.0),
            Row::new("the same: CPU", format!("{share:.1} %"))
                .budget("≤ 10 % of a core", share <= 10.0),
        ])
    })
}

/// Adds and deletes pods in turn, 100 changes a second; gives the added ones and when.
fn change_pods(cluster: &Cluster) -> Vec<(String, Instant)> {
    let (rate, duration) = CHANGES;
    let mut issued = Vec::new();
    let mut old: Vec<(String, String)> = Vec::new();
    let start = Instant::now();
    for number in 0.. {
        let due = start + Duration::from_secs(1) * number / rate;
        if due > start + duration {
            break;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let service = number as usize % cluster.size.services;
        let namespace = namespace_of(service);
        if number % 2 == 1 && old.len() > 100 {
            let (namespace, pod) = old.remove(0);
            cluster.server.delete("pods", &namespace, &pod);
        } else {
            let now = Instant::now();
            let node = format!("node-{}", number as usize * 7 % cluster.size.nodes);
            let pod = cluster.server.add_pod(&namespace, &format!("app-{service}"), &node);
            issued.push((pod.clone(), now));
            old.push((namespace, pod));
        }
    }
    issued
}

fn many_polling_agents(programs: &Programs, cluster: &Cluster) -> Result<Vec<Row>, String> {
    // A quarter of the connections may come from one address; these Agents all have the same one.
    let connections = (MANY_AGENTS * 5).to_string();
    let settings = Settings::default().set("DD_CLUSTER_AGENT_MAX_CONNECTIONS", &connections);
    let (program, _) =
        stage("reading the full cluster", || cluster.read_by_program_with(programs, &settings))?;
    stage("5,000 Agents that poll every 10 s, for 30 s", || {
        let mut crowd = Crowd::new();
        crowd.add_polling(program.address(), MANY_AGENTS, cluster.size.nodes);
        crowd.wait_connected()?;
        std::thread::sleep(POLL_INTERVAL);
        crowd.reset();
        let share = process::processor_share(program.id(), Duration::from_secs(30));
        let memory = process::resident(program.id());
        let latencies = crowd.latencies();
        let p99 = percentile(&latencies, 99).as_secs_f64() * 1e3;
        let failed = crowd.failed();
        let what = format!("5,000 polling Agents: p50, p99 of {} polls", latencies.len());
        let p50 = percentile(&latencies, 50).as_secs_f64() * 1e3;
        Ok(vec![
            Row::new(what, format!("{p50:.2}, {p99:.2} ms"))
                .budget("p99 ≤ 5 ms, all served", p99 <= 5.0 && failed == 0),
            Row::new("the same: RSS, CPU", format!("{memory:.0} MiB, {share:.1} %"))
                .budget("≤ 250 MB", memory <= 250e6 / 1_048_576.0),
        ])
    })
}

fn requests_a_second(programs: &Programs, cluster: &Cluster) -> Result<Vec<Row>, String> {
    let (program, _) = stage("reading the full cluster", || cluster.read_by_program(programs))?;
    stage(
        "requests per second of processor time, 3 rounds of 5 s for each of three servers",
        || {
            let path = "/api/v1/tags/pod/node-1";
            let body = program.node_agent().get(path).map_err(|error| error.to_string())?.body;
            let measured =
                throughput::measure(program.address(), program.id(), path, &body, &programs.peers)?;
            let row = |what: &str, peer: &str, theirs: f64, at_least: f64| {
                Row::new(what, format!("{:.0}/s", measured.ours))
                    .peer(format!("{theirs:.0}/s ({peer})"), measured.ours, theirs)
                    .budget(format!("≥ {at_least:.1} ×"), measured.ours >= at_least * theirs)
            };
            Ok(vec![
                row(
                    "small GET, keep-alive TLS, per second of processor time",
                    "Go net/http",
                    measured.go,
                    1.0,
                ),
                row("the same", "nginx, one worker", measured.nginx, 0.8),
            ])
        },
    )
}

fn growth(programs: &Programs) -> Result<(Vec<Row>, String), String> {
    let mut rows = Vec::new();
    let mut readings: Vec<(f64, Reading, Reading)> = Vec::new();
    for percent in GROWTH {
        let (ours, theirs) = stage(&format!("growth: {percent} % of the full cluster"), || {
            let cluster = Cluster::new(Size::percent(percent));
            let (program, ours) = cluster.read_by_program(programs)?;
            drop(program);
            let (peer, theirs): (Peer, Reading) = cluster.read_by_informers(programs)?;
            drop(peer);
            Ok((ours, theirs))
        })?;
        rows.push(
            Row::new(
                format!("growth, {percent} %: RSS, CPU to read it"),
                format!("{:.1} MiB, {:.2} s", ours.resident, ours.processor),
            )
            .peer(
                format!("{:.1} MiB, {:.2} s (client-go)", theirs.resident, theirs.processor),
                ours.resident,
                theirs.resident,
            ),
        );
        readings.push((percent as f64, ours, theirs));
    }
    let line = |name, colour, value: &dyn Fn(&(f64, Reading, Reading)) -> f64| Line {
        name,
        colour,
        points: readings.iter().map(|reading| (reading.0, value(reading))).collect(),
    };
    let chart = chart::svg(
        &[
            line("this program", "#1b7f3b", &|reading| reading.1.resident),
            line("client-go informers", "#b3402a", &|reading| reading.2.resident),
        ],
        &[
            line("this program", "#1b7f3b", &|reading| reading.1.processor),
            line("client-go informers", "#b3402a", &|reading| reading.2.processor),
        ],
    );
    Ok((rows, chart))
}

/// Says what is going on, and for how long it went.
fn stage<T>(what: &str, run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    eprint!("scripts/bench: {what} … ");
    let start = Instant::now();
    let result = run().map_err(|why| format!("{what}: {why}"));
    eprintln!("{:.1} s", start.elapsed().as_secs_f64());
    result
}

/// The machine in a few words.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = Command::new("uname").args(["-s", "-r", "-m"]).output();
    let kernel = kernel.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or_default().to_owned();
    format!("{}, {cores} cores, load {load} at the end", kernel.unwrap_or_default())
}
