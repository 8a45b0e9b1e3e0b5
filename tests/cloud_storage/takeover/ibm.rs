use serde_json::json;

use crate::ibm::{ACCOUNT, GROUP, World};

use super::{Back, generated, go, remove};

const LOCATION: &str = "us-south";

// workload 61: IBM Cloud, with endpoints of the platform that have a slash at their end
#[tokio::test]
async fn a_bucket_with_its_instance_and_key_is_taken_over_and_stays() {
    let cloud = json!({"location": LOCATION, "resourceGroupName": GROUP});
    let world = World::new("kw-itake", "IBMCloud", cloud).await;
    let bucket = generated("kw-itake", LOCATION);
    let instance = world.ibm.make_instance(ACCOUNT, "kw-itake-image-registry", GROUP);
    let key = world
        .ibm
        .make_key(&instance, "kw-itake-image-registry", "Writer")
        .await
        .unwrap();
    world.ibm.make_bucket(&instance, &bucket).await.unwrap();
    let hmac = world.ibm.hmac(&key).unwrap();
    let url = format!("{}/", world.gate.url());
    let values = [
        ("$BUCKET", bucket.as_str()),
        ("$LOCATION", LOCATION),
        ("$RESOURCE_GROUP", GROUP),
        ("$INSTANCE_CRN", &instance),
        ("$KEY_CRN", &key),
        ("$ACCESS_KEY", &hmac.id),
        ("$SECRET_KEY", &hmac.secret),
        ("$API_KEY", &world.api_key),
        ("$INFRA", "kw-itake"),
        ("$COS_URL", &url),
        ("$IAM_URL", &url),
        ("$RC_URL", &url),
        ("$RM_URL", &url),
    ];
    let go = go(&world.cluster, "kw-itake", "ibmcos-endpoints", &values).await;
    world.gate.forget();
    let operator = Back::AndForth.take_over(&go).await;
    let asked = world.gate.operations();
    let is_change = |operation: &String| {
        operation.starts_with("create_") && operation != "create_token" || operation == "CreateBucket"
    };
    assert!(!asked.iter().any(is_change), "{asked:?}");
    // Nothing marks a bucket of the Go operator as its own.
    remove(&world.cluster).await;
    assert!(world.ibm.bucket(&bucket).is_some());
    world.judge(operator, &instance).await;
}
