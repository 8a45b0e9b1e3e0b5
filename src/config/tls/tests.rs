use super::*;

fn observed(profile: &Value) -> Value {
    let spec: ApiServerSpec = serde_json::from_value(json!({"tlsSecurityProfile": profile})).unwrap();
    ServingInfo::observed(Some(&spec)).to_observed_config()["servingInfo"].clone()
}

const INTERMEDIATE_IANA: [&str; 9] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

fn intermediate() -> Value {
    json!({"minTLSVersion": "VersionTLS12", "cipherSuites": INTERMEDIATE_IANA})
}

// lifecycle 97: what is stored
// api 36
// api 37
#[test]
fn only_the_type_selects_a_profile_and_intermediate_is_the_default() {
    for profile in [
        json!(null),
        json!({}),
        json!({"type": null}),
        json!({"type": "Intermediate", "intermediate": null, "old": null}),
        json!({"type": "Custom", "custom": null}),
        json!({"type": "Custom"}),
        json!({"type": "Modernest", "modern": {}, "custom": {"ciphers": ["AES128-SHA"], "minTLSVersion": "VersionTLS10"}}),
        json!({"custom": {"minTLSVersion": "VersionTLS10"}}),
    ] {
        assert_eq!(observed(&profile), intermediate(), "{profile}");
    }
    let modern = json!({"minTLSVersion": "VersionTLS13", "cipherSuites": INTERMEDIATE_IANA[..3]});
    assert_eq!(
        observed(&json!({"type": "Modern", "custom": {"ciphers": ["AES128-SHA"]}})),
        modern
    );
}

// api 38: without the object
// lifecycle 97: without the object
#[test]
fn an_absent_api_server_selects_intermediate() {
    assert_eq!(
        ServingInfo::observed(None).to_observed_config()["servingInfo"],
        intermediate()
    );
}

#[test]
fn old_extends_intermediate() {
    let additional = [
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        "TLS_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_RSA_WITH_AES_128_CBC_SHA",
        "TLS_RSA_WITH_AES_256_CBC_SHA",
        "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    ];
    let all: Vec<_> = INTERMEDIATE_IANA.into_iter().chain(additional).collect();
    assert_eq!(
        observed(&json!({"type": "Old"})),
        json!({"minTLSVersion": "VersionTLS10", "cipherSuites": all})
    );
}

// lifecycle 98
// api 37: unknown names
#[test]
fn custom_suites_are_translated_and_unknown_suites_are_dropped() {
    let ciphers = [
        "ECDHE-RSA-DES-CBC3-SHA",
        "NO-SUCH",
        "TLS_AES_128_GCM_SHA256",
        // Profiles use OpenSSL names; the IANA name of a TLS 1.2 suite is unknown there.
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_RC4_128_SHA",
        "AES256-SHA256",
        "AES128-SHA",
    ];
    let custom = json!({"type": "Custom", "custom": {"ciphers": ciphers, "minTLSVersion": "VersionTLS11"}});
    let expected = [
        "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_AES_128_CBC_SHA",
    ];
    assert_eq!(
        observed(&custom),
        json!({"minTLSVersion": "VersionTLS11", "cipherSuites": expected})
    );
    for without_suites in [json!({"ciphers": ["NO-SUCH"]}), json!({"ciphers": null}), json!({})] {
        let found = observed(&json!({"type": "Custom", "custom": without_suites}));
        assert_eq!(
            found,
            json!({"minTLSVersion": "", "cipherSuites": []}),
            "the list is empty, not absent"
        );
    }
}

#[test]
fn observed_settings_parse_back_to_the_same_settings() {
    for profile in [json!({"type": "Old"}), json!({"type": "Modern"}), json!(null)] {
        let spec: ApiServerSpec = serde_json::from_value(json!({"tlsSecurityProfile": profile})).unwrap();
        let info = ServingInfo::observed(Some(&spec));
        assert_eq!(ServingInfo::stored(Some(&info.to_observed_config())), Ok(info));
    }
}

#[test]
fn only_changed_settings_are_reported() {
    let modern = ServingInfo::observed(Some(
        &serde_json::from_value(json!({"tlsSecurityProfile": {"type": "Modern"}})).unwrap(),
    ));
    let mut stored = modern.to_observed_config();
    assert_eq!(modern.changes(Some(&stored)), Vec::<String>::new());
    stored["servingInfo"]["minTLSVersion"] = json!("VersionTLS99");
    assert_eq!(modern.changes(Some(&stored)), ["minTLSVersion changed to VersionTLS13"]);
    assert_eq!(modern.changes(None).len(), 2);
}
