//! Whether the registry would get another storage than it has, and which CA that takes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::parts::{self, Parts, live_deployment, program_of};
use super::{certificates, drift, secret};
use crate::api::Kind;
use crate::config::facts::StorageFacts;
use crate::config::resolve::Resolved;
use crate::config::snapshot::Snapshot;
use crate::names;

/// Whether the registry would get another storage than it has: environment, volumes, content of the private Secret, CA, or
/// way out; or another program would use it. Nothing that is kept anywhere counts, only what runs; so neither a restart nor a take-over makes a difference.
/// `true` where nothing runs.
pub fn storage_differs(resolved: &Resolved, facts: &StorageFacts, snapshot: &Snapshot) -> bool {
    let Some(deployment) = live_deployment(snapshot) else {
        return true;
    };
    program_of(deployment) != snapshot.environment.program
        || Parts::rendered(facts, resolved).differs(&Parts::live(deployment))
        || secret_differs(facts, snapshot)
        || ca_differs(facts, snapshot)
}

/// Whether the registry runs with other credentials than these: content of the private Secret, and the variables of [`StorageFacts::tenant`].
/// `false` where nothing runs, and where another program runs, which has its credentials in another form.
pub fn has_other_credentials(facts: &StorageFacts, snapshot: &Snapshot) -> bool {
    let Some(deployment) = live_deployment(snapshot) else {
        return false;
    };
    if program_of(deployment) != snapshot.environment.program {
        return false;
    }
    let tenant = |env: &[Value]| -> BTreeMap<String, Value> {
        let named = env
            .iter()
            .filter_map(|variable| Some((variable["name"].as_str()?, &variable["value"])));
        let named = named.filter(|(name, _)| facts.tenant.contains(name));
        named.map(|(name, value)| (name.to_owned(), value.clone())).collect()
    };
    let wanted: Vec<Value> = facts.env.iter().map(parts::variable).collect();
    let live = snapshot.objects.operand(Kind::Secret, names::PRIVATE_SECRET);
    tenant(&wanted) != tenant(&Parts::live(deployment).env)
        || live.is_some_and(|live| data(live) != data(&secret::private(facts).body))
}

/// The content of a Secret; `None` if it has none.
fn data(secret: &Value) -> Option<&Value> {
    secret.get("data").filter(|data| !drift::is_empty(data))
}

fn secret_differs(facts: &StorageFacts, snapshot: &Snapshot) -> bool {
    let desired = secret::private(facts);
    let live = snapshot.objects.operand(Kind::Secret, names::PRIVATE_SECRET);
    let nothing = Value::Null;
    drift::differs(&desired, live.unwrap_or(&nothing), None)
}

fn ca_differs(facts: &StorageFacts, snapshot: &Snapshot) -> bool {
    let published = certificates::published_storage_ca(snapshot);
    match facts.ca_bundle.as_deref() {
        None => published.is_some(),
        Some(_) => !is_published(facts, snapshot),
    }
}

/// Whether pods that start now find the CA of the storage. More may be published: that of the storage before.
pub fn is_published(facts: &StorageFacts, snapshot: &Snapshot) -> bool {
    let Some(ca) = facts.ca_bundle.as_deref().map(str::trim) else {
        return true;
    };
    certificates::published_storage_ca(snapshot).is_some_and(|published| published.contains(ca))
}

/// What is published for pods and nodes while they turn to the storage of these facts: its CA, together with that of the
/// storage which they turn away from.
pub fn storage_cas(facts: &StorageFacts, snapshot: &Snapshot) -> Option<String> {
    let published = certificates::published_storage_ca(snapshot);
    match (published, facts.ca_bundle.as_deref()) {
        (Some(published), Some(ca)) if !published.contains(ca.trim()) => {
            let gap = if published.ends_with('\n') { "" } else { "\n" };
            Some(format!("{published}{gap}{ca}"))
        }
        (None, Some(ca)) => Some(ca.to_owned()),
        (published, _) => published,
    }
}

#[cfg(test)]
mod tests;
