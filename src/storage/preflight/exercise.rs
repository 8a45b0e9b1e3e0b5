//! The calls of a preflight: a push and a pull in small, with the registry's identity and proxy.
//!
//! Each call needs one permission. A refusal names that permission; no response or a throttled request is not a
//! refusal. Each response is compared with what was written, because some services accept a call without an effect.

use std::time::Duration;

use crate::config::event_request::EventRequest;
use crate::storage::model::call::{CallClass, CallError, Called, Cause};
use crate::storage::model::preflight::{Denial, Preflighted, Probe, ProbeKeys, Probed};
use crate::storage::traits::{Check, DataPlane};

/// Content of the object that is written in one call.
pub const BODY: &[u8] = b"The image registry operator checks whether the registry can use this storage.";
/// Content of the upload, and of its copy.
pub const UPLOADED: &[u8] = b"The image registry operator checks whether the registry can upload to this storage.";

/// How often the operator looks for a change. Many services show a change after a moment.
const LOOKS: u32 = 4;
/// Wait before the second look; each further wait is twice as long.
const LAG: Duration = Duration::from_millis(100);

/// Why the exercise ended.
enum Failure {
    /// A call failed.
    Call(CallError),
    /// A call succeeded, and its response shows something else than what was written.
    Wrong(Denial),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// What the preflight wrote, and must delete.
struct Written<U> {
    keys: ProbeKeys,
    /// Keys that may exist.
    objects: Vec<String>,
    /// Keys and versions that exist.
    versions: Vec<(String, String)>,
    uploads: Vec<U>,
}

impl<U> Written<U> {
    /// Sets that the key may exist before it is written, because a write without a response may have succeeded.
    fn about_to_write(&mut self, key: &str) {
        if !self.objects.iter().any(|known| known == key) {
            self.objects.push(key.to_owned());
        }
    }

