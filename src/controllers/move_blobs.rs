//! The subcommand `move-blobs`: moves blobs of old releases on Azure. It is run by hand, and no controller uses it.

use std::sync::Arc;

use super::cloud::cloud_settings;
use crate::storage::backend::azure::relocation::Relocation;
use crate::storage::net::network::Network;

/// Moves the blobs that the environment of the process describes.
///
/// # Errors
/// Settings are missing, or blobs were not moved: each of the first ones with the reason.
pub async fn move_blobs(version: &str) -> Result<(), String> {
    let relocation = Relocation::of(|name| std::env::var(name).ok())?;
    let network = Network::new(cloud_settings(version, Arc::new(|| true)));
    let moved = relocation.run(&network).await?;
    if moved.failed > 0 {
        return Err(moved.to_string());
    }
    tracing::info!("{moved}");
    Ok(())
}
