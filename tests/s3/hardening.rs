//! Settings of Managed buckets.

use std::time::Duration;

use devcluster::stores::{Fault, Latch, Reply, When};
use serde_json::json;

use super::cluster::S3Cluster;
use super::stores::{cluster, seaweed, store};

const RESYNC: Duration = Duration::from_mins(11);

async fn managed(infrastructure: &str, bucket: &str) -> S3Cluster {
    store().await.create(bucket).await;
    cluster(
        infrastructure,
        json!({"s3": {"bucket": bucket}, "managementState": "Managed"}),
    )
    .await
}

fn count(world: &S3Cluster, operation: &str) -> usize {
    world.gate.operations().iter().filter(|o| *o == operation).count()
}

// storage-s3 31, 33
#[tokio::test]
async fn a_new_key_is_applied_to_the_bucket_at_once() {
    let mut world = cluster("kms-g1", json!({"s3": {}})).await;
    world.settle().await;
    world.gate.forget();
    world.edit(json!({"storage": {"s3": {"keyID": "testKey"}}}));
    let outcome = world.settle().await;
    let body: String = world
        .gate
        .asked()
        .iter()
        .filter(|a| a.operation() == "PutBucketEncryption")
        .map(devcluster::stores::Asked::text)
        .collect();
    for part in [
        "<SSEAlgorithm>aws:kms</SSEAlgorithm>",
        "<KMSMasterKeyID>testKey</KMSMasterKeyID>",
        "<BucketKeyEnabled>true</BucketKeyEnabled>",
    ] {
        assert!(body.contains(part), "{body}");
    }
    assert_eq!(
        S3Cluster::variable(&outcome, "REGISTRY_STORAGE_S3_KEYID").as_deref(),
        Some("Text(\"testKey\")")
    );
}

// storage-s3 32
#[tokio::test]
async fn encryption_that_fails_leaves_encrypt_as_it_is_and_the_pass_goes_on() {
    let mut world = cluster("noenc-g2", json!({"s3": {}})).await;
    world.gate.plan(
        When::operation("PutBucketEncryption"),
        Fault::error(403, "AccessDenied"),
    );
    let outcome = world.settle().await;
    assert!(outcome.error.is_none() && outcome.facts.is_some());
    assert_eq!(world.condition("StorageEncrypted"), "False/AccessDenied");
    assert_eq!(world.storage_spec()["s3"].get("encrypt"), None);
    assert_eq!(
        S3Cluster::variable(&outcome, "REGISTRY_STORAGE_S3_ENCRYPT").as_deref(),
        Some("Flag(false)")
    );
}

// storage-s3 34
#[tokio::test]
async fn what_the_store_does_not_know_is_said_once_and_not_tried_again_until_the_config_changes() {
    let mut world = cluster("unknown-g3", json!({"s3": {}})).await;
    world.gate.plan(
        When::operation("PutPublicAccessBlock"),
        Fault::error(501, "NotImplemented"),
    );
    world.settle().await;
    assert_eq!(world.condition("StoragePublicAccessBlocked"), "False/NotImplemented");
    assert!(world.running.is_some());
    world.gate.forget();
    for _ in 0..3 {
        world.later(RESYNC);
        world.restart();
        world.pass().await;
    }
    assert_eq!(
        count(&world, "GetPublicAccessBlock") + count(&world, "PutPublicAccessBlock"),
        0
    );
    world.edit(json!({"storage": {"s3": {"chunkSizeMiB": 20}}}));
    world.settle().await;
    assert_eq!(count(&world, "PutPublicAccessBlock"), 1);
}

