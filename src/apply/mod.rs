//! Applies a plan to the cluster: the only writer of operands. A write that would change nothing is not sent.
//!
//! Updates have a precondition on the cached object: its generation or spec, or its `resourceVersion`. Only a conflict leads
//! to a live read.

mod changed_conditions;
mod changes;
mod patch;
mod writer;

use std::time::Duration;

use serde_json::Value;

use crate::api::{Kind, ObjectRef};
use crate::config::error_class::ErrorClass;
use crate::config::event_request::EventRequest;
use crate::config::snapshot::Snapshot;
use crate::plan::{self, Desired, Drift, Plan, checksum, drift};
use crate::status::conditions::Faults;

use changes::Changes;
#[cfg(test)]
pub(crate) use writer::Refusal;
pub(crate) use writer::{ObjectCache, WriteError, Writer};

/// How often a write is tried when it meets a conflict.
const ATTEMPTS: u32 = 4;
/// The wait before the second attempt; each further wait is five times as long.
const FIRST_WAIT: Duration = Duration::from_millis(10);

/// Reason of the event for several objects that one pass created.
const OBJECTS_CREATED: &str = "ObjectsCreated";
/// Why an object was created.
const ABSENT: &str = "it did not exist";

/// `metadata.generation` of workloads after the operator's last write, as the Config's status records it.
pub trait Recorded {
    /// Generation of the object after the operator's last write; `None` if there was none.
    fn generation(&self, object: &ObjectRef) -> Option<i64>;
}

/// An object that could not be planned or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether an edit, a right, or time helps.
    pub class: ErrorClass,
    /// The cause is known to be a field that the user sets, which `message` names. Not so where an admission policy or a
    /// webhook refuses an object: it may accept the same object later.
    pub explained: bool,
    /// The object, the cause, and the field that the user has to edit.
    pub message: String,
}

/// The result of applying a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Objects that could not be planned or written.
    pub failures: Vec<Failure>,
    /// Generations of workloads after a write of this pass.
    pub generations: Vec<(ObjectRef, i64)>,
    /// Number of successful writes.
    pub writes: usize,
    /// Events of the plan.
    pub events: Vec<EventRequest>,
    /// Events about writes. The log has each write already.
    pub write_events: Vec<EventRequest>,
    /// Created objects, each with its own event.
    created: Vec<(ObjectRef, EventRequest)>,
}

impl Report {
    /// A pass that creates several objects brings something up, which is one event. What is created later is an event of its own.
    fn announce_created(&mut self) {
        let created = std::mem::take(&mut self.created);
        if created.len() > 1 {
            let names: Vec<_> = created.iter().map(|(reference, _)| reference.to_string()).collect();
            self.write_events.push(EventRequest {
                warning: false,
                reason: OBJECTS_CREATED,
                message: format!("created, because they did not exist: {}", names.join(", ")),
            });
        } else {
            self.write_events.extend(created.into_iter().map(|(_, event)| event));
        }
    }

    /// All failures as one message; empty if there are none.
    pub fn failure_message(&self) -> String {
        let all: Vec<&str> = self.failures.iter().map(|failure| failure.message.as_str()).collect();
        all.join("; ")
    }

    /// The failures, by what helps against them.
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        for Failure { class, message, .. } in &self.failures {
            match class {
                ErrorClass::Invalid(_) => faults.edit.push(message.clone()),
                ErrorClass::NoAccess | ErrorClass::ActionRequired | ErrorClass::Transient => {
                    faults.retry.push(message.clone());
                }
            }
        }
        faults
    }
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

/// Applies a plan, object by object, in its order; deletions come last, unless an object of the plan depends on them. One object that
/// fails stops only those that depend on it.
pub async fn apply(plan: &Plan, snapshot: &Snapshot, recorded: &impl Recorded, writer: &Writer) -> Report {
    // No `..`: a field of a plan that is not applied does not compile.
    let Plan {
        present,
        absent,
        failures,
        events,
    } = plan;
    let mut report = Report {
        failures: failures.iter().map(planned_failure).collect(),
        events: events.clone(),
        ..Report::default()
    };
    let mut failed: Vec<(&ObjectRef, Failure)> = Vec::new();
    let is_awaited = |reference: &&ObjectRef| present.iter().any(|desired| desired.depends_on.contains(reference));
    let (first, last): (Vec<_>, Vec<_>) = absent.iter().partition(is_awaited);
    for reference in first {
        let failure = remove(reference, snapshot, writer, &mut report).await;
        failed.extend(failure.map(|failure| (reference, failure)));
    }
    for desired in present
        .iter()
        .filter(|desired| needs_write(desired, snapshot, recorded))
    {
        let failure = match held_back(desired, snapshot, &failed) {
            Some(failure) => Some(failure),
            None => apply_desired(desired, snapshot, recorded, writer, &mut report).await,
        };
        failed.extend(failure.map(|failure| (&desired.reference, failure)));
    }
    report.announce_created();
    for reference in last {
        let failure = remove(reference, snapshot, writer, &mut report).await;
        failed.extend(failure.map(|failure| (reference, failure)));
    }
    report.failures.extend(failed.into_iter().map(|(_, failure)| failure));
    report
}

