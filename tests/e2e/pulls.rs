//! Clients that pull without interruption.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use devcluster::{Record, inside};

/// Pulls whole images, alternately through Service and route, until stopped.
pub struct Pulls {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<Vec<String>>,
}

impl Pulls {
    pub fn start(record: Record, references: Vec<String>) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ended, count) = (stop.clone(), done.clone());
        let task = tokio::spawn(async move {
            let mut failed = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                for reference in &references {
                    // A pull fetches manifest, configuration and layers, and checks all digests.
                    match inside::crane(&record, "node3", &["pull", reference, "/dev/null"]).await {
                        Ok(_) => {
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => failed.push(format!("{error:#}")),
                    }
                }
            }
            failed
        });
        Self { stop, done, task }
    }

    /// Stops; returns the number of pulls and the errors of those that failed.
    pub async fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.task.await.unwrap();
        (self.done.load(Ordering::Relaxed), failed)
    }
}
