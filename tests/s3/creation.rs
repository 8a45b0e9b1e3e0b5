//! A bucket comes to be.

use devcluster::stores::{Asked, Fault, Keys, When};
use image_registry_operator::names;
use serde_json::{Value, json};

use super::cluster::{REGION, S3Cluster};
use super::stores::{self, cluster};
use super::under_test::is_of_probe;

fn bodies(asked: &[Asked], operation: &str) -> Vec<String> {
    asked
        .iter()
        .filter(|a| a.operation() == operation)
        .map(Asked::text)
        .collect()
}

// storage-s3 20, 30, 32, storage-core 12, storage-decisions T6
#[tokio::test]
async fn an_empty_block_gets_one_bucket_in_the_order_that_no_crash_can_break() {
    let mut world = cluster("order-a1", json!({"s3": {}})).await;
    let name = world.generated();
    let outcome = world.step().await;
    assert_eq!(
        world.changes(),
        Vec::<String>::new(),
        "nothing is sent before the intent is stored"
    );
    assert_eq!(
        outcome.record.unwrap()["metadata"]["annotations"][names::STORAGE_INTENT_ANNOTATION],
        json!(world.location(&name))
    );
    world.gate.forget();

    let outcome = world.pass().await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let settings = [
        "CreateBucket",
        "PutBucketTagging",
        "PutPublicAccessBlock",
        "PutBucketEncryption",
        "PutBucketLifecycleConfiguration",
    ];
    let changes: Vec<_> = world
        .changes()
        .into_iter()
        .filter(|name| !is_of_objects(name))
        .collect();
    assert_eq!(changes, settings);
    let create = bodies(&world.gate.asked(), "CreateBucket").concat();
    assert!(
        create.contains(&format!("<LocationConstraint>{REGION}</LocationConstraint>")),
        "{create}"
    );
    assert_eq!(world.state(), Some("Managed"));
    let block = json!({
        "bucket": name, "region": REGION, "regionEndpoint": world.gate.url(), "encrypt": true,
    });
    assert_eq!(world.storage_spec()["s3"], block);
    assert_eq!(world.status(), &json!({"s3": block, "managementState": "Managed"}));
    for (condition, reason) in [
        ("StorageExists", "Creation Successful"),
        ("StoragePublicAccessBlocked", "Public Access Block Successful"),
        ("StorageTagged", "Tagging Successful"),
        ("StorageEncrypted", "Encryption Successful"),
        ("StorageIncompleteUploadCleanupEnabled", "Enable Cleanup Successful"),
    ] {
        assert_eq!(world.condition(condition), format!("True/{reason}"));
    }
    assert_eq!(
        S3Cluster::variable(&outcome, "REGISTRY_STORAGE_S3_ENCRYPT").as_deref(),
        Some("Flag(true)"),
        "what the first pods get is what later ones get"
    );

    assert_eq!(world.condition("StorageExists"), "True/Creation Successful");
    world.gate.forget();
    world.pass().await;
    assert_eq!(world.condition("StorageExists"), "True/S3 Bucket Exists");
    let before = world.config.clone();
    world.pass().await;
    assert_eq!(world.gate.operations(), Vec::<String>::new());
    assert_eq!(world.config, before);
    assert_eq!(stores::store().await.buckets("order-a1").await, [name]);
}

fn is_of_objects(operation: &str) -> bool {
    matches!(
        operation,
        "PutObject"
            | "DeleteObject"
            | "DeleteObjects"
            | "CreateMultipartUpload"
            | "UploadPart"
            | "CompleteMultipartUpload"
            | "CopyObject"
            | "UploadPartCopy"
            | "AbortMultipartUpload"
    )
}

