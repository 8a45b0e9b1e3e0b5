//! Where requests go.

use devcluster::stores::{Authority, Gate, Moto, MotoOptions, Seaweed, SeaweedOptions};

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
        format!("http://s3.test.example:{port}/images/"),
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
    assert_eq!(asked(&gate), [format!("https://s3.test.example:{port}/my.images/")]);
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
        format!("https://{host}/my.bucket/"),
        format!("https://images.{host}/"),
        format!("https://{host}/Images_of_old/"),
        format!("https://{host}/My-bucket/"),
        format!("https://{host}/my_bucket/"),
        format!("https://{host}/ab/"),
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
