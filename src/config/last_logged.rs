//! PURE: the failure that the log reports last. A failure that is retried is one line of the log, not one for each attempt.

/// The message of the failure that was logged last.
#[derive(Debug, Default)]
pub struct LastLogged(Option<String>);

impl LastLogged {
    /// Notes a failure. Returns whether its message are new.
    pub fn is_new(&mut self, message: &str) -> bool {
        let new = self.0.as_deref() != Some(message);
        if new {
            self.0 = Some(message.to_owned());
        }
        new
    }

    /// Notes a success. Returns whether a failure ended.
    pub fn ended(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // lifecycle 128
    #[test]
    fn a_failure_is_logged_when_it_begins_when_its_message_changes_and_when_it_ends() {
        let mut logged = LastLogged::default();
        let attempts = ["", "a", "a", "a", "b", "b", "a", "", "", "a", ""];
        let lines: Vec<_> = attempts
            .iter()
            .map(|message| {
                if message.is_empty() {
                    logged.ended()
                } else {
                    logged.is_new(message)
                }
            })
            .collect();
        let expected = [false, true, false, false, true, false, true, true, false, true, true];
        assert_eq!(lines, expected);
    }
}
