//! POST, PUT, PATCH and DELETE, with the checks that make two writers notice each other.

use serde_json::{Value, json};

use super::Shared;
use super::connection::Request;
use super::resources::{Place, Resource};
use super::status::{self, Failure, details};
use super::store::{Edit, Object, new_uid};

/// A finished write: HTTP status and body.
pub type Written = (u16, String);

/// POST on a collection.
pub fn create(shared: &Shared, request: &Request, place: &Place) -> Result<Written, Failure> {
    let resource = &place.resource;
    let mut object = parse(request)?;
    let namespace = namespace_of(shared, place, &mut object)?;
    if object["metadata"]["name"].as_str().unwrap_or_default().is_empty() {
        let prefix = object["metadata"]["generateName"].as_str().unwrap_or_default();
        if prefix.is_empty() {
            return Err(name_required(resource));
        }
        object["metadata"]["name"] = json!(format!("{prefix}{}", &new_uid()[..5]));
    }
    if !object["metadata"]["resourceVersion"].as_str().unwrap_or_default().is_empty() {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(Failure::new(500, "InternalError", message));
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    prepare(resource, &mut object);
    if resource.plural == "customresourcedefinitions" {
        shared.catalogue_mut().define(&object);
    }
    let written = shared.store.write(&resource.qualified(), &namespace, &name, |current| {
        if current.is_some() {
            return Err(Failure::already_exists(resource, &name));
        }
        Ok(Edit::Put(object))
    })?;
    Ok((201, text(resource, written.as_deref())))
}

/// PUT on an object or its status.
pub fn update(shared: &Shared, request: &Request, place: &Place) -> Result<Written, Failure> {
    let resource = &place.resource;
    let mut object = parse(request)?;
    let namespace = namespace_of(shared, place, &mut object)?;
    let name = place.name.clone().unwrap_or_default();
    let body_name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if body_name != name {
        let message = format!(
            "the name of the object ({body_name}) does not match the name on the URL ({name})"
        );
        return Err(Failure::bad_request(message));
    }
    let mut created = false;
    let written = shared.store.write(&resource.qualified(), &namespace, &name, |current| {
        let Some(current) = current else {
            created = true;
            return create_by_update(resource, &name, object);
        };
        check_preconditions(resource, &name, current, &object["metadata"])?;
        Ok(Edit::Put(merged(place, current, object)))
    })?;
    Ok((if created { 201 } else { 200 }, text(resource, written.as_deref())))
}

/// PATCH with a JSON merge patch.
pub fn patch(shared: &Shared, request: &Request, place: &Place) -> Result<Written, Failure> {
    let resource = &place.resource;
    let kind = request.header("content-type").unwrap_or_default();
    if kind.split(';').next() != Some("application/merge-patch+json") {
        let message = "the body of the request was in an unknown format - accepted media types include: \
            application/merge-patch+json";
        return Err(Failure::new(415, "UnsupportedMediaType", message));
    }
    let patch = parse(request)?;
    let namespace = place.namespace.clone().unwrap_or_default();
    let name = place.name.clone().unwrap_or_default();
    let written = shared.store.write(&resource.qualified(), &namespace, &name, |current| {
        let current = current.ok_or_else(|| Failure::not_found(resource, &name))?;
        check_preconditions(resource, &name, current, &patch["metadata"])?;
        let mut object = current.value();
        merge(&mut object, &patch);
        Ok(Edit::Put(merged(place, current, object)))
    })?;
    Ok((200, text(resource, written.as_deref())))
}

/// DELETE of one object.
pub fn delete(shared: &Shared, request: &Request, place: &Place) -> Result<Written, Failure> {
    let resource = &place.resource;
    let options: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let namespace = place.namespace.clone().unwrap_or_default();
    let name = place.name.clone().unwrap_or_default();
    let last = shared.store.write(&resource.qualified(), &namespace, &name, |current| {
        let current = current.ok_or_else(|| Failure::not_found(resource, &name))?;
        check_preconditions(resource, &name, current, &options["preconditions"])?;
        Ok(Edit::Delete)
    })?;
    if resource.plural == "namespaces" {
        shared.empty_namespace(&name);
    }
    let uid = last.as_ref().map(|object| object.uid.clone()).unwrap_or_default();
    if resource.delete_answers_object() {
        return Ok((200, text(resource, last.as_deref())));
    }
    Ok((200, format!("{}\n", status::deleted(resource, &name, &uid))))
}

/// Applies a JSON merge patch (RFC 7386).
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, change) in changes {
        if change.is_null() {
            target.as_object_mut().expect("made an object above").remove(key);
        } else {
            merge(&mut target[key], change);
        }
    }
}

