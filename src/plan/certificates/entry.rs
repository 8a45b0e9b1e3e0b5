//! Entries of the ConfigMap that `additionalTrustedCA` names: is a key the name of a host, and which values are secret.

use rustls_pki_types::PrivateKeyDer;

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

/// First bytes of key stores of Java, JKS and JCEKS.
const KEY_STORES: [&[u8]; 2] = [&[0xfe, 0xed, 0xfe, 0xed], &[0xce, 0xce, 0xce, 0xce]];
/// The version of a PKCS#12 file, which is its first member (RFC 7292, section 4).
const PKCS12_VERSION: &[u8] = &[0x02, 0x01, 0x03, 0x30];
/// The object identifiers 1.2.840.113549.1.5 (PBES1 and PBES2) and 1.2.840.113549.1.12.1 (of PKCS#12), without their last arcs. They
/// begin an encrypted private key (RFC 5958, section 3).
const ENCRYPTIONS: [&[u8]; 2] = [
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01],
];

/// Whether a value is a file that holds private keys, or is made to hold them: a key in DER, also an encrypted one, PKCS#12, or a
/// key store of Java. No container runtime reads these as a CA.
pub(super) fn is_key_file(value: &[u8]) -> bool {
    if PrivateKeyDer::try_from(value).is_ok() || KEY_STORES.iter().any(|magic| value.starts_with(magic)) {
        return true;
    }
    let Some(content) = sequence(value) else { return false };
    let encrypted = |algorithm: &[u8]| {
        let identifier = algorithm.strip_prefix(&[0x06]).and_then(|rest| rest.get(1..));
        identifier.is_some_and(|identifier| ENCRYPTIONS.iter().any(|prefix| identifier.starts_with(prefix)))
    };
    content.starts_with(PKCS12_VERSION) || sequence(content).is_some_and(encrypted)
}

