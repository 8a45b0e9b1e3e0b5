//! PURE: what a pass found, as the four conditions of the registry: `Available`, `Progressing`, `Degraded`, `Removed`.
//!
//! Each condition is a table whose first matching row counts. The rows are ordered such that, while a registry comes up,
//! no condition goes back to a status that it had left: `Available` waits for a pod that is available, `Progressing`
//! stays `True` from the first pass until the rollout that its controller has seen is complete.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::conditions::{Status, Verdict};
use super::deployment::{Deployment, text};
use crate::api::Condition;
use crate::config::resolve::{ManagementState, Reason, Rejection};
use crate::names;

/// How long something may be wrong before it counts as degraded; strictly more than this.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// Why a pass could not be finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Waits for an edit.
    Permanent {
        /// Class of the fault.
        reason: Reason,
        /// Names object, cause and remedy.
        message: String,
    },
    /// Is tried again.
    Transient {
        /// Names object and cause.
        message: String,
    },
}

impl From<Rejection> for Failing {
    fn from(rejection: Rejection) -> Self {
        Self::Permanent {
            reason: rejection.reason,
            message: rejection.message,
        }
    }
}

/// How far the removal of the registry is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Removal {
    /// The registry is to stay.
    #[default]
    NotAsked,
    /// Objects and storage are gone (the storage also where it was only let go of).
    Done,
    /// Under way: a clause that says how far, such as `waiting for Pod a on node b to end`.
    Waiting(String),
    /// A step failed and is tried again: object and cause.
    Failed(String),
}

/// Reason of `Degraded` while changed storage does not work for the registry.
pub const PREFLIGHT_FAILED: &str = "StoragePreflightFailed";

/// Storage that was changed and that the registry does not get yet: it is tried out first. Each is tried again, and names
/// action, object and cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preflight {
    /// Too early to be judged.
    Waiting(String),
    /// Nobody knows: no answer.
    Undecided(String),
    /// It does not work.
    Failed(String),
}

/// What a pass found.
#[derive(Clone, Debug)]
pub struct Findings<'a> {
    /// `spec.managementState`; `Managed` where the Config does not decode.
    pub state: ManagementState,
    /// The registry's Deployment.
    pub deployment: Option<&'a Value>,
    /// The wanted Routes that exist.
    pub routes: Vec<&'a Value>,
    /// Why the pass could not be finished.
    pub failing: Option<Failing>,
    /// Faults that wait for an edit and did not stop the pass (`RouteConflict`, `PVCIncompatible`).
    pub problems: Vec<Rejection>,
    /// What the first Deployment waits for.
    pub waiting_for: Option<String>,
    /// Storage that is not used yet.
    pub preflight: Option<Preflight>,
    /// How far a removal is; also asked for by the deletion of the Config, whatever its state.
    pub removal: Removal,
    /// Conditions as stored.
    pub stored: &'a [Condition],
    /// Since when passes have failed transiently without one that did not; kept in memory by the caller.
    pub failing_since: Option<Timestamp>,
    /// When the pass began.
    pub now: Timestamp,
}

/// What the findings mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// `Available`, `Progressing`, `Degraded`, `Removed`.
    pub verdicts: Vec<Verdict>,
    /// When the verdicts can change although nothing happens.
    pub recheck_after: Option<Duration>,
    /// `status.readyReplicas`.
    pub ready_replicas: i32,
}

/// Judges a pass.
pub fn judge(findings: &Findings<'_>) -> Judgement {
    let deployment = findings.deployment.map(Deployment);
    let case = Case { findings, deployment };
    let available = case.available();
    let unavailable_since = case.unavailable_since(&available);
    let degraded = case.degraded(&available, unavailable_since);
    let due = |since: Option<Timestamp>| since.and_then(|since| remaining(since, findings.now));
    // A verdict that time has already turned needs no further look.
    let recheck_after = if degraded.status == Status::True {
        None
    } else {
        due(unavailable_since)
            .into_iter()
            .chain(due(case.failing_since()))
            .min()
    };
    Judgement {
        verdicts: vec![available, case.progressing(), degraded, case.removed()],
        recheck_after,
        ready_replicas: deployment.map_or(0, Deployment::ready),
    }
}

/// Time until strictly more than [`PATIENCE`] has gone by; `None` where it has. One second later than the mark, because
/// stored times are whole seconds.
fn remaining(since: Timestamp, now: Timestamp) -> Option<Duration> {
    let elapsed = now.duration_since(since);
    // A clock that was set back must not postpone the next look without end.
    let elapsed = Duration::try_from(elapsed).unwrap_or_default();
    PATIENCE.checked_sub(elapsed).map(|rest| rest + Duration::from_secs(1))
}

struct Case<'a> {
    findings: &'a Findings<'a>,
    deployment: Option<Deployment<'a>>,
}

