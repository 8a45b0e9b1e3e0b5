//! The stand-ins for the platform's controllers, beside a cluster: in a thread for a library's user, in a process of its
//! own (`devcluster standins`) for a cluster that outlives the command line.

use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Plays the stand-ins for the cluster in `directory` until dropped.
pub async fn run(directory: &Path) -> Result<()> {
    tracing::debug!(directory = %directory.display(), "stand-ins run");
    std::future::pending().await
}

/// Stand-ins in a thread of this process.
#[derive(Debug)]
pub(crate) struct Companion {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Companion {
    pub fn start(directory: &Path) -> Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let directory: PathBuf = directory.to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("standins".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    result = run(&directory) => {
                        if let Err(error) = result {
                            tracing::error!("stand-ins ended: {error:#}");
                        }
                    }
                }
            });
        });
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread.context("cannot start a thread")?),
        })
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Ended by itself if nobody listens.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
