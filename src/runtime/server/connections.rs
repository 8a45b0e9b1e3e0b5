//! The open connections of the server.

use std::collections::HashMap;
use std::net::IpAddr;
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
    open: Vec<Open>,
    uses: Arc<AtomicU64>,
}

struct Open {
    peer: IpAddr,
    used: Use,
    task: JoinHandle<()>,
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
    /// Serves a connection. Where too many are open, this closes one of the peer with the most connections: the one that has been idle
    /// longest. So no peer can crowd out the kubelet.
    pub(super) fn serve<F>(&mut self, peer: IpAddr, connection: impl FnOnce(Use) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.open.retain(|open| !open.task.is_finished());
        if self.open.len() >= CONNECTIONS {
            let mut of_peer: HashMap<IpAddr, usize> = HashMap::new();
            for open in &self.open {
                *of_peer.entry(open.peer).or_default() += 1;
            }
            let rank = |open: &Open| {
                let others = self.open.len() - of_peer.get(&open.peer).copied().unwrap_or_default();
                (others, open.used.last.load(Ordering::Relaxed))
            };
            let closed = self.open.iter().enumerate().min_by_key(|(_, open)| rank(open));
            if let Some(index) = closed.map(|(index, _)| index) {
                self.open.swap_remove(index).task.abort();
            }
        }
        let used = Use {
            last: Arc::default(),
            uses: self.uses.clone(),
        };
        used.note();
        self.open.push(Open {
            peer,
            used: used.clone(),
            task: tokio::spawn(connection(used)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_with_many_connections_closes_its_own() {
        let mut connections = Connections::default();
        let [kubelet, busy] = [1, 2].map(|last| IpAddr::from([127, 0, 0, last]));
        connections.serve(kubelet, |_| std::future::pending());
        for _ in 0..2 * CONNECTIONS {
            connections.serve(busy, |used| {
                used.note();
                std::future::pending()
            });
        }
        assert_eq!(connections.open.len(), CONNECTIONS);
        assert!(connections.open.iter().any(|open| open.peer == kubelet));
    }
}
