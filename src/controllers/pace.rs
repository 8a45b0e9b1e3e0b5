//! Paces writes of a status: a verdict that turns goes out at once; where only words change, a moment's worth of changes is
//! one write.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::status::config_status::differs;

/// How long words may wait. A reader must see what happens within a second.
const WORDS: Duration = Duration::from_millis(500);

/// When a status was last written.
#[derive(Debug)]
pub struct Pace {
    begun: Instant,
    written: Option<Instant>,
}

impl Pace {
    /// For a process that begins.
    pub fn from_now() -> Self {
        Self {
            begun: Instant::now(),
            written: None,
        }
    }

    /// How long the write of `next` over `stored` has to wait; `None`: it is due. The first words of a process wait until
    /// all controllers that they repeat were `heard`, so that this is one write.
    pub fn hold(&self, stored: &Value, next: &Value, heard: bool) -> Option<Duration> {
        let since = self.written.or_else(|| (!heard).then_some(self.begun))?;
        let left = WORDS.checked_sub(since.elapsed()).filter(|left| !left.is_zero())?;
        (!differs(&without_words(stored), &without_words(next))).then_some(left)
    }

    /// Notes a write.
    pub fn wrote(&mut self) {
        self.written = Some(Instant::now());
    }
}

/// A status without reasons and messages of its conditions, and without the generations of workloads: one that is not
/// recorded costs a write after a crash, no more.
pub fn without_words(status: &Value) -> Value {
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
    async fn the_first_words_of_a_process_wait_for_those_that_they_repeat() {
        let (stored, words, verdict) = (status("False", "a"), status("False", "b"), status("True", "b"));
        let pace = Pace::from_now();
        assert_eq!(pace.hold(&stored, &words, false), Some(WORDS));
        assert_eq!(pace.hold(&stored, &words, true), None);
        assert_eq!(pace.hold(&stored, &verdict, false), None);
        tokio::time::advance(WORDS + Duration::from_millis(1)).await;
        assert_eq!(pace.hold(&stored, &words, false), None, "not for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn words_wait_for_a_moment_and_verdicts_do_not() {
        let (stored, words, verdict) = (status("False", "a"), status("False", "b"), status("True", "b"));
        let mut pace = Pace::from_now();
        pace.wrote();
        for heard in [false, true] {
            assert_eq!(pace.hold(&stored, &words, heard), Some(WORDS));
            assert_eq!(pace.hold(&stored, &verdict, heard), None);
        }
        tokio::time::advance(WORDS).await;
        assert_eq!(pace.hold(&stored, &words, true), None);
    }
}
