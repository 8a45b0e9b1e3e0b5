//! Entries of the ConfigMap that `additionalTrustedCA` names: is a key the name of a host, and which values are secret.

use crate::config::host;

/// Endings of file names. None of them is a top-level domain.
const FILE_ENDINGS: &[&str] = &[
    "bundle", "cer", "cert", "crt", "csr", "der", "jks", "key", "p12", "p7b", "p7c", "pem", "pfx", "pub", "txt",
];

/// Why a container runtime never looks for this key; `None` if the key is the name of a host, `host` or `host..port`.
pub(super) fn key_fault(key: &str) -> Option<&'static str> {
    const NO_HOST: &str = "is not the name of a host";
    let (host, port) = match key.rsplit_once("..") {
        Some((host, port)) => (host, Some(port)),
        None => (key, None),
    };
    if let Some(port) = port {
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Some("does not end with the number of a port");
        }
    }
    if !host.split('.').all(host::is_label) {
        return Some(NO_HOST);
    }
    let file = host
        .rsplit_once('.')
        .is_some_and(|(_, end)| FILE_ENDINGS.contains(&end.to_ascii_lowercase().as_str()));
    (port.is_none() && file).then_some("is the name of a file and not of a host")
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const PRIVATE: &[u8] = b"PRIVATE KEY";

/// The value without blocks of private keys in PEM, of every type, and whether there was one. A block that does not end is
/// removed up to the next block, or to the end of the value.
pub(super) fn without_private_keys(value: &[u8]) -> (Vec<u8>, bool) {
    let mut kept = Vec::with_capacity(value.len());
    let mut rest = value;
    let mut found = false;
    while let Some(begin) = position(rest, BEGIN) {
        let (before, block) = rest.split_at(begin);
        kept.extend_from_slice(before);
        let after_begin = block.get(BEGIN.len()..).unwrap_or_default();
        let line = after_begin
            .split(|byte| matches!(byte, b'\n' | b'\r'))
            .next()
            .unwrap_or_default();
        let label = line
            .get(..position(line, DASHES).unwrap_or(line.len()))
            .unwrap_or_default();
        let is_private = position(&label.to_ascii_uppercase(), PRIVATE).is_some();
        let length = if is_private { block_length(block) } else { BEGIN.len() };
        if is_private {
            found = true;
        } else {
            kept.extend_from_slice(BEGIN);
        }
        rest = block.get(length..).unwrap_or_default();
    }
    kept.extend_from_slice(rest);
    (kept, found)
}

/// Length of the block that begins here, with the line break behind it.
fn block_length(block: &[u8]) -> usize {
    let content = BEGIN.len();
    let body = block.get(content..).unwrap_or_default();
    let next = position(body, BEGIN).map_or(block.len(), |at| at + content);
    let Some(end) = position(body, END).map(|at| at + content).filter(|end| *end < next) else {
        return next;
    };
    let label = end + END.len();
    let closing = block.get(label..).and_then(|tail| position(tail, DASHES));
    let mut length = closing.map_or(block.len(), |at| label + at + DASHES.len());
    while block.get(length).is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        length += 1;
    }
    length
}

fn position(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    // issue 10, row 18
    #[test]
    fn only_hosts_and_hosts_with_ports_are_keys_that_a_runtime_looks_for() {
        for good in [
            "registry.example.com",
            "registry.example.com..5000",
            "registry..5000",
            "localhost",
            "10.1.2.3",
            "10.1.2.3..5000",
            "Registry.Example.COM",
            "xn--bcher-kva.example",
            "a-b.c-d..1",
            "key.example.com",
            "pem",
            "registry.pem..5000",
        ] {
            assert_eq!(key_fault(good), None, "{good}");
        }
        for file in [
            "ca.crt",
            "tls.crt",
            "tls.key",
            "ca-bundle.crt",
            "service-ca.crt",
            "root.pem",
            "registry.example.com.crt",
            "x.CER",
            "store.p12",
            "a.der",
            "readme.txt",
            "tls-ca-bundle.pem",
        ] {
            assert!(key_fault(file).is_some_and(|fault| fault.contains("file")), "{file}");
        }
        for (wrong, word) in [
            ("registry_example", "host"),
            ("-registry.example.com", "host"),
            ("registry-.example.com", "host"),
            (".registry.example.com", "host"),
            ("registry.example.com.", "host"),
            ("registry...5000", "host"),
            ("..5000", "host"),
            ("registry..example.com", "port"),
            ("registry..0", "port"),
            ("registry..65536", "port"),
            ("registry..", "port"),
            ("registry..50x", "port"),
        ] {
            assert!(key_fault(wrong).is_some_and(|fault| fault.contains(word)), "{wrong}");
        }
    }

    fn block(label: &str, text: &str) -> String {
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    // issue 10, row 18
    #[test]
    fn private_keys_of_every_type_are_removed_and_certificates_stay() {
        let (first, second) = (block("CERTIFICATE", "QUFB"), block("CERTIFICATE", "QkJC"));
        let both = format!("{first}{second}");
        for label in [
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "EC PRIVATE KEY",
            "DSA PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
            "ANY PRIVATE KEY",
            "PGP PRIVATE KEY BLOCK",
            "rsa private key",
        ] {
            let key = block(label, "U0VDUkVU");
            for mixed in [
                format!("{first}{key}{second}"),
                format!("{key}{both}"),
                format!("{both}{key}"),
                format!("{key}{first}{key}{key}{second}{key}"),
            ] {
                let (kept, found) = without_private_keys(mixed.as_bytes());
                assert_eq!(
                    (String::from_utf8(kept).unwrap(), found),
                    (both.clone(), true),
                    "{label}"
                );
            }
            assert_eq!(without_private_keys(key.as_bytes()), (Vec::new(), true), "{label}");
        }
    }

    // issue 10, row 18
    #[test]
    fn broken_blocks_hide_no_private_key() {
        let certificate = block("CERTIFICATE", "QUFB");
        let secret = "U0VDUkVU";
        for text in [
            format!("-----BEGIN PRIVATE KEY-----\n{secret}"),
            format!("-----BEGIN PRIVATE KEY-----\n{secret}\n{certificate}"),
            format!("{certificate}-----BEGIN RSA PRIVATE KEY-----\r\n{secret}\r\n-----END RSA PRIVATE KEY-----\r\n"),
            format!("{certificate}# comment\n  -----BEGIN PRIVATE KEY-----{secret}-----END PRIVATE KEY-----"),
            format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END SOMETHING-----\n{certificate}"),
            format!("-----BEGIN PRIVATE KEY\n{secret}\n-----END PRIVATE KEY-----\n{certificate}"),
            format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY"),
        ] {
            let (kept, found) = without_private_keys(text.as_bytes());
            let kept = String::from_utf8(kept).unwrap();
            assert!(found && !kept.contains(secret), "{text:?}: {kept:?}");
            assert_eq!(
                kept.contains(&certificate),
                text.contains(&certificate),
                "{text:?}: {kept:?}"
            );
        }
        let mut bytes = vec![0xff, 0xfe];
        bytes.extend_from_slice(block("PRIVATE KEY", secret).as_bytes());
        assert_eq!(without_private_keys(&bytes), (vec![0xff, 0xfe], true));
        for plain in [
            "",
            "no PEM",
            &certificate,
            "-----BEGIN ",
            "PRIVATE KEY",
            "-----END PRIVATE KEY-----",
        ] {
            assert_eq!(
                without_private_keys(plain.as_bytes()),
                (plain.into(), false),
                "{plain:?}"
            );
        }
    }
}
