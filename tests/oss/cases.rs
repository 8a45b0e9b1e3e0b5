//! What is special about OSS.

use devcluster::stores::{Asked, Fault, Reply, Seaweed, SeaweedOptions};
use http::Method;
use image_registry_operator::config::facts::EnvValue;
use image_registry_operator::config::resolve::Reason;
use image_registry_operator::names;
use image_registry_operator::status::judge::Preflight;
use image_registry_operator::storage::model::error::ErrorClass;
use serde_json::{Value, json};

use super::cluster::{HOST, OssCluster, REGION, call};
use super::conformance::{BackendUnderTest as _, RESYNC};

// issue 13: virtual-hosted style, signature v4, the internal endpoint by default; the S3 driver is rendered
#[tokio::test]
async fn a_blank_spec_gets_a_bucket_at_the_internal_endpoint_of_the_region() {
    let mut cluster = OssCluster::new("oss-blank", json!({"oss": {}})).await;
    cluster.converge().await;
    let bucket = cluster.generated();
    assert_eq!(cluster.state(), Some("Managed"));
    assert_eq!(
        cluster.storage_spec()["oss"],
        json!({"bucket": bucket, "region": REGION})
    );
    assert_eq!(cluster.condition("StorageExists"), "True/OSS Bucket Exists");
    for asked in cluster.gate.asked() {
        assert_eq!(asked.host, format!("{bucket}.{HOST}"), "{asked}");
        let authorization = asked.header("authorization").unwrap_or_default();
        assert!(authorization.starts_with("AWS4-HMAC-SHA256"), "{asked}");
        assert!(authorization.contains(&format!("/{REGION}/s3/")), "{asked}");
        if asked.operation() == "CreateBucket" {
            assert_eq!(asked.text(), "", "the endpoint decides the region");
        }
    }
    let text = |value: &str| Some(format!("{:?}", EnvValue::Text(value.to_owned())));
    let flag = |value| Some(format!("{:?}", EnvValue::Flag(value)));
    for (name, expected) in [
        ("REGIONENDPOINT", text(&format!("https://{HOST}"))),
        ("BUCKET", text(&bucket)),
        ("REGION", text(REGION)),
        ("ENCRYPT", flag(false)),
        ("FORCEPATHSTYLE", flag(false)),
        ("KEYID", None),
        ("USEDUALSTACK", None),
    ] {
        assert_eq!(cluster.variable(name), expected, "{name}");
    }
    // Settled: no request.
    cluster.gate.forget();
    for _ in 0..5 {
        cluster.pass().await;
    }
    assert_eq!(cluster.gate.operations(), [] as [&str; 0]);
}

#[tokio::test]
async fn the_public_endpoint_is_used_if_the_spec_says_so() {
    let mut cluster = OssCluster::new("oss-public", json!({"oss": {"endpointAccessibility": "Public"}})).await;
    cluster.converge().await;
    let host = format!("{}.s3.oss-{REGION}.aliyuncs.com", cluster.generated());
    assert!(cluster.gate.asked().iter().all(|asked| asked.host == host));
    let bucket = cluster.generated();
    cluster.put(&bucket, "image").await;
    // The same bucket by another endpoint is the same storage.
    cluster.edit(json!({"storage": {"oss": {"endpointAccessibility": "Internal"}}}));
    cluster.converge().await;
    assert_eq!(cluster.state(), Some("Managed"));
    assert_eq!(cluster.count_events("StorageReconfigured"), 0);
    assert_eq!(
        cluster.variable("REGIONENDPOINT"),
        Some(format!("Text(\"https://{HOST}\")"))
    );
}

// issue 13: what OSS's S3 API cannot do is refused by name before anything is created
#[tokio::test]
async fn what_the_api_cannot_do_is_refused_before_anything_is_asked() {
    for (name, spec, named) in [
        (
            "kms",
            json!({"encryption": {"method": "KMS", "kms": {"keyID": "key-1"}}}),
            "spec.storage.oss.encryption.kms.keyID",
        ),
        ("dots", json!({"bucket": "my.images"}), "spec.storage.oss.bucket"),
        ("region", json!({"region": "evil.example/"}), "spec.storage.oss.region"),
    ] {
        let mut cluster = OssCluster::new(&format!("oss-refused-{name}"), json!({"oss": spec})).await;
        let error = cluster.settle().await.error.unwrap();
        assert_eq!(error.class, ErrorClass::Invalid(Reason::InvalidConfig));
        assert!(error.message.contains(named), "{error}");
        assert_eq!(cluster.gate.operations(), [] as [&str; 0]);
    }
    let mut cluster = OssCluster::new("oss-nowhere", json!({"oss": {}})).await;
    cluster.edit_infrastructure(|status| status["platformStatus"] = json!({"type": "None"}));
    let error = cluster.settle().await.error.unwrap();
    assert!(error.message.contains("spec.storage.oss.region"), "{error}");
    assert_eq!(cluster.gate.operations(), [] as [&str; 0]);
}

