//! Watches the content of files: certificates, CA bundles, the configuration. A change shuts the process down, and the
//! restarted process uses the new content. OpenShift rotates certificates this way.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{Context, SHA256};

/// Interval between two checks.
const PERIOD: Duration = Duration::from_secs(5);
/// Two writes within one tick of the kernel's clock leave the same time stamps, so a file that changed within this time is
/// read again.
const STABLE_AFTER: Duration = Duration::from_secs(2);

/// A path that cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum FileWatchError {
    /// A directory has no content to compare.
    #[error("cannot watch {}: it is a directory", .0.display())]
    Directory(PathBuf),
    /// The file exists but cannot be read.
    #[error("cannot watch {}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: io::Error,
    },
}

/// SHA-256 of the content; `None` if the file does not exist.
type Content = Option<[u8; 32]>;

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The file did not exist at the start.
    Created,
    /// The content differs. A new time stamp alone does not count.
    Modified,
    /// The file existed at the start.
    Deleted,
}

/// The first change of a watched file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path as passed to [`FileWatch::start`].
    pub path: PathBuf,
    /// What happened.
    pub kind: Kind,
}

/// Watched files with their content at the start.
#[derive(Debug)]
pub struct FileWatch {
    files: Vec<(PathBuf, Content)>,
}

impl FileWatch {
    /// Reads the current content of `paths`, with which [`FileWatch::changed`] compares. Symbolic links are followed, because
    /// projected volumes use them. A file that does not exist is reported when it is created.
    pub(crate) fn start(paths: &[PathBuf]) -> Result<Self, FileWatchError> {
        let files = paths
            .iter()
            .map(|path| Ok((path.clone(), content(path)?)))
            .collect::<Result<_, FileWatchError>>()?;
        if !paths.is_empty() {
            let list: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            tracing::info!("Watching files [{}]", list.join(" "));
        }
        Ok(Self { files })
    }

    /// Waits until a file differs from its content at the start; checks every 5 seconds. Never returns if no file is watched.
    pub(crate) async fn changed(self) -> Result<Change, FileWatchError> {
        if self.files.is_empty() {
            std::future::pending::<()>().await;
        }
        let mut read: Vec<Option<Stamp>> = vec![None; self.files.len()];
        loop {
            tokio::time::sleep(PERIOD).await;
            for ((path, before), read) in self.files.iter().zip(&mut read) {
                let stamp = Stamp::if_stable(path);
                if stamp.is_some() && stamp == *read {
                    continue;
                }
                *read = stamp;
                let kind = match (before, content(path)?) {
                    (None, Some(_)) => Kind::Created,
                    (Some(_), None) => Kind::Deleted,
                    (Some(before), Some(now)) if *before != now => Kind::Modified,
                    _ => continue,
                };
                tracing::info!("object changed: file {} was {kind:?}", path.display());
                return Ok(Change {
                    path: path.clone(),
                    kind,
                });
            }
        }
    }
}

/// Metadata of a file. While it is the same, the content is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    /// ctime, which no program can set.
    changed: (i64, i64),
}

