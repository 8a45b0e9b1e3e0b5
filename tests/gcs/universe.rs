//! Another universe is another place: the bucket of the same name there is not the one that the registry used.

use std::time::Duration;

use devcluster::stores::{Authority, Fault, Gcs, GcsOptions, ServiceAccountKey};
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use image_registry_operator::storage::Freeze;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::cluster::{GcsCluster, cluster, project};
use super::conformance::{BackendUnderTest as _, RESYNC};
use super::stores::{REGION, key_file, permissions, store};

const UNIVERSE: &str = "example-universe.goog";

struct Elsewhere {
    gcs: Gcs,
    key: ServiceAccountKey,
}

static ELSEWHERE: OnceCell<Elsewhere> = OnceCell::const_new();

/// A cloud of the other universe, which knows nothing of the public one.
async fn elsewhere() -> &'static Elsewhere {
    let start = || async {
        let options = GcsOptions {
            names: vec![format!("*.{UNIVERSE}")],
            ..GcsOptions::new(Authority::new("elsewhere").unwrap())
        };
        let gcs = Gcs::start(options).await.unwrap();
        gcs.project("home-elsewhere");
        let key = gcs.service_account("home-elsewhere", "registry", &[]).unwrap();
        Elsewhere { gcs, key }
    };
    ELSEWHERE.get_or_init(start).await
}

/// The credentials are those of the other universe from now on, and its hosts lead there.
async fn move_away(world: &mut GcsCluster) {
    let Elsewhere { gcs, key } = elsewhere().await;
    let project = project(world.infrastructure());
    gcs.project(&project);
    let granted = permissions();
    let granted: Vec<&str> = granted.iter().map(String::as_str).collect();
    gcs.allow(&key.email, &project, &granted);
    let mut file = key.json("https://oauth2.googleapis.com/token");
    file["universe_domain"] = json!(UNIVERSE);
    world.mint(&file);
    let target = gcs.target().clone();
    world.gate.rule(move |asked| {
        if asked.host.ends_with(UNIVERSE) {
            Fault::To(target.clone())
        } else {
            Fault::Pass
        }
    });
    world.gate.forget();
    // The registry's driver starts its uploads in the public universe.
    world.read_only = true;
}

async fn come_back(world: &mut GcsCluster) {
    world.mint(&key_file().await);
    world.gate.pass();
    world.gate.forget();
}

