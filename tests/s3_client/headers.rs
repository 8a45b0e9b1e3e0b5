//! What requests carry.

use std::collections::BTreeSet;

use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule, LifecycleRuleFilter};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devcluster::stores::{Asked, Authority, Gate, Moto, MotoOptions, Reply};
use image_registry_operator::storage::s3api::client::{Bucket, Encryption, Entry, ObjectEncryption, Rule, Tag, Upload};
use md5::{Digest as _, Md5};

use crate::bench::{Access, Bench, VERSION, answering, ok};
use crate::identity::{caller, role, session};

const ACCOUNT: &str = "123456789012";
const PUBLIC: [&str; 3] = [
    "s3.dualstack.us-west-2.amazonaws.com",
    "*.s3.dualstack.us-west-2.amazonaws.com",
    "sts.us-west-2.amazonaws.com",
];

fn lifecycle() -> [Rule; 1] {
    let rule = LifecycleRule::builder()
        .id("theirs")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("logs/").build())
        .expiration(aws_sdk_s3::types::LifecycleExpiration::builder().days(30).build());
    [Rule(rule.build().unwrap())]
}

fn entry(key: &str) -> Entry {
    Entry {
        key: key.to_owned(),
        version: None,
        latest: true,
        marker: false,
    }
}

fn aes() -> Encryption {
    Encryption {
        algorithm: "AES256".to_owned(),
        key: None,
        bucket_key: true,
    }
}

/// Settings and deletions: the calls whose body has to have a checksum.
async fn checked(bucket: &Bucket) {
    let tags = [Tag {
        key: "Name".to_owned(),
        value: "tinfra-image-registry".to_owned(),
    }];
    bucket.put_tags(&tags).await.unwrap();
    bucket.make_private().await.unwrap();
    bucket.put_encryption(&aes()).await.unwrap();
    bucket.put_lifecycle(&lifecycle()).await.unwrap();
    bucket.delete(&[entry("key")]).await.unwrap();
}

fn newer_checksums(asked: &Asked) -> Vec<&str> {
    let names = asked.headers.keys().map(http::HeaderName::as_str);
    names
        .filter(|name| {
            name.starts_with("x-amz-checksum")
                || ["x-amz-sdk-checksum-algorithm", "x-amz-trailer", "trailer"].contains(name)
        })
        .collect()
}

// storage-decisions T14a
#[tokio::test]
async fn bodies_that_need_a_checksum_carry_md5_and_no_other() {
    let moto = Moto::start(MotoOptions {
        authorisation: true,
        ..MotoOptions::default()
    })
    .await
    .unwrap();
    let gate = Gate::start(moto.target(), None, &[]).unwrap();
    let bench = Bench::new();
    let bucket = bench.bucket(&Access::at(&gate.url()).with_keys(moto.admin()));
    bucket.create().await.unwrap();
    bucket
        .put("key", b"body".to_vec(), &ObjectEncryption::Default)
        .await
        .unwrap();
    let upload = bucket.begin_upload("large", &ObjectEncryption::Default).await.unwrap();
    bucket.upload_part(&upload, 1, b"part".to_vec()).await.unwrap();
    bucket.get("key").await.unwrap();
    checked(&bucket).await;

    for asked in gate.asked() {
        let operation = asked.operation();
        assert_eq!(newer_checksums(&asked), [""; 0], "{operation}");
        assert_eq!(asked.header("content-encoding"), None, "{operation}");
        assert_eq!(asked.header("x-amz-checksum-mode"), None, "{operation}");
        let needs = [
            "PutObject",
            "UploadPart",
            "DeleteObjects",
            "PutBucketTagging",
            "PutPublicAccessBlock",
            "PutBucketEncryption",
            "PutBucketLifecycleConfiguration",
        ];
        let expected = needs
            .contains(&operation.as_str())
            .then(|| STANDARD.encode(Md5::digest(&asked.body)));
        assert_eq!(asked.header("content-md5"), expected.as_deref(), "{operation}");
        if expected.is_some() {
            let signed = asked.header("authorization").unwrap();
            assert!(signed.contains("content-md5"), "{operation}: {signed}");
        }
    }
    assert_eq!(
        gate.asked()
            .iter()
            .filter(|a| a.header("content-md5").is_some())
            .count(),
        7
    );
}

