use super::*;
use crate::api::Sensitive;
use crate::program::{CloudFrontKey, FilesystemVolume, NameAndId, PublicEndpoint, S3CloudFront, SwiftStorage};

fn env(storage: &RegistryStorage) -> Vec<(&'static str, String)> {
    let facts = Distribution.render(storage).unwrap();
    let shown = |value: EnvValue| match value {
        EnvValue::Text(text) | EnvValue::Raw(text) => text,
        EnvValue::Secret(secret) => format!("secret {}", secret.expose()),
        EnvValue::Flag(flag) => flag.to_string(),
        EnvValue::Number(number) => number.to_string(),
    };
    facts
        .env
        .into_iter()
        .map(|variable| (variable.name, shown(variable.value)))
        .collect()
}

fn pairs(expected: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    expected
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

fn bucket() -> S3Storage {
    S3Storage {
        bucket: "blue".to_owned(),
        region: "eu-north-9".to_owned(),
        endpoint: None,
        public: None,
        path_style: true,
        dual_stack: None,
        encrypt: false,
        key_id: None,
        chunk_size: None,
        credentials: Sensitive::new("[default]"),
        cloud_front: None,
    }
}

// kubernetes 4: S3
#[test]
fn s3_has_the_librarys_variables_and_path_style_only_at_endpoints_of_ones_own() {
    let amazon = env(&RegistryStorage::S3(Box::new(bucket())));
    let plain = [
        ("REGISTRY_STORAGE", "s3"),
        ("REGISTRY_STORAGE_S3_BUCKET", "blue"),
        ("REGISTRY_STORAGE_S3_REGION", "eu-north-9"),
        ("REGISTRY_STORAGE_S3_ENCRYPT", "false"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/var/run/secrets/cloud/credentials"),
        ("AWS_SDK_LOAD_CONFIG", "1"),
    ];
    assert_eq!(amazon, pairs(&plain));
    for path_style in [true, false] {
        let store = S3Storage {
            endpoint: Some("https://store.example:9000".to_owned()),
            public: None,
            path_style,
            dual_stack: Some(true),
            encrypt: true,
            key_id: Some("key".to_owned()),
            chunk_size: Some(10_485_760),
            cloud_front: Some(S3CloudFront {
                base_url: "https://d.example.net".to_owned(),
                keypair_id: "K1".to_owned(),
                duration: "1200s".to_owned(),
                key: CloudFrontKey {
                    secret: "front".to_owned(),
                    key: "pem".to_owned(),
                },
            }),
            ..bucket()
        };
        let middleware = "- name: cloudfront\n  options:\n    baseurl: https://d.example.net\n    privatekey: \
                          /etc/docker/cloudfront/private.pem\n    keypairid: K1\n    duration: 1200s\n    ipfilteredby: none";
        let storage = RegistryStorage::S3(Box::new(store.clone()));
        let expected = pairs(&[
            plain[0],
            plain[1],
            plain[2],
            ("REGISTRY_STORAGE_S3_REGIONENDPOINT", "https://store.example:9000"),
            (
                "REGISTRY_STORAGE_S3_FORCEPATHSTYLE",
                if path_style { "true" } else { "false" },
            ),
            ("REGISTRY_STORAGE_S3_USEDUALSTACK", "true"),
            ("REGISTRY_STORAGE_S3_ENCRYPT", "true"),
            ("REGISTRY_STORAGE_S3_KEYID", "key"),
            ("REGISTRY_STORAGE_S3_CHUNKSIZE", "10485760"),
            plain[4],
            plain[5],
            ("REGISTRY_MIDDLEWARE_STORAGE", middleware),
        ]);
        assert_eq!(env(&storage), expected);
        // Volumes and files are those of the platform's registry.
        let (stock, platform) = (Distribution.render(&storage), platform::Platform.render(&storage));
        let (stock, platform) = (stock.unwrap(), platform.unwrap());
        assert_eq!(
            (&stock.volumes, &stock.mounts, &stock.files),
            (&platform.volumes, &platform.mounts, &platform.files)
        );
        let ibm = Distribution.render(&RegistryStorage::IbmCos(Box::new(store))).unwrap();
        assert_eq!((ibm.backend, ibm.env), ("IBMCOS", stock.env));
    }
}

// The registry does not start with a region that its library does not know.
#[test]
fn a_region_that_the_library_does_not_know_gets_its_public_endpoint_and_no_role() {
    let in_region = |region: &str, needs_sts: bool| {
        RegistryStorage::S3(Box::new(S3Storage {
            region: region.to_owned(),
            public: Some(PublicEndpoint {
                url: format!("https://s3.dualstack.{region}.amazonaws.com"),
                needs_sts,
            }),
            ..bucket()
        }))
    };
    let variable = |env: &[(&'static str, String)], name: &str| {
        let found = env.iter().find(|(found, _)| *found == name);
        found.map(|(_, value)| value.clone())
    };
    for region in ["eu-west-3", "us-gov-west-1", "cn-north-1"] {
        for role in [true, false] {
            let env = env(&in_region(region, role));
            assert_eq!(variable(&env, "REGISTRY_STORAGE_S3_REGIONENDPOINT"), None, "{region}");
            assert_eq!(variable(&env, "REGISTRY_STORAGE_S3_FORCEPATHSTYLE"), None, "{region}");
        }
    }
    let new = env(&in_region("mx-central-1", false));
    let value = |name| variable(&new, name).unwrap();
    assert_eq!(value("REGISTRY_STORAGE_S3_REGION"), "mx-central-1");
    let endpoint = value("REGISTRY_STORAGE_S3_REGIONENDPOINT");
    assert_eq!(endpoint, "https://s3.dualstack.mx-central-1.amazonaws.com");
    assert_eq!(value("REGISTRY_STORAGE_S3_FORCEPATHSTYLE"), "false");
    let refused = Distribution.render(&in_region("mx-central-1", true)).unwrap_err();
    assert_eq!(refused.reason, Reason::StorageNotConfigured);
    for part in ["mx-central-1", "access key", "REGISTRY_PROGRAM"] {
        assert!(refused.message.contains(part), "{}", refused.message);
    }
    // The platform's registry has a list of its own.
    let platform = platform::Platform.render(&in_region("mx-central-1", true)).unwrap();
    assert!(
        platform
            .env
            .iter()
            .all(|variable| variable.name != platform::S3_ENDPOINT)
    );
}

fn gcs(key_file: &str) -> RegistryStorage {
    RegistryStorage::Gcs(GcsStorage {
        bucket: "blue".to_owned(),
        key_file: Sensitive::new(key_file),
    })
}

// kubernetes 4: GCS
#[test]
fn gcs_has_a_key_file_and_a_federation_goes_to_googles_library() {
    let key = gcs(r#"{"type": "service_account", "universe_domain": "googleapis.com"}"#);
    assert_eq!(Distribution.render(&key), platform::Platform.render(&key));
    let federation = gcs(r#"{"type": "external_account"}"#);
    let expected = [
        ("REGISTRY_STORAGE", "gcs"),
        ("REGISTRY_STORAGE_GCS_BUCKET", "blue"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/gcs/keyfile"),
        ("REGISTRY_STORAGE_REDIRECT_DISABLE", "true"),
    ];
    assert_eq!(env(&federation), pairs(&expected));
    let elsewhere = gcs(r#"{"type": "service_account", "universe_domain": "apis.example"}"#);
    let refused = Distribution.render(&elsewhere).unwrap_err();
    assert_eq!(refused.reason, Reason::StorageNotConfigured);
    assert!(refused.message.contains("\"apis.example\""), "{refused}");
}

// kubernetes 4: Azure
#[test]
fn azure_is_told_the_kind_of_its_login_and_the_address_of_its_cloud() {
    let of = |realm: Option<&str>, login: AzureLogin| {
        env(&RegistryStorage::Azure(Box::new(AzureStorage {
            account: "blue".to_owned(),
            container: "images".to_owned(),
            realm: realm.map(str::to_owned),
            login,
        })))
    };
    let common = |realm, url, kind| {
        [
            ("REGISTRY_STORAGE", "azure"),
            ("REGISTRY_STORAGE_AZURE_CONTAINER", "images"),
            ("REGISTRY_STORAGE_AZURE_ACCOUNTNAME", "blue"),
            ("REGISTRY_STORAGE_AZURE_REALM", realm),
            ("REGISTRY_STORAGE_AZURE_SERVICEURL", url),
            ("REGISTRY_STORAGE_AZURE_CREDENTIALS_TYPE", kind),
        ]
    };
    let key = AzureLogin::Key(Sensitive::new("a2V5"));
    let public = common("core.windows.net", "https://blue.blob.core.windows.net", "shared_key");
    let secret = [("REGISTRY_STORAGE_AZURE_ACCOUNTKEY", "secret a2V5")];
    assert_eq!(of(None, key), pairs(&[&public[..], &secret].concat()));
    let identity = AzureLogin::WorkloadIdentity {
        client: "c".to_owned(),
        tenant: "t".to_owned(),
        token_file: "/token".to_owned(),
        authority: "https://login.example/".to_owned(),
    };
    let china = "core.chinacloudapi.cn";
    let other = common(china, "https://blue.blob.core.chinacloudapi.cn", "default_credentials");
    let login = [
        ("AZURE_CLIENT_ID", "c"),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
        ("AZURE_AUTHORITY_HOST", "https://login.example/"),
    ];
    assert_eq!(of(Some(china), identity), pairs(&[&other[..], &login].concat()));
}

#[test]
fn volumes_are_those_of_the_platforms_registry() {
    for volume in [FilesystemVolume::EmptyDir, FilesystemVolume::Claim("blue".to_owned())] {
        let storage = RegistryStorage::Filesystem(volume);
        assert_eq!(Distribution.render(&storage), platform::Platform.render(&storage));
    }
}

// kubernetes 3, in part
#[test]
fn swift_is_refused_by_name() {
    let empty = || Sensitive::new("");
    let swift = SwiftStorage {
        container: "images".to_owned(),
        auth_url: "https://keystone.example/v3".to_owned(),
        auth_version: 3,
        username: empty(),
        password: Sensitive::new("hunter2"),
        token: empty(),
        application_credential_id: empty(),
        application_credential_name: empty(),
        application_credential_secret: empty(),
        domain: NameAndId::default(),
        tenant: NameAndId::default(),
        tenant_domain: NameAndId::default(),
        region: None,
    };
    let refused = Distribution
        .render(&RegistryStorage::Swift(Box::new(swift)))
        .unwrap_err();
    assert_eq!(refused.reason, Reason::StorageNotConfigured);
    assert!(refused.message.contains("spec.storage.swift") && refused.message.contains("REGISTRY_PROGRAM"));
    assert!(!refused.message.contains("hunter2"));
}
