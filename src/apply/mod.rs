//! Plan to cluster: the only writer of operands. What cannot change anything is not sent.
//!
//! Updates count on what was watched: the spec, or the `resourceVersion` where there is none. Only a conflict makes it read
//! live.

mod changes;
mod patch;
mod writer;

use std::time::Duration;

use serde_json::Value;

use crate::api::{Kind, ObjectRef};
use crate::config::notice::Notice;
use crate::config::snapshot::Snapshot;
use crate::plan::{self, Desired, Drift, Plan, checksum, drift};

use changes::Changes;
pub use writer::{Sink, WriteError, Writer};

/// Attempts at one object, and the wait before the second; each further one is five times as long.
const ATTEMPTS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(10);

/// Why an object was created.
const ABSENT: &str = "it was not there";

/// `metadata.generation` of workloads after our last write, as the Config's status records them.
pub trait Recorded {
    /// Generation of the object after our last write; `None` when there was none.
    fn generation(&self, object: &ObjectRef) -> Option<i64>;
}

/// What came of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Objects that could not be planned or written, each with the cause.
    pub failures: Vec<String>,
    /// Generations of workloads after a write of this pass.
    pub generations: Vec<(ObjectRef, i64)>,
    /// Number of requests that changed something.
    pub writes: usize,
    /// What to tell.
    pub notices: Vec<Notice>,
}

/// Whether applying the plan would write anything.
pub fn would_write(plan: &Plan, snapshot: &Snapshot, recorded: &impl Recorded) -> bool {
    !plan.absent.is_empty()
        || plan
            .present
            .iter()
            .any(|desired| needs_write(desired, snapshot, recorded))
}

fn needs_write(desired: &Desired, snapshot: &Snapshot, recorded: &impl Recorded) -> bool {
    if desired.refused.is_some() {
        return false;
    }
    match snapshot.objects.find(&desired.reference) {
        None => true,
        Some(live) => {
            drift::immutable_differs(desired, live)
                || drift::differs(desired, live, recorded.generation(&desired.reference))
        }
    }
}

/// Applies a plan, object by object, in its order. One object that fails does not stop the others.
pub async fn apply(plan: &Plan, snapshot: &Snapshot, recorded: &impl Recorded, writer: &Writer) -> Report {
    // No `..`: a part of a plan that nobody applies does not compile.
    let Plan {
        present,
        absent,
        failures,
        notices,
    } = plan;
    let mut report = Report {
        failures: failures
            .iter()
            .map(|f| format!("{}: {}", f.reference, f.message))
            .collect(),
        notices: notices.clone(),
        ..Report::default()
    };
    for desired in present
        .iter()
        .filter(|desired| needs_write(desired, snapshot, recorded))
    {
        let live = snapshot.objects.find(&desired.reference).map(AsRef::as_ref);
        let attempt = if live.is_some() {
            Attempt::Update
        } else {
            Attempt::Create
        };
        match one(desired, live, snapshot.namespace_uid(), recorded, writer, &mut report).await {
            Ok(()) => {}
            Err(error) => report
                .failures
                .push(failed(&mut report.notices, &desired.reference, attempt, &error)),
        }
    }
    for reference in absent {
        match writer.delete(reference, None).await {
            Ok(()) => {
                report.writes += 1;
                report
                    .notices
                    .push(told(reference, "Deleted", "it is not wanted any more"));
            }
            Err(error) => report
                .failures
                .push(failed(&mut report.notices, reference, Attempt::Delete, &error)),
        }
    }
    report
}

/// Deletes objects; those that are gone already count as deleted. The result names those that could not be.
pub async fn delete(references: &[ObjectRef], writer: &Writer) -> Report {
    let plan = Plan {
        absent: references.to_vec(),
        ..Plan::default()
    };
    let nothing = Snapshot::empty();
    apply(&plan, &nothing, &NothingRecorded, writer).await
}

/// Creates an object that is no operand, and what to tell of it. One that was there already is nobody's news.
pub async fn create(reference: &ObjectRef, body: &Value, writer: &Writer) -> (Result<Value, WriteError>, Vec<Notice>) {
    let made = writer.create(reference, body).await;
    let mut notices = Vec::new();
    match &made {
        Ok(_) => notices.push(told(reference, "Created", ABSENT)),
        Err(WriteError::Conflict(_)) => {}
        Err(error) => drop(failed(&mut notices, reference, Attempt::Create, error)),
    }
    (made, notices)
}

/// Records of loops that write no workload.
pub struct NothingRecorded;

impl Recorded for NothingRecorded {
    fn generation(&self, _: &ObjectRef) -> Option<i64> {
        None
    }
}

