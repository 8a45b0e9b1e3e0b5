//! Tags of Resource Manager are bound after the creation.

use std::time::{Duration, Instant};

use devcluster::stores::{Fault, Operation, Reply};
use serde_json::{Value, json};

use super::cluster::{GcsCluster, call, cluster, project};
use super::conformance::{BackendUnderTest as _, RESYNC};
use super::harness::logs;
use super::stores::{REGION, store};

const TAGS: [&str; 2] = ["9001/team/blue", "9001/env/prod"];

/// An error of Resource Manager.
fn refusal(status: u16, code: &str) -> Fault {
    let body = json!({"error": {"code": status, "message": "refused by the test", "status": code}});
    Fault::Answer(Reply::new(status, &body.to_string()).header("content-type", "application/json"))
}

/// Names of the tags that were asked for.
fn asked_for(world: &GcsCluster) -> Vec<String> {
    let bodies = world.bodies("tagBindings.create");
    let names = bodies
        .iter()
        .map(|body| body["tagValueNamespacedName"].as_str().unwrap().to_owned());
    names.collect()
}

/// Bindings of this tag get this answer.
fn answer_tag(world: &GcsCluster, tag: &'static str, fault: Fault) {
    world.gate.rule(move |asked| {
        let is_tag = call(asked) == "tagBindings.create" && asked.text().contains(tag);
        if is_tag { fault.clone() } else { Fault::Pass }
    });
}

// storage-gcs 25
#[tokio::test]
async fn tags_are_bound_at_the_location_of_the_bucket() {
    let mut world = cluster("blue-tag1", json!({"gcs": {}})).await;
    world.set_tags(&TAGS).await;
    world.converge().await;
    let bucket = world.bucket().await;
    assert_eq!(store().await.tags(&bucket), TAGS);
    assert_eq!(world.condition("StorageTagged"), "True/SuccessTaggingBucket");
    assert!(world.message("StorageTagged").contains(&bucket));
    let asked = world.gate.asked();
    let hosts = asked
        .iter()
        .filter(|asked| call(asked) == "tagBindings.create")
        .map(|asked| asked.host.clone());
    let hosts: Vec<_> = hosts.collect();
    assert_eq!(hosts, vec![format!("{REGION}-cloudresourcemanager.googleapis.com"); 2]);
    let parent = format!("//storage.googleapis.com/projects/_/buckets/{bucket}");
    let wanted: Vec<Value> = TAGS
        .iter()
        .map(|tag| json!({"parent": parent, "tagValueNamespacedName": tag}))
        .collect();
    assert_eq!(world.bodies("tagBindings.create"), wanted);
    // Nothing of that again.
    world.gate.forget();
    world.later(RESYNC);
    world.pass().await;
    assert_eq!(world.calls(), Vec::<String>::new());
}

// storage-gcs 26: issue 12, tags that are there already are success, not doubled
#[tokio::test]
async fn a_tag_that_the_bucket_has_or_inherits_is_not_bound_again() {
    let mut world = cluster("blue-tag2", json!({"gcs": {}})).await;
    world.set_tags(&TAGS).await;
    store().await.inherit_tag(&project("blue-tag2"), TAGS[0]);
    world.converge().await;
    assert_eq!(asked_for(&world), [TAGS[1]]);
    assert_eq!(world.condition("StorageTagged"), "True/SuccessTaggingBucket");
    // All of them are there: success without a call that changes something.
    world.config["status"]["conditions"] = json!([]);
    world.gate.forget();
    world.later(RESYNC);
    world.restart();
    world.converge().await;
    assert_eq!(asked_for(&world), [""; 0]);
    assert_eq!(world.condition("StorageTagged"), "True/SuccessTaggingBucket");
}

// storage-gcs 27, 28
#[tokio::test]
async fn tags_that_cannot_be_listed_are_all_bound_and_bound_ones_are_a_success() {
    let mut world = cluster("blue-tag3", json!({"gcs": {}})).await;
    world.set_tags(&TAGS).await;
    store().await.inherit_tag(&project("blue-tag3"), TAGS[0]);
    let mut bound = false;
    world.gate.rule(move |asked| match call(asked).as_str() {
        "effectiveTags.list" => refusal(403, "PERMISSION_DENIED"),
        // The answer of the first binding: there is one already.
        "tagBindings.create" if !std::mem::replace(&mut bound, true) => refusal(409, "ALREADY_EXISTS"),
        _ => Fault::Pass,
    });
    world.converge().await;
    assert_eq!(asked_for(&world), TAGS);
    assert_eq!(world.condition("StorageTagged"), "True/SuccessTaggingBucket");
    // That is logged, and what is logged is searched for secrets.
    assert!(logs::taken() > 0);
}