// storage-s3 34
#[tokio::test]
async fn tags_that_the_store_does_not_know_are_not_tried_again_either_though_the_platform_asks_for_some() {
    for (n, operations) in [&["GetBucketTagging", "PutBucketTagging"][..], &["PutBucketTagging"]]
        .iter()
        .enumerate()
    {
        let mut world = cluster(&format!("untagged-g3-{n}"), json!({"s3": {}})).await;
        for operation in *operations {
            world
                .gate
                .plan(When::operation(operation), Fault::error(501, "NotImplemented"));
        }
        world.set_platform_tags(&json!([{"key": "cost", "value": "blue"}]));
        world.settle().await;
        assert_eq!(world.condition("StorageTagged"), "False/NotImplemented");
        assert!(world.running.is_some());
        world.gate.forget();
        world.events.clear();
        for restarts in [false, false, true, true] {
            world.later(RESYNC);
            if restarts {
                world.restart();
            }
            world.pass().await;
        }
        assert_eq!(world.gate.operations(), Vec::<String>::new());
        assert_eq!(world.events(), Vec::<String>::new());
        world.edit(json!({"storage": {"s3": {"chunkSizeMiB": 20}}}));
        world.settle().await;
        assert!(count(&world, operations[0]) > 0);
    }
}

// storage-s3 35
#[tokio::test]
async fn a_setting_that_failed_is_tried_again_at_the_next_resync_and_the_others_are_not() {
    let mut world = managed("resync-g4", "resync-g4").await;
    world
        .gate
        .plan(When::operation("PutBucketTagging").times(4), Fault::slow_down());
    world.settle().await;
    assert_eq!(world.condition("StorageTagged"), "False/SlowDown");
    world.gate.forget();
    world.pass().await;
    assert_eq!(count(&world, "PutBucketTagging"), 0, "not in each pass");
    world.later(RESYNC);
    world.pass().await;
    assert_eq!(world.condition("StorageTagged"), "True/Tagging Successful");
    assert_eq!(count(&world, "PutBucketTagging"), 1);
    assert_eq!(
        count(&world, "GetBucketEncryption") + count(&world, "GetPublicAccessBlock"),
        0
    );
    world.gate.forget();
    world.later(RESYNC);
    world.pass().await;
    assert_eq!(world.changes(), Vec::<String>::new());
}

// storage-s3 38
#[tokio::test]
async fn tags_and_lifecycle_rules_of_others_stay() {
    let mut world = managed("others-g5", "others-g5").await;
    let store = store().await;
    store.set_tags("others-g5", &[("team", "x")]).await;
    let rule = "<LifecycleConfiguration><Rule><ID>keep-me</ID><Status>Enabled</Status><Filter><Prefix>logs/</Prefix></Filter>\
                <Expiration><Days>7</Days></Expiration></Rule></LifecycleConfiguration>";
    store.write("others-g5", "lifecycle", rule).await;
    world.set_platform_tags(&json!([{"key": "cost", "value": "blue"}]));
    world.settle().await;
    let tags = store.tags("others-g5").await;
    let pairs: Vec<_> = tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(pairs, ["team=x", "Name=others-g5-image-registry", "cost=blue"]);
    let (_, rules) = store.read("others-g5", "lifecycle").await;
    for part in [
        "keep-me",
        "<Days>7</Days>",
        "cleanup-incomplete-multipart-registry-uploads",
    ] {
        assert!(rules.contains(part), "{rules}");
    }
    // As wanted: nothing is written again.
    world.gate.forget();
    world.edit(json!({"storage": {"s3": {"chunkSizeMiB": 20}}}));
    world.settle().await;
    let writes: Vec<_> = world
        .changes()
        .into_iter()
        .filter(|o| o.starts_with("PutBucket") || o.starts_with("PutPublic"))
        .collect();
    assert!(writes.is_empty(), "{writes:?}");
}

/// Whether a lifecycle configuration has rules of both versions of the API: with a `Prefix` of their own, and with a `Filter`.
fn mixes_versions(configuration: &str) -> bool {
    let has_own_prefix = |rule: &str| {
        let (before, rest) = rule.split_once("<Filter>").unwrap_or((rule, ""));
        let after = rest.split_once("</Filter>").map_or("", |(_, after)| after);
        before.contains("<Prefix") || after.contains("<Prefix")
    };
    configuration.contains("<Filter>") && configuration.split("<Rule>").skip(1).any(has_own_prefix)
}

