//! Settings of Managed containers.
//!
//! Each setting is read first, and written only if it differs. Settings are independent: the failure of one appears in
//! its condition and does not stop the others. The operator applies a failed setting again at a resync, but a final one
//! (the service does not implement it) only after a change of `spec.storage`. An annotation of the Config records final
//! settings.

use std::time::Duration;

use serde_json::Value;

use super::cache::ObservationCache;
use super::intent::{self, StoredSettings};
use super::work::Work;
use crate::api::{Condition, Config, Storage};
use crate::config::event_request::EventRequest;
use crate::status::conditions::{ConditionUpdate, Status};
use crate::storage::model::call::CallError;
use crate::storage::model::error::StepError;
use crate::storage::model::outcome::STORAGE_EXISTS;
use crate::storage::model::progress::Ensured;
use crate::storage::model::setting::{Applied, Setting, SettingError, SettingScope};
use crate::storage::model::state::State;
use crate::storage::model::target::Request;
use crate::storage::traits::{Cluster, ObjectBackend, ObjectStore};

/// Longest time for one setting.
const LIMIT: Duration = Duration::from_mins(1);

/// Result of applying settings.
#[derive(Default)]
pub(super) struct AppliedSettings {
    /// One condition for each setting that was due.
    pub conditions: Vec<ConditionUpdate>,
    /// Events to publish.
    pub events: Vec<EventRequest>,
    /// Functions that set members of the spec which result from settings.
    pub completes: Vec<fn(&mut Storage)>,
    /// Settings that the operator does not apply again until `spec.storage` changes.
    pub is_final: Vec<&'static str>,
    /// When a setting that the service is still applying must be applied again.
    pub again: Option<Duration>,
}

fn stored<'a>(config: &'a Config, type_: &str) -> Option<&'a Condition> {
    let conditions = config.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|c| c.type_ == type_)
}

/// Whether a setting of applied storage is not applied yet and not final. Conditions of other storage say nothing about it.
fn is_open(request: &Request<'_>, finals: &StoredSettings, setting: &Setting) -> bool {
    let reported = stored(request.config, setting.condition).is_some_and(|c| c.status == Status::True.text());
    let location = request.target.location.as_deref();
    let applied = reported && !StoredSettings::are_of_another(request.config, location);
    setting.is_reported() && !applied && !finals.is_final(setting.condition)
}

fn finals(request: &Request<'_>) -> StoredSettings {
    StoredSettings::of(request.config, request.target.location.as_deref())
}

/// Whether any setting of applied storage must be applied. A new leader applies each setting that follows the platform
/// once, if the platform requests a value, because the value may have changed.
pub(super) fn are_unfinished(settings: &[Setting], request: &Request<'_>, cache: &ObservationCache) -> bool {
    let finals = finals(request);
    settings.iter().any(|setting| {
        is_open(request, &finals, setting)
            || setting.follows.as_ref().is_some_and(|follows| {
                let changed = cache.is_followed_changed(setting.condition, &follows.fingerprint);
                !finals.is_final(setting.condition) && changed.unwrap_or(!follows.empty)
            })
    })
}

/// The record of settings after a complete `ensure`. It is stored before the status: at the start of a switch (`switching`) before the
/// conditions of the new storage, and at its end, or when the user turns back, after the last condition that it disowns. `own`: types
/// of the conditions of the backend.
pub(super) fn record(
    request: &Request<'_>,
    own: &[&str],
    ensured: &Ensured,
    state: State,
    switching: bool,
) -> Option<(&'static str, Value)> {
    let starts = state == State::Managed && switching;
    if !starts && is_shown_as_applied(request, own, ensured, state) {
        return None;
    }
    match (state, &ensured.final_settings) {
        (State::Unmanaged, _) => intent::without_settings(request.config),
        (State::Managed, Some(is_final)) => {
            let location = request.target.location.as_deref()?;
            StoredSettings::patch(request.config, location, is_final, switching)
        }
        (State::Managed, None) => None,
    }
}

/// Whether the conditions are those of other storage, and the status still shows a setting as applied that is not applied to this
/// storage.
fn is_shown_as_applied(request: &Request<'_>, own: &[&str], ensured: &Ensured, state: State) -> bool {
    let is_true = |type_: &str| stored(request.config, type_).is_some_and(|c| c.status == Status::True.text());
    let is_reported = |type_: &str| match state {
        State::Managed => {
            let mut conditions = ensured.conditions.iter();
            conditions.any(|c| c.type_ == type_ && c.status != Status::True)
        }
        State::Unmanaged => true,
    };
    let mut settings = own.iter().filter(|type_| **type_ != STORAGE_EXISTS);
    StoredSettings::are_of_another(request.config, request.target.location.as_deref())
        && settings.any(|type_| is_reported(type_) && is_true(type_))
}

