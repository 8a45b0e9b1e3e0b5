use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::*;

fn pem() -> (String, Vec<u8>) {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["identity".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    (
        format!("{}{}", key.serialize_pem(), certificate.pem()),
        certificate.der().to_vec(),
    )
}

fn document(client: &str, not_before: &str, secret: &[u8]) -> Value {
    json!({
        "client_id": client, "tenant_id": "tenant", "client_secret": STANDARD.encode(secret),
        "authentication_endpoint": "https://westeurope.login.microsoft.com/", "not_before": not_before,
        "not_after": "2027-01-01T00:00:00Z", "object_id": "ignored",
    })
}

// storage-azure 31
#[test]
fn paths_and_files_that_cannot_be_used_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let mut cut = document("c", "2026-01-01T00:00:00Z", b"x");
    cut.as_object_mut().unwrap().remove("client_secret");
    cut.as_object_mut().unwrap().remove("tenant_id");
    fs::write(at("cut"), cut.to_string()).unwrap();
    fs::write(at("text"), "no json hunter2").unwrap();
    for (path, part) in [
        ("relative/file".to_owned(), "not absolute"),
        (at("../x"), "contains .."),
        (at("absent"), "cannot be read"),
        (at(""), "is a directory"),
        (at("text"), "is not JSON"),
        (at("cut"), "lacks tenant_id, client_secret"),
    ] {
        let error = Certificates::default().of(&path, SystemTime::UNIX_EPOCH).unwrap_err();
        assert!(
            error.message.contains(part) && error.message.contains(VARIABLE),
            "{error}"
        );
        assert!(!error.message.contains("hunter2"), "{error}");
    }
}

// storage-azure 32
#[test]
fn a_renewed_file_is_noticed_through_a_symbolic_link_and_an_older_one_is_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let link = at("identity.json");
    let put = |name: &str, not_before: &str| {
        fs::write(at(name), document(name, not_before, b"x").to_string()).unwrap();
        let _ = fs::remove_file(&link);
        symlink(at(name), &link).unwrap();
    };
    let certificates = Certificates::default();
    let client = |seconds: u64| {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        certificates.of(link.to_str().unwrap(), now).unwrap().client.clone()
    };
    put("first", "2026-02-01T00:00:00Z");
    assert_eq!(client(0), "first");
    put("older", "2026-01-01T00:00:00Z");
    assert_eq!(client(70), "first");
    put("newer", "2026-03-01T00:00:00Z");
    assert_eq!(client(80), "first", "the file is not read at every request");
    assert_eq!(client(131), "newer", "within two minutes");
    fs::remove_file(&link).unwrap();
    assert_eq!(
        client(300),
        "newer",
        "while the file is replaced, the old certificate counts"
    );
}

#[test]
fn an_assertion_is_signed_and_carries_the_chain() {
    let (pem, der) = pem();
    let certificate = Certificate::parse(&document("client", "", pem.as_bytes()).to_string(), "/f").unwrap();
    assert_eq!(certificate.authority, "https://westeurope.login.microsoft.com/");
    let url = "https://westeurope.login.microsoft.com/tenant/oauth2/v2.0/token";
    let assertion = certificate.assertion(url, 1_000).unwrap();
    let parts: Vec<&str> = assertion.split('.').collect();
    let part = |n: usize| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[n]).unwrap()).unwrap() };
    let (header, claims) = (part(0), part(1));
    assert_eq!(header["x5c"], json!([STANDARD.encode(&der)]));
    let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &der));
    assert_eq!(header["x5t#S256"], json!(thumbprint));
    assert!(header["x5t"].is_string());
    for (claim, expected) in [("iss", "client"), ("sub", "client"), ("aud", url)] {
        assert_eq!(claims[claim], json!(expected));
    }
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["nbf"].as_u64().unwrap(), 600);
    assert_ne!(claims["jti"], json!(""));
}

/// The archive that this command line of OpenSSL 3 makes of a key and a certificate.
fn archive(pem: &str, options: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("in.pem"), directory.path().join("out.p12"));
    fs::write(&input, pem).unwrap();
    let status = std::process::Command::new("openssl")
        .args(["pkcs12", "-export", "-passout", "pass:", "-in"])
        .arg(&input)
        .arg("-out")
        .arg(&output)
        .args(options)
        .status()
        .unwrap();
    assert!(status.success());
    fs::read(output).unwrap()
}

#[test]
fn archives_without_a_password_are_read() {
    let (pem, der) = pem();
    for options in [
        &[][..],
        &["-keypbe", "NONE", "-certpbe", "NONE", "-nomac"],
        // As the Go operator reads them: 3DES and RC2 with SHA-1.
        &["-legacy", "-macalg", "sha1"],
        &["-legacy", "-macalg", "sha1", "-certpbe", "PBE-SHA1-3DES", "-iter", "1"],
        &["-legacy", "-nomac"],
    ] {
        let bytes = archive(&pem, options);
        let KeyAndChain { chain, .. } = parsed(&bytes).unwrap_or_else(|why| panic!("{options:?}: {why}"));
        assert_eq!(chain, std::slice::from_ref(&der));
    }
    for (options, part) in [
        (
            &["-legacy", "-macalg", "sha1", "-passout", "pass:hunter2"][..],
            "password",
        ),
        (&["-legacy", "-nomac", "-passout", "pass:hunter2"], "password"),
        (&["-passout", "pass:hunter2"], "password"),
        (
            &["-legacy", "-macalg", "sha1", "-certpbe", "PBE-SHA1-RC2-128"],
            "old algorithm",
        ),
    ] {
        let Err(why) = parsed(&archive(&pem, options)) else {
            panic!("{options:?} is read");
        };
        assert!(why.contains(part) && !why.contains("hunter2"), "{options:?}: {why}");
    }
    // So many rounds would keep the operator from everything else.
    let mut bytes = archive(&pem, &["-iter", "65536", "-nomac"]);
    let rounds = |bytes: &[u8]| bytes.windows(5).position(|part| part == [2, 3, 1, 0, 0]);
    while let Some(place) = rounds(&bytes) {
        bytes[place + 2..place + 5].copy_from_slice(&[0x7f, 0xff, 0xff]);
    }
    assert!(parsed(&bytes).is_err_and(|why| why.contains("8388607 rounds")));
    // A byte of the content that is not what the checksum says.
    let mut bytes = archive(&pem, &["-macalg", "sha1", "-keypbe", "NONE", "-certpbe", "NONE"]);
    let place = bytes.windows(8).position(|part| part == &der[100..108]).unwrap();
    bytes[place] ^= 1;
    assert!(parsed(&bytes).is_err());
    for bytes in [&b"garbage"[..], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[]] {
        assert!(parsed(bytes).is_err());
    }
}
