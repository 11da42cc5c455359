//! `scripts/demo`: the program between a small shop's cluster and two node Agents, while the cluster changes.
//!
//! One Agent polls over REST as releases around 7.50 do, the other holds the gRPC stream as the newest do. Every step
//! changes the cluster, waits until both know exactly what the cluster's own endpoints say, and prints when each of them
//! learned what. A step that does not get there within its limit ends the demonstration with exit code 1.

mod agents;
mod embedded;
#[path = "../cluster/harness/mod.rs"]
mod harness;
mod real;
mod screen;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use agents::{Agent, Way};
use screen::Screen;
use world::World;

/// How long any step may take, on a loaded machine and against a real control plane.
const LIMIT: Duration = Duration::from_secs(60);
/// How long the API server stays away: longer than the program's first attempts to reach it again.
const OUTAGE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let screen = Screen::new();
    let mut world: Box<dyn World> = match &arguments[..] {
        [program] => Box::new(embedded::Embedded::start(program.into())),
        [program, real] if real == "--real" => {
            println!(
                "starting etcd, the API server, its controllers and three nodes (10 to 20 seconds)"
            );
            Box::new(real::Real::start(program.into()))
        }
        _ => {
            eprintln!("usage: demo PROGRAM [--real]");
            return ExitCode::from(2);
        }
    };
    match show(&screen, world.as_mut()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            screen.problem(&what);
            ExitCode::FAILURE
        }
    }
}

/// Plays the whole demonstration; the error says what did not happen.
fn show(screen: &Screen, world: &mut dyn World) -> Result<(), String> {
    screen.title("A cluster with a small shop");
    for line in world.describe() {
        screen.say("cluster", &line);
    }

    screen.title("The program starts");
    let start = Instant::now();
    let address = world.start_program();
    screen.say("program", &format!("answers https://{address}/version {}", screen::after(start)));

    screen.title("Two node Agents connect");
    let [first, second] = world.nodes();
    let token = world.token();
    let agents = [
        Agent::start(Way::Poll, &first, address, token, screen),
        Agent::start(Way::Stream, &second, address, token, screen),
    ];
    settle(screen, world, &agents, start)?;

    step(screen, world, &agents, "Scale cart from 2 to 4 pods", |world| world.scale("cart", 4))?;
    step(screen, world, &agents, "Add a service cart-canary in front of the same pods", |world| {
        world.add_service("cart-canary", "cart");
    })?;
    step(screen, world, &agents, "Delete a payments pod, a replacement starts", |world| {
        world.replace_pod("payments");
    })?;

    screen.title(&format!("The API server goes away for {} s", OUTAGE.as_secs()));
    world.stop_api_server();
    screen.say("cluster", "the API server is gone");
    let before: Vec<u64> = agents.iter().map(Agent::answers).collect();
    std::thread::sleep(OUTAGE);
    let polls = agents[0].answers() - before[0];
    screen.say(agents[0].name(), &format!("asked {polls} times meanwhile and got every answer"));
    screen.say(agents[1].name(), "keeps its stream, and what it knows");
    if polls == 0 || agents.iter().any(|agent| agent.failures() > 0) {
        return Err("an Agent went without an answer".to_owned());
    }

    let back = Instant::now();
    world.start_api_server();
    screen.say(
        "cluster",
        "the API server is back, its history is gone, and checkout has a third pod",
    );
    world.scale("checkout", 3);
    settle(screen, world, &agents, back)?;

    screen.title("The program is asked to end (SIGTERM)");
    let asked = Instant::now();
    drop(agents);
    world.end_program()?;
    screen.say("program", &format!("exited with code 0 {}", screen::after(asked)));
    Ok(())
}

fn step(
    screen: &Screen,
    world: &mut dyn World,
    agents: &[Agent],
    title: &str,
    change: impl FnOnce(&mut dyn World),
) -> Result<(), String> {
    screen.title(title);
    let start = Instant::now();
    screen.start_clock();
    change(world);
    settle(screen, world, agents, start)
}

/// Waits until every Agent knows exactly what the cluster's endpoints say of its node.
fn settle(
    screen: &Screen,
    world: &dyn World,
    agents: &[Agent],
    start: Instant,
) -> Result<(), String> {
    let mut told = Instant::now();
    loop {
        let settled = world.is_settled()
            && agents
                .iter()
                .all(|agent| agent.known().as_ref() == Some(&world.expected(agent.node())));
        if settled {
            screen.say("", &format!("both Agents agree with the cluster {}", screen::after(start)));
            screen.pause();
            return Ok(());
        }
        if start.elapsed() > LIMIT {
            return Err(format!("the Agents do not know what the cluster says after {LIMIT:?}"));
        }
        if told.elapsed() > Duration::from_secs(1) {
            told = Instant::now();
            screen.say("", &format!("waiting ({} s)", start.elapsed().as_secs()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
