//! The clusters of a test program. A test has one of them for itself; the next test gets it after a reset.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use devcluster::{Cluster, Options};

use super::TestCluster;

/// Up to `COUNT` clusters. A program whose tests mostly wait uses two, and its tests run in pairs.
pub struct Pool<const COUNT: usize> {
    clusters: [OnceLock<Cluster>; COUNT],
    turns: Turns<COUNT>,
}

struct Turns<const COUNT: usize> {
    taken: Mutex<[bool; COUNT]>,
    changed: Condvar,
}

/// The right to use one cluster, until it is dropped.
pub struct Turn {
    release: Box<dyn Fn() + Send>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        (self.release)();
    }
}

impl<const COUNT: usize> Pool<COUNT> {
    pub const fn new() -> Self {
        Self {
            clusters: [const { OnceLock::new() }; COUNT],
            turns: Turns {
                taken: Mutex::new([false; COUNT]),
                changed: Condvar::new(),
            },
        }
    }

    /// Waits for a free cluster and resets it. Its first test starts it.
    pub async fn cluster(&'static self, mut options: Options) -> TestCluster {
        let (index, turn) = self.turns.take();
        let cluster = &self.clusters[index];
        if cluster.get().is_none() {
            if COUNT > 1 {
                options.name = format!("{}-{index}", options.name);
            }
            let started = Cluster::up(options).await.expect("the cluster starts");
            assert!(cluster.set(started).is_ok(), "one test at a time");
        }
        let cluster = TestCluster::of(cluster.get().unwrap(), Some(turn)).await;
        cluster.reset().await;
        cluster
    }
}

impl<const COUNT: usize> Turns<COUNT> {
    fn taken(&self) -> MutexGuard<'_, [bool; COUNT]> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks the thread of the test: each test has its own.
    fn take(&'static self) -> (usize, Turn) {
        let mut taken = self
            .changed
            .wait_while(self.taken(), |taken| taken.iter().all(|taken| *taken))
            .unwrap_or_else(PoisonError::into_inner);
        let index = taken.iter().position(|taken| !taken).unwrap();
        taken[index] = true;
        let release = move || {
            self.taken()[index] = false;
            self.changed.notify_one();
        };
        (
            index,
            Turn {
                release: Box::new(release),
            },
        )
    }
}
