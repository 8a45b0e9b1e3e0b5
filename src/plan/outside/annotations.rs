//! Annotations for the controller that exposes the registry.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::names;
use crate::plan::{Desired, annotation};

const KEYS: &str = names::EXPOSURE_KEYS_ANNOTATION;

/// The annotations of a live object that [`set`] recorded.
pub(super) fn recorded(live: Option<&Value>) -> BTreeMap<String, String> {
    let keys = live.and_then(|live| annotation(live, KEYS)).into_iter();
    let keys = keys.flat_map(|keys| keys.split(','));
    keys.filter_map(|key| Some((key.to_owned(), annotation(live?, key)?.to_owned())))
        .collect()
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
