#![allow(clippy::needless_pass_by_value)] // `json!` at each call reads better without `&`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::api::registry_storage::S3Storage;
use crate::config::facts::{EnvValue, StorageFacts};
use crate::config::resolve::Reason;
use crate::config::snapshot::Objects;
use crate::names;
use crate::program::RegistryProgram as _;
use crate::program::platform::Platform;
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::target::Target;
use crate::testing::takeover;

const CREDENTIALS: &str = "[default]\naws_access_key_id = AKIA\naws_secret_access_key = hunter2\n";

fn secret(name: &str, key: &str, content: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": names::NAMESPACE, "name": name},
        "data": {key: STANDARD.encode(content)},
    })
}

fn snapshot(further: impl IntoIterator<Item = Value>) -> Snapshot {
    let minted = secret(names::MINTED_SECRET, "credentials", CREDENTIALS);
    Snapshot {
        objects: Objects::from_values([minted].into_iter().chain(further)).unwrap(),
        ..Snapshot::empty()
    }
}

fn rendered(spec: Value, snapshot: &Snapshot) -> Result<StorageFacts, StorageError> {
    let spec: S3Storage = serde_json::from_value(spec).unwrap();
    let access = access(&Effective::of(&spec, snapshot, None).unwrap(), snapshot)?;
    Ok(Platform.render(&access).unwrap())
}

fn variables_of(spec: Value) -> Vec<(&'static str, EnvValue)> {
    let facts = rendered(spec, &snapshot([])).unwrap();
    facts.env.into_iter().map(|v| (v.name, v.value)).collect()
}

fn value(spec: Value, name: &str) -> Option<EnvValue> {
    variables_of(spec).into_iter().find(|(n, _)| *n == name).map(|(_, v)| v)
}

fn text(value: &str) -> EnvValue {
    EnvValue::Text(value.to_owned())
}

#[test]
fn the_whole_environment_has_its_order() {
    let spec = json!({
        "bucket": "b1", "region": "eu-west-3", "regionEndpoint": "https://minio.example.com/", "keyID": "key7",
        "chunkSizeMiB": 10, "encrypt": true, "virtualHostedStyle": true,
    });
    let expected = [
        ("REGISTRY_STORAGE_S3_REGIONENDPOINT", text("https://minio.example.com/")),
        ("REGISTRY_STORAGE_S3_KEYID", text("key7")),
        ("REGISTRY_STORAGE_S3_CHUNKSIZE", EnvValue::Number(10_485_760)),
        ("REGISTRY_STORAGE", text("s3")),
        ("REGISTRY_STORAGE_S3_BUCKET", text("b1")),
        ("REGISTRY_STORAGE_S3_REGION", text("eu-west-3")),
        ("REGISTRY_STORAGE_S3_ENCRYPT", EnvValue::Flag(true)),
        ("REGISTRY_STORAGE_S3_FORCEPATHSTYLE", EnvValue::Flag(false)),
        (
            "REGISTRY_STORAGE_S3_CREDENTIALSCONFIGPATH",
            text("/var/run/secrets/cloud/credentials"),
        ),
        ("REGISTRY_STORAGE_S3_USEDUALSTACK", EnvValue::Flag(true)),
    ];
    assert_eq!(variables_of(spec), expected);
}

// storage-s3 3
// In part: 3 (the environment).
#[test]
fn a_public_bucket_has_no_endpoint_and_forces_the_path_style() {
    let expected = [
        ("REGISTRY_STORAGE", text("s3")),
        ("REGISTRY_STORAGE_S3_BUCKET", text("b1")),
        ("REGISTRY_STORAGE_S3_REGION", text("us-west-1")),
        ("REGISTRY_STORAGE_S3_ENCRYPT", EnvValue::Flag(false)),
        ("REGISTRY_STORAGE_S3_FORCEPATHSTYLE", EnvValue::Flag(true)),
        (
            "REGISTRY_STORAGE_S3_CREDENTIALSCONFIGPATH",
            text("/var/run/secrets/cloud/credentials"),
        ),
        ("REGISTRY_STORAGE_S3_USEDUALSTACK", EnvValue::Flag(true)),
    ];
    assert_eq!(
        variables_of(json!({"bucket": "b1", "region": "us-west-1", "keyID": ""})),
        expected
    );
}

// storage-s3 6, storage-s3 7, storage-s3 9
// In part: 6 (the environment).
#[test]
fn dual_stack_is_rendered_only_if_the_partition_has_it() {
    for (region, expected) in [
        ("us-east-1", true),
        ("us-gov-east-1", true),
        ("us-iso-east-1", false),
        ("eu-isoe-west-1", false),
    ] {
        let found = value(json!({"region": region}), "REGISTRY_STORAGE_S3_USEDUALSTACK");
        assert_eq!(found, expected.then_some(EnvValue::Flag(true)), "{region}");
    }
    let custom = json!({"region": "us-iso-east-1", "regionEndpoint": "https://x"});
    assert_eq!(
        value(custom, "REGISTRY_STORAGE_S3_USEDUALSTACK"),
        Some(EnvValue::Flag(true))
    );
}

