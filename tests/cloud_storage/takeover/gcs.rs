use serde_json::{Value, json};

use crate::gcs::{REGION, World, google};

use super::{Back, generated, go, remove};

async fn unchanged(world: World, case: &str, back: Back, labels: &Value, is_ours: bool) {
    let bucket = generated(world.infrastructure, REGION);
    let settings = json!({"location": REGION, "labels": labels});
    google()
        .await
        .make_bucket(&world.project, &bucket, &settings)
        .await
        .unwrap();
    google()
        .await
        .put(&bucket, "docker/registry/v2/x", b"image")
        .await
        .unwrap();
    let before = google().await.bucket(&bucket);
    let key = World::key_file(&world.key);
    let values = [
        ("$BUCKET", bucket.as_str()),
        ("$PROJECT", &world.project),
        ("$REGION", REGION),
        ("$INFRA", world.infrastructure),
        ("$KEY_FILE", &key),
    ];
    let mut go = go(&world.cluster, world.infrastructure, case, &values).await;
    go.environment.extend(world.environment());
    world.gate.forget();
    let operator = back.take_over(&go).await;
    assert_eq!(google().await.bucket(&bucket), before);
    remove(&world.cluster).await;
    assert_eq!(google().await.bucket(&bucket).is_none(), is_ours);
    world.judge(operator).await;
}

// workload 61: Google Cloud, with a key that the platform minted
#[tokio::test]
async fn a_bucket_of_the_go_operator_is_taken_over() {
    let world = World::new("kw-gtake").await;
    unchanged(
        world,
        "gcs-minted",
        Back::AndForth,
        &json!({"kubernetes-io-cluster-kw-gtake": "owned"}),
        true,
    )
    .await;
}
