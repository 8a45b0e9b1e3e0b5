//! Waiting for a condition.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Calls `check` every 50 ms until it returns a value; after `limit` fails with an error that names `what`.
pub async fn until<T, F>(what: &str, limit: Duration, mut check: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = check().await? {
            return Ok(value);
        }
        if Instant::now() > end {
            bail!("timed out after {} s: {what}", limit.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
