//! Annotations of the Config in which the engine keeps its records: intent, creation, stages, and final settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::Config;
use crate::names;
use crate::storage::model::error::StorageError;
use crate::storage::model::progress::StageRecord;
use crate::storage::model::target::{CreationRecord, container_name};

/// Annotations that record a creation.
const CREATED: [&str; 2] = [
    names::STORAGE_CREATED_ANNOTATION,
    names::STORAGE_CREATED_UNMARKED_ANNOTATION,
];

/// Value of an annotation of the Config; `None` if it is empty.
fn annotation<'a>(config: &'a Config, key: &str) -> Option<&'a str> {
    let annotations = config.metadata.annotations.as_ref()?;
    annotations.get(key).map(String::as_str).filter(|text| !text.is_empty())
}

/// Whether this annotation names this location.
fn names_location(config: &Config, key: &str, location: Option<&str>) -> bool {
    let recorded = annotation(config, key);
    recorded.is_some() && recorded == location
}

/// This annotation for a patch of the Config that removes it; `None` if it does not name this location.
fn without(config: &Config, key: &'static str, location: Option<&str>) -> Option<(&'static str, Value)> {
    names_location(config, key, location).then_some((key, Value::Null))
}

/// Recorded location of the storage that the status names; `None`: the status tells it alone.
pub fn location(config: &Config) -> Option<&str> {
    annotation(config, names::STORAGE_LOCATION_ANNOTATION)
}

/// Intent or creation record of the storage at this location.
pub fn creation(config: &Config, location: Option<&str>) -> CreationRecord {
    if names_location(config, names::STORAGE_CREATED_ANNOTATION, location) {
        CreationRecord::Created
    } else if names_location(config, names::STORAGE_CREATED_UNMARKED_ANNOTATION, location) {
        CreationRecord::CreatedUnmarked
    } else if names_location(config, names::STORAGE_INTENT_ANNOTATION, location) {
        CreationRecord::Intended
    } else {
        CreationRecord::None
    }
}

/// Annotation for a patch of the Config that records the intent to create the storage at this location.
pub fn intended(location: &str) -> Vec<(&'static str, Value)> {
    vec![(names::STORAGE_INTENT_ANNOTATION, Value::from(location))]
}

/// Annotations for a patch of the Config that turns the intent into the creation record of this location. `marked`: the
/// container carries the ownership mark.
pub fn created(location: &str, marked: bool) -> Vec<(&'static str, Value)> {
    let (record, other) = if marked {
        (
            names::STORAGE_CREATED_ANNOTATION,
            names::STORAGE_CREATED_UNMARKED_ANNOTATION,
        )
    } else {
        (
            names::STORAGE_CREATED_UNMARKED_ANNOTATION,
            names::STORAGE_CREATED_ANNOTATION,
        )
    };
    vec![
        (names::STORAGE_INTENT_ANNOTATION, Value::Null),
        (record, Value::from(location)),
        (other, Value::Null),
    ]
}

/// Whether an administrator consents to the adoption of the storage at this location. A consent counts once: other credentials
/// may show other storage at the same location, and an administrator may have removed the ownership mark to protect the images.
pub fn is_consented(config: &Config, location: Option<&str>) -> bool {
    names_location(config, names::ADOPT_STORAGE_ANNOTATION, location)
        && !names_location(config, names::STORAGE_ADOPTED_ANNOTATION, location)
        && !creation(config, location).is_created()
}

/// Annotation for a patch of the Config that records that the consent to the adoption of this location was used.
pub fn adopted(location: &str) -> (&'static str, Value) {
    (names::STORAGE_ADOPTED_ANNOTATION, Value::from(location))
}

/// Annotation for a patch of the Config that uses up the consent to the adoption of this location: the storage that the administrator
/// saw is lost. `None` if there is no consent.
pub fn spent_consent(config: &Config, location: Option<&str>) -> Option<(&'static str, Value)> {
    location
        .filter(|_| names_location(config, names::ADOPT_STORAGE_ANNOTATION, location))
        .map(adopted)
}

/// Annotation for a patch of the Config that corrects the record of a used consent: it ends with the consent, and it is there
/// where the creation record shows that the consent was used. `None` if it is correct.
pub fn used_consent(config: &Config, location: Option<&str>) -> Option<(&'static str, Value)> {
    let consent = annotation(config, names::ADOPT_STORAGE_ANNOTATION);
    let recorded = annotation(config, names::STORAGE_ADOPTED_ANNOTATION);
    let is_used = recorded == consent || (consent == location && creation(config, location).is_created());
    let wanted = consent.filter(|_| is_used);
    (wanted != recorded).then(|| {
        (
            names::STORAGE_ADOPTED_ANNOTATION,
            wanted.map_or(Value::Null, Value::from),
        )
    })
}