// storage-s3 40, workload 34
#[test]
fn the_size_of_parts_is_rendered_in_bytes_within_its_limits() {
    for (mib, bytes) in [
        (10, Some(10_485_760)),
        (0, None),
        (4, None),
        (-1, None),
        (5121, None),
        (5, Some(5_242_880)),
        (5120, Some(5_368_709_120)),
    ] {
        let found = value(
            json!({"region": "r", "chunkSizeMiB": mib}),
            "REGISTRY_STORAGE_S3_CHUNKSIZE",
        );
        assert_eq!(found, bytes.map(EnvValue::Number), "{mib}");
    }
}

#[test]
fn the_credentials_are_a_file_and_not_in_the_environment() {
    let facts = rendered(json!({"bucket": "b1", "region": "eu-west-3"}), &snapshot([])).unwrap();
    assert_eq!(facts.backend, "S3");
    assert_eq!(facts.files["credentials"].expose(), CREDENTIALS);
    assert_eq!(facts.files.len(), 1);
    assert!(!facts.env.iter().any(|v| matches!(v.value, EnvValue::Secret(_))));
    assert!(!format!("{facts:?}").contains("hunter2"));
    let secret = json!({"secretName": "image-registry-private-configuration", "optional": false});
    assert_eq!(
        facts.volumes,
        [json!({"name": "image-registry-private-configuration", "secret": secret})]
    );
    let mount = json!({
        "name": "image-registry-private-configuration", "mountPath": "/var/run/secrets/cloud", "readOnly": true,
    });
    assert_eq!(facts.mounts, [mount]);
    assert_eq!((facts.ca_bundle, facts.unfit, facts.not_usable), (None, None, None));
}

// A program that does not know a region needs its endpoint, and cannot use a role there.
#[test]
fn at_the_public_endpoint_its_url_and_the_need_of_sts_are_known() {
    let public = |spec: Value, credentials: &str| {
        let spec: S3Storage = serde_json::from_value(spec).unwrap();
        let user = secret(names::USER_SECRET, "credentials", credentials);
        let snapshot = snapshot([user]);
        let access = access(&Effective::of(&spec, &snapshot, None).unwrap(), &snapshot).unwrap();
        let RegistryStorage::S3(s3) = access else {
            panic!("{access:?}")
        };
        s3.public.map(|public| (public.url, public.needs_sts))
    };
    let web = "[default]\nrole_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = /t\n";
    let assumed = format!(
        "[default]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\n{}",
        CREDENTIALS.replace("default", "base")
    );
    for (region, host) in [
        ("mx-central-1", "mx-central-1.amazonaws.com"),
        ("eusc-de-east-1", "eusc-de-east-1.amazonaws.eu"),
        ("cn-south-9", "cn-south-9.amazonaws.com.cn"),
    ] {
        for (credentials, needs_sts) in [(CREDENTIALS, false), (web, true), (&assumed, true)] {
            let found = public(json!({"bucket": "b1", "region": region}), credentials);
            assert_eq!(found, Some((format!("https://s3.dualstack.{host}"), needs_sts)));
        }
    }
    let own = json!({"bucket": "b1", "region": "mx-central-1", "regionEndpoint": "https://store.example"});
    assert_eq!(public(own, web), None);
}

// storage-core 31
// In part: 31 (that nothing observed with other credentials counts).
#[test]
fn other_credentials_are_another_fingerprint() {
    let spec: S3Storage = serde_json::from_value(json!({"bucket": "b1", "region": "eu-west-3"})).unwrap();
    let fingerprint = |snapshot: &Snapshot| {
        let effective = Effective::of(&spec, snapshot, None).unwrap();
        Fingerprint::of_target(&Target {
            location: effective.location(),
            named: true,
            access: Some(access(&effective, snapshot).unwrap()),
            ca_bundle: None,
            unfit: None,
            not_usable: None,
        })
    };
    let minted = snapshot([]);
    let user = snapshot([secret(
        names::USER_SECRET,
        "credentials",
        &CREDENTIALS.replace("hunter2", "hunter3"),
    )]);
    assert_eq!(fingerprint(&minted), fingerprint(&snapshot([])));
    assert_ne!(fingerprint(&minted), fingerprint(&user));
}

#[test]
fn without_credentials_there_is_nothing_to_render() {
    let error = rendered(json!({"region": "eu-west-3"}), &Snapshot::empty()).unwrap_err();
    assert!(error.message.contains("installer-cloud-credentials"), "{error}");
}

