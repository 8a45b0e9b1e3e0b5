//! The preflight's probe, as the registry would use the bucket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use devcluster::stores::{Fault, Reply, When};
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use image_registry_operator::status::judge::Preflight;
use serde_json::json;

use super::cluster::S3Cluster;
use super::conformance::preflight::PROBE as KEY;
use super::stores::{cluster, moto, store};
use devcluster::stores::{ACCOUNT, Authority, Gate, Sts, StsOptions, TokenIssuer};

const OPERATOR: &str = "system:serviceaccount:openshift-image-registry:cluster-image-registry-operator";
const REGISTRY: &str = "system:serviceaccount:openshift-image-registry:registry";

async fn before(infrastructure: &str) -> S3Cluster {
    store().await.create(infrastructure).await;
    cluster(infrastructure, json!({"s3": {"bucket": infrastructure}})).await
}

fn on_probe(world: &S3Cluster) -> Vec<String> {
    let asked = world.gate.asked();
    let of_probe = asked.iter().filter(|a| {
        let of_bucket = ["ListObjectsV2", "ListMultipartUploads", "DeleteObjects"];
        a.resource().1.starts_with(KEY) || of_bucket.contains(&a.operation().as_str())
    });
    of_probe.map(devcluster::stores::Asked::operation).collect()
}

// storage-decisions T14, T15
#[tokio::test]
async fn the_probe_does_what_the_registry_does_and_leaves_nothing() {
    let mut world = before("probe-l1").await;
    world.pass().await;
    let expected = [
        "PutObject",
        "GetObject",
        "ListObjectsV2",
        "CreateMultipartUpload",
        "ListMultipartUploads",
        "UploadPart",
        "ListParts",
        "CompleteMultipartUpload",
        "CopyObject",
        "GetObject",
        "CreateMultipartUpload",
        "UploadPartCopy",
        "AbortMultipartUpload",
        "DeleteObjects",
        "GetObject",
    ];
    assert_eq!(on_probe(&world), expected);
    assert_eq!(store().await.count("probe-l1").await, 0);
    assert!(world.running.is_some());
    // Nothing the pods would get has changed: nothing is tried.
    world.gate.forget();
    world.edit(json!({"replicas": 5}));
    world.pass().await;
    assert!(on_probe(&world).is_empty());
}

// storage-decisions T14
#[tokio::test]
async fn a_read_only_registry_is_tried_by_reading() {
    let mut world = before("probe-l2").await;
    world.read_only = true;
    world.pass().await;
    assert_eq!(on_probe(&world), ["ListObjectsV2", "GetObject"]);
    assert!(world.running.is_some());
}

// storage-decisions 18, T14, T17
#[tokio::test]
async fn each_right_that_is_missing_is_named_with_what_it_is_missing_on() {
    for (n, operation, action) in [
        (1, "PutObject", "s3:PutObject"),
        (2, "GetObject", "s3:GetObject"),
        (3, "ListObjectsV2", "s3:ListBucket"),
        (4, "CreateMultipartUpload", "s3:PutObject"),
        (5, "UploadPart", "s3:PutObject"),
        (6, "ListMultipartUploads", "s3:ListBucketMultipartUploads"),
        (7, "ListParts", "s3:ListMultipartUploadParts"),
        (8, "CompleteMultipartUpload", "s3:PutObject (CompleteMultipartUpload)"),
        (9, "CopyObject", "s3:PutObject (CopyObject)"),
        (10, "UploadPartCopy", "s3:PutObject (UploadPartCopy)"),
        (11, "AbortMultipartUpload", "s3:AbortMultipartUpload"),
        (12, "DeleteObjects", "s3:DeleteObject"),
    ] {
        let mut world = before(&format!("right-l3-{n}")).await;
        world
            .gate
            .plan(When::operation(operation), Fault::error(403, "AccessDenied"));
        let outcome = world.pass().await;
        let told = format!("{outcome:?}");
        assert!(
            told.contains(action) && told.contains("AccessDenied"),
            "{operation}: {told}"
        );
        assert!(world.running.is_none(), "{operation}: nothing reaches the pods");
    }
}

// storage-decisions T17
#[tokio::test]
async fn a_busy_store_has_refused_nothing() {
    let mut world = before("busy-l4").await;
    for fault in [Fault::slow_down(), Fault::error(400, "RequestTimeout")] {
        world.gate.pass();
        world.gate.plan(When::operation("PutObject"), fault);
        // Longer than a fresh key may be refused.
        for _ in 0..3 {
            world.later(std::time::Duration::from_mins(6));
            let outcome = world.pass().await;
            assert!(
                matches!(&outcome.preflight, Some(Preflight::Undecided(_))),
                "{:?}",
                outcome.preflight
            );
        }
    }
    assert!(world.running.is_none());
}