// storage-s3 38: rules of version 1 of the API, which Amazon S3 refuses beside rules with a filter
#[tokio::test]
async fn a_lifecycle_rule_without_a_filter_stays_beside_the_operators() {
    let ours = "cleanup-incomplete-multipart-registry-uploads";
    let foreign = "<Rule><ID>keep-me</ID><Status>Enabled</Status><Prefix>logs/</Prefix>\
                   <Expiration><Days>7</Days></Expiration></Rule>";
    let elsewhere = format!(
        "<Rule><ID>{ours}</ID><Status>Enabled</Status><Prefix>elsewhere/</Prefix><AbortIncompleteMultipartUpload>\
         <DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>"
    );
    for (n, rules) in [foreign.to_owned(), format!("{foreign}{elsewhere}")].iter().enumerate() {
        let bucket = format!("version1-g15-{n}");
        let mut world = managed(&bucket, &bucket).await;
        let store = store().await;
        let configuration = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
        store.write(&bucket, "lifecycle", &configuration).await;
        world.gate.rule(|asked| {
            let written = asked.operation() == "PutBucketLifecycleConfiguration";
            if written && mixes_versions(&asked.text()) {
                let message = "Filter element can only be used in Lifecycle V2.";
                Fault::Answer(Reply::error(400, "InvalidRequest", message))
            } else {
                Fault::Pass
            }
        });
        world.settle().await;
        let condition = "StorageIncompleteUploadCleanupEnabled";
        assert!(
            world.condition(condition).starts_with("True/"),
            "{rules}: {}",
            world.message(condition)
        );
        let (_, found) = store.read(&bucket, "lifecycle").await;
        for part in ["keep-me", "<Prefix>logs/</Prefix>", "<Days>7</Days>", ours] {
            assert!(found.contains(part), "{part}: {found}");
        }
        assert!(
            !found.contains("elsewhere/"),
            "the operator's rule is for every object: {found}"
        );
    }
}

// storage-decisions T11
#[tokio::test]
async fn a_read_that_fails_means_no_write() {
    for (n, read, write, condition) in [
        (
            1,
            "GetBucketLifecycleConfiguration",
            "PutBucketLifecycleConfiguration",
            "StorageIncompleteUploadCleanupEnabled",
        ),
        (2, "GetBucketEncryption", "PutBucketEncryption", "StorageEncrypted"),
        (
            3,
            "GetPublicAccessBlock",
            "PutPublicAccessBlock",
            "StoragePublicAccessBlocked",
        ),
    ] {
        let name = format!("reads-g6-{n}");
        let mut world = managed(&name, &name).await;
        world
            .gate
            .plan(When::operation(read), Fault::error(403, "AccessDenied"));
        let outcome = world.settle().await;
        assert!(outcome.error.is_none());
        assert_eq!(world.condition(condition), "False/AccessDenied");
        assert_eq!(count(&world, write), 0);
        let others = world
            .changes()
            .iter()
            .filter(|o| o.starts_with("PutBucket") || o.starts_with("PutPublic"))
            .count();
        assert_eq!(others, 3, "each stands alone: {:?}", world.changes());
    }
}

// storage-decisions 16
#[tokio::test]
async fn a_users_default_with_a_kms_key_is_kept_where_no_key_is_named() {
    for algorithm in ["aws:kms", "aws:kms:dsse"] {
        let name = format!("kept-g7-{}", algorithm.len());
        let mut world = managed(&name, &name).await;
        let rule = format!(
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>{algorithm}</SSEAlgorithm>\
             <KMSMasterKeyID>users-key</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule>\
             </ServerSideEncryptionConfiguration>"
        );
        store().await.write(&name, "encryption", &rule).await;
        let outcome = world.settle().await;
        assert_eq!(count(&world, "PutBucketEncryption"), 0);
        assert_eq!(world.condition("StorageEncrypted"), "True/Encryption Successful");
        assert!(world.message("StorageEncrypted").contains(&format!("{algorithm} ")));
        let asked = S3Cluster::variable(&outcome, "REGISTRY_STORAGE_S3_ENCRYPT");
        assert_eq!(
            asked.as_deref(),
            Some("Flag(false)"),
            "AES256 asked for by the registry would beat the user's key"
        );
    }
}

