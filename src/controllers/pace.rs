//! Paces writes of a status: a verdict that turns goes out at once; where only words change, a moment's worth of changes is
//! one write.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::status::config_status::differs;

/// How long words may wait. A reader must see what happens within a second.
const WORDS: Duration = Duration::from_millis(500);

/// When a status was last written.
#[derive(Debug, Default)]
pub struct Pace {
    written: Option<Instant>,
}

impl Pace {
    /// For a process that begins: words wait until its loops have had their first say, so that this is one write. Those of
    /// `later` wait a moment longer, for what they repeat.
    pub fn from_now(later: bool) -> Self {
        let grace = if later { WORDS / 2 } else { Duration::ZERO };
        Self {
            written: Some(Instant::now() + grace),
        }
    }

    /// How long the write of `next` over `stored` has to wait; `None`: it is due.
    pub fn hold(&self, stored: &Value, next: &Value) -> Option<Duration> {
        let left = WORDS
            .checked_sub(self.written?.elapsed())
            .filter(|left| !left.is_zero())?;
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
    async fn the_first_words_of_a_process_are_said_in_one_go() {
        let (words, verdict) = (status("False", "b"), status("True", "b"));
        let (first, later) = (Pace::from_now(false), Pace::from_now(true));
        for pace in [&first, &later] {
            assert_eq!(pace.hold(&status("False", "a"), &words), Some(WORDS));
            assert_eq!(pace.hold(&status("False", "a"), &verdict), None);
        }
        tokio::time::advance(WORDS + Duration::from_millis(1)).await;
        assert_eq!(first.hold(&status("False", "a"), &words), None);
        assert!(later.hold(&status("False", "a"), &words).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn words_wait_for_a_moment_and_verdicts_do_not() {
        let mut pace = Pace::default();
        assert_eq!(
            pace.hold(&status("False", "a"), &status("False", "b")),
            None,
            "nothing was written yet"
        );
        pace.wrote();
        assert_eq!(pace.hold(&status("False", "a"), &status("False", "b")), Some(WORDS));
        assert_eq!(pace.hold(&status("False", "a"), &status("True", "b")), None);
        tokio::time::advance(WORDS).await;
        assert_eq!(pace.hold(&status("False", "a"), &status("False", "b")), None);
    }
}
