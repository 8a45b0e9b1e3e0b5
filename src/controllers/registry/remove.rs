//! A pass with `managementState: Removed`, or for a Config that is being deleted: deletes objects, waits for pods,
//! removes the storage, and then the finalizer.

use std::time::Duration;

use super::controller::{Ended, Interrupted, Registry, Since, Stale, Unstored};
use super::pass::PassContext;
use super::report::Outcome;
use crate::api::Kind;
use crate::apply;
use crate::config::error_class::ErrorClass;
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::plan::removal;
use crate::status::judge::{Deadline, Removal};
use crate::storage;
use jiff::Timestamp;

/// Longest wait of a removal for pods. The deletion of a pod triggers a pass anyway.
const RECHECK: Duration = Duration::from_secs(15);

/// Wait after a deletion. Most objects are deleted at once; watch events report the others.
const NEXT_STAGE: Duration = Duration::from_millis(50);

impl Registry {
    pub(super) async fn remove(&mut self, mut context: PassContext) -> Result<Ended, Interrupted> {
        let mut outcome = Outcome::default();
        // Nothing that the removal does depends on the observed settings.
        let retried = self
            .complete_if_accepted(&mut context, &mut outcome, "the removal continues")
            .await?;
        let observed = outcome.unobserved.is_some();
        match self.remove_all(&mut context, outcome, false).await {
            Ok((mut ended, _)) => {
                ended.failed |= retried;
                Ok(ended)
            }
            Err(Interrupted::Unstored(unstored)) => Err(Interrupted::Unstored(Unstored {
                observed: unstored.observed || observed,
                ..unstored
            })),
            Err(interrupted) => Err(interrupted),
        }
    }

    /// A pass for a Config that is being deleted: removes the registry as for `Removed`, then the operator's finalizer.
    pub(super) async fn finalize(&mut self, mut context: PassContext) -> Result<Ended, Interrupted> {
        let finalizers = context.config.metadata.finalizers.clone().unwrap_or_default();
        if !finalizers.iter().any(|f| f == names::FINALIZER) {
            return Ok(Ended::SUCCESS);
        }
        let (ended, done) = self.remove_all(&mut context, Outcome::default(), true).await?;
        if !done {
            return Ok(ended);
        }
        // The newest version: the removal may have taken minutes, and others have their finalizers too.
        let newest = self.context.caches.snapshot().objects;
        let Some(config) = newest.cluster(Kind::Config, names::CLUSTER) else {
            return Err(Stale::Gone.into());
        };
        self.release(config).await?;
        Ok(Ended::SUCCESS)
    }

    /// Since when this process finds no Deployment.
    fn deployment_gone(&mut self, snapshot: &Snapshot) -> Option<Timestamp> {
        let exists = snapshot.objects.operand(Kind::Deployment, names::REGISTRY).is_some();
        self.gone_since = (!exists).then(|| self.gone_since.unwrap_or_else(Since::now));
        self.gone_since.map(|since| since.at(snapshot.now))
    }

    /// Since when this process finds storage that it cannot remove for lack of credentials, with `managementState: Removed`.
    fn storage_left_since(
        &mut self,
        removed: &storage::Outcome,
        state: ManagementState,
        deleting: bool,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let no_access = removed
            .error
            .as_ref()
            .is_some_and(|error| error.class == ErrorClass::NoAccess);
        let is_left = no_access && !deleting && state == ManagementState::Removed;
        self.left_since = is_left.then(|| self.left_since.unwrap_or_else(Since::now));
        self.left_since.map(|since| since.at(now))
    }

