//! The storage servers that tests use, and the fault-injecting gate and proxy in front of them.

mod azure;
mod gate;
mod gcs;
mod ibm;
mod openstack;
mod operand;
mod proxy;
mod sts;

use anyhow::{Context as _, Result, ensure};
use devcluster::stores::{
    ACCOUNT, Answer, Authority, Call, Keys, Moto, MotoOptions, OTHER_ACCOUNT, Seaweed, SeaweedOptions, Target,
};
use hyper::Method;
use serde_json::json;

const REGION: &str = "us-east-1";

/// Sends an S3 request; returns the status.
async fn status(target: &Target, keys: &Keys, method: Method, path: &str) -> Result<u16> {
    Ok(s3(target, keys, method, path, b"").await?.status)
}

async fn s3(target: &Target, keys: &Keys, method: Method, path: &str, body: &[u8]) -> Result<Answer> {
    target
        .call(Call::new(method, path).body(body).signed(keys, "s3", REGION))
        .await
}

#[tokio::test]
async fn moto_checks_signatures_and_permissions() -> Result<()> {
    let moto = Moto::start(MotoOptions {
        authorisation: true,
        ..Default::default()
    })
    .await?;
    let statements = json!([{ "Effect": "Allow", "Action": ["s3:CreateBucket", "s3:PutObject"], "Resource": "*" }]);
    let user = moto.user("registry", &statements).await?;
    let target = moto.target();
    ensure!(status(target, &user, Method::PUT, "/first").await? == 200);
    ensure!(status(target, &user, Method::PUT, "/first/key").await? == 200);
    let refused = s3(target, &user, Method::GET, "/first/key", b"").await?;
    ensure!(
        (refused.status, refused.element("Code")) == (403, Some("AccessDenied".into())),
        "{refused:?}"
    );

    let forged = Keys::new(&user.id, "wrong");
    let refused = s3(target, &forged, Method::GET, "/first", b"").await?;
    ensure!(
        refused.element("Code").as_deref() == Some("SignatureDoesNotMatch"),
        "{refused:?}"
    );
    let unknown = Keys::new("AKIAIOSFODNN7EXAMPLE", "wrong");
    let refused = s3(target, &unknown, Method::GET, "/first", b"").await?;
    ensure!(
        refused.element("Code").as_deref() == Some("InvalidAccessKeyId"),
        "{refused:?}"
    );

    let other = moto.admin_of(OTHER_ACCOUNT);
    let taken = s3(target, other, Method::PUT, "/first", b"").await?;
    ensure!(
        taken.element("Code").as_deref() == Some("BucketAlreadyExists"),
        "{taken:?}"
    );

    moto.allow_user(
        ACCOUNT,
        "registry",
        &json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }]),
    )
    .await?;
    ensure!(status(target, &user, Method::GET, "/first/key").await? == 200);
    moto.delete_key(ACCOUNT, "registry", &user).await?;
    ensure!(status(target, &user, Method::GET, "/first/key").await? == 403);
    moto.authorise(false).await?;
    ensure!(status(target, &unknown, Method::GET, "/first/key").await? == 200);

    let key = moto.kms_key(REGION).await?;
    ensure!(key.starts_with("arn:aws:kms:us-east-1:123456789012:key/"), "{key}");
    Ok(())
}

#[tokio::test]
async fn moto_serves_tls_and_buckets_in_the_host_name() -> Result<()> {
    let authority = Authority::new("stores")?;
    let moto = Moto::start(MotoOptions {
        authority: Some(authority),
        names: vec!["*.s3.dualstack.us-east-1.amazonaws.com".into()],
        authorisation: true,
    })
    .await?;
    let (target, admin) = (moto.target(), moto.admin());
    ensure!(moto.url().starts_with("https://127.0.0.1:"));
    ensure!(status(target, admin, Method::PUT, "/hosted").await? == 200);
    for host in [
        "hosted.s3.localhost",
        "hosted.s3.test.example",
        "hosted.s3.dualstack.us-east-1.amazonaws.com",
    ] {
        let call = Call::new(Method::PUT, "/key").host(host).signed(admin, "s3", REGION);
        target.call(call).await?.good().context(host)?;
    }
    let listed = s3(target, admin, Method::GET, "/hosted", b"").await?.good()?;
    ensure!(listed.element("Key").as_deref() == Some("key"), "{}", listed.text());
    for host in ["s3.test.example", &format!("s3.localhost:{}", target.address.port())] {
        let call = Call::new(Method::GET, "/hosted/key")
            .host(host)
            .signed(admin, "s3", REGION);
        target.call(call).await?.good().context("path style under a name")?;
    }
    Ok(())
}