/// Annotations for a patch of the Config that removes the consent to the adoption of this location; empty if there is none.
pub fn without_consent(config: &Config, location: Option<&str>) -> Vec<(&'static str, Value)> {
    [names::ADOPT_STORAGE_ANNOTATION, names::STORAGE_ADOPTED_ANNOTATION]
        .into_iter()
        .filter_map(|key| without(config, key, location))
        .collect()
}

/// Annotations for a patch of the Config that removes the creation record of this location; empty if there is none.
pub fn without_created(config: &Config, location: Option<&str>) -> Vec<(&'static str, Value)> {
    CREATED
        .into_iter()
        .filter_map(|key| without(config, key, location))
        .collect()
}

/// Annotations for a patch of the Config that removes what records creations of other storage than that at `location`: of
/// containers, and of objects around them. Empty if there are none. They are those of storage to which the registry has not
/// switched, because the end of a switch removes the records of the storage before. `before`: location of storage that the status
/// still names; its records do not count.
pub fn without_created_elsewhere(
    config: &Config,
    location: Option<&str>,
    before: Option<&str>,
) -> Vec<(&'static str, Value)> {
    let Some(location) = location else {
        return Vec::new();
    };
    let known = [Some(location), before];
    let elsewhere = |key: &&str| annotation(config, key).is_some_and(|named| !known.contains(&Some(named)));
    let stages = StoredStages::without_others(config, |key| known.iter().flatten().any(|one| is_key_of(one, key)));
    let created = CREATED.into_iter().filter(elsewhere).map(|key| (key, Value::Null));
    created.chain(stages).collect()
}

/// Annotation for a patch of the Config that removes an intent for another location than this; `None` if there is none. The container
/// that exists there later need not be what the operator wanted to create.
pub fn without_intent_elsewhere(config: &Config, location: Option<&str>) -> Option<(&'static str, Value)> {
    let intended = annotation(config, names::STORAGE_INTENT_ANNOTATION)?;
    (location.is_some_and(|location| location != intended)).then_some((names::STORAGE_INTENT_ANNOTATION, Value::Null))
}

/// Whether the records of stages with this key are those of the storage at this location.
fn is_key_of(location: &str, key: &str) -> bool {
    location == key || container_name(location) == key
}

/// Annotations for a patch of the Config that removes intent and creation record of this location; empty if there is none.
pub fn without_creation(config: &Config, location: Option<&str>) -> Vec<(&'static str, Value)> {
    let intent = without(config, names::STORAGE_INTENT_ANNOTATION, location);
    intent.into_iter().chain(without_created(config, location)).collect()
}

/// Annotation for a patch of the Config that removes the record of settings; `None` if there is none.
pub fn without_settings(config: &Config) -> Option<(&'static str, Value)> {
    annotation(config, names::STORAGE_SETTINGS_ANNOTATION)?;
    Some((names::STORAGE_SETTINGS_ANNOTATION, Value::Null))
}

/// Annotations for a patch of the Config that removes every record of containers with the name of this one, when an administrator
/// set the storage to Unmanaged and the operator releases it. The location may read otherwise now (with another Secret, that of an
/// OpenStack container), and a record that stays would make the operator the owner again.
pub fn without_namesakes(config: &Config, location: &str) -> Vec<(&'static str, Value)> {
    let is_namesake =
        |key: &&str| annotation(config, key).is_some_and(|named| container_name(named) == container_name(location));
    let creations = CREATED.into_iter().chain([names::STORAGE_INTENT_ANNOTATION]);
    creations.filter(is_namesake).map(|key| (key, Value::Null)).collect()
}

/// Annotations for a patch of the Config that removes every record of this location, and not those of other storage.
pub fn without_own_records(config: &Config, location: &str) -> Vec<(&'static str, Value)> {
    let stages = StoredStages::without_others(config, |key| !is_key_of(location, key));
    let place = without(config, names::STORAGE_LOCATION_ANNOTATION, Some(location));
    without_creation(config, Some(location))
        .into_iter()
        .chain(place)
        .chain(without_settings(config))
        .chain(stages)
        .collect()
}

/// Annotations for a patch of the Config that removes every record of this location and all records of stages, when the operator
/// releases the storage.
pub fn without_records(config: &Config, location: &str) -> Vec<(&'static str, Value)> {
    let stages = annotation(config, names::STORAGE_STAGES_ANNOTATION);
    let stages = stages.map(|_| (names::STORAGE_STAGES_ANNOTATION, Value::Null));
    // The last one of two entries counts.
    without_own_records(config, location)
        .into_iter()
        .chain(stages)
        .collect()
}

/// What the operator remembers about the settings of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSettings {
    /// Location ID of the container whose settings the conditions report.
    pub location: String,
    /// Condition types of settings that the operator does not apply again until `spec.storage` changes.
    #[serde(rename = "final")]
    pub is_final: Vec<String>,
}

