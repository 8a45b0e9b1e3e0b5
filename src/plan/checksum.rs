//! Digests of objects, for the checksum annotation, the spec hash and the dependencies of pods.

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use serde_json::Value;

use super::{Desired, drift};
use crate::api::Kind;

/// Value of the checksum annotation: `sha256:` and 64 hexadecimal digits.
///
/// For objects with secrets the digest is an HMAC keyed with `namespace_uid`, so that a reader of the annotation cannot
/// guess the secrets.
pub fn checksum(desired: &Desired, namespace_uid: &str) -> String {
    let text = drift::stripped(&desired.body).to_string();
    match desired.reference.kind {
        Kind::Secret | Kind::Route | Kind::Deployment => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, namespace_uid.as_bytes());
            format!("sha256:{}", hex(hmac::sign(&key, text.as_bytes()).as_ref()))
        }
        _ => format!("sha256:{}", sha256(text.as_bytes())),
    }
}

/// SHA-256 of the compact JSON of a workload's `spec`, as 64 hexadecimal digits.
pub(super) fn spec_hash(spec: &Value) -> String {
    sha256(spec.to_string().as_bytes())
}

/// SHA-256 as 64 hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
