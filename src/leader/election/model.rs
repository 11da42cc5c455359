//! The model test: many replicas, one lock, and everything that can go wrong between them.
//!
//! Each schedule is one seed. It draws two to four replicas with clocks of their own (offset, rate, a calendar that
//! jumps), a network that delays, loses and reorders requests and answers, a server that fails before or after it did
//! what it was asked, foreign edits of the lock object, and replicas that are paused, killed, stopped in order and
//! started again. After every answer at most one replica may believe that it leads, paused ones included. Then the
//! faults end, and a leader must be there within the bound of the specification and must stay.
//!
//! `LEADER_MODEL_SCHEDULES=N` runs more (or fewer), `LEADER_MODEL_SEED=S` starts at that seed: the first schedule of such
//! a run is the one that a failure named.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Action, Answer, Call, Election, Settings, Snapshot};
use crate::leader::record::{Contents, LockKind, Record};
use crate::retry::Random;

/// The schedules of an ordinary run.
const SCHEDULES: u64 = 100_000;

/// Clock rates lie within this many parts of a million around the true one: two replicas differ by up to a factor of
/// 1.22, and the algorithm tolerates L / (3L/4) = 1.33.
const RATE_SKEW: u64 = 100_000;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// True time, in microseconds.
type Time = u64;

struct Model {
    random: Random,
    now: Time,
    /// When the faults end.
    calm: Time,
    /// Time and index of each event to come: a plain number orders quickly.
    queue: BinaryHeap<Reverse<u128>>,
    /// The replica and the event of each index.
    events: Vec<Option<(usize, Event)>>,
    server: Server,
    replicas: Vec<Replica>,
    faults: Faults,
}

/// How often what goes wrong, in percent.
#[derive(Clone, Copy)]
struct Faults {
    lost_request: u64,
    lost_answer: u64,
    late: u64,
    refused: u64,
    /// The longest ordinary delay of one direction.
    delay: Time,
    /// The longest delay of a late message.
    lateness: Time,
}

#[derive(Default)]
struct Server {
    version: u64,
    record: Option<Record>,
    exists: bool,
}

struct Replica {
    election: Option<Election<u64>>,
    settings: Settings,
    /// Rises with every start, so that events of an earlier life are recognised.
    life: u64,
    call: u64,
    calling: bool,
    stopping: bool,
    offset: Time,
    /// Local microseconds in a million true ones.
    rate: u64,
    wall: i64,
    paused_until: Time,
}

enum Event {
    Wake {
        life: u64,
    },
    /// A request reaches the server; its answer, if there is one, reaches the replica at the given time.
    Arrive {
        life: u64,
        call: u64,
        request: Request,
        answer: Option<Time>,
    },
    Reply {
        life: u64,
        call: u64,
        reply: Reply,
    },
    GiveUp {
        life: u64,
        call: u64,
    },
    Pause(Time),
    Kill {
        back: Time,
    },
    Stop {
        back: Time,
    },
    Start,
    JumpWall(i64),
    EditLock,
}

enum Request {
    Get,
    Create(Record),
    Update(u64, Record),
    /// Answered with an error that says nothing about the effect.
    Refused,
}

enum Reply {
    Found(u64, Option<Record>),
    Missing,
    Conflict,
    Failed,
}

#[test]
fn at_no_instant_two_replicas_lead() {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    let schedules = number("LEADER_MODEL_SCHEDULES").unwrap_or(SCHEDULES);
    let first =
        number("LEADER_MODEL_SEED").unwrap_or_else(|| Random::from_entropy().next_u64() >> 1);
    println!("{schedules} schedules from LEADER_MODEL_SEED={first}");
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4) as u64;
    std::thread::scope(|scope| {
        for worker in 0..workers {
            scope.spawn(move || {
                for index in (worker..schedules).step_by(workers as usize) {
                    let seed = first.wrapping_add(index);
                    if let Err(broken) = Model::new(seed).run() {
                        panic!("LEADER_MODEL_SEED={seed}: {broken}");
                    }
                }
            });
        }
    });
}