/// Hosts that were asked.
fn hosts(world: &GcsCluster) -> Vec<String> {
    let mut hosts: Vec<String> = world.gate.asked().into_iter().map(|asked| asked.host).collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

fn place(world: &GcsCluster) -> Option<&str> {
    world.annotation("imageregistry.operator.openshift.io/storage-location")
}

/// A cluster whose own bucket in the public universe holds an image.
async fn owned(name: &str) -> (GcsCluster, String) {
    let mut world = cluster(name, json!({"gcs": {}})).await;
    world.converge().await;
    let bucket = world.bucket().await;
    store().await.put(&bucket, "image", b"layer").await.unwrap();
    assert_eq!(place(&world), None, "the public universe needs no record");
    world.gate.forget();
    (world, bucket)
}

// storage-decisions T4: another universe is other storage, also under the same name
#[tokio::test]
async fn credentials_of_another_universe_are_a_switch_and_the_old_bucket_stays() {
    let (mut world, bucket) = owned("blue-away-1").await;
    move_away(&mut world).await;
    world.later(RESYNC);
    let outcome = world.converge().await;
    assert_eq!(hosts(&world), [format!("storage.{UNIVERSE}")]);
    assert_eq!(world.count_events("StorageLost"), 0, "{:?}", world.told());
    assert!(outcome.facts.is_some());
    let location = format!("{UNIVERSE}/{bucket}");
    let told = world.told();
    let switches: Vec<&String> = told.iter().filter(|e| e.starts_with("StorageReconfigured")).collect();
    assert_eq!(switches.len(), 1, "{told:?}");
    for part in [&format!("googleapis.com/{bucket}"), &location] {
        assert!(switches[0].contains(part.as_str()), "{part}: {switches:?}");
    }
    assert_eq!(
        (place(&world), world.created()),
        (Some(location.as_str()), Some(location.as_str()))
    );
    let there = &elsewhere().await.gcs;
    assert!(
        there.bucket(&bucket).is_some(),
        "a named bucket that is missing is created"
    );
    assert_eq!(store().await.objects(&bucket), ["image"]);
    // Settled, also for the next process.
    world.gate.forget();
    world.restart();
    for _ in 0..3 {
        world.later(RESYNC);
        assert!(world.pass().await.record.is_none());
    }
    assert_eq!(world.calls(), ["buckets.get"]);
    // A removal deletes the storage in use, and nothing of the same name.
    world.edit(json!({"managementState": "Removed"}));
    assert!(world.settle().await.done);
    assert!(there.bucket(&bucket).is_none());
    assert_eq!(store().await.objects(&bucket), ["image"]);
    assert_eq!((place(&world), world.created()), (None, None));
}

// storage-decisions T4, T2: and back again
#[tokio::test]
async fn the_way_back_to_the_public_universe_is_a_switch_too_and_a_full_bucket_is_not_owned() {
    let (mut world, bucket) = owned("blue-away-2").await;
    move_away(&mut world).await;
    world.later(RESYNC);
    world.converge().await;
    elsewhere().await.gcs.put(&bucket, "image", b"layer").await.unwrap();
    come_back(&mut world).await;
    world.later(RESYNC);
    world.converge().await;
    assert_eq!(world.count_events("StorageReconfigured"), 2);
    assert_eq!(world.count_events("StorageLost"), 0);
    assert_eq!(place(&world), None);
    let state = world.state().map(str::to_owned);
    assert_eq!(
        state.as_deref(),
        Some("Unmanaged"),
        "nobody knows any more that the operator created it"
    );
    world.edit(json!({"managementState": "Removed"}));
    assert!(world.settle().await.done);
    assert_eq!(store().await.objects(&bucket), ["image"]);
    assert_eq!(elsewhere().await.gcs.objects(&bucket), ["image"]);
}

// storage-decisions T2, T4: a bucket that is missing elsewhere is not deleted
#[tokio::test]
async fn a_removal_with_credentials_of_another_universe_asks_and_reports_nothing_as_deleted() {
    let (mut world, bucket) = owned("blue-away-3").await;
    move_away(&mut world).await;
    world.edit(json!({"managementState": "Removed"}));
    for _ in 0..3 {
        let outcome = world.pass().await;
        let error = outcome.error.unwrap();
        for part in [&format!("googleapis.com/{bucket}"), &format!("{UNIVERSE}/{bucket}")] {
            assert!(error.message.contains(part.as_str()), "{part}: {error}");
        }
        assert!(error.message.contains("managementState to Unmanaged"), "{error}");
        assert!(!outcome.done);
        world.later(RESYNC);
    }
    assert_eq!(hosts(&world), Vec::<String>::new());
    assert_eq!(world.status()["gcs"]["bucket"], json!(bucket));
    come_back(&mut world).await;
    assert!(world.settle().await.done);
    assert_eq!(world.buckets().await, Vec::<String>::new());
}

// storage-decisions T4: the same for a user's bucket, which nobody creates elsewhere
#[tokio::test]
async fn a_users_bucket_is_not_created_or_tried_out_in_another_universe() {
    let bucket = "blue-away-4-images";
    let settings = json!({"location": REGION});
    store()
        .await
        .make_bucket("p-blue-away-4", bucket, &settings)
        .await
        .unwrap();
    let mut world = cluster(
        "blue-away-4",
        json!({"gcs": {"bucket": bucket}, "managementState": "Unmanaged"}),
    )
    .await;
    world.converge().await;
    let running = world.running.clone();
    move_away(&mut world).await;
    world.read_only = false;
    world.later(RESYNC);
    let outcome = world.pass().await;
    let error = outcome.error.unwrap();
    assert!(error.message.contains("does not exist"), "{error}");
    assert_eq!(outcome.freeze, Freeze::Deployment, "a switch");
    assert_eq!(world.running, running);
    assert_eq!(world.changed(), Vec::<String>::new());
    assert_eq!(
        (world.count_events("StorageLost"), hosts(&world)),
        (0, vec![format!("storage.{UNIVERSE}")])
    );
}

// storage-decisions T4: nobody knows the universe
#[tokio::test]
async fn without_credentials_the_storage_is_where_it_was() {
    let mut world = cluster("blue-away-5", json!({"gcs": {}})).await;
    move_away(&mut world).await;
    world.converge().await;
    let recorded = place(&world).map(str::to_owned);
    assert_eq!(recorded, Some(format!("{UNIVERSE}/{}", world.generated())));
    world.remove_object(Kind::Secret, names::MINTED_SECRET);
    world.edit(json!({"replicas": 5}));
    let outcome = world.pass().await;
    assert!(outcome.error.unwrap().message.contains("installer-cloud-credentials"));
    assert_eq!(outcome.freeze, Freeze::Storage, "all else goes out");
    assert_eq!(world.count_events("StorageReconfigured"), 0);
    assert_eq!(place(&world).map(str::to_owned), recorded);
}

// storage-decisions 19, T15
#[tokio::test]
async fn a_probe_is_not_looked_for_in_another_universe() {
    let (mut world, bucket) = owned("blue-away-6").await;
    let probe = json!([{
        "location": format!("googleapis.com/{bucket}"), "storage": {"gcs": {"bucket": bucket}},
        "key": "docker/registry/v2/_preflight/0f1e2d3c", "at": world.snapshot.now.to_string(),
    }]);
    world.annotate(names::STORAGE_PROBE_ANNOTATION, &probe.to_string());
    move_away(&mut world).await;
    world.clear_probes().await;
    assert_eq!(hosts(&world), Vec::<String>::new());
    assert!(
        world.annotation(names::STORAGE_PROBE_ANNOTATION).is_some(),
        "it is tried later"
    );
    world.later(Duration::from_hours(25));
    world.clear_probes().await;
    assert_eq!((world.count_events("ProbeLeftBehind"), hosts(&world).len()), (1, 0));
}

// storage-gcs 48, section 4: also where the operator created nothing
#[tokio::test]
async fn universes_that_differ_are_told_for_a_users_bucket_once() {
    let bucket = "blue-away-7-images";
    let settings = json!({"location": REGION});
    store()
        .await
        .make_bucket("p-blue-away-7", bucket, &settings)
        .await
        .unwrap();
    let mut world = cluster("blue-away-7", json!({"gcs": {"bucket": bucket}})).await;
    let mut file: Value = key_file().await;
    file["universe_domain"] = json!("googleapis.com");
    world.mint(&file);
    world.edit_platform(|gcp| gcp["universeDomain"] = json!("cluster-universe.goog"));
    world.converge().await;
    for _ in 0..3 {
        world.later(RESYNC);
        world.pass().await;
    }
    let told = world.told();
    let of_universe: Vec<_> = told.iter().filter(|e| e.starts_with("UniverseDomainDiffers")).collect();
    assert_eq!(of_universe.len(), 1, "{told:?}");
    assert!(of_universe[0].contains("cluster-universe.goog"), "{told:?}");
}
