//! APIs that the operator asks for, because it watches none of their kinds, and that the platform always has.

use std::time::Duration;

use tokio::time::Instant;

use super::Backoff;
use crate::apply::WriteError;

/// One API that the operator asks for, and the last answers.
pub(super) struct OptionalApi {
    /// How often the question is repeated.
    interval: Duration,
    /// The last answer. A question without an answer does not change it.
    served: Option<bool>,
    /// Why the last question has no answer.
    fault: Option<String>,
    due: Option<Instant>,
    backoff: Backoff,
}

/// What is known about an API.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Whether the API server serves the API; `None` until it has answered once.
    pub(super) served: Option<bool>,
    /// Why the last question has no answer: the API, the cause and the remedy.
    pub(super) fault: Option<String>,
    /// When the next question is due.
    pub(super) again: Option<Duration>,
}

impl OptionalApi {
    /// An API that is asked for at this interval, and more often until the API server answers.
    pub(super) fn every(interval: Duration) -> Self {
        Self {
            interval,
            served: None,
            fault: None,
            due: None,
            backoff: Backoff::default(),
        }
    }

    /// Asks if the question is due. A question that fails stops no pass: the last answer stays, and the pass reports the fault. `jitter`
    /// is between 0 and 1.
    pub(super) async fn ask(
        &mut self,
        api: &str,
        jitter: f64,
        question: impl Future<Output = Result<bool, WriteError>>,
    ) -> Asked {
        if self.due.is_none_or(|due| due <= Instant::now()) {
            let wait = match question.await {
                Ok(served) => {
                    (self.served, self.fault) = (Some(served), None);
                    self.backoff.reset();
                    self.interval
                }
                Err(error) => {
                    self.fault = Some(unanswered(api, &error));
                    self.backoff.fail(jitter).min(self.interval)
                }
            };
            self.due = Some(Instant::now() + wait);
        }
        Asked {
            served: self.served,
            fault: self.fault.clone(),
            again: self.due.map(|due| due.saturating_duration_since(Instant::now())),
        }
    }
}

fn unanswered(api: &str, error: &WriteError) -> String {
    format!(
        "the API server does not say whether it serves the API {api}: {error}. If access is denied, restore ClusterRoleBinding \
         system:discovery; if an APIService registers the API and its backend is down, repair the backend or delete the APIService"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = Result<bool, WriteError>;

    async fn ask(api: &mut OptionalApi, answer: impl Fn() -> Answer) -> (Option<bool>, bool, bool) {
        let mut asked = false;
        let known = api
            .ask("a.test", 0.0, async {
                asked = true;
                answer()
            })
            .await;
        assert!(known.fault.is_none_or(|fault| fault.contains("a.test")));
        (known.served, api.fault.is_some(), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_stays_while_questions_fail_and_a_failed_question_is_repeated_sooner() {
        let interval = Duration::from_secs(30);
        let mut api = OptionalApi::every(interval);
        let down = || Err(WriteError::Transient("503".to_owned()));
        assert_eq!(ask(&mut api, down).await, (None, true, true));
        assert_eq!(ask(&mut api, || Ok(false)).await, (None, true, false), "too early");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(ask(&mut api, || Ok(false)).await, (Some(false), false, true));
        tokio::time::advance(interval / 2).await;
        assert_eq!(ask(&mut api, down).await, (Some(false), false, false), "too early");
        for _ in 0..20 {
            tokio::time::advance(interval).await;
            assert_eq!(ask(&mut api, down).await, (Some(false), true, true));
        }
        tokio::time::advance(interval).await;
        assert_eq!(ask(&mut api, || Ok(true)).await, (Some(true), false, true));
    }
}
