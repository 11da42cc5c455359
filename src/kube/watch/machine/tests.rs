use super::*;
use crate::kube::error::Status;

const SECOND: Duration = Duration::from_secs(1);

fn machine(relist_every: Option<Duration>) -> Machine {
    Machine::new(relist_every, Random::from_seed(7))
}

fn page(version: &str, token: Option<&str>) -> Page {
    Page { version: version.to_owned(), continue_token: token.map(str::to_owned) }
}

fn list(token: Option<&str>) -> Action {
    Action::List { continue_token: token.map(str::to_owned) }
}

fn changed(version: &str) -> Line {
    Line::Changed { change: Change::Modified, version: version.to_owned() }
}

fn bookmark(version: &str) -> Line {
    Line::Bookmark { version: version.to_owned() }
}

fn failed(code: u16) -> Line {
    Line::Failed(Status { code, ..Status::default() })
}

fn gone() -> Cause {
    Cause::Gone { message: String::new() }
}

fn unavailable() -> Cause {
    Cause::from_status(503, Status::default(), None)
}

/// A machine whose watch from version 5 has just been opened at `now`, and the time asked for.
fn watching(now: Instant) -> (Machine, Duration) {
    let mut machine = machine(None);
    machine.next(now);
    machine.page_done(now, page("5", None));
    let Action::Watch { version, time } = machine.next(now) else { panic!("it watches") };
    machine.watch_opened(now, version, time);
    (machine, time)
}

/// What comes after the pause, which has to be there.
#[track_caller]
fn after_pause(machine: &mut Machine, now: Instant) -> Action {
    let Action::Pause(pause) = machine.next(now) else { panic!("there is no pause") };
    assert!(pause <= PAUSES.1, "{pause:?}");
    machine.next(now + pause)
}

#[track_caller]
fn assert_watches_from(action: &Action, expected: &str) {
    assert!(
        matches!(action, Action::Watch { version, .. } if version == expected),
        "{action:?} instead of a watch from {expected}"
    );
}

#[test]
fn pages_are_fetched_until_the_last_and_then_watched() {
    let now = Instant::now();
    let mut machine = machine(None);
    assert_eq!(machine.next(now), list(None));
    assert!(!machine.page_done(now, page("5", Some("a"))));
    assert_eq!(machine.next(now), list(Some("a")));
    assert!(machine.page_done(now, page("5", None)));
    let Action::Watch { version, time } = machine.next(now) else { panic!("it watches") };
    assert_eq!(version, "5");
    assert!(time <= WATCH_TIME && time >= WATCH_TIME - WATCH_JITTER, "{time:?}");
}

#[test]
fn an_expired_or_cut_page_starts_the_list_over() {
    let now = Instant::now();
    for cause in [gone(), unavailable(), Cause::NotFound] {
        let mut machine = machine(None);
        machine.next(now);
        machine.page_done(now, page("5", Some("a")));
        machine.list_failed(now, &cause);
        assert_eq!(after_pause(&mut machine, now), list(None), "after {cause:?}");
    }
}

#[test]
fn a_watch_goes_on_from_the_last_version_it_heard() {
    let now = Instant::now();
    for (line, version) in [(changed("6"), "6"), (bookmark("9"), "9"), (changed(""), "5")] {
        let (mut machine, time) = watching(now);
        machine.line(now, line);
        machine.watch_ended(now + time, End::Closed);
        assert_watches_from(&machine.next(now + time), version);
    }
}

#[test]
fn a_broken_watch_goes_on_after_a_pause() {
    let now = Instant::now();
    let (mut machine, _) = watching(now);
    machine.line(now, changed("6"));
    machine.watch_ended(now, End::Broken);
    assert_watches_from(&after_pause(&mut machine, now), "6");
}

#[test]
fn a_watch_that_is_closed_at_once_is_not_asked_for_in_a_loop() {
    let now = Instant::now();
    let (mut machine, _) = watching(now);
    machine.watch_ended(now, End::Closed);
    assert_watches_from(&after_pause(&mut machine, now), "5");
}

#[test]
fn a_lost_version_leads_to_a_new_list() {
    let now = Instant::now();
    let rejected = Cause::from_status(400, Status::default(), None);
    for cause in [gone(), rejected] {
        let (mut machine, time) = watching(now);
        machine.line(now, changed("6"));
        machine.watch_ended(now + time, End::Closed);
        machine.next(now + time);
        machine.watch_refused(now + time, &cause);
        assert_eq!(after_pause(&mut machine, now + time), list(None), "after {cause:?}");
    }
    let (mut machine, _) = watching(now);
    assert!(matches!(machine.line(now, failed(410)), Heard::Failed(Cause::Gone { .. })));
    machine.watch_ended(now, End::Broken);
    assert_eq!(after_pause(&mut machine, now), list(None));
}

