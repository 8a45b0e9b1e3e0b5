//! Runs the stand-ins for the platform's controllers: in a thread of the test, or in a process of their own (`devcluster
//! standins`) for a cluster that outlives the command.

use crate::{files, layout::Layout, record::Record, standin};
use anyhow::{Context as _, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Domain of the hosts that the router chooses.
pub const APPS_DOMAIN: &str = "apps.devcluster.test";

/// Starts the stand-ins for the cluster in `directory`; returns once they are settled.
async fn start(directory: &Path) -> Result<standin::Running> {
    let record = Record::read(directory)?;
    let layout = record.layout();
    let options = standin::Options {
        kubeconfig: layout.kubeconfig("standins"),
        pki_dir: layout.pki(),
        domain: APPS_DOMAIN.into(),
        router: Some(router_address(&record)),
        node_dirs: record.nodes.iter().map(|node| layout.node(&node.name)).collect(),
        // node-ca does it.
        service_ca_on_nodes: false,
    };
    let running = standin::start(&options).await?;
    if let Some(address) = running.router() {
        files::replace(&layout.router(), address.to_string())?;
    }
    Ok(running)
}

/// With real nodes the router has the port of every web server, on an address that is the cluster's own: image names
/// are then written without a port, as on the platform.
fn router_address(record: &Record) -> SocketAddr {
    if record.nodes.is_empty() {
        (Ipv4Addr::LOCALHOST, 0).into()
    } else {
        (record.address(), 443).into()
    }
}

/// Address of the router of the cluster in `directory`; none while no stand-ins run.
pub(crate) fn router(layout: &Layout) -> Option<SocketAddr> {
    files::read(&layout.router()).ok()?.trim().parse().ok()
}

/// Runs the stand-ins for the cluster in `directory` until dropped.
pub async fn run(directory: &Path) -> Result<()> {
    let _running = start(directory).await?;
    std::future::pending().await
}

/// Stand-ins in a thread of this process.
#[derive(Debug)]
pub(crate) struct Companion {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Companion {
    /// Starts the thread; returns once the stand-ins have done what there was to do.
    pub async fn start(directory: &Path) -> Result<Self> {
        let (stop, mut stopped) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let directory: PathBuf = directory.to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("standins".into()).spawn(move || {
            runtime.block_on(async {
                let running = tokio::select! {
                    running = start(&directory) => running,
                    _ = &mut stopped => return,
                };
                // Nobody listens any more when the start of the cluster was given up.
                match running {
                    Err(error) => drop(tell.send(Err(error))),
                    Ok(running) => {
                        let _ = tell.send(Ok(()));
                        let _ = stopped.await;
                        running.stop().await;
                    }
                }
            });
        });
        let companion = Self {
            stop: Some(stop),
            thread: Some(thread.context("cannot start a thread")?),
        };
        told.await.context("the stand-ins ended at once")??;
        Ok(companion)
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