    /// The result of a write of this key.
    fn note(&mut self, key: &str, written: Called<Option<String>>) -> Called<()> {
        match written {
            Ok(version) => self.versions.extend(version.map(|version| (key.to_owned(), version))),
            Err(error) => {
                if error.is_denied() && !self.versions.iter().any(|(known, _)| known == key) {
                    self.objects.retain(|known| known != key);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Runs the preflight.
pub async fn run<P: DataPlane>(plane: &P, probe: &Probe<'_>) -> Probed {
    let mut probed = if probe.read_only {
        read(plane, probe.key).await.into()
    } else {
        write(plane, probe.key).await
    };
    if probed.result == Preflighted::Passed {
        probed.events.extend(plane.warnings().await.unwrap_or_default());
    }
    probed
}

/// Lists and reads, but writes nothing.
async fn read<P: DataPlane>(plane: &P, key: &str) -> Preflighted {
    if let Err(error) = plane.lists_object(key).await {
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
    let mut written = Written {
        keys: ProbeKeys::of(key),
        objects: Vec::new(),
        versions: Vec::new(),
        uploads: Vec::new(),
    };
    let pushed = match put(plane, &mut written).await {
        Ok(()) => upload(plane, &mut written).await,
        failed => failed,
    };
    let mut probed = Probed::from(match pushed {
        Ok(()) => Preflighted::Passed,
        Err(Failure::Call(error)) => judge(plane, &error),
        Err(Failure::Wrong(denial)) => Preflighted::Denied(denial),
    });
    clean_up(plane, written, &mut probed).await;
    probed
}

/// Writes, reads and lists an object, as the registry does with a manifest.
async fn put<P: DataPlane>(plane: &P, written: &mut Written<P::Upload>) -> Result<(), Failure> {
    let key = written.keys.object.clone();
    written.about_to_write(&key);
    let version = plane.put(&key, BODY).await;
    written.note(&key, version)?;
    compare(plane, &key, BODY).await?;
    listed(plane, Check::Objects, &key, async || plane.lists_object(&key).await).await
}

/// Uploads an object in parts and moves it to its final key, as the registry does with a layer.
async fn upload<P: DataPlane>(plane: &P, written: &mut Written<P::Upload>) -> Result<(), Failure> {
    let ProbeKeys { upload: key, copy, .. } = written.keys.clone();
    written.uploads.push(plane.begin_upload(&key).await?);
    let Some(upload) = written.uploads.last_mut() else {
        return Ok(());
    };
    listed(plane, Check::Uploads, &key, async || plane.lists_upload(upload).await).await?;
    plane.upload_part(upload, UPLOADED).await?;
    let upload = &*upload;
    let shows_part = async || plane.lists_part(upload, UPLOADED.len()).await;
    listed(plane, Check::Parts, &key, shows_part).await?;
    let completed = plane.complete_upload(upload).await.map_err(|error| {
        if error.is_missing() && plane.is_unsure() {
            // The response of an earlier attempt got lost, and that attempt may have completed the upload.
            CallError {
                class: CallClass::Undecided,
                ..error
            }
        } else {
            error
        }
    });
    written.about_to_write(&key);
    written.note(&key, completed)?;
    written.uploads.clear();
    written.about_to_write(&copy);
    let copied = plane.copy(&key, &copy).await;
    written.note(&copy, copied)?;
    match compare(plane, &copy, UPLOADED).await {
        Err(Failure::Call(error)) if error.is_missing() && !error.is_container_gone() => {
            let message = "the copy does not exist: each push would fail".to_owned();
            return Err(Failure::Wrong(wrong(
                plane,
                Check::Content,
                &copy,
                "NotCopied",
                message,
            )));
        }
        compared => compared?,
    }
    // The registry moves a large layer as a part of another upload. This one is aborted.
    let second = plane.begin_upload(&key).await?;
    let copied = plane.copy_part(&key, &second).await;
    written.uploads.push(second);
    Ok(copied?)
}

/// Reads an object and compares it.
async fn compare<P: DataPlane>(plane: &P, key: &str, wanted: &[u8]) -> Result<(), Failure> {
    let found = plane.get(key).await?;
    if found == wanted {
        return Ok(());
    }
    let message = format!(
        "{} bytes were written, and {} other bytes were read",
        wanted.len(),
        found.len()
    );
    Err(Failure::Wrong(wrong(
        plane,
        Check::Content,
        key,
        "WrongContent",
        message,
    )))
}

/// Looks until the service shows a change. Returns whether it did.
async fn is_shown(shows: impl AsyncFn() -> Called<bool>) -> Called<bool> {
    let mut lag = LAG;
    for _ in 1..LOOKS {
        if shows().await? {
            return Ok(true);
        }
        tokio::time::sleep(lag).await;
        lag *= 2;
    }
    shows().await
}

/// Repeats a listing until it shows what was written.
async fn listed<P: DataPlane>(
    plane: &P,
    check: Check,
    key: &str,
    shows: impl AsyncFn() -> Called<bool>,
) -> Result<(), Failure> {
    if is_shown(shows).await? {
        return Ok(());
    }
    let what = match check {
        Check::Content | Check::Deletion | Check::Objects => "the object",
        Check::Uploads => "the upload that was just begun",
        Check::Parts => "the part that was just uploaded",
    };
    let message = format!("the response does not show {what}: each push would fail");
    Err(Failure::Wrong(wrong(plane, check, key, "NotListed", message)))
}

fn wrong<P: DataPlane>(plane: &P, check: Check, key: &str, code: &str, message: String) -> Denial {
    Denial {
        action: plane.permission(check).to_owned(),
        resource: key.to_owned(),
        code: code.to_owned(),
        message,
        auth: false,
    }
}

/// Deletes what the preflight wrote. The registry needs these permissions as well.
async fn clean_up<P: DataPlane>(plane: &P, written: Written<P::Upload>, probed: &mut Probed) {
    let Written {
        keys,
        objects,
        mut versions,
        uploads,
    } = written;
    // A write without a response may have left an unknown version or upload.
    probed.left |= plane.is_unsure();
    for upload in &uploads {
        match plane.abort_upload(upload).await {
            Ok(version) => versions.extend(version.map(|version| (keys.upload.clone(), version))),
            Err(error) if error.is_missing() => {}
            Err(error) => not_deleted(plane, &error, probed),
        }
    }
    let keys: Vec<&str> = objects.iter().map(String::as_str).collect();
    let Some(first) = keys.first() else {
        return;
    };
    let markers = match plane.delete_together(&keys).await {
        Ok(markers) => {
            check_deleted(plane, first, probed).await;
            markers
        }
        Err(error) if error.is_unsupported() => {
            probed.events.push(undeletable(&error));
            for key in keys {
                if let Err(error) = unless_missing(plane.delete(key, None).await) {
                    not_deleted(plane, &error, probed);
                }
            }
            Vec::new()
        }
        Err(error) => return not_deleted(plane, &error, probed),
    };
    delete_versions(plane, versions, markers, probed).await;
}

/// Success if the object to delete is missing: an earlier attempt, whose response got lost, has deleted it.
fn unless_missing(deleted: Called<()>) -> Called<()> {
    deleted.or_else(|error| if error.is_missing() { Ok(()) } else { Err(error) })
}

/// Checks that a deleted object does not exist any more.
async fn check_deleted<P: DataPlane>(plane: &P, key: &str, probed: &mut Probed) {
    // Any error ends the wait: only a response with the object shows that it still exists.
    let is_gone = async || Ok(plane.get(key).await.is_err());
    if is_shown(is_gone).await.is_ok_and(|gone| !gone) {
        probed.left = true;
        if probed.result == Preflighted::Passed {
            let message = "the object still exists: pruning of images would free no space".to_owned();
            probed.result = Preflighted::Denied(wrong(plane, Check::Deletion, key, "NotDeleted", message));
        }
    }
}

/// Deletes the versions of the probe objects, and then the delete markers that hide them.
async fn delete_versions<P: DataPlane>(
    plane: &P,
    versions: Vec<(String, String)>,
    markers: Vec<(String, String)>,
    probed: &mut Probed,
) {
    let mut refused: Option<(CallError, String)> = None;
    for (key, version) in &versions {
        if let Err(error) = unless_missing(plane.delete(key, Some(version)).await) {
            refused = refused.or_else(|| Some((error, format!("version {version} of {key}"))));
        }
    }
    let Some((error, version)) = refused else {
        for (key, marker) in &markers {
            if let Err(error) = unless_missing(plane.delete(key, Some(marker)).await) {
                not_deleted(plane, &error, probed);
            }
        }
        return;
    };
    // Pushes and pulls need no permission to delete versions. The registry does not see the version: the object is deleted.
    let optional = error.is_forbidden() && !plane.must_delete_versions();
    if error.is_undecided() || !(optional || plane.retains_versions().await) {
        return not_deleted(plane, &error, probed);
    }
    probed.kept = true;
    probed.events.push(EventRequest {
        warning: false,
        reason: "StorageProbeKept",
        message: format!(
            "the storage keeps versions, and {} is denied: {version} (a few bytes) stays, and the registry does not see it",
            error.action
        ),
    });
}

fn undeletable(error: &CallError) -> EventRequest {
    EventRequest {
        warning: true,
        reason: "StorageDeletionUnsupported",
        message: format!(
            "the storage does not implement the call with which the registry deletes objects: pruning of images fails, and \
             so may pushes: {error}"
        ),
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