// storage-s3 46
#[tokio::test]
async fn every_request_names_the_operator_and_its_version() {
    let bench = Bench::new();
    let expiry = bench.expiry(60);
    let gate = answering(None, &[], move |asked| match asked.operation().as_str() {
        "AssumeRoleWithWebIdentity" => session("ASIATEST", &expiry),
        _ => ok(),
    });
    let mut access = Access::at(&gate.url());
    access.effective.sts_endpoint = Some(gate.url());
    let bucket = bench.bucket(&role(access));
    bucket.head().await.unwrap();
    bucket.delete_bucket().await.unwrap();
    let product = format!("openshift.io cluster-image-registry-operator/{VERSION}");
    assert_eq!(
        gate.operations(),
        ["AssumeRoleWithWebIdentity", "HeadBucket", "DeleteBucket"]
    );
    for asked in gate.asked() {
        let agent = asked.header("user-agent").unwrap();
        assert!(agent.starts_with("aws-sdk-rust/"), "{agent}");
        assert!(agent.ends_with(&format!(" {product}")), "{agent}");
        assert_eq!(asked.headers.get_all("user-agent").iter().count(), 1);
    }
}

/// All that changes something; answers that are none are no matter here.
async fn change_everything(bucket: &Bucket) {
    let upload = Upload {
        key: "large".to_owned(),
        id: "id".to_owned(),
    };
    let none = ObjectEncryption::Default;
    bucket.create().await.unwrap();
    bucket.put_tags(&[]).await.unwrap();
    bucket.make_private().await.unwrap();
    bucket.put_encryption(&aes()).await.unwrap();
    bucket.delete_encryption().await.unwrap();
    bucket.put_lifecycle(&lifecycle()).await.unwrap();
    let _ = bucket.delete(&[entry("key")]).await;
    bucket.abort(&upload).await.unwrap();
    bucket.put("key", Vec::new(), &none).await.unwrap();
    bucket.delete_object("key", None).await.unwrap();
    let _ = bucket.begin_upload("large", &none).await;
    bucket.upload_part(&upload, 1, Vec::new()).await.unwrap();
    bucket.delete_bucket().await.unwrap();
}

async fn read_everything(bucket: &Bucket) {
    bucket.head().await.unwrap();
    let _ = bucket.tags().await;
    let _ = bucket.is_private().await;
    let _ = bucket.encryption().await;
    let _ = bucket.lifecycle().await;
    let _ = bucket.versions(1).await;
    let _ = bucket.objects("", 1).await;
    let _ = bucket.uploads("").await;
    let _ = bucket.get("key").await;
}

fn owners(gate: &Gate) -> Vec<(String, Option<String>)> {
    let all = gate.asked();
    let s3 = all.iter().filter(|asked| asked.operation() != "GetCallerIdentity");
    s3.map(|asked| {
        let owner = asked.header("x-amz-expected-bucket-owner");
        (asked.operation(), owner.map(str::to_owned))
    })
    .collect()
}

fn aws(authority: &Authority, account: Reply) -> Gate {
    answering(Some(authority), &PUBLIC, move |asked| {
        match asked.operation().as_str() {
            "GetCallerIdentity" => account.clone(),
            _ => ok(),
        }
    })
}

fn on_aws(gate: &Gate) -> Bench {
    let at = gate.target().address;
    Bench::new().knowing(&[(PUBLIC[0], at), (PUBLIC[2], at)])
}