/// Content of the DER sequence with which a value begins, and what follows it.
fn sequence(value: &[u8]) -> Option<&[u8]> {
    let (length, rest) = value.strip_prefix(&[0x30])?.split_first()?;
    // In the long form, the lower seven bits count the bytes of the length.
    let more = if *length < 0x80 { 0 } else { usize::from(length & 0x7f) };
    rest.get(more..)
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

    /// What OpenSSL 3.0 and keytool 17 wrote, in base64. The keys are used nowhere.
    const KEY_FILES: [(&str, &str); 7] = [
        (
            "PKCS#8",
            "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgLBY0euagXULKfeEz24rF7QWAB7urtxSNqejyruODgU+hRANCAASD\
             z1U2fksiaoj+qLIoSzi/180k/aM+Ac4b3N4iILErB2qje/ckz9BPR0kQNN5e02uL/pTvN7fXA+UlskeQlQRw",
        ),
        (
            "SEC 1",
            "MHcCAQEEICwWNHrmoF1Cyn3hM9uKxe0FgAe7q7cUjano8q7jg4FPoAoGCCqGSM49AwEHoUQDQgAEg89VNn5LImqI/qiyKEs4v9fN\
             JP2jPgHOG9zeIiCxKwdqo3v3JM/QT0dJEDTeXtNri/6U7ze31wPlJbJHkJUEcA==",
        ),
        (
            "PKCS#1",
            "MIIBOwIBAAJBAPHQnZdJShKMaLFnXfBTChVivieEn4Ap9BbPMrq6H/YVd0hnP1n1HhGXLNBGP3uL5HAQnx+Gpq/fYFstBGf4LOMC\
             AwEAAQJADgZUbYbRpfvAwrFFEIAwcIcWkkIt4ggM4RnJTm0nF2WQdhduFpUyzxazfR2Zi8SKqhGsmkkv09BpMvVH0bk0IQIhAPmI\
             H0AdUcJiw0m/V4AdVh/pJuPCzJnjLD9EZUWNNXMRAiEA+BVI/sO5bDtaryauUNIdW42xUGl4YBzDfp0/TtmdOLMCIQDJlISiV80n\
             un9GwVNfhNOBfelTz5dXreSdy5QARt3p8QIgDeN7K7AfcFy+TfH3blTlCdwb4imVcKQLmcoJ4ksyjxsCIQDKSkbAQipcVGvuuhB5\
             k8rlMCco2EbDkDamhcWAlzibrQ==",
        ),
        (
            "encrypted by PBES2",
            "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAh0o+6mNFpwbQICCAAwDAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoE\
             ENuveKIT4Oq74FieRhV8tk8EgZCDCzlHsXEO6nV+8xnZBWPThPiS5X1ORJnoqenzOip/qe1tI/8e6+nw9VtSWW2B8qo0MRUVCP6L\
             5zRscRn6tDGy8O1yJnGUxUWR8Y3/WW0pMXjitTvCl6FNRzbc+onQNM5l1hHLKN2po5jZdfN1rDDXoDd/NPuWlfSf5QHVMl1uAaGi\
             kWRIFbvCOnrxB+g7i6w=",
        ),
        (
            "encrypted by PKCS#12's scheme",
            "MIGxMBwGCiqGSIb3DQEMAQMwDgQIkUJx7OuKfd4CAggABIGQxvzJphtbMyMVhZWcdErLl2BK5nXuSV6hHo0RJfPMMlLcgEJIjNRY\
             v8aKK7vxiiCQmd5lCB23EudjMLI20AESq85ZkDMIEgmOvkErnhE7wHutrkvvKmmFgQ3qWhrATjPVWb6ftawrVQEqs/fAOkdkX4Wk\
             QGmeMejLDmXjFPAui4qok7PGHN4bIuI0eVv7Nx+P",
        ),
        (
            "begin of PKCS#12",
            "MIID/AIBAzCCA7IGCSqGSIb3DQEHAaCCA6MEggOfMIIDmzCCAlIGCSqGSIb3DQEHBqCCAkMwggI/AgEAMIICOAYJKoZIhvcNAQcB\
             MFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhRDoiht0U/fwICCAAw",
        ),
        (
            "begin of JKS",
            "/u3+7QAAAAIAAAABAAAAAQABMQAAAaIoWtnmAAAAyDCBxTAOBgorBgEEASoCEQEBBQAEgbIsfLq8u4ux",
        ),
    ];
    const CERTIFICATE_FILES: [(&str, &str); 2] = [
        (
            "certificate",
            "MIIBbDCCAROgAwIBAgIUH2zSoKvRBoktAhOAbJctYqVmCqAwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBYTAeFw0yNjExMjkxNzI5\
             MzBaFw0yNjEyMDIxNzI5MzBaMAwxCjAIBgNVBAMMAWEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASDz1U2fksiaoj+qLIoSzi/\
             180k/aM+Ac4b3N4iILErB2qje/ckz9BPR0kQNN5e02uL/pTvN7fXA+UlskeQlQRwo1MwUTAdBgNVHQ4EFgQUscA/9+sInnJ2GEMH\
             mCc0Y2rJOFwwHwYDVR0jBBgwFoAUscA/9+sInnJ2GEMHmCc0Y2rJOFwwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBE\
             AiAGF5FOqE5iDXS3zKQ/N9zY7sS6ao9AeA7hHpiS5gNP+QIgA80NAMMeNA2opn2FCfuAXbmVFgBjrcnLTUYpDLuzK6g=",
        ),
        (
            "PKCS#7",
            "MIIBmwYJKoZIhvcNAQcCoIIBjDCCAYgCAQExADALBgkqhkiG9w0BBwGgggFwMIIBbDCCAROgAwIBAgIUH2zSoKvRBoktAhOAbJct\
             YqVmCqAwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBYTAeFw0yNjExMjkxNzI5MzBaFw0yNjEyMDIxNzI5MzBaMAwxCjAIBgNVBAMM\
             AWEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASDz1U2fksiaoj+qLIoSzi/180k/aM+Ac4b3N4iILErB2qje/ckz9BPR0kQNN5e\
             02uL/pTvN7fXA+UlskeQlQRwo1MwUTAdBgNVHQ4EFgQUscA/9+sInnJ2GEMHmCc0Y2rJOFwwHwYDVR0jBBgwFoAUscA/9+sInnJ2\
             GEMHmCc0Y2rJOFwwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiAGF5FOqE5iDXS3zKQ/N9zY7sS6ao9AeA7hHpiS\
             5gNP+QIgA80NAMMeNA2opn2FCfuAXbmVFgBjrcnLTUYpDLuzK6gxAA==",
        ),
    ];

    // issue 10, row 18
    #[test]
    fn keys_in_der_and_key_stores_are_told_from_certificates() {
        use base64::Engine as _;
        let decoded = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        for (what, file) in KEY_FILES {
            assert!(is_key_file(&decoded(file)), "{what}");
        }
        for (what, file) in CERTIFICATE_FILES {
            assert!(!is_key_file(&decoded(file)), "{what}");
        }
        // Nothing that is cut short or is no DER stops the program.
        for (_, file) in KEY_FILES.iter().chain(&CERTIFICATE_FILES) {
            let file = decoded(file);
            for length in 0..file.len().min(64) {
                let _ = is_key_file(&file[..length]);
            }
        }
        for plain in [b"".as_slice(), b"0", b"text", &[0x30, 0xff], &[0x30, 0x84, 0, 0]] {
            assert!(!is_key_file(plain), "{plain:?}");
        }
    }
}
