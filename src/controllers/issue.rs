//! Issues the operator's own certificates, on clusters without a service CA.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::Context;
use crate::api::Kind;
use crate::apply::{self, NothingRecorded};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::plan::Desired;
use crate::plan::own_certificates::{self as own, Issue, OwnCertificates, What, Why};
use crate::runtime::issuer::{self, IssueError, Issued, Signer, Validity};
use crate::status::conditions::Faults;

/// A clock that jumps to and fro, and another writer that replaces the certificates, must not replace the registry's pods all the time:
/// within this time the clock alone asks for one certificate of a kind at most, and all reasons together for [`MOST`].
const PAUSE: Duration = Duration::from_mins(10);
const MOST: usize = 5;

/// When certificates were made.
#[derive(Default)]
pub(super) struct Issuing {
    authority: Made,
    serving: Made,
}

#[derive(Default)]
struct Made {
    /// When the clock alone was the reason.
    by_clock: Option<Instant>,
    /// For any reason, the latest last.
    all: VecDeque<Instant>,
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
        let mut issued = None;
        if let Some(issue) = issue {
            again = self.pause(&issue);
            let (what, why) = (described(&issue.what), issue.why);
            if again.is_none() {
                match make(&issue, snapshot.now) {
                    Ok(Some(desired)) => {
                        plan.present.push(desired);
                        issued = Some(issue);
                    }
                    Ok(None) => {
                        own::fail_foreign_authority(&mut plan);
                        self.note(&issue);
                    }
                    Err(error) => return failed(&error),
                }
            } else if why != Why::Time {
                plan.fail(Kind::Secret, secret(&issue.what), too_often(what));
            }
        }
        let events = std::mem::take(&mut plan.events);
        let mut report = apply::apply(&plan, snapshot, &NothingRecorded, &context.writer).await;
        if report.failures.is_empty() && again.is_none() {
            // A write that fails replaces no pod, so that it does not count.
            if let Some(issue) = issued {
                tracing::info!("{} is issued: {:?}", described(&issue.what), issue.why);
                self.note(&issue);
            }
            context.publish_events(events);
        }
        let faults = report.faults();
        context.publish_report(&mut report);
        Outcome { faults, again }
    }

    /// How long the certificate has to wait.
    fn pause(&self, issue: &Issue) -> Option<Duration> {
        let made = match issue.what {
            What::Authority { .. } => &self.authority,
            What::Serving { .. } => &self.serving,
        };
        let by_clock = made.by_clock.filter(|_| issue.why == Why::Time);
        let oldest = made.all.iter().rev().nth(MOST - 1);
        let left = by_clock
            .iter()
            .chain(oldest)
            .map(|last| PAUSE.saturating_sub(last.elapsed()));
        left.max().filter(|left| !left.is_zero())
    }

    fn note(&mut self, issue: &Issue) {
        let made = match issue.what {
            What::Authority { .. } => &mut self.authority,
            What::Serving { .. } => &mut self.serving,
        };
        let now = Instant::now();
        if issue.why == Why::Time {
            made.by_clock = Some(now);
        }
        made.all.push_back(now);
        if made.all.len() > MOST {
            made.all.pop_front();
        }
    }
}

fn described(what: &What) -> &'static str {
    match what {
        What::Authority { .. } => "the operator's CA",
        What::Serving { .. } => "the registry's serving certificate",
    }
}

fn secret(what: &What) -> &'static str {
    match what {
        What::Authority { .. } => names::OPERATOR_CA_SECRET,
        What::Serving { .. } => names::SERVING_CERT_SECRET,
    }
}

fn too_often(what: &str) -> String {
    format!(
        "{what} was issued {MOST} times within {} minutes, and is wrong again: find out who replaces or deletes the Secret. The operator goes \
         on more slowly",
        PAUSE.as_secs() / 60
    )
}

fn failed(error: &IssueError) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.faults.retry.push(error.to_string());
    outcome
}

/// Makes a certificate, and the Secret for it; `None` if the stored CA is not one that the operator made, so that nothing would verify.
fn make(issue: &Issue, now: Timestamp) -> Result<Option<Desired>, IssueError> {
    match &issue.what {
        What::Authority { previous } => {
            let validity = validity(now, own::AUTHORITY_VALIDITY, None);
            let Issued { certificate, key } = issuer::authority(&own::subject(validity.begins), validity)?;
            Ok(Some(own::authority_secret(&certificate, &key, previous)))
        }
        What::Serving { authority, names } => {
            let validity = validity(now, own::SERVING_VALIDITY, Some(authority.ends));
            let signer = Signer {
                subject: &authority.subject,
                key: &authority.key,
            };
            let Issued { certificate, key } = issuer::serving(names, validity, Some(signer))?;
            let verifies = own::is_signed(&certificate, &authority.certificate);
            Ok(verifies.then(|| own::serving_secret(&certificate, &key, &authority.certificate)))
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