// storage-decisions T2
#[tokio::test]
async fn calls_that_change_managed_storage_on_aws_name_the_account_that_owns_it() {
    let authority = Authority::new("aws").unwrap();
    let gate = aws(&authority, caller(ACCOUNT));
    let bench = on_aws(&gate);
    let mut access = Access::public("us-west-2").trusting(&authority);
    access.pin_owner = true;
    let bucket = bench.bucket(&access);
    change_everything(&bucket).await;
    let carried = owners(&gate);
    let operations: BTreeSet<_> = carried.iter().map(|(operation, _)| operation).collect();
    assert_eq!(operations.len(), 13, "{operations:?}");
    for (operation, owner) in carried {
        assert_eq!(owner.as_deref(), Some(ACCOUNT), "{operation}");
    }
    let signed = gate.asked().last().unwrap().header("authorization").unwrap().to_owned();
    assert!(signed.contains("x-amz-expected-bucket-owner"), "{signed}");

    gate.forget();
    read_everything(&bucket).await;
    // Another connection of the same identity: the account is known.
    bench.bucket(&access).delete_bucket().await.unwrap();
    let carried = owners(&gate);
    assert_eq!(carried.len(), gate.asked().len(), "the account is asked for once");
    for (operation, owner) in carried {
        assert_eq!(owner.is_some(), operation == "DeleteBucket", "{operation}");
    }
}

#[tokio::test]
async fn nothing_names_an_account_that_is_not_managed_by_us_or_not_of_aws() {
    let authority = Authority::new("aws").unwrap();
    let gate = aws(&authority, caller(ACCOUNT));
    let bench = on_aws(&gate);
    let mut access = Access::public("us-west-2").trusting(&authority);
    change_everything(&bench.bucket(&access)).await;
    access.pin_owner = true;
    access.effective.endpoint = Some(gate.url());
    let bucket = bench.bucket(&access);
    change_everything(&bucket).await;
    for (operation, owner) in owners(&gate) {
        assert_eq!(owner, None, "{operation}");
    }
    assert!(!gate.operations().contains(&"GetCallerIdentity".to_owned()));
}

#[tokio::test]
async fn an_account_that_cannot_be_known_holds_nothing_up_and_is_not_asked_for_each_time() {
    let authority = Authority::new("aws").unwrap();
    let gate = aws(&authority, Reply::query_error(503, "ServiceUnavailable", "later"));
    let bench = on_aws(&gate);
    let mut access = Access::public("us-west-2").trusting(&authority);
    access.pin_owner = true;
    let bucket = bench.bucket(&access);
    change_everything(&bucket).await;
    assert!(owners(&gate).iter().all(|(_, owner)| owner.is_none()));
    let asked = || gate.operations().iter().filter(|o| *o == "GetCallerIdentity").count();
    assert_eq!(asked(), 1);
    bench.pass(std::time::Duration::from_mins(11));
    bucket.delete_bucket().await.unwrap();
    assert_eq!(asked(), 2);
}

#[tokio::test]
async fn a_store_that_does_not_know_the_owner_at_creation_gets_the_request_without_it() {
    let authority = Authority::new("aws").unwrap();
    let gate = answering(Some(&authority), &PUBLIC, move |asked| {
        match (asked.operation().as_str(), asked.header("x-amz-expected-bucket-owner")) {
            ("GetCallerIdentity", _) => caller(ACCOUNT),
            ("CreateBucket", Some(_)) => {
                Reply::error(501, "NotImplemented", "A header implies what is not implemented")
            }
            _ => ok(),
        }
    });
    let bench = on_aws(&gate);
    let mut access = Access::public("us-west-2").trusting(&authority);
    access.pin_owner = true;
    bench.bucket(&access).create().await.unwrap();
    let expected = [Some(ACCOUNT.to_owned()), None].map(|owner| ("CreateBucket".to_owned(), owner));
    assert_eq!(owners(&gate), expected);
}