// storage-decisions T11, T12: a part of the rule that the operator does not set
#[tokio::test]
async fn types_of_encryption_that_a_user_blocked_stay_blocked() {
    for bucket_key in [false, true] {
        let bucket = format!("blocked-g16-{bucket_key}");
        let mut world = managed(&bucket, &bucket).await;
        let rule = format!(
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>\
             </ApplyServerSideEncryptionByDefault><BucketKeyEnabled>{bucket_key}</BucketKeyEnabled><BlockedEncryptionTypes>\
             <EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>"
        );
        let answer = Reply::new(200, &rule).header("content-type", "application/xml");
        world
            .gate
            .plan(When::operation("GetBucketEncryption"), Fault::Answer(answer));
        world.settle().await;
        assert_eq!(world.condition("StorageEncrypted"), "True/Encryption Successful");
        let asked = world.gate.asked();
        let written: Vec<String> = asked
            .iter()
            .filter(|asked| asked.operation() == "PutBucketEncryption")
            .map(devcluster::stores::Asked::text)
            .collect();
        assert_eq!(written.is_empty(), bucket_key, "the rest is as wanted: {written:?}");
        let kept = "<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>";
        for part in [kept, "<BucketKeyEnabled>true</BucketKeyEnabled>"] {
            assert!(written.iter().all(|body| body.contains(part)), "{part}: {written:?}");
        }
    }
}

// storage-decisions T12: the operator could not restore a rule that it replaced with one for a key that does not work
#[tokio::test]
async fn a_users_default_is_not_replaced_by_a_key_with_which_no_object_can_be_written() {
    let mut world = managed("wrongkey-g13", "wrongkey-g13").await;
    let rule = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>\
                <KMSMasterKeyID>users-key</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule>\
                </ServerSideEncryptionConfiguration>";
    store().await.write("wrongkey-g13", "encryption", rule).await;
    world.settle().await;
    world.gate.rule(|asked| {
        let key = asked.header("x-amz-server-side-encryption-aws-kms-key-id");
        if asked.operation() == "PutObject" && key == Some("no-such-key") {
            Fault::error(400, "KMS.NotFoundException")
        } else {
            Fault::Pass
        }
    });
    world.edit(json!({"storage": {"s3": {"keyID": "no-such-key"}}}));
    world.settle().await;
    assert_eq!(world.condition("StorageEncrypted"), "False/KMS.NotFoundException");
    assert!(
        world.message("StorageEncrypted").contains("no-such-key"),
        "{}",
        world.message("StorageEncrypted")
    );
    let (_, kept) = store().await.read("wrongkey-g13", "encryption").await;
    assert!(kept.contains("users-key"), "{kept}");
    assert_eq!(world.storage_spec()["s3"].get("encrypt"), None);
    assert_eq!(
        (probes("wrongkey-g13").await, world.recorded_probe()),
        (0, None),
        "nothing is left"
    );
    // As soon as the key works it becomes the default.
    world.gate.rule(|_| Fault::Pass);
    world.later(RESYNC);
    world.settle().await;
    assert_eq!(world.condition("StorageEncrypted"), "True/Encryption Successful");
    let (_, replaced) = store().await.read("wrongkey-g13", "encryption").await;
    assert!(replaced.contains("no-such-key"), "{replaced}");
}

