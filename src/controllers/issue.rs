//! Issues the operator's own certificates, on clusters without a service CA.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::Context;
use crate::apply::{self, NothingRecorded};
use crate::config::snapshot::Snapshot;
use crate::plan::Desired;
use crate::plan::own_certificates::{self as own, Issue, OwnCertificates, What, Why};
use crate::runtime::issuer::{self, IssueError, Issued, Signer, Validity};
use crate::status::conditions::Faults;

/// Shortest time between two certificates of one kind that only the clock asked for: a clock that jumps to and fro must not replace the
/// registry's pods all the time.
const CLOCK_PAUSE: Duration = Duration::from_mins(10);

/// When the clock was the reason for a certificate.
#[derive(Default)]
pub(super) struct Issuing {
    authority: Option<Instant>,
    serving: Option<Instant>,
}

/// What a pass did about the operator's own certificates.
#[derive(Default)]
pub(super) struct Outcome {
    /// Failed writes, and Secrets of others that are in the way.
    pub(super) faults: Faults,
    /// A certificate is due then.
    pub(super) again: Option<Duration>,
}

impl Issuing {
    /// Makes what is due, and applies it. A CA is stored before anything is signed with it: that is for the next pass.
    pub(super) async fn pass(&mut self, context: &Context, snapshot: &Snapshot, removed: bool) -> Outcome {
        if let (Some(serving), Some(authority)) = (&context.serving, own::authority(snapshot)) {
            serving.sign_with(&authority.subject, &authority.key, authority.ends);
        }
        let OwnCertificates { issue, mut plan } = own::own_certificates(snapshot, removed);
        let mut again = None;
        let mut reason = None;
        if let Some(issue) = issue {
            again = self.pause(&issue);
            if again.is_none() {
                let (what, why) = (described(&issue.what), issue.why);
                match make(&issue, snapshot.now) {
                    Ok(desired) => {
                        reason = Some(format!("{what} is issued: {why:?}"));
                        plan.present.push(desired);
                    }
                    Err(error) => return failed(&error),
                }
                self.note(&issue);
            }
        }
        let events = std::mem::take(&mut plan.events);
        let mut report = apply::apply(&plan, snapshot, &NothingRecorded, &context.writer).await;
        if report.failures.is_empty() && again.is_none() {
            if let Some(reason) = reason {
                tracing::info!("{reason}");
            }
            context.publish_events(events);
        }
        let faults = report.faults();
        context.publish_report(&mut report);
        Outcome { faults, again }
    }

    /// How long the clock has to wait.
    fn pause(&self, issue: &Issue) -> Option<Duration> {
        let last = match issue.what {
            What::Authority { .. } => self.authority,
            What::Serving { .. } => self.serving,
        };
        let last = last.filter(|_| issue.why == Why::Time)?;
        let left = CLOCK_PAUSE.saturating_sub(last.elapsed());
        (!left.is_zero()).then_some(left)
    }

    fn note(&mut self, issue: &Issue) {
        if issue.why == Why::Time {
            match issue.what {
                What::Authority { .. } => self.authority = Some(Instant::now()),
                What::Serving { .. } => self.serving = Some(Instant::now()),
            }
        }
    }
}

fn described(what: &What) -> &'static str {
    match what {
        What::Authority { .. } => "the operator's CA",
        What::Serving { .. } => "the registry's serving certificate",
    }
}

fn failed(error: &IssueError) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.faults.retry.push(error.to_string());
    outcome
}

/// Makes a certificate, and the Secret for it.
fn make(issue: &Issue, now: Timestamp) -> Result<Desired, IssueError> {
    match &issue.what {
        What::Authority { previous } => {
            let validity = validity(now, own::AUTHORITY_VALIDITY, None);
            let Issued { certificate, key } = issuer::authority(&own::subject(validity.begins), validity)?;
            Ok(own::authority_secret(&certificate, &key, previous))
        }
        What::Serving { authority, names } => {
            let validity = validity(now, own::SERVING_VALIDITY, Some(authority.ends));
            let signer = Signer {
                subject: &authority.subject,
                key: &authority.key,
            };
            let Issued { certificate, key } = issuer::serving(names, validity, Some(signer))?;
            Ok(own::serving_secret(&certificate, &key, &authority.certificate))
        }
    }
}

/// From a while ago, in whole seconds, and not longer than the CA.
fn validity(now: Timestamp, length: SignedDuration, at_most: Option<Timestamp>) -> Validity {
    let begins = now.checked_sub(own::BACKDATED).unwrap_or(now);
    let begins = Timestamp::from_second(begins.as_second()).unwrap_or(begins);
    let ends = now.checked_add(length).unwrap_or(now);
    Validity {
        begins,
        ends: at_most.map_or(ends, |limit| ends.min(limit)),
    }
}

#[cfg(test)]
mod tests;