fn parse(request: &Request) -> Result<Value, Failure> {
    let value: Value = serde_json::from_slice(&request.body).map_err(|error| {
        Failure::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
    })?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Failure::bad_request("the object provided is unrecognized"))
    }
}

fn namespace_of(shared: &Shared, place: &Place, object: &mut Value) -> Result<String, Failure> {
    let Some(namespace) = &place.namespace else { return Ok(String::new()) };
    let given = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if !given.is_empty() && given != namespace {
        let message =
            "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Failure::bad_request(message));
    }
    if shared.store.lock().get("namespaces", "", namespace).is_none() {
        let message = format!("namespaces \"{namespace}\" not found");
        let details = json!({"name": namespace, "kind": "namespaces"});
        return Err(Failure::detailed(404, "NotFound", message, details));
    }
    object["metadata"]["namespace"] = json!(namespace);
    Ok(namespace.clone())
}

/// What the real server sets or drops at creation.
fn prepare(resource: &Resource, object: &mut Value) {
    match resource.plural.as_str() {
        "nodes" => {}
        "pods" => object["status"] = json!({"phase": "Pending", "qosClass": "BestEffort"}),
        "namespaces" => {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
        }
        _ if resource.status => {
            object.as_object_mut().expect("only objects are parsed").remove("status");
        }
        _ => {}
    }
    if resource.custom {
        object["metadata"]["generation"] = json!(1);
    }
}

fn create_by_update(resource: &Resource, name: &str, object: Value) -> Result<Edit, Failure> {
    let metadata = &object["metadata"];
    let given = |key: &str| !metadata[key].as_str().unwrap_or_default().is_empty();
    if !resource.create_on_update() {
        return Err(Failure::not_found(resource, name));
    }
    if given("uid") {
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{}/{name}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: {}, UID in object meta: ",
            resource.plural,
            metadata["namespace"].as_str().unwrap_or_default(),
            metadata["uid"].as_str().unwrap_or_default(),
        );
        return Err(Failure::conflict(resource, name, &why));
    }
    // A resourceVersion alone protects nothing here: the object is simply made again.
    Ok(Edit::Put(object))
}

const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

fn check_preconditions(
    resource: &Resource,
    name: &str,
    current: &Object,
    wanted: &Value,
) -> Result<(), Failure> {
    let uid = wanted["uid"].as_str().unwrap_or_default();
    if !uid.is_empty() && uid != current.uid {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            current.uid
        );
        return Err(Failure::conflict(resource, name, &why));
    }
    let revision = wanted["resourceVersion"].as_str().unwrap_or_default();
    if !revision.is_empty() && revision != current.revision.to_string() {
        return Err(Failure::conflict(resource, name, MODIFIED));
    }
    Ok(())
}

/// Keeps apart what the main resource and its status subresource may change.
fn merged(place: &Place, current: &Object, mut object: Value) -> Value {
    let mut old = current.value();
    if place.subresource.as_deref() == Some("status") {
        old["status"] = object["status"].take();
        return old;
    }
    if place.resource.status {
        match old.get("status") {
            Some(status) => object["status"] = status.clone(),
            None => drop(object.as_object_mut().map(|fields| fields.remove("status"))),
        }
    }
    if place.resource.custom {
        let generation = old["metadata"]["generation"].as_u64().unwrap_or(1);
        let changed = old["spec"] != object["spec"];
        object["metadata"]["generation"] = json!(generation + u64::from(changed));
    }
    object
}

fn name_required(resource: &Resource) -> Failure {
    let what = "Required value: name or generateName is required";
    let message = format!("{} \"\" is invalid: metadata.name: {what}", resource.kind);
    let mut details = details(resource, None);
    details["kind"] = json!(resource.kind);
    details["causes"] =
        json!([{"reason": "FieldValueRequired", "message": what, "field": "metadata.name"}]);
    Failure::detailed(422, "Invalid", message, details)
}

fn text(resource: &Resource, object: Option<&Object>) -> String {
    let text = object.map(|object| object.text_with_kind(&resource.kind, &resource.api_version()));
    format!("{}\n", text.unwrap_or_default())
}