/// Why an object is not written now: the cluster still has old content of another object, on which it depends. New pods would start
/// with the old content, and their digest would say that they have the new content, so that nothing would replace them later. The first
/// pods find no old content if the other object does not exist.
fn held_back(desired: &Desired, snapshot: &Snapshot, failed: &[(&ObjectRef, Failure)]) -> Option<Failure> {
    let exists = |reference: &ObjectRef| snapshot.objects.find(reference).is_some();
    let runs = exists(&desired.reference);
    let (cause, failure) = failed
        .iter()
        .find(|(reference, _)| desired.depends_on.contains(reference) && (runs || exists(reference)))?;
    let why = if desired.reference.kind == Kind::Deployment {
        "its pods would start without the new content of"
    } else {
        "it must not be newer than"
    };
    let message = format!(
        "{} is not written, because {why} {cause}: remove the cause of that failure",
        desired.reference
    );
    Some(Failure {
        message,
        ..failure.clone()
    })
}

/// Writes an object. Returns the failure, if it failed.
async fn apply_desired(
    desired: &Desired,
    snapshot: &Snapshot,
    recorded: &impl Recorded,
    writer: &Writer,
    report: &mut Report,
) -> Option<Failure> {
    let live = snapshot.objects.find(&desired.reference).map(AsRef::as_ref);
    let attempt = if live.is_some() {
        Attempt::Update
    } else {
        Attempt::Create
    };
    let error = apply_object(desired, live, snapshot.namespace_uid(), recorded, writer, report)
        .await
        .err()?;
    Some(failure(&mut report.write_events, desired, attempt, &error))
}

/// Deletes an object that must not exist. Returns the failure, if it failed.
async fn remove(reference: &ObjectRef, snapshot: &Snapshot, writer: &Writer, report: &mut Report) -> Option<Failure> {
    match delete_seen(reference, snapshot, writer).await {
        Ok(false) => None,
        Ok(true) => {
            report.writes += 1;
            let event = normal_event(reference, "Deleted", "it is not wanted any more");
            report.write_events.push(event);
            None
        }
        Err(error) => Some(failure_of(
            &mut report.write_events,
            reference,
            Attempt::Delete,
            &error,
            None,
        )),
    }
}

/// Deletes the object that was seen. Returns whether it was deleted; an object that replaced it stays, and is left to the next pass.
async fn delete_seen(reference: &ObjectRef, snapshot: &Snapshot, writer: &Writer) -> Result<bool, WriteError> {
    let seen = snapshot.objects.find(reference).and_then(|seen| uid(seen));
    match writer.delete(reference, seen).await {
        Err(WriteError::Conflict(_)) => writer.read(reference).await.map(|_| false),
        deleted => deleted.map(|()| true),
    }
}

/// Deletes objects of a snapshot. An object that does not exist counts as deleted; one that replaced the object of the snapshot stays. The
/// report has the failures.
pub async fn delete(references: &[ObjectRef], snapshot: &Snapshot, writer: &Writer) -> Report {
    let plan = Plan {
        absent: references.to_vec(),
        ..Plan::default()
    };
    apply(&plan, snapshot, &NothingRecorded, writer).await
}

/// Creates an object that is no operand. Returns the result and the events about the write; an object that exists already leads to
/// no event.
pub async fn create(
    reference: &ObjectRef,
    body: &Value,
    writer: &Writer,
) -> (Result<Value, WriteError>, Vec<EventRequest>) {
    let created = writer.create(reference, body).await;
    let mut events = Vec::new();
    match &created {
        Ok(_) => events.push(normal_event(reference, "Created", ABSENT)),
        Err(WriteError::Conflict(_)) => {}
        Err(error) => drop(failure_of(&mut events, reference, Attempt::Create, error, None)),
    }
    (created, events)
}

/// For controllers that write no workload.
pub struct NothingRecorded;

impl Recorded for NothingRecorded {
    fn generation(&self, _: &ObjectRef) -> Option<i64> {
        None
    }
}

