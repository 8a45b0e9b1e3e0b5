//! The calls of a preflight: those of a push and a pull, with the registry's identity and proxy.
//!
//! Each call needs one permission. A refusal names that permission; no response or a throttled request is not a
//! refusal.

use crate::config::event_request::EventRequest;
use crate::storage::model::call::{CallError, Called, Cause};
use crate::storage::model::preflight::{Denial, Preflighted, Probe, Probed};
use crate::storage::traits::DataPlane;

/// Content of a probe object.
pub const BODY: &[u8] = b"The image registry operator checks whether the registry can use this storage.";

/// Objects that the preflight must delete.
struct Leftovers<U> {
    object: bool,
    version: Option<String>,
    upload: Option<U>,
}

/// Runs the preflight.
pub async fn run<P: DataPlane>(plane: &P, probe: &Probe<'_>) -> Probed {
    if probe.read_only {
        read(plane, probe.key).await.into()
    } else {
        write(plane, probe.key).await
    }
}

/// Lists and reads, but writes nothing.
async fn read<P: DataPlane>(plane: &P, key: &str) -> Preflighted {
    if let Err(error) = plane.list(key).await {
        return judge(plane, &error);
    }
    match plane.get(key).await {
        Ok(_) => Preflighted::Passed,
        // A service returns 404 for an object only to clients that may list and read.
        Err(error) if error.is_missing() && !error.is_container_gone() => Preflighted::Passed,
        Err(error) => judge(plane, &error),
    }
}

/// Does everything that the registry does, and deletes what it wrote, even after a failure.
async fn write<P: DataPlane>(plane: &P, key: &str) -> Probed {
    let mut leftovers = Leftovers {
        object: false,
        version: None,
        upload: None,
    };
    let worked = push(plane, key, &mut leftovers).await;
    let mut probed = Probed {
        result: worked.map_or_else(|error| judge(plane, &error), |()| Preflighted::Passed),
        left: false,
        events: Vec::new(),
    };
    clean_up(plane, key, leftovers, &mut probed).await;
    probed
}

async fn push<P: DataPlane>(plane: &P, key: &str, leftovers: &mut Leftovers<P::Upload>) -> Called<()> {
    leftovers.object = true; // Set before the call, because a write without a response may have succeeded.
    match plane.put(key, BODY).await {
        Ok(version) => leftovers.version = version,
        Err(error) => {
            leftovers.object = !error.is_denied();
            return Err(error);
        }
    }
    plane.get(key).await?;
    plane.list(key).await?;
    let upload = plane.begin_upload(key).await?;
    let upload = leftovers.upload.insert(upload);
    plane.continue_upload(upload, BODY).await
}

/// Deletes what the preflight wrote. The registry needs these permissions as well.
async fn clean_up<P: DataPlane>(plane: &P, key: &str, leftovers: Leftovers<P::Upload>, probed: &mut Probed) {
    let Leftovers {
        object,
        version,
        upload,
    } = leftovers;
    // A write without a response may have left an unknown version or upload.
    probed.left |= plane.is_unsure();
    if let Some(upload) = upload
        && let Err(error) = plane.abort_upload(&upload).await
    {
        not_deleted(plane, &error, probed);
    }
    if !object {
        return;
    }
    match plane.delete(key, version.as_deref()).await {
        Ok(()) => {}
        Err(error) if error.is_missing() => {}
        Err(error) if version.is_some() && error.is_forbidden() && !plane.must_delete_versions() => {
            // Pushes and pulls need no permission to delete versions. Delete without a version, so that a delete marker
            // hides the object.
            let hidden = plane.delete(key, None).await;
            let how = if hidden.is_ok() {
                "is hidden by a delete marker"
            } else {
                "stays"
            };
            probed.events.push(EventRequest {
                warning: false,
                reason: "StorageProbeKept",
                message: format!(
                    "the storage keeps versions, and {} is denied: the version {} of {key}, a few bytes, {how}",
                    error.action,
                    version.unwrap_or_default(),
                ),
            });
            if let Err(error) = hidden {
                not_deleted(plane, &error, probed);
            }
        }
        Err(error) => not_deleted(plane, &error, probed),
    }
}

fn not_deleted<P: DataPlane>(plane: &P, error: &CallError, probed: &mut Probed) {
    probed.left = true;
    if probed.result == Preflighted::Passed {
        probed.result = judge(plane, error);
    }
}

fn judge<P: DataPlane>(plane: &P, error: &CallError) -> Preflighted {
    let remedy = plane.remedy(error);
    // The token service did not respond.
    let silent = error.cause == Cause::Identity && error.code == "RequestError";
    if error.is_undecided() || silent {
        return Preflighted::Undecided(format!("{error}{remedy}"));
    }
    Preflighted::Denied(Denial {
        action: plane.action(error),
        resource: error.resource.clone(),
        code: error.code.clone(),
        message: format!("{}{remedy}", error.message),
        auth: error.is_denied(),
    })
}