// storage-gcs 28
#[tokio::test]
async fn a_list_of_tags_without_an_end_is_given_up_and_all_tags_are_bound() {
    let mut world = cluster("endless-tag1", json!({"gcs": {}})).await;
    world.set_tags(&TAGS).await;
    let page = json!({"effectiveTags": [], "nextPageToken": "again"}).to_string();
    world.gate.rule(move |asked| match call(asked).as_str() {
        "effectiveTags.list" => Fault::Answer(Reply::new(200, &page)),
        _ => Fault::Pass,
    });
    world.converge().await;
    assert_eq!(asked_for(&world), TAGS);
    assert_eq!(world.condition("StorageTagged"), "True/SuccessTaggingBucket");
}

// storage-gcs 32
// storage-gcs 29: in place of the error the registry runs, and the condition tells (decision 0018)
#[tokio::test]
async fn a_tag_that_is_refused_keeps_nothing_else_back_and_is_tried_again() {
    let mut world = cluster("blue-tag4", json!({"gcs": {}})).await;
    world.set_tags(&TAGS).await;
    answer_tag(&world, TAGS[0], refusal(403, "PERMISSION_DENIED"));
    let outcome = world.settle().await;
    assert_eq!(asked_for(&world), TAGS, "both are tried");
    assert_eq!(world.condition("StorageTagged"), "False/ErrorTaggingBucket");
    let message = world.message("StorageTagged");
    let bucket = world.bucket().await;
    for part in [
        TAGS[0],
        "403",
        "PERMISSION_DENIED",
        "failed to add 1 of 2 tag(s)",
        bucket.as_str(),
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains(TAGS[1]), "{message}");
    assert_eq!(store().await.tags(&bucket), [TAGS[1]]);
    // The registry runs, and name and state are stored.
    assert!(outcome.facts.is_some());
    assert_eq!(world.state(), Some("Managed"));
    assert_eq!(world.storage_spec()["gcs"]["bucket"], json!(bucket));
    // Not before the resync, so that the cloud is not asked again and again.
    world.gate.forget();
    world.later(Duration::from_mins(5));
    world.pass().await;
    assert_eq!(world.calls(), Vec::<String>::new());
    world.gate.pass();
    world.later(RESYNC);
    world.converge().await;
    assert_eq!(asked_for(&world), [TAGS[0]]);
    assert_eq!(world.condition("StorageTagged"), "True/SuccessTaggingBucket");
}

// storage-gcs 30, 34: no pass waits for an operation
#[tokio::test]
async fn an_operation_that_goes_on_for_a_minute_or_is_forgotten_counts_as_failed() {
    // The stand-in has one way of carrying out operations for all tests.
    for (name, forgotten) in [("blue-tag5", false), ("blue-tag6", true)] {
        let mut world = cluster(name, json!({"gcs": {}})).await;
        world.set_tags(&TAGS[..1]).await;
        world.gate.rule(move |asked| match call(asked).as_str() {
            "tagBindings.create" => {
                let body = json!({"name": "operations/rctb.1", "done": false});
                Fault::Answer(Reply::new(200, &body.to_string()))
            }
            "operations.get" if forgotten => refusal(404, "NOT_FOUND"),
            "operations.get" => Fault::Answer(Reply::new(200, "{\"name\": \"operations/rctb.1\", \"done\": false}")),
            _ => Fault::Pass,
        });
        let outcome = world.settle().await;
        let polls = world.calls().iter().filter(|call| *call == "operations.get").count();
        assert_eq!(polls, 1, "one look, and no waiting");
        if !forgotten {
            assert_eq!(world.condition("StorageTagged"), "Unknown/TaggingBucket");
            assert!(world.message("StorageTagged").contains(TAGS[0]));
            // The next look is not ten minutes away.
            let again = outcome.again.unwrap();
            assert!(again <= Duration::from_mins(1) && !again.is_zero(), "{again:?}");
            world.gate.forget();
            world.later(Duration::from_secs(20));
            world.pass().await;
            assert_eq!(world.calls(), Vec::<String>::new(), "not before its time");
            world.later(Duration::from_mins(1));
            world.settle().await;
        }
        assert_eq!(world.condition("StorageTagged"), "False/ErrorTaggingBucket");
        let why = if forgotten { "404" } else { "still in progress" };
        assert!(
            world.message("StorageTagged").contains(why),
            "{}",
            world.message("StorageTagged")
        );
        assert!(outcome.facts.is_some());
        // It came to its end meanwhile.
        store().await.bind_tag(&world.bucket().await, TAGS[0]);
        world.gate.pass();
        world.gate.forget();
        world.later(RESYNC);
        world.converge().await;
        assert_eq!(asked_for(&world), [""; 0]);
        assert_eq!(world.condition("StorageTagged"), "True/SuccessTaggingBucket");
    }
}