#[tokio::test]
async fn encryption_with_keys_of_oss_is_asked_for_at_each_upload() {
    let mut cluster = OssCluster::new("oss-aes", json!({"oss": {"encryption": {"method": "AES256"}}})).await;
    cluster.converge().await;
    assert_eq!(cluster.variable("ENCRYPT"), Some("Flag(true)".to_owned()));
    let asked = cluster.gate.asked();
    let uploads: Vec<&Asked> = asked.iter().filter(|asked| asked.operation() == "PutObject").collect();
    assert!(!uploads.is_empty());
    for upload in uploads {
        assert_eq!(upload.header("x-amz-server-side-encryption"), Some("AES256"));
    }
    assert!(!cluster.gate.operations().contains(&"PutBucketEncryption".to_owned()));
}

// issue 13: credentials from the user's Secret alone
#[tokio::test]
async fn without_the_users_secret_nothing_is_asked_and_new_keys_roll_the_pods() {
    let mut cluster = OssCluster::new("oss-keys", json!({"oss": {}})).await;
    cluster.remove_object(image_registry_operator::api::Kind::Secret, names::USER_SECRET);
    let error = cluster.settle().await.error.unwrap();
    assert!(error.message.contains("REGISTRY_STORAGE_OSS_ACCESSKEYID"), "{error}");
    assert_eq!(cluster.gate.operations(), [] as [&str; 0]);
    let moto = devcluster::stores::Moto::shared().await.unwrap();
    let everything = json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]);
    for (number, names) in [
        ["REGISTRY_STORAGE_S3_ACCESSKEY", "REGISTRY_STORAGE_S3_SECRETKEY"],
        [
            "REGISTRY_STORAGE_OSS_ACCESSKEYID",
            "REGISTRY_STORAGE_OSS_ACCESSKEYSECRET",
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let keys = moto.user(&format!("oss-keys-{number}"), &everything).await.unwrap();
        cluster.set_secret(&[(names[0], &keys.id), (names[1], &keys.secret)]);
        cluster.later(RESYNC);
        cluster.converge().await;
        let file = cluster.running.as_ref().unwrap().files["credentials"]
            .expose()
            .to_owned();
        assert_eq!(
            file,
            format!(
                "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
                keys.id, keys.secret
            )
        );
    }
}

