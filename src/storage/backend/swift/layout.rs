//! PURE: how the registry's Swift driver names its objects: files below `files/`, parts of large files below `segments/`.

use crate::storage::model::preflight::ProbeKeys;

const FILES: &str = "files/";
const SEGMENTS: &str = "segments/";
/// Number of the only segment of an upload.
const FIRST: u32 = 1;

/// Object with the content of a key, or the manifest of its segments.
pub fn file(key: &str) -> String {
    format!("{FILES}{key}")
}

/// Where the segments of a key are. The registry chooses a random path; here it can be found again.
pub fn segments(key: &str) -> String {
    format!("{SEGMENTS}{key}/")
}

/// The first segment of a key.
pub fn segment(key: &str) -> String {
    format!("{}{FIRST:016}", segments(key))
}

/// The value of the header `X-Object-Manifest`.
pub fn manifest(container: &str, key: &str) -> String {
    format!("{container}/{SEGMENTS}{key}")
}

/// Whether a preflight writes this object.
pub fn is_of_probe(probe: &ProbeKeys, object: &str) -> bool {
    let is_file = object.strip_prefix(FILES).is_some_and(|key| probe.contains(key));
    is_file || object.starts_with(&segments(&probe.upload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_a_probe_are_told_from_others() {
        let probe = ProbeKeys::of("docker/registry/v2/_preflight/1");
        assert_eq!(segment("k"), "segments/k/0000000000000001");
        assert_eq!(manifest("images", "k"), "images/segments/k");
        for (object, expected) in [
            (file(&probe.object), true),
            (file(&probe.upload), true),
            (segment(&probe.upload), true),
            (probe.object.clone(), false),
            (file("docker/registry/v2/blobs/1"), false),
            (segment("docker/registry/v2/blobs/1"), false),
            (format!("{}2", file(&probe.object)), false),
        ] {
            assert_eq!(is_of_probe(&probe, &object), expected, "{object}");
        }
    }
}