// storage-gcs 30
#[tokio::test]
async fn an_operation_that_fails_is_told_and_one_that_finds_the_tag_is_a_success() {
    for (name, code, expected) in [
        ("blue-tag7", 7, "False/ErrorTaggingBucket"),
        ("blue-tag8", 6, "True/SuccessTaggingBucket"),
    ] {
        let mut world = cluster(name, json!({"gcs": {}})).await;
        world.set_tags(&TAGS[..1]).await;
        let body = json!({"name": "operations/x", "done": true, "error": {"code": code, "message": "words"}});
        answer_tag(&world, TAGS[0], Fault::Answer(Reply::new(200, &body.to_string())));
        world.settle().await;
        assert_eq!(world.condition("StorageTagged"), expected);
    }
}

// storage-gcs 33
#[tokio::test]
async fn no_more_than_eight_tags_are_bound_in_a_second() {
    let mut world = cluster("blue-tag9", json!({"gcs": {}})).await;
    let names: Vec<String> = (0..16).map(|n| format!("9001/key{n}/value")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.set_tags(&names).await;
    world.sleep_truly();
    world.converge().await;
    let asked = world.gate.asked();
    let times: Vec<Instant> = asked
        .iter()
        .filter(|asked| call(asked) == "tagBindings.create")
        .map(|asked| asked.at)
        .collect();
    assert_eq!(times.len(), 16);
    for window in times.windows(9) {
        let time = window[8].duration_since(window[0]);
        assert!(time >= Duration::from_millis(950), "9 within {time:?}");
    }
}

// storage-gcs 30
#[tokio::test]
async fn a_tag_that_is_bound_within_a_minute_never_failed() {
    let mut world = cluster("blue-tagc", json!({"gcs": {}})).await;
    world.set_tags(&TAGS[..1]).await;
    let pending = "{\"name\": \"operations/rctb.1\", \"done\": false}";
    world.gate.rule(move |asked| match call(asked).as_str() {
        "tagBindings.create" | "operations.get" => Fault::Answer(Reply::new(200, pending)),
        _ => Fault::Pass,
    });
    world.settle().await;
    assert_eq!(world.condition("StorageTagged"), "Unknown/TaggingBucket");
    store().await.bind_tag(&world.bucket().await, TAGS[0]);
    world.gate.forget();
    world.later(Duration::from_mins(1));
    world.settle().await;
    assert_eq!(asked_for(&world), [""; 0]);
    assert_eq!(world.condition("StorageTagged"), "True/SuccessTaggingBucket");
}

// storage-gcs 29: only throttling keeps the others back
#[tokio::test]
async fn a_fault_at_one_tag_does_not_keep_the_others_back() {
    let mut world = cluster("blue-tagd", json!({"gcs": {}})).await;
    let names = ["9001/a/1", "9001/b/1", "9001/c/1", "9001/d/1"];
    world.set_tags(&names).await;
    world.gate.rule(move |asked| {
        let text = asked.text();
        match call(asked).as_str() {
            "tagBindings.create" if text.contains("9001/a/1") => refusal(503, "UNAVAILABLE"),
            "tagBindings.create" if text.contains("9001/c/1") => Fault::Reset,
            _ => Fault::Pass,
        }
    });
    world.settle().await;
    assert_eq!(world.condition("StorageTagged"), "False/ErrorTaggingBucket");
    assert_eq!(store().await.tags(&world.bucket().await), ["9001/b/1", "9001/d/1"]);
    assert!(world.message("StorageTagged").contains("failed to add 2 of 4 tag(s)"));
}

// storage-gcs section 4: Resource Manager of the public cloud is never asked about a bucket of an emulator
#[tokio::test]
async fn a_bucket_of_an_emulator_has_no_tags() {
    let mut world = cluster("blue-tage", json!({"gcs": {}})).await;
    world.converge().await;
    world.set_tags(&TAGS).await;
    let emulator = world.gate.url();
    world.emulate(&emulator);
    let bucket = store().await.bucket(&world.bucket().await).unwrap().to_string();
    world.gate.rule(move |asked| {
        if call(asked) == "buckets.get" {
            Fault::Answer(Reply::new(200, &bucket).header("content-type", "application/json"))
        } else {
            Fault::Pass
        }
    });
    world.gate.forget();
    world.config["status"]["conditions"] = json!([]);
    let annotations = world.config["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.remove("imageregistry.operator.openshift.io/storage-settings");
    world.later(RESYNC);
    world.pass().await;
    assert_eq!(world.condition("StorageTagged"), "False/ErrorTaggingBucket");
    assert!(
        world.message("StorageTagged").contains("STORAGE_EMULATOR_HOST"),
        "{}",
        world.message("StorageTagged")
    );
    let asked = world.gate.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|asked| asked.path.starts_with("/storage/")),
        "{asked:?}"
    );
}

