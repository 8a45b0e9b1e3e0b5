//! Cached observations: existence, preflights, settings that follow the platform, runtime credentials. They live in the
//! memory of the process that leads. Correctness does not depend on them; after a restart each costs at most one call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::config::error_class::ErrorClass;
use crate::program::RegistryStorage;
use crate::storage::model::error::StepError;
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::preflight::{Preflighted, Probed};
use crate::storage::model::progress::{Ensured, Progress, Wait};

/// First wait before the engine checks existing storage again because the Deployment is unavailable.
const UNAVAILABLE: Duration = Duration::from_mins(2);
/// First wait before a preflight is repeated.
const PREFLIGHT: Duration = Duration::from_secs(5);
/// Longest wait.
const LONGEST: Duration = Duration::from_mins(5);
/// Longest wait before a preflight is repeated, if each one leaves a version that the operator may not delete. The first waits are
/// those of every preflight, because new keys become valid after seconds to minutes.
const LONGEST_KEPT: Duration = Duration::from_mins(30);
/// Wait before `ensure` applies failed settings again: a resync.
const UNFINISHED: Duration = Duration::from_mins(10);

fn doubled(wait: Duration) -> Duration {
    (wait * 2).min(LONGEST)
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

fn until(due: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or_default()
}

/// Times between which a cached value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    from: Timestamp,
    until: Timestamp,
}

impl Period {
    pub(super) fn of(from: Timestamp, lasts: Duration) -> Self {
        Self {
            from,
            until: later(from, lasts),
        }
    }

    /// Whether the value counts now. A value from the future does not: the clock was set back, and the value would count
    /// for too long.
    pub(super) fn contains(self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}

/// What a cached observation depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Digest of settings, credentials, CA and proxy.
    pub fingerprint: Fingerprint,
    /// `metadata.generation` of the Config.
    pub generation: i64,
    /// Whether an administrator consents to adoption.
    pub consent: bool,
}

/// What decides whether a cached observation is still valid.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// Start of the pass.
    pub now: Timestamp,
    /// Whether the registry has an available pod, or should have none.
    pub available: bool,
    /// Whether a setting must be applied again.
    pub unfinished: bool,
}

/// Result of a step.
#[derive(Clone, Debug)]
pub enum Observation {
    /// The storage is as the Config says.
    Done(Box<Ensured>),
    /// An operation is in progress.
    Wait(Wait),
    /// The step failed.
    Failed(StepError),
}

impl Observation {
    /// Converts the observation to the result of the step.
    pub fn into_step(self) -> Result<Progress<Ensured>, StepError> {
        match self {
            Self::Done(ensured) => Ok(Progress::Done(*ensured)),
            Self::Wait(wait) => Ok(Progress::Wait(wait)),
            Self::Failed(failed) => Err(failed),
        }
    }
}

#[derive(Debug)]
struct Cached {
    subject: Subject,
    observation: Observation,
    /// From the observation until the next one.
    valid: Period,
    /// Last wait; the next wait is twice as long.
    wait: Duration,
    available: bool,
    /// An earlier process reported this, and this process did not look yet.
    inherited: bool,
}

impl Cached {
    /// From the observation until `ensure` applies settings again that are not applied.
    fn unfinished(&self, ensured: &Ensured) -> Period {
        Period::of(self.valid.from, ensured.again.unwrap_or(UNFINISHED))
    }

    /// Time until a setting is due that the service was still applying; `None`: there is none, or it is overdue.
    fn pending(&self, now: Timestamp) -> Option<Duration> {
        match &self.observation {
            Observation::Done(ensured) if ensured.again.is_some() => {
                let due = self.unfinished(ensured);
                due.contains(now).then(|| until(due.until, now))
            }
            _ => None,
        }
    }

    /// Whether the observation is still valid. An observation with which the registry was available stays valid while
    /// the registry is available.
    fn is_valid(&mut self, circumstances: Circumstances) -> bool {
        let Circumstances {
            now,
            available,
            unfinished,
        } = circumstances;
        match self.observation {
            _ if self.inherited => now == self.valid.from,
            Observation::Wait(_) | Observation::Failed(_) => self.valid.contains(now),
            Observation::Done(ref ensured) if unfinished && !self.unfinished(ensured).contains(now) => false,
            Observation::Done(_) if available => {
                self.available = true;
                true
            }
            Observation::Done(_) => !self.available && self.valid.contains(now),
        }
    }
}