impl Stamp {
    /// Metadata of the file that `path` refers to, links followed. `None` if it is too recent to be reliable: then the content
    /// has to be read.
    fn if_stable(path: &Path) -> Option<Self> {
        let data = std::fs::metadata(path).ok()?;
        let changed = Duration::new(
            u64::try_from(data.ctime()).ok()?,
            u32::try_from(data.ctime_nsec()).ok()?,
        );
        let age = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH + changed)
            .ok()?;
        (age > STABLE_AFTER).then(|| Self {
            file: (data.dev(), data.ino()),
            size: data.len(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }
}

/// Reads in small pieces, so that a large CA bundle does not increase resident memory.
fn content(path: &Path) -> Result<Content, FileWatchError> {
    let read = || -> io::Result<Content> {
        let mut file = File::open(path)?;
        let mut digest = Context::new(&SHA256);
        let mut piece = [0; 8192];
        loop {
            let length = file.read(&mut piece)?;
            let Some(data) = piece.get(..length).filter(|data| !data.is_empty()) else {
                break;
            };
            digest.update(data);
        }
        let mut sum = [0; 32];
        sum.copy_from_slice(digest.finish().as_ref());
        Ok(Some(sum))
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Err(FileWatchError::Directory(path.to_owned())),
        Err(error) => Err(FileWatchError::Read {
            path: path.to_owned(),
            error,
        }),
        Ok(content) => Ok(content),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn unchanged(watch: FileWatch) -> bool {
        tokio::time::timeout(Duration::from_mins(1), watch.changed())
            .await
            .is_err()
    }

    // lifecycle 15, deploy 26
    #[tokio::test(start_paused = true)]
    async fn creation_modification_and_deletion_are_reported_within_one_period() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tls.crt");
        let started = tokio::time::Instant::now();

        let watch = FileWatch::start(std::slice::from_ref(&path)).unwrap();
        fs::write(&path, "one").unwrap();
        assert_eq!(
            watch.changed().await.unwrap(),
            Change {
                path: path.clone(),
                kind: Kind::Created
            }
        );

        let watch = FileWatch::start(std::slice::from_ref(&path)).unwrap();
        fs::write(&path, "two").unwrap();
        assert_eq!(watch.changed().await.unwrap().kind, Kind::Modified);

        let watch = FileWatch::start(std::slice::from_ref(&path)).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(watch.changed().await.unwrap().kind, Kind::Deleted);
        assert!(started.elapsed() <= 3 * PERIOD + Duration::from_millis(10));
    }

    // lifecycle 15, 16
    #[tokio::test(start_paused = true)]
    async fn the_same_content_or_an_absent_file_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tls.crt");
        fs::write(&path, "one").unwrap();
        let watch = FileWatch::start(&[path.clone(), dir.path().join("never")]).unwrap();
        fs::write(&path, "one").unwrap();
        assert!(unchanged(watch).await);
        assert!(unchanged(FileWatch::start(&[]).unwrap()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_of_a_projected_volume_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["v1", "v2"] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("tls.crt"), version).unwrap();
        }
        std::os::unix::fs::symlink("v1", dir.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/tls.crt", dir.path().join("tls.crt")).unwrap();
        let watch = FileWatch::start(&[dir.path().join("tls.crt")]).unwrap();
        std::os::unix::fs::symlink("v2", dir.path().join("..new")).unwrap();
        fs::rename(dir.path().join("..new"), dir.path().join("..data")).unwrap();
        assert_eq!(watch.changed().await.unwrap().kind, Kind::Modified);
    }

    #[test]
    fn metadata_of_a_recent_or_absent_file_is_unreliable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tls.crt");
        assert_eq!(Stamp::if_stable(&path), None);
        fs::write(&path, "one").unwrap();
        assert_eq!(Stamp::if_stable(&path), None);
        std::thread::sleep(STABLE_AFTER + Duration::from_millis(50));
        let stable = Stamp::if_stable(&path);
        assert!(stable.is_some() && stable == Stamp::if_stable(&path));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_a_long_unchanged_file_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tls.crt");
        fs::write(&path, "one").unwrap();
        let mut watch = std::pin::pin!(FileWatch::start(std::slice::from_ref(&path)).unwrap().changed());
        std::thread::sleep(STABLE_AFTER + Duration::from_millis(50));
        let quiet = tokio::time::timeout(4 * PERIOD, &mut watch).await;
        assert!(quiet.is_err());
        fs::write(&path, "two").unwrap();
        assert_eq!(watch.await.unwrap().kind, Kind::Modified);
    }

    #[test]
    fn a_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = FileWatch::start(&[dir.path().to_owned()]);
        assert!(matches!(refused, Err(FileWatchError::Directory(_))), "{refused:?}");
    }
}
