//! Deletes the content of a container in bounded steps, and then the container.
//!
//! One step deletes at most 1000 entries, just after the engine read the ownership mark. Each step lists from the
//! beginning, so no continuation token has to be stored.

use std::time::Duration;

use super::work::{Work, exists};
use crate::status::conditions::Status;
use crate::storage::model::call::{CallClass, CallError, Called};
use crate::storage::model::container::{Owner, Refusal, RefusalCause};
use crate::storage::model::error::{ErrorClass, StepError, StorageError};
use crate::storage::model::progress::{Deleted, Mark, Wait};
use crate::storage::model::proof::{Level, OwnershipProof};
use crate::storage::model::target::CreationRecord;
use crate::storage::traits::{Cluster, ObjectBackend, ObjectStore};

/// Largest number of entries per step.
const PAGE: u16 = 1000;
/// Wait until a deleted container is not visible any more.
const GOING: Duration = Duration::from_secs(1);
/// How an administrator ends a removal that cannot delete the data.
const RELEASE: &str = "or set spec.storage.managementState to Unmanaged to keep the data and finish the removal";

impl<B: ObjectBackend, C: Cluster> Work<'_, B, C> {
    /// Reads the ownership mark of the container; if the container is out of reach and goes with the object of a stage, that
    /// of the object.
    pub(super) async fn prove(&self) -> Result<(Level, Mark), StepError> {
        match self.look().await {
            Ok(()) => {}
            Err(error) if error.is_missing() => return Ok((Level::Container, self.confirm_gone().await?)),
            Err(error) => {
                let what = format!("the {} cannot be observed", B::TERMS.container);
                return self.with_stage(&error, &what).await;
            }
        }
        let owner = match self.store.read_ownership().await {
            Ok(owner) => owner,
            Err(error) if error.is_container_gone() => {
                // HEAD found the container just before. A second HEAD decides.
                return match self.look().await {
                    Err(error) if error.is_missing() => Ok((Level::Container, Mark::Gone)),
                    _ => Err(self.contradicted()),
                };
            }
            Err(error) => return self.with_stage(&error, "its mark of ownership cannot be read").await,
        };
        Ok((Level::Container, self.mark_of(owner)))
    }

    /// Proof of the object with which the container is deleted; otherwise the error of the container.
    async fn with_stage(&self, error: &CallError, why: &str) -> Result<(Level, Mark), StepError> {
        if self.store.goes_with_stage(error)
            && let Some(proved) = self.prove_holder().await?
        {
            return Ok(proved);
        }
        Err(self.kept(error, why))
    }

    /// Goes on with the object with which the container is deleted; otherwise the error of the container.
    async fn remove_with_stage(&self, error: &CallError, why: &str) -> Result<Deleted, StepError> {
        match self.with_stage(error, why).await? {
            (level @ Level::Stage(..), Mark::Ours(pin)) => self.remove_stage(&OwnershipProof::read(level, pin)).await,
            _ => Err(self.kept(error, why)),
        }
    }

    /// The same for a container whose content is out of reach. One that goes with no other object is deleted with its content, if
    /// the service permits that.
    async fn remove_unseen(&self, error: &CallError, why: &str, proof: &OwnershipProof) -> Result<Deleted, StepError> {
        match self.remove_with_stage(error, why).await {
            Err(_) if self.store.goes_whole(error).await => self.delete_container(false, proof).await,
            ended => ended,
        }
    }

    fn mark_of(&self, owner: Owner) -> Mark {
        let claim = self.claim();
        match owner {
            Owner::Ours => Mark::Ours(self.store.pin()),
            Owner::Other(cluster) => Mark::NotOurs(format!("it carries the mark of cluster {cluster}")),
            // An intent proves nothing: somebody else may have created the container. Neither does the record of a marked
            // container: its mark must be readable.
            Owner::Unmarkable | Owner::Nobody(_)
                if claim.record == CreationRecord::CreatedUnmarked && claim.deterministic =>
            {
                Mark::Ours(String::new())
            }
            Owner::Nobody(missing) => Mark::Missing(missing),
            Owner::Unmarkable if claim.record == CreationRecord::Created => {
                Mark::Missing("the service answers that it stores no marks".to_owned())
            }
            Owner::Unmarkable => Mark::NotOurs(
                "its service does not support an ownership mark, and the operator did not create it under its own name for it"
                    .to_owned(),
            ),
        }
    }

    /// Confirms a HEAD response 404, which has no body and may come from a proxy. The removal forgets a missing
    /// container, so this method needs the error code of the service: from a read of the mark or, if that is denied,
    /// from a listing.
    async fn confirm_gone(&self) -> Result<Mark, StepError> {
        match self.ask_whether_gone().await {
            Ok(()) => Err(self.contradicted()),
            Err(error) if error.is_container_gone() => Ok(Mark::Gone),
            Err(error) => Err(self.kept(&error, "whether it is gone cannot be determined")),
        }
    }

    /// A read whose error has the service's own code if the container does not exist.
    pub(super) async fn ask_whether_gone(&self) -> Called<()> {
        match self.store.read_ownership().await {
            Ok(Owner::Unmarkable) => self.store.list_page(1).await.map(drop),
            Err(error) if error.is_forbidden() => self.store.list_page(1).await.map(drop),
            other => other.map(drop),
        }
    }

    /// Deletes the next page of the content, or the container if it is empty.
    pub(super) async fn empty(&self, proof: &OwnershipProof) -> Result<Deleted, StepError> {
        let page = match self.store.list_page(PAGE).await {
            Ok(page) => page,
            // HEAD found the container just before. The deletion decides: a container that holds anything refuses it, or is the
            // operator's.
            Err(error) if error.is_container_gone() => return self.delete_container(false, proof).await,
            Err(error) => return self.remove_unseen(&error, "its content cannot be listed", proof).await,
        };
        if page.entries.is_empty() {
            return self.delete_container(page.versions_hidden, proof).await;
        }
        self.confirm().await?;
        let deletion = match self.store.delete_page(page.entries).await {
            Ok(deletion) => deletion,
            Err(error) if error.is_container_gone() => return Ok(self.going()),
            Err(error) => return self.remove_unseen(&error, "its content cannot be deleted", proof).await,
        };
        if deletion.deleted == 0 && deletion.refused.is_empty() {
            // Without this check the removal would list and delete the same page without a pause.
            let message = format!(
                "{} was not emptied: the service neither deleted nor refused the objects of a page, it is tried again",
                self.named()
            );
            return Ok(StorageError::transient(message).into());
        }
        Ok(Deleted {
            objects: deletion.deleted,
            next: if deletion.refused.is_empty() {
                Ok(self.emptying())
            } else {
                Err(self.not_deleted(&deletion.refused))
            },
        })
    }

    fn emptying(&self) -> Wait {
        Wait::new(Duration::ZERO, format!("{} is being emptied", self.named()))
    }

    fn going(&self) -> Deleted {
        let message = format!("{} was deleted, waiting until it is gone", self.named());
        Deleted {
            objects: 0,
            next: Ok(Wait::new(GOING, message)),
        }
    }

    /// Error for objects that were not deleted. The next attempt lists from the beginning.
    fn not_deleted(&self, refused: &[Refusal]) -> StepError {
        let named = self.named();
        let forbidden: Vec<(&Refusal, &str)> = refused
            .iter()
            .filter_map(|r| match r.cause {
                RefusalCause::Forbidden(right) => Some((r, right)),
                _ => None,
            })
            .collect();
        let locked = refused.iter().filter(|r| r.cause == RefusalCause::Locked);
        let first = locked.clone().chain(refused).next();
        let locked = locked.count();
        let code = first.map(|r| r.code.clone()).unwrap_or_default();
        let message = match (first, forbidden.first()) {
            (Some(first), _) if locked > 0 => format!(
                "{named} was not emptied: at least {locked} objects are under object lock, a retention policy or a hold, {} is \
                 one of them: {code}: {}: wait until their retention ends or remove the hold, {RELEASE}",
                first.key, first.message
            ),
            (_, Some((refusal, right))) => format!(
                "{named} was not emptied: {right} is denied on {} objects, {} is one of them: grant it, {RELEASE}",
                forbidden.len(),
                refusal.key
            ),
            (first, None) => format!(
                "{named} was not emptied: {} objects were not deleted, {} is one of them: {code}: {}",
                refused.len(),
                first.map(|r| r.key.as_str()).unwrap_or_default(),
                first.map(|r| r.message.as_str()).unwrap_or_default()
            ),
        };
        let class = if refused.iter().all(|r| r.cause == RefusalCause::Busy) {
            ErrorClass::Transient
        } else {
            ErrorClass::ActionRequired
        };
        stuck::<B>(StorageError { class, message }, code)
    }

    async fn delete_container(&self, versions_hidden: bool, proof: &OwnershipProof) -> Result<Deleted, StepError> {
        self.confirm().await?;
        if self.store.abort_uploads().await {
            // With a pause, because the service may accept each call without an effect.
            let wait = Wait {
                after: GOING,
                ..self.emptying()
            };
            return Ok(Deleted {
                objects: 0,
                next: Ok(wait),
            });
        }
        match self.store.delete_container(proof).await {
            Ok(()) => Ok(self.going()),
            Err(error) if error.is_container_gone() => Ok(self.going()),
            Err(error) if self.store.goes_with_stage(&error) => {
                self.remove_with_stage(&error, "it cannot be deleted").await
            }
            Err(error) => {
                let mut failed = self.not_emptied(&error, versions_hidden);
                if B::EXISTS_IF_NOT_DELETED && !error.is_undecided() && !error.of_identity {
                    let message = failed.error.message.clone();
                    failed.conditions = vec![exists(Status::True, "", message)];
                }
                Err(failed)
            }
        }
    }

    /// Error of a container that the service does not delete.
    fn not_emptied(&self, error: &CallError, versions_hidden: bool) -> StepError {
        match error.class {
            CallClass::NotEmpty if versions_hidden => {
                let message = format!(
                    "{} was not deleted: {} holds versions; grant {}, {RELEASE}",
                    self.named(),
                    B::TERMS.container,
                    B::TERMS.rights_on_versions
                );
                let reason = error.reason(B::TERMS.unknown);
                stuck::<B>(StorageError::action_required(message), reason)
            }
            CallClass::NotEmpty => {
                let message = format!(
                    "{} was not deleted: something was written to it meanwhile, it is emptied again: {error}",
                    self.named()
                );
                let reason = error.reason(B::TERMS.unknown);
                stuck::<B>(StorageError::transient(message), reason)
            }
            _ => self.kept(error, "it cannot be deleted"),
        }
    }

    /// Error of a failed call, because of which the container is not deleted.
    pub(super) fn kept(&self, error: &CallError, why: &str) -> StepError {
        let remedy = if error.is_undecided() {
            String::new()
        } else if error.is_denied() {
            format!(": grant {} to the operator, {RELEASE}", error.action)
        } else {
            format!(": correct it, {RELEASE}")
        };
        let message = format!(
            "{} was not deleted, {why}: {}{remedy}",
            self.named(),
            self.explain(error)
        );
        stuck::<B>(
            error.storage_error_with(message),
            error.reason(Self::unknown_reason(error)),
        )
    }
}

fn stuck<B: ObjectBackend>(error: StorageError, reason: String) -> StepError {
    let reason = if reason.is_empty() {
        B::TERMS.unknown.to_owned()
    } else {
        reason
    };
    let condition = exists(Status::Unknown, reason, error.message.clone());
    StepError {
        error,
        conditions: vec![condition],
    }
}
