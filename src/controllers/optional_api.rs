//! APIs that the operator asks for, because it watches none of their kinds, and that the platform always has.

use tokio::time::Instant;

use super::API_RETRY;
use super::secondary::Failure;
use crate::apply::WriteError;

/// When the API server was asked for one API.
#[derive(Default)]
pub(super) struct OptionalApi {
    asked: Option<Instant>,
}

impl OptionalApi {
    /// Whether the API server serves the API; `None` if it was asked less than [`API_RETRY`] ago.
    pub(super) async fn ask(
        &mut self,
        api: &str,
        question: impl Future<Output = Result<bool, WriteError>>,
    ) -> Result<Option<bool>, Failure> {
        if self.asked.is_some_and(|asked| asked.elapsed() < API_RETRY) {
            return Ok(None);
        }
        let served = question.await;
        let served = served.map_err(|error| Failure::failed(format!("cannot ask for the API {api}: {error}")))?;
        self.asked = Some(Instant::now());
        Ok(Some(served))
    }
}