// An OSS without the listing of unfinished uploads, of which its documentation says nothing
#[tokio::test]
async fn an_api_without_what_the_registry_needs_fails_the_preflight_by_name() {
    let mut cluster = OssCluster::new("oss-poor", json!({"oss": {}})).await;
    cluster.disturb(|asked| (asked.operation() == "ListMultipartUploads").then(|| Fault::error(501, "NotImplemented")));
    let mut told = String::new();
    for _ in 0..8 {
        let outcome = cluster.pass().await;
        if let Some(Preflight::Failed(message)) = outcome.preflight {
            told = message;
        }
        cluster.later(RESYNC);
    }
    for part in [
        "s3:ListBucketMultipartUploads",
        "documents no such call",
        "ask Alibaba Cloud",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(cluster.running.is_none());
}

// A service that answers the listing of versions with none.
#[tokio::test]
async fn a_removal_leaves_no_object_though_no_versions_are_listed() {
    let mut cluster = OssCluster::new("oss-versions", json!({"oss": {}})).await;
    cluster.converge().await;
    let bucket = cluster.generated();
    cluster.fill(&bucket, 3).await;
    cluster.disturb(|asked| {
        let body = "<?xml version=\"1.0\"?><ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>";
        let none = || Fault::Answer(Reply::new(200, body).header("content-type", "application/xml"));
        (asked.operation() == "ListObjectVersions").then(none)
    });
    cluster.edit(json!({"managementState": "Removed"}));
    assert!(cluster.settle().await.done);
    assert!(!cluster.exists(&bucket).await);
    assert_eq!(cluster.condition("StorageExists"), "False/OSS Bucket Deleted");
}

#[tokio::test]
async fn a_bucket_of_a_user_is_kept() {
    let mut cluster = OssCluster::new("oss-kept", json!({"oss": {"bucket": "oss-kept-users"}})).await;
    assert_eq!(call(Method::PUT, "/oss-kept-users", "").await.0, 200);
    cluster.converge().await;
    assert_eq!(cluster.state(), Some("Unmanaged"));
    cluster.edit(json!({"managementState": "Removed"}));
    assert!(cluster.settle().await.done);
    assert!(cluster.exists("oss-kept-users").await);
    assert_eq!(cluster.storage_spec()["oss"]["bucket"], json!("oss-kept-users"));
    assert_eq!(cluster.status(), &Value::Object(serde_json::Map::new()));
}

// issue 13: SeaweedFS as data plane, too
#[tokio::test]
async fn a_bucket_is_created_used_and_removed_on_seaweedfs() {
    let seaweed = Seaweed::start(SeaweedOptions::default()).await.unwrap();
    let mut cluster = OssCluster::before(seaweed.target(), seaweed.admin(), "oss-weed", json!({"oss": {}}));
    cluster.converge().await;
    assert_eq!(cluster.state(), Some("Managed"));
    assert!(cluster.running.is_some());
    cluster.edit(json!({"managementState": "Removed"}));
    assert!(cluster.settle().await.done);
    assert_eq!(cluster.condition("StorageExists"), "False/OSS Bucket Deleted");
}

// The list of the S3 API of OSS has no listing of versions: whatever OSS answers to one, it is no reason to stop.
#[tokio::test]
async fn a_refused_listing_of_versions_stops_neither_a_creation_nor_a_removal() {
    let objects = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                   <IsTruncated>false</IsTruncated></ListBucketResult>";
    for (name, answer) in [
        ("invalid", Reply::error(400, "InvalidArgument", "no such subresource")),
        (
            "objects",
            Reply::new(200, objects).header("content-type", "application/xml"),
        ),
    ] {
        let mut cluster = OssCluster::new(&format!("oss-versions-{name}"), json!({"oss": {}})).await;
        cluster.disturb(move |asked| {
            let versions = asked.operation() == "ListObjectVersions";
            versions.then(|| Fault::Answer(answer.clone()))
        });
        cluster.converge().await;
        assert_eq!(cluster.state(), Some("Managed"), "{name}");
        let bucket = cluster.generated();
        cluster.fill(&bucket, 3).await;
        // A probe object that an earlier process left.
        let key = "docker/registry/v2/_preflight/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        cluster.put(&bucket, key).await;
        let left = json!([{
            "location": format!("aliyuncs.com/{bucket}"), "storage": {"oss": cluster.storage_spec()["oss"]},
            "key": key, "at": cluster.snapshot.now.to_string(),
        }]);
        cluster.annotate(names::STORAGE_PROBE_ANNOTATION, &left.to_string());
        cluster.clear_probes().await;
        assert_eq!(cluster.annotation(names::STORAGE_PROBE_ANNOTATION), None, "{name}");
        assert_eq!(cluster.count(&bucket).await, 3, "{name}");
        cluster.edit(json!({"managementState": "Removed"}));
        assert!(cluster.settle().await.done, "{name}");
        assert!(!cluster.exists(&bucket).await, "{name}");
    }
}

// What has objects needs no listing of versions to be known as not empty.
#[tokio::test]
async fn a_bucket_with_objects_is_not_asked_for_versions() {
    let mut cluster = OssCluster::new("oss-full", json!({"oss": {}})).await;
    let bucket = cluster.generated();
    cluster.create(&bucket).await;
    cluster.put(&bucket, "image").await;
    cluster.converge().await;
    assert_eq!(cluster.state(), Some("Unmanaged"));
    assert!(!cluster.gate.operations().contains(&"ListObjectVersions".to_owned()));
}

// A refused right may hide versions: it proves nothing.
#[tokio::test]
async fn versions_that_may_not_be_listed_may_exist() {
    let mut cluster = OssCluster::new("oss-hidden", json!({"oss": {}})).await;
    let bucket = cluster.generated();
    cluster.create(&bucket).await;
    cluster.disturb(|asked| (asked.operation() == "ListObjectVersions").then(|| Fault::error(403, "AccessDenied")));
    cluster.converge().await;
    assert_eq!(cluster.state(), Some("Unmanaged"));
}