// storage-decisions T12
#[tokio::test]
async fn a_rule_that_a_user_set_is_not_deleted_where_objects_cannot_be_written() {
    let mut world = managed("users-g10", "users-g10").await;
    let rule = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>\
                </ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule>\
                </ServerSideEncryptionConfiguration>";
    store().await.write("users-g10", "encryption", rule).await;
    world
        .gate
        .plan(When::operation("PutObject"), Fault::error(403, "AccessDenied"));
    let outcome = world.pass().await;
    assert!(outcome.error.is_none());
    assert_eq!(world.condition("StorageEncrypted"), "False/AccessDenied");
    assert_eq!(
        count(&world, "DeleteBucketEncryption") + count(&world, "PutBucketEncryption"),
        0
    );
    world.gate.pass();
    world.later(RESYNC);
    world.converge().await;
    assert_eq!(world.condition("StorageEncrypted"), "True/Encryption Successful");
}

// storage-decisions 17, T12, storage-s3 32, 34
#[tokio::test]
async fn on_a_store_whose_default_encryption_breaks_objects_the_rule_is_taken_back() {
    let seaweed = seaweed().await;
    let mut world = S3Cluster::new(seaweed.target(), seaweed.admin(), "broken-g8", json!({"s3": {}}));
    let outcome = world.converge().await;
    assert_eq!(world.state(), Some("Managed"));
    assert!(outcome.facts.is_some(), "the registry can use it");
    assert!(world.condition("StorageEncrypted").starts_with("False/"));
    assert!(
        world.message("StorageEncrypted").contains("taken back"),
        "{}",
        world.message("StorageEncrypted")
    );
    assert_eq!(world.storage_spec()["s3"].get("encrypt"), None);
    assert!(world.changes().contains(&"DeleteBucketEncryption".to_owned()));
    assert_eq!(world.condition("StoragePublicAccessBlocked"), "False/NotImplemented");
    let admin = super::cluster::Store {
        target: seaweed.target(),
        keys: seaweed.admin(),
    };
    admin.put(&world.generated(), "image").await;
    world.gate.forget();
    world.later(RESYNC);
    world.restart();
    world.pass().await;
    assert_eq!(
        count(&world, "PutBucketEncryption"),
        0,
        "final until the config changes"
    );
    // And it is removed like any other.
    world.edit(json!({"managementState": "Removed"}));
    assert!(world.settle().await.done && !admin.exists(&world.generated()).await);
}

// storage-decisions 17: died between the rule and the look at what it does
#[tokio::test]
async fn a_rule_that_a_dead_process_left_is_looked_at_and_taken_back() {
    let seaweed = seaweed().await;
    let mut world = S3Cluster::new(seaweed.target(), seaweed.admin(), "orphan-g9", json!({"s3": {}}));
    world.die_after("PutBucketEncryption").await;
    world.converge().await;
    let admin = super::cluster::Store {
        target: seaweed.target(),
        keys: seaweed.admin(),
    };
    admin.put(&world.generated(), "image").await;
    assert!(world.condition("StorageEncrypted").starts_with("False/"));
    assert_eq!(world.storage_spec()["s3"].get("encrypt"), None);
    admin.drop_object(&world.generated(), "image").await;
    let (_, listed) = admin.read(&world.generated(), "list-type=2").await;
    assert!(!listed.contains("_preflight"), "{listed}");
}

/// Keys of objects and versions that begin like a probe.
async fn probes(bucket: &str) -> usize {
    let (_, listed) = store().await.read(bucket, "versions").await;
    listed.matches("_preflight").count()
}

// storage-decisions T15, 19
#[tokio::test]
async fn an_object_that_tries_encryption_out_is_recorded_before_it_is_written() {
    for own in [true, false] {
        let bucket = format!("tried-g11-{}", u8::from(own));
        let mut world = if own {
            cluster(&bucket, json!({"s3": {}})).await
        } else {
            managed(&bucket, &bucket).await
        };
        let name = if own { world.generated() } else { bucket.clone() };
        world.die_after("PutObject").await;
        assert_eq!(probes(&name).await, 1);
        assert!(
            world.recorded_probe().is_some_and(|text| text.contains(&name)),
            "{bucket}"
        );
        let next = format!("{bucket}-next");
        store().await.create(&next).await;
        world.edit(json!({"storage": {"s3": {"bucket": next}, "managementState": null}}));
        world.settle().await;
        assert_eq!((probes(&name).await, world.recorded_probe()), (0, None), "{bucket}");
    }
}