// storage-s3 30, 31, 36
#[tokio::test]
async fn the_settings_have_the_parameters_of_the_documentation() {
    let mut world = cluster("params-a2", json!({"s3": {}})).await;
    world.set_platform_tags(&json!([{"key": "tag0", "value": "v0"}, {"key": "tag1", "value": "v1"}]));
    world.pass().await;
    let asked = world.gate.asked();
    let public = bodies(&asked, "PutPublicAccessBlock").concat();
    for switch in [
        "BlockPublicAcls",
        "BlockPublicPolicy",
        "IgnorePublicAcls",
        "RestrictPublicBuckets",
    ] {
        assert!(public.contains(&format!("<{switch}>true</{switch}>")), "{public}");
    }
    let encryption = bodies(&asked, "PutBucketEncryption").concat();
    assert!(
        encryption.contains("<SSEAlgorithm>AES256</SSEAlgorithm>"),
        "{encryption}"
    );
    assert!(
        encryption.contains("<BucketKeyEnabled>true</BucketKeyEnabled>"),
        "{encryption}"
    );
    let lifecycle = bodies(&asked, "PutBucketLifecycleConfiguration").concat();
    for part in [
        "<ID>cleanup-incomplete-multipart-registry-uploads</ID>",
        "<Status>Enabled</Status>",
        "<Prefix></Prefix>",
        "<DaysAfterInitiation>1</DaysAfterInitiation>",
    ] {
        assert!(
            lifecycle.replace("<Prefix/>", "<Prefix></Prefix>").contains(part),
            "{lifecycle}"
        );
    }
    let tags = stores::store().await.tags(&world.generated()).await;
    let expected = [
        ("kubernetes.io/cluster/params-a2", "owned"),
        ("Name", "params-a2-image-registry"),
        ("tag0", "v0"),
        ("tag1", "v1"),
    ];
    assert_eq!(tags, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
}

// storage-s3 21
#[tokio::test]
async fn in_us_east_1_no_location_constraint_is_sent() {
    let mut world = cluster("useast-a3", Value::Null).await;
    let endpoint = world.gate.url();
    world.edit(json!({"storage": {"s3": {"region": "us-east-1", "regionEndpoint": endpoint}}}));
    world.pass().await;
    let create = bodies(&world.gate.asked(), "CreateBucket");
    assert_eq!(create, [""], "no body at all");
    assert_eq!(
        world.storage_spec()["s3"]["bucket"],
        "useast-a3-image-registry-us-east-1"
    );
}

// storage-s3 22, storage-core 22
#[tokio::test]
async fn a_bucket_that_the_store_says_is_ours_already_is_adopted_under_the_generated_name() {
    let mut world = cluster("owned-a4", json!({"s3": {}})).await;
    let name = world.generated();
    stores::store().await.create(&name).await;
    // A store that does not show it yet.
    world.gate.plan(
        When::operation("HeadBucket").times(2),
        Fault::error(404, "NoSuchBucket"),
    );
    world.settle().await;
    let created = world
        .gate
        .asked()
        .into_iter()
        .filter(|a| a.operation() == "CreateBucket");
    assert_eq!(created.map(|a| a.status).collect::<Vec<_>>(), [409]);
    assert_eq!(
        (world.state(), world.storage_spec()["s3"]["bucket"].as_str()),
        (Some("Managed"), Some(name.as_str()))
    );
    assert_eq!(world.status()["s3"]["bucket"], json!(name));
    assert_eq!(stores::store().await.tags(&name).await.len(), 2);
}

// storage-s3 27
#[tokio::test]
async fn a_named_bucket_to_which_access_is_refused_is_never_created() {
    for (n, status, code) in [
        (1, 403, "AccessDenied"),
        (2, 403, "Forbidden"),
        (3, 403, "InvalidAccessKeyId"),
        (4, 404, "NoSuchBucket"),
        (5, 503, "SlowDown"),
    ] {
        for state in [Value::Null, json!("Managed"), json!("Unmanaged")] {
            let infrastructure = format!("closed-a7-{n}");
            let name = format!("theirs-a7-{n}");
            let mut world = cluster(
                &infrastructure,
                json!({"managementState": state, "s3": {"bucket": name}}),
            )
            .await;
            let location = world.location(&name);
            world.annotate(names::STORAGE_INTENT_ANNOTATION, &location);
            world
                .gate
                .plan(When::operation("HeadBucket"), Fault::error(403, "AccessDenied"));
            world
                .gate
                .plan(When::operation("GetBucketLocation"), Fault::error(status, code));
            for _ in 0..3 {
                let outcome = world.pass().await;
                assert!(outcome.error.is_some() && outcome.facts.is_none(), "{code}");
                world.later(std::time::Duration::from_mins(11));
            }
            assert_eq!(world.changes(), Vec::<String>::new(), "{code} {state}");
            assert_eq!(world.state(), state.as_str(), "{code}");
            let condition = world.condition("StorageExists");
            if status != 503 {
                // The reason and the advice are about the same refusal.
                let reason = if status == 404 { "Forbidden" } else { code };
                assert_eq!(condition, format!("False/{reason}"));
                assert!(world.message("StorageExists").contains("s3:ListBucket"), "{code}");
            }
        }
    }
}

// storage-s3 23
#[tokio::test]
async fn a_generated_name_that_another_account_has_is_an_error_and_no_other_name_is_guessed() {
    let mut world = cluster("taken-a5", json!({"s3": {}})).await;
    let name = world.generated();
    let foreign = stores::foreign_store().await;
    foreign.create(&name).await;
    foreign.put(&name, "precious").await;
    world
        .gate
        .plan(When::operation("HeadBucket"), Fault::error(403, "AccessDenied"));
    let outcome = world.pass().await;
    assert!(outcome.error.unwrap().message.contains("spec.storage.s3.bucket"));
    assert_eq!(world.condition("StorageExists"), "False/Unable to Access Bucket");
    assert_eq!(
        world.storage_spec(),
        &json!({"s3": {"regionEndpoint": world.gate.url()}})
    );
    assert_eq!(world.changes(), ["CreateBucket"]);
    assert!(outcome.facts.is_none());
    assert_eq!((foreign.tags(&name).await.len(), foreign.count(&name).await), (0, 1));
}

// storage-s3 24, storage-core 15
#[tokio::test]
async fn a_named_bucket_that_exists_is_used_and_nothing_in_it_is_asked_for_or_changed() {
    let store = stores::store().await;
    store.create("users-a6").await;
    let mut world = cluster("named-a6", json!({"s3": {"bucket": "users-a6"}})).await;
    world.pass().await;
    let operations: Vec<_> = world
        .gate
        .asked()
        .iter()
        .filter(|a| !is_of_probe(a))
        .map(Asked::operation)
        .collect();
    let allowed = ["HeadBucket", "ListObjectsV2", "ListMultipartUploads"];
    assert!(
        operations.iter().all(|o| allowed.contains(&o.as_str())),
        "{operations:?}"
    );
    assert_eq!(world.state(), Some("Unmanaged"));
    assert_eq!(world.condition("StorageExists"), "True/S3 Bucket Exists");
    assert_eq!(world.config["status"]["storageManaged"], false);
    assert_eq!(world.status()["managementState"], "Unmanaged");
    assert!(store.tags("users-a6").await.is_empty());
}

// storage-s3 26, 37
#[tokio::test]
async fn an_explicit_state_is_never_changed() {
    let store = stores::store().await;
    for state in ["Managed", "Unmanaged"] {
        let bucket = format!("explicit-{}-a8", state.to_lowercase());
        store.create(&bucket).await;
        let mut world = cluster(
            "explicit-a8",
            json!({"s3": {"bucket": bucket}, "managementState": state}),
        )
        .await;
        world.set_platform_tags(&json!([{"key": "team", "value": "blue"}]));
        world.settle().await;
        assert_eq!(world.state(), Some(state));
        let settings: Vec<_> = world
            .changes()
            .into_iter()
            .filter(|name| !is_of_objects(name))
            .collect();
        assert_eq!(settings.is_empty(), state == "Unmanaged", "{settings:?}");
        let tags =
            [("Name", "explicit-a8-image-registry"), ("team", "blue")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let tagged: &[_] = if state == "Managed" { &tags } else { &[] };
        assert_eq!(store.tags(&bucket).await, tagged, "no mark");
    }
}

// storage-s3 28
#[tokio::test]
async fn invalid_keys_are_told_by_their_code_and_a_bucket_in_use_stays_in_use() {
    let mut world = cluster("keys-b2", json!({"s3": {}})).await;
    let good = world.keys.clone();
    world.settle().await;
    world.set_credentials(&Keys::new("AKIAWRONGWRONG", "wrong"));
    let outcome = world.pass().await;
    assert_eq!(world.condition("StorageExists"), "False/InvalidAccessKeyId");
    assert!(outcome.error.is_some());
    assert!(
        !world.events().iter().any(|n| n.contains("images")),
        "{:?}",
        world.events()
    );
    world.gate.forget();
    world.pass().await;
    assert_eq!(
        world.changes(),
        Vec::<String>::new(),
        "a refused bucket is not created anew"
    );
    // The Secret goes, and the minted one counts.
    world.set_minted(&good.profile());
    world.settle().await;
    assert_eq!(world.condition("StorageExists"), "True/S3 Bucket Exists");
}

// storage-s3 29
#[tokio::test]
async fn a_bucket_in_another_region_is_undecided_and_the_message_names_the_region() {
    let mut world = cluster("region-b3", json!({"s3": {"bucket": "elsewhere-b3"}})).await;
    let moved = devcluster::stores::Reply::new(301, "").header("x-amz-bucket-region", "eu-west-1");
    world.gate.plan(When::operation("HeadBucket"), Fault::Answer(moved));
    let outcome = world.pass().await;
    assert!(outcome.error.is_some());
    assert_eq!(world.condition("StorageExists"), "Unknown/Unknown Error Occurred");
    assert!(
        world.message("StorageExists").contains("eu-west-1"),
        "{}",
        world.message("StorageExists")
    );
    assert_eq!(world.changes(), Vec::<String>::new());
}

// storage-s3 39
#[tokio::test]
async fn an_unmanaged_bucket_without_a_region_in_the_spec_settles() {
    stores::store().await.create("regionless-b5").await;
    let mut world = cluster("regionless-b5", json!({"s3": {"bucket": "regionless-b5"}})).await;
    world.pass().await;
    world.pass().await;
    assert_eq!(
        world.storage_spec()["s3"],
        json!({"bucket": "regionless-b5", "regionEndpoint": world.gate.url()})
    );
    assert_eq!(world.status()["s3"]["region"], json!(REGION));
    let before = world.config.clone();
    world.gate.forget();
    let outcome = world.pass().await;
    assert!(outcome.status_storage.is_none() && world.config == before);
    assert_eq!(world.changes(), Vec::<String>::new());
}

// storage-core 24, 25, storage-decisions 6
#[tokio::test]
async fn another_bucket_or_endpoint_is_other_storage_and_the_old_one_stays() {
    let mut world = cluster("switch-b6", json!({"s3": {}})).await;
    assert!(!world.pass().await.reconfigured, "the first is none");
    let first = world.generated();
    stores::store().await.put(&first, "image").await;
    world.edit(json!({"storage": {"s3": {"bucket": "second-b6"}}}));
    let outcome = world.pass().await;
    assert!(outcome.reconfigured && world.events().iter().any(|n| n.starts_with("StorageReconfigured")));
    assert_eq!(stores::store().await.count(&first).await, 1);
    assert_eq!(world.state(), Some("Managed"), "it was missing, and was created");
    // The same name behind another endpoint.
    let elsewhere = devcluster::stores::Gate::start(stores::moto().await.target(), None, &[]).unwrap();
    world.edit(json!({"storage": {"s3": {"regionEndpoint": elsewhere.url()}}}));
    let outcome = world.pass().await;
    assert!(outcome.reconfigured, "{outcome:?}");
    assert_eq!(
        world.state(),
        Some("Unmanaged"),
        "it exists there, and a kept Managed counts as blank"
    );
}

// storage-core 21: what was done is stored, also where something after it fails
#[tokio::test]
async fn a_failure_after_the_creation_keeps_name_and_state() {
    let mut world = cluster(
        "later-b8",
        json!({"s3": {"cloudFront": {
            "baseURL": "https://cdn.example.com", "privateKey": {"name": "not-there", "key": "k"}, "keypairID": "K1",
        }}}),
    )
    .await;
    let outcome = world.pass().await;
    assert!(outcome.error.unwrap().message.contains("not-there"));
    assert_eq!(
        (world.state(), world.storage_spec()["s3"]["bucket"].as_str()),
        (Some("Managed"), Some(world.generated()).as_deref())
    );
    assert!(outcome.facts.is_none());
}

// storage-decisions T18: settled, nothing is asked; an edit costs one look, a restart none
#[tokio::test]
async fn few_calls_each_step_once_at_bring_up_one_look_after_an_edit_and_none_when_settled() {
    let mut world = cluster("few-b9", json!({"s3": {}})).await;
    world.pass().await;
    let operations = world.gate.operations();
    let once = [
        "CreateBucket",
        "PutBucketTagging",
        "GetPublicAccessBlock",
        "PutPublicAccessBlock",
        "GetBucketEncryption",
        "PutBucketEncryption",
        "GetBucketLifecycleConfiguration",
        "PutBucketLifecycleConfiguration",
        "ListObjectVersions",
    ];
    for operation in once {
        let count = operations.iter().filter(|o| *o == operation).count();
        assert_eq!(count, 1, "{operation}: {operations:?}");
    }
    assert!(operations.len() <= 40, "{}: {operations:?}", operations.len());
    world.gate.forget();
    world.pass().await;
    world.later(std::time::Duration::from_mins(11));
    world.pass().await;
    world.restart();
    world.pass().await;
    assert_eq!(world.gate.operations(), Vec::<String>::new());
    world.edit(json!({"replicas": 4}));
    world.pass().await;
    world.pass().await;
    assert_eq!(world.gate.operations(), ["HeadBucket"]);
}

// storage-decisions T18: CA
#[tokio::test]
async fn another_ca_of_the_clusters_proxy_costs_one_look() {
    let mut world = cluster("proxy-ca-b10", json!({"s3": {}})).await;
    world.pass().await;
    world.gate.forget();
    let authority = devcluster::stores::Authority::new("ca-of-the-proxy").unwrap();
    world.add(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "proxy-ca", "namespace": "openshift-config"},
        "data": {"ca-bundle.crt": authority.pem()},
    }));
    world.pass().await;
    assert_eq!(world.gate.operations(), Vec::<String>::new(), "nobody names it");
    world.add(json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Proxy",
        "metadata": {"name": "cluster"}, "spec": {"trustedCA": {"name": "proxy-ca"}},
    }));
    world.pass().await;
    world.pass().await;
    assert_eq!(world.gate.operations(), ["HeadBucket"]);
}

