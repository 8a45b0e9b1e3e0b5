//! Leader election with the Lease `openshift-master-controllers`, which the Go operator uses as well: at most one process of
//! either kind is active.
//!
//! A candidate takes the Lease when it has no holder, or when its holder has not renewed it for the lease duration, *measured
//! by the candidate's own clock since it last saw a change*: clocks of different nodes are never compared. Every write has a
//! resourceVersion precondition, so only one of two candidates succeeds.
//!
//! The leader has a [`Claim`], which expires at a deadline: counted from *before* the last successful renewal was sent, and shorter
//! than the lease duration. A call that hangs, an unreachable API or a stopped renewal task cannot extend it. Time counts on two
//! clocks (see [`Moment`]). Check [`Claim::is_current`] before each write to the cluster or a cloud; end the process when
//! [`Claim::lost`] returns. After the machine was suspended the claim is not current; it becomes current again if the Lease can be
//! renewed, because then nobody else has led meanwhile.

mod candidate;
mod lease;
mod renewal;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use kube::Client;
use tokio::sync::watch;

pub use candidate::acquire;

use super::{
    clock::{Clock, Moment},
    event::Events,
    metrics::Metrics,
    random,
};

/// Durations of the leader election. `lease` > `renew_deadline` > `retry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Lease duration: other candidates may take the Lease when it was not renewed for this long.
    pub lease: Duration,
    /// How long the holder may act after a renewal. Shorter than `lease`, for safety.
    pub renew_deadline: Duration,
    /// Interval between renewals. Other candidates poll at random intervals of 1 to 2.2 times this duration.
    pub retry: Duration,
}

impl Timings {
    /// For clusters with several control plane nodes: leadership survives an API server rollout.
    pub const HA: Self = Self::seconds(137, 107, 26);
    /// For clusters with one control plane node, where the API is unavailable for longer.
    pub(crate) const SINGLE_REPLICA: Self = Self::seconds(270, 240, 60);

    const fn seconds(lease: u64, renew_deadline: u64, retry: u64) -> Self {
        Self {
            lease: Duration::from_secs(lease),
            renew_deadline: Duration::from_secs(renew_deadline),
            retry: Duration::from_secs(retry),
        }
    }

    /// The durations for `Infrastructure.status.controlPlaneTopology`.
    pub(crate) fn for_topology(control_plane: &str) -> Self {
        if control_plane == "SingleReplica" {
            Self::SINGLE_REPLICA
        } else {
            Self::HA
        }
    }
}

/// A unique identity: `<hostname>_<uuid>`, or only a UUID if the host name is unknown.
pub(crate) fn identity() -> String {
    let id = random::uuid();
    match std::fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) if !host.trim().is_empty() => format!("{}_{id}", host.trim()),
        _ => id,
    }
}

/// A candidate of the election.
#[derive(Clone)]
pub struct Candidate {
    /// Client of the cluster.
    pub client: Client,
    /// Unique identity, see [`identity`].
    pub identity: String,
    /// Durations; all candidates use the same.
    pub timings: Timings,
    /// Clock for the time stamps in the Lease.
    pub clock: Arc<dyn Clock>,
    /// Gets an event `LeaderElection` about the Lease.
    pub events: Events,
    /// Gets whether this process leads.
    pub metrics: Arc<Metrics>,
}

/// State of the leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Held, by a renewal that was sent at this moment.
    Held(Moment),
    /// Lost, and why.
    Ended(String),
}

/// Leadership of this process, while it lasts. Clones share it.
#[derive(Clone)]
pub struct Claim {
    state: watch::Receiver<State>,
    release: watch::Sender<bool>,
    /// How long a renewal is good for.
    lasts: Duration,
    /// Other candidates may take the Lease when it was not renewed for this long.
    lease: Duration,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Claim {
    /// Whether this process may write now. Cheap; check it before each write.
    pub(crate) fn is_current(&self) -> bool {
        self.was_renewed_within(self.lasts)
    }

    /// Whether a request that may take this long, and starts now, ends before another process can lead. Cheap; check it before each
    /// request that changes something outside of the cluster, where no resourceVersion protects from two writers.
    pub(crate) fn is_current_for(&self, longest: Duration) -> bool {
        self.was_renewed_within(self.lasts.min(self.lease.saturating_sub(longest)))
    }

    fn was_renewed_within(&self, duration: Duration) -> bool {
        matches!(&*self.state.borrow(), State::Held(sent) if sent.is_within(duration, &*self.clock))
    }

    /// Waits until the claim ends: at its deadline, when another process holds the Lease, or after [`Claim::release`].
    /// Returns the reason. Cancel-safe.
    pub(crate) async fn lost(&self) -> String {
        let mut state = self.state.clone();
        loop {
            let deadline = match &*state.borrow_and_update() {
                State::Held(sent) => sent.monotonic + self.lasts,
                State::Ended(why) => return why.clone(),
            };
            tokio::select! {
                biased;
                changed = state.changed() => if changed.is_err() {
                    // The renewal task has ended, for example by a panic, so nothing renews the Lease.
                    tokio::time::sleep_until(deadline).await;
                    return "the renewal ended".to_owned();
                },
                () = tokio::time::sleep_until(deadline) => {
                    if !self.is_current() {
                        return "the Lease could not be renewed in time".to_owned();
                    }
                }
            }
        }
    }

    /// Releases the Lease, so that another candidate can take it at once: clears the holder if it is still this process. The
    /// claim ends before the request is sent. Returns when the API has answered; the caller adds a timeout. Call it when no
    /// work is running. A second call does nothing.
    pub(crate) async fn release(&self) {
        self.release.send_replace(true);
        // The renewal task drops its sender when it has finished.
        let mut state = self.state.clone();
        while state.changed().await.is_ok() {}
    }

    /// A claim that lasts for `duration` and is not renewed. For tests.
    #[cfg(test)]
    pub(crate) fn fixed(duration: Duration) -> Self {
        let clock = super::clock::SystemClock;
        let (_, state) = watch::channel(State::Held(Moment::now(&clock)));
        Self {
            state,
            release: watch::Sender::new(false),
            lasts: duration,
            lease: duration,
            clock: Arc::new(clock),
        }
    }
}
