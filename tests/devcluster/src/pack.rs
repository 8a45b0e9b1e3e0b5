//! The sandbox image of pods: one static program that waits.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// Static on Debian, from the package busybox-static.
const BUSYBOX: &str = "/bin/busybox";

/// Packs busybox's `sleep` as an OCI archive under that name.
pub(crate) fn pause(path: &Path, name: &str) -> Result<()> {
    busybox(path, name, &["/bin/busybox", "sleep", "2147483647"])
}

/// Packs busybox as an OCI archive that runs that command.
pub fn busybox(path: &Path, name: &str, entrypoint: &[&str]) -> Result<()> {
    let program = std::fs::read(BUSYBOX);
    let program = program.with_context(|| format!("no {BUSYBOX}: run tests/devcluster/install-prerequisites"))?;
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "bin/busybox", 0o755, &program)?;
    let layer = layer.into_inner()?;
    let config = serde_json::to_vec(&json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Entrypoint": entrypoint },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)?] },
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config)?,
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)?],
    }))?;
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest)?;
    entry["annotations"] = json!({ "io.containerd.image.name": name });
    let index = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": [entry] }))?;
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut archive, "index.json", 0o644, &index)?;
    for blob in [&layer, &config, &manifest] {
        append(&mut archive, &format!("blobs/{}", digest(blob)?.replace(':', "/")), 0o644, blob)?;
    }
    crate::files::write(path, archive.into_inner()?)
}

fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32, content: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, name, content)?;
    Ok(())
}

fn digest(content: &[u8]) -> Result<String> {
    let mut text = String::from("sha256:");
    for byte in aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content).as_ref() {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

fn descriptor(media_type: &str, content: &[u8]) -> Result<Value> {
    Ok(json!({ "mediaType": media_type, "digest": digest(content)?, "size": content.len() }))
}
