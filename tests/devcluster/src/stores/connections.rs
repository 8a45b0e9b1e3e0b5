//! Connections that a gate keeps to a server behind it: a TLS handshake for each request is most of what a request costs.

use super::lock;
use super::wire::Target;
use anyhow::Result;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a connection may be idle before its next request. Servers close idle connections after five seconds and more, and a
/// request that meets the end of its connection would look like a fault that no test planned.
const IDLE: Duration = Duration::from_secs(1);

/// Connections to one server. All requests must come from one runtime, which carries the connections.
pub(super) struct Connections {
    target: Target,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    /// The name that TLS asked for.
    host: String,
    since: Instant,
    sender: SendRequest<Full<Bytes>>,
}

impl Connections {
    pub fn new(target: Target) -> Self {
        let idle = Mutex::default();
        Self { target, idle }
    }

    /// Sends a request, and gives the answer as it comes.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let host = self.target.prepare(&mut request);
        if let Some(mut sender) = self.take(&host) {
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    self.keep(host, sender);
                    return Ok(answer);
                }
                Err(mut error) => match error.take_message() {
                    // Nothing of it was sent: the connection had ended.
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let mut sender = self.target.connect(&host).await?;
        let answer = sender.send_request(request).await?;
        self.keep(host, sender);
        Ok(answer)
    }

    fn take(&self, host: &str) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = lock(&self.idle);
        idle.retain(|one| !one.sender.is_closed() && one.since.elapsed() < IDLE);
        // One whose last answer is still being read is not ready.
        let found = idle.iter().position(|one| one.host == host && one.sender.is_ready())?;
        Some(idle.swap_remove(found).sender)
    }

    fn keep(&self, host: String, sender: SendRequest<Full<Bytes>>) {
        let since = Instant::now();
        lock(&self.idle).push(Idle { host, since, sender });
    }
}
