//! From a request to its answer: log, user, scripted fault, permission, operation.

use std::io;

use serde_json::Value;

use super::access::{self, Action, User};
use super::connection::{Connection, Request};
use super::faults::Fault;
use super::resources::{NotAResource, Place};
use super::status::{Failure, FailureBody};
use super::watching::{self, Watch};
use super::{JSON, Shared, discovery, reading, writing};

/// Serves one connection until the peer leaves or a fault ends it.
pub fn serve(shared: &Shared, mut connection: Connection) -> io::Result<()> {
    while let Some(request) = connection.read_request()? {
        connection.pass_gate();
        connection.control().set_watching(None);
        answer(shared, &mut connection, &request)?;
    }
    Ok(())
}

fn answer(shared: &Shared, connection: &mut Connection, request: &Request) -> io::Result<()> {
    let user = shared.tokens.user(request.header("authorization"));
    shared.record(request, user.as_ref().ok());
    let user = match user {
        Ok(user) => user,
        Err(failure) => return refuse(connection, &failure),
    };
    let place = match shared.catalogue().place(&request.segments()) {
        Ok(Some(place)) => Some(place),
        Ok(None) => return refuse(connection, &Failure::no_such_resource()),
        Err(NotAResource) => None,
    };
    let watch = matches!(request.query("watch").as_deref(), Some("1" | "true"));
    let action = match &place {
        Some(place) => access::action(&request.method, watch, place),
        None => Action { verb: request.method.to_lowercase(), resource: String::new() },
    };
    if let Some(fault) = shared.faults.take(&action)
        && !misbehave(shared, connection, &action, fault)?
    {
        return Ok(());
    }
    match place {
        Some(place) => on_resource(shared, connection, request, &user, &action, &place),
        None => on_path(shared, connection, request, &user),
    }
}

/// Does what a fault says; true when the normal answer follows all the same.
fn misbehave(
    shared: &Shared,
    connection: &mut Connection,
    action: &Action,
    fault: Fault,
) -> io::Result<bool> {
    match fault {
        Fault::Delay(duration) => {
            return if connection.pause(duration) {
                Ok(true)
            } else {
                Err(io::ErrorKind::ConnectionAborted.into())
            };
        }
        Fault::Cut(after) => {
            connection.budget = Some(after);
            return Ok(true);
        }
        Fault::Status(code) => refuse(connection, &scripted(code))?,
        Fault::TooManyRequests(seconds) => {
            let text = "Too many requests, please try again later.\n";
            let mut failure = Failure::text(429, text);
            failure.retry_after = Some(seconds);
            refuse(connection, &failure)?;
        }
        Fault::Stall => {
            connection.stall();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Fault::Garbage => connection.respond(200, &[JSON()], b"\x00\xffnot JSON{{{\n")?,
        Fault::Expired if action.verb == "watch" => {
            let revision = shared.store.lock().revision;
            watching::send_expired(connection, revision)?;
        }
        Fault::Expired => {
            let message = "The resourceVersion for the provided list is too old.";
            refuse(connection, &Failure::expired(message))?;
        }
    }
    Ok(false)
}

fn on_resource(
    shared: &Shared,
    connection: &mut Connection,
    request: &Request,
    user: &User,
    action: &Action,
    place: &Place,
) -> io::Result<()> {
    if let Err(failure) = access::authorize(user, action, place, &shared.faults) {
        return refuse(connection, &failure);
    }
    let written = match action.verb.as_str() {
        "get" => reading::get(&shared.store, place).map(|text| (200, text + "\n")),
        "list" => {
            return match reading::list(shared, request, place) {
                Ok(page) => page.send(connection),
                Err(failure) => refuse(connection, &failure),
            };
        }
        "watch" => {
            return match Watch::of(request, place) {
                Ok(watch) => watch.run(shared, connection),
                Err(failure) => refuse(connection, &failure),
            };
        }
        "create" if place.name.is_none() => writing::create(shared, request, place),
        "update" if place.name.is_some() => writing::update(shared, request, place),
        "patch" if place.name.is_some() => writing::patch(shared, request, place),
        "delete" => writing::delete(shared, request, place),
        _ => {
            let message = "the server does not allow this method on the requested resource";
            Err(Failure::new(405, "MethodNotAllowed", message))
        }
    };
    match written {
        Ok((status, text)) => connection.respond(status, &[JSON()], text.as_bytes()),
        Err(failure) => refuse(connection, &failure),
    }
}

fn on_path(
    shared: &Shared,
    connection: &mut Connection,
    request: &Request,
    user: &User,
) -> io::Result<()> {
    let path = request.path();
    if let Err(failure) = access::authorize_path(user, &request.method, path) {
        return refuse(connection, &failure);
    }
    if discovery::is_probe(path) {
        return connection.respond(200, &[text_type()], b"ok");
    }
    if request.method == "POST" {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let review = access::review(path, body, user, &shared.tokens, &shared.faults);
        if let Some(review) = review {
            return connection.respond(201, &[JSON()], format!("{review}\n").as_bytes());
        }
    }
    let document = discovery::document(path, &shared.catalogue());
    match document {
        Some(document) => connection.respond(200, &[JSON()], format!("{document}\n").as_bytes()),
        None => refuse(connection, &Failure::text(404, "404 page not found\n")),
    }
}

fn refuse(connection: &mut Connection, failure: &Failure) -> io::Result<()> {
    let mut headers = Vec::new();
    if let Some(seconds) = failure.retry_after {
        headers.push(("Retry-After", seconds.to_string()));
    }
    match &failure.body {
        FailureBody::Status(status) => {
            headers.push(JSON());
            connection.respond(failure.code, &headers, format!("{status}\n").as_bytes())
        }
        FailureBody::Text(text) => {
            headers.push(text_type());
            headers.push(("X-Content-Type-Options", "nosniff".to_owned()));
            connection.respond(failure.code, &headers, text.as_bytes())
        }
    }
}

fn scripted(code: u16) -> Failure {
    let (reason, message) = match code {
        401 => return Failure::unauthorized(),
        403 => ("Forbidden", "forbidden by a scripted fault"),
        404 => return Failure::no_such_resource(),
        409 => ("Conflict", "conflict by a scripted fault"),
        500 => ("InternalError", "Internal error occurred: etcdserver: request timed out"),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => ("Timeout", "Timeout: request did not complete within the allotted timeout"),
        _ => ("Unknown", "a scripted fault"),
    };
    Failure::new(code, reason, message)
}

fn text_type() -> (&'static str, String) {
    ("Content-Type", "text/plain; charset=utf-8".to_owned())
}
