use http::Method;

use crate::cloud::{REGION, World, moto};

use super::{Back, generated, go, remove};

/// What changes a bucket or its content.
const CHANGES: [&str; 9] = [
    "CreateBucket",
    "DeleteBucket",
    "PutBucketTagging",
    "PutPublicAccessBlock",
    "PutBucketEncryption",
    "PutBucketLifecycleConfiguration",
    "PutObject",
    "DeleteObjects",
    "CreateMultipartUpload",
];

/// Makes a bucket as the Go operator does.
async fn make_as_go(world: &World, bucket: &str) {
    world.make(bucket).await;
    let tag = |key: &str, value: &str| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
    let infrastructure = world.infrastructure;
    let tags = [
        tag(&format!("kubernetes.io/cluster/{infrastructure}"), "owned"),
        tag("Name", &format!("{infrastructure}-image-registry")),
        tag("team", "platform"),
    ];
    let blocks = [
        "BlockPublicAcls",
        "IgnorePublicAcls",
        "BlockPublicPolicy",
        "RestrictPublicBuckets",
    ];
    let blocks = blocks.map(|name| format!("<{name}>true</{name}>")).concat();
    let rule = "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault>\
        <BucketKeyEnabled>true</BucketKeyEnabled></Rule>";
    let cleanup = "<Rule><ID>cleanup-incomplete-multipart-registry-uploads</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status>\
        <AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>";
    for (setting, body) in [
        (
            "tagging",
            format!("<Tagging><TagSet>{}</TagSet></Tagging>", tags.concat()),
        ),
        (
            "publicAccessBlock",
            format!("<PublicAccessBlockConfiguration>{blocks}</PublicAccessBlockConfiguration>"),
        ),
        (
            "encryption",
            format!("<ServerSideEncryptionConfiguration>{rule}</ServerSideEncryptionConfiguration>"),
        ),
        (
            "lifecycle",
            format!("<LifecycleConfiguration>{cleanup}</LifecycleConfiguration>"),
        ),
    ] {
        let (status, text) = world.call(Method::PUT, &format!("/{bucket}?{setting}"), &body).await;
        assert!(status < 300, "{setting}: {status} {text}");
    }
}

async fn unchanged(mut world: World, case: &str, back: Back, is_ours: bool) {
    let bucket = generated(world.infrastructure, REGION);
    if is_ours {
        make_as_go(&world, &bucket).await;
    } else {
        world.make(&bucket).await;
    }
    world.put(&bucket, "docker/registry/v2/x").await;
    let keys = world.minted().await;
    let endpoint = moto().await.url();
    let values = [
        ("$BUCKET", bucket.as_str()),
        ("$REGION", REGION),
        ("$INFRA", world.infrastructure),
        ("$ACCESS_KEY", &keys.id),
        ("$SECRET_KEY", &keys.secret),
        ("$ENDPOINT", &endpoint),
    ];
    let mut go = go(&world.cluster, world.infrastructure, case, &values).await;
    go.environment.extend(world.environment());
    world.gate.forget();
    let operator = back.take_over(&go).await;
    let calls = world.calls();
    assert!(!CHANGES.iter().any(|change| calls.contains_key(*change)), "{calls:?}");
    remove(&world.cluster).await;
    assert_eq!(world.exists(&bucket).await, !is_ours);
    world.judge(operator).await;
}

// workload 61: AWS, with keys that the platform minted
#[tokio::test]
async fn a_bucket_of_the_go_operator_is_taken_over() {
    unchanged(World::new("kw-take1").await, "s3-aws-minted-keys", Back::AndForth, true).await;
}

// workload 61: a bucket of the user's own store
#[tokio::test]
async fn a_bucket_of_the_user_is_taken_over_and_stays() {
    unchanged(World::new("kw-take3").await, "s3-user-minio", Back::Once, false).await;
}
