//! Where requests go.

use devcluster::stores::{Authority, Gate, Moto, MotoOptions, Seaweed, SeaweedOptions};
use image_registry_operator::storage::s3api::client::{Bucket, Encryption, Entry, ObjectEncryption, Upload};

use crate::bench::{Access, Bench, answering, ok};

fn asked(gate: &Gate) -> Vec<String> {
    gate.asked().iter().map(devcluster::stores::Asked::url).collect()
}

// storage-s3 10
#[tokio::test]
async fn at_a_custom_endpoint_the_bucket_is_in_the_path_unless_the_host_is_asked_for() {
    let gate = answering(None, &[], |_| ok());
    let port = gate.target().address.port();
    let bench = Bench::new().knowing(&[("s3.test.example", gate.target().address)]);
    let mut access = Access::at(&format!("http://s3.test.example:{port}"));
    bench.bucket(&access).head().await.unwrap();
    access.effective.virtual_hosted = true;
    bench.bucket(&access).head().await.unwrap();
    let expected = [
        format!("http://s3.test.example:{port}/images"),
        format!("http://images.s3.test.example:{port}/"),
    ];
    assert_eq!(asked(&gate), expected);
}

#[tokio::test]
async fn a_bucket_with_dots_is_in_the_path_where_its_host_would_have_no_certificate() {
    let authority = Authority::new("dots").unwrap();
    let gate = answering(Some(&authority), &[], |_| ok());
    let port = gate.target().address.port();
    let bench = Bench::new().knowing(&[("s3.test.example", gate.target().address)]);
    let mut access = Access::at(&format!("https://s3.test.example:{port}"))
        .trusting(&authority)
        .named("my.images");
    access.effective.virtual_hosted = true;
    bench.bucket(&access).head().await.unwrap();
    assert_eq!(asked(&gate), [format!("https://s3.test.example:{port}/my.images")]);
}

/// Every operation of the client, at least once.
async fn ask_everything(bucket: &Bucket) {
    let upload = Upload {
        key: KEY.to_owned(),
        id: "id".to_owned(),
    };
    let entry = |key: &str| Entry {
        key: key.to_owned(),
        version: None,
        latest: true,
        marker: false,
    };
    let aes = Encryption {
        algorithm: "AES256".to_owned(),
        key: None,
        bucket_key: true,
    };
    let none = ObjectEncryption::Default;
    // What the answers mean does not matter here.
    let _ = bucket.head().await;
    let _ = bucket.create().await;
    let _ = bucket.tags().await;
    let _ = bucket.put_tags(&[]).await;
    let _ = bucket.is_private().await;
    let _ = bucket.make_private().await;
    let _ = bucket.encryption().await;
    let _ = bucket.put_encryption(&aes).await;
    let _ = bucket.delete_encryption().await;
    let _ = bucket.lifecycle().await;
    let _ = bucket.put_lifecycle(&[]).await;
    let _ = bucket.versions(1).await;
    let _ = bucket.objects("", 1).await;
    let _ = bucket.uploads("").await;
    let _ = bucket.delete(&[entry("a")]).await;
    let _ = bucket.put(KEY, Vec::new(), &none).await;
    let _ = bucket.get(KEY).await;
    let _ = bucket.begin_upload(KEY, &none).await;
    let _ = bucket.upload_part(&upload, 1, Vec::new()).await;
    let _ = bucket.parts(&upload).await;
    let _ = bucket.abort(&upload).await;
    let _ = bucket.delete_object(KEY, None).await;
    let _ = bucket.delete_bucket().await;
}

const KEY: &str = "docker/a b+c/_x:y";
const WRITTEN: &str = "docker/a%20b%2Bc/_x%3Ay";

