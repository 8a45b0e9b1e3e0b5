//! PURE: what the log was told of a failure that is retried, so that its words are one line and not one for each attempt.

/// The words of a failure, as the log has them last.
#[derive(Debug, Default)]
pub struct Told(Option<String>);

impl Told {
    /// Notes a failure. Returns whether its words are new.
    pub fn is_new(&mut self, words: &str) -> bool {
        let new = self.0.as_deref() != Some(words);
        if new {
            self.0 = Some(words.to_owned());
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
    fn a_failure_is_told_when_it_begins_when_its_words_change_and_when_it_ends() {
        let mut told = Told::default();
        let attempts = ["", "a", "a", "a", "b", "b", "a", "", "", "a", ""];
        let lines: Vec<_> = attempts
            .iter()
            .map(|words| {
                if words.is_empty() {
                    told.ended()
                } else {
                    told.is_new(words)
                }
            })
            .collect();
        let expected = [false, true, false, false, true, false, true, true, false, true, true];
        assert_eq!(lines, expected);
    }
}
