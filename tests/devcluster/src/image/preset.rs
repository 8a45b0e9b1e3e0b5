//! The images of the test cluster.

use std::path::Path;

use super::Image;

/// The tools that the rendered command of a registry pod, its preStop hook and a curious person ask for.
const TOOLS: [&str; 15] = [
    "cat", "cp", "date", "df", "echo", "env", "grep", "id", "ls", "mkdir", "mv", "rm", "sh", "sleep", "wget",
];

/// Does what the platform's tool of that name does, as far as the registry needs it: one PEM bundle of all anchors.
const UPDATE_CA_TRUST: &str = r#"#!/bin/sh
# update-ca-trust extract --output DIRECTORY: writes DIRECTORY/pem/tls-ca-bundle.pem, whose directory must exist.
set -eu
output=/etc/pki/ca-trust/extracted
[ "${1:-}" = extract ] && shift
while [ $# -gt 0 ]; do
    case "$1" in
        -o | --output) output="$2"; shift 2 ;;
        *) echo "update-ca-trust: unknown argument $1" >&2; exit 2 ;;
    esac
done
bundle="$output/pem/tls-ca-bundle.pem"
: > "$bundle.new"
for anchor in /etc/pki/ca-trust/source/anchors/* /usr/share/pki/ca-trust-source/anchors/*; do
    [ -f "$anchor" ] || continue
    cat "$anchor" >> "$bundle.new"
    echo >> "$bundle.new"
done
mv "$bundle.new" "$bundle"
"#;

/// Where the registry's image has its programs: that of `programs::REGISTRY` and of `programs::REGISTRY_ON_SWIFT`.
const REGISTRY_PROGRAMS: [&str; 2] = ["/usr/bin/dockerregistry", "/usr/bin/dockerregistry-v2"];

/// The registry: `dockerregistry` with the shell and the tools that the operator's rendered command asks for.
///
/// `registry_programs`: see [`crate::programs::Programs::registry`].
pub fn registry_image(reference: &str, registry_programs: &[&Path], busybox: &Path) -> Image {
    let image = REGISTRY_PROGRAMS
        .iter()
        .zip(registry_programs)
        .fold(with_tools(Image::new(reference), busybox), |image, (path, program)| {
            image.file(path, *program, 0o755)
        });
    image
        .file("/usr/bin/update-ca-trust", UPDATE_CA_TRUST, 0o755)
        .directory("/etc/pki/ca-trust/extracted", 0o755)
        .directory("/etc/pki/ca-trust/source/anchors", 0o755)
        .directory("/usr/share/pki/ca-trust-source/anchors", 0o755)
        .entrypoint(&["/usr/bin/dockerregistry"])
        .user("1001:0")
}

/// The stock registry: its program and nothing else, in particular no shell.
pub fn stock_registry_image(reference: &str, program: &Path) -> Image {
    Image::new(reference)
        .file("/bin/registry", program, 0o755)
        .directory("/etc/ssl/certs", 0o755)
        .entrypoint(&["registry"])
}

/// The image that holds the namespaces of every pod.
pub fn pause_image(reference: &str, pause_program: &Path) -> Image {
    Image::new(reference)
        .file("/pause", pause_program, 0o755)
        .entrypoint(&["/pause"])
        .user("65535:65535")
}

/// A small image to push into a registry and then run as a pod: it waits for SIGTERM. The payload makes its digest
/// unlike that of other samples, and its size what a test wants.
pub fn sample_image(reference: &str, pause_program: &Path, payload: Vec<u8>) -> Image {
    Image::new(reference)
        .file("/usr/bin/sample", pause_program, 0o755)
        .file("/payload", payload, 0o644)
        .entrypoint(&["/usr/bin/sample"])
        .user("1001:0")
}

fn with_tools(image: Image, busybox: &Path) -> Image {
    let image = image.file("/bin/busybox", busybox, 0o755);
    TOOLS
        .iter()
        .fold(image, |image, tool| image.symlink(&format!("/bin/{tool}"), "busybox"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn update_ca_trust_joins_the_anchors_of_both_places() {
        let root = std::env::temp_dir().join(format!("update-ca-trust-{}", std::process::id()));
        let (high, low, out) = (root.join("high"), root.join("low"), root.join("out"));
        for directory in [&high, &low, &out.join("pem")] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write(high.join("registry.example.com..5000"), "HIGH").unwrap();
        fs::write(low.join("ca-bundle.crt"), "LOW\n").unwrap();
        let script = UPDATE_CA_TRUST
            .replace("/etc/pki/ca-trust/source/anchors", &high.display().to_string())
            .replace("/usr/share/pki/ca-trust-source/anchors", &low.display().to_string());
        let mut shell = Command::new("/bin/sh");
        let status = shell
            .args(["-c", &script, "update-ca-trust", "extract", "--output"])
            .arg(&out)
            .status()
            .unwrap();
        let bundle = fs::read_to_string(out.join("pem/tls-ca-bundle.pem")).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert!(status.success());
        assert_eq!(bundle, "HIGH\nLOW\n\n");
    }
}