// storage-decisions 24
#[tokio::test]
async fn every_operation_asks_below_the_path_of_the_endpoint_as_the_registry_does() {
    let gate = answering(None, &[], |_| ok());
    let port = gate.target().address.port();
    let bench = Bench::new().knowing(&[("s3.test.example", gate.target().address)]);
    for (path, host_style, bucket, host, expected) in [
        ("", false, "images", "", "/images"),
        ("/storage/v1/s3", false, "images", "", "/storage/v1/s3/images"),
        ("/s3", false, "test_bucket", "", "/s3/test_bucket"),
        ("/s3", false, "tenant:bucket", "", "/s3/tenant%3Abucket"),
        ("/s3", true, "images", "images.", "/s3"),
        ("/s3", true, "test_bucket", "", "/s3/test_bucket"),
        ("", true, "images--x-s3", "images--x-s3.", ""),
        ("", true, "my.images", "my.images.", ""),
    ] {
        gate.forget();
        let mut access = Access::at(&format!("http://s3.test.example:{port}{path}")).named(bucket);
        access.effective.virtual_hosted = host_style;
        // storage-decisions 29
        access.effective.region = "test_region".to_owned();
        ask_everything(&bench.bucket(&access)).await;
        let asked = gate.asked();
        assert!(asked.len() >= 23, "{}", asked.len());
        for asked in asked {
            assert_eq!(asked.host, format!("{host}s3.test.example:{port}"));
            let of_bucket = if expected.is_empty() { "/" } else { expected };
            let of_key = format!("{expected}/{WRITTEN}");
            assert!(asked.path == of_bucket || asked.path == of_key, "{asked}");
            let signed = asked.header("authorization").unwrap();
            assert!(signed.contains("/test_region/s3/aws4_request"), "{signed}");
        }
    }
}

// storage-s3 11
#[tokio::test]
async fn at_the_public_endpoint_the_bucket_is_in_the_host_unless_its_name_is_no_host() {
    let authority = Authority::new("public").unwrap();
    let host = "s3.dualstack.us-west-2.amazonaws.com";
    let names = [host, "*.s3.dualstack.us-west-2.amazonaws.com"];
    let gate = answering(Some(&authority), &names, |_| ok());
    let bench = Bench::new().knowing(&[(host, gate.target().address)]);
    let access = Access::public("us-west-2").trusting(&authority);
    let names = [
        "my.bucket",
        "images",
        "Images_of_old",
        "My-bucket",
        "my_bucket",
        "ab",
        "my-bucket",
    ];
    for name in names {
        bench.bucket(&access.clone().named(name)).head().await.unwrap();
    }
    let expected = [
        format!("https://{host}/my.bucket"),
        format!("https://images.{host}/"),
        format!("https://{host}/Images_of_old"),
        format!("https://{host}/My-bucket"),
        format!("https://{host}/my_bucket"),
        format!("https://{host}/ab"),
        format!("https://my-bucket.{host}/"),
    ];
    assert_eq!(asked(&gate), expected);
}

#[tokio::test]
async fn moto_takes_the_bucket_in_the_path_and_in_the_host() {
    let authority = Authority::new("moto").unwrap();
    let moto = Moto::start(MotoOptions {
        authority: Some(authority.clone()),
        authorisation: true,
        ..MotoOptions::default()
    })
    .await
    .unwrap();
    let address = moto.target().address;
    let bench = Bench::new().knowing(&[("s3.test.example", address)]);
    let mut access = Access::at("https://s3.test.example")
        .trusting(&authority)
        .with_keys(moto.admin());
    bench.bucket(&access).create().await.unwrap();
    access.effective.virtual_hosted = true;
    bench.bucket(&access).head().await.unwrap();
    bench.bucket(&access).delete_bucket().await.unwrap();
}

#[tokio::test]
async fn seaweed_takes_the_bucket_in_the_path_and_in_the_host() {
    let authority = Authority::new("seaweed").unwrap();
    let seaweed = Seaweed::start(SeaweedOptions {
        authority: Some(authority.clone()),
        ..SeaweedOptions::default()
    })
    .await
    .unwrap();
    let address = seaweed.target().address;
    let bench = Bench::new().knowing(&[("s3.test.example", address)]);
    let mut access = Access::at("https://s3.test.example")
        .trusting(&authority)
        .with_keys(seaweed.admin());
    bench.bucket(&access).create().await.unwrap();
    access.effective.virtual_hosted = true;
    bench.bucket(&access).head().await.unwrap();
    bench.bucket(&access).delete_bucket().await.unwrap();
}