fn distribution(further: &Value) -> Value {
    let mut cloud_front = json!({
        "baseURL": "https://cdn.example.com", "keypairID": "K123",
        "privateKey": {"name": "cdn-key", "key": "signer.pem"},
    });
    for (key, value) in further.as_object().unwrap() {
        cloud_front[key] = value.clone();
    }
    json!({"bucket": "b1", "region": "eu-west-3", "cloudFront": cloud_front})
}

fn with_key() -> Snapshot {
    snapshot([secret("cdn-key", "signer.pem", "PEM")])
}

// storage-s3 41
#[test]
fn cloud_front_is_rendered_as_yaml_with_its_key_mounted() {
    for (duration, lifetime) in [
        (json!("300s"), "5m0s"),
        (json!("20m"), "20m0s"),
        (json!("90m"), "1h30m0s"),
        (json!("0s"), "1200s"),
        (json!(""), "1200s"),
        (Value::Null, "1200s"),
    ] {
        let facts = rendered(distribution(&json!({"duration": duration})), &with_key()).unwrap();
        let expected = format!(
            "- name: cloudfront\n  options:\n    baseurl: https://cdn.example.com\n    \
             privatekey: /etc/docker/cloudfront/private.pem\n    keypairid: K123\n    duration: {lifetime}\n    \
             ipfilteredby: none"
        );
        let last = facts.env.last().unwrap();
        assert_eq!(
            (last.name, &last.value),
            ("REGISTRY_MIDDLEWARE_STORAGE", &EnvValue::Raw(expected))
        );
        let secret = json!({
            "secretName": "cdn-key", "items": [{"key": "signer.pem", "path": "private.pem"}], "optional": false,
        });
        assert_eq!(
            facts.volumes[1],
            json!({"name": "registry-cloudfront", "secret": secret})
        );
        let mount = json!({"name": "registry-cloudfront", "mountPath": "/etc/docker/cloudfront", "readOnly": true});
        assert_eq!(facts.mounts[1], mount);
    }
}

#[test]
fn text_of_cloud_front_that_yaml_would_misread_is_quoted() {
    let facts = rendered(
        distribution(&json!({"keypairID": "0123", "baseURL": "x: #y"})),
        &with_key(),
    )
    .unwrap();
    let EnvValue::Raw(yaml) = &facts.env.last().unwrap().value else {
        panic!("{:?}", facts.env.last());
    };
    assert!(
        yaml.contains("keypairid: \"0123\"\n") && yaml.contains("baseurl: 'x: #y'\n"),
        "{yaml}"
    );
}

#[test]
fn a_missing_key_of_cloud_front_is_named() {
    for further in [vec![], vec![secret("cdn-key", "other.pem", "PEM")]] {
        let error = rendered(distribution(&json!({})), &snapshot(further)).unwrap_err();
        let message = error.message;
        assert!(
            message.contains("openshift-image-registry/cdn-key") && message.contains("signer.pem"),
            "{message}"
        );
        assert!(message.contains("not found"), "{message}");
    }
}

#[test]
fn settings_of_cloud_front_that_cannot_be_rendered_are_refused_by_name() {
    for (further, field, reason) in [
        (json!({"baseURL": ""}), "baseURL", Reason::InvalidConfig),
        (
            json!({"baseURL": "https://x\n  evil: true"}),
            "baseURL",
            Reason::InvalidConfig,
        ),
        (json!({"keypairID": ""}), "keypairID", Reason::InvalidConfig),
        (
            json!({"privateKey": {"key": "k"}}),
            "privateKey.name",
            Reason::InvalidConfig,
        ),
        (
            json!({"privateKey": {"name": "n", "key": ""}}),
            "privateKey.key",
            Reason::InvalidConfig,
        ),
        (json!({"privateKey": null}), "privateKey.name", Reason::InvalidConfig),
        (json!({"duration": "soon"}), "duration", Reason::InvalidDuration),
        (json!({"duration": "-5m"}), "duration", Reason::InvalidDuration),
    ] {
        let spec: S3Storage = serde_json::from_value(distribution(&further)).unwrap();
        let rejection = Effective::of(&spec, &with_key(), None).unwrap_err();
        assert_eq!(rejection.reason, reason);
        assert!(
            rejection
                .message
                .contains(&format!("spec.storage.s3.cloudFront.{field}")),
            "{rejection}"
        );
    }
}

// workload 61: the cases of AWS, of MinIO and of OpenShift Data Foundation
#[test]
fn a_take_over_from_the_go_operator_changes_nothing_in_the_pods() {
    for case in takeover::cases("s3-") {
        let spec = case.storage.s3.as_ref().unwrap();
        let access = access(&Effective::of(spec, &case.snapshot, None).unwrap(), &case.snapshot);
        let access = access.unwrap_or_else(|e| panic!("{}: {e:?}", case.name));
        case.assert_unchanged(&Platform.render(&access).unwrap());
    }
}
