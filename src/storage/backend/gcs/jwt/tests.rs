use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::api::Sensitive;

/// Length of what PKCS#8 puts in front of the PKCS#1 form of a key of 2048 bits.
const PKCS8_HEADER: usize = 26;

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}

fn account(pem: &str) -> ServiceAccount {
    ServiceAccount {
        email: "registry@p.example".to_owned(),
        key: Sensitive::new(pem),
        key_id: "k-1".to_owned(),
        token_uri: "https://oauth2.example/token".to_owned(),
    }
}

fn part(text: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

// storage-gcs section 3
#[test]
fn a_key_in_either_form_signs_what_its_public_half_verifies() {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pkcs8 = der.as_ref();
    for text in [
        pem("PRIVATE KEY", pkcs8),
        pem("RSA PRIVATE KEY", &pkcs8[PKCS8_HEADER..]),
    ] {
        let account = account(&text);
        let signed = assertion(&account, "scope-1 scope-2", 1000).unwrap();
        let parts: Vec<_> = signed.split('.').collect();
        assert_eq!(part(parts[0]), json!({"alg": "RS256", "typ": "JWT", "kid": "k-1"}));
        assert_eq!(
            part(parts[1]),
            json!({
                "iss": "registry@p.example", "scope": "scope-1 scope-2", "aud": "https://oauth2.example/token",
                "iat": 1000, "exp": 4600,
            })
        );
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
        let message = format!("{}.{}", parts[0], parts[1]);
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        public.verify(message.as_bytes(), &signature).unwrap();
        // storage-gcs 48: no audience, because no token service takes part.
        let own = self_signed(&account, "scope-1", 1000).unwrap();
        let claims = part(own.split('.').nth(1).unwrap());
        let email = "registry@p.example";
        assert_eq!(
            claims,
            json!({"iss": email, "sub": email, "scope": "scope-1", "iat": 1000, "exp": 4600})
        );
    }
}

#[test]
fn a_key_that_cannot_sign_is_refused_without_its_text() {
    for text in [
        String::new(),
        "hunter2".to_owned(),
        pem("PRIVATE KEY", b"hunter2"),
        pem("RSA PRIVATE KEY", b"hunter2"),
        pem("EC PRIVATE KEY", b"hunter2"),
    ] {
        let why = assertion(&account(&text), "s", 0).unwrap_err();
        assert!(why.contains("private_key") && !why.contains("hunter2"), "{why}");
    }
}