async fn one(
    desired: &Desired,
    live: Option<&Value>,
    namespace_uid: &str,
    recorded: &impl Recorded,
    writer: &Writer,
    report: &mut Report,
) -> Result<(), WriteError> {
    let digest = desired.checksum.then(|| checksum::checksum(desired, namespace_uid));
    let mut live = live.map(|seen| writer.newest(&desired.reference, seen));
    let mut wait = FIRST_WAIT;
    for attempt in 1..=ATTEMPTS {
        let attempted = step(desired, live.as_ref(), digest.as_deref(), recorded, writer, report).await;
        match attempted {
            Err(WriteError::Conflict(_)) if attempt < ATTEMPTS => {
                tokio::time::sleep(wait).await;
                wait *= 5;
                live = writer.read(&desired.reference).await?;
            }
            other => return other,
        }
    }
    Ok(())
}

async fn step(
    desired: &Desired,
    live: Option<&Value>,
    digest: Option<&str>,
    recorded: &impl Recorded,
    writer: &Writer,
    report: &mut Report,
) -> Result<(), WriteError> {
    let reference = &desired.reference;
    let Some(live) = live else {
        let written = writer
            .create(reference, &drift::merged(desired, &Value::Null, digest))
            .await?;
        note(desired, &written, Done::Created(digest), report);
        return Ok(());
    };
    if drift::immutable_differs(desired, live) {
        writer
            .delete(reference, live.pointer("/metadata/uid").and_then(Value::as_str))
            .await?;
        let why = "a member that cannot be changed differed: the object is made anew";
        report.notices.push(Notice {
            warning: true,
            ..told(reference, "Deleted", why)
        });
        report.writes += 1;
        let written = writer
            .create(reference, &drift::merged(desired, &Value::Null, digest))
            .await?;
        note(desired, &written, Done::Created(digest), report);
        return Ok(());
    }
    if !drift::differs(desired, live, recorded.generation(reference)) {
        return Ok(()); // somebody else brought it there
    }
    if reference.kind == Kind::Deployment
        && let Some(first) = plan::affinity_first(&desired.body, live)
    {
        let written = writer.update(reference, live, &first).await?;
        note(
            &Desired {
                drift: Drift::Named,
                ..desired.clone()
            },
            &written,
            Done::Updated(live, digest),
            report,
        );
        return Ok(());
    }
    let written = writer
        .update(reference, live, &drift::merged(desired, live, digest))
        .await?;
    note(desired, &written, Done::Updated(live, digest), report);
    Ok(())
}

/// What was done to an object, with the digest of what it was to become.
#[derive(Clone, Copy)]
enum Done<'a> {
    Created(Option<&'a str>),
    /// It was so before.
    Updated(&'a Value, Option<&'a str>),
}

fn note(desired: &Desired, written: &Value, done: Done<'_>, report: &mut Report) {
    report.writes += 1;
    if desired.drift == Drift::Generation
        && let Some(generation) = written.pointer("/metadata/generation").and_then(Value::as_i64)
    {
        report.generations.push((desired.reference.clone(), generation));
    }
    let (what, why, digest) = match done {
        Done::Created(digest) => ("Created", ABSENT.to_owned(), digest),
        Done::Updated(before, digest) => {
            let changes = Changes::of_object(before, written);
            ("Updated", format!("changed {changes}"), digest)
        }
    };
    // Equal events are told once: with it, another change of the same members is another event.
    // Not of Secrets: who reads events need not be able to tell whether a guess at their content is right.
    let digest = digest.filter(|_| desired.reference.kind != Kind::Secret);
    let mark = digest.map(mark).unwrap_or_default();
    report
        .notices
        .push(told(&desired.reference, what, &format!("{why}{mark}")));
}

/// The checksum annotation, short.
fn mark(digest: &str) -> String {
    let hex = digest.rsplit(':').next().unwrap_or_default();
    format!(" (checksum {})", hex.get(..8).unwrap_or(hex))
}

fn told(reference: &ObjectRef, what: &'static str, why: &str) -> Notice {
    Notice {
        warning: false,
        reason: reason(reference.kind, what),
        note: format!("{reference}: {why}"),
    }
}

/// What was tried on an object.
#[derive(Clone, Copy)]
enum Attempt {
    Create,
    Update,
    Delete,
}

fn failed(notices: &mut Vec<Notice>, reference: &ObjectRef, attempt: Attempt, error: &WriteError) -> String {
    let (verb, what) = match attempt {
        Attempt::Create => ("create", "CreateFailed"),
        Attempt::Update => ("apply", "UpdateFailed"),
        Attempt::Delete => ("delete", "DeleteFailed"),
    };
    let text = format!("cannot {verb} {reference}: {error}");
    if !matches!(error, WriteError::NotLeading) {
        notices.push(Notice {
            warning: true,
            reason: reason(reference.kind, what),
            note: text.clone(),
        });
    }
    text
}

/// `<Kind><What>`, as text that lives as long as the program: the combinations are few and fixed.
fn reason(kind: Kind, what: &'static str) -> &'static str {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};
    static REASONS: Mutex<BTreeMap<(Kind, &'static str), &'static str>> = Mutex::new(BTreeMap::new());
    let mut reasons = REASONS.lock().unwrap_or_else(PoisonError::into_inner);
    reasons
        .entry((kind, what))
        .or_insert_with(|| String::leak(format!("{}{what}", kind.kind())))
}

#[cfg(test)]
mod tests;
