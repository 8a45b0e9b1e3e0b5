//! What was found out and need not be asked for again. Memory of the process that leads; correctness needs none of it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use jiff::Timestamp;

use super::driver::{Ensured, Failure, Next, Trial, Wait};
use crate::config::facts::{EnvValue, StorageFacts};

/// How soon a look that failed is taken again, the first time; then twice as long each time.
const FAILED: Duration = Duration::from_secs(1);
/// How soon storage is looked at again while the Deployment stays unavailable, the first time.
const UNAVAILABLE: Duration = Duration::from_mins(2);
/// How soon storage is tried out again, the first time.
const TRIED: Duration = Duration::from_secs(5);
/// The longest wait of them all.
const LONGEST: Duration = Duration::from_mins(5);
/// How long what `ensure` could not finish waits for the next attempt.
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

/// What an answer depends on: settings, credentials, roots, way out. Two that are equal ask the same question.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint([u8; digest::SHA256_OUTPUT_LEN]);

impl Fingerprint {
    /// Of these texts, in this order; they may be secret.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for text in texts {
            // The length keeps two texts apart that make one together.
            context.update(&text.len().to_le_bytes());
            context.update(text.as_bytes());
        }
        let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }

    /// Of this and of these texts.
    #[must_use]
    pub fn and<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Self {
        let Self(bytes) = Self::of(texts);
        let mut all = [0; digest::SHA256_OUTPUT_LEN * 2];
        let (first, second) = all.split_at_mut(digest::SHA256_OUTPUT_LEN);
        first.copy_from_slice(&self.0);
        second.copy_from_slice(&bytes);
        Self::digest(&all)
    }

    fn digest(bytes: &[u8]) -> Self {
        let mut digested = [0; digest::SHA256_OUTPUT_LEN];
        digested.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(digested)
    }

    /// Of a location and of everything that the registry is told about it, secrets and CA included.
    pub fn of_facts(location: &str, facts: &StorageFacts) -> Self {
        let StorageFacts {
            backend,
            env,
            volumes,
            mounts,
            files,
            ca_bundle,
            unfit: _,
            not_usable: _,
        } = facts;
        let mut texts = vec![(*backend).to_owned(), location.to_owned()];
        for variable in env {
            let (kind, value) = match &variable.value {
                EnvValue::Text(text) => ("text", text.clone()),
                EnvValue::Secret(secret) => ("secret", secret.expose().to_owned()),
                EnvValue::Flag(flag) => ("flag", flag.to_string()),
                EnvValue::Number(number) => ("number", number.to_string()),
                EnvValue::Raw(text) => ("raw", text.clone()),
            };
            texts.extend([variable.name.to_owned(), kind.to_owned(), value]);
        }
        texts.extend(volumes.iter().chain(mounts).map(ToString::to_string));
        for (name, content) in files {
            texts.extend([name.clone(), content.expose().to_owned()]);
        }
        texts.extend(ca_bundle.clone());
        Self::of(texts.iter().map(String::as_str))
    }
}

/// It is made of secrets, too.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

/// A wish that was last seen to, so that it is seen to again only when it changes.
#[derive(Debug, Default)]
pub struct Told(Mutex<Option<Fingerprint>>);

impl Told {
    /// Whether the wish is another one than was last seen to; `None`: nothing was, since the process leads.
    pub fn differs(&self, wish: &Fingerprint) -> Option<bool> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.as_ref().map(|told| told != wish)
    }

    /// The wish was seen to.
    pub fn note(&self, wish: Fingerprint) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(wish);
    }
}

/// What is asked of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Of settings, credentials, roots and way out.
    pub fingerprint: Fingerprint,
    /// Generation of the Config.
    pub generation: i64,
    /// Whether an administrator consents to own the storage.
    pub consent: bool,
}

/// What makes an answer old.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// When the pass began.
    pub now: Timestamp,
    /// Whether the registry serves, or nobody wants it to.
    pub available: bool,
    /// Whether something of the storage is to be tried again.
    pub unfinished: bool,
}

