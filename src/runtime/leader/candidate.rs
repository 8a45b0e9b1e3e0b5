//! Waiting for the Lease and taking it.

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
    runtime::{event::Event, random},
};

/// After losing a race for a free Lease, the loser looks again this soon (at random up to twice as long).
const CONTENDED: Duration = Duration::from_millis(250);
/// Several candidates do not all grasp at an expired Lease in the same instant.
const SPREAD: Duration = Duration::from_secs(1);

enum Attempt {
    /// Ours, by a write that was sent then.
    Acquired(Box<Lease>, Instant),
    /// Somebody holds it.
    Held(Box<Lease>),
    /// Somebody wrote it in the same moment.
    Contended,
}

/// Waits until this process leads, and begins to renew in the background. A free Lease takes two requests. Fails never:
/// while the API cannot be reached, it goes on trying. Dropping the future stops the attempt; if that happens in the
/// instant of success, the Lease is held until it expires.
///
/// Must be called within a tokio runtime.
pub async fn acquire(candidate: Candidate) -> Claim {
    tracing::info!(
        identity = candidate.identity,
        "attempting to acquire lease {}/{}",
        names::NAMESPACE,
        names::LEASE
    );
    let store = LeaseStore::new(candidate);
    let mut seen = Observation::default();
    let mut told = String::new();
    loop {
        let timings = store.candidate().timings;
        match attempt(&store, &mut seen).await {
            Ok(Attempt::Acquired(lease, sent)) => return lead(store, lease, sent),
            Ok(Attempt::Held(lease)) => {
                if told != holder(&lease) {
                    holder(&lease).clone_into(&mut told);
                    tracing::info!("lease is held by {told}, waiting");
                }
                wait(&store, &mut seen, &lease).await;
            }
            Ok(Attempt::Contended) => {
                tokio::time::sleep(CONTENDED + random::up_to(CONTENDED)).await;
            }
            Err(error) => {
                tracing::warn!("cannot acquire lease {}/{}: {error}", names::NAMESPACE, names::LEASE);
                let soon = timings.retry.min(Duration::from_secs(5));
                tokio::time::sleep(soon + random::up_to(soon)).await;
            }
        }
    }
}

fn lead(store: LeaseStore, lease: Box<Lease>, sent: Instant) -> Claim {
    tracing::info!("successfully acquired lease {}/{}", names::NAMESPACE, names::LEASE);
    let Candidate { identity, events, .. } = store.candidate();
    events.publish_about(
        reference(&lease),
        Event::normal("LeaderElection", format!("{identity} became leader")),
    );
    renewal::start(store, *lease, sent)
}

async fn attempt(store: &LeaseStore, seen: &mut Observation) -> Result<Attempt, LeaseError> {
    let timings = store.candidate().timings;
    let limit = || Instant::now() + timings.retry;
    let lease = store.read(limit()).await?;
    if let Some(lease) = &lease {
        seen.note(lease, Instant::now());
        let held = seen
            .held_until(timings.lease)
            .is_some_and(|until| Instant::now() < until);
        // Ours already: an earlier write was carried out and its answer lost. Nobody else has our name.
        if held && !store.is_ours(lease) {
            return Ok(Attempt::Held(Box::new(lease.clone())));
        }
    }
    let sent = Instant::now();
    let written = match &lease {
        None => store.create(limit()).await?,
        Some(lease) => store.write(lease, Record::Taken, limit()).await?,
    };
    Ok(match written {
        Written::Done(lease) => Attempt::Acquired(lease, sent),
        Written::Conflict => Attempt::Contended,
    })
}

/// Waits until it is worth to try again: the Lease became free, or its holder went silent for too long, or it is simply time
/// to look. One watch tells of the first. Without it (it may be forbidden, or end) looks are closer together: a holder's
/// silence counts from the look that first showed its last renewal.
async fn wait(store: &LeaseStore, seen: &mut Observation, lease: &Lease) {
    let timings = store.candidate().timings;
    let began = Instant::now();
    let mut look = began + timings.retry + random::up_to(timings.retry.mul_f64(1.2));
    let spread = random::up_to(SPREAD);
    let mut changes = pin!(changes(store, lease).fuse());
    let mut watches = true;
    loop {
        let Some(until) = seen.held_until(timings.lease) else {
            return;
        };
        tokio::select! {
            () = tokio::time::sleep_until(look.min(until + spread)) => return,
            change = changes.next(), if watches => match change {
                Some(Some(lease)) => seen.note(&lease, Instant::now()),
                Some(None) => return,
                None => {
                    watches = false;
                    let half = timings.retry / 2;
                    look = began + half + random::up_to(half.saturating_sub(SPREAD));
                }
            },
        }
    }
}

/// The Lease whenever it changes, `None` when it is deleted. Ends when the watch does.
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
