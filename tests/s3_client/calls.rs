//! Every call, on real stores that check signatures.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
};
use devcluster::stores::{Authority, Moto, MotoOptions, Seaweed, SeaweedOptions};
use image_registry_operator::storage::model::call::Cause;
use image_registry_operator::storage::s3api::client::{Bucket, Encryption, Entry, ObjectEncryption, Rule, Tag};

use crate::bench::{Access, Bench};

fn tag(key: &str, value: &str) -> Tag {
    Tag {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn rule(id: &str, prefix: &str) -> LifecycleRule {
    let filter = LifecycleRuleFilter::builder().prefix(prefix).build();
    let rule = LifecycleRule::builder()
        .id(id)
        .status(ExpirationStatus::Enabled)
        .filter(filter);
    let rule = match prefix {
        "" => rule.abort_incomplete_multipart_upload(
            AbortIncompleteMultipartUpload::builder()
                .days_after_initiation(1)
                .build(),
        ),
        _ => rule.expiration(LifecycleExpiration::builder().days(30).build()),
    };
    rule.build().unwrap()
}

async fn birth(bucket: &Bucket) {
    let missing = bucket.head().await.unwrap_err();
    assert!(missing.is_missing(), "{missing}");
    assert_eq!(missing.code, "NotFound");
    bucket.create().await.unwrap();
    bucket.head().await.unwrap();
    let again = bucket.create().await.unwrap_err();
    assert!(again.code.starts_with("BucketAlready"), "{again}");
}

async fn settings(bucket: &Bucket) {
    assert_eq!(bucket.tags().await.unwrap(), []);
    let tags = [
        tag("kubernetes.io/cluster/tinfra", "owned"),
        tag("Team", "blue + green"),
    ];
    bucket.put_tags(&tags).await.unwrap();
    let mut found = bucket.tags().await.unwrap();
    found.sort_by(|a, b| b.key.cmp(&a.key));
    assert_eq!(found, tags);

    assert_eq!(bucket.lifecycle().await.unwrap(), []);
    let rules = [rule("ours", ""), rule("theirs", "logs/")].map(Rule);
    bucket.put_lifecycle(&rules).await.unwrap();
    assert_eq!(bucket.lifecycle().await.unwrap().len(), 2);
}

async fn encryption(bucket: &Bucket) {
    assert_eq!(bucket.encryption().await.unwrap(), None);
    let kms = Encryption {
        algorithm: "aws:kms".to_owned(),
        key: Some("testKey".to_owned()),
        bucket_key: true,
    };
    bucket.put_encryption(&kms).await.unwrap();
    assert_eq!(bucket.encryption().await.unwrap(), Some(kms));
    bucket.delete_encryption().await.unwrap();
    assert_eq!(bucket.encryption().await.unwrap(), None);
}

async fn objects(bucket: &Bucket, encryption: &ObjectEncryption) {
    let body = b"a layer".to_vec();
    for key in ["docker/a b+c&d", "docker/ü", "other"] {
        bucket.put(key, body.clone(), encryption).await.unwrap();
        assert_eq!(bucket.get(key).await.unwrap(), body, "{key}");
    }
    let found = bucket.objects("docker/", 1000).await.unwrap();
    let keys: Vec<_> = found.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!((keys, found.more), (vec!["docker/a b+c&d", "docker/ü"], false));
    let page = bucket.objects("", 1).await.unwrap();
    assert_eq!((page.entries.len(), page.more), (1, true));

    bucket.delete_object("docker/ü", None).await.unwrap();
    let gone = bucket.get("docker/ü").await.unwrap_err();
    assert_eq!(
        (gone.code.as_str(), gone.resource.as_str()),
        ("NoSuchKey", "images/docker/ü")
    );

    let upload = bucket.begin_upload("docker/large", encryption).await.unwrap();
    bucket.upload_part(&upload, 1, body).await.unwrap();
    assert_eq!(bucket.parts(&upload).await.unwrap(), [7]);
    assert_eq!(bucket.uploads("docker/").await.unwrap(), (vec![upload.clone()], false));
    bucket.abort(&upload).await.unwrap();
    assert_eq!(bucket.uploads("docker/").await.unwrap(), (vec![], false));
}

async fn death(bucket: &Bucket) {
    let full = bucket.delete_bucket().await.unwrap_err();
    assert_eq!((full.code.as_str(), full.cause), ("BucketNotEmpty", Cause::Answer(409)));
    let left = bucket.versions(1000).await.unwrap();
    assert!(!left.entries.is_empty() && !left.more);
    let by_key = left.entries.into_iter().map(|entry| Entry { version: None, ..entry });
    assert_eq!(bucket.delete(&by_key.collect::<Vec<_>>()).await.unwrap().refused, []);
    assert_eq!(bucket.delete(&[]).await.unwrap().refused, []);
    bucket.delete_bucket().await.unwrap();
    let gone = bucket.delete_bucket().await.unwrap_err();
    assert_eq!(gone.code, "NoSuchBucket");
}

#[tokio::test]
async fn moto_with_authorisation_understands_every_call() {
    let moto = Moto::start(MotoOptions {
        authorisation: true,
        ..MotoOptions::default()
    })
    .await
    .unwrap();
    let bench = Bench::new();
    let bucket = bench.bucket(&Access::at(&moto.url()).with_keys(moto.admin()));
    birth(&bucket).await;
    settings(&bucket).await;
    assert!(!bucket.is_private().await.unwrap());
    bucket.make_private().await.unwrap();
    assert!(bucket.is_private().await.unwrap());
    encryption(&bucket).await;
    objects(&bucket, &ObjectEncryption::Aes256).await;
    death(&bucket).await;
    assert!(bench.waited().is_empty(), "nothing had to be asked twice");
}

#[tokio::test]
async fn seaweed_over_tls_understands_every_call_but_the_public_access_block() {
    let authority = Authority::new("seaweed").unwrap();
    let seaweed = Seaweed::start(SeaweedOptions {
        authority: Some(authority.clone()),
        ..SeaweedOptions::default()
    })
    .await
    .unwrap();
    let bench = Bench::new();
    let access = Access::at(&seaweed.url())
        .with_keys(seaweed.admin())
        .trusting(&authority);
    let bucket = bench.bucket(&access);
    birth(&bucket).await;
    settings(&bucket).await;
    let unknown = bucket.make_private().await.unwrap_err();
    assert!(unknown.is_unsupported(), "{unknown}");
    objects(&bucket, &ObjectEncryption::Default).await;
    death(&bucket).await;
}

#[tokio::test]
async fn versions_and_delete_markers_are_listed_and_deleted_one_by_one() {
    let moto = Moto::start(MotoOptions::default()).await.unwrap();
    let bench = Bench::new();
    let bucket = bench.bucket(&Access::at(&moto.url()));
    bucket.create().await.unwrap();
    let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let call = devcluster::stores::Call::new(hyper::Method::PUT, "/images?versioning").body(versioning.as_bytes());
    let call = call.signed(moto.admin(), "s3", "eu-west-1");
    moto.target().call(call).await.unwrap().good().unwrap();

    let first = bucket
        .put("key", b"1".to_vec(), &ObjectEncryption::Default)
        .await
        .unwrap();
    let second = bucket
        .put("key", b"2".to_vec(), &ObjectEncryption::Default)
        .await
        .unwrap();
    assert!(first.is_some() && second.is_some() && first != second);
    bucket.delete_object("key", None).await.unwrap();
    let found = bucket.versions_under("ke", 10).await.unwrap().entries;
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found.iter().filter(|entry| entry.marker && entry.latest).count(), 1);
    assert_eq!(bucket.versions_under("other", 10).await.unwrap().entries, []);

    bucket.delete_object("key", first.as_deref()).await.unwrap();
    let rest = bucket.versions(10).await.unwrap().entries;
    assert_eq!(rest.len(), 2);
    assert_eq!(bucket.delete(&rest).await.unwrap().refused, []);
    assert_eq!(bucket.versions(10).await.unwrap().entries, []);
    bucket.delete_bucket().await.unwrap();
}
