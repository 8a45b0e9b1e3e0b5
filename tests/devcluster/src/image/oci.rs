//! The OCI image layout: blobs named by their digest, an index that names the manifest, and a marker file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::{Digest, Entry, Image};

/// containerd takes the image's name from this annotation; others know only the standard one, the tag.
const IMAGE_NAME: &str = "io.containerd.image.name";
const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Writes an image layout, a directory with one image that another tool made, as a tar that `ctr images import` takes. The
/// runtime will know the image as `reference`.
pub fn archive(directory: &Path, reference: &str, tar_path: &Path) -> Result<Digest> {
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read(&path).with_context(|| format!("read {} of an image layout", path.display()))
    };
    let mut index: Value = serde_json::from_slice(&read("index.json")?)?;
    let one = index["manifests"]
        .as_array_mut()
        .filter(|manifests| manifests.len() == 1);
    let manifest = one
        .and_then(|manifests| manifests.first_mut())
        .with_context(|| format!("{} does not contain exactly one image", directory.display()))?;
    manifest["annotations"][IMAGE_NAME] = json!(reference);
    let manifest = manifest["digest"].as_str().unwrap_or_default().to_owned();
    let mut files = vec![
        ("oci-layout".to_owned(), read("oci-layout")?),
        ("index.json".to_owned(), serde_json::to_vec(&index)?),
    ];
    for blob in fs::read_dir(directory.join("blobs/sha256"))? {
        let name = format!("blobs/sha256/{}", blob?.file_name().to_string_lossy());
        let data = read(&name)?;
        files.push((name, data));
    }
    Layout { files, manifest }.write_tar(tar_path)
}

/// A packed image: the files of its layout in the order in which they are written, and the manifest's digest.
pub(super) struct Layout {
    files: Vec<(String, Vec<u8>)>,
    manifest: String,
}

impl Layout {
    pub(super) fn pack(image: &Image, tag: &str) -> Result<Self> {
        let mut layout = Self {
            files: vec![("oci-layout".to_owned(), MARKER.as_bytes().to_vec())],
            manifest: String::new(),
        };
        let layer = layout.blob(layer(&image.entries)?, LAYER);
        let config = layout.blob(serde_json::to_vec(&configuration(image, &layer["digest"]))?, CONFIG);
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        let mut manifest = layout.blob(serde_json::to_vec(&manifest)?, MANIFEST);
        manifest["digest"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut layout.manifest);
        manifest["platform"] = json!({"architecture": architecture(), "os": "linux"});
        manifest["annotations"] = json!({IMAGE_NAME: image.reference, "org.opencontainers.image.ref.name": tag});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});
        layout
            .files
            .push(("index.json".to_owned(), serde_json::to_vec(&index)?));
        Ok(layout)
    }

    pub(super) fn write_tar(self, path: &Path) -> Result<Digest> {
        let result = (|| -> Result<()> {
            let mut tar = Builder::new(fs::File::create(path)?);
            for (name, data) in &self.files {
                append(&mut tar, name, EntryType::Regular, 0o644, data)?;
            }
            tar.into_inner()?.flush()?;
            Ok(())
        })();
        result.with_context(|| format!("write image {}", path.display()))?;
        Ok(Digest(self.manifest))
    }

    pub(super) fn write_directory(self, directory: &Path) -> Result<Digest> {
        let result = (|| -> Result<()> {
            fs::create_dir_all(directory.join("blobs/sha256"))?;
            for (name, data) in &self.files {
                fs::write(directory.join(name), data)?;
            }
            Ok(())
        })();
        result.with_context(|| format!("write image layout {}", directory.display()))?;
        Ok(Digest(self.manifest))
    }

    /// Adds a blob and gives its descriptor.
    fn blob(&mut self, data: Vec<u8>, media_type: &str) -> Value {
        let mut hex = String::with_capacity(64);
        for byte in digest(&SHA256, &data).as_ref() {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        let descriptor = json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": data.len()});
        self.files.push((format!("blobs/sha256/{hex}"), data));
        descriptor
    }
}

fn configuration(image: &Image, layer: &Value) -> Value {
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": image.user,
            "Env": image.environment,
            "Entrypoint": image.entrypoint,
            "Cmd": image.command,
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    })
}

