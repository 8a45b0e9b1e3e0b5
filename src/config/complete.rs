//! Fields that the operator adds to the Config. A pass stores them before any object uses their values, so that a restart
//! finds the same values.

use serde_json::{Map, Value, json};

use super::resolve::ManagementState;
use super::tls::ServingInfo;
use crate::api::Config;
use crate::names;

/// JSON merge patch, without resourceVersion, that adds the finalizer, `spec.httpSecret` and `spec.observedConfig` where
/// they are missing or outdated; an empty object if the Config is complete.
///
/// `secret` replaces an empty `spec.httpSecret`. `None` for `observed` or `secret` leaves the field unchanged. A Config that
/// is being deleted gets no patch. Only a `Managed` Config gets the finalizer and the secret.
pub fn completion(config: &Config, observed: Option<&ServingInfo>, secret: Option<&str>) -> Value {
    let mut patch = Map::new();
    let managed = ManagementState::of(config) == ManagementState::Managed;
    let deleting = config.metadata.deletion_timestamp.is_some();
    let finalizers = config.metadata.finalizers.clone().unwrap_or_default();
    if managed && !deleting && !finalizers.iter().any(|f| f == names::FINALIZER) {
        let all: Vec<_> = finalizers
            .iter()
            .map(String::as_str)
            .chain([names::FINALIZER])
            .collect();
        patch.insert("metadata".to_owned(), json!({"finalizers": all}));
    }
    let mut spec = Map::new();
    if managed
        && !deleting
        && config
            .spec
            .http_secret
            .as_ref()
            .is_none_or(crate::api::Sensitive::is_empty)
        && let Some(secret) = secret
    {
        spec.insert("httpSecret".to_owned(), json!(secret));
    }
    if let Some(observed) = observed.filter(|_| !deleting) {
        let wanted = observed.to_observed_config();
        if config.spec.observed_config.as_ref() != Some(&wanted) {
            // Replace the whole object: a plain merge would keep its other keys.
            spec.insert(
                "observedConfig".to_owned(),
                replace(config.spec.observed_config.as_ref(), wanted),
            );
        }
    }
    if !spec.is_empty() {
        patch.insert("spec".to_owned(), Value::Object(spec));
    }
    Value::Object(patch)
}

/// A merge patch that turns `old` into `wanted`: keys of `old` that are not in `wanted` become null.
fn replace(old: Option<&Value>, wanted: Value) -> Value {
    match (old, wanted) {
        (Some(Value::Object(old)), Value::Object(wanted)) => {
            let mut patch = Map::new();
            for key in old.keys().filter(|key| !wanted.contains_key(*key)) {
                patch.insert(key.clone(), Value::Null);
            }
            for (key, value) in wanted {
                let value = replace(old.get(&key), value);
                patch.insert(key, value);
            }
            Value::Object(patch)
        }
        (_, wanted) => wanted,
    }
}

#[cfg(test)]
mod tests;