// storage-core 48: also in the result of an operation, which comes with status 200
#[tokio::test]
async fn a_failed_operation_that_repeats_the_token_is_told_without_it() {
    let mut world = cluster("blue-tagf", json!({"gcs": {}})).await;
    world.set_tags(&TAGS[..1]).await;
    world.gate.rule(move |asked| {
        if call(asked) != "tagBindings.create" {
            return Fault::Pass;
        }
        let message = format!("denied for {}", asked.header("authorization").unwrap());
        let body = json!({"name": "operations/x", "done": true, "error": {"code": 7, "message": message}});
        Fault::Answer(Reply::new(200, &body.to_string()))
    });
    world.settle().await;
    let message = world.message("StorageTagged");
    assert!(message.contains("denied for Bearer <redacted>"), "{message}");
}

// storage-gcs 34
#[tokio::test]
async fn a_service_that_is_too_busy_for_tags_does_not_block_the_operator() {
    let mut world = cluster("blue-taga", json!({"gcs": {}})).await;
    world.set_tags(&TAGS).await;
    world.gate.rule(|asked| {
        if call(asked) == "tagBindings.create" {
            refusal(429, "RESOURCE_EXHAUSTED")
        } else {
            Fault::Pass
        }
    });
    world.pauses();
    let outcome = world.settle().await;
    assert!(outcome.facts.is_some());
    // The bound: one retry within two seconds, and an eighth of a second before each of two attempts.
    let waited: Duration = world.pauses().iter().sum();
    assert!(
        waited >= Duration::from_secs(1) && waited <= Duration::from_millis(2_500),
        "{waited:?}"
    );
    // Twice for the first, and the second is not tried.
    assert_eq!(asked_for(&world), [TAGS[0], TAGS[0]]);
    assert!(
        world.message("StorageTagged").contains("not tried"),
        "{}",
        world.message("StorageTagged")
    );
    world.gate.pass();
    world.later(RESYNC);
    world.converge().await;
    assert_eq!(world.condition("StorageTagged"), "True/SuccessTaggingBucket");
}

// A 409 that is not about this tag binds nothing.
#[tokio::test]
async fn a_binding_that_met_another_one_is_tried_again_and_is_no_success() {
    let mut world = cluster("blue-tagh", json!({"gcs": {}})).await;
    world.set_tags(&TAGS[..1]).await;
    answer_tag(&world, TAGS[0], refusal(409, "ABORTED"));
    world.settle().await;
    assert_eq!(asked_for(&world), [TAGS[0], TAGS[0]], "one retry");
    assert_eq!(world.condition("StorageTagged"), "False/ErrorTaggingBucket");
    let message = world.message("StorageTagged");
    assert!(message.contains("409") && message.contains("ABORTED"), "{message}");
    world.gate.pass();
    world.gate.forget();
    world.later(RESYNC);
    world.converge().await;
    assert_eq!(asked_for(&world), [TAGS[0]]);
    assert_eq!(world.condition("StorageTagged"), "True/SuccessTaggingBucket");
}

// The service refuses a second operation on the bucket while one is in progress.
#[tokio::test]
async fn tags_are_bound_one_operation_after_another() {
    // The second one is done at once, or has a minute of its own.
    for (name, looks) in [("blue-tagi", vec![2]), ("blue-tagj", vec![2, 2])] {
        let mut world = cluster(name, json!({"gcs": {}})).await;
        world.set_tags(&TAGS).await;
        let operations = looks.iter().map(|looks| Operation::After(*looks));
        store().await.operations_of(&world.generated(), operations);
        world.settle().await;
        for bound in 0..looks.len() {
            assert_eq!(world.condition("StorageTagged"), "Unknown/TaggingBucket", "{name}");
            assert_eq!(asked_for(&world), TAGS[..=bound], "{name}");
            for tag in &TAGS[bound..] {
                assert!(world.message("StorageTagged").contains(tag), "{name}: {tag}");
            }
            world.later(Duration::from_mins(1));
            world.settle().await;
        }
        assert_eq!(world.condition("StorageTagged"), "True/SuccessTaggingBucket", "{name}");
        assert_eq!(store().await.tags(&world.bucket().await), TAGS, "{name}");
        assert_eq!(asked_for(&world), TAGS, "{name}");
    }
}

// storage-gcs 30: as the stand-in carries them out
#[tokio::test]
async fn an_operation_of_the_service_is_polled_by_its_name() {
    let mut world = cluster("blue-tagb", json!({"gcs": {}})).await;
    world.set_tags(&TAGS[..1]).await;
    // Other tests meet it too, and each of them polls.
    store().await.operations(Operation::After(1));
    world.converge().await;
    store().await.operations(Operation::AtOnce);
    assert!(world.calls().contains(&"operations.get".to_owned()));
    assert_eq!(store().await.tags(&world.generated()), [TAGS[0]]);
}