/// This machine's architecture under the name that images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The file system as an uncompressed tar: parents before children, because the keys are sorted.
fn layer(entries: &BTreeMap<String, Entry>) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    let mut made = BTreeSet::new();
    for (path, entry) in entries {
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            if !entries.contains_key(parent) && made.insert(parent) {
                append(&mut tar, &format!("{parent}/"), EntryType::Directory, 0o755, &[])?;
            }
        }
        match entry {
            Entry::Directory(mode) => append(&mut tar, &format!("{path}/"), EntryType::Directory, *mode, &[])?,
            Entry::File(content, mode) => append(&mut tar, path, EntryType::Regular, *mode, &content.read()?)?,
            Entry::Link(target) => {
                let mut header = header(EntryType::Symlink, 0o777, 0);
                tar.append_link(&mut header, path, target)?;
            }
        }
    }
    Ok(tar.into_inner()?)
}

fn append<W: Write>(tar: &mut Builder<W>, name: &str, kind: EntryType, mode: u32, data: &[u8]) -> Result<()> {
    let mut header = header(kind, mode, data.len() as u64);
    tar.append_data(&mut header, name, data)?;
    Ok(())
}

/// A header without anything that differs from one machine or moment to another.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn image() -> Image {
        Image::new("localhost/quux:dev")
            .file("/usr/bin/quux", b"\x7fELF".to_vec(), 0o755)
            .symlink("/bin/quux", "../usr/bin/quux")
            .directory("/var/lib/quux", 0o750)
            .entrypoint(&["/usr/bin/quux", "serve"])
            .user("1234:0")
            .env("COLOUR", "mauve")
    }

    fn file<'a>(layout: &'a Layout, name: &str) -> &'a [u8] {
        layout
            .files
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, data)| data.as_slice())
            .unwrap()
    }

    fn json_blob(layout: &Layout, descriptor: &Value) -> Value {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let data = file(layout, &format!("blobs/sha256/{digest}"));
        assert_eq!(descriptor["size"], data.len());
        serde_json::from_slice(data).unwrap()
    }

    #[test]
    fn the_index_leads_to_the_layer_by_digests() {
        let layout = image().pack().unwrap();
        let index: Value = serde_json::from_slice(file(&layout, "index.json")).unwrap();
        let entry = &index["manifests"][0];
        assert_eq!(entry["annotations"]["io.containerd.image.name"], "localhost/quux:dev");
        assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "dev");
        assert_eq!(entry["digest"], layout.manifest);
        let manifest = json_blob(&layout, entry);
        let config = json_blob(&layout, &manifest["config"]);
        assert_eq!(config["config"]["Entrypoint"], json!(["/usr/bin/quux", "serve"]));
        assert_eq!(config["config"]["User"], "1234:0");
        assert_eq!(config["config"]["Env"][1], "COLOUR=mauve");
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    }

    #[test]
    fn the_layer_holds_files_links_and_directories_parents_first() {
        let data = layer(&image().entries).unwrap();
        let mut seen = Vec::new();
        let mut archive = tar::Archive::new(data.as_slice());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut body = Vec::new();
            entry.read_to_end(&mut body).unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 0));
            seen.push((
                entry.path().unwrap().display().to_string(),
                header.mode().unwrap(),
                body.len(),
            ));
        }
        let find = |path: &str| seen.iter().position(|(p, ..)| p == path).unwrap();
        assert_eq!(seen[find("usr/bin/quux")], ("usr/bin/quux".to_owned(), 0o755, 4));
        assert_eq!(seen[find("var/lib/quux/")].1, 0o750);
        assert_eq!(seen[find("tmp/")].1, 0o1777);
        assert!(find("usr/") < find("usr/bin/") && find("usr/bin/") < find("usr/bin/quux"));
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let (one, two) = (image().pack().unwrap(), image().pack().unwrap());
        assert_eq!(one.files, two.files);
        let other = image().file("/etc/motd", "hello", 0o644).pack().unwrap();
        assert_ne!(one.manifest, other.manifest);
    }

    #[test]
    fn a_reference_without_a_tag_is_refused() {
        assert!(Image::new("localhost:5000/quux").pack().is_err());
        assert!(Image::new("localhost:5000/quux:v1").pack().is_ok());
    }
}