/// Result of the last preflight.
#[derive(Clone, Debug)]
pub struct CachedPreflight {
    fingerprint: Fingerprint,
    /// Result.
    pub result: Preflighted,
    /// Time of the first failure.
    pub since: Timestamp,
    /// The storage keeps a version of the probe object.
    kept: bool,
    /// Reasons of events that preflights of this storage led to.
    pub reported: BTreeSet<&'static str>,
    /// From this preflight until the next one.
    valid: Period,
    wait: Duration,
}

impl CachedPreflight {
    /// Time until the next preflight; `None` if it is due.
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        self.valid.contains(now).then(|| until(self.valid.until, now))
    }
}

/// Runtime credentials of the registry, which a call provides.
#[derive(Debug)]
struct CachedAccess {
    fingerprint: Fingerprint,
    /// Those of the last successful call.
    access: Option<RegistryStorage>,
    /// When they are valid; `None`: until the inputs change.
    valid: Option<Period>,
    /// Another call is due, although they may be valid.
    recheck: bool,
    /// The last call failed: error, last wait, and until when no other call is due.
    failed: Option<(StepError, Duration, Period)>,
}

impl CachedAccess {
    /// Runtime credentials that are still valid.
    fn access(&self, now: Timestamp) -> Option<&RegistryStorage> {
        let valid = self.valid.is_none_or(|valid| valid.contains(now));
        self.access.as_ref().filter(|_| valid)
    }
}

#[derive(Debug, Default)]
struct Memory {
    /// At least one step ran since this process leads.
    used: bool,
    step: Option<Cached>,
    /// Location whose consent to adoption was handled.
    consented: Option<String>,
    /// Location whose service refused the last create call.
    refused: Option<String>,
    preflight: Option<CachedPreflight>,
    /// Last wait and next time of the deletion of leftover probes.
    leftovers: Option<(Duration, Period)>,
    /// Location of an unfinished removal, and how many objects it deleted.
    deleted: Option<(String, u64)>,
    /// Value that the platform requested when a setting was last applied, by condition type.
    followed: BTreeMap<&'static str, Fingerprint>,
    /// Boxed, so that the futures that hold the cache stay small.
    access: Option<Box<CachedAccess>>,
    /// What provides the runtime credentials does not exist any more.
    access_gone: bool,
    /// Start of the operation of a stage, by the key of the storage and the name of the stage; `None`: the object was ready.
    stages: BTreeMap<(String, &'static str), Option<Timestamp>>,
}

/// The cache. The process that leads has one.
#[derive(Debug, Default)]
pub struct ObservationCache {
    memory: Mutex<Memory>,
}

impl ObservationCache {
    /// The valid observation of this subject, and the longest time until the next one.
    pub fn recall(&self, subject: &Subject, circumstances: Circumstances) -> Option<(Observation, Option<Duration>)> {
        let mut memory = self.memory();
        let cached = memory.step.as_mut().filter(|cached| cached.subject == *subject)?;
        let valid = cached.is_valid(circumstances);
        let waits = !matches!(cached.observation, Observation::Done(_)) || !circumstances.available;
        let again = if cached.inherited {
            Some(Duration::ZERO)
        } else {
            let next = waits.then(|| until(cached.valid.until, circumstances.now));
            next.into_iter().chain(cached.pending(circumstances.now)).min()
        };
        valid.then(|| (cached.observation.clone(), again))
    }

    /// Caches what an earlier process reported, for the pass that starts now. The next pass, which follows at once, looks
    /// itself.
    pub fn inherit(&self, subject: Subject, ensured: Ensured, circumstances: Circumstances) -> Duration {
        self.store(subject, Observation::Done(Box::new(ensured)), circumstances);
        if let Some(cached) = &mut self.memory().step {
            cached.inherited = true;
        }
        Duration::ZERO
    }

    /// Whether no step ran since this process leads.
    pub fn is_new(&self) -> bool {
        !self.memory().used
    }