#[test]
fn other_refusals_keep_the_version() {
    let now = Instant::now();
    for code in [401, 403, 429, 500] {
        let (mut machine, _) = watching(now);
        machine.line(now, changed("6"));
        assert!(matches!(machine.line(now, failed(code)), Heard::Failed(_)));
        assert_watches_from(&after_pause(&mut machine, now), "6");
        machine.watch_refused(now, &Cause::from_status(code, Status::default(), None));
        assert_watches_from(&after_pause(&mut machine, now), "6");
    }
}

#[test]
fn the_server_decides_how_long_it_is_left_alone_up_to_a_minute() {
    let now = Instant::now();
    for (asked, least) in [(20, 20), (3600, 60)] {
        let mut machine = machine(None);
        machine.next(now);
        machine.list_failed(now, &Cause::from_status(429, Status::default(), Some(asked)));
        assert_eq!(machine.next(now), Action::Pause(Duration::from_secs(least)));
    }
}

#[test]
fn pauses_grow_over_failing_watches_though_lists_succeed() {
    let now = Instant::now();
    let mut machine = machine(None);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        assert_eq!(machine.next(now), list(None));
        machine.page_done(now, page("5", None));
        machine.watch_refused(now, &gone());
        let Action::Pause(pause) = machine.next(now) else { panic!("there is no pause") };
        pauses.push(pause);
        machine.pause_until = None;
    }
    assert!(pauses[5] >= PAUSES.1 / 2 && pauses[0] <= PAUSES.0, "{pauses:?}");

    machine.state = State::InitListed { version: "5".to_owned() };
    machine.watch_opened(now, "5".to_owned(), WATCH_TIME);
    machine.line(now, changed("6"));
    machine.watch_ended(now, End::Broken);
    assert!(matches!(machine.next(now), Action::Pause(pause) if pause <= PAUSES.0));
}

#[test]
fn silence_is_death_after_the_servers_time_or_after_missed_bookmarks() {
    let now = Instant::now();
    let (mut machine, time) = watching(now);
    assert!(!machine.is_stalled(now + time + GRACE - SECOND));
    assert!(machine.is_stalled(now + time + GRACE));

    machine.line(now + SECOND, bookmark("9"));
    assert!(!machine.is_stalled(now + BOOKMARK_SILENCE));
    assert!(machine.is_stalled(now + SECOND + BOOKMARK_SILENCE));
}

#[test]
fn a_long_watch_in_silence_proves_nothing_and_is_listed_anew() {
    let now = Instant::now();
    let (mut machine, time) = watching(now);
    machine.watch_ended(now + time, End::Closed);
    assert_eq!(machine.next(now + time), list(None));
}

#[test]
fn a_relist_is_due_each_period_and_ends_the_watch_before_it() {
    let now = Instant::now();
    let period = Duration::from_secs(100);
    let mut machine = machine(Some(period));
    machine.next(now);
    machine.page_done(now, page("5", None));
    let Action::Watch { version, time } = machine.next(now) else { panic!("it watches") };
    assert!(time >= period && time <= period + period / 10, "{time:?}");
    machine.watch_opened(now, version, time);
    machine.line(now, changed("6"));
    let due = now + period + period / 10;
    machine.watch_ended(due, End::Closed);
    assert_eq!(machine.next(due), list(None));
}

#[test]
fn a_refused_watch_is_still_listed_anew_when_that_is_due() {
    let now = Instant::now();
    let mut machine = machine(Some(100 * SECOND));
    machine.next(now);
    machine.page_done(now, page("5", None));
    machine.watch_refused(now, &Cause::from_status(403, Status::default(), None));
    assert_eq!(machine.next(now + 111 * SECOND), list(None));
}

#[test]
fn lines_of_a_closed_watch_and_unknown_types_change_nothing() {
    let now = Instant::now();
    let (mut machine, _) = watching(now);
    assert!(matches!(machine.line(now, Line::Unknown("NEWS".to_owned())), Heard::Nothing));
    assert_eq!(machine.version(), "5");
    machine.watch_ended(now, End::Broken);
    assert!(matches!(machine.line(now, changed("9")), Heard::Nothing));
    assert_eq!(machine.version(), "5");
}
