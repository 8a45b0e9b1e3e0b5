//! PURE: computes the four conditions of the registry from the findings of a pass: `Available`, `Progressing`, `Degraded`,
//! `Removed`.
//!
//! Each condition is a list of cases; the first case that applies decides. The order of the cases keeps a condition from
//! returning to an earlier status during a bring-up: `Available` waits for an available pod, `Progressing` stays `True` from
//! the first pass until the Deployment controller reports a complete rollout.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::conditions::{ConditionUpdate, Status};
use super::deployment::Deployment;
use crate::api::Condition;
use crate::config::error_class::ErrorClass;
use crate::config::resolve::{ManagementState, Reason, Rejection};
use crate::config::{admission, elapsed};
use crate::names;

/// An error that lasts strictly longer than this is reported as `Degraded`.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// The error that ended a pass early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Who can resolve the error. Decides whether the pass is retried.
    pub class: ErrorClass,
    /// The object, the cause and the remedy.
    pub message: String,
}

impl Failing {
    /// An error that is retried, and may resolve itself.
    pub fn transient(message: impl Into<String>) -> Self {
        Self {
            class: ErrorClass::Transient,
            message: message.into(),
        }
    }

    /// The reason of an error that waits for an edit; `None` where the pass is retried.
    pub fn invalid(&self) -> Option<Reason> {
        match self.class {
            ErrorClass::Invalid(reason) => Some(reason),
            ErrorClass::ActionRequired | ErrorClass::NoAccess | ErrorClass::Transient => None,
        }
    }
}

impl From<Rejection> for Failing {
    fn from(rejection: Rejection) -> Self {
        Self {
            class: ErrorClass::Invalid(rejection.reason),
            message: rejection.message,
        }
    }
}

/// An operation of the storage that is under way, such as the creation of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The object and the operation that the pass waits for.
    pub message: String,
    /// When the operation counts as an error.
    pub deadline: Deadline,
}

/// When an operation counts as an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deadline {
    /// After [`PATIENCE`], like every error that is retried.
    #[default]
    Common,
    /// The operation has a deadline of its own, in the future.
    Ahead,
    /// The operation's own deadline has passed.
    Passed,
}

/// Progress of the removal of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Removal {
    /// No removal is requested.
    #[default]
    NotAsked,
    /// The objects are deleted. The storage is deleted, or released if the operator does not own it.
    Done,
    /// The removal waits: a clause for the message, such as `waiting for Pod a on node b to end`.
    Waiting(String),
    /// A step failed and is retried: the object and the cause.
    Failed(String),
    /// All objects in the cluster are deleted. The storage still exists, because its credentials are missing or refused. Its
    /// removal is retried.
    StorageLeft {
        /// The storage and the cause.
        cause: String,
        /// When the operator found this first.
        since: Timestamp,
    },
}

/// How long the removal of the storage may lack credentials before `Degraded`. Users often delete the Secret and the registry
/// together, and new credentials may arrive soon.
const STORAGE_LEFT_WITHIN: Duration = Duration::from_mins(2);

/// Reason of `Degraded` after an error that lasts.
const SYNC_ERROR: &str = "SyncError";

/// Reason of `Degraded` if a removal failed.
const REMOVE_FAILED: &str = "RemoveFailed";

/// Reason of `Degraded` while changed storage does not work for the registry.
pub const PREFLIGHT_FAILED: &str = "StoragePreflightFailed";

/// A preflight of changed storage that has not passed. The registry does not use the storage yet. Each preflight is retried;
/// each message names the action, the object and the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preflight {
    /// The credentials are new, so a refusal may be temporary.
    Waiting(String),
    /// The storage did not respond.
    Undecided(String),
    /// The storage refused a request of the preflight.
    Failed(String),
}