    /// Caches an observation without its events, which were published. Returns the longest time until the next
    /// observation.
    pub fn store(
        &self,
        subject: Subject,
        mut observation: Observation,
        circumstances: Circumstances,
    ) -> Option<Duration> {
        let Circumstances { now, available, .. } = circumstances;
        let mut memory = self.memory();
        memory.used = true;
        let before = memory.step.take().filter(|cached| cached.subject == subject);
        let wait = match (
            &mut observation,
            before.map(|cached| (cached.observation, cached.available, cached.wait)),
        ) {
            (Observation::Wait(wait), _) => wait.after,
            (Observation::Failed(failed), Some((Observation::Failed(_), _, last))) => {
                next_retry(failed.error.class, Some(last))
            }
            (Observation::Failed(failed), _) => next_retry(failed.error.class, None),
            (Observation::Done(ensured), before) => {
                ensured.events.clear();
                match before {
                    Some((Observation::Done(_), false, last)) if !available => doubled(last),
                    _ => UNAVAILABLE,
                }
            }
        };
        let again = (!matches!(observation, Observation::Done(_)) || !available).then_some(wait);
        let cached = Cached {
            subject,
            observation,
            valid: Period::of(now, wait),
            wait,
            available,
            inherited: false,
        };
        let again = again.into_iter().chain(cached.pending(now)).min();
        memory.step = Some(cached);
        again
    }

    /// Drops the observation, because the storage changed.
    pub fn forget(&self) {
        let mut memory = self.memory();
        memory.used = true;
        memory.step = None;
    }

    /// Keeps the observation valid after a write of this process changed `metadata.generation` of the Config from
    /// `before` to `after`.
    pub fn config_written(&self, before: Option<i64>, after: Option<i64>) {
        if let Some(cached) = &mut self.memory().step
            && let (Some(before), Some(after)) = (before, after)
            && cached.subject.generation == before
        {
            cached.subject.generation = after;
        }
    }

    /// Records that an operation of a stage begins now. The time of the stage goes on if an earlier operation did not complete it.
    /// Returns whether it begins.
    pub fn begin_stage(&self, key: &str, stage: &'static str, now: Timestamp) -> bool {
        let mut memory = self.memory();
        let began = memory.stages.entry((key.to_owned(), stage)).or_default();
        let begins = began.is_none();
        began.get_or_insert(now);
        begins
    }

    /// Forgets the time of a stage: it is to create another object, or the service refused to begin.
    pub fn forget_stage(&self, key: &str, stage: &'static str) {
        self.memory().stages.remove(&(key.to_owned(), stage));
    }

    /// Records that the object of a stage is ready.
    pub fn end_stage(&self, key: &str, stage: &'static str) {
        self.memory().stages.insert((key.to_owned(), stage), None);
    }

    /// Start of the operation of a stage that is in progress. If this process sees the operation for the first time, it
    /// began at `recorded`, or now without a record. If the object was ready before, the operation is a new one and begins
    /// now.
    pub fn stage_began(
        &self,
        key: &str,
        stage: &'static str,
        recorded: Option<Timestamp>,
        now: Timestamp,
    ) -> Timestamp {
        let mut memory = self.memory();
        let began = match memory.stages.get(&(key.to_owned(), stage)) {
            Some(Some(began)) => *began,
            Some(None) => now,
            None => recorded.unwrap_or(now),
        };
        memory.stages.insert((key.to_owned(), stage), Some(began));
        began
    }

    /// Whether a step already handled the consent to adopt the storage at this location.
    pub fn is_consent_handled(&self, location: &str) -> bool {
        self.memory().consented.as_deref() == Some(location)
    }

    /// Records that a step handled the consent to adopt the storage at this location; `None`: nobody consents.
    pub fn store_consent(&self, location: Option<&str>) {
        self.memory().consented = location.map(ToOwned::to_owned);
    }

    /// Whether the service refused the last create call for this location, so that the call created nothing.
    pub fn is_creation_refused(&self, location: &str) -> bool {
        self.memory().refused.as_deref() == Some(location)
    }

    /// Records whether the service refused a create call for this location.
    pub fn store_creation(&self, location: &str, refused: bool) {
        self.memory().refused = refused.then(|| location.to_owned());
    }