// storage-decisions T15
#[tokio::test]
async fn what_trying_encryption_out_may_have_left_stays_recorded_until_it_is_gone() {
    for (n, operation, fault) in [
        (1, "PutObject", Fault::LoseAnswer),
        (2, "DeleteObject", Fault::error(403, "AccessDenied")),
    ] {
        let bucket = format!("litter-g12-{n}");
        let mut world = managed(&bucket, &bucket).await;
        store().await.version(&bucket, "Enabled").await;
        // The client tries four times; the trial that follows works.
        let times = if n == 1 { 4 } else { 3 };
        world.gate.plan(When::operation(operation).times(times), fault);
        world.pass().await;
        assert!(
            world.recorded_probe().is_some(),
            "{operation}: {:?}",
            world.gate.operations()
        );
        world.gate.pass();
        world.later(Duration::from_mins(1));
        world.converge().await;
        assert_eq!(
            (probes(&bucket).await, world.recorded_probe()),
            (0, None),
            "{operation}"
        );
        assert!(world.running.is_some());
    }
}

// storage-decisions T15: the time limit ends a setting while its probe object is being written
#[tokio::test]
async fn a_probe_of_a_setting_that_runs_into_its_time_limit_stays_recorded() {
    let mut world = managed("slow-g14", "slow-g14").await;
    let latch = Latch::closed();
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    world.gate.rule({
        let latch = latch.clone();
        move |asked| {
            if asked.operation() == "PutObject" && arrived.send(()).is_ok() {
                Fault::Hold(latch.clone())
            } else {
                Fault::Pass
            }
        }
    });
    {
        let pass = world.pass();
        tokio::pin!(pass);
        tokio::select! {
            _ = &mut pass => panic!("the pass did not wait for the probe object"),
            _ = arrivals.recv() => {}
        }
        drop(arrivals);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(61)).await;
        tokio::time::resume();
        pass.await;
    }
    assert!(world.condition("StorageEncrypted").starts_with("False/"));
    assert!(world.recorded_probe().is_some(), "{:?}", world.gate.operations());
    latch.open();
    world.later(Duration::from_mins(1));
    world.converge().await;
    assert_eq!((probes("slow-g14").await, world.recorded_probe()), (0, None));
}

// storage-core 20, section 6: the flip to Managed applies settings at once, the flip back reverts nothing
#[tokio::test]
async fn a_state_turned_over_applies_settings_and_turned_back_sends_no_change() {
    store().await.create("flip-h1").await;
    let mut world = cluster("flip-h1", json!({"s3": {"bucket": "flip-h1"}})).await;
    world.settle().await;
    assert_eq!(world.condition("StorageTagged"), "-/-");
    world.edit(json!({"storage": {"managementState": "Managed"}}));
    world.settle().await;
    assert_eq!(world.condition("StorageTagged"), "True/Tagging Successful");
    let mirrors = |world: &S3Cluster| {
        let managed = world.config["status"]["storageManaged"].clone();
        (managed, world.status()["managementState"].clone())
    };
    assert_eq!(mirrors(&world), (json!(true), json!("Managed")));
    world.gate.forget();
    world.edit(json!({"storage": {"managementState": "Unmanaged"}}));
    world.settle().await;
    assert_eq!(mirrors(&world), (json!(false), json!("Unmanaged")));
    let writes: Vec<_> = world
        .changes()
        .into_iter()
        .filter(|o| o.contains("Bucket") || o.contains("Access"))
        .collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(
        world.condition("StorageTagged"),
        "-/-",
        "conditions that do not apply are dropped"
    );
    let (_, private) = store().await.read("flip-h1", "publicAccessBlock").await;
    assert!(private.contains("<BlockPublicAcls>true</BlockPublicAcls>"));
}