#[tokio::test]
async fn seaweedfs_serves_tls_to_known_identities() -> Result<()> {
    let reader = Keys::new("AKIAREADERREADERREAD", "reader-secret");
    let seaweed = Seaweed::start(SeaweedOptions {
        authority: Some(Authority::new("stores")?),
        identities: vec![(reader.clone(), vec!["Read".into(), "List".into()])],
        encryption_key: true,
        ..Default::default()
    })
    .await?;
    let (target, admin) = (seaweed.target(), seaweed.admin());
    ensure!(seaweed.url().starts_with("https://127.0.0.1:"));
    ensure!(status(target, admin, Method::PUT, "/quarry").await? == 200);
    ensure!(s3(target, admin, Method::PUT, "/quarry/key", b"body").await?.status == 200);
    ensure!(s3(target, &reader, Method::GET, "/quarry/key", b"").await?.text() == "body");
    ensure!(status(target, &reader, Method::PUT, "/quarry/key").await? == 403);
    ensure!(
        status(
            target,
            &Keys::new("AKIANOBODYNOBODYNOBO", "x"),
            Method::GET,
            "/quarry/key"
        )
        .await?
            == 403
    );
    for host in ["quarry.s3.localhost", "quarry.s3.test.example"] {
        let call = Call::new(Method::GET, "/key").host(host).signed(admin, "s3", REGION);
        ensure!(target.call(call).await?.good().context(host)?.text() == "body");
    }
    target.fill(admin, "quarry", "many/", 200).await?;
    let listed = s3(target, admin, Method::GET, "/quarry?list-type=2&prefix=many%2F", b"").await?;
    ensure!(
        listed.element("KeyCount").as_deref() == Some("200"),
        "{}",
        listed.text()
    );
    let refused = s3(target, admin, Method::DELETE, "/quarry", b"").await?;
    ensure!(
        refused.element("Code").as_deref() == Some("BucketNotEmpty"),
        "{refused:?}"
    );
    let refused = s3(
        target,
        admin,
        Method::PUT,
        "/quarry?publicAccessBlock",
        b"<PublicAccessBlockConfiguration/>",
    )
    .await?;
    ensure!(refused.status == 501, "{refused:?}");
    let encrypted = Call::new(Method::PUT, "/quarry/secret")
        .headers(&[("x-amz-server-side-encryption", "AES256")])
        .body(b"s");
    target.call(encrypted.signed(admin, "s3", REGION)).await?.good()?;
    ensure!(s3(target, admin, Method::GET, "/quarry/secret", b"").await?.text() == "s");
    Ok(())
}

#[tokio::test]
async fn seaweedfs_without_a_key_stores_nothing_encrypted() -> Result<()> {
    let seaweed = Seaweed::start(SeaweedOptions::default()).await?;
    let (target, admin) = (seaweed.target(), seaweed.admin());
    ensure!(status(target, admin, Method::PUT, "/quarry").await? == 200);
    let encrypted = Call::new(Method::PUT, "/quarry/secret")
        .headers(&[("x-amz-server-side-encryption", "AES256")])
        .body(b"s");
    ensure!(target.call(encrypted.signed(admin, "s3", REGION)).await?.status == 500);
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_dropped_leaves_nothing() -> Result<()> {
    let moto = Moto::start(MotoOptions::default()).await?;
    let (directory, target) = (moto.directory().to_owned(), moto.target().clone());
    ensure!(directory.is_dir());
    drop(moto);
    ensure!(!directory.exists());
    ensure!(target.call(Call::new(Method::GET, "/moto-api/")).await.is_err());
    Ok(())
}
