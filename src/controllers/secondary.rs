//! The frame of the loops beside the registry's: run passes, hand the condition over, rest.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Backoff, Context};
use crate::apply::WriteError;
use crate::observe::Controller;
use crate::status::conditions::{Streak, Verdict};

/// How a loop's own condition follows its passes.
pub enum Telling {
    /// A failure is told once it has lasted for two minutes.
    Lasting(&'static str),
    /// The pass posts its conditions itself.
    Itself,
}

/// Runs passes until the process stops leading; each says after which time at the latest the next is due. A pass that fails is
/// tried again with growing waits, a conflict at once. The log has each failure once until it is over, or another one.
pub async fn run(
    context: Context,
    controller: Controller,
    name: &'static str,
    telling: Telling,
    mut pass: impl AsyncFnMut(&Context) -> Result<Duration, Failure>,
) {
    let mut backoff = Backoff::default();
    let mut streak = Streak::default();
    let mut logged = String::new();
    loop {
        let permit = context.begin().await;
        let began = Instant::now();
        let result = pass(&context).await;
        context.reconciled(name, result.is_ok(), began.elapsed());
        drop(permit);
        let stale = matches!(result, Err(Failure::Stale));
        let mut wait = match &result {
            Ok(again) => {
                backoff.reset();
                logged.clear();
                *again
            }
            Err(Failure::Stale) => Duration::from_millis(10),
            Err(failure) => {
                // A condition tells of it as long as it lasts; the log tells once what every further pass runs into.
                let text = failure.to_string();
                if text == logged {
                    tracing::debug!("{name}: still {text}");
                } else {
                    tracing::warn!("{name}: {text}");
                    logged = text;
                }
                backoff.fail(context.jitter())
            }
        };
        if let Telling::Lasting(condition) = telling
            && !stale
        {
            let cause = result.err().map(|failure| failure.to_string());
            let outcome = cause.as_deref().map_or(Ok(()), Err);
            let (verdict, recheck) = streak.note(condition, outcome, Timestamp::now());
            context.post(verdict);
            wait = recheck.map_or(wait, |recheck| wait.min(recheck));
        }
        if !stale {
            context.hear(controller);
        }
        context.rest(controller, wait).await;
    }
}

/// Why a pass was not finished.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was written to has changed since it was seen; the newest is in the store now.
    #[error("an object was changed at the same time")]
    Stale,
    /// For a condition: names the object and the cause.
    #[error("{0}")]
    Failed(String),
}

impl Context {
    /// Hands a condition of the Config to its one writer, and wakes it if that is news.
    pub fn post(&self, verdicts: impl IntoIterator<Item = Verdict>) {
        let mut news = false;
        for verdict in verdicts {
            news |= self.board.post(verdict);
        }
        if news {
            self.world.trigger(Controller::Registry);
        }
    }

    /// After a write that was refused because the object changed: reads it, so that the next pass sees it.
    pub async fn refused(&self, object: &crate::api::ObjectRef, error: WriteError) -> Failure {
        match error {
            WriteError::Conflict(_) => match self.writer.read(object).await {
                Ok(_) => Failure::Stale,
                Err(error) => Failure::Failed(format!("cannot read {object}: {error}")),
            },
            error => Failure::Failed(format!("cannot write {object}: {error}")),
        }
    }
}