    /// The last preflight of this configuration.
    pub fn preflight(&self, fingerprint: &Fingerprint) -> Option<CachedPreflight> {
        let memory = self.memory();
        let last = memory.preflight.clone();
        last.filter(|last| last.fingerprint == *fingerprint)
    }

    /// Whether a preflight ran since this process leads.
    pub fn has_preflight(&self) -> bool {
        self.memory().preflight.is_some()
    }

    /// Caches the result of a preflight. `since`: time of the first failure, if an earlier process reported it.
    pub fn store_preflight(
        &self,
        fingerprint: Fingerprint,
        probed: &Probed,
        now: Timestamp,
        since: Option<Timestamp>,
    ) -> CachedPreflight {
        let mut memory = self.memory();
        let before = memory
            .preflight
            .take()
            .filter(|last| last.fingerprint == fingerprint && last.result != Preflighted::Passed);
        let kept = probed.kept || before.as_ref().is_some_and(|last| last.kept);
        let mut reported = before.as_ref().map(|last| last.reported.clone()).unwrap_or_default();
        reported.extend(probed.events.iter().map(|event| event.reason));
        // The two minutes for a new key count from its first refusal, not from an earlier failure of another kind.
        let refused = |result: &Preflighted| matches!(result, Preflighted::Denied(denial) if denial.auth);
        let first = before
            .as_ref()
            .filter(|last| refused(&last.result) || !refused(&probed.result))
            .map(|last| last.since);
        let longest = if kept { LONGEST_KEPT } else { LONGEST };
        let wait = before.map_or(PREFLIGHT, |last| (last.wait * 2).min(longest));
        let last = CachedPreflight {
            kept,
            reported,
            fingerprint,
            result: probed.result.clone(),
            // The clock may have been set back.
            since: first.or(since).unwrap_or(now).min(now),
            valid: Period::of(now, wait),
            wait,
        };
        memory.preflight = Some(last.clone());
        last
    }

    /// Time until the next deletion of leftover probes; `None` if it is due.
    pub fn leftovers_wait(&self, now: Timestamp) -> Option<Duration> {
        let (_, valid) = self.memory().leftovers?;
        valid.contains(now).then(|| until(valid.until, now))
    }

    /// Whether leftover probes remain.
    pub fn has_leftovers(&self) -> bool {
        self.memory().leftovers.is_some()
    }

    /// Caches whether every leftover probe was deleted. Returns the wait before the next attempt.
    pub fn store_leftovers(&self, all_deleted: bool, now: Timestamp) -> Option<Duration> {
        let mut memory = self.memory();
        let wait = memory.leftovers.map_or(PREFLIGHT, |(last, _)| doubled(last));
        memory.leftovers = (!all_deleted).then(|| (wait, Period::of(now, wait)));
        (!all_deleted).then_some(wait)
    }

    /// Adds to the number of objects that a removal deleted at this location. Returns the sum.
    pub fn count_deleted(&self, location: &str, objects: u64) -> u64 {
        let mut memory = self.memory();
        let before = memory.deleted.take().filter(|(at, _)| at == location);
        let all = before.map_or(0, |(_, before)| before).saturating_add(objects);
        memory.deleted = Some((location.to_owned(), all));
        all
    }

    /// Takes the number of objects that an unfinished removal deleted at this location; `None` from the second call on.
    pub fn take_deleted(&self, location: &str) -> Option<u64> {
        let mut memory = self.memory();
        let (_, objects) = memory.deleted.take_if(|(at, _)| at == location)?;
        Some(objects)
    }

    /// [`Self::take_deleted`] for an unfinished removal at any other location: the location and the number of objects.
    pub fn take_deleted_elsewhere(&self, location: Option<&str>) -> Option<(String, u64)> {
        let mut memory = self.memory();
        memory.deleted.take_if(|(at, _)| Some(at.as_str()) != location)
    }

    /// Whether the platform requests another value than when this setting was last applied; `None` if it was not
    /// applied since this process leads.
    pub fn is_followed_changed(&self, condition: &'static str, fingerprint: &Fingerprint) -> Option<bool> {
        self.memory().followed.get(condition).map(|last| last != fingerprint)
    }

