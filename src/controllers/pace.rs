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
    /// How long the write of `next` over `stored` has to wait; `None`: it is due.
    pub fn hold(&self, stored: &Value, next: &Value) -> Option<Duration> {
        let left = WORDS.checked_sub(self.written?.elapsed())?;
        (!differs(&without_words(stored), &without_words(next))).then_some(left)
    }

    /// Notes a write.
    pub fn wrote(&mut self) {
        self.written = Some(Instant::now());
    }
}

/// A status without reasons and messages of its conditions.
fn without_words(status: &Value) -> Value {
    let mut status = status.clone();
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
        assert_eq!(
            pace.hold(&status("False", "a"), &status("False", "b")),
            Some(Duration::ZERO)
        );
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(pace.hold(&status("False", "a"), &status("False", "b")), None);
    }
}
