//! Renews and releases the Lease.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::{sync::watch, time::Instant};

use super::{
    Claim, State,
    lease::{LeaseError, LeaseStore, Record, Written, holder},
};
use crate::runtime::clock::Moment;

/// The wait after a failed renewal.
const RETRY: Duration = Duration::from_secs(5);
/// Timeout of a release, all attempts together.
const RELEASE: Duration = Duration::from_secs(5);

/// Starts to renew a Lease that this process took with a write sent at `sent`.
pub(super) fn start(store: LeaseStore, lease: Lease, sent: Moment) -> Claim {
    let (state, watched) = watch::channel(State::Held(sent));
    let release = watch::Sender::new(false);
    let claim = Claim {
        state: watched,
        release: release.clone(),
        lasts: store.candidate().timings.renew_deadline,
        lease: store.candidate().timings.lease,
        clock: store.candidate().clock.clone(),
    };
    store.candidate().metrics.set_leader(true);
    tokio::spawn(async move {
        let mut released = release.subscribe();
        let mut renewal = Renewal {
            store,
            lease,
            state,
            sent,
        };
        let ended = tokio::select! {
            biased;
            _ = released.wait_for(|released| *released) => Ended::Released,
            ended = renewal.run() => ended,
        };
        renewal.end(ended).await;
    });
    claim
}

enum Ended {
    /// Another process holds the Lease.
    Taken(String),
    /// The API server went back to an earlier state.
    Restored,
    /// The deadline passed.
    Expired,
    /// The caller released the claim.
    Released,
}

struct Renewal {
    store: LeaseStore,
    /// The last observed Lease.
    lease: Lease,
    state: watch::Sender<State>,
    /// When the last successful renewal was sent.
    sent: Moment,
}

impl Renewal {
    async fn run(&mut self) -> Ended {
        let timings = self.store.candidate().timings;
        let clock = self.store.candidate().clock.clone();
        let mut next = self.sent.monotonic + timings.retry;
        loop {
            let deadline = self.sent.monotonic + timings.renew_deadline;
            tokio::time::sleep_until(next.min(deadline)).await;
            if Instant::now() >= deadline {
                return Ended::Expired;
            }
            // Also after the machine was suspended for longer. Then the claim is not current; if nobody has written the Lease
            // meanwhile, nobody else has led: the renewal succeeds, and leadership goes on.
            let sent = Moment::now(&*clock);
            // A call that hangs must leave time for the next ones.
            match self.renew((sent.monotonic + timings.retry).min(deadline)).await {
                Ok(None) if Instant::now() < deadline => {
                    self.sent = sent;
                    self.state.send_replace(State::Held(sent));
                    next = sent.monotonic + timings.retry;
                }
                Ok(None) => return Ended::Expired,
                Ok(Some(ended)) => return ended,
                Err(error) => {
                    let left = deadline.saturating_duration_since(Instant::now()).as_secs();
                    tracing::warn!("cannot renew the lease, {left} s left: {error}");
                    next = Instant::now() + timings.retry.min(RETRY);
                }
            }
        }
    }

    /// Renews the Lease. Returns why leadership ends: another holder, or a Lease that is older than the one of the last renewal. A
    /// concurrent change of other fields, such as a label, is no loss.
    async fn renew(&mut self, until: Instant) -> Result<Option<Ended>, LeaseError> {
        loop {
            if let Written::Done(lease) = self.store.write(&self.lease, Record::Renewed, until).await? {
                return Ok(self.renewed(*lease));
            }
            match self.store.read(until).await? {
                Some(lease) if !self.store.is_ours(&lease) => return Ok(Some(Ended::Taken(holder(&lease).to_owned()))),
                Some(lease) if is_older(&lease, &self.lease) => return Ok(Some(Ended::Restored)),
                Some(lease) => self.lease = lease,
                None => {
                    if let Written::Done(lease) = self.store.create(until).await? {
                        return Ok(self.renewed(*lease));
                    }
                }
            }
        }
    }

    fn renewed(&mut self, lease: Lease) -> Option<Ended> {
        let ended = is_older(&lease, &self.lease).then_some(Ended::Restored);
        self.lease = lease;
        ended
    }

    async fn end(mut self, ended: Ended) {
        let why = match &ended {
            Ended::Taken(other) if other.is_empty() => "the holder of the Lease was cleared".to_owned(),
            Ended::Taken(other) => format!("the Lease is held by {other}"),
            Ended::Restored => "the Lease is older than at its last renewal: etcd was restored from a backup, so that everything else that \
                                this process knows of the cluster is outdated, too"
                .to_owned(),
            Ended::Expired => "the Lease could not be renewed in time".to_owned(),
            Ended::Released => "the Lease was released".to_owned(),
        };
        self.state.send_replace(State::Ended(why));
        self.store.candidate().metrics.set_leader(false);
        if matches!(ended, Ended::Released) {
            match tokio::time::timeout(RELEASE, self.release()).await {
                Ok(Ok(())) => tracing::info!("released the lease"),
                Ok(Err(error)) => {
                    tracing::warn!("cannot release the lease, it expires by itself: {error}");
                }
                Err(_) => tracing::warn!("cannot release the lease, it expires by itself: no answer in time"),
            }
        }
    }

    /// Clears the holder if it is this process. An interrupted renewal may have succeeded, so a conflict leads to another read.
    async fn release(&mut self) -> Result<(), LeaseError> {
        let until = Instant::now() + RELEASE;
        while let Written::Conflict = self.store.write(&self.lease, Record::Released, until).await? {
            match self.store.read(until).await? {
                Some(lease) if self.store.is_ours(&lease) => self.lease = lease,
                _ => break,
            }
        }
        Ok(())
    }
}

/// Whether `lease` is an earlier version than `known`. Only a restored etcd goes back. Versions of one resource can be compared as
/// numbers (guaranteed since Kubernetes 1.35, and always true with etcd).
fn is_older(lease: &Lease, known: &Lease) -> bool {
    let version = |lease: &Lease| lease.metadata.resource_version.as_ref()?.parse::<u64>().ok();
    version(lease)
        .zip(version(known))
        .is_some_and(|(lease, known)| lease < known)
}
