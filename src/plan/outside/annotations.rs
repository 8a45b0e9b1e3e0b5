//! Annotations for the controller that exposes the registry.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::controllers;
use crate::names;
use crate::plan::{Desired, annotation};

const KEYS: &str = names::EXPOSURE_KEYS_ANNOTATION;

/// Adds what the live object has of the operator's annotations for a controller that is known, so that [`set`] does not remove it.
pub(super) fn keep(wanted: &mut BTreeMap<String, String>, live: Option<&Value>) {
    let keys = live.and_then(|live| annotation(live, KEYS)).into_iter();
    for key in keys.flat_map(|keys| keys.split(',')) {
        let value = live.and_then(|live| annotation(live, key));
        if let Some(value) = value.filter(|_| controllers::is_known(key)) {
            wanted.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
}

/// Sets annotations, records their keys in one more, and removes recorded ones that are not wanted any more.
pub(super) fn set(desired: &mut Desired, wanted: &BTreeMap<String, String>, live: Option<&Value>) {
    let own = &mut desired.body["metadata"]["annotations"];
    let recorded = live.and_then(|live| annotation(live, KEYS));
    let has = |key: &str| live.is_some_and(|live| annotation(live, key).is_some());
    let gone = recorded.into_iter().flat_map(|keys| keys.split(','));
    let gone = gone.filter(|key| !wanted.contains_key(*key) && own.get(*key).is_none() && has(key));
    desired.drop_annotations.extend(gone.map(str::to_owned));
    if wanted.is_empty() {
        desired.drop_annotations.extend(recorded.map(|_| KEYS.to_owned()));
        return;
    }
    for (key, value) in wanted {
        own[key] = json!(value);
    }
    own[KEYS] = json!(wanted.keys().map(String::as_str).collect::<Vec<_>>().join(","));
}