impl Case<'_> {
    /// The registry is to go: by its state, or because the Config is being deleted.
    fn leaving(&self) -> bool {
        self.findings.state == ManagementState::Removed || self.findings.removal != Removal::NotAsked
    }

    fn unmanaged(&self) -> bool {
        self.findings.state == ManagementState::Unmanaged && self.findings.removal == Removal::NotAsked
    }

    /// The permanent error that stopped the pass.
    fn permanent(&self) -> Option<(Reason, &str)> {
        match &self.findings.failing {
            Some(Failing::Permanent { reason, message }) if !goes_on(*reason) => Some((*reason, message)),
            _ => None,
        }
    }

    /// Faults that wait for an edit while the rest of the pass went on.
    fn problems(&self) -> Vec<(Reason, &str)> {
        let stopped = match &self.findings.failing {
            Some(Failing::Permanent { reason, message }) if goes_on(*reason) => Some((*reason, message.as_str())),
            _ => None,
        };
        let others = self.findings.problems.iter().map(|p| (p.reason, p.message.as_str()));
        let mut all: Vec<_> = stopped.into_iter().chain(others).collect();
        all.dedup();
        all
    }

    fn transient(&self) -> Option<&str> {
        match &self.findings.failing {
            Some(Failing::Transient { message }) => Some(message),
            _ => None,
        }
    }

    /// What fails and may pass by itself: that is a matter of time.
    fn lasting(&self) -> Option<&str> {
        let undecided = match &self.findings.preflight {
            Some(Preflight::Undecided(message)) => Some(message.as_str()),
            _ => None,
        };
        self.transient().or(undecided)
    }

    /// Storage that is not used yet, and why.
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

    fn available(&self) -> Verdict {
        let verdict = |status, reason: &str, message: String| Verdict::new("Available", status, reason, message);
        if self.unmanaged() {
            return verdict(Status::True, "Unmanaged", unmanaged());
        }
        let Some(deployment) = self.deployment else {
            // A claim that does not fit keeps the first Deployment away; a Route of somebody else does not.
            let unfit = self
                .problems()
                .into_iter()
                .find(|(reason, _)| *reason == Reason::PvcIncompatible);
            if let Some((reason, message)) = self.permanent().or(unfit) {
                return verdict(Status::False, reason.text(), message.to_owned());
            }
            if self.leaving() {
                return verdict(Status::True, "Removed", removed());
            }
            return verdict(
                Status::False,
                "DeploymentNotFound",
                format!("{} does not exist", name()),
            );
        };
        if deployment.deleting() {
            let message = format!("{} is being deleted, its pods go with it", name());
            return verdict(Status::False, "DeploymentDeleted", message);
        }
        if deployment.available() == 0 {
            let message = format!("{} has no available pod; its pods' events say why", name());
            return verdict(Status::False, "NoReplicasAvailable", message);
        }
        if deployment.available() != deployment.replicas() {
            let message = format!("{} serves with some of its pods, not all of them are available", name());
            return verdict(Status::True, "MinimumAvailability", message);
        }
        verdict(Status::True, "Ready", "The registry is ready".to_owned())
    }

    fn progressing(&self) -> Verdict {
        let verdict = |status, reason: &str, message: String| Verdict::new("Progressing", status, reason, message);
        if self.unmanaged() {
            return verdict(Status::False, "Unmanaged", unmanaged());
        }
        if self.leaving() {
            let removing =
                |how: String| verdict(Status::True, "Removing", format!("The registry is being removed{how}"));
            let again = |cause: &str| removing(format!(", trying again: {cause}"));
            return match (self.deployment, &self.findings.removal, self.transient()) {
                (Some(_), removal, _) => {
                    let why = match removal {
                        Removal::Waiting(what) => format!(": {what}"),
                        Removal::Failed(cause) => format!(", trying again: {cause}"),
                        _ => String::new(),
                    };
                    let message = format!("{} is being removed{why}", name());
                    verdict(Status::True, "DeletingDeployment", message)
                }
                (None, Removal::Waiting(what), _) => removing(format!(": {what}")),
                (None, Removal::Failed(cause), _) => again(cause),
                (None, _, Some(cause)) => again(cause),
                (None, ..) => verdict(
                    Status::False,
                    "Removed",
                    "All objects of the registry are removed".to_owned(),
                ),
            };
        }
        if let Some((_, message)) = self.permanent() {
            return verdict(
                Status::False,
                "Error",
                format!("Cannot apply the configuration: {message}"),
            );
        }
        if let Some(message) = self.transient() {
            return verdict(
                Status::True,
                "Error",
                format!("Cannot apply the configuration, trying again: {message}"),
            );
        }
        if let Some(message) = self.preflight() {
            let message = match self.deployment {
                Some(_) => format!("Storage is not used yet, the registry keeps what it has: {message}"),
                None => format!("Storage is not used yet, {} waits for it: {message}", name()),
            };
            return verdict(Status::True, "StoragePreflight", message);
        }
        let Some(deployment) = self.deployment else {
            return verdict(Status::True, "WaitingForDeployment", self.waiting());
        };
        if deployment.deleting() {
            return verdict(
                Status::True,
                "FinalizingDeployment",
                format!("{} is being deleted", name()),
            );
        }
        if !deployment.complete() {
            let message = format!("{} is rolling out, not all of its pods are new and available", name());
            return verdict(Status::True, "DeploymentNotCompleted", message);
        }
        verdict(Status::False, "Ready", "The registry is ready".to_owned())
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
            None => format!("Objects are applied, {} is not seen yet", name()),
        }
    }

    fn degraded(&self, available: &Verdict, unavailable_since: Option<Timestamp>) -> Verdict {
        let verdict = |status, reason: &str, message: String| Verdict::new("Degraded", status, reason, message);
        let fine = || verdict(Status::False, "", String::new());
        let over = |since: Option<Timestamp>| since.is_some_and(|since| remaining(since, self.findings.now).is_none());
        if self.unmanaged() {
            return verdict(Status::False, "Unmanaged", unmanaged());
        }
        let problems = self.problems();
        let wrong: Vec<_> = self.permanent().into_iter().chain(problems).collect();
        if let Some((reason, _)) = wrong.first() {
            let messages: Vec<_> = wrong.iter().map(|(_, message)| *message).collect();
            return verdict(Status::True, reason.text(), messages.join("; "));
        }
        if let Removal::Failed(cause) = &self.findings.removal {
            return verdict(
                Status::True,
                "RemoveFailed",
                format!("Cannot remove the registry: {cause}"),
            );
        }
        if let Some(Preflight::Failed(message)) = &self.findings.preflight {
            let message = format!(
                "Storage does not work for the registry and is not used: {message}. Grant what is missing, or correct \
                 spec.storage or its credentials; it is tried again"
            );
            return verdict(Status::True, PREFLIGHT_FAILED, message);
        }
        let sync_error = self.lasting().filter(|_| over(self.failing_since())).map(|message| {
            let message = format!("Applying the configuration has failed for more than 5 minutes: {message}");
            verdict(Status::True, "SyncError", message)
        });
        if self.leaving() {
            return sync_error.unwrap_or_else(|| verdict(Status::False, "Removed", removed()));
        }
        if over(unavailable_since) {
            let waiting_for = self.findings.waiting_for.as_deref();
            let cause = self.transient().or(self.preflight()).or(waiting_for);
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            return verdict(Status::True, "Unavailable", format!("{}{cause}", available.message));
        }
        // Before the rows that wait: a pod that went away meanwhile must not hide that nothing can be applied.
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
            return verdict(Status::True, "ProgressDeadlineExceeded", message);
        }
        let refused = refused_routes(&self.findings.routes);
        if refused.is_empty() {
            fine()
        } else {
            verdict(Status::True, "RouteDegraded", refused.join(", "))
        }
    }

    fn removed(&self) -> Verdict {
        if self.findings.state == ManagementState::Removed {
            Verdict::new(
                "Removed",
                Status::True,
                "Removed",
                "The registry is removed, as spec.managementState asks for",
            )
        } else {
            Verdict::new("Removed", Status::False, "", "")
        }
    }

    /// Since when `Available` has not been `True`: the stored time, so that the clock outlives a restart; `None` while it
    /// is, and where nobody cares.
    fn unavailable_since(&self, available: &Verdict) -> Option<Timestamp> {
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

/// Whether the rest of a pass goes on with a fault of this class.
const fn goes_on(reason: Reason) -> bool {
    matches!(reason, Reason::RouteConflict | Reason::PvcIncompatible)
}

/// What routers say of the Routes that they do not admit. A Route that no router has looked at yet is no problem.
fn refused_routes(routes: &[&Value]) -> Vec<String> {
    let list = |object: &Value, pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let mut refused = Vec::new();
    for route in routes {
        let name = route
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        for ingress in list(route, "/status/ingress") {
            let conditions = list(&ingress, "/conditions");
            let admitted = conditions.iter().find(|c| text(c, "type") == "Admitted");
            if let Some(admitted) = admitted.filter(|c| text(c, "status") != "True") {
                refused.push(format!(
                    "route {name} (host {}, router {}) is not admitted: {}",
                    text(&ingress, "host"),
                    text(&ingress, "routerName"),
                    [
                        text(admitted, "message"),
                        text(admitted, "reason"),
                        "the router gave no cause"
                    ]
                    .into_iter()
                    .find(|said| !said.is_empty())
                    .unwrap_or_default(),
                ));
            }
        }
    }
    // Routers come in any order; the text must not change with it.
    refused.sort();
    refused
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
