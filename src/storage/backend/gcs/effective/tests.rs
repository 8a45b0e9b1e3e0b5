use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::config::snapshot::Objects;
use crate::names;

/// A cluster with this platform and these credentials.
fn cluster_named(name: &str, platform: &Value, credentials: &Value) -> Snapshot {
    let infrastructure = json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
        "status": {"infrastructureName": name, "platformStatus": platform},
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": names::MINTED_SECRET, "namespace": names::NAMESPACE},
        "data": {"service_account.json": STANDARD.encode(credentials.to_string())},
    });
    Snapshot {
        objects: Objects::from_values([infrastructure, secret]).unwrap(),
        ..Snapshot::empty()
    }
}

fn cluster(platform: &Value, credentials: &Value) -> Snapshot {
    cluster_named("blue-x7k2p", platform, credentials)
}

fn gcp() -> Value {
    json!({"type": "GCP", "gcp": {"region": "us-east4", "projectID": "of-cluster"}})
}

fn account() -> Value {
    json!({"type": "service_account", "project_id": "of-key"})
}

fn spec(members: Value) -> GcsStorage {
    serde_json::from_value(members).unwrap()
}

fn of(members: Value, snapshot: &Snapshot) -> Effective {
    Effective::of(&spec(members), snapshot).unwrap()
}

// storage-gcs 7, 8, 9, section 2.2
#[test]
fn region_and_project_are_found_one_by_one_and_never_replaced() {
    let (own, elsewhere) = (gcp(), json!({"type": "None"}));
    let no_member = json!({"type": "GCP"});
    let other = json!({"type": "AWS", "gcp": {"region": "r", "projectID": "p"}});
    for (members, platform, region, project) in [
        (json!({}), &own, Some("us-east4"), Some("of-cluster")),
        (
            json!({"region": "", "projectID": ""}),
            &own,
            Some("us-east4"),
            Some("of-cluster"),
        ),
        (json!({"projectID": "mine"}), &own, Some("us-east4"), Some("mine")),
        (json!({"region": "EU"}), &own, Some("EU"), Some("of-cluster")),
        (
            json!({"region": "EU", "projectID": "mine"}),
            &own,
            Some("EU"),
            Some("mine"),
        ),
        (json!({}), &elsewhere, None, Some("of-key")),
        (json!({}), &no_member, None, Some("of-key")),
        (json!({}), &other, None, Some("of-key")),
    ] {
        let effective = of(members.clone(), &cluster(platform, &account()));
        let found = (effective.spec.region.as_deref(), effective.spec.project_id.as_deref());
        assert_eq!(found, (region, project), "{members} {platform}");
    }
}

// storage-gcs 11, 12, 13, section 6.3
#[test]
fn a_generated_name_has_62_characters_and_is_always_the_same() {
    let region = "us-east4";
    for infrastructure in [
        "blue-x7k2p",
        "BLUE--x7k2p-",
        "a",
        &"x".repeat(35), // 62 characters without letters
        &"x".repeat(36),
        &"x".repeat(80),
        "my-google-cluster",
        "goog-1",
        "-googol",
        "_goog-1",
        ".-goog-1",
    ] {
        let snapshot = cluster_named(infrastructure, &gcp(), &account());
        let name = of(json!({}), &snapshot).generated(&snapshot).unwrap();
        assert_eq!(name.len(), 62, "{name}");
        assert_eq!(name, of(json!({}), &snapshot).generated(&snapshot).unwrap());
        let odd = name.contains("--") || name.ends_with('-') || name.starts_with('-') || name != name.to_lowercase();
        assert!(!odd && !name.contains("google") && !name.starts_with("goog"), "{name}");
    }
    let snapshot = cluster(&gcp(), &account());
    let name = of(json!({}), &snapshot).generated(&snapshot).unwrap();
    assert!(name.starts_with("blue-x7k2p-image-registry-us-east4-"), "{name}");
    let other = of(json!({"region": "eu-west1"}), &snapshot)
        .generated(&snapshot)
        .unwrap();
    assert!(other.starts_with("blue-x7k2p-image-registry-eu-west1-"), "{other}");
    // Exactly 61 characters: one letter, and no dash.
    let exact = "x".repeat(61 - "-image-registry-".len() - region.len());
    let snapshot = cluster_named(&exact, &gcp(), &account());
    let name = of(json!({}), &snapshot).generated(&snapshot).unwrap();
    let (base, letter) = name.split_at(61);
    assert_eq!(base, format!("{exact}-image-registry-{region}"));
    assert!(letter.chars().all(|c| c.is_ascii_lowercase()), "{name}");
}

