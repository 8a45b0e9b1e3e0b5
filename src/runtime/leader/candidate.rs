//! Acquires the Lease.

use std::{pin::pin, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{WatchEvent, WatchParams};
use tokio::time::Instant;

use super::{
    Candidate, Claim,
    lease::{LeaseError, LeaseStore, Observation, Record, Written, holder, reference},
    renewal,
};
use crate::{
    names,
    runtime::{clock::Moment, event::Event, random},
};

/// How soon a candidate tries again after another one took the free Lease (at random up to twice as long).
const CONTENDED: Duration = Duration::from_millis(250);
/// Jitter, so that several candidates do not try to take an expired Lease at the same time.
const JITTER: Duration = Duration::from_secs(1);

enum Attempt {
    /// This process holds the Lease; the write was sent at this moment.
    Acquired(Box<Lease>, Moment),
    /// Another process holds the Lease.
    Held(Box<Lease>),
    /// Another candidate wrote the Lease at the same time.
    Contended,
}

/// Waits until this process leads, and starts to renew the Lease in the background. Taking a free Lease needs two requests.
/// Never fails: it retries while the API is unreachable. Dropping the future stops the attempt; if a write has just succeeded,
/// the Lease stays held until it expires.
///
/// Must be called within a tokio runtime.
pub async fn acquire(candidate: Candidate) -> Claim {
    tracing::info!(
        identity = candidate.identity,
        "attempting to acquire leader lease {}/{}",
        names::NAMESPACE,
        names::LEASE
    );
    let store = LeaseStore::new(candidate);
    let mut observation = Observation::default();
    let mut logged = String::new();
    loop {
        let timings = store.candidate().timings;
        match attempt(&store, &mut observation).await {
            Ok(Attempt::Acquired(lease, sent)) => return lead(store, lease, sent),
            Ok(Attempt::Held(lease)) => {
                if logged != holder(&lease) {
                    holder(&lease).clone_into(&mut logged);
                    tracing::info!("lease is held by {logged}, waiting");
                }
                wait(&store, &mut observation, &lease).await;
            }
            Ok(Attempt::Contended) => {
                tokio::time::sleep(CONTENDED + random::up_to(CONTENDED)).await;
            }
            Err(error) => {
                // The holder is logged again when it can be read.
                let error = error.to_string();
                if logged != error {
                    tracing::warn!("cannot acquire lease {}/{}: {error}", names::NAMESPACE, names::LEASE);
                    logged = error;
                }
                let soon = timings.retry.min(Duration::from_secs(5));
                tokio::time::sleep(soon + random::up_to(soon)).await;
            }
        }
    }
}

fn lead(store: LeaseStore, lease: Box<Lease>, sent: Moment) -> Claim {
    tracing::info!("successfully acquired lease {}/{}", names::NAMESPACE, names::LEASE);
    let Candidate { identity, events, .. } = store.candidate();
    events.publish_about(
        reference(&lease),
        Event::normal("LeaderElection", format!("{identity} became leader")),
    );
    renewal::start(store, *lease, sent)
}

async fn attempt(store: &LeaseStore, observation: &mut Observation) -> Result<Attempt, LeaseError> {
    let timings = store.candidate().timings;
    let limit = || Instant::now() + timings.retry;
    let lease = store.read(limit()).await?;
    if let Some(lease) = &lease {
        observation.record(lease, Instant::now());
        let held = observation
            .held_until(timings.lease)
            .is_some_and(|until| Instant::now() < until);
        // If this process is the holder, an earlier write succeeded and its response was lost.
        if held && !store.is_ours(lease) {
            return Ok(Attempt::Held(Box::new(lease.clone())));
        }
    }
    let sent = Moment::now(&*store.candidate().clock);
    let written = match &lease {
        None => store.create(limit()).await?,
        Some(lease) => store.write(lease, Record::Taken, limit()).await?,
    };
    Ok(match written {
        Written::Done(lease) => Attempt::Acquired(lease, sent),
        Written::Conflict => Attempt::Contended,
    })
}

/// Waits until the next attempt is due: the Lease was released, it expired, or the polling interval is over. A watch reports a
/// release. Without the watch (it may be forbidden, or end) the polling interval is shorter, because expiry counts from the
/// poll that first showed the last renewal.
async fn wait(store: &LeaseStore, observation: &mut Observation, lease: &Lease) {
    let timings = store.candidate().timings;
    let began = Instant::now();
    let mut poll = began + timings.retry + random::up_to(timings.retry.mul_f64(1.2));
    let jitter = random::up_to(JITTER);
    let mut changes = pin!(changes(store, lease).fuse());
    let mut watching = true;
    loop {
        let Some(until) = observation.held_until(timings.lease) else {
            return;
        };
        tokio::select! {
            () = tokio::time::sleep_until(poll.min(until + jitter)) => return,
            change = changes.next(), if watching => match change {
                Some(Some(lease)) => observation.record(&lease, Instant::now()),
                Some(None) => return,
                None => {
                    watching = false;
                    let half = timings.retry / 2;
                    poll = began + half + random::up_to(half.saturating_sub(JITTER));
                }
            },
        }
    }
}

/// The Lease after each change, `None` after its deletion. Ends with the watch.
fn changes<'a>(store: &'a LeaseStore, lease: &'a Lease) -> impl futures::Stream<Item = Option<Lease>> + 'a {
    let only = WatchParams::default().fields(&format!("metadata.name={}", names::LEASE));
    let version = lease.metadata.resource_version.clone().unwrap_or_default();
    futures::stream::once(async move {
        match store.api().watch(&only, &version).await {
            Ok(events) => Some(events),
            Err(error) => {
                tracing::debug!("cannot watch the lease, polling only: {error}");
                None
            }
        }
    })
    .filter_map(|events| async { events })
    .flatten()
    .filter_map(|event| async {
        match event {
            Ok(WatchEvent::Added(lease) | WatchEvent::Modified(lease)) => Some(Some(lease)),
            Ok(WatchEvent::Deleted(_)) => Some(None),
            _ => None,
        }
    })
}