/// What was answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The storage is as the Config says.
    Done(Box<Ensured>),
    /// It is on its way.
    Wait(Wait),
    /// It could not be told, or done.
    Failed(Failure),
}

impl Answer {
    /// As the step that it was the end of.
    pub fn into_step(self) -> Result<Next<Ensured>, Failure> {
        match self {
            Self::Done(ensured) => Ok(Next::Done(*ensured)),
            Self::Wait(wait) => Ok(Next::Wait(wait)),
            Self::Failed(failure) => Err(failure),
        }
    }
}

#[derive(Debug)]
struct Looked {
    question: Question,
    answer: Answer,
    at: Timestamp,
    /// The last wait, from which the next one follows.
    wait: Duration,
    due: Timestamp,
    available: bool,
}

impl Looked {
    fn holds(&mut self, circumstances: Circumstances) -> bool {
        let Circumstances {
            now,
            available,
            unfinished,
        } = circumstances;
        match self.answer {
            Answer::Wait(_) | Answer::Failed(_) => now < self.due,
            Answer::Done(_) if unfinished && now >= later(self.at, UNFINISHED) => false,
            Answer::Done(_) if available => {
                self.available = true;
                true
            }
            Answer::Done(_) => !self.available && now < self.due,
        }
    }
}

/// How storage was last tried out.
#[derive(Clone, Debug)]
pub struct Tried {
    fingerprint: Fingerprint,
    /// What came of it.
    pub trial: Trial,
    /// When it failed first.
    pub since: Timestamp,
    /// When it is tried again.
    pub due: Timestamp,
    wait: Duration,
}

#[derive(Debug, Default)]
struct Notes {
    /// Somebody was asked already.
    asked: bool,
    looked: Option<Looked>,
    consented: Option<String>,
    tried: Option<Tried>,
    clearing: Option<(Duration, Timestamp)>,
    deleted: Option<(String, u64)>,
}

/// What core remembers.
#[derive(Debug, Default)]
pub struct Answers {
    notes: Mutex<Notes>,
}

impl Answers {
    /// The answer to this question, if it need not be asked again, and when that has to be at the latest where nothing
    /// changes.
    pub fn recall(&self, question: &Question, circumstances: Circumstances) -> Option<(Answer, Option<Duration>)> {
        let mut notes = self.notes();
        let looked = notes.looked.as_mut().filter(|looked| looked.question == *question)?;
        let holds = looked.holds(circumstances);
        let waits = !matches!(looked.answer, Answer::Done(_)) || !circumstances.available;
        let again = waits.then(|| until(looked.due, circumstances.now));
        holds.then(|| (looked.answer.clone(), again))
    }

    /// Whether nothing was asked yet: the process has just begun to lead.
    pub fn is_new(&self) -> bool {
        !self.notes().asked
    }

    /// Notes an answer. What it has to tell in events was told with it. Says when it is asked again at the latest.
    pub fn note(&self, question: Question, mut answer: Answer, circumstances: Circumstances) -> Option<Duration> {
        let Circumstances { now, available, .. } = circumstances;
        let mut notes = self.notes();
        notes.asked = true;
        let before = notes.looked.take().filter(|looked| looked.question == question);
        let wait = match (
            &mut answer,
            before.map(|looked| (looked.answer, looked.available, looked.wait)),
        ) {
            (Answer::Wait(wait), _) => wait.after,
            (Answer::Failed(_), Some((Answer::Failed(_), _, last))) => doubled(last),
            (Answer::Failed(_), _) => FAILED,
            (Answer::Done(ensured), before) => {
                ensured.notices.clear();
                match before {
                    Some((Answer::Done(_), false, last)) if !available => doubled(last),
                    _ => UNAVAILABLE,
                }
            }
        };
        let again = (!matches!(answer, Answer::Done(_)) || !available).then_some(wait);
        notes.looked = Some(Looked {
            question,
            answer,
            at: now,
            wait,
            due: later(now, wait),
            available,
        });
        again
    }

