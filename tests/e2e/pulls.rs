//! Clients that pull without interruption.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use devcluster::{Record, inside};

/// Variables for crane.
pub type Environment = Vec<(&'static str, PathBuf)>;

/// Pulls whole images, one after the other, until stopped.
pub struct Pulls {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<Vec<String>>,
}

impl Pulls {
    /// `environment`: beside the CAs that the node's runtime trusts.
    pub fn start(record: Record, references: Vec<String>, environment: Environment) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ended, count) = (stop.clone(), done.clone());
        let task = tokio::spawn(async move {
            let mut failed = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                for reference in &references {
                    // A pull fetches manifest, configuration and layers, and checks all digests.
                    let words = ["crane", "pull", reference, "/dev/null"];
                    let mut command = inside::command(&record, "node3", &words).await.unwrap();
                    command.envs(environment.iter().cloned());
                    match inside::run(command).await {
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