impl<B: ObjectBackend, C: Cluster> Work<'_, B, C> {
    /// Whether the storage is in use unchanged, so that only settings which the conditions report as missing are due.
    fn is_settled(&self) -> bool {
        self.request.applied && !self.request.state_changed && !self.is_said_to_be_gone()
    }

    /// The settings to apply now. `marked_now`: this step wrote the ownership mark.
    pub(super) fn due_settings(&self, marked_now: bool) -> Vec<Setting> {
        let all = self.backend.settings(self.request);
        if !self.is_settled() {
            return all;
        }
        let finals = finals(self.request);
        let is_due = |setting: &Setting| {
            let is_final = finals.is_final(setting.condition);
            let changed = setting.follows.as_ref().is_some_and(|follows| {
                let changed = self.cache.is_followed_changed(setting.condition, &follows.fingerprint);
                changed.unwrap_or(true)
            });
            is_open(self.request, &finals, setting) || (!is_final && (changed || (setting.marks && marked_now)))
        };
        all.into_iter().filter(is_due).collect()
    }

    /// Whether a setting would write a probe object that is not recorded yet.
    pub(super) async fn is_about_to_probe(&self, due: &[Setting]) -> bool {
        if self.request.probe_recorded {
            return false;
        }
        for setting in due.iter().filter(|setting| setting.probes) {
            if self.store.would_probe(setting).await {
                return true;
            }
        }
        false
    }

    /// Settings that stay final, because they are not due.
    fn kept_finals(&self, due: &[Setting]) -> Vec<&'static str> {
        if !self.is_settled() {
            return Vec::new();
        }
        let finals = finals(self.request);
        let all = self.backend.settings(self.request).into_iter();
        let is_due = |condition: &str| due.iter().any(|setting| setting.condition == condition);
        all.map(|setting| setting.condition)
            .filter(|condition| finals.is_final(condition) && !is_due(condition))
            .collect()
    }

    /// Applies the due settings.
    pub(super) async fn apply_settings(&self, due: &[Setting], ours: bool) -> Result<AppliedSettings, StepError> {
        let mut result = AppliedSettings {
            is_final: self.kept_finals(due),
            ..AppliedSettings::default()
        };
        let scope = SettingScope {
            ours,
            recorded: self.request.record.exists(),
            probe_recorded: self.request.probe_recorded,
        };
        let mut silent: Option<CallError> = None;
        for setting in due {
            let ended = match &silent {
                // The service does not respond, so that the others would only take time.
                Some(error) => Err(SettingError::Call(error.clone())),
                None => self.apply_in_time(setting, scope, &mut silent).await,
            };
            self.publish(setting, &ended, &mut result.events);
            let condition = match ended {
                Err(SettingError::Call(error)) if !setting.is_reported() && !error.is_not_leading() => {
                    tracing::warn!(setting = setting.condition, %error, "a setting was not applied, and is tried again");
                    continue;
                }
                Ok(Applied { events, .. }) if !setting.is_reported() => {
                    result.events.extend(events);
                    continue;
                }
                Ok(Applied {
                    message,
                    events,
                    completes,
                    changed: _,
                }) => {
                    result.events.extend(events);
                    result.completes.extend(completes);
                    ConditionUpdate::new(setting.condition, Status::True, setting.reason, message)
                }
                Err(SettingError::Step(failed)) => return Err(failed),
                Err(SettingError::Call(error)) if error.is_not_leading() => return Err(error.storage_error().into()),
                Err(SettingError::Call(error)) => {
                    let reason = error.reason(B::TERMS.unknown);
                    self.not_applied(setting, reason, &error.to_string(), error.is_unsupported(), &mut result)
                }
                Err(SettingError::NotNeeded { reason, message }) => {
                    result.is_final.push(setting.condition);
                    ConditionUpdate::new(setting.condition, Status::False, reason, message)
                }
                Err(SettingError::Pending { reason, message, after }) => {
                    result.again = Some(result.again.map_or(after, |again| again.min(after)));
                    ConditionUpdate::new(setting.condition, Status::Unknown, reason, message)
                }
                Err(SettingError::Declined {
                    reason,
                    message,
                    is_final,
                }) => self.not_applied(setting, reason, &message, is_final, &mut result),
            };
            result.conditions.push(condition);
        }
        Ok(result)
    }

    /// Applies a setting, and sets `silent` if the service does not respond in time.
    async fn apply_in_time(
        &self,
        setting: &Setting,
        scope: SettingScope,
        silent: &mut Option<CallError>,
    ) -> Result<Applied, SettingError> {
        if let Ok(ended) = tokio::time::timeout(LIMIT, self.store.apply(setting, scope)).await {
            return ended;
        }
        let error = CallError::no_answer(setting.condition, &self.store.container().name, LIMIT);
        *silent = Some(error.clone());
        Err(SettingError::Call(error))
    }

    fn not_applied(
        &self,
        setting: &Setting,
        reason: String,
        cause: &str,
        is_final: bool,
        result: &mut AppliedSettings,
    ) -> ConditionUpdate {
        let mut message = format!("{} on {}: {cause}.", setting.failure, self.named());
        if is_final {
            message.push_str(" It is not tried again until spec.storage changes.");
            result.is_final.push(setting.condition);
        }
        ConditionUpdate::new(setting.condition, Status::False, reason, message)
    }

    /// Adds the event about a setting of storage that was in use before, and caches the value that the platform
    /// requested.
    fn publish(&self, setting: &Setting, ended: &Result<Applied, SettingError>, events: &mut Vec<EventRequest>) {
        let handled = match ended {
            Ok(_) | Err(SettingError::Declined { is_final: true, .. } | SettingError::NotNeeded { .. }) => true,
            Err(SettingError::Call(error)) => error.is_unsupported(),
            Err(_) => false,
        };
        if handled && let Some(follows) = &setting.follows {
            self.cache
                .store_followed(setting.condition, follows.fingerprint.clone());
        }
        let Some(about) = setting.events.filter(|_| self.is_settled()) else {
            return;
        };
        let event = match ended {
            Ok(Applied { changed: true, .. }) => (false, format!("{} {}", self.named(), about.changed)),
            Err(SettingError::Call(error)) if !error.is_unsupported() => {
                (true, format!("{} {}: {error}", self.named(), about.failed))
            }
            _ => return, // Nothing changed, or the condition reports the failure permanently.
        };
        events.push(EventRequest {
            warning: event.0,
            reason: about.reason,
            message: event.1,
        });
    }
}