impl StoredSettings {
    fn read(config: &Config) -> Option<Self> {
        serde_json::from_str(annotation(config, names::STORAGE_SETTINGS_ANNOTATION)?).ok()
    }

    /// The record of this location; without a record no setting is final.
    pub fn of(config: &Config, location: Option<&str>) -> Self {
        Self::read(config)
            .filter(|stored| Some(stored.location.as_str()) == location)
            .unwrap_or_default()
    }

    /// Whether the conditions report settings of another location: of storage to which the registry did not switch.
    pub fn are_of_another(config: &Config, location: Option<&str>) -> bool {
        Self::read(config).is_some_and(|stored| Some(stored.location.as_str()) != location)
    }

    /// Whether this setting is final.
    pub fn is_final(&self, condition: &str) -> bool {
        self.is_final.iter().any(|is_final| is_final == condition)
    }

    /// The annotation at the end of a switch to this location, whose settings the conditions report from now on; `None` if nothing
    /// is to be removed.
    pub fn switched(config: &Config, location: &str) -> Option<(&'static str, Value)> {
        let stored = Self::read(config)?;
        (stored.location == location && stored.is_final.is_empty())
            .then_some((names::STORAGE_SETTINGS_ANNOTATION, Value::Null))
    }

    /// The annotation that records these settings as final. `switching`: the registry uses other storage until the end of the
    /// switch, so that the location is recorded in any case. `None` if the record is the same.
    pub fn patch(config: &Config, location: &str, is_final: &[&str], switching: bool) -> Option<(&'static str, Value)> {
        let wanted = (switching || !is_final.is_empty()).then(|| Self {
            location: location.to_owned(),
            is_final: is_final.iter().map(ToString::to_string).collect(),
        });
        if wanted == Self::read(config) {
            return None;
        }
        let text = wanted.and_then(|record| serde_json::to_string(&record).ok());
        Some((
            names::STORAGE_SETTINGS_ANNOTATION,
            text.map_or(Value::Null, Value::from),
        ))
    }
}

/// Records of stages: objects around the storage that the operator created or is creating, in the order of creation. They are
/// kept by storage ([`ObjectStore::stage_key`]), because the objects around one say nothing about those around another.
///
/// [`ObjectStore::stage_key`]: crate::storage::traits::ObjectStore::stage_key
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoredStages(BTreeMap<String, Vec<StageRecord>>);

impl StoredStages {
    fn read(config: &Config) -> Result<Self, StorageError> {
        let Some(text) = annotation(config, names::STORAGE_STAGES_ANNOTATION) else {
            return Ok(Self::default());
        };
        serde_json::from_str(text).map_err(|error| {
            StorageError::action_required(format!(
                "annotation {} of Config {} names objects that the operator created around the storage, and it cannot be \
                 read ({error}), so that nothing was created or deleted: restore it, or remove it and delete those objects \
                 by hand",
                names::STORAGE_STAGES_ANNOTATION,
                names::CLUSTER
            ))
        })
    }

    /// The records of this storage. An error if the annotation cannot be read: the objects that it names would be
    /// forgotten.
    pub fn of(config: &Config, key: &str) -> Result<Vec<StageRecord>, StorageError> {
        Ok(Self::read(config)?.0.remove(key).unwrap_or_default())
    }

    /// The records of all storage; empty if the annotation cannot be read.
    pub fn all(config: &Config) -> Vec<StageRecord> {
        let stored = Self::read(config).unwrap_or_default();
        stored.0.into_values().flatten().collect()
    }

    /// The annotation with these records of this storage, and those of other storage as stored. `None` if the annotation cannot
    /// be read.
    pub fn patch(config: &Config, key: &str, records: Vec<StageRecord>) -> Option<(&'static str, Value)> {
        let mut stored = Self::read(config).ok()?;
        if records.is_empty() {
            stored.0.remove(key);
        } else {
            stored.0.insert(key.to_owned(), records);
        }
        Some(stored.annotation())
    }

    /// The annotation with the records of those keys that `keeps` tells. `None` if that are all.
    fn without_others(config: &Config, keeps: impl Fn(&str) -> bool) -> Option<(&'static str, Value)> {
        let mut stored = Self::read(config).ok()?;
        let before = stored.0.len();
        stored.0.retain(|key, _| keeps(key));
        (stored.0.len() != before).then(|| stored.annotation())
    }

    fn annotation(&self) -> (&'static str, Value) {
        let value = if self.0.is_empty() {
            Value::Null
        } else {
            serde_json::to_string(self).map_or(Value::Null, Value::from)
        };
        (names::STORAGE_STAGES_ANNOTATION, value)
    }
}