    /// One step of the removal. `outcome`: what the pass found before. Returns whether the removal is complete.
    async fn remove_all(
        &mut self,
        context: &mut PassContext,
        mut outcome: Outcome,
        deleting: bool,
    ) -> Result<(Ended, bool), Interrupted> {
        let state = ManagementState::of(&context.config);
        outcome.state = Some(state);
        self.set_storage_ca(None);
        self.set_storage_ca_error(None);
        let stage = removal::removal(&context.snapshot, self.deployment_gone(&context.snapshot));
        if !stage.delete.is_empty() {
            if !context.confirmed.get() {
                self.confirm(&context.config).await?;
            }
            let mut report = apply::delete(&stage.delete, &context.snapshot, &self.context.writer).await;
            let failures = report.failure_message();
            self.context.publish_report(&mut report);
            if !failures.is_empty() {
                outcome.removal = Removal::Failed(failures);
                let ended = self.report(&context.snapshot, outcome).await?;
                return Ok((ended, false));
            }
        }
        let mut again = None;
        let mut done = stage.storage_may_go();
        outcome.removal = match stage.waiting {
            _ if done => Removal::Done,
            Some(pods) => Removal::Waiting(format!("waiting for {pods}")),
            None => Removal::Waiting("its objects are being deleted".to_owned()),
        };
        // If the Config is Unmanaged and deleted, make no call to the storage.
        if done && !(deleting && state == ManagementState::Unmanaged) {
            self.clear_probes(context).await?;
            let mut removed = self.remove_storage(context, deleting).await?;
            again = removed.wait.as_ref().map(|wait| wait.after);
            done = removed.done;
            let since = self.storage_left_since(&removed, state, deleting, context.snapshot.now);
            outcome.add_removal(&mut removed, since);
        } else {
            self.left_since = None;
        }
        // Only the finalizer is left, and its removal failed. Keep the error, so that the conditions do not flap.
        if let (true, true, Some(error)) = (done, deleting, &self.unstored) {
            outcome.removal = Removal::Failed(error.clone());
        }
        let recheck = recheck_after(&outcome.removal, !stage.delete.is_empty(), again);
        let mut ended = self.report(&context.snapshot, outcome).await?;
        ended.again = recheck.map_or(ended.again, |recheck| recheck.min(ended.again));
        Ok((ended, done))
    }
}

impl Outcome {
    /// Adds the findings of a removal step of the storage. `left_since`: since when credentials are missing or refused.
    fn add_removal(&mut self, removed: &mut storage::Outcome, left_since: Option<Timestamp>) {
        self.storage = removed.status_storage.take();
        self.storage_managed = Some(removed.storage_managed);
        self.own_conditions = Some(removed.own_conditions);
        self.conditions.append(&mut removed.conditions);
        self.events.append(&mut removed.events);
        self.removal = match (removed.error.take(), removed.wait.take()) {
            (Some(error), _) => {
                let cause = format!("storage: {}", error.message);
                match left_since {
                    Some(since) => Removal::StorageLeft { cause, since },
                    None => Removal::Failed(cause),
                }
            }
            (None, Some(wait)) if wait.deadline == Deadline::Passed => {
                Removal::Failed(format!("storage: {}", wait.message))
            }
            (None, Some(wait)) => Removal::Waiting(wait.message),
            (None, None) if removed.done => Removal::Done,
            (None, None) => Removal::Waiting("its storage is being removed".to_owned()),
        };
    }
}

/// Longest time until the next step of a removal; `None` if it is complete, or failed and waits for the backoff.
/// `deleted`: this step deleted objects. `requested`: wait that the storage requested.
fn recheck_after(removal: &Removal, deleted: bool, requested: Option<Duration>) -> Option<Duration> {
    let stage = if deleted { NEXT_STAGE } else { RECHECK };
    match removal {
        Removal::NotAsked | Removal::Done | Removal::Failed(_) | Removal::StorageLeft { .. } => None,
        Removal::Waiting(_) => Some(requested.unwrap_or(stage)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // storage-decisions T10: "slow retry"
    // storage-core 44: "retry with backoff"
    #[test]
    fn a_failed_removal_waits_for_the_backoff_and_a_waiting_one_is_checked_soon() {
        let waiting = || Removal::Waiting("waiting for Pod x to end".to_owned());
        let soon = Some(Duration::from_secs(2));
        assert_eq!(recheck_after(&waiting(), false, None), Some(RECHECK));
        assert_eq!(recheck_after(&waiting(), true, None), Some(NEXT_STAGE));
        assert_eq!(recheck_after(&waiting(), false, soon), soon);
        assert_eq!(recheck_after(&Removal::Done, true, None), None);
        let failed = Removal::Failed("storage: denied".to_owned());
        let left = Removal::StorageLeft {
            cause: "storage: no credentials".to_owned(),
            since: Timestamp::UNIX_EPOCH,
        };
        for deleted in [false, true] {
            assert_eq!(recheck_after(&failed, deleted, None), None);
            assert_eq!(recheck_after(&left, deleted, None), None);
        }
    }
}
