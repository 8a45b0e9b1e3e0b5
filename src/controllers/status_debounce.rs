//! Debounces status writes. A change of a condition's status is written at once; changes of reasons and messages are
//! collected for a moment and written together.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::status::config_status::differs;

/// How long a change of reasons and messages may wait. A reader must see it within a second.
const MESSAGE_DELAY: Duration = Duration::from_millis(500);

/// When a status was last written.
#[derive(Debug)]
pub(super) struct StatusDebounce {
    started: Instant,
    written: Option<Instant>,
}

impl StatusDebounce {
    /// For a process that starts now.
    pub(super) fn start() -> Self {
        Self {
            started: Instant::now(),
            written: None,
        }
    }

    /// How long the write of `next` over `stored` has to wait; `None` means that it is due. The first messages of a process
    /// wait until all controllers whose conditions the status includes have reported once, so that one write is enough.
    pub(super) fn delay(&self, stored: &Value, next: &Value, first_reports_done: bool) -> Option<Duration> {
        let since = self.written.or_else(|| (!first_reports_done).then_some(self.started))?;
        let left = MESSAGE_DELAY
            .checked_sub(since.elapsed())
            .filter(|left| !left.is_zero())?;
        (!differs(&without_messages(stored), &without_messages(next))).then_some(left)
    }

    /// Records a write.
    pub(super) fn note_write(&mut self) {
        self.written = Some(Instant::now());
    }
}

/// A status without reasons and messages of its conditions, and without the generations of workloads. A generation that was
/// not recorded costs one more write after a crash.
pub(super) fn without_messages(status: &Value) -> Value {
    let mut status = status.clone();
    if let Some(status) = status.as_object_mut() {
        status.remove("generations");
    }
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
        condition.remove("message");
        condition.remove("reason");
    }
    status
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(state: &str, reason: &str) -> Value {
        json!({"conditions": [{"type": "Available", "status": state, "reason": reason, "message": reason}]})
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_messages_of_a_process_wait_for_all_controllers() {
        let (stored, message, condition) = (status("False", "a"), status("False", "b"), status("True", "b"));
        let debounce = StatusDebounce::start();
        assert_eq!(debounce.delay(&stored, &message, false), Some(MESSAGE_DELAY));
        assert_eq!(debounce.delay(&stored, &message, true), None);
        assert_eq!(debounce.delay(&stored, &condition, false), None);
        tokio::time::advance(MESSAGE_DELAY + Duration::from_millis(1)).await;
        assert_eq!(debounce.delay(&stored, &message, false), None, "the wait is bounded");
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_message_waits_and_a_changed_condition_status_does_not() {
        let (stored, message, condition) = (status("False", "a"), status("False", "b"), status("True", "b"));
        let mut debounce = StatusDebounce::start();
        debounce.note_write();
        for first_reports_done in [false, true] {
            assert_eq!(
                debounce.delay(&stored, &message, first_reports_done),
                Some(MESSAGE_DELAY)
            );
            assert_eq!(debounce.delay(&stored, &condition, first_reports_done), None);
        }
        tokio::time::advance(MESSAGE_DELAY).await;
        assert_eq!(debounce.delay(&stored, &message, true), None);
    }
}
