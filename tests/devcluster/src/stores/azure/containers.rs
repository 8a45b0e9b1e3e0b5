//! Containers as Resource Manager sees them: `.../blobServices/default/containers`.

use super::arm::Call;
use super::azurite::{Azurite, Slot, children, elements, plain};
use super::reply;
use super::state::State;
use crate::stores::Reply;
use crate::stores::form::escape;
use anyhow::Result;
use hyper::Method;
use serde_json::{Map, Value, json};

pub(super) const CONTAINER: &str = "Microsoft.Storage/storageAccounts/blobServices/containers";

/// What is to be done with an account's containers.
pub(super) struct Work {
    slot: Slot,
    method: Method,
    id: String,
    /// Nothing for the list.
    name: Option<String>,
    metadata: Vec<(String, String)>,
    /// Where the list goes on, and how long its pages are.
    page: (usize, usize),
    url: String,
}

pub(super) fn work(state: &mut State, call: &Call<'_>) -> Result<Work, Reply> {
    let account = call.address.parts.get(1).map_or("", String::as_str);
    let account = state.accounts.get(account);
    let account = account.ok_or_else(|| reply::no_resource(super::accounts::ACCOUNT, call.address.name(), ""))?;
    let metadata = call.body["properties"]["metadata"].as_object();
    let metadata = metadata.into_iter().flatten();
    let skip = call.asked.parameter("$skiptoken").and_then(|text| text.parse().ok());
    let length = call.asked.parameter("$maxpagesize").and_then(|text| text.parse().ok());
    Ok(Work {
        slot: account.slot.clone(),
        method: call.asked.method.clone(),
        id: call.id(),
        name: call.address.is_single().then(|| call.address.name().to_owned()),
        metadata: metadata
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        page: (skip.unwrap_or_default(), length.unwrap_or(state.page)),
        url: format!(
            "https://{}{}?api-version={}",
            call.asked.host, call.asked.path, call.version
        ),
    })
}

/// Does it.
pub(super) async fn perform(azurite: &Azurite, work: &Work) -> Result<Reply> {
    let Some(name) = &work.name else {
        return list(azurite, work).await;
    };
    let path = format!("/{}", escape(name));
    let call = async |method: Method, query: &str, headers: &[(&str, &str)]| {
        azurite.call(&work.slot, method, (&path, query), headers, b"").await
    };
    let there = call(Method::GET, "restype=container", &[]).await?.status == 200;
    let missing = || reply::arm(404, "ContainerNotFound", "The specified container does not exist.");
    let headers: Vec<(String, &str)> = work
        .metadata
        .iter()
        .map(|(name, value)| (format!("x-ms-meta-{name}"), value.as_str()))
        .collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    match (work.method.as_str(), there) {
        ("GET", true) => {}
        ("PUT", false) => {
            let made = call(Method::PUT, "restype=container", &headers).await?;
            if made.status != 201 {
                return Ok(reply::arm(400, "InvalidResourceName", &made.text()));
            }
        }
        ("PUT" | "PATCH", true) => {
            call(Method::PUT, "restype=container&comp=metadata", &headers).await?;
        }
        ("DELETE", true) => {
            call(Method::DELETE, "restype=container", &[]).await?;
            return Ok(reply::empty(200));
        }
        ("DELETE", false) => return Ok(reply::empty(204)),
        _ => return Ok(missing()),
    }
    let status = if work.method == Method::PUT && !there { 201 } else { 200 };
    let all = all(azurite, &work.slot).await?;
    let found = all.iter().find(|(known, _)| known == name);
    Ok(found.map_or_else(missing, |(name, metadata)| {
        reply::json(status, &body(&work.id, name, metadata))
    }))
}

fn body(id: &str, name: &str, metadata: &Map<String, Value>) -> Value {
    json!({
        "id": id, "name": name, "type": CONTAINER, "etag": "\"0x8D\"",
        "properties": { "metadata": metadata, "publicAccess": "None", "leaseStatus": "Unlocked", "leaseState": "Available",
            "hasImmutabilityPolicy": false, "hasLegalHold": false },
    })
}

async fn list(azurite: &Azurite, work: &Work) -> Result<Reply> {
    let all = all(azurite, &work.slot).await?;
    let (skip, length) = work.page;
    let page: Vec<Value> = all
        .iter()
        .skip(skip)
        .take(length)
        .map(|(name, metadata)| body(&format!("{}/{name}", work.id), name, metadata))
        .collect();
    let mut body = json!({ "value": page });
    if skip + length < all.len() {
        body["nextLink"] = json!(format!("{}&$skiptoken={}", work.url, skip + length));
    }
    Ok(reply::json(200, &body))
}

/// All containers of an account, with their metadata.
pub(super) async fn all(azurite: &Azurite, slot: &Slot) -> Result<Vec<(String, Map<String, Value>)>> {
    let answer = azurite
        .call(slot, Method::GET, ("/", "comp=list&include=metadata"), &[], b"")
        .await?
        .good()?;
    let text = answer.text();
    let containers = elements(&text, "Container").into_iter().map(|container| {
        let name = elements(container, "Name")
            .first()
            .map(|name| plain(name))
            .unwrap_or_default();
        let metadata = elements(container, "Metadata")
            .first()
            .map(|text| children(text))
            .unwrap_or_default();
        (
            name,
            metadata
                .into_iter()
                .map(|(name, value)| (name, Value::from(value)))
                .collect(),
        )
    });
    Ok(containers.collect())
}
