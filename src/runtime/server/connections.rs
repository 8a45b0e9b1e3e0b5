//! The open connections of the server.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::task::JoinHandle;

/// How many connections may be open. Bounds the memory that clients can use.
const CONNECTIONS: usize = 64;

/// The open connections. A new connection is never refused: otherwise clients that keep theirs open would block the liveness probe, and
/// the kubelet would kill the process.
#[derive(Default)]
pub(super) struct Connections {
    open: Vec<(Use, JoinHandle<()>)>,
    uses: Arc<AtomicU64>,
}

/// When a connection was used last, in the order of all uses.
#[derive(Clone)]
pub(super) struct Use {
    last: Arc<AtomicU64>,
    uses: Arc<AtomicU64>,
}

impl Use {
    /// Records a request.
    pub(super) fn note(&self) {
        self.last
            .store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Connections {
    /// Serves a connection. Where too many are open, this closes the one that has been idle longest.
    pub(super) fn serve<F>(&mut self, connection: impl FnOnce(Use) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.open.retain(|(_, task)| !task.is_finished());
        if self.open.len() >= CONNECTIONS {
            let uses = self.open.iter().map(|(used, _)| used.last.load(Ordering::Relaxed));
            if let Some((index, _)) = uses.enumerate().min_by_key(|(_, last)| *last) {
                self.open.swap_remove(index).1.abort();
            }
        }
        let used = Use {
            last: Arc::default(),
            uses: self.uses.clone(),
        };
        used.note();
        self.open.push((used.clone(), tokio::spawn(connection(used))));
    }
}