/// The findings of a pass.
#[derive(Clone, Debug)]
pub struct Findings<'a> {
    /// `spec.managementState`; `Managed` where the Config does not decode.
    pub state: ManagementState,
    /// The registry's Deployment.
    pub deployment: Option<&'a Value>,
    /// Why the Deployment's pods do not run, where they say so.
    pub not_running: Option<String>,
    /// The wanted Routes that exist, and what takes their place on other clusters.
    pub routes: Vec<&'a Value>,
    /// The error that ended the pass early.
    pub failing: Option<Failing>,
    /// Errors that wait for an edit and did not end the pass (`RouteConflict`, `ExposureRefused`, `PVCIncompatible`).
    pub problems: Vec<Rejection>,
    /// An unfinished operation of the storage.
    pub operation: Option<Operation>,
    /// The missing inputs of the first Deployment.
    pub waiting_for: Option<String>,
    /// The preflight of storage that is not used yet.
    pub preflight: Option<Preflight>,
    /// Progress of a removal. The deletion of the Config requests a removal too, whatever its `managementState`.
    pub removal: Removal,
    /// The stored conditions of the Config.
    pub stored: &'a [Condition],
    /// Start of the current series of passes with a transient error; the caller keeps it in memory.
    pub failing_since: Option<Timestamp>,
    /// When the pass began.
    pub now: Timestamp,
}

/// The conditions, and when to compute them again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// `Available`, `Progressing`, `Degraded`, `Removed`.
    pub condition_updates: Vec<ConditionUpdate>,
    /// Time until the conditions can change although no object changes.
    pub recheck_after: Option<Duration>,
    /// `status.readyReplicas`.
    pub ready_replicas: i32,
}

/// Computes the conditions.
pub fn judge(findings: &Findings<'_>) -> Judgement {
    let deployment = findings.deployment.map(Deployment);
    let case = Case { findings, deployment };
    let available = case.available();
    let unavailable_since = case.unavailable_since(&available);
    let degraded = case.degraded(&available, unavailable_since);
    let due = |since: Option<Timestamp>| since.and_then(|since| remaining(since, findings.now));
    // `Degraded=True` does not change with time.
    let recheck_after = if degraded.status == Status::True {
        None
    } else {
        due(unavailable_since)
            .into_iter()
            .chain(due(case.failing_since()))
            .chain(case.storage_left().and_then(|(_, left)| left))
            .chain(admission::silent(&findings.routes, findings.now).due)
            .min()
    };
    Judgement {
        condition_updates: vec![available, case.progressing(), degraded, case.removed()],
        recheck_after,
        ready_replicas: deployment.map_or(0, Deployment::ready),
    }
}

/// Time until strictly more than [`PATIENCE`] has elapsed; `None` if it has. Adds one second, because stored times are whole
/// seconds.
fn remaining(since: Timestamp, now: Timestamp) -> Option<Duration> {
    let elapsed = elapsed::elapsed(since, now, PATIENCE);
    PATIENCE.checked_sub(elapsed).map(|rest| rest + Duration::from_secs(1))
}

struct Case<'a> {
    findings: &'a Findings<'a>,
    deployment: Option<Deployment<'a>>,
}

