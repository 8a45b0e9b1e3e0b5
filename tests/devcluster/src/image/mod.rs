//! Container images without Docker and without a base image: finished static files, packed as an OCI image layout.
//!
//! The same files give the same bytes: entries are sorted, times and owners are zero, nothing is compressed. The tar
//! form is what `ctr images import` takes, the directory form what `crane push` takes.

mod oci;
mod preset;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::files;
use anyhow::{Context as _, Result, bail};

pub use oci::archive;
pub use preset::{pause_image, registry_image, sample_image, stock_registry_image};

/// The directories that a program is looked for in when it is named without one.
pub(crate) const SEARCH_PATH: &str = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// The digest of an image's manifest, as `sha256:<64 hex>`: what registries and runtimes call the image by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// The digest as `sha256:<64 hex>`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a file in an image is made of.
#[derive(Clone, Debug)]
pub enum Content {
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// A file of this machine, read when the image is written.
    File(PathBuf),
}

impl Content {
    fn read(&self) -> Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(path) => fs::read(path).with_context(|| format!("read {} into an image", path.display())),
        }
    }
}

impl From<&Path> for Content {
    fn from(path: &Path) -> Self {
        Self::File(path.to_path_buf())
    }
}

impl From<PathBuf> for Content {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// One entry of the image's file system.
#[derive(Clone, Debug)]
enum Entry {
    Directory(u32),
    File(Content, u32),
    Link(String),
}

/// An image to be: files and how to run them. Absolute paths; missing parent directories are made with mode 0755.
#[derive(Clone, Debug)]
pub struct Image {
    reference: String,
    entries: BTreeMap<String, Entry>,
    entrypoint: Vec<String>,
    command: Vec<String>,
    user: String,
    environment: Vec<String>,
}

impl Image {
    /// An empty image that will be known as `reference`, such as `localhost/registry:dev`. It has a search path, a
    /// writable /tmp and names for the users root and default (1001).
    pub fn new(reference: &str) -> Self {
        Self {
            reference: reference.to_owned(),
            entries: BTreeMap::new(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            user: String::new(),
            environment: vec![SEARCH_PATH.to_owned()],
        }
        .directory("/tmp", 0o1777)
        .file(
            "/etc/passwd",
            "root:x:0:0:root:/:/sbin/nologin\ndefault:x:1001:0:default:/:/sbin/nologin\n",
            0o644,
        )
        .file("/etc/group", "root:x:0:\n", 0o644)
    }

    /// The name under which a runtime knows the image.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// Adds a file from bytes, text or a path on this machine.
    #[must_use]
    pub fn file(self, path: &str, content: impl Into<Content>, mode: u32) -> Self {
        self.entry(path, Entry::File(content.into(), mode))
    }

    /// Adds an empty directory.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(path, Entry::Directory(mode))
    }

    /// Adds a symbolic link at `path` to `target`.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, Entry::Link(target.to_owned()))
    }

    /// The program that the image runs, with its fixed arguments.
    #[must_use]
    pub fn entrypoint(mut self, words: &[&str]) -> Self {
        self.entrypoint = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The arguments used when a pod gives none.
    #[must_use]
    pub fn command(mut self, words: &[&str]) -> Self {
        self.command = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The user, and with a colon the group, that the image runs as.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push(format!("{name}={value}"));
        self
    }

    /// Writes the image as a tar that `ctr images import` takes.
    pub fn write(&self, tar_path: &Path) -> Result<Digest> {
        self.pack()?.write_tar(tar_path)
    }

    /// Writes the image as a directory that `crane push DIRECTORY REFERENCE` takes. The directory is made if missing.
    pub fn write_layout(&self, directory: &Path) -> Result<Digest> {
        self.pack()?.write_directory(directory)
    }

    /// Writes its files below a directory of this machine, as they would be below `/`.
    pub(crate) fn unpack(&self, root: &Path) -> Result<()> {
        for (path, entry) in &self.entries {
            let path = root.join(path);
            files::create_dir(path.parent().unwrap_or(root))?;
            match entry {
                Entry::Directory(mode) => {
                    files::create_dir(&path)?;
                    files::set_mode(&path, *mode)?;
                }
                Entry::File(content, mode) => {
                    files::write(&path, content.read()?)?;
                    files::set_mode(&path, *mode)?;
                }
                Entry::Link(target) => std::os::unix::fs::symlink(target, &path)
                    .with_context(|| format!("cannot make the link {}", path.display()))?,
            }
        }
        Ok(())
    }

    fn entry(mut self, path: &str, entry: Entry) -> Self {
        self.entries.insert(path.trim_matches('/').to_owned(), entry);
        self
    }

    fn pack(&self) -> Result<oci::Layout> {
        let Some((_, tag)) = self.reference.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) else {
            bail!("image reference {} has no tag", self.reference);
        };
        oci::Layout::pack(self, tag)
    }
}