impl Model {
    fn new(seed: u64) -> Self {
        // Neighbouring seeds of a xorshift begin alike; a multiplication and a few rounds separate them.
        let mut random = Random::from_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995);
        for _ in 0..4 {
            random.next_u64();
        }
        let lease = [1, 2, 4, 15, 60][random.below(5) as usize];
        let second = 1_000_000;
        let count = 2 + random.below(3) as usize;
        let kind = [LockKind::ConfigMap, LockKind::Lease][random.below(2) as usize];
        let mixed = random.below(4) == 0;
        let longest = if mixed { lease * 2 } else { lease };
        let wild = random.below(3);
        let mut model = Model {
            now: 0,
            calm: longest * second * (1 + random.below(3)),
            queue: BinaryHeap::new(),
            events: Vec::new(),
            server: Server::default(),
            replicas: Vec::new(),
            faults: Faults {
                lost_request: random.below(1 + 15 * wild),
                lost_answer: random.below(1 + 15 * wild),
                late: random.below(1 + 10 * wild),
                refused: random.below(1 + 15 * wild),
                delay: 1_000 + random.below(lease * second / 8),
                lateness: 1 + random.below(lease * second * 3),
            },
            random,
        };
        for name in NAMES.iter().take(count) {
            let lease = if mixed { lease * (1 + model.random.below(2)) } else { lease };
            let settings = Settings {
                identity: (*name).to_owned(),
                lease: Duration::from_secs(lease),
                kind,
                release: model.random.below(4) > 0,
            };
            model.replicas.push(Replica {
                election: None,
                settings,
                life: 0,
                call: 0,
                calling: false,
                stopping: false,
                offset: model.random.below(1_000 * second),
                rate: 1_000_000 - RATE_SKEW + model.random.below(2 * RATE_SKEW),
                wall: 1_700_000_000_000_000 + model.random.below(second) as i64,
                paused_until: 0,
            });
        }
        // The last replica always comes back; each of the others may be gone for good.
        for replica in 0..count {
            let mortal = replica + 1 < count;
            model.misfortunes(replica, longest * second, mortal);
        }
        model
    }

    /// Draws what happens to one replica.
    fn misfortunes(&mut self, replica: usize, lease: Time, mortal: bool) {
        let start = self.random.below(lease);
        self.at(start, replica, Event::Start);
        for _ in 0..self.random.below(4) {
            let when = self.random.below(self.calm);
            // Whoever comes back does so before the faults end.
            let back = self.calm.min(when + self.random.below(lease * 2));
            let event = match self.random.below(7) {
                0 | 1 => Event::Pause(back),
                2 => Event::Kill { back },
                3 => Event::Stop { back },
                4 => {
                    // Sometimes by whole seconds, so that a timestamp could come up twice.
                    let jump = self.random.below(4 * lease) as i64 - 2 * lease as i64;
                    let whole = self.random.below(2) == 0;
                    Event::JumpWall(if whole { jump - jump % 1_000_000 } else { jump })
                }
                5 if mortal => Event::Kill { back: Time::MAX },
                _ => Event::EditLock,
            };
            self.at(when, replica, event);
        }
    }

    fn at(&mut self, time: Time, replica: usize, event: Event) {
        self.queue.push(Reverse(u128::from(time) << 64 | self.events.len() as u128));
        self.events.push(Some((replica, event)));
    }

    fn run(mut self) -> Result<(), String> {
        let longest =
            self.replicas.iter().map(|replica| replica.settings.lease).max().unwrap_or_default();
        // A candidate's longest pause, a whole lease, another pause, on the slowest clock; and the calls of two attempts.
        let bound = (longest.as_micros() as u64) * 21 / 10 * 1_000_000 / (1_000_000 - RATE_SKEW);
        let deadline = self.calm + bound + 8 * (2 * CALM_DELAY + 1);
        let end = deadline + longest.as_micros() as u64;
        let mut leader_since = None;
        while let Some(Reverse(key)) = self.queue.pop() {
            let time = (key >> 64) as Time;
            let event = self.events[key as u64 as usize].take();
            let Some((replica, event)) = event.filter(|_| time <= end) else { break };
            self.now = time;
            if self.replicas[replica].paused_until > time && event.needs_the_process() {
                let until = self.replicas[replica].paused_until;
                self.at(until, replica, event);
                continue;
            }
            self.happen(replica, event);
            let leaders = self.leaders();
            if leaders.len() > 1 {
                return Err(format!("at {time} µs {leaders:?} lead: {}", self.describe()));
            }
            if time > self.calm {
                match (leaders.is_empty(), leader_since) {
                    (false, None) => leader_since = Some(time),
                    (true, Some(since)) if time > deadline => {
                        return Err(format!("nobody leads at {time} µs, after {since}"));
                    }
                    (true, None) if time > deadline => {
                        return Err(format!("nobody leads at {time} µs, calm since {}", self.calm));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The replicas that believe in their leadership at this moment; an empty list costs no allocation.
    fn leaders(&self) -> Vec<&str> {
        let leads = |replica: &&Replica| {
            let leading = replica.election.as_ref().and_then(|election| election.leading);
            leading.is_some_and(|leading| replica.local(self.now) < leading.until)
        };
        self.replicas
            .iter()
            .filter(leads)
            .map(|replica| replica.settings.identity.as_str())
            .collect()
    }

    fn describe(&self) -> String {
        let roles = self.replicas.iter().map(|replica| {
            format!(
                "{} {:?} {:?}",
                replica.settings.identity,
                replica.election.as_ref().map(Election::role),
                replica.local(self.now)
            )
        });
        format!("{:?} {:?}", self.server.record, roles.collect::<Vec<_>>())
    }

    fn happen(&mut self, index: usize, event: Event) {
        let now = self.now;
        let replica = &mut self.replicas[index];
        match event {
            Event::Start => {
                let random = Random::from_seed(self.random.next_u64());
                let begin = replica.local(now);
                replica.election = Some(Election::new(replica.settings.clone(), random, begin));
                replica.life += 1;
                (replica.calling, replica.stopping) = (false, false);
                self.poll(index);
            }
            Event::Wake { life } if life == replica.life && !replica.calling => self.poll(index),
            Event::Wake { .. } => {}
            Event::Arrive { life, call, request, answer } => {
                let reply = self.server.handle(request);
                if let Some(time) = answer {
                    self.at(time, index, Event::Reply { life, call, reply });
                }
            }
            Event::Reply { life, call, reply } => self.replied(index, life, call, reply),
            Event::GiveUp { life, call } => self.replied(index, life, call, Reply::Failed),
            Event::Pause(until) => replica.paused_until = until.max(replica.paused_until),
            Event::Kill { back } => {
                replica.election = None;
                replica.life += 1;
                self.at(back, index, Event::Start);
            }
            Event::Stop { back } => {
                replica.stopping = true;
                if !replica.calling {
                    self.poll(index);
                }
                // Cut off when it takes longer, as by a kill after the grace period.
                self.at(back.max(now), index, Event::Kill { back: back.max(now) });
            }
            Event::JumpWall(by) => replica.wall += by,
            Event::EditLock => self.server.version += 1,
        }
    }

    fn replied(&mut self, index: usize, life: u64, call: u64, reply: Reply) {
        let replica = &mut self.replicas[index];
        if (replica.life, replica.call, replica.calling) != (life, call, true) {
            return;
        }
        replica.calling = false;
        let now = replica.local(self.now);
        if let Some(election) = &mut replica.election {
            election.answer(now, reply.into());
            self.poll(index);
        }
    }

    fn poll(&mut self, index: usize) {
        let now = self.now;
        let replica = &mut self.replicas[index];
        let (time, wall) = (replica.local(now), replica.wall(now));
        let life = replica.life;
        let Some(election) = &mut replica.election else { return };
        if replica.stopping {
            election.stop(time);
        }
        match election.poll(time, wall) {
            Action::Finished => {}
            Action::Sleep { until } => {
                let wake = now + replica.true_time(until - time);
                self.at(wake, index, Event::Wake { life });
            }
            Action::Call { call, timeout } => {
                replica.call += 1;
                replica.calling = true;
                let number = replica.call;
                let patience = replica.true_time(timeout);
                let life = replica.life;
                self.send(index, life, number, Request::from(call), patience);
            }
        }
    }

    /// Draws the fate of a call: when its request arrives, when its answer does, and when the replica gives up.
    fn send(&mut self, index: usize, life: u64, call: u64, mut request: Request, patience: Time) {
        let (now, calm) = (self.now, self.calm);
        let mut arrival = now + self.delay();
        let mut answer = Some(arrival + self.delay());
        let mut patience = patience;
        if now < calm {
            let Faults { lost_request, lost_answer, late, refused, lateness, .. } = self.faults;
            let drawn = self.random.below(100);
            let mut share = 0;
            let mut is = |percent| {
                share += percent;
                drawn < share
            };
            if is(refused) {
                // Half of these take effect all the same.
                if self.random.below(2) == 0 {
                    request = Request::Refused;
                }
                answer = None;
                patience = patience.min(self.random.below(patience + 1));
            } else if is(lost_request) {
                arrival = Time::MAX;
                answer = None;
            } else if is(lost_answer) {
                answer = None;
            } else if is(late) {
                arrival = now + self.random.below(lateness);
                answer = Some(arrival + self.random.below(lateness));
            }
            // The end of the faults is also the end of what is under way: connections are reset.
            patience = patience.min(calm - now);
            if arrival < Time::MAX {
                arrival = arrival.min(calm);
            }
        }
        if arrival < Time::MAX {
            self.at(arrival, index, Event::Arrive { life, call, request, answer });
        }
        if answer.is_none_or(|time| time > now + patience) {
            self.at(now + patience, index, Event::GiveUp { life, call });
        }
    }

    fn delay(&mut self) -> Time {
        if self.now < self.calm { self.random.below(self.faults.delay) } else { CALM_DELAY }
    }
}

/// One direction of a call when nothing is wrong.
const CALM_DELAY: Time = 1_000;

impl Event {
    fn needs_the_process(&self) -> bool {
        matches!(
            self,
            Event::Wake { .. } | Event::Reply { .. } | Event::GiveUp { .. } | Event::Stop { .. }
        )
    }
}

impl Replica {
    fn local(&self, now: Time) -> Duration {
        Duration::from_micros(self.offset + now * self.rate / 1_000_000)
    }

    /// How long a local duration takes, rounded up so that it is over when the replica looks.
    fn true_time(&self, local: Duration) -> Time {
        (local.as_nanos() as u64 / 1_000 + 1) * 1_000_000 / self.rate + 1
    }

    fn wall(&self, now: Time) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros((self.wall + now as i64).max(0) as u64)
    }
}

impl Server {
    /// The optimistic concurrency of both lock kinds: a write needs the version it is based on.
    fn handle(&mut self, request: Request) -> Reply {
        match request {
            Request::Refused => Reply::Failed,
            Request::Get if !self.exists => Reply::Missing,
            Request::Get => self.found(),
            Request::Create(_) if self.exists => Reply::Conflict,
            Request::Update(..) if !self.exists => Reply::Missing,
            Request::Update(version, _) if version != self.version => Reply::Conflict,
            Request::Create(record) | Request::Update(_, record) => {
                self.exists = true;
                self.version += 1;
                self.record = Some(record);
                self.found()
            }
        }
    }

    fn found(&self) -> Reply {
        Reply::Found(self.version, self.record.clone())
    }
}

impl From<Call<u64>> for Request {
    fn from(call: Call<u64>) -> Self {
        match call {
            Call::Get => Request::Get,
            Call::Create(record) => Request::Create(record),
            Call::Update { object, record } => Request::Update(object, record),
        }
    }
}

impl From<Reply> for Answer<u64> {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Found(version, record) => {
                // The same distinctions as the text on the wire, which has a microsecond's precision in both kinds.
                let fingerprint = record.as_ref().map_or_else(String::new, |record| {
                    format!("{}{}{:?}", record.holder, record.transitions, record.renewed)
                });
                let contents = record.map_or(Contents::Empty, Contents::Record);
                Answer::Found(Snapshot { object: version, contents, fingerprint })
            }
            Reply::Missing => Answer::Missing,
            Reply::Conflict => Answer::Conflict,
            Reply::Failed => Answer::Failed,
        }
    }
}
