//! Settings of Managed containers.

use std::time::Duration;

use super::call::CallError;
use super::error::{StepError, StorageError};
use super::fingerprint::Fingerprint;
use crate::api::Storage;
use crate::config::event_request::EventRequest;

/// A setting of a Managed container: public access, tags, encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Type of the condition that reports the setting.
    pub condition: &'static str,
    /// Reason of the condition if the setting is applied.
    pub reason: &'static str,
    /// Message of the condition if the setting is not applied: `Public access was not blocked`. Empty: no condition reports the
    /// setting, which only follows the platform.
    pub failure: &'static str,
    /// Value that the platform requests, for settings that follow the platform (tags). A change causes another
    /// application.
    pub follows: Option<Followed>,
    /// The application of the setting may write the probe object.
    pub probes: bool,
    /// The setting depends on the ownership mark, so the operator applies it again when it becomes the owner.
    pub marks: bool,
    /// Events about the setting, for storage that was in use before.
    pub events: Option<SettingEvents>,
}

impl Setting {
    /// Whether a condition reports the setting.
    pub fn is_reported(&self) -> bool {
        !self.failure.is_empty()
    }
}

/// Events about a setting of storage that was in use before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingEvents {
    /// Reason of the events.
    pub reason: &'static str,
    /// After a change: `got the tags that the cluster's Infrastructure names`.
    pub changed: &'static str,
    /// After a failed call.
    pub failed: &'static str,
}

/// Value that the platform requests for a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Digest of the requested value and of the location.
    pub fingerprint: Fingerprint,
    /// The platform requests nothing.
    pub empty: bool,
}

/// Circumstances in which a setting is applied.
#[derive(Clone, Copy, Debug)]
pub struct SettingScope {
    /// The container belongs to the operator: it carries the ownership mark, or a creation record names it.
    pub ours: bool,
    /// The Config's creation record names the container.
    pub recorded: bool,
    /// The probe object is recorded, so the setting may write it.
    pub probe_recorded: bool,
}

/// A setting that was applied.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Message of the condition.
    pub message: String,
    /// A call changed the container.
    pub changed: bool,
    /// Events to publish.
    pub events: Vec<EventRequest>,
    /// Sets a member of the spec that results from the setting.
    pub completes: Option<fn(&mut Storage)>,
}

/// Why a setting was not applied.
#[derive(Debug)]
pub enum SettingError {
    /// A call failed. The condition reports it.
    Call(CallError),
    /// The backend did not change the setting.
    Declined {
        /// Reason of the condition.
        reason: String,
        /// Cause, for the condition.
        message: String,
        /// The operator does not apply the setting again until `spec.storage` changes.
        is_final: bool,
    },
    /// There is nothing to apply: the condition is False with this reason and message, and the setting is final.
    NotNeeded {
        /// Reason of the condition.
        reason: String,
        /// Message of the condition.
        message: String,
    },
    /// The service is still applying the setting: the condition is Unknown.
    Pending {
        /// Reason of the condition.
        reason: &'static str,
        /// Message of the condition.
        message: String,
        /// When to apply the setting again.
        after: Duration,
    },
    /// The whole step fails.
    Step(StepError),
}

impl From<CallError> for SettingError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<StorageError> for SettingError {
    fn from(error: StorageError) -> Self {
        Self::Step(error.into())
    }
}