// storage-decisions T15
#[tokio::test]
async fn in_a_versioned_bucket_the_version_itself_is_deleted() {
    let mut world = before("versions-l5").await;
    store().await.version("versions-l5", "Enabled").await;
    world.pass().await;
    assert!(world.running.is_some());
    let (_, versions) = store().await.read("versions-l5", "versions").await;
    assert!(!versions.contains("_preflight"), "{versions}");
}

// storage-decisions T15
#[tokio::test]
async fn a_right_to_delete_versions_that_is_missing_is_only_a_note_on_unmanaged_storage() {
    let mut world = before("note-l6").await;
    store().await.version("note-l6", "Enabled").await;
    world.gate.plan(
        When::operation("DeleteObject").query("versionId"),
        Fault::error(403, "AccessDenied"),
    );
    world.pass().await;
    assert!(world.running.is_some());
    assert!(
        world.events().iter().any(|n| n.contains("s3:DeleteObjectVersion")),
        "{:?}",
        world.events()
    );
    assert_eq!(store().await.count("note-l6").await, 0, "hidden");
}

// storage-decisions T10, T15, T17: the operator could not remove what the bucket holds
#[tokio::test]
async fn a_right_to_delete_versions_that_is_missing_fails_the_preflight_of_managed_storage() {
    for (bucket, status, code) in [
        // As Amazon S3 answers for a bucket without Object Lock.
        ("versions-l15", 404, "ObjectLockConfigurationNotFoundError"),
        ("versions-l16", 501, "NotImplemented"),
    ] {
        store().await.create(bucket).await;
        store().await.version(bucket, "Enabled").await;
        let storage = json!({"s3": {"bucket": bucket}, "managementState": "Managed"});
        let mut world = cluster(bucket, storage).await;
        world.gate.rule(move |asked| match asked.operation().as_str() {
            "DeleteObject" if asked.parameter("versionId").is_some() => Fault::error(403, "AccessDenied"),
            "GetObjectLockConfiguration" => Fault::error(status, code),
            _ => Fault::Pass,
        });
        let mut preflight = None;
        for _ in 0..3 {
            preflight = world.pass().await.preflight;
            assert!(world.running.is_none(), "{:?}", world.events());
            // Longer than a fresh key may be refused.
            world.later(std::time::Duration::from_mins(6));
        }
        let Some(Preflight::Failed(told)) = &preflight else {
            panic!("{code}: {preflight:?}");
        };
        assert!(told.contains("s3:DeleteObjectVersion denied"), "{told}");
        world.gate.pass();
        world.converge().await;
        assert!(world.running.is_some());
    }
}

// storage-decisions T14b, T15: the registry that runs needs no such right
#[tokio::test]
async fn a_right_to_delete_versions_that_is_missing_keeps_no_change_from_storage_in_use() {
    let bucket = "versions-l17";
    store().await.create(bucket).await;
    let mut world = cluster(bucket, json!({"s3": {"bucket": bucket}, "managementState": "Managed"})).await;
    world.settle().await;
    store().await.version(bucket, "Enabled").await;
    world.gate.plan(
        When::operation("DeleteObject").query("versionId"),
        Fault::error(403, "AccessDenied"),
    );
    world.edit(json!({"storage": {"s3": {"chunkSizeMiB": 20}}}));
    let outcome = world.settle().await;
    assert!(outcome.preflight.is_none() && outcome.error.is_none());
    let size = S3Cluster::variable(&outcome, "REGISTRY_STORAGE_S3_CHUNKSIZE");
    assert!(size.is_some_and(|size| size.contains("20971520")));
    assert!(world.events().iter().any(|n| n.contains("s3:DeleteObjectVersion")));
}

// storage-decisions T15
#[tokio::test]
async fn a_request_whose_answer_was_lost_leaves_a_record_until_what_it_made_is_gone() {
    // The client tries four times.
    for (operation, times) in [
        ("PutObject", 1),
        ("PutObject", 4),
        ("CreateMultipartUpload", 1),
        ("CreateMultipartUpload", 4),
    ] {
        let bucket = format!("lost-l12-{}-{times}", operation.to_lowercase());
        let mut world = before(&bucket).await;
        store().await.version(&bucket, "Enabled").await;
        world
            .gate
            .plan(When::operation(operation).times(times), Fault::LoseAnswer);
        world.pass().await;
        assert!(world.recorded_probe().is_some(), "{operation}");
        world.gate.pass();
        world.converge().await;
        assert!(
            world.recorded_probe().is_none() && world.running.is_some(),
            "{operation}"
        );
        for listing in ["versions", "uploads"] {
            let (_, listed) = store().await.read(&bucket, listing).await;
            assert!(!listed.contains("_preflight"), "{operation}: {listed}");
        }
    }
}

