//! The loop over the storage steps of one pass. The record of a step is stored before the next step.

use serde_json::Value;

use crate::api::Config;
use crate::config::event_request::EventRequest;
use crate::config::snapshot::Snapshot;
use crate::storage::model::error::StorageError;
use crate::storage::model::outcome::Outcome;

/// Largest number of steps in one pass. A new cluster needs about six.
const STEPS: u32 = 20;

/// A pass as the storage needs it. The controller and the tests implement it.
#[allow(async_fn_in_trait)] // One thread runs all of it: no future has to be `Send`.
pub trait Pass {
    /// Why the pass must end: the Config changed, or the write failed.
    type Interrupted;

    /// The stored Config.
    fn config(&self) -> &Config;
    /// All other objects.
    fn snapshot(&self) -> &Snapshot;
    /// Writes a merge patch of the Config with its resourceVersion. [`Self::config`] then returns the stored result.
    async fn persist(&mut self, patch: Value) -> Result<(), Self::Interrupted>;
    /// Publishes the events of a pass that ends with an error: what they report happened.
    fn publish(&mut self, events: Vec<EventRequest>);
}

/// Repeats `step` and stores the record of each step, until no further step may run at once. Returns the last outcome
/// with the events of all steps. An error of `step` (a stale Config) ends the loop.
pub async fn reconcile<P: Pass>(
    pass: &mut P,
    step: impl AsyncFn(&P) -> Result<Outcome, P::Interrupted>,
) -> Result<Outcome, P::Interrupted> {
    let mut events = Vec::new();
    let mut last = None;
    for _ in 0..STEPS {
        let mut outcome = step(pass).await?;
        let record = outcome.record.take();
        let recorded = record.is_some();
        events.append(&mut outcome.events);
        if let Some(record) = record
            && let Err(interrupted) = pass.persist(record).await
        {
            pass.publish(events);
            return Err(interrupted);
        }
        if !(recorded && outcome.continues()) {
            outcome.events = events;
            return Ok(outcome);
        }
        last = Some(outcome);
    }
    let message = format!(
        "the storage did not settle within {STEPS} steps: another client changes spec.storage after each write of the \
         operator; find the other writer of Config cluster"
    );
    Ok(Outcome {
        events,
        error: Some(StorageError::transient(message)),
        wait: None,
        // The freeze of the last step stays in effect. The pass applies everything else.
        ..last.unwrap_or_else(|| Outcome::unchanged(pass.config()))
    })
}
