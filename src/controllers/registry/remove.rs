//! `Removed`, and deletion of the Config: objects first, then pods, then storage, then the finalizer.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::cluster::OnBehalf;
use super::report::Outcome;
use super::{Ended, Interrupted, Registry};
use crate::api::{Config, Kind};
use crate::apply;
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::plan::removal;
use crate::status::judge::Removal;
use crate::storage::{self, Cluster as _};

/// How long a removal that waits for pods rests at most before it looks again; a pod that goes triggers a pass anyway.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// What was deleted is mostly gone at once; the watch tells of the rest.
const NEXT_STAGE: Duration = Duration::from_millis(50);

impl Registry {
    pub(super) async fn remove(&mut self, config: Box<Config>, snapshot: Snapshot) -> Result<Ended, Interrupted> {
        let (config, snapshot, confirmed) = self.complete(config, snapshot, false).await?;
        self.take_away(config, snapshot, confirmed, false)
            .await
            .map(|(ended, _)| ended)
    }

    /// Deletion of the Config: the registry goes as for `Removed`, then our finalizer, and no other.
    pub(super) async fn finalize(&mut self, config: Box<Config>, snapshot: Snapshot) -> Result<Ended, Interrupted> {
        let finalizers = config.metadata.finalizers.clone().unwrap_or_default();
        if !finalizers.iter().any(|f| f == names::FINALIZER) {
            return Ok(Ended::WELL);
        }
        let (ended, done) = self.take_away(config, snapshot, false, true).await?;
        if !done {
            return Ok(ended);
        }
        let snapshot = self.context.world.snapshot();
        let Ok(Some(config)) = snapshot.config().map(|config| config.map(Box::new)) else {
            return Err(Interrupted::Stale);
        };
        let others: Vec<_> = finalizers.into_iter().filter(|f| f != names::FINALIZER).collect();
        let patch = json!({"metadata": {"finalizers": others}});
        self.store(config, snapshot, patch).await?;
        Ok(Ended::WELL)
    }

    /// Since when this process knows that there is no Deployment.
    fn deployment_gone(&mut self, snapshot: &Snapshot) -> Option<Timestamp> {
        let exists = snapshot.objects.operand(Kind::Deployment, names::REGISTRY).is_some();
        self.gone_since = (!exists).then(|| self.gone_since.unwrap_or(snapshot.now));
        self.gone_since
    }

    /// One stage of the removal; what is gone already costs no request. Tells whether everything is gone.
    async fn take_away(
        &mut self,
        config: Box<Config>,
        snapshot: Snapshot,
        confirmed: bool,
        deleting: bool,
    ) -> Result<(Ended, bool), Interrupted> {
        let state = ManagementState::of(&config);
        let mut outcome = Outcome {
            state: Some(state),
            ..Outcome::default()
        };
        self.tell_ca(None);
        self.tell_ca_fault(None);
        let stage = removal::removal(&snapshot, self.deployment_gone(&snapshot));
        if !stage.delete.is_empty() {
            if !confirmed {
                self.confirm(&config).await?;
            }
            let report = apply::delete(&stage.delete, &self.context.writer).await;
            self.context.tell(report.notices);
            if !report.failures.is_empty() {
                outcome.removal = Removal::Failed(report.failures.join("; "));
                return self.report(&snapshot, outcome).await.map(|ended| (ended, false));
            }
        }
        let mut again = None;
        let mut done = stage.delete.is_empty() && stage.objects_gone && stage.pods_gone;
        let mut snapshot = Snapshot {
            objects: self.context.world.snapshot().objects,
            ..snapshot
        };
        outcome.removal = match stage.waiting {
            _ if done => Removal::Done,
            Some(pods) => Removal::Waiting(format!("waiting for {pods}")),
            None => Removal::Waiting("its objects are being deleted".to_owned()),
        };
        // Unmanaged and deleted: the storage is not ours to look at, let alone to touch.
        if done && !(deleting && state == ManagementState::Unmanaged) {
            let (config, probed, ..) = self.clear_probes(config, snapshot).await?;
            snapshot = probed;
            let cluster = OnBehalf::new(&self.context.writer, &config);
            let mut removed = storage::remove(&config, &snapshot, &cluster, &self.context.cloud, deleting).await;
            if cluster.is_stale() {
                return Err(Interrupted::Stale);
            }
            again = removed.wait.as_ref().map(|(after, _)| *after);
            let record = removed.record.take().unwrap_or_default();
            (_, snapshot, _) = self.store(config, snapshot, record).await?;
            outcome.storage = removed.status_storage.take();
            outcome.storage_managed = Some(removed.storage_managed);
            outcome.own_conditions = Some(removed.own_conditions);
            outcome.verdicts.append(&mut removed.verdicts);
            outcome.notices.append(&mut removed.notices);
            done = removed.done;
            outcome.removal = match (removed.fault.take(), removed.wait.take()) {
                (Some(fault), _) => Removal::Failed(format!("storage: {}", fault.message)),
                (None, Some((_, waiting))) => Removal::Waiting(waiting),
                (None, None) if done => Removal::Done,
                (None, None) => Removal::Waiting("its storage is being removed".to_owned()),
            };
        }
        // Only the finalizer is left. Else the condition would turn with each attempt to take it away.
        if let (true, true, Some(fault)) = (done, deleting, &self.unstored) {
            outcome.removal = Removal::Failed(fault.clone());
        }
        let look = look_again(&outcome.removal, !stage.delete.is_empty(), again);
        let mut ended = self.report(&snapshot, outcome).await?;
        ended.again = look.map_or(ended.again, |look| look.min(ended.again));
        Ok((ended, done))
    }
}

/// When a removal is looked at again at the latest. One that failed waits as long as the loop's backoff says.
fn look_again(removal: &Removal, deleted: bool, asked: Option<Duration>) -> Option<Duration> {
    let stage = if deleted { NEXT_STAGE } else { LOOK_AGAIN };
    match removal {
        Removal::NotAsked | Removal::Done | Removal::Failed(_) => None,
        Removal::Waiting(_) => Some(asked.unwrap_or(stage)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // storage-decisions T10: "slow retry"
    // storage-core 44: "retry with backoff"
    #[test]
    fn a_removal_that_failed_is_left_to_the_backoff_and_one_that_waits_is_looked_at_soon() {
        let waiting = || Removal::Waiting("waiting for Pod x to end".to_owned());
        let soon = Some(Duration::from_secs(2));
        assert_eq!(look_again(&waiting(), false, None), Some(LOOK_AGAIN));
        assert_eq!(look_again(&waiting(), true, None), Some(NEXT_STAGE));
        assert_eq!(look_again(&waiting(), false, soon), soon);
        assert_eq!(look_again(&Removal::Done, true, None), None);
        let failed = Removal::Failed("storage: denied".to_owned());
        for deleted in [false, true] {
            assert_eq!(look_again(&failed, deleted, None), None);
        }
    }
}