// storage-decisions T14
#[tokio::test]
async fn with_encryption_the_probe_asks_for_it_as_the_registry_would() {
    let storage = json!({"s3": {"bucket": "sse-l7", "encrypt": true, "keyID": "users-key"}});
    store().await.create("sse-l7").await;
    let mut world = cluster("sse-l7", storage).await;
    world.pass().await;
    let asked = world.gate.asked();
    let puts = asked
        .iter()
        .filter(|a| ["PutObject", "CreateMultipartUpload", "CopyObject"].contains(&a.operation().as_str()));
    let headers: Vec<_> = puts
        .map(|a| {
            (
                a.header("x-amz-server-side-encryption"),
                a.header("x-amz-server-side-encryption-aws-kms-key-id"),
            )
        })
        .collect();
    assert_eq!(headers, [(Some("aws:kms"), Some("users-key")); 4]);
}

// storage-decisions T14: its headers
#[tokio::test]
async fn a_key_without_encryption_is_sent_as_the_registry_sends_it() {
    store().await.create("key-l10").await;
    let mut world = cluster("key-l10", json!({"s3": {"bucket": "key-l10", "keyID": "users-key"}})).await;
    let refuse = |asked: &devcluster::stores::Asked| {
        let named = asked.header("x-amz-server-side-encryption-aws-kms-key-id") == Some("users-key");
        let asks = asked.header("x-amz-server-side-encryption").is_some();
        // As S3 does.
        match asked.operation().as_str() {
            "PutObject" | "CreateMultipartUpload" if named && !asks => Fault::error(400, "InvalidArgument"),
            _ => Fault::Pass,
        }
    };
    world.gate.rule(refuse);
    let outcome = world.pass().await;
    let told = format!("{:?}", outcome.preflight);
    for part in ["s3:PutObject failed", "InvalidArgument", "spec.storage.s3.keyID"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(world.running.is_none(), "its pushes would fail");
    // Settings of a Managed bucket are tried out without the key until the bucket encrypts with it.
    world.edit(json!({"storage": {"managementState": "Managed"}}));
    world.settle().await;
    assert_eq!(world.condition("StorageEncrypted"), "True/Encryption Successful");
    assert!(world.running.is_some());
}

// issue 10, row 14
#[tokio::test]
async fn a_store_without_encryption_is_told_by_the_field_that_asks_for_it() {
    for (n, status, code) in [(1, 400, "InvalidArgument"), (2, 501, "NotImplemented")] {
        let bucket = format!("no-sse-l13-{n}");
        store().await.create(&bucket).await;
        let mut world = cluster(&bucket, json!({"s3": {"bucket": bucket, "encrypt": true}})).await;
        world.gate.rule(move |asked| {
            let refused = asked.header("x-amz-server-side-encryption").is_some();
            let answer = Reply::error(status, code, ""); // As MinIO answers without a KMS.
            if refused { Fault::Answer(answer) } else { Fault::Pass }
        });
        let told = format!("{:?}", world.pass().await.preflight);
        for part in ["s3:PutObject failed", code, "spec.storage.s3.encrypt"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(world.running.is_none(), "its pushes would fail");
        world.edit(json!({"storage": {"s3": {"encrypt": false}}}));
        world.settle().await;
        assert!(world.running.is_some());
    }
}

// issue 10, row 15
#[tokio::test]
async fn a_403_that_is_about_no_right_is_told_at_once_with_its_cause() {
    for (n, operation, code, cause) in [
        (1, "PutObject", "QuotaExceeded", "quota"),
        (2, "CreateMultipartUpload", "QuotaExceeded", "quota"),
        (3, "UploadPart", "QuotaExceeded", "quota"),
        (4, "PutObject", "RequestTimeTooSkewed", "clocks"),
        (5, "ListObjectsV2", "RequestTimeTooSkewed", "clocks"),
        (6, "GetObject", "UserSuspended", "disabled"),
    ] {
        let mut world = before(&format!("cause-l14-{n}")).await;
        // Ceph RGW sends no message.
        let answer = Reply::error(403, code, "");
        world.gate.plan(When::operation(operation), Fault::Answer(answer));
        let outcome = world.pass().await;
        let Some(Preflight::Failed(told)) = &outcome.preflight else {
            panic!("{code} at {operation}: {:?}", outcome.preflight);
        };
        assert!(told.contains("failed on") && told.contains(code), "{told}");
        assert!(
            told.contains(cause) && !told.contains("keys") && !told.contains("denied"),
            "{told}"
        );
        world.gate.pass();
        world.later(std::time::Duration::from_mins(6));
        world.settle().await;
        assert!(world.running.is_some());
    }
}

// storage-decisions 18
#[tokio::test]
async fn keys_without_the_right_to_write_are_found_out_with_a_real_policy() {
    let mut world = before("policy-l8").await;
    world.settle().await;
    let running = world.running.clone();
    let moto = moto().await;
    let statements = json!([
        {"Effect": "Allow", "Action": ["s3:HeadBucket", "s3:ListBucket", "s3:GetObject"], "Resource": "*"},
    ]);
    let reader = moto.user("reader-l8", &statements).await.unwrap();
    world.set_credentials(&reader);
    let outcome = world.pass().await;
    assert!(format!("{outcome:?}").contains("s3:PutObject"));
    assert_eq!(world.running, running, "the pods keep the old keys");
}

// storage-decisions T15, T17
#[tokio::test]
async fn a_probe_is_not_given_up_while_keys_are_missing_or_too_fresh() {
    let mut world = before("patience-l11").await;
    world.die_after("PutObject").await;
    let keys = world.keys.clone();
    world.remove_object(Kind::Secret, names::USER_SECRET);
    world.pass().await;
    assert!(world.recorded_probe().is_some(), "{:?}", world.events());
    world.set_credentials(&keys);
    world.gate.rule(|_| Fault::error(403, "InvalidAccessKeyId"));
    world.later(std::time::Duration::from_mins(1));
    world.pass().await;
    assert!(world.recorded_probe().is_some(), "{:?}", world.events());
    world.gate.pass();
    world.later(std::time::Duration::from_mins(1));
    world.settle().await;
    assert_eq!(
        (store().await.count("patience-l11").await, world.recorded_probe()),
        (0, None)
    );
    assert!(world.events().iter().all(|n| !n.starts_with("ProbeLeftBehind")));
}

// storage-decisions T10, T15
#[tokio::test]
async fn in_a_bucket_with_suspended_versioning_no_delete_marker_of_a_probe_stays() {
    let bucket = "suspended-l16";
    let mut world = before(bucket).await;
    store().await.version(bucket, "Suspended").await;
    world.die_after("PutObject").await;
    assert_eq!(store().await.count(bucket).await, 1);
    // moto inserts no delete marker here. Amazon S3 does at each deletion without a version, and it replaces version `null`.
    let marker = Arc::new(AtomicBool::new(false));
    world.gate.rule({
        let marker = marker.clone();
        move |asked| {
            let version = asked.parameter("versionId").is_some();
            match asked.operation().as_str() {
                "DeleteObject" if version && marker.swap(false, Ordering::Relaxed) => {
                    Fault::Answer(Reply::new(204, "").header("x-amz-delete-marker", "true"))
                }
                "DeleteObject" if !version => {
                    marker.store(true, Ordering::Relaxed);
                    Fault::Pass
                }
                "ListObjectVersions" if marker.load(Ordering::Relaxed) => {
                    let listed = format!(
                        "<ListVersionsResult><IsTruncated>false</IsTruncated><DeleteMarker><Key>{KEY}</Key>\
                         <VersionId>null</VersionId><IsLatest>true</IsLatest></DeleteMarker></ListVersionsResult>"
                    );
                    Fault::Answer(Reply::new(200, &listed).header("content-type", "application/xml"))
                }
                _ => Fault::Pass,
            }
        }
    });
    world.gate.forget();
    world.later(std::time::Duration::from_mins(1));
    world.clear_probes().await;
    let expected = [
        "ListObjectVersions",
        "DeleteObject",
        "ListObjectVersions",
        "DeleteObject",
        "ListMultipartUploads",
    ];
    assert_eq!(world.gate.operations(), expected);
    assert!(!marker.load(Ordering::Relaxed), "the delete marker is gone");
    let (_, listed) = store().await.read(bucket, "versions").await;
    assert!(!listed.contains("_preflight"), "{listed}");
    assert_eq!(world.recorded_probe(), None);
}

/// An operator that is a role by a token, with the STS that it asks, and a gate before that.
struct ByToken {
    world: S3Cluster,
    sts: Sts,
    before_sts: Gate,
    role: String,
    _root: tempfile::TempDir,
}

impl ByToken {
    /// The role trusts the operator.
    async fn new(infrastructure: &str) -> Self {
        let moto = moto().await;
        let issuer = TokenIssuer::new().unwrap();
        let authority = Authority::new("ca-of-sts").unwrap();
        let options = StsOptions {
            authority: authority.clone(),
            names: Vec::new(),
            key: issuer.key().unwrap(),
            address: None,
        };
        let sts = Sts::start(moto, options).unwrap();
        let before_sts = Gate::start(sts.target(), Some(&authority), &[]).unwrap();
        let statements = json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]);
        let role = moto.role(ACCOUNT, infrastructure, &statements).await.unwrap();
        sts.trust(&role, OPERATOR);
        let mut world = cluster(infrastructure, json!({"s3": {}})).await;
        world.set_service("sts", &before_sts.url());
        // The registry, which has one endpoint for everything, asks there for STS.
        world.gate.plan(
            When::operation("AssumeRoleWithWebIdentity"),
            Fault::To(before_sts.target().clone()),
        );
        world.add(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "kube-cloud-config", "namespace": "openshift-config-managed"},
            "data": {"ca-bundle.pem": authority.pem()},
        }));
        let root = tempfile::tempdir().unwrap();
        let file = "/var/run/secrets/openshift/serviceaccount/token";
        let path = root.path().join(file.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, issuer.token(OPERATOR, "openshift", 600).unwrap()).unwrap();
        world.set_tokens(root.path(), &issuer.token(REGISTRY, "openshift", 600).unwrap());
        world.set_minted(&format!(
            "[default]\nsts_regional_endpoints = regional\nrole_arn = {role}\nweb_identity_token_file = {file}\n"
        ));
        Self {
            world,
            sts,
            before_sts,
            role,
            _root: root,
        }
    }
}

