//! Files that are whole at any moment, also after a power failure: a reader sees the old content or the new one.

use std::{
    ffi::OsString,
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// An error, and what it was about.
#[derive(Debug)]
pub struct At {
    path: PathBuf,
    error: io::Error,
}

impl At {
    pub(super) fn new(path: &Path, error: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            error,
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl std::error::Error for At {}

/// What [`place`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// Absent or different.
    Copied,
    /// Byte for byte the same.
    Equal,
}

/// Makes a directory, mode 0755 whatever the umask, and those above it.
pub(super) fn make_directory(path: &Path) -> Result<(), At> {
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o755)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .map_err(|error| At::new(path, error))
}

/// Makes names that appeared in a directory, or went, last.
pub(super) fn flush_directory(path: &Path) -> Result<(), At> {
    fs::File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| At::new(path, error))
}

/// Removes a file that may be absent.
pub(super) fn remove_file(path: &Path) -> Result<(), At> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(At::new(path, error)),
        _ => Ok(()),
    }
}

/// Makes `to` a copy of `from`, mode included, if the content differs; a newer time stamp says nothing. Takes away what an
/// interrupted copy left behind.
pub(super) fn place(from: &Path, to: &Path) -> Result<Placed, At> {
    let (content, mode) = read(from).map_err(|error| At::new(from, error))?;
    if has_content(to, &content) {
        remove_file(&temporary(to))?;
        return Ok(Placed::Equal);
    }
    replace(to, &content, mode)?;
    Ok(Placed::Copied)
}

fn read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let found = fs::metadata(path)?;
    // Whoever opens a pipe waits.
    if !found.is_file() {
        return Err(io::Error::other("not a file"));
    }
    Ok((fs::read(path)?, found.permissions().mode() & 0o777))
}

/// A file that cannot be read does not have the content: it is replaced.
fn has_content(path: &Path, content: &[u8]) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == content.len() as u64)
        && fs::read(path).is_ok_and(|present| present == content)
}

/// The file beside `path` that becomes it.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    name.into()
}

/// Writes a file beside `path` and renames it; both are flushed to the disk.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), At> {
    let temporary = temporary(path);
    remove_file(&temporary)?;
    let written = write(&temporary, content, mode)
        .map_err(|error| At::new(&temporary, error))
        .and_then(|()| fs::rename(&temporary, path).map_err(|error| At::new(path, error)));
    if let Err(error) = written {
        // The first error is the one to tell; the next pass tries to remove the file again.
        let _ = remove_file(&temporary);
        return Err(error);
    }
    path.parent().map_or(Ok(()), flush_directory)
}

/// The file must be absent: a link that somebody put there is not followed.
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
