//! Many objects in a bucket, fast.

use super::wire::{Call, Keys, Target};
use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use http_body_util::BodyExt as _;
use hyper::Method;

/// Connections at the same time; more do not make servers on this machine faster.
const CONNECTIONS: usize = 16;
const REGION: &str = "us-east-1";

impl Target {
    /// Puts `count` objects of one byte into a bucket, in path style: `PREFIX000000`, `PREFIX000001`, and so on. Done again in a
    /// versioned bucket, it makes versions.
    pub async fn fill(&self, keys: &Keys, bucket: &str, prefix: &str, count: usize) -> Result<()> {
        let parts = (0..CONNECTIONS).map(|first| self.fill_part(keys, bucket, prefix, first, count));
        try_join_all(parts).await.map(drop)
    }

    async fn fill_part(&self, keys: &Keys, bucket: &str, prefix: &str, first: usize, count: usize) -> Result<()> {
        let host = self.address.ip().to_string();
        let mut sender = self.connect(&host).await?;
        for index in (first..count).step_by(CONNECTIONS) {
            let path = format!("/{bucket}/{prefix}{index:06}");
            let call = Call::new(Method::PUT, &path).body(b"x").signed(keys, "s3", REGION);
            if sender.ready().await.is_err() {
                // Servers end a connection now and then.
                sender = self.connect(&host).await?;
            }
            let answer = sender
                .send_request(self.request(&call)?)
                .await
                .with_context(|| path.clone())?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            if !status.is_success() {
                bail!("{path}: {status}: {}", String::from_utf8_lossy(&body));
            }
        }
        Ok(())
    }
}