impl Case<'_> {
    /// A removal is requested: by `managementState`, or because the Config is being deleted.
    fn leaving(&self) -> bool {
        self.findings.state == ManagementState::Removed || self.findings.removal != Removal::NotAsked
    }

    fn unmanaged(&self) -> bool {
        self.findings.state == ManagementState::Unmanaged && self.findings.removal == Removal::NotAsked
    }

    /// The invalid input that ended the pass early.
    fn permanent(&self) -> Option<(Reason, &str)> {
        let failing = self.findings.failing.as_ref()?;
        let reason = failing.invalid().filter(|reason| !goes_on(*reason))?;
        Some((reason, &failing.message))
    }

    /// Errors that wait for an edit and did not end the pass.
    fn problems(&self) -> Vec<(Reason, &str)> {
        let failing = self.findings.failing.as_ref();
        let own = failing.and_then(|failing| Some((failing.invalid()?, failing.message.as_str())));
        let own = own.filter(|(reason, _)| goes_on(*reason));
        let others = self.findings.problems.iter().map(|p| (p.reason, p.message.as_str()));
        let mut all: Vec<_> = own.into_iter().chain(others).collect();
        all.dedup();
        all
    }

    /// The error of a pass that is retried.
    fn transient(&self) -> Option<&str> {
        let failing = self.findings.failing.as_ref();
        failing
            .filter(|failing| failing.invalid().is_none())
            .map(|failing| failing.message.as_str())
    }

    /// The deadline and the message of an unfinished operation of the storage.
    fn operation(&self) -> Option<(Deadline, &str)> {
        let operation = self.findings.operation.as_ref()?;
        Some((operation.deadline, &operation.message))
    }

    /// An error that may resolve itself, and becomes `Degraded` if it lasts.
    fn lasting(&self) -> Option<&str> {
        let undecided = match &self.findings.preflight {
            Some(Preflight::Undecided(message)) => Some(message.as_str()),
            _ => None,
        };
        let operation = self.operation().filter(|(deadline, _)| *deadline == Deadline::Common);
        self.transient().or(undecided).or(operation.map(|(_, message)| message))
    }

    /// Why changed storage is not used yet.
    fn preflight(&self) -> Option<&str> {
        match self.findings.preflight.as_ref()? {
            Preflight::Waiting(message) | Preflight::Undecided(message) | Preflight::Failed(message) => Some(message),
        }
    }

    fn failing_since(&self) -> Option<Timestamp> {
        self.lasting()
            .map(|_| self.findings.failing_since.unwrap_or(self.findings.now))
            .filter(|_| !self.unmanaged())
    }

    fn available(&self) -> ConditionUpdate {
        let condition_update =
            |status, reason: &str, message: String| ConditionUpdate::new("Available", status, reason, message);
        if self.unmanaged() {
            return condition_update(Status::True, "Unmanaged", unmanaged());
        }
        let Some(deployment) = self.deployment else {
            // A claim that does not fit prevents the first Deployment. A Route of another owner does not.
            let unfit = self
                .problems()
                .into_iter()
                .find(|(reason, _)| *reason == Reason::PvcIncompatible);
            if let Some((reason, message)) = self.permanent().or(unfit) {
                return condition_update(Status::False, reason.text(), message.to_owned());
            }
            if self.leaving() {
                return condition_update(Status::True, "Removed", removed());
            }
            return condition_update(
                Status::False,
                "DeploymentNotFound",
                format!("{} does not exist", name()),
            );
        };
        if deployment.deleting() {
            let message = format!("{} is being deleted, its pods go with it", name());
            return condition_update(Status::False, "DeploymentDeleted", message);
        }
        if deployment.available() == 0 {
            // Scripts and articles of users look for the beginning, which is that of the Go operator.
            let begin = "The deployment does not have available replicas";
            let message = match &self.findings.not_running {
                Some(cause) => format!("{begin}: {cause}"),
                None => format!("{begin}: the events of the pods of {} say why", name()),
            };
            return condition_update(Status::False, "NoReplicasAvailable", message);
        }
        if deployment.available() != deployment.replicas() {
            let message = format!("{} serves with some of its pods, not all of them are available", name());
            return condition_update(Status::True, "MinimumAvailability", message);
        }
        condition_update(Status::True, "Ready", "The registry is ready".to_owned())
    }

    fn progressing(&self) -> ConditionUpdate {
        let condition_update =
            |status, reason: &str, message: String| ConditionUpdate::new("Progressing", status, reason, message);
        if self.unmanaged() {
            return condition_update(Status::False, "Unmanaged", unmanaged());
        }
        if self.leaving() {
            return self.removing();
        }
        if let Some((_, message)) = self.permanent() {
            return condition_update(
                Status::False,
                "Error",
                format!("Cannot apply the configuration: {message}"),
            );
        }
        if let Some(message) = self.transient() {
            return condition_update(
                Status::True,
                "Error",
                format!("Cannot apply the configuration, trying again: {message}"),
            );
        }
        if let Some((_, message)) = self.operation() {
            let message = match self.deployment {
                Some(_) => format!("Storage is being prepared, the registry keeps its current storage: {message}"),
                None => format!("Storage is being prepared, {} waits for it: {message}", name()),
            };
            return condition_update(Status::True, "StorageProvisioning", message);
        }
        if let Some(message) = self.preflight() {
            let message = match self.deployment {
                Some(_) => format!("Storage is not used yet, the registry keeps its current storage: {message}"),
                None => format!("Storage is not used yet, {} waits for it: {message}", name()),
            };
            return condition_update(Status::True, "StoragePreflight", message);
        }
        let Some(deployment) = self.deployment else {
            return condition_update(Status::True, "WaitingForDeployment", self.waiting());
        };
        if deployment.deleting() {
            return condition_update(
                Status::True,
                "FinalizingDeployment",
                format!("{} is being deleted", name()),
            );
        }
        if !deployment.complete() {
            let message = format!("{} is rolling out, not all of its pods are new and available", name());
            return condition_update(Status::True, "DeploymentNotCompleted", message);
        }
        condition_update(Status::False, "Ready", "The registry is ready".to_owned())
    }

    /// `Progressing` during a removal.
    fn removing(&self) -> ConditionUpdate {
        let condition_update =
            |status, reason: &str, message: String| ConditionUpdate::new("Progressing", status, reason, message);
        let removing =
            |how: String| condition_update(Status::True, "Removing", format!("The registry is being removed{how}"));
        let again = |cause: &str| removing(format!(", trying again: {cause}"));
        match (self.deployment, &self.findings.removal, self.transient()) {
            (Some(_), removal, transient) => {
                let why = match (removal, transient) {
                    (Removal::Waiting(what), _) => format!(": {what}"),
                    (Removal::Failed(cause), _) => format!(", trying again: {cause}"),
                    (_, Some(cause)) => format!(", trying again: {cause}"),
                    (_, None) => String::new(),
                };
                let message = format!("{} is being removed{why}", name());
                condition_update(Status::True, "DeletingDeployment", message)
            }
            (None, Removal::Waiting(what), _) => removing(format!(": {what}")),
            (None, Removal::Failed(cause), _) => again(cause),
            (None, Removal::StorageLeft { cause, .. }, _) => {
                let message = format!("All objects of the registry are removed, and its storage is left: {cause}");
                condition_update(Status::False, "Removed", message)
            }
            (None, _, Some(cause)) => again(cause),
            (None, ..) => condition_update(
                Status::False,
                "Removed",
                "All objects of the registry are removed".to_owned(),
            ),
        }
    }

    fn waiting(&self) -> String {
        if let Some(what) = &self.findings.waiting_for {
            return format!("{} is created as soon as this is there: {what}", name());
        }
        match self
            .problems()
            .into_iter()
            .find(|(reason, _)| *reason == Reason::PvcIncompatible)
        {
            Some((_, message)) => message.to_owned(),
            None => format!("All objects are applied; the watch has not delivered {} yet", name()),
        }
    }

    fn degraded(&self, available: &ConditionUpdate, unavailable_since: Option<Timestamp>) -> ConditionUpdate {
        let condition_update =
            |status, reason: &str, message: String| ConditionUpdate::new("Degraded", status, reason, message);
        let fine = || condition_update(Status::False, "", String::new());
        let over = |since: Option<Timestamp>| since.is_some_and(|since| remaining(since, self.findings.now).is_none());
        if self.unmanaged() {
            return condition_update(Status::False, "Unmanaged", unmanaged());
        }
        let problems = self.problems();
        let wrong: Vec<_> = self.permanent().into_iter().chain(problems).collect();
        if let Some((reason, _)) = wrong.first() {
            let messages: Vec<_> = wrong.iter().map(|(_, message)| *message).collect();
            return condition_update(Status::True, reason.text(), messages.join("; "));
        }
        if let Some(cause) = self.remove_failed() {
            return condition_update(
                Status::True,
                REMOVE_FAILED,
                format!("Cannot remove the registry: {cause}"),
            );
        }
        if let Some(Preflight::Failed(message)) = &self.findings.preflight {
            let message = format!(
                "Storage does not work for the registry and is not used: {message}. Grant what is missing, or correct \
                 spec.storage or its credentials; it is tried again"
            );
            return condition_update(Status::True, PREFLIGHT_FAILED, message);
        }
        let sync_error = self.sync_error();
        if self.leaving() {
            return sync_error.unwrap_or_else(|| condition_update(Status::False, "Removed", removed()));
        }
        if over(unavailable_since) {
            let waiting_for = self.findings.waiting_for.as_deref();
            let operation = self.operation().map(|(_, message)| message);
            let cause = self.transient().or(operation).or(self.preflight()).or(waiting_for);
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            return condition_update(Status::True, "Unavailable", format!("{}{cause}", available.message));
        }
        // Before the cases that wait: a missing pod must not hide that the operator cannot apply the configuration.
        if let Some(sync_error) = sync_error {
            return sync_error;
        }
        let Some(deployment) = self.deployment.filter(|_| available.status == Status::True) else {
            return fine();
        };
        if !deployment.complete() {
            let Some(cause) = deployment.timed_out() else {
                return fine();
            };
            let message = format!("The rollout of {} timed out: {cause}", name());
            return condition_update(Status::True, "ProgressDeadlineExceeded", message);
        }
        let mut refused = admission::refusals(&self.findings.routes);
        refused.extend(admission::silent(&self.findings.routes, self.findings.now).messages);
        if refused.is_empty() {
            fine()
        } else {
            condition_update(Status::True, "RouteDegraded", refused.join(", "))
        }
    }

    /// Why a step of the removal failed, or why the storage still exists after [`STORAGE_LEFT_WITHIN`].
    fn remove_failed(&self) -> Option<&str> {
        match &self.findings.removal {
            Removal::Failed(cause) => Some(cause),
            _ => self
                .storage_left()
                .filter(|(_, left)| left.is_none())
                .map(|(cause, _)| cause),
        }
    }

    /// Why the storage still exists after a removal, and the time until `Degraded`; no time if `Degraded` is due, or was
    /// reported already: a restart of the operator does not withdraw the condition.
    fn storage_left(&self) -> Option<(&str, Option<Duration>)> {
        let Removal::StorageLeft { cause, since } = &self.findings.removal else {
            return None;
        };
        let left = elapsed::left(*since, self.findings.now, STORAGE_LEFT_WITHIN);
        Some((cause, left.filter(|_| !self.is_reported(REMOVE_FAILED))))
    }

    /// Whether the stored `Degraded` is `True` with this reason.
    fn is_reported(&self, reason: &str) -> bool {
        let stored = self.findings.stored.iter().find(|c| c.type_ == "Degraded");
        stored.is_some_and(|c| c.status == "True" && c.reason.as_deref() == Some(reason))
    }

    /// `Degraded` for an error that lasts too long while the pass is retried. Once reported, it stays until a pass succeeds:
    /// a restart of the operator restarts the wait, but does not end the failure.
    fn sync_error(&self) -> Option<ConditionUpdate> {
        let sync_error = |message| ConditionUpdate::new("Degraded", Status::True, SYNC_ERROR, message);
        if let Some((Deadline::Passed, message)) = self.operation() {
            let message = format!("An operation of the storage takes longer than expected: {message}");
            return Some(sync_error(message));
        }
        let is_over = |since| remaining(since, self.findings.now).is_none();
        let since = if self.failing_since().is_some_and(is_over) {
            "for more than 5 minutes"
        } else if self.is_reported(SYNC_ERROR) {
            "for some time"
        } else {
            return None;
        };
        self.lasting()
            .map(|message| sync_error(format!("Applying the configuration has failed {since}: {message}")))
    }

    fn removed(&self) -> ConditionUpdate {
        if self.findings.state == ManagementState::Removed {
            ConditionUpdate::new(
                "Removed",
                Status::True,
                "Removed",
                "spec.managementState of Config cluster is Removed; condition Progressing says whether the removal is \
                 complete",
            )
        } else {
            ConditionUpdate::new("Removed", Status::False, "", "")
        }
    }

    /// When `Available` stopped being `True`. Reads the stored condition, so that a restart of the operator does not restart
    /// the wait. `None` while `Available` is `True`, and during a removal.
    fn unavailable_since(&self, available: &ConditionUpdate) -> Option<Timestamp> {
        if available.status == Status::True || self.leaving() {
            return None;
        }
        let stored = self.findings.stored.iter().find(|c| c.type_ == "Available");
        let stayed = stored.filter(|c| c.status == available.status.text());
        let since = stayed
            .and_then(|c| c.last_transition_time.as_deref())
            .and_then(|time| time.parse().ok());
        Some(since.unwrap_or(self.findings.now))
    }
}

/// Whether a pass continues after an error with this reason.
const fn goes_on(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::RouteConflict | Reason::ExposureRefused | Reason::PvcIncompatible
    )
}

fn name() -> String {
    format!("Deployment {}/{}", names::NAMESPACE, names::REGISTRY)
}

fn unmanaged() -> String {
    "The registry is not managed (spec.managementState is Unmanaged): nothing is changed".to_owned()
}

fn removed() -> String {
    "The registry is removed".to_owned()
}

#[cfg(test)]
mod tests;