// storage-decisions T14: as whom
#[tokio::test]
async fn with_web_identity_the_probe_is_the_registrys_and_not_the_operators() {
    let lab = &mut ByToken::new("identity-m1").await;
    let world = &mut lab.world;
    let outcome = world.pass().await;
    assert_eq!(world.state(), Some("Managed"), "the operator may: {:?}", outcome.error);
    let told = format!("{:?}", outcome.preflight);
    assert!(told.contains("sts:AssumeRoleWithWebIdentity"), "{told}");
    assert!(world.running.is_none());
    assert_eq!(world.tokens(), ["openshift"]);
    lab.sts.trust(&lab.role, REGISTRY);
    world.later(std::time::Duration::from_mins(6));
    let outcome = world.pass().await;
    assert!(world.running.is_some(), "{:?} {:?}", outcome.preflight, outcome.error);
}

// storage-decisions T14: its path
#[tokio::test]
async fn with_an_endpoint_the_registry_asks_there_for_sts_and_so_does_the_trial() {
    let lab = &mut ByToken::new("onedoor-m3").await;
    lab.sts.trust(&lab.role, REGISTRY);
    let world = &mut lab.world;
    world.gate.pass();
    world.gate.plan(
        When::operation("AssumeRoleWithWebIdentity"),
        Fault::error(405, "MethodNotAllowed"),
    );
    let outcome = world.pass().await;
    let told = format!("{:?}", outcome.preflight);
    for part in ["no setting for STS", &world.gate.url(), "sts:AssumeRoleWithWebIdentity"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(world.running.is_none(), "nothing reaches the pods");
}

// storage-decisions T2: what STS does not find or know is not what the store does not find or know
#[tokio::test]
async fn what_sts_says_is_never_taken_for_what_the_store_says() {
    let mut lab = ByToken::new("nosts-m2").await;
    lab.sts.trust(&lab.role, REGISTRY);
    lab.world.settle().await;
    let name = lab.world.generated();
    store().await.put(&name, "image").await;
    lab.world.edit(json!({"managementState": "Removed"}));
    for (status, code) in [
        (404, "NotFound"),
        (501, "NotImplemented"),
        (403, "AccessDenied"),
        (400, "InvalidIdentityToken"),
    ] {
        lab.before_sts.pass();
        lab.before_sts.plan(
            When::any(),
            Fault::Answer(devcluster::stores::Reply::query_error(status, code, "no")),
        );
        lab.world.restart();
        lab.world.gate.forget();
        let outcome = lab.world.pass().await;
        assert!(!outcome.done && outcome.error.is_some(), "{code}");
        assert!(lab.world.condition("StorageExists").starts_with("Unknown/"), "{code}");
        assert!(lab.world.gate.operations().is_empty(), "{code}");
        assert_eq!(lab.world.status()["s3"]["bucket"], json!(name));
    }
    lab.before_sts.pass();
    assert!(lab.world.converge().await.done);
}
