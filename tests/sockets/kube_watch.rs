//! The watch loop against API servers that cut, stall, forget and refuse.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cluster_agent::kube::objects::Node;
use cluster_agent::kube::status::{Activity, WatchStatus};
use cluster_agent::kube::watch::{self, OnRefusal, Outcome, Spec};
use cluster_agent::kube::{Cause, Client, Settings};
use cluster_agent::sync::{Stop, StopSource};
use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::kube_server::{
    PATIENCE, Server, answer, chunk, chunked, hold, line, node, page, send, status, word,
};

/// A watch of nodes and what its consumer was told.
struct Watched {
    words: Receiver<String>,
    status: Arc<WatchStatus>,
    thread: JoinHandle<Outcome>,
    stop: Option<StopSource>,
}

impl Watched {
    fn start(settings: Settings, change: impl FnOnce(&mut Spec)) -> Self {
        let (source, stop) = Stop::new();
        let client = Client::start(settings, stop.clone()).expect("a thread starts");
        let mut spec = Spec::all::<Node>(&client);
        change(&mut spec);
        let status = Arc::clone(&spec.status);
        let (sender, words) = crossbeam_channel::unbounded();
        let sink = move |event| {
            // The test may have seen enough.
            let _ = sender.send(word(&event));
        };
        let thread = watch::spawn(client, spec, || {}, sink, stop).expect("a thread starts");
        Self { words, status, thread, stop: Some(source) }
    }

    /// The next words have to be these.
    #[track_caller]
    fn expect(&self, words: &[&str]) {
        for word in words {
            assert_eq!(self.words.recv_timeout(PATIENCE).as_deref(), Ok(*word));
        }
    }

    /// How the thread ends, which it has to; words that were not looked at are dropped.
    #[track_caller]
    fn outcome(self) -> Outcome {
        loop {
            match self.words.recv_timeout(PATIENCE) {
                Ok(_) => {}
                // The sink, and with it the sender, goes when the thread ends.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the thread does not end"),
            }
        }
        self.thread.join().expect("it does not panic")
    }