    /// A question that has another answer now.
    pub fn forget(&self) {
        let mut notes = self.notes();
        notes.asked = true;
        notes.looked = None;
    }

    /// The Config got another generation by what this process wrote, which asks for no new look.
    pub fn follow(&self, before: Option<i64>, after: Option<i64>) {
        if let Some(looked) = &mut self.notes().looked
            && let (Some(before), Some(after)) = (before, after)
            && looked.question.generation == before
        {
            looked.question.generation = after;
        }
    }

    /// Whether consent to own the storage at this location was looked at.
    pub fn consented(&self, location: &str) -> bool {
        self.notes().consented.as_deref() == Some(location)
    }

    /// Notes that consent to own the storage at this location was looked at.
    pub fn note_consent(&self, location: &str) {
        self.notes().consented = Some(location.to_owned());
    }

    /// How this was last tried out.
    pub fn tried(&self, fingerprint: &Fingerprint) -> Option<Tried> {
        let notes = self.notes();
        notes.tried.clone().filter(|tried| tried.fingerprint == *fingerprint)
    }

    /// Whether anything was tried out yet.
    pub fn tried_nothing(&self) -> bool {
        self.notes().tried.is_none()
    }

    /// Notes how this was tried out. `since`: when it failed first, where that is known from before.
    pub fn note_trial(
        &self,
        fingerprint: Fingerprint,
        trial: Trial,
        now: Timestamp,
        since: Option<Timestamp>,
    ) -> Tried {
        let mut notes = self.notes();
        let before = notes
            .tried
            .take()
            .filter(|tried| tried.fingerprint == fingerprint && tried.trial != Trial::Passed);
        let wait = before.as_ref().map_or(TRIED, |tried| doubled(tried.wait));
        let tried = Tried {
            fingerprint,
            trial,
            since: before.map(|tried| tried.since).or(since).unwrap_or(now),
            due: later(now, wait),
            wait,
        };
        notes.tried = Some(tried.clone());
        tried
    }

    /// Until when probes of earlier processes rest; `None`: they may be looked for.
    pub fn clearing_rests(&self, now: Timestamp) -> Option<Duration> {
        let (_, due) = self.notes().clearing?;
        (now < due).then(|| until(due, now))
    }

    /// Whether probes are still to be cleared away.
    pub fn is_clearing(&self) -> bool {
        self.notes().clearing.is_some()
    }

    /// Notes whether all probes of earlier processes were cleared away. Says when to try again.
    pub fn note_clearing(&self, all: bool, now: Timestamp) -> Option<Duration> {
        let mut notes = self.notes();
        let wait = notes.clearing.map_or(TRIED, |(last, _)| doubled(last));
        notes.clearing = (!all).then(|| (wait, later(now, wait)));
        (!all).then_some(wait)
    }

    /// Counts objects that a removal deleted at this location. Says how many so far.
    pub fn count_deleted(&self, location: &str, objects: u64) -> u64 {
        let mut notes = self.notes();
        let before = notes.deleted.take().filter(|(at, _)| at == location);
        let all = before.map_or(0, |(_, before)| before).saturating_add(objects);
        notes.deleted = Some((location.to_owned(), all));
        all
    }

    /// How many objects a removal that did not end has deleted at this location. Told once.
    pub fn take_deleted(&self, location: &str) -> Option<u64> {
        let mut notes = self.notes();
        let (_, objects) = notes.deleted.take_if(|(at, _)| at == location)?;
        Some(objects)
    }

    /// The same for a removal at any other location than this one: where, and how many objects.
    pub fn take_deleted_elsewhere(&self, location: Option<&str>) -> Option<(String, u64)> {
        let mut notes = self.notes();
        notes.deleted.take_if(|(at, _)| Some(at.as_str()) != location)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
