//! The loop that all controllers but the registry's run in: start a pass, set the condition, wait.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::context::Context;
use crate::api::ObjectRef;
use crate::apply::WriteError;
use crate::config::last_logged::LastLogged;
use crate::observe::Controller;
use crate::status::conditions::{ConditionUpdate, LastingFailure};

/// The wait before a pass that starts over after a conflict.
const AFTER_CONFLICT: Duration = Duration::from_millis(10);
/// So many conflicts in a row may be the edits of others. After more, a pass waits as after a failure.
const CONFLICTS: u32 = 3;

/// Who sets the Degraded condition of a controller.
pub(super) enum DegradedCondition {
    /// The loop sets this condition, once a failure has lasted for two minutes.
    Lasting(&'static str),
    /// The pass sets its conditions itself.
    SetByPass,
}

/// Runs passes until the process stops leading. A successful pass returns the longest wait before the next one. A failed
/// pass is retried with backoff, after a conflict at once.
pub(super) async fn run(
    context: Context,
    controller: Controller,
    name: &'static str,
    degraded: DegradedCondition,
    mut pass: impl AsyncFnMut(&Context) -> Result<Duration, Failure>,
) {
    let mut backoff = Backoff::default();
    let mut lasting_failure = LastingFailure::default();
    let mut logged = LastLogged::default();
    let mut conflicts = 0;
    loop {
        let permit = context.start_pass().await;
        let began = Instant::now();
        let result = pass(&context).await;
        context.count_pass(name, result.is_ok(), began.elapsed());
        drop(permit);
        let stale = matches!(result, Err(Failure::Stale));
        conflicts = if stale { conflicts + 1 } else { 0 };
        let mut wait = match &result {
            Ok(again) => {
                backoff.reset();
                if logged.ended() {
                    tracing::info!("{name}: the failure has ended");
                }
                *again
            }
            Err(Failure::Stale) if conflicts <= CONFLICTS => AFTER_CONFLICT,
            Err(Failure::Stale) => backoff.fail(context.jitter()),
            Err(failure) => {
                let text = failure.to_string();
                if logged.is_new(&text) {
                    tracing::warn!("{name}: {text}");
                }
                let wait = backoff.fail(context.jitter());
                failure.within().map_or(wait, |within| wait.min(within))
            }
        };
        if let DegradedCondition::Lasting(condition) = degraded
            && !stale
        {
            let cause = result.err().map(|failure| failure.to_string());
            let outcome = cause.as_deref().map_or(Ok(()), Err);
            let (condition_update, recheck) = lasting_failure.record(condition, outcome, context.uptime());
            context.set_conditions(condition_update);
            wait = recheck.map_or(wait, |recheck| wait.min(recheck));
        }
        if !stale {
            context.note_first_report(controller);
        }
        context.wait_for_change(controller, wait).await;
    }
}

/// Why a pass did not finish.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The object to write has changed since the snapshot; the cache now holds the newest version.
    #[error("an object was changed at the same time")]
    Stale,
    /// The pass is retried.
    #[error("{message}")]
    Failed {
        /// The message for a condition: names the object and the cause.
        message: String,
        /// Longest time until the next pass, if a condition depends on how long the failure lasts.
        within: Option<Duration>,
    },
}

impl Failure {
    /// A failure with this message.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::Failed {
            message: message.into(),
            within: None,
        }
    }

    fn within(&self) -> Option<Duration> {
        match self {
            Self::Stale => None,
            Self::Failed { within, .. } => *within,
        }
    }
}

/// The result of a pass after which the next one starts within `limit`, also if the pass failed.
pub(super) fn again_within(passed: Result<Duration, Failure>, limit: Option<Duration>) -> Result<Duration, Failure> {
    let Some(limit) = limit else { return passed };
    match passed {
        Ok(wait) => Ok(wait.min(limit)),
        Err(Failure::Failed { message, within }) => Err(Failure::Failed {
            message,
            within: Some(within.map_or(limit, |within| within.min(limit))),
        }),
        Err(Failure::Stale) => Err(Failure::Stale),
    }
}

impl Context {
    /// Sets conditions of the Config, and triggers the registry controller, which writes them, if one changed.
    pub(super) fn set_conditions(&self, condition_updates: impl IntoIterator<Item = ConditionUpdate>) {
        let mut changed = false;
        for condition_update in condition_updates {
            changed |= self.shared.set_condition(condition_update);
        }
        if changed {
            self.caches.trigger(Controller::Registry);
        }
    }

    /// The failure of a pass whose write failed. After a conflict, reads the object so that the next pass sees it.
    pub(super) async fn after_write_error(&self, object: &ObjectRef, error: WriteError) -> Failure {
        match error {
            WriteError::Conflict(_) => match self.writer.read(object).await {
                Ok(_) => Failure::Stale,
                Err(error) => Failure::failed(format!("cannot read {object}: {error}")),
            },
            error => Failure::failed(format!("cannot write {object}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::tests::cluster::Cluster;

    /// How many passes run within this time, if each ends like this.
    async fn passes(ended: impl Fn() -> Result<Duration, Failure>, time: Duration) -> u32 {
        let cluster = Cluster::new([]);
        let mut passes = 0;
        let running = run(
            cluster.context,
            Controller::Pruner,
            "test",
            DegradedCondition::SetByPass,
            async |_| {
                passes += 1;
                ended()
            },
        );
        let ended = tokio::time::timeout(time, running).await;
        assert!(ended.is_err(), "controllers do not end");
        passes
    }

    #[tokio::test(start_paused = true)]
    async fn a_conflict_starts_a_pass_over_at_once_and_many_in_a_row_slowly() {
        let first = passes(|| Err(Failure::Stale), AFTER_CONFLICT * 3 + Duration::from_millis(1)).await;
        assert_eq!(first, 4);
        let minute = passes(|| Err(Failure::Stale), Duration::from_mins(1)).await;
        assert!(minute <= 13, "{minute}");
    }
}