    #[track_caller]
    fn wait_for(&self, what: impl Fn(&cluster_agent::kube::status::Snapshot) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !what(&self.status.snapshot()) {
            assert!(Instant::now() < give_up, "stays at {:?}", self.status.snapshot());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn pages_are_listed_and_lines_followed_wherever_the_chunks_end() {
    let server = Server::start(|request, stream| match request.parameter("continue") {
        None if !request.is_watch() => answer(stream, 200, &page("5", "next/page", &["a"])),
        Some("next%2Fpage") => answer(stream, 200, &page("5", "", &["b"])),
        _ => {
            chunked(stream);
            let text = line("ADDED", &node("c", "6")) + &line("DELETED", &node("a", "7"));
            for (at, _) in text.char_indices() {
                chunk(stream, &text[at..=at]);
            }
            hold(stream);
        }
    });
    let watched = Watched::start(server.settings(), |spec| {
        spec.selection.labels = "tier in (a,b)".to_owned();
    });
    watched.expect(&["init", "+a", "+b", "done", "c", "-a"]);
    watched.wait_for(|status| status.version == "7" && status.objects == 2);
    assert_eq!(watched.status.snapshot().activity, Activity::Watching);

    let first = server.request();
    assert_eq!(first.parameter("limit"), Some("500"));
    assert_eq!(first.parameter("labelSelector"), Some("tier%20in%20%28a%2Cb%29"));
    assert_eq!(first.parameter("resourceVersion"), None);
    server.request();
    let watch = server.request();
    assert_eq!(watch.parameter("resourceVersion"), Some("5"));
    assert_eq!(watch.parameter("allowWatchBookmarks"), Some("true"));
    let seconds: u64 =
        watch.parameter("timeoutSeconds").expect("it is bounded").parse().expect("a number");
    assert!((260..=290).contains(&seconds), "{seconds}");
}

#[test]
fn a_list_that_expires_half_way_begins_again() {
    let server = Server::start(|request, stream| match (request.number, request.is_watch()) {
        (0, _) => answer(stream, 200, &page("5", "old", &["a", "gone"])),
        (1, _) => answer(stream, 410, &status(410, "The provided continue parameter is too old")),
        (_, false) => answer(stream, 200, &page("8", "", &["a"])),
        (_, true) => hold(stream),
    });
    let watched = Watched::start(server.settings(), |_| {});
    watched.expect(&["init", "+a", "+gone", "init", "+a", "done"]);
    watched.wait_for(|status| status.objects == 1 && status.version == "8");
    server.request();
    assert_eq!(server.request().parameter("continue"), Some("old"));
    assert_eq!(server.request().parameter("continue"), None);
}

/// The consumer's rule for events: what it shows changes as a whole at `done`.
fn shown_sizes(words: &[&str]) -> Vec<usize> {
    let (mut shown, mut next) = (Vec::new(), Vec::new());
    let mut sizes = Vec::new();
    for word in words {
        match (*word, word.strip_prefix('+'), word.strip_prefix('-')) {
            ("init", ..) => next.clear(),
            ("done", ..) => shown = std::mem::take(&mut next),
            (_, Some(name), _) => next.push(name),
            (_, _, Some(name)) => shown.retain(|shown| *shown != name),
            (name, ..) => shown.push(name),
        }
        sizes.push(shown.len());
    }
    sizes
}

// spec: node_api_21
#[test]
fn a_relist_after_410_replaces_the_objects_at_once() {
    let server = Server::start(|request, stream| match (request.number, request.is_watch()) {
        (0, _) => answer(stream, 200, &page("5", "", &["a", "b", "c"])),
        (_, false) => answer(stream, 200, &page("9", "", &["a"])),
        (1, true) => {
            chunked(stream);
            chunk(stream, &line("ERROR", &status(410, "too old resource version: 5 (8)")));
            chunk(stream, "");
        }
        (_, true) => hold(stream),
    });
    let watched = Watched::start(server.settings(), |_| {});
    let words = ["init", "+a", "+b", "+c", "done", "init", "+a", "done"];
    watched.expect(&words);
    assert_eq!(shown_sizes(&words), [0, 0, 0, 0, 3, 3, 3, 1]);
    watched.wait_for(|status| status.lists == 2 && status.objects == 1);
    let failure = watched.status.snapshot().last_failure.expect("the 410 was noted");
    assert!(failure.text.contains("too old resource version: 5 (8)"), "{failure:?}");
}

#[test]
fn a_watch_refused_with_410_is_listed_anew() {
    let server = Server::start(|request, stream| match (request.number, request.is_watch()) {
        (_, false) => answer(stream, 200, &page("5", "", &["a"])),
        (1, true) => answer(stream, 410, &status(410, "too old resource version")),
        (_, true) => hold(stream),
    });
    let watched = Watched::start(server.settings(), |_| {});
    watched.expect(&["init", "+a", "done", "init", "+a", "done"]);
}

#[test]
fn a_cut_watch_goes_on_after_the_last_whole_line() {
    let server = Server::start(|request, stream| match (request.number, request.is_watch()) {
        (_, false) => answer(stream, 200, &page("5", "", &["a"])),
        (1, true) => {
            chunked(stream);
            chunk(stream, &line("MODIFIED", &node("a", "6")));
            chunk(stream, &line("BOOKMARK", &node("", "9")));
            // Cut within an event.
            chunk(stream, &line("ADDED", &node("b", "10"))[..30]);
        }
        (2, true) => {
            chunked(stream);
            chunk(stream, &line("ADDED", &node("b", "10")));
            // A proper end after half a line: the line was never finished.
            chunk(stream, &line("ADDED", &node("c", "11"))[..30]);
            chunk(stream, "");
        }
        (_, true) => {
            chunked(stream);
            chunk(stream, &line("ADDED", &node("c", "11")));
            hold(stream);
        }
    });
    let watched = Watched::start(server.settings(), |_| {});
    watched.expect(&["init", "+a", "done", "a", "b", "c"]);
    server.request();
    let versions =
        [(); 3].map(|()| server.request().parameter("resourceVersion").map(str::to_owned));
    assert_eq!(versions.map(|version| version.unwrap_or_default()), ["5", "9", "10"]);
    assert_eq!(watched.status.snapshot().lists, 1);
}

#[test]
fn garbage_ends_the_watch_but_not_the_thread() {
    let server = Server::start(|request, stream| match (request.number, request.is_watch()) {
        (_, false) => answer(stream, 200, &page("5", "", &["a"])),
        (1, true) => answer(stream, 200, "<html>\nwelcome to the proxy\n"),
        (2, true) => {
            chunked(stream);
            chunk(stream, &line("NEWS", "{}"));
            chunk(stream, &line("ADDED", &node("b", "6")));
            chunk(stream, "\0\u{1}{{{\n");
        }
        (_, true) => {
            chunked(stream);
            chunk(stream, &line("ADDED", r#"{"metadata":{"name":["bad"],"resourceVersion":"7"}}"#));
            chunk(stream, &line("ADDED", &node("c", "8")));
            hold(stream);
        }
    });
    let watched = Watched::start(server.settings(), |_| {});
    watched.expect(&["init", "+a", "done", "b", "c"]);
    watched.wait_for(|status| status.bad_objects == 1 && status.activity == Activity::Watching);
}

#[test]
fn a_list_that_stalls_is_cut_and_begun_again() {
    let server = Server::start(|request, stream| match (request.number, request.is_watch()) {
        (0, _) => {
            chunked(stream);
            chunk(stream, &page("5", "", &["a", "b"])[..140]);
            hold(stream);
        }
        (_, false) => answer(stream, 200, &page("5", "", &["a"])),
        (_, true) => hold(stream),
    });
    let mut settings = server.settings();
    settings.list_timeout = Duration::from_millis(300);
    let watched = Watched::start(settings, |_| {});
    watched.expect(&["init", "+a", "init", "+a", "done"]);
    let failure = watched.status.snapshot().last_failure.expect("the stall was noted");
    assert!(failure.text.starts_with("cannot list nodes: no answer in time"), "{failure:?}");
}

#[test]
fn a_missing_permission_is_named_and_heals_by_itself() {
    let server = Server::start(|request, stream| match (request.number, request.is_watch()) {
        (0 | 1, false) => answer(stream, 403, &status(403, "nodes is forbidden")),
        (_, false) => answer(stream, 200, &page("5", "", &["a"])),
        (3, true) => answer(stream, 403, &status(403, "nodes is forbidden")),
        (_, true) => {
            chunked(stream);
            chunk(stream, &line("ADDED", &node("b", "6")));
            hold(stream);
        }
    });
    let watched = Watched::start(server.settings(), |_| {});
    watched.wait_for(|status| status.activity == Activity::Forbidden);
    assert!(watched.status.is_settled());
    let failure = watched.status.snapshot().last_failure.expect("it was refused");
    assert_eq!(
        failure.text,
        r#"the service account may not list nodes: grant apiGroups [""] resources ["nodes"] verbs ["list","watch"]"#
    );
    watched.expect(&["init", "+a", "done", "b"]);
    watched.wait_for(|status| status.activity == Activity::Watching);
    assert_eq!(watched.status.snapshot().failures, 3);
}

#[test]
fn an_api_that_does_not_exist_is_an_outcome_where_that_is_asked_for() {
    for (code, body) in [(404, "404 page not found\n".to_owned()), (403, status(403, "no"))] {
        let server = Server::start(move |_, stream| answer(stream, code, &body));
        let watched = Watched::start(server.settings(), |spec| spec.on_refusal = OnRefusal::Return);
        let status = Arc::clone(&watched.status);
        let outcome = watched.outcome();
        assert!(status.is_settled() && !status.snapshot().synced);
        let Outcome::Refused(error) = outcome else { panic!("{outcome:?}") };
        match error.cause {
            Cause::NotFound => assert_eq!(code, 404),
            Cause::Forbidden { .. } => assert_eq!(code, 403),
            cause => panic!("{cause:?}"),
        }
    }
}

#[test]
fn a_stop_ends_an_open_watch_a_hanging_list_and_a_pause_at_once() {
    type Script = fn(&crate::kube_server::Request, &mut dyn crate::kube_server::Stream);
    let scripts: [(&str, Script); 3] = [
        ("watch", |request, stream| match request.is_watch() {
            false => answer(stream, 200, &page("5", "", &["a"])),
            true => {
                chunked(stream);
                hold(stream);
            }
        }),
        ("list", |_, stream| hold(stream)),
        ("pause", |_, stream| {
            let refusal = "HTTP/1.1 429 X\r\nRetry-After: 60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            send(stream, refusal);
        }),
    ];
    for (what, script) in scripts {
        let server = Server::start(script);
        let mut watched = Watched::start(server.settings(), |_| {});
        match what {
            "watch" => watched.wait_for(|status| status.activity == Activity::Watching),
            "list" => drop(server.request()),
            _ => watched.wait_for(|status| status.failures == 1),
        }
        drop(watched.stop.take());
        let stopped = Instant::now();
        let status = Arc::clone(&watched.status);
        let outcome = watched.outcome();
        // Milliseconds; more only says that the machine is busy.
        assert!(stopped.elapsed() < Duration::from_secs(2), "{what} took {:?}", stopped.elapsed());
        assert!(matches!(outcome, Outcome::Stopped), "{what}: {outcome:?}");
        assert_eq!(status.snapshot().activity, Activity::Ended);
    }
}
