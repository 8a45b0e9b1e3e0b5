//! Leadership: at most one process acts, this one or the Go operator, on the Lease `openshift-master-controllers`.
//!
//! A candidate takes the Lease when nobody holds it, or when its holder has not renewed it for as long as the holder promised,
//! *measured by the candidate's own clock since it last saw a change*: clocks of different nodes are never compared. Every
//! write has a resourceVersion precondition, so of two candidates one fails.
//!
//! The leader has a [`Claim`], which ends by itself: at a monotonic deadline, counted from *before* the last successful renewal
//! was sent and shorter than what others wait for. A hung call, an unreachable API or a stopped renewal task cannot keep it
//! alive. Ask [`Claim::is_current`] before each write to the cluster or a cloud; end the process when [`Claim::lost`] ends.

mod candidate;
mod lease;
mod renewal;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use kube::Client;
use tokio::{sync::watch, time::Instant};

pub use candidate::acquire;

use super::{clock::Clock, event::Events, metrics::Metrics, random};

/// How long things take in an election. `lease` > `renew_deadline` > `retry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// What the holder promises: others may take over when it has not renewed for this long.
    pub lease: Duration,
    /// How long the holder acts after a renewal; shorter than `lease`, for safety.
    pub renew_deadline: Duration,
    /// How often the holder renews, and, times 1 to 2.2 at random, others look.
    pub retry: Duration,
}

impl Timings {
    /// For clusters with several control plane nodes: a renewal may fail for a whole API server rollout.
    pub const HA: Self = Self::seconds(137, 107, 26);
    /// For clusters with one control plane node, whose API is away for longer.
    pub const SINGLE_REPLICA: Self = Self::seconds(270, 240, 60);

    const fn seconds(lease: u64, renew_deadline: u64, retry: u64) -> Self {
        Self {
            lease: Duration::from_secs(lease),
            renew_deadline: Duration::from_secs(renew_deadline),
            retry: Duration::from_secs(retry),
        }
    }

    /// Those for `Infrastructure.status.controlPlaneTopology`.
    pub fn for_topology(control_plane: &str) -> Self {
        if control_plane == "SingleReplica" {
            Self::SINGLE_REPLICA
        } else {
            Self::HA
        }
    }
}

/// A name that no other process has: `<hostname>_<uuid>`, or a UUID alone where the host name is not known.
pub fn identity() -> String {
    let id = random::uuid();
    match std::fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) if !host.trim().is_empty() => format!("{}_{id}", host.trim()),
        _ => id,
    }
}

/// Who wants to lead, and how.
#[derive(Clone)]
pub struct Candidate {
    /// Client of the cluster.
    pub client: Client,
    /// Unique name, see [`identity`].
    pub identity: String,
    /// Durations, the same for all candidates.
    pub timings: Timings,
    /// Time of day, only for the time stamps in the Lease.
    pub clock: Arc<dyn Clock>,
    /// Gets `LeaderElection` on the Lease.
    pub events: Events,
    /// Gets whether this process leads.
    pub metrics: Arc<Metrics>,
}

/// What is known of the leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Ours until then, if no renewal comes.
    Held(Instant),
    /// Not ours any more, and why.
    Ended(String),
}

/// The right to act, while it lasts. Clones share it.
#[derive(Clone, Debug)]
pub struct Claim {
    state: watch::Receiver<State>,
    release: watch::Sender<bool>,
}

impl Claim {
    /// Whether this process may write now. Costs nothing; ask before each write.
    pub fn is_current(&self) -> bool {
        matches!(*self.state.borrow(), State::Held(deadline) if Instant::now() < deadline)
    }

    /// Ends when the claim does: at its deadline, when somebody else holds the Lease, or after [`Claim::release`]. Tells why.
    /// Cancel-safe.
    pub async fn lost(&self) -> String {
        let mut state = self.state.clone();
        loop {
            let deadline = match &*state.borrow_and_update() {
                State::Held(deadline) => *deadline,
                State::Ended(why) => return why.clone(),
            };
            tokio::select! {
                biased;
                changed = state.changed() => if changed.is_err() {
                    // The renewal task is gone (it never panics, but if it did): nothing can renew.
                    tokio::time::sleep_until(deadline).await;
                    return "the renewal ended".to_owned();
                },
                () = tokio::time::sleep_until(deadline) => {
                    if !self.is_current() {
                        return "it could not be renewed in time".to_owned();
                    }
                }
            }
        }
    }

    /// Gives the Lease back, so that a successor takes it at once: the holder is cleared if it is still we. The claim ends
    /// before anything is sent. Ends when the API has answered; bound it with a timeout of your own. To be called when no
    /// work is running any more; a second call does nothing.
    pub async fn release(&self) {
        self.release.send_replace(true);
        // The renewal task drops its side when it is through.
        let mut state = self.state.clone();
        while state.changed().await.is_ok() {}
    }

    /// A claim that is held for `duration` and cannot be renewed; for tests of what uses a claim.
    #[cfg(test)]
    pub fn fixed(duration: Duration) -> Self {
        let (_, state) = watch::channel(State::Held(Instant::now() + duration));
        Self {
            state,
            release: watch::Sender::new(false),
        }
    }
}