// storage-decisions T4, storage-gcs 48
#[test]
fn the_location_is_the_bucket_in_its_universe() {
    let own = json!({"type": "service_account", "universe_domain": "example-universe.goog"});
    let mut platform = gcp();
    let located = |platform: &Value, credentials: &Value| {
        let effective = of(json!({"bucket": "images"}), &cluster(platform, credentials));
        (effective.location().unwrap(), effective.other_universe)
    };
    assert_eq!(
        located(&platform, &account()),
        ("googleapis.com/images".to_owned(), None)
    );
    assert_eq!(
        located(&platform, &own),
        ("example-universe.goog/images".to_owned(), None)
    );
    platform["gcp"]["universeDomain"] = json!("cluster.goog");
    assert_eq!(located(&platform, &account()), ("cluster.goog/images".to_owned(), None));
    // Those of the credentials count.
    let both = (
        "example-universe.goog/images".to_owned(),
        Some("cluster.goog".to_owned()),
    );
    assert_eq!(located(&platform, &own), both);
    assert_eq!(of(json!({}), &cluster(&platform, &own)).location(), None);
}

// storage-core 11
#[test]
fn what_the_cluster_fills_in_is_no_difference() {
    let snapshot = cluster(&gcp(), &account());
    let full = json!({"bucket": "b", "region": "us-east4", "projectID": "of-cluster"});
    for (one, other, same) in [
        (json!({"bucket": "b"}), full.clone(), true),
        (json!({"bucket": "b", "region": "", "keyID": ""}), full.clone(), true),
        (json!({"bucket": "b", "region": "EU"}), full.clone(), false),
        (json!({"bucket": "b", "keyID": "k"}), full.clone(), false),
        (json!({"bucket": "c"}), full, false),
    ] {
        assert_eq!(
            Effective::same(&spec(one.clone()), &spec(other), &snapshot),
            same,
            "{one}"
        );
    }
}

// storage-core 11, T18: rotated credentials do not change what the storage is
#[test]
fn the_project_of_the_credentials_is_no_difference() {
    let stored = spec(json!({"bucket": "b", "region": "EU", "projectID": "of-old-key"}));
    let wanted = spec(json!({"bucket": "b", "region": "EU"}));
    let nowhere = json!({"type": "None"});
    for key in [
        account(),
        json!({"type": "service_account"}),
        json!({"type": "service_account", "universe_domain": "no domain"}),
        json!({"type": "unknown"}),
    ] {
        assert!(Effective::same(&stored, &wanted, &cluster(&nowhere, &key)), "{key}");
    }
    // What the user or the cluster names counts.
    assert!(!Effective::same(&stored, &wanted, &cluster(&gcp(), &account())));
    let other = spec(json!({"bucket": "b", "region": "EU", "projectID": "mine"}));
    assert!(!Effective::same(&stored, &other, &cluster(&nowhere, &account())));
}

// storage-decisions T4
#[test]
fn the_universe_is_unknown_without_credentials() {
    assert!(is_universe_known(&cluster(&gcp(), &account())));
    assert!(!is_universe_known(&cluster(&gcp(), &json!({"type": "unknown"}))));
    assert!(!is_universe_known(&Snapshot::empty()));
}

#[test]
fn values_that_would_change_a_url_are_refused_by_field() {
    let snapshot = cluster(&gcp(), &account());
    for (members, part) in [
        (json!({"bucket": "a/b"}), "spec.storage.gcs.bucket"),
        (json!({"bucket": ".."}), "spec.storage.gcs.bucket"),
        (json!({"bucket": "a?b"}), "spec.storage.gcs.bucket"),
        (json!({"region": "eu.example.com/"}), "region"),
    ] {
        let refused = Effective::of(&spec(members), &snapshot).unwrap_err();
        assert!(refused.message.contains(part), "{}", refused.message);
    }
    let universe = json!({"type": "service_account", "universe_domain": "evil/path"});
    let refused = Effective::of(&spec(json!({})), &cluster(&gcp(), &universe)).unwrap_err();
    assert!(refused.message.contains("universe"), "{}", refused.message);
    // A wrong key is no reason to stop a registry whose bucket exists.
    for allowed in [
        json!({"bucket": "Old_Bucket.1"}),
        json!({"keyID": "no key"}),
        json!({"region": "EUR4"}),
    ] {
        Effective::of(&spec(allowed), &snapshot).unwrap();
    }
}

// issue 12, cases that people hit
#[test]
fn names_of_keys() {
    for (name, expected) in [
        ("projects/p/locations/us-east4/keyRings/r/cryptoKeys/k", true),
        (
            "projects/p/locations/us-east4/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1",
            false,
        ),
        ("projects/p/locations//keyRings/r/cryptoKeys/k", false),
        ("arn:aws:kms:eu-west-1:1:key/2", false),
        ("projects", false),
        ("", false),
    ] {
        assert_eq!(is_key(name), expected, "{name}");
    }
}
