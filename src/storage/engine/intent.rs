//! Annotations of the Config in which the engine keeps its records: intent, stages, and final settings.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::Config;
use crate::names;
use crate::storage::model::progress::StageRecord;

/// Value of an annotation of the Config; `None` if it is empty.
fn annotation<'a>(config: &'a Config, key: &str) -> Option<&'a str> {
    let annotations = config.metadata.annotations.as_ref()?;
    annotations.get(key).map(String::as_str).filter(|text| !text.is_empty())
}

/// Whether the intent annotation names this location: the operator is about to create the storage, or created it.
pub fn is_recorded(config: &Config, location: Option<&str>) -> bool {
    let recorded = annotation(config, names::STORAGE_INTENT_ANNOTATION);
    recorded.is_some() && recorded == location
}

/// Whether an administrator consents to the adoption of the storage at this location.
pub fn is_consented(config: &Config, location: Option<&str>) -> bool {
    let consent = annotation(config, names::ADOPT_STORAGE_ANNOTATION);
    consent.is_some() && consent == location
}

/// Annotation for a patch of the Config that removes the creation record of this location; `None` if there is none.
pub fn without_creation(config: &Config, location: Option<&str>) -> Option<(&'static str, Value)> {
    is_recorded(config, location).then_some((names::STORAGE_INTENT_ANNOTATION, Value::Null))
}

/// Annotation for a patch of the Config that removes the record of final settings of this location; `None` if there is
/// none.
pub fn without_settings(config: &Config, location: Option<&str>) -> Option<(&'static str, Value)> {
    let stored = StoredSettings::of(config, location);
    (!stored.is_final.is_empty()).then_some((names::STORAGE_SETTINGS_ANNOTATION, Value::Null))
}

/// Annotations for a patch of the Config that removes every record of this location and of stages, when the operator
/// releases the storage.
pub fn without_records(config: &Config, location: Option<&str>) -> Vec<(&'static str, Value)> {
    let stages = annotation(config, names::STORAGE_STAGES_ANNOTATION);
    let stages = stages.map(|_| (names::STORAGE_STAGES_ANNOTATION, Value::Null));
    let creation = without_creation(config, location).into_iter();
    creation
        .chain(without_settings(config, location))
        .chain(stages)
        .collect()
}

/// Settings that the operator does not apply again until `spec.storage` changes, by condition type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSettings {
    /// Location ID.
    pub location: String,
    /// Condition types.
    #[serde(rename = "final")]
    pub is_final: Vec<String>,
}

impl StoredSettings {
    /// The record of this location; without a record no setting is final.
    pub fn of(config: &Config, location: Option<&str>) -> Self {
        let text = annotation(config, names::STORAGE_SETTINGS_ANNOTATION);
        let stored: Option<Self> = text.and_then(|text| serde_json::from_str(text).ok());
        stored
            .filter(|stored| Some(stored.location.as_str()) == location)
            .unwrap_or_default()
    }

    /// Whether this setting is final.
    pub fn is_final(&self, condition: &str) -> bool {
        self.is_final.iter().any(|is_final| is_final == condition)
    }

    /// The annotation that records these settings as final; `None` if the record is the same.
    pub fn patch(config: &Config, location: &str, is_final: &[&str]) -> Option<(&'static str, Value)> {
        let stored = Self::of(config, Some(location));
        if stored.is_final == is_final {
            return None;
        }
        let record = Self {
            location: location.to_owned(),
            is_final: is_final.iter().map(ToString::to_string).collect(),
        };
        let value = if is_final.is_empty() {
            Value::Null
        } else {
            serde_json::to_string(&record).map_or(Value::Null, Value::from)
        };
        Some((names::STORAGE_SETTINGS_ANNOTATION, value))
    }
}

/// Records of stages: objects around the container that the operator created or is creating.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredStages {
    /// Name of the container to which the objects belong.
    container: String,
    /// Records in the order of creation.
    stages: Vec<StageRecord>,
}

impl StoredStages {
    /// The records of this container.
    pub fn of(config: &Config, container: &str) -> Vec<StageRecord> {
        let text = annotation(config, names::STORAGE_STAGES_ANNOTATION);
        let stored: Option<Self> = text.and_then(|text| serde_json::from_str(text).ok());
        stored
            .filter(|stored| stored.container == container)
            .map(|stored| stored.stages)
            .unwrap_or_default()
    }

    /// The annotation with these records.
    pub fn patch(container: &str, stages: Vec<StageRecord>) -> (&'static str, Value) {
        let record = Self {
            container: container.to_owned(),
            stages,
        };
        let value = if record.stages.is_empty() {
            Value::Null
        } else {
            serde_json::to_string(&record).map_or(Value::Null, Value::from)
        };
        (names::STORAGE_STAGES_ANNOTATION, value)
    }
}