async fn apply_object(
    desired: &Desired,
    live: Option<&Value>,
    namespace_uid: &str,
    recorded: &impl Recorded,
    writer: &Writer,
    report: &mut Report,
) -> Result<(), WriteError> {
    let digest = desired.checksum.then(|| checksum::checksum(desired, namespace_uid));
    let mut live = live.map(|seen| writer.latest(&desired.reference, seen));
    let mut wait = FIRST_WAIT;
    for attempt in 1..=ATTEMPTS {
        let attempted = write(desired, live.as_ref(), digest.as_deref(), recorded, writer, report).await;
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

fn uid(object: &Value) -> Option<&str> {
    object.pointer("/metadata/uid").and_then(Value::as_str)
}

/// Without the mark the object is somebody else's, which the next pass sees.
fn still_own(desired: &Desired, live: &Value) -> Result<(), WriteError> {
    if desired.mark.is_none_or(|mark| mark.is_on(live)) {
        return Ok(());
    }
    let message = format!("{} is not the operator's any more", desired.reference);
    Err(WriteError::Conflict(message))
}

async fn write(
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
        record_write(desired, &written, Written::Created(digest), report);
        return Ok(());
    };
    still_own(desired, live)?;
    if drift::immutable_differs(desired, live) {
        writer.delete(reference, uid(live)).await?;
        let why = "an immutable field differed: the object is created again";
        report.write_events.push(EventRequest {
            warning: true,
            ..normal_event(reference, "Deleted", why)
        });
        report.writes += 1;
        let written = writer
            .create(reference, &drift::merged(desired, &Value::Null, digest))
            .await?;
        record_write(desired, &written, Written::Created(digest), report);
        return Ok(());
    }
    if !drift::differs(desired, live, recorded.generation(reference)) {
        return Ok(()); // somebody else has made the same change
    }
    if reference.kind == Kind::Deployment
        && let Some(first) = plan::affinity_first(&desired.body, live)
    {
        let written = writer.update(reference, live, &first).await?;
        record_write(
            &Desired {
                drift: Drift::Named,
                ..desired.clone()
            },
            &written,
            Written::Updated(live, digest),
            report,
        );
        return Ok(());
    }
    let written = writer
        .update(reference, live, &drift::merged(desired, live, digest))
        .await?;
    record_write(desired, &written, Written::Updated(live, digest), report);
    Ok(())
}

/// How an object was written, with the checksum of the desired object.
#[derive(Clone, Copy)]
enum Written<'a> {
    Created(Option<&'a str>),
    /// With the object before the update.
    Updated(&'a Value, Option<&'a str>),
}

fn record_write(desired: &Desired, written: &Value, outcome: Written<'_>, report: &mut Report) {
    report.writes += 1;
    if desired.drift == Drift::Generation
        && let Some(generation) = written.pointer("/metadata/generation").and_then(Value::as_i64)
    {
        report.generations.push((desired.reference.clone(), generation));
    }
    let (what, why, digest) = match outcome {
        Written::Created(digest) => ("Created", ABSENT.to_owned(), digest),
        Written::Updated(before, digest) => {
            let changes = Changes::of_object(before, written);
            ("Updated", format!("changed {changes}"), digest)
        }
    };
    // Equal events are deduplicated. The checksum makes a second change of the same fields a new event.
    // Events of Secrets have no checksum: a reader of events could use it to verify a guess of the content.
    let digest = digest.filter(|_| desired.reference.kind != Kind::Secret);
    let suffix = digest.map(short_checksum).unwrap_or_default();
    let event = normal_event(&desired.reference, what, &format!("{why}{suffix}"));
    match outcome {
        // Users look for the events of the workloads.
        Written::Created(_) if !matches!(desired.reference.kind, Kind::Deployment | Kind::DaemonSet) => {
            report.created.push((desired.reference.clone(), event));
        }
        _ => report.write_events.push(event),
    }
}

/// The first digits of a checksum, for an event.
fn short_checksum(digest: &str) -> String {
    let hex = digest.rsplit(':').next().unwrap_or_default();
    format!(" (checksum {})", hex.get(..8).unwrap_or(hex))
}

fn normal_event(reference: &ObjectRef, what: &'static str, why: &str) -> EventRequest {
    EventRequest {
        warning: false,
        reason: reason(reference.kind, what),
        message: format!("{reference}: {why}"),
    }
}

/// The write that was attempted.
#[derive(Clone, Copy)]
enum Attempt {
    Create,
    Update,
    Delete,
}

fn planned_failure(failure: &plan::Failure) -> Failure {
    let plan::Failure {
        reference,
        class,
        message,
    } = failure;
    Failure {
        class: *class,
        explained: true,
        message: format!("{reference}: {message}"),
    }
}

/// A failed write of a desired object. A refusal of its content names the fields that the user has to edit.
fn failure(events: &mut Vec<EventRequest>, desired: &Desired, attempt: Attempt, error: &WriteError) -> Failure {
    let source = match error {
        WriteError::Refused(refusal) if refusal.content => desired.explain(&refusal.fields),
        _ => Vec::new(),
    };
    let source = (!source.is_empty()).then(|| source.join(" and "));
    failure_of(events, &desired.reference, attempt, error, source.as_deref())
}

/// `source`: what the user has to edit.
fn failure_of(
    events: &mut Vec<EventRequest>,
    reference: &ObjectRef,
    attempt: Attempt,
    error: &WriteError,
    source: Option<&str>,
) -> Failure {
    let (verb, what) = match attempt {
        Attempt::Create => ("create", "CreateFailed"),
        Attempt::Update => ("apply", "UpdateFailed"),
        Attempt::Delete => ("delete", "DeleteFailed"),
    };
    let message = match source {
        Some(source) => format!("cannot {verb} {reference}: correct {source}: {error}"),
        None => format!("cannot {verb} {reference}: {error}"),
    };
    if !matches!(error, WriteError::NotLeading) {
        events.push(EventRequest {
            warning: true,
            reason: reason(reference.kind, what),
            message: message.clone(),
        });
    }
    Failure {
        class: error.class(),
        explained: source.is_some(),
        message,
    }
}

/// `<Kind><What>` as a static text. The combinations are few and fixed, so leaking them is bounded.
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