// storage-s3 10, 43: TLS with a CA of the user's, the bucket in the host name
#[tokio::test]
async fn over_tls_with_a_private_ca_and_the_bucket_in_the_host_name_all_is_the_same() {
    use devcluster::stores::{Authority, Gate};
    let moto = stores::moto().await;
    let authority = Authority::new("ca-of-the-store").unwrap();
    let gate = Gate::start(moto.target(), Some(&authority), &[]).unwrap();
    let port = gate.target().address.port();
    let storage = json!({"s3": {
        "regionEndpoint": format!("https://s3.test.example:{port}"), "virtualHostedStyle": true, "trustedCA": {"name": "my-ca"},
    }});
    let mut world = S3Cluster::behind(gate, moto.admin(), "tls-c0", storage);
    let outcome = world.pass().await;
    assert!(
        outcome.error.unwrap().message.contains("my-ca"),
        "the map is not there yet"
    );
    assert!(world.gate.operations().is_empty());
    world.add(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "my-ca", "namespace": names::CONFIG_NAMESPACE},
        "data": {"ca-bundle.crt": authority.pem()},
    }));
    world.settle().await;
    assert_eq!(world.state(), Some("Managed"));
    let name = world.generated();
    assert!(
        world
            .gate
            .asked()
            .iter()
            .all(|a| a.host.starts_with(&format!("{name}.s3.test.example")))
    );
    stores::store().await.put(&name, "image").await;
    world.edit(json!({"managementState": "Removed"}));
    assert!(world.settle().await.done && !stores::store().await.exists(&name).await);
}