    /// Records the requested value with which a setting was applied.
    pub fn store_followed(&self, condition: &'static str, fingerprint: Fingerprint) {
        self.memory().followed.insert(condition, fingerprint);
    }

    /// Drops the requested value of a setting, so that the setting is applied again.
    pub fn remove_followed(&self, condition: &'static str) {
        self.memory().followed.remove(condition);
    }

    /// Cached runtime credentials of the registry for this configuration, or why the last call failed; `None` if a call is due.
    pub fn runtime_access(
        &self,
        fingerprint: &Fingerprint,
        now: Timestamp,
    ) -> Option<Result<RegistryStorage, StepError>> {
        let memory = self.memory();
        let cached = memory.access.as_ref()?;
        if cached.fingerprint != *fingerprint {
            return None;
        }
        let access = cached.access(now).cloned();
        match &cached.failed {
            Some((error, _, period)) if period.contains(now) => Some(access.ok_or_else(|| error.clone())),
            _ => access.filter(|_| !cached.recheck && cached.failed.is_none()).map(Ok),
        }
    }

    /// Caches runtime credentials of the registry; `lifetime` is `None` if they do not expire.
    pub fn store_runtime_access(
        &self,
        fingerprint: Fingerprint,
        access: &RegistryStorage,
        now: Timestamp,
        lifetime: Option<Duration>,
    ) {
        let mut memory = self.memory();
        memory.access_gone = false;
        memory.access = Some(Box::new(CachedAccess {
            fingerprint,
            access: Some(access.clone()),
            valid: lifetime.map(|lifetime| Period::of(now, lifetime)),
            recheck: false,
            failed: None,
        }));
    }

    /// Caches that the call for runtime credentials failed, until the next call is due. Meanwhile, credentials of an earlier
    /// call that are still valid are used, otherwise `kept`, which the registry runs with; without them the error stands.
    pub fn store_failed_access(
        &self,
        fingerprint: Fingerprint,
        error: StepError,
        kept: Option<RegistryStorage>,
        now: Timestamp,
    ) -> Result<RegistryStorage, StepError> {
        let mut memory = self.memory();
        let before = memory.access.take().filter(|cached| cached.fingerprint == fingerprint);
        let last = before.as_ref().and_then(|cached| cached.failed.as_ref());
        let wait = next_retry(error.error.class, last.map(|(_, last, _)| *last));
        let valid = before.as_ref().and_then(|cached| cached.valid);
        let known = before.as_ref().and_then(|cached| cached.access(now)).cloned();
        let (access, valid) = match known {
            Some(known) => (Some(known), valid),
            None => (kept, None),
        };
        memory.access = Some(Box::new(CachedAccess {
            fingerprint,
            access: access.clone(),
            valid,
            recheck: false,
            failed: Some((error.clone(), wait, Period::of(now, wait))),
        }));
        access.ok_or(error)
    }

    /// Requests another call for runtime credentials, because what provides them may not exist any more.
    pub fn recheck_access(&self) {
        if let Some(cached) = &mut self.memory().access {
            cached.recheck = true;
        }
    }

    /// Records that what provides the runtime credentials does not exist any more: `ensure` must run, and nothing of them is used.
    pub fn lose_access(&self, fingerprint: Fingerprint, error: StepError, now: Timestamp) {
        {
            let mut memory = self.memory();
            memory.access_gone = true;
            memory.step = None;
            if let Some(cached) = &mut memory.access {
                cached.access = None;
            }
        }
        // Without `kept` the result is the error.
        drop(self.store_failed_access(fingerprint, error, None, now));
    }

    /// Whether what provides the runtime credentials does not exist any more.
    pub fn is_access_gone(&self) -> bool {
        self.memory().access_gone
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wait before a failed step is repeated. Errors of an invalid Config are found before any call and are not cached.
pub(super) fn next_retry(class: ErrorClass, last: Option<Duration>) -> Duration {
    match (class.retry(), last) {
        (None, _) => LONGEST,
        (Some(retry), None) => retry.first,
        (Some(retry), Some(last)) => (last * 2).min(retry.longest),
    }
}
