//! How the program knows its directories again.

use std::{fs, io, path::Path};

use super::disk::{self, FileError};
use crate::names;

/// File that marks a directory as managed by this program. Container runtimes ignore its suffix.
pub const MARKER: &str = ".managed-by-image-registry-operator";
/// Name of the certificate file that container runtimes read.
pub(super) const CERTIFICATE: &str = "ca.crt";

/// Writes the marker into a directory unless it exists.
pub(super) fn mark(directory: &Path) -> Result<(), FileError> {
    if is_marked(directory)? {
        return Ok(());
    }
    let text = format!(
        "Created or adopted by DaemonSet {}/{}, which removes it when the registry no longer needs it.\n",
        names::NAMESPACE,
        names::NODE_CA
    );
    disk::replace(&directory.join(MARKER), text.as_bytes(), 0o644)
}

/// Whether a directory has the marker.
pub(super) fn is_marked(directory: &Path) -> Result<bool, FileError> {
    let marker = directory.join(MARKER);
    match fs::symlink_metadata(&marker) {
        Ok(found) => Ok(found.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::new(&marker, error)),
    }
}
