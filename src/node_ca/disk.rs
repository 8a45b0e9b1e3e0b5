//! Atomic file operations, also across a power failure: a reader sees the old content or the new content.

use std::{
    ffi::OsString,
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// An I/O error with its path.
#[derive(Debug)]
pub(crate) struct FileError {
    path: PathBuf,
    error: io::Error,
}

impl FileError {
    pub(super) fn new(path: &Path, error: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            error,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl std::error::Error for FileError {}

/// What a write of one file, or of the files of one host, did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyResult {
    /// The file was absent or different.
    Copied,
    /// The content was equal.
    Equal,
    /// A directory of others has the host: nothing was written.
    LeftAlone,
}

/// Creates a directory with mode 0755, regardless of the umask, and its parents.
pub(super) fn create_directory(path: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o755)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .map_err(|error| FileError::new(path, error))
}

/// Flushes created and removed names of a directory to the disk.
pub(super) fn flush_directory(path: &Path) -> Result<(), FileError> {
    fs::File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| FileError::new(path, error))
}

/// Removes a directory that may be absent, and everything in it.
pub(super) fn remove_directory(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::new(path, error)),
        _ => Ok(()),
    }
}

/// Removes a file that may be absent.
pub(super) fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::new(path, error)),
        _ => Ok(()),
    }
}

/// Copies `from` to `to`, mode included, if the content differs, regardless of time stamps. Removes what an interrupted copy
/// left behind.
pub(super) fn copy_if_different(from: &Path, to: &Path) -> Result<CopyResult, FileError> {
    let (content, mode) = read(from).map_err(|error| FileError::new(from, error))?;
    write_if_different(to, &content, mode)
}

/// Writes `to` if the content differs. Removes what an interrupted write left behind.
pub(super) fn write_if_different(to: &Path, content: &[u8], mode: u32) -> Result<CopyResult, FileError> {
    if has_content(to, content) {
        remove_file(&temporary(to))?;
        return Ok(CopyResult::Equal);
    }
    replace(to, content, mode)?;
    Ok(CopyResult::Copied)
}

fn read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let found = fs::metadata(path)?;
    // Opening a pipe would block.
    if !found.is_file() {
        return Err(io::Error::other("not a file"));
    }
    Ok((fs::read(path)?, found.permissions().mode() & 0o777))
}

/// False for a file that cannot be read, so that it is replaced.
fn has_content(path: &Path, content: &[u8]) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == content.len() as u64)
        && fs::read(path).is_ok_and(|present| present == content)
}

/// The temporary file that is renamed to `path`.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    name.into()
}

/// Writes a temporary file, flushes it and renames it to `path`.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = temporary(path);
    remove_file(&temporary)?;
    let written = write(&temporary, content, mode)
        .map_err(|error| FileError::new(&temporary, error))
        .and_then(|()| fs::rename(&temporary, path).map_err(|error| FileError::new(path, error)));
    if let Err(error) = written {
        // Report the first error. The next pass tries to remove the file again.
        let _ = remove_file(&temporary);
        return Err(error);
    }
    path.parent().map_or(Ok(()), flush_directory)
}

/// Fails if the file exists, so that a link is not followed.
fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}
